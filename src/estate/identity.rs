//! Which job a Kubernetes object belongs to, told by its labels, annotations, owner and name.
//!
//! Pure. The keys read here are listed in [`is_identity_key`], so that a decoder can drop all others.

use std::collections::BTreeMap;

use super::ObjectRef;

/// Labels or annotations of one object.
pub type Tags = BTreeMap<String, String>;

/// What an object says about itself.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub name: &'a str,
    pub labels: &'a Tags,
    pub annotations: &'a Tags,
    /// The controlling owner, if any.
    pub owner: Option<&'a ObjectRef>,
}

/// What those facts mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The workload's name; the object's own name if nothing else states one.
    pub workload: String,
    /// Run:AI project or scheduler queue.
    pub project: Option<String>,
    /// Run:AI workload id.
    pub runai_id: Option<String>,
    /// Global rank; `None` for launchers, parameter servers, and where it cannot be told from one pod.
    pub rank: Option<u32>,
}

/// Labels that name the workload, the most authoritative first: Run:AI's own, then those of the frameworks, from the
/// outermost object inwards (a JobSet's pods also carry the name of their inner Job).
/// `app.kubernetes.io/instance` is missing on purpose: one Helm release holds many workloads.
const WORKLOAD_LABELS: [&str; 18] = [
    "workloadName",
    "run.ai/workload-name",
    "runai/job-name",
    "workflows.argoproj.io/workflow",
    "training.kubeflow.org/job-name",
    "jobset.sigs.k8s.io/jobset-name",
    "leaderworkerset.sigs.k8s.io/name",
    "ray.io/originated-from-cr-name",
    "ray.io/cluster",
    "pytorch-job-name",
    "volcano.sh/job-name",
    "sparkoperator.k8s.io/app-name",
    "dask.org/cluster-name",
    "notebook-name",
    "serving.kserve.io/inferenceservice",
    "serving.knative.dev/service",
    "batch.kubernetes.io/job-name",
    "job-name",
];

/// Keys that name the project or queue, the most authoritative first. `project` is what Run:AI writes on its pods.
const PROJECT_KEYS: [&str; 4] = [
    "runai/queue",
    "kai.scheduler/queue",
    "run.ai/project",
    "project",
];

const RUNAI_ID_KEY: &str = "run.ai/workload-id";
const POD_GROUP: &str = "pod-group-name";
const TEMPLATE_HASH: &str = "pod-template-hash";
const REPLICA_TYPE: &str = "training.kubeflow.org/replica-type";
const REPLICA_INDEX: &str = "training.kubeflow.org/replica-index";
const OPERATOR: &str = "training.kubeflow.org/operator-name";
const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";
const JOBSET_REPLICAS: &str = "jobset.sigs.k8s.io/replicatedjob-replicas";
const JOBSET_INDEX: &str = "jobset.sigs.k8s.io/job-global-index";
const LWS_INDEX: &str = "leaderworkerset.sigs.k8s.io/worker-index";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";
const GPU_FRACTION: &str = "gpu-fraction";
const GPU_FRACTION_DEVICES: &str = "gpu-fraction-num-devices";
const GPU_MEMORY: &str = "gpu-memory";
const ARGO_INSTANCE: &str = "argocd.argoproj.io/instance";
const ARGO_TRACKING: &str = "argocd.argoproj.io/tracking-id";
const FLUX_KUSTOMIZATION: &str = "kustomize.toolkit.fluxcd.io/name";
const FLUX_RELEASE: &str = "helm.toolkit.fluxcd.io/name";

/// True for the labels and annotations that this module reads.
#[must_use]
pub fn is_identity_key(key: &str) -> bool {
    WORKLOAD_LABELS.contains(&key)
        || PROJECT_KEYS.contains(&key)
        || matches!(
            key,
            RUNAI_ID_KEY
                | POD_GROUP
                | TEMPLATE_HASH
                | REPLICA_TYPE
                | REPLICA_INDEX
                | OPERATOR
                | COMPLETION_INDEX
                | JOBSET_REPLICAS
                | JOBSET_INDEX
                | LWS_INDEX
                | POD_INDEX
                | GPU_FRACTION
                | GPU_FRACTION_DEVICES
                | GPU_MEMORY
                | ARGO_INSTANCE
                | ARGO_TRACKING
                | FLUX_KUSTOMIZATION
                | FLUX_RELEASE
        )
}

/// Identity of a pod.
#[must_use]
pub fn of_pod(pod: Facts<'_>) -> Identity {
    let workload = labelled_workload(pod.labels).map_or_else(|| owned_workload(pod), str::to_owned);
    Identity {
        rank: rank(pod, &workload),
        project: project(pod),
        runai_id: runai_id(pod),
        workload,
    }
}

/// Identity of a controller. `template` are the labels that it gives its pods: they count where its own labels say
/// nothing, so that a controller and its pods always name the same workload.
#[must_use]
pub fn of_controller(controller: Facts<'_>, template: &Tags) -> Identity {
    let owner = controller.owner.filter(|owner| owns_jobs(&owner.kind));
    let workload = labelled_workload(controller.labels)
        .or_else(|| labelled_workload(template))
        .or(owner.map(|owner| owner.name.as_str()))
        .unwrap_or(controller.name)
        .to_owned();
    let pods = Facts {
        labels: template,
        ..controller
    };
    Identity {
        rank: None,
        project: project(controller).or_else(|| project(pods)),
        runai_id: runai_id(controller).or_else(|| runai_id(pods)),
        workload,
    }
}

/// Who keeps the object as a repository says, so that a manual change would be reverted.
#[must_use]
pub fn gitops(labels: &Tags, annotations: &Tags) -> Option<String> {
    if let Some(application) = labels.get(ARGO_INSTANCE) {
        return Some(format!("Argo CD application {application}"));
    }
    if let Some(tracking) = annotations.get(ARGO_TRACKING) {
        // `<application>:<group>/<kind>:<namespace>/<name>`
        let application = tracking.split(':').next().unwrap_or(tracking);
        return Some(format!("Argo CD application {application}"));
    }
    if let Some(name) = labels.get(FLUX_KUSTOMIZATION) {
        return Some(format!("Flux kustomization {name}"));
    }
    labels
        .get(FLUX_RELEASE)
        .map(|name| format!("Flux Helm release {name}"))
}

/// GPUs that one container's limit `resource: quantity` stands for; 0 for anything that is not a GPU.
/// A MIG slice counts as its share of a card, which has seven compute slices.
#[must_use]
pub fn gpus_of_limit(resource: &str, quantity: &str) -> f64 {
    let share = match resource {
        "nvidia.com/gpu"
        | "nvidia.com/gpu.shared"
        | "amd.com/gpu"
        | "gpu.intel.com/i915"
        | "gpu.intel.com/xe"
        | "habana.ai/gaudi" => 1.0,
        _ => match resource.strip_prefix("nvidia.com/mig-") {
            Some(profile) => mig_share(profile),
            None => return 0.0,
        },
    };
    share * quantity.parse::<f64>().unwrap_or(0.0)
}

/// `1g.10gb` is one of seven compute slices.
fn mig_share(profile: &str) -> f64 {
    let slices = profile
        .split_once('g')
        .and_then(|(slices, _)| slices.parse::<f64>().ok())
        .unwrap_or(1.0);
    slices / 7.0
}

/// GPUs that a pod asks for: whole ones from its containers' limits, or a fraction from annotations (such a pod has no
/// GPU in its limits). A share given as memory counts as a whole card per device, its upper bound: the card's size is
/// not known here.
#[must_use]
pub fn gpus_of_pod(from_limits: f64, annotations: &Tags) -> f64 {
    if from_limits > 0.0 {
        return from_limits;
    }
    let number = |key: &str| {
        annotations
            .get(key)
            .and_then(|value| value.trim().parse::<f64>().ok())
            .filter(|number| number.is_finite() && *number > 0.0)
    };
    let devices = number(GPU_FRACTION_DEVICES).unwrap_or(1.0);
    match (number(GPU_FRACTION), number(GPU_MEMORY)) {
        (Some(fraction), _) => fraction * devices,
        (None, Some(_)) => devices,
        (None, None) => 0.0,
    }
}

fn labelled_workload(labels: &Tags) -> Option<&str> {
    WORKLOAD_LABELS
        .iter()
        .filter_map(|key| labels.get(*key))
        .map(String::as_str)
        .find(|name| !name.is_empty())
}

fn owned_workload(pod: Facts<'_>) -> String {
    let group = pod
        .annotations
        .get(POD_GROUP)
        .and_then(|group| workload_of_pod_group(group))
        .filter(|workload| *workload != pod.name);
    let Some(owner) = pod.owner else {
        return group.unwrap_or(pod.name).to_owned();
    };
    match owner.kind.as_str() {
        "ReplicaSet" => deployment_of_replica_set(&owner.name, pod.labels).to_owned(),
        "Job" | "StatefulSet" | "Deployment" | "DaemonSet" => owner.name.clone(),
        // A static pod belongs to its node, which is not a workload.
        "Node" => pod.name.to_owned(),
        // The scheduler grouped by the outermost owner, which one pod cannot see otherwise.
        _ => group.unwrap_or(&owner.name).to_owned(),
    }
}

/// `pg-<workload>-<uid>` → the workload.
fn workload_of_pod_group(group: &str) -> Option<&str> {
    const UID_LENGTH: usize = 36;
    let named = group.strip_prefix("pg-")?;
    let dash = named.len().checked_sub(UID_LENGTH + 1)?;
    let (workload, uid) = (named.get(..dash)?, named.get(dash + 1..)?);
    let is_uid =
        named.as_bytes()[dash] == b'-' && uid.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    (is_uid && !workload.is_empty()).then_some(workload)
}

/// A Deployment names its ReplicaSets `<deployment>-<pod-template-hash>`; a ReplicaSet without one stands alone.
fn deployment_of_replica_set<'a>(replica_set: &'a str, labels: &Tags) -> &'a str {
    let Some(hash) = labels.get(TEMPLATE_HASH) else {
        return replica_set;
    };
    replica_set
        .strip_suffix(hash.as_str())
        .and_then(|name| name.strip_suffix('-'))
        .filter(|name| !name.is_empty())
        .unwrap_or(replica_set)
}

/// Kinds whose Jobs, StatefulSets and so on are parts of one workload. A CronJob is none: each of its runs is a job.
fn owns_jobs(kind: &str) -> bool {
    matches!(
        kind,
        "PyTorchJob"
            | "MPIJob"
            | "TFJob"
            | "XGBoostJob"
            | "JAXJob"
            | "PaddleJob"
            | "TrainJob"
            | "RayJob"
            | "JobSet"
            | "LeaderWorkerSet"
            | "RunaiJob"
            | "TrainingWorkload"
            | "InteractiveWorkload"
            | "InferenceWorkload"
            | "DistributedWorkload"
            | "DistributedInferenceWorkload"
    )
}

fn project(object: Facts<'_>) -> Option<String> {
    PROJECT_KEYS
        .iter()
        .find_map(|key| {
            object
                .labels
                .get(*key)
                .or_else(|| object.annotations.get(*key))
        })
        .filter(|project| !project.is_empty())
        .cloned()
}

fn runai_id(object: Facts<'_>) -> Option<String> {
    object
        .labels
        .get(RUNAI_ID_KEY)
        .or_else(|| object.annotations.get(RUNAI_ID_KEY))
        .filter(|id| !id.is_empty())
        .cloned()
}

fn rank(pod: Facts<'_>, workload: &str) -> Option<u32> {
    let index = |key: &str| {
        pod.labels
            .get(key)
            .or_else(|| pod.annotations.get(key))
            .and_then(|value| value.parse::<u32>().ok())
    };
    if let Some(role) = pod.labels.get(REPLICA_TYPE) {
        return rank_of_replica(pod, role, index(REPLICA_INDEX));
    }
    if let Some(completion) = index(COMPLETION_INDEX) {
        return match (index(JOBSET_REPLICAS), index(JOBSET_INDEX)) {
            // No set, one Job in the set, or the first of several. How many pods the Jobs before another one have, a
            // pod cannot tell.
            (None | Some(1), _) | (Some(_), Some(0)) => Some(completion),
            (Some(_), _) => None,
        };
    }
    if let Some(worker) = index(LWS_INDEX).or_else(|| index(POD_INDEX)) {
        return Some(worker);
    }
    if pod.owner.is_some_and(|owner| owner.kind == "StatefulSet") {
        return pod
            .name
            .rsplit_once('-')
            .and_then(|(_, ordinal)| ordinal.parse().ok());
    }
    // Without labels, training operators still name their pods `<workload>-<role>-<index>`.
    let (role, ordinal) = pod
        .name
        .strip_prefix(workload)?
        .strip_prefix('-')?
        .split_once('-')?;
    rank_of_replica(pod, role, Some(ordinal.parse().ok()?))
}

/// Rank from a training operator's role and index within the role. PyTorch and XGBoost count their master as rank 0;
/// an elastic PyTorchJob has no master, which one worker cannot see: its ranks are then one too high.
fn rank_of_replica(pod: Facts<'_>, role: &str, index: Option<u32>) -> Option<u32> {
    let kind = pod.owner.map_or("", |owner| owner.kind.as_str());
    let operator = pod.labels.get(OPERATOR).map_or("", String::as_str);
    let has_master = matches!(kind, "PyTorchJob" | "XGBoostJob" | "PaddleJob")
        || operator.starts_with("pytorchjob")
        || operator.starts_with("xgboostjob")
        || operator.starts_with("paddlejob");
    match role.to_ascii_lowercase().as_str() {
        "master" | "chief" => Some(0),
        "worker" if has_master => Some(index? + 1),
        "worker" => index,
        _ => None,
    }
}

#[cfg(test)]
mod tests;
