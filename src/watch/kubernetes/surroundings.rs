//! What stands around a job in its cluster: claims, quotas, queues, revisions, and when the configuration that its pods
//! read was changed. Of ConfigMaps and Secrets only the metadata is asked for, and nothing else is decoded.

use std::collections::{BTreeMap, BTreeSet};

use http::{Request, header};
use jiff::Timestamp;
use kube::client::Body;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::client::ClusterClient;
use super::error::KubeError;
use super::transport::{DEADLINE, Tries, decode, found, malformed, segment, within};
use crate::diagnose::surroundings::{Change, ChangeKind, Claim, Quota, QuotaKind};

/// The annotation in which a Deployment numbers its ReplicaSets.
const REVISION: &str = "deployment.kubernetes.io/revision";
/// Asks for names and times instead of contents.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Meta {
    name: String,
    creation_timestamp: Option<Timestamp>,
    deletion_timestamp: Option<Timestamp>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Vec<Owner>,
    managed_fields: Vec<ManagedFields>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Owner {
    kind: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ManagedFields {
    time: Option<Timestamp>,
    /// `status` for changes of the status, which are no changes by people.
    subresource: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object<S, T> {
    metadata: Meta,
    spec: S,
    status: T,
}

#[derive(Deserialize)]
struct Items<T> {
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ClaimSpec {
    storage_class_name: Option<String>,
    access_modes: Vec<String>,
    resources: Requests,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Requests {
    requests: BTreeMap<String, Amount>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ClaimStatus {
    phase: Option<String>,
    capacity: BTreeMap<String, Amount>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct QuotaStatus {
    hard: BTreeMap<String, Amount>,
    used: BTreeMap<String, Amount>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Nothing {}

/// A quantity, which custom resources also write as a number.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Amount {
    Text(String),
    Number(f64),
}

impl Amount {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
        }
    }

    /// The value in the resource's unit, by the suffixes of Kubernetes' quantities.
    fn value(&self) -> Option<f64> {
        let text = match self {
            Self::Number(number) => return Some(*number),
            Self::Text(text) => text.trim(),
        };
        let end = text
            .find(|c: char| !matches!(c, '0'..='9' | '.' | '-' | '+'))
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let factor = match suffix {
            "" => 1.0,
            "m" => 1e-3,
            "k" => 1e3,
            "M" => 1e6,
            "G" => 1e9,
            "T" => 1e12,
            "P" => 1e15,
            "Ki" => 1024.0,
            "Mi" => 1024_f64.powi(2),
            "Gi" => 1024_f64.powi(3),
            "Ti" => 1024_f64.powi(4),
            "Pi" => 1024_f64.powi(5),
            _ => return None,
        };
        number.parse::<f64>().ok().map(|number| number * factor)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct QueueSpec {
    resources: BTreeMap<String, QueueResource>,
}

/// −1 is "unlimited" for both.
#[derive(Default, Deserialize)]
#[serde(default)]
struct QueueResource {
    quota: Option<f64>,
    limit: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct QueueStatus {
    allocated: BTreeMap<String, Amount>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LocalQueueSpec {
    cluster_queue: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ClusterQueueSpec {
    resource_groups: Vec<ResourceGroup>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResourceGroup {
    flavors: Vec<Flavor>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Flavor {
    resources: Vec<FlavorResource>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct FlavorResource {
    name: String,
    nominal_quota: Option<Amount>,
    total: Option<Amount>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ClusterQueueStatus {
    flavors_reservation: Vec<Flavor>,
    flavors_usage: Vec<Flavor>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RevisionSpec {
    template: Template,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Template {
    spec: PodSpec,
}

/// Where a pod's containers read configuration, by name only.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    containers: Vec<ContainerSpec>,
    init_containers: Vec<ContainerSpec>,
    volumes: Vec<Volume>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerSpec {
    image: Option<String>,
    env: Vec<Variable>,
    env_from: Vec<EnvFrom>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Variable {
    value_from: Option<ValueFrom>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ValueFrom {
    config_map_key_ref: Option<Reference>,
    secret_key_ref: Option<Reference>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EnvFrom {
    config_map_ref: Option<Reference>,
    secret_ref: Option<Reference>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Volume {
    config_map: Option<Reference>,
    secret: Option<Reference>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Reference {
    #[serde(alias = "secretName")]
    name: Option<String>,
}

/// The ConfigMaps and Secrets that a pod reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigNames {
    pub config_maps: BTreeSet<String>,
    pub secrets: BTreeSet<String>,
}

impl PodSpec {
    fn names(&self) -> ConfigNames {
        let mut names = ConfigNames::default();
        let mut take = |map: Option<&Reference>, secret: Option<&Reference>| {
            names
                .config_maps
                .extend(map.and_then(|map| map.name.clone()));
            names
                .secrets
                .extend(secret.and_then(|secret| secret.name.clone()));
        };
        for volume in &self.volumes {
            take(volume.config_map.as_ref(), volume.secret.as_ref());
        }
        for container in self.containers.iter().chain(&self.init_containers) {
            for from in &container.env_from {
                take(from.config_map_ref.as_ref(), from.secret_ref.as_ref());
            }
            for from in container
                .env
                .iter()
                .filter_map(|env| env.value_from.as_ref())
            {
                take(
                    from.config_map_key_ref.as_ref(),
                    from.secret_key_ref.as_ref(),
                );
            }
        }
        // The cluster's own, in every namespace.
        names.config_maps.remove("kube-root-ca.crt");
        names
    }
}

impl ClusterClient {
    /// The state of a claim. One that does not exist is told as such.
    pub async fn claim(&self, namespace: &str, name: &str) -> Result<Claim, KubeError> {
        let path = format!(
            "/api/v1/namespaces/{}/persistentvolumeclaims/{}",
            segment(namespace)?,
            segment(name)?
        );
        let object: Option<Object<ClaimSpec, ClaimStatus>> = found(self.read(&path).await)?;
        let Some(object) = object else {
            return Ok(Claim {
                name: name.to_owned(),
                phase: "NotFound".to_owned(),
                ..Claim::default()
            });
        };
        let storage = |amounts: &BTreeMap<String, Amount>| amounts.get("storage").map(Amount::text);
        Ok(Claim {
            name: name.to_owned(),
            phase: object.status.phase.unwrap_or_else(|| "Unknown".to_owned()),
            storage_class: object.spec.storage_class_name,
            requested: storage(&object.spec.resources.requests),
            capacity: storage(&object.status.capacity),
            access_modes: object.spec.access_modes,
            deleting: object.metadata.deletion_timestamp,
        })
    }

    /// Every limit of the namespace's ResourceQuotas.
    pub async fn resource_quotas(&self, namespace: &str) -> Result<Vec<Quota>, KubeError> {
        let path = format!("/api/v1/namespaces/{}/resourcequotas", segment(namespace)?);
        let list: Option<Items<Object<Nothing, QuotaStatus>>> = found(self.read(&path).await)?;
        let mut quotas = Vec::new();
        for quota in list.into_iter().flat_map(|list| list.items) {
            for (resource, hard) in &quota.status.hard {
                quotas.push(Quota {
                    kind: QuotaKind::ResourceQuota,
                    name: quota.metadata.name.clone(),
                    resource: resource.clone(),
                    used: quota.status.used.get(resource).and_then(Amount::value),
                    limit: hard.value(),
                    deserved: None,
                });
            }
        }
        Ok(quotas)
    }

    /// The limits of the queue that the KAI scheduler or Kueue holds the job to. A cluster without either has none.
    pub async fn queue(
        &self,
        namespace: &str,
        project: Option<&str>,
    ) -> Result<Vec<Quota>, KubeError> {
        if let Some(project) = project {
            let path = format!("/apis/scheduling.run.ai/v2/queues/{}", segment(project)?);
            let queue: Option<Object<QueueSpec, QueueStatus>> = found(self.read(&path).await)?;
            if let Some(queue) = queue {
                return Ok(of_kai(&queue));
            }
        }
        let path = format!(
            "/apis/kueue.x-k8s.io/v1beta1/namespaces/{}/localqueues",
            segment(namespace)?
        );
        let local: Option<Items<Object<LocalQueueSpec, Nothing>>> = found(self.read(&path).await)?;
        let names: BTreeSet<String> = local
            .into_iter()
            .flat_map(|list| list.items)
            .map(|queue| queue.spec.cluster_queue)
            .collect();
        let mut quotas = Vec::new();
        for name in names.iter().take(4) {
            let path = format!(
                "/apis/kueue.x-k8s.io/v1beta1/clusterqueues/{}",
                segment(name)?
            );
            let queue: Option<Object<ClusterQueueSpec, ClusterQueueStatus>> =
                found(self.read(&path).await)?;
            quotas.extend(queue.iter().flat_map(|queue| of_kueue(name, queue)));
        }
        Ok(quotas)
    }

    /// The revisions of a Deployment or StatefulSet, newest first, each told by what it changed in the one before.
    pub async fn revisions(
        &self,
        namespace: &str,
        kind: &str,
        name: &str,
    ) -> Result<Vec<Change>, KubeError> {
        let plural = match kind {
            "Deployment" => "replicasets",
            "StatefulSet" => "controllerrevisions",
            _ => return Ok(Vec::new()),
        };
        let path = format!("/apis/apps/v1/namespaces/{}/{plural}", segment(namespace)?);
        let list: Option<Items<Revision>> = found(self.read(&path).await)?;
        let mut revisions: Vec<Revision> = list
            .into_iter()
            .flat_map(|list| list.items)
            .filter(|revision| {
                revision
                    .metadata
                    .owner_references
                    .iter()
                    .any(|owner| owner.kind == kind && owner.name == name)
            })
            .collect();
        revisions.sort_by_key(|revision| (revision.number(), revision.metadata.creation_timestamp));
        let mut changes = Vec::new();
        for (index, revision) in revisions.iter().enumerate() {
            let Some(at) = revision.metadata.creation_timestamp else {
                continue;
            };
            let before = index.checked_sub(1).map(|before| &revisions[before]);
            changes.push(Change {
                at,
                kind: ChangeKind::Rollout,
                object: format!("{kind}/{name}"),
                told: revision.told(before),
            });
        }
        changes.reverse();
        Ok(changes)
    }

    /// The names of the ConfigMaps and Secrets that a pod reads.
    pub async fn config_names(&self, namespace: &str, pod: &str) -> Result<ConfigNames, KubeError> {
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}",
            segment(namespace)?,
            segment(pod)?
        );
        let pod: Option<Object<PodSpec, Nothing>> = found(self.read(&path).await)?;
        Ok(pod.map(|pod| pod.spec.names()).unwrap_or_default())
    }

    /// When a ConfigMap or Secret was last written, from its metadata alone; `None` where it does not exist or does not
    /// tell.
    pub async fn config_change(
        &self,
        namespace: &str,
        kind: ChangeKind,
        name: &str,
    ) -> Result<Option<Change>, KubeError> {
        let (plural, spoken) = match kind {
            ChangeKind::Configuration => ("configmaps", "ConfigMap"),
            ChangeKind::Secret => ("secrets", "Secret"),
            ChangeKind::Rollout => return Ok(None),
        };
        let path = format!(
            "/api/v1/namespaces/{}/{plural}/{}",
            segment(namespace)?,
            segment(name)?
        );
        let object: Option<Object<Nothing, Nothing>> = found(self.read_metadata(&path).await)?;
        Ok(object.and_then(|object| {
            let created = object.metadata.creation_timestamp;
            let at = object
                .metadata
                .managed_fields
                .iter()
                .filter(|fields| fields.subresource.is_none())
                .filter_map(|fields| fields.time)
                .chain(created)
                .max()?;
            let told = if created == Some(at) {
                "created"
            } else {
                "changed"
            };
            Some(Change {
                at,
                kind,
                object: format!("{spoken}/{name}"),
                told: told.to_owned(),
            })
        }))
    }

    async fn read_metadata<T: DeserializeOwned>(&self, path: &str) -> Result<T, KubeError> {
        let mut tries = Tries::new(DEADLINE);
        loop {
            let request = Request::get(path)
                .header(header::ACCEPT, METADATA_ONLY)
                .body(Body::empty())
                .map_err(malformed)?;
            match within(tries.until, DEADLINE, self.answer(request)).await {
                Ok(answer) => return decode(&answer),
                Err(error) => tries.wait(error).await?,
            }
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
#[allow(clippy::struct_field_names, reason = "the API's name for it")]
struct Revision {
    metadata: Meta,
    /// Of a ControllerRevision.
    revision: Option<i64>,
    /// Of a ReplicaSet.
    spec: RevisionSpec,
    /// Of a ControllerRevision: a patch of its set.
    data: RevisionData,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RevisionData {
    spec: RevisionSpec,
}

impl Revision {
    fn number(&self) -> i64 {
        let annotated = self
            .metadata
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.get(REVISION)?.parse().ok());
        annotated.or(self.revision).unwrap_or(0)
    }

    fn images(&self) -> BTreeSet<&str> {
        [&self.spec, &self.data.spec]
            .into_iter()
            .flat_map(|spec| {
                let pod = &spec.template.spec;
                pod.containers.iter().chain(&pod.init_containers)
            })
            .filter_map(|container| container.image.as_deref())
            .collect()
    }

    /// In words: the revision, and the images that are new in it.
    fn told(&self, before: Option<&Self>) -> String {
        let number = self.number();
        let Some(before) = before else {
            return format!("revision {number}");
        };
        let (old, new) = (before.images(), self.images());
        let gone: Vec<&str> = old.difference(&new).copied().collect();
        let come: Vec<&str> = new.difference(&old).copied().collect();
        if come.is_empty() {
            format!("revision {number}, with the same images")
        } else if gone.is_empty() {
            format!("revision {number}: image {}", come.join(", "))
        } else {
            format!(
                "revision {number}: image {} in place of {}",
                come.join(", "),
                gone.join(", ")
            )
        }
    }
}

fn of_kai(queue: &Object<QueueSpec, QueueStatus>) -> Vec<Quota> {
    let unlimited = |value: Option<f64>| value.filter(|value| *value >= 0.0);
    let of = |(resource, limits): (&String, &QueueResource)| {
        let allocated = match resource.as_str() {
            "gpu" => queue.status.allocated.get("nvidia.com/gpu"),
            other => queue.status.allocated.get(other),
        };
        // The spec counts CPU in thousandths, as the status does.
        Quota {
            kind: QuotaKind::KaiQueue,
            name: queue.metadata.name.clone(),
            resource: resource.clone(),
            used: allocated.and_then(Amount::value),
            limit: unlimited(limits.limit),
            deserved: unlimited(limits.quota),
        }
    };
    queue.spec.resources.iter().map(of).collect()
}

fn of_kueue(name: &str, queue: &Object<ClusterQueueSpec, ClusterQueueStatus>) -> Vec<Quota> {
    let mut nominal: BTreeMap<&str, f64> = BTreeMap::new();
    for flavor in queue
        .spec
        .resource_groups
        .iter()
        .flat_map(|group| &group.flavors)
    {
        for resource in &flavor.resources {
            let quota = resource.nominal_quota.as_ref().and_then(Amount::value);
            *nominal.entry(&resource.name).or_default() += quota.unwrap_or(0.0);
        }
    }
    let reserved = if queue.status.flavors_reservation.is_empty() {
        &queue.status.flavors_usage
    } else {
        &queue.status.flavors_reservation
    };
    let mut used: BTreeMap<&str, f64> = BTreeMap::new();
    for resource in reserved.iter().flat_map(|flavor| &flavor.resources) {
        let total = resource.total.as_ref().and_then(Amount::value);
        *used.entry(&resource.name).or_default() += total.unwrap_or(0.0);
    }
    nominal
        .into_iter()
        .map(|(resource, quota)| Quota {
            kind: QuotaKind::KueueClusterQueue,
            name: name.to_owned(),
            resource: resource.to_owned(),
            used: used.get(resource).copied(),
            limit: None,
            deserved: Some(quota),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_with_their_suffixes() {
        for (text, value) in [
            ("8", Some(8.0)),
            ("500m", Some(0.5)),
            ("64Gi", Some(68_719_476_736.0)),
            ("1e3", None),
            ("2k", Some(2000.0)),
            ("", None),
        ] {
            assert_eq!(Amount::Text(text.to_owned()).value(), value, "{text}");
        }
    }

    #[test]
    fn the_names_of_configuration_are_found_wherever_they_stand() {
        let spec: PodSpec = serde_json::from_value(serde_json::json!({
            "volumes": [{"configMap": {"name": "train-config"}}, {"secret": {"secretName": "tls"}},
                        {"configMap": {"name": "kube-root-ca.crt"}}],
            "containers": [{"envFrom": [{"configMapRef": {"name": "env"}}],
                            "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "wandb", "key": "k"}}}]}],
        }))
        .unwrap();
        let names = spec.names();
        assert_eq!(
            names.config_maps.iter().collect::<Vec<_>>(),
            ["env", "train-config"]
        );
        assert_eq!(names.secrets.iter().collect::<Vec<_>>(), ["tls", "wandb"]);
    }
}
