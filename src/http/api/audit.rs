//! The audit chain, page by page, oldest first: who asked, who decided, what ran.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::Paging;
use crate::http::Shared;
use crate::http::extract::Query;
use crate::http::problem::Problem;

/// A part of the chain.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Chain {
    #[schema(value_type = Vec<Object>)]
    items: Vec<Value>,
    next: Option<String>,
    /// Number of the last entry ever appended: what is missing at the end shows.
    head: i64,
}

/// The audit, oldest first
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(Paging),
    responses((status = 200, body = Chain)))]
pub(in crate::http) async fn list(
    State(shared): State<Shared>,
    Query(paging): Query<Paging>,
) -> Result<Json<Chain>, Problem> {
    let limit = paging.limit()?;
    let after: i64 = paging.cursor()?.unwrap_or(0);
    let head = shared.store.audit_head().await?;
    let entries = shared
        .store
        .audit_after(after, i64::try_from(limit).unwrap_or(i64::MAX))
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
