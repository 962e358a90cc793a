//! `troubleshoot`: asks the running bot, and looks itself when there is none.

use clap::Args;

use super::client::Client;
use super::{Exit, Failed, Global, Run, print};
use crate::config::Config;
use crate::desk::{Answer, Command, JobQuery};

#[derive(Debug, Args)]
pub struct Troubleshoot {
    /// Name of the job, of one of its pods, or its Run:AI id.
    job: String,
    #[arg(long)]
    project: Option<String>,
    #[arg(long)]
    namespace: Option<String>,
}

impl Troubleshoot {
    pub(super) async fn run(
        self,
        global: &Global,
        alone: Run<(Config, JobQuery), Answer>,
    ) -> Result<Exit, Failed> {
        let job = JobQuery {
            name: self.job,
            project: self.project,
            namespace: self.namespace,
        };
        let config = Config::load(global.config.as_deref())?;
        let client = Client::with(global, &config)?;
        let command = Command::Troubleshoot { job: job.clone() };
        let answer = match client.execute(&command).await {
            Ok(answer) => answer,
            // Whoever says where the bot is wants that bot.
            Err(absent) if absent.is_absence() && global.url.is_none() => {
                alone((config, job)).await.map_err(Failed::Other)?
            }
            Err(error) => return Err(error.into()),
        };
        print::answer(global, &answer);
        Ok(answer.outcome.into())
    }
}
