//! One alert per job and failure: identity, dedup, grouping, severity, life-cycle. Pure but for [`service`].
//!
//! A [`report::JobReport`] says what is wrong with one job now. [`placement`] finds the alert that tells it already,
//! [`lifecycle`] moves that alert on, [`grouping`] decides whose message tells it, and [`service`] saves the new state
//! together with the effects it wants.

mod changes;
mod diagnosed;
pub mod effects;
mod ending;
pub mod flapping;
pub mod grouping;
pub mod identity;
#[cfg(test)]
mod interleavings;
pub mod lifecycle;
pub mod matcher;
mod outcome;
pub mod placement;
pub mod report;
pub mod service;
pub mod settings;
pub mod severity;
pub mod silence;
pub mod window;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::detect::FailureClass;
use crate::diagnose::Diagnosis;

/// How bad it is. Maps to P3 … P0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

/// Where an alert is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    Open,
    Acknowledged,
    /// An action for it was approved or is running.
    Mitigating,
    Resolved,
}

/// What happened to one job, as told to people. Stored whole as JSON beside its indexed columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// UUIDv7.
    pub id: String,
    /// Short number for people: `#17`.
    pub number: i64,
    /// The durable job (see `job` in the store) this is about.
    pub job_id: String,
    pub subject: Subject,
    pub class: FailureClass,
    /// The state that opened it, then the most telling one seen since.
    pub failure: String,
    pub detail: String,
    pub severity: Severity,
    pub state: AlertState,
    pub opened: Timestamp,
    pub updated: Timestamp,
    pub resolved: Option<Timestamp>,
    /// How it ended: `recovered`, `removed`, `resolved by @mira` …
    pub resolution: Option<String>,
    /// Observations of the same failure folded into it.
    pub count: u64,
    /// Distinct pods seen failing, at most 64 kept; `pods_failing` is the number.
    pub pods: Vec<String>,
    pub pods_failing: u64,
    pub nodes: Vec<String>,
    pub images: Vec<String>,
    pub acknowledged_by: Option<String>,
    /// The end of a silence of this alert alone.
    pub silenced_until: Option<Timestamp>,
    /// The silence or maintenance window that covers it.
    #[serde(default)]
    pub covered: Option<silence::Cover>,
    /// Why PagerDuty cannot be told of it for now: nobody is woken.
    #[serde(default)]
    pub paging_trouble: Option<String>,
    /// Id of the group whose message tells it, if it has none of its own.
    pub group_id: Option<String>,
    pub diagnosis: Option<Diagnosis>,
    /// Id of the approval that is on offer or was decided last.
    pub approval_id: Option<String>,
    /// One line about the last action and its verification.
    pub action_note: Option<String>,
    /// 👍 minus 👎.
    pub feedback: i64,
    /// Everything in it is from the simulated estate.
    pub demo: bool,
    /// What the life-cycle keeps for itself.
    #[serde(default)]
    pub track: Track,
}

/// What the life-cycle of an alert keeps between events, beyond what people are shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// How often it failed again after it was resolved.
    pub reopened: u64,
    /// Since when no failure is seen; `None` while one is.
    pub quiet_since: Option<Timestamp>,
    /// The expected state (preempted, suspended …) that followed the failure, if one did.
    pub expected_state: Option<String>,
    /// Expected life-cycle events counted while it was open.
    pub expected: u64,
    /// Digest of the symptoms folded in last: the same symptoms again change nothing.
    pub seen: String,
    /// Who resolved it by hand: only what happens after that may reopen it.
    pub resolved_by: Option<String>,
    /// How much the state shown tells of the cause (see `report::telling`).
    pub telling: u8,
    /// Claims of the pods that fail.
    pub claims: Vec<String>,
    /// Where in the estate it is seen failing (`cluster/namespace/name`). Two places, if two sources report one job
    /// and nothing in the estate says that they are one.
    pub failing_views: BTreeSet<String>,
    /// Whether it was told by a message of its own, even if a group tells it too by now.
    pub own_message: bool,
    /// When it began to fail, the last times.
    #[serde(default)]
    pub began: Vec<Timestamp>,
    /// Since when it fails and recovers again and again. While it does, a recovery has to last to be believed.
    #[serde(default)]
    pub flapping_since: Option<Timestamp>,
    /// The failing (see `Alert::episode`) that the diagnosis is of.
    #[serde(default)]
    pub diagnosed: u64,
    /// When an action of ours for it was last carried out: a run that takes the job's place is what the action made.
    #[serde(default)]
    pub acted: Option<Timestamp>,
    /// People refused the repair that was proposed, so others are called to it.
    #[serde(default)]
    pub escalated: bool,
}

/// The job as an alert tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    pub cluster: String,
    pub namespace: String,
    pub name: String,
    pub project: Option<String>,
    /// `Training`, `Job`, `PyTorchJob`, `Deployment` …
    pub kind: String,
    pub runai_id: Option<String>,
    pub owner: Option<String>,
    pub gpus: f64,
    pub pods_total: u64,
    pub created: Timestamp,
    /// Status as the sources state it: a Run:AI phase, else a pod phase.
    pub status: String,
}

/// Several alerts with one cause, told by one message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    pub id: String,
    pub key: GroupKey,
    pub opened: Timestamp,
    pub updated: Timestamp,
    pub resolved: Option<Timestamp>,
    /// Alert ids, in the order they joined.
    pub members: Vec<String>,
}

/// What the members of a group have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "by", content = "value", rename_all = "snake_case")]
pub enum GroupKey {
    Node(String),
    Image(String),
    Registry(String),
    Quota(String),
    Claim(String),
    /// Nothing in common but the time: more alerts than a channel can bear.
    Storm(String),
}
