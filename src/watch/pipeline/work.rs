//! What the pipeline still has to judge or to tell.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use super::OWNER_WAIT;
use crate::alert::report::{JobReport, Presence, view};
use crate::estate::JobKey;
use crate::estate::index::Job;
use crate::watch::report::Batch;

/// What is still to be judged or told.
#[derive(Default)]
pub(super) struct Work {
    /// Jobs that changed.
    pub(super) jobs: HashSet<JobKey>,
    /// The uids of objects that something was seen of since the last judgement.
    pub(super) fresh: HashSet<String>,
    /// Nodes (cluster, name) that changed, and when to look at one again.
    pub(super) nodes: BTreeSet<(String, String)>,
    pub(super) nodes_due: BTreeSet<(Timestamp, (String, String))>,
    /// Reports that were not handed over yet.
    pub(super) batch: Batch,
    /// The last failing report of every job and node that is there and ever failed, by which its end is told.
    pub(super) failed: HashMap<String, JobReport>,
    /// Pods without their controller, since when they wait for it.
    pub(super) orphans: HashMap<JobKey, Timestamp>,
    /// What was last reported of each source: whether it fails.
    pub(super) sources: BTreeMap<String, bool>,
    /// When each list was complete for the first time.
    pub(super) lists: HashMap<String, Timestamp>,
    /// Lists that were complete once, and those of jobs that began and never were: the share of jobs that fail means
    /// nothing while most jobs are still to be told.
    pub(super) listed: BTreeSet<String>,
    pub(super) listing: BTreeSet<String>,
    /// Run:AI workloads of which it was said that they are gone, as far as alerts tell of them: while only failing ones
    /// are fetched, not to be in a list says nothing.
    pub(super) gone_workloads: HashSet<String>,
}

impl Work {
    pub(super) fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.nodes.is_empty() && self.batch.is_empty()
    }

    pub(super) fn report(&mut self, report: JobReport) {
        let view = report.view();
        if let Some(before) = self.failed.get(&view)
            && replaced(before, &report)
        {
            self.gone(&view);
        }
        if report.failing() {
            self.failed.insert(view, report.clone());
        }
        self.batch.add(report);
    }

    /// The project of what failed at `view`.
    pub(super) fn project_of(&self, view: &str) -> Option<&str> {
        self.failed.get(view)?.subject.project.as_deref()
    }

    /// What failed is no longer there.
    pub(super) fn gone(&mut self, view: &str) {
        if let Some(last) = self.failed.remove(view) {
            self.batch.add(JobReport {
                presence: Presence::Removed,
                symptoms: Vec::new(),
                ..last
            });
        }
    }

    /// What failed is no longer looked at, and did not fail when it was looked at last.
    pub(super) fn let_go(&mut self, key: &JobKey) {
        self.orphans.remove(key);
        self.failed
            .remove(&view(&key.cluster, &key.namespace, &key.name));
    }

    /// Until when a failing job whose controller was not seen yet is to wait for it; `None` if it need not.
    pub(super) fn waits_for_owner(
        &mut self,
        job: &Job,
        seen: &JobReport,
        wait: SignedDuration,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let orphaned = job.workload.is_none()
            && job.controllers.is_empty()
            && job.pods.iter().any(|pod| pod.owner.is_some())
            && seen.failing();
        if !orphaned {
            self.orphans.remove(&job.key);
            return None;
        }
        let since = *self.orphans.entry((*job.key).clone()).or_insert(now);
        let until = since.saturating_add(wait).unwrap_or(since);
        // The first lists may end long before the longest wait for them: it is looked again soon.
        let soon = now.saturating_add(OWNER_WAIT).unwrap_or(until);
        (until > now).then_some(until.min(soon))
    }
}

/// Whether another run took the place of the one that failed: the same source calls it otherwise.
fn replaced(before: &JobReport, after: &JobReport) -> bool {
    let (old, new) = (&before.identity.aliases, &after.identity.aliases);
    let common_source = old
        .iter()
        .any(|a| new.iter().any(|b| a.source() == b.source()));
    common_source && !old.iter().any(|alias| new.contains(alias))
}
