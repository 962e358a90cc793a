//! The vocabulary of what is watched: jobs, pods, nodes, Run:AI workloads, Kubernetes controllers and events.
//!
//! Pure: no I/O and no clock. Only the fields that detection and diagnosis need are kept, so that an estate of
//! 100,000 pods fits in memory.

mod find;
pub mod identity;
pub mod index;
mod job;
mod name;
pub mod progress;
mod sidecar;

use std::sync::{Arc, RwLock};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use name::Name;

/// The estate as the pipeline writes and everyone else reads it. The lock is never held across an await.
pub type SharedEstate = Arc<RwLock<index::Estate>>;

/// Where a job lives in the in-memory estate: one per workload name, whatever sources report it.
///
/// `cluster` is the kube context name; Run:AI cluster ids are mapped to it (see `estate::join`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobKey {
    pub cluster: String,
    pub namespace: String,
    /// The workload's name. Of several live Run:AI workloads of one name the newest has it plain; an older one's is
    /// followed by `:` and the beginning of its id, which no name of Run:AI or Kubernetes can hold.
    pub name: String,
}

/// What stands between a workload's name and the beginning of its id.
const BESIDE: char = ':';
/// Bytes of an id that usually tell workloads of one name apart; ids are ASCII.
const ID_SHOWN: usize = 8;

impl JobKey {
    /// The name that the sources know.
    #[must_use]
    pub fn plain_name(&self) -> &str {
        self.name
            .split_once(BESIDE)
            .map_or(&self.name, |(name, _)| name)
    }

    /// The beginning of the Run:AI id, where the name alone would mean another workload.
    #[must_use]
    pub fn beginning_of_id(&self) -> Option<&str> {
        self.name.split_once(BESIDE).map(|(_, id)| id)
    }

    /// The key of the Run:AI workload of this name whose id begins so, where another one has the plain name.
    #[must_use]
    pub fn beside(&self, beginning_of_id: &str) -> Self {
        Self {
            name: format!("{}{BESIDE}{beginning_of_id}", self.plain_name()),
            ..self.clone()
        }
    }

    /// True where only the id tells the two apart.
    #[must_use]
    pub fn shares_its_name_with(&self, other: &Self) -> bool {
        self.cluster == other.cluster
            && self.namespace == other.namespace
            && self.plain_name() == other.plain_name()
    }
}

/// One name under which a job's present run is known to a source. A re-run has other strong aliases.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "source", content = "id", rename_all = "snake_case")]
pub enum JobAlias {
    /// Run:AI workload id (uuid).
    Runai(String),
    /// `uid` of the top-level Kubernetes owner (Job, PyTorchJob, Deployment …), or of a bare pod.
    Kubernetes(String),
}

/// The fourteen phases of the Run:AI API; an unknown phase is kept as text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Phase {
    Creating,
    Initializing,
    Resuming,
    Pending,
    Deleting,
    Running,
    Updating,
    Stopped,
    Stopping,
    Degraded,
    Failed,
    Completed,
    Terminating,
    Unknown,
    Other(String),
}

impl From<String> for Phase {
    fn from(phase: String) -> Self {
        match phase.as_str() {
            "Creating" => Self::Creating,
            "Initializing" => Self::Initializing,
            "Resuming" => Self::Resuming,
            "Pending" => Self::Pending,
            "Deleting" => Self::Deleting,
            "Running" => Self::Running,
            "Updating" => Self::Updating,
            "Stopped" => Self::Stopped,
            "Stopping" => Self::Stopping,
            "Degraded" => Self::Degraded,
            "Failed" => Self::Failed,
            "Completed" => Self::Completed,
            "Terminating" => Self::Terminating,
            "Unknown" => Self::Unknown,
            _ => Self::Other(phase),
        }
    }
}

impl From<Phase> for String {
    fn from(phase: Phase) -> Self {
        phase.as_str().to_owned()
    }
}

impl Phase {
    /// The phase as the API spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Creating => "Creating",
            Self::Initializing => "Initializing",
            Self::Resuming => "Resuming",
            Self::Pending => "Pending",
            Self::Deleting => "Deleting",
            Self::Running => "Running",
            Self::Updating => "Updating",
            Self::Stopped => "Stopped",
            Self::Stopping => "Stopping",
            Self::Degraded => "Degraded",
            Self::Failed => "Failed",
            Self::Completed => "Completed",
            Self::Terminating => "Terminating",
            Self::Unknown => "Unknown",
            Self::Other(other) => other,
        }
    }
}

/// A workload as Run:AI reports it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    pub id: String,
    pub name: String,
    /// Kind as Run:AI spells it: `Training`, `Workspace`, `Distributed`, `Inference`, or a Kubernetes kind.
    pub kind: Name,
    pub project: Name,
    pub namespace: Name,
    /// Run:AI's cluster id (uuid), not a kube context.
    pub cluster_id: Name,
    pub phase: Phase,
    pub phase_message: Option<String>,
    /// `NonPreemptibleOverQuota` or `OverLimit` where the scheduler states one.
    pub phase_reason: Option<Name>,
    pub submitted_by: Option<Name>,
    pub created: Timestamp,
    pub phase_updated: Option<Timestamp>,
    pub completed: Option<Timestamp>,
    /// GPUs, may be fractional.
    pub requested_gpus: Option<f64>,
    pub allocated_gpus: Option<f64>,
    pub idle_allocated_gpus: Option<f64>,
    pub requested_pods: Option<u32>,
    pub running_pods: u32,
    pub preemptible: Option<bool>,
    pub priority_class: Option<Name>,
    pub images: Vec<Name>,
    pub node_pools: Vec<Name>,
    pub conditions: Vec<Condition>,
    pub can_suspend: bool,
    pub can_delete: bool,
    /// Cumulative since submission, in seconds.
    pub running_seconds: Option<u64>,
    pub pending_seconds: Option<u64>,
}

/// A status condition of a pod, controller, node or workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    pub kind: Name,
    /// `True`, `False` or `Unknown`, as stated.
    pub status: Name,
    pub reason: Option<Name>,
    pub message: Option<Name>,
    pub since: Option<Timestamp>,
}

/// What a pod or event belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    pub kind: Name,
    pub name: String,
    pub uid: Option<String>,
}

/// A container state that Kubernetes reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ContainerState {
    Waiting {
        reason: Option<Name>,
        message: Option<String>,
    },
    Running {
        started: Option<Timestamp>,
    },
    Terminated(Box<Termination>),
    /// No state was reported.
    Unknown,
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Termination {
    pub exit_code: i32,
    pub signal: Option<i32>,
    pub reason: Option<Name>,
    pub message: Option<String>,
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    pub name: Name,
    pub image: Name,
    /// Init container (a restartable one, that is a side-car, included).
    pub init: bool,
    pub ready: bool,
    pub restarts: u32,
    pub state: ContainerState,
    pub last: Option<Box<Termination>>,
}

/// A pod, reduced to what matters for detection and diagnosis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pod {
    pub cluster: Name,
    pub namespace: Name,
    pub name: String,
    pub uid: String,
    pub created: Timestamp,
    /// `deletionTimestamp`: set while the pod is terminating.
    pub deleting: Option<Timestamp>,
    pub node: Option<String>,
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`, as stated.
    pub phase: Name,
    pub reason: Option<Name>,
    pub message: Option<String>,
    pub conditions: Vec<Condition>,
    pub containers: Vec<Container>,
    /// The controlling owner, as written on the pod.
    pub owner: Option<ObjectRef>,
    /// The workload name that labels or the owner give (see `estate::identity`); the pod's own name if neither does.
    pub workload: Name,
    /// Run:AI workload id, where a label states it.
    pub runai_id: Option<String>,
    /// Run:AI project or queue, where a label states it.
    pub project: Option<String>,
    /// Whole GPUs from limits; fractions from annotations.
    pub gpus: f64,
    pub scheduler: Option<Name>,
    /// PVC names mounted.
    pub claims: Vec<String>,
    /// Rank from well-known labels or the pod name, if any.
    pub rank: Option<u32>,
    pub restart_policy: Option<Name>,
}

/// A Job, training-operator job, Deployment or StatefulSet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Controller {
    pub cluster: Name,
    pub namespace: Name,
    pub name: String,
    pub kind: Name,
    pub uid: String,
    pub created: Timestamp,
    pub deleting: Option<Timestamp>,
    pub owner: Option<ObjectRef>,
    pub workload: Name,
    pub runai_id: Option<String>,
    pub project: Option<String>,
    pub suspended: bool,
    pub conditions: Vec<Condition>,
    /// Desired replicas (Deployment, StatefulSet) or parallelism (Job).
    pub desired: u32,
    pub active: u32,
    pub failed: u32,
    pub succeeded: u32,
    pub ready: u32,
    pub backoff_limit: Option<u32>,
    /// Argo CD or Flux owns it: a manual change would be reverted.
    pub gitops: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    pub cluster: String,
    pub name: String,
    pub uid: String,
    pub created: Timestamp,
    pub unschedulable: bool,
    /// `key=value:Effect`.
    pub taints: Vec<String>,
    pub conditions: Vec<Condition>,
    pub allocatable_gpus: f64,
    pub capacity_gpus: f64,
    pub gpu_type: Option<String>,
    pub node_pool: Option<String>,
    /// The label `topology.kubernetes.io/region`.
    #[serde(default)]
    pub region: Option<String>,
}

/// A Kubernetes or Run:AI event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub cluster: Name,
    pub namespace: Name,
    pub uid: String,
    /// `Normal` or `Warning`.
    pub kind: Name,
    pub reason: Name,
    pub message: String,
    pub object: ObjectRef,
    pub source: Option<Name>,
    pub count: u32,
    pub first: Option<Timestamp>,
    /// `lastTimestamp ?? series.lastObservedTime ?? eventTime ?? creationTimestamp`.
    pub last: Timestamp,
    pub annotations: Vec<(String, String)>,
}
