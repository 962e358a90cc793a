//! A small Kubernetes API server: lists in pages, watches from a version on, and does wrong when told to.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use nightbell::watch::kubernetes::client::ClusterClient;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub const PODS: &str = "/api/v1/pods";
pub const NODES: &str = "/api/v1/nodes";
pub const EVENTS: &str = "/api/v1/events";
pub const JOBS: &str = "/apis/batch/v1/jobs";

/// What a request is answered instead of the truth, once.
#[derive(Clone, Debug)]
pub enum Fault {
    /// An error with this code, and `Retry-After` in seconds.
    Status(u16, Option<u32>),
    /// The truth, but late.
    Late(Duration),
    /// Nothing, ever.
    Silence,
    /// This text, as if it were the answer.
    Text(String),
}

#[derive(Clone)]
enum Line {
    Text(String),
    /// Told once, even to one who comes back to where he was.
    Once(String),
    /// Half of a line, after which the answer ends.
    Break(String),
}

#[derive(Default)]
struct Collection {
    objects: Vec<Value>,
    /// What watches are told: (version, line).
    log: Vec<(u64, Line)>,
}

#[derive(Default)]
struct World {
    version: u64,
    collections: BTreeMap<String, Collection>,
    answers: BTreeMap<String, Value>,
    texts: BTreeMap<String, String>,
    faults: BTreeMap<String, VecDeque<Fault>>,
    refusals: BTreeMap<String, u16>,
    requests: Vec<String>,
    page: usize,
}

#[derive(Default)]
struct Shared {
    world: Mutex<World>,
    changed: Notify,
}

pub struct KubeApi {
    url: String,
    shared: Arc<Shared>,
    server: JoinHandle<io::Result<()>>,
}

impl Drop for KubeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl KubeApi {
    pub async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        {
            let mut world = shared.world.lock().unwrap();
            world.version = 100;
            world.page = 500;
            for path in [
                PODS,
                NODES,
                EVENTS,
                JOBS,
                "/apis/apps/v1/deployments",
                "/apis/apps/v1/statefulsets",
            ] {
                world.collections.entry(path.to_owned()).or_default();
            }
            world
                .answers
                .insert("/apis".to_owned(), json!({"groups": []}));
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            url,
            shared,
            server,
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn client(&self, name: &str) -> ClusterClient {
        ClusterClient::at(name, self.url.parse().unwrap()).unwrap()
    }

    /// Adds or changes an object, as its collection's watchers see it. Returns the new version.
    pub fn put(&self, path: &str, mut object: Value) -> u64 {
        let mut world = self.shared.world.lock().unwrap();
        world.version += 1;
        let version = world.version;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let collection = world.collections.entry(path.to_owned()).or_default();
        let name = object["metadata"]["name"].clone();
        let place = collection
            .objects
            .iter()
            .position(|known| known["metadata"]["name"] == name);
        let kind = if place.is_some() { "MODIFIED" } else { "ADDED" };
        match place {
            Some(place) => collection.objects[place] = object.clone(),
            None => collection.objects.push(object.clone()),
        }
        let line = json!({"type": kind, "object": object}).to_string();
        collection.log.push((version, Line::Text(line)));
        drop(world);
        self.shared.changed.notify_waiters();
        version
    }

    /// Puts something into the lists that no watcher is told of, however broken it is.
    pub fn put_silently(&self, path: &str, object: Value) {
        let mut world = self.shared.world.lock().unwrap();
        world
            .collections
            .entry(path.to_owned())
            .or_default()
            .objects
            .push(object);
    }

    pub fn remove(&self, path: &str, name: &str) {
        let mut world = self.shared.world.lock().unwrap();
        world.version += 1;
        let version = world.version;
        let collection = world.collections.get_mut(path).unwrap();
        let place = collection
            .objects
            .iter()
            .position(|known| known["metadata"]["name"] == name)
            .unwrap();
        let mut object = collection.objects.remove(place);
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let line = json!({"type": "DELETED", "object": object}).to_string();
        collection.log.push((version, Line::Text(line)));
        drop(world);
        self.shared.changed.notify_waiters();
    }

    /// Sends a line to the watchers as it stands.
    pub fn say(&self, path: &str, line: &str) {
        self.log(path, Line::Once(line.to_owned()));
    }

    /// Ends the watches of a collection in the middle of a line.
    pub fn break_watches(&self, path: &str) {
        self.log(
            path,
            Line::Break(r#"{"type":"MODIFIED","object":{"metadata":{"name":"ha"#.to_owned()),
        );
    }

    fn log(&self, path: &str, line: Line) {
        let mut world = self.shared.world.lock().unwrap();
        world.version += 1;
        let version = world.version;
        world
            .collections
            .get_mut(path)
            .unwrap()
            .log
            .push((version, line));
        drop(world);
        self.shared.changed.notify_waiters();
    }

    /// The next request whose path and query begin so goes wrong. Watches are `<path>?watch`.
    pub fn fault(&self, request: &str, fault: Fault) {
        let mut world = self.shared.world.lock().unwrap();
        world
            .faults
            .entry(request.to_owned())
            .or_default()
            .push_back(fault);
    }

    /// All requests of a path are refused, until `None`.
    pub fn refuse(&self, path: &str, status: Option<u16>) {
        let mut world = self.shared.world.lock().unwrap();
        match status {
            Some(status) => world.refusals.insert(path.to_owned(), status),
            None => world.refusals.remove(path),
        };
    }

    pub fn refuse_all(&self, status: Option<u16>) {
        self.refuse("", status);
    }

    /// Answers a plain request.
    pub fn answer(&self, path: &str, answer: Value) {
        self.shared
            .world
            .lock()
            .unwrap()
            .answers
            .insert(path.to_owned(), answer);
    }

    pub fn answer_text(&self, path: &str, text: &str) {
        let mut world = self.shared.world.lock().unwrap();
        world.texts.insert(path.to_owned(), text.to_owned());
    }

    /// Lists give at most so many objects at once.
    pub fn page(&self, objects: usize) {
        self.shared.world.lock().unwrap().page = objects;
    }

    /// Paths and queries asked for so far that begin so.
    pub fn requests(&self, prefix: &str) -> Vec<String> {
        let world = self.shared.world.lock().unwrap();
        world
            .requests
            .iter()
            .filter(|request| request.starts_with(prefix))
            .cloned()
            .collect()
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let path = uri.path().to_owned();
    let request = uri.to_string();
    let fault = {
        let mut world = shared.world.lock().unwrap();
        world.requests.push(request.clone());
        let refused = [path.as_str(), ""]
            .iter()
            .find_map(|path| world.refusals.get(*path))
            .copied();
        if let Some(status) = refused {
            return status_answer(status, None);
        }
        let (_, faults) = world
            .faults
            .iter_mut()
            .filter(|(prefix, _)| {
                let is_list = !query.contains_key("watch");
                request.starts_with(prefix.as_str()) && (prefix.contains('?') || is_list)
            })
            .max_by_key(|(prefix, _)| prefix.len())
            .unzip();
        faults.and_then(VecDeque::pop_front)
    };
    match fault {
        Some(Fault::Status(status, retry_after)) => return status_answer(status, retry_after),
        Some(Fault::Late(by)) => tokio::time::sleep(by).await,
        Some(Fault::Silence) => std::future::pending().await,
        Some(Fault::Text(text)) => return text.into_response(),
        None => {}
    }
    if query.get("watch").is_some_and(|watch| watch == "true") {
        return watch(&shared, &path, &query);
    }
    let world = shared.world.lock().unwrap();
    if let Some(text) = world.texts.get(&path) {
        return text.clone().into_response();
    }
    if let Some(answer) = world.answers.get(&path) {
        return json_answer(StatusCode::OK, answer);
    }
    if method == Method::GET && world.collections.contains_key(&path) {
        return list(&world, &path, &query);
    }
    status_answer(404, None)
}

fn list(world: &World, path: &str, query: &BTreeMap<String, String>) -> Response {
    let objects = &world.collections[path].objects;
    let limit: usize = query
        .get("limit")
        .map_or(500, |limit| limit.parse().unwrap());
    let from: usize = query
        .get("continue")
        .map_or(0, |token| token.parse().unwrap());
    let to = objects.len().min(from + limit.min(world.page));
    let mut metadata = json!({"resourceVersion": world.version.to_string()});
    if to < objects.len() {
        metadata["continue"] = json!(to.to_string());
    }
    json_answer(
        StatusCode::OK,
        &json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": &objects[from..to]}),
    )
}

fn watch(shared: &Arc<Shared>, path: &str, query: &BTreeMap<String, String>) -> Response {
    let from: u64 = query["resourceVersion"].parse().unwrap();
    let place = (Arc::clone(shared), path.to_owned(), from);
    let lines = futures_util::stream::unfold(Some(place), async |place| {
        let (shared, path, from) = place?;
        loop {
            let changed = shared.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            let next = {
                let world = shared.world.lock().unwrap();
                let log = &world.collections[&path].log;
                log.iter().find(|(version, _)| *version > from).cloned()
            };
            match next {
                Some((version, Line::Text(line))) => {
                    let bytes = Bytes::from(line + "\n");
                    return Some((Ok(bytes), Some((Arc::clone(&shared), path, version))));
                }
                Some((version, Line::Once(line))) => {
                    forget(&shared, &path, version);
                    let bytes = Bytes::from(line + "\n");
                    return Some((Ok(bytes), Some((Arc::clone(&shared), path, from))));
                }
                Some((version, Line::Break(half))) => {
                    forget(&shared, &path, version);
                    return Some((Ok::<_, io::Error>(Bytes::from(half)), None));
                }
                None => changed.await,
            }
        }
    });
    Response::builder()
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from_stream(lines))
        .unwrap()
}

fn forget(shared: &Shared, path: &str, version: u64) {
    let mut world = shared.world.lock().unwrap();
    let collection = world.collections.get_mut(path).unwrap();
    collection.log.retain(|(logged, _)| *logged != version);
}

fn json_answer(status: StatusCode, body: &Value) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}

fn status_answer(status: u16, retry_after: Option<u32>) -> Response {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status,
        "reason": "Told", "message": format!("told to answer {status}"),
    });
    let mut response = json_answer(StatusCode::from_u16(status).unwrap(), &body);
    if let Some(seconds) = retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    response
}
