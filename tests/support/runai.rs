//! A small stateful Run:AI control plane: tokens, lists with filters and pages, single reads, actions, and faults on
//! request. It remembers what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use nightbell::watch::runai::{RunaiClient, Settings};
use serde_json::{Value, json};

/// What the server is told to do with the next call that carries a good token.
pub enum Fault {
    Answer {
        status: u16,
        retry_after: Option<&'static str>,
        body: &'static str,
    },
    /// Never answers.
    Hang,
}

impl Fault {
    pub fn status(status: u16) -> Self {
        Self::Answer {
            status,
            retry_after: None,
            body: "{}",
        }
    }
}

type OnList = Box<dyn FnMut(&mut World) + Send>;

/// What the control plane holds.
pub struct World {
    pub secret: String,
    pub token: String,
    pub tokens_issued: u32,
    pub workloads: Vec<Value>,
    pub clusters: Value,
    /// Rows of a page, whatever is asked for.
    pub page: usize,
    pub faults: VecDeque<Fault>,
    /// Every call but those for tokens: method, path and decoded query.
    pub calls: Vec<String>,
    /// Runs after each page that is given.
    pub on_list: Option<OnList>,
    pub filters_by_time: bool,
    /// Answers with this `next`, whatever is true.
    pub next: Option<u64>,
}

#[derive(Clone)]
pub struct FakeRunai {
    world: Arc<Mutex<World>>,
    pub url: String,
}

impl FakeRunai {
    pub async fn start() -> Self {
        let world = Arc::new(Mutex::new(World {
            secret: "s3cret".to_owned(),
            token: String::new(),
            tokens_issued: 0,
            workloads: Vec::new(),
            clusters: json!([{"uuid": "c-1", "name": "prod", "status": {"state": "Connected"}}]),
            page: 500,
            faults: VecDeque::new(),
            calls: Vec::new(),
            on_list: None,
            filters_by_time: true,
            next: None,
        }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = axum::Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&world));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { world, url }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no test thread panicked")
    }

    pub fn settings(&self) -> Settings {
        let url = self.url.parse().expect("a URL");
        let mut settings = Settings::new(url, "nightbell".to_owned(), "s3cret".to_owned().into());
        settings.backoff = Duration::from_millis(1);
        settings
    }

    pub fn client(&self) -> RunaiClient {
        RunaiClient::new(self.settings())
    }

    /// Calls whose text contains `part`.
    pub fn calls(&self, part: &str) -> Vec<String> {
        self.world()
            .calls
            .iter()
            .filter(|call| call.contains(part))
            .cloned()
            .collect()
    }
}

/// A workload of project `etl` in cluster `c-1`.
pub fn workload(id: &str, phase: &str) -> Value {
    json!({
        "id": id, "name": id, "type": "Training", "phase": phase, "projectName": "etl", "namespace": "runai-etl",
        "clusterId": "c-1", "createdAt": "2026-03-02T10:00:00.000Z", "phaseUpdatedAt": "2026-03-02T10:00:00.000Z",
        "totalRunningTimeSeconds": 7,
    })
}

async fn answer(State(world): State<Arc<Mutex<World>>>, request: Request) -> Response<Body> {
    let method = request.method().to_string();
    let path = request.uri().path().to_owned();
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
    let bearer = request
        .headers()
        .get("authorization")
        .and_then(|v| v.to_str().ok())
        .map(str::to_owned);
    let body = axum::body::to_bytes(request.into_body(), 1 << 20)
        .await
        .unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();

    let fault = {
        let mut world = world.lock().expect("no handler panicked");
        if path == "/api/v1/token" {
            return token(&mut world, &body);
        }
        let query: Vec<String> = query
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        world
            .calls
            .push(format!("{method} {path} {}", query.join("&")));
        if bearer != Some(format!("Bearer {}", world.token)) {
            return reply(
                401,
                &json!({"code": 401, "message": "Issuer is not familiar."}),
            );
        }
        world.faults.pop_front()
    };
    match fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Answer {
            status,
            retry_after,
            body,
        }) => {
            let mut response = Response::builder().status(status);
            if let Some(wait) = retry_after {
                response = response.header("retry-after", wait);
            }
            response.body(Body::from(body)).expect("a response")
        }
        None => serve(
            &mut world.lock().expect("no handler panicked"),
            &method,
            &path,
            &query,
            &body,
        ),
    }
}

fn token(world: &mut World, body: &Value) -> Response<Body> {
    world.tokens_issued += 1;
    if body["grantType"] != "client_credentials" || body["clientSecret"] != world.secret.as_str() {
        return reply(
            400,
            &json!({"code": 400, "message": "invalid client credentials"}),
        );
    }
    world.token = format!("token-{}", world.tokens_issued);
    reply(200, &json!({"accessToken": world.token, "expiresIn": 3600}))
}

fn serve(
    world: &mut World,
    method: &str,
    path: &str,
    query: &[(String, String)],
    body: &Value,
) -> Response<Body> {
    let rest = path.strip_prefix("/api/v1").unwrap_or_default();
    match (method, rest) {
        ("GET", "/clusters") => reply(200, &world.clusters),
        ("GET", "/workloads") => list(world, query),
        ("POST", "/workloads/batch") => {
            let failed =
                json!([{"id": body["ids"][0], "code": 409, "message": "cannot be suspended"}]);
            reply(
                200,
                &json!({"id": "b-1", "succeeded": [], "failed": failed}),
            )
        }
        ("GET", single) => {
            let id = single.trim_start_matches("/workloads/");
            match world.workloads.iter().find(|workload| workload["id"] == id) {
                Some(workload) => reply(200, workload),
                None => reply(404, &json!({"code": 404, "message": "no such workload"})),
            }
        }
        _ => reply(202, &json!({"code": 202, "message": "accepted."})),
    }
}

fn list(world: &mut World, query: &[(String, String)]) -> Response<Body> {
    let asked = |name: &str| {
        query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    let conditions = asked("filterBy").unwrap_or_default();
    if conditions.contains("phaseUpdatedAt>=") && !world.filters_by_time {
        return reply(400, &json!({"code": 400, "message": "unknown filter"}));
    }
    let holds = |workload: &&Value| {
        conditions
            .split(',')
            .filter(|condition| !condition.is_empty())
            .all(|condition| {
                if let Some((field, value)) = condition.split_once("==") {
                    return workload[field] == value;
                }
                let (field, value) = condition
                    .split_once(">=")
                    .expect("a condition that the fake knows");
                workload[field].as_str().is_some_and(|held| held >= value)
            })
    };
    let rows: Vec<Value> = world.workloads.iter().filter(holds).cloned().collect();
    let offset: usize = asked("offset")
        .and_then(|offset| offset.parse().ok())
        .unwrap_or(0);
    let end = rows.len().min(offset + world.page);
    let page = rows.get(offset..end).unwrap_or_default();
    let next = world.next.or((end < rows.len()).then_some(end as u64));
    let response = reply(200, &json!({"next": next, "workloads": page}));
    if let Some(mut hook) = world.on_list.take() {
        hook(world);
        world.on_list.get_or_insert(hook);
    }
    response
}

fn reply(status: u16, body: &Value) -> Response<Body> {
    Response::builder()
        .status(StatusCode::from_u16(status).expect("a status"))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .expect("a response")
}
