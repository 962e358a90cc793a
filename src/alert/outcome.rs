//! What is to follow an event of an alert, as data: what to show, page, say and write down.

use serde::{Deserialize, Serialize};

use crate::diagnose::Diagnosis;

/// What is to follow an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The alert changed and is to be saved, though people see nothing new.
    Changed,
    /// Bring its messages up to date.
    Show,
    /// Bring PagerDuty up to date.
    Page,
    /// Find out why.
    Diagnose { again: bool },
    /// Say it in the thread.
    Tell(Note),
    /// Add to the timeline.
    Record {
        kind: EventKind,
        by: Option<String>,
        text: String,
    },
    /// After a recovery it failed for another reason: that is an alert of its own, with this diagnosis.
    Split(Box<Diagnosis>),
}

/// What a thread is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub enum Note {
    /// The full report.
    Diagnosed,
    FailedAgain {
        times: u64,
    },
    /// It fails and recovers again and again, `times` lately, and is held until a recovery lasted `minutes`.
    Flapping {
        times: u64,
        minutes: i64,
    },
    /// PagerDuty cannot be told (`why`), or was told at last.
    Paging {
        why: Option<String>,
    },
    Resolved {
        how: String,
    },
    Action {
        text: String,
    },
}

/// Kinds of timeline entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    Opened,
    Reopened,
    Flapping,
    Observed,
    Expected,
    Quiet,
    Diagnosed,
    Grouped,
    Acknowledged,
    Silenced,
    Unsilenced,
    Paging,
    Rated,
    Offered,
    Decided,
    Action,
    Resolved,
}

impl EventKind {
    /// The name in the database and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Reopened => "reopened",
            Self::Flapping => "flapping",
            Self::Observed => "observed",
            Self::Expected => "expected",
            Self::Quiet => "quiet",
            Self::Diagnosed => "diagnosed",
            Self::Grouped => "grouped",
            Self::Acknowledged => "acknowledged",
            Self::Silenced => "silenced",
            Self::Unsilenced => "unsilenced",
            Self::Paging => "paging",
            Self::Rated => "rated",
            Self::Offered => "offered",
            Self::Decided => "decided",
            Self::Action => "action",
            Self::Resolved => "resolved",
        }
    }
}
