//! What nightbell can do to the world, one file per system acted on.
//!
//! [`catalogue()`] lists it; [`executor`] takes a permit from [`crate::safety`], and [`systems`] prepares, calls and
//! observes.

mod catalogue;
pub mod executor;
mod kubernetes;
pub mod parameters;
mod recreate;
mod runai;
pub mod systems;
mod target;
mod watch_target;

use serde::{Deserialize, Serialize};

pub use catalogue::{ActionKind, Entry, System, catalogue};
pub use executor::{Executor, Report, Settings};
pub use parameters::Parameters;
pub use systems::Systems;
pub use target::InvalidAction;

/// One action with its target, as proposed, approved (by digest), executed and audited.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ActionSpec {
    pub kind: ActionKind,
    pub target: Target,
    /// As the catalogue describes them for the kind.
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub parameters: Parameters,
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
