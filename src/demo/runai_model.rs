//! Run:AI's view of a simulated job: its phase from its pods, and the API's objects.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::script::{JobKind, Start};
use super::world::{History, SimJob, SimPod, SimProject, World};
use crate::estate::Phase;

/// The simulated tenant and its one cluster.
pub const TENANT_ID: u32 = 1001;
pub const CLUSTER_ID: &str = "de300000-0000-4000-8000-000000000001";
pub const CLUSTER_NAME: &str = "demo";
const DEPARTMENT_ID: &str = "7";

/// Milliseconds, as Run:AI writes times.
pub(super) fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

impl World {
    /// Derives the phase of a job from its pods and records a change.
    pub(super) fn refresh_phase(&mut self, id: u64) {
        let Some(job) = self.jobs.get(&id) else {
            return;
        };
        let (phase, message) = self.phase_of(job);
        let arrived = job.transition == Some(Phase::Resuming) && !job.pods.is_empty();
        let now = self.now;
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if arrived {
            job.transition = None;
        }
        if job.phase != phase {
            job.phase = phase.clone();
            job.phase_message.clone_from(&message);
            job.phase_since = now;
            job.record(History::Phase {
                at: now,
                phase,
                message,
            });
        }
    }

    fn phase_of(&self, job: &SimJob) -> (Phase, String) {
        let told = |phase: Phase, message: &str| (phase, message.to_owned());
        if let Some(phase) = &job.transition
            && (*phase != Phase::Resuming || job.pods.is_empty())
        {
            return told(phase.clone(), "");
        }
        if job.suspended {
            return told(Phase::Stopped, "Workload was stopped");
        }
        if let Some((_, message, _)) = &job.failed {
            return (Phase::Failed, format!("Workload failed: {message}"));
        }
        if job.completed.is_some() {
            return told(Phase::Completed, "Workload completed successfully");
        }
        let pods: Vec<&SimPod> = self
            .job_pods(job.id)
            .filter(|pod| pod.deleting.is_none())
            .collect();
        if let Some(message) = pods.iter().find_map(|pod| pod.unschedulable.as_deref()) {
            return told(Phase::Pending, message);
        }
        if pods.iter().any(|pod| pod.scheduled.is_none()) || pods.is_empty() {
            return told(Phase::Pending, "Waiting for the scheduler");
        }
        if let Some(pod) = pods.iter().find(|pod| pod.last.is_some()) {
            let code = pod.last.as_ref().map_or(0, |ended| ended.exit.code);
            let message = format!(
                "Container of pod {} is restarting, last exit code {code}",
                pod.name
            );
            return match job.spec.kind {
                JobKind::Inference if pods.iter().any(|pod| pod.ready) => {
                    (Phase::Degraded, message)
                }
                JobKind::Inference
                | JobKind::Training
                | JobKind::Distributed
                | JobKind::Workspace => (Phase::Failed, message),
            };
        }
        if pods.iter().all(|pod| pod.running() || pod.succeeded()) {
            return if pods.iter().any(|pod| !pod.ready && !pod.succeeded()) {
                told(Phase::Degraded, "Some pods are not ready")
            } else {
                told(Phase::Running, "")
            };
        }
        told(Phase::Initializing, "Starting containers")
    }

    /// A workload as the list shows it.
    pub(super) fn workload(&self, job: &SimJob) -> Value {
        let spec = &job.spec;
        let (kind, category) = match spec.kind {
            JobKind::Training => ("Training", "Train"),
            JobKind::Distributed => ("Distributed", "Train"),
            JobKind::Workspace => ("Workspace", "Build"),
            JobKind::Inference => ("Inference", "Deploy"),
        };
        let running = self.job_pods(job.id).filter(|pod| pod.running()).count();
        let requested = f64::from(spec.gpus) * f64::from(spec.pods);
        let holders = self
            .job_pods(job.id)
            .filter(|pod| pod.node.is_some() && !pod.failed() && !pod.succeeded());
        let allocated = holders.count() as f64 * f64::from(spec.gpus);
        let project = self
            .projects
            .iter()
            .find(|project| project.name == spec.project);
        let age = u64::try_from(self.now.duration_since(job.created).as_secs()).unwrap_or(0);
        let (pending, run) = if matches!(job.phase, Phase::Pending | Phase::Creating) {
            (age, 0)
        } else {
            (0, age)
        };
        let phase_since = stamp(job.phase_since);
        let completed = job
            .completed
            .or(job.failed.as_ref().map(|(_, _, at)| *at))
            .map(stamp);
        let conditions = job.failed.as_ref().map(|(reason, message, at)| {
            json!({"type": "Failed", "status": "True", "reason": reason, "message": message, "lastTransitionTime": stamp(*at)})
        });
        let resources = |gpus: f64| {
            json!({"gpuRequestType": "portion", "gpu": {"request": gpus, "limit": gpus},
                "gpuMemory": {"request": null, "limit": null}, "cpu": {"request": 8, "limit": null},
                "cpuMemory": {"request": spec.memory, "limit": spec.memory}, "extendedResources": []})
        };
        let mut workload = json!({
            "tenantId": TENANT_ID, "id": job.workload, "name": spec.name, "type": kind, "category": category,
            "source": "Control-plane", "priority": priority(&spec.priority_class), "priorityClassName": spec.priority_class,
            "submittedBy": spec.submitted_by, "clusterId": CLUSTER_ID,
            "projectName": spec.project, "projectId": project.map_or("", |project| &project.id),
            "departmentName": "demo", "departmentId": DEPARTMENT_ID, "namespace": spec.namespace(),
            "createdAt": stamp(job.created), "updatedAt": phase_since, "deletedAt": job.deleted.map(stamp),
            "completedAt": completed,
            "phase": job.phase.as_str(), "phaseMessage": job.phase_message, "phaseUpdatedAt": phase_since,
            "k8sPhase": job.phase.as_str(), "k8sPhaseUpdatedAt": phase_since,
            "conditions": conditions.into_iter().collect::<Vec<_>>(), "runningPods": running,
            "requestedPods": match spec.kind {
                JobKind::Inference => json!({"number": null, "min": spec.pods, "max": spec.pods, "parallelism": null, "completions": null}),
                JobKind::Training | JobKind::Distributed | JobKind::Workspace =>
                    json!({"number": spec.pods, "min": null, "max": null, "parallelism": null, "completions": null}),
            },
            "workloadRequestedResources": resources(requested), "podsRequestedResources": resources(f64::from(spec.gpus)),
            "allocatedResources": {"gpu": allocated, "gpuMemory": "0B", "cpu": 0, "cpuMemory": "0B", "extendedResources": []}
        });
        let rest = json!({
            "actionsSupport": {"delete": true, "suspend": spec.kind != JobKind::Inference},
            "requestedNodePools": [spec.pool], "currentNodePools": if allocated > 0.0 { json!([spec.pool]) } else { json!([]) },
            "images": [spec.image], "childrenIds": [], "urls": [], "datasources": [], "environments": [],
            "externalConnections": [], "preemptible": spec.preemptible,
            "environmentVariables": {"DEMO": "true"}, "command": spec.command, "arguments": "",
            "idleGpus": null, "idleAllocatedGpus": 0, "totalPendingTimeSeconds": pending, "totalRunningTimeSeconds": run,
            "guaranteedRuntimeEndsAt": null, "sourceApi": null
        });
        super::patch::merge_keeping_nulls(&mut workload, rest);
        if spec.kind == JobKind::Distributed {
            workload["distributedFramework"] = "PyTorch".into();
        }
        if self.over_quota(job) {
            workload["phaseReason"] = "NonPreemptibleOverQuota".into();
        }
        workload
    }

    fn over_quota(&self, job: &SimJob) -> bool {
        job.phase == Phase::Pending
            && self.job_pods(job.id).any(|pod| {
                pod.unschedulable.is_some() && matches!(pod.script.start, Start::OverQuota { .. })
            })
    }

    /// Why a pending workload waits, as the detailed form adds it: one entry per node pool.
    pub(super) fn pending_messages(&self, job: &SimJob) -> Vec<Value> {
        // An entry must name one of the two reasons, so plain lack of room is told by the phase message alone.
        if !self.over_quota(job) {
            return Vec::new();
        }
        let message = self
            .job_pods(job.id)
            .find_map(|pod| pod.unschedulable.as_deref());
        message
            .map(|message| {
                json!({"nodePool": job.spec.pool, "phaseReason": "NonPreemptibleOverQuota", "reason": message,
                    "orgType": "PROJECT", "userMessage": message})
            })
            .into_iter()
            .collect()
    }

    /// The pods of a workload.
    pub(super) fn workload_pods(&self, job: &SimJob) -> Vec<Value> {
        let project = self
            .projects
            .iter()
            .find(|project| project.name == job.spec.project);
        self.job_pods(job.id)
            .map(|pod| {
                let phase = if pod.failed() {
                    "Failed"
                } else if pod.succeeded() {
                    "Succeeded"
                } else if pod.running() {
                    "Running"
                } else {
                    "Pending"
                };
                let mut container = json!({"name": super::objects::container_name(job), "image": job.spec.image});
                if pod.running() {
                    container["startedAt"] = stamp(pod.ready_since).into();
                }
                json!({
                    "name": pod.name, "priorityClassName": job.spec.priority_class, "id": pod.uid,
                    "workloadId": job.workload, "revisionId": null, "clusterId": CLUSTER_ID,
                    "projectId": project.map_or("", |project| &project.id), "nodeName": pod.node,
                    "createdAt": stamp(pod.created), "completedAt": null, "containers": [container],
                    "currentNodePool": pod.node.as_ref().map(|_| &job.spec.pool),
                    "requestedNodePools": [job.spec.pool], "tolerations": [], "k8sPhase": phase, "ip": pod.ip,
                    "tenantId": TENANT_ID, "k8sPhaseUpdatedAt": stamp(pod.ready_since),
                    "updatedAt": stamp(pod.ready_since), "deletedAt": null
                })
            })
            .collect()
    }

    pub(super) fn project(&self, project: &SimProject) -> Value {
        let namespace = format!("runai-{}", project.name);
        let created = "2026-01-05T08:00:00.000Z";
        let allocated: u32 = self
            .pods
            .values()
            .filter(|pod| {
                pod.namespace == namespace
                    && pod.node.is_some()
                    && !pod.failed()
                    && !pod.succeeded()
            })
            .filter_map(|pod| self.jobs.get(&pod.job))
            .map(|job| job.spec.gpus)
            .sum();
        let quota = json!({"allocated": {"gpu": allocated, "cpu": 0, "memory": 0},
            "allocatedNonPreemptible": {"gpu": 0, "cpu": 0, "memory": 0},
            "requested": {"gpu": allocated, "cpu": 0, "memory": 0}});
        let rules = json!({"schedulingRules": null, "defaultNodePools": null, "nodeTypes": null});
        json!({
            "id": project.id, "name": project.name, "description": "Simulated by the demo", "clusterId": CLUSTER_ID,
            "parentId": DEPARTMENT_ID, "parent": {"id": DEPARTMENT_ID, "name": "demo", "parent": null},
            "requestedNamespace": null, "enforceRunaiScheduler": true, "schedulingRules": null,
            "createdAt": created, "updatedAt": created, "createdBy": "demo-admin@example.com", "updatedBy": "demo-admin@example.com",
            "totalResources": {"gpuQuota": project.gpu_quota, "cpuQuota": null, "memoryQuota": null},
            "resources": [{
                "nodePool": {"id": "1", "name": "default"}, "priority": "normal",
                "gpu": {"deserved": project.gpu_quota, "limit": null, "overQuotaWeight": 2},
                "cpu": {"deserved": null, "limit": null, "overQuotaWeight": 2},
                "memory": {"deserved": null, "limit": null, "overQuotaWeight": 2, "units": "Mib"}
            }],
            "effective": rules, "overtimeData": {"range24hData": null, "range7dData": null, "range30dData": null},
            "status": {"namespace": namespace, "phase": "Ready", "phaseMessage": "", "lastUpdatedTime": created,
                "nodePoolQuotaStatuses": [], "quotaStatus": quota, "additionalStatusData": {}}
        })
    }
}

/// The value of a Run:AI priority class, by its present names.
fn priority(class: &str) -> u32 {
    match class {
        "very-low" => 25,
        "low" => 40,
        "medium-low" => 65,
        "medium-high" => 90,
        "high" => 125,
        "very-high" => 150,
        _ => 80,
    }
}
