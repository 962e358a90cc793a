//! Building answers: cards in a few words, and times and ages as people say them.

use jiff::Timestamp;
use serde_json::Value;

use super::role::Withheld;
use super::{Answer, Outcome};
use crate::chat::card::{Block, Card, Span, Tone};

/// An answer that shows `card` and gives `body` to machines.
pub(super) fn answer(card: Card, body: Value) -> Answer {
    Answer {
        card,
        body,
        outcome: Outcome::Done,
        private: false,
    }
}

/// A refusal or mistake with the way out, shown only to the asker.
pub(super) fn problem(
    outcome: Outcome,
    text: impl Into<String>,
    way_out: impl Into<String>,
) -> Answer {
    let (text, way_out) = (text.into(), way_out.into());
    let mut card = card(Tone::Warning, &text, vec![say(&text)]);
    if !way_out.is_empty() {
        card.blocks.push(small(&way_out));
    }
    Answer {
        card,
        body: serde_json::json!({ "error": text, "hint": way_out }),
        outcome,
        private: true,
    }
}

/// Member of a body that names the role a command would take.
pub(crate) const NEEDS_ROLE: &str = "needs_role";

/// A command that the asker's standing does not allow.
pub(super) fn withheld(withheld: Withheld) -> Answer {
    let (text, way_out) = withheld.told();
    let mut answer = problem(Outcome::Refused, text, way_out);
    if let Withheld::Role { needs, .. } = withheld {
        answer.body[NEEDS_ROLE] = serde_json::json!(needs);
    }
    answer
}

/// What is said when the database does not answer: the cause is for the log.
pub(super) fn unavailable(error: &(dyn std::error::Error + 'static)) -> Answer {
    tracing::error!(error, "the desk could not answer");
    problem(
        Outcome::Unavailable,
        "I can't read my records right now: the database does not answer.",
        "Nothing was changed. Try again in a moment; `nightbell health` says more.",
    )
}

pub(super) fn card(tone: Tone, fallback: &str, blocks: Vec<Block>) -> Card {
    Card {
        fallback: unmarked(fallback),
        tone,
        blocks,
    }
}

/// A paragraph. Text between backticks becomes code, so that names stand out.
pub(super) fn say(text: &str) -> Block {
    Block::Text { spans: spans(text) }
}

/// A line of small print, marked up as [`say`].
pub(super) fn small(text: &str) -> Block {
    Block::Context { spans: spans(text) }
}

/// Headers and notifications have no code style, so the backticks go.
fn unmarked(text: &str) -> String {
    text.replace('`', "")
}

pub(super) fn header(text: &str) -> Block {
    Block::Header {
        text: unmarked(text),
    }
}

pub(super) fn field(label: &str, value: impl Into<String>) -> (String, Vec<Span>) {
    (label.to_owned(), vec![Span::Plain(value.into())])
}

/// Our own sentences quote names in backticks; `code` makes sure that a name cannot end its quotation.
pub(super) fn code(name: &str) -> String {
    format!("`{}`", name.replace('`', "'"))
}

fn spans(text: &str) -> Vec<Span> {
    text.split('`')
        .enumerate()
        .filter(|(_, part)| !part.is_empty())
        .map(|(at, part)| {
            if at % 2 == 1 {
                Span::Code(part.to_owned())
            } else {
                Span::Plain(part.to_owned())
            }
        })
        .collect()
}

/// A length of time in its two largest units: `2 h 5 min`.
pub(super) fn length(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let two = |a: i64, unit_a: &str, b: i64, unit_b: &str| {
        if b == 0 {
            format!("{a} {unit_a}")
        } else {
            format!("{a} {unit_a} {b} {unit_b}")
        }
    };
    if days > 0 {
        two(days, "d", hours, "h")
    } else if hours > 0 {
        two(hours, "h", minutes, "min")
    } else if minutes > 0 {
        two(
            minutes,
            "min",
            if minutes < 10 { seconds % 60 } else { 0 },
            "s",
        )
    } else {
        format!("{seconds} s")
    }
}

/// How long ago: `3 min ago`.
pub(super) fn ago(then: Timestamp, now: Timestamp) -> String {
    format!("{} ago", length(now.duration_since(then).as_secs()))
}

/// A time of day with its zone, and the day where it is not today.
pub(super) fn clock(at: Timestamp, now: Timestamp) -> String {
    let day = |time: Timestamp| time.strftime("%Y-%m-%d").to_string();
    if day(at) == day(now) {
        at.strftime("%H:%M UTC").to_string()
    } else {
        at.strftime("%Y-%m-%d %H:%M UTC").to_string()
    }
}

/// `1 job`, `2 jobs`.
pub(super) fn counted(count: impl TryInto<u64>, noun: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_said_in_their_two_largest_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (95, "1 min 35 s"),
            (1_805, "30 min"),
            (7_500, "2 h 5 min"),
            (90_000, "1 d 1 h"),
            (-5, "0 s"),
        ] {
            assert_eq!(length(seconds), text);
        }
    }

    #[test]
    fn a_name_cannot_end_its_quotation() {
        assert_eq!(
            spans(&format!("no job {}", code("a`b"))),
            [Span::Plain("no job ".into()), Span::Code("a'b".into())]
        );
    }
}
