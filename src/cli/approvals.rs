//! Questions about actions.

use clap::{Args, Subcommand};

use super::{Exit, Failed, Global, execute};
use crate::desk;

#[derive(Debug, Args)]
pub struct Approvals {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What waits for a decision.
    List,
    /// Let an action be carried out.
    Approve {
        /// Number or id of the approval.
        id: String,
    },
    /// Refuse an action.
    Deny {
        /// Number or id of the approval.
        id: String,
        #[arg(long)]
        reason: Option<String>,
    },
}

impl Approvals {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failed> {
        let command = match self.what {
            None | Some(What::List) => desk::Command::ListApprovals,
            Some(What::Approve { id }) => desk::Command::Decide {
                approval: id,
                approve: true,
                reason: None,
            },
            Some(What::Deny { id, reason }) => desk::Command::Decide {
                approval: id,
                approve: false,
                reason,
            },
        };
        execute(global, command).await
    }
}
