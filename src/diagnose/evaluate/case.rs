//! The cases as they are written: only what matters of each object, in the words of the APIs.
//!
//! `tests/diagnosis/README.md` documents the format for those who write cases.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use crate::diagnose::measured::Measured;
use crate::diagnose::surroundings::Surroundings;
use crate::diagnose::{SafetyClass, Verdict};

/// One file: the cases of one topic.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CaseFile {
    pub(super) topic: String,
    pub(super) cases: Vec<Case>,
}

/// One job at one moment, and what an expert says of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) id: String,
    /// Why the expectation is right, in one sentence.
    pub(super) why: String,
    /// True where the obvious answer is wrong.
    #[serde(default)]
    pub(super) trap: bool,
    /// The time of looking.
    #[serde(default)]
    pub(super) now: Option<When>,
    #[serde(default = "job")]
    pub(super) job: String,
    /// Kind of the controller; `Pod` for none.
    #[serde(default = "kind")]
    pub(super) kind: String,
    #[serde(default = "namespace")]
    pub(super) namespace: String,
    /// Merged over the controller that the rest implies.
    #[serde(default)]
    pub(super) controller: Option<Value>,
    /// Ranks that `pods` does not state are like `each`.
    #[serde(default)]
    pub(super) gang: Option<Gang>,
    #[serde(default)]
    pub(super) pods: Vec<PodSpec>,
    /// Nodes that differ from a healthy one with eight GPUs.
    #[serde(default)]
    pub(super) nodes: Vec<NodeSpec>,
    #[serde(default)]
    pub(super) events: Vec<EventSpec>,
    #[serde(default)]
    pub(super) logs: Vec<LogSpec>,
    #[serde(default)]
    pub(super) runai: Option<RunaiSpec>,
    /// What Prometheus told, as it is read.
    #[serde(default)]
    pub(super) measured: Measured,
    /// Volumes, quotas and changes, as they are read.
    #[serde(default)]
    pub(super) surroundings: Surroundings,
    pub(super) expect: Expect,
}

fn job() -> String {
    "train".to_owned()
}

fn kind() -> String {
    "Job".to_owned()
}

fn namespace() -> String {
    "runai-nlp".to_owned()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gang {
    pub(super) size: u32,
    #[serde(default)]
    pub(super) each: PodSpec,
}

/// A pod with its main container; without a state it is running.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PodSpec {
    pub(super) name: Option<String>,
    pub(super) rank: Option<u32>,
    /// `none` for a pod that is not scheduled.
    pub(super) node: Option<String>,
    pub(super) gpus: Option<u32>,
    pub(super) created: Option<When>,
    pub(super) deleting: Option<When>,
    pub(super) phase: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) conditions: Vec<Value>,
    /// Name of the main container.
    pub(super) container: Option<String>,
    pub(super) exit: Option<Ending>,
    pub(super) waiting: Option<Waiting>,
    pub(super) running: Option<When>,
    pub(super) last: Option<Ending>,
    pub(super) restarts: u32,
    pub(super) image: Option<String>,
    /// Side-cars and init containers.
    pub(super) beside: Vec<ContainerSpec>,
    pub(super) claims: Vec<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    /// Name of the Job it belongs to, for a neighbour of the job asked about.
    pub(super) job: Option<String>,
    /// Merged over the whole pod.
    pub(super) raw: Option<Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ContainerSpec {
    pub(super) name: String,
    #[serde(default)]
    pub(super) init: bool,
    #[serde(default)]
    pub(super) image: Option<String>,
    #[serde(default)]
    pub(super) exit: Option<Ending>,
    #[serde(default)]
    pub(super) waiting: Option<Waiting>,
    #[serde(default)]
    pub(super) last: Option<Ending>,
    #[serde(default)]
    pub(super) restarts: u32,
    /// Not reported on yet: it comes after one that has not ended.
    #[serde(default)]
    pub(super) unstarted: bool,
}

/// `state.terminated`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ending {
    pub(super) code: i32,
    #[serde(default)]
    pub(super) reason: Option<String>,
    #[serde(default)]
    pub(super) message: Option<String>,
    #[serde(default)]
    pub(super) signal: Option<i32>,
    #[serde(default)]
    pub(super) started: Option<When>,
    #[serde(default)]
    pub(super) at: Option<When>,
}

/// `state.waiting`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Waiting {
    pub(super) reason: String,
    #[serde(default)]
    pub(super) message: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodeSpec {
    pub(super) name: String,
    #[serde(default)]
    pub(super) gpus: Option<u32>,
    #[serde(default)]
    pub(super) allocatable: Option<u32>,
    #[serde(default)]
    pub(super) unschedulable: bool,
    #[serde(default)]
    pub(super) taints: Vec<Value>,
    /// They replace those of the same type.
    #[serde(default)]
    pub(super) conditions: Vec<Value>,
    #[serde(default)]
    pub(super) raw: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventSpec {
    /// `pod/NAME`, `rank/N`, `node/NAME`, `KIND/NAME`, or `job`; the first pod where nothing is said.
    #[serde(default)]
    pub(super) of: Option<String>,
    pub(super) reason: String,
    pub(super) message: String,
    #[serde(default = "warning", rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) at: Option<When>,
    #[serde(default)]
    pub(super) count: Option<u32>,
    #[serde(default)]
    pub(super) from: Option<String>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
}

fn warning() -> String {
    "Warning".to_owned()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogSpec {
    #[serde(default)]
    pub(super) pod: Option<String>,
    #[serde(default)]
    pub(super) rank: Option<u32>,
    /// All pods of the gang that have no log of their own; `{rank}` in the text is theirs.
    #[serde(default)]
    pub(super) others: bool,
    #[serde(default)]
    pub(super) container: Option<String>,
    #[serde(default)]
    pub(super) previous: bool,
    /// Time of the last line; that of the container's end, or of looking, where nothing is said.
    #[serde(default)]
    pub(super) until: Option<When>,
    /// Seconds between two lines.
    #[serde(default = "every")]
    pub(super) every: f64,
    /// Lines without times, as from a log that another tool cut out.
    #[serde(default)]
    pub(super) bare: bool,
    /// Lines that begin with a time of their own (RFC 3339) keep it; `%% NAME N` stands for N lines of filler.
    pub(super) text: String,
}

fn every() -> f64 {
    0.05
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunaiSpec {
    /// Merged over a running workload.
    #[serde(default)]
    pub(super) workload: Value,
    /// `pendingSchedulingMessages`.
    #[serde(default)]
    pub(super) pending: Vec<Value>,
    #[serde(default)]
    pub(super) events: Vec<RunaiRecord>,
    #[serde(default)]
    pub(super) history: Vec<RunaiRecord>,
}

/// An event or a change of phase.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunaiRecord {
    pub(super) at: When,
    #[serde(default)]
    pub(super) phase: Option<String>,
    #[serde(default, rename = "type")]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) reason: Option<String>,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    pub(super) object: Option<Value>,
}

/// What a diagnosis must say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    #[serde(default = "failing")]
    pub(super) state: Verdict,
    /// A state that the contract allows as well.
    #[serde(default)]
    pub(super) or_state: Option<Verdict>,
    /// The first finding's; `none` where no root may be named.
    pub(super) cause: String,
    /// Causes that the taxonomy allows as well.
    #[serde(default)]
    pub(super) accept: Vec<String>,
    /// Causes that must not be called the root.
    #[serde(default)]
    pub(super) never: Vec<String>,
    #[serde(default)]
    pub(super) first: Option<First>,
    /// Safety class of the first finding's remediation.
    #[serde(default)]
    pub(super) safety: Option<SafetyClass>,
    /// True where nothing may be proposed.
    #[serde(default)]
    pub(super) no_remedy: bool,
}

fn failing() -> Verdict {
    Verdict::Failing
}

/// What of the first failure is checked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct First {
    #[serde(default)]
    pub(super) pod: Option<String>,
    #[serde(default)]
    pub(super) rank: Option<u32>,
    #[serde(default)]
    pub(super) node: Option<String>,
}

/// A time: `10:42:07` on the day of the cases, `-5m` before the time of looking, or RFC 3339.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct When(String);

/// The day on which cases take place, and the time of looking where a case states none.
const DAY: &str = "2026-03-12";
const LOOKING: &str = "2026-03-12T12:00:00Z";

impl When {
    /// `None` for text that is no time.
    pub(super) fn resolve(&self, now: Timestamp) -> Option<Timestamp> {
        let text = self.0.trim();
        if let Some(ago) = text.strip_prefix('-') {
            let span: SignedDuration = ago.parse().ok()?;
            return now.checked_sub(span).ok();
        }
        text.parse()
            .ok()
            .or_else(|| format!("{DAY}T{text}Z").parse().ok())
    }
}

/// The time of looking of a case.
pub(super) fn looking(case: &Case) -> Option<Timestamp> {
    let noon: Timestamp = LOOKING.parse().ok()?;
    case.now
        .as_ref()
        .map_or(Some(noon), |when| when.resolve(noon))
}
