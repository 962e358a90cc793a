//! Nodes: whether they take pods, what ails them, and their GPUs.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::ClusterResourceScope;
use serde::Deserialize;
use serde::de::MapAccess;

use super::lenient::{Lenient, Take, lenient, lenient_object};
use super::meta::{NODE_LABELS, Named, object_meta};
use super::{SlimCondition, conditions};
use crate::estate::{Node, identity};

/// A node as the API sends it, less what is not kept.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SlimNode {
    #[serde(deserialize_with = "object_meta")]
    metadata: ObjectMeta,
    #[serde(deserialize_with = "lenient")]
    spec: Spec,
    #[serde(deserialize_with = "lenient")]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    #[serde(deserialize_with = "lenient")]
    unschedulable: bool,
    #[serde(deserialize_with = "lenient")]
    taints: Vec<Taint>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Taint {
    #[serde(deserialize_with = "lenient")]
    key: Option<String>,
    #[serde(deserialize_with = "lenient")]
    value: Option<String>,
    #[serde(deserialize_with = "lenient")]
    effect: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    #[serde(deserialize_with = "lenient")]
    capacity: Gpus,
    #[serde(deserialize_with = "lenient")]
    allocatable: Gpus,
    #[serde(deserialize_with = "lenient")]
    conditions: Vec<SlimCondition>,
}

/// The GPUs among a node's resources.
#[derive(Clone, Copy, Debug, Default)]
struct Gpus(f64);

lenient_object!(Spec, Taint, Status);

impl<'de> Lenient<'de> for Gpus {
    fn from_map<A: MapAccess<'de>>(mut resources: A) -> Result<Self, A::Error> {
        let mut gpus = 0.0;
        while let Some((resource, Take(quantity))) =
            resources.next_entry::<String, Take<Option<String>>>()?
        {
            gpus += quantity.map_or(0.0, |quantity| {
                identity::gpus_of_limit(&resource, &quantity)
            });
        }
        Ok(Self(gpus))
    }
}

impl SlimNode {
    /// `None` for an object without a name. `seen` stands in for a missing creation time.
    #[must_use]
    pub fn into_node(self, cluster: &str, seen: Timestamp) -> Option<Node> {
        let Self {
            metadata,
            spec,
            status,
        } = self;
        let mut named = Named::new(metadata, seen)?;
        let [region, nvidia, amd, pools @ ..] = NODE_LABELS;
        let region = named.labels.remove(region);
        let gpu_type = named
            .labels
            .remove(nvidia)
            .or_else(|| named.labels.remove(amd));
        let node_pool = pools.iter().find_map(|label| named.labels.remove(*label));
        Some(Node {
            cluster: cluster.to_owned(),
            name: named.name,
            uid: named.uid,
            created: named.created,
            unschedulable: spec.unschedulable,
            taints: spec.taints.into_iter().filter_map(taint).collect(),
            conditions: conditions(status.conditions),
            allocatable_gpus: status.allocatable.0,
            capacity_gpus: status.capacity.0,
            gpu_type,
            node_pool,
            region,
        })
    }
}

fn taint(taint: Taint) -> Option<String> {
    let (key, effect) = (taint.key?, taint.effect.unwrap_or_default());
    Some(match taint.value.filter(|value| !value.is_empty()) {
        Some(value) => format!("{key}={value}:{effect}"),
        None => format!("{key}:{effect}"),
    })
}

impl kube::Resource for SlimNode {
    type DynamicType = ();
    type Scope = ClusterResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Node".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "nodes".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
