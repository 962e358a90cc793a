//! `evaluate`: measures this build with the shipped cases, or with one's own.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Exit, Failed, Global, print};
use crate::diagnose::evaluate::{CaseSet, Figures, Report, Score};
use crate::diagnose::knowledge::Knowledge;

#[derive(Debug, Args)]
pub struct Evaluate {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Diagnose cases whose answer is known, and say how often it was right: exit code 1 below the release's marks.
    Diagnosis {
        /// Read the cases from the YAML files of this directory instead of the shipped ones.
        #[arg(long, value_name = "DIR")]
        cases: Option<PathBuf>,
    },
}

impl Evaluate {
    pub(super) fn run(self, global: &Global) -> Result<Exit, Failed> {
        let What::Diagnosis { cases } = self.what;
        let set = match cases {
            Some(directory) => CaseSet::load(&directory),
            None => CaseSet::embedded(),
        };
        let report = set
            .and_then(|set| set.run(&Knowledge::embedded()))
            .map_err(|error| Failed::Usage(print::with_sources(&error)))?;
        if global.json {
            let mut value = json!(report);
            value["passes"] = json!(report.passes());
            print::value(&value);
        } else {
            print::out(&told(&report));
        }
        Ok(if report.passes() {
            Exit::Done
        } else {
            Exit::Bad
        })
    }
}

fn told(report: &Report) -> String {
    let mut lines = vec![row([
        "topic",
        "cases",
        "traps",
        "top-1",
        "must not say",
        "first failure",
        "remedy",
    ]
    .map(str::to_owned))];
    let all = [("all", &report.total)];
    let topics = report
        .topics
        .iter()
        .map(|(name, figures)| (name.as_str(), figures));
    for (name, figures) in topics.chain(all) {
        lines.push(row(figures_of(name, figures)));
    }
    for miss in &report.misses {
        lines.push(String::new());
        let trap = if miss.trap { ", a trap" } else { "" };
        lines.push(format!(
            "{} ({}{trap}): wrong in {}",
            miss.case,
            miss.topic,
            miss.wrong.join(", ")
        ));
        lines.push(format!("  expected  {}", miss.expected));
        lines.push(format!("  got       {}", miss.got));
        lines.push(format!("  why       {}", miss.why));
    }
    lines.push(String::new());
    lines.push("confidence   answers  stated  right".to_owned());
    for bin in &report.calibration.bins {
        lines.push(format!(
            "{:.1} to {:.1}   {:>7}  {:>5.1}%  {:>4.0}%",
            bin.from,
            bin.to,
            bin.answers,
            bin.stated * 100.0,
            bin.observed * 100.0
        ));
    }
    lines.push(format!(
        "expected calibration error {:.3}, Brier score {:.3}",
        report.calibration.expected_error, report.calibration.brier
    ));
    if !report.uncovered.is_empty() {
        lines.push(String::new());
        lines.push(format!(
            "{} causes that no case expects: {}",
            report.uncovered.len(),
            report.uncovered.join(", ")
        ));
    }
    lines.push(String::new());
    lines.push(
        if report.passes() {
            "passes"
        } else {
            "does not pass"
        }
        .to_owned(),
    );
    lines.push(String::new());
    lines.join("\n")
}

fn figures_of(name: &str, figures: &Figures) -> [String; 7] {
    let score = |score: Score| {
        if score.of == 0 {
            "-".to_owned()
        } else {
            format!("{}/{} {:.1}%", score.hits, score.of, score.share() * 100.0)
        }
    };
    [
        name.to_owned(),
        figures.cases.to_string(),
        figures.traps.to_string(),
        score(figures.top_1),
        score(figures.must_not_say),
        score(figures.first_failure),
        score(figures.remedy),
    ]
}

fn row(cells: [String; 7]) -> String {
    let [topic, cases, traps, top, never, first, remedy] = cells;
    format!("{topic:22} {cases:>5} {traps:>5}  {top:>15}  {never:>15}  {first:>15}  {remedy:>13}")
}
