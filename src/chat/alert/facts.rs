//! What a failure costs and whom it concerns: the lines under the verdict.

use jiff::{SignedDuration, Timestamp};

use super::Link;
use super::words::{PROSE, VALUE, clock, length, plain, time};
use crate::alert::{Alert, AlertState};
use crate::chat::card::Span;
use crate::detect::FailureClass;

/// Changes shown in the message; the report has more.
const CHANGES: usize = 2;

/// What the job's GPUs did for nothing, in one sentence; `None` for a job without GPUs.
pub(super) fn cost(alert: &Alert) -> Option<String> {
    let gpus = alert.subject.gpus;
    if gpus <= 0.0 {
        return None;
    }
    let held = if (gpus - 1.0).abs() < f64::EPSILON {
        "1 GPU".to_owned()
    } else {
        format!("{gpus} GPUs")
    };
    let until = alert.resolved.unwrap_or(alert.updated);
    Some(match alert.class {
        FailureClass::Blocked => {
            let wait = alert
                .opened
                .max(until)
                .duration_since(alert.subject.created);
            format!("{held} asked for, none had, after {}.", length(wait))
        }
        FailureClass::CannotStart
        | FailureClass::Stuck
        | FailureClass::Stalled
        | FailureClass::Degraded => {
            let idle = until.duration_since(alert.opened);
            if idle < SignedDuration::from_mins(1) {
                format!("{held} held without work done.")
            } else {
                format!(
                    "{} GPU-hours idle: {held} held for {} (by {}).",
                    hours(gpus, idle),
                    length(idle),
                    clock(until)
                )
            }
        }
        FailureClass::Crashed | FailureClass::Disrupted => {
            let (ran, sure) = ran(alert);
            if ran < SignedDuration::from_mins(1) {
                return None;
            }
            let lost = hours(gpus, ran);
            let at_most = if sure { "" } else { " at most" };
            format!(
                "up to {lost} GPU-hours lost: {held} for {}{at_most}, less what a checkpoint saved.",
                length(ran)
            )
        }
        FailureClass::Node | FailureClass::Source => return None,
    })
}

/// How long the job had run when it failed, and whether that is known or only the age of the job.
fn ran(alert: &Alert) -> (SignedDuration, bool) {
    let course = alert.diagnosis.as_ref().and_then(|d| d.course.as_ref());
    match course {
        Some(course) => {
            let failed: Option<Timestamp> = course
                .lanes
                .iter()
                .find(|lane| lane.first)
                .and_then(|lane| lane.ended);
            (
                failed.unwrap_or(course.until).duration_since(course.began),
                true,
            )
        }
        None => (alert.opened.duration_since(alert.subject.created), false),
    }
}

fn hours(gpus: f64, time: SignedDuration) -> String {
    let hours = gpus * time.as_secs_f64().max(0.0) / 3_600.0;
    if hours < 0.05 {
        "0".to_owned()
    } else if hours < 10.0 {
        format!("{hours:.1}")
    } else {
        format!("{hours:.0}")
    }
}

/// What changed shortly before it failed, the latest last; `None` if nothing is known of.
pub(super) fn changed(alert: &Alert) -> Option<String> {
    let course = alert.diagnosis.as_ref()?.course.as_ref()?;
    let from = course.changes.len().saturating_sub(CHANGES);
    let told: Vec<String> = course.changes[from..]
        .iter()
        .map(|change| format!("{} {}", clock(change.at), change.text))
        .collect();
    (!told.is_empty()).then(|| told.join(" · "))
}

/// Number, project, kind, status and all else that a person may want to copy.
pub(super) fn small_print(alert: &Alert, to: &[Link]) -> Vec<Span> {
    let subject = &alert.subject;
    let state = match alert.state {
        AlertState::Open => "open",
        AlertState::Acknowledged => "acknowledged",
        AlertState::Mitigating => "being repaired",
        AlertState::Resolved => "resolved",
    };
    let mut parts = vec![format!("#{} {state}", alert.number)];
    if let Some(project) = &subject.project {
        parts.push(format!("project {project}"));
    }
    parts.push(subject.kind.clone());
    parts.push(if subject.status == alert.failure {
        subject.status.clone()
    } else {
        format!("{}, {}", subject.status, alert.failure)
    });
    if alert.pods_failing > 0 {
        let of = alert.pods_failing.max(subject.pods_total);
        parts.push(format!("{} of {of} pods failing", alert.pods_failing));
    }
    parts.push(format!("since {}", time(alert.opened)));
    if alert.count > 1 {
        parts.push(format!("seen {}×", alert.count));
    }
    if alert.track.reopened > 0 {
        parts.push(format!("failed again {}×", alert.track.reopened));
    }
    if alert.track.expected > 0 {
        parts.push(format!(
            "{} expected events (preempted, suspended …)",
            alert.track.expected
        ));
    }
    if let Some(since) = alert.track.flapping_since.filter(|_| alert.is_held()) {
        parts.push(format!(
            "flapping since {}, held until it stays well",
            time(since)
        ));
    }
    if let Some(until) = alert.silenced_until {
        parts.push(format!("silenced until {}", time(until)));
    }
    if let Some(cover) = &alert.covered {
        parts.push(format!(
            "silenced by {} until {}",
            cover.by,
            time(cover.until)
        ));
    }
    if let Some(resolved) = alert.resolved {
        parts.push(format!("resolved {}", time(resolved)));
    }
    parts.retain(|part| !part.is_empty());
    let mut spans = vec![plain(&parts.join(" · "), PROSE)];
    if let Some(by) = &alert.acknowledged_by {
        spans.push(plain(" · acknowledged by ", VALUE));
        spans.push(Span::User(by.clone()));
    }
    let mut place = vec![if subject.namespace.is_empty() {
        subject.cluster.clone()
    } else {
        format!("{} / {}", subject.cluster, subject.namespace)
    }];
    if let Some(owner) = &subject.owner {
        place.push(format!("owner {owner}"));
    }
    if let Some(id) = &subject.runai_id {
        place.push(id.clone());
    }
    place.retain(|part| !part.is_empty());
    if !place.is_empty() {
        spans.push(plain(&format!("\n{}", place.join(" · ")), PROSE));
    }
    spans.extend(links(to));
    spans
}

pub(super) fn links(links: &[Link]) -> Vec<Span> {
    links
        .iter()
        .flat_map(|link| {
            [
                plain(" · ", 3),
                Span::Link {
                    label: link.label.clone(),
                    url: link.url.clone(),
                },
            ]
        })
        .collect()
}
