//! The audit: whether its chain holds, and its entries for other tools to keep.

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::client::Client;
use super::{Exit, Failed, Global, execute, print};
use crate::desk::Command;
use crate::redact;
use crate::safety::audit::{AuditEntry, Mark};

#[derive(Debug, Args)]
pub struct Audit {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Check that no entry was changed, removed or put in: exit code 1 if one was.
    Verify {
        /// An entry that an earlier check printed, kept elsewhere since: shows if all up to it was made anew.
        #[arg(long, value_name = "SEQ:HASH")]
        expect: Option<Mark>,
    },
    /// Print the entries, oldest first; with --json one JSON object per line.
    Export {
        /// Only entries since then: a time (2026-01-31T00:00:00Z) or so long ago (12h, 7d).
        #[arg(long, value_name = "WHEN", value_parser = since)]
        since: Option<Timestamp>,
    },
}

fn since(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    // Days are of 24 hours here, as the audit is in UTC.
    let ago = match text.strip_suffix('d').map(str::parse::<i32>) {
        Some(Ok(days)) if days >= 0 => Some(SignedDuration::from_hours(24 * i64::from(days))),
        Some(_) => None,
        None => text.parse::<SignedDuration>().ok(),
    };
    ago.filter(|ago| !ago.is_negative())
        .and_then(|ago| Timestamp::now().checked_sub(ago).ok())
        .ok_or_else(|| "give a time like 2026-01-31T00:00:00Z, or how long ago: 12h, 7d".to_owned())
}

/// Entries asked for at once.
const PAGE: u32 = 500;

/// A part of the chain, as the API gives it.
#[derive(Debug, Deserialize)]
struct Chain {
    items: Vec<Value>,
    next: Option<String>,
}

impl Audit {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failed> {
        match self.what {
            What::Verify { expect } => {
                let expect = expect.map(|mark| mark.to_string());
                execute(global, Command::VerifyAudit { expect }).await
            }
            What::Export { since } => export(global, since).await,
        }
    }
}

async fn export(global: &Global, since: Option<Timestamp>) -> Result<Exit, Failed> {
    let client = Client::of(global)?;
    let since = since.map_or_else(String::new, |since| format!("&since={since}"));
    let mut cursor = String::new();
    loop {
        let path = format!("api/v1/audit?limit={PAGE}{since}{cursor}");
        let chain: Chain = client.read(&path).await?;
        for item in &chain.items {
            if global.json {
                print::line(&item.to_string());
            } else {
                print::line(&in_words(item));
            }
        }
        match chain.next {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(Exit::Done),
        }
    }
}

/// One entry on one line: number, time, who, what, about what, and the rest as it was kept.
fn in_words(item: &Value) -> String {
    let Ok(entry) = AuditEntry::deserialize(item) else {
        // A newer bot may know kinds that this program does not.
        return redact::clean(&item.to_string()).into_owned();
    };
    let kind = serde_json::to_value(entry.kind).unwrap_or_default();
    let text = format!(
        "{}  {}  {}  {}  {}  {}",
        entry.seq,
        entry.at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        entry.actor,
        kind.as_str().unwrap_or_default(),
        entry.subject,
        entry.content
    );
    redact::clean(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_an_age() {
        let time = since("2026-01-31T00:00:00Z").unwrap();
        assert_eq!(time.to_string(), "2026-01-31T00:00:00Z");
        let now = Timestamp::now();
        for (text, hours) in [("12h", 12), ("7d", 168), ("0d", 0)] {
            let ago = now.duration_since(since(text).unwrap());
            assert_eq!((ago.as_secs() + 60) / 3600, hours, "{text}");
        }
        for wrong in ["", "yesterday", "-3h", "-2d", "d"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }
}
