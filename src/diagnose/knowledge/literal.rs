//! Finds, for a regular expression, a small set of literals of which one is in every text that it matches.
//! With it one Aho-Corasick pass decides which expressions need to look at a line at all.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Shorter literals stand in too many lines to save work.
const SHORTEST: usize = 3;
/// Larger sets would bloat the automaton more than they save.
const LARGEST_SET: usize = 48;
/// Words that stand in most lines of a training log; a rarer one is taken where there is a choice.
const COMMON: &[&str] = &[
    "loss",
    "step",
    "error",
    "failed",
    "worker",
    "rank",
    "info",
    "model",
    "data",
    "time",
    "token",
    "file",
    "log",
    "checkpoint",
    "connection",
    "socket",
    "hub",
    "http",
];

/// Lower-case literals of which one must occur (in any case), or `None` if there is no useful set.
pub(super) fn required(pattern: &Hir) -> Option<Vec<String>> {
    let mut set = needed(pattern)?;
    set.sort_unstable();
    set.dedup();
    Some(set)
}

fn needed(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Literal(_) | HirKind::Class(_) => usable(&folded(hir)?),
        HirKind::Capture(capture) => needed(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => needed(&repetition.sub),
        HirKind::Alternation(branches) => {
            let mut all = Vec::new();
            for branch in branches {
                all.extend(needed(branch)?);
            }
            (all.len() <= LARGEST_SET).then_some(all)
        }
        HirKind::Concat(parts) => {
            let mut best: Option<Vec<String>> = None;
            let mut offer = |set: Option<Vec<String>>| {
                if let Some(set) = set
                    && best.as_ref().is_none_or(|best| worth(&set) > worth(best))
                {
                    best = Some(set);
                }
            };
            let mut run = String::new();
            for part in parts {
                if let Some(text) = folded(part) {
                    run.push_str(&text);
                } else {
                    offer(usable(&run));
                    run.clear();
                    offer(needed(part));
                }
            }
            offer(usable(&run));
            best
        }
        HirKind::Empty | HirKind::Look(_) | HirKind::Repetition(_) => None,
    }
}

/// The lower-case text that this part matches in whatever case, if it is one text.
fn folded(hir: &Hir) -> Option<String> {
    match hir.kind() {
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).ok()?;
            text.is_ascii().then(|| text.to_ascii_lowercase())
        }
        HirKind::Class(Class::Unicode(class)) => {
            // `(?i)k` is k, K and the Kelvin sign; the last is not worth a second automaton.
            let mut letter = None;
            for range in class.ranges() {
                if range.end() as u32 - range.start() as u32 > 1 {
                    return None;
                }
                for c in range.start()..=range.end() {
                    if !c.is_ascii() {
                        continue;
                    }
                    let c = c.to_ascii_lowercase();
                    if *letter.get_or_insert(c) != c {
                        return None;
                    }
                }
            }
            letter.map(String::from)
        }
        HirKind::Class(Class::Bytes(_))
        | HirKind::Empty
        | HirKind::Look(_)
        | HirKind::Repetition(_)
        | HirKind::Capture(_)
        | HirKind::Concat(_)
        | HirKind::Alternation(_) => None,
    }
}

fn usable(run: &str) -> Option<Vec<String>> {
    (run.len() >= SHORTEST).then(|| vec![run.to_owned()])
}

/// How much work a set saves: long and rare literals, few of them.
fn worth(set: &[String]) -> usize {
    let weakest = set
        .iter()
        .map(|literal| {
            if COMMON.contains(&literal.trim()) {
                1
            } else {
                literal.len()
            }
        })
        .min()
        .unwrap_or_default();
    weakest * 64 - set.len().min(63)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literals(pattern: &str) -> Option<Vec<String>> {
        required(&regex_syntax::parse(pattern).unwrap())
    }

    #[test]
    fn the_longest_part_that_must_be_there_is_found() {
        for (pattern, expected) in [
            ("(?i)CUDA out of memory", Some(vec!["cuda out of memory"])),
            (r"exitcode\s*: -9\b", Some(vec!["exitcode"])),
            (
                r"(?i)watchdog (?:thread )?got stuck for \d+",
                Some(vec!["got stuck for "]),
            ),
            (r"(?i)\bloss\b.{0,20}\bnan\b", Some(vec!["nan"])),
            ("abc|def", Some(vec!["abc", "def"])),
            (r"\d+|abc", None),
            ("(?:abc)?", None),
        ] {
            let expected = expected.map(|set| set.into_iter().map(str::to_owned).collect());
            assert_eq!(literals(pattern), expected, "{pattern}");
        }
    }
}
