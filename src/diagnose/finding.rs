//! Puts a weighed case into the words and the shape of the contract: ranked findings, each with its evidence. Pure.

mod confidence;
mod conflict;
mod missing;
mod unknown;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use super::analyze::{Case, First};
use super::hit::{Hit, Tier};
use super::standing::Death;
use super::standing::{Standing, is_unscheduled};
use super::{Diagnosis, EvidenceLine, Finding, Role, Verdict, pending, remedy};
use crate::redact;

/// Characters of one line of evidence, as the contract has it.
const LINE: usize = 500;
/// Lines of evidence of one finding.
const LINES: usize = 6;
const FINDINGS: usize = 10;
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
        findings.push(unknown::finding(case, first));
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
        missing_evidence: missing::sentences(case, failing, first),
        course: None,
    };
    fit(&mut diagnosis);
    diagnosis
}

fn main_finding(case: &Case<'_>, failure: usize, first: &First) -> Finding {
    let row = &case.knowledge.failures()[failure];
    let hits = hits_of(case, failure, first);
    let rival = conflict::rival(case, failure, first);
    let mut explanation = row.cause.clone();
    for sentence in [
        waits(case, failure).find_map(|hit| pending::explained(&hit.line, case.evidence)),
        words::where_first(case, first, row),
        words::rest_of_gang(case, first),
        words::recovery_action(row, &hits),
        words::quotas(case, row),
        words::changed(case, first),
        rival.map(|rival| conflict::sentence(case, failure, rival)),
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
        confidence: if rival.is_some() {
            confidence::doubted(confidence::confidence(case, row, &hits, first))
        } else {
            confidence::confidence(case, row, &hits, first)
        },
        title: row.title.clone(),
        explanation: redact::line(&explanation, EXPLANATION),
        evidence: evidence_lines(case, &hits),
        recommendation: waits(case, failure)
            .find_map(|hit| pending::unblocked(&hit.line, case.evidence))
            .unwrap_or_else(|| row.advice.clone()),
        remediation: remedy::remediation(case, row, first),
    }
}

/// The hits that may tell what a pod waits for. One that has its node no longer waits for any, whatever counts its
/// message holds.
fn waits<'a>(case: &'a Case<'_>, failure: usize) -> impl Iterator<Item = &'a Hit> {
    case.hits.iter().filter(move |hit| {
        hit.failure == failure
            && hit.pod.as_ref().is_none_or(|name| {
                case.evidence
                    .pods
                    .iter()
                    .all(|pod| &pod.name != name || is_unscheduled(pod))
            })
    })
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
            // They say that the reason is not known.
            || (matches!(row.id.as_str(), "exit_1" | "image_pull_backoff") && root.is_some())
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
        confidence: confidence::confidence(case, row, &hits, first),
        title: row.title.clone(),
        explanation,
        evidence: evidence_lines(case, &hits[..hits.len().min(3)]),
        recommendation: row.advice.clone(),
        remediation,
    }
}
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
            lines.push(ended_line(death));
        }
    }
    lines
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

/// How a container ended, as evidence.
fn ended_line(death: &Death<'_>) -> EvidenceLine {
    EvidenceLine {
        source: "status".to_owned(),
        pod: Some(death.pod.name.clone()),
        container: Some(death.container.name.to_string()),
        line: format!(
            "{} terminated: exit code {}",
            death.container.name, death.end.exit_code
        ),
    }
}
