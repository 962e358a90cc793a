//! What nightbell can do to the world, as one table: names, targets, parameters, and what each kind puts at stake.
//!
//! The gate, the policy, the runbooks, the command line and the documentation all read this table, so that an action is
//! described once. A new action is one variant, one row, and its call in the file of its system.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::parameters::Parameter;
use crate::alert::Severity;

/// The actions of the catalogue. The serialized name is the one in contracts, runbooks and audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// Delete one pod so that its controller makes another.
    DeletePod,
    /// Rolling restart of a Deployment, StatefulSet or DaemonSet.
    RolloutRestart,
    /// `spec.suspend = true` on a Job.
    SuspendJob,
    ResumeJob,
    /// Delete a Job and create it again from its spec: a whole-job restart.
    RecreateJob,
    RunaiSuspend,
    RunaiResume,
    RunaiDelete,
    /// Suspend, wait for `Stopped`, resume: a whole-job restart.
    RunaiRestart,
    CordonNode,
    UncordonNode,
}

/// The system whose objects an action changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum System {
    Kubernetes,
    Runai,
}

/// One row of the catalogue.
#[derive(Debug)]
pub struct Entry {
    pub kind: ActionKind,
    /// The name in contracts, runbooks and audit.
    pub name: &'static str,
    /// What it does, as a verb phrase before the target's name.
    pub verb: &'static str,
    pub system: System,
    /// Kinds of object it acts on; empty where the system has but one.
    pub objects: &'static [&'static str],
    pub parameters: &'static [Parameter],
    /// What it puts at stake by itself, for `REQUIRE_APPROVAL_THRESHOLD`.
    pub risk: Severity,
    /// Why a person decides on it whatever else is set, if so.
    pub asks: Option<&'static str>,
    /// Whether it starts a service or a part of it again: what the restart limit counts.
    pub restarts: bool,
    /// Whether it takes a whole workload, service or node, so that its effect should be seen before the next one.
    pub major: bool,
    /// The action that takes it back, where there is one.
    pub inverse: Option<ActionKind>,
}

impl Entry {
    /// What most rows share; a row states what differs.
    const fn of(kind: ActionKind, name: &'static str, verb: &'static str, system: System) -> Self {
        Self {
            kind,
            name,
            verb,
            system,
            objects: &[],
            parameters: &[],
            risk: Severity::Medium,
            asks: None,
            restarts: false,
            major: false,
            inverse: None,
        }
    }
}

const SUSPENDING: &str = "suspending ends every pod of the workload";
const SHARED_NODE: &str = "a node serves more than this job";

static CATALOGUE: [Entry; 11] = {
    use ActionKind as A;
    use System::{Kubernetes, Runai};
    [
        Entry {
            objects: &["Pod"],
            // The controller makes another at once.
            risk: Severity::Low,
            restarts: true,
            ..Entry::of(A::DeletePod, "delete_pod", "delete pod", Kubernetes)
        },
        Entry {
            objects: &["Deployment", "StatefulSet", "DaemonSet"],
            // Pods are replaced one by one behind their probes.
            risk: Severity::Low,
            restarts: true,
            major: true,
            ..Entry::of(
                A::RolloutRestart,
                "rollout_restart",
                "restart the rollout of",
                Kubernetes,
            )
        },
        Entry {
            objects: &["Job"],
            risk: Severity::High,
            asks: Some(SUSPENDING),
            major: true,
            inverse: Some(A::ResumeJob),
            ..Entry::of(A::SuspendJob, "suspend_job", "suspend", Kubernetes)
        },
        Entry {
            objects: &["Job"],
            inverse: Some(A::SuspendJob),
            ..Entry::of(A::ResumeJob, "resume_job", "resume", Kubernetes)
        },
        Entry {
            objects: &["Job"],
            restarts: true,
            major: true,
            ..Entry::of(
                A::RecreateJob,
                "recreate_job",
                "delete and re-create",
                Kubernetes,
            )
        },
        Entry {
            risk: Severity::High,
            asks: Some(SUSPENDING),
            major: true,
            inverse: Some(A::RunaiResume),
            ..Entry::of(A::RunaiSuspend, "runai_suspend", "suspend", Runai)
        },
        Entry {
            inverse: Some(A::RunaiSuspend),
            ..Entry::of(A::RunaiResume, "runai_resume", "resume", Runai)
        },
        Entry {
            risk: Severity::Critical,
            asks: Some("deleting a workload cannot be undone"),
            major: true,
            ..Entry::of(A::RunaiDelete, "runai_delete", "delete", Runai)
        },
        Entry {
            restarts: true,
            major: true,
            ..Entry::of(
                A::RunaiRestart,
                "runai_restart",
                "suspend and resume",
                Runai,
            )
        },
        Entry {
            objects: &["Node"],
            risk: Severity::High,
            asks: Some(SHARED_NODE),
            major: true,
            inverse: Some(A::UncordonNode),
            ..Entry::of(A::CordonNode, "cordon_node", "cordon", Kubernetes)
        },
        Entry {
            objects: &["Node"],
            asks: Some(SHARED_NODE),
            inverse: Some(A::CordonNode),
            ..Entry::of(A::UncordonNode, "uncordon_node", "uncordon", Kubernetes)
        },
    ]
};

/// All rows, in the order in which they are shown.
#[must_use]
pub fn catalogue() -> &'static [Entry] {
    &CATALOGUE
}

impl ActionKind {
    /// Its row of the catalogue.
    ///
    /// # Panics
    /// Never: a test holds that every kind has a row.
    #[must_use]
    pub fn entry(self) -> &'static Entry {
        CATALOGUE
            .iter()
            .find(|entry| entry.kind == self)
            .expect("every kind has a row")
    }

    /// All kinds, in the order of the catalogue.
    pub fn all() -> impl Iterator<Item = Self> {
        CATALOGUE.iter().map(|entry| entry.kind)
    }

    /// The kind with this name, if it is one.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|kind| kind.as_str() == name)
    }

    /// The name in contracts, runbooks and audit.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.entry().name
    }

    /// What it does, as a verb phrase before the target's name.
    #[must_use]
    pub fn verb(self) -> &'static str {
        self.entry().verb
    }

    /// Whether it starts a service or a part of it again: what the restart limit counts.
    #[must_use]
    pub fn is_restart(self) -> bool {
        self.entry().restarts
    }

    /// Whether it takes a whole workload, service or node, so that its effect should be seen before the next one.
    #[must_use]
    pub fn is_major(self) -> bool {
        self.entry().major
    }

    pub(crate) fn is_runai(self) -> bool {
        self.entry().system == System::Runai
    }
}

impl fmt::Display for ActionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kubernetes => "Kubernetes",
            Self::Runai => "Run:AI",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_one_row_under_its_serialized_name() {
        for kind in ActionKind::all() {
            assert_eq!(kind.entry().kind, kind);
            assert_eq!(
                serde_json::to_value(kind).unwrap(),
                serde_json::json!(kind.as_str())
            );
            assert_eq!(ActionKind::named(kind.as_str()), Some(kind));
            let rows = catalogue().iter().filter(|entry| entry.kind == kind);
            assert_eq!(rows.count(), 1, "{kind}");
        }
        assert_eq!(ActionKind::named("drop_table"), None);
    }

    #[test]
    fn the_last_kind_of_the_list_has_a_row_too() {
        // A variant without a row would make `entry` panic; `serde` knows all variants and names them in its error.
        let error = serde_json::from_str::<ActionKind>("\"no such action\"").unwrap_err();
        let variants = error.to_string().matches('`').count() / 2 - 1;
        assert_eq!(variants, catalogue().len());
    }

    #[test]
    fn an_inverse_acts_on_the_same_things() {
        for entry in catalogue() {
            if let Some(inverse) = entry.inverse {
                assert_eq!(inverse.entry().system, entry.system, "{}", entry.name);
                assert_eq!(inverse.entry().objects, entry.objects, "{}", entry.name);
            }
        }
    }
}
