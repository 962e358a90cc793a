//! What the poller remembers between sweeps, and what follows from a sweep. Pure.
//!
//! A workload is told only when something about it changed, so that a steady estate costs its pages and nothing more.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::{SignedDuration, Timestamp};

use super::client::Filter;
use crate::estate::{Phase, Workload};
use crate::watch::control::Projects;

/// A delta sweep looks back this far behind the newest change seen: clocks differ, and changes arrive late.
const OVERLAP: SignedDuration = SignedDuration::from_secs(120);

/// The phases that `monitor_only_failed` asks for. The API knows no "or": each is a call of its own. A workload that
/// waits too long is not among them, since only its age makes it a failure.
pub(super) const FAILING: [Phase; 3] = [Phase::Failed, Phase::Degraded, Phase::Unknown];

/// The lists to ask for, so that no workload outside the scope is ever fetched.
pub(super) fn lists(projects: &Projects, only_failed: bool) -> Vec<Filter> {
    let by_project: Vec<Filter> = match projects {
        Projects::All => vec![Filter::default()],
        Projects::Only(names) => names
            .iter()
            .map(|name| Filter {
                project: Some(name.clone()),
                ..Filter::default()
            })
            .collect(),
    };
    if !only_failed {
        return by_project;
    }
    by_project
        .iter()
        .flat_map(|list| {
            FAILING.map(|phase| Filter {
                phase: Some(phase),
                ..list.clone()
            })
        })
        .collect()
}

/// The workloads of the last sweeps, by id.
#[derive(Debug, Default)]
pub(super) struct Known {
    rows: HashMap<Box<str>, Row>,
    sweep: u64,
    newest: Option<Timestamp>,
}

#[derive(Debug)]
struct Row {
    /// Of what was last told; `None` when nothing was told yet.
    told: Option<u64>,
    seen: u64,
    /// Full sweeps in a row that did not show it.
    missed: u32,
}

/// What to do with a workload from a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// New or changed.
    Tell,
    Unchanged,
    /// Already met in this sweep: rows move while pages are fetched.
    Again,
}

impl Known {
    pub(super) fn begin(&mut self) {
        self.sweep += 1;
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Takes a workload from a page. With `hold`, it is noted as present and not told.
    pub(super) fn offer(&mut self, workload: &Workload, hold: bool, now: Timestamp) -> Offer {
        // A time ahead of ours is a wrong clock; following it would blind the delta sweeps.
        self.newest = self
            .newest
            .max(workload.phase_updated.map(|at| at.min(now)));
        let sweep = self.sweep;
        let row = self.rows.entry(workload.id.as_str().into()).or_insert(Row {
            told: None,
            seen: 0,
            missed: 0,
        });
        if row.seen == sweep {
            return Offer::Again;
        }
        row.seen = sweep;
        row.missed = 0;
        let print = fingerprint(workload);
        if hold || row.told == Some(print) {
            return Offer::Unchanged;
        }
        row.told = Some(print);
        Offer::Tell
    }

    pub(super) fn holds(&self, id: &str) -> bool {
        self.rows.contains_key(id)
    }

    /// The ids that the full sweep just done did not show, those first that were not seen for longest.
    pub(super) fn missing(&self) -> Vec<String> {
        let mut missing: Vec<(u64, &str)> = self
            .rows
            .iter()
            .filter(|(_, row)| row.seen != self.sweep)
            .map(|(id, row)| (row.seen, &**id))
            .collect();
        missing.sort_unstable();
        missing.into_iter().map(|(_, id)| id.to_owned()).collect()
    }

    /// Notes that a full sweep did not show `id` and nobody could say why; returns for how many sweeps now.
    pub(super) fn missed(&mut self, id: &str) -> u32 {
        self.rows.get_mut(id).map_or(0, |row| {
            row.missed += 1;
            row.missed
        })
    }

    pub(super) fn forget(&mut self, id: &str) {
        self.rows.remove(id);
    }

    /// From when a delta sweep must look; `None` before anything was seen.
    pub(super) fn delta_since(&self) -> Option<Timestamp> {
        self.newest
            .and_then(|newest| newest.checked_sub(OVERLAP).ok())
    }
}

/// A digest of everything that is told of a workload, but for the two clocks that tick in every answer.
fn fingerprint(workload: &Workload) -> u64 {
    // Taken apart whole, so that a field added later must be thought of here.
    let Workload {
        id,
        name,
        kind,
        project,
        namespace,
        cluster_id,
        phase,
        phase_message,
        phase_reason,
        submitted_by,
        created,
        phase_updated,
        completed,
        requested_gpus,
        allocated_gpus,
        idle_allocated_gpus,
        requested_pods,
        running_pods,
        preemptible,
        priority_class,
        images,
        node_pools,
        conditions,
        can_suspend,
        can_delete,
        running_seconds: _,
        pending_seconds: _,
    } = workload;
    let mut hash = DefaultHasher::new();
    (
        id,
        name,
        kind,
        project,
        namespace,
        cluster_id,
        phase,
        phase_message,
        phase_reason,
        submitted_by,
    )
        .hash(&mut hash);
    (
        created,
        phase_updated,
        completed,
        requested_pods,
        running_pods,
    )
        .hash(&mut hash);
    [requested_gpus, allocated_gpus, idle_allocated_gpus]
        .map(|gpus| gpus.map(f64::to_bits))
        .hash(&mut hash);
    (
        preemptible,
        priority_class,
        images,
        node_pools,
        can_suspend,
        can_delete,
    )
        .hash(&mut hash);
    for condition in conditions {
        (
            &condition.kind,
            &condition.status,
            &condition.reason,
            &condition.message,
            condition.since,
        )
            .hash(&mut hash);
    }
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::runai::wire;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).expect("a time in range")
    }

    fn workload(id: &str, phase: &str) -> Workload {
        let body = serde_json::json!({"workloads": [{
            "id": id, "name": id, "phase": phase, "createdAt": "2026-03-02T10:00:00Z",
        }]});
        wire::workloads(body.to_string().as_bytes())
            .expect("a page")
            .items
            .remove(0)
    }

    #[test]
    fn only_what_changed_is_told() {
        let mut known = Known::default();
        known.begin();
        let mut running = workload("a", "Running");
        assert_eq!(known.offer(&running, false, at(0)), Offer::Tell);
        assert_eq!(
            known.offer(&running, false, at(0)),
            Offer::Again,
            "a row that moved to the next page"
        );
        known.begin();
        running.running_seconds = Some(60);
        assert_eq!(
            known.offer(&running, false, at(60)),
            Offer::Unchanged,
            "time alone is no news"
        );
        known.begin();
        assert_eq!(
            known.offer(&workload("a", "Failed"), false, at(120)),
            Offer::Tell
        );
    }

    #[test]
    fn what_is_held_back_is_present_and_told_later() {
        let mut known = Known::default();
        known.begin();
        let failed = workload("a", "Failed");
        assert_eq!(known.offer(&failed, true, at(0)), Offer::Unchanged);
        assert!(known.missing().is_empty());
        known.begin();
        assert_eq!(known.offer(&failed, false, at(60)), Offer::Tell);
    }

    #[test]
    fn what_a_full_sweep_did_not_show_is_missing_until_forgotten() {
        let mut known = Known::default();
        known.begin();
        known.offer(&workload("a", "Running"), false, at(0));
        known.begin();
        assert_eq!(known.missing(), ["a"]);
        assert_eq!((known.missed("a"), known.missed("a")), (1, 2));
        known.forget("a");
        assert!(known.missing().is_empty());
    }

    #[test]
    fn a_delta_looks_behind_the_newest_change_and_never_ahead_of_the_clock() {
        let mut known = Known::default();
        assert_eq!(known.delta_since(), None);
        known.begin();
        let mut running = workload("a", "Running");
        running.phase_updated = Some(at(1000));
        known.offer(&running, false, at(500));
        assert_eq!(known.delta_since(), Some(at(380)));
    }

    #[test]
    fn the_scope_narrows_the_lists_that_are_asked_for() {
        let only = Projects::Only(vec!["etl".to_owned(), "nlp".to_owned()]);
        let asked = |lists: Vec<Filter>| -> Vec<(Option<String>, Option<Phase>)> {
            lists
                .into_iter()
                .map(|list| (list.project, list.phase))
                .collect()
        };
        assert_eq!(asked(lists(&Projects::All, false)), [(None, None)]);
        assert_eq!(asked(lists(&only, false)).len(), 2);
        assert_eq!(asked(lists(&only, true)).len(), 6);
        assert_eq!(
            asked(lists(&Projects::All, true))[0],
            (None, Some(Phase::Failed))
        );
        assert!(lists(&Projects::Only(Vec::new()), true).is_empty());
    }
}
