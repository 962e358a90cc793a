//! What the rules of alerting can be told.

use jiff::SignedDuration;
use serde::Deserialize;

use super::Severity;
use super::window::Window;
use crate::detect::FailureClass;
use crate::notify::Destination;

/// Rules of alerting; the defaults are those the program ships.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Messages for one failure of one job; a further recurrence edits the last one.
    pub max_alerts_per_job: u64,
    /// How long a job must show no failure before it counts as recovered.
    pub resolve_after: SignedDuration,
    /// How long later evidence is waited for before a job that goes on failing is diagnosed again.
    pub rediagnose_after: SignedDuration,
    /// Where every alert goes.
    pub destinations: Vec<Destination>,
    /// The least severity that pages.
    pub page_from: Severity,
    /// The first rule that fits decides the severity.
    pub severities: Vec<SeverityRule>,
    pub grouping: GroupingSettings,
    /// Silences that come again by a schedule.
    pub windows: Vec<Window>,
    /// Everything that is watched is simulated.
    pub demo: bool,
    /// Whether a new alert is troubleshot at once (`enable_auto_troubleshoot`).
    pub auto_troubleshoot: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_alerts_per_job: 1,
            resolve_after: SignedDuration::from_mins(5),
            rediagnose_after: SignedDuration::from_secs(10),
            destinations: vec![Destination::Console],
            page_from: Severity::High,
            severities: Vec::new(),
            grouping: GroupingSettings::default(),
            windows: Vec::new(),
            demo: false,
            auto_troubleshoot: true,
        }
    }
}

/// When several alerts are told by one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupingSettings {
    /// Alerts with something in common within `window` that make a group.
    pub least: usize,
    pub window: SignedDuration,
    /// Alerts within `storm_window` that get messages of their own; the rest is told by a rolling summary.
    pub own_messages: usize,
    pub storm_window: SignedDuration,
}

impl Default for GroupingSettings {
    fn default() -> Self {
        Self {
            least: 3,
            window: SignedDuration::from_mins(5),
            own_messages: 3,
            storm_window: SignedDuration::from_mins(1),
        }
    }
}

/// Overrides the severity of what it fits. An absent condition fits everything.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeverityRule {
    #[serde(default)]
    pub class: Option<FailureClass>,
    #[serde(default)]
    pub project: Option<String>,
    #[serde(default)]
    pub namespace: Option<String>,
    /// Kind of job: `Training`, `Deployment` …
    #[serde(default)]
    pub kind: Option<String>,
    pub severity: Severity,
}
