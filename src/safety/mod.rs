//! The gate that every action passes: limits, approvals, kill switch, audit. Only this module makes a [`Permit`].
//!
//! [`limits`], [`policy`] and [`approvers`] are pure; [`Safety`] loads what they judge and saves what they said, in one
//! transaction each.

mod approval;
pub mod approvers;
pub mod audit;
mod decision;
pub mod digest;
mod execution;
mod foresee;
mod gate;
pub mod limits;
mod place;
pub mod policy;
pub mod rules;
mod stop;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use approval::Proposed;
pub use decision::{AskGroup, Decision};
pub use execution::{Answered, Observed, Permit, Start};
pub use foresee::Foreseen;
pub use gate::{Refusal, Safety, Settings};
pub use place::{Place, place};
pub use stop::{Cleared, SafetyStatus, Stop};

use crate::action::ActionSpec;
use crate::alert::Severity;

/// A durable, expiring question to people, bound to one exact action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    pub id: String,
    /// Short number for people.
    pub number: i64,
    pub alert_id: Option<String>,
    pub spec: ActionSpec,
    /// Hex SHA-256 over the canonical JSON of `spec`.
    pub digest: String,
    pub severity: Severity,
    /// Why it is proposed, one sentence.
    pub reason: String,
    /// What it would touch, as sentences: pods, GPUs, age of the last checkpoint if known.
    pub impact: Vec<String>,
    pub requested_by: String,
    pub requested: Timestamp,
    pub expires: Timestamp,
    pub state: ApprovalState,
    pub decided_by: Option<String>,
    pub decided: Option<Timestamp>,
    pub deny_reason: Option<String>,
    pub dry_run: bool,
    /// How many different people have to approve.
    #[serde(default = "one")]
    pub people: usize,
    /// Who approved so far, while more have to; and once it was decided, who did before the last.
    #[serde(default)]
    pub endorsed: Vec<Endorsement>,
}

/// One of several approvals that an action needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endorsement {
    /// As [`approvers::name`] names them.
    pub by: String,
    pub at: Timestamp,
}

fn one() -> usize {
    1
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    Pending,
    Approved,
    Denied,
    Expired,
    /// The target changed or recovered before anyone decided.
    Withdrawn,
}

/// One attempt to carry out an action. `Started` without an end after a crash becomes `Unknown`, never a repeat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    pub id: String,
    pub approval_id: Option<String>,
    pub alert_id: Option<String>,
    pub spec: ActionSpec,
    pub digest: String,
    pub state: ExecutionState,
    pub dry_run: bool,
    /// Who it runs for: an approver, or `policy`.
    pub by: String,
    pub created: Timestamp,
    pub started: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    /// What the target's system answered, fit for people.
    pub answer: Option<String>,
    /// What was observed afterwards.
    pub verification: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionState {
    /// A permit was issued and counted; nothing was called yet.
    Permitted,
    Started,
    /// The call was accepted; the target is being observed.
    Verifying,
    Verified,
    /// The call was accepted but the target did not reach the wanted state in time.
    NotVerified,
    Failed,
    /// The process died between `Started` and the answer: the target is observed, a human asked.
    Unknown,
    Cancelled,
    /// Everything but the call was done.
    DryRun,
}

/// What the gate has to know of an action beyond the action itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The job, Deployment or node that the target is (part of): `cluster/namespace/name`.
    pub service: String,
    /// Cause in the failure taxonomy, for the restart budget; `None` if a person asked.
    pub cause: Option<String>,
    /// Instances the service has, for the blast radius.
    pub instances: u64,
    /// How many of them the action takes down, as far as they work.
    #[serde(default)]
    pub touched: u64,
    /// Since when the service fails, for the restart budget.
    pub failing_since: Option<Timestamp>,
    /// The gate looks for it itself when it permits; who asks leaves it empty.
    #[serde(default)]
    pub place: Place,
}
