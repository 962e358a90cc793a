//! Finds which of some hundred literals stand in a text, in any case. Each literal is known by its four rarest bytes in
//! a row; a table of bits tells for each place of the text whether any of them may begin there, and only then is
//! anything compared. That is several times faster than an automaton, which waits for its own last step at each byte.

use std::ops::Range;

use super::literal::{commonness, fold};

/// Bits of the hash of four bytes: a table of 8 KB, which stays in the fastest cache.
const BITS: u32 = 16;
const WORDS: usize = 1 << (BITS - 6);

#[derive(Debug)]
pub(super) struct Finder {
    /// One bit for each hash of four bytes by which a literal is known.
    known: Box<[u64; WORDS]>,
    /// For each hash where its entries begin, and at last where all end.
    begins: Vec<u32>,
    entries: Vec<Entry>,
    literals: Vec<Box<[u8]>>,
}

/// A literal, and where in it the four bytes stand by which it is known.
#[derive(Clone, Copy, Debug)]
struct Entry {
    literal: u32,
    offset: u32,
}

impl Finder {
    /// Literals in lower case, each of at least three bytes.
    pub(super) fn of<'a>(literals: impl Iterator<Item = &'a str>) -> Self {
        let literals: Vec<Box<[u8]>> = literals.map(|text| text.as_bytes().into()).collect();
        let mut placed: Vec<(u16, Entry)> = Vec::new();
        for (index, literal) in literals.iter().enumerate() {
            let gram = literal.len().min(4);
            let offset = (0..=literal.len() - gram)
                .min_by_key(|offset| commonness(&literal[*offset..offset + gram]))
                .unwrap_or_default();
            let entry = Entry {
                literal: u32::try_from(index).unwrap_or(u32::MAX),
                offset: u32::try_from(offset).unwrap_or(u32::MAX),
            };
            let at = |index: usize| literal[offset + index];
            if gram == 4 {
                placed.push((hash([at(0), at(1), at(2), at(3)]), entry));
            } else {
                // Whatever follows the three bytes.
                let mut any: Vec<u16> = (0..=u8::MAX)
                    .map(|last| hash([at(0), at(1), at(2), last]))
                    .collect();
                any.sort_unstable();
                any.dedup();
                placed.extend(any.into_iter().map(|hash| (hash, entry)));
            }
        }
        placed.sort_by_key(|(hash, _)| *hash);
        let mut known = Box::new([0; WORDS]);
        let mut begins = vec![0; (1 << BITS) + 1];
        for (hash, _) in &placed {
            known[usize::from(hash >> 6)] |= 1 << (hash & 63);
            begins[usize::from(*hash) + 1] += 1;
        }
        for hash in 1..begins.len() {
            begins[hash] += begins[hash - 1];
        }
        Self {
            known,
            begins,
            entries: placed.into_iter().map(|(_, entry)| entry).collect(),
            literals,
        }
    }

    /// Where the literals stand, as (byte offset, index of the literal). A literal of three bytes is not found at the
    /// very end of a text: lines end in a line feed.
    pub(super) fn find<'a>(&'a self, text: &'a str) -> Found<'a> {
        Found {
            finder: self,
            text: text.as_bytes(),
            next: 0,
            at: 0,
            waiting: 0..0,
        }
    }

    fn is_known(&self, hash: u16) -> bool {
        self.known[usize::from(hash >> 6)] >> (hash & 63) & 1 == 1
    }
}

/// Depends on all four bytes, folded.
fn hash(gram: [u8; 4]) -> u16 {
    const FOLDS: u32 = u32::from_le_bytes([fold(0), fold(0), fold(0), fold(0)]);
    let folded = u32::from_le_bytes(gram) | FOLDS;
    (folded.wrapping_mul(0x9E37_79B1) >> (32 - BITS)) as u16
}

/// The literals of a text, by where the bytes stand by which each is known.
#[derive(Debug)]
pub(super) struct Found<'a> {
    finder: &'a Finder,
    text: &'a [u8],
    /// Where the search goes on.
    next: usize,
    /// Where the entries in waiting were found.
    at: usize,
    waiting: Range<usize>,
}

impl Iterator for Found<'_> {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            for index in self.waiting.by_ref() {
                let entry = self.finder.entries[index];
                let literal = entry.literal as usize;
                let wanted = &self.finder.literals[literal];
                let Some(start) = self.at.checked_sub(entry.offset as usize) else {
                    continue;
                };
                if self
                    .text
                    .get(start..start + wanted.len())
                    .is_some_and(|there| there.eq_ignore_ascii_case(wanted))
                {
                    return Some((start, literal));
                }
            }
            let rest = self.text.get(self.next..)?;
            let ahead = rest
                .array_windows()
                .position(|gram| self.finder.is_known(hash(*gram)))?;
            self.at = self.next + ahead;
            self.next = self.at + 1;
            let hash = usize::from(hash(*rest[ahead..].first_chunk()?));
            self.waiting = self.finder.begins[hash] as usize..self.finder.begins[hash + 1] as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(literals: &[&str], text: &str) -> Vec<(usize, usize)> {
        let mut found: Vec<_> = Finder::of(literals.iter().copied()).find(text).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn literals_are_found_in_any_case_and_inside_each_other() {
        let literals = ["no space left", "space", "xid", "nan"];
        assert_eq!(
            found(&literals, "No SPACE left; Xid 79\n"),
            [(0, 0), (3, 1), (15, 2)]
        );
        assert_eq!(found(&literals, "banana\n"), [(2, 3)]);
        assert_eq!(found(&literals, ""), []);
        assert_eq!(found(&literals, "spa"), []);
        assert_eq!(found(&literals, "space"), [(0, 1)]);
    }

    proptest! {
        #[test]
        fn nothing_is_missed_and_nothing_invented(
            literals in proptest::collection::vec("[a-d _\\]]{3,7}", 1..40),
            text in "[a-dA-D _\\]}\\x7f0]{0,200}",
        ) {
            let literals: std::collections::BTreeSet<String> = literals.into_iter().collect();
            let literals: Vec<&str> = literals.iter().map(String::as_str).collect();
            let text = format!("{text}\n");
            let folded = text.to_ascii_lowercase();
            let mut expected = Vec::new();
            for (index, literal) in literals.iter().enumerate() {
                for start in 0..folded.len() {
                    if folded[start..].starts_with(literal) {
                        expected.push((start, index));
                    }
                }
            }
            expected.sort_unstable();
            prop_assert_eq!(found(&literals, &text), expected);
        }
    }
}
