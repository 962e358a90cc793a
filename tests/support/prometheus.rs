//! A small Prometheus: keeps series, answers selectors over them, and does wrong when told to.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use nightbell::watch::metrics::{Prometheus, Settings};
use regex::Regex;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// What a query is answered instead of the truth, once.
#[derive(Clone, Debug)]
pub enum Fault {
    /// An error with this status, `Retry-After` in seconds, and body.
    Status(u16, Option<u32>, &'static str),
    /// Nothing, ever.
    Silence,
    /// This text as if it were the answer.
    Text(String),
    /// So many bytes of a list that never ends.
    Huge(usize),
}

/// Labels, and values by second.
type Series = (BTreeMap<String, String>, Vec<(i64, f64)>);

#[derive(Default)]
struct World {
    series: Vec<Series>,
    faults: VecDeque<Fault>,
    warnings: Vec<String>,
    requests: Vec<(String, BTreeMap<String, String>)>,
    authorization: Vec<Option<String>>,
}

pub struct PrometheusApi {
    pub url: String,
    world: Arc<Mutex<World>>,
    server: JoinHandle<io::Result<()>>,
}

impl Drop for PrometheusApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

type Fields = BTreeMap<String, String>;

impl PrometheusApi {
    pub async fn start() -> Self {
        let world = Arc::new(Mutex::new(World::default()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let by_get =
            |state: State<Arc<Mutex<World>>>,
             uri: Uri,
             headers: HeaderMap,
             Query(fields): Query<Fields>| answer(state, uri, headers, fields);
        let by_post =
            |state: State<Arc<Mutex<World>>>,
             uri: Uri,
             headers: HeaderMap,
             Form(fields): Form<Fields>| answer(state, uri, headers, fields);
        let router = Router::new()
            .route("/{*path}", get(by_get).post(by_post))
            .with_state(Arc::clone(&world));
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, world, server }
    }

    /// A client that tries again soon.
    pub fn client(&self) -> Prometheus {
        self.client_with(Duration::from_secs(20))
    }

    /// A client that waits no longer for one answer.
    pub fn client_with(&self, timeout: Duration) -> Prometheus {
        Prometheus::new(Settings {
            timeout,
            patience: Duration::from_mins(1),
            backoff: Duration::from_millis(5),
            largest_answer: 1 << 20,
            ..Settings::new(self.url.parse().unwrap())
        })
    }

    /// A series of values, `step` seconds apart, the last at `until`.
    pub fn put(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        until: Timestamp,
        step: i64,
        values: &[f64],
    ) {
        let mut map: BTreeMap<String, String> = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        map.insert("__name__".to_owned(), name.to_owned());
        let first = until.as_second() - step * i64::try_from(values.len() - 1).unwrap();
        let points = values
            .iter()
            .zip(0_i64..)
            .map(|(value, index)| (first + step * index, *value))
            .collect();
        self.world.lock().unwrap().series.push((map, points));
    }

    pub fn fault(&self, fault: Fault) {
        self.world.lock().unwrap().faults.push_back(fault);
    }

    pub fn warn(&self, warning: &str) {
        self.world.lock().unwrap().warnings.push(warning.to_owned());
    }

    /// The paths and fields of all queries so far.
    pub fn requests(&self) -> Vec<(String, Fields)> {
        self.world.lock().unwrap().requests.clone()
    }

    pub fn authorizations(&self) -> Vec<Option<String>> {
        self.world.lock().unwrap().authorization.clone()
    }
}

async fn answer(
    State(world): State<Arc<Mutex<World>>>,
    uri: Uri,
    headers: HeaderMap,
    fields: Fields,
) -> Response {
    let fault = {
        let mut world = world.lock().unwrap();
        world.requests.push((uri.path().to_owned(), fields.clone()));
        let authorization = headers
            .get("authorization")
            .map(|value| value.to_str().unwrap().to_owned());
        world.authorization.push(authorization);
        world.faults.pop_front()
    };
    match fault {
        Some(Fault::Status(status, retry_after, body)) => {
            let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
            if let Some(seconds) = retry_after {
                response.headers_mut().insert("retry-after", seconds.into());
            }
            return response;
        }
        Some(Fault::Silence) => std::future::pending().await,
        Some(Fault::Text(text)) => return text.into_response(),
        Some(Fault::Huge(bytes)) => {
            return format!(
                "{{\"status\":\"success\",\"warnings\":[\"{}\"]}}",
                "x".repeat(bytes)
            )
            .into_response();
        }
        None => {}
    }
    let world = world.lock().unwrap();
    let instant = uri.path().ends_with("/query");
    let (start, end) = if instant {
        (0, i64::MAX)
    } else {
        (seconds(&fields["start"]), seconds(&fields["end"]))
    };
    let selector = Selector::parse(&fields["query"]);
    let found: Vec<Value> = world
        .series
        .iter()
        .filter(|(labels, _)| selector.selects(labels))
        .filter_map(|(labels, points)| {
            let points: Vec<Value> = points
                .iter()
                .filter(|(at, _)| *at >= start && *at <= end)
                .map(|(at, value)| json!([at, value.to_string()]))
                .collect();
            let last = points.last()?.clone();
            Some(if instant {
                json!({"metric": labels, "value": last})
            } else {
                json!({"metric": labels, "values": points})
            })
        })
        .collect();
    let kind = if instant { "vector" } else { "matrix" };
    axum::Json(json!({
        "status": "success",
        "warnings": world.warnings,
        "data": {"resultType": kind, "result": found},
    }))
    .into_response()
}

fn seconds(text: &str) -> i64 {
    text.split('.').next().unwrap().parse().unwrap()
}

/// A selector such as `name{a="b",c=~"d|e",f!=""}`.
struct Selector {
    name: String,
    matchers: Vec<(String, Matcher)>,
}

enum Matcher {
    Is(String),
    IsNot(String),
    Fits(Regex),
}

impl Selector {
    fn parse(query: &str) -> Self {
        let (name, matchers) = query.split_once('{').unwrap_or((query, ""));
        let matcher = Regex::new(r#"(\w+)(=~|!=|=)"((?:[^"\\]|\\.)*)""#).unwrap();
        let matchers = matcher
            .captures_iter(matchers)
            .map(|found| {
                let wanted = found[3].replace("\\\\", "\\").replace("\\\"", "\"");
                let matcher = match &found[2] {
                    "=" => Matcher::Is(wanted),
                    "!=" => Matcher::IsNot(wanted),
                    _ => Matcher::Fits(Regex::new(&format!("^(?:{wanted})$")).unwrap()),
                };
                (found[1].to_owned(), matcher)
            })
            .collect();
        Self {
            name: name.to_owned(),
            matchers,
        }
    }

    fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let empty = String::new();
        (self.name.is_empty() || labels["__name__"] == self.name)
            && self.matchers.iter().all(|(label, matcher)| {
                let value = labels.get(label).unwrap_or(&empty);
                match matcher {
                    Matcher::Is(wanted) => value == wanted,
                    Matcher::IsNot(wanted) => value != wanted,
                    Matcher::Fits(wanted) => wanted.is_match(value),
                }
            })
    }
}
