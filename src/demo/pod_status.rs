//! The status that the kubelet writes for a simulated pod.

use serde_json::{Value, json};

use super::objects::stamp;
use super::world::{Container, Ended, SimPod};

/// `status` of a pod, as the kubelet and the scheduler leave it.
pub(super) fn status(pod: &SimPod, container: &str, image: &str) -> Value {
    let phase = if pod.failed() {
        "Failed"
    } else if pod.succeeded() {
        "Succeeded"
    } else if pod.running() || pod.last.is_some() {
        "Running"
    } else {
        "Pending"
    };
    let created = stamp(pod.created);
    let condition = |kind: &str, holds: bool, since: &str| {
        let status = if holds { "True" } else { "False" };
        json!({"type": kind, "observedGeneration": 1, "status": status, "lastProbeTime": null, "lastTransitionTime": since})
    };
    let Some(scheduled) = pod.scheduled.map(stamp) else {
        let mut unscheduled = condition("PodScheduled", false, &created);
        if let Some(message) = &pod.unschedulable {
            unscheduled["reason"] = "Unschedulable".into();
            unscheduled["message"] = message.as_str().into();
        }
        return json!({"phase": phase, "conditions": [unscheduled], "qosClass": "Burstable"});
    };
    let ready_since = stamp(pod.ready_since);
    let mut conditions = vec![
        condition("PodReadyToStartContainers", phase == "Running", &scheduled),
        condition("Initialized", true, &scheduled),
    ];
    for kind in ["Ready", "ContainersReady"] {
        let mut condition = condition(kind, pod.ready, &ready_since);
        if !pod.ready {
            condition["reason"] = match phase {
                "Failed" => "PodFailed",
                "Succeeded" => "PodCompleted",
                _ => "ContainersNotReady",
            }
            .into();
            if phase == "Running" || phase == "Pending" {
                condition["message"] =
                    format!("containers with unready status: [{container}]").into();
            }
        }
        conditions.push(condition);
    }
    conditions.push(condition("PodScheduled", true, &scheduled));
    if let Some(reason) = pod.disrupted {
        let mut disrupted = condition("DisruptionTarget", true, &ready_since);
        disrupted["reason"] = reason.into();
        disrupted["message"] =
            "runai-scheduler: preempting to accommodate a higher priority pod".into();
        conditions.push(disrupted);
    }
    let id = format!(
        "containerd://{}{:08x}",
        pod.uid.replace('-', ""),
        pod.restarts
    );
    json!({
        "observedGeneration": 1, "phase": phase, "conditions": conditions,
        "hostIP": "10.88.0.10", "hostIPs": [{"ip": "10.88.0.10"}],
        "podIP": pod.ip, "podIPs": [{"ip": pod.ip}], "startTime": scheduled,
        "containerStatuses": [{
            "name": container, "image": image, "imageID": "", "containerID": id,
            "ready": pod.ready, "started": pod.running(), "restartCount": pod.restarts,
            "state": state(&pod.container, &id),
            "lastState": pod.last.as_ref().map_or_else(|| json!({}), |ended| json!({"terminated": termination(ended, &id)})),
        }],
        "qosClass": "Burstable"
    })
}

fn state(container: &Container, id: &str) -> Value {
    match container {
        Container::Waiting { reason, message } if message.is_empty() => {
            json!({"waiting": {"reason": reason}})
        }
        Container::Waiting { reason, message } => {
            json!({"waiting": {"reason": reason, "message": message}})
        }
        Container::Running { since } => json!({"running": {"startedAt": stamp(*since)}}),
        Container::Ended(ended) => json!({"terminated": termination(ended, id)}),
    }
}

fn termination(ended: &Ended, id: &str) -> Value {
    let mut value = json!({
        "exitCode": ended.exit.code, "reason": ended.exit.reason, "startedAt": stamp(ended.started),
        "finishedAt": stamp(ended.finished), "containerID": id
    });
    if let Some(message) = &ended.exit.message {
        value["message"] = message.as_str().into();
    }
    value
}
