//! The Kubernetes side, through the kube crate and our own client.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, pin_mut};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::api::{
    Api, DeleteParams, DynamicObject, EvictParams, ListParams, LogParams, Patch, PatchParams,
    PostParams, Preconditions,
};
use kube::runtime::watcher;
use nightbell::demo::script::{Exit, JobSpec};
use nightbell::estate::Phase;
use serde_json::json;

use super::{Demo, NAMESPACE};

/// Generous: nothing waits for it unless it fails.
const SOON: Duration = Duration::from_secs(5);

fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        other => panic!("not an answer of the API: {other}"),
    }
}

#[tokio::test]
async fn pods_are_listed_by_namespace_label_field_and_page() {
    let demo = Demo::start().await;
    demo.run(JobSpec::distributed("demo-nlp", "gang", 3));
    demo.run(JobSpec::training("demo-nlp", "single"));
    let pods: Api<Pod> = demo.api();
    let names = |list: kube::core::ObjectList<Pod>| -> Vec<String> {
        list.items
            .into_iter()
            .filter_map(|pod| pod.metadata.name)
            .collect()
    };

    let gang = pods
        .list(&ListParams::default().labels("workloadName=gang"))
        .await
        .expect("a list");
    assert_eq!(
        names(gang),
        ["gang-master-0", "gang-worker-0", "gang-worker-1"]
    );
    let rank = ListParams::default()
        .labels("workloadName in (gang,single),training.kubeflow.org/replica-type=worker")
        .fields("metadata.name=gang-worker-1");
    assert_eq!(
        names(pods.list(&rank).await.expect("a list")),
        ["gang-worker-1"]
    );

    let everywhere: Api<Pod> = Api::all(demo.kube.clone());
    let first = everywhere
        .list(&ListParams::default().limit(3))
        .await
        .expect("a page");
    assert_eq!(first.items.len(), 3);
    assert_eq!(first.metadata.remaining_item_count, Some(1));
    let token = first.metadata.continue_.expect("there is more");
    let rest = ListParams::default().limit(3).continue_token(&token);
    let rest = everywhere.list(&rest).await.expect("the last page");
    assert!(names(rest)[0].starts_with("single-"));

    demo.estate.expire_history();
    let late = ListParams::default().continue_token(&token);
    assert_eq!(
        code(&everywhere.list(&late).await.expect_err("too late")),
        410
    );
}

#[tokio::test]
async fn a_watch_follows_changes_and_resumes_after_a_drop_and_after_too_old() {
    let demo = Demo::start().await;
    demo.run(JobSpec::training("demo-nlp", "first"));
    let events = watcher(demo.api::<Pod>(), watcher::Config::default());
    pin_mut!(events);
    // The name of each pod as it is told, with what is told of it.
    let mut next = async |wanted: &str| -> String {
        tokio::time::timeout(SOON, async {
            loop {
                let told = match events.next().await.expect("a watch goes on") {
                    Ok(watcher::Event::Apply(pod)) => ("apply", pod.metadata.name),
                    Ok(watcher::Event::Delete(pod)) => ("delete", pod.metadata.name),
                    Ok(watcher::Event::InitApply(pod)) => ("init", pod.metadata.name),
                    Ok(watcher::Event::InitDone) => ("ready", None),
                    Ok(watcher::Event::Init) => continue,
                    Err(_) => ("error", None),
                };
                if told.0 == wanted {
                    return told.1.unwrap_or_default();
                }
            }
        })
        .await
        .unwrap_or_else(|_| panic!("nothing of kind {wanted} came"))
    };
    let first = next("init").await;
    next("ready").await;

    demo.run(JobSpec::training("demo-nlp", "second"));
    assert!(next("apply").await.starts_with("second-"));

    demo.estate.drop_watches();
    demo.run(JobSpec::training("demo-nlp", "third"));
    while !next("apply").await.starts_with("third-") {}

    demo.estate.expire_history();
    demo.run(JobSpec::training("demo-nlp", "fourth"));
    next("error").await;
    let mut listed = Vec::new();
    while listed.len() < 4 {
        listed.push(next("init").await);
    }
    assert!(listed.contains(&first), "a full list follows 410");

    demo.estate.delete_pod(NAMESPACE, &first);
    demo.pass(2.0);
    assert_eq!(next("delete").await, first);
}

#[tokio::test]
async fn a_watch_ends_after_its_time_and_starts_from_a_version() {
    let demo = Demo::start().await;
    demo.run(JobSpec::training("demo-nlp", "first"));
    let pods: Api<Pod> = demo.api();
    let version = pods
        .list(&ListParams::default())
        .await
        .expect("a list")
        .metadata
        .resource_version
        .expect("a version");
    demo.run(JobSpec::training("demo-nlp", "second"));
    let told: Vec<_> = pods
        .watch(
            &kube::api::WatchParams::default()
                .timeout(1)
                .labels("workloadName=second"),
            &version,
        )
        .await
        .expect("a watch")
        .take(2)
        .try_collect()
        .await
        .expect("events");
    assert!(matches!(told[0], kube::api::WatchEvent::Added(_)));
    assert!(matches!(told[1], kube::api::WatchEvent::Modified(_)));
}

#[tokio::test]
async fn a_deleted_pod_is_replaced_and_a_reborn_one_is_not_hit() {
    let demo = Demo::start().await;
    let name = demo.run(JobSpec::inference("demo-nlp", "api", 2));
    let old = demo.job(&name).pods[0].clone();
    let pods: Api<Pod> = demo.api();
    let precondition = |uid: &str| DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let error = pods
        .delete(&old.name, &precondition("another"))
        .await
        .expect_err("another uid");
    assert_eq!(code(&error), 409);
    let dry = DeleteParams {
        dry_run: true,
        ..precondition(&old.uid)
    };
    pods.delete(&old.name, &dry)
        .await
        .expect("it would be deleted");
    assert!(demo.job(&name).pods.iter().all(|pod| !pod.deleting));

    let told = pods
        .delete(&old.name, &precondition(&old.uid))
        .await
        .expect("deleted");
    let going = told.left().expect("a pod is going");
    assert!(going.metadata.deletion_timestamp.is_some());
    demo.pass(3.0);
    let view = demo.job(&name);
    assert_eq!(view.pods.len(), 2);
    assert!(
        view.pods
            .iter()
            .all(|pod| pod.running && pod.uid != old.uid),
        "{view:?}"
    );
    assert_eq!(code(&pods.get(&old.name).await.expect_err("gone")), 404);

    let other = view.pods[0].name.clone();
    pods.evict(&other, &EvictParams::default())
        .await
        .expect("evicted");
    demo.pass(3.0);
    assert!(demo.job(&name).pods.iter().all(|pod| pod.name != other));
}

#[tokio::test]
async fn logs_are_told_as_the_kubelet_tells_them() {
    let demo = Demo::start().await;
    demo.estate.add_job(JobSpec {
        restarts_in_place: true,
        ..JobSpec::training("demo-nlp", "trainer")
    });
    demo.pass(0.3);
    let pods: Api<Pod> = demo.api();
    let pod = demo.job("trainer").pods[0].name.clone();
    let text = |error: kube::Error| match error {
        kube::Error::Api(status) => (status.code, status.message),
        other => panic!("{other}"),
    };
    let waiting = pods
        .logs(&pod, &LogParams::default())
        .await
        .map_err(text)
        .expect_err("too early");
    let message =
        format!("container \"trainer\" in pod \"{pod}\" is waiting to start: ContainerCreating");
    assert_eq!(waiting, (400, message));

    demo.pass(2.0);
    let previous = LogParams {
        previous: true,
        ..LogParams::default()
    };
    let none = pods
        .logs(&pod, &previous)
        .await
        .map_err(text)
        .expect_err("it never ended");
    assert_eq!(
        none,
        (
            400,
            format!("previous terminated container \"trainer\" in pod \"{pod}\" not found")
        )
    );

    demo.estate.fail_pod(
        NAMESPACE,
        &pod,
        Exit::error(1),
        &["one", "two", "last words"],
    );
    demo.pass(3.0);
    demo.estate.log(NAMESPACE, &pod, &["second life"]);
    let tail = LogParams {
        tail_lines: Some(2),
        ..previous
    };
    assert_eq!(
        pods.logs(&pod, &tail).await.expect("a log"),
        "two\nlast words\n"
    );
    let now = pods
        .logs(
            &pod,
            &LogParams {
                timestamps: true,
                ..LogParams::default()
            },
        )
        .await
        .expect("a log");
    let last = now.lines().last().expect("a line");
    assert_eq!(last, "2026-11-21T10:00:05.300000000Z second life");

    let lines = demo
        .cluster()
        .logs(NAMESPACE, &pod, "trainer", true, 100)
        .await
        .expect("our client reads it");
    assert_eq!(
        lines.last().map(|line| line.text.as_str()),
        Some("last words")
    );
}

#[tokio::test]
async fn a_job_gives_up_at_its_backoff_limit_and_a_new_one_of_its_name_runs() {
    let demo = Demo::start().await;
    demo.run(JobSpec {
        backoff_limit: 1,
        ..JobSpec::training("demo-nlp", "eval")
    });
    let jobs: Api<Job> = demo.api();
    for _ in 0..2 {
        let pod = demo.job("eval").pods.last().expect("a pod").name.clone();
        assert!(demo.estate.fail_pod(NAMESPACE, &pod, Exit::error(1), &[]));
        demo.pass(12.0);
    }
    let status = jobs
        .get("eval")
        .await
        .expect("a job")
        .status
        .expect("a status");
    assert_eq!(status.failed, Some(2));
    let reasons: Vec<_> = status
        .conditions
        .unwrap_or_default()
        .into_iter()
        .filter_map(|c| c.reason)
        .collect();
    assert_eq!(reasons, ["BackoffLimitExceeded", "BackoffLimitExceeded"]);
    let events: Api<Event> = demo.api();
    let told = ListParams::default().fields("involvedObject.name=eval,reason=BackoffLimitExceeded");
    assert_eq!(events.list(&told).await.expect("events").items.len(), 1);

    let uid = demo.job("eval").controller_uid;
    let mut body = jobs.get("eval").await.expect("a job");
    let immutable = json!({"spec": {"template": {"spec": {"priorityClassName": "high"}}}});
    let refused = jobs
        .patch("eval", &PatchParams::default(), &Patch::Merge(&immutable))
        .await;
    assert_eq!(
        code(&refused.expect_err("templates of jobs do not change")),
        422
    );
    assert_eq!(
        code(
            &jobs
                .create(&PostParams::default(), &body)
                .await
                .expect_err("it exists")
        ),
        409
    );
    jobs.delete("eval", &DeleteParams::background())
        .await
        .expect("deleted");
    demo.pass(3.0);
    body.metadata.resource_version = None;
    body.metadata.uid = None;
    jobs.create(&PostParams::default(), &body)
        .await
        .expect("created");
    demo.pass(2.0);
    let view = demo.job("eval");
    assert_eq!((view.phase, view.run), (Phase::Running, 1));
    assert_ne!(view.controller_uid, uid);
}

#[tokio::test]
async fn suspending_rolling_out_scaling_and_cordoning_have_their_effects() {
    let demo = Demo::start().await;
    demo.run(JobSpec::training("demo-nlp", "train"));
    let jobs: Api<Job> = demo.api();
    let merge = PatchParams::default();
    jobs.patch(
        "train",
        &merge,
        &Patch::Merge(json!({"spec": {"suspend": true}})),
    )
    .await
    .expect("suspended");
    demo.pass(3.0);
    assert_eq!(demo.job("train").phase, Phase::Stopped);
    assert!(demo.job("train").pods.is_empty());
    jobs.patch(
        "train",
        &merge,
        &Patch::Merge(json!({"spec": {"suspend": false}})),
    )
    .await
    .expect("resumed");
    demo.pass(3.0);
    assert_eq!(demo.job("train").phase, Phase::Running);

    demo.run(JobSpec::inference("demo-nlp", "api", 2));
    let deployments: Api<Deployment> = demo.api();
    let before = demo.job("api").pods;
    let restart = json!({"spec": {"template": {"metadata": {"annotations":
        {"kubectl.kubernetes.io/restartedAt": "2026-11-21T10:00:10Z"}}}}});
    let dry = PatchParams {
        dry_run: true,
        ..merge.clone()
    };
    deployments
        .patch("api", &dry, &Patch::Strategic(&restart))
        .await
        .expect("it would be restarted");
    assert_eq!(demo.job("api").run, 0);
    deployments
        .patch("api", &merge, &Patch::Strategic(&restart))
        .await
        .expect("restarted");
    demo.pass(3.0);
    let after = demo.job("api");
    assert_eq!((after.run, after.pods.len()), (1, 2));
    assert!(
        after
            .pods
            .iter()
            .all(|pod| pod.running && before.iter().all(|old| old.uid != pod.uid))
    );

    let scale = json!({"spec": {"replicas": 3}});
    deployments
        .patch_scale("api", &merge, &Patch::Merge(&scale))
        .await
        .expect("scaled");
    demo.pass(2.0);
    assert_eq!(demo.job("api").pods.len(), 3);

    let nodes: Api<Node> = Api::all(demo.kube.clone());
    for node in ["demo-a100-01", "demo-a100-02", "demo-a100-03"] {
        nodes.cordon(node).await.expect("cordoned");
    }
    let cordoned = nodes
        .get("demo-a100-01")
        .await
        .expect("a node")
        .spec
        .expect("a spec");
    assert_eq!(
        cordoned.taints.expect("a taint")[0].key,
        "node.kubernetes.io/unschedulable"
    );
    demo.run(JobSpec::training("demo-nlp", "late"));
    assert_eq!(demo.job("late").phase, Phase::Pending);
    nodes.uncordon("demo-a100-02").await.expect("uncordoned");
    demo.pass(2.0);
    assert_eq!(
        demo.job("late").pods[0].node.as_deref(),
        Some("demo-a100-02")
    );
}

#[tokio::test]
async fn discovery_finds_the_kinds_and_permissions_are_told() {
    let demo = Demo::start().await;
    demo.run(JobSpec::distributed("demo-nlp", "gang", 2));
    let group = kube::discovery::group(&demo.kube, "kubeflow.org")
        .await
        .expect("the group");
    let (resource, _) = group.recommended_kind("PyTorchJob").expect("the kind");
    let gangs: Api<DynamicObject> = Api::namespaced_with(demo.kube.clone(), NAMESPACE, &resource);
    let gang = gangs.get("gang").await.expect("a gang");
    assert_eq!(
        gang.data["spec"]["pytorchReplicaSpecs"]["Worker"]["replicas"],
        1
    );

    demo.estate.kubernetes_faults().forbid("delete", "pods");
    let client = demo.cluster();
    assert!(
        client
            .can_i("list", "", "pods", NAMESPACE)
            .await
            .expect("an answer")
    );
    assert!(
        !client
            .can_i("delete", "", "pods", NAMESPACE)
            .await
            .expect("an answer")
    );
    let pods: Api<Pod> = demo.api();
    let refused = pods
        .delete("gang-worker-0", &DeleteParams::default())
        .await
        .expect_err("forbidden");
    assert_eq!(code(&refused), 403);
}
