//! A cluster is watched through whatever an API server and the network do.

use std::time::Duration;

use nightbell::estate::{ContainerState, Pod};
use nightbell::watch::kubernetes::watcher::{self, Settings};
use nightbell::watch::{Beat, Observation};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::support::kube_api::{EVENTS, Fault, KubeApi, NODES, PODS};

/// Far above what anything here takes, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct Watched {
    seen: mpsc::Receiver<Observation>,
    task: JoinHandle<()>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn watch(api: &KubeApi) -> Watched {
    let settings = Settings {
        beat_every: Duration::from_millis(200),
        discover_every: Duration::from_millis(100),
        first_pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(50),
        ..Settings::default()
    };
    let (out, seen) = mpsc::channel(64);
    let cluster = api.client("lab");
    let task = tokio::spawn(async move { watcher::run(cluster, settings, out).await.unwrap() });
    Watched { seen, task }
}

impl Watched {
    /// Drops observations until one fits.
    async fn until<T>(&mut self, fits: impl Fn(&Observation) -> Option<T>) -> T {
        let wait = async {
            loop {
                let observation = self.seen.recv().await.expect("the watch goes on");
                if let Some(found) = fits(&observation) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .expect("seen in time")
    }

    async fn pod(&mut self, name: &str) -> Pod {
        self.until(|observation| match observation {
            Observation::Pod(pod) if pod.name == name => Some((**pod).clone()),
            _ => None,
        })
        .await
    }

    async fn list_started(&mut self, scope: &str) {
        self.until(|observation| {
            matches!(observation, Observation::ListStarted { scope: s } if s == scope).then_some(())
        })
        .await;
    }

    async fn list_done(&mut self, scope: &str) {
        self.until(|observation| {
            matches!(observation, Observation::ListDone { scope: s } if s == scope).then_some(())
        })
        .await;
    }

    async fn beat(&mut self, fits: impl Fn(&Beat) -> bool) -> Beat {
        self.until(|observation| match observation {
            Observation::Beat(beat) if fits(beat) => Some(beat.clone()),
            _ => None,
        })
        .await
    }
}

fn pod(name: &str, phase: &str) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": "ml", "uid": format!("uid-{name}"),
            "creationTimestamp": "2026-11-21T22:15:27Z",
            "labels": {"workloadName": "bert"},
        },
        "spec": {"containers": [{"name": "main", "image": "train:1"}]},
        "status": {"phase": phase},
    })
}

fn lists(api: &KubeApi) -> usize {
    api.requests(&format!("{PODS}?limit")).len()
}

fn watches(api: &KubeApi) -> usize {
    api.requests(&format!("{PODS}?watch")).len()
}

#[tokio::test]
async fn pods_are_listed_page_by_page_and_then_followed() {
    let api = KubeApi::start().await;
    api.page(2);
    for name in ["a", "b", "c", "d", "e"] {
        api.put(PODS, pod(name, "Running"));
    }
    let mut seen = watch(&api);
    seen.list_started("pods@lab").await;
    for name in ["a", "b", "c", "d", "e"] {
        assert_eq!(seen.pod(name).await.phase, "Running");
    }
    seen.list_done("pods@lab").await;
    assert_eq!(lists(&api), 3);

    api.put(PODS, pod("b", "Failed"));
    assert_eq!(seen.pod("b").await.phase, "Failed");
    api.remove(PODS, "b");
    let uid = seen
        .until(|observation| match observation {
            Observation::PodGone { name, uid, .. } if name == "b" => Some(uid.clone()),
            _ => None,
        })
        .await;
    assert_eq!(uid, "uid-b");
    seen.beat(|beat| beat.error.is_none() && beat.objects == 4)
        .await;
}

#[tokio::test]
async fn a_watch_broken_in_the_middle_of_a_line_goes_on_where_it_was() {
    let api = KubeApi::start().await;
    let mut seen = watch(&api);
    seen.list_done("pods@lab").await;
    api.put(PODS, pod("first", "Running"));
    seen.pod("first").await;
    api.break_watches(PODS);
    api.put(PODS, pod("second", "Failed"));
    seen.pod("second").await;
    assert_eq!(lists(&api), 1, "nothing was listed again");
    assert!(watches(&api) >= 2);
}

#[tokio::test]
async fn a_bookmark_moves_the_place_where_the_next_watch_begins() {
    let api = KubeApi::start().await;
    let mut seen = watch(&api);
    seen.list_done("pods@lab").await;
    let bookmark = include_str!("../fixtures/kubernetes/watch-tail.jsonl")
        .lines()
        .find(|line| line.contains("BOOKMARK"))
        .unwrap();
    api.say(PODS, bookmark);
    api.break_watches(PODS);
    let resumed = async {
        while api
            .requests(&format!("{PODS}?watch"))
            .iter()
            .all(|watch| !watch.contains("resourceVersion=1576"))
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, resumed)
        .await
        .expect("the watch goes on from the bookmark");
    assert_eq!(lists(&api), 1);
}

#[tokio::test]
async fn a_version_too_old_is_answered_by_a_new_list() {
    let api = KubeApi::start().await;
    api.put(PODS, pod("a", "Running"));
    let mut seen = watch(&api);
    seen.list_done("pods@lab").await;

    // As an event within the watch, which is how API servers mostly say it.
    let gone = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version: 1 (2)","reason":"Expired","code":410}}"#;
    api.say(PODS, gone);
    seen.list_started("pods@lab").await;
    seen.list_done("pods@lab").await;

    // As the answer to the next watch.
    api.fault(&format!("{PODS}?watch"), Fault::Status(410, None));
    api.break_watches(PODS);
    seen.list_started("pods@lab").await;
    seen.list_done("pods@lab").await;

    api.put(PODS, pod("a", "Failed"));
    assert_eq!(seen.pod("a").await.phase, "Failed");
}

#[tokio::test]
async fn a_list_whose_beginning_is_forgotten_begins_again() {
    let api = KubeApi::start().await;
    api.page(1);
    api.put(PODS, pod("a", "Running"));
    api.put(PODS, pod("b", "Running"));
    api.fault(
        &format!("{PODS}?limit=500&continue"),
        Fault::Status(410, None),
    );
    let mut seen = watch(&api);
    seen.list_started("pods@lab").await;
    seen.pod("a").await;
    seen.list_started("pods@lab").await;
    seen.pod("a").await;
    seen.pod("b").await;
    seen.list_done("pods@lab").await;
}

#[tokio::test]
async fn a_page_that_fails_is_asked_for_again_not_the_whole_list() {
    let api = KubeApi::start().await;
    api.page(1);
    for name in ["a", "b", "c"] {
        api.put(PODS, pod(name, "Running"));
    }
    let second = format!("{PODS}?limit=500&continue=1");
    for fault in [
        Fault::Status(503, None),
        Fault::Status(429, Some(0)),
        Fault::Text(r#"{"items":[{"metadata":{"na"#.to_owned()),
    ] {
        api.fault(&second, fault);
    }
    let mut seen = watch(&api);
    seen.list_done("pods@lab").await;
    assert_eq!(api.requests(&second).len(), 4);
    assert_eq!(lists(&api), 6);
    seen.beat(|beat| beat.error.is_none()).await;
}

#[tokio::test]
async fn an_error_within_a_watch_is_told_and_answered_by_a_list() {
    let api = KubeApi::start().await;
    let mut seen = watch(&api);
    seen.list_done("pods@lab").await;
    api.say(
        PODS,
        r#"{"type":"ERROR","object":{"kind":"Status","status":"Failure","message":"etcd is away","reason":"InternalError","code":500}}"#,
    );
    let beat = seen.beat(|beat| beat.error.is_some()).await;
    assert!(beat.error.unwrap().contains("etcd is away"));
    seen.list_done("pods@lab").await;
    seen.beat(|beat| beat.error.is_none()).await;
    api.put(PODS, pod("a", "Failed"));
    seen.pod("a").await;
}

#[tokio::test]
async fn a_change_that_cannot_be_read_is_looked_up_by_a_list() {
    let api = KubeApi::start().await;
    let mut seen = watch(&api);
    seen.list_done("pods@lab").await;
    api.put_silently(PODS, pod("missed", "Failed"));
    api.say(
        PODS,
        r#"{"type":"ADDED","object":{"metadata":{"name":"missed",},}}"#,
    );
    seen.pod("missed").await;
}

#[tokio::test]
async fn one_malformed_object_does_not_cost_the_list() {
    let api = KubeApi::start().await;
    api.put(PODS, pod("before", "Running"));
    for malformed in [
        json!("not an object"),
        json!(null),
        json!({"metadata": null, "spec": null, "status": null}),
        json!({"metadata": {"labels": {"workloadName": 7}}, "status": {"phase": "Failed"}}),
    ] {
        api.put_silently(PODS, malformed);
    }
    let mut odd = pod("odd", "Failed");
    odd["metadata"]["creationTimestamp"] = json!("yesterday");
    odd["metadata"]["ownerReferences"] = json!({"kind": "Job"});
    odd["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] = json!("-1");
    odd["spec"]["containers"] =
        json!([{"name": "main", "resources": {"limits": {"nvidia.com/gpu": 8}}}, 7, null]);
    odd["status"]["conditions"] = json!("none");
    odd["status"]["containerStatuses"] = json!([
        {"name": "main", "restartCount": "many", "state": {"terminated": {"exitCode": 3_000_000_000_u64, "reason": []}}},
        null
    ]);
    api.put(PODS, odd);
    api.put(PODS, pod("after", "Running"));

    let mut seen = watch(&api);
    seen.pod("before").await;
    let odd = seen.pod("odd").await;
    assert_eq!((odd.phase.as_str(), odd.restart_policy), ("Failed", None));
    assert_eq!(odd.containers.len(), 1);
    assert_eq!(odd.containers[0].restarts, 0);
    let ContainerState::Terminated(end) = &odd.containers[0].state else {
        panic!("a terminated container stays one");
    };
    assert_ne!(end.exit_code, 0, "an unreadable exit code is no success");
    seen.pod("after").await;
    seen.list_done("pods@lab").await;
}

#[tokio::test]
async fn a_forbidden_kind_is_named_while_the_others_go_on() {
    let api = KubeApi::start().await;
    api.refuse(EVENTS, Some(403));
    api.put(PODS, pod("a", "Running"));
    let mut seen = watch(&api);
    seen.pod("a").await;
    let beat = seen
        .beat(|beat| beat.error.is_some() && beat.objects == 1)
        .await;
    assert_eq!(beat.source, "kubernetes/lab");
    assert_eq!(
        beat.error.as_deref(),
        Some("events: not permitted (403): told to answer 403")
    );
    api.put(PODS, pod("a", "Failed"));
    assert_eq!(seen.pod("a").await.phase, "Failed");

    api.refuse(EVENTS, None);
    seen.list_done("events@lab").await;
    seen.beat(|beat| beat.error.is_none()).await;
}

#[tokio::test]
async fn refused_credentials_are_told_once_for_all_kinds_and_recovered_from() {
    let api = KubeApi::start().await;
    api.refuse_all(Some(401));
    let mut seen = watch(&api);
    let told = "the cluster refused the credentials (401)";
    seen.beat(|beat| beat.error.as_deref() == Some(told)).await;
    api.refuse_all(None);
    api.put(PODS, pod("a", "Running"));
    seen.pod("a").await;
    seen.beat(|beat| beat.error.is_none()).await;
}

#[tokio::test]
async fn a_cluster_that_is_not_there_says_why() {
    let api = KubeApi::start().await;
    let cluster = {
        // A port that was free a moment ago.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        nightbell::watch::kubernetes::client::ClusterClient::at("gone", url.parse().unwrap())
            .unwrap()
    };
    drop(api);
    let (out, mut seen) = mpsc::channel(64);
    let task = tokio::spawn(watcher::run(cluster, Settings::default(), out));
    let error = loop {
        if let Observation::Beat(Beat {
            error: Some(error), ..
        }) = tokio::time::timeout(PATIENCE, seen.recv())
            .await
            .unwrap()
            .unwrap()
        {
            break error;
        }
    };
    assert!(error.contains("the cluster cannot be reached"), "{error}");
    assert!(error.to_lowercase().contains("refused"), "{error}");
    task.abort();
}

#[tokio::test]
async fn a_slow_list_of_pods_does_not_hold_up_the_nodes() {
    let api = KubeApi::start().await;
    api.fault(PODS, Fault::Late(Duration::from_millis(250)));
    api.put(PODS, pod("a", "Running"));
    api.put(NODES, json!({"metadata": {"name": "gpu-1", "uid": "n1"}}));
    let mut seen = watch(&api);
    let first = seen
        .until(|observation| match observation {
            Observation::Node(node) => Some(node.name.clone()),
            Observation::Pod(pod) => Some(pod.name.clone()),
            _ => None,
        })
        .await;
    assert_eq!(first, "gpu-1");
    seen.pod("a").await;
}

#[tokio::test]
async fn jobs_of_an_operator_are_followed_once_it_is_installed() {
    let path = "/apis/kubeflow.org/v1/pytorchjobs";
    let api = KubeApi::start().await;
    let mut seen = watch(&api);
    seen.list_done("pods@lab").await;

    api.put(
        path,
        json!({
            "metadata": {"name": "ddp", "namespace": "ml", "uid": "u1"},
            "spec": {
                "runPolicy": {"suspend": true, "backoffLimit": 3},
                "pytorchReplicaSpecs": {"Master": {"replicas": 1}, "Worker": {"replicas": 63}},
            },
            "status": {
                "replicaStatuses": {"Master": {"active": 1}, "Worker": {"active": 60, "failed": 3}},
                "conditions": [{"type": "Running", "status": "True"}],
            },
        }),
    );
    api.answer(
        "/apis/kubeflow.org/v1",
        json!({"resources": [
            {"name": "pytorchjobs", "kind": "PyTorchJob", "verbs": ["list", "watch"]},
            {"name": "pytorchjobs/status", "kind": "PyTorchJob", "verbs": ["get"]},
        ]}),
    );
    api.answer(
        "/apis",
        json!({"groups": [{"name": "kubeflow.org", "versions": [{"version": "v1"}], "preferredVersion": {"version": "v1"}}]}),
    );
    let controller = seen
        .until(|observation| match observation {
            Observation::Controller(controller) => Some((**controller).clone()),
            _ => None,
        })
        .await;
    assert_eq!(
        (controller.kind.as_str(), controller.workload.as_str()),
        ("PyTorchJob", "ddp")
    );
    assert_eq!(
        (controller.desired, controller.active, controller.failed),
        (64, 61, 3)
    );
    assert_eq!(
        (controller.suspended, controller.backoff_limit),
        (true, Some(3))
    );
    seen.list_done("pytorchjobs@lab").await;

    // The operator is removed again, with its API.
    api.refuse(path, Some(404));
    api.break_watches(path);
    seen.list_started("pytorchjobs@lab").await;
    seen.list_done("pytorchjobs@lab").await;
    seen.beat(|beat| beat.error.is_none()).await;
}
