//! Everything that goes to the terminal. A reader that went away (`| head`) is no error.

use std::io::{self, IsTerminal, Write};

use serde_json::{Value, json};

use super::{Exit, Failed, Global};
use crate::chat::card::Card;
use crate::chat::terminal::{self, Style};
use crate::desk::Answer;
use crate::redact;
use crate::watch::kubernetes::connect::ConnectError;

/// Columns when the terminal does not say.
const WIDTH: usize = 100;

/// Prints text as it is.
pub(super) fn out(text: &str) {
    let mut stdout = io::stdout().lock();
    // Nobody is left to tell when standard output is closed.
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
}

pub(super) fn line(text: &str) {
    out(&format!("{text}\n"));
}

/// Prints to standard error, which leaves the output to pipes.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

pub(super) fn value(value: &Value) {
    line(&format!("{value:#}"));
}

pub(super) fn card(card: &Card) {
    out(&terminal::render(card, style()));
}

/// How the terminal is drawn on; without colour when it is a file, or the reader asked for none.
pub(super) fn style() -> Style {
    Style {
        width: WIDTH,
        colour: io::stdout().is_terminal(),
    }
}

/// An answer: its body for machines, else its card.
pub(super) fn answer(global: &Global, answer: &Answer) {
    if global.json {
        value(&answer.body);
    } else {
        card(&answer.card);
    }
}

/// One `label  value` pair per line.
pub(super) fn pairs(pairs: &[(&str, String)]) {
    let width = pairs
        .iter()
        .map(|(label, _)| label.len())
        .max()
        .unwrap_or(0);
    for (label, value) in pairs {
        line(&format!("{label:width$}  {}", redact::clean(value)));
    }
}

/// An error and what lies under it, in one sentence.
pub(super) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// A failure to come to an answer: JSON on standard output if that was asked for, else a sentence with the way out.
pub(super) fn failure(global: &Global, failed: &Failed) -> Exit {
    if let Failed::Configuration(mistakes) = failed {
        if global.json {
            let list: Vec<_> = mistakes
                .0
                .iter()
                .map(|mistake| json!({ "key": mistake.key, "problem": mistake.problem }))
                .collect();
            value(&json!({ "error": failed.to_string(), "mistakes": list }));
        } else {
            note(&format!("nightbell: {failed}"));
            for mistake in &mistakes.0 {
                note(&format!("  {mistake}"));
            }
        }
        return Exit::Usage;
    }
    let mut text = with_sources(failed);
    if matches!(failed, Failed::Client(_)) {
        // The client says in its own words what its source would repeat in the library's.
        text = failed.to_string();
    }
    if global.json {
        value(&json!({ "error": text }));
    } else {
        note(&format!("nightbell: {}", redact::clean(&text)));
    }
    match failed {
        Failed::Configuration(_) | Failed::Usage(_) => Exit::Usage,
        // Contexts and certificates are settings too, though they are read only when the clients are made.
        Failed::Other(error)
            if error
                .chain()
                .any(<dyn std::error::Error>::is::<ConnectError>) =>
        {
            Exit::Usage
        }
        Failed::Other(_) => Exit::Bad,
        Failed::Client(error) => error.exit(),
    }
}
