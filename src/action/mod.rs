//! What nightbell can do to the world, one file per system acted on.
//!
//! The catalogue is here; [`executor`] takes a permit from [`crate::safety`], and [`systems`] prepares, calls and
//! observes.

pub mod executor;
mod kubernetes;
mod recreate;
mod runai;
pub mod systems;
mod target;
mod watch_target;

use serde::{Deserialize, Serialize};

pub use executor::{Executor, Report, Settings};
pub use systems::Systems;
pub use target::InvalidAction;

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

/// One action with its target, as proposed, approved (by digest), executed and audited.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ActionSpec {
    pub kind: ActionKind,
    pub target: Target,
    /// Node to keep off, for restarts after a node's fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avoid_node: Option<String>,
}

/// What an action acts on. `uid` is the precondition: a reborn object is not hit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "system", rename_all = "snake_case")]
pub enum Target {
    Kubernetes {
        cluster: String,
        namespace: String,
        kind: String,
        name: String,
        uid: Option<String>,
    },
    Runai {
        workload_id: String,
        name: String,
        project: String,
        kind: String,
    },
}
