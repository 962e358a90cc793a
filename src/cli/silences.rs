//! Silences: list, add by labels or of one alert, remove.

use clap::{Args, Subcommand};
use jiff::SignedDuration;

use super::monitor::duration;
use super::{Exit, Failed, Global, execute};
use crate::alert::matcher::Matcher;
use crate::desk::Command;

#[derive(Debug, Args)]
pub struct Silences {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What is silent now, and the maintenance windows.
    List,
    /// Be silent for a time about all that fits, or about one alert.
    Add {
        /// Conditions, all of which must hold: project=ml-team, severity!=critical, job=~train-.*; the labels are
        /// cluster, project, namespace, job, kind, owner, node, cause, severity.
        #[arg(
            value_name = "MATCHER",
            required_unless_present = "alert",
            conflicts_with = "alert"
        )]
        matchers: Vec<Matcher>,
        /// Number of an alert.
        #[arg(long, value_name = "NUMBER")]
        alert: Option<i64>,
        /// 30m, 2h …
        #[arg(long = "for", value_name = "DURATION", value_parser = duration, default_value = "1h")]
        length: SignedDuration,
        #[arg(long, conflicts_with = "alert")]
        reason: Option<String>,
    },
    /// End a silence early: S3, or the number of a silenced alert.
    Remove { id: String },
}

impl Silences {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failed> {
        let command = match self.what {
            None | Some(What::List) => Command::ListSilences,
            Some(What::Add {
                matchers,
                alert,
                length,
                reason,
            }) => {
                let duration_seconds = length.as_secs().unsigned_abs();
                match alert {
                    Some(alert) => Command::Silence {
                        alert: alert.to_string(),
                        duration_seconds,
                    },
                    None => Command::SilenceWhere {
                        matchers,
                        duration_seconds,
                        reason,
                    },
                }
            }
            Some(What::Remove { id }) => Command::RemoveSilence { alert: id },
        };
        execute(global, command).await
    }
}
