//! Label and field selectors, as the Kubernetes list and watch calls take them.

use super::cluster::Object;

/// What a list or watch asks for. Empty matches everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

#[derive(Clone, Debug)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        match &self.test {
            Test::In(values) => {
                value.is_some_and(|value| values.iter().any(|wanted| wanted == value))
            }
            Test::NotIn(values) => {
                !value.is_some_and(|value| values.iter().any(|unwanted| unwanted == value))
            }
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
        }
    }
}

impl Selector {
    /// Parses both selectors. The error is the sentence an API server would answer with.
    pub(super) fn parse(labels: &str, fields: &str) -> Result<Self, String> {
        Ok(Self {
            labels: requirements(labels)?,
            fields: requirements(fields)?,
        })
    }

    pub(super) fn matches(&self, object: &Object) -> bool {
        self.labels.iter().all(|wanted| {
            let value = object
                .labels
                .iter()
                .find(|(key, _)| *key == wanted.key)
                .map(|(_, value)| value.as_str());
            wanted.holds(value)
        }) && self
            .fields
            .iter()
            .all(|wanted| wanted.holds(Some(object.field(&wanted.key))))
    }
}

fn requirements(text: &str) -> Result<Vec<Requirement>, String> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        // A comma inside `in (a,b)` does not end the requirement.
        let mut depth = 0;
        let end = rest
            .char_indices()
            .find(|(_, char)| {
                match char {
                    '(' => depth += 1,
                    ')' => depth -= 1,
                    _ => {}
                }
                *char == ',' && depth == 0
            })
            .map_or(rest.len(), |(at, _)| at);
        found.push(requirement(rest[..end].trim())?);
        rest = rest[end..].trim_start_matches(',').trim_start();
    }
    Ok(found)
}

fn requirement(text: &str) -> Result<Requirement, String> {
    let set = |list: &str| {
        list.trim()
            .trim_start_matches('(')
            .trim_end_matches(')')
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let (key, rule) = if let Some((key, values)) = text.split_once(" notin ") {
        (key, Test::NotIn(set(values)))
    } else if let Some((key, values)) = text.split_once(" in ") {
        (key, Test::In(set(values)))
    } else if let Some((key, value)) = text.split_once("!=") {
        (key, Test::NotIn(vec![value.trim().to_owned()]))
    } else if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        (key, Test::In(vec![value.trim().to_owned()]))
    } else if let Some(key) = text.strip_prefix('!') {
        (key, Test::Absent)
    } else {
        (text, Test::Exists)
    };
    let key = key.trim();
    if key.is_empty() || key.contains(' ') {
        return Err(format!("unable to parse requirement: found '{text}'"));
    }
    Ok(Requirement {
        key: key.to_owned(),
        test: rule,
    })
}
