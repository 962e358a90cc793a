//! What was not looked at, as sentences.

use std::collections::BTreeSet;

use crate::diagnose::analyze::{Case, First};
use crate::diagnose::hit::Tier;
use crate::redact;

/// Sentences of one diagnosis.
const MISSING: usize = 20;
const MISSING_LENGTH: usize = 300;

pub(super) fn sentences(case: &Case<'_>, failing: bool, first: &First) -> Vec<String> {
    let mut sentences: Vec<String> = case
        .evidence
        .missing
        .iter()
        .map(|text| redact::line(text, MISSING_LENGTH))
        .collect();
    if failing {
        let has_log = |previous: Option<bool>| {
            first.pod.as_ref().is_none_or(|pod| {
                case.evidence.logs.iter().any(|log| {
                    &log.pod == pod
                        && previous.is_none_or(|wanted| wanted == log.previous)
                        && !log.lines.is_empty()
                })
            })
        };
        let died = case
            .deaths
            .iter()
            .any(|death| Some(&death.pod.name) == first.pod.as_ref());
        if let Some(pod) = first.pod.as_ref().filter(|_| died && !has_log(None)) {
            sentences.push(format!("The log of pod {pod} is not available or empty."));
        }
        let none_known = case.evidence.pods.is_empty() && !case.evidence.controllers.is_empty();
        if none_known && case.evidence.pods_unread {
            sentences.push("The job's pods could not be read, and so no log of theirs.".to_owned());
        } else if none_known {
            sentences.push("The job's pods are gone, and their logs with them.".to_owned());
        }
        let gpu_job = case.evidence.pods.iter().any(|pod| pod.gpus > 0.0);
        let gpu_source = case.evidence.nodes.iter().any(|node| {
            node.conditions.iter().any(|condition| {
                !matches!(
                    condition.kind.as_str(),
                    "Ready"
                        | "MemoryPressure"
                        | "DiskPressure"
                        | "PIDPressure"
                        | "NetworkUnavailable"
                )
            })
        }) || case.evidence.measured.tells_gpu_health()
            || case.hits.iter().any(|hit| hit.tier == Tier::Node);
        let ran =
            !case.deaths.is_empty() || case.evidence.pods.iter().any(|pod| pod.phase == "Running");
        if gpu_job && ran && !gpu_source {
            sentences.push(
                "GPU health is unknown: no source reports Xids or ECC errors of the nodes."
                    .to_owned(),
            );
        }
    }
    let mut seen = BTreeSet::new();
    sentences.retain(|sentence| seen.insert(sentence.clone()));
    sentences.truncate(MISSING);
    sentences
}
