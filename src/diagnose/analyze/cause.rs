//! The one cause among all that was found, or the honest lack of one.

use std::cmp::Reverse;

use super::{Case, First};
use crate::diagnose::hit::{Hit, Tier};
use crate::diagnose::standing::Standing;
use crate::diagnose::{Role, logs};

/// A row of at most this weight is told by an exit code alone.
const EXIT_WEIGHT: u8 = 12;
/// A row of at most this weight only wraps another failure.
const WRAPPER_WEIGHT: u8 = 14;

/// What the log says of an exit that no signature explains.
enum Silence {
    /// Nothing died with a small exit code.
    NoSuchExit,
    /// Nothing, or it could not be read: the row that says so.
    Silent(Option<usize>),
    /// Something that nobody knows.
    Speaks,
}

impl Case<'_> {
    /// The cause, as the index of its row.
    ///
    /// What may be a root is asked first, near the first failure before elsewhere; then what usually follows from
    /// something, for want of anything better; then what was only warned of.
    pub(super) fn root(&self, first: &First) -> Option<usize> {
        let mut strong = self.candidates(|row| row.role == Role::Root, false);
        // An elastic job that trains with fewer workers than it asked for waits, and is not blocked.
        if self.is_named("partial_gang") {
            strong.retain(|hit| !super::lifecycle::row_waits(self.row(hit)));
        }
        let near = near(&strong, first);
        let outright = if near.is_empty() { &strong } else { &near };
        if !self.only_exit_codes(outright)
            && let Some(best) = self.best(outright, first)
        {
            return Some(best.failure);
        }
        if self.is_well() {
            return None;
        }
        if let Some(failure) = self.by_first_observed() {
            return Some(failure);
        }
        let follows = self.candidates(
            |row| matches!(row.role, Role::Cascade | Role::Confirming) && row.alone,
            false,
        );
        let elsewhere = || {
            self.best(&strong, first)
                .filter(|_| !self.only_exit_codes(&strong))
                .map(|hit| hit.failure)
        };
        if let Some(named) = self
            .specific(&self::near(&follows, first), &follows)
            .or_else(elsewhere)
        {
            return Some(named);
        }
        match self.silent_exit(first) {
            Silence::Silent(failure) => return failure,
            // It says something, only nothing that is known: that is told as unknown, with the line.
            Silence::Speaks => return None,
            Silence::NoSuchExit => {}
        }
        let warned = || {
            self.best(&self.candidates(|row| row.role == Role::Root, true), first)
                .filter(|hit| hit.tier != Tier::State)
                .map(|hit| hit.failure)
        };
        self.specific(&follows, &follows)
            .or_else(warned)
            .or_else(|| self.best_following(&follows).map(|hit| hit.failure))
    }

    pub(super) fn is_well(&self) -> bool {
        matches!(
            self.standing,
            Standing::Well | Standing::Starting | Standing::Completed
        )
    }

    /// The hits that may be the cause, of rows that qualify.
    fn candidates(
        &self,
        qualifies: impl Fn(&crate::diagnose::knowledge::Failure) -> bool,
        weak: bool,
    ) -> Vec<&Hit> {
        self.hits
            .iter()
            .filter(|hit| hit.weak == weak && qualifies(self.row(hit)) && self.is_admissible(hit))
            .collect()
    }

    /// Of a job that runs well, only the rules over time and the gravest faults of its node are a cause.
    pub(super) fn is_admissible(&self, hit: &Hit) -> bool {
        if !self.is_well() {
            return true;
        }
        let row = self.row(hit);
        matches!(
            row.id.as_str(),
            "hang"
                | "idle_gpus"
                | "held_no_process"
                | "straggler"
                | "throughput_drop"
                | "stale_checkpoint"
                | "exit_0_incomplete"
                | "repeated_preemption"
                | "pod_stuck_terminating"
        ) || (hit.tier == Tier::Node
            && self.standing == Standing::Well
            && row.weight >= 70
            && row.hardware
            && self.is_of_this_run(hit))
    }

    fn only_exit_codes(&self, hits: &[&Hit]) -> bool {
        hits.iter().all(|hit| self.row(hit).weight <= EXIT_WEIGHT)
    }

    /// Of rows that usually follow, the one that says most, if it is more than a wrapper.
    /// A bare non-zero exit is explained by the log's silence, not by the wrappers around it.
    fn specific<'a>(&self, hits: &[&'a Hit], all: &[&'a Hit]) -> Option<usize> {
        let telling = |hits: &[&'a Hit]| -> Vec<&'a Hit> {
            hits.iter()
                .copied()
                .filter(|hit| self.row(hit).weight > WRAPPER_WEIGHT)
                .collect()
        };
        let mut best = self.best_following(&telling(hits))?;
        // How it ended says less than what the logs of the others say.
        if best.tier == Tier::Exit
            && let Some(said) = self.best_following(&telling(all))
            && said.tier == Tier::Log
        {
            best = said;
        }
        // What the other pods say may explain how this one ended.
        let explaining = all
            .iter()
            .filter(|hit| self.row(hit).over.contains(&self.row(best).id))
            .max_by_key(|hit| self.row(hit).weight);
        Some(explaining.map_or(best.failure, |hit| hit.failure))
    }

    /// Of rows that usually follow from something, the one that says most.
    fn best_following<'h>(&self, hits: &[&'h Hit]) -> Option<&'h Hit> {
        hits.iter().copied().max_by_key(|hit| {
            (
                self.row(hit).weight,
                Reverse((hit.at.unwrap_or(jiff::Timestamp::MAX), hit.order)),
            )
        })
    }

    /// The report of torchrun names how the first worker ended, which the container's own exit code hides.
    fn by_first_observed(&self) -> Option<usize> {
        let id = match self.first_observed.as_ref()?.exit_code? {
            -9 => "torchrun_negative_exit",
            -11 => "segfault",
            -7 => "exit_135_sigbus",
            -4 => "illegal_instruction",
            -8 => "exit_136_sigfpe",
            _ => return None,
        };
        self.knowledge.index(id)
    }

    /// What there is to say of a small non-zero exit that no signature explains.
    fn silent_exit(&self, first: &First) -> Silence {
        let Some(death) = self
            .deaths
            .iter()
            .filter(|death| !death.is_teardown() && matches!(death.end.exit_code, 1..=124 | 128))
            .min_by_key(|death| (Some(&death.pod.name) != first.pod.as_ref(), death.at()))
        else {
            return Silence::NoSuchExit;
        };
        let mut logs = self
            .evidence
            .logs
            .iter()
            .filter(|log| log.pod == death.pod.name && log.container == death.container.name)
            .peekable();
        let unread = logs.peek().is_none();
        if logs.any(|log| logs::telling_line(log, self.knowledge).is_some()) {
            return Silence::Speaks;
        }
        Silence::Silent(self.knowledge.index(if unread && death.end.exit_code == 1 {
            "exit_1"
        } else {
            "app_exit_unexplained"
        }))
    }
}

/// The hits of the first failing pod, its node, or the job as a whole.
fn near<'h>(hits: &[&'h Hit], first: &First) -> Vec<&'h Hit> {
    hits.iter()
        .copied()
        .filter(|hit| Case::is_near(hit, first))
        .collect()
}
