//! What a thread is told: the full report of a diagnosis, what happened since, and incidents like this one.

use super::words::{
    PROSE, TITLE, VALUE, bold, clock, code, counted, excerpt, length, plain, rank_and_node,
    sureness, time,
};
use super::{ended, name};
use crate::alert::Alert;
use crate::alert::lifecycle::Note;
use crate::chat::card::{Block, Card, Span, Tone};
use crate::chat::picture;
use crate::diagnose::course::{Course, LaneEnd};
use crate::diagnose::similar::Similar;
use crate::diagnose::{Diagnosis, Finding, Role, SafetyClass, Verdict};
use crate::redact::{line, scrub};

/// Findings in a full report.
const FINDINGS: usize = 6;
/// Lines of evidence of one finding.
const LINES: usize = 4;
/// What was not looked at, told at this length.
const MISSING: usize = 1_000;
/// A sentence about a past incident.
const PAST: usize = 300;

/// What a thread is told about an alert. `past` are incidents like it, told with its diagnosis.
#[must_use]
pub fn note_card(alert: &Alert, note: &Note, past: &[Similar]) -> Card {
    let about = name(alert);
    match note {
        Note::Diagnosed => match &alert.diagnosis {
            Some(diagnosis) => {
                let mut card = report(diagnosis, &about);
                card.blocks.extend(similar(past));
                card
            }
            None => Card {
                fallback: format!("{about}: no diagnosis"),
                tone: Tone::Info,
                blocks: Vec::new(),
            },
        },
        Note::FailedAgain { times } => said(
            &format!(
                "{about} fails again after it had recovered ({times}×): {}",
                line(&alert.detail, PROSE)
            ),
            Tone::Bad,
        ),
        Note::Flapping { times, minutes } => said(
            &format!(
                "{about} is flapping: it failed and recovered {times} times lately. From now on it counts as failing \
                 until no failure was seen for {minutes} min; nobody is told or paged of each failing in between."
            ),
            Tone::Warning,
        ),
        Note::Paging { why: Some(why) } => said(
            &format!(
                "Could not page about {about}: {}. It is tried again until PagerDuty takes it; until then nobody is \
                 woken.",
                line(why, VALUE)
            ),
            Tone::Bad,
        ),
        Note::Paging { why: None } => said(
            &format!("PagerDuty takes pages again, and was told of {about}."),
            Tone::Good,
        ),
        Note::Resolved { how } => said(
            &format!("{about} {}.", ended(&line(how, VALUE))),
            Tone::Good,
        ),
        Note::Action { text } => said(&line(text, PROSE), Tone::Info),
    }
}

/// The full report of a diagnosis: every finding with its evidence, the course of events, what was not looked at.
#[must_use]
pub fn report(diagnosis: &Diagnosis, about: &str) -> Card {
    let verdict = match diagnosis.state {
        Verdict::Failing => "is failing",
        Verdict::Healthy => "looks healthy",
        Verdict::Expected => "shows nothing that needs repair",
    };
    let fallback = match diagnosis.findings.first() {
        Some(finding) => line(&format!("{about} {verdict}: {}", finding.title), TITLE),
        None => line(&format!("{about} {verdict}"), TITLE),
    };
    let mut blocks = vec![Block::Text {
        spans: vec![bold(&fallback)],
    }];
    if let Some(first) = &diagnosis.first_failure {
        blocks.push(Block::Text {
            spans: vec![
                plain("First to fail: ", VALUE),
                code(&first.pod),
                plain(&rank_and_node(diagnosis), VALUE),
            ],
        });
    }
    blocks.extend(conflict(diagnosis));
    for finding in diagnosis.findings.iter().take(FINDINGS) {
        blocks.extend(finding_blocks(finding));
    }
    if diagnosis.findings.len() > FINDINGS {
        let more = counted(diagnosis.findings.len() - FINDINGS, "more finding");
        blocks.push(Block::Context {
            spans: vec![plain(
                &format!("… and {more}, in the page and with --json."),
                VALUE,
            )],
        });
    }
    if let Some(course) = &diagnosis.course {
        blocks.extend(timeline(course));
        blocks.extend(picture::block(course));
    }
    if !diagnosis.missing_evidence.is_empty() {
        let missing = diagnosis.missing_evidence.join(" ");
        blocks.push(Block::Context {
            spans: vec![plain(&format!("Not looked at: {missing}"), MISSING)],
        });
    }
    let tone = match diagnosis.state {
        Verdict::Failing => Tone::Bad,
        Verdict::Healthy => Tone::Good,
        Verdict::Expected => Tone::Info,
    };
    Card {
        fallback,
        tone,
        blocks,
    }
}

/// More than one cause is possible: said before either is read.
fn conflict(diagnosis: &Diagnosis) -> Option<Block> {
    let roots: Vec<&Finding> = diagnosis
        .findings
        .iter()
        .filter(|finding| finding.role == Role::Root)
        .collect();
    (roots.len() > 1).then(|| {
        let titles: Vec<String> = roots
            .iter()
            .map(|root| format!("{} ({})", root.title, sureness(root)))
            .collect();
        Block::Text {
            spans: vec![
                bold("More than one cause is possible:"),
                plain(&format!(" {}.", titles.join("; ")), PROSE),
            ],
        }
    })
}

fn finding_blocks(finding: &Finding) -> Vec<Block> {
    let role = match finding.role {
        Role::Root => "cause",
        Role::Cascade => "follows from it",
        Role::Confirming => "confirms it",
        Role::Expected => "to be expected",
    };
    let mut blocks = vec![Block::Text {
        spans: vec![
            bold(&finding.title),
            plain(&format!(" ({role}, {}) ", sureness(finding)), VALUE),
            plain(&finding.explanation, PROSE),
        ],
    }];
    if !finding.evidence.is_empty() {
        let lines: Vec<String> = finding.evidence.iter().take(LINES).map(excerpt).collect();
        blocks.push(Block::Code {
            text: lines.join("\n"),
        });
    }
    let actionable = matches!(finding.role, Role::Root | Role::Expected);
    if actionable && !finding.recommendation.is_empty() {
        blocks.push(Block::Text {
            spans: vec![
                bold("What to do:"),
                plain(&format!(" {}", finding.recommendation), PROSE),
            ],
        });
    }
    if let Some(remediation) = &finding.remediation {
        let how = match remediation.safety {
            SafetyClass::Auto => "may run by itself within its limits",
            SafetyClass::Gated => "needs approval",
            SafetyClass::Human => "is for a person",
            SafetyClass::Quiet => "is only recorded",
        };
        let avoid = remediation
            .parameters
            .get("avoid_node")
            .and_then(serde_json::Value::as_str)
            .map_or_else(String::new, |node| format!(", keeping off {node}"));
        blocks.push(Block::Context {
            spans: vec![
                plain("Remedy: ", VALUE),
                code(&remediation.action),
                plain(&format!(" {how}{avoid}. Cause id: "), VALUE),
                code(&finding.cause),
            ],
        });
    }
    blocks
}

/// What happened in order, a line each.
fn timeline(course: &Course) -> Option<Block> {
    let mut moments: Vec<(jiff::Timestamp, String)> = course
        .changes
        .iter()
        .map(|change| (change.at, change.text.clone()))
        .collect();
    moments.push((
        course.began,
        if course.pods == 1 {
            "started".to_owned()
        } else {
            format!("the first of {} pods started", course.pods)
        },
    ));
    if let Some(first) = course.lanes.iter().find(|lane| lane.first) {
        let rank = first
            .rank
            .map_or_else(String::new, |rank| format!(" (rank {rank})"));
        if let Some(trouble) = first.trouble {
            moments.push((
                trouble,
                format!("{}{rank}: first line of trouble", first.pod),
            ));
        }
        if let Some(ended) = first.ended {
            moments.push((
                ended,
                format!("{}{rank}: ended, the first to fail", first.pod),
            ));
        }
    }
    for (end, word) in [
        (LaneEnd::Failed, "failed"),
        (LaneEnd::Stopped, "stopped"),
        (LaneEnd::Completed, "completed"),
    ] {
        let lanes = course
            .lanes
            .iter()
            .filter(|lane| !lane.first && lane.end == end);
        let pods: usize = lanes.clone().map(|lane| lane.pods).sum();
        let from = lanes.clone().filter_map(|lane| lane.ended).min();
        let to = lanes.filter_map(|lane| lane.last_ended).max();
        if let (Some(from), Some(to)) = (from, to) {
            let spread = to.duration_since(from);
            let within = if spread.as_secs() > 0 {
                format!(" within {}", length(spread))
            } else {
                String::new()
            };
            moments.push((
                from,
                format!("{} {word}{within}", counted(pods, "other pod")),
            ));
        }
    }
    if moments.len() < 3 {
        return None;
    }
    // Stable: what is of one second stays in the order of cause and effect.
    moments.sort_by_key(|(at, _)| *at);
    let lines: Vec<String> = moments
        .iter()
        .map(|(at, text)| line(&format!("{}  {text}", clock(*at)), 200))
        .collect();
    Some(Block::Code {
        text: lines.join("\n"),
    })
}

/// Incidents like this one: what ended them and how long that took.
#[must_use]
pub fn similar(past: &[Similar]) -> Vec<Block> {
    if past.is_empty() {
        return Vec::new();
    }
    let mut blocks = vec![Block::Text {
        spans: vec![
            bold("Seen before:"),
            plain(
                &format!(" {}", crate::diagnose::similar::summary(past)),
                PROSE,
            ),
        ],
    }];
    for incident in past {
        let mut spans = vec![
            bold(&format!("#{} {}", incident.number, incident.job)),
            plain(
                &format!(" · {} · {}", incident.what, time(incident.opened)),
                PAST,
            ),
            plain(&format!("\n{}", incident.outcome()), PAST),
        ];
        spans.push(Span::Italic(line(
            &format!(" (alike: {})", incident.alike.join(", ")),
            PAST,
        )));
        blocks.push(Block::Context { spans });
    }
    blocks
}

fn said(text: &str, tone: Tone) -> Card {
    let text = scrub(text);
    Card {
        fallback: line(&text, TITLE),
        tone,
        blocks: vec![Block::Text {
            spans: vec![Span::Plain(text)],
        }],
    }
}
