//! Steps: what they do, when, on what, and what follows.

use std::time::Duration;

use super::checks::{check, checks};
use super::{choice, identifier, input, length, told};
use crate::action::{ActionKind, System, catalogue};
use crate::runbook::model::{
    Act, Comparison, Most, OnFailure, Operator, Radius, ResultField, Rollback, Step, TargetInput,
    What,
};
use crate::runbook::template::{self, Input, InputValue, is_identifier};
use crate::runbook::yaml::{self, Fields, Mistakes, Node, Value};

/// What a step may do beside the actions of the catalogue.
const OWN: [&str; 6] = [
    "wait",
    "verify_metrics",
    "health_check",
    "notify",
    "ask_human",
    "look",
];
/// How long a step may take unless it says otherwise.
const TIMEOUT: Duration = Duration::from_mins(15);

pub(super) fn step(node: &Node, mistakes: &mut Mistakes) -> Option<Step> {
    let mut fields = Fields::of(node, "a step", mistakes)?;
    let id = fields
        .need("id", mistakes)
        .and_then(|node| identifier(node, "the id of a step", mistakes));
    let title = fields
        .take("title")
        .and_then(|node| node.text(mistakes, "`title`"));
    let action = fields.need("action", mistakes);
    let (target, with) = (fields.take("target"), fields.take("with"));
    let what = action.and_then(|action| what(action, target, with, node, mistakes));
    let when = fields
        .take("when")
        .map(|node| comparisons(node, mistakes))
        .unwrap_or_default();
    let timeout = fields
        .take("timeout")
        .map_or(Some(TIMEOUT), |node| length(node, "`timeout`", mistakes));
    if timeout == Some(Duration::ZERO) {
        mistakes.add(
            node.at,
            "`timeout` is nothing: the step could never end in time",
        );
    }
    let requires_approval = fields
        .take("requires_approval")
        .and_then(|node| node.flag(mistakes, "`requires_approval`"))
        .unwrap_or(false);
    let success = fields
        .take("success_criteria")
        .map(|node| checks(node, mistakes))
        .unwrap_or_default();
    let radius = fields
        .take("blast_radius")
        .and_then(|node| radius(node, mistakes))
        .unwrap_or_default();
    let rollback = rollback(
        fields.take("rollback_on_failure"),
        fields.take("rollback"),
        what.as_ref(),
        mistakes,
    );
    let on_failure = fields
        .take("on_failure")
        .and_then(|node| {
            choice(
                node,
                "`on_failure`",
                &["abort", "continue", "rollback", "escalate"],
                mistakes,
            )
        })
        .map_or(OnFailure::Abort, |name| match name.as_str() {
            "continue" => OnFailure::Continue,
            "rollback" => OnFailure::Rollback,
            "escalate" => OnFailure::Escalate,
            _ => OnFailure::Abort,
        });
    let outputs = fields
        .take("outputs")
        .map(|node| outputs(node, what.as_ref(), mistakes))
        .unwrap_or_default();
    fields.finish(mistakes);
    if let Some(what) = &what
        && !matches!(what, What::Act(_))
    {
        for (given, name) in [
            (!success.is_empty(), "success_criteria"),
            (radius != Radius::default(), "blast_radius"),
            (rollback.is_some(), "rollback"),
        ] {
            if given {
                mistakes.add(
                    node.at,
                    format!("`{name}` is for steps that change something; this one does not"),
                );
            }
        }
    }
    Some(Step {
        id: id?,
        at: node.at,
        title,
        // Only a stand-in: a file with a mistake is never used, but the rest of it is still to be looked at.
        what: what.unwrap_or_else(|| What::Wait(Input::literal(node.at, "0s"))),
        when,
        timeout: timeout.unwrap_or(TIMEOUT),
        requires_approval,
        success,
        radius,
        rollback,
        on_failure,
        outputs,
    })
}

fn what(
    action: &Node,
    target: Option<&Node>,
    with: Option<&Node>,
    step: &Node,
    mistakes: &mut Mistakes,
) -> Option<What> {
    let name = action.text(mistakes, "`action`")?;
    if let Some(kind) = ActionKind::named(&name) {
        return act(kind, target, with, step, mistakes).map(What::Act);
    }
    if !OWN.contains(&name.as_str()) {
        let known = OWN
            .into_iter()
            .chain(catalogue().iter().map(|entry| entry.name));
        mistakes.unknown(action.at, "there is no action", &name, known);
        return None;
    }
    if let (Some(target), true) = (target, name != "look") {
        mistakes.add(target.at, format!("`{name}` has no target"));
    }
    if name == "look" {
        if let Some(with) = with {
            mistakes.add(with.at, "`look` takes nothing `with` it");
        }
        let Some(target) = target else {
            mistakes.add(step.at, "`look` needs a `target`");
            return None;
        };
        return target_input(target, mistakes).map(What::Look);
    }
    let Some(with) = with else {
        let wanted = match name.as_str() {
            "wait" => "`with: {for: 60s}`",
            "verify_metrics" => "`with: {metric: NAME, below: 1, for: 5m}`",
            "health_check" => "`with: {http: URL}` or `with: {tcp: HOST:PORT}`",
            "notify" => "`with: {text: …}`",
            _ => "`with: {question: …}`",
        };
        mistakes.add(step.at, format!("`{name}` needs {wanted}"));
        return None;
    };
    let what = match name.as_str() {
        "wait" => "`with` of wait",
        "verify_metrics" => "`with` of verify_metrics",
        "health_check" => "`with` of health_check",
        "notify" => "`with` of notify",
        _ => "`with` of ask_human",
    };
    let mut fields = Fields::of(with, what, mistakes)?;
    let read = match name.as_str() {
        "wait" => fields.need("for", mistakes).and_then(|node| {
            let input = input(node, mistakes)?;
            if let InputValue::Literal(_) = input.value {
                length(node, "`for`", mistakes)?;
            }
            Some(What::Wait(input))
        }),
        "verify_metrics" | "health_check" => {
            use crate::runbook::model::CheckOf;
            let check = check(&mut fields, mistakes)?;
            let measured = matches!(check.of, CheckOf::Metric { .. });
            if measured != (name == "verify_metrics") {
                let other = if measured {
                    "verify_metrics"
                } else {
                    "health_check"
                };
                mistakes.add(action.at, format!("this check is one of `{other}`"));
            }
            Some(What::Verify(check))
        }
        "notify" => fields
            .need("text", mistakes)
            .and_then(|node| input(node, mistakes))
            .map(What::Notify),
        _ => fields
            .need("question", mistakes)
            .and_then(|node| input(node, mistakes))
            .map(What::Ask),
    };
    fields.finish(mistakes);
    read
}

fn act(
    kind: ActionKind,
    target: Option<&Node>,
    with: Option<&Node>,
    step: &Node,
    mistakes: &mut Mistakes,
) -> Option<Act> {
    let entry = kind.entry();
    let with = match with {
        None => Some(Vec::new()),
        Some(node) => {
            if let Value::Map(entries) = &node.value {
                let mut read = Vec::new();
                for (key, value) in entries {
                    if entry.parameters.iter().all(|known| known.name != key.name) {
                        if entry.parameters.is_empty() {
                            mistakes.add(key.at, format!("`{kind}` takes no parameters"));
                        } else {
                            mistakes.unknown(
                                key.at,
                                &format!("`{kind}` has no parameter"),
                                &key.name,
                                entry.parameters.iter().map(|known| known.name),
                            );
                        }
                    } else if let Some(input) = input(value, mistakes) {
                        read.push((key.name.clone(), input));
                    }
                }
                for known in entry.parameters.iter().filter(|known| known.required) {
                    if entries.iter().all(|(key, _)| key.name != known.name) {
                        mistakes.add(
                            node.at,
                            format!("`{kind}` needs `{}` ({})", known.name, known.about),
                        );
                    }
                }
                Some(read)
            } else {
                mistakes.add(
                    node.at,
                    format!("`with` must be a mapping, not {}", node.told()),
                );
                None
            }
        }
    };
    if with.as_ref().is_some_and(Vec::is_empty)
        && let Some(known) = entry.parameters.iter().find(|known| known.required)
    {
        mistakes.add(
            step.at,
            format!(
                "`{kind}` needs `with: {{{}: …}}` ({})",
                known.name, known.about
            ),
        );
    }
    let Some(target) = target else {
        mistakes.add(step.at, format!("`{kind}` needs a `target`"));
        return None;
    };
    Some(Act {
        kind,
        target: target_input(target, mistakes)?,
        with: with?,
    })
}

fn target_input(node: &Node, mistakes: &mut Mistakes) -> Option<TargetInput> {
    let mut fields = Fields::of(node, "a target", mistakes)?;
    let mut take = |name: &'static str, mistakes: &mut Mistakes| -> Result<Option<Input>, ()> {
        match fields.take(name) {
            Some(node) => input(node, mistakes).map(Some).ok_or(()),
            None => Ok(None),
        }
    };
    let job = take("job", mistakes);
    let kind = take("kind", mistakes);
    let name = take("name", mistakes);
    let node_name = take("node", mistakes);
    let namespace = take("namespace", mistakes);
    let project = take("project", mistakes);
    let cluster = take("cluster", mistakes);
    let system = fields.take("system");
    fields.finish(mistakes);
    let (job, kind, name, node_name) = (job.ok()?, kind.ok()?, name.ok()?, node_name.ok()?);
    let (namespace, project, cluster) = (namespace.ok()?, project.ok()?, cluster.ok()?);
    let forms =
        "write one of `{job, namespace}`, `{kind, namespace, name}`, `{node}` and `{system, name}`";
    let read = match (job, kind, name, node_name, system) {
        (Some(job), None, None, None, None) => TargetInput::Job {
            job,
            namespace,
            project,
            cluster,
        },
        (None, Some(kind), Some(name), None, None) if project.is_none() => TargetInput::Object {
            kind,
            namespace,
            name,
            cluster,
        },
        (None, None, None, Some(name), None) if project.is_none() && namespace.is_none() => {
            TargetInput::Object {
                kind: Input::literal(node.at, "Node"),
                namespace: None,
                name,
                cluster,
            }
        }
        (None, None, Some(name), None, Some(system)) => TargetInput::Named {
            of: system_named(system, mistakes)?,
            name,
        },
        _ => {
            mistakes.add(node.at, format!("this is no target: {forms}"));
            return None;
        }
    };
    Some(read)
}

fn system_named(node: &Node, mistakes: &mut Mistakes) -> Option<System> {
    let text = node.text(mistakes, "`system`")?;
    let mut known: Vec<(String, System)> = Vec::new();
    for entry in catalogue() {
        let name = serde_json::to_value(entry.system)
            .ok()
            .and_then(|name| name.as_str().map(str::to_owned))
            .unwrap_or_default();
        if !known.iter().any(|(there, _)| *there == name) {
            known.push((name, entry.system));
        }
    }
    let found = known.iter().find(|(name, _)| *name == text);
    if found.is_none() {
        mistakes.unknown(
            node.at,
            "there is no system",
            &text,
            known.iter().map(|(name, _)| name.as_str()),
        );
    }
    found.map(|(_, system)| *system)
}

fn radius(node: &Node, mistakes: &mut Mistakes) -> Option<Radius> {
    let mut fields = Fields::of(node, "`blast_radius`", mistakes)?;
    let most = fields.take("max_instances").and_then(|node| {
        let text = node.scalar().unwrap_or_default();
        let read = match text.strip_suffix('%') {
            Some(percent) => percent
                .trim()
                .parse()
                .ok()
                .filter(|p| (1..=100).contains(p))
                .map(Most::Percent),
            None => text.parse().ok().filter(|n| *n > 0).map(Most::Instances),
        };
        if read.is_none() {
            mistakes.add(
                node.at,
                format!(
                    "`max_instances` must be a number above 0 or a share such as 20%, not {}",
                    node.told()
                ),
            );
        }
        read
    });
    let wait_between = fields
        .take("wait_between")
        .and_then(|node| length(node, "`wait_between`", mistakes));
    fields.finish(mistakes);
    Some(Radius { most, wait_between })
}

fn rollback(
    on_failure: Option<&Node>,
    declared: Option<&Node>,
    what: Option<&What>,
    mistakes: &mut Mistakes,
) -> Option<Rollback> {
    let wanted = on_failure.and_then(|node| {
        node.flag(mistakes, "`rollback_on_failure`")
            .map(|flag| (node, flag))
    });
    if let Some(node) = declared {
        let mut fields = Fields::of(node, "`rollback`", mistakes)?;
        let (action, target, with) = (
            fields.need("action", mistakes),
            fields.take("target"),
            fields.take("with"),
        );
        fields.finish(mistakes);
        let name = action?.text(mistakes, "`action`")?;
        let Some(kind) = ActionKind::named(&name) else {
            mistakes.unknown(
                action?.at,
                "no action of the catalogue is",
                &name,
                catalogue().iter().map(|entry| entry.name),
            );
            return None;
        };
        // Without a target of its own it is the object of the step.
        if target.is_none()
            && let Some(What::Act(step)) = what
        {
            let stand_in = step.target.clone();
            let with = act_with(kind, with, node, mistakes)?;
            return Some(Rollback::Act(Act {
                kind,
                target: stand_in,
                with,
            }));
        }
        return act(kind, target, with, node, mistakes).map(Rollback::Act);
    }
    let (node, true) = wanted? else { return None };
    let Some(What::Act(act)) = what else {
        return None;
    };
    let inverse = act.kind.entry().inverse;
    if inverse.is_none() {
        mistakes.add(
            node.at,
            format!(
                "nothing takes `{}` back by itself: say how with `rollback: {{action: …}}`",
                act.kind
            ),
        );
    }
    inverse.map(Rollback::Inverse)
}

fn act_with(
    kind: ActionKind,
    with: Option<&Node>,
    step: &Node,
    mistakes: &mut Mistakes,
) -> Option<Vec<(String, Input)>> {
    // The target is known to be good; only the parameters are read.
    let anything = Node {
        at: step.at,
        value: Value::Map(vec![(
            yaml::Key {
                at: step.at,
                name: "node".to_owned(),
            },
            Node {
                at: step.at,
                value: Value::Text("any".to_owned()),
            },
        )]),
    };
    act(kind, Some(&anything), with, step, mistakes).map(|act| act.with)
}

fn outputs(
    node: &Node,
    what: Option<&What>,
    mistakes: &mut Mistakes,
) -> Vec<(String, ResultField)> {
    let Value::Map(entries) = &node.value else {
        mistakes.add(
            node.at,
            format!(
                "`outputs` is a mapping such as `{{found: result.found}}`, not {}",
                node.told()
            ),
        );
        return Vec::new();
    };
    let mut read = Vec::new();
    for (key, value) in entries {
        if !is_identifier(&key.name) {
            mistakes.add(
                key.at,
                format!("`{}` cannot name an output", yaml::shown(&key.name)),
            );
            continue;
        }
        let Some(text) = value.text(mistakes, "an output") else {
            continue;
        };
        let known: Vec<String> = ResultField::ALL
            .into_iter()
            .filter(|field| what.is_none_or(|what| field.given_by(what)))
            .map(|field| format!("result.{}", field.as_str()))
            .collect();
        if known.is_empty() {
            mistakes.add(value.at, "a step of this kind has no result");
            continue;
        }
        match ResultField::ALL
            .into_iter()
            .find(|field| text == format!("result.{}", field.as_str()))
            .filter(|_| known.contains(&text))
        {
            Some(field) => read.push((key.name.clone(), field)),
            None => mistakes.unknown(
                value.at,
                "this step does not give",
                &text,
                known.iter().map(String::as_str),
            ),
        }
    }
    read
}

/// `${a} == 1 and ${b} != none`, or a list of such.
fn comparisons(node: &Node, mistakes: &mut Mistakes) -> Vec<Comparison> {
    node.texts(mistakes, "`when`")
        .into_iter()
        .flat_map(|(at, text)| {
            text.split(" and ")
                .map(|part| (at, part.trim().to_owned()))
                .collect::<Vec<_>>()
        })
        .filter_map(|(at, text)| {
            // Operators inside `${…}` do not occur, so that the first one found is the one.
            let found = Operator::ALL
                .into_iter()
                .filter_map(|operator| text.find(operator.as_str()).map(|place| (place, operator)))
                .min_by_key(|(place, operator)| (*place, usize::MAX - operator.as_str().len()));
            let Some((place, operator)) = found else {
                mistakes.add(
                    at,
                    format!("`{}` compares nothing: write `${{steps.look.ready}} < 2` or `${{flag}} == true`", yaml::shown(&text)),
                );
                return None;
            };
            let side = |text: &str, mistakes: &mut Mistakes| -> Option<Input> {
                let text = text.trim();
                if text.is_empty() {
                    mistakes.add(at, "one side of the comparison is empty");
                    return None;
                }
                let quoted = |q: char| text.strip_prefix(q).and_then(|rest| rest.strip_suffix(q));
                if let Some(inner) = quoted('"').or_else(|| quoted('\'')) {
                    return Some(Input::literal(at, inner));
                }
                match template::read(text) {
                    Ok(InputValue::Literal(_)) => {
                        let value = serde_json::from_str::<serde_json::Value>(text)
                            .ok()
                            .filter(|value| value.is_number() || value.is_boolean())
                            .unwrap_or_else(|| text.into());
                        Some(Input::literal(at, value))
                    }
                    Ok(value) => Some(Input { at, value }),
                    Err(bad) => {
                        mistakes.add(at, told(&bad));
                        None
                    }
                }
            };
            let left = side(&text[..place], mistakes);
            let right = side(&text[place + operator.as_str().len()..], mistakes);
            Some(Comparison {
                left: left?,
                operator,
                right: right?,
            })
        })
        .collect()
}
