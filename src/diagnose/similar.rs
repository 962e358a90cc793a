//! Past alerts like this one, by a score that can be read: the same cause, job family, node, image and project each
//! count, and what counted is told. Pure; the store reads a bounded number of alerts to choose from.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::alert::lifecycle::root_cause;
use crate::alert::{Alert, AlertState};
use crate::redact::line;

/// Past alerts that are looked at, the newest ones.
pub const LOOKED_AT: i64 = 500;
/// Incidents told.
pub const TOLD: usize = 3;
/// Below this the likeness is chance: a shared cause suffices, a shared project does not.
const ENOUGH: u32 = 5;
const SAME_CAUSE: u32 = 5;
/// The same state where no cause is known of either.
const SAME_STATE: u32 = 3;
const SAME_FAMILY: u32 = 3;
const SAME_NODE: u32 = 2;
const SAME_IMAGE: u32 = 2;
const SAME_PROJECT: u32 = 1;

/// A past alert like the one asked about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Similar {
    pub alert_id: String,
    pub number: i64,
    pub job: String,
    /// Title of its cause, else the state it was in.
    pub what: String,
    pub opened: Timestamp,
    pub resolved: Option<Timestamp>,
    /// How it ended: `recovered`, `resolved by hand` …
    pub resolution: Option<String>,
    /// What was done about it, if anything was: filled in from its executions.
    pub fixed_by: Option<String>,
    pub score: u32,
    /// What it has in common with the one asked about, as people say it.
    pub alike: Vec<String>,
}

impl Similar {
    /// What ended it and how long that took, in one sentence.
    #[must_use]
    pub fn outcome(&self) -> String {
        let after = self
            .resolved
            .map(|resolved| format!(" after {}", length(resolved.duration_since(self.opened))));
        match (&self.fixed_by, after, &self.resolution) {
            (Some(action), Some(after), _) => format!("Fixed by: {action}; over{after}."),
            (Some(action), None, _) => format!("Tried: {action}; still open."),
            (None, Some(after), Some(how)) => format!("Over{after}: {how}."),
            (None, Some(after), None) => format!("Over{after}."),
            (None, None, _) => "Still open.".to_owned(),
        }
    }
}

/// The best of `past`, most alike first and newest first among equals; the alert itself is left out.
#[must_use]
pub fn similar(alert: &Alert, past: &[Alert]) -> Vec<Similar> {
    let mut found: Vec<Similar> = past
        .iter()
        .filter(|other| other.id != alert.id && other.opened <= alert.opened)
        .filter_map(|other| compare(alert, other))
        .collect();
    found.sort_by_key(|incident| {
        (
            std::cmp::Reverse(incident.score),
            std::cmp::Reverse(incident.number),
        )
    });
    found.truncate(TOLD);
    found
}

fn compare(alert: &Alert, other: &Alert) -> Option<Similar> {
    let mut score = 0;
    let mut alike = Vec::new();
    let mut count = |same: bool, points: u32, what: &str| {
        if same {
            score += points;
            alike.push(what.to_owned());
        }
    };
    let known = |alert: &Alert| cause(alert).map(str::to_owned);
    match (known(alert), known(other)) {
        (Some(this), Some(that)) => count(this == that, SAME_CAUSE, "cause"),
        (None, _) | (_, None) => count(alert.failure == other.failure, SAME_STATE, "state"),
    }
    // Two jobs on one node that failed for different causes are not alike.
    if score == 0 {
        return None;
    }
    let mut count = |same: bool, points: u32, what: &str| {
        if same {
            score += points;
            alike.push(what.to_owned());
        }
    };
    count(
        family(&alert.subject.name) == family(&other.subject.name),
        SAME_FAMILY,
        "job family",
    );
    count(shares(&nodes(alert), &nodes(other)), SAME_NODE, "node");
    let images = |alert: &Alert| -> BTreeSet<String> { alert.images.iter().cloned().collect() };
    count(shares(&images(alert), &images(other)), SAME_IMAGE, "image");
    count(
        alert.subject.project.is_some() && alert.subject.project == other.subject.project,
        SAME_PROJECT,
        "project",
    );
    (score >= ENOUGH).then(|| Similar {
        alert_id: other.id.clone(),
        number: other.number,
        job: line(&other.subject.name, 120),
        what: other
            .diagnosis
            .as_ref()
            .and_then(|diagnosis| diagnosis.findings.first())
            .filter(|finding| finding.cause != "unknown")
            .map_or_else(|| other.failure.clone(), |finding| finding.title.clone()),
        opened: other.opened,
        resolved: other
            .resolved
            .filter(|_| other.state == AlertState::Resolved),
        resolution: other.resolution.clone(),
        fixed_by: None,
        score,
        alike,
    })
}

/// The root cause, if one is known.
fn cause(alert: &Alert) -> Option<&str> {
    root_cause(alert.diagnosis.as_ref()?).filter(|cause| *cause != "unknown")
}

fn nodes(alert: &Alert) -> BTreeSet<String> {
    let first = alert
        .diagnosis
        .as_ref()
        .and_then(|diagnosis| diagnosis.first_failure.as_ref())
        .and_then(|first| first.node.clone());
    alert.nodes.iter().cloned().chain(first).collect()
}

fn shares(a: &BTreeSet<String>, b: &BTreeSet<String>) -> bool {
    a.intersection(b).next().is_some()
}

/// A job's name without what tells its runs apart: counters, dates, hashes.
#[must_use]
pub fn family(name: &str) -> String {
    let mut parts: Vec<&str> = name.split(['-', '_', '.']).collect();
    while parts.len() > 1 && parts.last().is_some_and(|part| is_run(part)) {
        parts.pop();
    }
    parts.join("-").to_ascii_lowercase()
}

fn is_run(part: &str) -> bool {
    let digits = part.bytes().filter(u8::is_ascii_digit).count();
    let word = part.trim_end_matches(|c: char| c.is_ascii_digit());
    part.is_empty()
        || digits == part.len()
        || (digits > 0 && matches!(word, "v" | "r" | "run" | "try" | "attempt" | "rerun"))
        || matches!(part, "rerun" | "retry" | "copy")
        // A hash: long, and letters and digits mixed.
        || (part.len() >= 5 && digits >= 2 && digits < part.len())
}

/// How often, and how the known ones ended, in one sentence.
#[must_use]
pub fn summary(past: &[Similar]) -> String {
    let ended: Vec<SignedDuration> = past
        .iter()
        .filter_map(|incident| Some(incident.resolved?.duration_since(incident.opened)))
        .collect();
    let times = match past.len() {
        1 => "an incident like this one".to_owned(),
        more => format!("{more} incidents like this one"),
    };
    match (ended.iter().min(), ended.iter().max()) {
        (Some(least), Some(most)) if least != most => {
            format!(
                "{times}, over after {} to {}.",
                length(*least),
                length(*most)
            )
        }
        (Some(time), _) => format!("{times}, over after {}.", length(*time)),
        (None, _) => format!("{times}, still open."),
    }
}

fn length(time: SignedDuration) -> String {
    let minutes = time.as_mins().max(0);
    match (minutes / 1_440, minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => "less than a minute".to_owned(),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
#[path = "tests/similar.rs"]
mod tests;
