//! Draining a node: no new pods on it, then one eviction after the other, as `kubectl drain --ignore-daemonsets` does.
//!
//! Evictions respect PodDisruptionBudgets: a pod that a budget holds back is asked for again until the time is over. What
//! could not be evicted by then is said; the node stays cordoned, and asking again goes on from there.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, DynamicObject, EvictParams, ListParams, PostParams};
use kube::api::{ApiResource, Preconditions};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::super::systems::{ActionError, Prepared, Seen, nothing_sent, sent};
use super::super::{ActionSpec, Parameters};
use super::change::{Change, Form, Pin};
use super::{CALL_TIMEOUT, Call, Object, call, refused, rehearse};
use crate::safety::{Permit, Safety};
use crate::watch::kubernetes::client::{ClusterClient, KubeError};

/// Between two evictions, where nobody says otherwise.
const WAIT_BETWEEN: i64 = 5;
/// Before a pod that a budget holds back is asked for again, as kubectl waits.
const HELD_PAUSE: Duration = Duration::from_secs(5);
/// Kept of the action's time for the answer about what is left.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Names told one by one.
const NAMED: usize = 10;

#[derive(Debug)]
pub(in crate::action) struct Plan {
    /// `None` if the node takes no new pods already.
    cordon: Option<Change>,
    node: String,
    pods: Vec<Evictee>,
    /// Those beyond `max_instances`.
    left: usize,
    wait_between: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Evictee {
    namespace: String,
    name: String,
    uid: String,
}

/// What becomes of a pod when its node is drained.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Evicted,
    /// Not evicted, and no obstacle.
    Skipped(&'static str),
    /// An obstacle, unless the named parameter allows it.
    Obstacle(&'static str),
}

pub(super) async fn prepare(
    cluster: &ClusterClient,
    object: Object,
    live: &DynamicObject,
    spec: &ActionSpec,
) -> Result<Prepared, ActionError> {
    let list = pods_on(cluster, &object.name).await?;
    let mut pods = Vec::new();
    let mut skipped: Vec<&'static str> = Vec::new();
    let mut obstacles = Vec::new();
    for pod in &list {
        match fate(pod, &spec.parameters) {
            Fate::Evicted => pods.push(evictee(pod)),
            Fate::Skipped(why) => skipped.push(why),
            Fate::Obstacle(why) => obstacles.push(format!("{} {why}", evictee(pod).path())),
        }
    }
    if !obstacles.is_empty() {
        return Err(refused(named(&obstacles)));
    }
    let unschedulable = live
        .data
        .pointer("/spec/unschedulable")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    if unschedulable && pods.is_empty() {
        return Err(ActionError::Changed(
            "the node takes no new pods already, and nothing is left to evict".to_owned(),
        ));
    }
    let most = spec
        .parameters
        .integer("max_instances")
        .and_then(|most| usize::try_from(most).ok())
        .unwrap_or(usize::MAX);
    let left = pods.len().saturating_sub(most);
    pods.truncate(most);
    let cordon = if unschedulable {
        None
    } else {
        let mut change = Change {
            subresource: None,
            form: Form::Merge,
            body: json!({"spec": {"unschedulable": true}}),
            pin: Some(Pin::to(live, &["/spec/unschedulable"])),
            object: object.clone(),
        };
        change.rehearse(cluster).await?;
        Some(change)
    };
    let held = held_back(cluster, &pods).await?;
    let wait_between = spec
        .parameters
        .integer("wait_between_seconds")
        .unwrap_or(WAIT_BETWEEN);
    let plan = Plan {
        cordon,
        node: object.name.clone(),
        left,
        wait_between: Duration::from_secs(u64::try_from(wait_between).unwrap_or(0)),
        pods,
    };
    Ok(Prepared {
        impact: Vec::new(),
        what: plan.told(&skipped, &held),
        memory: Some(json!({
            "pods": plan.pods.iter().map(|pod| &pod.uid).collect::<Vec<_>>(),
            "inverse": {"kind": super::super::ActionKind::UncordonNode},
        })),
        call: call(Call::Drain(Box::new(plan))),
    })
}

impl Plan {
    fn told(&self, skipped: &[&'static str], held: &[String]) -> String {
        let mut text = if self.cordon.is_some() {
            format!("PATCH node {} unschedulable", self.node)
        } else {
            format!("node {} takes no new pods already", self.node)
        };
        let paths: Vec<String> = self.pods.iter().map(Evictee::path).collect();
        let _ = write!(
            text,
            ", then EVICT {} one after the other, {} s apart: {}",
            counted(paths.len()),
            self.wait_between.as_secs(),
            if paths.is_empty() {
                "none".to_owned()
            } else {
                named(&paths)
            }
        );
        if self.left > 0 {
            let _ = write!(text, "; {} stay, beyond max_instances", counted(self.left));
        }
        for why in ["of DaemonSets", "static"] {
            let count = skipped.iter().filter(|skipped| **skipped == why).count();
            if count > 0 {
                let _ = write!(text, "; {} {why} stay", counted(count));
            }
        }
        if !held.is_empty() {
            let _ = write!(
                text,
                "; held back now by disruption budgets: {}",
                named(held)
            );
        }
        text
    }
}

fn counted(pods: usize) -> String {
    if pods == 1 {
        "1 pod".to_owned()
    } else {
        format!("{pods} pods")
    }
}

fn named(names: &[String]) -> String {
    let mut text = names
        .iter()
        .take(NAMED)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > NAMED {
        let _ = write!(text, " and {} more", names.len() - NAMED);
    }
    text
}

impl Evictee {
    fn path(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

fn evictee(pod: &DynamicObject) -> Evictee {
    Evictee {
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
    }
}

async fn pods_on(cluster: &ClusterClient, node: &str) -> Result<Vec<DynamicObject>, ActionError> {
    let api: Api<DynamicObject> = Api::all_with(cluster.client(), &ApiResource::erase::<Pod>(&()));
    let all = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let list = rehearse(api.list(&all)).await?;
    Ok(list
        .items
        .into_iter()
        // A server that does not know the selector would list every pod of the cluster.
        .filter(|pod| pod.data.pointer("/spec/nodeName").and_then(Value::as_str) == Some(node))
        .collect())
}

fn fate(pod: &DynamicObject, parameters: &Parameters) -> Fate {
    let annotations = pod.metadata.annotations.as_ref();
    if annotations.is_some_and(|all| all.contains_key("kubernetes.io/config.mirror")) {
        return Fate::Skipped("static");
    }
    let controller = pod
        .metadata
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true));
    if controller.is_some_and(|owner| owner.kind == "DaemonSet") {
        return Fate::Skipped("of DaemonSets");
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return Fate::Skipped("ending");
    }
    let phase = pod.data.pointer("/status/phase").and_then(Value::as_str);
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return Fate::Skipped("ended");
    }
    if controller.is_none() && !parameters.flag("force") {
        return Fate::Obstacle("has no controller that would make it again (`force` allows it)");
    }
    let local = pod
        .data
        .pointer("/spec/volumes")
        .and_then(Value::as_array)
        .is_some_and(|volumes| volumes.iter().any(|volume| volume["emptyDir"].is_object()));
    if local && !parameters.flag("delete_local_data") {
        return Fate::Obstacle(
            "keeps data on the node that would be lost (`delete_local_data` allows it)",
        );
    }
    Fate::Evicted
}

/// Which pods a budget would not let go now.
async fn held_back(cluster: &ClusterClient, pods: &[Evictee]) -> Result<Vec<String>, ActionError> {
    let mut held = Vec::new();
    for pod in pods {
        match tokio::time::timeout(CALL_TIMEOUT, evict(cluster, pod, true)).await {
            Ok(Ok(()) | Err(Eviction::Gone)) => {}
            Ok(Err(Eviction::Held(why))) => held.push(format!("{} ({why})", pod.path())),
            Ok(Err(Eviction::Failed(error))) => return Err(nothing_sent(error)),
            Err(_) => return Err(super::no_answer()),
        }
    }
    Ok(held)
}

/// Why a pod was not evicted.
enum Eviction {
    Gone,
    /// A disruption budget does not allow it for now.
    Held(String),
    Failed(KubeError),
}

async fn evict(cluster: &ClusterClient, pod: &Evictee, dry_run: bool) -> Result<(), Eviction> {
    let api: Api<Pod> = Api::namespaced(cluster.client(), &pod.namespace);
    let parameters = EvictParams {
        delete_options: Some(DeleteParams {
            dry_run,
            preconditions: Some(Preconditions {
                uid: Some(pod.uid.clone()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        }),
        post_options: PostParams {
            dry_run,
            ..PostParams::default()
        },
    };
    match api.evict(&pod.name, &parameters).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 429 => {
            let cause = status
                .details
                .as_ref()
                .and_then(|details| details.causes.first())
                .map(|cause| cause.message.clone())
                .filter(|message| !message.is_empty())
                .unwrap_or(status.message);
            Err(Eviction::Held(cause.chars().take(160).collect()))
        }
        Err(error) => Err(match KubeError::from(error) {
            // Gone, or of that name there is another one now, which is not ours to evict.
            KubeError::NotFound { .. } | KubeError::Conflict { .. } => Eviction::Gone,
            // Several budgets select the pod: the server does not evict what it cannot judge.
            KubeError::Rejected {
                status: 500,
                message,
            } if message.contains("more than one PodDisruptionBudget") => Eviction::Held(message),
            other => Eviction::Failed(other),
        }),
    }
}

pub(super) async fn carry_out(
    cluster: &ClusterClient,
    safety: &Safety,
    permit: &Permit,
    plan: Plan,
    until: Instant,
) -> Result<String, ActionError> {
    let total = plan.pods.len();
    if let Some(mut cordon) = plan.cordon {
        cordon.make(cluster).await?;
    }
    let until = until.checked_sub(LAST_WORDS).unwrap_or(until);
    let mut waiting: VecDeque<(Evictee, Option<String>)> =
        plan.pods.into_iter().map(|pod| (pod, None)).collect();
    let mut evicted = 0;
    // So many were held back in a row; once all that wait were, there is nothing to do for a while.
    let mut held_in_a_row = 0;
    while let Some((pod, _)) = waiting.pop_front() {
        if let Some(why) = stopped(safety, permit).await {
            return Err(ActionError::Refused(format!(
                "the node takes no new pods and {evicted} of {} were evicted; then {why}",
                counted(total)
            )));
        }
        match evict(cluster, &pod, false).await {
            Ok(()) => {
                evicted += 1;
                held_in_a_row = 0;
                if !waiting.is_empty() {
                    if Instant::now() + plan.wait_between >= until {
                        return Err(over(evicted, total, &waiting));
                    }
                    sleep(plan.wait_between).await;
                }
            }
            Err(Eviction::Gone) => evicted += 1,
            Err(Eviction::Held(why)) => {
                waiting.push_back((pod, Some(why)));
                held_in_a_row += 1;
                if held_in_a_row >= waiting.len() {
                    if Instant::now() + HELD_PAUSE >= until {
                        return Err(over(evicted, total, &waiting));
                    }
                    sleep(HELD_PAUSE).await;
                    held_in_a_row = 0;
                }
            }
            Err(Eviction::Failed(error)) => {
                let far = format!(
                    "the node takes no new pods and {evicted} of {} were evicted; evicting {}: ",
                    counted(total),
                    pod.path()
                );
                return Err(match sent(error) {
                    ActionError::Unknown(why) => ActionError::Unknown(format!("{far}{why}")),
                    ActionError::Refused(why) | ActionError::Changed(why) => {
                        ActionError::Refused(format!("{far}{why}"))
                    }
                });
            }
        }
    }
    Ok(format!(
        "the node takes no new pods and {} were evicted{}",
        counted(evicted),
        if plan.left > 0 {
            format!("; {} stay, beyond max_instances", counted(plan.left))
        } else {
            String::new()
        }
    ))
}

/// Why nothing more may be evicted, if so: an emergency stop ends a drain between two pods.
async fn stopped(safety: &Safety, permit: &Permit) -> Option<String> {
    match safety.still_refused(permit).await {
        Ok(None) => None,
        Ok(Some(refusal)) => Some(refusal.to_string()),
        Err(error) => Some(format!("the gate could not be asked: {error}")),
    }
}

fn over(evicted: usize, total: usize, left: &VecDeque<(Evictee, Option<String>)>) -> ActionError {
    let names: Vec<String> = left
        .iter()
        .map(|(pod, why)| match why {
            Some(why) => format!("{} ({why})", pod.path()),
            None => pod.path(),
        })
        .collect();
    ActionError::Refused(format!(
        "the node takes no new pods and {evicted} of {} were evicted in the time there was; left are {}. Asking again goes on from there",
        counted(total),
        named(&names)
    ))
}

/// Whether the pods that were to go have gone.
pub(super) async fn observe(
    cluster: &ClusterClient,
    node: &str,
    memory: Option<&Value>,
) -> Result<Seen, KubeError> {
    let list = match pods_on(cluster, node).await {
        Ok(list) => list,
        Err(ActionError::Changed(why) | ActionError::Refused(why) | ActionError::Unknown(why)) => {
            return Err(KubeError::Unreachable(why.into()));
        }
    };
    let wanted: Vec<&str> = memory
        .and_then(|memory| memory["pods"].as_array())
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let left: Vec<String> = list
        .iter()
        .map(evictee)
        .filter(|pod| wanted.contains(&pod.uid.as_str()))
        .map(|pod| pod.path())
        .collect();
    Ok(if left.is_empty() {
        Seen::Reached(format!(
            "the {} that were to go have gone",
            counted(wanted.len())
        ))
    } else {
        Seen::NotYet(format!("still on the node: {}", named(&left)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(
        clippy::needless_pass_by_value,
        reason = "the values are written where they are used"
    )]
    fn pod(metadata: Value, spec: Value, phase: &str) -> DynamicObject {
        serde_json::from_value(
            json!({"metadata": metadata, "spec": spec, "status": {"phase": phase}}),
        )
        .unwrap()
    }

    #[test]
    fn what_kubectl_drain_would_not_touch_is_not_touched() {
        let owned = |kind: &str| {
            json!({"name": "p", "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": kind, "name": "o", "uid": "u", "controller": true}]})
        };
        let none = Parameters::default();
        let local = json!({"volumes": [{"name": "scratch", "emptyDir": {}}]});
        for (pod, wanted) in [
            (
                pod(owned("ReplicaSet"), json!({}), "Running"),
                Fate::Evicted,
            ),
            (
                pod(owned("DaemonSet"), local.clone(), "Running"),
                Fate::Skipped("of DaemonSets"),
            ),
            (
                pod(owned("Job"), json!({}), "Succeeded"),
                Fate::Skipped("ended"),
            ),
            (
                pod(
                    json!({"annotations": {"kubernetes.io/config.mirror": "x"}}),
                    json!({}),
                    "Running",
                ),
                Fate::Skipped("static"),
            ),
        ] {
            assert_eq!(fate(&pod, &none), wanted);
        }
        let bare = pod(json!({"name": "p"}), json!({}), "Running");
        assert!(matches!(fate(&bare, &none), Fate::Obstacle(_)));
        assert_eq!(
            fate(&bare, &none.clone().with("force", true)),
            Fate::Evicted
        );
        let keeps = pod(owned("StatefulSet"), local, "Running");
        assert!(matches!(fate(&keeps, &none), Fate::Obstacle(_)));
        assert_eq!(
            fate(&keeps, &none.with("delete_local_data", true)),
            Fate::Evicted
        );
    }
}
