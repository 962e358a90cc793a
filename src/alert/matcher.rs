//! What a silence covers: conditions on the labels of an alert, all of which must hold.

use std::fmt;
use std::str::FromStr;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use super::{Alert, Severity};
use crate::diagnose::Role;

/// The memory of a compiled pattern, in bytes; names need little.
const PATTERN_BYTES: usize = 64 * 1024;
/// The longest value of a matcher, in bytes: longer than any name in Kubernetes.
const LONGEST_VALUE: usize = 500;

/// What of an alert can be matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    Cluster,
    /// Run:AI's project, or the namespace, with or without `runai-`.
    Project,
    Namespace,
    Job,
    /// Kind of job: `Training`, `Deployment` …
    Kind,
    Owner,
    /// Any node it is seen failing on; for an alert about a node, the node.
    Node,
    /// The cause that the diagnosis names, or the state that the platform states (`OOMKilled`).
    Cause,
    Severity,
}

impl Label {
    pub const ALL: [Self; 9] = [
        Self::Cluster,
        Self::Project,
        Self::Namespace,
        Self::Job,
        Self::Kind,
        Self::Owner,
        Self::Node,
        Self::Cause,
        Self::Severity,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Project => "project",
            Self::Namespace => "namespace",
            Self::Job => "job",
            Self::Kind => "kind",
            Self::Owner => "owner",
            Self::Node => "node",
            Self::Cause => "cause",
            Self::Severity => "severity",
        }
    }

    /// The values that an alert has; none where nothing is known.
    fn values(self, alert: &Alert) -> Vec<&str> {
        let subject = &alert.subject;
        match self {
            Self::Cluster => vec![&subject.cluster],
            Self::Project => {
                let namespace = subject.namespace.as_str();
                let project = subject.project.as_deref();
                [project, Some(namespace), namespace.strip_prefix("runai-")]
                    .into_iter()
                    .flatten()
                    .collect()
            }
            Self::Namespace => vec![&subject.namespace],
            Self::Job => vec![&subject.name],
            Self::Kind => vec![&subject.kind],
            Self::Owner => subject.owner.as_deref().into_iter().collect(),
            Self::Node => {
                let own = (alert.class == crate::detect::FailureClass::Node)
                    .then_some(subject.name.as_str());
                alert.nodes.iter().map(String::as_str).chain(own).collect()
            }
            Self::Cause => {
                let findings = alert.diagnosis.iter().flat_map(|found| &found.findings);
                findings
                    .filter(|finding| finding.role == Role::Root)
                    .map(|finding| finding.cause.as_str())
                    .chain([alert.failure.as_str()])
                    .collect()
            }
            Self::Severity => vec![severity_name(alert.severity)],
        }
    }
}

impl FromStr for Label {
    type Err = InvalidMatcher;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let folded = name.to_lowercase();
        Self::ALL
            .into_iter()
            .find(|label| label.as_str() == folded)
            .ok_or_else(|| InvalidMatcher::NoSuchLabel(name.to_owned()))
    }
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Comparison {
    #[serde(rename = "=")]
    Is,
    #[serde(rename = "!=")]
    IsNot,
    /// The whole value fits a regular expression.
    #[serde(rename = "=~")]
    Fits,
}

impl Comparison {
    fn as_str(self) -> &'static str {
        match self {
            Self::Is => "=",
            Self::IsNot => "!=",
            Self::Fits => "=~",
        }
    }
}

/// Why a text is no matcher.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMatcher {
    #[error("`{0}` has no comparison: write LABEL=VALUE, LABEL!=VALUE or LABEL=~PATTERN")]
    NoComparison(String),
    #[error(
        "there is no label `{0}`: use cluster, project, namespace, job, kind, owner, node, cause or severity"
    )]
    NoSuchLabel(String),
    #[error("`{0}` is no severity: use low, medium, high, critical or P3 to P0")]
    NoSuchSeverity(String),
    #[error("`{0}` is not a regular expression")]
    NoPattern(String),
    #[error("a value has at most {LONGEST_VALUE} characters")]
    TooLong,
}

/// One condition on a label: `project=ml-team`, `job=~train-.*`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Matcher {
    label: Label,
    comparison: Comparison,
    value: String,
    /// Of `=~`, over the whole value.
    pattern: Option<Regex>,
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (self.label, self.comparison, &self.value) == (other.label, other.comparison, &other.value)
    }
}

impl Eq for Matcher {}

impl Matcher {
    /// # Errors
    /// When the value does not fit the label or is no pattern.
    pub fn new(label: Label, comparison: Comparison, value: &str) -> Result<Self, InvalidMatcher> {
        if value.len() > LONGEST_VALUE {
            return Err(InvalidMatcher::TooLong);
        }
        let value = match (label, comparison) {
            (Label::Severity, Comparison::Is | Comparison::IsNot) => severity_of(value)
                .map(severity_name)
                .ok_or_else(|| InvalidMatcher::NoSuchSeverity(value.to_owned()))?,
            (_, Comparison::Is | Comparison::IsNot | Comparison::Fits) => value,
        };
        let pattern = match comparison {
            Comparison::Fits => Some(
                RegexBuilder::new(&format!("^(?:{value})$"))
                    .size_limit(PATTERN_BYTES)
                    .build()
                    .map_err(|_| InvalidMatcher::NoPattern(value.to_owned()))?,
            ),
            Comparison::Is | Comparison::IsNot => None,
        };
        Ok(Self {
            label,
            comparison,
            value: value.to_owned(),
            pattern,
        })
    }

    /// That a label has this value.
    ///
    /// # Errors
    /// When the label cannot have it.
    pub fn is(label: Label, value: &str) -> Result<Self, InvalidMatcher> {
        Self::new(label, Comparison::Is, value)
    }

    /// Whether the alert fulfils it. What has no such label counts as having an empty one.
    #[must_use]
    pub fn fits(&self, alert: &Alert) -> bool {
        let mut values = self.label.values(alert);
        if values.is_empty() {
            values.push("");
        }
        match (&self.comparison, &self.pattern) {
            (Comparison::Is, _) => values.iter().any(|value| *value == self.value),
            (Comparison::IsNot, _) => values.iter().all(|value| *value != self.value),
            (Comparison::Fits, Some(pattern)) => values.iter().any(|value| pattern.is_match(value)),
            (Comparison::Fits, None) => false,
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}{}",
            self.label.as_str(),
            self.comparison.as_str(),
            self.value
        )
    }
}

impl From<Matcher> for String {
    fn from(matcher: Matcher) -> Self {
        matcher.to_string()
    }
}

impl TryFrom<String> for Matcher {
    type Error = InvalidMatcher;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for Matcher {
    type Err = InvalidMatcher;

    /// Reads `label=value`, `label!=value` and `label=~pattern`; quotes around the value are taken off.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let missing = || InvalidMatcher::NoComparison(text.to_owned());
        let at = text.find(['=', '!']).ok_or_else(missing)?;
        let (label, rest) = text.split_at(at);
        let (comparison, value) = [Comparison::Fits, Comparison::IsNot, Comparison::Is]
            .into_iter()
            .find_map(|comparison| Some((comparison, rest.strip_prefix(comparison.as_str())?)))
            .ok_or_else(missing)?;
        let value = value.trim();
        let bare = value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'))
            .unwrap_or(value);
        Self::new(label.trim().parse()?, comparison, bare)
    }
}

fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

fn severity_of(name: &str) -> Option<Severity> {
    match name.to_lowercase().as_str() {
        "low" | "p3" => Some(Severity::Low),
        "medium" | "p2" => Some(Severity::Medium),
        "high" | "p1" => Some(Severity::High),
        "critical" | "p0" => Some(Severity::Critical),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::lifecycle::{Birth, open};
    use crate::alert::report::tests::{at, report, symptom};
    use crate::detect::FailureClass;

    /// An alert of job `train` in project `ml`, on node `gpu-1`, without an owner.
    fn alert() -> Alert {
        let birth = Birth {
            id: "a1".to_owned(),
            number: 1,
            job_id: "j".to_owned(),
            severity: Severity::High,
            demo: false,
        };
        let crash = symptom(FailureClass::Crashed, "OOMKilled", 0);
        let (mut alert, _) = open(birth, &report("train", vec![crash]), at(0)).expect("a failure");
        alert.subject.namespace = "runai-ml".to_owned();
        alert.subject.project = Some("ml".to_owned());
        alert.subject.owner = None;
        alert.nodes = vec!["gpu-1".to_owned(), "gpu-2".to_owned()];
        alert
    }

    #[test]
    fn an_alert_is_matched_by_what_it_is_about() {
        for (matcher, fits) in [
            ("project=ml", true),
            ("project=ML", false),
            ("project!=ml", false),
            ("project!=nlp", true),
            ("namespace = runai-ml", true),
            ("job=~tr.*", true),
            ("job=~rain", false),
            ("job=~\"train|eval\"", true),
            ("node=gpu-2", true),
            ("node!=gpu-2", false),
            ("cause=OOMKilled", true),
            ("severity=P1", true),
            ("severity=HIGH", true),
            ("severity!=critical", true),
            ("owner=", true),
            ("owner!=mira", true),
            ("owner=~.+", false),
        ] {
            let parsed: Matcher = matcher.parse().expect(matcher);
            assert_eq!(parsed.fits(&alert()), fits, "{matcher}");
        }
    }

    #[test]
    fn where_no_source_names_a_project_the_namespace_does() {
        let mut alert = alert();
        alert.subject.project = None;
        for name in ["ml", "runai-ml"] {
            let matcher = Matcher::is(Label::Project, name).expect("a name");
            assert!(matcher.fits(&alert), "{name}");
        }
    }

    #[test]
    fn what_is_no_matcher_is_told_with_the_way_out() {
        for (text, told) in [
            ("project", "has no comparison"),
            ("project!ml", "has no comparison"),
            ("team=ml", "there is no label `team`"),
            ("severity=bad", "no severity"),
            ("job=~(", "not a regular expression"),
        ] {
            let error = text.parse::<Matcher>().expect_err(text).to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn a_matcher_reads_what_it_writes() {
        for text in ["project=ml", "job=~a.*|b", "severity!=low"] {
            let matcher: Matcher = text.parse().expect(text);
            assert_eq!(matcher.to_string(), text);
            let json = serde_json::to_string(&matcher).expect("text");
            assert_eq!(
                serde_json::from_str::<Matcher>(&json).expect("a matcher"),
                matcher
            );
        }
    }
}
