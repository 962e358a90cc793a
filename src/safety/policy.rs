//! Whether an action may run by itself, needs a person, or is only recorded. Pure.

use crate::action::ActionKind;
use crate::alert::Severity;
use crate::diagnose::SafetyClass;

/// What the operator set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Every action asks.
    pub require_approval: bool,
    /// Actions that put this much or more at stake ask, whatever the alert's severity (see [`crate::action::Entry::risk`]).
    pub require_approval_threshold: Severity,
    /// Nothing is called. Everything asks then, so that people see what they would be asked.
    pub dry_run: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            require_approval: false,
            require_approval_threshold: Severity::Medium,
            dry_run: true,
        }
    }
}

/// What the policy looks at.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub kind: ActionKind,
    /// From the failure taxonomy.
    pub class: SafetyClass,
    /// Of the alert.
    pub severity: Severity,
    /// A person asked for it, not a finding.
    pub by_person: bool,
    /// More healthy instances would be taken down than the blast radius allows.
    pub wide: bool,
    /// It ends working instances for good, as scaling down does.
    pub ends_instances: bool,
    /// Something else owns the object and would undo the change.
    pub owned_elsewhere: bool,
}

/// What the policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// May run without asking, as long as the limits let it.
    Auto,
    /// A person decides; the sentence says why.
    Ask(&'static str),
    /// Recorded, and nothing is offered.
    LogOnly(&'static str),
}

impl Policy {
    /// Judges one case. The order is from what nothing overrides to what is allowed.
    #[must_use]
    pub fn judge(&self, case: Case) -> Verdict {
        match case.class {
            SafetyClass::Human => return Verdict::LogOnly("this cause is for a person to repair"),
            SafetyClass::Quiet => {
                return Verdict::LogOnly("expected events are recorded, not repaired");
            }
            SafetyClass::Gated | SafetyClass::Auto => {}
        }
        if case.by_person {
            return Verdict::Ask("asked for by a person");
        }
        if case.severity == Severity::Low {
            return Verdict::LogOnly("low severity is recorded, not acted on");
        }
        if let Some(why) = case.kind.entry().asks {
            return Verdict::Ask(why);
        }
        if case.ends_instances {
            return Verdict::Ask("ending working instances for good is for a person to decide");
        }
        if case.class == SafetyClass::Gated {
            return Verdict::Ask("this cause needs a person's judgement");
        }
        if case.severity == Severity::Critical {
            return Verdict::Ask("critical alerts always ask");
        }
        if self.require_approval {
            return Verdict::Ask("REQUIRE_APPROVAL is on");
        }
        if self.dry_run {
            return Verdict::Ask("dry-run: nothing runs by itself");
        }
        if case.owned_elsewhere {
            return Verdict::Ask("GitOps owns the object and may undo the change");
        }
        if case.wide {
            return Verdict::Ask(
                "it would take down more healthy instances than may be taken at once",
            );
        }
        if case.kind.entry().risk >= self.require_approval_threshold {
            return Verdict::Ask(
                "this kind of action puts as much at stake as REQUIRE_APPROVAL_THRESHOLD names",
            );
        }
        Verdict::Auto
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVE: Policy = Policy {
        require_approval: false,
        require_approval_threshold: Severity::High,
        dry_run: false,
    };

    fn case(kind: ActionKind, class: SafetyClass, severity: Severity) -> Case {
        Case {
            kind,
            class,
            severity,
            by_person: false,
            wide: false,
            ends_instances: false,
            owned_elsewhere: false,
        }
    }

    #[derive(Debug, PartialEq)]
    enum Says {
        Auto,
        Ask,
        Log,
    }
    fn says(policy: &Policy, case: Case) -> Says {
        match policy.judge(case) {
            Verdict::Auto => Says::Auto,
            Verdict::Ask(_) => Says::Ask,
            Verdict::LogOnly(_) => Says::Log,
        }
    }

    #[test]
    fn severity_and_class_decide_who_decides() {
        use ActionKind::{
            CordonNode, DeletePod, RecreateJob, RunaiDelete, RunaiRestart, RunaiSuspend,
        };
        use SafetyClass::{Auto, Gated, Human, Quiet};
        use Severity::{Critical, High, Low, Medium};
        for (kind, class, severity, expected) in [
            (RecreateJob, Auto, Low, Says::Log),
            (RecreateJob, Auto, Medium, Says::Auto),
            (RunaiRestart, Auto, High, Says::Auto),
            (RunaiRestart, Auto, Critical, Says::Ask),
            (RecreateJob, Gated, Medium, Says::Ask),
            (RecreateJob, Human, High, Says::Log),
            (RecreateJob, Quiet, High, Says::Log),
            (RunaiDelete, Auto, Medium, Says::Ask),
            (RunaiSuspend, Auto, Medium, Says::Ask),
            (CordonNode, Auto, Medium, Says::Ask),
            (CordonNode, Gated, High, Says::Ask),
            (DeletePod, Auto, Medium, Says::Auto),
        ] {
            assert_eq!(
                says(&LIVE, case(kind, class, severity)),
                expected,
                "{kind} {class:?} {severity:?}"
            );
        }
    }

    #[test]
    fn with_the_defaults_nothing_runs_by_itself() {
        for kind in ActionKind::all() {
            for severity in [Severity::Medium, Severity::High, Severity::Critical] {
                let verdict = says(&Policy::default(), case(kind, SafetyClass::Auto, severity));
                assert_eq!(verdict, Says::Ask, "{kind} {severity:?}");
            }
        }
    }

    #[test]
    fn the_threshold_is_about_what_the_action_puts_at_stake() {
        let default_threshold = Policy {
            dry_run: false,
            ..Policy::default()
        };
        let medium = |kind| case(kind, SafetyClass::Auto, Severity::Medium);
        assert_eq!(
            says(&default_threshold, medium(ActionKind::DeletePod)),
            Says::Auto
        );
        assert_eq!(
            says(&default_threshold, medium(ActionKind::RecreateJob)),
            Says::Ask
        );
    }

    #[test]
    fn a_wide_radius_a_git_owner_and_require_approval_each_ask() {
        let base = case(ActionKind::DeletePod, SafetyClass::Auto, Severity::Medium);
        assert_eq!(says(&LIVE, base), Says::Auto);
        assert_eq!(says(&LIVE, Case { wide: true, ..base }), Says::Ask);
        assert_eq!(
            says(
                &LIVE,
                Case {
                    owned_elsewhere: true,
                    ..base
                }
            ),
            Says::Ask
        );
        let ends = Case {
            ends_instances: true,
            ..base
        };
        assert_eq!(says(&LIVE, ends), Says::Ask);
        let strict = Policy {
            require_approval: true,
            ..LIVE
        };
        assert_eq!(says(&strict, base), Says::Ask);
    }

    #[test]
    fn what_a_person_asks_for_is_asked_of_another_even_at_low_severity() {
        let mut low = case(ActionKind::DeletePod, SafetyClass::Auto, Severity::Low);
        low.by_person = true;
        assert_eq!(says(&LIVE, low), Says::Ask);
    }
}
