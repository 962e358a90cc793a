//! What a pod's own status says: its phase, conditions and how long it has been so.

use jiff::Timestamp;

use super::{
    Assessment, FailureClass, RESTART_WINDOW, RESTARTS_IN_WINDOW, Symptom, Thresholds, container,
};
use crate::estate::Pod;
use crate::estate::index::{Estate, Job, holds};

/// Reasons the platform gives when it took or refused a pod that did nothing wrong itself.
const TAKEN: [&str; 9] = [
    "Evicted",
    "NodeLost",
    "NodeShutdown",
    "Terminated",
    "Shutdown",
    "NodeAffinity",
    "UnexpectedAdmissionError",
    "TopologyAffinityError",
    "ContainerStatusUnknown",
];

pub(super) fn assess(
    job: &Job,
    pod: &Pod,
    estate: &Estate,
    thresholds: &Thresholds,
    now: Timestamp,
    found: &mut Assessment,
) {
    if pod.phase == "Succeeded" {
        return;
    }
    if let Some(asked) = pod.deleting {
        let detail = format!("pod {} has been terminating since {asked}", pod.name);
        let symptom = Symptom::new(FailureClass::Stuck, "Terminating", detail, asked).of_pod(pod);
        found.after(thresholds.terminating_seconds, now, symptom);
        // Five minutes after its node fell silent the platform wants the pod gone. That repairs nothing by itself.
        if !pod.has_ended() && !job.has_replaced(pod) {
            lost_node(pod, estate, thresholds, now, found);
        }
        return;
    }
    if let Some(symptom) = disrupted(pod) {
        found.now(symptom);
        return;
    }
    let before = found.symptoms.len();
    for part in &pod.containers {
        container::assess(pod, part, thresholds, now, found);
    }
    let said_by_container = found.symptoms.len() > before;
    // A reason of its own (DeadlineExceeded) explains why the containers were ended; without one they tell more.
    if pod.phase == "Failed" && (!said_by_container || pod.reason.is_some()) {
        let state = pod.reason.as_deref().unwrap_or("Failed");
        let detail = pod
            .message
            .clone()
            .unwrap_or_else(|| format!("pod {} failed", pod.name));
        let symptom = Symptom::new(FailureClass::Crashed, state, detail, ended(pod)).of_pod(pod);
        found.now(if pod.reason.is_none() {
            symptom.wrapping()
        } else {
            symptom
        });
        return;
    }
    if pod.phase == "Pending" && !said_by_container {
        waiting(job, pod, thresholds, now, found);
    }
    if pod.phase == "Unknown" {
        let since = pod
            .conditions
            .iter()
            .filter_map(|c| c.since)
            .max()
            .unwrap_or(pod.created);
        let detail = format!("the kubelet of pod {} is silent", pod.name);
        let symptom = Symptom::new(FailureClass::Disrupted, "Unknown", detail, since).of_pod(pod);
        found.after(thresholds.node_seconds, now, symptom);
    }
    if pod.phase == "Running" {
        probes(job, pod, thresholds, now, found);
        restarting(job, pod, now, found);
    }
    lost_node(pod, estate, thresholds, now, found);
}

fn ended(pod: &Pod) -> Timestamp {
    let finished = pod.containers.iter().filter_map(|c| match &c.state {
        crate::estate::ContainerState::Terminated(end) => end.finished,
        crate::estate::ContainerState::Waiting { .. }
        | crate::estate::ContainerState::Running { .. }
        | crate::estate::ContainerState::Unknown => None,
    });
    finished
        .max()
        .or_else(|| pod.conditions.iter().filter_map(|c| c.since).max())
        .unwrap_or(pod.created)
}

/// The platform took the pod: preemption is expected, eviction and node loss are not.
fn disrupted(pod: &Pod) -> Option<Symptom> {
    let since = ended(pod);
    let target = pod
        .conditions
        .iter()
        .find(|c| c.kind == "DisruptionTarget" && c.status == "True");
    if let Some(condition) = target {
        let reason = condition.reason.as_deref().unwrap_or("DisruptionTarget");
        let detail = condition
            .message
            .clone()
            .unwrap_or_else(|| format!("pod {} was taken: {reason}", pod.name).into());
        let symptom = Symptom::new(
            FailureClass::Disrupted,
            reason,
            detail,
            condition.since.unwrap_or(since),
        );
        // The eviction API is how people and autoscalers drain nodes; pod failure policies do not count either.
        return match reason {
            "PreemptionByScheduler" | "EvictionByEvictionAPI" => {
                Some(symptom.of_pod(pod).expected())
            }
            _ if pod.reason.as_deref() == Some("Evicted") => Some(evicted(pod, since)),
            _ => Some(symptom.of_pod(pod)),
        };
    }
    let reason = pod.reason.as_deref()?;
    if reason == "Preempting" || reason == "Preempted" {
        let detail = pod
            .message
            .clone()
            .unwrap_or_else(|| format!("pod {} was preempted", pod.name));
        return Some(
            Symptom::new(FailureClass::Disrupted, "Preempted", detail, since)
                .of_pod(pod)
                .expected(),
        );
    }
    (TAKEN.contains(&reason) || reason.starts_with("OutOf")).then(|| evicted(pod, since))
}

fn evicted(pod: &Pod, since: Timestamp) -> Symptom {
    let reason = pod.reason.as_deref().unwrap_or("Evicted");
    let detail = pod
        .message
        .clone()
        .unwrap_or_else(|| format!("pod {}: {reason}", pod.name));
    Symptom::new(FailureClass::Disrupted, reason, detail, since).of_pod(pod)
}

/// A pending pod none of whose containers says why.
fn waiting(job: &Job, pod: &Pod, thresholds: &Thresholds, now: Timestamp, found: &mut Assessment) {
    let unscheduled = pod
        .conditions
        .iter()
        .find(|c| c.kind == "PodScheduled" && c.status == "False");
    if let Some(condition) = unscheduled {
        let since = condition.since.unwrap_or(pod.created);
        let state = condition.reason.as_deref().unwrap_or("Unschedulable");
        let detail = condition
            .message
            .clone()
            .unwrap_or_else(|| format!("pod {} is not scheduled", pod.name).into());
        let symptom = Symptom::new(FailureClass::Blocked, state, detail, since).of_pod(pod);
        found.after(thresholds.pending_seconds, now, symptom);
        return;
    }
    if pod.node.is_none() {
        let detail = format!("no scheduler has looked at pod {}", pod.name);
        let symptom =
            Symptom::new(FailureClass::Blocked, "Pending", detail, pod.created).of_pod(pod);
        found.after(thresholds.pending_seconds, now, symptom);
        return;
    }
    let scheduled = pod
        .conditions
        .iter()
        .find(|c| c.kind == "PodScheduled")
        .and_then(|c| c.since)
        .unwrap_or(pod.created);
    let mount = job.events.iter().rev().find(|event| {
        event.object.name == pod.name
            && event.kind == "Warning"
            && matches!(
                event.reason.as_str(),
                "FailedMount"
                    | "FailedAttachVolume"
                    | "FailedMapVolume"
                    | "FailedCreatePodSandBox"
                    | "NetworkNotReady"
            )
    });
    if let Some(event) = mount {
        let since = event.first.unwrap_or(scheduled);
        let symptom = Symptom::new(
            FailureClass::CannotStart,
            &event.reason,
            &event.message,
            since,
        )
        .of_pod(pod);
        found.after(thresholds.settle_seconds, now, symptom);
        return;
    }
    let detail = format!("the containers of pod {} have not started", pod.name);
    let symptom = Symptom::new(
        FailureClass::CannotStart,
        "ContainerCreating",
        detail,
        scheduled,
    )
    .of_pod(pod);
    found.after(thresholds.starting_seconds, now, symptom);
}

/// A running pod that its probes hold unready.
fn probes(job: &Job, pod: &Pod, thresholds: &Thresholds, now: Timestamp, found: &mut Assessment) {
    if holds(&pod.conditions, "Ready") {
        return;
    }
    let unready = pod
        .conditions
        .iter()
        .find(|c| c.kind == "Ready")
        .and_then(|c| c.since)
        .unwrap_or(pod.created);
    let probe = job
        .events
        .iter()
        .rev()
        .find(|event| event.object.name == pod.name && event.reason == "Unhealthy");
    if let Some(event) = probe {
        let since = unready.max(event.first.unwrap_or(unready));
        let symptom =
            Symptom::new(FailureClass::Degraded, "Unhealthy", &event.message, since).of_pod(pod);
        found.after(thresholds.settle_seconds, now, symptom);
    }
}

fn restarting(job: &Job, pod: &Pod, now: Timestamp, found: &mut Assessment) {
    let in_window = |at: &&Timestamp| now.duration_since(**at) <= RESTART_WINDOW;
    let recent = job.restarts.iter().filter(in_window).count();
    let restarted = pod
        .containers
        .iter()
        .filter(|c| c.restarts > 0)
        .max_by_key(|c| c.restarts);
    if let Some(part) = restarted.filter(|_| recent >= RESTARTS_IN_WINDOW) {
        let since = part
            .last
            .as_ref()
            .and_then(|end| end.finished)
            .unwrap_or(now);
        found.within(RESTART_WINDOW, since, now, || {
            let detail = format!(
                "{recent} restarts within 15 minutes; {} of {} restarted last",
                part.name, pod.name
            );
            let mut symptom =
                Symptom::new(FailureClass::Crashed, "FrequentRestarts", detail, since).of_pod(pod);
            symptom.container = Some(part.name.to_string());
            symptom.wrapping()
        });
    }
}

/// A pod on a node whose kubelet is silent, or that is gone, is in trouble though its own status has not changed.
fn lost_node(
    pod: &Pod,
    estate: &Estate,
    thresholds: &Thresholds,
    now: Timestamp,
    found: &mut Assessment,
) {
    let Some(name) = pod.node.as_deref() else {
        return;
    };
    let Some(entry) = estate.node(&pod.cluster, name) else {
        if let Some(since) = estate.lost_node(&pod.cluster, name) {
            let detail = format!(
                "node {name} of pod {} is no longer in the cluster",
                pod.name
            );
            let symptom =
                Symptom::new(FailureClass::Disrupted, "NodeLost", detail, since).of_pod(pod);
            found.after(thresholds.node_seconds, now, symptom);
        }
        return;
    };
    let Some(ready) = entry
        .node
        .conditions
        .iter()
        .find(|c| c.kind == "Ready" && c.status != "True")
    else {
        return;
    };
    let since = ready.since.unwrap_or(now);
    let detail = format!("node {} of pod {} is not ready", entry.node.name, pod.name);
    let symptom = Symptom::new(FailureClass::Disrupted, "NodeNotReady", detail, since).of_pod(pod);
    found.after(thresholds.node_seconds, now, symptom);
}
