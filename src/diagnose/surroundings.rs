//! What stands around a job: its volumes, the quotas over it, and what was changed before it failed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Facts of the job's surroundings. What could not be read is in the evidence's `missing`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Surroundings {
    pub claims: Vec<Claim>,
    pub quotas: Vec<Quota>,
    /// Newest first.
    pub changes: Vec<Change>,
}

/// A persistent volume claim that the job mounts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Claim {
    pub name: String,
    /// `Pending`, `Bound`, `Lost`, as stated; `NotFound` where it does not exist.
    pub phase: String,
    pub storage_class: Option<String>,
    pub requested: Option<String>,
    pub capacity: Option<String>,
    pub access_modes: Vec<String>,
    /// Since when it is being deleted.
    pub deleting: Option<Timestamp>,
}

/// One limited resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quota {
    pub kind: QuotaKind,
    /// Name of the quota, queue or project.
    pub name: String,
    /// `nvidia.com/gpu`, `requests.memory`, `pods`, …
    pub resource: String,
    /// In the resource's own unit: GPUs, cores, bytes.
    pub used: Option<f64>,
    /// What may be used at most; none without a limit.
    pub limit: Option<f64>,
    /// What is guaranteed, for queues.
    pub deserved: Option<f64>,
}

impl Quota {
    /// What is used of what may be, as a sentence without a full stop.
    #[must_use]
    pub fn told(&self) -> String {
        let what = match self.kind {
            QuotaKind::ResourceQuota => format!("quota {}", self.name),
            QuotaKind::KaiQueue => format!("queue {}", self.name),
            QuotaKind::KueueClusterQueue => format!("cluster queue {}", self.name),
        };
        let resource = match self.resource.as_str() {
            "gpu" | "nvidia.com/gpu" | "requests.nvidia.com/gpu" => "GPUs",
            other => other,
        };
        let number = |value: f64| {
            if value >= 1e9 {
                format!("{:.1} GiB", value / f64::from(1 << 30))
            } else {
                ((value * 100.0).round() / 100.0).to_string()
            }
        };
        let used = self
            .used
            .map_or_else(|| "an unknown part".to_owned(), number);
        match (self.limit, self.deserved) {
            (Some(limit), Some(deserved)) => format!(
                "{what} uses {used} of at most {} {resource}, and {} are its own share",
                number(limit),
                number(deserved)
            ),
            (Some(limit), None) => {
                format!("{what} uses {used} of at most {} {resource}", number(limit))
            }
            (None, Some(deserved)) => format!(
                "{what} uses {used} {resource}, and {} are its own share",
                number(deserved)
            ),
            (None, None) => format!("{what} uses {used} {resource}, without a limit"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaKind {
    ResourceQuota,
    /// A queue of the KAI scheduler: a Run:AI project or department.
    KaiQueue,
    KueueClusterQueue,
}

/// Something that somebody changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    pub at: Timestamp,
    pub kind: ChangeKind,
    /// Kind and name, as people write it: `Deployment/api`.
    pub object: String,
    /// In words, without contents.
    pub told: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// A new revision of a Deployment or StatefulSet.
    Rollout,
    /// A ConfigMap that the job reads.
    Configuration,
    /// A Secret that the job reads; only that and when it changed.
    Secret,
}
