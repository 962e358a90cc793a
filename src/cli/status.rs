//! How the bot and what it watches stand.

use clap::Args;
use serde_json::Value;

use super::client::Client;
use super::{Exit, Failed, Global, execute, print};
use crate::desk::Command;

#[derive(Debug, Args)]
pub struct Status {
    /// Also every source, the work that waits, and the limits.
    #[arg(long)]
    detailed: bool,
}

impl Status {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failed> {
        if !self.detailed {
            return execute(global, Command::Status).await;
        }
        let body = Client::of(global)?.health("health/detailed").await?;
        if global.json {
            print::value(&body);
        } else {
            detailed(&body);
        }
        Ok(exit(&body))
    }
}

pub(super) async fn health(global: &Global) -> Result<Exit, Failed> {
    let body = Client::of(global)?.health("health").await?;
    if global.json {
        print::value(&body);
    } else {
        print::line(&text(&body["status"]));
    }
    Ok(exit(&body))
}

/// Degraded is not good: something that should be known is unknown, or waits.
fn exit(body: &Value) -> Exit {
    if body["status"] == "healthy" {
        Exit::Done
    } else {
        Exit::Bad
    }
}

fn detailed(body: &Value) {
    let safety = &body["safety"];
    let actions = match safety["stopped"] {
        Value::Null if safety["dry_run"] == true => "dry run: told, not done".to_owned(),
        Value::Null => "carried out".to_owned(),
        ref stop => format!(
            "stopped by {} since {}",
            text(&stop["by"]),
            text(&stop["since"])
        ),
    };
    print::pairs(&[
        ("status", text(&body["status"])),
        ("version", text(&body["version"])),
        ("demo", text(&body["demo"])),
        ("uptime", format!("{} s", text(&body["uptime_seconds"]))),
        (
            "database",
            format!(
                "{}, {}",
                text(&body["store"]["backend"]),
                if body["store"]["ok"] == true {
                    "answers"
                } else {
                    "does not answer"
                }
            ),
        ),
        ("actions", actions),
        (
            "this hour",
            format!(
                "{} of {}",
                text(&safety["used_this_hour"]),
                text(&safety["per_hour"])
            ),
        ),
        (
            "approvals",
            format!("{} waiting", text(&safety["pending_approvals"])),
        ),
    ]);
    for source in rows(&body["sources"]["items"]) {
        let mut told = format!(
            "source {}: {}, {} objects, {} errors",
            text(&source["source"]),
            text(&source["health"]),
            text(&source["objects"]),
            text(&source["errors"])
        );
        if let Some(age) = source["age_seconds"].as_f64() {
            told = format!("{told}, last success {age:.0} s ago");
        }
        if let Some(error) = source["error"].as_str() {
            told = format!("{told}: {error}");
        }
        print::line(&crate::redact::clean(&told));
    }
    for work in rows(&body["backlog"]) {
        let age = work["oldest_age_ms"].as_i64().unwrap_or_default() / 1000;
        print::line(&format!(
            "waiting: {} {}, the oldest for {age} s",
            text(&work["waiting"]),
            text(&work["kind"])
        ));
    }
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "unknown".to_owned(),
        other => other.to_string(),
    }
}
