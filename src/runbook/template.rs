//! `${…}` in runbooks: typed values put in the place of names. What is put in is never read as YAML, as a name or as a
//! condition again, and the result is judged by the shape of whatever takes it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::yaml::{At, shown};
use crate::action::parameters::Shape;

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Name,
    Text,
    Integer { least: i64, most: i64 },
    Number,
    Flag,
    Quantity,
    Image,
    Duration,
    Choice(Vec<String>),
}

/// The longest text that a parameter may be.
const LONGEST_TEXT: usize = 500;

impl Kind {
    /// The name in files.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Text => "text",
            Self::Integer { .. } => "integer",
            Self::Number => "number",
            Self::Flag => "flag",
            Self::Quantity => "quantity",
            Self::Image => "image",
            Self::Duration => "duration",
            Self::Choice(_) => "choice",
        }
    }

    /// What a value of it must be, for people.
    #[must_use]
    pub fn wanted(&self) -> String {
        match self {
            Self::Choice(choices) => format!("one of {}", choices.join(", ")),
            Self::Number => "a number".to_owned(),
            Self::Duration => "a duration such as 90s, 5m or 1h30m".to_owned(),
            Self::Integer { least, most } if (*least, *most) == (i64::MIN, i64::MAX) => {
                "a whole number".to_owned()
            }
            Self::Name
            | Self::Text
            | Self::Integer { .. }
            | Self::Flag
            | Self::Quantity
            | Self::Image => self
                .shape()
                .map(|shape| shape.to_string())
                .unwrap_or_default(),
        }
    }

    fn shape(&self) -> Option<Shape> {
        Some(match self {
            Self::Name => Shape::Name,
            Self::Text => Shape::Text { most: LONGEST_TEXT },
            Self::Integer { least, most } => Shape::Integer {
                least: *least,
                most: *most,
            },
            Self::Flag => Shape::Flag,
            Self::Quantity => Shape::Quantity,
            Self::Image => Shape::Image,
            Self::Number | Self::Duration | Self::Choice(_) => return None,
        })
    }

    /// Whether a value is of this kind.
    #[must_use]
    pub fn fits(&self, value: &Value) -> bool {
        match self {
            Self::Number => value.is_number(),
            Self::Duration => value.as_str().is_some_and(|text| duration(text).is_some()),
            Self::Choice(choices) => value
                .as_str()
                .is_some_and(|text| choices.iter().any(|choice| choice == text)),
            Self::Name
            | Self::Text
            | Self::Integer { .. }
            | Self::Flag
            | Self::Quantity
            | Self::Image => self.shape().is_some_and(|shape| shape.fits(value)),
        }
    }

    /// Reads what a person typed.
    #[must_use]
    pub fn read(&self, text: &str) -> Option<Value> {
        let value = match self {
            Self::Integer { .. } => Value::from(text.parse::<i64>().ok()?),
            Self::Number => Value::from(text.parse::<f64>().ok().filter(|n| n.is_finite())?),
            Self::Flag => Value::from(text.parse::<bool>().ok()?),
            Self::Name
            | Self::Text
            | Self::Quantity
            | Self::Image
            | Self::Duration
            | Self::Choice(_) => Value::from(text),
        };
        self.fits(&value).then_some(value)
    }

    /// Whether any value of this kind could be one of that shape.
    #[must_use]
    pub fn can_be(&self, shape: Shape) -> bool {
        match (self, shape) {
            (Self::Integer { least, most }, Shape::Integer { least: a, most: b }) => {
                *least <= b && *most >= a
            }
            (Self::Flag, Shape::Flag) => true,
            // Texts of one kind or another: which, the shape says when the value is known.
            (
                Self::Name
                | Self::Text
                | Self::Quantity
                | Self::Image
                | Self::Duration
                | Self::Choice(_),
                Shape::Text { .. }
                | Shape::Name
                | Shape::Quantity
                | Shape::Image
                | Shape::Choice(_),
            ) => !matches!(
                (self, shape),
                (Self::Quantity | Self::Image | Self::Duration, Shape::Name)
                    | (Self::Duration | Self::Name, Shape::Quantity)
            ),
            _ => false,
        }
    }
}

/// A length of time as files say it: `90s`, `5m`, `1h30m`, `2d`.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let mut seconds: u64 = 0;
    let mut digits = String::new();
    let mut parts = 0;
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let unit = match c {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return None,
        };
        let count: u64 = digits.parse().ok()?;
        seconds = seconds.checked_add(count.checked_mul(unit)?)?;
        digits.clear();
        parts += 1;
    }
    // A year is longer than anything that is still meant.
    (parts > 0 && digits.is_empty() && seconds <= 31_536_000).then(|| Duration::from_secs(seconds))
}

/// A length of time as files say it.
#[must_use]
pub fn told_duration(length: Duration) -> String {
    let seconds = length.as_secs();
    let mut told = String::new();
    for (unit, name) in [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")] {
        let of_unit = match unit {
            86_400 => seconds / 86_400,
            3_600 => seconds / 3_600 % 24,
            60 => seconds / 60 % 60,
            _ => seconds % 60,
        };
        if of_unit > 0 {
            told.extend([of_unit.to_string().as_str(), name]);
        }
    }
    if told.is_empty() {
        "0s".to_owned()
    } else {
        told
    }
}

/// A name between `${` and `}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    Parameter(String),
    /// An output of an earlier step.
    Output {
        step: String,
        output: String,
    },
    /// Something of the run itself: `run.id`, `run.by`.
    Run(RunFact),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunFact {
    /// The short number of the run.
    Number,
    By,
}

/// A value of a runbook that may hold names.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    pub at: At,
    pub value: InputValue,
}

#[derive(Clone, Debug, PartialEq)]
pub enum InputValue {
    Literal(Value),
    /// One name alone: the value keeps its type.
    Whole(Reference),
    /// Text around names.
    Mixed(Vec<Part>),
    List(Vec<Input>),
    Fields(Vec<(String, Input)>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    Text(String),
    Name(Reference),
}

/// Why a name between `${` and `}` is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BadName {
    Unclosed,
    Unreadable(String),
    /// `alert.…` belongs into `from:` of a parameter.
    Alert(String),
}

/// Reads a text with names in it. `$${` is a plain `${`.
pub(super) fn read(text: &str) -> Result<InputValue, BadName> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            plain.push_str(&rest[..at]);
            plain.push('{');
            rest = &rest[at + 2..];
            continue;
        }
        plain.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let end = inner.find('}').ok_or(BadName::Unclosed)?;
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain)));
        }
        parts.push(Part::Name(reference(inner[..end].trim())?));
        rest = &inner[end + 1..];
    }
    plain.push_str(rest);
    if parts.is_empty() {
        return Ok(InputValue::Literal(Value::from(plain)));
    }
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    match parts.as_slice() {
        [Part::Name(reference)] => Ok(InputValue::Whole(reference.clone())),
        _ => Ok(InputValue::Mixed(parts)),
    }
}

/// True for what may name a runbook, step, parameter or output: letters, digits and `_`, at most 63.
pub(super) fn is_identifier(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn reference(name: &str) -> Result<Reference, BadName> {
    let unreadable = || BadName::Unreadable(shown(name));
    let parts: Vec<&str> = name.split('.').collect();
    match parts.as_slice() {
        ["alert", ..] => Err(BadName::Alert(shown(name))),
        ["run", "number" | "id"] => Ok(Reference::Run(RunFact::Number)),
        ["run", "by"] => Ok(Reference::Run(RunFact::By)),
        ["steps", step, output] if is_identifier(step) && is_identifier(output) => {
            Ok(Reference::Output {
                step: (*step).to_owned(),
                output: (*output).to_owned(),
            })
        }
        ["parameters", name] | [name] if is_identifier(name) => {
            Ok(Reference::Parameter((*name).to_owned()))
        }
        _ => Err(unreadable()),
    }
}

/// The values that names stand for in one run.
#[derive(Clone, Debug, Default)]
pub struct Values {
    pub parameters: Map<String, Value>,
    /// Step → output → value.
    pub outputs: BTreeMap<String, Map<String, Value>>,
    pub number: i64,
    pub by: String,
}

/// A name that stands for nothing in this run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`${{{name}}}` has no value in this run")]
pub struct NoValue {
    pub name: String,
}

impl Values {
    fn of(&self, reference: &Reference) -> Result<Value, NoValue> {
        let found = match reference {
            Reference::Parameter(name) => self.parameters.get(name).cloned(),
            Reference::Output { step, output } => self
                .outputs
                .get(step)
                .and_then(|of| of.get(output))
                .cloned(),
            Reference::Run(RunFact::Number) => Some(Value::from(self.number)),
            Reference::Run(RunFact::By) => Some(Value::from(self.by.clone())),
        };
        found.ok_or_else(|| NoValue {
            name: reference.to_string(),
        })
    }

    /// Puts values in the place of names.
    ///
    /// # Errors
    /// When a name has no value.
    pub fn fill(&self, input: &Input) -> Result<Value, NoValue> {
        self.fill_with(input, &|text| text.to_owned())
    }

    /// As [`Values::fill`]; what is put into text is escaped first.
    ///
    /// # Errors
    /// When a name has no value.
    pub fn fill_with(
        &self,
        input: &Input,
        escape: &dyn Fn(&str) -> String,
    ) -> Result<Value, NoValue> {
        match &input.value {
            InputValue::Literal(value) => Ok(value.clone()),
            InputValue::Whole(reference) => self.of(reference),
            InputValue::Mixed(parts) => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        Part::Text(plain) => text.push_str(plain),
                        Part::Name(reference) => {
                            text.push_str(&escape(&plain(&self.of(reference)?)));
                        }
                    }
                }
                Ok(Value::from(text))
            }
            InputValue::List(items) => items
                .iter()
                .map(|item| self.fill_with(item, escape))
                .collect::<Result<_, _>>()
                .map(Value::Array),
            InputValue::Fields(fields) => {
                let mut filled = Map::new();
                for (name, input) in fields {
                    filled.insert(name.clone(), self.fill_with(input, escape)?);
                }
                Ok(Value::Object(filled))
            }
        }
    }

    /// As text, whatever the value.
    ///
    /// # Errors
    /// When a name has no value.
    pub fn text(&self, input: &Input) -> Result<String, NoValue> {
        self.fill(input).map(|value| plain(&value))
    }
}

/// A value as it is written in text.
#[must_use]
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Parameter(name) => f.write_str(name),
            Self::Output { step, output } => write!(f, "steps.{step}.{output}"),
            Self::Run(RunFact::Number) => f.write_str("run.number"),
            Self::Run(RunFact::By) => f.write_str("run.by"),
        }
    }
}

impl Input {
    /// A value without names.
    #[must_use]
    pub fn literal(at: At, value: impl Into<Value>) -> Self {
        Self {
            at,
            value: InputValue::Literal(value.into()),
        }
    }

    /// The names in it, with where they stand.
    pub fn references(&self) -> Vec<(At, &Reference)> {
        match &self.value {
            InputValue::Literal(_) => Vec::new(),
            InputValue::Whole(reference) => vec![(self.at, reference)],
            InputValue::Mixed(parts) => parts
                .iter()
                .filter_map(|part| match part {
                    Part::Name(reference) => Some((self.at, reference)),
                    Part::Text(_) => None,
                })
                .collect(),
            InputValue::List(items) => items.iter().flat_map(Self::references).collect(),
            InputValue::Fields(fields) => fields
                .iter()
                .flat_map(|(_, input)| input.references())
                .collect(),
        }
    }

    /// As it is written in the file.
    #[must_use]
    pub fn told(&self) -> String {
        match &self.value {
            InputValue::Literal(value) => plain(value),
            InputValue::Whole(reference) => format!("${{{reference}}}"),
            InputValue::Mixed(parts) => parts
                .iter()
                .map(|part| match part {
                    Part::Text(text) => text.clone(),
                    Part::Name(reference) => format!("${{{reference}}}"),
                })
                .collect(),
            InputValue::List(items) => items.iter().map(Self::told).collect::<Vec<_>>().join(", "),
            InputValue::Fields(fields) => fields
                .iter()
                .map(|(name, input)| format!("{name}: {}", input.told()))
                .collect::<Vec<_>>()
                .join(", "),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn input(text: &str) -> Input {
        Input {
            at: At::default(),
            value: read(text).unwrap(),
        }
    }

    #[test]
    fn a_name_alone_keeps_its_type_and_in_text_becomes_text() {
        let values = Values {
            parameters: json!({"replicas": 3, "job": "web"})
                .as_object()
                .unwrap()
                .clone(),
            outputs: BTreeMap::from([(
                "look".to_owned(),
                json!({"found": true}).as_object().unwrap().clone(),
            )]),
            number: 7,
            by: "mira".to_owned(),
        };
        for (text, value) in [
            ("${replicas}", json!(3)),
            ("${ steps.look.found }", json!(true)),
            ("scale ${job} to ${replicas}", json!("scale web to 3")),
            ("run ${run.number} of ${run.by}", json!("run 7 of mira")),
            ("a $${plain} text", json!("a ${plain} text")),
        ] {
            assert_eq!(values.fill(&input(text)).unwrap(), value, "{text}");
        }
        assert!(values.fill(&input("${other}")).is_err());
    }

    #[test]
    fn what_is_put_in_is_never_read_again() {
        let values = Values {
            parameters: json!({"job": "${replicas}: [x]"})
                .as_object()
                .unwrap()
                .clone(),
            ..Values::default()
        };
        assert_eq!(
            values.fill(&input("a ${job}")).unwrap(),
            json!("a ${replicas}: [x]")
        );
    }

    #[test]
    fn bad_names_are_told_apart() {
        assert_eq!(read("${x"), Err(BadName::Unclosed));
        assert!(matches!(read("${a-b}"), Err(BadName::Unreadable(_))));
        assert!(matches!(read("${alert.job}"), Err(BadName::Alert(_))));
        assert!(matches!(read("${steps.a}"), Err(BadName::Unreadable(_))));
    }

    #[test]
    fn durations_need_their_unit() {
        for (text, seconds) in [("90s", 90), ("5m", 300), ("1h30m", 5_400), ("2d", 172_800)] {
            let length = duration(text).unwrap();
            assert_eq!(length.as_secs(), seconds);
            assert_eq!(duration(&told_duration(length)), Some(length));
        }
        for text in [
            "",
            "5",
            "m",
            "5x",
            "-5m",
            "5 m",
            "1.5h",
            "99999999999999999999d",
            "500d",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
