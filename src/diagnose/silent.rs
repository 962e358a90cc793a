//! Whether a job that runs gets anywhere, from the evidence: the rules are those of detection. Pure.

use super::Evidence;
use crate::detect::silent::{Quiet, Silence, purpose, silences};
use crate::estate::progress::Progress;
use crate::estate::{Container, ContainerState};

/// What the collected logs say of progress, on top of what was known before.
pub(super) fn progress(evidence: &Evidence) -> Progress {
    let mut progress = evidence.progress.clone().unwrap_or_default();
    let mut heard = false;
    for log in evidence.logs.iter().filter(|log| !log.previous) {
        let Some(pod) = evidence.pods.iter().find(|pod| pod.name == log.pod) else {
            continue;
        };
        let main = |container: &&Container| container.name == log.container;
        let Some(container) = pod.containers.iter().find(main) else {
            continue;
        };
        if container.init || container.is_sidecar() {
            continue;
        }
        let started = match &container.state {
            ContainerState::Running { started } => *started,
            ContainerState::Waiting { .. }
            | ContainerState::Terminated(_)
            | ContainerState::Unknown => None,
        };
        let known = progress.pod(&pod.name, &pod.uid, started);
        known.rank = pod.rank;
        known.node.clone_from(&pod.node);
        for line in &log.lines {
            known.take(line.at, &line.text);
        }
        heard = true;
    }
    if heard {
        progress.read = Some(evidence.collected);
    }
    progress
}

/// Every way in which the job gets nowhere though it runs.
pub(super) fn of(evidence: &Evidence) -> Vec<Silence> {
    let progress = progress(evidence);
    let kind = evidence.workload.as_ref().map_or_else(
        || {
            let top = evidence
                .controllers
                .iter()
                .min_by_key(|c| (c.owner.is_some(), c.created));
            top.map_or("Pod", |controller| controller.kind.as_str())
        },
        |workload| workload.kind.as_str(),
    );
    let service = matches!(
        kind,
        "Deployment"
            | "StatefulSet"
            | "DaemonSet"
            | "Inference"
            | "DistributedInference"
            | "Service"
    );
    let quiet = Quiet {
        purpose: purpose(kind, &evidence.job.name, service, &evidence.pods),
        pods: evidence.pods.iter().collect(),
        workload: evidence.workload.as_ref(),
        progress: Some(&progress),
    };
    silences(&quiet, &evidence.patience, evidence.collected)
}
