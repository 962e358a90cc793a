//! Runbooks: check, list and show them without a running bot.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Exit, Failed, Global, print};
use crate::config::Config;
use crate::diagnose::knowledge::Knowledge;
use crate::runbook::library::files;
use crate::runbook::{Entry, Known, Library, Mistake, Unusable, check, known_causes, told};

const NOT_RUN: &str = "nightbell: this version checks and shows runbooks; it does not run them yet";

#[derive(Debug, Args)]
pub struct RunbookCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Find every mistake in runbook files; without names, in all that would be used.
    Check {
        /// Files, or folders of them.
        paths: Vec<PathBuf>,
    },
    /// The runbooks that there are.
    List,
    /// What a runbook is for, what it takes, and what it does step by step.
    Show { name: String },
}

impl RunbookCommand {
    pub(super) fn run(self, global: &Global) -> Result<Exit, Failed> {
        match self.what {
            What::Check { paths } => check_all(global, &paths),
            What::List => {
                let (library, unusable) = open(global)?;
                Ok(list(global, &library, &unusable))
            }
            What::Show { name } => {
                let (library, _) = open(global)?;
                Ok(show(global, &library, &name))
            }
        }
    }
}

fn known(config: &Config) -> Result<Known, Failed> {
    let knowledge = match &config.knowledge_file {
        None => Knowledge::embedded(),
        Some(path) => Knowledge::load(path).map_err(|error| Failed::Usage(error.to_string()))?,
    };
    Ok(Known {
        causes: known_causes(&knowledge),
        metrics: config.metric_queries.clone(),
        prometheus: config.metrics.is_some(),
    })
}

fn open(global: &Global) -> Result<(Library, Vec<Unusable>), Failed> {
    let config = Config::load(global.config.as_deref())?;
    let known = known(&config)?;
    Ok(Library::open(config.runbook_folder.as_deref(), &known))
}

fn check_all(global: &Global, paths: &[PathBuf]) -> Result<Exit, Failed> {
    let config = Config::load(global.config.as_deref())?;
    let known = known(&config)?;
    let mut texts: Vec<(PathBuf, Result<String, String>)> = Vec::new();
    if paths.is_empty() {
        let shipped = Library::shipped(&known);
        texts.extend(shipped.iter().map(|entry| {
            let name = PathBuf::from(format!("shipped/{}.yaml", entry.runbook.name));
            (name, Ok(entry.text.clone()))
        }));
        texts.extend(
            config
                .runbook_folder
                .as_deref()
                .map(files)
                .unwrap_or_default(),
        );
    }
    for path in paths {
        if path.is_dir() {
            texts.extend(files(path));
        } else {
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("the file cannot be read: {error}"));
            texts.push((path.clone(), text));
        }
    }
    let mut results = Vec::new();
    let mut bad = 0;
    for (path, text) in &texts {
        let (mistakes, notes) = match text {
            Ok(text) => {
                let name = path.file_stem().and_then(|stem| stem.to_str());
                let checked = check::check(text, name, &known);
                (checked.mistakes, checked.notes)
            }
            Err(problem) => {
                let mistake = Mistake {
                    at: crate::runbook::At::default(),
                    problem: problem.clone(),
                };
                (vec![mistake], Vec::new())
            }
        };
        bad += usize::from(!mistakes.is_empty());
        if global.json {
            results.push(json!({
                "file": path.display().to_string(), "ok": mistakes.is_empty(), "mistakes": mistakes, "notes": notes,
            }));
        } else {
            for mistake in &mistakes {
                print::line(&placed(path, mistake, ""));
            }
            for note in &notes {
                print::line(&placed(path, note, "note: "));
            }
        }
    }
    if global.json {
        print::value(&json!({ "ok": bad == 0, "files": results }));
    } else {
        let all = texts.len();
        print::line(&match (all, bad) {
            (0, _) => "There is no runbook to check.".to_owned(),
            (1, 0) => "1 runbook is good.".to_owned(),
            (_, 0) => format!("{all} runbooks are good."),
            (_, 1) => format!("1 of {all} runbooks cannot be used."),
            _ => format!("{bad} of {all} runbooks cannot be used."),
        });
    }
    Ok(if bad == 0 { Exit::Done } else { Exit::Bad })
}

/// `file:line:column: problem`, as editors jump to it.
fn placed(path: &Path, mistake: &Mistake, kind: &str) -> String {
    format!(
        "{}:{}:{}: {kind}{}",
        path.display(),
        mistake.at.line,
        mistake.at.column,
        mistake.problem
    )
}

fn list(global: &Global, library: &Library, unusable: &[Unusable]) -> Exit {
    if global.json {
        let items: Vec<Value> = library.iter().map(told::summary).collect();
        let bad: Vec<Value> = unusable
            .iter()
            .map(|bad| json!({ "file": bad.file.display().to_string(), "mistakes": bad.mistakes }))
            .collect();
        print::value(&json!({ "count": items.len(), "items": items, "unusable": bad }));
        return Exit::Done;
    }
    let rows: Vec<(&str, String)> = library
        .iter()
        .map(|entry| {
            (
                entry.runbook.name.as_str(),
                entry.runbook.description.clone(),
            )
        })
        .collect();
    print::pairs(&rows);
    for bad in unusable {
        print::note(&format!(
            "nightbell: {} cannot be used ({}); `nightbell runbook check` says why",
            bad.file.display(),
            match bad.mistakes.len() {
                1 => "1 mistake".to_owned(),
                more => format!("{more} mistakes"),
            }
        ));
    }
    print::note(NOT_RUN);
    Exit::Done
}

fn show(global: &Global, library: &Library, name: &str) -> Exit {
    let entry: &Entry = match library.named(name) {
        Ok(entry) => entry,
        Err(nearest) => {
            let hint = nearest.as_ref().map_or_else(
                || "`nightbell runbook list` shows all".to_owned(),
                |near| format!("did you mean {near}?"),
            );
            if global.json {
                print::value(
                    &json!({ "error": format!("there is no runbook {name}"), "candidates": nearest }),
                );
            } else {
                print::note(&format!("nightbell: there is no runbook `{name}`; {hint}"));
            }
            return Exit::Bad;
        }
    };
    if global.json {
        print::value(&told::whole(entry));
    } else {
        print::card(&told::card(entry));
        print::note(NOT_RUN);
    }
    Exit::Done
}
