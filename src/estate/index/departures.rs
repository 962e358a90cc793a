//! What leaves the estate: objects and workloads that are gone, and what a finished list no longer holds.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Estate, Job, JobKey, RUNAI_SCOPE, controllers_scope};

impl Estate {
    pub(super) fn drop_workload(&mut self, id: &str) -> Vec<JobKey> {
        let Some(placed) = self.workloads.remove(id) else {
            return Vec::new();
        };
        if let Some(job) = self.jobs.get_mut(&placed.key)
            && job.workload.as_ref().is_some_and(|w| w.id == id)
        {
            job.workload = None;
        }
        self.drop_if_empty(&placed.key);
        vec![(*placed.key).clone()]
    }

    pub(super) fn drop_object(&mut self, uid: &str) -> Vec<JobKey> {
        let Some(placed) = self.objects.remove(uid) else {
            return Vec::new();
        };
        let Some(job) = self.jobs.get_mut(&placed.key) else {
            return vec![(*placed.key).clone()];
        };
        if let Some(at) = place_of(&job.pods, |pod| pod.uid == uid, placed.at) {
            let left = job.pods.swap_remove(at);
            if let Some(moved) = job.pods.get(at)
                && let Some(moved) = self.objects.get_mut(&moved.uid)
            {
                moved.at = at;
            }
            if let Some(node) = left.node
                && !job.pods.iter().any(|pod| pod.node.as_ref() == Some(&node))
            {
                let at = (placed.key.cluster.clone(), node);
                if let Some(keys) = self.on_node.get_mut(&at) {
                    keys.remove(&placed.key);
                    if keys.is_empty() {
                        self.on_node.remove(&at);
                        self.lost_nodes.remove(&at);
                    }
                }
            }
        } else {
            job.controllers.retain(|controller| controller.uid != uid);
        }
        self.drop_if_empty(&placed.key);
        vec![(*placed.key).clone()]
    }

    pub(super) fn drop_node(&mut self, at: (String, String), now: Timestamp) -> Vec<JobKey> {
        let known = self.nodes.remove(&at).is_some();
        let jobs = self.jobs_on(&at.0, &at.1);
        if known && !jobs.is_empty() {
            self.lost_nodes.insert(at, now);
        }
        jobs
    }

    pub(super) fn drop_if_empty(&mut self, key: &Arc<JobKey>) {
        if self.job(key).is_some_and(Job::is_empty) {
            self.schedule(key, None);
            self.jobs.remove(key);
        }
    }

    /// Drops what a finished list no longer holds.
    pub(super) fn sweep(&mut self, scope: &str, now: Timestamp) -> Vec<JobKey> {
        let generation = self.generation(scope);
        self.listed.insert(scope.to_owned(), true);
        let mut changed = BTreeSet::new();
        if scope == RUNAI_SCOPE {
            let gone: Vec<String> = self
                .workloads
                .iter()
                .filter(|(_, p)| p.seen < generation)
                .map(|(id, _)| id.clone())
                .collect();
            for id in gone {
                changed.extend(self.drop_workload(&id));
            }
        } else if let Some(cluster) = scope.strip_prefix("nodes@") {
            let gone: Vec<(String, String)> = self
                .nodes
                .iter()
                .filter(|(at, (_, seen))| at.0 == cluster && *seen < generation)
                .map(|(at, _)| at.clone())
                .collect();
            for at in gone {
                changed.extend(self.drop_node(at, now));
            }
        } else if let Some((kind, cluster)) = scope.split_once('@') {
            let mut gone = Vec::new();
            for job in self.jobs.values().filter(|job| job.key.cluster == cluster) {
                let pods = job
                    .pods
                    .iter()
                    .filter(|_| kind == "pods")
                    .map(|pod| &pod.uid);
                let controllers = job
                    .controllers
                    .iter()
                    .filter(|c| controllers_scope(&c.kind, &c.cluster) == scope)
                    .map(|c| &c.uid);
                for uid in pods.chain(controllers) {
                    if self
                        .objects
                        .get(uid)
                        .is_none_or(|placed| placed.seen < generation)
                    {
                        gone.push(uid.clone());
                    }
                }
            }
            for uid in gone {
                changed.extend(self.drop_object(&uid));
            }
        }
        changed.into_iter().collect()
    }
}

/// Where in a list something is: at `hint`, or somewhere else.
pub(super) fn place_of<T>(list: &[T], is_it: impl Fn(&T) -> bool, hint: usize) -> Option<usize> {
    if list.get(hint).is_some_and(&is_it) {
        Some(hint)
    } else {
        list.iter().position(is_it)
    }
}
