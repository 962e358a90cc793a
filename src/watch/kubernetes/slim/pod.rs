//! Pods: where they are, how their containers fare, and which job they belong to.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::NamespaceResourceScope;
use serde::Deserialize;
use serde::de::MapAccess;

use super::lenient::{Lenient, Take, Time, lenient, lenient_object};
use super::meta::{Named, object_meta};
use super::{SlimCondition, conditions};
use crate::estate::{Condition, Container, ContainerState, Name, Pod, Termination, identity};

/// A pod as the API sends it, less what is not kept.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SlimPod {
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
    node_name: Option<String>,
    #[serde(deserialize_with = "lenient")]
    scheduler_name: Option<Name>,
    #[serde(deserialize_with = "lenient")]
    restart_policy: Option<Name>,
    #[serde(deserialize_with = "lenient")]
    containers: Vec<ContainerSpec>,
    #[serde(deserialize_with = "lenient")]
    init_containers: Vec<ContainerSpec>,
    #[serde(deserialize_with = "lenient")]
    volumes: Vec<Volume>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerSpec {
    #[serde(deserialize_with = "lenient")]
    name: Option<Name>,
    #[serde(deserialize_with = "lenient")]
    image: Option<Name>,
    #[serde(deserialize_with = "lenient")]
    resources: Resources,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Resources {
    #[serde(deserialize_with = "lenient")]
    limits: Gpus,
}

/// The GPUs among a container's limits.
#[derive(Clone, Copy, Debug, Default)]
struct Gpus(f64);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Volume {
    #[serde(deserialize_with = "lenient")]
    persistent_volume_claim: Claim,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Claim {
    #[serde(deserialize_with = "lenient")]
    claim_name: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    #[serde(deserialize_with = "lenient")]
    phase: Option<Name>,
    #[serde(deserialize_with = "lenient")]
    reason: Option<Name>,
    #[serde(deserialize_with = "lenient")]
    message: Option<String>,
    #[serde(deserialize_with = "lenient")]
    conditions: Vec<SlimCondition>,
    #[serde(deserialize_with = "lenient")]
    container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "lenient")]
    init_container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerStatus {
    #[serde(deserialize_with = "lenient")]
    name: Option<Name>,
    #[serde(deserialize_with = "lenient")]
    ready: bool,
    #[serde(deserialize_with = "lenient")]
    restart_count: Option<u32>,
    #[serde(deserialize_with = "lenient")]
    state: State,
    #[serde(deserialize_with = "lenient")]
    last_state: State,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct State {
    #[serde(deserialize_with = "lenient")]
    waiting: Option<Waiting>,
    #[serde(deserialize_with = "lenient")]
    running: Option<Running>,
    #[serde(deserialize_with = "lenient")]
    terminated: Option<Terminated>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Waiting {
    #[serde(deserialize_with = "lenient")]
    reason: Option<Name>,
    #[serde(deserialize_with = "lenient")]
    message: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Running {
    #[serde(deserialize_with = "lenient")]
    started_at: Time,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Terminated {
    #[serde(deserialize_with = "lenient")]
    exit_code: Option<i32>,
    #[serde(deserialize_with = "lenient")]
    signal: Option<i32>,
    #[serde(deserialize_with = "lenient")]
    reason: Option<Name>,
    #[serde(deserialize_with = "lenient")]
    message: Option<String>,
    #[serde(deserialize_with = "lenient")]
    started_at: Time,
    #[serde(deserialize_with = "lenient")]
    finished_at: Time,
}

lenient_object!(
    Spec,
    ContainerSpec,
    Resources,
    Volume,
    Claim,
    Status,
    ContainerStatus,
    State,
    Waiting,
    Running,
    Terminated,
);

impl<'de> Lenient<'de> for Gpus {
    fn from_map<A: MapAccess<'de>>(mut limits: A) -> Result<Self, A::Error> {
        let mut gpus = 0.0;
        while let Some((resource, Take(quantity))) =
            limits.next_entry::<String, Take<Option<String>>>()?
        {
            gpus += quantity.map_or(0.0, |quantity| {
                identity::gpus_of_limit(&resource, &quantity)
            });
        }
        Ok(Self(gpus))
    }
}

impl SlimPod {
    /// `None` for an object without a name. `seen` stands in for a missing creation time.
    #[must_use]
    pub fn into_pod(self, cluster: &str, seen: Timestamp) -> Option<Pod> {
        let Self {
            metadata,
            spec,
            status,
        } = self;
        let named = Named::new(metadata, seen)?;
        let who = identity::of_pod(named.facts());
        let gpus = identity::gpus_of_pod(gpus_of_limits(&spec), &named.annotations);
        let mut containers = containers(spec.init_containers, status.init_container_statuses, true);
        containers.extend(self::containers(
            spec.containers,
            status.container_statuses,
            false,
        ));
        Some(Pod {
            cluster: Name::shared(cluster),
            namespace: named.namespace,
            name: named.name,
            uid: named.uid,
            created: named.created,
            deleting: named.deleting,
            node: spec.node_name.filter(|node| !node.is_empty()),
            phase: status.phase.unwrap_or_else(|| Name::shared("Unknown")),
            reason: status.reason.filter(|reason| !reason.is_empty()),
            message: status.message.filter(|message| !message.is_empty()),
            conditions: telling_conditions(status.conditions),
            containers,
            owner: named.owner,
            workload: Name::shared(&who.workload),
            runai_id: who.runai_id,
            project: who.project,
            gpus,
            scheduler: spec.scheduler_name,
            claims: spec
                .volumes
                .into_iter()
                .filter_map(|volume| volume.persistent_volume_claim.claim_name)
                .collect(),
            rank: who.rank,
            restart_policy: spec.restart_policy,
        })
    }
}

/// All but the steps of a start that went well, which every running pod repeats and nobody asks about.
fn telling_conditions(mut slim: Vec<SlimCondition>) -> Vec<Condition> {
    slim.retain(|condition| {
        let step = matches!(
            condition.kind.as_deref(),
            Some("Initialized" | "ContainersReady" | "PodReadyToStartContainers")
        );
        !step || condition.status.as_deref() != Some("True")
    });
    conditions(slim)
}

/// What a pod holds at once: all its containers together, or one of its init containers if that asks for more.
fn gpus_of_limits(spec: &Spec) -> f64 {
    let main: f64 = spec
        .containers
        .iter()
        .map(|container| container.resources.limits.0)
        .sum();
    spec.init_containers
        .iter()
        .map(|container| container.resources.limits.0)
        .fold(main, f64::max)
}

/// Joins what was asked with what became of it, by name. A container that the kubelet has not reported on yet stands
/// with an unknown state, so that its image is known; the image is the one asked for, not the digest it resolved to.
fn containers(
    specs: Vec<ContainerSpec>,
    mut statuses: Vec<ContainerStatus>,
    init: bool,
) -> Vec<Container> {
    let mut containers = Vec::with_capacity(specs.len());
    for spec in specs {
        let Some(name) = spec.name else { continue };
        let place = statuses
            .iter()
            .position(|status| status.name.as_deref() == Some(&name));
        let status = place
            .map(|place| statuses.swap_remove(place))
            .unwrap_or_default();
        containers.push(container(name, spec.image, status, init));
    }
    for mut status in statuses {
        if let Some(name) = status.name.take() {
            containers.push(container(name, None, status, init));
        }
    }
    containers
}

fn container(name: Name, image: Option<Name>, status: ContainerStatus, init: bool) -> Container {
    Container {
        name,
        image: image.unwrap_or_default(),
        init,
        ready: status.ready,
        restarts: status.restart_count.unwrap_or(0),
        state: state(status.state),
        last: status
            .last_state
            .terminated
            .map(|ended| Box::new(termination(ended))),
    }
}

fn state(state: State) -> ContainerState {
    if let Some(terminated) = state.terminated {
        return ContainerState::Terminated(Box::new(termination(terminated)));
    }
    if let Some(waiting) = state.waiting {
        return ContainerState::Waiting {
            reason: waiting.reason.filter(|reason| !reason.is_empty()),
            message: waiting.message.filter(|message| !message.is_empty()),
        };
    }
    match state.running {
        Some(running) => ContainerState::Running {
            started: running.started_at.0,
        },
        None => ContainerState::Unknown,
    }
}

fn termination(terminated: Terminated) -> Termination {
    let completed = terminated.reason.as_deref() == Some("Completed");
    Termination {
        // An end without a stated code must not pass for success.
        exit_code: terminated
            .exit_code
            .unwrap_or(if completed { 0 } else { -1 }),
        signal: terminated.signal.filter(|signal| *signal != 0),
        reason: terminated.reason.filter(|reason| !reason.is_empty()),
        message: terminated.message.filter(|message| !message.is_empty()),
        started: terminated.started_at.0,
        finished: terminated.finished_at.0,
    }
}

impl kube::Resource for SlimPod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Pod".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "pods".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
