//! The one desk behind every surface: a sentence, button, command line or API call becomes a [`Command`] with a
//! [`Principal`], is executed in one place, and gives one [`Answer`].

mod actions;
mod alerts;
mod approvals;
mod audit;
mod control;
mod emergency;
mod execute;
mod help;
mod jobs;
mod monitoring;
mod reply;
mod role;
pub mod roster;
mod say;
mod silences;
mod similar;
pub mod understand;

use serde::{Deserialize, Serialize};

use crate::action::ActionRequest;
use crate::alert::matcher::Matcher;
use crate::chat::card::{Card, Verb};

pub use execute::{Analyze, Collect, Desk, Settings};
pub use jobs::{diagnosis_answer, not_one};
pub(crate) use reply::NEEDS_ROLE;
pub use role::{Role, Standing, needed};
pub use roster::{Person, Roster};
pub use say::{ask_json, ask_offline};

/// Who asks, and from where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    pub surface: Surface,
    /// `U…` in Slack; `local` at the loopback console and CLI; the token's subject in the API.
    pub user: String,
    /// Slack team, for Slack Connect guests.
    pub team: Option<String>,
    #[serde(default)]
    pub standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Surface {
    Slack,
    Console,
    Cli,
    Api,
}

/// A job as a person names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobQuery {
    pub name: String,
    pub project: Option<String>,
    pub namespace: Option<String>,
}

/// What can be asked of nightbell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    MonitoringStart {
        project: Option<String>,
        duration_seconds: Option<u64>,
    },
    MonitoringStop,
    MonitoringStatus,
    JobStatus {
        job: JobQuery,
    },
    ListJobs {
        project: Option<String>,
        failing_only: bool,
    },
    Troubleshoot {
        job: JobQuery,
    },
    ShowLogs {
        job: JobQuery,
    },
    WhyPending {
        job: JobQuery,
    },
    ListAlerts {
        all: bool,
    },
    ShowAlert {
        number: i64,
    },
    /// Past alerts like this one, and what ended them.
    SimilarAlerts {
        number: i64,
    },
    ListApprovals,
    Decide {
        approval: String,
        approve: bool,
        reason: Option<String>,
    },
    ListSilences,
    /// What can be done, and what was done lately.
    ListActions,
    /// What an action would do exactly, and what each gate would say.
    PreviewAction {
        request: ActionRequest,
    },
    /// Asks for an action; somebody else decides.
    RunAction {
        request: ActionRequest,
    },
    /// Silences an alert, by id or short number.
    Silence {
        alert: String,
        duration_seconds: u64,
    },
    /// Silences what fits all of the matchers, now and to come.
    SilenceWhere {
        matchers: Vec<Matcher>,
        duration_seconds: u64,
        #[serde(default)]
        reason: Option<String>,
    },
    /// Ends the silence of an alert, by id or short number, or a silence by labels (`S3`).
    RemoveSilence {
        alert: String,
    },
    /// A button under an alert; `id` is the alert's.
    Press {
        verb: Verb,
        id: String,
        reason: Option<String>,
    },
    EmergencyStop {
        reason: Option<String>,
    },
    EmergencyClear,
    /// Disables one kind of action, by its name in the catalogue, or enables it again.
    SetAction {
        action: String,
        disabled: bool,
    },
    /// Withdraws every question that waits, and cancels what was permitted and has not begun.
    ClearQueue,
    /// Checks the audit; `expect` is an entry that was noted elsewhere, `SEQ:HASH`.
    VerifyAudit {
        expect: Option<String>,
    },
    Status,
    Help {
        topic: Option<String>,
    },
    /// A sentence; earlier messages of its thread, oldest first.
    Say {
        text: String,
        context: Vec<String>,
    },
}

/// What the desk answers. Each surface renders `card`; `--json` and the API give `body`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub card: Card,
    pub body: serde_json::Value,
    pub outcome: Outcome,
    /// Shown only to the asker where the surface can (errors, help, refusals).
    pub private: bool,
}

/// How it went, for exit codes and HTTP statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Done,
    /// The thing asked about does not exist or is ambiguous.
    NotFound,
    /// A gate, a role or a state says no.
    Refused,
    /// The words do not make a command.
    Invalid,
    /// Something that is needed did not answer.
    Unavailable,
}

/// Whatever answers commands: the desk of this process, or a running bot reached through its API.
pub type Handler = std::sync::Arc<
    dyn Fn(Principal, Command) -> futures_util::future::BoxFuture<'static, Answer> + Send + Sync,
>;
