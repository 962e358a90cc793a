//! The section `approvals.rules`: who approves what, each rule under a name of the operator's own.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::reader::Reader;
use super::source::{Given, Value};
use crate::action::ActionKind;
use crate::alert::Severity;
use crate::safety::approvers::Approvers;
use crate::safety::rules::{Pattern, Rule};

const SECTION: &str = "approvals.rules";
/// More people than this seldom are awake at once.
const PEOPLE_MOST: usize = 5;

pub(super) fn read(r: &mut Reader<'_>) -> Vec<Rule> {
    let mut given: BTreeMap<String, BTreeMap<String, Given>> = BTreeMap::new();
    for (path, value) in r.section(SECTION) {
        match path.rsplit_once('.') {
            Some((rule, key)) => {
                given
                    .entry(rule.to_owned())
                    .or_default()
                    .insert(key.to_owned(), value);
            }
            None => r.mistake(
                value.origin,
                "must be a rule: a mapping with `approvers` and what it is for",
            ),
        }
    }
    let rules: Vec<(String, Rule)> = given
        .into_iter()
        .map(|(name, keys)| read_rule(r, name, keys))
        .collect();
    for (i, (at, rule)) in rules.iter().enumerate() {
        for (_, other) in rules[..i].iter().filter(|(_, other)| rule.ties_with(other)) {
            r.mistake(
                at,
                format!(
                    "is for the same as rule {}, and which of them decides would not be clear: let one name more",
                    other.name
                ),
            );
        }
    }
    rules.into_iter().map(|(_, rule)| rule).collect()
}

/// The rule, and where it stands.
fn read_rule(
    r: &mut Reader<'_>,
    name: String,
    mut keys: BTreeMap<String, Given>,
) -> (String, Rule) {
    let at = keys
        .values()
        .next()
        .and_then(|given| given.origin.rsplit_once('.'))
        .map_or_else(|| format!("{SECTION}.{name}"), |(at, _)| at.to_owned());
    let mut take = |key: &str| keys.remove(key);
    let actions = take("actions").map_or_else(Vec::new, |given| {
        parsed(r, given, "is no action that nightbell has", |text| {
            ActionKind::all().find(|kind| kind.as_str() == text)
        })
    });
    let a_name = "is neither a name nor the beginning of names (prod-*)";
    let namespaces =
        take("namespaces").map_or_else(Vec::new, |given| parsed(r, given, a_name, Pattern::new));
    let projects =
        take("projects").map_or_else(Vec::new, |given| parsed(r, given, a_name, Pattern::new));
    let severities = take("severities").map_or_else(Vec::new, |given| {
        parsed(r, given, "is none of low, medium, high, critical", severity)
    });
    let approvers = read_approvers(r, &at, take("approvers"));
    let people = read_people(r, take("people"), &approvers);
    for (key, given) in keys {
        r.mistake(
            given.origin,
            format!(
                "`{key}` is not part of a rule: actions, namespaces, projects, severities, approvers and people are"
            ),
        );
    }
    if actions.is_empty() && namespaces.is_empty() && projects.is_empty() && severities.is_empty() {
        r.mistake(
            &at,
            "does not say what it is for: name actions, namespaces, projects or severities (APPROVERS is for the rest)",
        );
    }
    let rule = Rule {
        name,
        actions,
        namespaces,
        projects,
        severities,
        approvers,
        people,
    };
    (at, rule)
}

fn read_approvers(r: &mut Reader<'_>, at: &str, given: Option<Given>) -> Approvers {
    let Some(given) = given else {
        r.mistake(
            at,
            "does not name `approvers` (an empty list means that nobody may)",
        );
        return Approvers::default();
    };
    let origin = given.origin.clone();
    match Approvers::from_str(&texts(given.value).join(",")) {
        Ok(approvers) => approvers,
        Err(invalid) => {
            r.mistake(origin, invalid.to_string());
            Approvers::default()
        }
    }
}

fn read_people(r: &mut Reader<'_>, given: Option<Given>, approvers: &Approvers) -> usize {
    let Some(given) = given else {
        return 1;
    };
    let origin = given.origin.clone();
    let people = match given.value {
        Value::Text(text) => text.trim().parse().ok(),
        Value::List(_) => None,
    };
    let Some(people) = people.filter(|people| (1..=PEOPLE_MOST).contains(people)) else {
        r.mistake(
            origin,
            format!("is not a whole number from 1 to {PEOPLE_MOST}"),
        );
        // Wrong, it must not let more through than was meant.
        return PEOPLE_MOST;
    };
    if let Some(named) = approvers.at_most()
        && !approvers.is_empty()
        && named < people
    {
        r.mistake(
            origin,
            format!("asks for {people} different people, and only {named} may approve"),
        );
    }
    people
}

fn severity(text: &str) -> Option<Severity> {
    match text {
        "low" => Some(Severity::Low),
        "medium" => Some(Severity::Medium),
        "high" => Some(Severity::High),
        "critical" => Some(Severity::Critical),
        _ => None,
    }
}

fn texts(value: Value) -> Vec<String> {
    match value {
        Value::Text(text) => text.split(',').map(str::to_owned).collect(),
        Value::List(items) => items,
    }
}

/// Each item parsed. What is named but empty would mean "any", which nobody means by an empty list.
fn parsed<T>(
    r: &mut Reader<'_>,
    given: Given,
    wrong: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Vec<T> {
    let mut items = Vec::new();
    let texts = texts(given.value);
    if texts.is_empty() {
        r.mistake(
            given.origin.clone(),
            "is an empty list: leave it out to mean any",
        );
    }
    for text in texts {
        match parse(text.trim()) {
            Some(item) => items.push(item),
            None => r.mistake(
                given.origin.clone(),
                format!(
                    "`{}` {wrong}",
                    text.chars()
                        .filter(|c| !c.is_control())
                        .take(40)
                        .collect::<String>()
                ),
            ),
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use crate::alert::Severity;
    use crate::config::Config;
    use crate::safety::rules::Rule;

    fn read(yaml: &str) -> Result<Vec<Rule>, Vec<String>> {
        Config::from_values(&std::collections::BTreeMap::new(), yaml)
            .map(|config| config.approval_rules)
            .map_err(|mistakes| mistakes.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_rule_names_what_it_is_for_and_who_decides() {
        let rules = read(
            "approvals:
  expire_after_seconds: 600
  rules:
    gravest:
      actions: [runai_delete, recreate_job]
      namespaces: [prod-*]
      severities: [high, critical]
      approvers: [U01ABC, S02DEF, role:admin]
      people: 2
    nobody-in-finance:
      projects: [finance]
      approvers: []
",
        )
        .expect("sound");
        assert_eq!(rules.len(), 2);
        assert_eq!((rules[0].name.as_str(), rules[0].people), ("gravest", 2));
        assert_eq!(rules[0].actions.len(), 2);
        assert_eq!(rules[0].severities, [Severity::High, Severity::Critical]);
        assert!(!rules[0].approvers.is_empty());
        assert!(rules[1].approvers.is_empty(), "an empty list is nobody");
    }

    #[test]
    fn every_mistake_of_a_rule_is_told_with_its_line() {
        let told = read(
            "approvals:
  rules:
    a:
      actions: [drop_table]
      approvers: [mira]
    b:
      namespaces: ['*-prod']
      approvers: [U01ABC]
      people: 2
    c:
      severities: [urgent]
      people: none
    d:
      approvers: [U01ABC]
    e:
      projects: [ml]
      approver: [U01ABC]
      approvers: [U01ABC]
    f:
      projects: [ml, nlp]
      approvers: [U02ABC]
    g:
      actions: []
      approvers: [U01ABC]
",
        )
        .expect_err("nothing of this is right");
        for wanted in [
            "line 4: approvals.rules.a.actions: `drop_table` is no action",
            "line 5: approvals.rules.a.approvers: `mira` is neither",
            "line 7: approvals.rules.b.namespaces: `*-prod` is neither a name",
            "line 9: approvals.rules.b.people: asks for 2 different people, and only 1",
            "line 11: approvals.rules.c.severities: `urgent` is none of",
            "line 12: approvals.rules.c.people: is not a whole number",
            "approvals.rules.c: does not name `approvers`",
            "line 14: approvals.rules.d: does not say what it is for",
            "line 17: approvals.rules.e.approver: `approver` is not part of a rule",
            "approvals.rules.f: is for the same as rule e",
            "line 23: approvals.rules.g.actions: is an empty list",
        ] {
            assert!(
                told.iter().any(|line| line.contains(wanted)),
                "missing: {wanted}\ntold: {told:#?}"
            );
        }
    }
}
