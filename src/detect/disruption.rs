//! Pods that the scheduler took: told by events alone, since the pods are gone.

use jiff::{SignedDuration, Timestamp};

use super::{Assessment, FailureClass, Symptom};
use crate::estate::index::Job;

/// How long after it a preemption still explains what is seen.
const FRESH: SignedDuration = SignedDuration::from_mins(30);

/// Run:AI's scheduler (KAI) deletes pods outright and says so in a Normal `Evict` event on the pod group; the default
/// scheduler says `Preempted` on the pod.
pub(super) fn assess(job: &Job, now: Timestamp, found: &mut Assessment) {
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

/// The states that mean that the scheduler gave a job's place to another.
pub(super) fn is_preemption(state: &str) -> bool {
    matches!(
        state,
        "Preempted" | "Reclaimed" | "Consolidated" | "PreemptionByScheduler"
    )
}
