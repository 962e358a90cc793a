//! From what is seen of a job to what is wrong with it. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The kinds of failure that alerts are told apart by. Coarse on purpose: while a job's alert is open,
/// everything that follows from one failure (a crash, its back-off, the job's end) stays one alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// Waits for resources, quota, volumes or admission longer than is usual.
    Blocked,
    /// Cannot start: image, configuration, mount, sandbox.
    CannotStart,
    /// Ran and ended badly, or keeps restarting.
    Crashed,
    /// The platform took it: eviction, node loss.
    Disrupted,
    /// Runs, but probes fail or replicas are missing.
    Degraded,
    /// Will not go away, or is neither running nor ended.
    Stuck,
    /// A node, not a job, is unhealthy.
    Node,
    /// A source of observations is late or failing.
    Source,
}

/// One thing that is wrong (or expected), with what stated it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Symptom {
    pub class: FailureClass,
    /// The state's usual name: `CrashLoopBackOff`, `OOMKilled`, `Unschedulable`, `Evicted`, `Failed` …
    pub state: String,
    /// One line for people; text from outside, unescaped.
    pub detail: String,
    pub pod: Option<String>,
    pub container: Option<String>,
    pub node: Option<String>,
    pub image: Option<String>,
    pub since: Timestamp,
    /// True where the state only wraps another (Failed, BackoffLimitExceeded, Degraded): it joins any open alert.
    pub wrapper: bool,
    /// True for life-cycle events that are not failures (preempted, suspended, user stop): counted, not alerted.
    pub expected: bool,
}
