//! The desk itself: what it holds, and which file answers which command.

use std::sync::{Arc, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::understand::{self, Known};
use super::{Answer, Command, Handler, JobQuery, Outcome, Principal, reply};
use crate::action::Systems;
use crate::alert::service::Alerts;
use crate::chat::card::Verb;
use crate::detect::Thresholds;
use crate::diagnose::{Diagnosis, Evidence};
use crate::estate::{JobKey, SharedEstate};
use crate::notify::view::Views;
use crate::safety::{Safety, approvers};
use crate::store::Store;
use crate::watch::control::MonitoringControl;
use crate::watch::sources::Sources;

/// Collects the evidence of one job, within its own time limit.
pub type Collect = Arc<dyn Fn(JobKey, Timestamp) -> BoxFuture<'static, Evidence> + Send + Sync>;
/// Turns evidence into a diagnosis.
pub type Analyze = Arc<dyn Fn(&Evidence) -> Diagnosis + Send + Sync>;

/// What the desk is told about how this bot is set up.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Whether everything it sees is simulated.
    pub demo: bool,
    /// What could be watched but is not set up, each with the way to set it up: "Run:AI (set `RUNAI_BASE_URL` …)".
    pub not_configured: Vec<String>,
    /// Seconds between two polls of Run:AI.
    pub poll_interval_seconds: u64,
    /// Only failing workloads are looked at.
    pub monitor_only_failed: bool,
    /// Where alerts go, for people: "Slack C0123", "console".
    pub destinations: Vec<String>,
    /// When a wait counts as a failure; the same as the pipeline judges by.
    pub thresholds: Thresholds,
}

/// Everything that answers are made from. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    pub store: Store,
    pub estate: SharedEstate,
    pub monitoring: MonitoringControl,
    pub sources: Sources,
    pub alerts: Alerts,
    pub safety: Safety,
    /// What can be acted on.
    pub systems: Systems,
    /// Alerts as their messages show them.
    pub views: Views,
    pub collect: Collect,
    pub analyze: Analyze,
    pub settings: Arc<Settings>,
}

impl Desk {
    /// Answers one command now.
    pub async fn execute(&self, principal: &Principal, command: Command) -> Answer {
        self.execute_at(principal, command, Timestamp::now()).await
    }

    /// As [`Desk::execute`], at a given time.
    pub async fn execute_at(
        &self,
        principal: &Principal,
        command: Command,
        now: Timestamp,
    ) -> Answer {
        if let Err(withheld) = principal.check(&command) {
            return reply::withheld(withheld);
        }
        if changes(&command) && self.safety.is_foreign(principal) {
            return reply::problem(
                Outcome::Refused,
                "Only people of nightbell's own Slack workspace may change anything.",
                "Ask one of them; looking is open to you.",
            );
        }
        match command {
            Command::MonitoringStart {
                project,
                duration_seconds,
            } => {
                self.start_monitoring(principal, project, duration_seconds, now)
                    .await
            }
            Command::MonitoringStop => self.stop_monitoring(principal, now).await,
            Command::MonitoringStatus => self.monitoring_status(now).await,
            Command::Status => self.status(now).await,
            Command::JobStatus { job } => self.job_status(&job, now),
            Command::ListJobs {
                project,
                failing_only,
            } => self.list_jobs(project.as_deref(), failing_only, now),
            Command::Troubleshoot { job } => self.troubleshoot(&job, now).await,
            Command::ShowLogs { job } => self.show_logs(&job, now).await,
            Command::WhyPending { job } => self.why_pending(&job, now).await,
            Command::ListAlerts { all } => self.list_alerts(all, now).await,
            Command::ShowAlert { number } => self.show_alert(number).await,
            Command::SimilarAlerts { number } => self.similar_alerts(number).await,
            Command::ListApprovals => self.list_approvals(now).await,
            Command::ListActions => self.list_actions(now).await,
            Command::PreviewAction { request } => {
                self.preview_action(principal, &request, now).await
            }
            Command::RunAction { request } => self.run_action(principal, &request, now).await,
            Command::Decide {
                approval,
                approve,
                reason,
            } => {
                self.decide(principal, &approval, approve, reason.as_deref(), now)
                    .await
            }
            Command::ListSilences => self.list_silences(now).await,
            Command::Silence {
                alert,
                duration_seconds,
            } => self.silence(principal, &alert, duration_seconds, now).await,
            Command::SilenceWhere {
                matchers,
                duration_seconds,
                reason,
            } => {
                self.silence_where(principal, matchers, duration_seconds, reason, now)
                    .await
            }
            Command::RemoveSilence { alert } => self.remove_silence(principal, &alert, now).await,
            Command::Press { verb, id, reason } => {
                self.press(principal, verb, &id, reason.as_deref(), now)
                    .await
            }
            Command::EmergencyStop { reason } => {
                self.emergency_stop(principal, reason.as_deref(), now).await
            }
            Command::EmergencyClear => self.emergency_clear(principal, now).await,
            Command::SetAction { action, disabled } => {
                self.set_action(principal, &action, disabled, now).await
            }
            Command::ClearQueue => self.clear_queue(principal, now).await,
            Command::VerifyAudit { expect } => self.verify_audit(expect.as_deref()).await,
            Command::Help { topic } => super::help::help(topic.as_deref()),
            Command::Say { text, context } => self.say(principal, &text, &context, now).await,
        }
    }

    /// As [`Desk::execute_at`], for commands that come out of other commands: a sentence, a confirmation.
    pub(super) fn execute_inner<'a>(
        &'a self,
        principal: &'a Principal,
        command: Command,
        now: Timestamp,
    ) -> BoxFuture<'a, Answer> {
        self.execute_at(principal, command, now).boxed()
    }

    /// This desk as a handler for surfaces.
    #[must_use]
    pub fn handler(self) -> Handler {
        // Learning the language takes a while, and nobody who can be served without it should wait for that.
        std::thread::spawn(understand::prepare);
        Arc::new(move |principal, command| {
            let desk = self.clone();
            async move { desk.execute(&principal, command).await }.boxed()
        })
    }

    /// The names that exist now, so that sentences may use them.
    pub(super) fn known(&self) -> Known {
        let estate = self.estate.read().unwrap_or_else(PoisonError::into_inner);
        Known::new(
            estate.jobs().map(|job| job.key.name.clone()),
            estate.jobs().filter_map(|job| job.project.clone()),
        )
    }

    /// Finds the job a person means, or says what it could have been.
    pub(super) fn find_job(&self, query: &JobQuery) -> Result<JobKey, Box<Answer>> {
        use crate::estate::index::Found;
        if query.name.trim().is_empty() {
            return Err(Box::new(reply::problem(
                Outcome::Invalid,
                "Which job do you mean?",
                "Name it, for example `status of train-7 in project nlp`. `list jobs` shows them all.",
            )));
        }
        let estate = self.estate.read().unwrap_or_else(PoisonError::into_inner);
        match estate.find(query) {
            Found::One(key) => Ok(key),
            Found::Several(keys) => Err(Box::new(super::jobs::several(query, &keys, &estate))),
            Found::None { nearest } => Err(Box::new(super::jobs::none(query, &nearest, &estate))),
        }
    }
}

/// Whether a command changes what nightbell watches, tells or does. Stopping all actions is open to everybody; a
/// sentence comes back as the command that it means.
fn changes(command: &Command) -> bool {
    match command {
        Command::MonitoringStart { .. }
        | Command::MonitoringStop
        | Command::Silence { .. }
        | Command::SilenceWhere { .. }
        | Command::RemoveSilence { .. }
        | Command::RunAction { .. }
        | Command::SetAction { .. }
        | Command::ClearQueue
        | Command::EmergencyClear => true,
        Command::Press { verb, .. } => match verb {
            Verb::Acknowledge
            | Verb::Resolve
            | Verb::Silence1h
            | Verb::Silence4h
            | Verb::Silence1d => true,
            // The gate itself says no to decisions, and keeps the attempt.
            Verb::Approve
            | Verb::Deny
            | Verb::Troubleshoot
            | Verb::ShowLogs
            | Verb::ThumbsUp
            | Verb::ThumbsDown
            | Verb::Confirm
            | Verb::Cancel => false,
        },
        Command::MonitoringStatus
        | Command::JobStatus { .. }
        | Command::ListJobs { .. }
        | Command::Troubleshoot { .. }
        | Command::ShowLogs { .. }
        | Command::WhyPending { .. }
        | Command::ListAlerts { .. }
        | Command::ShowAlert { .. }
        | Command::SimilarAlerts { .. }
        | Command::ListApprovals
        | Command::ListActions
        | Command::PreviewAction { .. }
        | Command::VerifyAudit { .. }
        | Command::Decide { .. }
        | Command::ListSilences
        | Command::EmergencyStop { .. }
        | Command::Status
        | Command::Help { .. }
        | Command::Say { .. } => false,
    }
}

/// How the asker is named in records.
pub(super) fn who(principal: &Principal) -> String {
    approvers::name(principal)
}
