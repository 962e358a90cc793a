//! What Run:AI's phase says of a workload.

use jiff::Timestamp;

use super::{Assessment, FailureClass, Symptom, Thresholds};
use crate::estate::index::Job;
use crate::estate::{Phase, Workload};

/// True where Run:AI counts the workload as finished without error, or as being removed.
pub(super) fn ended_well(workload: &Workload) -> bool {
    matches!(
        workload.phase,
        Phase::Completed | Phase::Deleting | Phase::Terminating
    )
}

pub(super) fn assess(
    job: &Job,
    workload: &Workload,
    thresholds: &Thresholds,
    now: Timestamp,
    found: &mut Assessment,
) {
    let since = workload.phase_updated.unwrap_or(workload.created);
    let told = workload
        .phase_message
        .as_deref()
        .filter(|message| !message.is_empty());
    let phase = workload.phase.as_str();
    let say = |fallback: &str| told.map_or_else(|| fallback.to_owned(), str::to_owned);
    match &workload.phase {
        Phase::Failed => {
            let reason = workload
                .conditions
                .iter()
                .find(|c| c.kind == "Failed")
                .and_then(|c| c.reason.clone());
            let detail = say(reason
                .as_deref()
                .unwrap_or("Run:AI reports the workload as failed"));
            found.now(Symptom::new(FailureClass::Crashed, phase, detail, since).wrapping());
        }
        Phase::Degraded => {
            let detail = say("Run:AI reports that some of its pods are missing or unhealthy");
            found.now(Symptom::new(FailureClass::Degraded, phase, detail, since).wrapping());
        }
        Phase::Pending => {
            let stated = workload.phase_reason.as_deref();
            let patience = if stated.is_some() {
                thresholds.quota_seconds
            } else {
                thresholds.pending_seconds
            };
            let detail = say("waits for resources");
            found.after(
                patience,
                now,
                Symptom::new(
                    FailureClass::Blocked,
                    stated.unwrap_or(phase),
                    detail,
                    since,
                ),
            );
        }
        Phase::Creating | Phase::Initializing | Phase::Resuming | Phase::Updating => {
            let detail = say("is taking unusually long to start");
            found.after(
                thresholds.starting_seconds,
                now,
                Symptom::new(FailureClass::CannotStart, phase, detail, since).wrapping(),
            );
        }
        Phase::Stopping | Phase::Deleting | Phase::Terminating => {
            let detail = say("is taking unusually long to stop");
            found.after(
                thresholds.terminating_seconds,
                now,
                Symptom::new(FailureClass::Stuck, phase, detail, since).wrapping(),
            );
        }
        // A mass of Unknown phases is a disconnected cluster, which its source reports; one that has live pods is
        // better judged by them.
        Phase::Unknown if job.live_pods().next().is_none() => {
            let detail = say("Run:AI has no fresh word of it from its cluster");
            found.after(
                thresholds.pending_seconds,
                now,
                Symptom::new(FailureClass::Stuck, phase, detail, since).wrapping(),
            );
        }
        Phase::Stopped => {
            found.now(
                Symptom::new(FailureClass::Disrupted, phase, say("was stopped"), since).expected(),
            );
        }
        Phase::Running | Phase::Completed | Phase::Unknown | Phase::Other(_) => {}
    }
}
