//! The audit chain, page by page, oldest first: who asked, who decided, what ran.

use axum::extract::State;
use axum::{Extension, Json};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::{Paging, ask_desk};
use crate::desk::Command;
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::extract::Query;
use crate::http::problem::{Problem, of_answer};

/// A part of the chain.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Chain {
    #[schema(value_type = Vec<Object>)]
    items: Vec<Value>,
    next: Option<String>,
    /// Number of the last entry ever appended: what is missing at the end shows.
    head: i64,
}

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Which {
    /// Only entries appended at this time (RFC 3339) or later.
    #[param(value_type = Option<String>)]
    since: Option<Timestamp>,
}

/// The audit, oldest first
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(Which, Paging),
    responses((status = 200, body = Chain)))]
pub(in crate::http) async fn list(
    State(shared): State<Shared>,
    Query(which): Query<Which>,
    Query(paging): Query<Paging>,
) -> Result<Json<Chain>, Problem> {
    let limit = paging.limit()?;
    let after: i64 = paging.cursor()?.unwrap_or(0);
    let head = shared.store.audit_head().await?.seq;
    let entries = shared
        .store
        .audit_after(after, which.since, i64::try_from(limit).unwrap_or(i64::MAX))
        .await?;
    let next = entries
        .last()
        .filter(|last| entries.len() == limit && last.seq < head)
        .map(|last| last.seq.to_string());
    Ok(Json(Chain {
        items: entries.iter().map(|entry| json!(entry)).collect(),
        next,
        head,
    }))
}

/// What is known of the chain from elsewhere.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Known {
    /// `SEQ:HASH` of an entry, as an earlier check gave it.
    expect: Option<String>,
}

/// Checks the whole chain
///
/// `holds` says whether any entry was changed, removed, put in or cut off; `head` is where the chain ends, to be noted
/// elsewhere; `broken` says what is wrong.
#[utoipa::path(get, path = "/api/v1/audit/verify", tag = "audit", params(Known),
    responses((status = 200, body = Object), (status = 422, description = "`expect` is not SEQ:HASH")))]
pub(in crate::http) async fn verify(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Query(known): Query<Known>,
) -> Result<Json<Value>, Problem> {
    let command = Command::VerifyAudit {
        expect: known.expect,
    };
    let answer = ask_desk(&shared, &caller, command).await?;
    if answer.body["holds"].is_boolean() {
        return Ok(Json(answer.body));
    }
    of_answer(answer)
}
