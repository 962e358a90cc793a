//! Sources of observations. Each source runs as a supervised task, beats a heartbeat, and sends what it saw.

pub mod control;
pub mod deadman;
pub mod gpus;
pub mod kubernetes;
pub mod metrics;
pub mod pipeline;
pub mod progress;
pub mod report;
pub mod runai;
pub mod sources;

use jiff::Timestamp;

use crate::estate::progress::Progress;
use crate::estate::{Controller, Event, JobKey, Node, Pod, Workload};

/// What a source saw. Sources only report; the pipeline decides what it means.
#[derive(Clone, Debug)]
pub enum Observation {
    Workload(Box<Workload>),
    /// A workload left the default list (deleted); not a recovery.
    WorkloadGone {
        id: String,
    },
    /// A workload is no longer looked at, because only failing ones are and it is none any more. What was told of it
    /// last holds; it is neither gone nor to be remembered.
    WorkloadLetGo {
        id: String,
    },
    Pod(Box<Pod>),
    PodGone {
        cluster: String,
        namespace: String,
        name: String,
        uid: String,
    },
    Controller(Box<Controller>),
    ControllerGone {
        cluster: String,
        namespace: String,
        name: String,
        kind: String,
        uid: String,
    },
    Node(Box<Node>),
    NodeGone {
        cluster: String,
        name: String,
    },
    Event(Box<Event>),
    /// How far a job is, by its logs and the metrics of its GPUs.
    Progress {
        job: JobKey,
        progress: Box<Progress>,
    },
    /// A list began: what is not seen again before `ListDone` is gone. `scope` names the list, e.g. `pods@prod`.
    ListStarted {
        scope: String,
    },
    ListDone {
        scope: String,
    },
    /// The source reached its counterpart (or did not).
    Beat(Beat),
}

/// One heartbeat of a source.
#[derive(Clone, Debug)]
pub struct Beat {
    /// Stable name: `runai`, `kubernetes/<context>`.
    pub source: String,
    pub at: Timestamp,
    /// `None` after success; else what failed, fit for people (no secrets).
    pub error: Option<String>,
    /// How many objects the source currently holds.
    pub objects: u64,
    /// Age of the newest datum when it was processed, in milliseconds.
    pub lag_ms: Option<u64>,
}
