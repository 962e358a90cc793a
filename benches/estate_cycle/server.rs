//! A control plane and a cluster that hold so many objects, of recorded shape and usual size, all of them healthy.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

const RECORDED_WORKLOADS: &str = include_str!("../../tests/fixtures/runai/workloads.json");
const RECORDED_PODS: &str = include_str!("../../tests/fixtures/kubernetes/runai-nlp.pods.json");
/// Pods of training jobs have this many bytes, most of them environment and managed fields.
const POD_BYTES: usize = 7_000;
const PODS_OF_A_GANG: usize = 8;
const PROJECTS: usize = 50;

/// Workloads that a sweep of changes finds, where there are so many.
pub(crate) const CHANGED: usize = 100;
/// Pods that change once the list was read.
pub(crate) const PODS_CHANGED: usize = 10_000;
/// The job of the pod that comes after all changes.
pub(crate) const LAST_JOB: &str = "the-last-one";

struct World {
    objects: usize,
    workload: String,
    pod: String,
    /// Whether the [`CHANGED`] workloads were told of.
    changed: Mutex<bool>,
    /// When the control plane was first and last asked since somebody wanted to know.
    asked: Mutex<Option<(Instant, Instant)>>,
    /// Pods begin to change.
    change: watch::Sender<bool>,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn serve(objects: usize) {
    let world = Arc::new(World {
        objects,
        workload: workload(),
        pod: pod(),
        changed: Mutex::new(false),
        asked: Mutex::new(None),
        change: watch::Sender::new(false),
    });
    let router = Router::new()
        .route("/api/v1/token", post(token))
        .route("/api/v1/clusters", get(|| async { "[]" }))
        .route("/api/v1/workloads", get(workloads))
        .route("/api/v1/pods", get(pods))
        .route("/bench/took", get(took))
        .route("/bench/change", get(change))
        .fallback(nothing)
        .with_state(world);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    axum::serve(listener, router)
        .await
        .expect("serves until killed");
}

/// The recorded workload, running, with a placeholder for what differs.
fn workload() -> String {
    let list: Value = serde_json::from_str(RECORDED_WORKLOADS).expect("recorded JSON");
    let mut workload = list["workloads"][0].clone();
    let differs = [
        ("id", "@id@"),
        ("name", "@name@"),
        ("projectName", "project-@project@"),
        ("namespace", "runai-project-@project@"),
        ("phaseUpdatedAt", "@at@"),
        ("phase", "Running"),
        ("k8sPhase", "Running"),
        ("phaseMessage", ""),
    ];
    for (field, value) in differs {
        workload[field] = json!(value);
    }
    workload["completedAt"] = Value::Null;
    workload["runningPods"] = json!(1);
    workload["conditions"] = json!([{
        "type": "Running", "status": "True", "reason": "JobRunning",
        "lastTransitionTime": "2026-03-02T10:01:07.000Z",
    }]);
    workload.to_string()
}

/// The recorded pod, running, padded with the environment that real pods have.
fn pod() -> String {
    let list: Value = serde_json::from_str(RECORDED_PODS).expect("recorded JSON");
    let mut pod = list["items"][3].clone();
    let recorded = "ddp-pretrain";
    let named = |field: &str| pod["metadata"][field].as_str().expect("a text").to_owned();
    let (name, uid) = (named("name"), named("uid"));
    let owner = pod["metadata"]["ownerReferences"][0]["uid"]
        .as_str()
        .expect("a uid")
        .to_owned();
    pod["spec"]["nodeName"] = json!("gpu-@node@");
    pod["spec"]["containers"][0]["resources"]["limits"] = json!({"nvidia.com/gpu": "8"});
    pod["status"]["phase"] = json!("Running");
    for condition in pod["status"]["conditions"].as_array_mut().expect("a list") {
        condition["status"] = json!("True");
        condition["lastTransitionTime"] = json!("@at@");
        condition
            .as_object_mut()
            .expect("an object")
            .remove("reason");
    }
    let container = &mut pod["status"]["containerStatuses"][0];
    container["state"] = json!({"running": {"startedAt": "2026-11-21T22:15:36Z"}});
    container["ready"] = json!(true);
    container["started"] = json!(true);
    let variable = |index: usize| {
        json!({
            "name": format!("NCCL_SETTING_{index:02}"),
            "value": "\"quoted\"\tand long enough to skip",
        })
    };
    let missing = POD_BYTES.saturating_sub(pod.to_string().len());
    let environment: Vec<Value> = (0..missing / variable(0).to_string().len())
        .map(variable)
        .collect();
    pod["spec"]["containers"][0]["env"] = Value::Array(environment);
    pod.to_string()
        .replace(&name, "@name@")
        .replace(&uid, "@uid@")
        .replace(&owner, "@owner@")
        .replace(recorded, "@job@")
        .replace(
            r#""batch.kubernetes.io/job-completion-index":"1""#,
            r#""batch.kubernetes.io/job-completion-index":"@rank@""#,
        )
}

impl World {
    fn workload(&self, index: usize, changed: bool) -> String {
        let at = if changed && index < CHANGED {
            "2026-03-02T11:00:00.000Z"
        } else {
            "2026-03-02T10:01:07.000Z"
        };
        self.workload
            .replace("@id@", &format!("7a93a9f0-0000-4000-8000-{index:012}"))
            .replace("@name@", &format!("train-{index}"))
            .replace("@project@", &(index % PROJECTS).to_string())
            .replace("@at@", at)
    }

    /// The pod as it was after `moment` changes.
    fn pod(&self, index: usize, job: &str, moment: usize) -> String {
        let (gang, rank) = (index / PODS_OF_A_GANG, index % PODS_OF_A_GANG);
        let (minutes, seconds) = (moment / 60 % 60, moment % 60);
        self.pod
            .replace("@name@", &format!("{job}-{rank}-b6d2w"))
            .replace("@job@", job)
            .replace("@uid@", &format!("7a93a9f0-0000-4000-8000-{index:012}"))
            .replace("@owner@", &format!("b2899c28-0000-4000-8000-{gang:012}"))
            .replace("@node@", &format!("{:04}", index / 8))
            .replace("@rank@", &rank.to_string())
            .replace("@at@", &format!("2026-11-21T22:{minutes:02}:{seconds:02}Z"))
    }
}

fn gang(index: usize) -> String {
    format!("train-{}", index / PODS_OF_A_GANG)
}

async fn token() -> Response {
    json_answer(r#"{"accessToken":"bench","expiresIn":3600}"#.to_owned())
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    offset: usize,
    limit: usize,
    #[serde(rename = "filterBy", default)]
    filter: String,
}

async fn workloads(State(world): State<Arc<World>>, Query(page): Query<Page>) -> Response {
    let began = Instant::now();
    let (total, changed) = {
        let mut changed = world.changed.lock().unwrap_or_else(PoisonError::into_inner);
        if page.filter.contains("phaseUpdatedAt") {
            *changed = true;
            (world.objects.min(CHANGED), true)
        } else {
            (world.objects, *changed)
        }
    };
    let to = total.min(page.offset + page.limit);
    let rows: Vec<String> = (page.offset..to)
        .map(|index| world.workload(index, changed))
        .collect();
    let next = if to < total {
        to.to_string()
    } else {
        "null".to_owned()
    };
    let answer = json_answer(format!(
        r#"{{"next":{next},"workloads":[{}]}}"#,
        rows.join(",")
    ));
    let mut asked = world.asked.lock().unwrap_or_else(PoisonError::into_inner);
    asked.get_or_insert((began, began)).1 = Instant::now();
    answer
}

/// Seconds from the first question for workloads to the last answer, since this was asked before.
async fn took(State(world): State<Arc<World>>) -> String {
    let mut asked = world.asked.lock().unwrap_or_else(PoisonError::into_inner);
    let took = asked.take().map_or(Duration::ZERO, |(from, to)| to - from);
    format!("{:.2}", took.as_secs_f64())
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    limit: usize,
    #[serde(rename = "continue", default)]
    from: usize,
    #[serde(default)]
    watch: bool,
}

async fn pods(State(world): State<Arc<World>>, Query(list): Query<List>) -> Response {
    if list.watch {
        return changes(world);
    }
    let to = world.objects.min(list.from + list.limit);
    let more = if to < world.objects {
        to.to_string()
    } else {
        String::new()
    };
    let items: Vec<String> = (list.from..to)
        .map(|index| world.pod(index, &gang(index), 0))
        .collect();
    json_answer(format!(
        r#"{{"kind":"PodList","apiVersion":"v1","metadata":{{"resourceVersion":"9","continue":"{more}"}},"items":[{}]}}"#,
        items.join(",")
    ))
}

async fn change(State(world): State<Arc<World>>) -> &'static str {
    world.change.send_replace(true);
    "they change"
}

/// Says nothing until pods are to change; then they do, all over the cluster, and one is added.
fn changes(world: Arc<World>) -> Response {
    let lines = stream::unfold(0, move |told| {
        let world = Arc::clone(&world);
        async move {
            let mut change = world.change.subscribe();
            let _ = change.wait_for(|change| *change).await;
            let index = told * 7_919 % world.objects;
            let (kind, pod) = match told {
                0..PODS_CHANGED => ("MODIFIED", world.pod(index, &gang(index), told + 1)),
                PODS_CHANGED => ("ADDED", world.pod(world.objects + 8, LAST_JOB, 0)),
                _ => std::future::pending().await,
            };
            let line = format!("{{\"type\":\"{kind}\",\"object\":{pod}}}\n");
            Some((Ok::<_, std::io::Error>(Bytes::from(line)), told + 1))
        }
    });
    Body::from_stream(lines).into_response()
}

/// Every other kind is empty and stays so.
async fn nothing(Query(list): Query<List>) -> Response {
    if list.watch {
        return Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>())
            .into_response();
    }
    json_answer(r#"{"metadata":{"resourceVersion":"9"},"items":[],"groups":[]}"#.to_owned())
}

fn json_answer(body: String) -> Response {
    ([("content-type", "application/json")], body).into_response()
}
