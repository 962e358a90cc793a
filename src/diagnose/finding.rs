//! Puts a weighed case into the words and the shape of the contract: ranked findings, each with its evidence. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::analyze::{Case, First};
use super::hit::{Hit, Tier};
use super::knowledge::Failure;
use super::standing::Standing;
use super::{Diagnosis, EvidenceLine, Finding, Role, Verdict, logs, pending, remedy};
use crate::redact;

/// Characters of one line of evidence, as the contract has it.
const LINE: usize = 500;
/// Lines of evidence of one finding.
const LINES: usize = 6;
const FINDINGS: usize = 10;
const MISSING: usize = 20;
const MISSING_LENGTH: usize = 300;
const EXPLANATION: usize = 1200;
/// The contract's limit for the whole JSON, less room for what carries it.
const JSON_BYTES: usize = 60 << 10;

pub(super) fn diagnosis(
    case: &Case<'_>,
    state: Verdict,
    root: Option<usize>,
    expected: Option<usize>,
    first: &First,
) -> Diagnosis {
    let mut findings = Vec::new();
    let chosen = root.or(expected);
    if let Some(failure) = root {
        findings.push(main_finding(case, failure, first));
    } else if let Some(failure) = expected {
        findings.push(side_finding(case, failure, Role::Expected, first));
    } else if state == Verdict::Failing {
        findings.push(unknown(case, first));
    }
    findings.extend(side_findings(case, chosen, root, first));
    findings.truncate(FINDINGS);
    let failing = state == Verdict::Failing;
    let mut diagnosis = Diagnosis {
        job: redact::line(&case.evidence.job.name, 253),
        project: case
            .evidence
            .project
            .as_deref()
            .map(|project| redact::line(project, 253)),
        namespace: redact::line(&case.evidence.job.namespace, 253),
        state,
        findings,
        first_failure: if failing { first.failure() } else { None },
        missing_evidence: missing(case, failing, first),
    };
    fit(&mut diagnosis);
    diagnosis
}

fn main_finding(case: &Case<'_>, failure: usize, first: &First) -> Finding {
    let row = &case.knowledge.failures()[failure];
    let hits = hits_of(case, failure, first);
    let mut explanation = row.cause.clone();
    for sentence in [
        case.hits
            .iter()
            .filter(|hit| hit.failure == failure)
            .find_map(|hit| pending::explained(&hit.line, case.evidence)),
        where_first(case, first, row),
        rest_of_gang(case, first),
        recovery_action(row, &hits),
    ]
    .into_iter()
    .flatten()
    {
        explanation.push(' ');
        explanation.push_str(&sentence);
    }
    Finding {
        cause: row.id.clone(),
        role: Role::Root,
        confidence: confidence(case, row, &hits, first),
        title: row.title.clone(),
        explanation: redact::line(&explanation, EXPLANATION),
        evidence: evidence_lines(case, &hits),
        recommendation: row.advice.clone(),
        remediation: remedy::remediation(case, row, first),
    }
}

fn side_findings(
    case: &Case<'_>,
    chosen: Option<usize>,
    root: Option<usize>,
    first: &First,
) -> Vec<Finding> {
    let mut by_failure: BTreeMap<usize, bool> = BTreeMap::new();
    for hit in case
        .hits
        .iter()
        .filter(|hit| !hit.weak && Some(hit.failure) != chosen)
    {
        let row = case.row(hit);
        // Of a job that runs well, only what is to be expected of its past is worth a word.
        let quiet = root.is_none()
            && matches!(
                case.standing,
                Standing::Well | Standing::Completed | Standing::Starting
            );
        if (quiet && !matches!(row.role, Role::Expected))
            || row.id == "long_pending"
            || (row.id == "exit_1" && root.is_some())
        {
            continue;
        }
        by_failure.insert(hit.failure, true);
    }
    let root_row = root.map(|root| &case.knowledge.failures()[root]);
    let mut findings: Vec<(u8, u8, Finding)> = by_failure
        .into_keys()
        .map(|failure| {
            let row = &case.knowledge.failures()[failure];
            let explained = root_row
                .is_some_and(|root| root.over.contains(&row.id) || row.see.contains(&root.id));
            let elsewhere = case
                .hits
                .iter()
                .filter(|hit| hit.failure == failure)
                .all(|hit| hit.pod.is_some() && hit.pod != first.pod);
            let role = match row.role {
                Role::Root if explained || !elsewhere => Role::Confirming,
                Role::Root => Role::Cascade,
                role @ (Role::Cascade | Role::Confirming | Role::Expected) => role,
            };
            let order = match role {
                Role::Root | Role::Confirming => 0,
                Role::Cascade => 1,
                Role::Expected => 2,
            };
            (
                order,
                100 - row.weight,
                side_finding(case, failure, role, first),
            )
        })
        .collect();
    findings.sort_by(|a, b| (a.0, a.1, &a.2.cause).cmp(&(b.0, b.1, &b.2.cause)));
    findings
        .into_iter()
        .map(|(_, _, finding)| finding)
        .collect()
}

fn side_finding(case: &Case<'_>, failure: usize, role: Role, first: &First) -> Finding {
    let row = &case.knowledge.failures()[failure];
    let hits = hits_of(case, failure, first);
    let explanation = match role {
        Role::Cascade => format!("{} Here it follows from an earlier failure.", row.cause),
        Role::Root | Role::Confirming | Role::Expected => row.cause.clone(),
    };
    let remediation = match role {
        Role::Expected => remedy::remediation(case, row, first),
        Role::Confirming => remedy::node_remediation(case, row, first),
        Role::Root | Role::Cascade => None,
    };
    Finding {
        cause: row.id.clone(),
        role,
        confidence: confidence(case, row, &hits, first),
        title: row.title.clone(),
        explanation,
        evidence: evidence_lines(case, &hits[..hits.len().min(3)]),
        recommendation: row.advice.clone(),
        remediation,
    }
}

/// Nothing fits: the best excerpt, and an honest word.
fn unknown(case: &Case<'_>, first: &First) -> Finding {
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
        evidence.push(EvidenceLine {
            source: "status".to_owned(),
            pod: Some(death.pod.name.clone()),
            container: Some(death.container.name.clone()),
            line: format!(
                "{} terminated: exit code {}",
                death.container.name, death.end.exit_code
            ),
        });
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
    Finding {
        cause: "unknown".to_owned(),
        role: Role::Root,
        confidence: 0.2,
        title: "Cause not known".to_owned(),
        explanation: format!(
            "The job is not well, but nothing that was read fits a known failure.{}",
            where_first(case, first, &UNKNOWN_PLACE)
                .map(|sentence| format!(" {sentence}"))
                .unwrap_or_default()
        ),
        evidence,
        recommendation: "Read the lines above, and tell nightbell with a thumbs-down what it was."
            .to_owned(),
        remediation: None,
    }
}

/// Stands for "no row" where only the place is told.
static UNKNOWN_PLACE: std::sync::LazyLock<Failure> = std::sync::LazyLock::new(|| Failure {
    id: "unknown".to_owned(),
    title: String::new(),
    role: Role::Root,
    alone: false,
    see: Vec::new(),
    weight: 0,
    over: Vec::new(),
    hardware: false,
    safety: super::SafetyClass::Human,
    action: super::knowledge::Remedy::Nothing,
    cause: String::new(),
    advice: String::new(),
    source: String::new(),
    signs: Vec::new(),
    node: None,
});

/// The hits of a failure, those of the first failing pod before the others, in order of time; one per place.
fn hits_of<'h>(case: &'h Case<'_>, failure: usize, first: &First) -> Vec<&'h Hit> {
    let mut hits: Vec<&Hit> = case
        .hits
        .iter()
        .filter(|hit| hit.failure == failure)
        .collect();
    if hits.iter().any(|hit| !hit.weak) {
        hits.retain(|hit| !hit.weak);
    }
    hits.sort_by_key(|hit| {
        (
            hit.pod.is_some() && hit.pod != first.pod,
            hit.tier == Tier::Exit,
            hit.at,
            hit.order,
        )
    });
    hits
}

fn evidence_lines(case: &Case<'_>, hits: &[&Hit]) -> Vec<EvidenceLine> {
    let mut seen = BTreeSet::new();
    let mut lines = Vec::new();
    for hit in hits {
        if lines.len() == LINES {
            break;
        }
        if !seen.insert((&hit.line, hit.source)) {
            continue;
        }
        lines.push(EvidenceLine {
            source: hit.source.to_owned(),
            pod: hit.pod.clone(),
            container: hit.container.clone(),
            line: redact::line(hit.line.trim_end(), LINE),
        });
    }
    if lines.is_empty() {
        // A cause that is told by what is missing shows the ends that it explains.
        for death in case.deaths.iter().take(2) {
            lines.push(EvidenceLine {
                source: "status".to_owned(),
                pod: Some(death.pod.name.clone()),
                container: Some(death.container.name.clone()),
                line: format!(
                    "{} terminated: exit code {}",
                    death.container.name, death.end.exit_code
                ),
            });
        }
    }
    lines
}

/// Where and when it was first seen.
fn where_first(case: &Case<'_>, first: &First, row: &Failure) -> Option<String> {
    let pod = first.pod.as_ref()?;
    if case.evidence.pods.len() < 2 && first.rank.is_none() && row.node.is_none() {
        return None;
    }
    let rank = first
        .rank
        .map(|rank| format!(" (rank {rank})"))
        .unwrap_or_default();
    let node = first
        .node
        .as_ref()
        .map(|node| format!(" on node {node}"))
        .unwrap_or_default();
    let at = first
        .at
        .map(|at| format!(" at {}", at.strftime("%H:%M:%S UTC")))
        .unwrap_or_default();
    Some(format!("It failed first in pod {pod}{rank}{node}{at}."))
}

/// How the rest of the gang ended.
fn rest_of_gang(case: &Case<'_>, first: &First) -> Option<String> {
    let pod = first.pod.as_ref()?;
    let others: BTreeSet<&str> = case
        .deaths
        .iter()
        .map(|death| death.pod.name.as_str())
        .filter(|name| name != pod)
        .collect();
    match others.len() {
        0 => None,
        1 => Some("One other pod ended after it.".to_owned()),
        more => Some(format!("{more} other pods ended after it.")),
    }
}

/// Xid 154 names the action that the GPU needs.
fn recovery_action(row: &Failure, hits: &[&Hit]) -> Option<String> {
    if row.id != "xid_154" {
        return None;
    }
    let text = hits.first()?.line.to_ascii_lowercase();
    let action = [
        ("node reboot", "The driver asks for a reboot of the node."),
        (
            "drain and reset",
            "The driver asks for the node to be drained and the GPU reset.",
        ),
        (
            "drain p2p",
            "The driver asks for peer-to-peer work to be drained.",
        ),
        ("gpu reset", "The driver asks for a reset of the GPU."),
    ];
    action
        .iter()
        .find(|(words, _)| text.contains(words))
        .map(|(_, sentence)| (*sentence).to_owned())
}

fn confidence(case: &Case<'_>, row: &Failure, hits: &[&Hit], first: &First) -> f64 {
    /// What each missing piece of evidence costs.
    const MISSING_COST: f64 = 0.05;
    let strongest = hits.iter().map(|hit| (hit.weak, hit.tier)).min();
    let died = case
        .deaths
        .iter()
        .any(|death| Some(&death.pod.name) == first.pod.as_ref() && !death.is_teardown());
    let base: f64 = match strongest {
        Some((true, _)) => 0.45,
        Some((false, Tier::State)) if row.id == "image_pull_backoff" => 0.6,
        Some((false, Tier::State)) if row.weight >= 50 => 0.97,
        Some((false, Tier::State)) if row.weight >= 30 => 0.85,
        Some((false, Tier::State)) => 0.55,
        // A conclusion from other jobs, not a report of the node.
        Some((false, Tier::Node)) if row.id == "bad_node_many_jobs" => 0.7,
        Some((false, Tier::Node)) => 0.95,
        Some((false, Tier::Log)) if row.role != Role::Root => 0.65,
        Some((false, Tier::Log)) => match (row.weight, died) {
            (0..=30, true) => 0.75,
            (0..=30, false) => 0.6,
            (_, true) => 0.92,
            (_, false) => 0.8,
        },
        Some((false, Tier::Exit)) if row.weight >= 50 => 0.5,
        Some((false, Tier::Exit)) | None => 0.4,
    };
    let missing = u32::try_from(case.evidence.missing.len().min(4)).unwrap_or(4);
    let cost = match strongest {
        // What is stated outright stays so, whatever else could not be read.
        Some((false, Tier::State | Tier::Node)) => 0.0,
        Some((_, Tier::State | Tier::Node | Tier::Log | Tier::Exit)) | None => {
            MISSING_COST * f64::from(missing)
        }
    };
    ((base - cost).clamp(0.1, 0.99) * 100.0).round() / 100.0
}

/// What was not looked at, as sentences.
fn missing(case: &Case<'_>, failing: bool, first: &First) -> Vec<String> {
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
        if case.evidence.pods.is_empty() && !case.evidence.controllers.is_empty() {
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
        }) || case.hits.iter().any(|hit| hit.tier == Tier::Node);
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

/// Keeps the whole within the contract's limit, giving up the least first.
fn fit(diagnosis: &mut Diagnosis) {
    let size =
        |diagnosis: &Diagnosis| serde_json::to_vec(diagnosis).map_or(usize::MAX, |json| json.len());
    let mut keep = LINES;
    while size(diagnosis) > JSON_BYTES && keep > 1 {
        keep -= 1;
        for finding in &mut diagnosis.findings {
            finding.evidence.truncate(keep);
        }
    }
    while size(diagnosis) > JSON_BYTES && diagnosis.findings.len() > 1 {
        diagnosis.findings.pop();
    }
}
