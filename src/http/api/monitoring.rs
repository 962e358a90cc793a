//! Starting and stopping monitoring, and what it does.

use axum::extract::State;
use axum::{Extension, Json};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::ask_desk;
use crate::desk::Command;
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::extract::Json as Body;
use crate::http::problem::{Problem, of_answer};

/// What to monitor, and for how long.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Start {
    /// Not given: every configured project.
    project: Option<String>,
    /// Not given: until it is stopped.
    duration_seconds: Option<u64>,
}

/// The state of monitoring, in short.
pub(super) fn of(shared: &Shared, now: Timestamp) -> Value {
    let monitoring = shared.monitoring.current(now);
    json!({
        "enabled": monitoring.enabled,
        "project": monitoring.project,
        "until": monitoring.until,
        "seconds_left": monitoring.until.map(|until| until.duration_since(now).as_secs().max(0)),
        "changed_by": monitoring.changed_by,
        "since": monitoring.since,
    })
}

/// Configuration, scope, time left, and how fresh every source is
#[utoipa::path(get, path = "/api/v1/monitoring/status", tag = "monitoring", responses((status = 200, body = Object)))]
pub(in crate::http) async fn status(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, Problem> {
    of_answer(ask_desk(&shared, &caller, Command::MonitoringStatus).await?)
}

/// Starts monitoring, or narrows or limits it
#[utoipa::path(post, path = "/api/v1/monitoring/start", tag = "monitoring", request_body = Start,
    responses((status = 200, body = Object)))]
pub(in crate::http) async fn start(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(start): Body<Start>,
) -> Result<Json<Value>, Problem> {
    let command = Command::MonitoringStart {
        project: start.project,
        duration_seconds: start.duration_seconds,
    };
    of_answer(ask_desk(&shared, &caller, command).await?)
}

/// Stops monitoring
#[utoipa::path(post, path = "/api/v1/monitoring/stop", tag = "monitoring", responses((status = 200, body = Object)))]
pub(in crate::http) async fn stop(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, Problem> {
    of_answer(ask_desk(&shared, &caller, Command::MonitoringStop).await?)
}
