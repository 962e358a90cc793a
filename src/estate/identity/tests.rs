//! Names, ranks, projects and GPUs, as labels, owners and annotations tell them.

use super::*;

fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn owner(kind: &str, name: &str) -> ObjectRef {
    ObjectRef {
        kind: kind.into(),
        name: name.to_owned(),
        uid: None,
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "an owner is made where the pod is"
)]
fn pod(
    name: &str,
    labels: &[(&str, &str)],
    annotations: &[(&str, &str)],
    owner: Option<ObjectRef>,
) -> Identity {
    of_pod(Facts {
        name,
        labels: &tags(labels),
        annotations: &tags(annotations),
        owner: owner.as_ref(),
    })
}

#[test]
fn a_pod_belongs_to_the_workload_that_its_labels_or_owner_name() {
    let group = "pg-llm-sweep-4f1d1f0e-66c6-45d2-ae0f-1c8a1f0f5b33";
    let cases: [(&str, Identity); 11] = [
        (
            "bert-eval",
            pod(
                "bert-eval-6l7zh",
                &[("workloadName", "bert-eval"), ("job-name", "other")],
                &[],
                None,
            ),
        ),
        (
            "bert",
            pod(
                "bert-0-1-x2",
                &[("run.ai/workload-name", "bert")],
                &[],
                None,
            ),
        ),
        (
            "sim",
            pod(
                "sim-workers-0-1-abcde",
                &[
                    ("jobset.sigs.k8s.io/jobset-name", "sim"),
                    ("batch.kubernetes.io/job-name", "sim-workers-0"),
                ],
                &[],
                Some(owner("Job", "sim-workers-0")),
            ),
        ),
        ("etl", pod("etl-x2v4b", &[("job-name", "etl")], &[], None)),
        (
            "feature-api",
            pod(
                "feature-api-66c9c6857b-9l4d2",
                &[
                    ("pod-template-hash", "66c9c6857b"),
                    ("app.kubernetes.io/instance", "release-7"),
                ],
                &[],
                Some(owner("ReplicaSet", "feature-api-66c9c6857b")),
            ),
        ),
        (
            "lone-set",
            pod(
                "lone-set-x",
                &[],
                &[],
                Some(owner("ReplicaSet", "lone-set")),
            ),
        ),
        (
            "pg",
            pod("pg-0", &[], &[], Some(owner("StatefulSet", "pg"))),
        ),
        (
            "llm-sweep",
            pod(
                "llm-sweep-a",
                &[],
                &[("pod-group-name", group)],
                Some(owner("SomeInnerThing", "llm-sweep-inner")),
            ),
        ),
        (
            "some-inner-thing",
            pod(
                "p",
                &[],
                &[("pod-group-name", "pg-broken")],
                Some(owner("X", "some-inner-thing")),
            ),
        ),
        (
            "etcd-node1",
            pod("etcd-node1", &[], &[], Some(owner("Node", "node1"))),
        ),
        ("lone", pod("lone", &[("workloadName", "")], &[], None)),
    ];
    for (expected, identity) in cases {
        assert_eq!(identity.workload, expected);
    }
}

#[test]
fn ranks_are_global_where_one_pod_can_tell() {
    let replica = |kind: &str, role: &str, index: &str| {
        pod(
            "x",
            &[
                ("training.kubeflow.org/job-name", "ddp"),
                ("training.kubeflow.org/replica-type", role),
                ("training.kubeflow.org/replica-index", index),
            ],
            &[],
            Some(owner(kind, "ddp")),
        )
        .rank
    };
    assert_eq!(replica("PyTorchJob", "master", "0"), Some(0));
    assert_eq!(replica("PyTorchJob", "Worker", "62"), Some(63));
    assert_eq!(replica("MPIJob", "worker", "3"), Some(3));
    assert_eq!(replica("MPIJob", "launcher", "0"), None);
    assert_eq!(replica("TFJob", "ps", "1"), None);
    assert_eq!(replica("PyTorchJob", "worker", "not a number"), None);

    let index =
        |pairs: &[(&str, &str)]| pod("job-5-abcde", pairs, &[], Some(owner("Job", "job"))).rank;
    let completion = ("batch.kubernetes.io/job-completion-index", "5");
    let replicas = |n| ("jobset.sigs.k8s.io/replicatedjob-replicas", n);
    assert_eq!(index(&[completion]), Some(5));
    assert_eq!(index(&[completion, replicas("1")]), Some(5));
    assert_eq!(
        index(&[
            completion,
            replicas("2"),
            ("jobset.sigs.k8s.io/job-global-index", "1")
        ]),
        None
    );
    assert_eq!(
        pod("pg-2", &[], &[], Some(owner("StatefulSet", "pg"))).rank,
        Some(2)
    );
    assert_eq!(
        pod("ddp-worker-7", &[], &[], Some(owner("PyTorchJob", "ddp"))).rank,
        Some(8)
    );
    assert_eq!(
        pod("ddp-master-0", &[], &[], Some(owner("PyTorchJob", "ddp"))).rank,
        Some(0)
    );
    assert_eq!(pod("web-66c9-9l4d2", &[], &[], None).rank, None);
}

#[test]
fn project_and_runai_id_come_from_labels_then_annotations() {
    let identity = pod(
        "p",
        &[("project", "nlp"), ("runai/queue", "nlp-queue")],
        &[("run.ai/workload-id", "0b6a5b0e-6c4e-4c39-9a65-1b8f0d1f3a01")],
        None,
    );
    assert_eq!(identity.project.as_deref(), Some("nlp-queue"));
    assert_eq!(
        identity.runai_id.as_deref(),
        Some("0b6a5b0e-6c4e-4c39-9a65-1b8f0d1f3a01")
    );
    assert_eq!(
        pod("p", &[("kai.scheduler/queue", "q")], &[], None)
            .project
            .as_deref(),
        Some("q")
    );
}

#[test]
fn a_controller_and_its_pods_name_the_same_workload() {
    let none = tags(&[]);
    let job = |owner: Option<&ObjectRef>, template: &Tags| {
        of_controller(
            Facts {
                name: "ddp-launcher",
                labels: &none,
                annotations: &none,
                owner,
            },
            template,
        )
        .workload
    };
    assert_eq!(job(None, &none), "ddp-launcher");
    assert_eq!(job(Some(&owner("MPIJob", "ddp")), &none), "ddp");
    assert_eq!(
        job(Some(&owner("CronJob", "nightly")), &none),
        "ddp-launcher"
    );
    assert_eq!(job(None, &tags(&[("workloadName", "ddp")])), "ddp");
}

#[test]
fn gpus_are_counted_whole_as_slices_or_as_fractions() {
    let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert!(close(gpus_of_limit("nvidia.com/gpu", "8"), 8.0));
    assert!(close(gpus_of_limit("amd.com/gpu", "2"), 2.0));
    assert!(close(
        gpus_of_limit("nvidia.com/mig-3g.20gb", "2"),
        6.0 / 7.0
    ));
    assert!(close(gpus_of_limit("cpu", "8"), 0.0));
    assert!(close(gpus_of_limit("nvidia.com/gpu", "eight"), 0.0));

    assert!(close(
        gpus_of_pod(4.0, &tags(&[("gpu-fraction", "0.5")])),
        4.0
    ));
    assert!(close(
        gpus_of_pod(0.0, &tags(&[("gpu-fraction", "0.5")])),
        0.5
    ));
    assert!(close(
        gpus_of_pod(
            0.0,
            &tags(&[("gpu-fraction", "0.25"), ("gpu-fraction-num-devices", "2")])
        ),
        0.5
    ));
    assert!(close(
        gpus_of_pod(0.0, &tags(&[("gpu-memory", "8192")])),
        1.0
    ));
    assert!(close(
        gpus_of_pod(0.0, &tags(&[("gpu-fraction", "NaN")])),
        0.0
    ));
}

#[test]
fn whoever_keeps_the_object_from_a_repository_is_named() {
    let none = tags(&[]);
    let tracked = tags(&[(
        "argocd.argoproj.io/tracking-id",
        "shop:apps/Deployment:shop/web",
    )]);
    assert_eq!(
        gitops(&none, &tracked).as_deref(),
        Some("Argo CD application shop")
    );
    let flux = tags(&[("kustomize.toolkit.fluxcd.io/name", "apps")]);
    assert_eq!(
        gitops(&flux, &none).as_deref(),
        Some("Flux kustomization apps")
    );
    assert_eq!(gitops(&none, &none), None);
}
