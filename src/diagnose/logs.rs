//! Reads logs for signatures: one pass of literals over each log, the regular expressions only where one hit.
//! Knows tracebacks, rank prefixes, progress lines and what is only a warning. Pure.

use std::collections::HashMap;
use std::sync::LazyLock;

use jiff::Timestamp;
use regex::Regex;

use super::hit::{Hit, Tier};
use super::knowledge::{Announced, Knowledge, Sign, TextPlace};
use super::{ContainerLog, LogLine};
use crate::redact;

/// A longer line is read from both its ends only: errors stand there, not in the middle of dumped data.
const LINE_HEAD: usize = 16 << 10;
/// How many lines a traceback may have.
const TRACEBACK_LINES: usize = 400;
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

// What launchers put before a line: time, rank or host. Groups 1, 2 and 3 hold the rank.
pattern!(
    PREFIX,
    r"^(?:\[?\d{4}-\d{2}-\d{2}[T ][\d:.,]+(?:Z|[+-]\d{2}:?\d{2})?\]?[ \t]?)?(?:\[(?:[Rr]ank|default) ?(\d{1,6})\]:?[ ]?|\[\d+,(\d{1,6})\](?:<std\w+>)?:?[ ]?|\d{1,5}: |[A-Za-z][\w.]*-\d+: |\((?:\w+ )?pid=\d+[^)]*\) ?)?(?:\[(?:[Rr]ank) ?(\d{1,6})\]:?[ ]?)?"
);
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
    PROGRESS,
    r"(?i)\b(?:global[_ ]?step|step|iter(?:ation)?|epoch|batch)\b\s*[=:\[#/]?\s*\d+|\d\s*(?:it/s|s/it)|\d+%\|"
);
pattern!(
    TROUBLE,
    r"(?i)\b(?:error|errno|fatal|fail(?:ed|ure|s)?|exception|panic(?:ked)?|abort(?:ed|ing)?|killed|critical|cannot|can't|could ?n[o']t|unable|denied|refused|timed? ?out|invalid|unexpected|nan|corrupt(?:ed)?|crash(?:ed)?)\b|\w(?:Error|Exception|Failed|Failure)\b|\bTraceback\b"
);
pattern!(
    NO_TROUBLE,
    r"(?i)\b(?:no|0|zero|without(?: any)?) (?:errors?|failures?)\b|\b(?:errors?|failures?|failed)\w*\s*[=:]\s*0\b|error[_ ]?(?:rate|bars?)\b|on[_-]error|errorlevel"
);
pattern!(EXCEPTION, r"^(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?::|$)");
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

/// One log joined into one text, with the way back to its lines.
struct Joined<'a> {
    log: &'a ContainerLog,
    text: String,
    starts: Vec<usize>,
}

impl<'a> Joined<'a> {
    fn of(log: &'a ContainerLog) -> Self {
        let mut text = String::with_capacity(
            log.lines
                .iter()
                .map(|line| line.text.len().min(2 * LINE_HEAD) + 1)
                .sum(),
        );
        let mut starts = Vec::with_capacity(log.lines.len());
        for line in &log.lines {
            starts.push(text.len());
            if line.text.len() > 2 * LINE_HEAD {
                let head = line.text.floor_char_boundary(LINE_HEAD);
                let tail = line.text.ceil_char_boundary(line.text.len() - LINE_HEAD);
                text.push_str(&line.text[..head]);
                text.push_str(" … ");
                text.push_str(&line.text[tail..]);
            } else {
                text.push_str(&line.text);
            }
            text.push('\n');
        }
        Self { log, text, starts }
    }

    fn line_at(&self, offset: usize) -> usize {
        self.starts
            .partition_point(|start| *start <= offset)
            .saturating_sub(1)
    }

    fn line(&self, index: usize) -> &str {
        let end = self
            .starts
            .get(index + 1)
            .copied()
            .unwrap_or(self.text.len());
        self.text[self.starts[index]..end].trim_end_matches(['\n', '\r'])
    }

    /// The part of the line around an offset, between carriage returns.
    fn segment(&self, offset: usize) -> &str {
        let line = self.line_at(offset);
        let text = self.line(line);
        let at = (offset - self.starts[line]).min(text.len());
        let start = text[..at].rfind('\r').map_or(0, |cr| cr + 1);
        let end = text[at..].find('\r').map_or(text.len(), |cr| at + cr);
        &text[start..end]
    }

    fn at(&self, index: usize) -> Option<Timestamp> {
        let line = &self.log.lines[index];
        line.at.or_else(|| written_time(&line.text))
    }
}

/// Splits what launchers put before a line from the line, and reads the rank from it.
fn unprefixed(line: &str) -> (Option<u32>, &str) {
    let Some(found) = PREFIX.captures(line) else {
        return (None, line);
    };
    let rank = (1..=3).find_map(|group| found.get(group)?.as_str().parse().ok());
    (rank, &line[found.get(0).map_or(0, |all| all.end())..])
}

/// The time that a line begins with, read as UTC if it names no offset.
fn written_time(line: &str) -> Option<Timestamp> {
    let line = line.trim_start_matches(['[', ' ', '\u{feff}']);
    let head = line.get(..19)?;
    let bytes = head.as_bytes();
    if !bytes[0].is_ascii_digit()
        || bytes[4] != b'-'
        || bytes[13] != b':'
        || !matches!(bytes[10], b'T' | b' ' | b'_')
    {
        return None;
    }
    let mut iso = head.to_owned();
    iso.replace_range(10..11, "T");
    let fraction: String = line[19..]
        .strip_prefix(['.', ','])
        .map(|rest| {
            rest.chars()
                .take_while(char::is_ascii_digit)
                .take(9)
                .collect()
        })
        .unwrap_or_default();
    if !fraction.is_empty() {
        iso.push('.');
        iso.push_str(&fraction);
    }
    iso.push('Z');
    iso.parse().ok()
}

/// Reads one log. `node` is where its pod ran.
pub(super) fn read(log: &ContainerLog, node: Option<&str>, knowledge: &Knowledge) -> LogReading {
    let joined = Joined::of(log);
    let mut reading = LogReading::default();
    let mut tracebacks: Vec<Traceback> = Vec::new();
    let mut seen: HashMap<(usize, bool), usize> = HashMap::new();
    let mut tested: HashMap<Announced, usize> = HashMap::new();
    for (offset, announced) in knowledge.announced(&joined.text) {
        let index = joined.line_at(offset);
        // One literal may stand in a line several times, and several literals announce one sign; a line that
        // progress bars overwrote holds several, and is read again.
        let single = !joined.line(index).contains('\r');
        if single && tested.insert(announced, index) == Some(index) {
            continue;
        }
        let raw = joined.segment(offset);
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
            Announced::Xid => {
                for code in xids(raw) {
                    if let Some(failure) = knowledge.xid(code) {
                        let hit = hit(&joined, index, raw, node, failure, Tier::Node);
                        keep(&mut reading.hits, &mut seen, hit);
                    }
                }
            }
            Announced::Sign { failure, sign } => {
                let row = &knowledge.failures()[failure];
                let (text, tier) = match &row.signs[sign] {
                    Sign::Log(text) => (text, Tier::Log),
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
                let cleaned = redact::clean(raw);
                let (_, line) = unprefixed(&cleaned);
                if !text.is_match(line) || is_code(&joined, index, line, &tracebacks) {
                    continue;
                }
                let rest = knowledge.without_advice(line);
                if rest.len() != line.len() && !text.is_match(&rest) {
                    continue;
                }
                let mut hit = hit(&joined, index, raw, node, failure, tier);
                hit.weak = is_mild(&rest) || (tier == Tier::Log && survived(&joined, index));
                note_timeout(&mut reading, line);
                keep(&mut reading.hits, &mut seen, hit);
            }
        }
    }
    add_exceptions(
        &mut reading,
        &mut seen,
        &joined,
        &tracebacks,
        node,
        knowledge,
    );
    reading.ranks.sort_unstable();
    reading.ranks.dedup();
    reading
}

/// The unhandled exceptions that no signature names are application exceptions.
fn add_exceptions(
    reading: &mut LogReading,
    seen: &mut HashMap<(usize, bool), usize>,
    joined: &Joined<'_>,
    tracebacks: &[Traceback],
    node: Option<&str>,
    knowledge: &Knowledge,
) {
    let Some(failure) = knowledge.index("app_exception") else {
        return;
    };
    for traceback in tracebacks {
        let raw = joined.line(traceback.exception);
        let cleaned = redact::clean(raw);
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
        let mut hit = hit(joined, traceback.exception, raw, node, failure, Tier::Log);
        hit.weak = is_mild(line) || survived(joined, traceback.exception);
        keep(&mut reading.hits, seen, hit);
    }
    // A message may run over several lines, so what follows the line that names the exception counts too.
    for hit in &mut reading.hits {
        hit.fatal = tracebacks
            .iter()
            .any(|traceback| (traceback.exception..traceback.exception + 8).contains(&hit.order));
    }
}

fn hit(
    joined: &Joined<'_>,
    index: usize,
    raw: &str,
    node: Option<&str>,
    failure: usize,
    tier: Tier,
) -> Hit {
    let log = joined.log;
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
        rank: prefix.or_else(|| RANK.captures(line)?.get(1)?.as_str().parse().ok()),
        line: excerpt(raw),
        weak: false,
        fatal: false,
        count: 1,
    }
}

/// Keeps the first hit of each failure, strong and weak apart; later ones are counted.
fn keep(hits: &mut Vec<Hit>, seen: &mut HashMap<(usize, bool), usize>, hit: Hit) {
    match seen.entry((hit.failure, hit.weak)) {
        std::collections::hash_map::Entry::Occupied(kept) => {
            let kept = &mut hits[*kept.get()];
            kept.count += 1;
            // Tracebacks are added last, so a later call may bring an earlier line.
            if hit.order < kept.order {
                let count = kept.count;
                *kept = hit;
                kept.count = count;
            }
        }
        std::collections::hash_map::Entry::Vacant(slot) => {
            slot.insert(hits.len());
            hits.push(hit);
        }
    }
}

/// As much of a line as can ever be shown.
fn excerpt(raw: &str) -> String {
    raw[..raw.floor_char_boundary(4096)].to_owned()
}

fn is_mild(line: &str) -> bool {
    MILD.is_match(line) && !line.contains("NCCL WARN") && !GIVEN_UP.is_match(line)
}

/// True if the job made progress after this line: then it was not what ended it.
fn survived(joined: &Joined<'_>, index: usize) -> bool {
    /// One more line of progress may be in flight when a rank dies.
    const IN_FLIGHT: usize = 1;
    let mut progress = 0;
    for later in (index + 1..joined.log.lines.len()).rev() {
        let line = joined.line(later);
        if PROGRESS.is_match(line) && !TROUBLE.is_match(line) {
            progress += 1;
            if progress > IN_FLIGHT {
                return true;
            }
        }
    }
    false
}

/// A Python traceback: from its header to the line that names the exception.
#[derive(Debug)]
struct Traceback {
    header: usize,
    exception: usize,
}

impl Traceback {
    fn read(joined: &Joined<'_>, header: usize) -> Option<Self> {
        let (rank, _) = unprefixed(joined.line(header));
        let last = joined.log.lines.len().min(header + TRACEBACK_LINES);
        for index in header + 1..last {
            let raw = joined.line(index);
            let (other, line) = unprefixed(raw);
            // Ranks write into one log and interleave.
            if other != rank || line.starts_with([' ', '\t', '|', '+']) || line.trim().is_empty() {
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

    fn reads_configuration(&self, joined: &Joined<'_>) -> bool {
        (self.header..self.exception).any(|index| {
            let line = joined.line(index);
            ["config", "cfg", "hparams", "args[", "yaml"]
                .iter()
                .any(|word| line.contains(word))
        })
    }
}

/// True for the lines of a traceback that show code: what they quote did not happen.
fn is_code(joined: &Joined<'_>, index: usize, line: &str, tracebacks: &[Traceback]) -> bool {
    if !line.starts_with([' ', '\t']) {
        return false;
    }
    let in_traceback = tracebacks
        .iter()
        .rev()
        .take(64)
        .any(|traceback| traceback.header < index && index < traceback.exception);
    let after_frame = index > 0 && {
        let (_, before) = unprefixed(joined.line(index - 1));
        before.trim_start().starts_with("File \"")
    };
    in_traceback || after_frame || line.trim_start().starts_with("File \"")
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
    for index in header + 1..joined.log.lines.len().min(header + 12) {
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
            "time" => block.at = written_time(value),
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
mod tests {
    use super::*;

    fn log(lines: &[&str]) -> ContainerLog {
        ContainerLog {
            pod: "p".to_owned(),
            container: "main".to_owned(),
            previous: false,
            lines: lines
                .iter()
                .map(|text| LogLine {
                    at: None,
                    text: (*text).to_owned(),
                })
                .collect(),
        }
    }

    fn found(lines: &[&str]) -> Vec<(String, bool)> {
        let knowledge = Knowledge::embedded();
        let mut found: Vec<_> = read(&log(lines), None, &knowledge)
            .hits
            .into_iter()
            .map(|hit| {
                (
                    hit.order,
                    knowledge.failures()[hit.failure].id.clone(),
                    hit.weak,
                )
            })
            .collect();
        found.sort();
        found.into_iter().map(|(_, id, weak)| (id, weak)).collect()
    }

    #[test]
    fn code_that_a_traceback_quotes_is_not_what_happened() {
        assert_eq!(
            found(&[
                "[rank3]: Traceback (most recent call last):",
                "[rank3]:   File \"/app/train.py\", line 9, in <module>",
                "[rank3]:     raise RuntimeError(\"CUDA out of memory\")",
                "[rank3]: mylib.errors.WeirdFailure: nothing to see",
            ]),
            [("app_exception".to_owned(), false)]
        );
    }

    #[test]
    fn advice_is_never_a_cause() {
        for line in [
            "If you are out of memory, try reducing the batch size",
            "Hint: CUDA out of memory can be avoided with gradient checkpointing",
            "CUDA kernel errors might be asynchronously reported at some other API call",
            "For debugging consider passing CUDA_LAUNCH_BLOCKING=1",
            "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.",
            "Killed",
        ] {
            assert_eq!(found(&[line]), [], "{line}");
        }
    }

    #[test]
    fn what_the_job_survived_is_weak() {
        let lines = [
            "CUDA out of memory, halving the batch",
            "step 10 loss 3.1",
            "step 11 loss 3.0",
            "bye",
        ];
        assert_eq!(found(&lines), [("cuda_oom".to_owned(), true)]);
        assert_eq!(found(&lines[..2]), [("cuda_oom".to_owned(), false)]);
    }

    #[test]
    fn ranks_are_read_from_the_prefixes_of_launchers() {
        for (line, rank, rest) in [
            ("[rank3]: boom", Some(3), "boom"),
            ("[default7]:boom", Some(7), "boom"),
            ("[1,5]<stderr>:boom", Some(5), "boom"),
            ("2026-03-02T10:41:05.123Z [rank12]: boom", Some(12), "boom"),
            ("worker-1: [rank9]: boom", Some(9), "boom"),
            ("(RayTrainWorker pid=12, ip=10.0.0.1) boom", None, "boom"),
            ("boom", None, "boom"),
        ] {
            assert_eq!(unprefixed(line), (rank, rest), "{line}");
        }
    }

    #[test]
    fn xids_are_told_from_pci_addresses_and_from_sxids() {
        for (line, codes) in [
            (
                "NVRM: Xid (PCI:0000:06:00): 79, pid=1234, GPU has fallen off the bus.",
                vec![79],
            ),
            ("NVRM: Xid (PCI:0000:3b:00.0): 48, DBE", vec![48]),
            ("XID 94 on GPU 3", vec![94]),
            ("Xid error 13", vec![13]),
            (
                "nvidia-nvswitch0: SXid (PCI:0000:c1:00.0): 20034, Fatal",
                vec![],
            ),
            ("txid 79", vec![]),
        ] {
            assert_eq!(xids(line), codes, "{line}");
        }
    }

    #[test]
    fn the_block_of_torchrun_names_rank_host_and_exit_code() {
        let reading = read(
            &log(&[
                "Root Cause (first observed failure):",
                "[0]:",
                "  time      : 2026-03-02_10:41:05",
                "  host      : gang-worker-2",
                "  rank      : 17 (local_rank: 1)",
                "  exitcode  : -9 (pid: 123)",
            ]),
            None,
            &Knowledge::embedded(),
        );
        let block = reading.first_observed.unwrap();
        assert_eq!(block.rank, Some(17));
        assert_eq!(block.host.as_deref(), Some("gang-worker-2"));
        assert_eq!(block.exit_code, Some(-9));
        assert!(block.at.is_some());
    }
}
