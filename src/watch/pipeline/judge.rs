//! What is wrong with the jobs, nodes and sources that changed, and what goes away before it could be told.

use std::sync::{Arc, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::{OWNER_WAIT, Pipeline};
use crate::alert::report::view;
use crate::detect::{assess, first_death, node_symptoms};
use crate::estate::JobKey;
use crate::watch::sources::Health;
use crate::watch::{Observation, report};

/// Jobs judged under one lock of the estate, which readers wait for.
const JUDGE: usize = 1_000;
/// A source may fail this long before it is an alert of its own.
const SOURCE_HOLD: SignedDuration = SignedDuration::from_mins(2);
/// While a cluster is read for the first time its controllers may come long after its pods.
const OWNER_WAIT_AT_START: SignedDuration = SignedDuration::from_secs(30);

impl Pipeline {
    /// Judges what an observation takes away, as far as something was seen of it that is not judged yet. No more than
    /// that: the pods of a large gang leave one by one.
    pub(super) fn judge_before(&mut self, observation: &Observation, now: Timestamp) {
        let leaving = {
            let estate = self.estate.read().unwrap_or_else(PoisonError::into_inner);
            match observation {
                Observation::PodGone { uid, .. } | Observation::ControllerGone { uid, .. } => {
                    estate.of_object(uid).filter(|job| {
                        let last = job.pods.len() + job.controllers.len() <= 1;
                        last || self.work.fresh.contains(uid)
                    })
                }
                Observation::WorkloadGone { id } | Observation::WorkloadLetGo { id } => {
                    estate.by_runai_id(id)
                }
                Observation::ListDone { .. } => None,
                Observation::Workload(_)
                | Observation::Pod(_)
                | Observation::Controller(_)
                | Observation::Node(_)
                | Observation::NodeGone { .. }
                | Observation::Event(_)
                | Observation::ListStarted { .. }
                | Observation::Progress { .. }
                | Observation::Beat(_) => return,
            }
            .map(|job| Arc::clone(&job.key))
        };
        match leaving {
            Some(key) => {
                if let Some(key) = self.work.jobs.take(&*key) {
                    self.judge_jobs(&[key], now);
                }
            }
            None if matches!(observation, Observation::ListDone { .. }) => self.judge(now),
            None => {}
        }
    }

    /// Judges the jobs and nodes that changed.
    pub(super) fn judge(&mut self, now: Timestamp) {
        let mut keys: Vec<JobKey> = self.work.jobs.drain().collect();
        self.work.fresh.clear();
        // A batch that holds the same always looks the same.
        keys.sort_unstable();
        self.judge_jobs(&keys, now);
        self.judge_nodes(now);
    }

    fn judge_jobs(&mut self, keys: &[JobKey], now: Timestamp) {
        for some in keys.chunks(JUDGE) {
            let shared = Arc::clone(&self.estate);
            let mut estate = shared.write().unwrap_or_else(PoisonError::into_inner);
            for key in some {
                let Some(job) = estate.job(key) else {
                    self.work.orphans.remove(key);
                    let view = view(&key.cluster, &key.namespace, &key.name);
                    let project = self.work.project_of(&view);
                    if self.control.admits(project, &key.namespace, now) {
                        self.work.gone(&view);
                    } else {
                        // Nobody looks there any more, which is no sign that the job is gone.
                        self.work.failed.remove(&view);
                    }
                    continue;
                };
                let judged = assess(job, &estate, &self.thresholds, now);
                // A node on which several jobs die is judged by that, whatever it says of itself.
                if let Some((node, _)) = first_death(job) {
                    self.work.nodes.insert((key.cluster.clone(), node));
                }
                let admitted = self
                    .control
                    .admits(job.project.as_deref(), &key.namespace, now);
                let seen = report::of_job(job, judged.symptoms);
                let mut recheck = judged.recheck;
                if admitted {
                    let wait = if estate.is_being_read(&key.cluster) {
                        OWNER_WAIT_AT_START
                    } else {
                        OWNER_WAIT
                    };
                    match self.work.waits_for_owner(job, &seen, wait, now) {
                        Some(until) => recheck = Some(recheck.map_or(until, |at| at.min(until))),
                        None => self.work.report(seen),
                    }
                }
                estate.schedule(key, recheck);
            }
        }
    }

    fn judge_nodes(&mut self, now: Timestamp) {
        let nodes = std::mem::take(&mut self.work.nodes);
        let shared = Arc::clone(&self.estate);
        let estate = shared.read().unwrap_or_else(PoisonError::into_inner);
        for at in nodes {
            let Some(entry) = estate.node(&at.0, &at.1) else {
                self.work.gone(&view(&at.0, "", &at.1));
                continue;
            };
            let judged = node_symptoms(entry, &estate, &self.thresholds, now);
            if let Some(recheck) = judged.recheck {
                self.work.nodes_due.insert((recheck, at));
            }
            if self.control.admits(None, "", now) {
                self.work
                    .report(report::of_node(&entry.node, judged.symptoms));
            }
        }
    }

    /// Sources that fail or are silent are alerts of their own: no news from them is not good news.
    pub(super) fn judge_sources(&mut self, now: Timestamp) {
        for status in self.sources.statuses(now) {
            let held = |since: Timestamp| now.duration_since(since) >= SOURCE_HOLD;
            let trouble = match &status.health {
                Health::Fresh | Health::Paused { .. } => None,
                Health::Failing { since, error } if held(*since) => {
                    Some(("Failing", *since, error.clone()))
                }
                Health::Late { since } if held(*since) => {
                    Some(("Silent", *since, format!("nothing was heard since {since}")))
                }
                Health::NeverSeen if held(status.state.expected_since) => Some((
                    "Silent",
                    status.state.expected_since,
                    "it was never heard".to_owned(),
                )),
                Health::Failing { .. } | Health::Late { .. } | Health::NeverSeen => continue,
            };
            let name = &status.state.source;
            if self.work.sources.get(name) != Some(&trouble.is_some()) {
                self.work.sources.insert(name.clone(), trouble.is_some());
                self.work.report(report::of_source(name, trouble));
            }
        }
    }
}
