//! Every object recorded from a real cluster decodes to the facts that stand in it.

use jiff::Timestamp;
use kube::core::{Resource, WatchEvent};

use super::*;
use crate::estate::{ContainerState, Controller, Event, Pod};
use crate::watch::kubernetes::kinds::ControllerKind;

const PODS: &str = include_str!("../../../../tests/fixtures/kubernetes/runai-nlp.pods.json");
const JOBS: &str = include_str!("../../../../tests/fixtures/kubernetes/runai-nlp.jobs.json");
const EVENTS: &str = include_str!("../../../../tests/fixtures/kubernetes/runai-nlp.events.json");
const NODES: &str = include_str!("../../../../tests/fixtures/kubernetes/nodes.json");
const WATCHES: [&str; 2] = [
    include_str!("../../../../tests/fixtures/kubernetes/watch-tail.jsonl"),
    include_str!("../../../../tests/fixtures/kubernetes/watch-from-old-version.jsonl"),
];
const SEEN: Timestamp = Timestamp::UNIX_EPOCH;

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn page<T: for<'de> Lenient<'de>>(json: &str) -> Page<T> {
    serde_json::from_str(json).unwrap()
}

fn pods() -> Vec<Pod> {
    let page: Page<SlimPod> = page(PODS);
    assert_eq!(
        (page.items.len(), page.version.as_deref(), page.next),
        (5, Some("1581"), None)
    );
    page.items
        .into_iter()
        .map(|pod| pod.into_pod("lab", SEEN).unwrap())
        .collect()
}

#[test]
fn a_failed_pod_tells_its_end_its_job_and_its_node() {
    let pods = pods();
    let pod = pods
        .iter()
        .find(|pod| pod.name == "ddp-pretrain-1-b6d2w")
        .unwrap();
    assert_eq!(
        (pod.cluster.as_str(), pod.namespace.as_str()),
        ("lab", "runai-nlp")
    );
    assert_eq!(
        (pod.workload.as_str(), pod.project.as_deref(), pod.rank),
        ("ddp-pretrain", Some("nlp"), Some(1))
    );
    assert_eq!(
        (pod.phase.as_str(), pod.node.as_deref()),
        ("Failed", Some("lab-node"))
    );
    assert_eq!(
        pod.owner.as_ref().map(|owner| owner.kind.as_str()),
        Some("Job")
    );
    assert_eq!(pod.restart_policy.as_deref(), Some("Never"));
    let [container] = pod.containers.as_slice() else {
        panic!("one container");
    };
    let ContainerState::Terminated(end) = &container.state else {
        panic!("it ended");
    };
    assert_eq!((end.exit_code, end.reason.as_deref()), (139, Some("Error")));
    assert_eq!(end.started, Some(time("2026-11-21T22:15:36Z")));
    assert_eq!(end.finished, Some(time("2026-11-21T22:15:39Z")));
}

#[test]
fn a_pending_pod_tells_what_it_asks_for_and_why_it_waits() {
    let pods = pods();
    let pod = pods
        .iter()
        .find(|pod| pod.name == "llm-finetune-xpdcx")
        .unwrap();
    assert!((pod.gpus - 8.0).abs() < f64::EPSILON);
    assert_eq!(pod.node, None);
    let scheduled = pod
        .conditions
        .iter()
        .find(|condition| condition.kind == "PodScheduled")
        .unwrap();
    assert_eq!(
        (scheduled.status.as_str(), scheduled.reason.as_deref()),
        ("False", Some("Unschedulable"))
    );
    assert!(
        scheduled
            .message
            .as_deref()
            .unwrap()
            .contains("Insufficient nvidia.com/gpu")
    );
    assert_eq!(
        pod.containers[0].state,
        ContainerState::Unknown,
        "the kubelet has not seen it"
    );
    assert!(!pod.containers[0].image.is_empty());
}

#[test]
fn a_failed_job_tells_why_and_how_often() {
    let kind = &ControllerKind::built_in()[0];
    let page: Page<SlimController> = page(JOBS);
    let jobs: Vec<Controller> = page
        .items
        .into_iter()
        .map(|job| job.into_controller("lab", kind, SEEN).unwrap())
        .collect();
    let job = jobs.iter().find(|job| job.name == "bert-eval").unwrap();
    assert_eq!(
        (
            job.kind.as_str(),
            job.workload.as_str(),
            job.project.as_deref()
        ),
        ("Job", "bert-eval", Some("nlp"))
    );
    assert_eq!(
        (job.desired, job.failed, job.active, job.backoff_limit),
        (1, 3, 0, Some(2))
    );
    let failed = job
        .conditions
        .iter()
        .find(|condition| condition.kind == "Failed")
        .unwrap();
    assert_eq!(failed.reason.as_deref(), Some("BackoffLimitExceeded"));
    assert_eq!(failed.since, Some(time("2026-11-21T22:16:06Z")));
    let waiting = jobs.iter().find(|job| job.name == "llm-finetune").unwrap();
    assert_eq!(
        (waiting.active, waiting.ready, waiting.conditions.len()),
        (1, 0, 0)
    );
}

#[test]
fn a_node_tells_its_conditions() {
    let page: Page<SlimNode> = page(NODES);
    let [node] = <[SlimNode; 1]>::try_from(page.items).unwrap();
    let node = node.into_node("lab", SEEN).unwrap();
    assert_eq!(
        (node.name.as_str(), node.unschedulable, node.taints.len()),
        ("lab-node", false, 0)
    );
    let ready = node
        .conditions
        .iter()
        .find(|condition| condition.kind == "Ready")
        .unwrap();
    assert_eq!(ready.status, "True");
    assert!(node.capacity_gpus.abs() < f64::EPSILON);
}

#[test]
fn a_gpu_node_tells_its_cards_its_pool_and_its_taints() {
    let node: SlimNode = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "gpu-1", "labels": {
            "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "kai.scheduler/node-pool": "h100",
        }},
        "spec": {"unschedulable": true, "taints": [
            {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"},
            {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"},
        ]},
        "status": {
            "capacity": {"cpu": "96", "nvidia.com/gpu": "8"},
            "allocatable": {"cpu": "95", "nvidia.com/gpu": "7"},
        },
    }))
    .unwrap();
    let node = node.into_node("lab", SEEN).unwrap();
    assert!(node.unschedulable);
    assert_eq!(
        node.taints,
        [
            "nvidia.com/gpu=present:NoSchedule",
            "node.kubernetes.io/unreachable:NoExecute"
        ]
    );
    assert_eq!(
        (node.gpu_type.as_deref(), node.node_pool.as_deref()),
        (Some("NVIDIA-H100-80GB-HBM3"), Some("h100"))
    );
    assert!((node.capacity_gpus - 8.0).abs() < f64::EPSILON);
    assert!((node.allocatable_gpus - 7.0).abs() < f64::EPSILON);
}

fn events() -> Vec<Event> {
    let page: Page<SlimEvent> = page(EVENTS);
    page.items
        .into_iter()
        .map(|event| event.into_event("lab", SEEN).unwrap())
        .collect()
}

#[test]
fn an_event_has_a_time_whoever_wrote_it() {
    let events = events();
    let of_scheduler = events
        .iter()
        .find(|event| event.reason == "FailedScheduling")
        .unwrap();
    assert_eq!(of_scheduler.last, time("2026-11-21T22:15:29.337532Z"));
    assert_eq!(
        (of_scheduler.count, of_scheduler.kind.as_str()),
        (1, "Warning")
    );
    assert_eq!(of_scheduler.source.as_deref(), Some("default-scheduler"));
    let of_kubelet = events
        .iter()
        .find(|event| event.reason == "Killing")
        .unwrap();
    assert_eq!(of_kubelet.last, time("2026-11-21T22:15:41Z"));
    assert_eq!(of_kubelet.source.as_deref(), Some("kubelet"));
    let of_job = events
        .iter()
        .find(|event| event.reason == "BackoffLimitExceeded")
        .unwrap();
    assert_eq!(
        (of_job.object.kind.as_str(), of_job.object.name.as_str()),
        ("Job", "bert-eval")
    );
}

#[test]
fn events_about_leases_are_left_out_and_the_evictor_is_kept() {
    let event = |kind: &str| -> Option<Event> {
        let event: SlimEvent = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "e", "namespace": "ml", "creationTimestamp": "2026-11-21T22:15:29Z", "annotations": {
                "evictor-action-type": "reclaim", "num-evicted-pods": "8", "unrelated": "x",
            }},
            "involvedObject": {"kind": kind, "name": "pg"},
            "series": {"count": 5, "lastObservedTime": "2026-11-21T22:16:29Z"},
            "lastTimestamp": null, "eventTime": "2026-11-21T22:15:30Z",
        }))
        .unwrap();
        event.into_event("lab", SEEN)
    };
    assert!(event("Lease").is_none());
    assert!(event("ConfigMap").is_none());
    let evicted = event("PodGroup").unwrap();
    assert_eq!(
        (evicted.count, evicted.last),
        (5, time("2026-11-21T22:16:29Z"))
    );
    let annotations: Vec<_> = evicted
        .annotations
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        annotations,
        [
            ("evictor-action-type", "reclaim"),
            ("num-evicted-pods", "8")
        ]
    );
}

#[test]
fn a_start_error_has_no_start() {
    let pod: SlimPod = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "p"},
        "status": {"containerStatuses": [{"name": "main", "restartCount": 4, "lastState": {"terminated": {
            "exitCode": 128, "reason": "StartError", "startedAt": "1970-01-01T00:00:00Z", "finishedAt": "2026-11-21T22:15:29Z",
        }}, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]},
    }))
    .unwrap();
    let pod = pod.into_pod("lab", SEEN).unwrap();
    let last = pod.containers[0].last.as_ref().unwrap();
    assert_eq!(
        (last.started, last.finished.is_some(), last.exit_code),
        (None, true, 128)
    );
    assert_eq!(pod.containers[0].restarts, 4);
    assert_eq!(pod.workload, "p");
}

#[test]
fn every_line_of_the_recorded_watches_is_understood() {
    for line in WATCHES.iter().flat_map(|watch| watch.lines()) {
        match serde_json::from_str::<WatchEvent<SlimPod>>(line).unwrap() {
            WatchEvent::Added(pod) => {
                assert!(pod.meta().resource_version.is_some());
                let pod = pod.into_pod("lab", SEEN).unwrap();
                assert!(
                    ["ranker", "feature-api"].contains(&pod.workload.as_str()),
                    "{}",
                    pod.workload
                );
            }
            WatchEvent::Bookmark(bookmark) => {
                assert_eq!(bookmark.metadata.resource_version, "1576");
            }
            other => panic!("not recorded: {other:?}"),
        }
    }
}
