//! Alerts, and what people do about them.

use clap::{Args, Subcommand};
use jiff::SignedDuration;
use serde::Deserialize;

use super::client::Client;
use super::monitor::duration;
use super::{Exit, Failed, Global, execute};
use crate::chat::card::Verb;
use crate::desk::Command;

#[derive(Debug, Args)]
pub struct Alerts {
    /// Resolved ones too.
    #[arg(long)]
    all: bool,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// One alert.
    Show { number: i64 },
    /// Take an alert on.
    Ack { number: i64 },
    /// End an alert by hand.
    Resolve { number: i64 },
    /// Be silent about an alert for a time.
    Silence {
        number: i64,
        /// 30m, 2h …
        #[arg(long = "for", value_name = "DURATION", value_parser = duration, default_value = "1h")]
        length: SignedDuration,
    },
}

#[derive(Deserialize)]
struct Found {
    id: String,
}

impl Alerts {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failed> {
        let command = match self.what {
            None => Command::ListAlerts { all: self.all },
            Some(What::Show { number }) => Command::ShowAlert { number },
            Some(What::Ack { number }) => press(global, number, Verb::Acknowledge).await?,
            Some(What::Resolve { number }) => press(global, number, Verb::Resolve).await?,
            Some(What::Silence { number, length }) => Command::Silence {
                alert: number.to_string(),
                duration_seconds: length.as_secs().unsigned_abs(),
            },
        };
        execute(global, command).await
    }
}

async fn press(global: &Global, number: i64, verb: Verb) -> Result<Command, Failed> {
    let found: Found = Client::of(global)?
        .read(&format!("api/v1/alerts/{number}"))
        .await?;
    Ok(Command::Press {
        verb,
        id: found.id,
        reason: None,
    })
}
