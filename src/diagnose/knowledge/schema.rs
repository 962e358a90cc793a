//! The shape of the knowledge files, and the checks that name the place of a mistake.

use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use super::{
    Failure, KnowledgeError, NodeNeed, Pattern, Remedy, Sign, StateField, TextPlace, TextTest, When,
};
use crate::diagnose::{Role, SafetyClass};

/// How thoroughly regular expressions are checked.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Check {
    /// Parsed only: the tests compile what is shipped, and start-up stays fast.
    Syntax,
    /// Compiled, which also finds those that grow too large.
    Compile,
}

#[allow(
    clippy::struct_field_names,
    reason = "the rows are what the file is called after"
)]
pub(super) struct Failures {
    pub(super) failures: Vec<Failure>,
    pub(super) advice: Vec<Pattern>,
    /// The ids that `see` and `over` name.
    pub(super) references: Vec<Spanned<String>>,
}

pub(super) struct Xid {
    pub(super) codes: Vec<u32>,
    pub(super) failure: Failure,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FailureFile {
    version: Spanned<u32>,
    #[serde(default)]
    advice: Vec<Spanned<String>>,
    #[serde(default)]
    failures: Vec<FailureRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FailureRow {
    id: Spanned<String>,
    title: String,
    #[serde(default = "root")]
    role: Role,
    #[serde(default)]
    alone: bool,
    #[serde(default)]
    see: Vec<Spanned<String>>,
    #[serde(default = "ordinary_weight")]
    weight: u8,
    #[serde(default)]
    over: Vec<Spanned<String>>,
    #[serde(default)]
    hardware: bool,
    safety: SafetyClass,
    #[serde(default)]
    action: Option<RemedyName>,
    cause: String,
    advice: String,
    source: String,
    #[serde(default)]
    signs: Vec<Spanned<SignRow>>,
}

fn root() -> Role {
    Role::Root
}

fn ordinary_weight() -> u8 {
    50
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum RemedyName {
    Restart,
    RestartElsewhere,
    Suspend,
    Resume,
    Cordon,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum WhenName {
    #[default]
    Always,
    Starting,
    Unready,
    Short,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignRow {
    // What to look at: exactly one of these.
    log: Option<Spanned<String>>,
    exit: Option<Vec<i32>>,
    waiting: Option<Vec<String>>,
    terminated: Option<Vec<String>>,
    pod: Option<Vec<String>>,
    pod_condition: Option<String>,
    job: Option<Vec<String>>,
    event: Option<Vec<String>>,
    phase: Option<Vec<String>>,
    phase_reason: Option<Vec<String>>,
    pending: Option<Spanned<String>>,
    pull: Option<Spanned<String>>,
    start: Option<Spanned<String>>,
    node: Option<Vec<String>>,
    kernel: Option<Spanned<String>>,
    history: Option<Spanned<String>>,
    // What narrows it.
    text: Option<Spanned<String>>,
    unless: Option<Spanned<String>>,
    #[serde(default)]
    reason: Vec<String>,
    #[serde(default)]
    unless_reason: Vec<String>,
    #[serde(default)]
    status: Option<OneOrMany>,
    #[serde(default)]
    on: Vec<String>,
    annotation: Option<String>,
    #[serde(default)]
    when: WhenName,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

type Text = Spanned<String>;

/// Names the file and place of mistakes.
struct Checker<'a> {
    path: &'a str,
    check: Check,
}

impl Checker<'_> {
    fn invalid(&self, at: Location, message: String) -> KnowledgeError {
        KnowledgeError::Invalid {
            path: self.path.to_owned(),
            line: at.line(),
            column: at.column(),
            message,
        }
    }

    fn check(&self, source: &Spanned<String>) -> Result<(), KnowledgeError> {
        let text = source.value.as_str();
        let problem = match self.check {
            Check::Syntax => regex_syntax::parse(text)
                .err()
                .map(|error| error.to_string()),
            Check::Compile => Pattern::compile(text).err().map(|error| error.to_string()),
        };
        match problem {
            Some(problem) => Err(self.invalid(
                source.referenced,
                format!("not a regular expression: {problem}"),
            )),
            None => Ok(()),
        }
    }

    fn checks(&self, must: Option<&Text>, unless: Option<&Text>) -> Result<(), KnowledgeError> {
        for source in [must, unless].into_iter().flatten() {
            self.check(source)?;
        }
        Ok(())
    }

    fn test(&self, must: Option<&Text>, unless: Option<&Text>) -> Result<TextTest, KnowledgeError> {
        self.checks(must, unless)?;
        Ok(TextTest::of(
            must.map(|must| must.value.as_str()),
            unless.map(|unless| unless.value.as_str()),
        ))
    }

    /// A test that is looked for in logs, and so needs a literal to find its lines by.
    fn log_test(&self, must: &Text, unless: Option<&Text>) -> Result<TextTest, KnowledgeError> {
        self.checks(Some(must), unless)?;
        TextTest::searched(&must.value, unless.map(|unless| unless.value.as_str())).map_err(
            |alternative| {
                self.invalid(
                    must.referenced,
                    format!(
                        "`{alternative}` has no literal of three characters that every match contains"
                    ),
                )
            },
        )
    }

    fn sign(&self, at: Location, row: SignRow) -> Result<Sign, KnowledgeError> {
        let selectors = [
            row.log.is_some(),
            row.exit.is_some(),
            row.waiting.is_some(),
            row.terminated.is_some(),
            row.pod.is_some(),
            row.pod_condition.is_some(),
            row.job.is_some(),
            row.event.is_some(),
            row.phase.is_some(),
            row.phase_reason.is_some(),
            row.pending.is_some(),
            row.pull.is_some(),
            row.start.is_some(),
            row.node.is_some(),
            row.kernel.is_some(),
            row.history.is_some(),
        ];
        if selectors.iter().filter(|selector| **selector).count() != 1 {
            return Err(self.invalid(at, "a sign looks at exactly one thing".to_owned()));
        }
        let unless = row.unless.as_ref();
        if let Some(log) = row.log {
            return Ok(Sign::Log(self.log_test(&log, unless)?));
        }
        if let Some(kernel) = row.kernel {
            return Ok(Sign::Text {
                place: TextPlace::Kernel,
                text: self.log_test(&kernel, unless)?,
            });
        }
        for (place, pattern) in [
            (TextPlace::Pending, row.pending),
            (TextPlace::Pull, row.pull),
            (TextPlace::Start, row.start),
            (TextPlace::History, row.history),
        ] {
            if let Some(pattern) = pattern {
                let text = self.test(Some(&pattern), unless)?;
                return Ok(Sign::Text { place, text });
            }
        }
        let text = self.test(row.text.as_ref(), unless)?;
        for (field, reasons) in [
            (StateField::Waiting, row.waiting),
            (StateField::Terminated, row.terminated),
            (StateField::Pod, row.pod),
            (StateField::Job, row.job),
            (StateField::Phase, row.phase),
            (StateField::PhaseReason, row.phase_reason),
        ] {
            if let Some(reasons) = reasons {
                return Ok(Sign::State {
                    field,
                    reasons,
                    text,
                });
            }
        }
        if let Some(codes) = row.exit {
            return Ok(Sign::Exit {
                codes,
                reasons: row.reason,
                unless_reasons: row.unless_reason,
            });
        }
        if let Some(kind) = row.pod_condition {
            let status = row.status.map_or_else(Vec::new, OneOrMany::into_vec);
            return Ok(Sign::PodCondition {
                kind,
                status: status
                    .into_iter()
                    .next()
                    .unwrap_or_else(|| "True".to_owned()),
                reasons: row.reason,
            });
        }
        if let Some(conditions) = row.node {
            return Ok(Sign::Node {
                conditions,
                statuses: row
                    .status
                    .map_or_else(|| vec!["True".to_owned()], OneOrMany::into_vec),
                text,
            });
        }
        Ok(Sign::Event {
            reasons: row.event.unwrap_or_default(),
            on: row.on,
            annotation: row.annotation,
            text,
            when: match row.when {
                WhenName::Always => When::Always,
                WhenName::Starting => When::Starting,
                WhenName::Unready => When::Unready,
                WhenName::Short => When::Short,
            },
        })
    }

    fn parsed<T: for<'de> Deserialize<'de>>(&self, text: &str) -> Result<T, KnowledgeError> {
        serde_saphyr::from_str(text).map_err(|error| {
            let at = error.location().unwrap_or(Location::UNKNOWN);
            self.invalid(at, told(&error.without_snippet().to_string()))
        })
    }

    fn version(&self, version: &Spanned<u32>) -> Result<(), KnowledgeError> {
        if version.value == 1 {
            return Ok(());
        }
        Err(self.invalid(
            version.referenced,
            format!("version {} is not known", version.value),
        ))
    }
}

pub(super) fn failures(path: &str, text: &str, check: Check) -> Result<Failures, KnowledgeError> {
    let checker = Checker { path, check };
    let file: FailureFile = checker.parsed(text)?;
    checker.version(&file.version)?;
    let mut failures: Vec<Failure> = Vec::with_capacity(file.failures.len());
    let mut references = Vec::new();
    for row in file.failures {
        if failures.iter().any(|known| known.id == row.id.value) {
            return Err(checker.invalid(
                row.id.referenced,
                format!("`{}` is there twice", row.id.value),
            ));
        }
        let mut signs = Vec::with_capacity(row.signs.len());
        for sign in row.signs {
            signs.push(checker.sign(sign.referenced, sign.value)?);
        }
        let ids = |named: &[Spanned<String>]| named.iter().map(|id| id.value.clone()).collect();
        let (see, over) = (ids(&row.see), ids(&row.over));
        references.extend(row.see.into_iter().chain(row.over));
        failures.push(Failure {
            id: row.id.value,
            title: row.title,
            role: row.role,
            alone: row.alone,
            see,
            weight: row.weight,
            over,
            hardware: row.hardware,
            safety: row.safety,
            action: match row.action {
                None => Remedy::Nothing,
                Some(RemedyName::Restart) => Remedy::Restart,
                Some(RemedyName::RestartElsewhere) => Remedy::RestartElsewhere,
                Some(RemedyName::Suspend) => Remedy::Suspend,
                Some(RemedyName::Resume) => Remedy::Resume,
                Some(RemedyName::Cordon) => Remedy::Cordon,
            },
            cause: row.cause,
            advice: row.advice,
            source: row.source,
            signs,
            node: None,
        });
    }
    let mut advice = Vec::with_capacity(file.advice.len());
    for pattern in file.advice {
        checker.check(&pattern)?;
        advice.push(Pattern::searched(&pattern.value));
    }
    Ok(Failures {
        failures,
        advice,
        references,
    })
}

/// Each id that a file names must be known.
pub(super) fn references(
    path: &str,
    named: &[Spanned<String>],
    known: &[&str],
) -> Result<(), KnowledgeError> {
    let checker = Checker {
        path,
        check: Check::Syntax,
    };
    match named.iter().find(|id| !known.contains(&id.value.as_str())) {
        None => Ok(()),
        Some(id) => Err(checker.invalid(
            id.referenced,
            format!(
                "there is no failure `{}`{}",
                id.value,
                did_you_mean(&id.value, known.iter().copied())
            ),
        )),
    }
}

/// What the reader of YAML says, with the name that was probably meant.
fn told(message: &str) -> String {
    static EXPECTED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"unknown (?:field|variant) `([^`]*)`, expected (.*)")
            .expect("a constant that the tests compile")
    });
    let Some(found) = EXPECTED.captures(message) else {
        return message.to_owned();
    };
    // `one of` and `or` are words of the sentence.
    let names = found[2]
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|name| !matches!(*name, "" | "one" | "of" | "or" | "at" | "line" | "column"))
        .filter(|name| !name.starts_with(|c: char| c.is_ascii_digit()));
    format!(
        "`{}` is not known here{}",
        &found[1],
        did_you_mean(&found[1], names)
    )
}

/// The nearest of some names, or all of a few.
fn did_you_mean<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> String {
    /// Below this similarity (Jaro-Winkler, 0..=1) a name is no help.
    const SIMILAR: f64 = 0.75;
    /// So many names can be told instead.
    const FEW: usize = 6;
    let names: Vec<&str> = names.collect();
    let nearest = names
        .iter()
        .map(|name| {
            // One slip of the keys makes short names look less alike than they are.
            let slip = strsim::osa_distance(wrong, name) <= 1;
            let likeness = strsim::jaro_winkler(wrong, name);
            (if slip { 1.0 } else { likeness }, *name)
        })
        .filter(|(likeness, _)| *likeness >= SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, name)) => format!("; did you mean `{name}`?"),
        None if names.len() <= FEW && !names.is_empty() => {
            format!("; it may be {}", names.join(", "))
        }
        None => String::new(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct XidFile {
    version: Spanned<u32>,
    xids: Vec<XidRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct XidRow {
    id: String,
    codes: Vec<u32>,
    title: String,
    #[serde(default = "root")]
    role: Role,
    job: JobNeed,
    node: NodeNeedName,
    safety: SafetyClass,
    weight: u8,
    note: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum JobNeed {
    None,
    Check,
    Restart,
    Elsewhere,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum NodeNeedName {
    None,
    Watch,
    Out,
}

pub(super) fn xids(path: &str, text: &str) -> Result<Vec<Xid>, KnowledgeError> {
    let checker = Checker {
        path,
        check: Check::Syntax,
    };
    let file: XidFile = checker.parsed(text)?;
    checker.version(&file.version)?;
    let xid = |row: XidRow| {
        let (action, advice) = match (&row.job, &row.node) {
            (JobNeed::None, NodeNeedName::None | NodeNeedName::Watch | NodeNeedName::Out) => {
                (Remedy::Nothing, "Note it; the job needs nothing for it.")
            }
            (JobNeed::Check, NodeNeedName::None | NodeNeedName::Watch | NodeNeedName::Out) => (
                Remedy::Nothing,
                "Check that the job still makes progress, and restart it if it does not.",
            ),
            (JobNeed::Restart, NodeNeedName::None | NodeNeedName::Watch | NodeNeedName::Out) => (
                Remedy::Restart,
                "Restart the job once; if the same GPU reports it again, take the node out.",
            ),
            (JobNeed::Elsewhere, NodeNeedName::None | NodeNeedName::Watch) => {
                (Remedy::RestartElsewhere, "Restart the job on other nodes.")
            }
            (JobNeed::Elsewhere, NodeNeedName::Out) => (
                Remedy::RestartElsewhere,
                "Restart the job on other nodes, and take this node out until its GPU has been seen to.",
            ),
        };
        Xid {
            codes: row.codes,
            failure: Failure {
                id: row.id,
                title: row.title.clone(),
                role: row.role,
                alone: false,
                see: Vec::new(),
                weight: row.weight,
                over: Vec::new(),
                hardware: true,
                safety: row.safety,
                action,
                cause: format!(
                    "The GPU's driver reported: {}. {}",
                    lower_first(&row.title),
                    row.note
                ),
                advice: advice.to_owned(),
                source: "NVIDIA Xid catalogue".to_owned(),
                signs: Vec::new(),
                node: Some(match row.node {
                    NodeNeedName::None => NodeNeed::Nothing,
                    NodeNeedName::Watch => NodeNeed::Watch,
                    NodeNeedName::Out => NodeNeed::Out,
                }),
            },
        }
    };
    Ok(file.xids.into_iter().map(xid).collect())
}

/// Lower-cases the first letter, unless the word is an abbreviation or a name.
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), text.chars().nth(1)) {
        (Some(first), Some(second))
            if (second.is_lowercase() || second == ' ') && !text.starts_with("Run:AI") =>
        {
            first.to_lowercase().chain(chars).collect()
        }
        (Some(_) | None, Some(_) | None) => text.to_owned(),
    }
}
