//! What comes into the estate: pods, controllers, nodes and events, each placed at the job it belongs to.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;

use super::departures::place_of;
use super::{Estate, JobKey, NodeEntry, Placed, controllers_scope};
use crate::estate::job::keep_event;
use crate::estate::{Controller, Event, Node, Pod};

/// Events about objects not seen yet wait here for their object.
const UNPLACED_KEPT: usize = 2_000;

/// Normal events that still tell something; every Warning is kept.
const TELLING_NORMAL: [&str; 8] = [
    "Evict",
    "Preempted",
    "Killing",
    "TaintManagerEviction",
    "NodeNotReady",
    "NodeNotSchedulable",
    "SandboxChanged",
    "StaleJob",
];

impl Estate {
    pub(super) fn put_pod(&mut self, pod: Pod, now: Timestamp) -> Vec<JobKey> {
        let mut changed = self.learn_cluster(pod.runai_id.as_deref(), &pod.cluster);
        let key = self.home_of_pod(&pod);
        let seen = self.generation(&format!("pods@{}", pod.cluster));
        changed.extend(self.leave_other(&pod.uid, &key));
        let hint = self.objects.get(&pod.uid).map(|placed| placed.at);
        let waiting = self.take_unplaced(&pod.uid);
        let uid = pod.uid.clone();
        if let Some(name) = pod.node.clone() {
            self.on_node
                .entry((String::from(&pod.cluster), name))
                .or_default()
                .insert(Arc::clone(&key));
        }
        let job = self.entry(&key);
        // What was never placed is in no list: most of what a first list tells.
        let held = hint.and_then(|hint| place_of(&job.pods, |held| held.uid == uid, hint));
        let at = if let Some(at) = held {
            let held = &job.pods[at];
            if *held != pod {
                if restarts(&pod) > restarts(held) {
                    job.note_restart(now);
                }
                job.pods[at] = pod;
                changed.push((*key).clone());
            }
            at
        } else {
            room_for_one(&mut job.pods);
            job.pods.push(pod);
            changed.push((*key).clone());
            job.pods.len() - 1
        };
        for event in waiting {
            job.note_event(event);
        }
        job.settle_project();
        self.objects.insert(uid, Placed { key, seen, at });
        changed
    }

    pub(super) fn put_controller(&mut self, controller: Controller) -> Vec<JobKey> {
        let mut changed = self.learn_cluster(controller.runai_id.as_deref(), &controller.cluster);
        let key = self.home_of_controller(&controller);
        let seen = self.generation(&controllers_scope(&controller.kind, &controller.cluster));
        changed.extend(self.leave_other(&controller.uid, &key));
        let hint = self.objects.get(&controller.uid).map(|placed| placed.at);
        let waiting = self.take_unplaced(&controller.uid);
        let uid = controller.uid.clone();
        let came = hint.is_none().then(|| controller.clone());
        let job = self.entry(&key);
        let held = hint.and_then(|hint| place_of(&job.controllers, |held| held.uid == uid, hint));
        let at = if let Some(at) = held {
            if job.controllers[at] != controller {
                job.controllers[at] = controller;
                changed.push((*key).clone());
            }
            at
        } else {
            room_for_one(&mut job.controllers);
            job.controllers.push(controller);
            changed.push((*key).clone());
            job.controllers.len() - 1
        };
        for event in waiting {
            job.note_event(event);
        }
        job.settle_project();
        let placed = Placed {
            key: Arc::clone(&key),
            seen,
            at,
        };
        self.objects.insert(uid, placed);
        if let Some(owner) = came {
            changed.extend(self.gather_parts(&owner, &key));
        }
        changed
    }

    pub(super) fn put_node(&mut self, node: Node) -> Vec<JobKey> {
        let at = (node.cluster.clone(), node.name.clone());
        let seen = self.generation(&format!("nodes@{}", node.cluster));
        self.lost_nodes.remove(&at);
        let changed = if let Some((entry, held_seen)) = self.nodes.get_mut(&at) {
            *held_seen = seen;
            let changed = entry.node != node;
            entry.node = node;
            changed
        } else {
            let events = VecDeque::new();
            self.nodes
                .insert(at.clone(), (NodeEntry { node, events }, seen));
            true
        };
        if changed {
            self.jobs_on(&at.0, &at.1)
        } else {
            Vec::new()
        }
    }

    pub(super) fn put_event(&mut self, event: Event) -> Vec<JobKey> {
        if event.kind == "Normal" && !TELLING_NORMAL.contains(&event.reason.as_str()) {
            return Vec::new();
        }
        if event.object.kind == "Node" {
            let at = (String::from(&event.cluster), event.object.name.clone());
            if let Some((entry, _)) = self.nodes.get_mut(&at) {
                keep_event(&mut entry.events, event);
                return self.jobs_on(&at.0, &at.1);
            }
            return Vec::new();
        }
        let by_uid = event
            .object
            .uid
            .as_ref()
            .and_then(|uid| self.objects.get(uid))
            .map(|p| Arc::clone(&p.key));
        let key = by_uid.or_else(|| self.key_by_name(&event));
        let Some(key) = key else {
            if self.unplaced.len() == UNPLACED_KEPT {
                self.unplaced.pop_front();
            }
            self.unplaced.push_back(event);
            return Vec::new();
        };
        if let Some(job) = self.jobs.get_mut(&key) {
            job.note_event(event);
        }
        vec![(*key).clone()]
    }

    /// A pod group is named `pg-<workload>-<uid>`; a controller's event may lack the uid we hold.
    fn key_by_name(&self, event: &Event) -> Option<Arc<JobKey>> {
        let name = match event.object.kind.as_str() {
            "PodGroup" => {
                let inner = event.object.name.strip_prefix("pg-")?;
                // The uid is a UUID: five dash-separated parts.
                let mut parts: Vec<&str> = inner.rsplitn(6, '-').collect();
                parts
                    .pop()
                    .filter(|workload| !workload.is_empty())?
                    .to_owned()
            }
            "Pod" => return None,
            _ => event.object.name.clone(),
        };
        let key = JobKey {
            cluster: (&event.cluster).into(),
            namespace: (&event.namespace).into(),
            name,
        };
        self.jobs
            .get_key_value(&key)
            .map(|(shared, _)| Arc::clone(shared))
    }

    fn take_unplaced(&mut self, uid: &str) -> Vec<Event> {
        if !self
            .unplaced
            .iter()
            .any(|e| e.object.uid.as_deref() == Some(uid))
        {
            return Vec::new();
        }
        let (mine, rest) = self
            .unplaced
            .drain(..)
            .partition(|e: &Event| e.object.uid.as_deref() == Some(uid));
        self.unplaced = rest;
        Vec::from(mine)
    }
}

fn restarts(pod: &Pod) -> u32 {
    pod.containers.iter().map(|c| c.restarts).sum()
}

/// Grows a list from none by one and then by half: most jobs have one pod and one controller, and a vector would begin with
/// room for four.
fn room_for_one<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len().div_ceil(2).max(1));
    }
}
