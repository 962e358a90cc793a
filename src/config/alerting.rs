//! Sections `severity_rules` and `links`: how bad what is, and where to read on.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;

use super::reader::Reader;
use super::source::{Given, Value};
use crate::alert::settings::SeverityRule;
use crate::notify::links::LinkTemplate;

/// Reads `severity_rules.NAME.class`, `.project`, `.namespace`, `.kind` and `.severity`. The rules are tried in the order
/// of their names.
pub(super) fn read_severities(r: &mut Reader<'_>) -> Vec<SeverityRule> {
    let mut given: BTreeMap<String, BTreeMap<String, Given>> = BTreeMap::new();
    for (path, value) in r.section("severity_rules") {
        match path.rsplit_once('.') {
            Some((name, what)) => {
                let rule = given.entry(name.to_owned()).or_default();
                rule.insert(what.to_owned(), value);
            }
            None => r.mistake(
                value.origin,
                "must be a mapping with severity and any of class, project, namespace and kind",
            ),
        }
    }
    let mut rules = Vec::new();
    for (name, settings) in given {
        let Some(origin) = settings.values().next().map(|given| given.origin.clone()) else {
            continue;
        };
        let fields = settings.into_iter().map(|(what, given)| {
            let value = match (what.as_str(), given.value) {
                ("severity", Value::Text(text)) => Json::String(severity(&text)),
                (_, Value::Text(text)) => Json::String(text),
                (_, Value::List(texts)) => Json::from(texts),
            };
            (what, value)
        });
        match SeverityRule::deserialize(Json::Object(fields.collect())) {
            Ok(rule) => rules.push(rule),
            Err(error) => r.mistake(origin, format!("severity rule {name}: {error}")),
        }
    }
    rules
}

/// P0 to P3 by the names that the rules use.
fn severity(text: &str) -> String {
    let lower = text.to_lowercase();
    match lower.as_str() {
        "p0" => "critical".to_owned(),
        "p1" => "high".to_owned(),
        "p2" => "medium".to_owned(),
        "p3" => "low".to_owned(),
        _ => lower,
    }
}

/// Reads `links.LABEL`, each an address with places such as `{namespace}`.
pub(super) fn read_links(r: &mut Reader<'_>) -> Vec<LinkTemplate> {
    let mut links = Vec::new();
    for (label, given) in r.section("links") {
        let read = match &given.value {
            Value::Text(template) => {
                LinkTemplate::new(&label, template).map_err(|error| error.to_string())
            }
            Value::List(_) => Err("must be one address, not a list".to_owned()),
        };
        match read {
            Ok(link) => links.push(link),
            Err(problem) => r.mistake(given.origin, problem),
        }
    }
    links
}
