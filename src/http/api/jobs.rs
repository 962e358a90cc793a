//! Jobs as the estate holds them now, and what the desk can tell about one.

use std::collections::HashMap;

use axum::extract::State;
use axum::{Extension, Json};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{Page, Paging, ask_desk};
use crate::desk::{Command, JobQuery};
use crate::estate::JobKey;
use crate::estate::index::Job;
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::extract::{Path, Query};
use crate::http::problem::{Problem, of_answer};
use crate::store::AlertFilter;

/// Open alerts that are joined to the list of jobs; a list beyond it shows jobs without their alert's number.
const ALERTS: i64 = 2_000;

/// A job in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct JobSummary {
    cluster: String,
    namespace: String,
    name: String,
    project: Option<String>,
    kind: String,
    /// As the sources state it.
    status: String,
    gpus: f64,
    pods: usize,
    pods_running: usize,
    #[schema(value_type = Option<String>)]
    created: Option<Timestamp>,
    /// Number of its open alert.
    alert: Option<i64>,
}

/// Which jobs.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Which {
    project: Option<String>,
    namespace: Option<String>,
    /// As the sources state it, in any case: `failed`, `pending` …
    status: Option<String>,
    /// A part of the name.
    q: Option<String>,
    /// Only jobs with an open alert.
    #[serde(default)]
    failing: bool,
}

impl Which {
    fn fits(&self, job: &Job, alert: Option<i64>) -> bool {
        let same = |wanted: &Option<String>, held: Option<&str>| {
            wanted
                .as_deref()
                .is_none_or(|wanted| held.is_some_and(|held| held.eq_ignore_ascii_case(wanted)))
        };
        same(&self.project, job.project.as_deref())
            && same(&self.namespace, Some(&job.key.namespace))
            && self
                .q
                .as_ref()
                .is_none_or(|part| job.key.name.to_lowercase().contains(&part.to_lowercase()))
            && (!self.failing || alert.is_some())
            && (self.status.is_none() || same(&self.status, Some(&job.status())))
    }
}

/// Jobs by cluster, namespace and name
#[utoipa::path(get, path = "/api/v1/jobs", tag = "jobs", params(Which, Paging),
    responses((status = 200, body = Page<JobSummary>)))]
pub(in crate::http) async fn list(
    State(shared): State<Shared>,
    Query(which): Query<Which>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<JobSummary>>, Problem> {
    let limit = paging.limit()?;
    let after = paging
        .cursor::<String>()?
        .as_deref()
        .map(key_of)
        .transpose()?;
    let open = AlertFilter {
        limit: ALERTS,
        ..AlertFilter::default()
    };
    let alerts: HashMap<JobKey, i64> = shared
        .store
        .alerts(open)
        .await?
        .into_iter()
        .map(|alert| {
            let key = JobKey {
                cluster: alert.subject.cluster,
                namespace: alert.subject.namespace,
                name: alert.subject.name,
            };
            (key, alert.number)
        })
        .collect();
    Ok(Json(shared.jobs(|estate| {
        let mut fitting: Vec<&Job> = estate
            .jobs()
            .filter(|job| after.as_ref().is_none_or(|after| *job.key > *after))
            .filter(|job| which.fits(job, alerts.get(&job.key).copied()))
            .collect();
        fitting.sort_unstable_by_key(|job| &job.key);
        let more = fitting.len() > limit;
        fitting.truncate(limit);
        let next = fitting.last().filter(|_| more).map(|job| {
            let JobKey {
                cluster,
                namespace,
                name,
            } = &*job.key;
            format!("{cluster}\n{namespace}\n{name}")
        });
        Page {
            items: fitting
                .into_iter()
                .map(|job| summary(job, alerts.get(&job.key).copied()))
                .collect(),
            next,
        }
    })))
}

/// A cursor: cluster, namespace and name, a line each. Names of kube contexts may hold a slash.
fn key_of(cursor: &str) -> Result<JobKey, Problem> {
    let mut parts = cursor.split('\n').map(str::to_owned);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(cluster), Some(namespace), Some(name), None) => Ok(JobKey {
            cluster,
            namespace,
            name,
        }),
        _ => Err(Problem::invalid(
            "`cursor` is not the `next` of a page of this list",
        )),
    }
}

fn summary(job: &Job, alert: Option<i64>) -> JobSummary {
    JobSummary {
        cluster: job.key.cluster.clone(),
        namespace: job.key.namespace.clone(),
        name: job.key.name.clone(),
        project: job.project.clone(),
        kind: job.kind().to_owned(),
        status: job.status(),
        gpus: job.gpus(),
        pods: job.live_pods().count(),
        pods_running: job.live_pods().filter(|pod| pod.phase == "Running").count(),
        created: job.created(),
        alert,
    }
}

/// What is known of one job
#[utoipa::path(get, path = "/api/v1/jobs/{namespace}/{name}", tag = "jobs",
    params(("namespace" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Object), (status = 404, description = "no such job, or several")))]
pub(in crate::http) async fn show(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(path): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let job = query(path);
    of_answer(ask_desk(&shared, &caller, Command::JobStatus { job }).await?)
}

/// The last lines of its logs
#[utoipa::path(get, path = "/api/v1/jobs/{namespace}/{name}/logs", tag = "jobs",
    params(("namespace" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Object), (status = 404, description = "no such job, or several")))]
pub(in crate::http) async fn logs(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(path): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let job = query(path);
    of_answer(ask_desk(&shared, &caller, Command::ShowLogs { job }).await?)
}

/// Collects evidence and diagnoses it
#[utoipa::path(post, path = "/api/v1/jobs/{namespace}/{name}/troubleshoot", tag = "jobs",
    params(("namespace" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Object), (status = 404, description = "no such job, or several")))]
pub(in crate::http) async fn troubleshoot(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(path): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let job = query(path);
    of_answer(ask_desk(&shared, &caller, Command::Troubleshoot { job }).await?)
}

fn query((namespace, name): (String, String)) -> JobQuery {
    JobQuery {
        name,
        project: None,
        namespace: Some(namespace),
    }
}
