//! Short texts that many objects repeat: namespaces, nodes, phases, reasons, images.
//!
//! An estate of 100,000 pods says the same few thousand words over and over; each is held once.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::ops::Deref;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is cheap to clone. Those made by [`Name::shared`] are also held only once, however many objects say them.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// A name that is likely to be met again.
    #[must_use]
    pub fn shared(text: &str) -> Self {
        static TABLES: LazyLock<Tables> = LazyLock::new(Tables::default);
        TABLES.get(text)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Several, so that the threads that decode seldom wait for each other.
const TABLES: usize = 16;
/// A table is not looked through for names that nobody holds any more before it has this many.
const FEW: usize = 1_024;

#[derive(Default)]
struct Tables {
    hasher: RandomState,
    tables: [Mutex<Table>; TABLES],
}

struct Table {
    names: HashSet<Name>,
    /// The size at which names that nobody holds are let go.
    full: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            names: HashSet::new(),
            full: FEW,
        }
    }
}

impl Tables {
    fn get(&self, text: &str) -> Name {
        let place = usize::try_from(self.hasher.hash_one(text) % TABLES as u64).unwrap_or(0);
        self.tables[place]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(text)
    }
}

impl Table {
    fn get(&mut self, text: &str) -> Name {
        if let Some(held) = self.names.get(text) {
            return held.clone();
        }
        if self.names.len() >= self.full {
            self.names.retain(|name| Arc::strong_count(&name.0) > 1);
            // Twice what is left: looking through the table costs each new name a constant share.
            self.full = (self.names.len() * 2).max(FEW);
        }
        let name = Name::from(text);
        self.names.insert(name.clone());
        name
    }
}

impl Default for Name {
    fn default() -> Self {
        Self::shared("")
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&*self.0, formatter)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, formatter)
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&String> for Name {
    fn from(text: &String) -> Self {
        Self(text.as_str().into())
    }
}

impl From<&Name> for Name {
    fn from(name: &Name) -> Self {
        name.clone()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.as_str().to_owned()
    }
}

impl From<&Name> for String {
    fn from(name: &Name) -> Self {
        name.as_str().to_owned()
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl PartialEq<String> for Name {
    fn eq(&self, other: &String) -> bool {
        &*self.0 == other.as_str()
    }
}

impl PartialEq<Name> for str {
    fn eq(&self, other: &Name) -> bool {
        self == &*other.0
    }
}

impl PartialEq<Name> for &str {
    fn eq(&self, other: &Name) -> bool {
        *self == &*other.0
    }
}

impl PartialEq<Name> for String {
    fn eq(&self, other: &Name) -> bool {
        self.as_str() == &*other.0
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_twice_is_held_once() {
        let (one, other) = (Name::shared("runai-nlp"), Name::shared("runai-nlp"));
        assert!(Arc::ptr_eq(&one.0, &other.0));
        assert_eq!(one, "runai-nlp");
    }

    #[test]
    fn names_that_nobody_holds_any_more_are_let_go() {
        let mut table = Table::default();
        let kept = table.get("kept");
        for index in 0..FEW * 10 {
            table.get(&format!("passing-{index}"));
        }
        assert!(table.names.len() <= FEW);
        assert!(Arc::ptr_eq(&table.get("kept").0, &kept.0));
    }
}
