//! What nightbell can do to the world, one file per system acted on.
//!
//! [`catalogue()`] lists it; [`executor`] takes a permit from [`crate::safety`], and [`systems`] prepares, calls and
//! observes.

mod catalogue;
pub mod executor;
mod kubernetes;
pub mod parameters;
pub mod plan;
mod recreate;
pub mod request;
mod runai;
pub mod systems;
mod target;
mod watch_target;

use serde::{Deserialize, Serialize};

pub use catalogue::{ActionKind, Entry, System, Takes, catalogue};
pub use executor::{Executor, Report, Settings};
pub use kubernetes::{Diagnostics, Owner, managed_by};
pub use parameters::Parameters;
pub use plan::Plan;
pub use request::{ActionRequest, Unresolved};
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

/// The action that takes an execution back: its kind and parameters as they were noted before the call where they depend on
/// what was there, else the inverse of its kind on the same target. `None` where there is none.
#[must_use]
pub fn inverse(spec: &ActionSpec, memory: Option<&serde_json::Value>) -> Option<ActionSpec> {
    #[derive(Deserialize)]
    struct Noted {
        kind: ActionKind,
        #[serde(default)]
        parameters: Parameters,
    }
    let noted = memory
        .and_then(|memory| memory.get("inverse"))
        .and_then(|noted| Noted::deserialize(noted).ok());
    let plain = || {
        let kind = spec.kind.entry().inverse?;
        // What needs parameters cannot be taken back without having noted them.
        kind.entry().parameters.is_empty().then(|| Noted {
            kind,
            parameters: Parameters::default(),
        })
    };
    let noted = noted.or_else(plain)?;
    Some(ActionSpec {
        kind: noted.kind,
        target: spec.target.clone(),
        parameters: noted.parameters,
        avoid_node: None,
    })
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
    /// In any other system: a container, a table, a DAG, or something configured under a name.
    Named {
        of: System,
        /// The configured name, or the object's name in that system.
        name: String,
        /// The precondition where the system has one, such as a container's id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uid: Option<String>,
    },
}
