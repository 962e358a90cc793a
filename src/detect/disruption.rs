//! Pods that the scheduler took: told by events alone, since the pods are gone.

use jiff::{SignedDuration, Timestamp};

use super::{Assessment, FailureClass, Symptom};
use crate::estate::Event;
use crate::estate::index::Job;

/// How long after it a preemption still explains what is seen.
const FRESH: SignedDuration = SignedDuration::from_mins(30);

/// Run:AI's scheduler (KAI) deletes pods outright and says so in a Normal `Evict` event on the pod group; the default
/// scheduler says `Preempted` on the pod.
pub(super) fn assess(job: &Job, now: Timestamp, found: &mut Assessment) {
    if !super::ended_well(job) {
        repeated(job, now, found);
    }
    let taken = job
        .events
        .iter()
        .rev()
        .find(|event| event.reason == "Evict" || event.reason == "Preempted");
    let Some(event) = taken else { return };
    let action = event
        .annotations
        .iter()
        .find(|(name, _)| name == "evictor-action-type")
        .map(|(_, v)| v.as_str());
    // The last members of a gang are evicted because one died: that one is the failure, and speaks for itself.
    if action == Some("stalegangeviction")
        || event.message.contains("minimum required number of pods")
    {
        return;
    }
    let state = match action {
        Some("reclaim") => "Reclaimed",
        Some("consolidation") => "Consolidated",
        _ => "Preempted",
    };
    found.within(FRESH, event.last, now, || {
        Symptom::new(
            FailureClass::Disrupted,
            state,
            event.message.clone(),
            event.last,
        )
        .expected()
    });
}

/// This many preemptions in a day are a matter of quota or priority, not of chance.
pub(crate) const REPEATED: usize = 3;
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A job that is taken again and again gets nowhere, though each time is in order.
fn repeated(job: &Job, now: Timestamp, found: &mut Assessment) {
    let times = preemptions(&job.events, now);
    let Some(counted_from) = times.len().checked_sub(REPEATED).map(|index| times[index]) else {
        return;
    };
    found.within(DAY, counted_from, now, || {
        Symptom::new(
            FailureClass::Disrupted,
            "RepeatedPreemption",
            format!("preempted {} times within 24 hours", times.len()),
            times[0],
        )
    });
}

/// When the scheduler took the job within the last day, oldest first. What it takes of one gang at a time counts once;
/// events that were folded into one count as often as they say.
pub(crate) fn preemptions<'a>(
    events: impl IntoIterator<Item = &'a Event>,
    now: Timestamp,
) -> Vec<Timestamp> {
    /// The pods of a gang are taken within this time.
    const TOGETHER: SignedDuration = SignedDuration::from_mins(10);
    let mut taken: Vec<(Timestamp, usize)> = events
        .into_iter()
        .filter(|event| {
            matches!(event.reason.as_str(), "Evict" | "Preempted")
                && !event.message.contains("minimum required number")
                && !event.annotations.iter().any(|(name, value)| {
                    name == "evictor-action-type" && value == "stalegangeviction"
                })
                && event.last <= now
                && now.duration_since(event.last) < DAY
        })
        .map(|event| {
            // A gang's pods are folded into one event too, within moments.
            let spread = event
                .first
                .is_some_and(|first| event.last.duration_since(first) >= TOGETHER);
            let folded = if event.object.kind == "PodGroup" && spread {
                event.count.max(1) as usize
            } else {
                1
            };
            (event.last, folded)
        })
        .collect();
    taken.sort_unstable();
    let mut times: Vec<Timestamp> = Vec::new();
    let mut before: Option<Timestamp> = None;
    for (at, folded) in taken {
        if before.is_none_or(|before| at.duration_since(before) >= TOGETHER) {
            times.push(at);
        }
        before = Some(at);
        times.extend(std::iter::repeat_n(at, folded - 1));
    }
    times
}

/// The states that mean that the scheduler gave a job's place to another.
pub(super) fn is_preemption(state: &str) -> bool {
    matches!(
        state,
        "Preempted" | "Reclaimed" | "Consolidated" | "PreemptionByScheduler"
    )
}
