//! What a node's conditions say, and what the jobs that fail on it say without them.

use jiff::{SignedDuration, Timestamp};

use super::{Assessment, FailureClass, Symptom, Thresholds};
use crate::estate::index::{Estate, Job, NodeEntry};
use crate::estate::{Condition, Container, ContainerState, Node, Pod, Termination};

/// Ends of jobs count against their node for this long.
const COUNTED: SignedDuration = SignedDuration::from_hours(1);
/// So many different jobs are no chance any more.
const JOBS: usize = 2;
/// Jobs named in one sentence.
const NAMED: usize = 4;

/// Judges a node: not ready, under pressure, with a fault that a node agent reports as a condition, or with several
/// jobs that died on it.
pub fn node_symptoms(
    entry: &NodeEntry,
    estate: &Estate,
    thresholds: &Thresholds,
    now: Timestamp,
) -> Assessment {
    let node = &entry.node;
    let mut found = Assessment::default();
    several_jobs(node, estate, now, &mut found);
    for condition in node
        .conditions
        .iter()
        .filter(|condition| is_fault(condition))
    {
        let since = condition.since.unwrap_or(node.created);
        let told = condition
            .message
            .as_deref()
            .or(condition.reason.as_deref())
            .unwrap_or("no message");
        let state = if condition.kind == "Ready" {
            "NodeNotReady"
        } else {
            condition.kind.as_str()
        };
        let mut symptom = Symptom::new(
            FailureClass::Node,
            state,
            format!("node {}: {told}", node.name),
            since,
        );
        symptom.node = Some(node.name.clone());
        if condition.kind == "Ready" {
            found.after(thresholds.node_seconds, now, symptom);
        } else {
            found.now(symptom);
        }
    }
    found
}

/// Different jobs began to die on this node within the hour, in ways that a node can cause.
fn several_jobs(node: &Node, estate: &Estate, now: Timestamp, found: &mut Assessment) {
    let mut ends: Vec<(Timestamp, String)> = estate
        .jobs_on(&node.cluster, &node.name)
        .iter()
        .filter_map(|key| estate.job(key))
        .filter_map(|job| {
            let (on, at) = first_death(job)?;
            let recent = at <= now && now.duration_since(at) < COUNTED;
            (on == node.name && recent).then(|| (at, job.key.name.clone()))
        })
        .collect();
    ends.sort_by(|a, b| b.cmp(a));
    let Some((last_needed, _)) = ends.get(JOBS - 1) else {
        return;
    };
    let (needed, first) = (*last_needed, ends[ends.len() - 1].0);
    found.within(COUNTED, needed, now, || {
        let named: Vec<&str> = ends
            .iter()
            .take(NAMED)
            .map(|(_, name)| name.as_str())
            .collect();
        let mut symptom = Symptom::new(
            FailureClass::Node,
            "JobsFailing",
            format!(
                "node {}: {} different jobs failed here within the hour: {}",
                node.name,
                ends.len(),
                named.join(", ")
            ),
            first,
        );
        symptom.node = Some(node.name.clone());
        symptom
    });
}

/// Where and when the first pod of a job died in a way that a node can cause. `None` too for a job that died so on
/// several nodes one after the other: that takes its fault along.
pub(crate) fn first_death(job: &Job) -> Option<(String, Timestamp)> {
    /// The rest of a gang follows within this time.
    const TOGETHER: SignedDuration = SignedDuration::from_mins(20);
    let mut deaths: Vec<(Timestamp, &str)> = job
        .pods
        .iter()
        .filter_map(|pod| Some((death(pod)?, pod.node.as_deref()?)))
        .collect();
    deaths.sort_unstable();
    let (at, node) = *deaths.first()?;
    let again = deaths
        .iter()
        .any(|(later, other)| *other != node && later.duration_since(at) > TOGETHER);
    (!again).then(|| (node.to_owned(), at))
}

fn death(pod: &Pod) -> Option<Timestamp> {
    let refused = pod
        .reason
        .as_deref()
        .is_some_and(|reason| matches!(reason, "UnexpectedAdmissionError" | "NodeLost"));
    if refused {
        return Some(pod.created);
    }
    let own = |container: &&Container| !container.init && !container.is_sidecar();
    pod.containers
        .iter()
        .filter(own)
        .flat_map(|container| {
            let current = match &container.state {
                ContainerState::Terminated(end) => Some(&**end),
                ContainerState::Waiting { .. }
                | ContainerState::Running { .. }
                | ContainerState::Unknown => None,
            };
            current.into_iter().chain(container.last.as_deref())
        })
        .filter(|end| may_be_the_nodes(end))
        .filter_map(|end| end.finished)
        .min()
}

/// Not the program's own errors, not what somebody asked for, and not its own memory.
fn may_be_the_nodes(end: &Termination) -> bool {
    !matches!(end.exit_code, 0..=2 | 125..=128 | 130 | 137 | 143)
        && end.reason.as_deref() != Some("OOMKilled")
}

/// `Ready` and its like (`KernelReady`, `AcceleratedHardwareReady` of the EKS agent) are faults unless `True`; the
/// others (pressure, node-problem-detector, NVSentinel) are faults when `True`.
pub(crate) fn is_fault(condition: &Condition) -> bool {
    if condition.kind.ends_with("Ready") {
        condition.status != "True"
    } else {
        condition.status == "True"
    }
}
