//! What controllers write into the status of their objects.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::objects::{controller_kind, stamp};
use super::script::JobKind;
use super::world::{SimJob, SimPod, World};
use crate::estate::Phase;

impl World {
    /// Has the controller's status and the Run:AI phase brought in line with the pods by the end of the instant.
    pub(super) fn refresh(&mut self, id: u64) {
        self.stale.insert(id);
    }

    /// Brings everything that was found stale up to date.
    pub(super) fn settle(&mut self) {
        for id in std::mem::take(&mut self.stale) {
            self.refresh_phase(id);
            self.write_status(id);
        }
    }

    fn write_status(&mut self, id: u64) {
        let Some(job) = self
            .jobs
            .get(&id)
            .filter(|job| job.transition != Some(Phase::Deleting))
        else {
            return;
        };
        let kind = controller_kind(job.spec.kind);
        let Some(object) = self
            .cluster
            .get(kind, &job.spec.namespace(), &job.spec.name)
        else {
            return;
        };
        let mut value = object.value();
        let status = self.controller_status(job);
        match job.spec.kind {
            JobKind::Training => value["spec"]["suspend"] = job.suspended.into(),
            JobKind::Distributed => value["spec"]["runPolicy"]["suspend"] = job.suspended.into(),
            JobKind::Workspace | JobKind::Inference => {
                value["spec"]["replicas"] = if job.suspended { 0 } else { job.spec.pods }.into();
            }
        }
        if value["status"] != status {
            value["status"] = status;
            self.cluster.put(kind, value);
        }
    }

    fn controller_status(&self, job: &SimJob) -> Value {
        let count =
            |test: &dyn Fn(&SimPod) -> bool| self.job_pods(job.id).filter(|pod| test(pod)).count();
        let live = |pod: &SimPod| pod.deleting.is_none() && !pod.failed() && !pod.succeeded();
        let ready = count(&|pod| pod.ready);
        let created = stamp(job.created);
        let condition = |kind: &str, holds: bool, reason: &str, message: &str, since: Timestamp| {
            let status = if holds { "True" } else { "False" };
            json!({"type": kind, "status": status, "lastProbeTime": stamp(since), "lastUpdateTime": stamp(since),
                "lastTransitionTime": stamp(since), "reason": reason, "message": message})
        };
        let mut conditions = Vec::new();
        match job.spec.kind {
            JobKind::Training => {
                if job.suspended {
                    conditions.push(condition(
                        "Suspended",
                        true,
                        "JobSuspended",
                        "Job suspended",
                        job.phase_since,
                    ));
                }
                if let Some((reason, message, at)) = &job.failed {
                    conditions.push(condition("FailureTarget", true, reason, message, *at));
                    conditions.push(condition("Failed", true, reason, message, *at));
                }
                if let Some(at) = job.completed {
                    let message = "Reached expected number of succeeded pods";
                    conditions.push(condition(
                        "SuccessCriteriaMet",
                        true,
                        "CompletionsReached",
                        message,
                        at,
                    ));
                    conditions.push(condition(
                        "Complete",
                        true,
                        "CompletionsReached",
                        message,
                        at,
                    ));
                }
                json!({
                    "conditions": conditions, "startTime": created, "active": count(&live), "ready": ready,
                    "failed": job.failed_pods, "succeeded": count(&SimPod::succeeded), "terminating": 0,
                    "uncountedTerminatedPods": {}
                })
            }
            JobKind::Distributed => {
                let name = &job.spec.name;
                let message = format!("PyTorchJob {name} is created.");
                conditions.push(condition(
                    "Created",
                    true,
                    "PyTorchJobCreated",
                    &message,
                    job.created,
                ));
                let running = count(&SimPod::running);
                let message = format!("PyTorchJob {name} is running.");
                let on = running > 0 && job.failed.is_none() && !job.suspended;
                conditions.push(condition(
                    "Running",
                    on,
                    "PyTorchJobRunning",
                    &message,
                    job.phase_since,
                ));
                if job.suspended {
                    let message = format!("PyTorchJob {name} is suspended.");
                    conditions.push(condition(
                        "Suspended",
                        true,
                        "PyTorchJobSuspended",
                        &message,
                        job.phase_since,
                    ));
                }
                if let Some((reason, message, at)) = &job.failed {
                    conditions.push(condition("Failed", true, reason, message, *at));
                }
                if let Some(at) = job.completed {
                    let message = format!("PyTorchJob {name} is successfully completed.");
                    conditions.push(condition(
                        "Succeeded",
                        true,
                        "PyTorchJobSucceeded",
                        &message,
                        at,
                    ));
                }
                let replica = |master: bool| {
                    let of = |pod: &SimPod| (pod.slot == 0) == master;
                    json!({"active": count(&|pod| of(pod) && pod.running()), "failed": count(&|pod| of(pod) && pod.failed()),
                        "succeeded": count(&|pod| of(pod) && pod.succeeded())})
                };
                json!({"conditions": conditions, "startTime": created,
                    "replicaStatuses": {"Master": replica(true), "Worker": replica(false)}})
            }
            JobKind::Workspace => json!({
                "replicas": count(&live), "readyReplicas": ready, "availableReplicas": ready, "currentReplicas": count(&live),
                "updatedReplicas": count(&live), "observedGeneration": 1, "collisionCount": 0
            }),
            JobKind::Inference => {
                let wanted = if job.suspended {
                    0
                } else {
                    job.spec.pods as usize
                };
                let available = ready >= wanted;
                let (reason, message) = if available {
                    (
                        "MinimumReplicasAvailable",
                        "Deployment has minimum availability.",
                    )
                } else {
                    (
                        "MinimumReplicasUnavailable",
                        "Deployment does not have minimum availability.",
                    )
                };
                conditions.push(condition(
                    "Available",
                    available,
                    reason,
                    message,
                    job.phase_since,
                ));
                let message = format!(
                    "ReplicaSet \"{}-{}\" is progressing.",
                    job.spec.name, job.template_hash
                );
                conditions.push(condition(
                    "Progressing",
                    true,
                    "ReplicaSetUpdated",
                    &message,
                    job.created,
                ));
                json!({
                    "replicas": count(&live), "updatedReplicas": count(&live), "readyReplicas": ready,
                    "availableReplicas": ready, "unavailableReplicas": wanted.saturating_sub(ready),
                    "observedGeneration": job.run + 1, "conditions": conditions
                })
            }
        }
    }
}
