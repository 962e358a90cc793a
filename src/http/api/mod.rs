//! `/api/v1`: one file per family. Changes become commands for the desk; lists are pages with a cursor.

pub(super) mod alerts;
pub(super) mod approvals;
pub(super) mod audit;
pub(super) mod commands;
pub(super) mod console;
pub(super) mod emergency;
pub(super) mod jobs;
pub(super) mod monitoring;
pub(super) mod overview;
pub(super) mod silences;
pub(super) mod sources;

use axum::Router;
use axum::routing::{delete, get, post, put};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::access::Caller;
use super::problem::Problem;
use super::{Shared, stream};
use crate::chat::card::Verb;
use crate::desk::{Answer, Command, needed};

/// Rows of a page when the caller does not say, and at most.
const LIMIT: u32 = 50;
const LIMIT_MAX: u32 = 500;

pub(super) fn routes() -> Router<Shared> {
    let v1 = Router::new()
        .route("/overview", get(overview::show))
        .route("/alerts", get(alerts::list))
        .route("/alerts/{number}", get(alerts::show))
        .route("/alerts/{number}/ack", post(alerts::acknowledge))
        .route("/alerts/{number}/resolve", post(alerts::resolve))
        .route("/alerts/{number}/silence", post(alerts::silence))
        .route("/incidents", get(alerts::incidents))
        .route("/silences", get(silences::list).post(silences::create))
        .route("/silences/{id}", delete(silences::remove))
        .route("/jobs", get(jobs::list))
        .route("/jobs/{namespace}/{name}", get(jobs::show))
        .route("/jobs/{namespace}/{name}/logs", get(jobs::logs))
        .route(
            "/jobs/{namespace}/{name}/troubleshoot",
            post(jobs::troubleshoot),
        )
        .route("/approvals", get(approvals::list))
        .route("/approvals/{id}/decide", post(approvals::decide))
        .route("/actions", get(approvals::actions).post(approvals::run))
        .route("/actions/catalogue", get(approvals::catalogue))
        .route("/actions/preview", post(approvals::preview))
        .route("/actions/{id}/output", get(approvals::output))
        .route("/actions/{id}/manifest", get(approvals::manifest))
        .route("/monitoring/status", get(monitoring::status))
        .route("/monitoring/start", post(monitoring::start))
        .route("/monitoring/stop", post(monitoring::stop))
        .route("/sources", get(sources::list))
        .route(
            "/emergency-stop",
            get(emergency::show)
                .post(emergency::stop)
                .delete(emergency::clear),
        )
        .route(
            "/actions/types/{name}/disabled",
            put(emergency::disable).delete(emergency::enable),
        )
        .route("/actions/queue", delete(emergency::clear_queue))
        .route("/ask", post(console::ask))
        .route("/commands", post(commands::execute))
        .route("/console/messages", get(console::messages))
        .route("/console/say", post(console::say))
        .route("/console/press", post(console::press))
        .route("/audit", get(audit::list))
        .route("/audit/verify", get(audit::verify))
        .route("/stream", get(stream::changes));
    Router::new().nest("/api/v1", v1)
}

/// A part of a list, and where the next part begins.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    items: Vec<T>,
    /// Hand it back as `cursor` for the next page; null at the end.
    next: Option<String>,
}

/// Which part of a list is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// Rows per page, 1 to 500; 50 when not given.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

impl Paging {
    fn limit(&self) -> Result<usize, Problem> {
        let limit = self.limit.unwrap_or(LIMIT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Problem::invalid(format!(
                "`limit` must be 1 to {LIMIT_MAX}"
            )));
        }
        Ok(limit as usize)
    }

    fn cursor<T: std::str::FromStr>(&self) -> Result<Option<T>, Problem> {
        let parse = |cursor: &String| {
            cursor
                .parse()
                .map_err(|_| Problem::invalid("`cursor` is not the `next` of a page of this list"))
        };
        self.cursor.as_ref().map(parse).transpose()
    }
}

/// Asks the desk for the caller, if the caller's role lets them.
async fn ask_desk(shared: &Shared, caller: &Caller, command: Command) -> Result<Answer, Problem> {
    let role = match &command {
        // Confirming takes what the command itself takes; the desk sees to it that only its asker confirms.
        Command::Press {
            verb: Verb::Confirm,
            id,
            ..
        } => match shared.store.kept_command::<Command>(id).await? {
            Some(kept) => needed(&kept),
            None => needed(&command),
        },
        command => needed(command),
    };
    caller.needs(role)?;
    Ok((shared.desk)(caller.principal.clone(), command).await)
}
