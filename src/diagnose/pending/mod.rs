//! Why a job waits: what schedulers say, which of several reasons counts, and the numbers in plain words. Pure.

mod message;
#[cfg(test)]
mod tests;
mod words;

use std::sync::LazyLock;

use jiff::Timestamp;
use regex::Regex;

use super::Evidence;
use super::standing::is_unscheduled;
use crate::estate::{Phase, Pod};
use message::Kind;
pub(super) use words::{explained, unblocked};

/// One statement of why something waits.
pub(super) struct Waiting<'a> {
    pub(super) source: &'static str,
    pub(super) pod: Option<&'a Pod>,
    pub(super) at: Option<Timestamp>,
    /// What to match.
    pub(super) text: String,
    /// What to show.
    pub(super) line: String,
}

const SCHEDULER_EVENTS: &[&str] = &[
    "FailedScheduling",
    "Unschedulable",
    "FailedBinding",
    "BindingError",
    "NotReady",
    "NotTriggerScaleUp",
];

/// The latest word of each place about each waiting pod. Older words of the scheduler no longer hold.
pub(super) fn reasons(evidence: &Evidence) -> Vec<Waiting<'_>> {
    /// A gang waits as one; the rest of it says the same.
    const PODS: usize = 8;
    let mut reasons = Vec::new();
    let phase = evidence.workload.as_ref().map(|workload| &workload.phase);
    let waiting: Vec<&Pod> = evidence
        .pods
        .iter()
        .filter(|pod| is_unscheduled(pod))
        .collect();
    let job_waits = !waiting.is_empty()
        || matches!(phase, Some(Phase::Pending | Phase::Creating))
        || (evidence.pods.is_empty() && !matches!(phase, Some(Phase::Running | Phase::Completed)));
    if !job_waits {
        return reasons;
    }
    for pod in waiting.iter().take(PODS) {
        let event = evidence
            .events
            .iter()
            .filter(|event| {
                event.object.kind == "Pod"
                    && event.object.name == pod.name
                    && SCHEDULER_EVENTS.contains(&event.reason.as_str())
            })
            .max_by_key(|event| event.last);
        let condition = pod
            .conditions
            .iter()
            .find(|condition| condition.kind == "PodScheduled" && condition.status == "False");
        // The condition is rewritten at every attempt; an event of the same words may be older.
        if let Some(message) = condition.and_then(|condition| condition.message.as_deref()) {
            reasons.push(Waiting {
                source: "status",
                pod: Some(pod),
                at: condition.and_then(|condition| condition.since),
                text: message.to_owned(),
                line: format!("PodScheduled=False: {message}"),
            });
        } else if let Some(event) = event {
            reasons.push(Waiting {
                source: "event",
                pod: Some(pod),
                at: Some(event.last),
                text: event.message.clone(),
                line: format!("{}: {}", event.reason, event.message),
            });
        }
    }
    let group = evidence
        .events
        .iter()
        .filter(|event| {
            ((event.object.kind == "PodGroup"
                || (evidence.pods.is_empty() && event.object.kind == "Pod"))
                && SCHEDULER_EVENTS.contains(&event.reason.as_str()))
                // An admission queue speaks of its own object, or of the job.
                || (matches!(event.object.kind.as_str(), "Workload" | "Job")
                    && matches!(event.reason.as_str(), "Pending" | "Suspended" | "QuotaReserved")
                    && event.message.contains("quota"))
        })
        .max_by_key(|event| event.last);
    if let Some(event) = group {
        reasons.push(Waiting {
            source: "event",
            pod: None,
            at: Some(event.last),
            text: event.message.clone(),
            line: format!("{}: {}", event.reason, event.message),
        });
    }
    for message in &evidence.pending_messages {
        reasons.push(Waiting {
            source: "runai",
            pod: None,
            at: None,
            text: message.clone(),
            line: message.clone(),
        });
    }
    if let Some(workload) = &evidence.workload
        && let Some(message) = &workload.phase_message
        && matches!(workload.phase, Phase::Pending | Phase::Creating)
    {
        reasons.push(Waiting {
            source: "runai",
            pod: None,
            at: workload.phase_updated,
            text: message.clone(),
            line: format!("phase {}: {message}", workload.phase.as_str()),
        });
    }
    reasons
}

macro_rules! pattern {
    ($name:ident, $re:literal) => {
        static $name: LazyLock<Regex> =
            LazyLock::new(|| Regex::new($re).expect("a constant that the tests compile"));
    };
}

pattern!(
    GPU_TAINT,
    r"(?i)untolerated taint \{[^}]*(?:gpu|accelerator)"
);
/// Which of the reasons named in one message only stand beside the one that counts.
pub(super) fn beside_the_point<'a>(ids: &[&'a str], text: &str) -> Vec<&'a str> {
    let has = |id: &str| ids.contains(&id);
    let drop = |unwanted: &[&str]| {
        ids.iter()
            .copied()
            .filter(|id| unwanted.contains(id))
            .collect()
    };
    let message = message::read(text);
    let lacking = message.nodes(|kind| matches!(kind, Kind::Resource(_)));
    let tainted = message.nodes(|kind| matches!(kind, Kind::Taint(_) | Kind::Cordoned));
    let closed = message.nodes(|kind| matches!(kind, Kind::Cordoned));
    let elsewhere = message.nodes(|kind| matches!(kind, Kind::VolumeElsewhere));
    let about_gpus = text.to_ascii_lowercase().contains("gpu");
    if has("insufficient_gpus") && has("placement_constraints") {
        // Nodes without GPUs lack them too. If the GPU nodes are those that are tainted, the taint is what counts.
        if GPU_TAINT.is_match(text) {
            return drop(&["insufficient_gpus"]);
        }
        if closed > lacking || (!about_gpus && tainted > lacking) {
            return drop(&["insufficient_gpus"]);
        }
        if has("volume_affinity_conflict") && elsewhere >= lacking {
            return drop(&["insufficient_gpus", "placement_constraints"]);
        }
        return drop(&["placement_constraints"]);
    }
    if has("insufficient_gpus") && has("volume_affinity_conflict") {
        return if elsewhere >= lacking {
            drop(&["insufficient_gpus"])
        } else {
            drop(&["volume_affinity_conflict"])
        };
    }
    Vec::new()
}
