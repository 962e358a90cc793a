//! Why a job waits: what schedulers say, which of several reasons counts, and the numbers in plain words. Pure.

use std::sync::LazyLock;

use jiff::Timestamp;
use regex::Regex;

use super::Evidence;
use super::standing::is_unscheduled;
use crate::estate::{Phase, Pod};

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
            (event.object.kind == "PodGroup"
                || (evidence.pods.is_empty() && event.object.kind == "Pod"))
                && SCHEDULER_EVENTS.contains(&event.reason.as_str())
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

pattern!(AVAILABLE, r"(?i)\b(\d+)/(\d+) nodes? (?:are|is) available");
pattern!(
    PART,
    r"(?i)(\d+) ((?:node\(s\) |Insufficient |Too many )(?:\{[^}]*\}|\.\S|[^,.;{])*)"
);
pattern!(
    GPU_TAINT,
    r"(?i)untolerated taint \{[^}]*(?:gpu|accelerator)"
);
pattern!(
    QUOTA,
    r"(?is)requested (\d+(?:\.\d+)?) GPUs?.*?quota is (\d+(?:\.\d+)?) GPUs?.*?(\d+(?:\.\d+)?) GPUs? are already allocated"
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
    if has("insufficient_gpus") && has("placement_constraints") {
        // Nodes without GPUs lack them too. If the GPU nodes are those that are tainted, the taint is what counts.
        if GPU_TAINT.is_match(text) {
            return drop(&["insufficient_gpus"]);
        }
        if count_of(text, "cordon").max(count_of(text, "were unschedulable"))
            > count_of(text, "insufficient")
        {
            return drop(&["insufficient_gpus"]);
        }
        if !text.to_ascii_lowercase().contains("gpu")
            && count_of(text, "insufficient") < count_of(text, "taint")
        {
            return drop(&["insufficient_gpus"]);
        }
        if has("volume_affinity_conflict")
            && count_of(text, "volume node affinity") >= count_of(text, "insufficient")
        {
            return drop(&["insufficient_gpus", "placement_constraints"]);
        }
        return drop(&["placement_constraints"]);
    }
    if has("insufficient_gpus") && has("volume_affinity_conflict") {
        return if count_of(text, "volume node affinity") >= count_of(text, "insufficient") {
            drop(&["insufficient_gpus"])
        } else {
            drop(&["volume_affinity_conflict"])
        };
    }
    Vec::new()
}

/// How many nodes the parts of a scheduler's message that contain a word count.
fn count_of(text: &str, word: &str) -> u32 {
    parts(text)
        .into_iter()
        .filter(|(_, part)| part.to_ascii_lowercase().contains(word))
        .map(|(count, _)| count)
        .sum()
}

/// The counted parts of a scheduler's message, without what it says about preemption.
fn parts(text: &str) -> Vec<(u32, String)> {
    let placing = text.split("preemption:").next().unwrap_or(text);
    PART.captures_iter(placing)
        .filter_map(|found| Some((found[1].parse().ok()?, found[2].trim().to_owned())))
        .collect()
}

/// The wait in one sentence with its numbers, if the message has any.
pub(super) fn explained(text: &str, evidence: &Evidence) -> Option<String> {
    if let Some(found) = QUOTA.captures(text) {
        return Some(format!(
            "It asks for {} GPUs; the project's quota is {} GPUs, of which {} are taken by non-preemptible work.",
            &found[1], &found[2], &found[3]
        ));
    }
    let found = AVAILABLE.captures(text)?;
    let (free, all): (u32, u32) = (found[1].parse().ok()?, found[2].parse().ok()?);
    let mut parts = parts(text);
    parts.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let reasons: Vec<String> = parts
        .iter()
        .take(4)
        .map(|(count, part)| in_words(*count, part))
        .collect();
    let gpus = evidence
        .pods
        .iter()
        .find(|pod| is_unscheduled(pod))
        .map_or(0.0, |pod| pod.gpus);
    let asks = if gpus > 0.0 {
        format!(
            "Each waiting pod asks for {gpus} GPU{} on one node; ",
            if gpus > 1.0 { "s" } else { "" }
        )
    } else {
        String::new()
    };
    let take = match (free, all) {
        (0, 1) => "the only node cannot take it".to_owned(),
        (0, all) => format!("none of the {all} nodes can take it"),
        (free, all) => format!("{free} of the {all} nodes could take it"),
    };
    let sentence = format!("{asks}{take}: {}.", reasons.join(", "));
    let mut chars = sentence.chars();
    let first = chars.next()?;
    Some(first.to_uppercase().chain(chars).collect())
}

fn in_words(count: u32, part: &str) -> String {
    let many = count != 1;
    let low = part.to_ascii_lowercase();
    let (have, are, carry) = if many {
        ("have", "are", "carry")
    } else {
        ("has", "is", "carries")
    };
    if let Some(resource) = low.strip_prefix("insufficient ") {
        let resource = if resource.contains("gpu") {
            "GPUs"
        } else {
            resource
        };
        return format!("{count} {have} too little free {resource}")
            .replace("too little free GPUs", "too few free GPUs");
    }
    if low.contains("taint") {
        let taint = part
            .split_once('{')
            .and_then(|(_, rest)| rest.split('}').next());
        return match taint {
            Some(taint) => format!(
                "{count} {carry} the taint {} that it does not tolerate",
                taint.trim()
            ),
            None => format!("{count} {carry} a taint that it does not tolerate"),
        };
    }
    if low.contains("unschedulable") {
        return format!("{count} {are} cordoned");
    }
    if low.contains("affinity/selector") || low.contains("node affinity") && !low.contains("volume")
    {
        return format!(
            "{count} {} not fit its selector or affinity",
            if many { "do" } else { "does" }
        );
    }
    if low.contains("volume node affinity") {
        return format!("{count} cannot reach its volume");
    }
    format!("{count} {}", part.trim_start_matches("node(s) "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_that_counts_is_told_from_those_beside_it() {
        let both = ["insufficient_gpus", "placement_constraints"];
        for (text, dropped) in [
            (
                "0/12 nodes are available: 9 Insufficient nvidia.com/gpu, 3 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }.",
                "placement_constraints",
            ),
            (
                "0/12 nodes are available: 4 Insufficient nvidia.com/gpu, 8 node(s) had untolerated taint {nvidia.com/gpu: present}.",
                "insufficient_gpus",
            ),
            (
                "0/6 nodes are available: 1 Insufficient nvidia.com/gpu, 5 node(s) were unschedulable.",
                "insufficient_gpus",
            ),
        ] {
            assert_eq!(beside_the_point(&both, text), [dropped], "{text}");
        }
    }

    #[test]
    fn the_numbers_of_a_scheduler_become_a_sentence() {
        let evidence = crate::diagnose::tests::Scene::new("train")
            .pod("train-0", |pod| pod.pending().gpus(8.0))
            .evidence();
        assert_eq!(
            explained(
                "0/12 nodes are available: 3 node(s) had untolerated taint {dedicated: infra}, 9 Insufficient nvidia.com/gpu. preemption: 0/12 nodes are available: 12 No preemption victims found.",
                &evidence
            )
            .unwrap(),
            "Each waiting pod asks for 8 GPUs on one node; none of the 12 nodes can take it: 9 have too few free GPUs, 3 carry \
             the taint dedicated: infra that it does not tolerate."
        );
    }
}
