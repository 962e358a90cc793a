//! Starting and stopping monitoring.

use clap::{Args, Subcommand};
use jiff::SignedDuration;

use super::{Exit, Failed, Global, execute};
use crate::desk::Command;

#[derive(Debug, Args)]
pub struct Monitor {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Monitor all configured projects, or one, for good or for a time.
    Start {
        #[arg(long)]
        project: Option<String>,
        /// Stop by itself after this long: 30m, 2h, "1h 30m".
        #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
        length: Option<SignedDuration>,
    },
    /// Stop monitoring.
    Stop,
}

impl Monitor {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failed> {
        let command = match self.what {
            What::Start { project, length } => Command::MonitoringStart {
                project,
                duration_seconds: length.map(|length| length.as_secs().unsigned_abs()),
            },
            What::Stop => Command::MonitoringStop,
        };
        execute(global, command).await
    }
}

pub(super) async fn status(global: &Global) -> Result<Exit, Failed> {
    execute(global, Command::MonitoringStatus).await
}

/// Reads a length of time such as `30m` or `1h 30m`.
pub(super) fn duration(text: &str) -> Result<SignedDuration, String> {
    let length: SignedDuration = text
        .parse()
        .map_err(|_| "is not a length of time such as 30m or 2h".to_owned())?;
    if length < SignedDuration::from_secs(1) {
        return Err("must be at least one second".to_owned());
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("30m", 1800),
            ("2h", 7200),
            ("1h 30m", 5400),
            ("45s", 45),
            ("90 minutes", 5400),
        ] {
            assert_eq!(
                duration(text),
                Ok(SignedDuration::from_secs(seconds)),
                "{text}"
            );
        }
        for text in ["", "30", "soon", "-5m", "0s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
