//! Reads logs for signatures: one search for literals over each log, the regular expressions only on lines with one.
//! Knows tracebacks, rank prefixes, progress lines and what is only a warning. Pure.

mod envelope;
mod joined;
mod noise;
mod prefix;
mod traceback;
mod written;

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::LazyLock;

use jiff::Timestamp;
use regex::Regex;

use super::hit::{Hit, Tier};
use super::knowledge::{Announced, Knowledge, Sign, TextPlace};
use super::{ContainerLog, LogLine};
use crate::redact;

use joined::{Joined, LINE_HEAD};
pub(super) use noise::tells_nothing;
pub(super) use prefix::unprefixed;
use traceback::{Traceback, is_code};

/// How many ranks' reports of collective timeouts are kept.
const REPORTS: usize = 4096;

/// What one log says.
#[derive(Debug, Default)]
pub(super) struct LogReading {
    pub(super) hits: Vec<Hit>,
    pub(super) timeouts: Vec<CollectiveTimeout>,
    pub(super) first_observed: Option<FirstObserved>,
    /// Highest global rank that a prefix names.
    pub(super) ranks: Vec<u32>,
}

/// A rank's report that a collective operation timed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CollectiveTimeout {
    pub(super) rank: u32,
    /// Sequence number of the operation that timed out, or of the last one that completed.
    pub(super) sequence: Option<u64>,
}

/// What torchrun reports as the first observed failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FirstObserved {
    pub(super) at: Option<Timestamp>,
    pub(super) host: Option<String>,
    pub(super) rank: Option<u32>,
    pub(super) exit_code: Option<i32>,
}

macro_rules! pattern {
    ($name:ident, $re:literal) => {
        static $name: LazyLock<Regex> =
            LazyLock::new(|| Regex::new($re).expect("a constant that the tests compile"));
    };
}

pattern!(RANK, r"(?i)\[?\brank[ :=]{0,2}(\d{1,6})\b");
// Lines that tell of a failure that the program means to survive, or that only warn.
pattern!(
    MILD,
    r"(?i)\b(?:retrying|retry|falling back|fallback|ignor(?:ed|ing)|skipp(?:ed|ing)|continuing|recovered|deprecat\w*)\b|^[^a-z]{0,48}(?:[\w./:-]+ ){0,3}[\[(<]?\b(?:INFO|DEBUG|WARNING|TRACE)\b|^[^a-z]{0,40}WARN\b"
);
// Retries that came to their end are not mild any more.
pattern!(
    GIVEN_UP,
    r"(?i)\bretr(?:y|ies)\b.{0,40}\b(?:exceeded|exhausted|failed)\b|\b(?:max(?:imum)?|exceeded|exhausted|out of|after \d+) (?:\w+ )?retries\b|fork: retry|\bg[ai]v(?:e|ing) up\b"
);
pattern!(
    TROUBLE,
    r"(?i)\b(?:error|errno|fatal|fail(?:ed|ure|s)?|exception|panic(?:ked)?|abort(?:ed|ing)?|killed|critical|cannot|can't|could ?n[o']t|unable|denied|refused|timed? ?out|invalid|unexpected|nan|corrupt(?:ed)?|crash(?:ed)?)\b|\w(?:Error|Exception|Failed|Failure)\b|\bTraceback\b"
);
pattern!(
    NO_TROUBLE,
    r"(?i)\b(?:no|0|zero|without(?: any)?) (?:errors?|failures?)\b|\b(?:errors?|failures?|failed)\w*\s*[=:]\s*0\b|error[_ ]?(?:rate|bars?)\b|on[_-]error|errorlevel"
);
pattern!(
    COLLECTIVE,
    r"(?i)\[rank ?(\d+)\].*?(?:collective operation timeout|last (?:enqueued|completed) NCCL work)"
);
pattern!(SEQUENCE, r"(?i)SeqNum=(\d+)");
pattern!(
    LAST_COMPLETED,
    r"(?i)last completed (?:NCCL )?work:? ?(\d+)"
);
pattern!(
    XID,
    r"(?i)\bxid\b[^\d\n(]{0,24}\(PCI:[^)]*\)[:,]?\s*(\d{1,3})\b|\bxid[\s:=#]{0,3}(?:error|code|errors)?[\s:=#]{0,3}(\d{1,3})\b|nvidia_?xid_?(\d{1,3})"
);
pattern!(
    BLOCK_FIELD,
    r"^\s*(time|host|rank|exitcode)\s*:\s*(.+?)\s*$"
);

/// The numbers of all Xids that a text names.
pub(super) fn xids(text: &str) -> Vec<u32> {
    XID.captures_iter(text)
        .filter_map(|found| {
            let digits = found
                .get(1)
                .or_else(|| found.get(2))
                .or_else(|| found.get(3))?;
            // `SXid` is another numbering.
            let before = text[..found.get(0)?.start()].chars().next_back();
            (!before.is_some_and(|c| c.is_ascii_alphabetic()))
                .then(|| digits.as_str().parse().ok())
                .flatten()
        })
        .collect()
}

/// Reads one log. `node` is where its pod ran.
pub(super) fn read(log: &ContainerLog, node: Option<&str>, knowledge: &Knowledge) -> LogReading {
    let joined = Joined::of(log, |line| knowledge.announced(line).next().is_some());
    let mut reading = LogReading::default();
    let mut tracebacks: Vec<Traceback> = Vec::new();
    let mut kept = Kept::default();
    let mut tested: HashMap<Announced, usize> = HashMap::new();
    let mut line = Line::default();
    for (offset, announced) in knowledge.announced(&joined.text) {
        let index = joined.line_at(offset);
        // One literal may stand in a line several times, and several literals announce one sign.
        if tested.insert(announced, index) == Some(index) {
            continue;
        }
        match announced {
            Announced::Traceback => {
                if let Some(traceback) = Traceback::read(&joined, index) {
                    tracebacks.push(traceback);
                }
            }
            Announced::FirstObserved => {
                let block = first_observed(&joined, index);
                if block.rank.is_some() || block.exit_code.is_some() {
                    reading.first_observed.get_or_insert(block);
                }
            }
            Announced::CollectiveTimeout => {
                let text = line.of(&joined, index);
                if !is_code(&joined, index, text, &tracebacks) {
                    note_timeout(&mut reading, text);
                }
            }
            Announced::Xid => {
                for code in xids(joined.line(index)) {
                    if let Some(failure) = knowledge.xid(code) {
                        kept.keep(hit(&joined, index, node, failure, Tier::Node));
                    }
                }
            }
            Announced::Sign {
                failure,
                sign,
                branch,
            } => {
                let row = &knowledge.failures()[failure];
                let (pattern, tier) = match &row.signs[sign] {
                    Sign::Log(pattern) => (pattern, Tier::Log),
                    Sign::Text {
                        place: TextPlace::Kernel,
                        text,
                    } => (text, Tier::Node),
                    Sign::Exit { .. }
                    | Sign::State { .. }
                    | Sign::PodCondition { .. }
                    | Sign::Event { .. }
                    | Sign::Node { .. }
                    | Sign::Text { .. } => continue,
                };
                // The first line that tells of a failure is the one that counts.
                let survived = || tier == Tier::Log && joined.progressed_after(index);
                if kept.has(failure, false) || (kept.has(failure, true) && survived()) {
                    continue;
                }
                let text = line.of(&joined, index);
                if !pattern.matches_branch(branch, text)
                    || is_code(&joined, index, text, &tracebacks)
                {
                    continue;
                }
                let rest = knowledge.without_advice(text);
                if rest.len() != text.len() && !pattern.matches_branch(branch, &rest) {
                    continue;
                }
                let mut hit = hit(&joined, index, node, failure, tier);
                hit.weak = is_mild(&rest) || survived();
                kept.keep(hit);
            }
        }
    }
    add_exceptions(&mut kept, &joined, &tracebacks, node, knowledge);
    reading.hits = kept.hits;
    reading.ranks.sort_unstable();
    reading.ranks.dedup();
    reading
}

/// The line that was looked at last, cleaned and without its prefixes: several signs look at one line.
#[derive(Default)]
struct Line<'a> {
    index: Option<usize>,
    text: Cow<'a, str>,
    begins: usize,
}

impl<'a> Line<'a> {
    fn of(&mut self, joined: &'a Joined<'_>, index: usize) -> &str {
        if self.index != Some(index) {
            self.index = Some(index);
            self.text = redact::clean(joined.line(index));
            let (_, rest) = unprefixed(&self.text);
            self.begins = self.text.len() - rest.len();
        }
        &self.text[self.begins..]
    }
}

/// The first hit of each failure, strong and weak apart.
#[derive(Default)]
struct Kept {
    hits: Vec<Hit>,
    places: HashMap<(usize, bool), usize>,
}

impl Kept {
    fn has(&self, failure: usize, weak: bool) -> bool {
        self.places.contains_key(&(failure, weak))
    }

    fn keep(&mut self, hit: Hit) {
        match self.places.entry((hit.failure, hit.weak)) {
            Entry::Occupied(place) => {
                let kept = &mut self.hits[*place.get()];
                // Tracebacks are added last, so a later call may bring an earlier line.
                if hit.order < kept.order {
                    *kept = hit;
                }
            }
            Entry::Vacant(place) => {
                place.insert(self.hits.len());
                self.hits.push(hit);
            }
        }
    }
}

/// The unhandled exceptions that no signature names are application exceptions.
fn add_exceptions(
    kept: &mut Kept,
    joined: &Joined<'_>,
    tracebacks: &[Traceback],
    node: Option<&str>,
    knowledge: &Knowledge,
) {
    let Some(failure) = knowledge.index("app_exception") else {
        return;
    };
    for traceback in tracebacks {
        let cleaned = redact::clean(joined.line(traceback.exception));
        let (_, line) = unprefixed(&cleaned);
        if line.starts_with("KeyboardInterrupt")
            || line.starts_with("SystemExit")
            || line.starts_with("torch.distributed.elastic")
        {
            continue;
        }
        // A key that is missing while the configuration is read is a mistake in the configuration.
        let failure = if line.starts_with("KeyError") && traceback.reads_configuration(joined) {
            knowledge.index("config_error").unwrap_or(failure)
        } else {
            failure
        };
        let mut hit = hit(joined, traceback.exception, node, failure, Tier::Log);
        hit.weak = is_mild(line) || joined.progressed_after(traceback.exception);
        kept.keep(hit);
    }
    // Java names the outermost exception first and what caused it last.
    for hit in kept.hits.iter_mut().filter(|hit| hit.failure == failure) {
        if let Some(cause) = traceback::deepest_cause(joined, hit.order) {
            hit.order = cause;
            hit.line = excerpt(joined.shown(cause));
            hit.fatal = true;
        }
    }
    // A message may run over several lines, so what follows the line that names the exception counts too.
    for hit in &mut kept.hits {
        hit.fatal |= tracebacks
            .iter()
            .any(|traceback| (traceback.exception..traceback.exception + 8).contains(&hit.order));
    }
}

fn hit(joined: &Joined<'_>, index: usize, node: Option<&str>, failure: usize, tier: Tier) -> Hit {
    let log = joined.log();
    let raw = joined.line(index);
    let (prefix, line) = unprefixed(raw);
    Hit {
        failure,
        tier,
        source: if log.previous { "previous_log" } else { "log" },
        pod: Some(log.pod.clone()),
        container: Some(log.container.clone()),
        node: node.map(str::to_owned),
        at: joined.at(index),
        order: index,
        rank: prefix
            .or_else(|| joined.task(raw))
            .or_else(|| RANK.captures(line)?.get(1)?.as_str().parse().ok()),
        line: excerpt(joined.shown(index)),
        weak: false,
        fatal: false,
    }
}

/// As much of a line as can ever be shown.
fn excerpt(raw: &str) -> String {
    raw[..raw.floor_char_boundary(4096)].to_owned()
}

fn is_mild(line: &str) -> bool {
    MILD.is_match(line) && !line.contains("NCCL WARN") && !GIVEN_UP.is_match(line)
}

fn note_timeout(reading: &mut LogReading, line: &str) {
    let Some(rank) = COLLECTIVE
        .captures(line)
        .and_then(|found| found.get(1)?.as_str().parse().ok())
    else {
        return;
    };
    let number =
        |pattern: &Regex| -> Option<u64> { pattern.captures(line)?.get(1)?.as_str().parse().ok() };
    if reading.timeouts.len() < REPORTS {
        reading.timeouts.push(CollectiveTimeout {
            rank,
            sequence: number(&LAST_COMPLETED).or_else(|| number(&SEQUENCE)),
        });
        reading.ranks.push(rank);
    }
}

fn first_observed(joined: &Joined<'_>, header: usize) -> FirstObserved {
    let mut block = FirstObserved::default();
    for index in header + 1..joined.len().min(header + 12) {
        let (_, line) = unprefixed(joined.line(index));
        if line.starts_with("====") {
            break;
        }
        let Some(found) = BLOCK_FIELD.captures(line) else {
            continue;
        };
        let value = &found[2];
        let number = |text: &str| {
            text.split([' ', '('])
                .next()
                .and_then(|digits| digits.parse().ok())
        };
        match &found[1] {
            "time" => block.at = written::time(value, joined.kubelet(index)),
            "host" => block.host = Some(value.to_owned()),
            "rank" => block.rank = number(value).and_then(|rank: i32| u32::try_from(rank).ok()),
            "exitcode" => block.exit_code = number(value),
            _ => unreachable!("the pattern names four fields"),
        }
    }
    block
}

/// The line that most likely tells what went wrong, where no signature did: the last one that speaks of trouble.
pub(super) fn telling_line<'a>(
    log: &'a ContainerLog,
    knowledge: &Knowledge,
) -> Option<&'a LogLine> {
    /// The reason stands near the end; the whole of a long log is not searched for it.
    const LINES: usize = 200;
    log.lines.iter().rev().take(LINES).find(|line| {
        let text = &line.text[..line.text.floor_char_boundary(LINE_HEAD)];
        TROUBLE.is_match(text)
            && !NO_TROUBLE.is_match(text)
            && TROUBLE.is_match(&knowledge.without_advice(text))
            && !unprefixed(text).1.starts_with([' ', '\t'])
            && !is_mild(unprefixed(text).1)
            && text.trim() != "Killed"
    })
}

/// The highest step that a log reports, to see whether attempts get anywhere.
pub(super) fn last_step(log: &ContainerLog) -> Option<u64> {
    pattern!(
        STEP,
        r"(?i)\b(?:global[_ ]?step|step|iter(?:ation)?)\b\s*[=:\[#/]?\s*(\d{1,12})"
    );
    log.lines
        .iter()
        .rev()
        .take(200)
        .find_map(|line| STEP.captures(&line.text)?.get(1)?.as_str().parse().ok())
}

/// The last `step 500/10000` of a log.
pub(super) fn last_step_of(log: &ContainerLog) -> Option<(u64, u64)> {
    pattern!(
        STEP_OF,
        r"(?i)\b(?:global[_ ]?step|step|epoch)\b\s*[=:\[#]?\s*(\d{1,12})\s*(?:/|of)\s*(\d{1,12})"
    );
    log.lines.iter().rev().take(200).find_map(|line| {
        let found = STEP_OF.captures(&line.text)?;
        Some((found[1].parse().ok()?, found[2].parse().ok()?))
    })
}

#[cfg(test)]
mod tests;
