//! Regular expressions of the knowledge: checked when loaded, compiled when first needed, and taken apart into their
//! alternatives, so that a line is only asked for those that it may hold.

use std::sync::OnceLock;

use memchr::memchr2_iter;
use regex::{Regex, RegexBuilder};
use regex_syntax::ast::{Ast, parse::Parser};

use super::literal::needs;

/// A regular expression, checked when loaded and compiled when first needed: most are never needed.
#[derive(Debug)]
pub(super) struct Pattern {
    source: String,
    regex: OnceLock<Regex>,
    /// What a text must contain to match, the rarest first.
    needs: Vec<Vec<String>>,
}

impl Pattern {
    /// Of a source that parses.
    pub(super) fn of(source: &str) -> Self {
        Self {
            source: source.to_owned(),
            regex: OnceLock::new(),
            needs: Vec::new(),
        }
    }

    /// One that is asked of many lines, so that it is worth to know what a match must contain.
    pub(super) fn searched(source: &str) -> Self {
        Self {
            needs: regex_syntax::parse(source).map_or_else(|_| Vec::new(), |hir| needs(&hir)),
            ..Self::of(source)
        }
    }

    pub(super) fn regex(&self) -> &Regex {
        self.regex.get_or_init(|| {
            Self::compile(&self.source)
                .expect("every pattern was compiled or parsed when it was loaded")
        })
    }

    pub(super) fn compile(source: &str) -> Result<Regex, regex::Error> {
        RegexBuilder::new(source)
            .size_limit(16 << 20)
            .dfa_size_limit(4 << 20)
            .build()
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.regex().is_match(text)
    }

    /// The literals of which one announces a match.
    pub(super) fn announced_by(&self) -> &[String] {
        self.needs.first().map_or(&[], Vec::as_slice)
    }

    /// False only if the text cannot match.
    pub(super) fn may_match(&self, text: &str) -> bool {
        self.needs
            .iter()
            .all(|set| set.iter().any(|literal| contains(text, literal)))
    }
}

/// What a message must and must not say.
#[derive(Debug, Default)]
pub struct TextTest {
    must: Option<Must>,
    unless: Option<Pattern>,
}

#[derive(Debug)]
struct Must {
    /// As it was written.
    source: String,
    /// Any of these is enough.
    branches: Vec<Pattern>,
}

impl TextTest {
    pub(super) fn of(must: Option<&str>, unless: Option<&str>) -> Self {
        Self {
            must: must.map(|source| Must {
                source: source.to_owned(),
                branches: vec![Pattern::of(source)],
            }),
            unless: unless.map(Pattern::of),
        }
    }

    /// One that logs are searched for, or the alternative that has no literal to search for.
    pub(super) fn searched(must: &str, unless: Option<&str>) -> Result<Self, String> {
        let mut branches = Vec::new();
        for source in alternatives(must) {
            let branch = Pattern::searched(&source);
            if branch.announced_by().is_empty() {
                return Err(source);
            }
            branches.push(branch);
        }
        Ok(Self {
            must: Some(Must {
                source: must.to_owned(),
                branches,
            }),
            unless: unless.map(Pattern::of),
        })
    }

    /// True if the text says what it must and nothing that it must not.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        let branches = self.branches();
        (branches.is_empty() || branches.iter().any(|branch| branch.is_match(text)))
            && !self.is_excluded(text)
    }

    /// [`Self::is_match`] of one alternative.
    pub(crate) fn matches_branch(&self, branch: usize, text: &str) -> bool {
        let branch = &self.branches()[branch];
        branch.may_match(text) && branch.is_match(text) && !self.is_excluded(text)
    }

    fn is_excluded(&self, text: &str) -> bool {
        self.unless
            .as_ref()
            .is_some_and(|unless| unless.is_match(text))
    }

    pub(super) fn branches(&self) -> &[Pattern] {
        self.must
            .as_ref()
            .map_or(&[], |must| must.branches.as_slice())
    }

    /// What it must say and what not, as written.
    pub(super) fn sources(&self) -> (Option<&str>, Option<&str>) {
        (
            self.must.as_ref().map(|must| must.source.as_str()),
            self.unless.as_ref().map(|unless| unless.source.as_str()),
        )
    }
}

/// The alternatives at the top of a regular expression, each with the flags that hold for it.
fn alternatives(source: &str) -> Vec<String> {
    let parsed = Parser::new().parse(source);
    let Ok(Ast::Alternation(alternation)) = &parsed else {
        return vec![source.to_owned()];
    };
    let text = |span: &regex_syntax::ast::Span| &source[span.start.offset..span.end.offset];
    let mut flags = String::new();
    let mut alternatives = Vec::new();
    for branch in &alternation.asts {
        alternatives.push(format!("{flags}{}", text(branch.span())));
        // `a|(?i)b|c` reads `c` in any case too.
        let parts = match branch {
            Ast::Concat(concat) => concat.asts.as_slice(),
            other => std::slice::from_ref(other),
        };
        for part in parts {
            if let Ast::Flags(set) = part {
                flags.push_str(text(&set.span));
            }
        }
    }
    alternatives
}

/// Whether a lower-case literal stands in a text, in any case.
fn contains(text: &str, literal: &str) -> bool {
    let (text, literal) = (text.as_bytes(), literal.as_bytes());
    let Some(first) = literal.first() else {
        return true;
    };
    memchr2_iter(*first, first.to_ascii_uppercase(), text).any(|at| {
        text.get(at..at + literal.len())
            .is_some_and(|there| there.eq_ignore_ascii_case(literal))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_keep_the_flags_that_hold_for_them() {
        for (source, expected) in [
            ("abc", vec!["abc"]),
            ("(?i)abc|def", vec!["(?i)abc", "(?i)def"]),
            (
                "Abc|(?i)def|g(?:h|i)",
                vec!["Abc", "(?i)def", "(?i)g(?:h|i)"],
            ),
            ("(?:a|b)c", vec!["(?:a|b)c"]),
            ("(?i:abc)|def", vec!["(?i:abc)", "def"]),
        ] {
            assert_eq!(alternatives(source), expected, "{source}");
        }
    }

    #[test]
    fn a_test_of_alternatives_says_what_the_whole_would() {
        let test = TextTest::searched("Lost|(?i)worker.{0,9}(?:died|gone)", Some("(?i)retry"));
        let test = test.unwrap();
        for (text, branch, expected) in [
            ("Lost it", 0, true),
            ("lost it", 0, false),
            ("WORKER 3 DIED", 1, true),
            ("worker 3 lives", 1, false),
            ("worker 3 died, retry", 1, false),
        ] {
            assert_eq!(test.matches_branch(branch, text), expected, "{text}");
            assert_eq!(test.is_match(text), expected, "{text}");
        }
        assert_eq!(TextTest::searched("abc|.*", None).unwrap_err(), ".*");
    }
}
