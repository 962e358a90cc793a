//! Tracebacks of Python: from the header to the line that names the exception, whoever writes in between.

use std::sync::LazyLock;

use regex::Regex;

use super::joined::Joined;
use super::prefix::unprefixed;
use crate::redact;

/// How many lines a traceback may have.
const LINES: usize = 400;

static EXCEPTION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?::|$)")
        .expect("a constant that the tests compile")
});

#[derive(Debug)]
pub(super) struct Traceback {
    pub(super) header: usize,
    /// The line that names the exception.
    pub(super) exception: usize,
}

impl Traceback {
    pub(super) fn read(joined: &Joined<'_>, header: usize) -> Option<Self> {
        let (rank, first) = unprefixed(joined.line(header));
        // The parts of an exception group stand behind a gutter.
        let gutter = is_in_gutter(first);
        let last = joined.len().min(header + LINES);
        for index in header + 1..last {
            let (other, line) = unprefixed(joined.line(index));
            // Ranks write into one log and interleave.
            if other != rank {
                continue;
            }
            let line = if gutter { without_gutter(line) } else { line };
            if line.starts_with([' ', '\t', '|', '+', '^']) || line.trim().is_empty() {
                continue;
            }
            let cleaned = redact::clean(line);
            return EXCEPTION.is_match(&cleaned).then_some(Self {
                header,
                exception: index,
            });
        }
        None
    }

    pub(super) fn reads_configuration(&self, joined: &Joined<'_>) -> bool {
        (self.header..self.exception).any(|index| {
            let line = joined.line(index);
            ["config", "cfg", "hparams", "args[", "yaml"]
                .iter()
                .any(|word| line.contains(word))
        })
    }
}

fn is_in_gutter(line: &str) -> bool {
    line.trim_start().starts_with(['|', '+'])
}

/// A line of an exception group, less the lines that are drawn before it.
fn without_gutter(line: &str) -> &str {
    let mut rest = line;
    loop {
        let trimmed = rest.trim_start_matches(' ');
        match trimmed.strip_prefix(['|', '+']) {
            Some(after) => rest = after.strip_prefix(' ').unwrap_or(after),
            None if rest.len() == line.len() => return line,
            None => return rest,
        }
    }
}

/// True for the lines of a traceback that show code: what they quote did not happen.
pub(super) fn is_code(
    joined: &Joined<'_>,
    index: usize,
    line: &str,
    tracebacks: &[Traceback],
) -> bool {
    let in_traceback = tracebacks
        .iter()
        .rev()
        .take(64)
        .any(|traceback| traceback.header < index && index < traceback.exception);
    if !(line.starts_with([' ', '\t']) || in_traceback && is_in_gutter(line)) {
        return false;
    }
    let after_frame = index > 0 && {
        let (_, before) = unprefixed(joined.line(index - 1));
        without_gutter(before).trim_start().starts_with("File \"")
    };
    in_traceback || after_frame || line.trim_start().starts_with("File \"")
}
