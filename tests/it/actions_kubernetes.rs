//! Changes of Kubernetes objects: rehearsed, pinned to what was read, done once, observed, and taken back.

use nightbell::action::{ActionKind, ActionSpec, Parameters, Systems, Target};
use nightbell::safety::ExecutionState;
use serde_json::{Value, json};

use crate::support::bench::{Bench, answer, refused};
use crate::support::cluster::{Cluster, Fault};

const WEB: &str = "/apis/apps/v1/namespaces/ml/deployments/web";
const SETS: &str = "/apis/apps/v1/namespaces/ml/replicasets";
const NODE: &str = "/api/v1/nodes/gpu-7";
const PODS: &str = "/api/v1/namespaces/ml/pods";

fn spec(kind: ActionKind, object: &str, name: &str, parameters: Parameters) -> ActionSpec {
    ActionSpec {
        kind,
        target: Target::Kubernetes {
            cluster: "prod".into(),
            namespace: if object == "Node" { "" } else { "ml" }.into(),
            kind: object.into(),
            name: name.into(),
            uid: Some("u-1".into()),
        },
        parameters,
        avoid_node: None,
    }
}

fn web(kind: ActionKind, parameters: Parameters) -> ActionSpec {
    spec(kind, "Deployment", "web", parameters)
}

fn with(name: &str, value: impl Into<Value>) -> Parameters {
    Parameters::default().with(name, value)
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "ml", "uid": "u-1", "generation": 4,
            "annotations": {"deployment.kubernetes.io/revision": "7"}},
        "spec": {"replicas": 3, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [
                {"name": "main", "image": "web:2", "resources": {"limits": {"memory": "4Gi", "cpu": "2"}},
                 "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 10, "timeoutSeconds": 1}},
                {"name": "proxy", "image": "proxy:1"}]}}},
        "status": {"observedGeneration": 4, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3},
    })
}

fn replica_set(revision: &str, image: &str, owner: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": format!("web-{revision}"), "namespace": "ml", "uid": format!("rs-{revision}"),
            "annotations": {"deployment.kubernetes.io/revision": revision},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": owner, "controller": true}]},
        "spec": {"template": {
            "metadata": {"labels": {"app": "web", "pod-template-hash": "abc"}},
            "spec": {"containers": [{"name": "main", "image": image}]}}},
    })
}

async fn estate() -> (Cluster, Bench) {
    let cluster = Cluster::start().await;
    cluster.put(WEB, deployment());
    let bench = Bench::new(Systems {
        clusters: cluster.clusters(),
        ..Systems::default()
    })
    .await;
    (cluster, bench)
}

fn read(cluster: &Cluster, path: &str) -> Value {
    cluster.world().objects[path].clone()
}

/// The controller has caught up with the spec.
fn settle(cluster: &Cluster, path: &str) {
    let mut object = read(cluster, path);
    let replicas = object["spec"]["replicas"].clone();
    object["status"] = json!({
        "observedGeneration": object["metadata"]["generation"], "replicas": replicas,
        "updatedReplicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas,
    });
    cluster.put(path, object);
}

/// The action that takes an execution back, as it was noted before the call.
fn inverse(memory: &Value, target: &ActionSpec) -> ActionSpec {
    ActionSpec {
        kind: serde_json::from_value(memory["inverse"]["kind"].clone()).expect("a kind"),
        parameters: serde_json::from_value(memory["inverse"]["parameters"].clone())
            .unwrap_or_default(),
        ..target.clone()
    }
}

#[tokio::test]
async fn scaling_goes_through_the_scale_subresource_is_verified_and_taken_back() {
    let (cluster, bench) = estate().await;
    let wanted = web(ActionKind::Scale, with("replicas", 5).with("from", 3));
    let done = bench.run(wanted.clone(), 0).await;
    assert_eq!(done.state, ExecutionState::Verifying, "{done:?}");
    assert_eq!(cluster.writes(), [format!("PATCH {WEB}/scale")]);
    assert_eq!(read(&cluster, WEB)["spec"]["replicas"], 5);

    bench.turn(crate::support::gate::at(10)).await;
    assert_eq!(
        bench.state(&done).await.state,
        ExecutionState::Verifying,
        "two pods are missing"
    );
    settle(&cluster, WEB);
    let seen = bench.observed(&done, 20).await;
    assert_eq!(seen.state, ExecutionState::Verified, "{seen:?}");
    assert_eq!(
        seen.verification.as_deref(),
        Some("5 of 5 replicas are there, 5 ready")
    );

    let back = inverse(&bench.memory(&done).await, &wanted);
    assert_eq!(
        back,
        web(ActionKind::Scale, with("replicas", 3).with("from", 5))
    );
    let undone = bench.run(back, 1_000).await;
    assert_eq!(undone.state, ExecutionState::Verifying, "{undone:?}");
    assert_eq!(read(&cluster, WEB)["spec"]["replicas"], 3);
}

#[tokio::test]
async fn what_others_decide_about_is_not_scaled() {
    let (cluster, bench) = estate().await;
    let scale = |replicas: i64| {
        web(
            ActionKind::Scale,
            with("replicas", replicas).with("from", 3),
        )
    };
    let mut owned = deployment();
    owned["metadata"]["annotations"] =
        json!({"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:ml/web"});
    cluster.put(WEB, owned);
    refused(
        &bench.run(scale(5), 0).await,
        "Argo CD application shop keeps Deployment ml/web as its repository says and would change it back",
    );

    let mut owned = deployment();
    owned["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "Revision", "name": "llm", "uid": "r", "controller": true}]);
    let (cluster, bench) = estate().await;
    cluster.put(WEB, owned);
    refused(&bench.run(scale(6), 1_000).await, "belongs to Revision llm");

    let (cluster, bench) = estate().await;
    cluster.put(
        "/apis/autoscaling/v2/namespaces/ml/horizontalpodautoscalers/web",
        json!({"metadata": {"name": "web"}, "spec": {"minReplicas": 2, "maxReplicas": 9,
            "scaleTargetRef": {"kind": "Deployment", "name": "web"}}}),
    );
    refused(
        &bench.run(scale(7), 2_000).await,
        "HorizontalPodAutoscaler web decides how many replicas Deployment ml/web has (2 to 9)",
    );
    let other = web(ActionKind::Scale, with("replicas", 8).with("from", 4));
    refused(&bench.run(other, 3_000).await, "has 3 replicas now, not 4");
    assert_eq!(cluster.writes(), [""; 0]);
}

#[tokio::test]
async fn news_of_the_status_do_not_stand_in_the_way_but_other_changes_do() {
    let (cluster, bench) = estate().await;
    cluster.world().busy = 3;
    let image = web(
        ActionKind::SetImage,
        with("image", "web:3").with("container", "main"),
    );
    let done = bench.run(image, 0).await;
    assert_eq!(done.state, ExecutionState::Verifying, "{done:?}");
    assert_eq!(cluster.writes(), [format!("PATCH {WEB}")]);

    let (cluster, bench) = estate().await;
    cluster.world().busy = 1;
    cluster.world().meddled = true;
    let image = web(
        ActionKind::SetImage,
        with("image", "web:3").with("container", "main"),
    );
    refused(
        &bench.run(image, 0).await,
        "changed by somebody else meanwhile",
    );
    assert_eq!(cluster.writes(), [""; 0]);
}

#[tokio::test]
async fn image_resources_and_probes_are_set_and_taken_back_to_what_they_were() {
    let (cluster, bench) = estate().await;
    let container = |cluster: &Cluster, at: usize| {
        read(cluster, WEB)["spec"]["template"]["spec"]["containers"][at].clone()
    };
    let before = (container(&cluster, 0), container(&cluster, 1));
    for (i, (kind, parameters, pointer, value)) in [
        (
            ActionKind::SetImage,
            with("image", "registry.example/web:3").with("container", "main"),
            "/image",
            json!("registry.example/web:3"),
        ),
        (
            ActionKind::PatchResources,
            with("memory_limit", "8Gi").with("container", "main"),
            "/resources/limits/memory",
            json!("8Gi"),
        ),
        (
            ActionKind::PatchProbes,
            with("probe", "readiness")
                .with("failure_threshold", 6)
                .with("period_seconds", 20)
                .with("container", "main"),
            "/readinessProbe/periodSeconds",
            json!(20),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let second = 2_000 * i64::try_from(i).expect("small");
        let wanted = web(kind, parameters);
        let done = bench.run(wanted.clone(), second).await;
        assert_eq!(done.state, ExecutionState::Verifying, "{done:?}");
        let after = container(&cluster, 0);
        assert_eq!(after.pointer(pointer), Some(&value), "{after}");
        assert_eq!(container(&cluster, 1), before.1, "the other is not touched");
        settle(&cluster, WEB);
        let seen = bench.observed(&done, second + 30).await;
        assert_eq!(seen.state, ExecutionState::Verified, "{seen:?}");
        if kind == ActionKind::PatchProbes {
            continue;
        }
        let back = inverse(&bench.memory(&done).await, &wanted);
        let undone = bench.run(back, second + 1_000).await;
        assert_eq!(undone.state, ExecutionState::Verifying, "{undone:?}");
        assert_eq!(container(&cluster, 0), before.0);
        settle(&cluster, WEB);
        bench.observed(&undone, second + 1_030).await;
    }
}

#[tokio::test]
async fn a_change_that_somebody_undoes_is_not_verified() {
    let (cluster, bench) = estate().await;
    let image = web(
        ActionKind::SetImage,
        with("image", "web:3").with("container", "main"),
    );
    let done = bench.run(image, 0).await;
    cluster.put(WEB, deployment());
    bench.turn(crate::support::gate::at(700)).await;
    let seen = bench.state(&done).await;
    assert_eq!(seen.state, ExecutionState::NotVerified);
    assert!(
        seen.verification
            .as_deref()
            .is_some_and(|told| told.contains("somebody changed it since")),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_deployment_goes_back_to_the_template_of_the_revision_before() {
    let (cluster, bench) = estate().await;
    for (revision, image, owner) in [
        ("5", "web:0", "u-1"),
        ("6", "web:1", "u-1"),
        ("7", "web:2", "u-1"),
        ("6", "x:1", "other"),
    ] {
        cluster.put(
            &format!("{SETS}/web-{revision}-{owner}"),
            replica_set(revision, image, owner),
        );
    }
    let undo = web(ActionKind::RolloutUndo, Parameters::default());
    let done = bench.run(undo.clone(), 0).await;
    assert_eq!(done.state, ExecutionState::Verifying, "{done:?}");
    let template = &read(&cluster, WEB)["spec"]["template"];
    assert_eq!(
        template["spec"]["containers"],
        json!([{"name": "main", "image": "web:1"}])
    );
    assert_eq!(template["metadata"]["labels"], json!({"app": "web"}));
    assert_eq!(
        bench.memory(&done).await["inverse"]["parameters"],
        json!({"revision": 7})
    );
    settle(&cluster, WEB);
    let seen = bench.observed(&done, 30).await;
    assert_eq!(seen.state, ExecutionState::Verified, "{seen:?}");

    refused(
        &bench
            .run(web(ActionKind::RolloutUndo, with("revision", 9)), 1_000)
            .await,
        "has no revision 9; kept are 5, 6, 7",
    );
    refused(
        &bench
            .run(web(ActionKind::RolloutUndo, with("revision", 7)), 2_000)
            .await,
        "is at revision 7 already",
    );
    let mut paused = read(&cluster, WEB);
    paused["spec"]["paused"] = json!(true);
    cluster.put(WEB, paused);
    refused(
        &bench
            .run(web(ActionKind::RolloutUndo, with("revision", 5)), 3_000)
            .await,
        "is paused",
    );
}

#[tokio::test]
async fn a_stateful_set_goes_back_by_its_controller_revisions() {
    let (cluster, bench) = estate().await;
    let path = "/apis/apps/v1/namespaces/ml/statefulsets/db";
    cluster.put(path, json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "ml", "uid": "u-1", "generation": 2},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "main", "image": "db:2"}]}}},
    }));
    for (number, image) in [(1, "db:1"), (2, "db:2")] {
        cluster.put(&format!("/apis/apps/v1/namespaces/ml/controllerrevisions/db-{number}"), json!({
            "apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": number,
            "metadata": {"name": format!("db-{number}"), "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u-1", "controller": true}]},
            "data": {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}},
        }));
    }
    let done = bench
        .run(
            spec(
                ActionKind::RolloutUndo,
                "StatefulSet",
                "db",
                Parameters::default(),
            ),
            0,
        )
        .await;
    assert_eq!(done.state, ExecutionState::Verifying, "{done:?}");
    assert_eq!(
        read(&cluster, path)["spec"]["template"]["spec"]["containers"][0]["image"],
        "db:1"
    );
}

fn pod_on_node(name: &str, owner: Option<&str>) -> Value {
    let owners = owner.map_or_else(
        || json!([]),
        |kind| json!([{"apiVersion": "apps/v1", "kind": kind, "name": "o", "uid": "o", "controller": true}]),
    );
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "ml", "uid": format!("uid-{name}"), "ownerReferences": owners},
        "spec": {"nodeName": "gpu-7", "containers": [{"name": "main"}]}, "status": {"phase": "Running"},
    })
}

async fn node_with(pods: &[(&str, Option<&str>)]) -> (Cluster, Bench) {
    let (cluster, bench) = estate().await;
    cluster.put(NODE, json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gpu-7", "uid": "u-1"}, "spec": {}, "status": {}}));
    for (name, owner) in pods {
        cluster.put(&format!("{PODS}/{name}"), pod_on_node(name, *owner));
    }
    let mut elsewhere = pod_on_node("elsewhere", Some("ReplicaSet"));
    elsewhere["spec"]["nodeName"] = json!("gpu-8");
    cluster.put(&format!("{PODS}/elsewhere"), elsewhere);
    (cluster, bench)
}

fn drain(parameters: Parameters) -> ActionSpec {
    spec(
        ActionKind::DrainNode,
        "Node",
        "gpu-7",
        parameters.with("wait_between_seconds", 0),
    )
}

#[tokio::test]
async fn a_drain_cordons_first_and_evicts_what_kubectl_would() {
    let (cluster, bench) = node_with(&[
        ("web-1", Some("ReplicaSet")),
        ("web-2", Some("ReplicaSet")),
        ("exporter", Some("DaemonSet")),
    ])
    .await;
    let done = bench.run(drain(Parameters::default()), 0).await;
    assert_eq!(done.state, ExecutionState::Verifying, "{done:?}");
    assert_eq!(
        cluster.writes(),
        [
            format!("PATCH {NODE}"),
            format!("EVICT {PODS}/web-1"),
            format!("EVICT {PODS}/web-2")
        ]
    );
    let seen = bench.observed(&done, 10).await;
    assert_eq!(seen.state, ExecutionState::Verified, "{seen:?}");
    assert_eq!(
        bench.memory(&done).await["inverse"]["kind"],
        "uncordon_node"
    );
}

#[tokio::test]
async fn a_drain_asks_again_for_a_pod_that_a_budget_holds_back() {
    let (cluster, bench) =
        node_with(&[("web-1", Some("ReplicaSet")), ("web-2", Some("ReplicaSet"))]).await;
    cluster.world().held.insert(format!("{PODS}/web-1"), 1);
    let done = bench.run(drain(Parameters::default()), 0).await;
    assert_eq!(done.state, ExecutionState::Verifying, "{done:?}");
    assert_eq!(
        cluster.writes()[1..],
        [format!("EVICT {PODS}/web-2"), format!("EVICT {PODS}/web-1")]
    );
}

#[tokio::test]
async fn a_drain_that_a_budget_never_lets_through_says_how_far_it_came() {
    let (cluster, bench) =
        node_with(&[("web-1", Some("ReplicaSet")), ("web-2", Some("ReplicaSet"))]).await;
    cluster.world().held.insert(format!("{PODS}/web-1"), 1_000);
    let bench = Bench::with(
        bench.db,
        Systems {
            clusters: cluster.clusters(),
            ..Systems::default()
        },
        false,
        std::time::Duration::from_secs(7),
    );
    let done = bench.run(drain(Parameters::default()), 0).await;
    assert_eq!(done.state, ExecutionState::Failed, "{done:?}");
    assert!(answer(&done).contains("1 of 2 pods were evicted in the time there was; left are ml/web-1 (The disruption budget web needs 2 healthy pods"), "{done:?}");
    assert_eq!(read(&cluster, NODE)["spec"]["unschedulable"], true);
}

#[tokio::test]
async fn a_drain_stops_at_its_limit_and_before_what_would_be_lost() {
    let (cluster, bench) =
        node_with(&[("web-1", Some("ReplicaSet")), ("web-2", Some("ReplicaSet"))]).await;
    let done = bench.run(drain(with("max_instances", 1)), 0).await;
    assert!(
        answer(&done).contains("1 pod stay, beyond max_instances"),
        "{done:?}"
    );
    assert_eq!(cluster.writes().len(), 2);

    let (cluster, bench) = node_with(&[("bare", None)]).await;
    refused(
        &bench.run(drain(Parameters::default()), 0).await,
        "ml/bare has no controller",
    );
    assert_eq!(cluster.writes(), [""; 0]);
}

#[tokio::test]
async fn a_pod_leaves_the_traffic_by_a_label_its_controller_does_not_need_and_comes_back() {
    let (cluster, bench) = estate().await;
    let path = format!("{PODS}/web-1");
    let labels = json!({"app": "web", "serving": "yes"});
    let mut pod = pod_on_node("web-1", Some("ReplicaSet"));
    pod["metadata"]["labels"] = labels.clone();
    pod["metadata"]["uid"] = json!("u-1");
    cluster.put(&path, pod);
    cluster.put(&format!("{SETS}/o"), json!({"metadata": {"name": "o", "uid": "o"}, "spec": {"selector": {"matchLabels": {"app": "web"}}}}));
    cluster.put(
        "/api/v1/namespaces/ml/services/web",
        json!({"metadata": {"name": "web"}, "spec": {"selector": labels}}),
    );
    let slice = |ready: bool| {
        json!({
            "metadata": {"name": "web-x", "labels": {"kubernetes.io/service-name": "web"}},
            "endpoints": [{"targetRef": {"kind": "Pod", "name": "web-1"}, "conditions": {"ready": ready}}],
        })
    };
    let slices = "/apis/discovery.k8s.io/v1/namespaces/ml/endpointslices/web-x";
    cluster.put(slices, slice(true));

    let out = spec(
        ActionKind::TakeOutOfTraffic,
        "Pod",
        "web-1",
        Parameters::default(),
    );
    let done = bench.run(out.clone(), 0).await;
    assert_eq!(done.state, ExecutionState::Verifying, "{done:?}");
    assert_eq!(
        read(&cluster, &path)["metadata"]["labels"],
        json!({"app": "web"})
    );
    bench.turn(crate::support::gate::at(10)).await;
    bench.turn(crate::support::gate::at(40)).await;
    assert_eq!(
        bench.state(&done).await.state,
        ExecutionState::Verifying,
        "the address is still listed"
    );
    cluster.put(slices, slice(false));
    let seen = bench.observed(&done, 50).await;
    assert_eq!(seen.state, ExecutionState::Verified, "{seen:?}");

    let back = bench
        .run(inverse(&bench.memory(&done).await, &out), 1_000)
        .await;
    assert_eq!(back.state, ExecutionState::Verifying, "{back:?}");
    assert_eq!(read(&cluster, &path)["metadata"]["labels"], labels);
    cluster.put(slices, slice(true));
    assert_eq!(
        bench.observed(&back, 1_030).await.state,
        ExecutionState::Verified
    );
}

#[tokio::test]
async fn a_job_is_deleted_with_its_pods_and_its_manifest_kept() {
    let (cluster, bench) = estate().await;
    let path = "/apis/batch/v1/namespaces/ml/jobs/train";
    cluster.put(path, json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "train", "namespace": "ml", "uid": "u-1"},
        "spec": {"template": {"spec": {"containers": []}}},
    }));
    let done = bench
        .run(
            spec(ActionKind::DeleteJob, "Job", "train", Parameters::default()),
            0,
        )
        .await;
    assert_eq!(cluster.writes(), [format!("DELETE {path}")]);
    assert_eq!(
        bench.memory(&done).await["manifest"]["metadata"]["name"],
        "train"
    );
    assert_eq!(
        bench.observed(&done, 10).await.state,
        ExecutionState::Verified
    );
}

#[tokio::test]
async fn the_other_side_may_refuse_or_swallow_a_change_and_it_is_never_repeated() {
    for (fault, state) in [
        (Fault::Status(403), ExecutionState::Failed),
        (Fault::Status(500), ExecutionState::Unknown),
    ] {
        let (cluster, bench) = estate().await;
        cluster.world().faults.push_back(fault);
        let done = bench
            .run(web(ActionKind::Scale, with("replicas", 5)), 0)
            .await;
        assert_eq!(done.state, state, "{done:?}");
        assert_eq!(cluster.writes(), [""; 0]);
    }
    let (cluster, bench) = estate().await;
    let bench = Bench::with(
        bench.db,
        Systems {
            clusters: cluster.clusters(),
            ..Systems::default()
        },
        false,
        std::time::Duration::from_secs(2),
    );
    cluster.world().faults.push_back(Fault::Swallowed);
    let done = bench
        .run(web(ActionKind::Scale, with("replicas", 5)), 0)
        .await;
    assert_eq!(done.state, ExecutionState::Unknown, "{done:?}");
    assert_eq!(cluster.writes().len(), 1);
}

#[tokio::test]
async fn a_rehearsal_says_the_same_and_changes_nothing() {
    let (cluster, bench) = estate().await;
    let bench = Bench::with(
        bench.db,
        Systems {
            clusters: cluster.clusters(),
            ..Systems::default()
        },
        true,
        std::time::Duration::from_secs(20),
    );
    let done = bench
        .run(web(ActionKind::Scale, with("replicas", 5)), 0)
        .await;
    assert_eq!(done.state, ExecutionState::DryRun);
    assert_eq!(
        answer(&done),
        "dry-run, nothing was changed. It would: PATCH deployment/scale ml/web with {\"spec\":{\"replicas\":5}} (it has 3 now)"
    );
    assert_eq!(cluster.writes(), [""; 0]);
}
