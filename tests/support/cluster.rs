//! A small Kubernetes API server that can be written to: uids, versions, preconditions, dry runs, the three kinds of
//! patch, scaling, evictions that a budget holds back, access reviews, and faults.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::Response;
use nightbell::watch::kubernetes::client::{ClusterClient, Clusters};
use serde_json::{Value, json};

/// What happens to the next real write.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    Status(u16),
    /// It is carried out, but the answer never comes.
    Swallowed,
}

type OnWrite = Box<dyn FnMut(&mut World, &str) + Send>;

#[derive(Default)]
pub struct World {
    /// Path → object.
    pub objects: BTreeMap<String, Value>,
    /// `METHOD path` of each request.
    pub requests: Vec<String>,
    /// `METHOD path` of each write that changed something.
    pub writes: Vec<String>,
    pub faults: VecDeque<Fault>,
    pub forbids: bool,
    /// Path of a pod → how many real evictions of it a budget still refuses.
    pub held: BTreeMap<String, u32>,
    /// How many writes more find that the object's status was just written by its controller.
    pub busy: u32,
    /// Whether the next of them finds that somebody changed its spec.
    pub meddled: bool,
    /// Plays the controllers: called after each write with its text.
    pub on_write: Option<OnWrite>,
    made: u32,
    version: u64,
}

#[derive(Clone)]
pub struct Cluster {
    world: Arc<Mutex<World>>,
    url: String,
}

impl Cluster {
    pub async fn start() -> Self {
        let world = Arc::new(Mutex::new(World::default()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&world));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { world, url }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no test thread panicked")
    }

    pub fn clusters(&self) -> Clusters {
        let client = ClusterClient::at("prod", self.url.parse().expect("a URL")).expect("a client");
        Clusters::new(vec![client])
    }

    pub fn put(&self, path: &str, object: Value) {
        self.world().store(path, object);
    }

    pub fn writes(&self) -> Vec<String> {
        self.world().writes.clone()
    }
}

async fn answer(State(world): State<Arc<Mutex<World>>>, request: Request) -> Response<Body> {
    let method = request.method().to_string();
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let content_type = request
        .headers()
        .get("content-type")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let body = to_bytes(request.into_body(), 1 << 20)
        .await
        .unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let dry_run = query.contains("dryRun=All")
        || body["dryRun"][0] == "All"
        || body["deleteOptions"]["dryRun"][0] == "All";

    let content = content_type;
    let (response, swallowed) = {
        let mut world = world.lock().expect("no handler panicked");
        world.requests.push(format!("{method} {path}"));
        if path.ends_with("/selfsubjectaccessreviews") {
            let allowed = !world.forbids;
            return reply(
                201,
                &json!({"kind": "SelfSubjectAccessReview", "status": {"allowed": allowed}}),
            );
        }
        if method == "GET" {
            return read(&world, &path);
        }
        let fault = if dry_run {
            None
        } else {
            world.faults.pop_front()
        };
        if let Some(Fault::Status(code)) = fault {
            return status(code, "the fake was told to fail");
        }
        (
            write(&mut world, &method, &path, &content, &body, dry_run),
            fault.is_some(),
        )
    };
    if swallowed {
        std::future::pending::<()>().await;
    }
    response
}

fn read(world: &World, path: &str) -> Response<Body> {
    if let Some(object) = world.objects.get(path) {
        return reply(200, object);
    }
    let last = path.rsplit('/').next().unwrap_or_default();
    if matches!(
        last,
        "pods"
            | "jobs"
            | "nodes"
            | "deployments"
            | "replicasets"
            | "controllerrevisions"
            | "services"
            | "endpointslices"
            | "horizontalpodautoscalers"
    ) {
        let items: Vec<&Value> = world
            .objects
            .iter()
            .filter(|(key, _)| {
                key.rsplit_once('/').is_some_and(|(parent, _)| {
                    parent == path
                        || (!path.contains("/namespaces/")
                            && parent.starts_with("/api/v1/namespaces/")
                            && parent.rsplit('/').next() == Some(last))
                })
            })
            .map(|(_, object)| object)
            .collect();
        return reply(
            200,
            &json!({"kind": "List", "metadata": {}, "items": items}),
        );
    }
    status(404, "not found")
}

/// An eviction deletes, unless a budget holds the pod back.
fn evict(world: &mut World, pod: &str, body: &Value, dry_run: bool) -> Response<Body> {
    let Some(live) = world.objects.get(pod) else {
        return status(404, "not found");
    };
    let wanted = body["deleteOptions"]["preconditions"]["uid"].as_str();
    if wanted.is_some_and(|uid| live["metadata"]["uid"] != uid) {
        return status(409, "the UID in the precondition does not match");
    }
    if let Some(times) = world.held.get_mut(pod).filter(|times| **times > 0) {
        if !dry_run {
            *times -= 1;
        }
        let mut body = status_body(
            429,
            "Cannot evict pod as it would violate the pod's disruption budget.",
        );
        body["details"] = json!({"causes": [{"reason": "DisruptionBudget",
            "message": "The disruption budget web needs 2 healthy pods and has 2 currently"}]});
        return reply(429, &body);
    }
    if !dry_run {
        world.objects.remove(pod);
        let text = format!("EVICT {pod}");
        world.wrote(&text);
    }
    reply(201, &json!({"kind": "Status", "status": "Success"}))
}

/// The refusal of a write that was made for another state of the object.
fn stale(world: &mut World, path: &str, live: &Value, body: &Value) -> Option<Response<Body>> {
    let (uid, version) = match body.as_array() {
        Some(operations) => {
            let value = |pointer: &str| {
                operations
                    .iter()
                    .find(|operation| operation["path"] == pointer)
                    .map(|operation| &operation["value"])
            };
            (value("/metadata/uid"), value("/metadata/resourceVersion"))
        }
        None => (
            body["metadata"].get("uid"),
            body["metadata"].get("resourceVersion"),
        ),
    };
    if uid.is_some_and(|uid| *uid != live["metadata"]["uid"]) {
        return Some(status(409, "the UID does not match"));
    }
    if version.is_some() && world.busy > 0 {
        world.busy -= 1;
        let mut live = live.clone();
        if std::mem::take(&mut world.meddled) {
            live["spec"]["paused"] = json!(true);
        }
        world.store(path, live);
        return Some(status(409, "the object has been modified"));
    }
    version
        .is_some_and(|version| *version != live["metadata"]["resourceVersion"])
        .then(|| status(409, "the object has been modified"))
}

fn patched(live: &Value, scale: bool, content: &str, body: &Value) -> Value {
    let mut after = live.clone();
    if let Some(operations) = body.as_array() {
        for operation in operations {
            let path = operation["path"].as_str().expect("a path");
            if operation["op"] == "replace"
                && let Some(place) = after.pointer_mut(path)
            {
                *place = operation["value"].clone();
            }
        }
    } else if scale {
        after["spec"]["replicas"] = body["spec"]["replicas"].clone();
    } else {
        merge(&mut after, body, content.contains("strategic"));
    }
    after
}

fn write(
    world: &mut World,
    method: &str,
    path: &str,
    content: &str,
    body: &Value,
    dry_run: bool,
) -> Response<Body> {
    if let Some(pod) = path.strip_suffix("/eviction") {
        return evict(world, pod, body, dry_run);
    }
    let scale = path.ends_with("/scale");
    let path = path.trim_end_matches("/scale");
    let live = world.objects.get(path).cloned();
    let result = match (method, live) {
        ("DELETE", Some(live)) => {
            let wanted = body["preconditions"]["uid"].as_str();
            if wanted.is_some_and(|uid| live["metadata"]["uid"] != uid) {
                return status(409, "the UID in the precondition does not match");
            }
            if !dry_run {
                world.objects.remove(path);
            }
            live
        }
        ("PATCH", Some(live)) => {
            if let Some(refusal) = stale(world, path, &live, body) {
                return refusal;
            }
            let after = patched(&live, scale, content, body);
            if !dry_run {
                world.store(path, after.clone());
            }
            after
        }
        ("POST", _) => {
            let name = body["metadata"]["name"].as_str().unwrap_or_default();
            let place = format!("{path}/{name}");
            if world.objects.contains_key(&place) {
                return status(409, "already exists");
            }
            let mut made = body.clone();
            world.made += 1;
            made["metadata"]["uid"] = json!(format!("made-{}", world.made));
            if !dry_run {
                world.store(&place, made.clone());
            }
            made
        }
        (_, Some(_) | None) => return status(404, "not found"),
    };
    if !dry_run {
        let scale = if scale { "/scale" } else { "" };
        world.wrote(&format!("{method} {path}{scale}"));
    }
    reply(200, &result)
}

fn merge(into: &mut Value, patch: &Value, strategic: bool) {
    match (into, patch) {
        (Value::Object(fields), Value::Object(changes)) => {
            for (key, change) in changes {
                if change.is_null() {
                    fields.remove(key);
                } else {
                    merge(fields.entry(key).or_insert(Value::Null), change, strategic);
                }
            }
        }
        (Value::Array(items), Value::Array(changes))
            if strategic && changes.iter().all(|change| change["name"].is_string()) =>
        {
            for change in changes {
                match items.iter_mut().find(|item| item["name"] == change["name"]) {
                    Some(item) => merge(item, change, strategic),
                    None => items.push(change.clone()),
                }
            }
        }
        (place @ Value::Null, Value::Object(_)) => {
            *place = json!({});
            merge(place, patch, strategic);
        }
        (place, change) => *place = change.clone(),
    }
}

fn status(code: u16, message: &str) -> Response<Body> {
    reply(code, &status_body(code, message))
}

fn status_body(code: u16, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": "Fault", "code": code,
    })
}

impl World {
    fn store(&mut self, path: &str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(path.to_owned(), object);
    }

    fn wrote(&mut self, text: &str) {
        self.writes.push(text.to_owned());
        if let Some(mut hook) = self.on_write.take() {
            hook(self, text);
            self.on_write = Some(hook);
        }
    }
}

fn reply(code: u16, body: &Value) -> Response<Body> {
    Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .expect("a response")
}
