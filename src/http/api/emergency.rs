//! The kill switch.

use axum::body::Bytes;
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
