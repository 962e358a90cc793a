//! Questions about actions, their answers, and the actions that came of them.

use axum::extract::State;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::{Page, Paging, ask_desk};
use crate::action::{ActionRequest, Parameters};
use crate::desk::Command;
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::extract::{Json as Body, Path, Query};
use crate::http::problem::{Problem, of_answer};
use crate::http::token::Role;
use crate::safety::ApprovalState;

/// Which approvals.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Which {
    /// `pending`, `approved`, `denied`, `expired` or `withdrawn`; not given: the latest, whatever became of them.
    #[param(value_type = Option<String>)]
    state: Option<ApprovalState>,
}

/// Approvals, newest first
#[utoipa::path(get, path = "/api/v1/approvals", tag = "approvals", params(Which, Paging),
    responses((status = 200, body = Page<Object>)))]
pub(in crate::http) async fn list(
    State(shared): State<Shared>,
    Query(which): Query<Which>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Value>>, Problem> {
    let limit = paging.limit()?;
    let before: Option<i64> = paging.cursor()?;
    let approvals = shared
        .store
        .approvals_before(before, which.state, one_more(limit))
        .await?;
    let mut next = None;
    let mut items = Vec::new();
    for approval in approvals {
        if items.len() == limit {
            next = Some(next_number(&items));
            break;
        }
        items.push(json!(approval));
    }
    Ok(Json(Page { items, next }))
}

fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1
}

fn next_number(items: &[Value]) -> String {
    items
        .last()
        .and_then(|last| last.get("number"))
        .map(Value::to_string)
        .unwrap_or_default()
}

/// An answer to a question.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Verdict {
    approve: bool,
    /// Why; asked for when it is denied.
    reason: Option<String>,
}

/// Approves or denies
///
/// The first decision wins. Who may decide is said by `APPROVERS`, whatever the role of a token.
#[utoipa::path(post, path = "/api/v1/approvals/{id}/decide", tag = "approvals",
    params(("id" = String, Path, description = "id or number")), request_body = Verdict,
    responses((status = 200, body = Object), (status = 404, description = "no such approval"),
        (status = 409, description = "decided already, expired, or not yours to decide")))]
pub(in crate::http) async fn decide(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Body(verdict): Body<Verdict>,
) -> Result<Json<Value>, Problem> {
    let command = Command::Decide {
        approval: id,
        approve: verdict.approve,
        reason: verdict.reason,
    };
    of_answer(ask_desk(&shared, &caller, command).await?)
}

/// How many.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Latest {
    /// 1 to 500; 50 when not given.
    limit: Option<u32>,
}

/// The latest actions and what came of them, newest first
#[utoipa::path(get, path = "/api/v1/actions", tag = "approvals", params(Latest),
    responses((status = 200, body = Page<Object>)))]
pub(in crate::http) async fn actions(
    State(shared): State<Shared>,
    Query(latest): Query<Latest>,
) -> Result<Json<Page<Value>>, Problem> {
    let paging = Paging {
        limit: latest.limit,
        cursor: None,
    };
    let limit = i64::try_from(paging.limit()?).unwrap_or(i64::MAX);
    let executions = shared.store.executions(limit).await?;
    Ok(Json(Page {
        items: executions
            .iter()
            .map(|execution| json!(execution))
            .collect(),
        next: None,
    }))
}

/// What can be done
///
/// The name of each kind of action, the objects it acts on, its parameters and their shapes, what it puts at stake, and
/// the action that takes it back.
#[utoipa::path(get, path = "/api/v1/actions/catalogue", tag = "approvals", responses((status = 200, body = Object)))]
pub(in crate::http) async fn catalogue(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, Problem> {
    of_answer(ask_desk(&shared, &caller, Command::ListActions).await?)
}

/// One action as a person names it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Wanted {
    /// A name of the catalogue, or a verb such as `restart`, `scale`, `rollback`, `drain`.
    action: String,
    /// A job, `kind/name` of an object, a node, a container, a configured name.
    name: String,
    kind: Option<String>,
    namespace: Option<String>,
    cluster: Option<String>,
    project: Option<String>,
    /// By name, as the catalogue describes them.
    #[serde(default)]
    #[schema(value_type = Object)]
    parameters: Parameters,
}

impl From<Wanted> for ActionRequest {
    fn from(wanted: Wanted) -> Self {
        Self {
            action: wanted.action,
            name: wanted.name,
            kind: wanted.kind,
            namespace: wanted.namespace,
            cluster: wanted.cluster,
            project: wanted.project,
            parameters: wanted.parameters,
        }
    }
}

/// Asks for an action
///
/// It is planned against what runs now; if it could be carried out, an approval is asked for, which somebody else gives.
#[utoipa::path(post, path = "/api/v1/actions", tag = "approvals", request_body = Wanted,
    responses((status = 200, body = Object), (status = 409, description = "it would not be done; the reason is given"),
        (status = 400, description = "there is no such action, target or parameter")))]
pub(in crate::http) async fn run(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<Wanted>,
) -> Result<Json<Value>, Problem> {
    let request = wanted.into();
    of_answer(ask_desk(&shared, &caller, Command::RunAction { request }).await?)
}

/// Shows exactly what an action would do, and what each gate would say
///
/// Nothing is changed and nobody is asked.
#[utoipa::path(post, path = "/api/v1/actions/preview", tag = "approvals", request_body = Wanted,
    responses((status = 200, body = Object), (status = 409, description = "it would not be done; the reason is given"),
        (status = 400, description = "there is no such action, target or parameter")))]
pub(in crate::http) async fn preview(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<Wanted>,
) -> Result<Json<Value>, Problem> {
    let request = wanted.into();
    of_answer(ask_desk(&shared, &caller, Command::PreviewAction { request }).await?)
}

/// What a diagnostic or command printed, redacted
#[utoipa::path(get, path = "/api/v1/actions/{id}/output", tag = "approvals",
    params(("id" = String, Path, description = "of the action")),
    responses((status = 200, body = Object), (status = 404, description = "no such action, or none that prints")))]
pub(in crate::http) async fn output(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let memory = shared.store.execution_memory(&id).await?;
    memory
        .and_then(|mut memory| memory.get_mut("output").map(Value::take))
        .map(Json)
        .ok_or_else(|| Problem::not_found("no output is kept for this action"))
}

/// What a Job was made from before it was deleted to be made anew
///
/// For people to apply when nightbell died, or failed, between the two. It stands as the cluster had it, secrets in
/// its environment included, and so needs the role admin.
#[utoipa::path(get, path = "/api/v1/actions/{id}/manifest", tag = "approvals",
    params(("id" = String, Path, description = "of the action")),
    responses((status = 200, body = Object), (status = 403, description = "needs the role admin"),
        (status = 404, description = "no such action, or none that deletes")))]
pub(in crate::http) async fn manifest(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.needs(Role::Admin)?;
    let memory = shared.store.execution_memory(&id).await?;
    memory
        .and_then(|mut memory| memory.get_mut("manifest").map(Value::take))
        .map(Json)
        .ok_or_else(|| Problem::not_found("no manifest is kept for this action"))
}
