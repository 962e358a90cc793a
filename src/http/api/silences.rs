//! Silences: which alerts are kept quiet, and until when. What `silence` and `unsilence` do in chat.

use axum::extract::State;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::ask_desk;
use crate::alert::matcher::InvalidMatcher;
use crate::desk::Command;
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::extract::{Json as Body, Path};
use crate::http::problem::{Problem, of_answer};

/// What is to be silent, and for how long: one alert, or all that fit.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewSilence {
    /// Number of the alert.
    alert: Option<i64>,
    /// Conditions on labels, all of which must hold: `project=ml-team`, `severity!=critical`, `job=~train-.*`. Labels are
    /// cluster, project, namespace, job, kind, owner, node, cause and severity.
    #[schema(value_type = Option<Vec<String>>)]
    matchers: Option<Vec<String>>,
    duration_seconds: u64,
    reason: Option<String>,
}

/// What is silenced now
#[utoipa::path(get, path = "/api/v1/silences", tag = "alerts", responses((status = 200, body = Object)))]
pub(in crate::http) async fn list(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, Problem> {
    of_answer(ask_desk(&shared, &caller, Command::ListSilences).await?)
}

/// Silences an alert, or all that fit, for a time
///
/// `{"alert": 17, "duration_seconds": 3600}`: silencing it again moves the end.
/// `{"matchers": ["project=ml-team"], "duration_seconds": 7200, "reason": "move of the storage"}`: covers open alerts and
/// those to come.
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
    let duration_seconds = silence.duration_seconds;
    let command = match (silence.alert, silence.matchers) {
        (Some(alert), None) => Command::Silence {
            alert: alert.to_string(),
            duration_seconds,
        },
        (None, Some(matchers)) if !matchers.is_empty() => Command::SilenceWhere {
            matchers: matchers
                .iter()
                .map(|matcher| matcher.parse())
                .collect::<Result<_, InvalidMatcher>>()
                .map_err(|error| Problem::invalid(format!("`matchers`: {error}")))?,
            duration_seconds,
            reason: silence.reason,
        },
        (None, Some(_)) => {
            return Err(Problem::invalid(
                "`matchers` names nothing; `cluster=~.*` covers everything",
            ));
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err(Problem::invalid("give either `alert` or `matchers`"));
        }
    };
    of_answer(ask_desk(&shared, &caller, command).await?)
}

/// Ends a silence early
#[utoipa::path(delete, path = "/api/v1/silences/{id}", tag = "alerts",
    params(("id" = String, Path, description = "number of the silenced alert, or id of the silence (`S3`)")),
    responses((status = 200, body = Object), (status = 404, description = "no such alert or silence")))]
pub(in crate::http) async fn remove(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let digits = id.strip_prefix(['S', 's']).unwrap_or(&id);
    if digits.parse::<i64>().is_err() {
        return Err(Problem::invalid(
            "a silence is named by the number of its alert, or as S3",
        ));
    }
    let command = Command::RemoveSilence { alert: id };
    of_answer(ask_desk(&shared, &caller, command).await?)
}
