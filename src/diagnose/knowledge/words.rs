//! The knowledge in plain words: how a failure is recognised, and under which heading of the taxonomy it stands.

use super::{FAILURES, Failure, NodeNeed, Remedy, Sign, StateField, TextPlace, TextTest, When};
use crate::diagnose::{Role, SafetyClass};

impl Sign {
    /// By what it is recognised, as a sentence without a full stop.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Log(text) => format!("a log line{}", text.words()),
            Self::Exit {
                codes,
                reasons,
                unless_reasons,
            } => {
                let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
                let mut words = format!("exit code {}", codes.join(", "));
                if !reasons.is_empty() {
                    words = format!("{words} with reason {}", reasons.join(" or "));
                }
                if !unless_reasons.is_empty() {
                    words = format!(
                        "{words} but not with reason {}",
                        unless_reasons.join(" or ")
                    );
                }
                words
            }
            Self::State {
                field,
                reasons,
                text,
            } => {
                let field = match field {
                    StateField::Waiting => "a container waits",
                    StateField::Terminated => "a container was terminated",
                    StateField::Pod => "the pod's status says",
                    StateField::Job => "a condition of the job says",
                    StateField::Phase => "the Run:AI phase is",
                    StateField::PhaseReason => "the reason of the Run:AI phase is",
                };
                format!("{field} {}{}", reasons.join(" or "), text.words())
            }
            Self::PodCondition {
                kind,
                status,
                reasons,
            } => {
                let reasons = if reasons.is_empty() {
                    String::new()
                } else {
                    format!(" with reason {}", reasons.join(" or "))
                };
                format!("the pod's condition {kind} is {status}{reasons}")
            }
            Self::Event {
                reasons,
                on,
                annotation,
                text,
                when,
            } => {
                let on = if on.is_empty() {
                    String::new()
                } else {
                    format!(" of a {}", on.join(" or "))
                };
                let annotation = annotation
                    .as_ref()
                    .map_or_else(String::new, |value| format!(" for {value}"));
                let when = match when {
                    When::Always => "",
                    When::Starting => ", while the pod has not started",
                    When::Unready => ", while the pod is not ready",
                    When::Short => ", while pods are missing",
                };
                format!(
                    "an event {}{on}{annotation}{}{when}",
                    reasons.join(" or "),
                    text.words()
                )
            }
            Self::Node {
                conditions,
                statuses,
                text,
            } => format!(
                "the node's condition {} is {}{}",
                conditions.join(" or "),
                statuses.join(" or "),
                text.words()
            ),
            Self::Text { place, text } => {
                let place = match place {
                    TextPlace::Pending => "the scheduler's reason",
                    TextPlace::Pull => "the error of an image pull",
                    TextPlace::Start => "the runtime's error when a container starts",
                    TextPlace::Kernel => "a kernel line of the node",
                    TextPlace::History => "an entry of Run:AI's history",
                };
                format!("{place}{}", text.words())
            }
        }
    }
}

impl TextTest {
    fn words(&self) -> String {
        let (must, unless) = self.sources();
        let must = must.map_or_else(String::new, |must| format!(" that matches {must}"));
        let unless = unless.map_or_else(String::new, |unless| format!(" and not {unless}"));
        format!("{must}{unless}")
    }
}

impl Failure {
    /// Its part in a failure.
    #[must_use]
    pub fn role_words(&self) -> &'static str {
        match self.role {
            Role::Root => "root: it may be the cause",
            Role::Cascade => "cascade: it usually follows from something earlier",
            Role::Confirming => "confirming: it supports a cause",
            Role::Expected => "expected: it belongs to the life of jobs",
        }
    }

    /// What may be done about it, and how freely.
    #[must_use]
    pub fn remedy_words(&self) -> String {
        let action = match self.action {
            Remedy::Nothing => return "nothing is proposed; it is for a person".to_owned(),
            Remedy::Restart => "restart the whole job",
            Remedy::RestartElsewhere => "restart the whole job away from the node",
            Remedy::Suspend => "suspend the job, which frees what it holds",
            Remedy::Resume => "resume the job",
            Remedy::Cordon => "cordon the node",
        };
        let how = match self.safety {
            SafetyClass::Auto => "may run by itself within its limits",
            SafetyClass::Gated => "needs approval",
            SafetyClass::Human => "is for a person",
            SafetyClass::Quiet => "is only recorded",
        };
        format!("{action}: {how}")
    }

    /// For Xids: what the node needs.
    #[must_use]
    pub fn node_words(&self) -> &'static str {
        match self.node {
            None | Some(NodeNeed::Nothing) => "nothing",
            Some(NodeNeed::Watch) => "watch it",
            Some(NodeNeed::Out) => "take it out",
        }
    }
}

/// The headings of the shipped taxonomy with the ids under each, in order. What is under none of them is an Xid or
/// comes from a local file.
#[must_use]
pub fn sections() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut sections: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in FAILURES.lines() {
        let line = line.trim();
        if let Some(heading) = line.strip_prefix("# ── ") {
            sections.push((heading.trim_end_matches(['─', ' ']), Vec::new()));
        } else if let (Some(id), Some((_, ids))) =
            (line.strip_prefix("- id: "), sections.last_mut())
        {
            ids.push(id.trim());
        }
    }
    sections
}
