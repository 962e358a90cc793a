//! What the conditions of a Job, training job, Deployment or StatefulSet say.

use jiff::{SignedDuration, Timestamp};

use super::{Assessment, FailureClass, Symptom, Thresholds};
use crate::estate::index::{Job, holds};
use crate::estate::{Condition, Controller};

/// A controller's events older than this no longer describe the present.
const FRESH: SignedDuration = SignedDuration::from_mins(15);

/// True where the controller states success or suspension.
pub(super) fn ended_well(controller: &Controller) -> bool {
    controller.suspended
        || ["Complete", "Succeeded", "SuccessCriteriaMet"]
            .iter()
            .any(|kind| holds(&controller.conditions, kind))
}

pub(super) fn assess(
    job: &Job,
    controller: &Controller,
    thresholds: &Thresholds,
    now: Timestamp,
    found: &mut Assessment,
) {
    let since = |condition: &Condition| condition.since.unwrap_or(controller.created);
    let said = |condition: &Condition| {
        let text = condition
            .message
            .as_deref()
            .or(condition.reason.as_deref())
            .unwrap_or(&condition.kind);
        format!("{} {}: {text}", controller.kind, controller.name)
    };
    if controller.deleting.is_some() {
        return;
    }
    if controller.suspended {
        let detail = format!("{} {} is suspended", controller.kind, controller.name);
        let at = controller
            .conditions
            .iter()
            .find(|c| c.kind == "Suspended")
            .map_or(controller.created, since);
        found.now(Symptom::new(FailureClass::Disrupted, "Suspended", detail, at).expected());
        return;
    }
    if ended_well(controller) {
        return;
    }
    // FailureTarget comes first, while the pods are still being stopped; Failed follows it.
    let failed = ["Failed", "FailureTarget"].iter().find_map(|kind| {
        controller
            .conditions
            .iter()
            .find(|c| c.kind == *kind && c.status == "True")
    });
    if let Some(condition) = failed {
        let state = condition.reason.as_deref().unwrap_or("Failed");
        let symptom = Symptom::new(
            FailureClass::Crashed,
            state,
            said(condition),
            since(condition),
        );
        found.now(if state == "DeadlineExceeded" {
            symptom
        } else {
            symptom.wrapping()
        });
        return;
    }
    if let Some(condition) = controller.conditions.iter().find(|c| {
        c.kind == "Progressing"
            && c.status == "False"
            && c.reason.as_deref() == Some("ProgressDeadlineExceeded")
    }) {
        let symptom = Symptom::new(
            FailureClass::Degraded,
            "ProgressDeadlineExceeded",
            said(condition),
            since(condition),
        );
        found.now(symptom.wrapping());
    }
    if let Some(condition) = controller
        .conditions
        .iter()
        .find(|c| c.kind == "ReplicaFailure" && c.status == "True")
    {
        let state = condition.reason.as_deref().unwrap_or("ReplicaFailure");
        found.now(Symptom::new(
            FailureClass::Blocked,
            state,
            said(condition),
            since(condition),
        ));
    }
    refused_pods(job, controller, now, found);
    if let Some(condition) = controller
        .conditions
        .iter()
        .find(|c| c.kind == "Available" && c.status == "False")
    {
        let detail = format!(
            "{} {} has {} of {} replicas ready",
            controller.kind, controller.name, controller.ready, controller.desired
        );
        found.after(
            thresholds.settle_seconds,
            now,
            Symptom::new(
                FailureClass::Degraded,
                "Unavailable",
                detail,
                since(condition),
            )
            .wrapping(),
        );
    }
}

/// Quota and admission refuse pods before they exist: only the controller's events tell.
fn refused_pods(job: &Job, controller: &Controller, now: Timestamp, found: &mut Assessment) {
    let running = controller.active.max(controller.ready);
    if running >= controller.desired.max(1) {
        return;
    }
    let refusal = job.events.iter().rev().find(|event| {
        event.reason == "FailedCreate"
            && event.object.kind != "Pod"
            && event.object.name.starts_with(&controller.name)
    });
    if let Some(event) = refusal {
        let since = event.first.unwrap_or(event.last);
        found.within(FRESH, event.last, now, || {
            Symptom::new(
                FailureClass::Blocked,
                "FailedCreate",
                event.message.clone(),
                since,
            )
        });
    }
}
