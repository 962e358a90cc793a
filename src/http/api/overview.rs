//! What the page shows first: how things stand, and who is asking.

use axum::extract::State;
use axum::{Extension, Json};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::http::Shared;
use crate::http::access::{Access, Caller};
use crate::http::problem::Problem;
use crate::http::token::Role;
use crate::watch::sources::Health;

/// How things stand.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Overview {
    version: &'static str,
    /// Everything shown is the simulated estate.
    demo: bool,
    #[schema(value_type = String)]
    started: Timestamp,
    #[schema(value_type = String)]
    now: Timestamp,
    user: String,
    #[schema(value_type = String)]
    role: Role,
    /// A token is needed; otherwise only this machine is answered.
    tokens: bool,
    /// Whether monitoring runs, of what, and until when.
    #[schema(value_type = Object)]
    monitoring: Value,
    sources: SourceCounts,
    alerts_open: i64,
    alerts_total: i64,
    jobs: usize,
    /// Limits, dry run, emergency stop.
    #[schema(value_type = Object)]
    safety: Value,
}

/// Sources by what their word is worth.
#[derive(Default, Serialize, ToSchema)]
pub(in crate::http) struct SourceCounts {
    fresh: usize,
    /// Silent, failing or never heard: what they would tell is unknown.
    unknown: usize,
    paused: usize,
}

/// How things stand
#[utoipa::path(get, path = "/api/v1/overview", tag = "overview", responses((status = 200, body = Overview)))]
pub(in crate::http) async fn show(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Overview>, Problem> {
    let now = Timestamp::now();
    let (alerts_open, alerts_total) = shared.store.count_alerts().await?;
    let safety = shared.safety.status(now).await?;
    let mut sources = SourceCounts::default();
    for status in shared.sources.statuses(now) {
        match status.health {
            Health::Fresh => sources.fresh += 1,
            Health::Paused { .. } => sources.paused += 1,
            Health::Late { .. } | Health::Failing { .. } | Health::NeverSeen => {
                sources.unknown += 1;
            }
        }
    }
    Ok(Json(Overview {
        version: env!("CARGO_PKG_VERSION"),
        demo: shared.demo,
        started: shared.started,
        now,
        user: caller.principal.user,
        role: caller.role,
        tokens: matches!(shared.access, Access::Tokens(_)),
        monitoring: super::monitoring::of(&shared, now),
        sources,
        alerts_open,
        alerts_total,
        jobs: shared.jobs(crate::estate::index::Estate::job_count),
        safety: serde_json::json!(safety),
    }))
}
