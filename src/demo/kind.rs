//! The Kubernetes kinds that the simulated cluster serves, and their names in paths and discovery.

/// A kind of object in the simulated cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Namespace,
    Node,
    Pod,
    Event,
    PersistentVolumeClaim,
    Job,
    Deployment,
    StatefulSet,
    ReplicaSet,
    PyTorchJob,
}

impl Kind {
    pub(super) const ALL: [Self; 10] = [
        Self::Namespace,
        Self::Node,
        Self::Pod,
        Self::Event,
        Self::PersistentVolumeClaim,
        Self::Job,
        Self::Deployment,
        Self::StatefulSet,
        Self::ReplicaSet,
        Self::PyTorchJob,
    ];

    /// The API group; empty for the core group.
    pub(super) const fn group(self) -> &'static str {
        match self {
            Self::Namespace
            | Self::Node
            | Self::Pod
            | Self::Event
            | Self::PersistentVolumeClaim => "",
            Self::Job => "batch",
            Self::Deployment | Self::StatefulSet | Self::ReplicaSet => "apps",
            Self::PyTorchJob => "kubeflow.org",
        }
    }

    /// `apiVersion` as objects carry it. Every kind served here is at `v1` of its group.
    pub(super) const fn api_version(self) -> &'static str {
        match self {
            Self::Namespace
            | Self::Node
            | Self::Pod
            | Self::Event
            | Self::PersistentVolumeClaim => "v1",
            Self::Job => "batch/v1",
            Self::Deployment | Self::StatefulSet | Self::ReplicaSet => "apps/v1",
            Self::PyTorchJob => "kubeflow.org/v1",
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Node => "Node",
            Self::Pod => "Pod",
            Self::Event => "Event",
            Self::PersistentVolumeClaim => "PersistentVolumeClaim",
            Self::Job => "Job",
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::ReplicaSet => "ReplicaSet",
            Self::PyTorchJob => "PyTorchJob",
        }
    }

    /// The name in paths.
    pub(super) const fn plural(self) -> &'static str {
        match self {
            Self::Namespace => "namespaces",
            Self::Node => "nodes",
            Self::Pod => "pods",
            Self::Event => "events",
            Self::PersistentVolumeClaim => "persistentvolumeclaims",
            Self::Job => "jobs",
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
            Self::ReplicaSet => "replicasets",
            Self::PyTorchJob => "pytorchjobs",
        }
    }

    pub(super) const fn namespaced(self) -> bool {
        !matches!(self, Self::Namespace | Self::Node)
    }

    /// The plural with its group, as in error texts: `jobs.batch`, `pods`.
    pub(super) fn qualified(self) -> String {
        if self.group().is_empty() {
            self.plural().to_owned()
        } else {
            format!("{}.{}", self.plural(), self.group())
        }
    }

    pub(super) fn from_path(group: &str, plural: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.group() == group && kind.plural() == plural)
    }
}
