//! The kill switch, and what holds actions back short of it.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::ask_desk;
use crate::desk::Command;
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::problem::{Problem, of_answer};

/// Why.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Why {
    reason: Option<String>,
}

/// Whether actions are stopped, and what else the gate says of itself
#[utoipa::path(get, path = "/api/v1/emergency-stop", tag = "safety", responses((status = 200, body = Object)))]
pub(in crate::http) async fn show(State(shared): State<Shared>) -> Result<Json<Value>, Problem> {
    let status = shared.safety.status(Timestamp::now()).await?;
    Ok(Json(json!(status)))
}

/// Stops all actions
///
/// No action starts after it returns, on any replica.
#[utoipa::path(post, path = "/api/v1/emergency-stop", tag = "safety", request_body = Why,
    responses((status = 200, body = Object)))]
pub(in crate::http) async fn stop(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    // Nobody in a hurry is refused for a missing body or content type.
    let why: Why = if body.iter().all(u8::is_ascii_whitespace) {
        Why::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| {
            Problem::invalid(format!("the body is not JSON as expected: {error}"))
        })?
    };
    let command = Command::EmergencyStop { reason: why.reason };
    of_answer(ask_desk(&shared, &caller, command).await?)
}

/// Lets actions through again
#[utoipa::path(delete, path = "/api/v1/emergency-stop", tag = "safety",
    responses((status = 200, body = Object), (status = 403, description = "needs the role admin")))]
pub(in crate::http) async fn clear(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, Problem> {
    of_answer(ask_desk(&shared, &caller, Command::EmergencyClear).await?)
}

/// Keeps one kind of action from starting, approved or not
///
/// It lasts until it is enabled again, on every replica.
#[utoipa::path(put, path = "/api/v1/actions/types/{name}/disabled", tag = "safety",
    params(("name" = String, Path, description = "`delete_pod`, `rollout_restart` …")),
    responses((status = 200, body = Object), (status = 404, description = "no such action")))]
pub(in crate::http) async fn disable(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(action): Path<String>,
) -> Result<Json<Value>, Problem> {
    let disabled = true;
    of_answer(ask_desk(&shared, &caller, Command::SetAction { action, disabled }).await?)
}

/// Lets a kind of action that was disabled run again
#[utoipa::path(delete, path = "/api/v1/actions/types/{name}/disabled", tag = "safety",
    params(("name" = String, Path, description = "`delete_pod`, `rollout_restart` …")),
    responses((status = 200, body = Object), (status = 403, description = "needs the role admin"),
        (status = 404, description = "no such action")))]
pub(in crate::http) async fn enable(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(action): Path<String>,
) -> Result<Json<Value>, Problem> {
    let disabled = false;
    of_answer(ask_desk(&shared, &caller, Command::SetAction { action, disabled }).await?)
}

/// Withdraws every question that waits, and cancels what was permitted and has not begun
#[utoipa::path(delete, path = "/api/v1/actions/queue", tag = "safety", responses((status = 200, body = Object)))]
pub(in crate::http) async fn clear_queue(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, Problem> {
    of_answer(ask_desk(&shared, &caller, Command::ClearQueue).await?)
}
