//! A message that any surface can show. All text is data: each renderer escapes for its own surface.

use serde::{Deserialize, Serialize};

/// A message with its notification line, tone and parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// One line: the notification and screen-reader form.
    pub fallback: String,
    pub tone: Tone,
    pub blocks: Vec<Block>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    Info,
    Good,
    Warning,
    Bad,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block {
    Header {
        text: String,
    },
    Text {
        spans: Vec<Span>,
    },
    /// Label and value pairs, at most ten.
    Fields {
        fields: Vec<(String, Vec<Span>)>,
    },
    /// Preformatted text from outside: log lines, events.
    Code {
        text: String,
    },
    /// Small print.
    Context {
        spans: Vec<Span>,
    },
    Table {
        header: Vec<String>,
        rows: Vec<Vec<String>>,
    },
    /// A picture as SVG of our own making (text escaped), and what it shows in words. Slack gets it as a file.
    Picture {
        svg: String,
        alt: String,
    },
    Buttons {
        buttons: Vec<Button>,
    },
    Divider,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "text", rename_all = "snake_case")]
pub enum Span {
    Plain(String),
    Bold(String),
    Italic(String),
    Code(String),
    /// A person, by user id of the surface (`U…` in Slack, a name elsewhere).
    User(String),
    Link {
        label: String,
        url: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Button {
    pub press: Press,
    pub label: String,
    pub style: ButtonStyle,
    /// Asked before the press counts, where the surface can.
    pub confirm: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ButtonStyle {
    Plain,
    Primary,
    Danger,
}

/// What pressing a button means: a verb and an opaque id that is looked up on our side.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Press {
    pub verb: Verb,
    /// Alert or approval id.
    pub id: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    Approve,
    /// Asks for a reason where the surface can.
    Deny,
    Acknowledge,
    Resolve,
    /// Silence for one hour, four hours, one day.
    Silence1h,
    Silence4h,
    Silence1d,
    Troubleshoot,
    ShowLogs,
    ThumbsUp,
    ThumbsDown,
    /// A confirmation asked for by the desk; `id` names the pending command.
    Confirm,
    Cancel,
}
