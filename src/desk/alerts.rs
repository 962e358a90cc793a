//! Alerts: lists, one in full, and the buttons under them.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::execute::{Desk, who};
use super::reply::{
    ago, answer, card, clock, code, counted, header, problem, say, small, unavailable,
};
use super::{Answer, JobQuery, Outcome, Principal};
use crate::alert::service::AlertError;
use crate::alert::{Alert, AlertState, Severity};
use crate::chat::alert::card as alert_card;
use crate::chat::card::{Block, Tone, Verb};
use crate::estate::JobKey;
use crate::redact;
use crate::store::AlertFilter;

/// Rows of a list in chat.
pub(super) const ROWS: usize = 25;
pub(super) const READ: i64 = 500;

impl Desk {
    pub(super) async fn list_alerts(&self, all: bool, now: Timestamp) -> Answer {
        let filter = AlertFilter {
            resolved: all,
            limit: READ,
            ..AlertFilter::default()
        };
        match self.alerts.list(filter).await {
            Ok(alerts) => self.alert_list(&alerts, all, now),
            Err(error) => failed(&error),
        }
    }

    /// The list as an answer; `all` says that resolved ones were asked for too.
    pub(super) fn alert_list(&self, alerts: &[Alert], all: bool, now: Timestamp) -> Answer {
        let open = alerts
            .iter()
            .filter(|alert| alert.state != AlertState::Resolved)
            .count();
        let headline = match (all, open) {
            (true, _) => format!("{}, {open} open", counted(alerts.len(), "alert")),
            (false, 0) => "No open alerts".to_owned(),
            (false, open) => counted(open, "open alert"),
        };
        let mut blocks = vec![header(&headline)];
        if !alerts.is_empty() {
            blocks.push(Block::Table {
                header: ["#", "Severity", "Job", "Failure", "State", "Since"]
                    .map(str::to_owned)
                    .to_vec(),
                rows: alerts
                    .iter()
                    .take(ROWS)
                    .map(|alert| row(alert, now))
                    .collect(),
            });
        }
        if alerts.len() > ROWS {
            blocks.push(small(&format!("And {} more.", alerts.len() - ROWS)));
        }
        let complaints = self.complaints(now);
        if !complaints.is_empty() {
            blocks.push(small(&format!(
                "There may be more: {}.",
                complaints.join("; ")
            )));
        }
        let tone = match (open, complaints.is_empty()) {
            (0, true) => Tone::Good,
            (0, false) => Tone::Warning,
            (_, _) => Tone::Bad,
        };
        answer(
            card(tone, &headline, blocks),
            json!({ "alerts": alerts, "stale": complaints }),
        )
    }

    pub(super) async fn show_alert(&self, number: i64) -> Answer {
        match self.alerts.by_number(number).await {
            Ok(alert) => self.shown(alert).await,
            Err(error) => failed(&error),
        }
    }

    /// One alert as its message shows it, with its timeline in the body.
    async fn shown(&self, alert: Alert) -> Answer {
        let timeline = self.store.timeline(&alert.id).await;
        match (self.views.alert(alert).await, timeline) {
            (Ok(view), Ok(timeline)) => {
                let body = json!({
                    "alert": view.alert, "approval": view.approval, "execution": view.execution,
                    "timeline": timeline.iter().map(|entry| json!({
                        "at": entry.at, "kind": entry.kind, "actor": entry.actor, "note": entry.note,
                    })).collect::<Vec<_>>(),
                });
                answer(alert_card(&view), body)
            }
            (Err(error), _) | (_, Err(error)) => unavailable(&error),
        }
    }

    pub(super) async fn press(
        &self,
        principal: &Principal,
        verb: Verb,
        id: &str,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Answer {
        let by = who(principal);
        if let Some(group) = id.strip_prefix("group:") {
            return self.press_for_all(&by, verb, group, now).await;
        }
        match verb {
            Verb::Approve => self.decide(principal, id, true, reason, now).await,
            Verb::Deny => self.decide(principal, id, false, reason, now).await,
            Verb::Acknowledge => done(self.alerts.acknowledge(id, &by, now).await, |alert| {
                format!("Alert #{} is acknowledged by {by}.", alert.number)
            }),
            Verb::Resolve => done(self.alerts.resolve(id, &by, now).await, |alert| {
                format!(
                    "Alert #{} is resolved by {by}. What fails after this opens it again.",
                    alert.number
                )
            }),
            Verb::Silence1h => self.silence(principal, id, 3_600, now).await,
            Verb::Silence4h => self.silence(principal, id, 4 * 3_600, now).await,
            Verb::Silence1d => self.silence(principal, id, 86_400, now).await,
            Verb::ThumbsUp | Verb::ThumbsDown => {
                let up = verb == Verb::ThumbsUp;
                let mut answer = done(self.alerts.feedback(id, &by, up, now).await, |alert| {
                    format!(
                        "Noted for alert #{}: {}. Thank you.",
                        alert.number,
                        if up {
                            "this helped"
                        } else {
                            "this did not help"
                        }
                    )
                });
                answer.private = true;
                answer
            }
            Verb::Troubleshoot => done(self.alerts.troubleshoot(id, now).await, |alert| {
                format!(
                    "Looking at {} again; the report follows in the alert's thread.",
                    code(&alert.subject.name)
                )
            }),
            Verb::ShowLogs => match self.alerts.get(id).await {
                Ok(alert) => {
                    let key = JobKey {
                        cluster: alert.subject.cluster,
                        namespace: alert.subject.namespace,
                        name: alert.subject.name,
                    };
                    super::jobs::logs(&(self.collect)(key, now).await)
                }
                Err(error) => failed(&error),
            },
            Verb::Confirm => self.confirm(principal, id, now).await,
            Verb::Cancel => self.cancel(principal, id, now).await,
        }
    }

    /// A button for all open alerts of a group.
    async fn press_for_all(&self, by: &str, verb: Verb, group: &str, now: Timestamp) -> Answer {
        let hours = match verb {
            Verb::Acknowledge => {
                return done_for_all(
                    self.alerts.acknowledge_group(group, by, now).await,
                    &format!("acknowledged by {by}"),
                );
            }
            Verb::Silence1h => 1,
            Verb::Silence4h => 4,
            Verb::Silence1d => 24,
            Verb::Approve
            | Verb::Deny
            | Verb::Resolve
            | Verb::ThumbsUp
            | Verb::ThumbsDown
            | Verb::Troubleshoot
            | Verb::ShowLogs
            | Verb::Confirm
            | Verb::Cancel => {
                return problem(
                    Outcome::Invalid,
                    "That cannot be done for a whole group.",
                    "Ask for one of its alerts by its number.",
                );
            }
        };
        let until = now
            .checked_add(SignedDuration::from_hours(hours))
            .unwrap_or(Timestamp::MAX);
        done_for_all(
            self.alerts.silence_group(group, by, until, now).await,
            &format!("silenced until {}", clock(until, now)),
        )
    }

    /// The id behind an id or a short number.
    pub(super) async fn alert_id(&self, named: &str) -> Result<String, Box<Answer>> {
        match named.trim().trim_start_matches('#').parse::<i64>() {
            Ok(number) => match self.alerts.by_number(number).await {
                Ok(alert) => Ok(alert.id),
                Err(error) => Err(Box::new(failed(&error))),
            },
            Err(_) => Ok(named.to_owned()),
        }
    }

    /// The newest open alert of a job.
    pub(super) async fn alert_of(&self, query: &JobQuery) -> Result<Alert, Box<Answer>> {
        let alerts = self
            .alerts
            .list(AlertFilter {
                limit: READ,
                ..AlertFilter::default()
            })
            .await
            .map_err(|error| Box::new(failed(&error)))?;
        let fits = |alert: &&Alert| {
            alert.subject.name.eq_ignore_ascii_case(&query.name)
                && query
                    .namespace
                    .as_ref()
                    .is_none_or(|namespace| alert.subject.namespace == *namespace)
                && query
                    .project
                    .as_ref()
                    .is_none_or(|project| alert.subject.project.as_ref() == Some(project))
        };
        alerts.iter().find(fits).cloned().ok_or_else(|| {
            Box::new(problem(
                Outcome::NotFound,
                format!("Job {} has no open alert.", code(&query.name)),
                "`list alerts` shows all that are open.",
            ))
        })
    }
}

fn row(alert: &Alert, now: Timestamp) -> Vec<String> {
    let state = match alert.state {
        AlertState::Open if alert.silenced(now) => "silenced".to_owned(),
        AlertState::Open => "open".to_owned(),
        AlertState::Acknowledged => format!(
            "acknowledged by {}",
            alert.acknowledged_by.as_deref().unwrap_or("someone")
        ),
        AlertState::Mitigating => "mitigating".to_owned(),
        AlertState::Resolved => alert
            .resolution
            .clone()
            .unwrap_or_else(|| "resolved".to_owned()),
    };
    vec![
        alert.number.to_string(),
        severity(alert.severity).to_owned(),
        alert.subject.name.clone(),
        redact::line(&alert.failure, 60),
        state,
        ago(alert.opened, now),
    ]
}

pub(super) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

pub(super) fn done(
    result: Result<Alert, AlertError>,
    text: impl FnOnce(&Alert) -> String,
) -> Answer {
    match result {
        Ok(alert) => {
            let text = text(&alert);
            answer(
                card(Tone::Good, &text, vec![say(&text)]),
                json!({ "alert": alert }),
            )
        }
        Err(error) => failed(&error),
    }
}

fn done_for_all(result: Result<usize, AlertError>, how: &str) -> Answer {
    match result {
        Ok(count) => {
            let text = match count {
                0 => "Nothing was left to do: that holds for all of them already.".to_owned(),
                1 => format!("1 alert of the group is {how}."),
                count => format!("{count} alerts of the group are {how}."),
            };
            answer(
                card(Tone::Good, &text, vec![say(&text)]),
                json!({ "changed": count }),
            )
        }
        Err(error) => failed(&error),
    }
}

pub(super) fn failed(error: &AlertError) -> Answer {
    match error {
        AlertError::NotFound(named) => problem(
            Outcome::NotFound,
            format!("There is no alert {}.", code(named)),
            "`list alerts` shows those that are open.",
        ),
        AlertError::Store(_) => unavailable(error),
    }
}
