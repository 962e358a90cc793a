//! What nightbell knows of failures: listed, searched, explained; a local file checked before it is used.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Exit, Failed, Global, print};
use crate::config::Config;
use crate::diagnose::knowledge::{Failure, Knowledge, KnowledgeError, sections};

#[derive(Debug, Args)]
pub struct KnowledgeCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All failures, by section.
    List,
    /// The failures in which all these words occur.
    Search {
        #[arg(required = true)]
        words: Vec<String>,
    },
    /// One failure: by what it is recognised, what it means, what to do.
    Show { id: String },
    /// The Xids of NVIDIA's driver: what each means for the job and the node, and where authorities disagree.
    Xid { number: Option<u32> },
    /// Check a local file of failures; touch nothing.
    Check { file: PathBuf },
}

const XIDS: &str = "NVIDIA Xids";
const LOCAL: &str = "Local file";
/// Failures named when one is not found.
const NEAREST: usize = 3;
/// Below this similarity (Jaro-Winkler, 0..=1) a name is no help.
const SIMILAR: f64 = 0.75;

impl KnowledgeCommand {
    pub(super) fn run(self, global: &Global) -> Result<Exit, Failed> {
        match self.what {
            What::Check { file } => Ok(check(global, &file)),
            What::List => {
                list(global, &known(global)?, |_| true);
                Ok(Exit::Done)
            }
            What::Search { words } => {
                let words: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
                let found = list(global, &known(global)?, |failure| {
                    let text = haystack(failure);
                    words.iter().all(|word| text.contains(word.as_str()))
                });
                Ok(if found { Exit::Done } else { Exit::Bad })
            }
            What::Show { id } => Ok(show(global, &known(global)?, &id)),
            What::Xid { number } => Ok(xid(global, &known(global)?, number)),
        }
    }
}

/// What the bot would use: the shipped knowledge with the configured local file.
fn known(global: &Global) -> Result<Knowledge, Failed> {
    let config = Config::load(global.config.as_deref())?;
    match &config.knowledge_file {
        None => Ok(Knowledge::embedded()),
        Some(path) => Knowledge::load(path).map_err(|error| Failed::Usage(sentence(&error))),
    }
}

fn sentence(error: &KnowledgeError) -> String {
    match error {
        KnowledgeError::Unreadable { path, source } => format!("cannot read {path}: {source}"),
        KnowledgeError::Invalid { .. } => error.to_string(),
    }
}

fn haystack(failure: &Failure) -> String {
    let signs: Vec<String> = failure
        .signs
        .iter()
        .map(crate::diagnose::knowledge::Sign::words)
        .collect();
    [
        &failure.id,
        &failure.title,
        &failure.cause,
        &failure.advice,
        &signs.join("\n"),
    ]
    .map(|text| text.to_lowercase())
    .join("\n")
}

fn section_of(failure: &Failure) -> &'static str {
    sections()
        .into_iter()
        .find(|(_, ids)| ids.contains(&failure.id.as_str()))
        .map_or(
            if failure.node.is_some() { XIDS } else { LOCAL },
            |(heading, _)| heading,
        )
}

/// Prints those that fit, by section; whether there were any.
fn list(global: &Global, knowledge: &Knowledge, fits: impl Fn(&Failure) -> bool) -> bool {
    let found: Vec<&Failure> = knowledge
        .failures()
        .iter()
        .filter(|failure| fits(failure))
        .collect();
    if global.json {
        let items: Vec<Value> = found.iter().map(|failure| summary(failure)).collect();
        print::value(&json!({ "count": items.len(), "items": items }));
        return !found.is_empty();
    }
    let headings = sections()
        .into_iter()
        .map(|(heading, _)| heading)
        .chain([XIDS, LOCAL]);
    for heading in headings {
        let rows: Vec<(&str, String)> = found
            .iter()
            .filter(|failure| section_of(failure) == heading)
            .map(|failure| (failure.id.as_str(), failure.title.clone()))
            .collect();
        if !rows.is_empty() {
            print::line(&format!("{heading}\n"));
            print::pairs(&rows);
            print::line("");
        }
    }
    print::line(&match found.len() {
        0 => "No failure fits.".to_owned(),
        1 => "1 failure. `nightbell knowledge show ID` explains it.".to_owned(),
        more => format!("{more} failures. `nightbell knowledge show ID` explains one."),
    });
    !found.is_empty()
}

fn summary(failure: &Failure) -> Value {
    json!({
        "id": failure.id,
        "title": failure.title,
        "section": section_of(failure),
        "role": failure.role,
        "safety": failure.safety,
    })
}

fn show(global: &Global, knowledge: &Knowledge, id: &str) -> Exit {
    let Some(failure) = knowledge.failure(id) else {
        let mut near: Vec<(f64, &str)> = knowledge
            .failures()
            .iter()
            .map(|failure| (strsim::jaro_winkler(id, &failure.id), failure.id.as_str()))
            .filter(|(likeness, _)| *likeness >= SIMILAR)
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        let near: Vec<&str> = near.into_iter().take(NEAREST).map(|(_, id)| id).collect();
        if global.json {
            print::value(
                &json!({ "error": format!("there is no failure {id}"), "candidates": near }),
            );
        } else if near.is_empty() {
            print::note(&format!(
                "nightbell: there is no failure `{id}`; `nightbell knowledge list` shows all"
            ));
        } else {
            print::note(&format!(
                "nightbell: there is no failure `{id}`; did you mean {}?",
                near.join(" or ")
            ));
        }
        return Exit::Bad;
    };
    let signs: Vec<String> = if failure.signs.is_empty() {
        vec![if failure.node.is_some() {
            "the number of the Xid in a kernel line or a node's condition".to_owned()
        } else {
            "a rule over time, ranks or metrics".to_owned()
        }]
    } else {
        failure
            .signs
            .iter()
            .map(crate::diagnose::knowledge::Sign::words)
            .collect()
    };
    if global.json {
        let mut body = summary(failure);
        body["cause"] = json!(failure.cause);
        body["recommendation"] = json!(failure.advice);
        body["remedy"] = json!(failure.remedy_words());
        body["signs"] = json!(signs);
        body["explains"] = json!(failure.over);
        body["shows"] = json!(failure.see);
        body["source"] = json!(failure.source);
        print::value(&body);
        return Exit::Done;
    }
    print::line(&format!("{}  ({})\n", failure.title, failure.id));
    let mut rows = vec![
        ("What it means", failure.cause.clone()),
        ("What to do", failure.advice.clone()),
        ("Remedy", failure.remedy_words()),
        ("Role", failure.role_words().to_owned()),
        ("Section", section_of(failure).to_owned()),
        ("Source", failure.source.clone()),
    ];
    if !failure.over.is_empty() {
        rows.push(("Explains", failure.over.join(", ")));
    }
    if !failure.see.is_empty() {
        rows.push(("Shows", failure.see.join(", ")));
    }
    print::pairs(&rows);
    print::line("\nRecognised by any of:");
    for sign in signs {
        print::line(&format!("  - {sign}"));
    }
    Exit::Done
}

fn xid(global: &Global, knowledge: &Knowledge, number: Option<u32>) -> Exit {
    let rows: Vec<(Vec<u32>, &Failure)> = knowledge
        .xids()
        .into_iter()
        .filter(|(codes, _)| number.is_none_or(|number| codes.contains(&number)))
        .collect();
    if rows.is_empty() {
        let text = format!("Xid {} is not in the table", number.unwrap_or_default());
        if global.json {
            print::value(&json!({ "error": text }));
        } else {
            print::note(&format!("nightbell: {text}"));
        }
        return Exit::Bad;
    }
    if global.json {
        let items: Vec<Value> = rows
            .iter()
            .map(|(codes, failure)| {
                json!({
                    "codes": codes, "id": failure.id, "title": failure.title, "meaning": failure.cause,
                    "job": failure.advice, "node": failure.node_words(), "role": failure.role,
                    "safety": failure.safety, "source": failure.source,
                })
            })
            .collect();
        print::value(&json!({ "xids": items }));
        return Exit::Done;
    }
    for (codes, failure) in rows {
        let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
        print::line(&format!("Xid {}: {}", codes.join(", "), failure.title));
        print::pairs(&[
            ("  means", failure.cause.clone()),
            ("  job", failure.advice.clone()),
            ("  node", failure.node_words().to_owned()),
            ("  remedy", failure.remedy_words()),
            ("  source", failure.source.clone()),
        ]);
        print::line("");
    }
    Exit::Done
}

fn check(global: &Global, file: &std::path::Path) -> Exit {
    match Knowledge::load(file) {
        Ok(knowledge) => {
            let shipped = Knowledge::embedded();
            let new: Vec<&str> = knowledge
                .failures()
                .iter()
                .filter(|failure| shipped.failure(&failure.id).is_none())
                .map(|failure| failure.id.as_str())
                .collect();
            if global.json {
                print::value(
                    &json!({ "ok": true, "new": new, "known": knowledge.failures().len() }),
                );
            } else {
                print::line(&format!("{} is good.", file.display()));
                if !new.is_empty() {
                    print::line(&format!("New failures: {}", new.join(", ")));
                }
            }
            Exit::Done
        }
        Err(error) => refused(global, &error),
    }
}

/// Says what is wrong with a local file.
pub(super) fn refused(global: &Global, error: &KnowledgeError) -> Exit {
    if global.json {
        let (line, column) = match error {
            KnowledgeError::Invalid { line, column, .. } => (json!(line), json!(column)),
            KnowledgeError::Unreadable { .. } => (Value::Null, Value::Null),
        };
        print::value(
            &json!({ "ok": false, "error": sentence(error), "line": line, "column": column }),
        );
    } else {
        print::note(&format!("nightbell: {}", sentence(error)));
    }
    Exit::Usage
}
