//! Kubernetes objects as JSON, in the shape a real API server gives them, `managedFields` included.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::script::JobKind;
use super::world::{SimJob, SimNode, SimPod};

/// Seconds precision, as in metadata and statuses.
pub(super) fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Microseconds, as in `eventTime`.
pub(super) fn micro_stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// The controller behind a job of this kind.
pub(super) fn controller_kind(kind: JobKind) -> Kind {
    match kind {
        JobKind::Training => Kind::Job,
        JobKind::Distributed => Kind::PyTorchJob,
        JobKind::Workspace => Kind::StatefulSet,
        JobKind::Inference => Kind::Deployment,
    }
}

/// What controllers and the kubelet write into `managedFields`; clients skip it, so it only has to be there.
fn managed_fields(manager: &str, at: &str, kubelet: bool) -> Value {
    let spec = json!({
        "f:metadata": {
            "f:generateName": {},
            "f:labels": {".": {}, "f:project": {}, "f:runai/queue": {}, "f:workloadName": {}},
            "f:ownerReferences": {".": {}}
        },
        "f:spec": {
            "f:containers": {"k:{\"name\":\"main\"}": {
                ".": {}, "f:args": {}, "f:command": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {},
                "f:resources": {".": {}, "f:limits": {".": {}, "f:memory": {}, "f:nvidia.com/gpu": {}}},
                "f:terminationMessagePath": {}, "f:terminationMessagePolicy": {}
            }},
            "f:dnsPolicy": {}, "f:enableServiceLinks": {}, "f:restartPolicy": {}, "f:schedulerName": {},
            "f:securityContext": {}, "f:terminationGracePeriodSeconds": {}
        }
    });
    let mut entries = vec![json!({
        "manager": manager, "operation": "Update", "apiVersion": "v1", "time": at,
        "fieldsType": "FieldsV1", "fieldsV1": spec,
    })];
    if kubelet {
        let condition = json!({".": {}, "f:lastProbeTime": {}, "f:lastTransitionTime": {}, "f:status": {}, "f:type": {}});
        entries.push(json!({
            "manager": "kubelet", "operation": "Update", "apiVersion": "v1", "time": at,
            "fieldsType": "FieldsV1", "subresource": "status",
            "fieldsV1": {"f:status": {
                "f:conditions": {
                    "k:{\"type\":\"ContainersReady\"}": condition, "k:{\"type\":\"Initialized\"}": condition,
                    "k:{\"type\":\"PodReadyToStartContainers\"}": condition, "k:{\"type\":\"Ready\"}": condition
                },
                "f:containerStatuses": {}, "f:hostIP": {}, "f:hostIPs": {}, "f:phase": {}, "f:podIP": {},
                "f:podIPs": {".": {}, "k:{\"ip\":\"10.244.3.7\"}": {".": {}, "f:ip": {}}}, "f:startTime": {}
            }},
        }));
    }
    Value::Array(entries)
}

fn workload_labels(job: &SimJob) -> Map<String, Value> {
    let mut labels = Map::new();
    let mut add = |key: &str, value: &str| labels.insert(key.to_owned(), value.into());
    add("workloadName", &job.spec.name);
    if job.spec.runai {
        add("project", &job.spec.project);
        add("runai/queue", &job.spec.project);
        add("run.ai/workload-id", &job.workload);
        add("run.ai/workload-name", &job.spec.name);
    }
    labels
}

fn annotations(job: &SimJob) -> Map<String, Value> {
    let mut annotations = Map::new();
    annotations.insert("user".to_owned(), job.spec.submitted_by.as_str().into());
    if job.spec.runai {
        annotations.insert("runai-job-id".to_owned(), job.workload.as_str().into());
        annotations.insert("pod-group-name".to_owned(), pod_group(job).into());
    }
    annotations
}

/// The name of the scheduler's pod group for a job.
pub(super) fn pod_group(job: &SimJob) -> String {
    format!("pg-{}-{}", job.spec.name, job.uid)
}

fn pod_labels(job: &SimJob, slot: u32) -> Map<String, Value> {
    let mut labels = workload_labels(job);
    let mut add = |key: &str, value: String| labels.insert(key.to_owned(), value.into());
    let name = &job.spec.name;
    match job.spec.kind {
        JobKind::Training => {
            for (prefix, key) in [
                ("", "controller-uid"),
                ("batch.kubernetes.io/", "controller-uid"),
            ] {
                add(&format!("{prefix}{key}"), job.uid.clone());
            }
            add("job-name", name.clone());
            add("batch.kubernetes.io/job-name", name.clone());
        }
        JobKind::Distributed => {
            let (role, index) = replica(slot);
            add("training.kubeflow.org/job-name", name.clone());
            add(
                "training.kubeflow.org/operator-name",
                "pytorchjob-controller".to_owned(),
            );
            add("training.kubeflow.org/replica-type", role.to_owned());
            add("training.kubeflow.org/replica-index", index.to_string());
        }
        JobKind::Workspace => {
            add("apps.kubernetes.io/pod-index", slot.to_string());
            add(
                "statefulset.kubernetes.io/pod-name",
                format!("{name}-{slot}"),
            );
        }
        JobKind::Inference => {
            add("app", name.clone());
            add("pod-template-hash", job.template_hash.clone());
        }
    }
    labels
}

/// The role and index of a rank in a `PyTorchJob`.
pub(super) fn replica(slot: u32) -> (&'static str, u32) {
    if slot == 0 {
        ("master", 0)
    } else {
        ("worker", slot - 1)
    }
}

/// The container of a job's pods.
pub(super) fn container_name(job: &SimJob) -> &str {
    match job.spec.kind {
        // The training operator insists on this name.
        JobKind::Distributed => "pytorch",
        JobKind::Training | JobKind::Workspace | JobKind::Inference => &job.spec.name,
    }
}

fn restart_policy(job: &SimJob) -> &'static str {
    match job.spec.kind {
        JobKind::Workspace | JobKind::Inference => "Always",
        JobKind::Training | JobKind::Distributed if job.spec.restarts_in_place => "OnFailure",
        JobKind::Training | JobKind::Distributed => "Never",
    }
}

fn pod_spec(job: &SimJob, slot: u32, node: Option<&str>) -> Value {
    let spec = &job.spec;
    let mut volumes = vec![
        json!({"name": "kube-api-access-2mzvp", "projected": {"sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}
    ], "defaultMode": 420}}),
    ];
    let mut mounts = vec![json!({
        "name": "kube-api-access-2mzvp", "readOnly": true,
        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"
    })];
    for claim in &spec.claims {
        volumes.push(json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}}));
        mounts.push(json!({"name": claim, "mountPath": format!("/mnt/{claim}")}));
    }
    let env = match spec.kind {
        JobKind::Distributed => json!([
            {"name": "PYTHONUNBUFFERED", "value": "1"},
            {"name": "MASTER_ADDR", "value": format!("{}-master-0", spec.name)},
            {"name": "MASTER_PORT", "value": "23456"},
            {"name": "WORLD_SIZE", "value": spec.pods.to_string()},
            {"name": "RANK", "value": slot.to_string()}
        ]),
        JobKind::Training | JobKind::Workspace | JobKind::Inference => json!([]),
    };
    let mut limits = json!({"memory": spec.memory});
    if spec.gpus > 0 {
        limits["nvidia.com/gpu"] = spec.gpus.to_string().into();
    }
    let mut pod = json!({
        "volumes": volumes,
        "containers": [{
            "name": container_name(job), "image": spec.image,
            "command": ["sh", "-c"], "args": [spec.command], "env": env,
            "resources": {"limits": limits, "requests": limits},
            "volumeMounts": mounts, "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File", "imagePullPolicy": "IfNotPresent"
        }],
        "restartPolicy": restart_policy(job), "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "default", "serviceAccount": "default", "securityContext": {},
        "schedulerName": if spec.runai { "runai-scheduler" } else { "default-scheduler" },
        "tolerations": [
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
            {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        ],
        "priority": 0, "priorityClassName": spec.priority_class, "enableServiceLinks": true,
        "preemptionPolicy": "PreemptLowerPriority"
    });
    if let Some(node) = node {
        pod["nodeName"] = node.into();
    }
    if !job.avoid.is_empty() {
        pod["affinity"] = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": job.avoid}
            ]}]
        }}});
    }
    pod
}

/// A pod without its status.
pub(super) fn pod(job: &SimJob, pod: &SimPod, owner_name: &str, owner_uid: &str) -> Value {
    let created = stamp(pod.created);
    let (owner_kind, manager) = match job.spec.kind {
        JobKind::Training => (Kind::Job, "kube-controller-manager"),
        JobKind::Distributed => (Kind::PyTorchJob, "training-operator"),
        JobKind::Workspace => (Kind::StatefulSet, "kube-controller-manager"),
        JobKind::Inference => (Kind::ReplicaSet, "kube-controller-manager"),
    };
    let mut metadata = json!({
        "name": pod.name, "namespace": pod.namespace, "uid": pod.uid, "generation": 1,
        "creationTimestamp": created,
        "labels": pod_labels(job, pod.slot), "annotations": annotations(job),
        "ownerReferences": [{
            "apiVersion": owner_kind.api_version(), "kind": owner_kind.name(), "name": owner_name, "uid": owner_uid,
            "controller": true, "blockOwnerDeletion": true
        }],
        "managedFields": managed_fields(manager, &created, true),
    });
    if let Some(at) = pod.deleting {
        metadata["deletionTimestamp"] = stamp(at).into();
        metadata["deletionGracePeriodSeconds"] = 30.into();
    }
    json!({"metadata": metadata, "spec": pod_spec(job, pod.slot, pod.node.as_deref())})
}

/// The controller of a job, without its status.
pub(super) fn controller(job: &SimJob) -> Value {
    let created = stamp(job.created);
    let template = json!({
        "metadata": {"labels": pod_labels(job, 0), "annotations": annotations(job)},
        "spec": pod_spec(job, 0, None),
    });
    let metadata = json!({
        "name": job.spec.name, "namespace": job.spec.namespace(), "uid": job.uid, "generation": 1,
        "creationTimestamp": created, "labels": workload_labels(job), "annotations": annotations(job),
        "managedFields": managed_fields("runai-workload-controller", &created, false),
    });
    let spec = match job.spec.kind {
        JobKind::Training => json!({
            "parallelism": job.spec.pods, "completions": job.spec.pods, "backoffLimit": job.spec.backoff_limit,
            "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": job.uid}},
            "manualSelector": false, "completionMode": "NonIndexed", "suspend": job.suspended,
            "podReplacementPolicy": "TerminatingOrFailed", "template": template,
        }),
        JobKind::Distributed => {
            let replica = |replicas: u32| json!({"replicas": replicas, "restartPolicy": restart_policy(job), "template": template});
            let mut replicas = json!({"Master": replica(1)});
            if job.spec.pods > 1 {
                replicas["Worker"] = replica(job.spec.pods - 1);
            }
            json!({
                "nprocPerNode": job.spec.gpus.to_string(), "pytorchReplicaSpecs": replicas,
                "runPolicy": {
                    "backoffLimit": job.spec.backoff_limit, "cleanPodPolicy": "None", "suspend": job.suspended,
                    "schedulingPolicy": {"minAvailable": job.spec.pods}
                }
            })
        }
        JobKind::Workspace => json!({
            "replicas": if job.suspended { 0 } else { job.spec.pods }, "serviceName": job.spec.name,
            "selector": {"matchLabels": {"workloadName": job.spec.name}},
            "podManagementPolicy": "OrderedReady", "updateStrategy": {"type": "RollingUpdate"}, "template": template,
        }),
        JobKind::Inference => json!({
            "replicas": if job.suspended { 0 } else { job.spec.pods },
            "selector": {"matchLabels": {"app": job.spec.name}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
            "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600, "template": template,
        }),
    };
    json!({"metadata": metadata, "spec": spec})
}

/// The `ReplicaSet` of a Deployment's present template.
pub(super) fn replica_set(job: &SimJob, name: &str, uid: &str, now: Timestamp) -> Value {
    let mut set = controller(job);
    set["metadata"]["name"] = name.into();
    set["metadata"]["uid"] = uid.into();
    set["metadata"]["creationTimestamp"] = stamp(now).into();
    set["metadata"]["labels"]["pod-template-hash"] = job.template_hash.as_str().into();
    set["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "apps/v1", "kind": "Deployment", "name": job.spec.name, "uid": job.uid,
        "controller": true, "blockOwnerDeletion": true
    }]);
    set["spec"] = json!({
        "replicas": job.spec.pods, "template": set["spec"]["template"],
        "selector": {"matchLabels": {"app": job.spec.name, "pod-template-hash": job.template_hash}}
    });
    set["status"] = json!({"replicas": job.spec.pods, "observedGeneration": 1});
    set
}

pub(super) fn namespace(name: &str, project: &str, uid: &str, now: Timestamp) -> Value {
    json!({
        "metadata": {
            "name": name, "uid": uid, "creationTimestamp": stamp(now),
            "labels": {"kubernetes.io/metadata.name": name, "runai/queue": project},
            "annotations": {"runai/enforce-scheduler-name": "true"},
            "managedFields": managed_fields("runai-project-controller", &stamp(now), false),
        },
        "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}
    })
}

/// A healthy node. Its conditions change in place afterwards.
pub(super) fn node(name: &str, node: &SimNode, uid: &str, now: Timestamp) -> Value {
    let at = stamp(now);
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({"type": kind, "status": status, "lastHeartbeatTime": at, "lastTransitionTime": at,
            "reason": reason, "message": message})
    };
    let product = if node.pool == "h100" {
        "NVIDIA-H100-80GB-HBM3"
    } else {
        "NVIDIA-A100-SXM4-80GB"
    };
    let capacity = json!({
        "cpu": "192", "ephemeral-storage": "3748905484Ki", "hugepages-2Mi": "0", "memory": "2113385164Ki",
        "nvidia.com/gpu": node.gpus.to_string(), "pods": "250"
    });
    json!({
        "metadata": {
            "name": name, "uid": uid, "creationTimestamp": at,
            "labels": {
                "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
                "nvidia.com/gpu.count": node.gpus.to_string(), "nvidia.com/gpu.product": product,
                "nvidia.com/gpu.present": "true", "kai.scheduler/node-pool": node.pool, "demo": "true"
            },
            "annotations": {"node.alpha.kubernetes.io/ttl": "0", "volumes.kubernetes.io/controller-managed-attach-detach": "true"},
            "managedFields": managed_fields("kubelet", &at, true),
        },
        "spec": {"podCIDR": "10.244.0.0/24"},
        "status": {
            "capacity": capacity, "allocatable": capacity,
            "conditions": [
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
                condition("AcceleratedHardwareReady", "True", "AcceleratedHardwareIsReady", "Monitoring for the nvidia system is active"),
                condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
            ],
            "addresses": [{"type": "InternalIP", "address": "10.88.0.10"}, {"type": "Hostname", "address": name}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {
                "machineID": "3d1219c7c4c5404aaa1f6d2a48adfda4", "systemUUID": uid, "bootID": "11a27a8a-3a62-4c07-9ca3-0a1c9d6307df",
                "kernelVersion": "6.8.0-64-generic", "osImage": "Ubuntu 24.04.3 LTS", "architecture": "amd64",
                "containerRuntimeVersion": "containerd://2.1.4", "kubeletVersion": "v1.33.4", "kubeProxyVersion": "", "operatingSystem": "linux"
            },
            "images": []
        }
    })
}

pub(super) fn claim(namespace: &str, name: &str, uid: &str, now: Timestamp) -> Value {
    json!({
        "metadata": {"name": name, "namespace": namespace, "uid": uid, "creationTimestamp": stamp(now),
            "managedFields": managed_fields("kube-controller-manager", &stamp(now), false)},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "2Ti"}},
            "storageClassName": "demo-nfs", "volumeMode": "Filesystem", "volumeName": format!("pvc-{uid}")},
        "status": {"phase": "Bound", "accessModes": ["ReadWriteMany"], "capacity": {"storage": "2Ti"}}
    })
}
