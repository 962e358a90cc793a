//! Finds, for a regular expression, the literals that a text must contain to match: a conjunction of sets, of each of
//! which one is there. The rarest set is what a log is searched for; the others are asked of the lines that it finds.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex_syntax::hir::{Class, Hir, HirKind};

/// Shorter literals stand in too many lines to save work.
const SHORTEST: usize = 3;
/// Larger sets would cost more than they save.
const LARGEST_SET: usize = 48;
/// What an occurrence in the ordinary lines costs, beside the one of a literal itself.
const OCCURRENCE: usize = 16;

/// Lines as healthy jobs write them: a literal that stands in them would lead to nothing most of the time.
const ORDINARY: &str = include_str!("ordinary.txt");

/// How often each four bytes (and each three, the last then 0) stand in the ordinary lines, folded.
static COMMON: LazyLock<HashMap<[u8; 4], usize>> = LazyLock::new(|| {
    let mut common = HashMap::new();
    let text = ORDINARY.as_bytes();
    for gram in text.windows(4) {
        let gram = [gram[0], gram[1], gram[2], gram[3]].map(fold);
        *common.entry(gram).or_default() += 1;
    }
    for gram in text.windows(3) {
        *common
            .entry([fold(gram[0]), fold(gram[1]), fold(gram[2]), 0])
            .or_default() += 1;
    }
    common
});

/// Letters of either case become one; some other bytes fall together too, which the comparison afterwards sorts out.
pub(super) const fn fold(byte: u8) -> u8 {
    byte | 0x20
}

/// How often these bytes stand in ordinary lines.
pub(super) fn commonness(gram: &[u8]) -> usize {
    let at = |index: usize| gram.get(index).copied().map_or(0, fold);
    COMMON
        .get(&[at(0), at(1), at(2), at(3)])
        .copied()
        .unwrap_or(0)
}

/// What a text must contain for the pattern to match: sets of lower-case literals, of each of which one must occur, in
/// any case. The set that is rarest in ordinary lines comes first. Empty if there is no useful literal.
pub(super) fn needs(pattern: &Hir) -> Vec<Vec<String>> {
    let mut sets = required(pattern);
    sets.sort_by_cached_key(|set| cost(set));
    sets
}

/// All sets of which each match contains one literal.
fn required(hir: &Hir) -> Vec<Vec<String>> {
    if let Some(set) = exact(hir).and_then(usable) {
        return vec![set];
    }
    match hir.kind() {
        HirKind::Capture(capture) => required(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => required(&repetition.sub),
        HirKind::Alternation(branches) => {
            let mut all = Vec::new();
            for branch in branches {
                let best = required(branch).into_iter().min_by_key(|set| cost(set));
                let Some(best) = best else {
                    return Vec::new();
                };
                all.extend(best);
            }
            if all.len() > LARGEST_SET {
                return Vec::new();
            }
            usable(all).into_iter().collect()
        }
        HirKind::Concat(parts) => {
            let mut sets = Vec::new();
            let mut run = vec![String::new()];
            for part in parts {
                let texts = exact(part);
                if let Some(longer) = texts.as_ref().and_then(|texts| product(&run, texts)) {
                    run = longer;
                    continue;
                }
                sets.extend(usable(std::mem::take(&mut run)));
                if let Some(texts) = texts {
                    run = texts;
                } else {
                    sets.extend(required(part));
                    run = vec![String::new()];
                }
            }
            sets.extend(usable(run));
            sets
        }
        HirKind::Empty
        | HirKind::Literal(_)
        | HirKind::Class(_)
        | HirKind::Look(_)
        | HirKind::Repetition(_) => Vec::new(),
    }
}

/// All texts that this part matches, in lower case, if they are few.
fn exact(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Some(vec![String::new()]),
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).ok()?;
            text.is_ascii().then(|| vec![text.to_ascii_lowercase()])
        }
        HirKind::Class(Class::Unicode(class)) => {
            let mut letters: Vec<String> = Vec::new();
            for range in class.ranges() {
                if range.end() as u32 - range.start() as u32 > 4 {
                    return None;
                }
                for c in range.start()..=range.end() {
                    // `(?i)ks` also means the Kelvin sign and the long s, which are not worth a second search.
                    if matches!(c, '\u{212a}' | '\u{17f}') {
                        continue;
                    }
                    let letter = c.to_ascii_lowercase().to_string();
                    if !c.is_ascii() {
                        return None;
                    }
                    if !letters.contains(&letter) {
                        letters.push(letter);
                    }
                }
            }
            (!letters.is_empty() && letters.len() <= 4).then_some(letters)
        }
        HirKind::Class(Class::Bytes(_)) => None,
        HirKind::Capture(capture) => exact(&capture.sub),
        HirKind::Repetition(repetition) => {
            if (repetition.min, repetition.max) != (0, Some(1)) {
                return None;
            }
            let mut texts = exact(&repetition.sub)?;
            texts.push(String::new());
            Some(texts)
        }
        HirKind::Concat(parts) => {
            let mut texts = vec![String::new()];
            for part in parts {
                texts = product(&texts, &exact(part)?)?;
            }
            Some(texts)
        }
        HirKind::Alternation(branches) => {
            let mut texts = Vec::new();
            for branch in branches {
                texts.extend(exact(branch)?);
            }
            (texts.len() <= LARGEST_SET).then_some(texts)
        }
    }
}

/// Each of these texts followed by each of those, if that is not too many.
fn product(heads: &[String], tails: &[String]) -> Option<Vec<String>> {
    if heads.len() * tails.len() > LARGEST_SET {
        return None;
    }
    let of = |head: &String| {
        let head = head.clone();
        tails.iter().map(move |tail| format!("{head}{tail}"))
    };
    Some(heads.iter().flat_map(of).collect())
}

/// The texts as a set to search for: none too short, none that contains another.
fn usable(mut texts: Vec<String>) -> Option<Vec<String>> {
    texts.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    let mut set: Vec<String> = Vec::with_capacity(texts.len());
    for text in texts {
        if text.len() < SHORTEST {
            return None;
        }
        if !set.iter().any(|shorter| text.contains(shorter.as_str())) {
            set.push(text);
        }
    }
    (!set.is_empty()).then_some(set)
}

/// How often a set will lead to a line for nothing.
fn cost(set: &[String]) -> usize {
    set.iter()
        .map(|literal| {
            let rarest = literal
                .as_bytes()
                .windows(literal.len().min(4))
                .map(commonness)
                .min()
                .unwrap_or_default();
            1 + rarest * OCCURRENCE + 4 * 4_usize.saturating_sub(literal.len())
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literals(pattern: &str) -> Vec<Vec<String>> {
        needs(&regex_syntax::parse(pattern).unwrap())
    }

    #[test]
    fn the_rarest_part_that_must_be_there_is_found() {
        for (pattern, expected) in [
            (r"exitcode\s*: -9\b", Some(vec!["exitcode"])),
            (
                r"(?i)watchdog (?:thread )?got stuck for \d+",
                Some(vec![
                    "watchdog got stuck for ",
                    "watchdog thread got stuck for ",
                ]),
            ),
            (
                r"(?i)\berrors?[ _]seen\b",
                Some(vec![
                    "error seen",
                    "error_seen",
                    "errors seen",
                    "errors_seen",
                ]),
            ),
            (r"(?i)\bloss\b.{0,20}\bnan\b", Some(vec!["nan"])),
            ("abc|def", Some(vec!["abc", "def"])),
            (
                r"worker (?:crashed|vanished)",
                Some(vec!["worker crashed", "worker vanished"]),
            ),
            (r"\d+|abc", None),
            ("(?:abc)?", None),
        ] {
            let expected: Option<Vec<String>> =
                expected.map(|set| set.into_iter().map(str::to_owned).collect());
            assert_eq!(literals(pattern).first(), expected.as_ref(), "{pattern}");
        }
    }

    #[test]
    fn all_that_must_be_there_is_asked_of_a_line() {
        assert_eq!(
            literals("(?i)socket.{0,9}(?:refused|reset)"),
            [vec!["reset", "refused"], vec!["socket"]]
        );
    }
}
