//! A diagnosis as people read it: the short form in a message, the full form in its thread, the page and the terminal.

use super::{Diagnosis, EvidenceLine, Finding, Role, SafetyClass, Verdict};
use crate::chat::card::{Block, Card, Span, Tone};

/// Characters of the excerpt in the short form: three lines of a phone.
const EXCERPT: usize = 240;

/// Verdict first, one excerpt, what to do.
#[must_use]
pub fn short(diagnosis: &Diagnosis) -> Vec<Block> {
    let Some(top) = diagnosis.findings.first() else {
        return vec![Block::Text {
            spans: vec![Span::Plain(verdict(diagnosis))],
        }];
    };
    let mut blocks = vec![Block::Text {
        spans: vec![
            Span::Bold(top.title.clone()),
            Span::Plain(format!(" · {}{}", sureness(top), place(diagnosis))),
        ],
    }];
    if let Some(line) = top.evidence.first() {
        blocks.push(Block::Code {
            text: crate::redact::line(&line.line, EXCERPT),
        });
    }
    blocks.push(Block::Text {
        spans: vec![Span::Plain(top.recommendation.clone())],
    });
    blocks
}

/// Everything: the cause explained, all evidence, what only followed, what was not looked at.
#[must_use]
pub fn full(diagnosis: &Diagnosis) -> Vec<Block> {
    let mut blocks = vec![Block::Text {
        spans: vec![Span::Bold(verdict(diagnosis))],
    }];
    for (index, finding) in diagnosis.findings.iter().enumerate() {
        if index > 0 {
            blocks.push(Block::Divider);
        }
        blocks.extend(finding_blocks(finding));
    }
    if let Some(first) = &diagnosis.first_failure {
        let mut fields = vec![(
            "First failing pod".to_owned(),
            vec![Span::Code(first.pod.clone())],
        )];
        if let Some(rank) = first.rank {
            fields.push(("Rank".to_owned(), vec![Span::Plain(rank.to_string())]));
        }
        if let Some(node) = &first.node {
            fields.push(("Node".to_owned(), vec![Span::Code(node.clone())]));
        }
        blocks.push(Block::Fields { fields });
    }
    if !diagnosis.missing_evidence.is_empty() {
        blocks.push(Block::Context {
            spans: vec![Span::Plain(format!(
                "Not seen: {}",
                diagnosis.missing_evidence.join(" ")
            ))],
        });
    }
    blocks
}

/// The full form as a message of its own.
#[must_use]
pub fn card(diagnosis: &Diagnosis) -> Card {
    Card {
        fallback: verdict(diagnosis),
        tone: match diagnosis.state {
            Verdict::Failing => Tone::Bad,
            Verdict::Healthy => Tone::Good,
            Verdict::Expected => Tone::Info,
        },
        blocks: full(diagnosis),
    }
}

/// The answer in one line.
#[must_use]
pub fn verdict(diagnosis: &Diagnosis) -> String {
    let job = &diagnosis.job;
    let top = diagnosis.findings.first();
    match (diagnosis.state, top) {
        (Verdict::Failing, Some(top)) if top.cause == "unknown" => {
            format!("{job} is failing, and the cause is not known.")
        }
        (Verdict::Failing, Some(top)) => format!("{job} is failing: {}.", lower_first(&top.title)),
        (Verdict::Failing, None) => format!("{job} is failing."),
        (Verdict::Healthy, _) => format!("{job} is healthy."),
        (Verdict::Expected, Some(top)) => {
            format!("{job} is not failing: {}.", lower_first(&top.title))
        }
        (Verdict::Expected, None) => format!("{job} is not failing; there is nothing to repair."),
    }
}

fn finding_blocks(finding: &Finding) -> Vec<Block> {
    let role = match finding.role {
        Role::Root => "cause",
        Role::Cascade => "follows from it",
        Role::Confirming => "confirms it",
        Role::Expected => "to be expected",
    };
    let mut blocks = vec![
        Block::Text {
            spans: vec![
                Span::Bold(finding.title.clone()),
                Span::Plain(format!(" · {role} · {} · ", sureness(finding))),
                Span::Code(finding.cause.clone()),
            ],
        },
        Block::Text {
            spans: vec![Span::Plain(finding.explanation.clone())],
        },
    ];
    if !finding.evidence.is_empty() {
        let text = finding
            .evidence
            .iter()
            .map(evidence)
            .collect::<Vec<_>>()
            .join("\n");
        blocks.push(Block::Code { text });
    }
    if matches!(finding.role, Role::Root | Role::Expected) {
        blocks.push(Block::Text {
            spans: vec![
                Span::Bold("What to do: ".to_owned()),
                Span::Plain(finding.recommendation.clone()),
            ],
        });
    }
    if let Some(remediation) = &finding.remediation {
        let how = match remediation.safety {
            SafetyClass::Auto => "may run by itself within its budget",
            SafetyClass::Gated => "needs approval",
            SafetyClass::Human => "is for a person",
            SafetyClass::Quiet => "is only recorded",
        };
        let avoid = remediation
            .parameters
            .get("avoid_node")
            .and_then(serde_json::Value::as_str)
            .map(|node| format!(", keeping off {node}"))
            .unwrap_or_default();
        blocks.push(Block::Context {
            spans: vec![
                Span::Plain("Remedy: ".to_owned()),
                Span::Code(remediation.action.clone()),
                Span::Plain(format!(" {how}{avoid}.")),
            ],
        });
    }
    blocks
}

fn evidence(line: &EvidenceLine) -> String {
    match (&line.pod, &line.container) {
        (Some(pod), Some(container)) => {
            format!("[{} {pod}/{container}] {}", line.source, line.line)
        }
        (Some(pod), None) => format!("[{} {pod}] {}", line.source, line.line),
        (None, Some(_) | None) => format!("[{}] {}", line.source, line.line),
    }
}

/// People read words better than decimals.
fn sureness(finding: &Finding) -> &'static str {
    if finding.confidence >= 0.9 {
        "sure"
    } else if finding.confidence >= 0.7 {
        "likely"
    } else if finding.confidence >= 0.45 {
        "possible"
    } else {
        "a guess"
    }
}

fn place(diagnosis: &Diagnosis) -> String {
    let Some(first) = &diagnosis.first_failure else {
        return String::new();
    };
    let rank = first
        .rank
        .map(|rank| format!("rank {rank}, "))
        .unwrap_or_default();
    let node = first
        .node
        .as_ref()
        .map(|node| format!(" on {node}"))
        .unwrap_or_default();
    format!(" · first in {rank}{}{node}", first.pod)
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), text.chars().nth(1)) {
        (Some(first), Some(second))
            if (second.is_lowercase() || second == ' ') && !text.starts_with("Run:AI") =>
        {
            first.to_lowercase().chain(chars).collect()
        }
        (Some(_) | None, Some(_) | None) => text.to_owned(),
    }
}
