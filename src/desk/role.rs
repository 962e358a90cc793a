//! What an asker may: the roles of tokens, what is known of people in Slack, and the role that each command needs.

use serde::{Deserialize, Serialize};

use super::{Command, Principal, Surface};
use crate::chat::card::Verb;

/// What a token allows; each role may do all that the ones before it may.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Starts and stops monitoring, acknowledges, silences, resolves, pulls the emergency stop, disables kinds of action.
    Operator,
    /// Decides on actions too, unless nobody may.
    Approver,
    /// Clears an emergency stop and enables kinds of action too.
    Admin,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Admin => "admin",
        })
    }
}

impl std::str::FromStr for Role {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "viewer" => Ok(Self::Viewer),
            "operator" => Ok(Self::Operator),
            "approver" => Ok(Self::Approver),
            "admin" => Ok(Self::Admin),
            _ => Err(()),
        }
    }
}

/// What is known of an asker beyond the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// A member of our Slack workspace, or whoever sits at this machine.
    #[default]
    Member,
    /// In Slack, but not of us: a guest, or somebody of another workspace in a shared channel.
    Guest,
    /// A guest whom the setting `slack.guests_may_read` lets read.
    Visitor,
    /// In Slack, and Slack did not say whether a member or a guest.
    Unknown,
    /// Brought a token that grants a role.
    Token(Role),
}

/// Why somebody may not give a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Withheld {
    Role { has: Role, needs: Role },
    Guest,
    Visitor,
    Unknown,
}

impl Withheld {
    /// What is wrong, and the way out.
    pub(crate) fn told(self) -> (String, &'static str) {
        match self {
            Self::Role { has, needs } => (
                format!("This needs the role {needs}; your token has {has}."),
                "Ask somebody with that role, or for a token that has it; looking is open to you.",
            ),
            Self::Guest => (
                "I talk about jobs and alerts only with full members of this Slack workspace, and you are a guest here."
                    .to_owned(),
                "Ask a member; an operator can open reading to guests with `slack.guests_may_read`.",
            ),
            Self::Visitor => (
                "Only full members of nightbell's own Slack workspace may change anything.".to_owned(),
                "Ask one of them; looking is open to you.",
            ),
            Self::Unknown => (
                "Slack did not tell me whether you are a member of this workspace, so I say and do nothing for now."
                    .to_owned(),
                "Please try again in a minute.",
            ),
        }
    }
}

impl Principal {
    /// Whether the asker's standing allows a command. What else may stand in the way (who asked, the list of approvers,
    /// limits) is judged by those who know it.
    pub(crate) fn check(&self, command: &Command) -> Result<(), Withheld> {
        let needs = needed(command);
        match self.standing {
            Standing::Member => Ok(()),
            Standing::Token(has) if has >= needs => Ok(()),
            Standing::Token(has) => Err(Withheld::Role { has, needs }),
            Standing::Visitor if needs == Role::Viewer => Ok(()),
            Standing::Guest | Standing::Visitor | Standing::Unknown
                if is_open_to_guests(command) =>
            {
                Ok(())
            }
            Standing::Visitor => Err(Withheld::Visitor),
            Standing::Guest => Err(Withheld::Guest),
            Standing::Unknown => Err(Withheld::Unknown),
        }
    }

    /// Whether the asker's token grants deciding on actions.
    #[must_use]
    pub fn has_approving_role(&self) -> bool {
        match (self.surface, self.standing) {
            (Surface::Api, Standing::Token(role)) => role >= Role::Approver,
            (Surface::Slack | Surface::Console | Surface::Cli | Surface::Api, _) => false,
        }
    }
}

/// Help is for everybody. Decisions are judged, and kept, by the gate, which lets nobody in who is not named.
fn is_open_to_guests(command: &Command) -> bool {
    matches!(
        command,
        Command::Help { .. }
            | Command::Decide { .. }
            | Command::Press {
                verb: Verb::Approve | Verb::Deny,
                ..
            }
    )
}

/// The role that a command needs. A sentence may be said by everybody: it comes back as the command that it means.
#[must_use]
pub fn needed(command: &Command) -> Role {
    match command {
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
        | Command::Say { .. } => Role::Viewer,
        Command::MonitoringStart { .. }
        | Command::MonitoringStop
        | Command::RunAction { .. }
        | Command::Silence { .. }
        | Command::SilenceWhere { .. }
        | Command::RemoveSilence { .. }
        | Command::ClearQueue
        | Command::SetAction { disabled: true, .. }
        | Command::EmergencyStop { .. } => Role::Operator,
        Command::Decide { .. } => Role::Approver,
        // What lets actions run again takes as much as clearing an emergency stop.
        Command::EmergencyClear
        | Command::SetAction {
            disabled: false, ..
        } => Role::Admin,
        Command::Press { verb, .. } => match verb {
            // What is confirmed was kept for its asker, and is checked as itself when it comes out.
            Verb::Troubleshoot | Verb::ShowLogs | Verb::Cancel | Verb::Confirm => Role::Viewer,
            Verb::Acknowledge
            | Verb::Resolve
            | Verb::Silence1h
            | Verb::Silence4h
            | Verb::Silence1d
            | Verb::ThumbsUp
            | Verb::ThumbsDown => Role::Operator,
            Verb::Approve | Verb::Deny => Role::Approver,
        },
    }
}
