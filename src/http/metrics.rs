//! `/metrics`: what other rooms count, and what is read from store, estate and sources when it is asked for.

use std::sync::atomic::AtomicU64;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::Shared;
use crate::estate::index::Estate;
use crate::watch::sources::SourceStatus;

type Whole = Family<Vec<(String, String)>, Gauge>;
type Fraction = Family<Vec<(String, String)>, Gauge<f64, AtomicU64>>;

/// The type of what is served.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/metrics", get(metrics))
}

/// Metrics in the OpenMetrics text format
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, content_type = "application/openmetrics-text", body = String)))]
pub(super) async fn metrics(State(shared): State<Shared>) -> Response {
    let mut text = String::new();
    let now = scraped(&shared, Timestamp::now()).await;
    let encoded = encode_registry(&mut text, &shared.registry)
        .and_then(|()| encode_registry(&mut text, &now))
        .and_then(|()| encode_eof(&mut text));
    match encoded {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot write the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// What is read at this moment.
async fn scraped(shared: &Shared, now: Timestamp) -> Registry {
    let mut registry = Registry::with_prefix("nightbell");
    let version = vec![("version", env!("CARGO_PKG_VERSION"))];
    registry.register("build", "What runs", Info::new(version));
    single(
        &mut registry,
        "uptime_seconds",
        "Time since the start",
        now.duration_since(shared.started).as_secs(),
    );
    let (jobs, nodes) = shared.jobs(|estate: &Estate| (estate.job_count(), estate.nodes().count()));
    single(&mut registry, "jobs", "Jobs in the estate", count(jobs));
    single(&mut registry, "nodes", "Nodes in the estate", count(nodes));
    let enabled = i64::from(shared.monitoring.current(now).enabled);
    single(
        &mut registry,
        "monitoring_enabled",
        "Whether monitoring runs: 1 or 0",
        enabled,
    );
    sources(&mut registry, &shared.sources.statuses(now), now);
    let stored = stored(&mut registry, shared, now).await;
    single(
        &mut registry,
        "store_up",
        "Whether the database answers: 1 or 0",
        i64::from(stored.is_ok()),
    );
    registry
}

fn sources(registry: &mut Registry, statuses: &[SourceStatus], now: Timestamp) {
    let (up, objects, errors) = (Whole::default(), Whole::default(), Whole::default());
    let (age, lag) = (Fraction::default(), Fraction::default());
    for SourceStatus { state, health } in statuses {
        let label = vec![("source".to_owned(), state.source.clone())];
        up.get_or_create(&label).set(i64::from(health.is_fresh()));
        objects
            .get_or_create(&label)
            .set(i64::try_from(state.objects).unwrap_or(i64::MAX));
        errors
            .get_or_create(&label)
            .set(i64::try_from(state.errors).unwrap_or(i64::MAX));
        if let Some(at) = state.last_success {
            age.get_or_create(&label)
                .set(now.duration_since(at).as_secs_f64());
        }
        if let Some(ms) = state.lag_ms {
            lag.get_or_create(&label).set(ms as f64 / 1000.0);
        }
    }
    registry.register(
        "source_fresh",
        "Whether a source's word is fresh: 1 or 0",
        up,
    );
    registry.register(
        "source_objects",
        "Objects a source held at its last beat",
        objects,
    );
    registry.register(
        "source_errors",
        "Failed beats of a source since the start",
        errors,
    );
    registry.register(
        "source_age_seconds",
        "Time since a source last succeeded",
        age,
    );
    registry.register(
        "source_lag_seconds",
        "Age of the newest datum when it was seen",
        lag,
    );
}

async fn stored(
    registry: &mut Registry,
    shared: &Shared,
    now: Timestamp,
) -> Result<(), crate::store::StoreError> {
    let (open, total) = shared.store.count_alerts().await?;
    single(
        registry,
        "alerts_open",
        "Alerts that are not resolved",
        open,
    );
    single(registry, "alerts_ever", "Alerts ever opened", total);
    let (waiting, oldest) = (Whole::default(), Fraction::default());
    for (kind, number, age_ms, _) in shared.store.effect_backlog(now).await? {
        let label = vec![("kind".to_owned(), kind)];
        waiting.get_or_create(&label).set(number);
        oldest.get_or_create(&label).set(age_ms as f64 / 1000.0);
    }
    registry.register("effects_due", "Effects that are due and not done", waiting);
    registry.register(
        "effects_oldest_age_seconds",
        "Age of the oldest effect that is due",
        oldest,
    );
    let safety = shared.safety.status(now).await?;
    single(
        registry,
        "emergency_stop",
        "Whether all actions are stopped: 1 or 0",
        i64::from(safety.stopped.is_some()),
    );
    single(
        registry,
        "dry_run",
        "Whether actions are only told: 1 or 0",
        i64::from(safety.dry_run),
    );
    single(
        registry,
        "approvals_pending",
        "Questions that wait for a decision",
        count(safety.pending_approvals),
    );
    single(
        registry,
        "actions_running",
        "Actions under way",
        count(safety.running),
    );
    single(
        registry,
        "actions_last_hour",
        "Actions counted against the hourly limit",
        count(safety.used_this_hour),
    );
    Ok(())
}

fn single(registry: &mut Registry, name: &str, help: &str, value: i64) {
    let gauge = Gauge::<i64>::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
