//! Object metadata without what nobody here reads: above all managed fields and the last applied configuration.

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    ObjectMeta, OwnerReference, Time as KubeTime,
};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::lenient::{Lenient, Take, Time, lenient, lenient_object};
use crate::estate::identity::{Facts, Tags, is_identity_key};
use crate::estate::{Name, ObjectRef};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SlimMeta {
    #[serde(deserialize_with = "lenient")]
    name: Option<String>,
    #[serde(deserialize_with = "lenient")]
    namespace: Option<String>,
    #[serde(deserialize_with = "lenient")]
    uid: Option<String>,
    #[serde(deserialize_with = "lenient")]
    resource_version: Option<String>,
    #[serde(deserialize_with = "lenient")]
    creation_timestamp: Time,
    #[serde(deserialize_with = "lenient")]
    deletion_timestamp: Time,
    #[serde(deserialize_with = "lenient")]
    labels: SlimTags,
    #[serde(deserialize_with = "lenient")]
    annotations: SlimTags,
    #[serde(deserialize_with = "lenient")]
    owner_references: Vec<SlimOwner>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimOwner {
    #[serde(deserialize_with = "lenient")]
    kind: Option<String>,
    #[serde(deserialize_with = "lenient")]
    name: Option<String>,
    #[serde(deserialize_with = "lenient")]
    uid: Option<String>,
    #[serde(deserialize_with = "lenient")]
    controller: bool,
}

lenient_object!(SlimMeta, SlimOwner);

/// For `#[serde(deserialize_with = "object_meta")]`: kube wants its own metadata type, of which only what is used here
/// gets filled in.
pub(super) fn object_meta<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<ObjectMeta, D::Error> {
    let slim: SlimMeta = lenient(deserializer)?;
    let owners: Vec<OwnerReference> = slim
        .owner_references
        .into_iter()
        .filter_map(owner_reference)
        .collect();
    Ok(ObjectMeta {
        name: slim.name,
        namespace: slim.namespace,
        uid: slim.uid,
        resource_version: slim.resource_version,
        creation_timestamp: slim.creation_timestamp.0.map(KubeTime),
        deletion_timestamp: slim.deletion_timestamp.0.map(KubeTime),
        labels: Some(slim.labels.0),
        annotations: Some(slim.annotations.0),
        owner_references: (!owners.is_empty()).then_some(owners),
        ..ObjectMeta::default()
    })
}

fn owner_reference(owner: SlimOwner) -> Option<OwnerReference> {
    Some(OwnerReference {
        kind: owner.kind?,
        name: owner.name?,
        uid: owner.uid.unwrap_or_default(),
        controller: Some(owner.controller),
        ..OwnerReference::default()
    })
}

/// What every kept object has. `None` where there is no name, which no API server sends.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) namespace: Name,
    pub(super) uid: String,
    pub(super) created: Timestamp,
    pub(super) deleting: Option<Timestamp>,
    pub(super) labels: Tags,
    pub(super) annotations: Tags,
    pub(super) owner: Option<ObjectRef>,
}

impl Named {
    /// `seen` stands in for a missing creation time.
    pub(super) fn new(meta: ObjectMeta, seen: Timestamp) -> Option<Self> {
        let name = meta.name.filter(|name| !name.is_empty())?;
        let namespace = meta.namespace.unwrap_or_default();
        Some(Self {
            uid: meta.uid.unwrap_or_else(|| format!("{namespace}/{name}")),
            created: meta.creation_timestamp.map_or(seen, |time| time.0),
            deleting: meta.deletion_timestamp.map(|time| time.0),
            labels: meta.labels.unwrap_or_default(),
            annotations: meta.annotations.unwrap_or_default(),
            owner: controlling_owner(meta.owner_references.unwrap_or_default()),
            name,
            namespace: Name::shared(&namespace),
        })
    }

    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            name: &self.name,
            labels: &self.labels,
            annotations: &self.annotations,
            owner: self.owner.as_ref(),
        }
    }
}

/// The owner marked as controller, or an only owner that is not marked.
fn controlling_owner(mut owners: Vec<OwnerReference>) -> Option<ObjectRef> {
    let place = owners
        .iter()
        .position(|owner| owner.controller == Some(true));
    let owner = match place {
        Some(place) => owners.swap_remove(place),
        None if owners.len() == 1 => owners.pop()?,
        None => return None,
    };
    Some(ObjectRef {
        kind: Name::shared(&owner.kind),
        name: owner.name,
        uid: Some(owner.uid).filter(|uid| !uid.is_empty()),
    })
}

/// Labels or annotations, reduced to the keys that matter; others are neither copied nor kept.
#[derive(Clone, Debug, Default)]
pub(super) struct SlimTags(pub(super) Tags);

impl<'de> Lenient<'de> for SlimTags {
    fn from_map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut tags = Tags::new();
        while let Some(key) = map.next_key_seed(KeptKey)? {
            match key {
                Some(key) => {
                    if let Take(Some(value)) = map.next_value::<Take<Option<String>>>()? {
                        tags.insert(key, value);
                    }
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Self(tags))
    }
}

/// Node labels that matter, beside those of identity: the kind of GPU, and the pool of each of the usual platforms.
pub(super) const NODE_LABELS: [&str; 9] = [
    "topology.kubernetes.io/region",
    "nvidia.com/gpu.product",
    "amd.com/gpu.product-name",
    "kai.scheduler/node-pool",
    "runai/node-pool",
    "karpenter.sh/nodepool",
    "cloud.google.com/gke-nodepool",
    "eks.amazonaws.com/nodegroup",
    "kubernetes.azure.com/agentpool",
];

/// Annotations by which the Run:AI scheduler says on an event who evicted whom, and why.
fn is_event_annotation(key: &str) -> bool {
    key.starts_with("evictor-") || key == "num-evicted-pods"
}

struct KeptKey;

impl<'de> DeserializeSeed<'de> for KeptKey {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeptKey {
    type Value = Option<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        let kept = is_identity_key(key) || NODE_LABELS.contains(&key) || is_event_annotation(key);
        Ok(kept.then(|| key.to_owned()))
    }
}
