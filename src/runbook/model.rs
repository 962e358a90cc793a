//! What a runbook is, once its file was read and found good.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::schedule::Schedule;
use super::template::{Input, Kind};
use super::yaml::At;
use crate::action::{ActionKind, System};
use crate::alert::Severity;

/// A procedure with its reasons: when it applies, what it does step by step, and how it is taken back.
#[derive(Clone, Debug, PartialEq)]
pub struct Runbook {
    /// Also the name of its file, without `.yaml`.
    pub name: String,
    /// One sentence.
    pub description: String,
    /// Why and when, in prose.
    pub why: String,
    /// Of what it is for.
    pub severity: Severity,
    pub triggers: Vec<Trigger>,
    pub parameters: Vec<Parameter>,
    pub steps: Vec<Step>,
    /// What must hold in the end.
    pub verification: Vec<Check>,
}

impl Runbook {
    #[must_use]
    pub fn step(&self, id: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.id == id)
    }

    /// Whether people may start it.
    #[must_use]
    pub fn by_hand(&self) -> bool {
        !self.triggers.contains(&Trigger::Manual(false))
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    Metric(MetricTrigger),
    /// The root cause of an alert's diagnosis is one of these.
    Cause(Vec<String>),
    /// An incoming alert bears one of these names.
    Alert(Vec<String>),
    /// A named alert pattern matched.
    Pattern(Vec<String>),
    Schedule(Schedule),
    /// Whether people may start it; so they may unless a file says no.
    Manual(bool),
}

/// A measure past a limit for a while; over when it is back within another.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricTrigger {
    pub measure: Measure,
    pub limit: Limit,
    pub unit: Option<String>,
    pub hold: Duration,
    pub resolved: Option<(Limit, Duration)>,
}

/// Where a number comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Measure {
    /// A name of the section `metrics` of the configuration.
    Named(At, String),
    Promql(Input),
}

/// What a number must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Limit {
    Above(Input),
    Below(Input),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    pub name: String,
    pub kind: Kind,
    /// Without a default it must be given, unless the file says that it need not.
    pub required: bool,
    pub default: Option<Value>,
    pub about: String,
    /// What of an alert it is taken from, where one started the run.
    pub from: Option<AlertFact>,
}

/// What a run that an alert started can know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertFact {
    Cluster,
    Namespace,
    Project,
    Job,
    Node,
    Pod,
    Cause,
    Number,
    Severity,
}

impl AlertFact {
    pub const ALL: [Self; 9] = [
        Self::Cluster,
        Self::Namespace,
        Self::Project,
        Self::Job,
        Self::Node,
        Self::Pod,
        Self::Cause,
        Self::Number,
        Self::Severity,
    ];

    /// The name in files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "alert.cluster",
            Self::Namespace => "alert.namespace",
            Self::Project => "alert.project",
            Self::Job => "alert.job",
            Self::Node => "alert.node",
            Self::Pod => "alert.pod",
            Self::Cause => "alert.cause",
            Self::Number => "alert.number",
            Self::Severity => "alert.severity",
        }
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub id: String,
    pub at: At,
    /// In a few words, where the action's own words would not do.
    pub title: Option<String>,
    pub what: What,
    /// All must hold, or the step is skipped.
    pub when: Vec<Comparison>,
    /// How long it may take once it began; waiting for people is not counted.
    pub timeout: Duration,
    /// A person decides even where the policy would not ask.
    pub requires_approval: bool,
    /// What must hold after the action, beyond what the action itself observes.
    pub success: Vec<Check>,
    pub radius: Radius,
    pub rollback: Option<Rollback>,
    pub on_failure: OnFailure,
    /// Name → the field of the result.
    pub outputs: Vec<(String, ResultField)>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Changes something: passes the gate.
    Act(Act),
    Wait(Input),
    /// Waits until a measure or an answer is as wanted.
    Verify(Check),
    /// Looks at an object and gives what it sees to later steps.
    Look(TargetInput),
    Notify(Input),
    /// Asks people yes or no.
    Ask(Input),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Act {
    pub kind: ActionKind,
    pub target: TargetInput,
    pub with: Vec<(String, Input)>,
}

/// Which object is meant; it is looked up when its turn comes, and bound by its uid.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetInput {
    /// Whatever of a job the action acts on: its workload, its controller.
    Job {
        job: Input,
        namespace: Option<Input>,
        project: Option<Input>,
        cluster: Option<Input>,
    },
    Object {
        kind: Input,
        namespace: Option<Input>,
        name: Input,
        cluster: Option<Input>,
    },
    /// A name of the configuration, or of an object in another system.
    Named { of: System, name: Input },
}

/// How much a step may take at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Radius {
    pub most: Option<Most>,
    /// Pause after the action before the next step.
    pub wait_between: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Most {
    Instances(u64),
    Percent(u64),
}

/// How a step is taken back.
#[derive(Clone, Debug, PartialEq)]
#[allow(
    clippy::large_enum_variant,
    reason = "there are a few in the whole program"
)]
pub enum Rollback {
    /// The action that the catalogue names, on the same object.
    Inverse(ActionKind),
    Act(Act),
}

/// What follows when a step fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The run ends; the step itself is taken back if it says how.
    #[default]
    Abort,
    Continue,
    /// The run ends, and all its steps that say how are taken back, the last first.
    Rollback,
    /// As abort, and people are called.
    Escalate,
}

/// Something that must hold, for a while, before a time is up.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    pub at: At,
    pub of: CheckOf,
    /// How long it must hold without a break.
    pub hold: Duration,
    /// How long that may take to come; the step's timeout if not said.
    pub within: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum CheckOf {
    Metric {
        measure: Measure,
        limit: Limit,
        unit: Option<String>,
    },
    Http {
        url: Input,
        status: u16,
    },
    Tcp {
        address: Input,
    },
}

/// `${replicas} >= 2`.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    pub left: Input,
    pub operator: Operator,
    pub right: Input,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Operator {
    /// The longer ones first, so that a reader does not stop at `<` of `<=`.
    pub const ALL: [Self; 6] = [
        Self::Equal,
        Self::Unequal,
        Self::LessOrEqual,
        Self::GreaterOrEqual,
        Self::Less,
        Self::Greater,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::Unequal => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    /// Whether it holds: numbers by their value, all else by its text; an order of texts is never true.
    #[must_use]
    pub fn holds(self, left: &Value, right: &Value) -> bool {
        let numbers = left.as_f64().zip(right.as_f64());
        let order = numbers.and_then(|(a, b)| a.partial_cmp(&b));
        let equal = match order {
            Some(order) => order.is_eq(),
            None => super::template::plain(left) == super::template::plain(right),
        };
        match self {
            Self::Equal => equal,
            Self::Unequal => !equal,
            Self::Less => order.is_some_and(std::cmp::Ordering::is_lt),
            Self::LessOrEqual => order.is_some_and(std::cmp::Ordering::is_le),
            Self::Greater => order.is_some_and(std::cmp::Ordering::is_gt),
            Self::GreaterOrEqual => order.is_some_and(std::cmp::Ordering::is_ge),
        }
    }
}

/// What a step that succeeded tells to later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultField {
    /// Of actions: what the system answered, and what was seen afterwards.
    Answer,
    Observed,
    /// Of `verify_metrics`: the number.
    Value,
    /// Of `health_check`: the HTTP status.
    Status,
    /// Of `ask_human`: who said yes.
    By,
    /// Of `look`.
    Found,
    Kind,
    State,
    Ready,
    Desired,
    Node,
    Suspended,
    Gitops,
}

impl ResultField {
    pub const ALL: [Self; 13] = [
        Self::Answer,
        Self::Observed,
        Self::Value,
        Self::Status,
        Self::By,
        Self::Found,
        Self::Kind,
        Self::State,
        Self::Ready,
        Self::Desired,
        Self::Node,
        Self::Suspended,
        Self::Gitops,
    ];

    /// The name after `result.`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Observed => "observed",
            Self::Value => "value",
            Self::Status => "status",
            Self::By => "by",
            Self::Found => "found",
            Self::Kind => "kind",
            Self::State => "state",
            Self::Ready => "ready",
            Self::Desired => "desired",
            Self::Node => "node",
            Self::Suspended => "suspended",
            Self::Gitops => "gitops",
        }
    }

    /// What its value is.
    #[must_use]
    pub fn value_kind(self) -> Kind {
        match self {
            Self::Answer | Self::Observed | Self::By | Self::State | Self::Kind | Self::Gitops => {
                Kind::Text
            }
            Self::Node => Kind::Name,
            Self::Value => Kind::Number,
            Self::Status | Self::Ready | Self::Desired => Kind::Integer {
                least: 0,
                most: i64::from(u32::MAX),
            },
            Self::Found | Self::Suspended => Kind::Flag,
        }
    }

    /// Whether a step of this kind gives it.
    #[must_use]
    pub fn given_by(self, what: &What) -> bool {
        match what {
            What::Act(_) => matches!(self, Self::Answer | Self::Observed),
            What::Verify(check) => match check.of {
                CheckOf::Metric { .. } => self == Self::Value,
                CheckOf::Http { .. } => self == Self::Status,
                CheckOf::Tcp { .. } => false,
            },
            What::Ask(_) => self == Self::By,
            What::Look(_) => matches!(
                self,
                Self::Found
                    | Self::Kind
                    | Self::State
                    | Self::Ready
                    | Self::Desired
                    | Self::Node
                    | Self::Suspended
                    | Self::Gitops
            ),
            What::Wait(_) | What::Notify(_) => false,
        }
    }
}
