//! A small Kubernetes API server that can be written to: uids, preconditions, dry runs, access reviews, and faults.

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
    /// Plays the controllers: called after each write with its text.
    pub on_write: Option<OnWrite>,
    made: u32,
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
        self.world().objects.insert(path.to_owned(), object);
    }

    pub fn writes(&self) -> Vec<String> {
        self.world().writes.clone()
    }
}

async fn answer(State(world): State<Arc<Mutex<World>>>, request: Request) -> Response<Body> {
    let method = request.method().to_string();
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let body = to_bytes(request.into_body(), 1 << 20)
        .await
        .unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let dry_run = query.contains("dryRun=All") || body["dryRun"][0] == "All";

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
            write(&mut world, &method, &path, &body, dry_run),
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
    if matches!(last, "pods" | "jobs" | "nodes" | "deployments") {
        let items: Vec<&Value> = world
            .objects
            .iter()
            .filter(|(key, _)| {
                key.rsplit_once('/')
                    .is_some_and(|(parent, _)| parent == path)
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

fn write(
    world: &mut World,
    method: &str,
    path: &str,
    body: &Value,
    dry_run: bool,
) -> Response<Body> {
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
        ("PATCH", Some(mut live)) => {
            let wanted = body["metadata"]["uid"].as_str();
            if wanted.is_some_and(|uid| live["metadata"]["uid"] != uid) {
                return status(409, "the UID does not match");
            }
            merge(&mut live, body);
            if !dry_run {
                world.objects.insert(path.to_owned(), live.clone());
            }
            live
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
                world.objects.insert(place, made.clone());
            }
            made
        }
        (_, Some(_) | None) => return status(404, "not found"),
    };
    if !dry_run {
        let text = format!("{method} {path}");
        world.writes.push(text.clone());
        if let Some(mut hook) = world.on_write.take() {
            hook(world, &text);
            world.on_write = Some(hook);
        }
    }
    reply(200, &result)
}

fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(fields), Value::Object(changes)) => {
            for (key, change) in changes {
                merge(fields.entry(key).or_insert(Value::Null), change);
            }
        }
        (place, change) => *place = change.clone(),
    }
}

fn status(code: u16, message: &str) -> Response<Body> {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": "Fault", "code": code,
    });
    reply(code, &body)
}

fn reply(code: u16, body: &Value) -> Response<Body> {
    Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .expect("a response")
}
