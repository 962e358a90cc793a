//! One log as one text to search, with the way back to its lines. Overwritten progress bars and JSON envelopes are
//! opened here, so that the rest reads plain lines.

use std::cell::{Cell, OnceCell};

use jiff::Timestamp;
use memchr::memchr2;

use super::envelope::Envelope;
use super::noise::{is_overwritten_progress, is_progress};
use super::written;
use crate::diagnose::ContainerLog;

/// A longer line is read from both its ends only: errors stand there, not in the middle of dumped data.
pub(super) const LINE_HEAD: usize = 16 << 10;

/// A line of the text.
struct Line {
    start: usize,
    /// Which line of the log it comes from.
    origin: usize,
    /// It is a message out of a JSON object, so that the object is what stood in the log.
    opened: bool,
}

/// The search for the last lines of progress, from the end of the text and no further than was asked for.
#[derive(Clone, Copy, Default)]
struct Search {
    looked_at: usize,
    lines: usize,
    found: Option<usize>,
}

pub(super) struct Joined<'a> {
    log: &'a ContainerLog,
    pub(super) text: String,
    lines: Vec<Line>,
    progress: Cell<Search>,
    tasks: OnceCell<bool>,
}

impl<'a> Joined<'a> {
    /// `speaks` tells whether a raw line may hold a signature: only then a JSON object is worth opening.
    pub(super) fn of(log: &'a ContainerLog, speaks: impl Fn(&str) -> bool) -> Self {
        let bytes = log
            .lines
            .iter()
            .map(|line| line.text.len().min(2 * LINE_HEAD) + 1)
            .sum();
        let mut joined = Self {
            log,
            text: String::with_capacity(bytes),
            lines: Vec::with_capacity(log.lines.len()),
            progress: Cell::new(Search::default()),
            tasks: OnceCell::new(),
        };
        for (origin, line) in log.lines.iter().enumerate() {
            joined.take(origin, &line.text, &speaks);
        }
        joined
    }

    fn take(&mut self, origin: usize, text: &str, speaks: impl Fn(&str) -> bool) {
        if text.len() > 2 * LINE_HEAD {
            let head = text.floor_char_boundary(LINE_HEAD);
            let tail = text.ceil_char_boundary(text.len() - LINE_HEAD);
            let cut = format!("{} … {}", &text[..head], &text[tail..]);
            self.split(origin, &cut);
        } else if text.starts_with('{')
            && speaks(text)
            && let Some(envelope) = Envelope::open(text)
        {
            for line in envelope.lines() {
                self.push(origin, &line, true);
            }
        } else {
            self.split(origin, text);
        }
    }

    /// Of a progress bar that overwrites itself, only its last state is kept.
    fn split(&mut self, origin: usize, text: &str) {
        let text = text.trim_end_matches(['\r', '\n']);
        if memchr2(b'\r', b'\n', text.as_bytes()).is_none() {
            self.push(origin, text, false);
            return;
        }
        let parts: Vec<&str> = text
            .split(['\r', '\n'])
            .filter(|part| !part.trim().is_empty())
            .collect();
        for (place, part) in parts.iter().enumerate() {
            if place + 1 == parts.len() || !is_overwritten_progress(part) {
                self.push(origin, part, false);
            }
        }
    }

    fn push(&mut self, origin: usize, text: &str, opened: bool) {
        self.lines.push(Line {
            start: self.text.len(),
            origin,
            opened,
        });
        self.text.push_str(text);
        self.text.push('\n');
    }

    pub(super) fn log(&self) -> &'a ContainerLog {
        self.log
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    pub(super) fn line_at(&self, offset: usize) -> usize {
        self.lines
            .partition_point(|line| line.start <= offset)
            .saturating_sub(1)
    }

    pub(super) fn line(&self, index: usize) -> &str {
        let end = self
            .lines
            .get(index + 1)
            .map_or(self.text.len(), |next| next.start);
        &self.text[self.lines[index].start..end - 1]
    }

    /// The line as it stood in the log.
    pub(super) fn shown(&self, index: usize) -> &str {
        let line = &self.lines[index];
        if line.opened {
            &self.log.lines[line.origin].text
        } else {
            self.line(index)
        }
    }

    /// When the line was written. The kubelet's time comes first: it has a zone, and all pods' times are comparable.
    pub(super) fn at(&self, index: usize) -> Option<Timestamp> {
        let line = &self.log.lines[self.lines[index].origin];
        line.at.or_else(|| written::time(&line.text, None))
    }

    /// The kubelet's time of the line, by which times without a zone are understood.
    pub(super) fn kubelet(&self, index: usize) -> Option<Timestamp> {
        self.log.lines[self.lines[index].origin].at
    }

    /// True if the job made progress after this line: then it was not what ended it.
    pub(super) fn progressed_after(&self, index: usize) -> bool {
        /// One more line of progress may be in flight when a rank dies.
        const IN_FLIGHT: usize = 1;
        let mut search = self.progress.get();
        while search.found.is_none() && search.looked_at < self.len() {
            let next = self.len() - 1 - search.looked_at;
            if next <= index {
                break;
            }
            search.looked_at += 1;
            if is_progress(self.line(next)) {
                search.lines += 1;
                if search.lines > IN_FLIGHT {
                    search.found = Some(next);
                }
            }
        }
        self.progress.set(search);
        search.found.is_some_and(|last| last > index)
    }

    /// The task that `srun --label` names before a line. One number before a colon says nothing; a log full of them does.
    pub(super) fn task(&self, line: &str) -> Option<u32> {
        /// Lines looked at to see whether the log is labelled.
        const LOOKED_AT: usize = 40;
        let labelled = self.tasks.get_or_init(|| {
            let looked_at = self.len().min(LOOKED_AT);
            let labelled = (self.len() - looked_at..self.len())
                .filter(|index| labelled_task(self.line(*index)).is_some())
                .count();
            labelled >= 2 && labelled * 4 >= looked_at * 3
        });
        labelled.then(|| labelled_task(line)).flatten()
    }
}

fn labelled_task(line: &str) -> Option<u32> {
    let (digits, _) = line.trim_start().split_once(": ")?;
    (digits.len() <= 5).then(|| digits.parse().ok()).flatten()
}
