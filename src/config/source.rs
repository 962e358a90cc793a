//! Where settings come from: the process environment, a `.env` file, one YAML file. The first that has a value wins.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::Mistake;

/// A value with the place it came from, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) value: Value,
    /// `API_PORT`, `.env: API_PORT` or `nightbell.yaml line 3: api_port`.
    pub(super) origin: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    List(Vec<String>),
}

/// The YAML file, flattened: `runai_proactive_monitor.poll_interval_seconds` → value.
#[derive(Debug, Default)]
pub(super) struct YamlFile {
    pub(super) values: BTreeMap<String, Given>,
}

/// Reads a `.env` file. A line that cannot be read is a mistake; the others count.
pub(super) fn read_env_file(path: &Path, mistakes: &mut Vec<Mistake>) -> BTreeMap<String, String> {
    let name = path.display().to_string();
    let lines = match dotenvy::from_path_iter(path) {
        Ok(lines) => lines,
        Err(error) => {
            mistakes.push(Mistake {
                key: name,
                problem: format!("cannot be read: {error}"),
            });
            return BTreeMap::new();
        }
    };
    let mut values = BTreeMap::new();
    for line in lines {
        match line {
            Ok((key, value)) => {
                values.insert(key, value);
            }
            // The error shows the line, which may hold a secret.
            Err(dotenvy::Error::LineParse(_, column)) => mistakes.push(Mistake {
                key: name.clone(),
                problem: format!(
                    "a line is not KEY=value (column {column}); quote values with blanks or #"
                ),
            }),
            Err(error) => mistakes.push(Mistake {
                key: name.clone(),
                problem: error.to_string(),
            }),
        }
    }
    values
}

/// Reads the YAML file.
pub(super) fn read_yaml(path: &Path, mistakes: &mut Vec<Mistake>) -> YamlFile {
    let name = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            mistakes.push(Mistake {
                key: name,
                problem: format!("cannot be read: {error}"),
            });
            return YamlFile::default();
        }
    };
    parse_yaml(&name, &text, mistakes)
}

pub(super) fn parse_yaml(name: &str, text: &str, mistakes: &mut Vec<Mistake>) -> YamlFile {
    let mut file = YamlFile::default();
    if text
        .lines()
        .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
    {
        return file;
    }
    match serde_saphyr::from_str::<Spanned<Node>>(text) {
        Ok(root) => match root.value {
            Node::Map(map) => flatten(name, "", map, &mut file, mistakes),
            Node::Null => {}
            Node::Scalar(_) | Node::List(_) => {
                mistakes.push(Mistake {
                    key: name.to_owned(),
                    problem: "must be a mapping of settings".to_owned(),
                });
            }
        },
        Err(error) => {
            // The first line says what and where; the picture below it repeats file content, perhaps a secret.
            let told = error.to_string();
            let first = told
                .lines()
                .next()
                .unwrap_or("is not YAML")
                .trim_start_matches("error: ");
            mistakes.push(Mistake {
                key: name.to_owned(),
                problem: first.to_owned(),
            });
        }
    }
    file
}

fn flatten(
    name: &str,
    prefix: &str,
    map: Vec<(String, Spanned<Node>)>,
    file: &mut YamlFile,
    mistakes: &mut Vec<Mistake>,
) {
    for (key, node) in map {
        let path = if prefix.is_empty() {
            key
        } else {
            format!("{prefix}.{key}")
        };
        let origin = format!("{name} line {}: {path}", node.referenced.line());
        let value = match node.value {
            Node::Map(inner) => {
                flatten(name, &path, inner, file, mistakes);
                continue;
            }
            Node::Null => continue,
            Node::Scalar(text) => Value::Text(text),
            Node::List(items) => {
                let mut texts = Vec::new();
                for item in items {
                    match item.value {
                        Node::Scalar(text) => texts.push(text),
                        Node::Map(_) | Node::List(_) | Node::Null => mistakes.push(Mistake {
                            key: origin.clone(),
                            problem: format!(
                                "the list item on line {} must be a plain value",
                                item.referenced.line()
                            ),
                        }),
                    }
                }
                Value::List(texts)
            }
        };
        if file
            .values
            .insert(
                path,
                Given {
                    value,
                    origin: origin.clone(),
                },
            )
            .is_some()
        {
            mistakes.push(Mistake {
                key: origin,
                problem: "is given twice".to_owned(),
            });
        }
    }
}

/// Any YAML value, each child with its place.
enum Node {
    Map(Vec<(String, Spanned<Node>)>),
    List(Vec<Spanned<Node>>),
    Scalar(String),
    Null,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyNode;
        impl<'de> Visitor<'de> for AnyNode {
            type Value = Node;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a YAML value")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Scalar(value.to_string()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
                Ok(Node::Scalar(value.to_string()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
                Ok(Node::Scalar(value.to_string()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
                Ok(Node::Scalar(value.to_string()))
            }
            fn visit_str<E>(self, value: &str) -> Result<Node, E> {
                Ok(Node::Scalar(value.to_owned()))
            }
            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Null)
            }
            fn visit_none<E>(self) -> Result<Node, E> {
                Ok(Node::Null)
            }
            fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Node, D::Error> {
                Node::deserialize(inner)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Node::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Node::Map(entries))
            }
        }
        deserializer.deserialize_any(AnyNode)
    }
}
