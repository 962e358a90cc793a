//! YAML as a tree in which everything knows its place, and a reader of its mappings that collects every mistake.

use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use crate::action::parameters::nearest;

/// A larger file is no runbook.
const LARGEST: usize = 256 << 10;

/// Where something stands in its file; both count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct At {
    pub line: u64,
    pub column: u64,
}

impl From<Location> for At {
    fn from(location: Location) -> Self {
        Self {
            line: location.line(),
            column: location.column(),
        }
    }
}

/// One thing that is wrong with a file, or worth saying about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mistake {
    #[serde(flatten)]
    pub at: At,
    pub problem: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let At { line, column } = self.at;
        write!(f, "line {line}, column {column}: {}", self.problem)
    }
}

/// All that is wrong, in the order of finding.
#[derive(Debug, Default)]
pub(super) struct Mistakes(pub(super) Vec<Mistake>);

impl Mistakes {
    pub(super) fn add(&mut self, at: At, problem: impl Into<String>) {
        self.0.push(Mistake {
            at,
            problem: problem.into(),
        });
    }

    /// An unknown name, with the known one that was most likely meant.
    pub(super) fn unknown<'a>(
        &mut self,
        at: At,
        what: &str,
        name: &str,
        known: impl Iterator<Item = &'a str> + Clone,
    ) {
        let known_names = known.clone().collect::<Vec<_>>().join(", ");
        let hint = match nearest(name, known) {
            Some(nearest) => format!("; did you mean `{nearest}`?"),
            None if known_names.is_empty() => String::new(),
            None => format!("; known: {known_names}"),
        };
        self.add(at, format!("{what} `{}`{hint}", shown(name)));
    }
}

/// A value of a file in an error message: short, on one line.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) at: At,
    pub(super) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Flag(bool),
    Integer(i64),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    pub(super) at: At,
    pub(super) name: String,
}

/// Parses a file; a file that is no YAML has one mistake.
pub(super) fn parse(text: &str) -> Result<Node, Mistake> {
    if text.len() > LARGEST {
        return Err(Mistake {
            at: At { line: 1, column: 1 },
            problem: format!("the file is larger than {LARGEST} bytes"),
        });
    }
    match serde_saphyr::from_str::<Spanned<Raw>>(text) {
        Ok(root) => Ok(placed(root)),
        Err(error) => {
            let at = error.location().map_or(At { line: 1, column: 1 }, At::from);
            let told = error.to_string();
            let problem = told
                .lines()
                .next()
                .unwrap_or("is not YAML")
                .trim_start_matches("error: ")
                .to_owned();
            Err(Mistake { at, problem })
        }
    }
}

fn placed(raw: Spanned<Raw>) -> Node {
    let at = raw.referenced.into();
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Flag(flag) => Value::Flag(flag),
        Raw::Integer(number) => Value::Integer(number),
        Raw::Number(number) => Value::Number(number),
        Raw::Text(text) => Value::Text(text),
        Raw::List(items) => Value::List(items.into_iter().map(placed).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let key = Key {
                        at: key.referenced.into(),
                        name: key.value,
                    };
                    (key, placed(value))
                })
                .collect(),
        ),
    };
    Node { at, value }
}

impl Node {
    /// What it is, for sentences about what it should be.
    pub(super) fn told(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Flag(flag) => format!("`{flag}`"),
            Value::Integer(number) => format!("`{number}`"),
            Value::Number(number) => format!("`{number}`"),
            Value::Text(text) => format!("`{}`", shown(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }

    /// A scalar as text; numbers and flags as they would be written.
    pub(super) fn scalar(&self) -> Option<String> {
        match &self.value {
            Value::Flag(flag) => Some(flag.to_string()),
            Value::Integer(number) => Some(number.to_string()),
            Value::Number(number) => Some(number.to_string()),
            Value::Text(text) => Some(text.clone()),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    pub(super) fn text(&self, mistakes: &mut Mistakes, what: &str) -> Option<String> {
        match &self.value {
            Value::Text(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            _ => {
                mistakes.add(
                    self.at,
                    format!("{what} must be a text, not {}", self.told()),
                );
                None
            }
        }
    }

    pub(super) fn flag(&self, mistakes: &mut Mistakes, what: &str) -> Option<bool> {
        if let Value::Flag(flag) = &self.value {
            Some(*flag)
        } else {
            mistakes.add(
                self.at,
                format!("{what} must be true or false, not {}", self.told()),
            );
            None
        }
    }

    pub(super) fn integer(&self, mistakes: &mut Mistakes, what: &str) -> Option<i64> {
        if let Value::Integer(number) = &self.value {
            Some(*number)
        } else {
            mistakes.add(
                self.at,
                format!("{what} must be a whole number, not {}", self.told()),
            );
            None
        }
    }

    /// A list, or the one value that stands in its place.
    pub(super) fn items(&self) -> Vec<&Node> {
        match &self.value {
            Value::List(items) => items.iter().collect(),
            _ => vec![self],
        }
    }

    /// Texts in a list, or one alone.
    pub(super) fn texts(&self, mistakes: &mut Mistakes, what: &str) -> Vec<(At, String)> {
        self.items()
            .into_iter()
            .filter_map(|item| Some((item.at, item.text(mistakes, what)?)))
            .collect()
    }
}

/// A mapping whose keys are taken one by one; what is left over was misspelt.
pub(super) struct Fields<'a> {
    pub(super) at: At,
    what: &'static str,
    entries: &'a [(Key, Node)],
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// `what` names the mapping in messages: "a step", "a trigger".
    pub(super) fn of(node: &'a Node, what: &'static str, mistakes: &mut Mistakes) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            mistakes.add(
                node.at,
                format!("{what} must be a mapping, not {}", node.told()),
            );
            return None;
        };
        Some(Self {
            at: node.at,
            what,
            entries,
            known: Vec::new(),
        })
    }

    /// The value of a key; an empty one counts as absent.
    pub(super) fn take(&mut self, name: &'static str) -> Option<&'a Node> {
        self.known.push(name);
        self.entries
            .iter()
            .find(|(key, _)| key.name == name)
            .map(|(_, node)| node)
            .filter(|node| node.value != Value::Null)
    }

    /// As [`Fields::take`], where it must be given.
    pub(super) fn need(&mut self, name: &'static str, mistakes: &mut Mistakes) -> Option<&'a Node> {
        let node = self.take(name);
        if node.is_none() {
            mistakes.add(self.at, format!("{} needs `{name}`", self.what));
        }
        node
    }

    /// Reports the keys that nobody took.
    pub(super) fn finish(self, mistakes: &mut Mistakes) {
        for (key, _) in self.entries {
            if !self.known.contains(&key.name.as_str()) {
                mistakes.unknown(
                    key.at,
                    &format!("{} has no", self.what),
                    &key.name,
                    self.known.iter().copied(),
                );
            }
        }
    }
}

/// Any YAML value, each child with its place.
enum Raw {
    Null,
    Flag(bool),
    Integer(i64),
    Number(f64),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyValue;
        impl<'de> Visitor<'de> for AnyValue {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a YAML value")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
                Ok(Raw::Flag(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
                Ok(Raw::Integer(value))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
                Ok(
                    i64::try_from(value)
                        .map_or_else(|_| Raw::Text(value.to_string()), Raw::Integer),
                )
            }
            fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
                Ok(Raw::Number(value))
            }
            fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
                Ok(Raw::Text(value.to_owned()))
            }
            fn visit_unit<E>(self) -> Result<Raw, E> {
                Ok(Raw::Null)
            }
            fn visit_none<E>(self) -> Result<Raw, E> {
                Ok(Raw::Null)
            }
            fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Raw, D::Error> {
                Raw::deserialize(inner)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Raw::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Raw::Map(entries))
            }
        }
        deserializer.deserialize_any(AnyValue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_and_key_knows_its_place() {
        let root =
            parse("name: x\nsteps:\n  - id: a\n    wait: 5\n  - yes: [true, 1.5]\n").unwrap();
        let Value::Map(entries) = &root.value else {
            panic!("{root:?}")
        };
        assert_eq!(entries[1].0.at, At { line: 2, column: 1 });
        let Value::List(steps) = &entries[1].1.value else {
            panic!("{root:?}")
        };
        let Value::Map(first) = &steps[0].value else {
            panic!("{root:?}")
        };
        assert_eq!(first[1].0.name, "wait");
        assert_eq!(first[1].0.at, At { line: 4, column: 5 });
        assert_eq!(first[1].1.value, Value::Integer(5));
        assert_eq!(
            first[1].1.at,
            At {
                line: 4,
                column: 11
            }
        );
    }

    #[test]
    fn what_is_no_yaml_says_where() {
        let mistake = parse("name: x\nsteps: [a\n").unwrap_err();
        assert!(mistake.at.line >= 2, "{mistake}");
        let twice = parse("name: x\nname: y\n").unwrap_err();
        assert_eq!(twice.at.line, 2, "{twice}");
    }
}
