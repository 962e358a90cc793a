//! One sign of one failure, found in one place.

use jiff::Timestamp;

/// How strong a place speaks, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tier {
    /// Kubernetes or Run:AI states it.
    State,
    /// The node, its kernel or its GPUs report it.
    Node,
    /// A log line says it.
    Log,
    /// Only the exit code points at it.
    Exit,
}

#[derive(Clone, Debug)]
pub(super) struct Hit {
    /// Index of the failure in the knowledge.
    pub(super) failure: usize,
    pub(super) tier: Tier,
    /// As in the contract's evidence: `log`, `previous_log`, `event`, `status`, `node`, `runai`.
    pub(super) source: &'static str,
    pub(super) pod: Option<String>,
    pub(super) container: Option<String>,
    pub(super) node: Option<String>,
    pub(super) at: Option<Timestamp>,
    /// Line number within its log; orders hits of one time.
    pub(super) order: usize,
    /// Global rank that a log line names.
    pub(super) rank: Option<u32>,
    /// Raw text from outside.
    pub(super) line: String,
    /// Says less: a warning, something the job survived, or something long over.
    pub(super) weak: bool,
    /// The line names the exception that a traceback ends in.
    pub(super) fatal: bool,
}
