//! A PagerDuty that takes events as the Events API v2 documents: it checks them, keeps open incidents by key, and
//! counts whom it woke.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use url::Url;

pub const ROUTING_KEY: &str = "0123456789abcdef0123456789abcdef";

/// How one call goes wrong.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Not ingested.
    Status(u16),
    /// 429 with `Retry-After`; not ingested.
    RateLimited(u64),
    /// Ingested, but the answer is an error.
    StatusAfterEffect(u16),
}

#[derive(Default)]
pub struct Account {
    /// Open incidents by key: `triggered` or `acknowledged`.
    pub open: HashMap<String, &'static str>,
    /// Summaries for which somebody was woken, in order.
    pub pages: Vec<String>,
    /// Every accepted event: action and key.
    pub events: Vec<(String, String)>,
    /// Everything that came in, as it stood.
    pub bodies: Vec<Value>,
    /// Bodies that were refused with 400.
    pub refused: Vec<Value>,
    pub faults: VecDeque<Fault>,
    /// Custom details make an event invalid, for whatever reason.
    pub dislikes_details: bool,
}

/// A running stand-in for PagerDuty.
#[derive(Clone)]
pub struct FakePagerDuty {
    account: Arc<Mutex<Account>>,
    pub url: Url,
}

impl FakePagerDuty {
    pub async fn start() -> Self {
        // Other tests of the binary may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"))
            .parse()
            .expect("a URL");
        let account: Arc<Mutex<Account>> = Arc::default();
        let router = Router::new()
            .route("/v2/enqueue", post(enqueue))
            .with_state(Arc::clone(&account));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { account, url }
    }

    pub fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().expect("the account is not poisoned")
    }

    pub fn fail(&self, fault: Fault) {
        self.account().faults.push_back(fault);
    }

    /// Accepted events as `action key`.
    pub fn actions(&self) -> Vec<String> {
        self.account()
            .events
            .iter()
            .map(|(action, _)| action.clone())
            .collect()
    }
}

async fn enqueue(State(account): State<Arc<Mutex<Account>>>, Json(event): Json<Value>) -> Response {
    let mut account = account.lock().expect("the account is not poisoned");
    account.bodies.push(event.clone());
    let fault = account.faults.pop_front();
    match fault {
        Some(Fault::Status(status)) => {
            return StatusCode::from_u16(status)
                .expect("a status")
                .into_response();
        }
        Some(Fault::RateLimited(seconds)) => {
            return (
                StatusCode::TOO_MANY_REQUESTS,
                [("retry-after", seconds.to_string())],
            )
                .into_response();
        }
        Some(Fault::StatusAfterEffect(_)) | None => {}
    }
    if let Some(wrong) = wrong_with(&event, account.dislikes_details) {
        account.refused.push(event);
        let body = json!({"status": "invalid event", "message": "Event object is invalid", "errors": [wrong]});
        return (StatusCode::BAD_REQUEST, Json(body)).into_response();
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (action, key) = (text(&event["event_action"]), text(&event["dedup_key"]));
    account.events.push((action.clone(), key.clone()));
    match action.as_str() {
        "trigger" => {
            if !account.open.contains_key(&key) {
                account.open.insert(key.clone(), "triggered");
                account.pages.push(text(&event["payload"]["summary"]));
            }
        }
        // Without an open alert these are dropped without a word.
        "acknowledge" => {
            if let Some(state) = account.open.get_mut(&key) {
                *state = "acknowledged";
            }
        }
        _ => {
            account.open.remove(&key);
        }
    }
    if let Some(Fault::StatusAfterEffect(status)) = fault {
        return StatusCode::from_u16(status)
            .expect("a status")
            .into_response();
    }
    let body = json!({"status": "success", "message": "Event processed", "dedup_key": key});
    (StatusCode::ACCEPTED, Json(body)).into_response()
}

/// What the documentation says is wrong with an event, if anything.
fn wrong_with(event: &Value, dislikes_details: bool) -> Option<&'static str> {
    let length = |value: &Value| value.as_str().map_or(0, |text| text.chars().count());
    if length(&event["routing_key"]) != 32 {
        return Some("'routing_key' is missing or not 32 characters");
    }
    let action = event["event_action"].as_str().unwrap_or_default();
    if !["trigger", "acknowledge", "resolve"].contains(&action) {
        return Some("'event_action' is invalid");
    }
    if length(&event["dedup_key"]) > 255 {
        return Some("'dedup_key' is too long");
    }
    if action != "trigger" {
        return (length(&event["dedup_key"]) == 0).then_some("'dedup_key' is missing or blank");
    }
    let payload = &event["payload"];
    if !payload.is_object() {
        return Some("'payload' is missing or blank");
    }
    if length(&payload["summary"]) == 0 || length(&payload["summary"]) > 1024 {
        return Some("'payload.summary' is missing or too long");
    }
    if length(&payload["source"]) == 0 {
        return Some("'payload.source' is missing or blank");
    }
    if !["critical", "error", "warning", "info"]
        .contains(&payload["severity"].as_str().unwrap_or_default())
    {
        return Some("'payload.severity' is invalid");
    }
    (dislikes_details && payload.get("custom_details").is_some())
        .then_some("'payload.custom_details' is invalid")
}
