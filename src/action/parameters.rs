//! Parameters of actions: what each may be, and every mistake in those that somebody gave.
//!
//! They come from runbooks, chat and alerts, so nothing is passed on that its shape does not allow.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What an action is to be done with, by name: bound by the digest of its approval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Parameters(Map<String, Value>);

/// One parameter that an action takes.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    pub name: &'static str,
    pub shape: Shape,
    pub required: bool,
    /// What it means, with its unit and its default: a phrase for people.
    pub about: &'static str,
}

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// At most so many characters, none of them a control character.
    Text {
        most: usize,
    },
    /// RFC 1123 subdomain: the name of a Kubernetes object or container.
    Name,
    Integer {
        least: i64,
        most: i64,
    },
    Flag,
    /// A Kubernetes quantity above zero, such as `512Mi`, `4Gi`, `500m` or `2`.
    Quantity,
    /// As a quantity, or `none` for no such limit.
    Limit,
    /// A container image: registry, path, and a tag or digest.
    Image,
    Choice(&'static [&'static str]),
    /// At most so many texts of at most 200 characters each, without control characters.
    Texts {
        most: usize,
    },
    /// An object of texts, numbers and flags, at most so many.
    Fields {
        most: usize,
    },
}

/// What is wrong with one parameter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidParameter {
    #[error("there is no parameter `{}`{}", shown(.name), hint(.nearest.as_deref()))]
    Unknown {
        name: String,
        nearest: Option<String>,
    },
    #[error("the parameter `{name}` is missing ({about})")]
    Missing {
        name: &'static str,
        about: &'static str,
    },
    #[error("`{name}` must be {wanted}, not `{}`", shown(.value))]
    Shape {
        name: &'static str,
        wanted: String,
        value: String,
    },
}

/// At most 80 characters of a hostile value, without control characters.
pub(super) fn shown(value: &str) -> String {
    value.chars().filter(|c| !c.is_control()).take(80).collect()
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

impl Parameters {
    /// With one more parameter, or another value of it.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    #[must_use]
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.get(name)?.as_i64()
    }

    /// False if it was not given.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Empty if it was not given.
    #[must_use]
    pub fn texts(&self, name: &str) -> Vec<&str> {
        let all = self.get(name).and_then(Value::as_array);
        all.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Every mistake in these parameters of an action that takes `known`.
    #[must_use]
    pub fn mistakes(&self, known: &'static [Parameter]) -> Vec<InvalidParameter> {
        let unknown = self
            .0
            .keys()
            .filter(|name| known.iter().all(|parameter| parameter.name != **name))
            .map(|name| InvalidParameter::Unknown {
                name: name.clone(),
                nearest: nearest(name, known.iter().map(|parameter| parameter.name)),
            });
        let wrong = known
            .iter()
            .filter_map(|parameter| match self.get(parameter.name) {
                None if parameter.required => Some(InvalidParameter::Missing {
                    name: parameter.name,
                    about: parameter.about,
                }),
                Some(value) if !parameter.shape.fits(value) => Some(InvalidParameter::Shape {
                    name: parameter.name,
                    wanted: parameter.shape.to_string(),
                    value: value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned),
                }),
                None | Some(_) => None,
            });
        unknown.chain(wrong).collect()
    }
}

impl FromIterator<(String, Value)> for Parameters {
    fn from_iter<T: IntoIterator<Item = (String, Value)>>(pairs: T) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, value)) in self.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            match value {
                Value::String(text) => write!(f, "{comma}{name} {}", shown(text))?,
                other => write!(f, "{comma}{name} {}", shown(&other.to_string()))?,
            }
        }
        Ok(())
    }
}

/// The name that a misspelt one most likely means.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    /// Below it two names have little in common.
    const ALIKE: f64 = 0.8;
    known
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate.to_owned())
}

impl Shape {
    /// Whether a value has this shape.
    #[must_use]
    pub fn fits(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Text { most }, Value::String(text)) => is_plain(text, most),
            (Self::Name, Value::String(text)) => super::target::is_subdomain(text),
            (Self::Integer { least, most }, Value::Number(number)) => {
                number.as_i64().is_some_and(|n| (least..=most).contains(&n))
            }
            (Self::Flag, Value::Bool(_)) => true,
            (Self::Quantity, Value::String(text)) => is_quantity(text),
            (Self::Limit, Value::String(text)) => text == "none" || is_quantity(text),
            (Self::Image, Value::String(text)) => is_image(text),
            (Self::Choice(choices), Value::String(text)) => choices.contains(&text.as_str()),
            (Self::Texts { most }, Value::Array(items)) => {
                items.len() <= most
                    && items
                        .iter()
                        .all(|item| item.as_str().is_some_and(|text| is_plain(text, 200)))
            }
            (Self::Fields { most }, Value::Object(fields)) => {
                fields.len() <= most
                    && fields.iter().all(|(name, value)| {
                        is_plain(name, 200)
                            && match value {
                                Value::String(text) => is_plain(text, 1_000),
                                Value::Number(_) | Value::Bool(_) => true,
                                Value::Null | Value::Array(_) | Value::Object(_) => false,
                            }
                    })
            }
            _ => false,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { most } => write!(f, "a text of at most {most} characters"),
            Self::Name => f.write_str("the name of an object (a-z, 0-9, `-` and `.`)"),
            Self::Integer { least, most } => write!(f, "a whole number from {least} to {most}"),
            Self::Flag => f.write_str("true or false"),
            Self::Quantity => f.write_str("a quantity such as `4Gi` or `500m`"),
            Self::Limit => f.write_str("a quantity such as `4Gi` or `500m`, or `none`"),
            Self::Image => f.write_str("an image such as `registry.example/team/app:1.2`"),
            Self::Choice(choices) => write!(f, "one of {}", choices.join(", ")),
            Self::Texts { most } => write!(f, "a list of at most {most} texts"),
            Self::Fields { most } => write!(f, "at most {most} named values"),
        }
    }
}

fn is_plain(text: &str, most: usize) -> bool {
    !text.is_empty() && text.chars().count() <= most && !text.chars().any(is_deceptive)
}

/// Control characters, and marks that change how text is shown without being seen.
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn is_quantity(text: &str) -> bool {
    const SUFFIXES: [&str; 13] = [
        "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "m", "k", "M", "G", "T", "P", "E",
    ];
    let number = SUFFIXES
        .iter()
        .find_map(|suffix| text.strip_suffix(suffix))
        .unwrap_or(text);
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    let dots = number.bytes().filter(|b| *b == b'.').count();
    (1..=15).contains(&digits)
        && dots <= 1
        && digits + dots == number.len()
        && number.bytes().any(|b| (b'1'..=b'9').contains(&b))
}

/// The grammar of the distribution reference, less strict on hosts: what could not be part of any image is refused.
fn is_image(text: &str) -> bool {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    let good_digest = digest.is_none_or(|digest| {
        digest
            .strip_prefix("sha256:")
            .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
    });
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'/' | b':');
    let parts_named = rest.split('/').all(|part| {
        part.bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric())
    });
    good_digest
        && (1..=255).contains(&rest.len())
        && rest.bytes().all(legal)
        && parts_named
        && !rest.contains("..")
        && rest
            .bytes()
            .last()
            .is_some_and(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    static KNOWN: [Parameter; 3] = [
        Parameter {
            name: "replicas",
            shape: Shape::Integer {
                least: 0,
                most: 100,
            },
            required: true,
            about: "how many are wanted",
        },
        Parameter {
            name: "container",
            shape: Shape::Name,
            required: false,
            about: "default the first",
        },
        Parameter {
            name: "memory",
            shape: Shape::Quantity,
            required: false,
            about: "the limit",
        },
    ];

    #[test]
    fn all_mistakes_are_told_at_once_with_the_likely_name() {
        let parameters = Parameters::default()
            .with("replica", 3)
            .with("container", "Main;rm -rf")
            .with("memory", "4GB");
        let told: Vec<String> = parameters
            .mistakes(&KNOWN)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            told,
            [
                "there is no parameter `replica`; did you mean `replicas`?",
                "the parameter `replicas` is missing (how many are wanted)",
                "`container` must be the name of an object (a-z, 0-9, `-` and `.`), not `Main;rm -rf`",
                "`memory` must be a quantity such as `4Gi` or `500m`, not `4GB`",
            ]
        );
        let good = Parameters::default()
            .with("replicas", 3)
            .with("memory", "4Gi");
        assert_eq!(good.mistakes(&KNOWN), []);
    }

    #[test]
    fn shapes_refuse_what_could_reach_further_than_meant() {
        for (shape, good, bad) in [
            (
                Shape::Image,
                vec![
                    "nginx",
                    "nginx:1.27",
                    "registry.example:5000/a/b_c:v1.2-rc1",
                ],
                vec![
                    "",
                    "a b",
                    "../x",
                    "x:",
                    "a/../b",
                    "a//b",
                    "x@sha256:12",
                    "x;y",
                    "-x",
                ],
            ),
            (
                Shape::Quantity,
                vec!["1", "512Mi", "1.5Gi", "500m"],
                vec!["", "0", "-1Gi", "1GiB", "Mi", "1..5", "1e3", "0Gi"],
            ),
            (
                Shape::Text { most: 8 },
                vec!["ok", "naïve"],
                vec!["", "123456789", "a\nb", "a\u{202e}b"],
            ),
            (Shape::Choice(&["a", "b"]), vec!["a"], vec!["c", "A"]),
        ] {
            for text in good {
                assert!(shape.fits(&json!(text)), "{shape:?} {text:?}");
            }
            for text in bad {
                assert!(!shape.fits(&json!(text)), "{shape:?} {text:?}");
            }
        }
        assert!(!Shape::Integer { least: 0, most: 9 }.fits(&json!(10)));
        assert!(!Shape::Integer { least: 0, most: 9 }.fits(&json!("3")));
        assert!(!Shape::Flag.fits(&json!("true")));
        assert!(Shape::Texts { most: 2 }.fits(&json!(["a", "b"])));
        assert!(!Shape::Texts { most: 2 }.fits(&json!(["a", "b", "c"])));
        assert!(!Shape::Fields { most: 2 }.fits(&json!({"a": {"b": 1}})));
    }
}
