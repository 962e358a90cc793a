//! The simulated Run:AI control plane: tokens, workloads and their details, actions that take effect later.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Form, Json, Router};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::estate::SimEstate;
use super::runai_filter::{Filters, sort};
use super::runai_model::{CLUSTER_ID, CLUSTER_NAME, TENANT_ID, stamp};
use super::runai_token as token;
use super::world::{History, SimJob, World};
use super::{faults, runai_actions};

/// Paging of the real API.
const DEFAULT_LIMIT: usize = 50;
const MOST: usize = 500;

#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) estate: SimEstate,
    client_id: String,
    client_secret: String,
    token_life: Duration,
    /// Tokens issued, and until when each is good.
    tokens: Arc<Mutex<HashMap<String, Timestamp>>>,
}

/// The routes of the simulated control plane. Tokens live for `token_life` of the estate's time.
pub(super) fn router(
    estate: SimEstate,
    client_id: &str,
    client_secret: &str,
    token_life: Duration,
) -> Router {
    let faults = estate.runai_faults().clone();
    let api = Api {
        estate,
        client_id: client_id.to_owned(),
        client_secret: client_secret.to_owned(),
        token_life,
        tokens: Arc::default(),
    };
    let body: faults::ErrorBody =
        |code| json!({"code": code.as_u16(), "message": "the demo was told to fail"});
    let guarded = Router::new()
        .route("/api/v1/workloads", get(workloads))
        .route("/api/v1/workloads/count", get(count))
        .route("/api/v1/workloads/batch", post(runai_actions::batch))
        .route("/api/v1/workloads/{id}", get(workload))
        .route("/api/v1/workloads/{id}/pods", get(pods))
        .route("/api/v1/workloads/{id}/events", get(events))
        .route("/api/v1/workloads/{id}/history", get(history))
        .route(
            "/api/v1/workloads/{kind}/{id}",
            delete(runai_actions::delete_typed),
        )
        .route(
            "/api/v1/workloads/{kind}/{id}/{action}",
            post(runai_actions::act_typed),
        )
        .route("/api/v1/clusters", get(clusters))
        .route("/api/v1/org-unit/projects", get(projects))
        .route("/api/v1/nodes", get(nodes))
        .layer(middleware::from_fn_with_state(api.clone(), authorize));
    Router::new()
        .route("/api/v1/token", post(token_v1))
        .route("/api/v2/token", post(token_v2))
        .merge(guarded)
        .fallback(async || error(StatusCode::NOT_FOUND, "The requested path does not exist."))
        .with_state(api)
        .layer(middleware::from_fn_with_state(
            (faults, body),
            faults::inject,
        ))
}

pub(super) fn error(code: StatusCode, message: &str) -> Response {
    (
        code,
        Json(json!({"code": code.as_u16(), "message": message})),
    )
        .into_response()
}

/// The answer to parameters that make no sense.
fn refuse(message: &str) -> Response {
    error(StatusCode::BAD_REQUEST, message)
}

async fn authorize(
    State(api): State<Api>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let now = api.estate.now();
    let good = given.is_some_and(|token| {
        let tokens = api
            .tokens
            .lock()
            .expect("nothing panics while it holds the tokens");
        tokens.get(token).is_some_and(|until| *until > now)
    });
    if good && !api.estate.runai_faults().tokens_revoked() {
        next.run(request).await
    } else {
        let body = json!({"code": 401, "message": "Issuer is not familiar.", "details": "token expired or unknown"});
        (StatusCode::UNAUTHORIZED, Json(body)).into_response()
    }
}

impl Api {
    fn issue(&self) -> String {
        let now = self.estate.now();
        let life = SignedDuration::try_from(self.token_life).unwrap_or(SignedDuration::MAX);
        let until = now.saturating_add(life).unwrap_or(Timestamp::MAX);
        let id = self.estate.change(World::new_uid);
        let token = token::unsigned_jwt(&id, &self.client_id, until);
        self.tokens
            .lock()
            .expect("nothing panics while it holds the tokens")
            .insert(token.clone(), until);
        token
    }

    fn knows(&self, id: Option<&str>, secret: Option<&str>) -> bool {
        id == Some(self.client_id.as_str()) && secret == Some(self.client_secret.as_str())
    }
}

/// The older form: JSON in, camel case out. Keys are accepted in any letter case, as releases differ.
async fn token_v1(State(api): State<Api>, Json(body): Json<Value>) -> Response {
    let field = |name: &str| {
        let object = body.as_object()?;
        object
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .and_then(|(_, value)| value.as_str())
    };
    let (id, secret) = match field("grantType") {
        Some("client_credentials") => (field("clientId"), field("clientSecret")),
        Some("app_token") => (field("appId"), field("appSecret")),
        _ => return error(StatusCode::BAD_REQUEST, "grantType is not supported"),
    };
    if !api.knows(id, secret) {
        return error(
            StatusCode::BAD_REQUEST,
            "invalid client or Invalid client credentials",
        );
    }
    Json(json!({"accessToken": api.issue(), "expiresIn": api.token_life.as_secs()})).into_response()
}

/// The newer form: a form in, snake case out, errors as OAuth writes them.
async fn token_v2(State(api): State<Api>, Form(form): Form<HashMap<String, String>>) -> Response {
    let field = |name: &str| form.get(name).map(String::as_str);
    let oauth_error =
        |code: StatusCode, error: &str| (code, Json(json!({"error": error}))).into_response();
    if field("grant_type") != Some("client_credentials") {
        return oauth_error(StatusCode::BAD_REQUEST, "unsupported_grant_type");
    }
    if !api.knows(field("client_id"), field("client_secret")) {
        return oauth_error(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    let body = json!({"access_token": api.issue(), "token_type": "Bearer", "expires_in": api.token_life.as_secs()});
    Json(body).into_response()
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ListParameters {
    offset: usize,
    limit: Option<usize>,
    filter_by: String,
    sort_by: String,
    sort_order: String,
    search: String,
    deleted: bool,
}

impl ListParameters {
    fn limit(&self) -> Result<usize, String> {
        match self.limit.unwrap_or(DEFAULT_LIMIT) {
            limit @ 1..=MOST => Ok(limit),
            _ => Err("limit must be between 1 and 500".to_owned()),
        }
    }

    /// One page of `items` under `key`, with `next` if there is more.
    fn page(&self, key: &str, items: Vec<Value>) -> Response {
        let limit = match self.limit() {
            Ok(limit) => limit,
            Err(message) => return refuse(&message),
        };
        let total = items.len();
        let page: Vec<Value> = items.into_iter().skip(self.offset).take(limit).collect();
        let mut body = json!({ key: page });
        if self.offset + limit < total {
            body["next"] = (self.offset + limit).into();
        }
        Json(body).into_response()
    }
}

/// The workloads that a list shows, in order of creation.
fn selected<'a>(world: &'a World, parameters: &ListParameters) -> Result<Vec<&'a SimJob>, String> {
    let filters = Filters::parse(&parameters.filter_by)?;
    let mut jobs: Vec<&SimJob> = world
        .jobs
        .values()
        .filter(|job| job.spec.runai && job.deleted.is_some() == parameters.deleted)
        .filter(|job| job.spec.name.contains(&parameters.search))
        .filter(|job| filters.match_job(world, job))
        .collect();
    sort(
        world,
        &mut jobs,
        &parameters.sort_by,
        &parameters.sort_order,
    )?;
    Ok(jobs)
}

async fn workloads(State(api): State<Api>, Query(parameters): Query<ListParameters>) -> Response {
    let limit = match parameters.limit() {
        Ok(limit) => limit,
        Err(message) => return refuse(&message),
    };
    api.estate.read(|world| {
        let jobs = match selected(world, &parameters) {
            Ok(jobs) => jobs,
            Err(message) => return refuse(&message),
        };
        // Only the page is rendered: the estate may hold 100,000.
        let page: Vec<Value> = jobs
            .iter()
            .skip(parameters.offset)
            .take(limit)
            .map(|job| world.workload(job))
            .collect();
        let mut body = json!({ "workloads": page });
        if parameters.offset + limit < jobs.len() {
            body["next"] = (parameters.offset + limit).into();
        }
        Json(body).into_response()
    })
}

async fn count(State(api): State<Api>, Query(parameters): Query<ListParameters>) -> Response {
    api.estate.read(|world| match selected(world, &parameters) {
        Ok(jobs) => Json(json!({"count": jobs.len()})).into_response(),
        Err(message) => refuse(&message),
    })
}

/// Looks at one workload, deleted ones included.
fn with_workload(api: &Api, id: &str, look: impl FnOnce(&World, &SimJob) -> Response) -> Response {
    api.estate.read(|world| {
        match world
            .jobs
            .values()
            .find(|job| job.spec.runai && job.workload == id)
        {
            Some(job) => look(world, job),
            None => error(StatusCode::NOT_FOUND, "workload not found"),
        }
    })
}

async fn workload(State(api): State<Api>, Path(id): Path<String>) -> Response {
    with_workload(&api, &id, |world, job| {
        let mut body = world.workload(job);
        body["pendingSchedulingMessages"] = world.pending_messages(job).into();
        Json(body).into_response()
    })
}

async fn pods(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(parameters): Query<ListParameters>,
) -> Response {
    with_workload(&api, &id, |world, job| {
        parameters.page("pods", world.workload_pods(job))
    })
}

async fn events(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(parameters): Query<ListParameters>,
) -> Response {
    with_workload(&api, &id, |_, job| {
        let mut events: Vec<Value> = job
            .history
            .iter()
            .filter_map(|entry| match entry {
                History::Event { event, .. } => Some(event.clone()),
                History::Phase { .. } => None,
            })
            .collect();
        // The real API's default is newest first.
        if parameters.sort_order != "asc" {
            events.reverse();
        }
        parameters.page("events", events)
    })
}

async fn history(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(parameters): Query<ListParameters>,
) -> Response {
    with_workload(&api, &id, |_, job| {
        let mut records: Vec<Value> = job
            .history
            .iter()
            .map(|entry| match entry {
                History::Phase { at, phase, message } => json!({
                    "meta": {"creationTimestamp": stamp(*at), "type": "PhaseUpdate"},
                    "spec": {"phaseUpdate": {"phase": phase.as_str(), "phaseMessage": message}}
                }),
                History::Event { at, event } => json!({
                    "meta": {"creationTimestamp": stamp(*at), "type": "Event"}, "spec": {"event": event}
                }),
            })
            .collect();
        if parameters.sort_order != "asc" {
            records.reverse();
        }
        parameters.page("records", records)
    })
}

async fn clusters(State(api): State<Api>) -> Response {
    let now = stamp(api.estate.now());
    Json(json!([{
        "uuid": CLUSTER_ID, "name": CLUSTER_NAME, "tenantId": TENANT_ID, "createdAt": "2026-01-05T08:00:00.000Z",
        "domain": "demo.local", "version": "2.24.12", "updatedAt": now, "deletedAt": null, "lastLiveness": now,
        "status": {"state": "Connected", "conditions": [], "operands": {},
            "platform": {"type": "vanilla", "kubeVersion": "1.33.4"}, "dependencies": {"required": {}, "optional": {}}}
    }]))
    .into_response()
}

async fn projects(State(api): State<Api>, Query(parameters): Query<ListParameters>) -> Response {
    api.estate.read(|world| {
        let named = parameters.filter_by.strip_prefix("name==");
        let projects = world
            .projects
            .iter()
            .filter(|project| named.is_none_or(|name| project.name == name))
            .map(|project| world.project(project))
            .collect();
        parameters.page("projects", projects)
    })
}

async fn nodes(State(api): State<Api>) -> Response {
    api.estate.read(|world| {
        let nodes: Vec<Value> = world
            .nodes
            .iter()
            .map(|(name, node)| {
                json!({
                    "name": name, "id": name, "clusterUuid": CLUSTER_ID, "status": "Ready", "nodePool": node.pool,
                    "conditions": [{"type": "Ready", "reason": "KubeletReady", "message": "kubelet is posting ready status"}],
                    "taints": [], "createdAt": "2026-01-05T08:00:00.000Z", "updatedAt": stamp(world.now),
                    "gpuInfo": {"gpuType": node.pool, "gpuCount": node.gpus}
                })
            })
            .collect();
        Json(json!({"nodes": nodes})).into_response()
    })
}
