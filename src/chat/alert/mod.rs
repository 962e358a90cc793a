//! An alert, a group of alerts, or a note about one, as a card. All text is cut and scrubbed here: what leaves in a
//! message is data without secrets, whatever it was when it came.
//!
//! The first three lines of a message carry it all: what failed, why and how sure that is, the line that proves it.

mod facts;
mod group;
mod proposal;
mod thread;
mod words;

pub use group::{common_cause, group_card};
pub use thread::{note_card, report, similar};

use self::facts::{changed, cost, small_print};
use self::proposal::{decision, execution, proposal};
use self::words::{
    PROSE, TITLE, VALUE, bold, code, first_sentences, plain, rank_and_node, source, sureness,
};
use super::card::{Block, Button, ButtonStyle, Card, Press, Span, Tone, Verb};
use super::picture;
use crate::alert::{Alert, AlertState, Group, Severity};
use crate::detect::FailureClass;
use crate::diagnose::{Diagnosis, EvidenceLine, Finding};
use crate::redact::line;
use crate::safety::{Approval, ApprovalState, Execution};

/// The line that proves it: about four lines of a phone.
const PROOF: usize = 300;

/// An alert with what hangs on it.
#[derive(Clone, Debug)]
pub struct AlertView {
    pub alert: Alert,
    /// The approval asked for last.
    pub approval: Option<Approval>,
    /// The execution made last.
    pub execution: Option<Execution>,
    pub links: Vec<Link>,
}

/// Somewhere to read on: Run:AI, Grafana, the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub label: String,
    pub url: String,
}

/// A group with its members.
#[derive(Clone, Debug)]
pub struct GroupView {
    pub group: Group,
    pub members: Vec<AlertView>,
    pub links: Vec<Link>,
}

/// The message of one alert.
#[must_use]
pub fn card(view: &AlertView) -> Card {
    let alert = &view.alert;
    let title = title(alert);
    let mut blocks = vec![Block::Header {
        text: title.clone(),
    }];
    blocks.push(Block::Text {
        spans: verdict(alert),
    });
    if let Some(diagnosis) = &alert.diagnosis {
        blocks.extend(proof(diagnosis));
        blocks.extend(advice(diagnosis));
        blocks.extend(diagnosis.course.as_ref().and_then(picture::block));
    }
    for (label, text) in [("Cost:", cost(alert)), ("Changed before:", changed(alert))] {
        blocks.extend(text.map(|text| Block::Text {
            spans: vec![bold(label), plain(&format!(" {text}"), PROSE)],
        }));
    }
    if alert.state != AlertState::Resolved
        || view
            .approval
            .as_ref()
            .is_some_and(|a| a.state != ApprovalState::Pending)
    {
        blocks.extend(view.approval.as_ref().map(proposal));
    }
    if let Some(carried_out) = &view.execution {
        blocks.push(execution(carried_out));
    } else if let Some(note) = &alert.action_note {
        blocks.push(Block::Text {
            spans: vec![bold("Action:"), plain(&format!(" {note}"), PROSE)],
        });
    }
    blocks.extend(unpaged(alert));
    blocks.push(Block::Context {
        spans: small_print(alert, &view.links),
    });
    let pending = view.approval.as_ref().filter(|approval| {
        approval.state == ApprovalState::Pending && alert.state != AlertState::Resolved
    });
    if let Some(approval) = pending {
        blocks.push(Block::Buttons {
            buttons: decision(approval, ""),
        });
    }
    blocks.push(Block::Buttons {
        buttons: buttons(alert),
    });
    Card {
        fallback: title,
        tone: tone(alert),
        blocks,
    }
}

/// Why, and how sure that is: the finding in a sentence or two, else what the platform stated.
fn verdict(alert: &Alert) -> Vec<Span> {
    if let Some(finding) = top(alert) {
        vec![
            plain(first_sentences(cause(&finding.explanation)), PROSE),
            plain(&format!(" ({})", sureness(finding)), VALUE),
        ]
    } else {
        let mut spans = vec![
            bold(&alert.failure),
            plain(": ", 2),
            plain(&alert.detail, PROSE),
        ];
        if alert
            .diagnosis
            .as_ref()
            .is_some_and(|d| !d.findings.is_empty())
        {
            spans.push(plain(
                ". The cause is not known: nothing that was read fits a known failure.",
                VALUE,
            ));
        }
        spans
    }
}

/// An explanation up to where it happened: the line under it says that.
fn cause(explanation: &str) -> &str {
    explanation
        .split_once(" It failed first in ")
        .map_or(explanation, |(cause, _)| cause)
}

/// The line that proves the verdict, and where it was found.
fn proof(diagnosis: &Diagnosis) -> Vec<Block> {
    let Some(evidence) = diagnosis
        .findings
        .first()
        .and_then(|top| best(top, diagnosis))
    else {
        return Vec::new();
    };
    let mut place = vec![plain(source(evidence), VALUE)];
    if let Some(pod) = &evidence.pod {
        place.push(plain(" of ", 5));
        place.push(code(pod));
        let first = diagnosis.first_failure.as_ref();
        if first.is_some_and(|first| &first.pod == pod) {
            place.push(plain(&rank_and_node(diagnosis), VALUE));
            let pods = diagnosis.course.as_ref().map_or(0, |course| course.pods);
            if pods > 1 {
                place.push(plain(&format!(", first of {pods} pods to fail"), VALUE));
            }
        }
    }
    vec![
        Block::Code {
            text: line(&evidence.line, PROOF),
        },
        Block::Context { spans: place },
    ]
}

/// Of a finding's evidence what the first pod to fail logged, else what stands first.
fn best<'f>(finding: &'f Finding, diagnosis: &Diagnosis) -> Option<&'f EvidenceLine> {
    let first = diagnosis.first_failure.as_ref().map(|first| &first.pod);
    finding
        .evidence
        .iter()
        .find(|line| first.is_some() && line.pod.as_ref() == first && line.source.ends_with("log"))
        .or_else(|| finding.evidence.first())
}

fn advice(diagnosis: &Diagnosis) -> Option<Block> {
    let finding = diagnosis.findings.first()?;
    (!finding.recommendation.is_empty()).then(|| Block::Text {
        spans: vec![
            bold("What to do:"),
            plain(&format!(" {}", finding.recommendation), PROSE),
        ],
    })
}

/// That nobody is woken, though somebody should be.
fn unpaged(alert: &Alert) -> Option<Block> {
    let why = alert.paging_trouble.as_ref()?;
    (alert.state != AlertState::Resolved).then(|| Block::Text {
        spans: vec![
            bold("Nobody is woken:"),
            plain(
                &format!(" {why}. It is tried again until PagerDuty takes it."),
                PROSE,
            ),
        ],
    })
}

fn buttons(alert: &Alert) -> Vec<Button> {
    let mut verbs = Vec::new();
    if alert.state == AlertState::Open {
        verbs.push((Verb::Acknowledge, "Acknowledge"));
    }
    if alert.state != AlertState::Resolved {
        verbs.push((Verb::Resolve, "Resolve"));
        if alert.silenced_until.is_none() && alert.covered.is_none() {
            verbs.push((Verb::Silence1h, "Silence 1h"));
            verbs.push((Verb::Silence4h, "Silence 4h"));
            verbs.push((Verb::Silence1d, "Silence 1d"));
        }
    }
    if !matches!(alert.class, FailureClass::Node | FailureClass::Source) {
        verbs.push((Verb::Troubleshoot, "Troubleshoot again"));
        verbs.push((Verb::ShowLogs, "Show logs"));
    }
    verbs.push((Verb::ThumbsUp, "👍"));
    verbs.push((Verb::ThumbsDown, "👎"));
    verbs
        .into_iter()
        .map(|(verb, label)| Button {
            press: Press {
                verb,
                id: alert.id.clone(),
            },
            label: label.to_owned(),
            style: ButtonStyle::Plain,
            confirm: None,
        })
        .collect()
}

fn title(alert: &Alert) -> String {
    let demo = if alert.demo { "[demo] " } else { "" };
    let name = name(alert);
    if alert.state == AlertState::Resolved {
        let how = alert.resolution.as_deref().unwrap_or("resolved");
        return line(&format!("{demo}Resolved · {name}: {}", ended(how)), TITLE);
    }
    let why = match top(alert) {
        Some(finding) => finding.title.as_str(),
        None => alert.failure.as_str(),
    };
    line(
        &format!("{demo}{} · {name}: {why}", severity(alert.severity)),
        TITLE,
    )
}

/// What the resolution says happened to the job, to follow its name.
fn ended(how: &str) -> String {
    match how.split_once(": ") {
        Some(("ended", state)) => format!("no longer fails; it is {state} now"),
        Some(_) | None => match how {
            "removed" => "is no longer there: deleted or made anew".to_owned(),
            "started" => "got what it waited for".to_owned(),
            "resolved by hand" => "was declared over".to_owned(),
            how => how.to_owned(),
        },
    }
}

fn name(alert: &Alert) -> String {
    let kind = match alert.class {
        FailureClass::Node => "node ",
        FailureClass::Source => "source ",
        FailureClass::Blocked
        | FailureClass::CannotStart
        | FailureClass::Crashed
        | FailureClass::Disrupted
        | FailureClass::Degraded
        | FailureClass::Stalled
        | FailureClass::Stuck => "",
    };
    format!("{kind}{}", line(&alert.subject.name, VALUE))
}

fn tone(alert: &Alert) -> Tone {
    match (alert.state, alert.severity) {
        (AlertState::Resolved, _) => Tone::Good,
        (_, Severity::Low) => Tone::Info,
        (_, Severity::Medium) => Tone::Warning,
        (_, Severity::High | Severity::Critical) => Tone::Bad,
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "Low",
        Severity::Medium => "Medium",
        Severity::High => "High",
        Severity::Critical => "CRITICAL",
    }
}

fn top(alert: &Alert) -> Option<&Finding> {
    alert
        .diagnosis
        .as_ref()?
        .findings
        .first()
        .filter(|finding| finding.cause != "unknown")
}

#[cfg(test)]
mod taxonomy_tests;
#[cfg(test)]
mod tests;
