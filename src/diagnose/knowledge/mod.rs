//! What is known about failures, as data: by what each is recognised, what it means, what to do about it.
//! Embedded, schema-checked when loaded, and overridable entry by entry with a local file.

mod finder;
mod index;
mod literal;
mod pattern;
mod schema;
mod words;

pub use index::Announced;
pub use pattern::TextTest;
pub use words::sections;

use std::collections::HashMap;
use std::path::Path;

use super::{Role, SafetyClass};
use index::LogIndex;
use pattern::Pattern;

const FAILURES: &str = include_str!("failures.yaml");
const XIDS: &str = include_str!("xid.yaml");

/// A mistake in a knowledge file.
#[derive(Debug, thiserror::Error)]
pub enum KnowledgeError {
    #[error("cannot read knowledge file {path}")]
    Unreadable {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{path}:{line}:{column}: {message}")]
    Invalid {
        path: String,
        /// From 1.
        line: u64,
        /// In characters, from 1.
        column: u64,
        message: String,
    },
}

/// All known failures, ready to be matched.
#[derive(Debug)]
pub struct Knowledge {
    failures: Vec<Failure>,
    by_id: HashMap<String, usize>,
    by_xid: HashMap<u32, usize>,
    advice: Vec<Pattern>,
    logs: LogIndex,
}

/// One row of the failure taxonomy.
#[derive(Debug)]
pub struct Failure {
    /// Stable id, as in the contract's `cause`.
    pub id: String,
    pub title: String,
    pub role: Role,
    /// A cascade or confirming row that is the cause when nothing better is found.
    pub alone: bool,
    /// Canonical causes that this row shows from a weaker place.
    pub see: Vec<String>,
    /// How specific it is: 20 says little, 50 names the trouble, 80 leaves no doubt.
    pub weight: u8,
    /// Causes that this one explains when both are seen on one pod.
    pub over: Vec<String>,
    /// A fault of node, GPU or fabric often produces it.
    pub hardware: bool,
    pub safety: SafetyClass,
    pub action: Remedy,
    pub cause: String,
    /// One sentence that a tired person can follow.
    pub advice: String,
    pub source: String,
    pub signs: Vec<Sign>,
    /// Set for Xids: what the node needs.
    pub node: Option<NodeNeed>,
}

/// What kind of remedy a row allows; which action that is depends on what the job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    Nothing,
    /// Restart the whole job.
    Restart,
    /// Restart the whole job and keep it off the node it failed on.
    RestartElsewhere,
    /// Free what the job holds; it can be resumed.
    Suspend,
    Resume,
    Cordon,
}

/// What the node needs after an Xid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeNeed {
    Nothing,
    Watch,
    /// Take it out of use.
    Out,
}

/// One way to recognise a failure.
#[derive(Debug)]
pub enum Sign {
    /// A log line.
    Log(TextTest),
    /// An exit code of a container, with the termination reasons that it needs or excludes.
    Exit {
        codes: Vec<i32>,
        reasons: Vec<String>,
        unless_reasons: Vec<String>,
    },
    /// A reason that some status field states.
    State {
        field: StateField,
        reasons: Vec<String>,
        text: TextTest,
    },
    /// A pod condition; with status `True` unless said otherwise.
    PodCondition {
        kind: String,
        status: String,
        reasons: Vec<String>,
    },
    Event {
        reasons: Vec<String>,
        /// Kinds of involved objects; any but `Node` when empty.
        on: Vec<String>,
        /// Value of the scheduler's `evictor-action-type` annotation.
        annotation: Option<String>,
        text: TextTest,
        when: When,
    },
    /// A node condition of one of these kinds with one of these statuses.
    Node {
        conditions: Vec<String>,
        statuses: Vec<String>,
        text: TextTest,
    },
    /// Text of a class of messages, whichever field carries it.
    Text { place: TextPlace, text: TextTest },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateField {
    /// `waiting.reason` of a container.
    Waiting,
    /// `terminated.reason` of a container, current or last.
    Terminated,
    /// `status.reason` of a pod.
    Pod,
    /// Reason of a controller's condition.
    Job,
    /// Phase of the Run:AI workload; the text is its phase message.
    Phase,
    /// `phaseReason` of the Run:AI workload.
    PhaseReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextPlace {
    /// Why it is not scheduled: scheduler events, `PodScheduled`, Run:AI's pending messages.
    Pending,
    /// Errors of image pulls.
    Pull,
    /// Errors of the runtime when it starts a container.
    Start,
    /// Kernel lines: in events and conditions of nodes, and in logs.
    Kernel,
    /// Run:AI's history.
    History,
}

/// In which state of its pod an event still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Always,
    /// No container of the pod has started.
    Starting,
    /// The pod is not ready.
    Unready,
    /// The controller has fewer pods than it wants.
    Short,
}

impl Knowledge {
    /// The knowledge shipped with the program.
    ///
    /// # Panics
    /// Never: the tests load what is shipped.
    #[must_use]
    pub fn embedded() -> Self {
        Self::build(None).expect("the tests load the embedded knowledge")
    }

    /// The shipped knowledge with the entries of a local file added, or put in place of those with the same id.
    pub fn load(path: &Path) -> Result<Self, KnowledgeError> {
        let text = std::fs::read_to_string(path).map_err(|source| KnowledgeError::Unreadable {
            path: path.display().to_string(),
            source,
        })?;
        Self::build(Some((&path.display().to_string(), &text)))
    }

    fn build(local: Option<(&str, &str)>) -> Result<Self, KnowledgeError> {
        let shipped = schema::failures("failures.yaml", FAILURES, schema::Check::Syntax)?;
        let xids = schema::xids("xid.yaml", XIDS)?;
        let mut failures = shipped.failures;
        let mut advice = shipped.advice;
        let mut xid_rows = HashMap::new();
        for xid in xids {
            for code in xid.codes {
                xid_rows.insert(code, failures.len());
            }
            failures.push(xid.failure);
        }
        if let Some((path, text)) = local {
            let local = schema::failures(path, text, schema::Check::Compile)?;
            let known: Vec<&str> = failures
                .iter()
                .chain(&local.failures)
                .map(|failure| failure.id.as_str())
                .collect();
            schema::references(path, &local.references, &known)?;
            advice.extend(local.advice);
            for failure in local.failures {
                match failures.iter_mut().find(|known| known.id == failure.id) {
                    Some(known) => *known = failure,
                    None => failures.push(failure),
                }
            }
        }
        let by_id = failures
            .iter()
            .enumerate()
            .map(|(index, failure)| (failure.id.clone(), index))
            .collect();
        let logs = LogIndex::of(&failures);
        Ok(Self {
            failures,
            by_id,
            by_xid: xid_rows,
            advice,
            logs,
        })
    }

    /// Every row, in the order of the files.
    #[must_use]
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    #[must_use]
    pub fn failure(&self, id: &str) -> Option<&Failure> {
        self.by_id.get(id).map(|index| &self.failures[*index])
    }

    pub(super) fn index(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// The table of Xids: the numbers of each row, in their order.
    #[must_use]
    pub fn xids(&self) -> Vec<(Vec<u32>, &Failure)> {
        let mut rows: std::collections::BTreeMap<usize, Vec<u32>> =
            std::collections::BTreeMap::new();
        for (code, row) in &self.by_xid {
            rows.entry(*row).or_default().push(*code);
        }
        let mut rows: Vec<(Vec<u32>, &Failure)> = rows
            .into_iter()
            .map(|(row, mut codes)| {
                codes.sort_unstable();
                (codes, &self.failures[row])
            })
            .collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows
    }

    /// The row of an Xid's number.
    pub(super) fn xid(&self, code: u32) -> Option<usize> {
        self.by_xid.get(&code).copied()
    }

    /// What may stand in this text, as (byte offset, announcement); several of one line are not told apart.
    pub fn announced<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (usize, Announced)> + 'a {
        self.logs.announced(text)
    }

    /// The line without advice and speculation, which are never causes.
    pub(super) fn without_advice<'a>(&self, line: &'a str) -> std::borrow::Cow<'a, str> {
        let mut out = std::borrow::Cow::Borrowed(line);
        for pattern in &self.advice {
            if pattern.may_match(&out) && pattern.is_match(&out) {
                let cut = pattern.regex().replace_all(&out, "").into_owned();
                out = std::borrow::Cow::Owned(cut);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests;
