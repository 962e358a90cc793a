//! Silences: of one alert, or by labels of all that fit; and the maintenance windows of the configuration.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::alerts::{READ, ROWS, done, failed};
use super::execute::{Desk, who};
use super::reply::{
    answer, card, clock, counted, header, length, problem, say, small, unavailable,
};
use super::understand::Slots;
use super::{Answer, Command, Outcome, Principal};
use crate::alert::Alert;
use crate::alert::matcher::{InvalidMatcher, Label, Matcher};
use crate::alert::service::NewSilence;
use crate::alert::silence::{Silence, what};
use crate::alert::window::Window;
use crate::chat::card::{Block, Tone};
use crate::store::AlertFilter;

/// A silence of less would end before it is noticed.
const SHORTEST: u64 = 60;
/// Thirty days: what is silent for longer is not an alert any more.
const LONGEST: u64 = 30 * 86_400;
/// A silence whose length was not said.
const USUAL: u64 = 3_600;

impl Desk {
    pub(super) async fn silence(
        &self,
        principal: &Principal,
        alert: &str,
        duration_seconds: u64,
        now: Timestamp,
    ) -> Answer {
        let (seconds, until) = match end(duration_seconds, now) {
            Ok(end) => end,
            Err(answer) => return *answer,
        };
        let id = match self.alert_id(alert).await {
            Ok(id) => id,
            Err(answer) => return *answer,
        };
        done(
            self.alerts.silence(&id, &who(principal), until, now).await,
            |alert| {
                format!(
                    "Alert #{} is silenced for {}, until {}.",
                    alert.number,
                    length(seconds),
                    clock(until, now)
                )
            },
        )
    }

    /// Silences everything that fits, now and to come.
    pub(super) async fn silence_where(
        &self,
        principal: &Principal,
        matchers: Vec<Matcher>,
        duration_seconds: u64,
        reason: Option<String>,
        now: Timestamp,
    ) -> Answer {
        let (seconds, until) = match end(duration_seconds, now) {
            Ok(end) => end,
            Err(answer) => return *answer,
        };
        let new = NewSilence {
            matchers,
            until,
            by: who(principal),
            reason,
        };
        match self.alerts.add_silence(new, now).await {
            Ok((silence, covered)) => {
                let text = format!(
                    "Silence S{} holds for {}, until {}: nobody is told or woken by {}. It covers {} now; each is kept, \
                     and told then if it still fails.",
                    silence.number,
                    length(seconds),
                    clock(until, now),
                    said(&silence),
                    counted(covered, "open alert"),
                );
                let blocks = vec![
                    say(&text),
                    small(&format!("`unsilence S{}` ends it early.", silence.number)),
                ];
                answer(
                    card(Tone::Good, &text, blocks),
                    json!({ "silence": shown(&silence, covered) }),
                )
            }
            Err(error) => failed(&error),
        }
    }

    /// Ends the silence of an alert, or a silence by labels (`S3`).
    pub(super) async fn remove_silence(
        &self,
        principal: &Principal,
        named: &str,
        now: Timestamp,
    ) -> Answer {
        if let Some(number) = silence_number(named) {
            return self.end_silence(number, now).await;
        }
        let id = match self.alert_id(named).await {
            Ok(id) => id,
            Err(answer) => return *answer,
        };
        done(
            self.alerts.unsilence(&id, &who(principal), now).await,
            |alert| match &alert.covered {
                Some(cover) => {
                    format!("Alert #{} is still silenced by {}.", alert.number, cover.by)
                }
                None => format!("Alert #{} is no longer silenced.", alert.number),
            },
        )
    }

    async fn end_silence(&self, number: i64, now: Timestamp) -> Answer {
        match self.alerts.end_silence(number, now).await {
            Ok(Some(silence)) => {
                let text = format!(
                    "Silence S{number} of {} is over. What it covered and still fails is told now.",
                    said(&silence)
                );
                answer(
                    card(Tone::Good, &text, vec![say(&text)]),
                    json!({ "silence": shown(&silence, 0) }),
                )
            }
            Ok(None) => problem(
                Outcome::NotFound,
                format!("There is no silence S{number}, or not any more."),
                "`list silences` shows those that hold.",
            ),
            Err(error) => failed(&error),
        }
    }

    pub(super) async fn list_silences(&self, now: Timestamp) -> Answer {
        let filter = AlertFilter {
            limit: READ,
            ..AlertFilter::default()
        };
        let (alerts, silences) = match (
            self.alerts.list(filter).await,
            self.alerts.silences(now).await,
        ) {
            (Ok(alerts), Ok(silences)) => (alerts, silences),
            (Err(error), _) | (_, Err(error)) => return failed(&error),
        };
        let windows = &self.alerts.settings().windows;
        let alone: Vec<&Alert> = alerts
            .iter()
            .filter(|alert| alert.silenced_until.is_some_and(|until| until > now))
            .collect();
        let open = windows
            .iter()
            .filter(|window| window.open_until(now).is_some())
            .count();
        let parts: Vec<String> = [
            (silences.len(), "silence", ""),
            (alone.len(), "alert", " silenced"),
            (open, "maintenance window", " open"),
        ]
        .into_iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, noun, after)| format!("{}{after}", counted(count, noun)))
        .collect();
        let headline = if parts.is_empty() {
            "Nothing is silenced".to_owned()
        } else {
            parts.join(", ")
        };
        let mut blocks = vec![header(&headline)];
        if !silences.is_empty() {
            blocks.push(Block::Table {
                header: ["Silence", "Covers", "Until", "By", "Alerts", "Reason"]
                    .map(str::to_owned)
                    .to_vec(),
                rows: silences
                    .iter()
                    .take(ROWS)
                    .map(|silence| {
                        vec![
                            format!("S{}", silence.number),
                            what(&silence.matchers),
                            clock(silence.ends, now),
                            silence.by.clone(),
                            covered(&alerts, silence).to_string(),
                            silence.reason.clone().unwrap_or_default(),
                        ]
                    })
                    .collect(),
            });
        }
        if !alone.is_empty() {
            blocks.push(Block::Table {
                header: ["#", "Job", "Failure", "Until"].map(str::to_owned).to_vec(),
                rows: alone
                    .iter()
                    .take(ROWS)
                    .map(|alert| row(alert, now))
                    .collect(),
            });
        }
        if !windows.is_empty() {
            blocks.push(Block::Table {
                header: ["Maintenance window", "Covers", "Schedule", "Now"]
                    .map(str::to_owned)
                    .to_vec(),
                rows: windows
                    .iter()
                    .map(|window| window_row(window, now))
                    .collect(),
            });
        }
        if !silences.is_empty() || !alone.is_empty() {
            blocks.push(small("`unsilence S3` or `unsilence #12` ends one early."));
        }
        let listed: Vec<Value> = silences
            .iter()
            .map(|silence| shown(silence, covered(&alerts, silence)))
            .chain(alone.iter().map(|alert| {
                json!({
                    "id": alert.number.to_string(), "alert": alert.id, "number": alert.number,
                    "job": alert.subject.name, "namespace": alert.subject.namespace, "project": alert.subject.project,
                    "until": alert.silenced_until,
                })
            }))
            .collect();
        let windows: Vec<Value> = windows
            .iter()
            .map(|window| {
                json!({
                    "name": window.name, "cron": window.schedule.to_string(),
                    "duration_seconds": window.duration.as_secs(),
                    "time_zone": window.time_zone.iana_name(), "matchers": window.matchers,
                    "open_until": window.open_until(now),
                })
            })
            .collect();
        let body = json!({ "silences": listed, "maintenance_windows": windows });
        answer(card(Tone::Info, &headline, blocks), body)
    }

    /// What a sentence wants to be silent: an alert by its number, whatever fits its words, or the one that is meant.
    pub(super) async fn silence_said(
        &self,
        slots: &Slots,
        text: &str,
    ) -> Result<Command, Box<Answer>> {
        let duration_seconds = slots.duration_seconds.unwrap_or(USUAL);
        let matchers = matchers(slots)?;
        if slots.incident.is_none() && (!matchers.is_empty() || says_all(text)) {
            return Ok(Command::SilenceWhere {
                matchers,
                duration_seconds,
                reason: None,
            });
        }
        Ok(Command::Silence {
            alert: self.meant(slots).await?.id,
            duration_seconds,
        })
    }

    /// Which silence a sentence wants to end.
    pub(super) async fn unsilence_said(
        &self,
        slots: &Slots,
        text: &str,
        now: Timestamp,
    ) -> Result<Command, Box<Answer>> {
        let by_number = |number: i64| Command::RemoveSilence {
            alert: format!("S{number}"),
        };
        if let Some(number) = text.split_whitespace().find_map(silence_number) {
            return Ok(by_number(number));
        }
        let of_alert = async || {
            Ok(Command::RemoveSilence {
                alert: self.meant(slots).await?.id,
            })
        };
        if slots.incident.is_some() {
            return of_alert().await;
        }
        let silences = self
            .alerts
            .silences(now)
            .await
            .map_err(|error| Box::new(unavailable(&error)))?;
        let wanted = matchers(slots)?;
        // A bare name may be that of a job or of a project.
        let as_project = match (&slots.job, wanted.as_slice()) {
            (Some(name), [_]) => Matcher::is(Label::Project, name).ok(),
            (Some(_) | None, _) => None,
        };
        let fits = |silence: &&Silence| {
            let same = silence.matchers.len() == wanted.len()
                && wanted.iter().all(|one| silence.matchers.contains(one));
            let of_project = as_project.iter().eq(&silence.matchers);
            wanted.is_empty() || same || (as_project.is_some() && of_project)
        };
        let found: Vec<&Silence> = silences.iter().filter(fits).collect();
        match found.as_slice() {
            [only] => Ok(by_number(only.number)),
            [] if wanted.is_empty() || slots.job.is_some() => of_alert().await,
            [] => Err(Box::new(problem(
                Outcome::NotFound,
                format!("No silence is of {}.", quoted(&wanted)),
                "`list silences` shows those that hold; `unsilence S3` ends one.",
            ))),
            several => Err(Box::new(problem(
                Outcome::NotFound,
                format!("Which of the {} silences do you mean?", several.len()),
                "Name it, for example `unsilence S3`; `list silences` shows them.",
            ))),
        }
    }
}

/// What the words name, as conditions.
fn matchers(slots: &Slots) -> Result<Vec<Matcher>, Box<Answer>> {
    let severity = slots.severity.map(super::alerts::severity);
    let job = slots.job.as_deref().or(slots.service.as_deref());
    [
        (Label::Project, slots.project.as_deref()),
        (Label::Namespace, slots.namespace.as_deref()),
        (Label::Job, job),
        (Label::Severity, severity),
    ]
    .into_iter()
    .filter_map(|(label, value)| Some(Matcher::is(label, value?)))
    .collect::<Result<_, InvalidMatcher>>()
    .map_err(|error| Box::new(problem(Outcome::Invalid, error.to_string(), "")))
}

/// Whether the words mean everything, and not the one alert that is talked about.
fn says_all(text: &str) -> bool {
    let text = text.to_lowercase();
    let mut words = text.split(|c: char| !c.is_alphanumeric());
    words.any(|word| {
        matches!(
            word,
            "all" | "everything" | "every" | "anything" | "everyone"
        )
    })
}

/// The number of a silence by labels: `S3`.
fn silence_number(text: &str) -> Option<i64> {
    let digits = text
        .trim()
        .trim_start_matches('#')
        .strip_prefix(['S', 's'])?;
    digits.parse().ok()
}

/// Length and end of a silence.
fn end(duration_seconds: u64, now: Timestamp) -> Result<(i64, Timestamp), Box<Answer>> {
    if !(SHORTEST..=LONGEST).contains(&duration_seconds) {
        return Err(Box::new(problem(
            Outcome::Invalid,
            "A silence lasts from one minute to thirty days.",
            "For example `silence #12 for 4 hours`.",
        )));
    }
    let seconds = i64::try_from(duration_seconds).unwrap_or(i64::MAX);
    let until = now
        .checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX);
    Ok((seconds, until))
}

fn covered(alerts: &[Alert], silence: &Silence) -> usize {
    let by = silence.name();
    let mut covers = alerts.iter().filter_map(|alert| alert.covered.as_ref());
    covers.by_ref().filter(|cover| cover.by == by).count()
}

fn said(silence: &Silence) -> String {
    quoted(&silence.matchers)
}

/// What matchers cover, with names standing out.
pub(super) fn quoted(matchers: &[Matcher]) -> String {
    if matchers.is_empty() {
        what(matchers)
    } else {
        super::reply::code(&what(matchers))
    }
}

fn shown(silence: &Silence, covered: usize) -> Value {
    json!({
        "id": format!("S{}", silence.number), "matchers": silence.matchers, "starts": silence.starts,
        "until": silence.ends, "by": silence.by, "reason": silence.reason, "alerts": covered,
    })
}

fn row(alert: &Alert, now: Timestamp) -> Vec<String> {
    let until = alert.silenced_until;
    vec![
        alert.number.to_string(),
        alert.subject.name.clone(),
        alert.failure.clone(),
        until.map_or_else(String::new, |until| clock(until, now)),
    ]
}

fn window_row(window: &Window, now: Timestamp) -> Vec<String> {
    let state = match window.open_until(now) {
        Some(until) => format!("open until {}", clock(until, now)),
        None => "closed".to_owned(),
    };
    vec![
        window.name.clone(),
        what(&window.matchers),
        format!(
            "{} for {} ({})",
            window.schedule,
            length(window.duration.as_secs()),
            window.time_zone.iana_name().unwrap_or("UTC")
        ),
        state,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_mean_everything_are_told_from_those_that_mean_one() {
        for (text, all) in [
            ("silence everything for 2 hours", true),
            ("Mute ALL alerts", true),
            ("silence it for an hour", false),
            ("silence this alert", false),
            ("silence the wall-e job", false),
        ] {
            assert_eq!(says_all(text), all, "{text}");
        }
    }

    #[test]
    fn a_silence_is_named_by_its_number() {
        for (text, number) in [
            ("S3", Some(3)),
            ("#s12", Some(12)),
            ("3", None),
            ("Sx", None),
        ] {
            assert_eq!(silence_number(text), number, "{text}");
        }
    }
}
