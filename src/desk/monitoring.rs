//! Starting, stopping and limiting monitoring, and saying honestly how it goes.

use std::fmt::Write as _;
use std::sync::PoisonError;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::execute::{Desk, who};
use super::reply::{
    ago, answer, card, clock, code, counted, field, header, length, problem, say, small,
    unavailable,
};
use super::{Answer, Outcome, Principal};
use crate::chat::card::{Block, Tone};
use crate::redact;
use crate::watch::control::{Monitoring, Projects};
use crate::watch::sources::{Health, SourceStatus};

/// A limit of less would end before the next poll saw anything.
const SHORTEST_SECONDS: u64 = 60;
/// A year: beyond it people mean "until stopped".
const LONGEST_SECONDS: u64 = 366 * 86_400;

impl Desk {
    pub(super) async fn start_monitoring(
        &self,
        principal: &Principal,
        project: Option<String>,
        duration_seconds: Option<u64>,
        now: Timestamp,
    ) -> Answer {
        if let Some(seconds) =
            duration_seconds.filter(|s| !(SHORTEST_SECONDS..=LONGEST_SECONDS).contains(s))
        {
            return problem(
                Outcome::Invalid,
                format!(
                    "I can't monitor for {}.",
                    length(i64::try_from(seconds).unwrap_or(i64::MAX))
                ),
                "Give a time from one minute to a year, or none to monitor until told to stop.",
            );
        }
        if let (Some(name), Projects::Only(names)) = (&project, self.monitoring.configured())
            && !names.contains(name)
        {
            return problem(
                Outcome::Refused,
                format!(
                    "Project {} is not among those I may monitor: {}.",
                    code(name),
                    names.join(", ")
                ),
                "An operator can add it to `monitored_projects` in the configuration.",
            );
        }
        let limit = duration_seconds
            .and_then(|seconds| i64::try_from(seconds).ok())
            .map(SignedDuration::from_secs);
        let unseen = project
            .as_ref()
            .filter(|name| !self.knows_project(name))
            .cloned();
        match self
            .monitoring
            .start(project, limit, &who(principal), now)
            .await
        {
            Err(error) => unavailable(&error),
            Ok(state) => {
                let text = format!("Monitoring {}{}.", scope(&state), until(&state, now));
                let mut blocks = vec![say(&text)];
                if let Some(name) = unseen {
                    blocks.push(small(&format!(
                        "I have not seen any job of project {} yet; check the name if you expect some.",
                        code(&name)
                    )));
                }
                let complaints = self.complaints(now);
                if !complaints.is_empty() {
                    blocks.push(small(&format!("Mind that {}.", complaints.join("; "))));
                }
                answer(
                    card(Tone::Good, &text, blocks),
                    json!({ "monitoring": state }),
                )
            }
        }
    }

    pub(super) async fn stop_monitoring(&self, principal: &Principal, now: Timestamp) -> Answer {
        let was_on = self.monitoring.current(now).enabled;
        match self.monitoring.stop(&who(principal), now).await {
            Err(error) => unavailable(&error),
            Ok(state) => {
                let text = if was_on {
                    "Monitoring is stopped. No new alerts until it is started again.".to_owned()
                } else {
                    format!("Monitoring was already stopped{}.", by(&state, now))
                };
                let blocks = vec![say(&text), small("Start it with `start monitoring`.")];
                answer(
                    card(Tone::Warning, &text, blocks),
                    json!({ "monitoring": state }),
                )
            }
        }
    }

    pub(super) async fn monitoring_status(&self, now: Timestamp) -> Answer {
        let state = self.monitoring.current(now);
        let sources = self.sources.statuses(now);
        let (alerts, backlog) = match (
            self.store.count_alerts().await,
            self.store.effect_backlog(now).await,
        ) {
            (Ok(alerts), Ok(backlog)) => (alerts, backlog),
            (Err(error), _) | (_, Err(error)) => return unavailable(&error),
        };
        let (jobs, failing) = self.failing_count(now);
        let complaints = self.complaints(now);
        let all_well = state.enabled && complaints.is_empty() && alerts.0 == 0;

        let headline = if !state.enabled {
            format!("Monitoring is off{}", by(&state, now))
        } else if !complaints.is_empty() {
            format!("Monitoring is on, but {}", complaints[0])
        } else if all_well {
            format!(
                "Monitoring is on and all is well: {} watched, no open alerts",
                counted(jobs, "job")
            )
        } else {
            format!(
                "Monitoring is on: {}",
                counted(alerts.0.unsigned_abs(), "open alert")
            )
        };
        let tone = if !state.enabled || !complaints.is_empty() {
            Tone::Warning
        } else if all_well {
            Tone::Good
        } else {
            Tone::Info
        };
        let mut fields = vec![
            field("Scope", scope(&state)),
            field(
                "Time left",
                state.until.map_or("no limit".to_owned(), |until| {
                    length(until.duration_since(now).as_secs())
                }),
            ),
            field("Jobs known", format!("{jobs} ({failing} failing)")),
            field(
                "Alerts",
                format!("{} open, {} in total", alerts.0, alerts.1),
            ),
        ];
        if self.settings.poll_interval_seconds > 0 {
            fields.push(field(
                "Poll interval",
                length(i64::try_from(self.settings.poll_interval_seconds).unwrap_or(0)),
            ));
        }
        if self.settings.monitor_only_failed {
            fields.push(field("Looks at", "failing workloads only"));
        }
        if !self.settings.destinations.is_empty() {
            fields.push(field("Alerts go to", self.settings.destinations.join(", ")));
        }
        let mut blocks = vec![header(&headline), Block::Fields { fields }];
        if sources.is_empty() {
            blocks.push(say(
                "I have no source of observations: I see nothing, so I can't tell what is healthy.",
            ));
        } else {
            blocks.push(Block::Table {
                header: ["Source", "State", "Last beat", "Objects", "Lag", "Errors"]
                    .map(str::to_owned)
                    .to_vec(),
                rows: sources
                    .iter()
                    .map(|status| source_row(status, now))
                    .collect(),
            });
        }
        for status in &sources {
            if let Health::Failing { error, .. } = &status.health {
                blocks.push(say(&format!(
                    "{}: {}",
                    code(&status.state.source),
                    code(&redact::line(error, 300))
                )));
            }
        }
        let waiting: i64 = backlog.iter().map(|(_, count, ..)| count).sum();
        if waiting > 0 {
            let oldest = backlog.iter().map(|(_, _, age, _)| *age).max().unwrap_or(0) / 1000;
            blocks.push(say(&format!(
                "{} of work wait to be done, the oldest for {}.",
                counted(waiting.unsigned_abs(), "piece"),
                length(oldest)
            )));
        }
        if !self.settings.not_configured.is_empty() {
            blocks.push(small(&format!(
                "Not set up: {}.",
                self.settings.not_configured.join("; ")
            )));
        }
        if self.settings.demo {
            blocks.push(small("Demo: the estate is simulated."));
        }
        let body = json!({
            "monitoring": state,
            "seconds_left": state.until.map(|until| until.duration_since(now).as_secs().max(0)),
            "configured_projects": match self.monitoring.configured() { Projects::All => json!(["*"]), Projects::Only(names) => json!(names) },
            "poll_interval_seconds": self.settings.poll_interval_seconds,
            "monitor_only_failed": self.settings.monitor_only_failed,
            "jobs": jobs, "failing_jobs": failing,
            "alerts_open": alerts.0, "alerts_total": alerts.1,
            "sources": sources.iter().map(|status| source_body(status, now)).collect::<Vec<_>>(),
            "not_configured": self.settings.not_configured,
            "backlog": backlog.iter().map(|(kind, count, age, error)| json!({
                "kind": kind, "count": count, "oldest_age_ms": age, "last_error": error.as_deref().map(|e| redact::line(e, 300)),
            })).collect::<Vec<_>>(),
            "complaints": complaints,
            "all_well": all_well,
            "demo": self.settings.demo,
        });
        answer(card(tone, &headline, blocks), body)
    }

    /// Monitoring, the gate and the alerts in one look.
    pub(super) async fn status(&self, now: Timestamp) -> Answer {
        let mut status = self.monitoring_status(now).await;
        match self.safety.status(now).await {
            Err(error) => unavailable(&error),
            Ok(safety) => {
                let mut text = if let Some(stop) = &safety.stopped {
                    status.card.tone = Tone::Bad;
                    format!("Emergency stop: {}", redact::line(&stop.to_string(), 300))
                } else {
                    format!(
                        "Actions: {} of {} used this hour, {} of {} today; {} waiting.",
                        safety.used_this_hour,
                        safety.per_hour,
                        safety.used_this_day,
                        safety.per_day,
                        counted(safety.pending_approvals, "approval"),
                    )
                };
                if !safety.disabled.is_empty() {
                    let names: Vec<&str> = safety.disabled.iter().map(|k| k.as_str()).collect();
                    let _ = write!(text, " Disabled: {}.", names.join(", "));
                }
                if safety.dry_run {
                    text.push_str(" Dry run: nothing is really changed.");
                }
                if safety.nobody_may_approve {
                    text.push_str(" Nobody may approve: `APPROVERS` is empty.");
                }
                status.card.blocks.push(say(&text));
                if let Value::Object(body) = &mut status.body {
                    body.insert("safety".to_owned(), json!(safety));
                }
                status
            }
        }
    }

    /// What keeps me from knowing that all is well, as clauses.
    pub(super) fn complaints(&self, now: Timestamp) -> Vec<String> {
        let sources = self.sources.statuses(now);
        if sources.is_empty() {
            return vec!["no source is set up, so I see nothing".to_owned()];
        }
        sources
            .iter()
            .filter_map(|status| {
                let name = code(&status.state.source);
                match &status.health {
                    Health::Fresh | Health::Paused { .. } => None,
                    Health::Late { since } => Some(format!(
                        "{name} has been silent for {}",
                        length(now.duration_since(*since).as_secs())
                    )),
                    Health::Failing { since, .. } => Some(format!(
                        "{name} has been failing for {}",
                        length(now.duration_since(*since).as_secs())
                    )),
                    Health::NeverSeen => Some(format!("{name} was not heard yet")),
                }
            })
            .collect()
    }

    fn knows_project(&self, name: &str) -> bool {
        let estate = self.estate.read().unwrap_or_else(PoisonError::into_inner);
        estate.jobs().any(|job| {
            job.project.as_deref() == Some(name)
                || job.key.namespace == name
                || job.key.namespace.strip_prefix("runai-") == Some(name)
        })
    }
}

fn scope(state: &Monitoring) -> String {
    match &state.project {
        Some(project) => format!("jobs of project {}", code(project)),
        None => "all jobs".to_owned(),
    }
}

fn until(state: &Monitoring, now: Timestamp) -> String {
    state.until.map_or_else(String::new, |until| {
        format!(
            " for {}, until {}",
            length(until.duration_since(now).as_secs()),
            clock(until, now)
        )
    })
}

fn by(state: &Monitoring, now: Timestamp) -> String {
    match (&state.changed_by, state.since) {
        (Some(by), Some(since)) => format!(", since {} by {by}", clock(since, now)),
        (Some(by), None) => format!(" by {by}"),
        (None, _) => String::new(),
    }
}

fn source_row(status: &SourceStatus, now: Timestamp) -> Vec<String> {
    let state = &status.state;
    vec![
        state.source.clone(),
        match &status.health {
            Health::Fresh => "fresh".to_owned(),
            Health::Late { .. } => "late".to_owned(),
            Health::Failing { since, .. } => format!(
                "failing for {}",
                length(now.duration_since(*since).as_secs())
            ),
            Health::NeverSeen => "never heard".to_owned(),
            Health::Paused { .. } => "paused".to_owned(),
        },
        state
            .last_beat
            .map_or("never".to_owned(), |at| ago(at, now)),
        state.objects.to_string(),
        state.lag_ms.map_or("unknown".to_owned(), |ms| {
            if ms < 1000 {
                format!("{ms} ms")
            } else {
                length(i64::try_from(ms / 1000).unwrap_or(i64::MAX))
            }
        }),
        state.errors.to_string(),
    ]
}

fn source_body(status: &SourceStatus, now: Timestamp) -> Value {
    let state = &status.state;
    json!({
        "source": state.source,
        "health": match &status.health {
            Health::Fresh => "fresh",
            Health::Late { .. } => "late",
            Health::Failing { .. } => "failing",
            Health::NeverSeen => "never_seen",
            Health::Paused { .. } => "paused",
        },
        "last_beat": state.last_beat,
        "last_beat_age_seconds": state.last_beat.map(|at| now.duration_since(at).as_secs()),
        "last_success": state.last_success,
        "last_error": state.last_error.as_ref().map(|(at, error)| json!({ "at": at, "error": redact::line(error, 300) })),
        "interval_seconds": state.interval.as_secs(),
        "errors": state.errors,
        "objects": state.objects,
        "lag_ms": state.lag_ms,
    })
}
