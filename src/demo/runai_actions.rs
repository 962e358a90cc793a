//! Actions of the simulated control plane: accepted at once, seen later.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::runai_api::{Api, error};
use super::script::JobKind;
use super::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Action {
    Suspend,
    Resume,
    Delete,
}

/// Carries out an action on a workload; the effect shows later. The error is status and message.
fn act(world: &mut World, id: &str, action: Action) -> Result<(), (StatusCode, &'static str)> {
    let job = world
        .jobs
        .values()
        .find(|job| job.spec.runai && job.workload == id && job.deleted.is_none());
    let Some((job, kind)) = job.map(|job| (job.id, job.spec.kind)) else {
        return Err((StatusCode::NOT_FOUND, "workload not found"));
    };
    match action {
        Action::Suspend | Action::Resume if kind == JobKind::Inference => {
            return Err((
                StatusCode::BAD_REQUEST,
                "workload type does not support suspend and resume",
            ));
        }
        Action::Suspend => world.suspend(job, None),
        Action::Resume => world.resume(job),
        Action::Delete => world.delete_job(job),
    }
    Ok(())
}

fn accepted(outcome: Result<(), (StatusCode, &'static str)>, what: &str) -> Response {
    match outcome {
        Ok(()) => {
            let body = json!({"code": 202, "message": format!("Request to {what} was accepted.")});
            (StatusCode::ACCEPTED, Json(body)).into_response()
        }
        Err((code, message)) => error(code, message),
    }
}

/// The kind of a typed path; inference paths know no suspend and resume.
fn typed(world: &World, path: &str, id: &str) -> bool {
    let kind = match path {
        "trainings" => JobKind::Training,
        "distributed" => JobKind::Distributed,
        "workspaces" => JobKind::Workspace,
        "inferences" => JobKind::Inference,
        _ => return false,
    };
    world
        .jobs
        .values()
        .any(|job| job.workload == id && job.spec.kind == kind)
}

pub(super) async fn delete_typed(
    State(api): State<Api>,
    Path((kind, id)): Path<(String, String)>,
) -> Response {
    api.estate.change(|world| {
        if !typed(world, &kind, &id) {
            return error(StatusCode::NOT_FOUND, "workload not found");
        }
        accepted(act(world, &id, Action::Delete), "delete")
    })
}

pub(super) async fn act_typed(
    State(api): State<Api>,
    Path((kind, id, action)): Path<(String, String, String)>,
) -> Response {
    let action = match action.as_str() {
        "suspend" if kind != "inferences" => Action::Suspend,
        "resume" if kind != "inferences" => Action::Resume,
        _ => return error(StatusCode::NOT_FOUND, "The requested path does not exist."),
    };
    api.estate.change(|world| {
        if !typed(world, &kind, &id) {
            return error(StatusCode::NOT_FOUND, "workload not found");
        }
        accepted(
            act(world, &id, action),
            if action == Action::Suspend {
                "suspend"
            } else {
                "resume"
            },
        )
    })
}

#[derive(Debug, Deserialize)]
pub(super) struct Batch {
    ids: Vec<String>,
    action: Action,
}

/// Answers 200 although some may have failed.
pub(super) async fn batch(State(api): State<Api>, Json(batch): Json<Batch>) -> Response {
    if batch.ids.is_empty() || batch.ids.len() > 100 {
        return error(
            StatusCode::BAD_REQUEST,
            "ids must hold between 1 and 100 entries",
        );
    }
    api.estate.change(|world| {
        let (mut succeeded, mut failed) = (Vec::new(), Vec::new());
        for id in batch.ids {
            match act(world, &id, batch.action) {
                Ok(()) => succeeded.push(id),
                Err((code, message)) => {
                    failed.push(json!({"id": id, "code": code.as_u16(), "message": message}));
                }
            }
        }
        Json(json!({"id": world.new_uid(), "succeeded": succeeded, "failed": failed}))
            .into_response()
    })
}
