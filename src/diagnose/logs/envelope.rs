//! Log lines that are JSON objects, as structured loggers write them, opened into the lines that a launcher and a plain
//! logger would have written: the message first, then what other fields tell of an error.

use serde_json::{Map, Value};

/// Fields that hold the message, the usual one first.
const MESSAGE: &[&str] = &[
    "message",
    "msg",
    "log",
    "text",
    "event",
    "@message",
    "body",
    "short_message",
];
const LEVEL: &[&str] = &[
    "level",
    "levelname",
    "severity",
    "lvl",
    "log.level",
    "loglevel",
];
const RANK: &[&str] = &["rank", "global_rank", "RANK", "process_rank"];
/// Parts of names of fields that tell of an error.
const ERROR: &[&str] = &[
    "err",
    "exc",
    "stack",
    "trace",
    "fail",
    "reason",
    "cause",
    "detail",
    "full_message",
];
/// Fields of an error object that name its kind.
const KIND: &[&str] = &[
    "type",
    "class",
    "kind",
    "name",
    "exc_type",
    "exception_class",
];
/// An error in an error in an error is told, no deeper one.
const DEPTH: usize = 4;

#[derive(Debug)]
pub(super) struct Envelope {
    fields: Map<String, Value>,
}

impl Envelope {
    /// `None` for text that is no JSON object, or one that says nothing.
    pub(super) fn open(text: &str) -> Option<Self> {
        if !text.trim_end().ends_with('}') {
            return None;
        }
        let fields: Map<String, Value> = serde_json::from_str(text).ok()?;
        let envelope = Self { fields };
        let says = envelope.message().is_some() || !envelope.errors().is_empty();
        says.then_some(envelope)
    }

    fn first(&self, names: &[&str]) -> Option<(&str, &Value)> {
        names
            .iter()
            .find_map(|name| self.fields.get_key_value(*name))
            .map(|(name, value)| (name.as_str(), value))
    }

    /// What it says, less the message: texts of fields that tell of an error, and all that run over several lines.
    fn errors(&self) -> Vec<String> {
        let message = self.message().map(|(name, _)| name);
        let mut told = Vec::new();
        for (name, value) in &self.fields {
            if Some(name.as_str()) != message {
                tell(name, value, false, 0, &mut told);
            }
        }
        told
    }

    fn message(&self) -> Option<(&str, &str)> {
        MESSAGE
            .iter()
            .find_map(|name| Some((*name, self.fields.get(*name)?.as_str()?)))
    }

    /// Its lines as a launcher and a plain logger would have written them.
    pub(super) fn lines(&self) -> Vec<String> {
        let rank = match self.first(RANK).map(|(_, rank)| rank) {
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) => text.parse().ok(),
            Some(_) | None => None,
        };
        let prefix = rank.map_or_else(String::new, |rank| format!("[rank{rank}]: "));
        let mild = self.first(LEVEL).map_or("", |(_, level)| mildness(level));
        let message = self.message().map_or("", |(_, text)| text);
        let mut lines: Vec<String> = message
            .lines()
            .map(|part| format!("{prefix}{mild}{part}"))
            .collect();
        for text in self.errors() {
            lines.extend(text.lines().map(|part| format!("{prefix}{part}")));
        }
        if lines.is_empty() {
            lines.push(prefix);
        }
        lines
    }
}

/// The word that makes a plain line as mild as this level.
fn mildness(level: &Value) -> &'static str {
    match level {
        Value::String(name) => match name.to_ascii_lowercase().as_str() {
            "trace" | "debug" | "info" | "information" | "notice" => "INFO ",
            "warn" | "warning" => "WARNING ",
            _ => "",
        },
        // As pino and bunyan count: 30 is info, 40 a warning.
        Value::Number(number) => match number.as_i64() {
            Some(1..=39) => "INFO ",
            Some(40..=49) => "WARNING ",
            Some(_) | None => "",
        },
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => "",
    }
}

/// Gathers what a field tells of an error; `inside` is true below one that does by its name.
fn tell(name: &str, value: &Value, inside: bool, depth: usize, told: &mut Vec<String>) {
    let name = name.to_ascii_lowercase();
    let about = inside || ERROR.iter().any(|part| name.contains(part));
    match value {
        Value::String(text) if text.contains('\n') || (about && !text.trim().is_empty()) => {
            told.push(text.clone());
        }
        Value::Object(fields) if depth < DEPTH => {
            let text = |names: &[&str]| names.iter().find_map(|name| fields.get(*name)?.as_str());
            // `{"type": "ValueError", "message": "…"}` reads as its line in a log.
            let named = text(KIND).zip(text(MESSAGE)).filter(|_| about);
            if let Some((kind, message)) = named {
                told.push(format!("{kind}: {message}"));
            }
            for (name, value) in fields {
                let shown = named.is_some()
                    && (KIND.contains(&name.as_str()) || MESSAGE.contains(&name.as_str()));
                if !shown {
                    tell(name, value, about, depth + 1, told);
                }
            }
        }
        Value::Array(items) if depth < DEPTH && about => {
            // A stack that is written as a list of lines.
            let lines: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            if lines.len() == items.len() {
                told.push(lines.join("\n"));
            } else {
                for item in items {
                    tell("", item, about, depth + 1, told);
                }
            }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_found_in_whatever_field_it_stands() {
        for (line, expected) in [
            (
                r#"{"level":"error","msg":"failed","exc":"Traceback:\nKeyError: 'a'"}"#,
                vec!["failed", "Traceback:", "KeyError: 'a'"],
            ),
            (
                r#"{"severity":"ERROR","message":"x","exception":{"type":"ValueError","message":"bad","stacktrace":["a","b"]}}"#,
                vec!["x", "ValueError: bad", "a", "b"],
            ),
            (
                r#"{"level":30,"msg":"listening","port":8000,"host":"api"}"#,
                vec!["INFO listening"],
            ),
            (
                r#"{"rank":3,"lvl":"warning","event":"slow","payload":"one\ntwo"}"#,
                vec!["[rank3]: WARNING slow", "[rank3]: one", "[rank3]: two"],
            ),
            (r#"{"err":{"code":12}}"#, vec![]),
        ] {
            let lines = Envelope::open(line).map(|envelope| envelope.lines());
            assert_eq!(lines.unwrap_or_default(), expected, "{line}");
        }
    }
}
