//! What launchers and loggers put before a line: times, ranks, tasks, hosts.

use super::written;

/// How much a rank in a prefix is worth: the global one more than the number of a task, that more than a local one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    Local,
    Task,
    Global,
}

/// Splits what launchers put before a line from the line, and reads the rank from it.
pub(in crate::diagnose) fn unprefixed(line: &str) -> (Option<u32>, &str) {
    /// `time [default3]:[rank3]: host` and no more.
    const PARTS: usize = 5;
    let (mut rank, mut rest): (Option<(Worth, u32)>, &str) = (None, line);
    for _ in 0..PARTS {
        if let Some(after) = written::after_time(rest) {
            rest = after;
        } else if let Some((found, after)) = part(rest) {
            rank = rank.max(found);
            rest = after;
        } else {
            break;
        }
    }
    (rank.map(|(_, rank)| rank), rest)
}

/// One prefix that is no time.
fn part(text: &str) -> Option<(Option<(Worth, u32)>, &str)> {
    match text.as_bytes().first()? {
        b'[' => bracketed(text),
        b'(' => ray(text),
        b'0'..=b'9' => {
            // `srun --label` and `pdsh -N`; whether the number is a task is judged over the whole log.
            let (digits, rest) = text.split_once(": ")?;
            (digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit()))
                .then_some((None, rest))
        }
        b'a'..=b'z' | b'A'..=b'Z' => host(text).or_else(|| worded(text)),
        _ => None,
    }
}

/// `[rank3]: `, `[Rank 3] `, `[rank: 3] `, `[default0]:`, `[trainer0]:`, `[1,5]<stderr>:`.
fn bracketed(text: &str) -> Option<(Option<(Worth, u32)>, &str)> {
    let (inside, rest) = text[1..].split_once(']')?;
    if inside.len() > 24 {
        return None;
    }
    if let Some((job, task)) = inside.split_once(',')
        && !job.is_empty()
        && job.bytes().all(|byte| byte.is_ascii_digit())
    {
        let task = number(task)?;
        let rest = match rest.strip_prefix("<std") {
            Some(stream) => stream.split_once('>')?.1,
            None => rest,
        };
        return Some((Some((Worth::Task, task)), separated(rest)));
    }
    let digits = inside.trim_start_matches(|c: char| !c.is_ascii_digit());
    let word = inside[..inside.len() - digits.len()].trim_end_matches([' ', ':', '=']);
    let rank = number(digits)?;
    let worth = if word.eq_ignore_ascii_case("rank") || word.eq_ignore_ascii_case("global_rank") {
        Worth::Global
    } else if matches!(
        word,
        "default" | "trainer" | "worker" | "local_rank" | "proc" | "Process"
    ) && (rest.starts_with(':') || word != "worker")
    {
        Worth::Local
    } else {
        return None;
    };
    Some((Some((worth, rank)), separated(rest)))
}

/// `(RayTrainWorker pid=12, ip=10.0.0.1) `, `(pid=12) `, and with `[repeated 3x across cluster]` after it.
fn ray(text: &str) -> Option<(Option<(Worth, u32)>, &str)> {
    let (inside, rest) = text[1..].split_once(')')?;
    if inside.len() > 160 || !inside.contains("pid=") {
        return None;
    }
    let rank = inside
        .split(['=', ',', ' '])
        .skip_while(|part| *part != "rank")
        .nth(1)
        .and_then(number);
    Some((
        rank.map(|rank| (Worth::Global, rank)),
        rest.strip_prefix(' ').unwrap_or(rest),
    ))
}

/// `worker-1: `, `node-0.cluster: ` of DeepSpeed's pdsh and of log collectors.
fn host(text: &str) -> Option<(Option<(Worth, u32)>, &str)> {
    let (name, rest) = text.split_once(": ")?;
    let (word, digits) = name.split('.').next()?.rsplit_once('-')?;
    let is_name = name.len() <= 64
        && !word.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    (is_name && number(digits).is_some()).then_some((None, rest))
}

/// `Rank 3: `, `rank=3 `, `rank3: `.
fn worded(text: &str) -> Option<(Option<(Worth, u32)>, &str)> {
    let rest = text
        .strip_prefix("Rank")
        .or_else(|| text.strip_prefix("rank"))?;
    let rest = rest.trim_start_matches([' ', '=']);
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    let rank = number(&rest[..end])?;
    let rest = rest[end..].strip_prefix([':', '|', '>'])?;
    Some((
        Some((Worth::Global, rank)),
        rest.strip_prefix(' ').unwrap_or(rest),
    ))
}

/// One colon and one space; more belongs to the line, whose indentation tells.
fn separated(rest: &str) -> &str {
    let rest = rest.strip_prefix(':').unwrap_or(rest);
    rest.strip_prefix(' ').unwrap_or(rest)
}

fn number(digits: &str) -> Option<u32> {
    (!digits.is_empty() && digits.len() <= 6)
        .then(|| digits.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranks_are_read_from_the_prefixes_of_launchers() {
        for (line, rank, rest) in [
            ("[rank3]: boom", Some(3), "boom"),
            ("[rank3]:   File \"x\"", Some(3), "  File \"x\""),
            ("[Rank 3] boom", Some(3), "boom"),
            ("[rank: 4] Seed set to 1", Some(4), "Seed set to 1"),
            ("[RANK 12] boom", Some(12), "boom"),
            ("[default7]:boom", Some(7), "boom"),
            ("[default7]:[rank15]: boom", Some(15), "boom"),
            ("[rank15]:[default7]: boom", Some(15), "boom"),
            ("[trainer2]:boom", Some(2), "boom"),
            ("[1,5]<stderr>:boom", Some(5), "boom"),
            ("[1,5]<stdout>: boom", Some(5), "boom"),
            ("2026-03-02T10:41:05.123Z [rank12]: boom", Some(12), "boom"),
            ("worker-1: [rank9]: boom", Some(9), "boom"),
            ("node-0.lab: boom", None, "boom"),
            ("(RayTrainWorker pid=12, ip=10.0.0.1) boom", None, "boom"),
            (
                "(TrainActor(rank=3) pid=9)",
                None,
                "(TrainActor(rank=3) pid=9)",
            ),
            ("3: boom", None, "boom"),
            ("Rank 6: boom", Some(6), "boom"),
            (
                "[E302 10:26:00.1 ProcessGroupNCCL.cpp:616] boom",
                None,
                "[E302 10:26:00.1 ProcessGroupNCCL.cpp:616] boom",
            ),
            ("I0302 10:00:00.123456   123 main.cc:9] boom", None, "boom"),
            ("[ 1234.567890] NVRM: Xid", None, "NVRM: Xid"),
            (
                "Mar  2 10:00:00 gpu-1 kernel: NVRM: Xid",
                None,
                "gpu-1 kernel: NVRM: Xid",
            ),
            ("RuntimeError: boom", None, "RuntimeError: boom"),
            ("[WARNING] boom", None, "[WARNING] boom"),
            ("boom", None, "boom"),
            ("", None, ""),
        ] {
            assert_eq!(unprefixed(line), (rank, rest), "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_is_left_is_always_the_end_of_the_line(line in "\\PC{0,80}") {
            let (_, rest) = unprefixed(&line);
            prop_assert!(line.ends_with(rest));
        }

        #[test]
        fn a_prefix_never_takes_the_words(rank in 0u32..100_000, text in "[a-z]{3,9} [a-z ]{0,20}") {
            for line in [
                format!("[rank{rank}]: {text}"),
                format!("2026-03-02 10:00:00,123 [rank{rank}]: {text}"),
                format!("[1,{rank}]<stderr>:{text}"),
            ] {
                prop_assert_eq!(unprefixed(&line), (Some(rank), text.as_str()));
            }
        }
    }
}
