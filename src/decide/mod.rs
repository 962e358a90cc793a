//! From a diagnosis to at most one proposed action, with what it would touch. Pure.
//!
//! Only the root finding is acted on, never a cascade or an expected event; whether and by whom the proposal may be
//! carried out is for [`crate::safety`].

pub mod ledger;
pub mod worker;

use jiff::{SignedDuration, Timestamp};

use crate::action::{ActionKind, ActionSpec, InvalidAction, Parameters, Target};
use crate::alert::{Alert, Severity};
use crate::diagnose::{Diagnosis, Finding, Remediation, Role, SafetyClass, Verdict};
use crate::estate::index::Job;
use crate::estate::progress::Progress;
use crate::safety::Scope;
use ledger::{Exhausted, Past};

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
        let advanced = job.progress.as_ref().and_then(Progress::advanced);
        ledger::check(known.past, &root.cause, alert.opened, advanced, now)
            .map_err(NoProposal::Exhausted)?;
    }
    let taken = healthy_taken(&spec, job);
    let gitops = gitops(&spec, job);
    Ok(Proposal {
        impact: impact(&spec, job, taken, gitops, now),
        scope: Scope {
            service: service(&spec, job),
            cause: Some(root.cause.clone()),
            instances: instances(job),
            failing_since: Some(alert.opened),
        },
        class,
        severity: alert.severity,
        reason,
        healthy_taken: taken,
        owned_elsewhere: gitops.is_some(),
        spec,
    })
}

/// The service an action is part of: what the limits count by, and the ledger's key.
#[must_use]
pub fn service_of(job: &Job) -> String {
    format!("{}/{}/{}", job.key.cluster, job.key.namespace, job.key.name)
}

fn service(spec: &ActionSpec, job: &Job) -> String {
    match (&spec.target, spec.kind) {
        (
            Target::Kubernetes { cluster, name, .. },
            ActionKind::CordonNode | ActionKind::UncordonNode,
        ) => {
            format!("{cluster}/node/{name}")
        }
        (Target::Kubernetes { .. } | Target::Runai { .. }, _) => service_of(job),
    }
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
    let (object, found_name, found_uid) = match kind {
        ActionKind::CordonNode | ActionKind::UncordonNode => {
            let node = parameter(remediation, "node")
                .or(name)
                .or_else(|| parameter(remediation, "avoid_node"))
                .ok_or(NoProposal::TargetGone)?;
            return Ok(node_target(&job.key.cluster, node));
        }
        ActionKind::DeletePod => {
            let pod = job
                .live_pods()
                .find(|pod| name == Some(pod.name.as_str()))
                .ok_or(NoProposal::TargetGone)?;
            ("Pod", &pod.name, &pod.uid)
        }
        ActionKind::RolloutRestart
        | ActionKind::SuspendJob
        | ActionKind::ResumeJob
        | ActionKind::RecreateJob
        | ActionKind::RunaiSuspend
        | ActionKind::RunaiResume
        | ActionKind::RunaiDelete
        | ActionKind::RunaiRestart => {
            let fits = |object: &str| match kind {
                ActionKind::RolloutRestart => {
                    matches!(object, "Deployment" | "StatefulSet" | "DaemonSet")
                }
                _ => object == "Job",
            };
            let controller = job
                .controllers
                .iter()
                .filter(|c| c.deleting.is_none() && fits(&c.kind))
                .find(|c| name.is_none_or(|name| name == c.name))
                .ok_or(NoProposal::TargetGone)?;
            (controller.kind.as_str(), &controller.name, &controller.uid)
        }
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

fn instances(job: &Job) -> u64 {
    let pods = job.current_pods().len() as u64;
    let desired: u64 = job.controllers.iter().map(|c| u64::from(c.desired)).sum();
    let requested = job
        .workload
        .as_ref()
        .and_then(|w| w.requested_pods)
        .map_or(0, u64::from);
    pods.max(desired).max(requested)
}

fn running(job: &Job) -> u64 {
    let seen = job.live_pods().filter(|pod| pod.phase == "Running").count() as u64;
    let stated = job
        .workload
        .as_ref()
        .map_or(0, |w| u64::from(w.running_pods));
    if job.pods.is_empty() { stated } else { seen }
}

/// Running, ready instances that the action ends.
fn healthy_taken(spec: &ActionSpec, job: &Job) -> u64 {
    let ready = || {
        job.live_pods()
            .filter(|pod| pod.phase == "Running" && pod.is_ready())
            .count() as u64
    };
    match (spec.kind, &spec.target) {
        (ActionKind::DeletePod, Target::Kubernetes { name, .. }) => {
            let pod = job.live_pods().find(|pod| &pod.name == name);
            u64::from(pod.is_some_and(|pod| pod.phase == "Running" && pod.is_ready()))
        }
        // The controller takes no more at once than its own strategy allows.
        (ActionKind::RolloutRestart, _) => ready().min(1),
        (
            ActionKind::ResumeJob
            | ActionKind::RunaiResume
            | ActionKind::CordonNode
            | ActionKind::UncordonNode,
            _,
        ) => 0,
        (
            ActionKind::DeletePod
            | ActionKind::SuspendJob
            | ActionKind::RecreateJob
            | ActionKind::RunaiSuspend
            | ActionKind::RunaiDelete
            | ActionKind::RunaiRestart,
            _,
        ) => ready(),
    }
}

fn gitops<'a>(spec: &ActionSpec, job: &'a Job) -> Option<&'a str> {
    match (&spec.target, spec.kind) {
        // Deleting a pod or cordoning a node is not what a repository describes.
        (_, ActionKind::DeletePod | ActionKind::CordonNode | ActionKind::UncordonNode) => None,
        (Target::Kubernetes { .. } | Target::Runai { .. }, _) => job
            .controllers
            .iter()
            .find_map(|controller| controller.gitops.as_deref()),
    }
}

/// What people should know before they say yes.
fn impact(
    spec: &ActionSpec,
    job: &Job,
    healthy: u64,
    gitops: Option<&str>,
    now: Timestamp,
) -> Vec<String> {
    let mut told = Vec::new();
    let total = instances(job);
    let running = running(job);
    match spec.kind {
        ActionKind::CordonNode => {
            told.push(
                "New pods will not be placed on the node; what runs there goes on.".to_owned(),
            );
            told.push("Other jobs on the node keep their GPUs until they end.".to_owned());
        }
        ActionKind::UncordonNode => {
            told.push("New pods may be placed on the node again.".to_owned());
        }
        ActionKind::DeletePod => {
            told.push(format!(
                "Ends 1 of {} of the job; its controller makes another.",
                pods(total)
            ));
        }
        ActionKind::RolloutRestart => {
            told.push(format!(
                "Replaces {}, as fast as the rollout strategy allows.",
                pods(total)
            ));
        }
        ActionKind::ResumeJob | ActionKind::RunaiResume => {
            told.push(format!(
                "Starts {} again and asks for {}.",
                pods(total),
                gpus(job.requested_gpus())
            ));
        }
        ActionKind::SuspendJob
        | ActionKind::RecreateJob
        | ActionKind::RunaiSuspend
        | ActionKind::RunaiDelete
        | ActionKind::RunaiRestart => {
            if running == 0 {
                told.push("No pod of the job is running, so nothing is interrupted.".to_owned());
            } else {
                told.push(format!(
                    "Ends {running} running of {} ({healthy} ready); local disks are lost.",
                    pods(total)
                ));
            }
            told.push(format!("The job holds {}.", gpus(job.gpus())));
            told.extend(at_stake(job, running, now));
        }
    }
    if spec.kind == ActionKind::RunaiDelete {
        told.push("The workload is deleted for good.".to_owned());
    }
    if spec.kind == ActionKind::RecreateJob {
        told.push("The Job is deleted and made anew from its spec; its finished pods and their logs go with it.".to_owned());
    }
    if let Some(owner) = gitops {
        told.push(format!(
            "{owner} owns it and may undo or repeat the change."
        ));
    }
    told
}

/// How much work a restart may lose: what was done since the last checkpoint, or that its age is not known.
fn at_stake(job: &Job, running: u64, now: Timestamp) -> Option<String> {
    if running == 0 {
        return None;
    }
    let ran = job
        .workload
        .as_ref()
        .and_then(|w| w.running_seconds)
        .map(|s| SignedDuration::from_secs(i64::try_from(s).unwrap_or(i64::MAX)))
        .or_else(|| job.created().map(|created| now.duration_since(created)))?;
    let hours = ran.as_secs_f64() / 3600.0;
    if let Some(saved) = job.progress.as_ref().and_then(Progress::last_checkpoint) {
        let age = now.duration_since(saved);
        return Some(format!(
            "It ran for {}; its last checkpoint is {} old, so {:.1} GPU-hours are at stake.",
            span(ran),
            span(age),
            age.as_secs_f64() / 3600.0 * job.gpus()
        ));
    }
    Some(format!(
        "It ran for {}; the age of its last checkpoint is not known, so up to {:.1} GPU-hours are at stake.",
        span(ran),
        hours * job.gpus()
    ))
}

fn pods(n: u64) -> String {
    if n == 1 {
        "1 pod".to_owned()
    } else {
        format!("{n} pods")
    }
}

fn gpus(n: f64) -> String {
    if n <= 0.0 {
        "no GPU".to_owned()
    } else if (n - 1.0).abs() < f64::EPSILON {
        "1 GPU".to_owned()
    } else {
        format!("{n} GPUs")
    }
}

fn span(length: SignedDuration) -> String {
    let minutes = length.as_mins().max(0);
    if minutes < 60 {
        format!("{minutes} min")
    } else {
        format!("{} h {} min", minutes / 60, minutes % 60)
    }
}

#[cfg(test)]
mod tests;
