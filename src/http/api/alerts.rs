//! Alerts: lists, one with its message and timeline, and what people do about it.

use axum::extract::State;
use axum::{Extension, Json};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::{Page, Paging, ask_desk};
use crate::alert::{Alert, AlertState, Severity};
use crate::chat::alert::card;
use crate::chat::card::{Card, Verb};
use crate::desk::Command;
use crate::diagnose::{Diagnosis, Role};
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::extract::{Json as Body, Path, Query};
use crate::http::problem::{Problem, of_answer};
use crate::store::Store;

/// Rows read at once while a filter passes over those that do not fit.
const READ: i64 = 500;

/// An alert in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct AlertSummary {
    id: String,
    number: i64,
    #[schema(value_type = String, example = "high")]
    severity: Severity,
    #[schema(value_type = String, example = "open")]
    state: AlertState,
    job: String,
    project: Option<String>,
    namespace: String,
    cluster: String,
    kind: String,
    failure: String,
    detail: String,
    #[schema(value_type = String)]
    opened: Timestamp,
    #[schema(value_type = String)]
    updated: Timestamp,
    #[schema(value_type = Option<String>)]
    resolved: Option<Timestamp>,
    resolution: Option<String>,
    acknowledged_by: Option<String>,
    /// The end of a silence of this alert alone, or of what covers it.
    #[schema(value_type = Option<String>)]
    silenced_until: Option<Timestamp>,
    /// The silence or maintenance window that covers it: `silence S3`.
    silenced_by: Option<String>,
    /// Why PagerDuty cannot be told of it for now: nobody is woken.
    paging_trouble: Option<String>,
    /// Title of the root cause, once there is a diagnosis.
    cause: Option<String>,
    /// Observations folded into it.
    count: u64,
    pods_failing: u64,
    /// The group whose message tells it, if it has none of its own.
    group_id: Option<String>,
    demo: bool,
}

impl From<Alert> for AlertSummary {
    fn from(alert: Alert) -> Self {
        let cause = alert.diagnosis.and_then(|diagnosis| {
            let mut findings = diagnosis.findings.into_iter();
            findings
                .find(|finding| finding.role == Role::Root)
                .map(|finding| finding.title)
        });
        Self {
            id: alert.id,
            number: alert.number,
            severity: alert.severity,
            state: alert.state,
            job: alert.subject.name,
            project: alert.subject.project,
            namespace: alert.subject.namespace,
            cluster: alert.subject.cluster,
            kind: alert.subject.kind,
            failure: alert.failure,
            detail: crate::redact::scrub(&alert.detail),
            opened: alert.opened,
            updated: alert.updated,
            resolved: alert.resolved,
            resolution: alert.resolution,
            acknowledged_by: alert.acknowledged_by,
            silenced_until: alert
                .silenced_until
                .max(alert.covered.as_ref().map(|cover| cover.until)),
            silenced_by: alert.covered.map(|cover| cover.by),
            paging_trouble: alert.paging_trouble,
            cause,
            count: alert.count,
            pods_failing: alert.pods_failing,
            group_id: alert.group_id,
            demo: alert.demo,
        }
    }
}

/// An alert with its message and its timeline.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct AlertDetail {
    #[serde(flatten)]
    alert: AlertSummary,
    /// The full diagnosis, as `troubleshoot` gives it.
    #[schema(value_type = Option<Object>)]
    diagnosis: Option<Value>,
    /// The message as any surface shows it.
    #[schema(value_type = Object)]
    card: Card,
    timeline: Vec<Happening>,
}

/// One line of a timeline.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Happening {
    #[schema(value_type = String)]
    at: Timestamp,
    kind: String,
    actor: Option<String>,
    note: String,
}

/// Which alerts.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Which {
    /// One state; `all` for those that are resolved too. Not given: all that are not resolved.
    state: Option<StateFilter>,
    /// One severity: low, medium, high, critical.
    #[param(value_type = Option<String>)]
    severity: Option<Severity>,
    project: Option<String>,
    namespace: Option<String>,
}

/// Which states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum StateFilter {
    All,
    Open,
    Acknowledged,
    Mitigating,
    Resolved,
}

impl Which {
    fn fits(&self, alert: &Alert) -> bool {
        let state = match self.state {
            None | Some(StateFilter::All) => true,
            Some(StateFilter::Open) => alert.state == AlertState::Open,
            Some(StateFilter::Acknowledged) => alert.state == AlertState::Acknowledged,
            Some(StateFilter::Mitigating) => alert.state == AlertState::Mitigating,
            Some(StateFilter::Resolved) => alert.state == AlertState::Resolved,
        };
        state
            && self
                .severity
                .is_none_or(|severity| severity == alert.severity)
            && (self.project.is_none() || self.project == alert.subject.project)
            && self
                .namespace
                .as_ref()
                .is_none_or(|namespace| *namespace == alert.subject.namespace)
    }

    fn resolved_too(&self) -> bool {
        matches!(self.state, Some(StateFilter::All | StateFilter::Resolved))
    }
}

/// Alerts, newest first
#[utoipa::path(get, path = "/api/v1/alerts", tag = "alerts", params(Which, Paging),
    responses((status = 200, body = Page<AlertSummary>)))]
pub(in crate::http) async fn list(
    State(shared): State<Shared>,
    Query(which): Query<Which>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<AlertSummary>>, Problem> {
    let (alerts, next) = page(&shared.store, &which, &paging).await?;
    Ok(Json(Page {
        items: alerts.into_iter().map(AlertSummary::from).collect(),
        next,
    }))
}

/// The alerts under the name of incidents
///
/// This version has no incidents beyond alerts: the list is that of `/api/v1/alerts`.
#[utoipa::path(get, path = "/api/v1/incidents", tag = "alerts", params(Which, Paging),
    responses((status = 200, body = Page<AlertSummary>)))]
pub(in crate::http) async fn incidents(
    State(shared): State<Shared>,
    Query(which): Query<Which>,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Problem> {
    let (alerts, next) = page(&shared.store, &which, &paging).await?;
    let items: Vec<AlertSummary> = alerts.into_iter().map(AlertSummary::from).collect();
    Ok(Json(json!({
        "items": items,
        "next": next,
        "note": "a view of /api/v1/alerts: this version keeps no incidents beyond alerts",
    })))
}

async fn page(
    store: &Store,
    which: &Which,
    paging: &Paging,
) -> Result<(Vec<Alert>, Option<String>), Problem> {
    let limit = paging.limit()?;
    let mut before: Option<i64> = paging.cursor()?;
    let mut items = Vec::new();
    loop {
        let read = store
            .alerts_before(before, which.resolved_too(), READ)
            .await?;
        let at_end = read.len() < usize::try_from(READ).unwrap_or(usize::MAX);
        for alert in read {
            if items.len() == limit {
                return Ok((items, before.map(|number| number.to_string())));
            }
            before = Some(alert.number);
            if which.fits(&alert) {
                items.push(alert);
            }
        }
        if at_end {
            return Ok((items, None));
        }
    }
}

/// One alert with its message and timeline
#[utoipa::path(get, path = "/api/v1/alerts/{number}", tag = "alerts", params(("number" = i64, Path)),
    responses((status = 200, body = AlertDetail), (status = 404, description = "no such alert")))]
pub(in crate::http) async fn show(
    State(shared): State<Shared>,
    Path(number): Path<i64>,
) -> Result<Json<AlertDetail>, Problem> {
    let alert = by_number(&shared, number).await?;
    let timeline = shared.store.timeline(&alert.id).await?;
    let diagnosis = alert.diagnosis.as_ref().map(Diagnosis::json);
    let card = message(&shared, alert.clone()).await?;
    Ok(Json(AlertDetail {
        alert: alert.into(),
        diagnosis,
        card,
        timeline: timeline
            .into_iter()
            .map(|entry| Happening {
                at: entry.at,
                kind: entry.kind,
                actor: entry.actor,
                note: entry.note,
            })
            .collect(),
    }))
}

/// The message of an alert as every surface shows it.
pub(super) async fn message(shared: &Shared, alert: Alert) -> Result<Card, Problem> {
    Ok(card(&shared.views.alert(alert).await?))
}

/// Takes an alert on
#[utoipa::path(post, path = "/api/v1/alerts/{number}/ack", tag = "alerts", params(("number" = i64, Path)),
    responses((status = 200, body = Object), (status = 404, description = "no such alert"),
        (status = 409, description = "it cannot be done now")))]
pub(in crate::http) async fn acknowledge(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(number): Path<i64>,
) -> Result<Json<Value>, Problem> {
    press(&shared, &caller, number, Verb::Acknowledge).await
}

/// Ends an alert by hand
#[utoipa::path(post, path = "/api/v1/alerts/{number}/resolve", tag = "alerts", params(("number" = i64, Path)),
    responses((status = 200, body = Object), (status = 404, description = "no such alert"),
        (status = 409, description = "it cannot be done now")))]
pub(in crate::http) async fn resolve(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(number): Path<i64>,
) -> Result<Json<Value>, Problem> {
    press(&shared, &caller, number, Verb::Resolve).await
}

/// For how long an alert is to be silent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Silence {
    /// 1, 4 or 24.
    hours: u32,
}

/// Silences an alert for one, four or twenty-four hours
#[utoipa::path(post, path = "/api/v1/alerts/{number}/silence", tag = "alerts", params(("number" = i64, Path)),
    request_body = Silence,
    responses((status = 200, body = Object), (status = 404, description = "no such alert"),
        (status = 409, description = "it cannot be done now")))]
pub(in crate::http) async fn silence(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(number): Path<i64>,
    Body(silence): Body<Silence>,
) -> Result<Json<Value>, Problem> {
    let verb = match silence.hours {
        1 => Verb::Silence1h,
        4 => Verb::Silence4h,
        24 => Verb::Silence1d,
        _ => return Err(Problem::invalid("`hours` must be 1, 4 or 24")),
    };
    press(&shared, &caller, number, verb).await
}

async fn press(
    shared: &Shared,
    caller: &Caller,
    number: i64,
    verb: Verb,
) -> Result<Json<Value>, Problem> {
    let alert = by_number(shared, number).await?;
    let command = Command::Press {
        verb,
        id: alert.id,
        reason: None,
    };
    of_answer(ask_desk(shared, caller, command).await?)
}

async fn by_number(shared: &Shared, number: i64) -> Result<Alert, Problem> {
    let alert = shared.store.alert_by_number(number).await?;
    alert.ok_or_else(|| Problem::not_found(format!("there is no alert #{number}")))
}
