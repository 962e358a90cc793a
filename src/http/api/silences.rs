//! Silences: which alerts are kept quiet, and until when. What `silence` and `unsilence` do in chat.

use axum::extract::State;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::ask_desk;
use crate::desk::Command;
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::extract::{Json as Body, Path};
use crate::http::problem::{Problem, of_answer};

/// An alert, and for how long it is to be silent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewSilence {
    /// Number of the alert.
    alert: i64,
    duration_seconds: u64,
}

/// What is silenced now
#[utoipa::path(get, path = "/api/v1/silences", tag = "alerts", responses((status = 200, body = Object)))]
pub(in crate::http) async fn list(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, Problem> {
    of_answer(ask_desk(&shared, &caller, Command::ListSilences).await?)
}

/// Silences an alert for a time
///
/// `{"alert": 17, "duration_seconds": 3600}`. Silencing it again moves the end.
#[utoipa::path(post, path = "/api/v1/silences", tag = "alerts", request_body = NewSilence,
    responses((status = 200, body = Object), (status = 404, description = "no such alert"),
        (status = 409, description = "it cannot be done now")))]
pub(in crate::http) async fn create(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(silence): Body<NewSilence>,
) -> Result<Json<Value>, Problem> {
    if silence.duration_seconds == 0 {
        return Err(Problem::invalid("`duration_seconds` must be at least 1"));
    }
    let command = Command::Silence {
        alert: silence.alert.to_string(),
        duration_seconds: silence.duration_seconds,
    };
    of_answer(ask_desk(&shared, &caller, command).await?)
}

/// Ends the silence of an alert early
#[utoipa::path(delete, path = "/api/v1/silences/{number}", tag = "alerts",
    params(("number" = i64, Path, description = "of the alert")),
    responses((status = 200, body = Object), (status = 404, description = "no such alert")))]
pub(in crate::http) async fn remove(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(number): Path<i64>,
) -> Result<Json<Value>, Problem> {
    let command = Command::RemoveSilence {
        alert: number.to_string(),
    };
    of_answer(ask_desk(&shared, &caller, command).await?)
}
