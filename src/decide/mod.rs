//! From a diagnosis to at most one proposed action, with what it would touch. Pure.
//!
//! Only the root finding is acted on, never a cascade or an expected event; whether and by whom the proposal may be
//! carried out is for [`crate::safety`].

pub mod impact;
pub mod ledger;
pub mod worker;

use jiff::Timestamp;

use crate::action::{ActionKind, ActionSpec, InvalidAction, Parameters, Target};
use crate::alert::{Alert, Severity};
use crate::diagnose::{Diagnosis, Finding, Remediation, Role, SafetyClass, Verdict};
use crate::estate::index::Job;
use crate::safety::Scope;
use ledger::{Exhausted, Past, Seen};

/// Below this confidence in the cause, what would be automatic asks: the default of `CONFIDENCE_THRESHOLD`.
const CONFIDENT: f64 = 0.75;

/// An action worth asking about.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    pub spec: ActionSpec,
    /// How freely the cause lets it run.
    pub class: SafetyClass,
    pub severity: Severity,
    /// Why, one sentence.
    pub reason: String,
    /// What it would touch, as sentences.
    pub impact: Vec<String>,
    pub scope: Scope,
    /// Running and ready instances that it takes down.
    pub healthy_taken: u64,
    /// GitOps owns the object.
    pub owned_elsewhere: bool,
}

/// What else is known when deciding.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Real executions on the job before, oldest first (see [`ledger::past`]).
    pub past: &'a [Past],
    /// Nodes of the job's cluster that take no new pods.
    pub unschedulable_nodes: &'a [String],
}

/// Why nothing is proposed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NoProposal {
    #[error("there is nothing to repair")]
    NothingToRepair,
    #[error("no root cause was found, and consequences are not acted on")]
    NoRoot,
    #[error("nothing that can be done safely helps against this cause; it is for a person")]
    ForPeople,
    #[error("{0}")]
    Exhausted(Exhausted),
    #[error("the diagnosis names `{0}`, which this version cannot do")]
    UnknownAction(String),
    #[error("the target of the remedy is not among what is seen of the job now")]
    TargetGone,
    #[error("{0}")]
    Invalid(#[from] InvalidAction),
}

/// What to propose for an alert, given its diagnosis and its job as it is seen now.
///
/// # Errors
/// Says why nothing is proposed.
pub fn proposal(
    alert: &Alert,
    diagnosis: &Diagnosis,
    job: &Job,
    known: Known<'_>,
    now: Timestamp,
) -> Result<Proposal, NoProposal> {
    match diagnosis.state {
        Verdict::Failing => {}
        Verdict::Healthy | Verdict::Expected => return Err(NoProposal::NothingToRepair),
    }
    let root = diagnosis
        .findings
        .iter()
        .find(|finding| finding.role == Role::Root)
        .ok_or(NoProposal::NoRoot)?;
    let remediation = root.remediation.as_ref().ok_or(NoProposal::ForPeople)?;
    let class = match remediation.safety {
        SafetyClass::Human | SafetyClass::Quiet => return Err(NoProposal::ForPeople),
        SafetyClass::Auto if root.confidence < CONFIDENT => SafetyClass::Gated,
        SafetyClass::Auto | SafetyClass::Gated => remediation.safety,
    };
    let kind = ActionKind::named(&remediation.action)
        .ok_or_else(|| NoProposal::UnknownAction(remediation.action.clone()))?;
    let wanted = ActionSpec {
        kind,
        target: target(kind, remediation, job)?,
        parameters: Parameters::default(),
        avoid_node: parameter(remediation, "avoid_node").map(str::to_owned),
    };
    let (spec, class, reason) = with_node_out_first(wanted, class, root, job, known);
    spec.validate()?;

    if spec.kind.is_restart() {
        let seen = Seen::of(job.progress.as_ref());
        ledger::check(known.past, &root.cause, alert.opened, seen, now)
            .map_err(NoProposal::Exhausted)?;
    }
    let weighed = impact::weigh(&spec, job, now);
    Ok(Proposal {
        impact: weighed.impact,
        scope: Scope {
            cause: Some(root.cause.clone()),
            failing_since: Some(alert.opened),
            ..weighed.scope
        },
        class,
        severity: alert.severity,
        reason,
        healthy_taken: weighed.healthy_taken,
        owned_elsewhere: weighed.owned_elsewhere,
        spec,
    })
}

/// The service an action is part of: what the limits count by, and the ledger's key.
#[must_use]
pub fn service_of(job: &Job) -> String {
    format!("{}/{}/{}", job.key.cluster, job.key.namespace, job.key.name)
}

/// A restart after a node's fault must keep off that node, or it is no remedy. A Job made anew is told to; for what
/// cannot be told, the node has to be out of scheduling first, so that is proposed before.
fn with_node_out_first(
    wanted: ActionSpec,
    class: SafetyClass,
    root: &Finding,
    job: &Job,
    known: Known<'_>,
) -> (ActionSpec, SafetyClass, String) {
    let because = format!(
        "{} ({:.0} % sure).",
        root.title.trim_end_matches('.'),
        root.confidence * 100.0
    );
    match &wanted.avoid_node {
        Some(node)
            if wanted.kind.is_restart()
                && wanted.kind != ActionKind::RecreateJob
                && !known.unschedulable_nodes.contains(node) =>
        {
            let cordon = ActionSpec {
                kind: ActionKind::CordonNode,
                target: node_target(&job.key.cluster, node),
                parameters: Parameters::default(),
                avoid_node: None,
            };
            let reason = format!(
                "{because} A restart could land on {node} again, so the node is taken out of scheduling first; then the job can be restarted."
            );
            (cordon, SafetyClass::Gated, reason)
        }
        Some(_) | None => (wanted, class, because),
    }
}

fn node_target(cluster: &str, node: &str) -> Target {
    Target::Kubernetes {
        cluster: cluster.to_owned(),
        namespace: String::new(),
        kind: "Node".to_owned(),
        name: node.to_owned(),
        uid: None,
    }
}

fn parameter<'a>(remediation: &'a Remediation, name: &str) -> Option<&'a str> {
    remediation
        .parameters
        .get(name)
        .and_then(serde_json::Value::as_str)
}

/// The target as the job shows it now; what the diagnosis names must still be there, under the same uid.
fn target(kind: ActionKind, remediation: &Remediation, job: &Job) -> Result<Target, NoProposal> {
    if kind.is_runai() {
        let workload = job.workload.as_ref().ok_or(NoProposal::TargetGone)?;
        if parameter(remediation, "workload_id").is_some_and(|id| id != workload.id) {
            return Err(NoProposal::TargetGone);
        }
        return Ok(Target::Runai {
            workload_id: workload.id.clone(),
            name: workload.name.clone(),
            project: workload.project.to_string(),
            kind: workload.kind.to_string(),
        });
    }
    let name = parameter(remediation, "name");
    let uid = parameter(remediation, "uid");
    if kind.acts_on("Node") {
        let node = parameter(remediation, "node")
            .or(name)
            .or_else(|| parameter(remediation, "avoid_node"))
            .ok_or(NoProposal::TargetGone)?;
        return Ok(node_target(&job.key.cluster, node));
    }
    let (object, found_name, found_uid) = if kind.acts_on("Pod") {
        let pod = job
            .live_pods()
            .find(|pod| name == Some(pod.name.as_str()))
            .ok_or(NoProposal::TargetGone)?;
        ("Pod", &pod.name, &pod.uid)
    } else {
        let controller = job
            .controllers
            .iter()
            .filter(|c| c.deleting.is_none() && kind.acts_on(&c.kind))
            .find(|c| name.is_none_or(|name| name == c.name))
            .ok_or(NoProposal::TargetGone)?;
        (controller.kind.as_str(), &controller.name, &controller.uid)
    };
    if uid.is_some_and(|uid| uid != found_uid) {
        return Err(NoProposal::TargetGone);
    }
    Ok(Target::Kubernetes {
        cluster: job.key.cluster.clone(),
        namespace: job.key.namespace.clone(),
        kind: object.to_owned(),
        name: found_name.clone(),
        uid: Some(found_uid.clone()),
    })
}

#[cfg(test)]
mod tests;
