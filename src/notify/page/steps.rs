//! What PagerDuty is told next, from what it heard last and how things are. Pure.

use crate::store::PageRow;

/// What PagerDuty heard last about a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    /// A trigger was begun whose outcome is not known.
    Triggering {
        episode: i64,
    },
    Triggered {
        episode: i64,
    },
    Acknowledged {
        episode: i64,
    },
    Resolved {
        episode: i64,
    },
}

/// How things are now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Now {
    /// Not bad enough to wake anyone, or silenced.
    Quiet,
    Failing,
    Acknowledged,
    Over,
}

/// What PagerDuty is to be told next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Trigger,
    Acknowledge,
    Resolve,
}

/// The calls that bring PagerDuty from `told` to `now`. A job that fails again (`episode` grew) after someone
/// acknowledged an earlier failure pages again; a subject that is over is never triggered.
pub(super) fn steps(told: Told, now: Now, episode: i64) -> &'static [Step] {
    match (told, now) {
        // Where a trigger may have been heard: the same key again only adds a line to the incident.
        (Told::Nothing | Told::Triggering { .. }, Now::Failing) => &[Step::Trigger],
        (Told::Triggering { .. } | Told::Triggered { .. }, Now::Acknowledged) => {
            &[Step::Acknowledge]
        }
        (
            Told::Triggering { .. } | Told::Triggered { .. } | Told::Acknowledged { .. },
            Now::Over,
        ) => &[Step::Resolve],
        (Told::Acknowledged { episode: earlier }, Now::Failing) if episode > earlier => {
            &[Step::Resolve, Step::Trigger]
        }
        (Told::Resolved { episode: earlier }, Now::Failing) if episode > earlier => {
            &[Step::Trigger]
        }
        (Told::Nothing, Now::Quiet | Now::Acknowledged | Now::Over)
        | (
            Told::Triggering { .. } | Told::Triggered { .. } | Told::Acknowledged { .. },
            Now::Quiet,
        )
        | (Told::Triggered { .. }, Now::Failing)
        | (Told::Acknowledged { .. }, Now::Failing | Now::Acknowledged)
        | (Told::Resolved { .. }, Now::Failing | Now::Quiet | Now::Acknowledged | Now::Over) => &[],
    }
}

pub(super) fn told(row: Option<&PageRow>) -> Told {
    let Some(PageRow { state, episode, .. }) = row else {
        return Told::Nothing;
    };
    let episode = *episode;
    match state.as_str() {
        "triggered" => Told::Triggered { episode },
        "acknowledged" => Told::Acknowledged { episode },
        "resolved" => Told::Resolved { episode },
        _ => Told::Triggering { episode },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pagerduty_is_told_only_what_it_does_not_know() {
        use Step::{Acknowledge, Resolve, Trigger};
        let table: [(Told, Now, i64, &[Step]); 14] = [
            (Told::Nothing, Now::Failing, 0, &[Trigger]),
            (Told::Nothing, Now::Quiet, 0, &[]),
            (Told::Nothing, Now::Over, 0, &[]),
            (Told::Nothing, Now::Acknowledged, 0, &[]),
            (Told::Triggering { episode: 0 }, Now::Failing, 0, &[Trigger]),
            (Told::Triggering { episode: 0 }, Now::Over, 0, &[Resolve]),
            (Told::Triggered { episode: 0 }, Now::Failing, 0, &[]),
            (
                Told::Triggered { episode: 0 },
                Now::Acknowledged,
                0,
                &[Acknowledge],
            ),
            (Told::Triggered { episode: 0 }, Now::Over, 0, &[Resolve]),
            (Told::Acknowledged { episode: 0 }, Now::Failing, 0, &[]),
            (
                Told::Acknowledged { episode: 0 },
                Now::Failing,
                1,
                &[Resolve, Trigger],
            ),
            (Told::Resolved { episode: 0 }, Now::Failing, 0, &[]),
            (Told::Resolved { episode: 0 }, Now::Failing, 1, &[Trigger]),
            (Told::Resolved { episode: 0 }, Now::Over, 1, &[]),
        ];
        for (told, now, episode, expected) in table {
            assert_eq!(
                steps(told, now, episode),
                expected,
                "{told:?} {now:?} {episode}"
            );
        }
    }
}
