//! The kill switch.

use clap::Args;

use super::{Exit, Failed, Global, execute};
use crate::desk::Command;

#[derive(Debug, Args)]
pub struct EmergencyStop {
    /// Let actions through again.
    #[arg(long, conflicts_with = "reason")]
    clear: bool,
    /// Why; everybody who asks is told.
    #[arg(long)]
    reason: Option<String>,
}

impl EmergencyStop {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failed> {
        let command = if self.clear {
            Command::EmergencyClear
        } else {
            Command::EmergencyStop {
                reason: self.reason,
            }
        };
        execute(global, command).await
    }
}
