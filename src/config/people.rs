//! Section `people`: who is who.

use std::collections::BTreeMap;

use super::reader::Reader;
use super::source::Value;
use crate::desk::Person;

/// Reads `people.NAME.slack`, `.email`, `.subject` (each one value or a list) and `.local`.
pub(super) fn read_people(r: &mut Reader<'_>) -> Vec<Person> {
    let mut people: BTreeMap<String, Person> = BTreeMap::new();
    // Each way to name somebody belongs to one person: else two would count as one.
    let mut taken: BTreeMap<(String, String), String> = BTreeMap::new();
    for (path, given) in r.section("people") {
        let Some((name, what)) = path.rsplit_once('.') else {
            r.mistake(
                given.origin,
                "must be a mapping with slack, email, subject or local",
            );
            continue;
        };
        let values: Vec<String> = match given.value {
            Value::Text(text) => vec![text],
            Value::List(several) => several,
        };
        for value in values.iter().filter(|value| *value != "false") {
            let key = (what.to_owned(), value.to_lowercase());
            if let Some(other) = taken.insert(key, name.to_owned()).filter(|o| o != name) {
                r.mistake(
                    given.origin.clone(),
                    format!("is given to {other} already: one {what} is one person's"),
                );
            }
        }
        let person = people.entry(name.to_owned()).or_default();
        name.clone_into(&mut person.name);
        match what {
            "slack" => {
                if !values.iter().all(|id| is_slack_user(id)) {
                    r.mistake(given.origin, "must be a Slack user id (U…)");
                    continue;
                }
                person.slack = values;
            }
            "email" => {
                if !values.iter().all(|email| email.contains('@')) {
                    r.mistake(given.origin, "must be an e-mail address");
                    continue;
                }
                person.emails = values;
            }
            "subject" => person.subjects = values,
            "local" => match values.as_slice() {
                [flag] if flag == "true" => person.local = true,
                [flag] if flag == "false" => {}
                _ => r.mistake(given.origin, "must be true or false"),
            },
            _ => r.mistake(
                given.origin,
                "is not a setting: use slack, email, subject or local",
            ),
        }
    }
    people.into_values().collect()
}

fn is_slack_user(id: &str) -> bool {
    id.len() > 2
        && id.starts_with(['U', 'W'])
        && id
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}
