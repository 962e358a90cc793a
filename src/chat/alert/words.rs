//! The smallest parts of a message: text cut and scrubbed, names, times and lengths of time as people say them.

use jiff::{SignedDuration, Timestamp};

use crate::chat::card::Span;
use crate::diagnose::{Diagnosis, EvidenceLine, Finding};
use crate::redact::line;

/// Slack's header takes 150 characters; the verdict must fit a phone's notification anyway.
pub(super) const TITLE: usize = 140;
/// A name, a status, an owner.
pub(super) const VALUE: usize = 120;
/// An explanation or recommendation.
pub(super) const PROSE: usize = 700;
/// A line of evidence in a full report.
pub(super) const EXCERPT: usize = 500;

pub(super) fn plain(text: &str, max: usize) -> Span {
    // `line` drops trailing blanks, which separate spans here.
    let blank = text.ends_with(' ');
    let mut text = line(text, max);
    if blank {
        text.push(' ');
    }
    Span::Plain(text)
}

pub(super) fn bold(text: &str) -> Span {
    match plain(text, VALUE) {
        Span::Plain(text) => Span::Bold(text),
        other => other,
    }
}

pub(super) fn code(text: &str) -> Span {
    Span::Code(line(text, VALUE))
}

pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// A moment with its date.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A moment of a day that the reader knows.
pub(super) fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S").to_string()
}

/// A length of time in its two greatest units: `3 h 12 min`.
pub(super) fn length(time: SignedDuration) -> String {
    let seconds = time.as_secs().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, 0, _) => format!("{days} d"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// `1 pod`, `4 pods`.
pub(super) fn counted(count: usize, what: &str) -> String {
    if count == 1 {
        format!("1 {what}")
    } else {
        format!("{count} {what}s")
    }
}

/// How sure a finding is, in a word and a number.
pub(super) fn sureness(finding: &Finding) -> String {
    let word = match finding.confidence {
        sure if sure >= 0.9 => "sure",
        likely if likely >= 0.7 => "likely",
        possible if possible >= 0.45 => "possible",
        _ => "a guess",
    };
    format!("{word}, {}%", (finding.confidence * 100.0).round())
}

/// The first sentence of a text, and a second one while both stay short.
pub(super) fn first_sentences(text: &str) -> &str {
    /// What three lines of a phone hold.
    const SHORT: usize = 160;
    let ends = text.match_indices(". ").filter_map(|(at, _)| {
        let next = text[at + 2..].chars().next()?;
        // Not after `e.g.` or `i.e.`, which a small letter follows.
        next.is_uppercase().then_some(at + 1)
    });
    let mut best = text;
    for (n, end) in ends.enumerate() {
        if n == 0 || end <= SHORT {
            best = &text[..end];
        } else {
            return best;
        }
    }
    if text.len() <= SHORT { text } else { best }
}

/// A line of evidence with where it was found.
pub(super) fn excerpt(evidence: &EvidenceLine) -> String {
    let from = match (&evidence.pod, &evidence.container) {
        (Some(pod), Some(container)) => format!("{pod}/{container}: "),
        (Some(pod), None) => format!("{pod}: "),
        (None, _) => String::new(),
    };
    line(&format!("{from}{}", evidence.line), EXCERPT)
}

/// What kind of text a line of evidence is.
pub(super) fn source(evidence: &EvidenceLine) -> &'static str {
    match evidence.source.as_str() {
        "log" => "log",
        "previous_log" => "log before the restart",
        "metrics" => "metrics",
        "event" => "event",
        "status" => "status",
        "node" => "node",
        "runai" => "Run:AI",
        _ => "evidence",
    }
}

/// Rank and node of the first pod to fail, as far as they are known.
pub(super) fn rank_and_node(diagnosis: &Diagnosis) -> String {
    let Some(first) = &diagnosis.first_failure else {
        return String::new();
    };
    let rank = first
        .rank
        .map_or_else(String::new, |rank| format!(" (rank {rank})"));
    let node = first
        .node
        .as_ref()
        .map_or_else(String::new, |node| format!(" on {node}"));
    format!("{rank}{node}")
}
