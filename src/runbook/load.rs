//! From the text of a file to a runbook: its form. Every mistake is found in one go; what names mean is for `check`.

mod checks;
mod steps;

use std::collections::BTreeSet;
use std::time::Duration;

use super::model::{AlertFact, MetricTrigger, Parameter, Runbook, Trigger};
use super::schedule::Schedule;
use super::template::{self, BadName, Input, InputValue, Kind, is_identifier};
use super::yaml::{self, At, Fields, Mistake, Mistakes, Node, Value};
use crate::alert::Severity;

/// Most of each that a runbook may have; more is a program, not a procedure.
const MOST_STEPS: usize = 50;
const MOST_PARAMETERS: usize = 30;

/// Where the parts of a runbook stand, for messages of later checks.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) name: At,
    pub(super) triggers: Vec<At>,
    pub(super) parameters: Vec<At>,
    /// Parameters whose type could not be read: nothing is said about how they are used.
    pub(super) untyped: BTreeSet<String>,
}

/// A file as far as it could be read, with all mistakes in its form.
pub(super) struct Read {
    /// Whatever was good: checks of names can go on with it.
    pub(super) runbook: Option<Runbook>,
    pub(super) places: Places,
    pub(super) mistakes: Mistakes,
}

/// Reads the text of a file.
pub(super) fn read(text: &str) -> Read {
    let mut mistakes = Mistakes::default();
    let mut places = Places::default();
    let runbook = match yaml::parse(text) {
        Ok(root) => runbook(&root, &mut places, &mut mistakes),
        Err(mistake) => {
            mistakes.0.push(mistake);
            None
        }
    };
    Read {
        runbook,
        places,
        mistakes,
    }
}

fn runbook(root: &Node, places: &mut Places, mistakes: &mut Mistakes) -> Option<Runbook> {
    let mut fields = Fields::of(root, "a runbook", mistakes)?;
    let name = fields.need("name", mistakes).and_then(|node| {
        places.name = node.at;
        identifier(node, "the name of a runbook", mistakes)
    });
    let description = fields
        .need("description", mistakes)
        .and_then(|node| node.text(mistakes, "`description`"));
    let why = fields
        .need("why", mistakes)
        .and_then(|node| node.text(mistakes, "`why`"));
    let severity = match fields.take("severity") {
        Some(node) => choice(
            node,
            "a severity",
            &["low", "medium", "high", "critical"],
            mistakes,
        )
        .map(|name| severity(&name)),
        None => Some(Severity::Medium),
    };
    let triggers = match fields.take("trigger") {
        Some(node) => node
            .items()
            .into_iter()
            .filter_map(|item| {
                let trigger = trigger(item, mistakes)?;
                places.triggers.push(item.at);
                Some(trigger)
            })
            .collect(),
        None => Vec::new(),
    };
    let parameters = match fields.take("parameters") {
        Some(node) => parameters(node, places, mistakes),
        None => Vec::new(),
    };
    let steps = match fields.need("steps", mistakes) {
        Some(node) => match &node.value {
            Value::List(items) if items.is_empty() => {
                mistakes.add(node.at, "a runbook needs at least one step");
                Vec::new()
            }
            Value::List(items) => {
                if items.len() > MOST_STEPS {
                    mistakes.add(node.at, format!("a runbook has at most {MOST_STEPS} steps"));
                }
                items
                    .iter()
                    .filter_map(|item| steps::step(item, mistakes))
                    .collect()
            }
            _ => {
                mistakes.add(
                    node.at,
                    format!("`steps` must be a list, not {}", node.told()),
                );
                Vec::new()
            }
        },
        None => Vec::new(),
    };
    let verification = match fields.take("verification") {
        Some(node) => checks::checks(node, mistakes),
        None => Vec::new(),
    };
    fields.finish(mistakes);
    Some(Runbook {
        name: name.unwrap_or_default(),
        description: description.unwrap_or_default(),
        why: why.unwrap_or_default(),
        severity: severity.unwrap_or(Severity::Medium),
        triggers,
        parameters,
        steps,
        verification,
    })
}

fn severity(name: &str) -> Severity {
    match name {
        "low" => Severity::Low,
        "high" => Severity::High,
        "critical" => Severity::Critical,
        _ => Severity::Medium,
    }
}

fn trigger(node: &Node, mistakes: &mut Mistakes) -> Option<Trigger> {
    const KINDS: [&str; 7] = [
        "metric", "promql", "cause", "alert", "pattern", "schedule", "manual",
    ];
    let Value::Map(entries) = &node.value else {
        mistakes.add(
            node.at,
            format!(
                "a trigger is a mapping such as `cause: host_oom`, not {}",
                node.told()
            ),
        );
        return None;
    };
    let kinds: Vec<&str> = entries
        .iter()
        .map(|(key, _)| key.name.as_str())
        .filter(|key| KINDS.contains(key))
        .collect();
    let mut fields = Fields::of(node, "a trigger", mistakes)?;
    let [kind] = kinds.as_slice() else {
        match (kinds.is_empty(), entries.first()) {
            (true, Some((key, _))) => {
                mistakes.unknown(key.at, "no trigger is", &key.name, KINDS.into_iter());
            }
            _ => mistakes.add(
                node.at,
                format!("a trigger has exactly one of {}", KINDS.join(", ")),
            ),
        }
        return None;
    };
    let names = |node: &Node, mistakes: &mut Mistakes| -> Vec<String> {
        let what = format!("`{kind}`");
        node.texts(mistakes, &what)
            .into_iter()
            .map(|(_, text)| text)
            .collect()
    };
    let trigger = match *kind {
        "cause" => fields
            .take("cause")
            .map(|node| Trigger::Cause(names(node, mistakes))),
        "alert" => fields
            .take("alert")
            .map(|node| Trigger::Alert(names(node, mistakes))),
        "pattern" => fields
            .take("pattern")
            .map(|node| Trigger::Pattern(names(node, mistakes))),
        "manual" => fields
            .take("manual")
            .and_then(|node| node.flag(mistakes, "`manual`"))
            .map(Trigger::Manual),
        "schedule" => {
            let line = fields.take("schedule");
            let zone = fields.take("timezone");
            line.and_then(|node| scheduled(node, zone, mistakes))
                .map(Trigger::Schedule)
        }
        _ => {
            let measured = checks::measure(&mut fields, mistakes);
            let limit = checks::limit(&mut fields, mistakes);
            let unit = fields
                .take("unit")
                .and_then(|node| node.text(mistakes, "`unit`"));
            let hold = fields
                .take("for")
                .map_or(Some(Duration::ZERO), |node| length(node, "`for`", mistakes));
            let resolved = fields.take("resolved").and_then(|node| {
                let mut fields = Fields::of(node, "`resolved`", mistakes)?;
                let limit = checks::limit(&mut fields, mistakes);
                let hold = fields
                    .take("for")
                    .map_or(Some(Duration::ZERO), |node| length(node, "`for`", mistakes));
                fields.finish(mistakes);
                Some((limit?, hold?))
            });
            measured
                .zip(limit)
                .zip(hold)
                .map(|((measure, limit), hold)| {
                    Trigger::Metric(MetricTrigger {
                        measure,
                        limit,
                        unit,
                        hold,
                        resolved,
                    })
                })
        }
    };
    fields.finish(mistakes);
    if trigger.is_none() && mistakes.0.is_empty() {
        mistakes.add(node.at, format!("`{kind}` says nothing"));
    }
    trigger
}

fn scheduled(node: &Node, zone: Option<&Node>, mistakes: &mut Mistakes) -> Option<Schedule> {
    let line = node.text(mistakes, "`schedule`")?;
    let zone = match zone {
        Some(node) => Some((node.at, node.text(mistakes, "`timezone`")?)),
        None => None,
    };
    match Schedule::read(&line, zone.as_ref().map(|(_, name)| name.as_str())) {
        Ok(schedule) => Some(schedule),
        Err(bad) => {
            let at = match (&bad, &zone) {
                (super::schedule::BadSchedule::Zone(_), Some((at, _))) => *at,
                _ => node.at,
            };
            mistakes.add(at, bad.to_string());
            None
        }
    }
}

fn parameters(node: &Node, places: &mut Places, mistakes: &mut Mistakes) -> Vec<Parameter> {
    let Value::Map(entries) = &node.value else {
        mistakes.add(
            node.at,
            format!("`parameters` must be a mapping, not {}", node.told()),
        );
        return Vec::new();
    };
    if entries.len() > MOST_PARAMETERS {
        mistakes.add(
            node.at,
            format!("a runbook has at most {MOST_PARAMETERS} parameters"),
        );
    }
    let mut read = Vec::new();
    for (key, value) in entries {
        if !is_identifier(&key.name) {
            mistakes.add(
                key.at,
                format!(
                    "`{}` is no name of a parameter: {IDENTIFIER}",
                    yaml::shown(&key.name)
                ),
            );
        }
        if matches!(key.name.as_str(), "run" | "alert" | "steps" | "parameters") {
            mistakes.add(
                key.at,
                format!(
                    "`{}` has a meaning of its own; choose another name",
                    key.name
                ),
            );
        }
        match parameter(&key.name, value, mistakes) {
            Some(parameter) => {
                places.parameters.push(key.at);
                read.push(parameter);
            }
            None => {
                places.untyped.insert(key.name.clone());
            }
        }
    }
    read
}

const IDENTIFIER: &str = "it begins with a letter, and has a-z, 0-9 and `_` only";
const KINDS: [&str; 9] = [
    "name", "text", "integer", "number", "flag", "quantity", "image", "duration", "choice",
];

fn parameter(name: &str, node: &Node, mistakes: &mut Mistakes) -> Option<Parameter> {
    let mut fields = Fields::of(node, "a parameter", mistakes)?;
    let kind = fields
        .need("type", mistakes)
        .and_then(|node| choice(node, "a type", &KINDS, mistakes));
    let least = fields
        .take("least")
        .and_then(|node| node.integer(mistakes, "`least`"));
    let most = fields
        .take("most")
        .and_then(|node| node.integer(mistakes, "`most`"));
    let choices = fields.take("choices");
    let about = fields
        .need("about", mistakes)
        .and_then(|node| node.text(mistakes, "`about`"));
    let required = fields
        .take("required")
        .and_then(|node| node.flag(mistakes, "`required`"));
    let default = fields.take("default");
    let from = fields.take("from").and_then(|node| {
        let known = AlertFact::ALL.map(AlertFact::as_str);
        let text = choice(node, "nothing of an alert is", &known, mistakes)?;
        AlertFact::ALL
            .into_iter()
            .find(|fact| fact.as_str() == text)
    });
    let kind = match kind?.as_str() {
        "name" => Kind::Name,
        "integer" => Kind::Integer {
            least: least.unwrap_or(i64::MIN),
            most: most.unwrap_or(i64::MAX),
        },
        "number" => Kind::Number,
        "flag" => Kind::Flag,
        "quantity" => Kind::Quantity,
        "image" => Kind::Image,
        "duration" => Kind::Duration,
        "choice" => {
            let choices: Vec<String> = choices
                .map(|node| {
                    node.items()
                        .iter()
                        .filter_map(|item| item.scalar())
                        .collect()
                })
                .unwrap_or_default();
            if choices.is_empty() {
                mistakes.add(
                    node.at,
                    "a choice needs `choices`: a list of what may be chosen",
                );
            }
            Kind::Choice(choices)
        }
        _ => Kind::Text,
    };
    let default = match default.map(|node| (node, json(node))) {
        Some((node, Some(value))) => {
            let value = match (&kind, &value) {
                // A number needs no quotes where a text is wanted.
                (Kind::Text | Kind::Choice(_) | Kind::Quantity, serde_json::Value::Number(n)) => {
                    n.to_string().into()
                }
                _ => value,
            };
            if !kind.fits(&value) {
                mistakes.add(
                    node.at,
                    format!(
                        "the default of `{name}` must be {}, not {}",
                        kind.wanted(),
                        node.told()
                    ),
                );
            }
            Some(value)
        }
        Some((node, None)) => {
            mistakes.add(node.at, "a default is one plain value");
            None
        }
        None => None,
    };
    fields.finish(mistakes);
    Some(Parameter {
        name: name.to_owned(),
        required: required.unwrap_or(true) && default.is_none(),
        kind,
        default,
        about: about.unwrap_or_default(),
        from,
    })
}

fn json(node: &Node) -> Option<serde_json::Value> {
    Some(match &node.value {
        Value::Flag(flag) => (*flag).into(),
        Value::Integer(number) => (*number).into(),
        Value::Number(number) => (*number).into(),
        Value::Text(text) => text.clone().into(),
        Value::Null | Value::List(_) | Value::Map(_) => return None,
    })
}

/// A value in which names may stand.
pub(super) fn input(node: &Node, mistakes: &mut Mistakes) -> Option<Input> {
    let value = match &node.value {
        Value::Text(text) => match template::read(text) {
            Ok(value) => value,
            Err(bad) => {
                mistakes.add(node.at, told(&bad));
                return None;
            }
        },
        Value::List(items) => {
            let all: Vec<Option<Input>> = items.iter().map(|item| input(item, mistakes)).collect();
            InputValue::List(all.into_iter().collect::<Option<_>>()?)
        }
        Value::Map(entries) => {
            let all: Vec<Option<(String, Input)>> = entries
                .iter()
                .map(|(key, value)| Some((key.name.clone(), input(value, mistakes)?)))
                .collect();
            InputValue::Fields(all.into_iter().collect::<Option<_>>()?)
        }
        Value::Null => {
            mistakes.add(node.at, "a value is missing here");
            return None;
        }
        Value::Flag(_) | Value::Integer(_) | Value::Number(_) => InputValue::Literal(json(node)?),
    };
    Some(Input { at: node.at, value })
}

pub(super) fn told(bad: &BadName) -> String {
    match bad {
        BadName::Unclosed => "`${` has no `}`; write `$${` for a plain `${`".to_owned(),
        BadName::Unreadable(name) => format!(
            "`${{{name}}}` is no name: write `${{parameter}}`, `${{steps.STEP.OUTPUT}}` or `${{run.number}}`"
        ),
        BadName::Alert(name) => format!(
            "`${{{name}}}` is there only when an alert started the run: make a parameter with `from: {name}`, and use that"
        ),
    }
}

pub(super) fn identifier(node: &Node, what: &str, mistakes: &mut Mistakes) -> Option<String> {
    let text = node.text(mistakes, what)?;
    if is_identifier(&text) {
        Some(text)
    } else {
        mistakes.add(
            node.at,
            format!("{what} cannot be `{}`: {IDENTIFIER}", yaml::shown(&text)),
        );
        None
    }
}

pub(super) fn length(node: &Node, what: &str, mistakes: &mut Mistakes) -> Option<Duration> {
    let given = node.scalar();
    let read = given.as_deref().and_then(template::duration);
    if read.is_none() {
        let unit = match node.value {
            Value::Integer(number) => format!("; did you mean `{number}s`?"),
            _ => ": write 90s, 5m, 1h30m or 2d (at most a year)".to_owned(),
        };
        mistakes.add(
            node.at,
            format!("{what} is not a duration: {}{unit}", node.told()),
        );
    }
    read
}

pub(super) fn choice(
    node: &Node,
    what: &str,
    known: &[&str],
    mistakes: &mut Mistakes,
) -> Option<String> {
    let text = node.text(mistakes, what)?;
    if known.contains(&text.as_str()) {
        Some(text)
    } else {
        mistakes.unknown(
            node.at,
            &format!("{what}: unknown"),
            &text,
            known.iter().copied(),
        );
        None
    }
}

/// A mistake of a whole file.
pub(super) fn of_file(problem: impl Into<String>) -> Mistake {
    Mistake {
        at: At { line: 1, column: 1 },
        problem: problem.into(),
    }
}
