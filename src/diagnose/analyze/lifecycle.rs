//! Whether a life-cycle event (a stop, a preemption, a reclaimed machine) explains how the job stands.

use jiff::Timestamp;

use super::{Case, TEARDOWN};
use crate::diagnose::Role;
use crate::diagnose::hit::{Hit, Tier};
use crate::diagnose::knowledge::Failure;
use crate::diagnose::standing::Standing;

impl Case<'_> {
    /// The life-cycle event that explains how the job stands, if one does.
    pub(super) fn expected(&self) -> Option<usize> {
        if self.standing == Standing::Well || self.standing == Standing::Starting {
            return None;
        }
        let best = self
            .hits
            .iter()
            .filter(|hit| {
                !hit.weak
                    && self.row(hit).role == Role::Expected
                    && self.row(hit).id != "partial_gang"
            })
            .max_by_key(|hit| (self.row(hit).weight, hit.at))?;
        let row = self.row(best);
        let overridden = self.hits.iter().any(|hit| {
            let other = self.row(hit);
            !hit.weak && other.role == Role::Root && other.over.contains(&row.id)
        });
        if overridden || self.is_named("repeated_preemption") {
            return None;
        }
        if row.id == "runai_stopped" {
            return Some(best.failure);
        }
        // Ctrl-C in a log is how many programs take a SIGTERM; it explains nothing if something else failed.
        let says = |hit: &&Hit| {
            let row = self.row(hit);
            !hit.weak && row.role == Role::Root && !row_waits(row) && hit.tier != Tier::Exit
        };
        let since = self.latest_of(best.failure);
        let fails = self.hits.iter().filter(says).any(|hit| {
            if best.tier == Tier::Log
                && hit.tier == Tier::Log
                && hit.pod == best.pod
                && hit.container == best.container
            {
                return self.row(hit).weight > 22;
            }
            match (hit.at, since) {
                (Some(hit_at), Some(since)) => {
                    let own_end = self.deaths.iter().any(|death| {
                        Some(&death.pod.name) == hit.pod.as_ref()
                            && death.at().is_some_and(|at| at < since)
                    });
                    hit_at.duration_since(since) > TEARDOWN || own_end
                }
                (Some(_) | None, Some(_) | None) => hit.tier != Tier::Log || best.tier == Tier::Log,
            }
        });
        let own_death_after = self.deaths.iter().any(|death| {
            !death.is_teardown()
                && death.end.exit_code != 130
                && match (death.at(), since) {
                    (Some(at), Some(since)) => at.duration_since(since) > TEARDOWN,
                    (Some(_) | None, Some(_) | None) => false,
                }
        });
        let explained = row.over.iter().any(|id| id == "node_not_ready");
        ((!fails && !own_death_after) || (explained && self.only_explained_by(row)))
            .then_some(best.failure)
    }

    fn only_explained_by(&self, row: &Failure) -> bool {
        self.hits
            .iter()
            .filter(|hit| !hit.weak && self.row(hit).role == Role::Root && hit.tier != Tier::Exit)
            .all(|hit| row.over.contains(&self.row(hit).id))
    }

    fn latest_of(&self, failure: usize) -> Option<Timestamp> {
        self.hits
            .iter()
            .filter(|hit| hit.failure == failure)
            .filter_map(|hit| hit.at)
            .max()
    }
}

/// A row that tells of a wait, not of an end.
pub(super) fn row_waits(row: &Failure) -> bool {
    matches!(
        row.id.as_str(),
        "insufficient_gpus"
            | "placement_constraints"
            | "long_pending"
            | "nonpreemptible_over_quota"
            | "over_limit"
            | "volume_affinity_conflict"
            | "pods_vanished"
            | "runai_initializing_long"
            | "runai_failed_no_pods"
    )
}
