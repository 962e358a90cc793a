//! From the short form of a case to the objects as the APIs send them.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::case::{
    Case, ContainerSpec, Ending, EventSpec, NodeSpec, PodSpec, RunaiRecord, RunaiSpec, Waiting,
    When, looking,
};

/// What makes the objects of one case, or says which time of it is none.
pub(super) struct Maker<'a> {
    case: &'a Case,
    pub(super) now: Timestamp,
}

/// How a container fares: at most one of `exit` and `waiting`, else it runs.
struct Course<'a> {
    exit: Option<&'a Ending>,
    waiting: Option<&'a Waiting>,
    running: Option<&'a When>,
    last: Option<&'a Ending>,
    restarts: u32,
}

/// A case that cannot be read as meant.
pub(super) type Flaw = String;

const WORKLOAD_ID: &str = "6f1c2f0a-52c4-4f4b-9a56-0c1d2e3f4a5b";
pub(super) const RUNAI_CLUSTER: &str = "71f69d83-ba66-4822-adf5-55ce55efd210";

/// Lays `over` upon `under`: objects by key, everything else replaced.
pub(super) fn merge(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                merge(under.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over.clone(),
    }
}

/// Replaces the entries of a list of conditions that have the type of a given one, and adds the rest.
fn overlay_conditions(conditions: &mut Vec<Value>, given: &[Value], since: Timestamp) {
    for condition in given {
        conditions.retain(|known| known["type"] != condition["type"]);
        let mut full = json!({"status": "True", "lastTransitionTime": since.to_string()});
        merge(&mut full, condition);
        conditions.push(full);
    }
}

impl<'a> Maker<'a> {
    pub(super) fn new(case: &'a Case) -> Result<Self, Flaw> {
        let now = looking(case).ok_or("`now` is no time")?;
        Ok(Self { case, now })
    }

    fn time(&self, when: Option<&When>, default: Timestamp) -> Result<Timestamp, Flaw> {
        when.map_or(Ok(default), |when| {
            when.resolve(self.now)
                .ok_or_else(|| format!("{when:?} is no time"))
        })
    }

    fn before(&self, seconds: i64) -> Timestamp {
        self.now - SignedDuration::from_secs(seconds)
    }

    /// The pods as stated, the rest of the gang filled in, each with its name, rank and node.
    pub(super) fn pod_specs(&self) -> Vec<PodSpec> {
        let mut specs: Vec<PodSpec> = self.case.pods.clone();
        if let Some(gang) = &self.case.gang {
            for rank in 0..gang.size {
                if !specs.iter().any(|pod| pod.rank == Some(rank)) {
                    specs.push(PodSpec {
                        rank: Some(rank),
                        ..gang.each.clone()
                    });
                }
            }
            specs.sort_by_key(|pod| pod.rank);
        }
        for pod in &mut specs {
            if pod.name.is_none() {
                pod.name = Some(self.name_of(pod));
            }
            if pod.node.is_none() {
                pod.node = Some(match pod.rank {
                    Some(rank) => format!("gpu-{rank:02}"),
                    None => "gpu-node-1".to_owned(),
                });
            }
        }
        specs
    }

    fn name_of(&self, pod: &PodSpec) -> String {
        let job = pod.job.as_ref().unwrap_or(&self.case.job);
        match (self.case.kind.as_str(), pod.rank) {
            ("Pod", _) => job.clone(),
            ("PyTorchJob", Some(0)) => format!("{job}-master-0"),
            ("PyTorchJob", Some(rank)) => format!("{job}-worker-{}", rank - 1),
            ("MPIJob", Some(rank)) => format!("{job}-worker-{rank}"),
            ("StatefulSet" | "LeaderWorkerSet", rank) => format!("{job}-{}", rank.unwrap_or(0)),
            ("JobSet", Some(rank)) => format!("{job}-workers-0-{rank}-hx8kq"),
            ("Deployment", _) => format!("{job}-7d9f8b6c5d-x7k2p"),
            (_, Some(rank)) => format!("{job}-{rank}-k8x2p"),
            (_, None) => format!("{job}-x7k2p"),
        }
    }

    fn labels(&self, pod: &PodSpec) -> Value {
        let job = pod.job.as_ref().unwrap_or(&self.case.job);
        let mut labels = match self.case.kind.as_str() {
            "PyTorchJob" => json!({
                "training.kubeflow.org/job-name": job,
                "training.kubeflow.org/operator-name": "pytorchjob-controller",
                "training.kubeflow.org/replica-type": if pod.rank == Some(0) { "master" } else { "worker" },
                "training.kubeflow.org/replica-index": pod.rank.unwrap_or(0).saturating_sub(1).to_string(),
            }),
            "MPIJob" => json!({
                "training.kubeflow.org/job-name": job,
                "training.kubeflow.org/operator-name": "mpi-operator",
                "training.kubeflow.org/replica-type": if pod.rank.is_some() { "worker" } else { "launcher" },
                "training.kubeflow.org/replica-index": pod.rank.unwrap_or(0).to_string(),
            }),
            "JobSet" => json!({
                "jobset.sigs.k8s.io/jobset-name": job,
                "jobset.sigs.k8s.io/replicatedjob-name": "workers",
                "jobset.sigs.k8s.io/replicatedjob-replicas": "1",
                "jobset.sigs.k8s.io/job-global-index": "0",
                "batch.kubernetes.io/job-name": format!("{job}-workers-0"),
                "batch.kubernetes.io/job-completion-index": pod.rank.unwrap_or(0).to_string(),
            }),
            "LeaderWorkerSet" => json!({
                "leaderworkerset.sigs.k8s.io/name": job,
                "leaderworkerset.sigs.k8s.io/worker-index": pod.rank.unwrap_or(0).to_string(),
            }),
            "RayJob" => json!({
                "ray.io/originated-from-cr-name": job,
                "ray.io/cluster": format!("{job}-raycluster-9kx2z"),
            }),
            "Deployment" => json!({"app": job, "pod-template-hash": "7d9f8b6c5d"}),
            "StatefulSet" => {
                json!({"app": job, "apps.kubernetes.io/pod-index": pod.rank.unwrap_or(0).to_string()})
            }
            "Job" => {
                let mut labels = json!({"batch.kubernetes.io/job-name": job, "job-name": job});
                if let Some(rank) = pod.rank {
                    labels["batch.kubernetes.io/job-completion-index"] = json!(rank.to_string());
                }
                labels
            }
            _ => json!({}),
        };
        if self.case.runai.is_some() && pod.job.is_none() {
            merge(
                &mut labels,
                &json!({
                    "workloadName": job, "run.ai/workload-id": WORKLOAD_ID,
                    "project": "nlp", "runai/queue": "nlp",
                }),
            );
        }
        merge(&mut labels, &json!(pod.labels));
        labels
    }

    fn owner(&self, pod: &PodSpec) -> Option<Value> {
        let job = pod.job.as_ref().unwrap_or(&self.case.job);
        let (api, kind, name) = match self.case.kind.as_str() {
            "Pod" => return None,
            "Deployment" => ("apps/v1", "ReplicaSet", format!("{job}-7d9f8b6c5d")),
            "StatefulSet" | "LeaderWorkerSet" => ("apps/v1", "StatefulSet", job.clone()),
            "JobSet" => ("batch/v1", "Job", format!("{job}-workers-0")),
            "RayJob" => ("ray.io/v1", "RayCluster", format!("{job}-raycluster-9kx2z")),
            "Job" => ("batch/v1", "Job", job.clone()),
            other => ("kubeflow.org/v1", other, job.clone()),
        };
        Some(json!({
            "apiVersion": api, "kind": kind, "name": name, "uid": owner_uid(kind, &name),
            "controller": true, "blockOwnerDeletion": true,
        }))
    }

    fn ending(&self, ending: &Ending, created: Timestamp, at: Timestamp) -> Result<Value, Flaw> {
        let reason = ending.reason.clone().unwrap_or_else(|| {
            if ending.code == 0 {
                "Completed"
            } else {
                "Error"
            }
            .to_owned()
        });
        let at = self.time(ending.at.as_ref(), at)?;
        let started = self.time(
            ending.started.as_ref(),
            (created + SignedDuration::from_mins(1)).min(at),
        )?;
        let mut terminated = json!({
            "exitCode": ending.code, "reason": reason, "startedAt": started.to_string(),
            "finishedAt": at.to_string(),
            "containerID": "containerd://c4141254860a46e28308f262a62a575b7172c48fad383d4fdad3170055d265fe",
        });
        if let Some(message) = &ending.message {
            terminated["message"] = json!(message);
        }
        if let Some(signal) = ending.signal {
            terminated["signal"] = json!(signal);
        }
        Ok(terminated)
    }

    fn status(
        &self,
        name: &str,
        image: &str,
        course: &Course<'_>,
        created: Timestamp,
    ) -> Result<Value, Flaw> {
        let Course {
            exit,
            waiting,
            running,
            last,
            restarts,
        } = *course;
        let state = match (exit, waiting) {
            (Some(ending), _) => {
                json!({"terminated": self.ending(ending, created, self.before(600))?})
            }
            (
                None,
                Some(Waiting {
                    reason,
                    message: Some(message),
                }),
            ) => {
                json!({"waiting": {"reason": reason, "message": message}})
            }
            (
                None,
                Some(Waiting {
                    reason,
                    message: None,
                }),
            ) => json!({"waiting": {"reason": reason}}),
            (None, None) => {
                let since = if last.is_some() {
                    self.before(240)
                } else {
                    created + SignedDuration::from_mins(1)
                };
                json!({"running": {"startedAt": self.time(running, since)?.to_string()}})
            }
        };
        let is_up = exit.is_none() && waiting.is_none();
        let last = match last {
            Some(ending) => json!({"terminated": self.ending(ending, created, self.before(300))?}),
            None => json!({}),
        };
        Ok(json!({
            "name": name, "state": state, "lastState": last, "ready": is_up, "started": is_up,
            "restartCount": restarts, "image": image, "imageID": "",
        }))
    }

    fn beside(&self, beside: &ContainerSpec, created: Timestamp) -> Result<(Value, Value), Flaw> {
        let image = beside
            .image
            .clone()
            .unwrap_or_else(|| "docker.io/istio/proxyv2:1.24.2".to_owned());
        let status = if beside.unstarted {
            json!({
                "name": beside.name, "image": image, "ready": false, "restartCount": 0, "lastState": {},
                "state": {"waiting": {"reason": "PodInitializing"}},
            })
        } else {
            self.status(
                &beside.name,
                &image,
                &Course {
                    exit: beside.exit.as_ref(),
                    waiting: beside.waiting.as_ref(),
                    running: None,
                    last: beside.last.as_ref(),
                    restarts: beside.restarts,
                },
                created,
            )?
        };
        Ok((json!({"name": beside.name, "image": image}), status))
    }

    pub(super) fn pod(&self, pod: &PodSpec) -> Result<Value, Flaw> {
        let case = self.case;
        let name = pod.name.clone().unwrap_or_default();
        let created = self.time(pod.created.as_ref(), self.before(7200))?;
        let node = pod.node.as_deref().filter(|node| *node != "none");
        let main = pod.container.clone().unwrap_or_else(|| {
            if case.kind == "PyTorchJob" {
                "pytorch"
            } else {
                "main"
            }
            .to_owned()
        });
        let image = pod
            .image
            .clone()
            .unwrap_or_else(|| "registry.corp.example/ml/train:24.11".to_owned());
        // A gang of pods with one GPU each: their index is then the global rank.
        let gpus = pod.gpus.unwrap_or(if case.gang.is_some() { 1 } else { 8 });
        let mut limits = json!({"memory": "512Gi", "cpu": "64"});
        if gpus > 0 {
            limits["nvidia.com/gpu"] = json!(gpus.to_string());
        }
        let mut spec = json!({
            "restartPolicy": "Never", "schedulerName": "default-scheduler",
            "containers": [{
                "name": main, "image": image, "resources": {"limits": limits, "requests": {"cpu": "32"}},
                "env": [{"name": "WORLD_SIZE", "value": "8"}],
            }],
            "volumes": [{"name": "kube-api-access-ptsg9", "projected": {"sources": []}}],
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "terminationGracePeriodSeconds": 30, "serviceAccountName": "default",
        });
        if case.runai.is_some() {
            spec["schedulerName"] = json!("runai-scheduler");
        }
        if matches!(
            case.kind.as_str(),
            "Deployment" | "StatefulSet" | "LeaderWorkerSet"
        ) {
            spec["restartPolicy"] = json!("Always");
        } else if pod.restarts > 0 {
            spec["restartPolicy"] = json!("OnFailure");
        }
        for claim in &pod.claims {
            push(
                &mut spec["volumes"],
                json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}}),
            );
        }
        let mut statuses = Vec::new();
        let mut init_statuses = Vec::new();
        for beside in &pod.beside {
            let (made, status) = self.beside(beside, created)?;
            let (list, statuses) = if beside.init {
                ("initContainers", &mut init_statuses)
            } else {
                ("containers", &mut statuses)
            };
            push(&mut spec[list], made);
            statuses.push(status);
        }
        let init_open = pod
            .beside
            .iter()
            .any(|beside| beside.init && beside.exit.as_ref().is_none_or(|end| end.code != 0));
        let up = pod.exit.is_none() && pod.waiting.is_none() && node.is_some();
        let phase = pod
            .phase
            .clone()
            .unwrap_or_else(|| self.phase(pod, node.is_some()).to_owned());
        let scheduled = if node.is_some() { "True" } else { "False" };
        let ready = if up && phase == "Running" && !init_open {
            "True"
        } else {
            "False"
        };
        let at = (created + SignedDuration::from_mins(1)).to_string();
        let mut conditions = vec![
            json!({"type": "PodScheduled", "status": scheduled, "lastTransitionTime": created.to_string()}),
        ];
        if node.is_some() {
            conditions.extend([
                json!({"type": "Initialized", "status": if init_open { "False" } else { "True" }, "lastTransitionTime": at}),
                json!({"type": "Ready", "status": ready, "lastTransitionTime": at}),
                json!({"type": "ContainersReady", "status": ready, "lastTransitionTime": at}),
            ]);
        }
        overlay_conditions(&mut conditions, &pod.conditions, self.before(600));
        let mut status = json!({"phase": phase, "conditions": conditions, "qosClass": "Burstable"});
        if let Some(node) = node {
            spec["nodeName"] = json!(node);
            status["startTime"] = json!(created.to_string());
            if pod.reason.as_deref() != Some("UnexpectedAdmissionError") {
                let main_status = self.status(
                    &main,
                    &image,
                    &Course {
                        exit: pod.exit.as_ref(),
                        waiting: pod.waiting.as_ref(),
                        running: pod.running.as_ref(),
                        last: pod.last.as_ref(),
                        restarts: pod.restarts,
                    },
                    created,
                )?;
                statuses.insert(0, main_status);
                status["containerStatuses"] = json!(statuses);
                if !init_statuses.is_empty() {
                    status["initContainerStatuses"] = json!(init_statuses);
                }
            }
        }
        if let Some(reason) = &pod.reason {
            status["reason"] = json!(reason);
        }
        if let Some(message) = &pod.message {
            status["message"] = json!(message);
        }
        let mut object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "namespace": case.namespace, "uid": format!("pod-{name}"),
                "creationTimestamp": created.to_string(), "labels": self.labels(pod),
                "annotations": pod.annotations,
                "managedFields": [{"manager": "kubelet", "operation": "Update"}],
            },
            "spec": spec, "status": status,
        });
        if let Some(owner) = self.owner(pod) {
            object["metadata"]["ownerReferences"] = json!([owner]);
        }
        if let Some(deleting) = &pod.deleting {
            object["metadata"]["deletionTimestamp"] =
                json!(self.time(Some(deleting), self.now)?.to_string());
        }
        if let Some(raw) = &pod.raw {
            merge(&mut object, raw);
        }
        Ok(object)
    }

    fn phase(&self, pod: &PodSpec, scheduled: bool) -> &'static str {
        let restarting = self.case.kind == "Deployment" || pod.restarts > 0;
        match (&pod.exit, &pod.waiting) {
            _ if pod.reason.as_deref() == Some("Evicted") => "Failed",
            (Some(end), _) if end.code == 0 => "Succeeded",
            (Some(_), _) if restarting => "Running",
            (Some(_), _) => "Failed",
            (None, Some(_)) if pod.restarts > 0 => "Running",
            (None, None) if scheduled => "Running",
            (None, _) => "Pending",
        }
    }

    /// The job's controller with the kind it has; `None` for a bare pod, or where Run:AI alone is looked at.
    pub(super) fn controller(&self, specs: &[PodSpec]) -> Option<Value> {
        let case = self.case;
        let only_runai = case.runai.is_some() && specs.is_empty() && case.controller.is_none();
        if case.kind == "Pod" || only_runai {
            return None;
        }
        let own: Vec<&PodSpec> = specs.iter().filter(|pod| pod.job.is_none()).collect();
        let count = |test: fn(&PodSpec) -> bool| own.iter().filter(|pod| test(pod)).count();
        let failed = count(|pod| pod.exit.as_ref().is_some_and(|end| end.code != 0));
        let succeeded = count(|pod| pod.exit.as_ref().is_some_and(|end| end.code == 0));
        let active = own.len() - failed - succeeded;
        let replicas = own.len().max(1);
        let mut object = json!({
            "metadata": {
                "name": case.job, "namespace": case.namespace,
                "uid": owner_uid(&case.kind, &case.job),
                "creationTimestamp": self.before(7260).to_string(),
            },
            "spec": {"template": {"metadata": {"labels": {}}}},
            "status": {"conditions": []},
        });
        let parts = match case.kind.as_str() {
            "Job" => json!({
                "spec": {"parallelism": replicas, "completions": replicas, "backoffLimit": 0},
                "status": {"active": active, "failed": failed, "succeeded": succeeded},
            }),
            "Deployment" => json!({
                "spec": {"replicas": replicas},
                "status": {"replicas": replicas, "readyReplicas": count(|pod| pod.waiting.is_none() && pod.exit.is_none())},
            }),
            "StatefulSet" | "LeaderWorkerSet" => json!({
                "spec": {"replicas": replicas}, "status": {"replicas": replicas},
            }),
            "PyTorchJob" => json!({
                "spec": {"pytorchReplicaSpecs": {
                    "Master": {"replicas": 1}, "Worker": {"replicas": replicas.saturating_sub(1)},
                }},
                "status": {"replicaStatuses": {"Worker": {"active": active, "failed": failed, "succeeded": succeeded}}},
            }),
            _ => json!({}),
        };
        merge(&mut object, &parts);
        if case.runai.is_some() {
            object["metadata"]["labels"] = json!({"workloadName": case.job, "project": "nlp", "run.ai/workload-id": WORKLOAD_ID});
        }
        if let Some(over) = &case.controller {
            let mut over = over.clone();
            let given = over["status"]["conditions"].take();
            merge(&mut object, &over);
            let mut conditions = Vec::new();
            overlay_conditions(
                &mut conditions,
                given.as_array().map_or(&[], Vec::as_slice),
                self.before(590),
            );
            object["status"]["conditions"] = json!(conditions);
        }
        Some(object)
    }

    /// The stated nodes, and healthy ones under all other pods.
    pub(super) fn nodes(&self, specs: &[PodSpec]) -> Vec<Value> {
        let mut nodes: Vec<Value> = self.case.nodes.iter().map(|node| self.node(node)).collect();
        let mut names: Vec<&str> = specs.iter().filter_map(|pod| pod.node.as_deref()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let stated = self.case.nodes.iter().any(|node| node.name == name);
            if name != "none" && !stated {
                nodes.push(self.node(&NodeSpec {
                    name: name.to_owned(),
                    gpus: None,
                    allocatable: None,
                    unschedulable: false,
                    taints: Vec::new(),
                    conditions: Vec::new(),
                    raw: None,
                }));
            }
        }
        nodes
    }

    fn node(&self, node: &NodeSpec) -> Value {
        let gpus = node.gpus.unwrap_or(8);
        let allocatable = node.allocatable.unwrap_or(gpus);
        let since = self.before(86_400 * 20).to_string();
        let condition = |kind: &str, status: &str, reason: &str| {
            json!({"type": kind, "status": status, "reason": reason, "lastTransitionTime": since,
                   "lastHeartbeatTime": self.before(30).to_string()})
        };
        let mut conditions = vec![
            condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
            condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
            condition("PIDPressure", "False", "KubeletHasSufficientPID"),
            condition("Ready", "True", "KubeletReady"),
        ];
        overlay_conditions(&mut conditions, &node.conditions, self.before(900));
        let mut taints =
            vec![json!({"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"})];
        taints.extend(node.taints.iter().cloned());
        let mut object = json!({
            "metadata": {
                "name": node.name, "uid": format!("node-{}", node.name), "creationTimestamp": since,
                "labels": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "kubernetes.io/arch": "amd64"},
            },
            "spec": {"unschedulable": node.unschedulable, "taints": taints},
            "status": {
                "capacity": {"cpu": "224", "memory": "2113534200Ki", "nvidia.com/gpu": gpus.to_string()},
                "allocatable": {"cpu": "222", "memory": "2110388472Ki", "nvidia.com/gpu": allocatable.to_string()},
                "conditions": conditions,
                "nodeInfo": {"kubeletVersion": "v1.31.4", "containerRuntimeVersion": "containerd://1.7.24"},
            },
        });
        if let Some(raw) = &node.raw {
            merge(&mut object, raw);
        }
        object
    }

    pub(super) fn event(
        &self,
        index: usize,
        event: &EventSpec,
        specs: &[PodSpec],
    ) -> Result<Value, Flaw> {
        let case = self.case;
        let (kind, name, uid) = match event.of.as_deref() {
            None => {
                let pod = specs.first().ok_or("an event of no pod")?;
                let name = pod.name.clone().unwrap_or_default();
                ("Pod".to_owned(), name.clone(), format!("pod-{name}"))
            }
            Some("job") => (
                case.kind.clone(),
                case.job.clone(),
                owner_uid(&case.kind, &case.job),
            ),
            Some(of) => {
                let (kind, name) = of
                    .split_once('/')
                    .ok_or_else(|| format!("`of: {of}` has no name"))?;
                match kind {
                    "pod" => ("Pod".to_owned(), name.to_owned(), format!("pod-{name}")),
                    "rank" => {
                        let pod = specs
                            .iter()
                            .find(|pod| pod.rank.is_some_and(|rank| rank.to_string() == name))
                            .ok_or_else(|| format!("no rank {name}"))?;
                        let name = pod.name.clone().unwrap_or_default();
                        ("Pod".to_owned(), name.clone(), format!("pod-{name}"))
                    }
                    // The kubelet writes a node's name as its uid.
                    "node" => ("Node".to_owned(), name.to_owned(), name.to_owned()),
                    kind => (kind.to_owned(), name.to_owned(), owner_uid(kind, name)),
                }
            }
        };
        let at = self.time(event.at.as_ref(), self.before(300))?.to_string();
        let namespace = if kind == "Node" {
            "default"
        } else {
            &case.namespace
        };
        Ok(json!({
            "metadata": {
                "name": format!("{name}.18ea2f42041bd{index:03x}"), "namespace": namespace,
                "uid": format!("event-{index}"), "creationTimestamp": at, "annotations": event.annotations,
            },
            "involvedObject": {"kind": kind, "name": name, "uid": uid,
                "namespace": if kind == "Node" { "" } else { &case.namespace }},
            "reason": event.reason, "message": event.message, "type": event.kind,
            "source": {"component": event.from.clone().unwrap_or_else(|| "kubelet".to_owned())},
            "firstTimestamp": at, "lastTimestamp": at, "count": event.count.unwrap_or(1),
            "eventTime": null, "reportingComponent": "",
        }))
    }

    /// `GET /api/v1/workloads/{id}`.
    pub(super) fn workload(&self, runai: &RunaiSpec) -> Value {
        let mut workload = json!({
            "id": WORKLOAD_ID, "name": self.case.job, "type": "Training", "category": "Train",
            "projectName": "nlp", "projectId": "4500001", "departmentName": "research",
            "namespace": self.case.namespace, "clusterId": RUNAI_CLUSTER, "phase": "Running",
            "submittedBy": "noa@corp.example", "createdAt": self.before(7300).to_string(),
            "phaseUpdatedAt": self.before(600).to_string(), "priorityClassName": "train",
            "preemptible": true, "requestedPods": {"number": 1}, "runningPods": 1,
            "workloadRequestedResources": {"gpu": {"request": 8, "limit": 8}},
            "allocatedResources": {"gpu": 8}, "actionsSupport": {"delete": true, "suspend": true},
            "currentNodePools": ["h100"], "images": ["registry.corp.example/ml/train:24.11"],
        });
        if !runai.workload.is_null() {
            merge(&mut workload, &runai.workload);
        }
        if !runai.pending.is_empty() {
            workload["pendingSchedulingMessages"] = json!(runai.pending);
        }
        workload
    }

    /// `GET /api/v1/workloads/{id}/events`.
    pub(super) fn runai_events(&self, runai: &RunaiSpec) -> Result<Value, Flaw> {
        let events: Result<Vec<Value>, Flaw> = runai
            .events
            .iter()
            .enumerate()
            .map(|(index, event)| self.runai_event(index, event))
            .collect();
        Ok(json!({"events": events?}))
    }

    fn runai_event(&self, index: usize, event: &RunaiRecord) -> Result<Value, Flaw> {
        let at = self.time(Some(&event.at), self.now)?;
        let mut object = json!({
            "uid": WORKLOAD_ID, "kind": "TrainingWorkload", "name": self.case.job, "namespace": self.case.namespace,
        });
        if let Some(over) = &event.object {
            merge(&mut object, over);
        }
        Ok(json!({
            "id": format!("runai-event-{index}"), "createdAt": at.to_string(), "clusterId": RUNAI_CLUSTER,
            "type": event.kind.clone().unwrap_or_else(|| "Warning".to_owned()),
            "reason": event.reason, "message": event.message, "source": "runai-scheduler",
            "involvedObject": object,
        }))
    }

    /// `GET /api/v1/workloads/{id}/history`.
    pub(super) fn runai_history(&self, runai: &RunaiSpec) -> Result<Value, Flaw> {
        let records: Result<Vec<Value>, Flaw> = runai
            .history
            .iter()
            .enumerate()
            .map(|(index, record)| {
                let at = self.time(Some(&record.at), self.now)?.to_string();
                Ok(match &record.phase {
                    Some(phase) => json!({
                        "meta": {"creationTimestamp": at, "type": "PhaseUpdate"},
                        "spec": {"phaseUpdate": {"phase": phase, "phaseMessage": record.message}},
                    }),
                    None => json!({
                        "meta": {"creationTimestamp": at, "type": "Event"},
                        "spec": {"event": self.runai_event(index, record)?},
                    }),
                })
            })
            .collect();
        Ok(json!({"records": records?}))
    }

    /// When a log ends: as stated, with its container, or now.
    pub(super) fn log_end(
        &self,
        stated: Option<&When>,
        pod: &PodSpec,
        previous: bool,
    ) -> Result<Timestamp, Flaw> {
        if stated.is_some() {
            return self.time(stated, self.now);
        }
        match (&pod.exit, &pod.last) {
            (_, Some(last)) if previous => self.time(last.at.as_ref(), self.before(300)),
            (Some(exit), _) => self.time(exit.at.as_ref(), self.before(600)),
            (None, Some(last)) if pod.waiting.is_some() => {
                self.time(last.at.as_ref(), self.before(300))
            }
            (None, _) => Ok(self.now),
        }
    }
}

/// The controller and what names it as owner must agree on its uid.
fn owner_uid(kind: &str, name: &str) -> String {
    format!("{}-{name}", kind.to_lowercase())
}

fn push(list: &mut Value, item: Value) {
    if let Value::Array(items) = list {
        items.push(item);
    } else {
        *list = Value::Array(vec![item]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_keeps_what_is_not_stated() {
        let mut under = json!({"spec": {"a": 1, "b": [1, 2]}, "status": null});
        merge(
            &mut under,
            &json!({"spec": {"b": [3]}, "status": {"phase": "Failed"}}),
        );
        assert_eq!(
            under,
            json!({"spec": {"a": 1, "b": [3]}, "status": {"phase": "Failed"}})
        );
    }

    #[test]
    fn conditions_replace_their_own_kind() {
        let mut conditions = vec![json!({"type": "Ready", "status": "True"})];
        overlay_conditions(
            &mut conditions,
            &[json!({"type": "Ready", "status": "Unknown"})],
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(conditions.len(), 1);
        assert_eq!(conditions[0]["status"], "Unknown");
    }
}
