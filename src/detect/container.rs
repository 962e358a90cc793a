//! What a container's state says.

use jiff::Timestamp;

use super::{Assessment, FailureClass, RESTART_WINDOW, Symptom, Thresholds};
use crate::estate::{Container, ContainerState, Pod, Termination};

/// Waiting reasons of a container that has only just begun.
const NORMAL_WAITS: [&str; 2] = ["ContainerCreating", "PodInitializing"];
/// Terminated reasons that mean the program never ran.
const NEVER_RAN: [&str; 2] = ["ContainerCannotRun", "StartError"];
/// SIGTERM: somebody asked it to stop. The container shows only that.
const SIGTERM_EXIT: i32 = 143;

pub(super) fn assess(
    pod: &Pod,
    part: &Container,
    thresholds: &Thresholds,
    now: Timestamp,
    found: &mut Assessment,
) {
    let about = |mut symptom: Symptom| {
        symptom = symptom.of_pod(pod);
        symptom.container = Some(part.name.to_string());
        symptom.image = Some(part.image.to_string());
        symptom
    };
    match &part.state {
        ContainerState::Waiting {
            reason: Some(reason),
            message,
        } if !NORMAL_WAITS.contains(&reason.as_str()) => {
            let since = part
                .last
                .as_ref()
                .and_then(|end| end.finished)
                .unwrap_or(pod.created);
            let told = message.clone().unwrap_or_else(|| reason.to_string());
            let detail = format!("container {} of {}: {told}", part.name, pod.name);
            if reason == "CrashLoopBackOff" {
                if let Some(end) = &part.last {
                    found.now(about(ended(pod, part, end, since)));
                }
                found.now(about(
                    Symptom::new(FailureClass::Crashed, reason, detail, since).wrapping(),
                ));
            } else {
                found.now(about(Symptom::new(
                    FailureClass::CannotStart,
                    reason,
                    detail,
                    since,
                )));
            }
        }
        ContainerState::Terminated(end)
            if end.exit_code != 0 || end.reason.as_deref() == Some("OOMKilled") =>
        {
            let since = end.finished.unwrap_or(pod.created);
            let symptom = about(ended(pod, part, end, since));
            let comes_back =
                pod.phase != "Failed" && pod.restart_policy.as_deref() != Some("Never");
            let plain = end.reason.as_deref().is_none_or(|reason| reason == "Error");
            if comes_back && plain {
                found.after(thresholds.restarting_seconds, now, symptom);
            } else {
                found.now(symptom);
            }
        }
        // It runs again, but what killed it will come back.
        ContainerState::Running { .. } => {
            if let Some(end) = part
                .last
                .as_ref()
                .filter(|end| end.reason.as_deref() == Some("OOMKilled"))
            {
                let since = end.finished.unwrap_or(now);
                found.within(RESTART_WINDOW, since, now, || {
                    about(ended(pod, part, end, since))
                });
            }
        }
        ContainerState::Waiting { .. }
        | ContainerState::Terminated(_)
        | ContainerState::Unknown => {}
    }
}

fn ended(pod: &Pod, part: &Container, end: &Termination, since: Timestamp) -> Symptom {
    let reason = end.reason.as_deref().unwrap_or("Error");
    let kind = if part.init {
        "init container"
    } else {
        "container"
    };
    let mut detail = format!(
        "{kind} {} of {} ended with exit code {}",
        part.name, pod.name, end.exit_code
    );
    if reason != "Error" {
        detail.push_str(" (");
        detail.push_str(reason);
        detail.push(')');
    }
    if let Some(message) = end
        .message
        .as_deref()
        .and_then(|m| m.lines().find(|line| !line.trim().is_empty()))
    {
        detail.push_str(": ");
        detail.push_str(message.trim());
    }
    let class = if NEVER_RAN.contains(&reason) {
        FailureClass::CannotStart
    } else {
        FailureClass::Crashed
    };
    let symptom = Symptom::new(class, reason, detail, since);
    // A rank that was told to stop follows another's failure; alone it is still a pod that failed.
    if end.exit_code == SIGTERM_EXIT {
        symptom.wrapping()
    } else {
        symptom
    }
}
