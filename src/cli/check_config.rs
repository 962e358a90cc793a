//! `check-config`: every mistake at once, and what will not be used.

use serde_json::json;

use super::{Exit, Global, print};
use crate::config::Config;
use crate::diagnose::knowledge::Knowledge;

pub(super) fn run(global: &Global) -> Exit {
    match Config::load(global.config.as_deref()) {
        Ok(config) => {
            // Read at start too, where a mistake stops the program: better said now.
            let knowledge = config.knowledge_file.as_deref().map(Knowledge::load);
            if let Some(Err(error)) = knowledge {
                return super::knowledge::refused(global, &error);
            }
            if global.json {
                print::value(&json!({ "ok": true, "mistakes": [], "notes": config.notes }));
            } else {
                print::line("The configuration is good.");
                for note in &config.notes {
                    print::line(&format!("  {note}"));
                }
            }
            Exit::Done
        }
        Err(mistakes) => {
            if global.json {
                let list: Vec<_> = mistakes
                    .0
                    .iter()
                    .map(|mistake| json!({ "key": mistake.key, "problem": mistake.problem }))
                    .collect();
                print::value(&json!({ "ok": false, "mistakes": list }));
            } else {
                print::note(&format!("nightbell: {mistakes}"));
                for mistake in &mistakes.0 {
                    print::note(&format!("  {mistake}"));
                }
            }
            Exit::Usage
        }
    }
}
