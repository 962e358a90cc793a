//! The sources and what their word is worth now.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::Shared;
use crate::watch::sources::{Health, SourceStatus, Sources};

/// One source.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Source {
    #[serde(rename = "source")]
    name: String,
    /// `fresh`, `late`, `failing`, `never_seen` or `paused`.
    health: &'static str,
    /// Since when it is late, failing or paused.
    #[schema(value_type = Option<String>)]
    since: Option<Timestamp>,
    error: Option<String>,
    interval_seconds: f64,
    #[schema(value_type = Option<String>)]
    last_beat: Option<Timestamp>,
    #[schema(value_type = Option<String>)]
    last_success: Option<Timestamp>,
    /// Age of the last success.
    age_seconds: Option<f64>,
    /// Failed beats since the start.
    errors: u64,
    objects: u64,
    lag_ms: Option<u64>,
}

/// All sources.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct AllSources {
    /// Every source is fresh or paused by command, and there is one.
    healthy: bool,
    items: Vec<Source>,
}

/// The sources and how fresh they are
#[utoipa::path(get, path = "/api/v1/sources", tag = "monitoring", responses((status = 200, body = AllSources)))]
pub(in crate::http) async fn list(State(shared): State<Shared>) -> Json<AllSources> {
    Json(all(&shared.sources, Timestamp::now()))
}

pub(in crate::http) fn all(sources: &Sources, now: Timestamp) -> AllSources {
    AllSources {
        healthy: sources.healthy(now),
        items: sources
            .statuses(now)
            .into_iter()
            .map(|status| source(status, now))
            .collect(),
    }
}

pub(in crate::http) fn health_name(health: &Health) -> &'static str {
    match health {
        Health::Fresh => "fresh",
        Health::Late { .. } => "late",
        Health::Failing { .. } => "failing",
        Health::NeverSeen => "never_seen",
        Health::Paused { .. } => "paused",
    }
}

fn source(SourceStatus { state, health }: SourceStatus, now: Timestamp) -> Source {
    let (since, error) = match &health {
        Health::Fresh | Health::NeverSeen => (None, None),
        Health::Late { since } | Health::Paused { since } => (Some(*since), None),
        Health::Failing { since, error } => (Some(*since), Some(crate::redact::scrub(error))),
    };
    Source {
        health: health_name(&health),
        since,
        error,
        interval_seconds: state.interval.as_secs_f64(),
        last_beat: state.last_beat,
        age_seconds: state
            .last_success
            .map(|at| now.duration_since(at).as_secs_f64().max(0.0)),
        last_success: state.last_success,
        errors: state.errors,
        objects: state.objects,
        lag_ms: state.lag_ms,
        name: state.source,
    }
}
