//! Nothing fits: the best excerpt, and an honest word.

use std::sync::LazyLock;

use super::{LINE, LINES, ended_line, evidence_lines, words};
use crate::diagnose::analyze::{Case, First};
use crate::diagnose::hit::{Hit, Tier};
use crate::diagnose::knowledge::{Failure, Remedy};
use crate::diagnose::{EvidenceLine, Finding, Role, SafetyClass, logs};
use crate::redact;

pub(super) fn finding(case: &Case<'_>, first: &First) -> Finding {
    let mut evidence = Vec::new();
    let dead = |pod: &str, container: &str| {
        case.deaths
            .iter()
            .any(|death| death.pod.name == pod && death.container.name == container)
    };
    let mut logs: Vec<_> = case.evidence.logs.iter().collect();
    logs.sort_by_key(|log| {
        (
            Some(&log.pod) != first.pod.as_ref(),
            !dead(&log.pod, &log.container),
            !log.previous,
        )
    });
    for log in logs.into_iter().take(3) {
        let telling = logs::telling_line(log, case.knowledge).or_else(|| {
            log.lines
                .iter()
                .rev()
                .find(|line| !line.text.trim().is_empty())
        });
        if let Some(line) = telling {
            evidence.push(EvidenceLine {
                source: if log.previous { "previous_log" } else { "log" }.to_owned(),
                pod: Some(log.pod.clone()),
                container: Some(log.container.clone()),
                line: redact::line(&line.text, LINE),
            });
        }
    }
    let mut states: Vec<&Hit> = case
        .hits
        .iter()
        .filter(|hit| !hit.weak && hit.tier != Tier::Log)
        .collect();
    states.sort_by_key(|hit| (hit.pod != first.pod, hit.tier));
    evidence.extend(evidence_lines(case, &states[..states.len().min(3)]));
    for death in case.deaths.iter().take(2) {
        if evidence
            .iter()
            .any(|line| line.pod.as_deref() == Some(&death.pod.name) && line.source == "status")
        {
            continue;
        }
        evidence.push(ended_line(death));
    }
    if evidence.is_empty()
        && let Some(workload) = &case.evidence.workload
    {
        let message = workload.phase_message.as_deref().unwrap_or("no message");
        evidence.push(EvidenceLine {
            source: "runai".to_owned(),
            pod: None,
            container: None,
            line: redact::line(
                &format!("phase {}: {message}", workload.phase.as_str()),
                LINE,
            ),
        });
    }
    evidence.truncate(LINES);
    let recommendation = if evidence.is_empty() {
        "Look at the job's pods, events and logs by hand: nothing of them could be read."
    } else {
        "Read the lines above, and tell nightbell with a thumbs-down what it was."
    };
    Finding {
        cause: "unknown".to_owned(),
        role: Role::Root,
        confidence: 0.2,
        title: "Cause not known".to_owned(),
        explanation: format!(
            "The job is not well, but nothing that was read fits a known failure.{}",
            words::where_first(case, first, &UNKNOWN_PLACE)
                .map(|sentence| format!(" {sentence}"))
                .unwrap_or_default()
        ),
        evidence,
        recommendation: recommendation.to_owned(),
        remediation: None,
    }
}

/// Stands for "no row" where only the place is told.
static UNKNOWN_PLACE: LazyLock<Failure> = LazyLock::new(|| Failure {
    id: "unknown".to_owned(),
    title: String::new(),
    role: Role::Root,
    alone: false,
    see: Vec::new(),
    weight: 0,
    over: Vec::new(),
    hardware: false,
    safety: SafetyClass::Human,
    action: Remedy::Nothing,
    cause: String::new(),
    advice: String::new(),
    source: String::new(),
    signs: Vec::new(),
    node: None,
});
