//! The restart budget: a job is restarted again only while restarting it helps. Pure.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::action::ActionKind;
use crate::estate::progress::Progress;
use crate::safety::{Execution, ExecutionState, Scope};

/// Restarts for one cause that may go without progress.
const PER_CAUSE: usize = 1;
/// Restarts for whatever cause that may go without progress.
const OVERALL: usize = 3;
/// A job that ran this long after a restart moved on; shorter runs end about where they began. Where its log tells no
/// steps, time is the only measure.
const PROGRESS: SignedDuration = SignedDuration::from_hours(1);
/// How far back restarts are remembered.
pub const MEMORY: SignedDuration = SignedDuration::from_hours(7 * 24);

/// One real execution on the job.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    pub kind: ActionKind,
    pub cause: Option<String>,
    pub state: ExecutionState,
    /// Its end; if it has not ended, when it was permitted.
    pub at: Timestamp,
    /// Since when the job was failing that it was to repair.
    pub failing_since: Option<Timestamp>,
}

/// What the store's executions of a service tell the ledger.
#[must_use]
pub fn past(executions: &[(Execution, Scope)]) -> Vec<Past> {
    executions
        .iter()
        .filter(|(execution, _)| !execution.dry_run)
        .map(|(execution, scope)| Past {
            kind: execution.spec.kind,
            cause: scope.cause.clone(),
            state: execution.state,
            at: execution.ended.unwrap_or(execution.created),
            failing_since: scope.failing_since,
        })
        .collect()
}

/// The budget is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exhausted {
    pub restarts: usize,
    pub last: Timestamp,
    /// For this cause, not for all together.
    pub same_cause: bool,
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = if self.restarts == 1 {
            "once".to_owned()
        } else {
            format!("{} times", self.restarts)
        };
        let cause = if self.same_cause {
            " for this cause"
        } else {
            ""
        };
        write!(
            f,
            "it was restarted {times}{cause}, last at {}, and failed again without progress; another restart would not help",
            self.last.strftime("%Y-%m-%d %H:%M UTC")
        )
    }
}

/// What the logs of a job tell of its last attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether it got beyond the attempt before, where steps or epochs were read.
    pub advanced: Option<bool>,
    /// When a checkpoint was last saved.
    pub checkpoint: Option<Timestamp>,
}

impl Seen {
    /// What is known of how far the job is.
    #[must_use]
    pub fn of(progress: Option<&Progress>) -> Self {
        Self {
            advanced: progress.and_then(Progress::advanced),
            checkpoint: progress.and_then(Progress::last_checkpoint),
        }
    }

    /// Whether the attempt that began with a restart at `restarted` made progress. Steps say it best: an attempt may save
    /// what the one before it had saved already.
    fn since(self, restarted: Timestamp) -> Option<bool> {
        let saved = || self.checkpoint.is_some_and(|at| at > restarted);
        self.advanced.or_else(|| saved().then_some(true))
    }
}

/// Whether one more restart is worth it for a job that fails since `failing_since`, given what was seen of its last
/// attempt.
///
/// # Errors
/// Tells what was tried.
pub fn check(
    past: &[Past],
    cause: &str,
    failing_since: Timestamp,
    seen: Seen,
    now: Timestamp,
) -> Result<(), Exhausted> {
    let restarts: Vec<&Past> = past
        .iter()
        .filter(|p| {
            p.kind.is_restart() && p.state != ExecutionState::Cancelled && p.at + MEMORY > now
        })
        .collect();
    // From the latest back to the one that was followed by progress.
    let mut next_failure = failing_since;
    let mut wasted: Vec<&Past> = Vec::new();
    for restart in restarts.into_iter().rev() {
        let ran_long = next_failure.duration_since(restart.at) >= PROGRESS;
        // What was read of the last attempt says nothing of those before it.
        let advanced = wasted
            .is_empty()
            .then(|| seen.since(restart.at))
            .flatten()
            .unwrap_or(ran_long);
        let moved_on = restart.state == ExecutionState::Verified && advanced;
        if moved_on {
            break;
        }
        wasted.push(restart);
        next_failure = restart.failing_since.unwrap_or(restart.at);
    }
    let Some(last) = wasted.first().map(|p| p.at) else {
        return Ok(());
    };
    let same = wasted
        .iter()
        .filter(|p| p.cause.as_deref() == Some(cause))
        .count();
    if same >= PER_CAUSE {
        return Err(Exhausted {
            restarts: same,
            last,
            same_cause: true,
        });
    }
    if wasted.len() >= OVERALL {
        return Err(Exhausted {
            restarts: wasted.len(),
            last,
            same_cause: false,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + minute * 60).unwrap()
    }
    fn restart(cause: &str, failing: i64, ended: i64) -> Past {
        Past {
            kind: ActionKind::RunaiRestart,
            cause: Some(cause.into()),
            state: ExecutionState::Verified,
            at: at(ended),
            failing_since: Some(at(failing)),
        }
    }

    #[test]
    fn a_second_restart_for_one_cause_needs_progress_after_the_first() {
        let past = [restart("xid_79", 0, 10)];
        assert!(check(&past, "xid_79", at(15), Seen::default(), at(16)).is_err());
        assert!(
            check(&past, "xid_79", at(0), Seen::default(), at(16)).is_err(),
            "the alert never recovered"
        );
        assert_eq!(
            check(&past, "xid_79", at(75), Seen::default(), at(76)),
            Ok(())
        );
        assert_eq!(
            check(&past, "evicted", at(15), Seen::default(), at(16)),
            Ok(())
        );
    }

    #[test]
    fn steps_that_were_read_count_more_than_time() {
        let past = [restart("a", 0, 10)];
        let steps = |advanced| Seen {
            advanced: Some(advanced),
            ..Seen::default()
        };
        assert_eq!(check(&past, "a", at(15), steps(true), at(16)), Ok(()));
        assert!(check(&past, "a", at(500), steps(false), at(501)).is_err());
    }

    #[test]
    fn a_checkpoint_since_the_restart_is_progress_unless_the_steps_say_otherwise() {
        let past = [restart("a", 0, 10)];
        let saved = |minute, advanced| Seen {
            advanced,
            checkpoint: Some(at(minute)),
        };
        assert_eq!(check(&past, "a", at(15), saved(12, None), at(16)), Ok(()));
        assert!(
            check(&past, "a", at(15), saved(9, None), at(16)).is_err(),
            "it is of the attempt before"
        );
        assert!(
            check(&past, "a", at(15), saved(12, Some(false)), at(16)).is_err(),
            "what was saved before was saved again"
        );
    }

    #[test]
    fn three_restarts_without_progress_are_enough_whatever_the_causes() {
        let past = [
            restart("a", 0, 10),
            restart("b", 15, 20),
            restart("c", 25, 30),
        ];
        let refused = check(&past, "d", at(35), Seen::default(), at(36)).unwrap_err();
        assert_eq!(refused.restarts, 3);
        assert!(!refused.same_cause);
        assert!(
            refused
                .to_string()
                .starts_with("it was restarted 3 times, last at 2026-09-21")
        );
    }

    #[test]
    fn progress_forgives_what_was_wasted_before_it() {
        // The second restart ran two hours; waiting for the third approval is not taken for progress.
        let past = [
            restart("a", 0, 10),
            restart("b", 15, 20),
            restart("c", 140, 400),
        ];
        assert!(check(&past, "c", at(405), Seen::default(), at(406)).is_err());
        assert_eq!(check(&past, "a", at(405), Seen::default(), at(406)), Ok(()));
    }

    #[test]
    fn a_failed_restart_counts_and_a_cancelled_one_does_not() {
        let mut past = [restart("a", 0, 10)];
        past[0].state = ExecutionState::Failed;
        assert!(check(&past, "a", at(500), Seen::default(), at(501)).is_err());
        past[0].state = ExecutionState::Cancelled;
        assert_eq!(check(&past, "a", at(15), Seen::default(), at(16)), Ok(()));
    }

    #[test]
    fn after_a_week_it_is_forgotten() {
        assert_eq!(
            check(
                &[restart("a", 0, 10)],
                "a",
                at(8 * 1440),
                Seen::default(),
                at(8 * 1440)
            ),
            Ok(())
        );
    }
}
