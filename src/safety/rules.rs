//! Who approves what: rules by action, namespace, project and severity, over the default rule that `APPROVERS` is. Pure.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::Scope;
use super::approvers::Approvers;
use crate::action::{ActionKind, ActionSpec, Target};
use crate::alert::Severity;

/// A name, or the beginning of names (`prod-*`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(String);

impl Pattern {
    /// `None` if a `*` stands elsewhere than at the end, or there is nothing to match.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let beginning = text.strip_suffix('*').unwrap_or(text);
        (!text.is_empty() && !beginning.contains('*')).then(|| Self(text.to_owned()))
    }

    /// How exactly it names `name`: the whole of it is more than any beginning, a longer beginning more than a shorter.
    fn fit(&self, name: &str) -> Option<usize> {
        match self.0.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning).then_some(beginning.len()),
            None => (self.0 == name).then_some(usize::MAX),
        }
    }
}

/// One rule of `approvals.rules`. An empty list of actions, namespaces, projects or severities means any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub name: String,
    pub actions: Vec<ActionKind>,
    pub namespaces: Vec<Pattern>,
    pub projects: Vec<Pattern>,
    pub severities: Vec<Severity>,
    /// Nobody, if empty.
    pub approvers: Approvers,
    /// How many different people have to approve.
    pub people: usize,
}

/// Who decides one action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deciders<'a> {
    /// The rule that says so; `None` for `APPROVERS`.
    pub rule: Option<&'a str>,
    pub approvers: &'a Approvers,
    pub people: usize,
}

/// What rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    pub kind: ActionKind,
    pub namespace: Option<&'a str>,
    pub project: Option<&'a str>,
    pub severity: Severity,
}

/// Run:AI keeps the workloads of project `x` in namespace `runai-x`.
const PROJECT_NAMESPACE: &str = "runai-";

impl<'a> Case<'a> {
    /// The case of an action. Namespace and project are told of each other, so that an action on a workload through
    /// Run:AI and one through Kubernetes meet the same rule.
    #[must_use]
    pub fn of(spec: &'a ActionSpec, scope: &'a Scope, severity: Severity) -> Self {
        let named = |name: &'a str| (!name.is_empty()).then_some(name);
        // `cluster/namespace/name`
        let of_service = scope.service.split('/').nth(1).and_then(named);
        let (namespace, project) = match &spec.target {
            // A node is in no namespace, whatever its service is called.
            Target::Kubernetes { kind, .. } if kind == "Node" => (None, None),
            Target::Kubernetes { namespace, .. } => (named(namespace).or(of_service), None),
            Target::Runai { project, .. } => (of_service, named(project)),
            Target::Named { .. } => (None, None),
        };
        Self {
            kind: spec.kind,
            namespace,
            project: project
                .or_else(|| namespace.and_then(|name| name.strip_prefix(PROJECT_NAMESPACE))),
            severity,
        }
    }
}

/// How closely a rule fits: how many things it names, then how exactly it names each, in this order: action,
/// namespace, project, severity.
type Fit = (usize, [Option<usize>; 4]);

impl Rule {
    fn fit(&self, case: Case<'_>) -> Option<Fit> {
        let exactly = |listed: bool| listed.then_some(usize::MAX);
        let best = |patterns: &[Pattern], name: Option<&str>| {
            name.and_then(|name| patterns.iter().filter_map(|p| p.fit(name)).max())
        };
        let criteria = [
            (
                self.actions.is_empty(),
                exactly(self.actions.contains(&case.kind)),
            ),
            (
                self.namespaces.is_empty(),
                best(&self.namespaces, case.namespace),
            ),
            (self.projects.is_empty(), best(&self.projects, case.project)),
            (
                self.severities.is_empty(),
                exactly(self.severities.contains(&case.severity)),
            ),
        ];
        let mut fit = (0, [None; 4]);
        for (place, (any, found)) in criteria.into_iter().enumerate() {
            if any {
                continue;
            }
            fit.1[place] = Some(found?);
            fit.0 += 1;
        }
        Some(fit)
    }

    /// What both rules name in just the same way, if a case could fit both equally: then which wins is not clear.
    #[must_use]
    pub fn ties_with(&self, other: &Self) -> bool {
        fn shared<T: Ord>(ours: &[T], theirs: &[T]) -> bool {
            if ours.is_empty() || theirs.is_empty() {
                return ours.is_empty() && theirs.is_empty();
            }
            let ours: BTreeSet<&T> = ours.iter().collect();
            theirs.iter().any(|one| ours.contains(one))
        }
        let names = |kinds: &[ActionKind]| -> Vec<&'static str> {
            kinds.iter().map(|kind| kind.as_str()).collect()
        };
        shared(&names(&self.actions), &names(&other.actions))
            && shared(&self.namespaces, &other.namespaces)
            && shared(&self.projects, &other.projects)
            && shared(&self.severities, &other.severities)
    }
}

/// Who decides `case`: the rule that fits most closely, else `APPROVERS`. Of rules that fit alike (which the
/// configuration refuses) the one that asks the most people.
#[must_use]
pub fn deciders<'a>(rules: &'a [Rule], default: &'a Approvers, case: Case<'_>) -> Deciders<'a> {
    rules
        .iter()
        .filter_map(|rule| Some((rule.fit(case)?, rule)))
        .max_by_key(|(fit, rule)| (*fit, rule.people, Reverse(&rule.name)))
        .map_or(
            Deciders {
                rule: None,
                approvers: default,
                people: 1,
            },
            |(_, rule)| Deciders {
                rule: Some(&rule.name),
                approvers: &rule.approvers,
                people: rule.people.max(1),
            },
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str) -> Rule {
        Rule {
            name: name.into(),
            actions: Vec::new(),
            namespaces: Vec::new(),
            projects: Vec::new(),
            severities: Vec::new(),
            approvers: "U01".parse().unwrap(),
            people: 1,
        }
    }
    fn patterns(list: &[&str]) -> Vec<Pattern> {
        list.iter().map(|p| Pattern::new(p).unwrap()).collect()
    }
    fn case(kind: ActionKind, namespace: &str, severity: Severity) -> Case<'_> {
        Case {
            kind,
            namespace: Some(namespace),
            project: namespace.strip_prefix("runai-"),
            severity,
        }
    }

    #[test]
    fn the_most_specific_rule_decides_and_approvers_is_the_rest() {
        use ActionKind::{DeletePod, RunaiDelete};
        use Severity::{Critical, High};
        let rules = [
            Rule {
                namespaces: patterns(&["prod-*"]),
                ..rule("prod")
            },
            Rule {
                namespaces: patterns(&["prod-db"]),
                ..rule("database")
            },
            Rule {
                actions: vec![ActionKind::RunaiDelete],
                ..rule("deletes")
            },
            Rule {
                namespaces: patterns(&["prod-*"]),
                severities: vec![Severity::Critical],
                ..rule("critical in prod")
            },
            Rule {
                projects: patterns(&["ml"]),
                ..rule("ml")
            },
        ];
        let default = Approvers::default();
        for (kind, namespace, severity, expected) in [
            (DeletePod, "dev", High, None),
            (DeletePod, "prod", High, None),
            (DeletePod, "prod-a", High, Some("prod")),
            (DeletePod, "prod-db", High, Some("database")),
            (DeletePod, "prod-db", Critical, Some("critical in prod")),
            (RunaiDelete, "prod-a", High, Some("deletes")),
            (RunaiDelete, "dev", High, Some("deletes")),
            (DeletePod, "runai-ml", High, Some("ml")),
            (RunaiDelete, "prod-a", Critical, Some("critical in prod")),
        ] {
            let decided = deciders(&rules, &default, case(kind, namespace, severity));
            assert_eq!(decided.rule, expected, "{kind} {namespace} {severity:?}");
        }
    }

    #[test]
    fn rules_that_fit_alike_are_seen() {
        let prod = Rule {
            namespaces: patterns(&["prod-*", "live"]),
            ..rule("a")
        };
        let same = Rule {
            namespaces: patterns(&["prod-*"]),
            ..rule("b")
        };
        let closer = Rule {
            namespaces: patterns(&["prod-db"]),
            ..rule("c")
        };
        let other = Rule {
            severities: vec![Severity::High],
            ..rule("d")
        };
        assert!(prod.ties_with(&same));
        assert!(!prod.ties_with(&closer) && !prod.ties_with(&other));
    }

    #[test]
    fn a_star_stands_at_the_end() {
        for wrong in ["", " ", "*-prod", "a*b", "a**"] {
            assert_eq!(Pattern::new(wrong), None, "{wrong}");
        }
        assert_eq!(Pattern::new("*").unwrap().fit("x"), Some(0));
    }
}
