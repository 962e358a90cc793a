//! Telling people and pagers. Workers claim effects from the outbox and carry them out; what is told is rendered from
//! the state at the time of sending, so that edits which wait coalesce.

pub mod links;
pub mod pace;
pub mod page;
pub mod pagerduty;
mod picture;
pub mod replica;
pub mod slack;
pub mod view;
pub mod worker;

use serde::{Deserialize, Serialize};

use crate::alert::lifecycle::Note;

/// Where alerts are told.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "snake_case")]
pub enum Destination {
    /// A Slack channel by id, through the bot's token: messages are edited and have threads.
    Slack {
        channel: String,
    },
    /// A Slack incoming webhook: one message when it begins and one when it ends.
    SlackWebhook,
    PagerDuty,
    /// The built-in console, which renders alerts whenever they are read; nothing is sent.
    Console,
}

impl Destination {
    /// Its name in the database, and the lane in which it is served.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Slack { channel } => format!("slack:{channel}"),
            Self::SlackWebhook => "slack-webhook".to_owned(),
            Self::PagerDuty => "pagerduty".to_owned(),
            Self::Console => "console".to_owned(),
        }
    }
}

/// What a message or page is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "about", content = "id", rename_all = "snake_case")]
pub enum Subject {
    Alert(String),
    Group(String),
}

impl Subject {
    /// Its name in the database, in message metadata and in deduplication keys.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Alert(id) => format!("alert:{id}"),
            Self::Group(id) => format!("group:{id}"),
        }
    }
}

/// Payload of `EffectKind::SyncMessage`: bring the message about `subject` at `destination` up to date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncMessage {
    pub subject: Subject,
    pub destination: Destination,
}

/// Payload of `EffectKind::ThreadNote`: say something in the thread of the message about `subject`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreadNote {
    pub subject: Subject,
    pub destination: Destination,
    /// The alert that the note is about, which is a member if `subject` is a group.
    pub alert_id: String,
    pub note: Note,
}

/// Payload of `EffectKind::ThreadPicture`: put the picture of the diagnosis into the thread of the message about
/// `subject`. A nicety: it is given up where a message would be repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadPicture {
    pub subject: Subject,
    pub destination: Destination,
    pub alert_id: String,
}

/// Payload of `EffectKind::Page`: bring PagerDuty up to date about `subject`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    pub subject: Subject,
}
