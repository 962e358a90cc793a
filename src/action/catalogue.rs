//! What nightbell can do to the world, as one table: names, targets, parameters, and what each kind puts at stake.
//!
//! The gate, the policy, the runbooks, the command line and the documentation all read this table, so that an action is
//! described once. A new action is one variant, one row, and its call in the file of its system.

mod kubernetes;
mod runai;

use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::parameters::{Parameter, Shape};
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
    /// No new pods on a node, and those on it evicted one by one.
    DrainNode,
    /// Another number of replicas of a Deployment or StatefulSet.
    Scale,
    /// Back to the template of an earlier revision.
    RolloutUndo,
    SetImage,
    /// Memory and CPU of a container: limits and requests.
    PatchResources,
    /// Delays and thresholds of a container's probe.
    PatchProbes,
    DeleteJob,
    /// A pod that no Service sends traffic to, though it runs on.
    TakeOutOfTraffic,
    PutIntoTraffic,
    /// One of the allowed commands in a container, its output kept as evidence.
    RunDiagnostic,
}

/// The system whose objects an action changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum System {
    Kubernetes,
    Runai,
    /// Containers of a Docker engine.
    Docker,
    /// Sessions and tables of a PostgreSQL that is not nightbell's own.
    Postgres,
    Redis,
    Memcached,
    /// Folders that hold caches, by their configured names.
    Files,
    Airflow,
    /// HTTP calls, by their configured names.
    Http,
    /// Commands on nightbell's own machine, by their configured names.
    Command,
}

/// What an action takes out of service while it is carried out: what the blast radius is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing: it adds, lets go on, or keeps only what is new away.
    Nothing,
    /// One of a service's instances: a pod, a container.
    Instance,
    /// One of a pool's nodes.
    Node,
    /// The workload or service as a whole. Whether that takes healthy instances is for the policy to judge.
    Whole,
    /// As many instances as [`crate::safety::Scope::touched`] says: it depends on the parameters and on what runs.
    Counted,
}

/// One row of the catalogue.
#[derive(Clone, Copy, Debug)]
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
    pub takes: Takes,
    /// Whether it changes what a repository describes, so that Argo CD or Flux would change it back.
    pub rewrites: bool,
    /// The action that takes it back, where there is one.
    pub inverse: Option<ActionKind>,
}

/// A parameter that may be left out.
const fn optional(name: &'static str, shape: Shape, about: &'static str) -> Parameter {
    Parameter {
        name,
        shape,
        required: false,
        about,
    }
}

const fn required(name: &'static str, shape: Shape, about: &'static str) -> Parameter {
    Parameter {
        name,
        shape,
        required: true,
        about,
    }
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
            takes: Takes::Whole,
            rewrites: false,
            inverse: None,
        }
    }
}

static CATALOGUE: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let mut all = Vec::from(kubernetes::ROWS);
    all.extend(runai::ROWS);
    all
});

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

    /// Whether it acts on a kind of Kubernetes object.
    #[must_use]
    pub fn acts_on(self, object: &str) -> bool {
        self.entry().objects.contains(&object)
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

impl System {
    /// The name in lock keys and in the serialized form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Runai => "runai",
            Self::Docker => "docker",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Memcached => "memcached",
            Self::Files => "files",
            Self::Airflow => "airflow",
            Self::Http => "http",
            Self::Command => "command",
        }
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kubernetes => "Kubernetes",
            Self::Runai => "Run:AI",
            Self::Docker => "Docker",
            Self::Postgres => "PostgreSQL",
            Self::Redis => "Redis",
            Self::Memcached => "memcached",
            Self::Files => "files",
            Self::Airflow => "Airflow",
            Self::Http => "HTTP",
            Self::Command => "command",
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
