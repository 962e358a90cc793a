//! A sentence at the desk: understood, then carried out, or confirmed first if it would change anything.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::execute::{Desk, who};
use super::reply::{
    self, NEEDS_ROLE, answer, card, code, length, problem, say, small, unavailable,
};
use super::silences::quoted;
use super::understand::{self, Intent, Known, Slots, Understanding};
use super::{Answer, Command, JobQuery, Outcome, Principal, control, help, jobs};
use crate::action::{ActionRequest, Parameters};
use crate::alert::Alert;
use crate::chat::card::{Block, Button, ButtonStyle, Press, Tone, Verb};
use crate::chat::terminal;
use crate::safety::ApprovalState;
use crate::store::{AlertFilter, Taken};

/// How long a question "shall I?" waits for its yes.
const CONFIRM_WITHIN: SignedDuration = SignedDuration::from_mins(10);
/// Alerts searched for what a sentence names.
const READ: i64 = 500;

impl Desk {
    pub(super) async fn say(
        &self,
        principal: &Principal,
        text: &str,
        context: &[String],
        now: Timestamp,
    ) -> Answer {
        let (understood, mut answer) = if let Some(command) = control::said(text) {
            let answer = match principal.check(&command) {
                Ok(()) => self.ask_to_confirm(principal, &command, now).await,
                Err(withheld) => reply::withheld(withheld),
            };
            (Understanding::of(Intent::SettingsChange), answer)
        } else {
            let understood = understand::understand(text, context, &self.known());
            let answer = self.respond(principal, &understood, text, now).await;
            (understood, answer)
        };
        let needs_role = answer.body.get_mut(NEEDS_ROLE).map(Value::take);
        answer.body = ask_json(&understood, &answer);
        if let Some(role) = needs_role {
            answer.body[NEEDS_ROLE] = role;
        }
        answer
    }

    async fn respond(
        &self,
        principal: &Principal,
        understood: &Understanding,
        text: &str,
        now: Timestamp,
    ) -> Answer {
        if let Some(answer) = without_a_service(understood) {
            return answer;
        }
        if understood.intent == Intent::ListIncidents {
            if let Err(withheld) = principal.check(&Command::ListAlerts { all: false }) {
                return reply::withheld(withheld);
            }
            return self.list_said(&understood.slots, now).await;
        }
        let command = match self.command(understood, text, now).await {
            Ok(command) => command,
            Err(answer) => return *answer,
        };
        if let Err(withheld) = principal.check(&command) {
            return reply::withheld(withheld);
        }
        if understood.needs_confirmation {
            self.ask_to_confirm(principal, &command, now).await
        } else {
            self.execute_inner(principal, command, now).await
        }
    }

    /// The command that an understanding amounts to, or what is missing to make one.
    async fn command(
        &self,
        understood: &Understanding,
        text: &str,
        now: Timestamp,
    ) -> Result<Command, Box<Answer>> {
        let slots = &understood.slots;
        Ok(match understood.intent {
            Intent::MonitoringStart => {
                if let (Some(job), None, None) = (&slots.job, &slots.project, &slots.namespace) {
                    return Err(Box::new(problem(
                        Outcome::Invalid,
                        format!(
                            "I monitor whole projects or everything, not single jobs such as {}.",
                            code(job)
                        ),
                        format!(
                            "`monitor project P` narrows it; `status of {job}` looks at the job now."
                        ),
                    )));
                }
                Command::MonitoringStart {
                    project: slots.project.clone().or_else(|| slots.namespace.clone()),
                    duration_seconds: slots.duration_seconds,
                }
            }
            Intent::MonitoringStop => Command::MonitoringStop,
            Intent::MonitoringStatus => Command::MonitoringStatus,
            Intent::JobStatus => Command::JobStatus { job: query(slots) },
            Intent::ListJobs => Command::ListJobs {
                project: slots.project.clone().or_else(|| slots.namespace.clone()),
                failing_only: slots.failing_only,
            },
            Intent::Troubleshoot => Command::Troubleshoot { job: query(slots) },
            Intent::ShowLogs => Command::ShowLogs { job: query(slots) },
            Intent::WhyPending => Command::WhyPending { job: query(slots) },
            Intent::ListIncidents => Command::ListAlerts {
                all: slots.since_seconds.is_some(),
            },
            Intent::IncidentShow => Command::ShowAlert {
                number: self.meant(slots).await?.number,
            },
            Intent::SimilarIncidents => Command::SimilarAlerts {
                number: self.meant(slots).await?.number,
            },
            Intent::IncidentAck => self.press_on(slots, Verb::Acknowledge).await?,
            Intent::IncidentResolve => self.press_on(slots, Verb::Resolve).await?,
            Intent::SilenceCreate => self.silence_said(slots, text).await?,
            Intent::SilenceList => Command::ListSilences,
            Intent::SilenceRemove => self.unsilence_said(slots, text, now).await?,
            Intent::ApprovalsList => Command::ListApprovals,
            Intent::ApprovalDecide => self.decision(slots).await?,
            Intent::EmergencyStop => Command::EmergencyStop { reason: None },
            Intent::EmergencyClear => Command::EmergencyClear,
            Intent::Help => Command::Help { topic: None },
            Intent::ActionRun => self.action(slots).await?,
            Intent::IncidentCreate
            | Intent::IncidentNote
            | Intent::OncallWho
            | Intent::PageSomeone
            | Intent::ActionCancel
            | Intent::SettingsChange
            | Intent::RunbookRun
            | Intent::RunbookList
            | Intent::Report
            | Intent::ClusterCapacity
            | Intent::IdleGpus
            | Intent::LearningStatus
            | Intent::Greeting
            | Intent::OutOfScope => return Err(Box::new(help::not_yet(understood.intent))),
        })
    }

    async fn press_on(&self, slots: &Slots, verb: Verb) -> Result<Command, Box<Answer>> {
        let alert = self.meant(slots).await?;
        Ok(Command::Press {
            verb,
            id: alert.id,
            reason: None,
        })
    }

    /// The alert that the words name: by number, by job, or the only one there is.
    pub(super) async fn meant(&self, slots: &Slots) -> Result<Alert, Box<Answer>> {
        if let Some(number) = slots
            .incident
            .as_ref()
            .and_then(|digits| digits.parse::<i64>().ok())
        {
            let id = self.alert_id(&number.to_string()).await?;
            return self
                .alerts
                .get(&id)
                .await
                .map_err(|error| Box::new(unavailable(&error)));
        }
        if slots.job.is_some() {
            return self.alert_of(&query(slots)).await;
        }
        if slots.project.is_some()
            || slots.namespace.is_some()
            || slots.service.is_some()
            || slots.severity.is_some()
        {
            return Err(Box::new(problem(
                Outcome::Invalid,
                "I can do this for one alert at a time, not for a whole project or service yet.",
                "Name an alert, for example `ack #12`; `list alerts` shows them.",
            )));
        }
        let filter = AlertFilter {
            limit: READ,
            ..AlertFilter::default()
        };
        let mut open = self
            .alerts
            .list(filter)
            .await
            .map_err(|error| Box::new(unavailable(&error)))?;
        match open.len() {
            0 => Err(Box::new(problem(
                Outcome::NotFound,
                "There is no open alert.",
                "`list alerts` also shows resolved ones.",
            ))),
            1 => Ok(open.remove(0)),
            count => Err(Box::new(problem(
                Outcome::NotFound,
                format!("Which of the {count} open alerts do you mean?"),
                "Name its number, for example `ack #12`; `list alerts` shows them.",
            ))),
        }
    }

    async fn decision(&self, slots: &Slots) -> Result<Command, Box<Answer>> {
        let Some(approve) = slots.approve else {
            return Err(Box::new(problem(
                Outcome::Invalid,
                "Do you want to approve or to deny?",
                "Say `approve #3` or `deny #3`; `approvals` shows those that wait.",
            )));
        };
        let number = slots
            .incident
            .as_ref()
            .and_then(|digits| digits.parse::<i64>().ok());
        let approval = if let Some(number) = number {
            number.to_string()
        } else {
            let pending = self
                .store
                .approvals(ApprovalState::Pending, READ)
                .await
                .map_err(|error| Box::new(unavailable(&error)))?;
            match pending.as_slice() {
                [] => {
                    return Err(Box::new(problem(
                        Outcome::NotFound,
                        "No approvals are waiting.",
                        "",
                    )));
                }
                [only] => only.number.to_string(),
                several => {
                    return Err(Box::new(problem(
                        Outcome::NotFound,
                        format!(
                            "Which of the {} waiting approvals do you mean?",
                            several.len()
                        ),
                        "Decide them one by one, for example `approve #3`; `approvals` shows them.",
                    )));
                }
            }
        };
        Ok(Command::Decide {
            approval,
            approve,
            reason: None,
        })
    }

    /// An action on demand. One that a diagnosis proposed is decided through its approval.
    async fn action(&self, slots: &Slots) -> Result<Command, Box<Answer>> {
        let Some(action) = &slots.action else {
            return Err(Box::new(problem(
                Outcome::Invalid,
                "What shall I do: restart, suspend, resume, delete, scale, roll back, cordon, uncordon or drain?",
                "`actions` lists all that can be done.",
            )));
        };
        let named = slots.node.as_ref().or(slots.job.as_ref());
        let Some(name) = named.or(slots.service.as_ref()) else {
            return Err(Box::new(problem(
                Outcome::Invalid,
                format!("What shall I {action}?"),
                format!("Name it, for example `{action} train-7 in project nlp`."),
            )));
        };
        let pending = self
            .store
            .approvals(ApprovalState::Pending, READ)
            .await
            .map_err(|error| Box::new(unavailable(&error)))?;
        if let Some(approval) = pending
            .iter()
            .find(|approval| approval.spec.target.name() == name)
        {
            return Err(Box::new(problem(
                Outcome::Refused,
                format!(
                    "For this one, {} is proposed and waits for approval #{}.",
                    super::approvals::what(approval),
                    approval.number
                ),
                format!("`approve #{}` carries it out.", approval.number),
            )));
        }
        let mut parameters = Parameters::default();
        if action == "scale" {
            let Some(replicas) = slots.count else {
                return Err(Box::new(problem(
                    Outcome::Invalid,
                    format!("To how many replicas shall I scale {}?", code(name)),
                    format!("For example `scale {name} to 4 replicas`."),
                )));
            };
            parameters = parameters.with("replicas", replicas);
        }
        Ok(Command::RunAction {
            request: ActionRequest {
                action: action.clone(),
                name: name.clone(),
                namespace: slots.namespace.clone(),
                project: slots.project.clone(),
                parameters,
                ..ActionRequest::default()
            },
        })
    }

    async fn list_said(&self, slots: &Slots, now: Timestamp) -> Answer {
        let filter = AlertFilter {
            resolved: slots.since_seconds.is_some(),
            limit: READ,
            ..AlertFilter::default()
        };
        let mut alerts = match self.alerts.list(filter).await {
            Ok(alerts) => alerts,
            Err(error) => return unavailable(&error),
        };
        let since = slots
            .since_seconds
            .and_then(|seconds| i64::try_from(seconds).ok())
            .and_then(|seconds| now.checked_sub(SignedDuration::from_secs(seconds)).ok());
        alerts.retain(|alert| {
            slots
                .severity
                .is_none_or(|severity| alert.severity == severity)
                && since.is_none_or(|since| alert.updated >= since)
                && slots
                    .project
                    .as_ref()
                    .is_none_or(|project| alert.subject.project.as_ref() == Some(project))
                && slots
                    .namespace
                    .as_ref()
                    .is_none_or(|namespace| alert.subject.namespace == *namespace)
                && slots
                    .job
                    .as_ref()
                    .is_none_or(|job| alert.subject.name == *job)
        });
        if let Some(count) = slots.count.and_then(|count| usize::try_from(count).ok()) {
            alerts.truncate(count);
        }
        self.alert_list(&alerts, slots.since_seconds.is_some(), now)
    }

    async fn ask_to_confirm(
        &self,
        principal: &Principal,
        command: &Command,
        now: Timestamp,
    ) -> Answer {
        let expires = now.checked_add(CONFIRM_WITHIN).unwrap_or(Timestamp::MAX);
        let id = match self
            .store
            .keep_command(&asker(principal), command, expires, now)
            .await
        {
            Ok(id) => id,
            Err(error) => return unavailable(&error),
        };
        let text = format!("Shall I {}?", describe(command));
        let button = |verb, label: &str, style| Button {
            press: Press {
                verb,
                id: id.clone(),
            },
            label: label.to_owned(),
            style,
            confirm: None,
        };
        let blocks = vec![
            say(&text),
            Block::Buttons {
                buttons: vec![
                    button(Verb::Confirm, "Confirm", ButtonStyle::Primary),
                    button(Verb::Cancel, "Cancel", ButtonStyle::Plain),
                ],
            },
            small("Only you can confirm, within 10 minutes."),
        ];
        answer(card(Tone::Info, &text, blocks), json!({ "pending": id }))
    }

    /// The asker said yes.
    pub(super) async fn confirm(&self, principal: &Principal, id: &str, now: Timestamp) -> Answer {
        match self
            .store
            .take_command::<Command>(id, &asker(principal), now)
            .await
        {
            Ok(Taken::Yours(command)) => self.execute_inner(principal, command, now).await,
            Ok(other) => late(&other),
            Err(error) => unavailable(&error),
        }
    }

    /// The asker said no.
    pub(super) async fn cancel(&self, principal: &Principal, id: &str, now: Timestamp) -> Answer {
        match self
            .store
            .take_command::<Command>(id, &asker(principal), now)
            .await
        {
            Ok(Taken::Yours(command)) => {
                let text = format!("Cancelled: I did not {}.", describe(&command));
                answer(
                    card(Tone::Info, &text, vec![say(&text)]),
                    json!({ "cancelled": true }),
                )
            }
            Ok(other) => late(&other),
            Err(error) => unavailable(&error),
        }
    }
}

/// A name that nobody on another surface can have.
fn asker(principal: &Principal) -> String {
    let surface = match principal.surface {
        super::Surface::Slack => "slack",
        super::Surface::Console => "console",
        super::Surface::Cli => "cli",
        super::Surface::Api => "api",
    };
    format!(
        "{surface}:{}:{}",
        principal.team.as_deref().unwrap_or_default(),
        who(principal)
    )
}

fn late(taken: &Taken<Command>) -> Answer {
    let (text, way_out) = match taken {
        Taken::NotYours => (
            "Only the person who asked can confirm this.",
            "Ask me yourself, if you want it too.",
        ),
        Taken::Already => ("This was confirmed or cancelled before.", ""),
        Taken::Expired => ("This question has expired; nothing was done.", "Ask again."),
        Taken::Unknown | Taken::Yours(_) => (
            "I don't know this question any more; nothing was done.",
            "Ask again.",
        ),
    };
    problem(Outcome::Refused, text, way_out)
}

fn query(slots: &Slots) -> JobQuery {
    JobQuery {
        name: slots.job.clone().unwrap_or_default(),
        project: slots.project.clone(),
        namespace: slots.namespace.clone(),
    }
}

/// What a command would do, after "Shall I".
fn describe(command: &Command) -> String {
    match command {
        Command::MonitoringStop => "stop monitoring, so that no new alerts are raised".to_owned(),
        Command::MonitoringStart { project, .. } => match project {
            Some(project) => format!("monitor project {}", code(project)),
            None => "monitor all jobs".to_owned(),
        },
        Command::Decide {
            approval, approve, ..
        } => format!(
            "{} approval #{approval}",
            if *approve { "approve" } else { "deny" }
        ),
        Command::Silence {
            duration_seconds, ..
        } => {
            format!(
                "silence this alert for {}",
                length(i64::try_from(*duration_seconds).unwrap_or(i64::MAX))
            )
        }
        Command::SilenceWhere {
            matchers,
            duration_seconds,
            ..
        } => format!(
            "silence {} for {}",
            quoted(matchers),
            length(i64::try_from(*duration_seconds).unwrap_or(i64::MAX))
        ),
        Command::RemoveSilence { alert } if alert.starts_with('S') => {
            format!("end silence {alert}")
        }
        Command::RemoveSilence { .. } => "end the silence of this alert".to_owned(),
        Command::Press {
            verb: Verb::Acknowledge,
            ..
        } => "acknowledge this alert in your name".to_owned(),
        Command::Press {
            verb: Verb::Resolve,
            ..
        } => "resolve this alert".to_owned(),
        Command::Press { .. } => "press this button for you".to_owned(),
        Command::RunAction { request } => format!(
            "ask for approval to {} {}",
            code(&request.action),
            code(&request.name)
        ),
        Command::EmergencyStop { .. } => "stop all actions now (emergency stop)".to_owned(),
        Command::EmergencyClear => {
            "clear the emergency stop, so that actions may run again".to_owned()
        }
        Command::SetAction { action, disabled } => {
            let action = code(action);
            if *disabled {
                format!("disable {action}, so that none starts, approved or not")
            } else {
                format!("enable {action}, so that it may run again")
            }
        }
        Command::ClearQueue => {
            "withdraw all questions that wait, and cancel what has not begun".to_owned()
        }
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
        | Command::ListSilences
        | Command::Status
        | Command::Help { .. }
        | Command::Say { .. } => "look that up".to_owned(),
    }
}

/// The answers that need no records: greetings, help, refusals, asking back.
fn without_a_service(understood: &Understanding) -> Option<Answer> {
    if understood.negated {
        let text = "All right, I leave that alone.";
        return Some(answer(card(Tone::Info, text, vec![say(text)]), json!({})));
    }
    match understood.intent {
        Intent::OutOfScope => Some(help::out_of_scope()),
        Intent::Greeting => Some(help::greeting()),
        Intent::Help => Some(help::help(None)),
        _ if understood.is_unsure() => {
            Some(help::ask_back(understood.intent, &understood.alternatives))
        }
        Intent::MonitoringStart
        | Intent::MonitoringStop
        | Intent::MonitoringStatus
        | Intent::JobStatus
        | Intent::ListJobs
        | Intent::Troubleshoot
        | Intent::ShowLogs
        | Intent::WhyPending
        | Intent::ListIncidents
        | Intent::IncidentShow
        | Intent::SimilarIncidents
        | Intent::IncidentAck
        | Intent::IncidentResolve
        | Intent::SilenceCreate
        | Intent::SilenceList
        | Intent::SilenceRemove
        | Intent::ApprovalsList
        | Intent::ApprovalDecide
        | Intent::ActionRun
        | Intent::EmergencyStop
        | Intent::EmergencyClear => None,
        Intent::IncidentCreate
        | Intent::IncidentNote
        | Intent::OncallWho
        | Intent::PageSomeone
        | Intent::ActionCancel
        | Intent::SettingsChange
        | Intent::RunbookRun
        | Intent::RunbookList
        | Intent::Report
        | Intent::ClusterCapacity
        | Intent::IdleGpus
        | Intent::LearningStatus => Some(help::not_yet(understood.intent)),
    }
}

/// Answers a sentence without a running bot: says what was understood and what it takes to do it.
#[must_use]
pub fn ask_offline(text: &str, context: &[String]) -> Answer {
    let command = control::said(text);
    let understood = match command {
        Some(_) => Understanding::of(Intent::SettingsChange),
        None => understand::understand(text, context, &Known::default()),
    };
    let plain = command
        .is_none()
        .then(|| without_a_service(&understood))
        .flatten();
    let mut answer = plain.unwrap_or_else(|| {
        let text = format!(
            "Understood: {}{}. No running nightbell answers here, so nothing was done.",
            understood.intent.describe(),
            about(&understood.slots)
        );
        answer(jobs::plain(Tone::Info, &text), Value::Null)
    });
    answer.body = ask_json(&understood, &answer);
    answer
}

fn about(slots: &Slots) -> String {
    let mut parts = Vec::new();
    if let Some(job) = &slots.job {
        parts.push(format!("job {}", code(job)));
    }
    if let Some(project) = &slots.project {
        parts.push(format!("project {}", code(project)));
    }
    if let Some(namespace) = &slots.namespace {
        parts.push(format!("namespace {}", code(namespace)));
    }
    if let Some(incident) = &slots.incident {
        parts.push(format!("#{incident}"));
    }
    if let Some(seconds) = slots.duration_seconds {
        parts.push(format!(
            "for {}",
            length(i64::try_from(seconds).unwrap_or(i64::MAX))
        ));
    }
    if parts.is_empty() {
        String::new()
    } else {
        format!(" ({})", parts.join(", "))
    }
}

/// The contract's JSON of `nightbell ask`.
#[must_use]
pub fn ask_json(understood: &Understanding, answer: &Answer) -> Value {
    json!({
        "intent": understood.intent,
        "confidence": (understood.confidence * 1000.0).round() / 1000.0,
        "slots": understood.slots,
        "reply": terminal::text(&answer.card),
        "needs_confirmation": understood.needs_confirmation,
    })
}
