//! The workload object: about a third of its sixty fields.

use jiff::Timestamp;
use serde::Deserialize;

use super::nullable;
use super::scalar::{count, flag, name, names, number, text, time};
use crate::estate::{Condition, Name, Phase, Workload};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireWorkload {
    #[serde(default, deserialize_with = "text")]
    id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    name: Option<String>,
    #[serde(default, rename = "type", deserialize_with = "name")]
    kind: Option<Name>,
    #[serde(default, deserialize_with = "name")]
    project_name: Option<Name>,
    #[serde(default, deserialize_with = "name")]
    namespace: Option<Name>,
    #[serde(default, deserialize_with = "name")]
    cluster_id: Option<Name>,
    #[serde(default, deserialize_with = "text")]
    phase: Option<String>,
    #[serde(default, deserialize_with = "text")]
    phase_message: Option<String>,
    #[serde(default, deserialize_with = "name")]
    phase_reason: Option<Name>,
    #[serde(default, deserialize_with = "name")]
    submitted_by: Option<Name>,
    #[serde(default, deserialize_with = "time")]
    created_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "time")]
    updated_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "time")]
    phase_updated_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "time")]
    completed_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "nullable")]
    requested_pods: RequestedPods,
    #[serde(default, deserialize_with = "count")]
    running_pods: Option<u64>,
    #[serde(default, deserialize_with = "nullable")]
    workload_requested_resources: Requested,
    #[serde(default, deserialize_with = "nullable")]
    pods_requested_resources: Requested,
    #[serde(default, deserialize_with = "nullable")]
    allocated_resources: Allocated,
    #[serde(default, deserialize_with = "nullable")]
    actions_support: Actions,
    #[serde(default, deserialize_with = "names")]
    requested_node_pools: Vec<Name>,
    #[serde(default, deserialize_with = "names")]
    current_node_pools: Vec<Name>,
    #[serde(default, deserialize_with = "names")]
    images: Vec<Name>,
    #[serde(default, deserialize_with = "flag")]
    preemptible: Option<bool>,
    #[serde(default, deserialize_with = "name")]
    priority_class_name: Option<Name>,
    #[serde(default, deserialize_with = "number")]
    idle_allocated_gpus: Option<f64>,
    #[serde(default, deserialize_with = "count")]
    total_pending_time_seconds: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    total_running_time_seconds: Option<u64>,
    #[serde(default, deserialize_with = "nullable")]
    conditions: Vec<Option<WireCondition>>,
}

#[derive(Default, Deserialize)]
struct RequestedPods {
    #[serde(default, deserialize_with = "count")]
    number: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    min: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    parallelism: Option<u64>,
}

#[derive(Default, Deserialize)]
struct Requested {
    #[serde(default, deserialize_with = "nullable")]
    gpu: Bounds,
}

#[derive(Default, Deserialize)]
struct Bounds {
    #[serde(default, deserialize_with = "number")]
    request: Option<f64>,
    #[serde(default, deserialize_with = "number")]
    limit: Option<f64>,
}

#[derive(Default, Deserialize)]
struct Allocated {
    #[serde(default, deserialize_with = "number")]
    gpu: Option<f64>,
}

#[derive(Default, Deserialize)]
struct Actions {
    #[serde(default, deserialize_with = "flag")]
    delete: Option<bool>,
    #[serde(default, deserialize_with = "flag")]
    suspend: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireCondition {
    #[serde(default, rename = "type", deserialize_with = "name")]
    kind: Option<Name>,
    #[serde(default, deserialize_with = "name")]
    status: Option<Name>,
    #[serde(default, deserialize_with = "name")]
    reason: Option<Name>,
    #[serde(default, deserialize_with = "name")]
    message: Option<Name>,
    #[serde(default, deserialize_with = "time")]
    last_transition_time: Option<Timestamp>,
}

impl WireWorkload {
    /// Our vocabulary, or why it cannot be a workload: without an id that fits a URL, a name and a time it is none.
    pub(super) fn into_workload(self) -> Result<Workload, String> {
        let id = self.id.ok_or("a workload without an id")?;
        if !is_id(&id) {
            return Err("a workload whose id is none".to_owned());
        }
        let Some(name) = self.name else {
            return Err(format!("workload {id} has no name"));
        };
        let Some(created) = self
            .created_at
            .or(self.phase_updated_at)
            .or(self.updated_at)
        else {
            return Err(format!("workload {id} states no time"));
        };
        let pods = self.requested_pods;
        let requested_pods = pods.number.or(pods.parallelism).or(pods.min);
        let whole = self.workload_requested_resources.gpu;
        let each = self.pods_requested_resources.gpu;
        Ok(Workload {
            id,
            name,
            kind: self.kind.unwrap_or_default(),
            project: self.project_name.unwrap_or_default(),
            namespace: self.namespace.unwrap_or_default(),
            cluster_id: self.cluster_id.unwrap_or_default(),
            phase: Phase::from(
                self.phase
                    .unwrap_or_else(|| Name::shared("Unknown").to_string()),
            ),
            phase_message: self.phase_message,
            phase_reason: self.phase_reason,
            submitted_by: self.submitted_by,
            created,
            phase_updated: self.phase_updated_at,
            completed: self.completed_at,
            requested_gpus: whole.request.or(whole.limit).or_else(|| {
                let pods = requested_pods.unwrap_or(1) as f64;
                each.request.or(each.limit).map(|gpus| gpus * pods)
            }),
            allocated_gpus: self.allocated_resources.gpu,
            idle_allocated_gpus: self.idle_allocated_gpus,
            requested_pods: requested_pods.map(small),
            running_pods: small(self.running_pods.unwrap_or(0)),
            preemptible: self.preemptible,
            priority_class: self.priority_class_name,
            images: self.images,
            node_pools: if self.current_node_pools.is_empty() {
                self.requested_node_pools
            } else {
                self.current_node_pools
            },
            conditions: self
                .conditions
                .into_iter()
                .flatten()
                .filter_map(WireCondition::read)
                .collect(),
            can_suspend: self.actions_support.suspend.unwrap_or(false),
            can_delete: self.actions_support.delete.unwrap_or(false),
            running_seconds: self.total_running_time_seconds,
            pending_seconds: self.total_pending_time_seconds,
        })
    }
}

impl WireCondition {
    fn read(self) -> Option<Condition> {
        Some(Condition {
            kind: self.kind?,
            status: self.status.unwrap_or_else(|| "Unknown".to_owned().into()),
            reason: self.reason,
            message: self.message,
            since: self.last_transition_time,
        })
    }
}

/// Whether `id` is fit for a path: nothing that could be another segment, a query or a host.
pub(in crate::watch::runai) fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
