//! All signs that stand in logs, behind one search.

use std::collections::BTreeMap;

use super::finder::Finder;
use super::{Failure, Sign, TextPlace};

/// What a literal in a log may announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Announced {
    /// Failure, sign and alternative of its pattern, by index.
    Sign {
        failure: usize,
        sign: usize,
        branch: usize,
    },
    /// The first line of a Python traceback.
    Traceback,
    /// An Xid in a kernel line.
    Xid,
    /// A rank's report that a collective operation timed out.
    CollectiveTimeout,
    /// The block in which torchrun names the first failure.
    FirstObserved,
}

#[derive(Debug)]
pub(super) struct LogIndex {
    finder: Finder,
    /// For each literal of the finder, what it may announce.
    announces: Vec<Vec<Announced>>,
}

impl LogIndex {
    pub(super) fn of(failures: &[Failure]) -> Self {
        let mut announces: BTreeMap<&str, Vec<Announced>> = BTreeMap::new();
        for (failure, row) in failures.iter().enumerate() {
            for (sign, test) in row.signs.iter().enumerate() {
                let (Sign::Log(text)
                | Sign::Text {
                    place: TextPlace::Kernel,
                    text,
                }) = test
                else {
                    continue;
                };
                for (branch, pattern) in text.branches().iter().enumerate() {
                    for literal in pattern.announced_by() {
                        announces.entry(literal).or_default().push(Announced::Sign {
                            failure,
                            sign,
                            branch,
                        });
                    }
                }
            }
        }
        for (literal, announced) in [
            ("traceback (most recent call last)", Announced::Traceback),
            ("xid", Announced::Xid),
            ("collective operation timeout", Announced::CollectiveTimeout),
            ("nccl work", Announced::CollectiveTimeout),
            ("first observed failure", Announced::FirstObserved),
        ] {
            announces.entry(literal).or_default().push(announced);
        }
        Self {
            finder: Finder::of(announces.keys().copied()),
            announces: announces.into_values().collect(),
        }
    }

    /// What may stand in this text, as (byte offset, announcement); several of one line are not told apart.
    pub(super) fn announced<'a>(
        &'a self,
        text: &'a str,
    ) -> impl Iterator<Item = (usize, Announced)> + 'a {
        self.finder.find(text).flat_map(|(start, literal)| {
            self.announces[literal]
                .iter()
                .map(move |announced| (start, *announced))
        })
    }
}
