//! Runbooks in words: what they are for, what starts them, and each step as people read it.

use serde_json::{Value, json};

use super::library::Entry;
use super::model::{
    Act, Check, CheckOf, Comparison, Limit, Measure, Most, OnFailure, Parameter, Rollback, Step,
    TargetInput, Trigger, What,
};
use super::template::{plain, told_duration};
use crate::chat::card::{Block, Card, Span, Tone};

/// One row of a list.
#[must_use]
pub fn summary(entry: &Entry) -> Value {
    let runbook = &entry.runbook;
    json!({
        "name": runbook.name,
        "description": runbook.description,
        "severity": runbook.severity,
        "triggers": runbook.triggers.iter().map(trigger).collect::<Vec<_>>(),
        "steps": runbook.steps.len(),
        "shipped": entry.file.is_none(),
    })
}

/// Everything, for machines.
#[must_use]
pub fn whole(entry: &Entry) -> Value {
    let mut body = summary(entry);
    let runbook = &entry.runbook;
    body["why"] = json!(runbook.why);
    body["file"] = json!(entry.file.as_ref().map(|file| file.display().to_string()));
    body["parameters"] = runbook
        .parameters
        .iter()
        .map(|parameter| {
            json!({
                "name": parameter.name, "type": parameter.kind.as_str(), "required": parameter.required,
                "default": parameter.default, "about": parameter.about,
                "from": parameter.from.map(super::model::AlertFact::as_str),
            })
        })
        .collect();
    body["steps"] = runbook
        .steps
        .iter()
        .map(|step| {
            json!({
                "id": step.id, "does": step_line(step), "details": details(step),
                "on_failure": step.on_failure, "timeout_seconds": step.timeout.as_secs(),
            })
        })
        .collect();
    body["verification"] = runbook.verification.iter().map(check).collect();
    body["notes"] = json!(entry.notes);
    body["text"] = json!(entry.text);
    body
}

/// Everything, for people.
#[must_use]
pub fn card(entry: &Entry) -> Card {
    let runbook = &entry.runbook;
    let text = |text: String| Block::Text {
        spans: vec![Span::Plain(text)],
    };
    let mut blocks = vec![
        Block::Header {
            text: runbook.name.clone(),
        },
        text(runbook.description.clone()),
        text(runbook.why.trim().to_owned()),
    ];
    let started: Vec<String> = runbook.triggers.iter().map(trigger).collect();
    if !started.is_empty() {
        blocks.push(text(format!("Started by: {}.", started.join("; "))));
    }
    if !runbook.parameters.is_empty() {
        blocks.push(Block::Table {
            header: vec!["parameter".to_owned(), "is".to_owned(), "about".to_owned()],
            rows: runbook.parameters.iter().map(parameter_row).collect(),
        });
    }
    let rows = runbook
        .steps
        .iter()
        .enumerate()
        .map(|(n, step)| {
            vec![
                (n + 1).to_string(),
                step_line(step),
                details(step).join("; "),
            ]
        })
        .collect();
    blocks.push(Block::Table {
        header: vec!["step".to_owned(), "does".to_owned(), "and".to_owned()],
        rows,
    });
    if !runbook.verification.is_empty() {
        let checks: Vec<String> = runbook.verification.iter().map(check).collect();
        blocks.push(text(format!("In the end: {}.", checks.join("; "))));
    }
    for note in &entry.notes {
        blocks.push(Block::Context {
            spans: vec![Span::Plain(format!("Note: {}", note.problem))],
        });
    }
    let source = match &entry.file {
        None => "Shipped with nightbell.".to_owned(),
        Some(file) => format!("From {}.", file.display()),
    };
    blocks.push(Block::Context {
        spans: vec![Span::Plain(source)],
    });
    Card {
        fallback: format!("Runbook {}: {}", runbook.name, runbook.description),
        tone: Tone::Info,
        blocks,
    }
}

fn parameter_row(parameter: &Parameter) -> Vec<String> {
    let need = match (&parameter.default, parameter.required) {
        (Some(default), _) => format!("default {}", plain(default)),
        (None, true) => "required".to_owned(),
        (None, false) => "optional".to_owned(),
    };
    vec![
        parameter.name.clone(),
        format!("{}, {need}", parameter.kind.as_str()),
        parameter.about.clone(),
    ]
}

#[must_use]
pub fn trigger(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Cause(causes) => format!("the cause {}", causes.join(" or ")),
        Trigger::Alert(names) => format!("the alert {}", names.join(" or ")),
        Trigger::Pattern(names) => format!("the pattern {}", names.join(" or ")),
        Trigger::Schedule(schedule) => format!("the clock: {schedule}"),
        Trigger::Manual(true) => "people".to_owned(),
        Trigger::Manual(false) => "nobody by hand".to_owned(),
        Trigger::Metric(metric) => {
            let unit = metric
                .unit
                .as_deref()
                .map_or_else(String::new, |unit| format!(" {unit}"));
            format!(
                "{} {}{unit} for {}",
                measure(&metric.measure),
                limit(&metric.limit),
                told_duration(metric.hold)
            )
        }
    }
}

fn measure(measure: &Measure) -> String {
    match measure {
        Measure::Named(_, name) => name.clone(),
        Measure::Promql(query) => query.told(),
    }
}

fn limit(limit: &Limit) -> String {
    match limit {
        Limit::Above(input) => format!("above {}", input.told()),
        Limit::Below(input) => format!("below {}", input.told()),
    }
}

/// What must hold, as a phrase.
#[must_use]
pub fn check(check: &Check) -> String {
    let what = match &check.of {
        CheckOf::Metric {
            measure: of,
            limit: at,
            unit,
        } => {
            let unit = unit
                .as_deref()
                .map_or_else(String::new, |unit| format!(" {unit}"));
            format!("{} is {}{unit}", measure(of), limit(at))
        }
        CheckOf::Http { url, status } => format!("{} answers {status}", url.told()),
        CheckOf::Tcp { address } => format!("{} takes connections", address.told()),
    };
    if check.hold.is_zero() {
        what
    } else {
        format!("{what} for {}", told_duration(check.hold))
    }
}

/// What a step does, in one line.
#[must_use]
pub fn step_line(step: &Step) -> String {
    if let Some(title) = &step.title {
        return title.clone();
    }
    match &step.what {
        What::Act(act) => act_line(act),
        What::Wait(input) => format!("wait {}", input.told()),
        What::Verify(of) => format!("wait until {}", check(of)),
        What::Look(of) => format!("look at {}", target(of)),
        What::Notify(input) => format!("tell: {}", input.told()),
        What::Ask(input) => format!("ask: {}", input.told()),
    }
}

fn act_line(act: &Act) -> String {
    let with: Vec<String> = act
        .with
        .iter()
        .map(|(name, input)| format!("{name} {}", input.told()))
        .collect();
    let with = if with.is_empty() {
        String::new()
    } else {
        format!(" ({})", with.join(", "))
    };
    format!("{} {}{with}", act.kind.verb(), target(&act.target))
}

fn target(target: &TargetInput) -> String {
    match target {
        TargetInput::Job {
            job,
            namespace,
            project,
            ..
        } => match (namespace, project) {
            (Some(place), _) | (None, Some(place)) => format!("{}/{}", place.told(), job.told()),
            (None, None) => job.told(),
        },
        TargetInput::Object {
            kind,
            namespace,
            name,
            ..
        } => match namespace {
            Some(namespace) => format!("{} {}/{}", kind.told(), namespace.told(), name.told()),
            None => format!("{} {}", kind.told(), name.told()),
        },
        TargetInput::Named { of, name } => format!("{of} {}", name.told()),
    }
}

/// What else a step says of itself, as phrases.
#[must_use]
pub fn details(step: &Step) -> Vec<String> {
    let mut told = Vec::new();
    if !step.when.is_empty() {
        let all: Vec<String> = step.when.iter().map(comparison).collect();
        told.push(format!("only if {}", all.join(" and ")));
    }
    if step.requires_approval {
        told.push("asks first".to_owned());
    }
    for of in &step.success {
        told.push(format!("must bring: {}", check(of)));
    }
    match step.radius.most {
        Some(Most::Instances(most)) => told.push(format!("takes at most {most} instances")),
        Some(Most::Percent(most)) => told.push(format!("takes at most {most} % of the instances")),
        None => {}
    }
    if let Some(pause) = step.radius.wait_between {
        told.push(format!("then pauses {}", told_duration(pause)));
    }
    match &step.rollback {
        Some(Rollback::Inverse(kind)) => told.push(format!("taken back by: {}", kind.verb())),
        Some(Rollback::Act(act)) => told.push(format!("taken back by: {}", act_line(act))),
        None => {}
    }
    match step.on_failure {
        OnFailure::Abort => {}
        OnFailure::Continue => told.push("goes on if it fails".to_owned()),
        OnFailure::Rollback => told.push("takes all back if it fails".to_owned()),
        OnFailure::Escalate => told.push("calls people if it fails".to_owned()),
    }
    told
}

fn comparison(comparison: &Comparison) -> String {
    format!(
        "{} {} {}",
        comparison.left.told(),
        comparison.operator.as_str(),
        comparison.right.told()
    )
}
