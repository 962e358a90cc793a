//! How good the diagnosis is: cases with what an expert says of them, run through the same evidence and reasoning as in
//! production, and counted.
//!
//! The cases are embedded, so that every build can be measured where it runs; others can be given as files.

mod case;
mod filler;
mod object;
mod scene;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use self::case::{Case, CaseFile, Expect};
use super::knowledge::Knowledge;
use super::{Diagnosis, Role, Verdict, analyze};

/// The shipped cases, by topic.
const EMBEDDED: &[(&str, &str)] = &[
    (
        "exit-codes.yaml",
        include_str!("../../tests/diagnosis/exit-codes.yaml"),
    ),
    ("pods.yaml", include_str!("../../tests/diagnosis/pods.yaml")),
    (
        "images.yaml",
        include_str!("../../tests/diagnosis/images.yaml"),
    ),
    (
        "scheduling.yaml",
        include_str!("../../tests/diagnosis/scheduling.yaml"),
    ),
    (
        "runai.yaml",
        include_str!("../../tests/diagnosis/runai.yaml"),
    ),
    (
        "nodes.yaml",
        include_str!("../../tests/diagnosis/nodes.yaml"),
    ),
    ("gpu.yaml", include_str!("../../tests/diagnosis/gpu.yaml")),
    (
        "nccl-and-gangs.yaml",
        include_str!("../../tests/diagnosis/nccl-and-gangs.yaml"),
    ),
    (
        "frameworks.yaml",
        include_str!("../../tests/diagnosis/frameworks.yaml"),
    ),
    (
        "python.yaml",
        include_str!("../../tests/diagnosis/python.yaml"),
    ),
    (
        "storage.yaml",
        include_str!("../../tests/diagnosis/storage.yaml"),
    ),
    (
        "silent.yaml",
        include_str!("../../tests/diagnosis/silent.yaml"),
    ),
    (
        "healthy.yaml",
        include_str!("../../tests/diagnosis/healthy.yaml"),
    ),
    (
        "measurements.yaml",
        include_str!("../../tests/diagnosis/measurements.yaml"),
    ),
    (
        "wordings.yaml",
        include_str!("../../tests/diagnosis/wordings.yaml"),
    ),
    ("exam.yaml", include_str!("../../tests/diagnosis/exam.yaml")),
    (
        "exam_2.yaml",
        include_str!("../../tests/diagnosis/exam_2.yaml"),
    ),
    (
        "exam_3.yaml",
        include_str!("../../tests/diagnosis/exam_3.yaml"),
    ),
    (
        "exam_4.yaml",
        include_str!("../../tests/diagnosis/exam_4.yaml"),
    ),
    (
        "exam_5.yaml",
        include_str!("../../tests/diagnosis/exam_5.yaml"),
    ),
    (
        "surroundings.yaml",
        include_str!("../../tests/diagnosis/surroundings.yaml"),
    ),
];

/// Share of right first answers that a release must reach.
pub const TOP_1_TARGET: f64 = 0.97;

#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{file}: {reason}")]
    Malformed { file: String, reason: String },
    #[error("{file}: case {case}: {reason}")]
    Case {
        file: String,
        case: String,
        reason: String,
    },
    #[error("no cases in {}", .0.display())]
    Empty(PathBuf),
}

/// Hits of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Score {
    pub hits: usize,
    pub of: usize,
}

impl Score {
    fn count(&mut self, hit: bool) {
        self.of += 1;
        self.hits += usize::from(hit);
    }

    /// 1 where nothing was asked.
    #[must_use]
    pub fn share(self) -> f64 {
        if self.of == 0 {
            1.0
        } else {
            self.hits as f64 / self.of as f64
        }
    }
}

/// The figures of one topic, or of all.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    pub cases: usize,
    pub traps: usize,
    /// State and first finding as expected.
    pub top_1: Score,
    /// Nothing named as root that must not be.
    pub must_not_say: Score,
    pub first_failure: Score,
    pub remedy: Score,
}

/// A case in which something was not as expected.
#[derive(Clone, Debug, Serialize)]
pub struct Miss {
    pub case: String,
    pub topic: String,
    pub trap: bool,
    /// `top_1`, `must_not_say`, `first_failure`, `remedy`.
    pub wrong: Vec<&'static str>,
    pub expected: String,
    pub got: String,
    pub why: String,
}

/// Answers whose stated confidence is in one tenth.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Bin {
    pub from: f64,
    pub to: f64,
    pub answers: usize,
    /// Mean stated confidence.
    pub stated: f64,
    /// Share that was right.
    pub observed: f64,
}

/// Whether confidence means what it says.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Calibration {
    pub bins: Vec<Bin>,
    /// Mean distance between stated and observed, weighted by answers.
    pub expected_error: f64,
    /// Mean squared distance between stated confidence and the outcome (0 or 1).
    pub brier: f64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub total: Figures,
    pub topics: BTreeMap<String, Figures>,
    pub misses: Vec<Miss>,
    pub calibration: Calibration,
    /// Ids of the knowledge that no case expects.
    pub uncovered: Vec<String>,
}

impl Report {
    /// Good enough to ship.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.total.top_1.share() >= TOP_1_TARGET
            && self.total.must_not_say.hits == self.total.must_not_say.of
    }
}

/// Each shipped case with its diagnosis.
#[cfg(test)]
pub(crate) fn diagnoses(knowledge: &Knowledge) -> Vec<(String, Diagnosis)> {
    CaseSet::embedded()
        .expect("the shipped cases read")
        .diagnoses(knowledge)
}

/// Cases that were read and decoded.
#[derive(Debug)]
pub struct CaseSet {
    files: Vec<(String, CaseFile)>,
}

impl CaseSet {
    /// The shipped ones.
    pub fn embedded() -> Result<Self, EvaluateError> {
        let files: Result<Vec<_>, _> = EMBEDDED
            .iter()
            .map(|(name, text)| parse(name, text))
            .collect();
        Ok(Self { files: files? })
    }

    /// All `*.yaml` files of a directory.
    pub fn load(directory: &Path) -> Result<Self, EvaluateError> {
        let read = |path: &Path, source| EvaluateError::Read {
            path: path.to_owned(),
            source,
        };
        let entries = std::fs::read_dir(directory).map_err(|error| read(directory, error))?;
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| read(directory, error))?.path();
            if path.extension().is_some_and(|end| end == "yaml") {
                paths.push(path);
            }
        }
        paths.sort();
        if paths.is_empty() {
            return Err(EvaluateError::Empty(directory.to_owned()));
        }
        let mut files = Vec::new();
        for path in paths {
            let text = std::fs::read_to_string(&path).map_err(|error| read(&path, error))?;
            files.push(parse(&path.display().to_string(), &text)?);
        }
        Ok(Self { files })
    }

    #[cfg(test)]
    fn diagnoses(&self, knowledge: &Knowledge) -> Vec<(String, Diagnosis)> {
        let cases = self.files.iter().flat_map(|(_, file)| &file.cases);
        cases
            .filter_map(|case| {
                let evidence = scene::evidence(case).ok()?;
                Some((case.id.clone(), analyze(&evidence, knowledge)))
            })
            .collect()
    }

    /// Diagnoses every case and counts.
    pub fn run(&self, knowledge: &Knowledge) -> Result<Report, EvaluateError> {
        let mut report = Report::default();
        let mut answers = Vec::new();
        for (file, CaseFile { topic, cases }) in &self.files {
            for case in cases {
                let evidence = scene::evidence(case).map_err(|reason| EvaluateError::Case {
                    file: file.clone(),
                    case: case.id.clone(),
                    reason,
                })?;
                let diagnosis = analyze(&evidence, knowledge);
                let outcome = Outcome::of(&case.expect, &diagnosis);
                for figures in [
                    &mut report.total,
                    report.topics.entry(topic.clone()).or_default(),
                ] {
                    outcome.count(case, figures);
                }
                if let Some(finding) = diagnosis.findings.first() {
                    answers.push((finding.confidence, outcome.top_1));
                }
                let wrong = outcome.wrong();
                if !wrong.is_empty() {
                    report.misses.push(Miss {
                        case: case.id.clone(),
                        topic: topic.clone(),
                        trap: case.trap,
                        wrong,
                        expected: expected(&case.expect),
                        got: got(&diagnosis),
                        why: case.why.clone(),
                    });
                }
            }
        }
        report.calibration = calibration(&answers);
        report.uncovered = knowledge
            .failures()
            .iter()
            .map(|failure| failure.id.clone())
            .filter(|id| !self.cases().any(|case| case.expect.cause == *id))
            .collect();
        Ok(report)
    }

    fn cases(&self) -> impl Iterator<Item = &Case> {
        self.files.iter().flat_map(|(_, file)| &file.cases)
    }
}

fn parse(name: &str, text: &str) -> Result<(String, CaseFile), EvaluateError> {
    let file = serde_saphyr::from_str(text).map_err(|error| EvaluateError::Malformed {
        file: name.to_owned(),
        reason: error.to_string(),
    })?;
    Ok((name.to_owned(), file))
}

/// What was asked of one case and came true. `None` where it was not asked.
struct Outcome {
    top_1: bool,
    must_not_say: Option<bool>,
    first_failure: Option<bool>,
    remedy: Option<bool>,
}

impl Outcome {
    fn of(expect: &Expect, diagnosis: &Diagnosis) -> Self {
        let roots = || {
            diagnosis
                .findings
                .iter()
                .filter(|finding| finding.role == Role::Root)
        };
        let first = diagnosis.findings.first();
        let allowed = || std::iter::once(&expect.cause).chain(&expect.accept);
        let named = allowed().any(|cause| match (cause.as_str(), first) {
            ("none", _) => roots().next().is_none(),
            (cause, Some(first)) => first.cause == cause,
            (_, None) => false,
        });
        let remedy = first.and_then(|first| first.remediation.as_ref());
        Self {
            top_1: named
                && (diagnosis.state == expect.state || expect.or_state == Some(diagnosis.state)),
            must_not_say: (!expect.never.is_empty())
                .then(|| roots().all(|finding| !expect.never.contains(&finding.cause))),
            first_failure: expect.first.as_ref().map(|wanted| {
                diagnosis.first_failure.as_ref().is_some_and(|got| {
                    wanted.pod.as_ref().is_none_or(|pod| *pod == got.pod)
                        && (wanted.rank.is_none() || wanted.rank == got.rank)
                        && (wanted.node.is_none() || wanted.node == got.node)
                })
            }),
            remedy: match (expect.safety, expect.no_remedy) {
                (Some(safety), _) => Some(remedy.is_some_and(|remedy| remedy.safety == safety)),
                (None, true) => Some(remedy.is_none()),
                (None, false) => None,
            },
        }
    }

    fn count(&self, case: &Case, figures: &mut Figures) {
        figures.cases += 1;
        figures.traps += usize::from(case.trap);
        figures.top_1.count(self.top_1);
        for (score, hit) in [
            (&mut figures.must_not_say, self.must_not_say),
            (&mut figures.first_failure, self.first_failure),
            (&mut figures.remedy, self.remedy),
        ] {
            if let Some(hit) = hit {
                score.count(hit);
            }
        }
    }

    fn wrong(&self) -> Vec<&'static str> {
        [
            ("top_1", Some(self.top_1)),
            ("must_not_say", self.must_not_say),
            ("first_failure", self.first_failure),
            ("remedy", self.remedy),
        ]
        .into_iter()
        .filter(|(_, hit)| *hit == Some(false))
        .map(|(name, _)| name)
        .collect()
    }
}

fn state(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Failing => "failing",
        Verdict::Healthy => "healthy",
        Verdict::Expected => "expected",
    }
}

fn expected(expect: &Expect) -> String {
    let states: Vec<&str> = std::iter::once(expect.state)
        .chain(expect.or_state)
        .map(state)
        .collect();
    let causes: Vec<&str> = std::iter::once(&expect.cause)
        .chain(&expect.accept)
        .map(String::as_str)
        .collect();
    let mut parts = vec![format!("{} {}", states.join(" or "), causes.join(" or "))];
    if !expect.never.is_empty() {
        parts.push(format!("never {}", expect.never.join(" ")));
    }
    if let Some(first) = &expect.first {
        let rank = first.rank.map(|rank| format!("rank {rank}"));
        let named: Vec<&str> = [&first.pod, &rank, &first.node]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        parts.push(format!("first {}", named.join(" ")));
    }
    if let Some(safety) = expect.safety {
        parts.push(format!("remedy {safety:?}").to_lowercase());
    }
    if expect.no_remedy {
        parts.push("no remedy".to_owned());
    }
    parts.join(", ")
}

fn got(diagnosis: &Diagnosis) -> String {
    let mut words = vec![state(diagnosis.state).to_owned()];
    for finding in diagnosis.findings.iter().take(4) {
        let role = format!("{:?}", finding.role).to_lowercase();
        words.push(format!(
            "{}({role} {:.2})",
            finding.cause, finding.confidence
        ));
    }
    let mut parts = vec![words.join(" ")];
    if let Some(first) = &diagnosis.first_failure {
        let rank = first
            .rank
            .map_or_else(String::new, |rank| format!(" rank {rank}"));
        let node = first.node.as_deref().unwrap_or("no node");
        parts.push(format!("first {}{rank} {node}", first.pod));
    }
    let first = diagnosis.findings.first();
    if let Some(remedy) = first.and_then(|first| first.remediation.as_ref()) {
        let safety = format!("{:?}", remedy.safety).to_lowercase();
        parts.push(format!("remedy {} {safety}", remedy.action));
    }
    parts.join(", ")
}

/// Of (stated confidence, was right).
fn calibration(answers: &[(f64, bool)]) -> Calibration {
    const BINS: u32 = 10;
    if answers.is_empty() {
        return Calibration::default();
    }
    let all = answers.len() as f64;
    let outcome = |right: bool| if right { 1.0 } else { 0.0 };
    let mut bins = Vec::new();
    let mut expected_error = 0.0;
    for place in 0..BINS {
        let (from, to) = (f64::from(place) / 10.0, f64::from(place + 1) / 10.0);
        let within: Vec<&(f64, bool)> = answers
            .iter()
            .filter(|(stated, _)| *stated >= from && (*stated < to || place + 1 == BINS))
            .collect();
        if within.is_empty() {
            continue;
        }
        let count = within.len() as f64;
        let stated = within.iter().map(|(stated, _)| stated).sum::<f64>() / count;
        let observed = within.iter().map(|(_, right)| outcome(*right)).sum::<f64>() / count;
        expected_error += (stated - observed).abs() * count / all;
        bins.push(Bin {
            from,
            to,
            answers: within.len(),
            stated,
            observed,
        });
    }
    let brier = answers
        .iter()
        .map(|(stated, right)| (stated - outcome(*right)).powi(2))
        .sum::<f64>()
        / all;
    Calibration {
        bins,
        expected_error,
        brier,
    }
}

#[cfg(test)]
mod tests;
