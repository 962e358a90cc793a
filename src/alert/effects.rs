//! What the outcomes of an event ask the outbox for.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::lifecycle::{Note, Outcome};
use super::settings::Settings;
use super::{Alert, AlertState};
use crate::chat::picture::worth_seeing;
use crate::detect::FailureClass;
use crate::estate::JobKey;
use crate::notify::{Destination, Page, Subject, SyncMessage, ThreadNote, ThreadPicture};
use crate::store::{EffectKind, NewEffect};

/// Payload of `EffectKind::Diagnose`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiagnoseRequest {
    pub alert_id: String,
    pub job: JobKey,
    /// A person asked and waits for the report, even if it says nothing new.
    #[serde(default)]
    pub asked: bool,
}

/// The effects that `outcomes` of an event of `alert` want. Timeline entries and splits are the caller's to save.
#[must_use]
pub fn effects(
    alert: &Alert,
    outcomes: &[Outcome],
    settings: &Settings,
    now: Timestamp,
) -> Vec<NewEffect> {
    let mut wanted = Vec::new();
    for outcome in outcomes {
        match outcome {
            Outcome::Show => {
                for subject in told_by(alert) {
                    wanted.extend(show(&subject, settings, now));
                }
            }
            Outcome::Page => {
                for subject in told_by(alert) {
                    wanted.extend(page(&subject, &alert.job_id, settings, now));
                }
            }
            Outcome::Diagnose { again } => wanted.extend(diagnose(alert, *again, settings, now)),
            Outcome::Tell(note) => {
                wanted.extend(tell(alert, note, settings, now));
                if *note == Note::Diagnosed {
                    wanted.extend(pictures(alert, settings, now));
                }
            }
            Outcome::Changed | Outcome::Record { .. } | Outcome::Split(_) => {}
        }
    }
    wanted
}

/// Brings the messages about `subject` up to date, wherever they are sent.
pub fn show(subject: &Subject, settings: &Settings, now: Timestamp) -> Vec<NewEffect> {
    sent_to(settings)
        .map(|destination| NewEffect {
            kind: EffectKind::SyncMessage,
            lane: lane(destination, subject),
            fold: Some(format!("sync:{}@{}", subject.key(), destination.key())),
            payload: json!(SyncMessage {
                subject: subject.clone(),
                destination: destination.clone()
            }),
            due: now,
        })
        .collect()
}

/// Brings PagerDuty up to date about `subject`. One lane per job (or group): what is told of one is told in order.
pub fn page(
    subject: &Subject,
    job_id: &str,
    settings: &Settings,
    now: Timestamp,
) -> Option<NewEffect> {
    settings
        .destinations
        .contains(&Destination::PagerDuty)
        .then(|| NewEffect {
            kind: EffectKind::Page,
            lane: match subject {
                Subject::Alert(_) => format!("pagerduty:{job_id}"),
                Subject::Group(id) => format!("pagerduty:group:{id}"),
            },
            fold: Some(format!("page:{}", subject.key())),
            payload: json!(Page {
                subject: subject.clone()
            }),
            due: now,
        })
}

fn diagnose(alert: &Alert, again: bool, settings: &Settings, now: Timestamp) -> Option<NewEffect> {
    let about_a_job = !matches!(alert.class, FailureClass::Node | FailureClass::Source);
    (settings.auto_troubleshoot && about_a_job)
        .then(|| request_diagnosis(alert, again, false, settings, now))
}

/// Asks for the alert's job to be troubleshot, whatever the settings say.
pub fn request_diagnosis(
    alert: &Alert,
    again: bool,
    asked: bool,
    settings: &Settings,
    now: Timestamp,
) -> NewEffect {
    let job = JobKey {
        cluster: alert.subject.cluster.clone(),
        namespace: alert.subject.namespace.clone(),
        name: alert.subject.name.clone(),
    };
    let wait = if again {
        settings.rediagnose_after
    } else {
        jiff::SignedDuration::ZERO
    };
    NewEffect {
        kind: EffectKind::Diagnose,
        lane: format!("diagnose:{}", alert.id),
        // What a person asked for must not be lost in what the bot wants anyway.
        fold: Some(format!("diagnose:{}:{asked}", alert.id)),
        payload: json!(DiagnoseRequest {
            alert_id: alert.id.clone(),
            job,
            asked
        }),
        due: now.saturating_add(wait).unwrap_or(now),
    }
}

/// Whose messages tell an alert: its own if it has one, and its group's.
pub(crate) fn told_by(alert: &Alert) -> Vec<Subject> {
    let own = alert
        .track
        .own_message
        .then(|| Subject::Alert(alert.id.clone()));
    own.into_iter()
        .chain(alert.group_id.clone().map(Subject::Group))
        .collect()
}

/// Notes go to the alert's own thread. What only a group tells is silent in a thread too, but for actions: those are
/// few, and someone decided them.
fn tell(alert: &Alert, note: &Note, settings: &Settings, now: Timestamp) -> Vec<NewEffect> {
    let action = matches!(note, Note::Action { .. });
    let quiet = alert.silenced(now) && !action && alert.state != AlertState::Resolved;
    let subject = match told_by(alert).into_iter().next() {
        Some(Subject::Group(_)) if !action => None,
        subject => subject,
    };
    match subject.filter(|_| !quiet) {
        Some(subject) => notes(&subject, alert, note, settings, now),
        None => Vec::new(),
    }
}

/// The picture of the diagnosis, beside the report and never before the message: in a lane of its own.
fn pictures(alert: &Alert, settings: &Settings, now: Timestamp) -> Vec<NewEffect> {
    let course = alert.diagnosis.as_ref().and_then(|d| d.course.as_ref());
    let own = matches!(told_by(alert).first(), Some(Subject::Alert(_)));
    if !own || alert.silenced(now) || !course.is_some_and(worth_seeing) {
        return Vec::new();
    }
    let subject = Subject::Alert(alert.id.clone());
    sent_to(settings)
        .filter(|destination| matches!(destination, Destination::Slack { .. }))
        .map(|destination| NewEffect {
            kind: EffectKind::ThreadPicture,
            lane: format!("picture:{}", lane(destination, &subject)),
            fold: Some(format!("picture:{}@{}", subject.key(), destination.key())),
            payload: json!(ThreadPicture {
                subject: subject.clone(),
                destination: destination.clone(),
                alert_id: alert.id.clone(),
            }),
            due: now,
        })
        .collect()
}

/// The report in the thread once more, for somebody who asked for it.
pub fn report_again(alert: &Alert, settings: &Settings, now: Timestamp) -> Vec<NewEffect> {
    match told_by(alert).first() {
        Some(subject) if alert.diagnosis.is_some() => {
            notes(subject, alert, &Note::Diagnosed, settings, now)
        }
        Some(_) | None => Vec::new(),
    }
}

/// Says something in the thread of the message about `subject`. A webhook has no threads and is told only what nobody
/// else would hear: that nobody is woken.
pub fn notes(
    subject: &Subject,
    alert: &Alert,
    note: &Note,
    settings: &Settings,
    now: Timestamp,
) -> Vec<NewEffect> {
    sent_to(settings)
        .filter(|destination| match destination {
            Destination::Slack { .. } => true,
            Destination::SlackWebhook => matches!(note, Note::Paging { .. }),
            Destination::PagerDuty | Destination::Console => false,
        })
        .map(|destination| NewEffect {
            kind: EffectKind::ThreadNote,
            lane: lane(destination, subject),
            fold: None,
            payload: json!(ThreadNote {
                subject: subject.clone(),
                destination: destination.clone(),
                alert_id: alert.id.clone(),
                note: note.clone(),
            }),
            due: now,
        })
        .collect()
}

/// What is said of one subject is said in order; a message that Slack does not take must not hold up all others.
fn lane(destination: &Destination, subject: &Subject) -> String {
    format!("{}:{}", destination.key(), subject.key())
}

/// Destinations that need messages to be sent to them.
fn sent_to(settings: &Settings) -> impl Iterator<Item = &Destination> {
    settings.destinations.iter().filter(|destination| {
        matches!(
            destination,
            Destination::Slack { .. } | Destination::SlackWebhook
        )
    })
}
