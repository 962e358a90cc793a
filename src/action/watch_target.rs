//! Looking at a Kubernetes object after an action: is it as wanted by now?

use serde_json::Value;

use super::kubernetes::{self, Object};
use super::systems::Seen;
use super::{ActionKind, ActionSpec, Target};
use crate::estate::Pod;
use crate::watch::kubernetes::client::{ClusterClient, KubeError};

/// Reads the object and compares. `memory` is what was noted before the call.
pub(super) async fn observe(
    cluster: &ClusterClient,
    spec: &ActionSpec,
    memory: Option<&Value>,
) -> Result<Seen, KubeError> {
    let Target::Kubernetes {
        namespace,
        kind,
        name,
        uid,
        ..
    } = &spec.target
    else {
        unreachable!("the caller chose by the target");
    };
    match spec.kind {
        ActionKind::DeletePod => {
            return observe_pod(cluster, namespace, name, uid.as_deref(), memory).await;
        }
        ActionKind::DrainNode => return kubernetes::observe_drain(cluster, name, memory).await,
        // What it printed is its whole effect.
        ActionKind::RunDiagnostic => {
            return Ok(Seen::Reached("its output is kept".to_owned()));
        }
        _ => {}
    }
    let object = Object::of(&spec.target);
    let live = match object.api(cluster).get(name).await.map_err(KubeError::from) {
        Ok(live) => live,
        Err(KubeError::NotFound { .. }) if spec.kind == ActionKind::DeleteJob => {
            return Ok(Seen::Reached("the Job and its pods are gone".to_owned()));
        }
        Err(KubeError::NotFound { .. }) => {
            return Ok(Seen::NotYet(format!("{} is gone", spec.target)));
        }
        Err(error) => return Err(error),
    };
    let live_uid = live.metadata.uid.as_deref();
    Ok(match spec.kind {
        ActionKind::DeleteJob if live_uid != uid.as_deref() => {
            Seen::Reached("the Job is gone; somebody made another of its name".to_owned())
        }
        ActionKind::DeleteJob => Seen::NotYet("the Job's pods are still ending".to_owned()),
        ActionKind::Scale => scaled(kind, live.metadata.generation, &live.data, memory),
        ActionKind::RolloutUndo
        | ActionKind::SetImage
        | ActionKind::PatchResources
        | ActionKind::PatchProbes => match carries(&live.data, memory) {
            Some(not) => Seen::NotYet(not),
            None => rolled(kind, live.metadata.generation, &live.data, None),
        },
        ActionKind::TakeOutOfTraffic | ActionKind::PutIntoTraffic => {
            return kubernetes::observe_traffic(cluster, &object, &live, spec.kind, memory).await;
        }
        ActionKind::RecreateJob if live_uid == uid.as_deref() => {
            Seen::NotYet("the old Job is still there".to_owned())
        }
        ActionKind::RecreateJob | ActionKind::ResumeJob => running_job(&live.data),
        ActionKind::SuspendJob => suspended_job(&live.data),
        ActionKind::RolloutRestart => rolled(kind, live.metadata.generation, &live.data, memory),
        ActionKind::CordonNode | ActionKind::UncordonNode => {
            let out = live
                .data
                .pointer("/spec/unschedulable")
                .and_then(Value::as_bool)
                .unwrap_or(false);
            let told = if out {
                "the node takes no new pods"
            } else {
                "the node takes new pods"
            };
            seen(
                out == (spec.kind == ActionKind::CordonNode),
                told.to_owned(),
            )
        }
        _ => unreachable!("handled above, or not an action on this target"),
    })
}

fn seen(reached: bool, told: String) -> Seen {
    if reached {
        Seen::Reached(told)
    } else {
        Seen::NotYet(told)
    }
}

/// The old pod must be gone, and its controller must have a ready one in its place.
async fn observe_pod(
    cluster: &ClusterClient,
    namespace: &str,
    name: &str,
    uid: Option<&str>,
    memory: Option<&Value>,
) -> Result<Seen, KubeError> {
    let pods = cluster.pods(namespace, None).await?;
    if pods.iter().any(|pod| Some(pod.uid.as_str()) == uid) {
        return Ok(Seen::NotYet("the pod is still ending".to_owned()));
    }
    let owner = memory.and_then(|m| m["owner_uid"].as_str());
    let of_owner =
        |pod: &&Pod| owner.is_some() && pod.owner.as_ref().and_then(|o| o.uid.as_deref()) == owner;
    // A controller that numbers its pods gives the new one the old name; others choose a new name.
    let replacement = pods.iter().find(|pod| pod.name == name).or_else(|| {
        pods.iter()
            .filter(of_owner)
            .filter(|pod| pod.deleting.is_none())
            .max_by_key(|pod| pod.created)
    });
    Ok(match replacement {
        None => Seen::NotYet("the pod is gone; no other has taken its place".to_owned()),
        Some(pod) => {
            let fine = pod.phase == "Succeeded" || (pod.phase == "Running" && pod.is_ready());
            let state = if fine && pod.phase == "Running" {
                "ready"
            } else {
                pod.phase.as_str()
            };
            seen(
                fine,
                format!("pod {} took its place and is {state}", pod.name),
            )
        }
    })
}

fn count(live: &Value, path: &str) -> i64 {
    live.pointer(path).and_then(Value::as_i64).unwrap_or(0)
}

fn holds(live: &Value, kind: &str) -> bool {
    live.pointer("/status/conditions")
        .and_then(Value::as_array)
        .is_some_and(|all| {
            all.iter()
                .any(|c| c["type"] == kind && c["status"] == "True")
        })
}

fn running_job(live: &Value) -> Seen {
    let (active, ready, failed) = (
        count(live, "/status/active"),
        count(live, "/status/ready"),
        count(live, "/status/failed"),
    );
    if holds(live, "Complete") {
        return Seen::Reached("the Job has completed".to_owned());
    }
    if holds(live, "Failed") {
        return Seen::NotYet(format!("the Job failed again ({failed} pods failed)"));
    }
    seen(
        active > 0 && ready == active && failed == 0,
        format!("{ready} of {active} active pods are ready, {failed} failed"),
    )
}

fn suspended_job(live: &Value) -> Seen {
    let suspended = live
        .pointer("/spec/suspend")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let active = count(live, "/status/active");
    seen(
        suspended && active == 0,
        format!("suspended: {suspended}, {active} pods active"),
    )
}

/// Why the template is not as it was made, if it is not: somebody, or a controller, changed it again.
fn carries(live: &Value, memory: Option<&Value>) -> Option<String> {
    let memory = memory?;
    if let Some(template) = memory.get("template") {
        return (live.pointer("/spec/template") != Some(template)).then(|| {
            "its template is not the one of that revision: somebody changed it since".to_owned()
        });
    }
    let name = memory["container"].as_str()?;
    let Ok((_, container)) = kubernetes::container(live, Some(name)) else {
        return Some(format!("it has no container {name} any more"));
    };
    for value in memory["carries"].as_array().into_iter().flatten() {
        let pointer = value[0].as_str().unwrap_or_default();
        if container.pointer(pointer).unwrap_or(&Value::Null) != &value[1] {
            return Some(format!(
                "container {name} has another {} again: somebody changed it since",
                pointer.trim_start_matches('/')
            ));
        }
    }
    None
}

/// Whether there are as many pods as were asked for, and all of them are available.
fn scaled(kind: &str, generation: Option<i64>, live: &Value, memory: Option<&Value>) -> Seen {
    let desired = live
        .pointer("/spec/replicas")
        .and_then(Value::as_i64)
        .unwrap_or(1);
    let wanted = memory.map_or(desired, |memory| count(memory, "/replicas"));
    if desired != wanted {
        return Seen::NotYet(format!(
            "it wants {desired} replicas, not {wanted}: somebody changed it since"
        ));
    }
    if generation.is_none_or(|generation| count(live, "/status/observedGeneration") < generation) {
        return Seen::NotYet("its controller has not looked at the change yet".to_owned());
    }
    let ready = if kind == "Deployment" {
        count(live, "/status/availableReplicas")
    } else {
        count(live, "/status/readyReplicas")
    };
    let there = count(live, "/status/replicas");
    seen(
        there == wanted && ready >= wanted,
        format!("{there} of {wanted} replicas are there, {ready} ready"),
    )
}

/// Whether the restarted template is on every pod. Counts of an older generation tell nothing.
fn rolled(kind: &str, generation: Option<i64>, live: &Value, memory: Option<&Value>) -> Seen {
    let ours = memory.and_then(|m| m["restarted_at"].as_str());
    let theirs = live
        .pointer("/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt")
        .and_then(Value::as_str);
    if ours.is_some() && ours != theirs {
        return Seen::NotYet("its template does not carry our restart".to_owned());
    }
    let current = generation
        .is_some_and(|generation| count(live, "/status/observedGeneration") >= generation);
    if !current {
        return Seen::NotYet("its controller has not looked at the change yet".to_owned());
    }
    let (wanted, updated, ready) = if kind == "DaemonSet" {
        (
            count(live, "/status/desiredNumberScheduled"),
            count(live, "/status/updatedNumberScheduled"),
            count(live, "/status/numberAvailable"),
        )
    } else {
        (
            live.pointer("/spec/replicas")
                .and_then(Value::as_i64)
                .unwrap_or(1),
            count(live, "/status/updatedReplicas"),
            count(live, "/status/availableReplicas"),
        )
    };
    let total = if kind == "Deployment" {
        count(live, "/status/replicas")
    } else {
        wanted
    };
    seen(
        updated >= wanted && ready >= wanted && total <= wanted,
        format!("{updated} of {wanted} replaced, {ready} available"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(updated: i64, available: i64, total: i64, observed: i64) -> Value {
        json!({
            "spec": {"replicas": 3, "template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "T"}}}},
            "status": {"observedGeneration": observed, "updatedReplicas": updated, "availableReplicas": available,
                       "replicas": total},
        })
    }

    #[test]
    fn a_rollout_has_rolled_when_every_old_pod_is_replaced_and_available() {
        let ours = json!({"restarted_at": "T"});
        let reached = |live: &Value, memory: &Value| {
            matches!(
                rolled("Deployment", Some(7), live, Some(memory)),
                Seen::Reached(_)
            )
        };
        assert!(reached(&deployment(3, 3, 3, 7), &ours));
        assert!(
            !reached(&deployment(3, 3, 3, 6), &ours),
            "counts of the generation before"
        );
        assert!(
            !reached(&deployment(3, 3, 4, 7), &ours),
            "an old pod is left"
        );
        assert!(!reached(&deployment(2, 3, 3, 7), &ours));
        assert!(!reached(&deployment(3, 2, 3, 7), &ours));
        assert!(
            !reached(&deployment(3, 3, 3, 7), &json!({"restarted_at": "U"})),
            "not our restart"
        );
    }

    #[test]
    fn a_job_that_fails_again_is_not_running() {
        let job = |active: i64, ready: i64, failed: i64| json!({"status": {"active": active, "ready": ready, "failed": failed}});
        assert!(matches!(running_job(&job(2, 2, 0)), Seen::Reached(_)));
        assert!(matches!(running_job(&job(2, 1, 0)), Seen::NotYet(_)));
        assert!(matches!(running_job(&job(1, 1, 1)), Seen::NotYet(_)));
        assert!(matches!(running_job(&job(0, 0, 0)), Seen::NotYet(_)));
    }
}
