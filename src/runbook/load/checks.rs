//! Measures, limits and checks: what must hold.

use std::time::Duration;

use super::{input, length};
use crate::runbook::model::{Check, CheckOf, Limit, Measure};
use crate::runbook::template::Input;
use crate::runbook::yaml::{Fields, Mistakes, Node, Value};

/// `metric: error_rate` or `promql: …`; neither is no mistake here.
pub(super) fn measure(fields: &mut Fields<'_>, mistakes: &mut Mistakes) -> Option<Measure> {
    let (named, query) = (fields.take("metric"), fields.take("promql"));
    match (named, query) {
        (Some(node), None) => {
            let name = node.text(mistakes, "`metric`")?;
            Some(Measure::Named(node.at, name))
        }
        (None, Some(node)) => {
            node.text(mistakes, "`promql`")?;
            Some(Measure::Promql(input(node, mistakes)?))
        }
        (Some(_), Some(node)) => {
            mistakes.add(node.at, "give `metric` or `promql`, not both");
            None
        }
        (None, None) => None,
    }
}

/// `above: 5` or `below: 1`.
pub(super) fn limit(fields: &mut Fields<'_>, mistakes: &mut Mistakes) -> Option<Limit> {
    let (above, below) = (fields.take("above"), fields.take("below"));
    match (above, below) {
        (Some(node), None) => Some(Limit::Above(input(node, mistakes)?)),
        (None, Some(node)) => Some(Limit::Below(input(node, mistakes)?)),
        (Some(_), Some(_)) | (None, None) => {
            mistakes.add(fields.at, "give `above` or `below`, one of them");
            None
        }
    }
}

/// One check, or a list of them.
pub(super) fn checks(node: &Node, mistakes: &mut Mistakes) -> Vec<Check> {
    node.items()
        .into_iter()
        .filter_map(|item| {
            let mut fields = Fields::of(item, "a check", mistakes)?;
            let check = check(&mut fields, mistakes);
            fields.finish(mistakes);
            check
        })
        .collect()
}

/// The fields of a check, among which others may stand.
pub(super) fn check(fields: &mut Fields<'_>, mistakes: &mut Mistakes) -> Option<Check> {
    let at = fields.at;
    let (http, tcp) = (fields.take("http"), fields.take("tcp"));
    let measured = measure(fields, mistakes);
    let hold = match fields.take("for") {
        Some(node) => length(node, "`for`", mistakes),
        None => Some(Duration::ZERO),
    };
    let within = fields
        .take("within")
        .and_then(|node| length(node, "`within`", mistakes));
    let of = match (http, tcp, measured) {
        (Some(node), None, None) => {
            let status = fields.take("status").map_or(Some(200), |node| {
                let status = node.integer(mistakes, "`status`")?;
                let valid = u16::try_from(status)
                    .ok()
                    .filter(|s| (100..600).contains(s));
                if valid.is_none() {
                    mistakes.add(node.at, format!("`{status}` is no HTTP status"));
                }
                valid
            })?;
            let text = node.text(mistakes, "`http`")?;
            if !text.starts_with("http://") && !text.starts_with("https://") {
                mistakes.add(node.at, "`http` must begin with http:// or https://");
            }
            CheckOf::Http {
                url: input(node, mistakes)?,
                status,
            }
        }
        (None, Some(node), None) => CheckOf::Tcp {
            address: address(node, mistakes)?,
        },
        (None, None, Some(measure)) => {
            let limit = limit(fields, mistakes)?;
            let unit = fields
                .take("unit")
                .and_then(|node| node.text(mistakes, "`unit`"));
            CheckOf::Metric {
                measure,
                limit,
                unit,
            }
        }
        (None, None, None) => {
            mistakes.add(
                at,
                "a check needs one of `metric`, `promql`, `http` or `tcp`",
            );
            return None;
        }
        _ => {
            mistakes.add(
                at,
                "a check has exactly one of `metric`, `promql`, `http` and `tcp`",
            );
            return None;
        }
    };
    if let (Some(hold), Some(within)) = (hold, within)
        && within < hold
    {
        mistakes.add(
            at,
            "`within` is shorter than `for`: it could never hold long enough",
        );
    }
    Some(Check {
        at,
        of,
        hold: hold?,
        within,
    })
}

fn address(node: &Node, mistakes: &mut Mistakes) -> Option<Input> {
    let Value::Text(text) = &node.value else {
        return node.text(mistakes, "`tcp`").and(None);
    };
    let whole = text.contains("${");
    let fits = text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0));
    if !whole && !fits {
        mistakes.add(node.at, "`tcp` must be HOST:PORT, such as db.example:5432");
    }
    input(node, mistakes)
}
