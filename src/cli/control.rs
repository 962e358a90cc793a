//! Holding actions back short of an emergency stop.

use clap::Args;

use super::{Exit, Failed, Global, execute};
use crate::desk::Command;

#[derive(Debug, Args)]
pub struct ActionType {
    /// Name of the action, as in `delete_pod`.
    #[arg(long = "type", value_name = "NAME")]
    kind: String,
}

impl ActionType {
    pub(super) async fn run(self, disabled: bool, global: &Global) -> Result<Exit, Failed> {
        let command = Command::SetAction {
            action: self.kind,
            disabled,
        };
        execute(global, command).await
    }
}

/// Withdraws what waits.
pub(super) async fn clear_queue(global: &Global) -> Result<Exit, Failed> {
    execute(global, Command::ClearQueue).await
}
