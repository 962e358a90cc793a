//! Whatever makes pods: Jobs, Deployments, StatefulSets, and the jobs of the training operators.
//!
//! One struct decodes them all: their fields hardly collide, and which of them exist, the kind tells.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::NamespaceResourceScope;
use serde::Deserialize;

use super::lenient::{Values, lenient, lenient_object};
use super::meta::{Named, SlimTags, object_meta};
use super::{SlimCondition, conditions};
use crate::estate::{Condition, Controller, Name, identity};
use crate::watch::kubernetes::kinds::ControllerKind;

/// A controller as the API sends it, less what is not kept.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SlimController {
    #[serde(deserialize_with = "object_meta")]
    metadata: ObjectMeta,
    #[serde(deserialize_with = "lenient")]
    spec: Spec,
    #[serde(deserialize_with = "lenient")]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    #[serde(deserialize_with = "lenient")]
    suspend: bool,
    #[serde(deserialize_with = "lenient")]
    replicas: Option<u32>,
    #[serde(deserialize_with = "lenient")]
    parallelism: Option<u32>,
    #[serde(deserialize_with = "lenient")]
    backoff_limit: Option<u32>,
    #[serde(deserialize_with = "lenient")]
    run_policy: RunPolicy,
    #[serde(deserialize_with = "lenient")]
    template: Template,
    /// Role → replicas, which each training operator calls differently.
    #[serde(
        alias = "pytorchReplicaSpecs",
        alias = "mpiReplicaSpecs",
        alias = "tfReplicaSpecs",
        alias = "xgbReplicaSpecs",
        alias = "jaxReplicaSpecs",
        alias = "paddleReplicaSpecs",
        deserialize_with = "lenient"
    )]
    replica_specs: Values<Replicas>,
    /// A JobSet's Jobs.
    #[serde(deserialize_with = "lenient")]
    replicated_jobs: Vec<ReplicatedJob>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RunPolicy {
    #[serde(deserialize_with = "lenient")]
    suspend: bool,
    #[serde(deserialize_with = "lenient")]
    backoff_limit: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Template {
    #[serde(deserialize_with = "lenient")]
    metadata: TemplateMeta,
    #[serde(deserialize_with = "lenient")]
    spec: JobSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct TemplateMeta {
    #[serde(deserialize_with = "lenient")]
    labels: SlimTags,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct JobSpec {
    #[serde(deserialize_with = "lenient")]
    parallelism: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Replicas {
    #[serde(deserialize_with = "lenient")]
    replicas: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ReplicatedJob {
    #[serde(deserialize_with = "lenient")]
    replicas: Option<u32>,
    #[serde(deserialize_with = "lenient")]
    template: Template,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    #[serde(deserialize_with = "lenient")]
    conditions: Vec<SlimCondition>,
    #[serde(deserialize_with = "lenient")]
    active: Option<u32>,
    #[serde(deserialize_with = "lenient")]
    failed: Option<u32>,
    #[serde(deserialize_with = "lenient")]
    succeeded: Option<u32>,
    #[serde(deserialize_with = "lenient")]
    ready: Option<u32>,
    #[serde(deserialize_with = "lenient")]
    replicas: Option<u32>,
    #[serde(deserialize_with = "lenient")]
    ready_replicas: Option<u32>,
    #[serde(deserialize_with = "lenient")]
    replica_statuses: Values<ReplicaStatus>,
    #[serde(rename = "replicatedJobsStatus", deserialize_with = "lenient")]
    replicated_jobs: Vec<ReplicaStatus>,
    /// `RayJob`: `PENDING`, `RUNNING`, `STOPPED`, `SUCCEEDED`, `FAILED`.
    #[serde(rename = "jobStatus", deserialize_with = "lenient")]
    ray: Option<Name>,
    /// `RayJob`: `Initializing`, `Running`, `Retrying`, `Complete`, `Failed` … of all that is around the job.
    #[serde(rename = "jobDeploymentStatus", deserialize_with = "lenient")]
    ray_deployment: Option<Name>,
    #[serde(deserialize_with = "lenient")]
    reason: Option<Name>,
    #[serde(deserialize_with = "lenient")]
    message: Option<Name>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct ReplicaStatus {
    #[serde(deserialize_with = "lenient")]
    active: Option<u32>,
    #[serde(deserialize_with = "lenient")]
    failed: Option<u32>,
    #[serde(deserialize_with = "lenient")]
    succeeded: Option<u32>,
    #[serde(deserialize_with = "lenient")]
    ready: Option<u32>,
}

lenient_object!(
    Spec,
    RunPolicy,
    Template,
    TemplateMeta,
    JobSpec,
    Replicas,
    ReplicatedJob,
    Status,
    ReplicaStatus,
);

impl SlimController {
    /// `None` for an object without a name. `seen` stands in for a missing creation time.
    #[must_use]
    pub fn into_controller(
        self,
        cluster: &str,
        kind: &ControllerKind,
        seen: Timestamp,
    ) -> Option<Controller> {
        let Self {
            metadata,
            spec,
            status,
        } = self;
        let named = Named::new(metadata, seen)?;
        let who = identity::of_controller(named.facts(), &spec.template.metadata.labels.0);
        let sum = |count: fn(&ReplicaStatus) -> Option<u32>| {
            let parts = status
                .replica_statuses
                .0
                .iter()
                .chain(&status.replicated_jobs);
            parts.filter_map(count).fold(0, u32::saturating_add)
        };
        Some(Controller {
            cluster: Name::shared(cluster),
            namespace: named.namespace,
            name: named.name,
            kind: Name::shared(kind.kind),
            uid: named.uid,
            created: named.created,
            deleting: named.deleting,
            owner: named.owner,
            workload: Name::shared(&who.workload),
            runai_id: who.runai_id,
            project: who.project,
            suspended: spec.suspend || spec.run_policy.suspend,
            desired: desired(&spec),
            active: status
                .active
                .or(status.replicas)
                .unwrap_or_else(|| sum(|part| part.active)),
            failed: status.failed.unwrap_or_else(|| sum(|part| part.failed)),
            succeeded: status
                .succeeded
                .unwrap_or_else(|| sum(|part| part.succeeded)),
            ready: status
                .ready
                .or(status.ready_replicas)
                .unwrap_or_else(|| sum(|part| part.ready)),
            backoff_limit: spec.backoff_limit.or(spec.run_policy.backoff_limit),
            gitops: identity::gitops(&named.labels, &named.annotations),
            conditions: with_ray_status(status),
        })
    }
}

/// Pods wanted at once. Kubernetes takes one where nothing is said.
fn desired(spec: &Spec) -> u32 {
    let product = |job: &ReplicatedJob| {
        let pods = job.template.spec.parallelism.unwrap_or(1);
        job.replicas.unwrap_or(1).saturating_mul(pods)
    };
    let roles = &spec.replica_specs.0;
    if !roles.is_empty() {
        let each = roles.iter().map(|role| role.replicas.unwrap_or(1));
        return each.fold(0, u32::saturating_add);
    }
    if !spec.replicated_jobs.is_empty() {
        return spec
            .replicated_jobs
            .iter()
            .map(product)
            .fold(0, u32::saturating_add);
    }
    spec.replicas.or(spec.parallelism).unwrap_or(1)
}

/// A RayJob states its end in a field of its own; it is told as the condition that all other jobs have.
fn with_ray_status(status: Status) -> Vec<Condition> {
    let mut conditions = conditions(status.conditions);
    let kind = match (status.ray.as_deref(), status.ray_deployment.as_deref()) {
        // Another RayCluster is made for another try.
        (_, Some("Retrying")) => return conditions,
        // It can fail before the job itself ever ran, and by a deadline while that still runs.
        (Some("FAILED"), _) | (_, Some("Failed")) => "Failed",
        (Some("SUCCEEDED"), _) => "Complete",
        (Some(_) | None, Some(_) | None) => return conditions,
    };
    if !conditions.iter().any(|condition| condition.kind == kind) {
        conditions.push(Condition {
            kind: Name::shared(kind),
            status: Name::shared("True"),
            reason: status.reason.filter(|reason| !reason.is_empty()),
            message: status.message.filter(|message| !message.is_empty()),
            since: None,
        });
    }
    conditions
}

impl kube::Resource for SlimController {
    type DynamicType = ControllerKind;
    type Scope = NamespaceResourceScope;

    fn kind(kind: &ControllerKind) -> Cow<'_, str> {
        kind.kind.into()
    }

    fn group(kind: &ControllerKind) -> Cow<'_, str> {
        kind.group.into()
    }

    fn version(kind: &ControllerKind) -> Cow<'_, str> {
        kind.version.as_str().into()
    }

    fn plural(kind: &ControllerKind) -> Cow<'_, str> {
        kind.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
