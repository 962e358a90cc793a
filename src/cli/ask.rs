//! `ask`: one sentence, one answer.

use clap::Args;

use super::client::Client;
use super::{Exit, Failed, Global, print};
use crate::config::Config;
use crate::desk::{Command, Outcome, ask_offline};

#[derive(Debug, Args)]
pub struct Ask {
    text: String,
    /// An earlier message of the thread; repeat it, oldest first.
    #[arg(long, value_name = "TEXT")]
    context: Vec<String>,
}

impl Ask {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failed> {
        let config = Config::load(global.config.as_deref())?;
        let client = Client::with(global, &config)?;
        let Self { text, context } = self;
        let command = Command::Say {
            text: text.clone(),
            context: context.clone(),
        };
        let answer = match client.execute(&command).await {
            Ok(answer) => answer,
            Err(absent) if absent.is_absence() && global.url.is_none() => {
                ask_offline(&text, &context)
            }
            Err(error) => return Err(error.into()),
        };
        print::answer(global, &answer);
        Ok(match answer.outcome {
            // Asking back, or saying that it can't, is an answer; the command line was not used wrongly.
            Outcome::Done | Outcome::Invalid => Exit::Done,
            Outcome::NotFound | Outcome::Refused | Outcome::Unavailable => answer.outcome.into(),
        })
    }
}
