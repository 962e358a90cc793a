//! Takes settings by name, collects every mistake, and knows which names exist.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::Mistake;
use super::source::{Given, Value, YamlFile};

pub(super) struct Reader<'a> {
    pub(super) environment: &'a BTreeMap<String, String>,
    pub(super) env_file: &'a BTreeMap<String, String>,
    pub(super) yaml: &'a YamlFile,
    pub(super) mistakes: Vec<Mistake>,
    known: BTreeSet<String>,
    /// Known names that may stand in the environment.
    variables: BTreeSet<String>,
    sections: BTreeSet<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        environment: &'a BTreeMap<String, String>,
        env_file: &'a BTreeMap<String, String>,
        yaml: &'a YamlFile,
        mistakes: Vec<Mistake>,
    ) -> Self {
        Self {
            environment,
            env_file,
            yaml,
            mistakes,
            known: BTreeSet::new(),
            variables: BTreeSet::new(),
            sections: BTreeSet::new(),
        }
    }

    /// The value of a setting known by an environment name, a YAML path, or both. Blank counts as unset.
    fn given(&mut self, name: &str) -> Option<Given> {
        // `API_PORT` may stand in YAML as `api_port`; a path with a dot or lower case is YAML's alone.
        let path = name.to_lowercase();
        let environment_name = name
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        self.known.insert(path.clone());
        let text = |value: &String| {
            (!value.trim().is_empty()).then(|| Value::Text(value.trim().to_owned()))
        };
        if environment_name {
            self.variables.insert(name.to_owned());
            if let Some(value) = self.environment.get(name).and_then(text) {
                return Some(Given {
                    value,
                    origin: name.to_owned(),
                });
            }
            if let Some(value) = self.env_file.get(name).and_then(text) {
                return Some(Given {
                    value,
                    origin: format!(".env: {name}"),
                });
            }
        }
        self.yaml.values.get(&path).cloned()
    }

    pub(super) fn mistake(&mut self, key: impl Into<String>, problem: impl Into<String>) {
        self.mistakes.push(Mistake {
            key: key.into(),
            problem: problem.into(),
        });
    }

    /// The origin of a setting if it is given, for rules over several settings.
    pub(super) fn origin(&mut self, name: &str) -> Option<String> {
        self.given(name).map(|given| given.origin)
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let given = self.given(name)?;
        match given.value {
            Value::Text(text) => Some(text),
            Value::List(_) => {
                self.mistake(given.origin, "must be one value, not a list");
                None
            }
        }
    }

    pub(super) fn secret(&mut self, name: &str) -> Option<SecretString> {
        self.text(name).map(SecretString::from)
    }

    /// A secret that begins with one of `prefixes`; the message never shows it.
    pub(super) fn token(
        &mut self,
        name: &str,
        prefixes: &[&str],
        what: &str,
    ) -> Option<SecretString> {
        let origin = self.origin(name)?;
        let text = self.text(name)?;
        if prefixes.iter().any(|prefix| text.starts_with(prefix))
            && !text.contains(char::is_whitespace)
        {
            return Some(text.into());
        }
        self.mistake(
            origin,
            format!(
                "is not {what}: it must begin with {}",
                prefixes.join(" or ")
            ),
        );
        None
    }

    pub(super) fn parse<T: FromStr>(&mut self, name: &str, what: &str) -> Option<T> {
        let origin = self.origin(name)?;
        let text = self.text(name)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.mistake(origin, format!("`{}` is not {what}", shown(&text)));
        }
        parsed
    }

    pub(super) fn number(
        &mut self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
        default: u64,
    ) -> u64 {
        let Some(origin) = self.origin(name) else {
            return default;
        };
        let what = format!("a whole number from {} to {}", range.start(), range.end());
        match self.parse::<u64>(name, &what) {
            Some(number) if range.contains(&number) => number,
            Some(number) => {
                self.mistake(origin, format!("{number} is not {what}"));
                default
            }
            None => default,
        }
    }

    pub(super) fn seconds(
        &mut self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
        default: u64,
    ) -> Duration {
        Duration::from_secs(self.number(name, range, default))
    }

    pub(super) fn fraction(&mut self, name: &str, default: f64) -> f64 {
        let Some(origin) = self.origin(name) else {
            return default;
        };
        match self.parse::<f64>(name, "a number from 0 to 1") {
            Some(number) if (0.0..=1.0).contains(&number) => number,
            Some(number) => {
                self.mistake(origin, format!("{number} is not a number from 0 to 1"));
                default
            }
            None => default,
        }
    }

    pub(super) fn flag(&mut self, name: &str, default: bool) -> bool {
        let Some(origin) = self.origin(name) else {
            return default;
        };
        let Some(text) = self.text(name) else {
            return default;
        };
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => {
                self.mistake(
                    origin,
                    format!("`{}` is neither true nor false", shown(&text)),
                );
                default
            }
        }
    }

    /// An `http` or `https` URL.
    pub(super) fn url(&mut self, name: &str) -> Option<Url> {
        let origin = self.origin(name)?;
        let text = self.text(name)?;
        match Url::parse(&text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Some(url),
            Ok(_) | Err(_) => {
                self.mistake(origin, "is not a URL: it must look like https://host/path");
                None
            }
        }
    }

    /// A list: YAML's, or comma-separated text.
    pub(super) fn list(&mut self, name: &str) -> Option<Vec<String>> {
        let given = self.given(name)?;
        let items = match given.value {
            Value::List(items) => items,
            Value::Text(text) => text.split(',').map(str::to_owned).collect(),
        };
        Some(
            items
                .iter()
                .map(|item| item.trim().to_owned())
                .filter(|item| !item.is_empty())
                .collect(),
        )
    }

    /// All entries of a YAML section whose keys are the user's own.
    pub(super) fn section(&mut self, path: &str) -> BTreeMap<String, Given> {
        self.sections.insert(format!("{path}."));
        let prefix = format!("{path}.");
        self.yaml
            .values
            .iter()
            .filter_map(|(key, given)| Some((key.strip_prefix(&prefix)?.to_owned(), given.clone())))
            .collect()
    }

    /// The names asked for that may stand in the environment.
    pub(super) fn variables(&self) -> BTreeSet<String> {
        self.variables.clone()
    }

    /// Every YAML key and every `.env` name that looks like ours but is none.
    pub(super) fn finish(mut self) -> Vec<Mistake> {
        for (path, given) in &self.yaml.values {
            if self.known.contains(path)
                || self.sections.iter().any(|prefix| path.starts_with(prefix))
            {
                continue;
            }
            let problem = match nearest(path, &self.known) {
                Some(near) => format!("is not a setting; did you mean {near}?"),
                None => "is not a setting".to_owned(),
            };
            self.mistakes.push(Mistake {
                key: given.origin.clone(),
                problem,
            });
        }
        for name in self.env_file.keys() {
            let path = name.to_lowercase();
            // Other programs may share the file: only a near miss is surely a mistake.
            if !self.known.contains(&path)
                && let Some(near) = nearest(&path, &self.known)
            {
                let problem = format!("is not a setting; did you mean {}?", near.to_uppercase());
                self.mistakes.push(Mistake {
                    key: format!(".env: {name}"),
                    problem,
                });
            }
        }
        self.mistakes
    }
}

/// Below this similarity (Jaro-Winkler) a suggestion confuses.
const SIMILAR: f64 = 0.93;

fn nearest<'n>(path: &str, known: &'n BTreeSet<String>) -> Option<&'n String> {
    known
        .iter()
        .map(|name| (strsim::jaro_winkler(path, name), name))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// A wrong value as it may be shown: short, on one line.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}
