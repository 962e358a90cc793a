//! Lines that say nothing about why a job failed: progress bars, the chatter of trackers, and what a job says while it
//! is torn down.

use std::sync::LazyLock;

use regex::Regex;

use super::prefix::unprefixed;
use super::{NO_TROUBLE, TROUBLE};
use crate::diagnose::LogLine;

macro_rules! pattern {
    ($name:ident, $re:literal) => {
        static $name: LazyLock<Regex> =
            LazyLock::new(|| Regex::new($re).expect("a constant that the tests compile"));
    };
}

pattern!(
    PROGRESS,
    r"(?i)\b(?:global[_ ]?step|step|iter(?:ation)?|epoch|batch)\b\s*[=:\[#/]?\s*\d+|\d\s*(?:it/s|s/it)|\d+%\|"
);
// tqdm, wandb, Hugging Face downloads, pip, docker.
pattern!(
    BAR,
    r"\d{1,3}%\s?[|\[]|\d\s?(?:it|s|B|kB|MB|GB)/(?:s|it)\b|^\s*[-\\|/⠀-⣿]\s|[█▏▎▍▌▋▊▉━╸]{2}|^[ =>#.]*\d{1,3}%"
);
// What follows a failure, and what trackers say at the end.
pattern!(
    TEARDOWN,
    r"(?i)^wandb:|SIGTERM|SIGINT|closing signal|destroy_process_group|leaked semaphore|resource_tracker|process group has not been destroyed|terminating (?:the )?(?:other |remaining )?(?:process|worker|rank)|cleaning up|shutting down|received signal 15|waiting for .{0,30} to (?:finish|exit)|^-{4,}$|^={4,}$|^\*{4,}$"
);

/// A step, an epoch, or the speed of either, and no word of trouble.
pub(super) fn is_progress(line: &str) -> bool {
    PROGRESS.is_match(line) && !TROUBLE.is_match(line)
}

/// A state of a bar that the next state overwrote.
pub(super) fn is_overwritten_progress(part: &str) -> bool {
    (BAR.is_match(part) || PROGRESS.is_match(part)) && !TROUBLE.is_match(part)
}

/// True where a tail of a log holds nothing that could tell a cause, so that it is worth looking further back.
pub(in crate::diagnose) fn tells_nothing(lines: &[LogLine]) -> bool {
    !lines.is_empty()
        && lines.iter().all(|line| {
            let text = &line.text[..line.text.floor_char_boundary(2048)];
            let (_, rest) = unprefixed(text.trim_end_matches(['\r', '\n']));
            rest.trim().is_empty()
                || !TROUBLE.is_match(rest)
                || NO_TROUBLE.is_match(rest)
                || TEARDOWN.is_match(rest)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[&str]) -> Vec<LogLine> {
        texts
            .iter()
            .map(|text| LogLine {
                at: None,
                text: (*text).to_owned(),
            })
            .collect()
    }

    #[test]
    fn a_tail_of_bars_and_teardown_tells_nothing() {
        assert!(tells_nothing(&lines(&[
            " 45%|████▌     | 450/1000 [01:02<01:16,  7.2it/s]",
            "wandb: Run history: loss failed to sync 0 errors",
            "W0302 10:00:00.1 1 torch/distributed/elastic/multiprocessing/api.py:900] Sending process 12 closing signal SIGTERM",
            "step 900 loss 3.1",
            "",
        ])));
        assert!(!tells_nothing(&lines(&[
            "step 1",
            "RuntimeError: CUDA error: out of memory"
        ])));
        assert!(!tells_nothing(&[]));
    }

    #[test]
    fn bars_are_told_from_words() {
        for bar in [
            "  3%|▎         | 30/1000 [00:01<00:40, 23.9it/s]",
            "Downloading: 45% [====>   ] 12.3MB/s",
            "model.safetensors:  12%|█▏        | 1.2G/9.9G [00:10<01:20, 108MB/s]",
        ] {
            assert!(is_overwritten_progress(bar), "{bar}");
        }
        assert!(!is_overwritten_progress("disk is 100% full"));
        assert!(!is_overwritten_progress("ValueError at step 7: failed"));
    }
}
