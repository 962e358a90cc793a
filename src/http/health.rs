//! Whether nightbell lives, is ready, and what state its parts are in.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::Shared;
use super::api::sources::{AllSources, all};

/// An effect that waits longer than this means that somebody is not being told.
const BACKLOG_MS: i64 = 60_000;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/health", get(health))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
}

/// Apart from the others, because it names what is watched.
pub(super) fn detailed_route() -> Router<Shared> {
    Router::new().route("/health/detailed", get(detailed))
}

/// In short.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// `healthy`, `degraded` (it works, but some of what it should know is unknown or waits) or `unhealthy`.
    status: &'static str,
    version: &'static str,
    demo: bool,
}

/// In short: 503 when the store does not answer
#[utoipa::path(get, path = "/health", tag = "health",
    responses((status = 200, body = Health), (status = 503, body = Health)))]
pub(super) async fn health(State(shared): State<Shared>) -> Response {
    let parts = Parts::of(&shared, Timestamp::now()).await;
    let body = Health {
        status: parts.status(),
        version: env!("CARGO_PKG_VERSION"),
        demo: shared.demo,
    };
    (parts.code(), Json(body)).into_response()
}

/// The process runs and answers
#[utoipa::path(get, path = "/health/live", tag = "health", responses((status = 200, body = Object)))]
pub(super) async fn live() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}

/// The store is open and the sources run: 503 until then
#[utoipa::path(get, path = "/health/ready", tag = "health",
    responses((status = 200, body = Object), (status = 503, body = Object)))]
pub(super) async fn ready(State(shared): State<Shared>) -> Response {
    let started = *shared.ready.borrow();
    let store = shared.store.ping().await.is_ok();
    let stopping = shared.shutdown.is_cancelled();
    let ready = started && store && !stopping;
    let code = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let status = if ready { "ready" } else { "not ready" };
    let body =
        json!({ "status": status, "started": started, "store": store, "stopping": stopping });
    (code, Json(body)).into_response()
}

/// Every part
#[derive(Serialize, ToSchema)]
pub(super) struct Detailed {
    status: &'static str,
    version: &'static str,
    demo: bool,
    #[schema(value_type = String)]
    started: Timestamp,
    uptime_seconds: i64,
    store: StoreHealth,
    sources: AllSources,
    /// Effects that are due and not done.
    backlog: Vec<Backlog>,
    /// Limits, dry run, emergency stop; null when the store does not answer.
    #[schema(value_type = Option<Object>)]
    safety: Option<Value>,
}

/// The database.
#[derive(Serialize, ToSchema)]
pub(super) struct StoreHealth {
    backend: &'static str,
    ok: bool,
}

/// Work of one kind that is due.
#[derive(Clone, Serialize, ToSchema)]
pub(super) struct Backlog {
    kind: String,
    waiting: i64,
    oldest_age_ms: i64,
    last_error: Option<String>,
}

/// Store, sources, work that waits, kill switch
#[utoipa::path(get, path = "/health/detailed", tag = "health",
    responses((status = 200, body = Detailed), (status = 503, body = Detailed)))]
pub(super) async fn detailed(State(shared): State<Shared>) -> Response {
    let now = Timestamp::now();
    let parts = Parts::of(&shared, now).await;
    let safety = shared.safety.status(now).await.ok();
    let code = parts.code();
    let body = Detailed {
        status: parts.status(),
        version: env!("CARGO_PKG_VERSION"),
        demo: shared.demo,
        started: shared.started,
        uptime_seconds: now.duration_since(shared.started).as_secs(),
        store: StoreHealth {
            backend: shared.store.backend(),
            ok: parts.store,
        },
        sources: all(&shared.sources, now),
        backlog: parts.backlog,
        safety: safety.map(|safety| json!(safety)),
    };
    (code, Json(body)).into_response()
}

struct Parts {
    store: bool,
    sources: bool,
    backlog: Vec<Backlog>,
}

impl Parts {
    async fn of(shared: &Shared, now: Timestamp) -> Self {
        let backlog = shared.store.effect_backlog(now).await;
        Self {
            store: backlog.is_ok(),
            sources: shared.sources.healthy(now),
            backlog: backlog
                .unwrap_or_default()
                .into_iter()
                .map(|(kind, waiting, oldest_age_ms, last_error)| Backlog {
                    kind,
                    waiting,
                    oldest_age_ms,
                    last_error: last_error.as_deref().map(crate::redact::scrub),
                })
                .collect(),
        }
    }

    fn status(&self) -> &'static str {
        let waits = self
            .backlog
            .iter()
            .any(|work| work.oldest_age_ms > BACKLOG_MS);
        if !self.store {
            "unhealthy"
        } else if !self.sources || waits {
            "degraded"
        } else {
            "healthy"
        }
    }

    /// A source that fell silent is told in the body: starting nightbell again would not mend it.
    fn code(&self) -> StatusCode {
        if self.store {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}
