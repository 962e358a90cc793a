//! Any command of the desk, as the command line of another process gives it.

use axum::extract::State;
use axum::{Extension, Json};
use serde_json::Value;

use super::ask_desk;
use crate::desk::{Answer, Command};
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::extract::Json as Body;
use crate::http::problem::Problem;

/// Executes one command of the desk
///
/// `{"command": "monitoring_start", "project": "ml-team", "duration_seconds": 1800}`. The answer has `card` (the
/// message), `body` (the same for machines) and `outcome`: `done`, `not_found`, `refused`, `invalid`, `unavailable`.
/// The status is 200 whatever the outcome.
#[utoipa::path(post, path = "/api/v1/commands", tag = "console", request_body = Object,
    responses((status = 200, body = Object), (status = 403, description = "the role does not allow it")))]
pub(in crate::http) async fn execute(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(command): Body<Value>,
) -> Result<Json<Answer>, Problem> {
    // Read in two steps, so that a wrong field is told by the command's own reader.
    let command: Command = serde_json::from_value(command)
        .map_err(|error| Problem::invalid(format!("not a command: {error}")))?;
    Ok(Json(ask_desk(&shared, &caller, command).await?))
}
