//! Running the bot.

use clap::Args;

use super::{Exit, Failed, Global, Run, check_config};
use crate::config::Config;

#[derive(Debug, Args)]
pub struct Serve {
    /// Check the configuration and end.
    #[arg(long)]
    validate_only: bool,
}

impl Serve {
    pub(super) async fn run(self, global: &Global, serve: Run<Config, ()>) -> Result<Exit, Failed> {
        if self.validate_only {
            return Ok(check_config::run(global));
        }
        let config = Config::load(global.config.as_deref())?;
        serve(config).await.map_err(Failed::Other)?;
        Ok(Exit::Done)
    }
}

pub(super) async fn demo(demo: Run<(), ()>) -> Result<Exit, Failed> {
    demo(()).await.map_err(Failed::Other)?;
    Ok(Exit::Done)
}
