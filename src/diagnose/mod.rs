//! Why a job failed: evidence is collected (shell), analyzers turn it into ranked findings (pure).

mod analyze;
pub mod capacity;
pub mod collect;
pub mod course;
pub mod evaluate;
mod exporters;
mod facts;
mod finding;
mod hit;
pub mod knowledge;
mod logs;
pub mod measured;
mod pending;
mod remedy;
mod rules;
mod silent;
pub mod similar;
mod standing;
pub mod surroundings;

pub use analyze::analyze;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::measured::Measured;
use self::surroundings::Surroundings;
use crate::detect::Thresholds;
use crate::estate::progress::Progress;
use crate::estate::{Controller, Event, JobKey, Node, Pod, Workload};

/// Everything known about one job at one time. What could not be had is listed in `missing`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Evidence {
    pub job: JobKey,
    pub project: Option<String>,
    pub workload: Option<Workload>,
    pub controllers: Vec<Controller>,
    pub pods: Vec<Pod>,
    /// Its pods could not be read, so that none is known says nothing of whether there are any.
    #[serde(default)]
    pub pods_unread: bool,
    pub nodes: Vec<Node>,
    /// Events of the job, its pods, its claims, its pod group and its nodes, oldest first.
    pub events: Vec<Event>,
    pub logs: Vec<ContainerLog>,
    /// Phase changes and events told by Run:AI's history, oldest first.
    pub history: Vec<HistoryEntry>,
    /// Why the platform says it is pending, one sentence per node pool.
    pub pending_messages: Vec<String>,
    /// Other jobs that failed on the same nodes within the hour: (node, job name).
    pub neighbours: Vec<(String, String)>,
    /// How far it is, where that was followed while it ran.
    #[serde(default)]
    pub progress: Option<Progress>,
    /// How long a state may last, as detection has it.
    #[serde(default)]
    pub patience: Thresholds,
    /// What is free in its cluster and who holds the rest, for a job that waits.
    #[serde(default)]
    pub capacity: Option<capacity::Capacity>,
    /// What a tired person should know was not looked at, as sentences.
    pub missing: Vec<String>,
    pub collected: Timestamp,
    /// What exporters measured of its GPUs and memory around the failure.
    #[serde(default)]
    pub measured: Measured,
    #[serde(default)]
    pub surroundings: Surroundings,
}

/// The tail of one container's log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContainerLog {
    pub pod: String,
    pub container: String,
    /// True for the log of the previous (terminated) container.
    pub previous: bool,
    /// Raw lines, oldest first; each with its time where the API gave one. Invalid UTF-8 replaced.
    pub lines: Vec<LogLine>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogLine {
    pub at: Option<Timestamp>,
    pub text: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HistoryEntry {
    pub at: Timestamp,
    pub phase: Option<String>,
    pub message: String,
    /// Who did it, where stated (user, policy).
    pub actor: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Root,
    Cascade,
    Confirming,
    Expected,
}

/// How freely a remediation may run, from the failure taxonomy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SafetyClass {
    /// Safe with budget and cool-down.
    Auto,
    /// Needs approval.
    Gated,
    /// For a human; nothing is proposed.
    Human,
    /// Record, do not alert.
    Quiet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Also: blocked pending.
    Failing,
    Healthy,
    /// A life-cycle event or an explained wait with nothing to repair.
    Expected,
}

/// The contract's `troubleshoot --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    pub job: String,
    pub project: Option<String>,
    pub namespace: String,
    pub state: Verdict,
    /// Ranked, best first.
    pub findings: Vec<Finding>,
    pub first_failure: Option<FirstFailure>,
    pub missing_evidence: Vec<String>,
    /// For cards and pictures; not part of the contract's JSON, see [`Diagnosis::json`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub course: Option<course::Course>,
}

impl Diagnosis {
    /// The contract's JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let mut json = serde_json::to_value(self).unwrap_or_default();
        if let Some(object) = json.as_object_mut() {
            object.remove("course");
        }
        json
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// An id of the failure taxonomy, or `unknown`.
    pub cause: String,
    pub role: Role,
    /// 0..=1.
    pub confidence: f64,
    pub title: String,
    pub explanation: String,
    pub evidence: Vec<EvidenceLine>,
    pub recommendation: String,
    pub remediation: Option<Remediation>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvidenceLine {
    /// `log`, `previous_log`, `event`, `status`, `node`, `runai`.
    pub source: String,
    pub pod: Option<String>,
    pub container: Option<String>,
    /// As it stood; ANSI removed, secrets redacted, at most 500 characters.
    pub line: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Remediation {
    /// Name of an [`crate::action::ActionKind`].
    pub action: String,
    pub parameters: serde_json::Map<String, serde_json::Value>,
    pub safety: SafetyClass,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstFailure {
    pub pod: String,
    /// Global rank.
    pub rank: Option<u32>,
    pub node: Option<String>,
}

#[cfg(test)]
mod tests;
