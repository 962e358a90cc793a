//! Whether a job that runs gets anywhere, from the evidence: the rules are those of detection. Pure.

use super::Evidence;
use crate::detect::silent::{Quiet, Silence, purpose, runs, silences};
use crate::estate::progress::{GpuUse, PodGpus, Progress};
use crate::estate::{Container, ContainerState};

/// Lines of a log that are read for progress, the last ones: as many as are collected of a job that runs, and more.
const LINES: usize = 2_000;

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
        for line in &log.lines[log.lines.len().saturating_sub(LINES)..] {
            known.take(line.at, &line.text);
        }
        heard = true;
    }
    if heard {
        progress.read = Some(evidence.collected);
    }
    if progress.gpus.is_none() {
        progress.gpus = measured(evidence);
    }
    progress
}

/// What the metrics that were read for this diagnosis say of the GPUs.
fn measured(evidence: &Evidence) -> Option<GpuUse> {
    let mut used = GpuUse::default();
    for gpu in &evidence.measured.gpus {
        let (Some(pod), Some(first), Some(last)) =
            (&gpu.pod, gpu.utilization.first(), gpu.utilization.last())
        else {
            continue;
        };
        let seconds = last.at.duration_since(first.at).as_secs();
        let values = || gpu.utilization.iter().map(|reading| reading.value);
        let memory = gpu.memory_used.iter().map(|reading| reading.value);
        let of_gpu = PodGpus {
            gpus: 1,
            window_seconds: u64::try_from(seconds).unwrap_or(0),
            least: values().fold(f64::INFINITY, f64::min),
            most: values().fold(0.0, f64::max),
            memory_mib: memory.reduce(f64::max),
        };
        used.pods
            .entry(pod.clone())
            .and_modify(|known| {
                known.gpus += 1;
                known.window_seconds = known.window_seconds.min(of_gpu.window_seconds);
                known.least = known.least.min(of_gpu.least);
                known.most = known.most.max(of_gpu.most);
                known.memory_mib = known
                    .memory_mib
                    .zip(of_gpu.memory_mib)
                    .map(|(known, other)| known.max(other));
            })
            .or_insert(of_gpu);
    }
    (!used.pods.is_empty()).then_some(used)
}

/// Every way in which the job gets nowhere though it runs.
pub(super) fn of(evidence: &Evidence) -> Vec<Silence> {
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
        progress: None,
    };
    // The logs of a gang that ended are long, and tell nothing here.
    if !runs(&quiet) {
        return Vec::new();
    }
    let progress = progress(evidence);
    let quiet = Quiet {
        progress: Some(&progress),
        ..quiet
    };
    silences(&quiet, &evidence.patience, evidence.collected)
}
