//! How bad a failure is: from its class, the GPUs the job holds, whether people depend on it, and how many jobs fail.

use super::settings::SeverityRule;
use super::{Severity, Subject};
use crate::detect::FailureClass;

/// From this many GPUs on a failed batch job is expensive enough to wake someone: one full node of most GPU servers.
const MANY_GPUS: f64 = 8.0;
/// Shares of jobs mean nothing in a small estate.
const LEAST_JOBS: u64 = 20;

/// How much of the estate is failing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    pub failing: u64,
    pub total: u64,
}

/// The severity of a failure of `class` in `subject` while `share` of all jobs fail.
#[must_use]
pub fn severity(
    class: FailureClass,
    subject: &Subject,
    share: Share,
    rules: &[SeverityRule],
) -> Severity {
    if let Some(rule) = rules.iter().find(|rule| fits(rule, class, subject)) {
        return rule.severity;
    }
    base(class, subject).max(by_share(share))
}

fn base(class: FailureClass, subject: &Subject) -> Severity {
    let large = subject.gpus >= MANY_GPUS;
    match class {
        FailureClass::Node | FailureClass::Source => Severity::High,
        FailureClass::CannotStart | FailureClass::Crashed if is_service(&subject.kind) => {
            Severity::High
        }
        FailureClass::CannotStart
        | FailureClass::Crashed
        | FailureClass::Disrupted
        | FailureClass::Degraded
        | FailureClass::Stalled
        | FailureClass::Stuck
            if large =>
        {
            Severity::High
        }
        FailureClass::CannotStart
        | FailureClass::Crashed
        | FailureClass::Disrupted
        | FailureClass::Degraded
        | FailureClass::Stalled => Severity::Medium,
        FailureClass::Blocked if large => Severity::Medium,
        FailureClass::Blocked | FailureClass::Stuck => Severity::Low,
    }
}

/// More than half of all jobs is P0, more than a quarter P1.
fn by_share(share: Share) -> Severity {
    if share.total < LEAST_JOBS {
        Severity::Low
    } else if share.failing * 2 > share.total {
        Severity::Critical
    } else if share.failing * 4 > share.total {
        Severity::High
    } else {
        Severity::Low
    }
}

/// Whether people or programs call it, as against a batch job that can be run again.
fn is_service(kind: &str) -> bool {
    matches!(
        kind,
        "Inference"
            | "Deployment"
            | "StatefulSet"
            | "DaemonSet"
            | "NimService"
            | "InferenceService"
    )
}

fn fits(rule: &SeverityRule, class: FailureClass, subject: &Subject) -> bool {
    rule.class.is_none_or(|wanted| wanted == class)
        && rule
            .project
            .as_ref()
            .is_none_or(|wanted| subject.project.as_ref() == Some(wanted))
        && rule
            .namespace
            .as_ref()
            .is_none_or(|wanted| *wanted == subject.namespace)
        && rule
            .kind
            .as_ref()
            .is_none_or(|wanted| *wanted == subject.kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::report::tests::subject;

    const CALM: Share = Share {
        failing: 1,
        total: 200,
    };

    #[test]
    fn class_size_and_kind_decide() {
        let table = [
            (FailureClass::Crashed, "Training", 1.0, Severity::Medium),
            (FailureClass::Crashed, "Distributed", 16.0, Severity::High),
            (FailureClass::Crashed, "Deployment", 0.0, Severity::High),
            (FailureClass::CannotStart, "Inference", 1.0, Severity::High),
            (FailureClass::Blocked, "Training", 1.0, Severity::Low),
            (FailureClass::Blocked, "Training", 64.0, Severity::Medium),
            (FailureClass::Degraded, "Deployment", 0.0, Severity::Medium),
            (FailureClass::Stuck, "Workspace", 1.0, Severity::Low),
            (FailureClass::Node, "Node", 0.0, Severity::High),
            (FailureClass::Source, "Source", 0.0, Severity::High),
        ];
        for (class, kind, gpus, expected) in table {
            let mut job = subject("train");
            kind.clone_into(&mut job.kind);
            job.gpus = gpus;
            assert_eq!(
                severity(class, &job, CALM, &[]),
                expected,
                "{class:?} of a {kind} with {gpus} GPUs"
            );
        }
    }

    #[test]
    fn a_failing_quarter_of_the_estate_is_high_and_a_failing_half_critical() {
        let job = subject("train");
        let with =
            |failing, total| severity(FailureClass::Blocked, &job, Share { failing, total }, &[]);
        assert_eq!(with(5, 20), Severity::Low);
        assert_eq!(with(6, 20), Severity::High);
        assert_eq!(with(11, 20), Severity::Critical);
        assert_eq!(with(3, 4), Severity::Low, "four jobs are no estate");
    }

    #[test]
    fn a_rule_overrides_both_ways() {
        let rules = [
            SeverityRule {
                class: Some(FailureClass::Crashed),
                project: Some("sandbox".to_owned()),
                namespace: None,
                kind: None,
                severity: Severity::Low,
            },
            SeverityRule {
                class: None,
                project: None,
                namespace: None,
                kind: None,
                severity: Severity::Critical,
            },
        ];
        let mut job = subject("train");
        assert_eq!(
            severity(FailureClass::Crashed, &job, CALM, &rules),
            Severity::Critical
        );
        job.project = Some("sandbox".to_owned());
        assert_eq!(
            severity(FailureClass::Crashed, &job, CALM, &rules),
            Severity::Low
        );
    }
}
