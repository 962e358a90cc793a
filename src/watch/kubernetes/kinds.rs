//! Which kinds of objects are watched, and which of those a cluster may or may not have.

/// A kind that makes pods, as one cluster serves it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ControllerKind {
    pub group: &'static str,
    pub kind: &'static str,
    pub version: String,
    pub plural: String,
}

impl ControllerKind {
    /// The kinds that every cluster has.
    #[must_use]
    pub fn built_in() -> [Self; 3] {
        let kind = |group, kind, plural: &str| Self {
            group,
            kind,
            version: "v1".to_owned(),
            plural: plural.to_owned(),
        };
        [
            kind("batch", "Job", "jobs"),
            kind("apps", "Deployment", "deployments"),
            kind("apps", "StatefulSet", "statefulsets"),
        ]
    }

    /// `/apis/<group>/<version>`.
    #[must_use]
    pub fn api(&self) -> String {
        format!("/apis/{}/{}", self.group, self.version)
    }
}

/// Kinds that exist where somebody installed their operator: (group, kinds).
pub(super) const OPTIONAL: [(&str, &[&str]); 6] = [
    (
        "kubeflow.org",
        &[
            "PyTorchJob",
            "MPIJob",
            "TFJob",
            "XGBoostJob",
            "JAXJob",
            "PaddleJob",
        ],
    ),
    ("trainer.kubeflow.org", &["TrainJob"]),
    ("jobset.x-k8s.io", &["JobSet"]),
    ("leaderworkerset.x-k8s.io", &["LeaderWorkerSet"]),
    ("ray.io", &["RayJob"]),
    ("run.ai", &["RunaiJob"]),
];

/// True for kinds whose events tell something about a job.
pub(super) fn is_part_of_a_job(kind: &str) -> bool {
    matches!(
        kind,
        "Pod"
            | "Node"
            | "PersistentVolumeClaim"
            | "PodGroup"
            | "ReplicaSet"
            | "DaemonSet"
            | "CronJob"
            | "RayCluster"
            | "TrainingWorkload"
            | "InteractiveWorkload"
            | "InferenceWorkload"
            | "DistributedWorkload"
            | "DistributedInferenceWorkload"
            | "Job"
            | "Deployment"
            | "StatefulSet"
    ) || OPTIONAL.iter().any(|(_, kinds)| kinds.contains(&kind))
}
