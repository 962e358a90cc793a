//! The intents and slots of the contract, as types.

use serde::{Deserialize, Serialize};

use crate::alert::Severity;

/// What a message wants. The serialized name is the contract's intent id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    MonitoringStart,
    MonitoringStop,
    MonitoringStatus,
    JobStatus,
    ListJobs,
    Troubleshoot,
    ShowLogs,
    WhyPending,
    ListIncidents,
    IncidentShow,
    IncidentAck,
    IncidentResolve,
    IncidentCreate,
    IncidentNote,
    SilenceCreate,
    SilenceList,
    SilenceRemove,
    OncallWho,
    PageSomeone,
    ApprovalsList,
    ApprovalDecide,
    ActionRun,
    ActionCancel,
    SettingsChange,
    RunbookRun,
    RunbookList,
    EmergencyStop,
    EmergencyClear,
    Report,
    SimilarIncidents,
    ClusterCapacity,
    IdleGpus,
    LearningStatus,
    Help,
    Greeting,
    OutOfScope,
}

impl Intent {
    /// Every intent, in the contract's order. The position is the class number of the classifier.
    pub const ALL: [Self; 36] = [
        Self::MonitoringStart,
        Self::MonitoringStop,
        Self::MonitoringStatus,
        Self::JobStatus,
        Self::ListJobs,
        Self::Troubleshoot,
        Self::ShowLogs,
        Self::WhyPending,
        Self::ListIncidents,
        Self::IncidentShow,
        Self::IncidentAck,
        Self::IncidentResolve,
        Self::IncidentCreate,
        Self::IncidentNote,
        Self::SilenceCreate,
        Self::SilenceList,
        Self::SilenceRemove,
        Self::OncallWho,
        Self::PageSomeone,
        Self::ApprovalsList,
        Self::ApprovalDecide,
        Self::ActionRun,
        Self::ActionCancel,
        Self::SettingsChange,
        Self::RunbookRun,
        Self::RunbookList,
        Self::EmergencyStop,
        Self::EmergencyClear,
        Self::Report,
        Self::SimilarIncidents,
        Self::ClusterCapacity,
        Self::IdleGpus,
        Self::LearningStatus,
        Self::Help,
        Self::Greeting,
        Self::OutOfScope,
    ];

    /// Whether carrying it out changes anything that a person must confirm first. Starting, narrowing or limiting
    /// monitoring changes something too, but harms nobody.
    #[must_use]
    pub fn needs_confirmation(self) -> bool {
        match self {
            Self::MonitoringStop
            | Self::IncidentAck
            | Self::IncidentResolve
            | Self::IncidentCreate
            | Self::IncidentNote
            | Self::SilenceCreate
            | Self::SilenceRemove
            | Self::PageSomeone
            | Self::ApprovalDecide
            | Self::ActionRun
            | Self::ActionCancel
            | Self::SettingsChange
            | Self::RunbookRun
            | Self::EmergencyStop
            | Self::EmergencyClear => true,
            Self::MonitoringStart
            | Self::MonitoringStatus
            | Self::JobStatus
            | Self::ListJobs
            | Self::Troubleshoot
            | Self::ShowLogs
            | Self::WhyPending
            | Self::ListIncidents
            | Self::IncidentShow
            | Self::SilenceList
            | Self::OncallWho
            | Self::ApprovalsList
            | Self::RunbookList
            | Self::Report
            | Self::SimilarIncidents
            | Self::ClusterCapacity
            | Self::IdleGpus
            | Self::LearningStatus
            | Self::Help
            | Self::Greeting
            | Self::OutOfScope => false,
        }
    }

    /// Whether it is about one job, so that a thread's job may stand in for an unsaid one.
    #[must_use]
    pub fn is_about_a_job(self) -> bool {
        matches!(
            self,
            Self::JobStatus
                | Self::Troubleshoot
                | Self::ShowLogs
                | Self::WhyPending
                | Self::ActionRun
        )
    }

    /// Whether it is about one numbered incident (or approval), so that a thread's number may stand in.
    #[must_use]
    pub fn is_about_an_incident(self) -> bool {
        matches!(
            self,
            Self::IncidentShow
                | Self::IncidentAck
                | Self::IncidentResolve
                | Self::IncidentNote
                | Self::ApprovalDecide
                | Self::SimilarIncidents
        )
    }

    /// What it does, in the words of a menu: "stop monitoring", "show a job's status".
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::MonitoringStart => "start monitoring",
            Self::MonitoringStop => "stop monitoring",
            Self::MonitoringStatus => "show the monitoring status",
            Self::JobStatus => "show a job's status",
            Self::ListJobs => "list jobs",
            Self::Troubleshoot => "troubleshoot a job",
            Self::ShowLogs => "show a job's logs",
            Self::WhyPending => "explain why a job is pending",
            Self::ListIncidents => "list open alerts",
            Self::IncidentShow => "show one alert",
            Self::IncidentAck => "acknowledge an alert",
            Self::IncidentResolve => "resolve an alert",
            Self::IncidentCreate => "open an incident",
            Self::IncidentNote => "add a note to an incident",
            Self::SilenceCreate => "silence alerts",
            Self::SilenceList => "list silences",
            Self::SilenceRemove => "remove a silence",
            Self::OncallWho => "say who is on call",
            Self::PageSomeone => "page someone",
            Self::ApprovalsList => "list pending approvals",
            Self::ApprovalDecide => "approve or deny an action",
            Self::ActionRun => "run an action on a job",
            Self::ActionCancel => "cancel an action",
            Self::SettingsChange => "change a setting",
            Self::RunbookRun => "run a runbook",
            Self::RunbookList => "list runbooks",
            Self::EmergencyStop => "stop all actions (emergency stop)",
            Self::EmergencyClear => "allow actions again",
            Self::Report => "give a report",
            Self::SimilarIncidents => "find similar incidents",
            Self::ClusterCapacity => "show free capacity",
            Self::IdleGpus => "find idle GPUs",
            Self::LearningStatus => "say what was learned",
            Self::Help => "show help",
            Self::Greeting => "say hello",
            Self::OutOfScope => "something I can't help with",
        }
    }
}

/// What the words filled in. "All" is an absent slot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Slots {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Digits only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
    /// A bare verb: restart, suspend, resume, delete, resubmit, scale, rollback, cordon, uncordon, drain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// For approvals: approve (true) or deny (false). Not part of the contract's slots.
    #[serde(skip)]
    pub approve: Option<bool>,
    /// A node, for actions on nodes. Not part of the contract's slots.
    #[serde(skip)]
    pub node: Option<String>,
    /// Only what is failing. Not part of the contract's slots.
    #[serde(skip)]
    pub failing_only: bool,
}

impl Slots {
    /// These slots, with what they leave out taken from `earlier`.
    #[must_use]
    pub fn or(self, earlier: &Self) -> Self {
        let old = earlier.clone();
        Self {
            project: self.project.or(old.project),
            job: self.job.or(old.job),
            namespace: self.namespace.or(old.namespace),
            duration_seconds: self.duration_seconds.or(old.duration_seconds),
            severity: self.severity.or(old.severity),
            incident: self.incident.or(old.incident),
            action: self.action.or(old.action),
            runbook: self.runbook.or(old.runbook),
            service: self.service.or(old.service),
            count: self.count.or(old.count),
            since_seconds: self.since_seconds.or(old.since_seconds),
            user: self.user.or(old.user),
            approve: self.approve.or(old.approve),
            node: self.node.or(old.node),
            failing_only: self.failing_only || old.failing_only,
        }
    }

    /// Whether nothing was filled in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
