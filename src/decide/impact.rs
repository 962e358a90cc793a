//! What an action on a job would touch: how many of its instances, whose work is at stake, who else keeps the object.
//! Pure.

use jiff::{SignedDuration, Timestamp};

use super::service_of;
use crate::action::{ActionKind, ActionSpec, Takes, Target};
use crate::estate::index::Job;
use crate::estate::progress::Progress;
use crate::safety::{Place, Scope};

/// An action, weighed against the job it acts on.
#[derive(Clone, Debug, PartialEq)]
pub struct Weighed {
    /// Without a cause.
    pub scope: Scope,
    /// Running and ready instances that it takes down.
    pub healthy_taken: u64,
    /// GitOps owns the object.
    pub owned_elsewhere: bool,
    /// What people should know before they say yes.
    pub impact: Vec<String>,
}

/// Weighs an action against its job as it is seen now.
#[must_use]
pub fn weigh(spec: &ActionSpec, job: &Job, now: Timestamp) -> Weighed {
    let taken = healthy_taken(spec, job);
    let gitops = gitops(spec, job);
    Weighed {
        scope: Scope {
            service: service(spec, job),
            cause: None,
            instances: instances(job),
            touched: taken,
            failing_since: None,
            place: Place::default(),
        },
        healthy_taken: taken,
        owned_elsewhere: gitops.is_some(),
        impact: impact(spec, job, taken, gitops, now),
    }
}

fn service(spec: &ActionSpec, job: &Job) -> String {
    match &spec.target {
        Target::Kubernetes {
            cluster,
            kind,
            name,
            ..
        } if kind == "Node" => format!("{cluster}/node/{name}"),
        Target::Named { .. } => spec.target.key(),
        Target::Kubernetes { .. } | Target::Runai { .. } => service_of(job),
    }
}

/// Instances the job has, or should have.
pub(crate) fn instances(job: &Job) -> u64 {
    let pods = job.current_pods().len() as u64;
    let desired: u64 = job.controllers.iter().map(|c| u64::from(c.desired)).sum();
    let requested = job
        .workload
        .as_ref()
        .and_then(|w| w.requested_pods)
        .map_or(0, u64::from);
    pods.max(desired).max(requested)
}

fn running(job: &Job) -> u64 {
    let seen = job.live_pods().filter(|pod| pod.phase == "Running").count() as u64;
    let stated = job
        .workload
        .as_ref()
        .map_or(0, |w| u64::from(w.running_pods));
    if job.pods.is_empty() { stated } else { seen }
}

/// Running, ready instances that the action ends.
fn healthy_taken(spec: &ActionSpec, job: &Job) -> u64 {
    let ready = || {
        job.live_pods()
            .filter(|pod| pod.phase == "Running" && pod.is_ready())
            .count() as u64
    };
    match spec.kind.entry().takes {
        Takes::Nothing | Takes::Node => 0,
        Takes::Instance => {
            let name = spec.target.name();
            let pod = job.live_pods().find(|pod| pod.name == name);
            u64::from(pod.is_some_and(|pod| pod.phase == "Running" && pod.is_ready()))
        }
        Takes::Counted => ended_by_scaling(spec, job).min(ready()),
        Takes::Whole => match spec.kind {
            // The controller takes no more at once than its own strategy allows.
            ActionKind::RolloutRestart
            | ActionKind::RolloutUndo
            | ActionKind::SetImage
            | ActionKind::PatchResources
            | ActionKind::PatchProbes => ready().min(1),
            _ => ready(),
        },
    }
}

fn gitops<'a>(spec: &ActionSpec, job: &'a Job) -> Option<&'a str> {
    // Pods and the scheduling of nodes are not what a repository describes.
    if spec.kind.acts_on("Pod") || spec.kind.acts_on("Node") {
        return None;
    }
    job.controllers
        .iter()
        .find_map(|controller| controller.gitops.as_deref())
}

/// Replicas that there would be fewer of.
fn ended_by_scaling(spec: &ActionSpec, job: &Job) -> u64 {
    let desired = job
        .controllers
        .iter()
        .find(|controller| controller.name == spec.target.name())
        .map_or(0, |controller| u64::from(controller.desired));
    let wanted = spec
        .parameters
        .integer("replicas")
        .and_then(|wanted| u64::try_from(wanted).ok())
        .unwrap_or(desired);
    desired.saturating_sub(wanted)
}

/// What people should know before they say yes.
fn impact(
    spec: &ActionSpec,
    job: &Job,
    healthy: u64,
    gitops: Option<&str>,
    now: Timestamp,
) -> Vec<String> {
    let mut told = Vec::new();
    let total = instances(job);
    let running = running(job);
    match spec.kind {
        ActionKind::CordonNode => {
            told.push(
                "New pods will not be placed on the node; what runs there goes on.".to_owned(),
            );
            told.push("Other jobs on the node keep their GPUs until they end.".to_owned());
        }
        ActionKind::UncordonNode => {
            told.push("New pods may be placed on the node again.".to_owned());
        }
        ActionKind::DeletePod => {
            told.push(format!(
                "Ends 1 of {} of the job; its controller makes another.",
                pods(total)
            ));
            // A gang ends with any of its pods; what serves has nothing that a checkpoint could save.
            if !job.is_service() {
                told.extend(at_stake(job, running, now));
            }
        }
        ActionKind::Scale => {
            let ended = ended_by_scaling(spec, job);
            if ended == 0 {
                told.push(format!("Adds to the {} there are.", pods(total)));
            } else {
                told.push(format!("Ends {ended} of {}.", pods(total)));
                told.extend(at_stake(job, running, now));
            }
        }
        ActionKind::TakeOutOfTraffic => {
            told.push(format!(
                "1 of {} gets no traffic any more; it runs on.",
                pods(total)
            ));
        }
        ActionKind::PutIntoTraffic => told.push("The pod gets traffic again.".to_owned()),
        ActionKind::RunDiagnostic => {
            told.push("Runs one command beside the job; nothing is changed.".to_owned());
        }
        ActionKind::RolloutRestart
        | ActionKind::RolloutUndo
        | ActionKind::SetImage
        | ActionKind::PatchResources
        | ActionKind::PatchProbes => {
            told.push(format!(
                "Replaces {}, as fast as the rollout strategy allows.",
                pods(total)
            ));
        }
        ActionKind::ResumeJob | ActionKind::RunaiResume => {
            told.push(format!(
                "Starts {} again and asks for {}.",
                pods(total),
                gpus(job.requested_gpus())
            ));
        }
        // Whatever else is proposed ends the job's pods.
        _ => {
            if running == 0 {
                told.push("No pod of the job is running, so nothing is interrupted.".to_owned());
            } else {
                told.push(format!(
                    "Ends {running} running of {} ({healthy} ready); local disks are lost.",
                    pods(total)
                ));
            }
            told.push(format!("The job holds {}.", gpus(job.gpus())));
            told.extend(at_stake(job, running, now));
        }
    }
    if spec.kind == ActionKind::RunaiDelete {
        told.push("The workload is deleted for good.".to_owned());
    }
    if spec.kind == ActionKind::RecreateJob {
        told.push("The Job is deleted and made anew from its spec; its finished pods and their logs go with it.".to_owned());
    }
    if let Some(owner) = gitops {
        told.push(format!(
            "{owner} owns it and may undo or repeat the change."
        ));
    }
    told
}

/// How much work a restart may lose: what was done since the last checkpoint, or that its age is not known.
pub(crate) fn at_stake(job: &Job, running: u64, now: Timestamp) -> Option<String> {
    if running == 0 {
        return None;
    }
    let ran = job
        .workload
        .as_ref()
        .and_then(|w| w.running_seconds)
        .map(|s| SignedDuration::from_secs(i64::try_from(s).unwrap_or(i64::MAX)))
        .or_else(|| job.created().map(|created| now.duration_since(created)))?;
    let hours = ran.as_secs_f64() / 3600.0;
    if let Some(saved) = job.progress.as_ref().and_then(Progress::last_checkpoint) {
        let age = now.duration_since(saved);
        return Some(format!(
            "It ran for {}; its last checkpoint is {} old, so {:.1} GPU-hours are at stake.",
            span(ran),
            span(age),
            age.as_secs_f64() / 3600.0 * job.gpus()
        ));
    }
    Some(format!(
        "It ran for {}; the age of its last checkpoint is not known, so up to {:.1} GPU-hours are at stake.",
        span(ran),
        hours * job.gpus()
    ))
}

fn pods(n: u64) -> String {
    if n == 1 {
        "1 pod".to_owned()
    } else {
        format!("{n} pods")
    }
}

fn gpus(n: f64) -> String {
    if n <= 0.0 {
        "no GPU".to_owned()
    } else if (n - 1.0).abs() < f64::EPSILON {
        "1 GPU".to_owned()
    } else {
        format!("{n} GPUs")
    }
}

fn span(length: SignedDuration) -> String {
    let minutes = length.as_mins().max(0);
    if minutes < 60 {
        format!("{minutes} min")
    } else {
        format!("{} h {} min", minutes / 60, minutes % 60)
    }
}
