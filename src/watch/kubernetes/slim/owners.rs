//! Whatever a framework makes of a workload is one job, in whichever order its parts are seen.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{SlimController, SlimPod};
use crate::estate::index::Estate;
use crate::watch::Observation;
use crate::watch::kubernetes::kinds::ControllerKind;

const SEEN: Timestamp = Timestamp::UNIX_EPOCH;

type Labels<'a> = &'a [(&'a str, &'a str)];

fn uid(kind: &str, name: &str) -> String {
    format!("uid-{kind}-{name}")
}

fn object(kind: &str, name: &str, labels: Labels<'_>, owner: Option<(&str, &str)>) -> Value {
    let labels: HashMap<&str, &str> = labels.iter().copied().collect();
    let owners: Vec<Value> = owner
        .iter()
        .map(|(of, owner)| {
            json!({"apiVersion": "v1", "kind": of, "name": owner, "uid": uid(of, owner), "controller": true})
        })
        .collect();
    json!({
        "metadata": {
            "name": name, "namespace": "ml", "uid": uid(kind, name), "labels": labels, "ownerReferences": owners,
            "creationTimestamp": "2026-11-21T22:00:00Z",
        },
        "spec": {}, "status": {},
    })
}

fn pod(name: &str, labels: Labels<'_>, owner: (&str, &str)) -> Observation {
    let pod: SlimPod = serde_json::from_value(object("Pod", name, labels, Some(owner))).unwrap();
    Observation::Pod(Box::new(pod.into_pod("prod", SEEN).unwrap()))
}

fn controller(
    kind: &'static str,
    name: &str,
    labels: Labels<'_>,
    owner: Option<(&str, &str)>,
) -> Observation {
    let known = ControllerKind {
        group: "any",
        kind,
        version: "v1".to_owned(),
        plural: kind.to_lowercase(),
    };
    let object = object(kind, name, labels, owner);
    let controller: SlimController = serde_json::from_value(object).unwrap();
    let controller = controller.into_controller("prod", &known, SEEN).unwrap();
    Observation::Controller(Box::new(controller))
}

fn estate() -> Estate {
    Estate::new(vec!["prod".to_owned()], HashMap::new())
}

/// Names of the jobs, and how many pods and controllers they hold together.
fn jobs(estate: &Estate) -> (Vec<String>, usize) {
    let names = estate.jobs().map(|job| job.key.name.clone()).collect();
    let parts = estate
        .jobs()
        .map(|job| job.pods.len() + job.controllers.len());
    (names, parts.sum())
}

const RAY: Labels<'static> = &[
    ("ray.io/originated-from-cr-name", "train"),
    ("ray.io/originated-from-crd", "RayJob"),
];
const OF_CLUSTER: Labels<'static> = &[("ray.io/cluster", "train-9kx2z")];

fn ray_job() -> Vec<Observation> {
    vec![
        controller("RayJob", "train", &[], None),
        controller("RayCluster", "train-9kx2z", RAY, Some(("RayJob", "train"))),
        controller("Job", "train", RAY, Some(("RayJob", "train"))),
        pod("train-head", OF_CLUSTER, ("RayCluster", "train-9kx2z")),
        pod("train-worker", OF_CLUSTER, ("RayCluster", "train-9kx2z")),
        pod("train-abcde", &[("job-name", "train")], ("Job", "train")),
    ]
}

#[test]
fn the_parts_of_a_workload_are_one_job_in_any_order() {
    const JOBSET: Labels<'_> = &[("jobset.sigs.k8s.io/jobset-name", "sim")];
    const TRAINING: Labels<'_> = &[("training.kubeflow.org/job-name", "ddp")];
    const LWS: Labels<'_> = &[("leaderworkerset.sigs.k8s.io/name", "llm")];
    const KNATIVE: Labels<'_> = &[("serving.knative.dev/service", "echo")];
    const KSERVE: Labels<'_> = &[
        ("serving.kserve.io/inferenceservice", "iris"),
        ("serving.knative.dev/service", "iris-predictor"),
    ];
    const ARGO: Labels<'_> = &[("workflows.argoproj.io/workflow", "etl-x7")];
    const SERVICE: Labels<'_> = &[("ray.io/originated-from-cr-name", "serve")];
    let cases: Vec<(&str, Vec<Observation>)> = vec![
        ("train", ray_job()),
        (
            "serve",
            vec![
                controller(
                    "RayCluster",
                    "serve-x1",
                    SERVICE,
                    Some(("RayService", "serve")),
                ),
                pod(
                    "serve-head",
                    &[("ray.io/cluster", "serve-x1")],
                    ("RayCluster", "serve-x1"),
                ),
            ],
        ),
        (
            "sim",
            vec![
                controller("TrainJob", "sim", &[], None),
                controller("JobSet", "sim", &[], Some(("TrainJob", "sim"))),
                controller("Job", "sim-node-0", JOBSET, Some(("JobSet", "sim"))),
                pod("sim-node-0-0-abcde", JOBSET, ("Job", "sim-node-0")),
            ],
        ),
        (
            "ddp",
            vec![
                controller("PyTorchJob", "ddp", &[], None),
                pod("ddp-master-0", TRAINING, ("PyTorchJob", "ddp")),
                pod("ddp-worker-0", TRAINING, ("PyTorchJob", "ddp")),
            ],
        ),
        (
            "ddp",
            vec![
                controller("MPIJob", "ddp", &[], None),
                controller("Job", "ddp-launcher", TRAINING, Some(("MPIJob", "ddp"))),
                // An older operator's launcher says no more than its Job does.
                pod(
                    "ddp-launcher-abcde",
                    &[("job-name", "ddp-launcher")],
                    ("Job", "ddp-launcher"),
                ),
                pod("ddp-worker-0", TRAINING, ("MPIJob", "ddp")),
            ],
        ),
        (
            "llm",
            vec![
                controller("LeaderWorkerSet", "llm", &[], None),
                controller("StatefulSet", "llm", LWS, Some(("LeaderWorkerSet", "llm"))),
                pod("llm-0", LWS, ("StatefulSet", "llm")),
                controller("StatefulSet", "llm-0", LWS, Some(("Pod", "llm-0"))),
                pod("llm-0-1", LWS, ("StatefulSet", "llm-0")),
            ],
        ),
        (
            "echo",
            vec![
                controller(
                    "Deployment",
                    "echo-00001-deployment",
                    KNATIVE,
                    Some(("Revision", "echo-00001")),
                ),
                pod(
                    "echo-00001-deployment-6d-x",
                    KNATIVE,
                    ("ReplicaSet", "echo-00001-deployment-6d"),
                ),
            ],
        ),
        (
            "iris",
            vec![
                controller("Deployment", "iris-predictor", KSERVE, None),
                pod(
                    "iris-predictor-6d-x",
                    KSERVE,
                    ("ReplicaSet", "iris-predictor-6d"),
                ),
            ],
        ),
        (
            "etl-x7",
            vec![
                pod("etl-x7-load-1", ARGO, ("Workflow", "etl-x7")),
                pod("etl-x7-train-2", ARGO, ("Workflow", "etl-x7")),
            ],
        ),
    ];
    for (name, parts) in cases {
        for first in 0..parts.len() {
            let mut turned = parts.clone();
            turned.rotate_left(first);
            let mut backwards = turned.clone();
            backwards.reverse();
            for order in [turned, backwards] {
                let mut estate = estate();
                for part in order {
                    estate.apply(part, SEEN);
                }
                assert_eq!(
                    jobs(&estate),
                    (vec![name.to_owned()], parts.len()),
                    "from {first}"
                );
            }
        }
    }
}

#[test]
fn a_ray_job_that_tries_again_in_another_cluster_stays_one_job_all_the_way() {
    let mut estate = estate();
    let mut changed = Vec::new();
    let gone = |kind: &str, name: &str| Observation::ControllerGone {
        cluster: "prod".to_owned(),
        namespace: "ml".to_owned(),
        name: name.to_owned(),
        kind: kind.to_owned(),
        uid: uid(kind, name),
    };
    let pod_gone = |name: &str| Observation::PodGone {
        cluster: "prod".to_owned(),
        namespace: "ml".to_owned(),
        name: name.to_owned(),
        uid: uid("Pod", name),
    };
    for part in ray_job() {
        changed.extend(estate.apply(part, SEEN));
    }
    let owner = ("RayCluster", "train-9kx2z");
    // The cluster goes first, and a pod of it is seen once more before it goes.
    changed.extend(estate.apply(gone("RayCluster", "train-9kx2z"), SEEN));
    changed.extend(estate.apply(pod("train-head", OF_CLUSTER, owner), SEEN));
    let again = ("RayCluster", "train-b77qp");
    let of_again: Labels<'_> = &[("ray.io/cluster", "train-b77qp")];
    for part in [
        controller("RayCluster", "train-b77qp", RAY, Some(("RayJob", "train"))),
        pod("train-head-2", of_again, again),
        pod_gone("train-head"),
        pod_gone("train-worker"),
    ] {
        changed.extend(estate.apply(part, SEEN));
    }
    assert_eq!(jobs(&estate), (vec!["train".to_owned()], 5));
    assert!(changed.iter().all(|key| key.name == "train"), "{changed:?}");
}
