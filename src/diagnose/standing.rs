//! How the job stands: which of its pods wait, run well, or ended, and who died when. Pure.

use jiff::{SignedDuration, Timestamp};

use super::Evidence;
use crate::estate::{Container, ContainerState, Controller, Phase, Pod, Termination};

/// A container that came back and stayed up this long has recovered.
pub(super) const RECOVERED_AFTER: SignedDuration = SignedDuration::from_mins(15);

/// A pod that is asked to go away has 30 s by default; this is twenty times that.
pub(super) const TERMINATING: SignedDuration = SignedDuration::from_mins(10);

pub(super) fn is_sidecar(container: &Container) -> bool {
    container.is_sidecar()
}

/// How a container ended, if that matters for the job.
#[derive(Clone, Debug)]
pub(super) struct Death<'a> {
    pub(super) pod: &'a Pod,
    pub(super) container: &'a Container,
    pub(super) end: &'a Termination,
    /// It was an earlier run of the container.
    pub(super) previous: bool,
}

impl Death<'_> {
    /// Asked or forced to stop, which is how the rest of a gang ends.
    pub(super) fn is_teardown(&self) -> bool {
        matches!(self.end.exit_code, 143 | 137) && self.end.reason.as_deref() != Some("OOMKilled")
    }

    /// `startedAt` and `finishedAt` of a container that never started are the epoch.
    pub(super) fn at(&self) -> Option<Timestamp> {
        self.end.finished.filter(|at| *at > Timestamp::UNIX_EPOCH)
    }
}

/// Every bad end of the job's containers, side-cars left out unless nothing else died in their pod.
pub(super) fn deaths(evidence: &Evidence) -> Vec<Death<'_>> {
    let mut deaths = Vec::new();
    for pod in &evidence.pods {
        let before = deaths.len();
        let of = |sidecars: bool| {
            pod.containers
                .iter()
                .filter(move |container| is_sidecar(container) == sidecars)
                .flat_map(move |container| ends(pod, container))
        };
        deaths.extend(of(false));
        if deaths.len() == before && pod.phase != "Succeeded" && !is_ready(pod) {
            deaths.extend(of(true));
        }
    }
    deaths
}

fn ends<'a>(pod: &'a Pod, container: &'a Container) -> impl Iterator<Item = Death<'a>> {
    let current = match &container.state {
        ContainerState::Terminated(end) => Some((end, false)),
        ContainerState::Waiting { .. }
        | ContainerState::Running { .. }
        | ContainerState::Unknown => None,
    };
    let last = container.last.as_ref().map(|end| (end, true));
    current
        .into_iter()
        .chain(last)
        .filter(|(end, _)| is_bad(end))
        .map(move |(end, previous)| Death {
            pod,
            container,
            end,
            previous,
        })
}

/// True for ends that say nothing against the node: the application's own errors, and being told to stop.
pub(super) fn is_by_the_job(exit_code: i32) -> bool {
    matches!(exit_code, 0 | 1 | 2 | 125..=128 | 130 | 143)
}

fn is_bad(end: &Termination) -> bool {
    // A killed child can leave the container with exit code 0 and the reason OOMKilled.
    end.exit_code != 0
        || matches!(
            end.reason.as_deref(),
            Some("OOMKilled" | "StartError" | "ContainerCannotRun")
        )
}

/// No container of the pod, but init containers, has ever started.
pub(super) fn is_starting(pod: &Pod) -> bool {
    pod.phase != "Failed" && pod.phase != "Succeeded" && has_never_run(pod)
}

/// No container of the pod, but init containers, has started, and none will if the pod has failed.
pub(super) fn has_never_run(pod: &Pod) -> bool {
    pod.containers
        .iter()
        .filter(|container| !container.init)
        .all(|container| {
            container.last.is_none()
                && matches!(
                    container.state,
                    ContainerState::Waiting { .. } | ContainerState::Unknown
                )
        })
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    pod.phase == "Running"
        && pod
            .containers
            .iter()
            .filter(|container| !container.init && !is_sidecar(container))
            .all(|container| container.ready || ended_well(container))
}

fn ended_well(container: &Container) -> bool {
    matches!(&container.state, ContainerState::Terminated(end) if !is_bad(end))
}

/// Waits for a node.
pub(super) fn is_unscheduled(pod: &Pod) -> bool {
    pod.phase == "Pending" && pod.node.is_none()
}

/// A container waits because of its image.
pub(super) fn is_pulling(pod: &Pod) -> bool {
    pod.containers.iter().any(|container| {
        matches!(&container.state, ContainerState::Waiting { reason: Some(reason), .. }
            if matches!(reason.as_str(), "ImagePullBackOff" | "ErrImagePull" | "ImageInspectError" | "RegistryUnavailable"))
    })
}

/// Restarted, but up again for long enough.
pub(super) fn has_recovered(pod: &Pod, now: Timestamp) -> bool {
    let own = |container: &&Container| !is_sidecar(container);
    is_ready(pod)
        && pod.containers.iter().filter(own).all(|container| {
            container
                .last
                .as_ref()
                .and_then(|end| end.finished)
                .is_none_or(|at| now.duration_since(at) >= RECOVERED_AFTER)
        })
}

/// Asked to go away, and within the time that this takes: nothing is wrong with it.
fn is_leaving(pod: &Pod, now: Timestamp) -> bool {
    pod.deleting
        .is_some_and(|since| now.duration_since(since) < TERMINATING)
        && pod
            .containers
            .iter()
            .all(|container| ends(pod, container).next().is_none())
}

/// A condition `kind` is true of the controller.
pub(super) fn has_condition(controller: &Controller, kind: &str) -> bool {
    controller
        .conditions
        .iter()
        .any(|condition| condition.kind == kind && condition.status == "True")
}

/// The job as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// All it asks for runs and is ready.
    Well,
    /// It ended without an error.
    Completed,
    /// On its way up, and not for long.
    Starting,
    /// Anything else.
    Troubled,
}

pub(super) fn standing(evidence: &Evidence) -> Standing {
    /// What takes longer to start deserves an explanation.
    const STARTING: SignedDuration = SignedDuration::from_mins(5);
    let now = evidence.collected;
    let phase = evidence.workload.as_ref().map(|workload| &workload.phase);
    if matches!(phase, Some(Phase::Completed))
        || evidence.controllers.iter().any(|controller| {
            has_condition(controller, "Complete") || has_condition(controller, "Succeeded")
        })
        || (!evidence.pods.is_empty() && evidence.pods.iter().all(|pod| pod.phase == "Succeeded"))
    {
        return Standing::Completed;
    }
    let says_bad = matches!(
        phase,
        Some(Phase::Failed | Phase::Degraded | Phase::Unknown | Phase::Stopped | Phase::Stopping)
    ) || evidence.controllers.iter().any(|controller| {
        controller.suspended
            || has_condition(controller, "Failed")
            || has_condition(controller, "FailureTarget")
            || controller
                .conditions
                .iter()
                .any(|condition| condition.reason.as_deref() == Some("ProgressDeadlineExceeded"))
    });
    if says_bad {
        return Standing::Troubled;
    }
    let young = evidence
        .pods
        .iter()
        .all(|pod| now.duration_since(pod.created) < STARTING);
    let mut starting = false;
    for pod in &evidence.pods {
        if pod.phase == "Succeeded" || has_recovered(pod, now) || is_leaving(pod, now) {
            continue;
        }
        if is_starting(pod) && young && !is_unscheduled(pod) && !is_pulling(pod) {
            starting = true;
            continue;
        }
        return Standing::Troubled;
    }
    // A controller's count may be older than its pods' own word.
    let serving = evidence
        .pods
        .iter()
        .filter(|pod| is_ready(pod) || is_leaving(pod, now))
        .count();
    let short = evidence.controllers.iter().any(|controller| {
        matches!(controller.kind.as_str(), "Deployment" | "StatefulSet")
            && controller.ready < controller.desired
            && serving < controller.desired as usize
    });
    let submitted = evidence
        .workload
        .as_ref()
        .is_some_and(|workload| now.duration_since(workload.created) < STARTING);
    match (phase, evidence.pods.is_empty()) {
        (Some(Phase::Creating | Phase::Initializing | Phase::Pending), true) if submitted => {
            Standing::Starting
        }
        (_, false) if starting || (short && young) => Standing::Starting,
        (_, false) if short => Standing::Troubled,
        (None, true) if is_scaled_to_zero(evidence) => Standing::Well,
        (_, false) | (Some(Phase::Running | Phase::Updating), true) => Standing::Well,
        (Some(_) | None, true) => Standing::Troubled,
    }
}

/// It has no pods because it asks for none.
fn is_scaled_to_zero(evidence: &Evidence) -> bool {
    !evidence.controllers.is_empty()
        && evidence.controllers.iter().all(|controller| {
            matches!(
                controller.kind.as_str(),
                "Deployment" | "ReplicaSet" | "StatefulSet"
            ) && controller.desired == 0
        })
}
