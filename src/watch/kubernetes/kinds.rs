//! Which kinds of objects are watched, and which of those a cluster may or may not have.

use serde::Deserialize;

use super::client::ClusterClient;
use super::error::KubeError;
use super::transport::segment;

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

    /// A kind of which `named` is the name, in version `v1`, which all that read them decode alike.
    pub(crate) fn named(named: &str) -> Option<Self> {
        let optional = OPTIONAL
            .iter()
            .flat_map(|(group, kinds)| kinds.iter().map(move |kind| (*group, *kind)))
            .map(|(group, kind)| Self {
                group,
                kind,
                version: "v1".to_owned(),
                plural: format!("{}s", kind.to_lowercase()),
            });
        Self::built_in()
            .into_iter()
            .chain(optional)
            .find(|kind| kind.kind == named)
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
    ("ray.io", &["RayJob", "RayCluster"]),
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

#[derive(Deserialize)]
struct Groups {
    #[serde(default)]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    name: String,
    #[serde(default)]
    versions: Vec<GroupVersion>,
    preferred_version: Option<GroupVersion>,
}

#[derive(Deserialize)]
struct GroupVersion {
    version: String,
}

#[derive(Deserialize)]
struct Resources {
    #[serde(default)]
    resources: Vec<ResourceEntry>,
}

#[derive(Deserialize)]
struct ResourceEntry {
    /// Plural; sub-resources as `plural/status`.
    name: String,
    kind: String,
    #[serde(default)]
    verbs: Vec<String>,
}

impl ClusterClient {
    /// The kinds of [`OPTIONAL`] operators that this cluster serves, each in its preferred version.
    pub(super) async fn optional_kinds(&self) -> Result<Vec<ControllerKind>, KubeError> {
        let served: Groups = self.read("/apis").await?;
        let mut found = Vec::new();
        for (group, kinds) in OPTIONAL {
            let Some(served) = served.groups.iter().find(|served| served.name == group) else {
                continue;
            };
            let preferred = served.preferred_version.iter();
            for version in preferred
                .chain(&served.versions)
                .map(|entry| entry.version.as_str())
            {
                let missing = |kind: &&&str| {
                    !found
                        .iter()
                        .any(|have: &ControllerKind| have.kind == **kind)
                };
                if kinds.iter().filter(missing).count() == 0 {
                    break;
                }
                let resources: Resources = self
                    .read(&format!("/apis/{group}/{}", segment(version)?))
                    .await?;
                let entries = kinds.iter().filter(missing).filter_map(|kind| {
                    let entry = resources.resources.iter().find(|entry| {
                        entry.kind == *kind
                            && !entry.name.contains('/')
                            && entry.verbs.iter().any(|verb| verb == "watch")
                    })?;
                    Some(ControllerKind {
                        group,
                        kind,
                        version: version.to_owned(),
                        plural: entry.name.clone(),
                    })
                });
                let entries: Vec<ControllerKind> = entries.collect();
                found.extend(entries);
            }
        }
        Ok(found)
    }
}
