//! Acting on Kubernetes objects. Each write names the uid it is meant for, was rehearsed by the server, and is sent once.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::systems::{ActionError, Call as AnyCall, Prepared, nothing_sent, sent};
use super::{ActionKind, Target, recreate};
use crate::safety::Permit;
use crate::watch::kubernetes::client::ClusterClient;

/// One fixed name, so that the server can tell what we own.
const MANAGER: &str = "nightbell";
/// For one request of a preparation; the write itself is bounded by the action's time-out.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// The last call of an action.
#[derive(Debug)]
pub(super) enum Call {
    Delete {
        object: Object,
        uid: String,
    },
    Patch {
        object: Object,
        body: Value,
        strategic: bool,
    },
    Recreate(Box<recreate::Plan>),
}

/// An object by kind and name, in a form that keeps fields this program does not know.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Object {
    pub(super) fn api(&self, cluster: &ClusterClient) -> Api<DynamicObject> {
        let (resource, namespaced) = match self.kind.as_str() {
            "Deployment" => (ApiResource::erase::<Deployment>(&()), true),
            "StatefulSet" => (ApiResource::erase::<StatefulSet>(&()), true),
            "DaemonSet" => (ApiResource::erase::<DaemonSet>(&()), true),
            "Job" => (ApiResource::erase::<Job>(&()), true),
            "Node" => (ApiResource::erase::<Node>(&()), false),
            _ => (ApiResource::erase::<Pod>(&()), true),
        };
        if namespaced {
            Api::namespaced_with(cluster.client(), &self.namespace, &resource)
        } else {
            Api::all_with(cluster.client(), &resource)
        }
    }

    /// Group and plural, for an access review.
    fn resource(&self) -> (&'static str, &'static str) {
        match self.kind.as_str() {
            "Deployment" => ("apps", "deployments"),
            "StatefulSet" => ("apps", "statefulsets"),
            "DaemonSet" => ("apps", "daemonsets"),
            "Job" => ("batch", "jobs"),
            "Node" => ("", "nodes"),
            _ => ("", "pods"),
        }
    }

    async fn read(&self, cluster: &ClusterClient) -> Result<DynamicObject, ActionError> {
        rehearse(self.api(cluster).get(&self.name)).await
    }
}

/// Awaits a read or a server-side dry run.
pub(super) async fn rehearse<T>(
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, ActionError> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(nothing_sent(error)),
        Err(_) => Err(ActionError::Refused(format!(
            "nothing was done: the cluster did not answer within {} s",
            CALL_TIMEOUT.as_secs()
        ))),
    }
}

pub(super) async fn prepare(
    cluster: &ClusterClient,
    permit: &Permit,
) -> Result<Prepared, ActionError> {
    let spec = permit.spec();
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
    let object = Object {
        kind: kind.clone(),
        namespace: namespace.clone(),
        name: name.clone(),
    };
    let verbs: &[&str] = match spec.kind {
        ActionKind::DeletePod => &["delete"],
        ActionKind::RecreateJob => &["delete", "create"],
        _ => &["patch"],
    };
    for verb in verbs {
        let (group, resource) = object.resource();
        let allowed = cluster
            .can_i(verb, group, resource, namespace)
            .await
            .map_err(nothing_sent)?;
        if !allowed {
            return Err(ActionError::Refused(format!(
                "nothing was done: the cluster does not let nightbell {verb} {resource} there"
            )));
        }
    }
    let live = object.read(cluster).await?;
    let live_uid = live.metadata.uid.clone().unwrap_or_default();
    if uid.as_ref().is_some_and(|uid| *uid != live_uid) {
        return Err(ActionError::Changed(format!(
            "{} was made anew since this was proposed",
            spec.target
        )));
    }
    if live.metadata.deletion_timestamp.is_some() && spec.kind != ActionKind::DeletePod {
        return Err(ActionError::Changed(format!(
            "{} is being deleted",
            spec.target
        )));
    }
    if permit.for_cause()
        && let Some(why) = recovered(spec.kind, &live.data)
    {
        return Err(ActionError::Changed(why.to_owned()));
    }

    let at = Timestamp::now();
    match spec.kind {
        ActionKind::DeletePod => prepare_delete(cluster, object, live, live_uid).await,
        ActionKind::RecreateJob => {
            recreate::prepare(cluster, object, &live, spec.avoid_node.as_deref()).await
        }
        ActionKind::RolloutRestart => {
            check_rolls(&live.data)?;
            let annotations = json!({"kubectl.kubernetes.io/restartedAt": at.to_string()});
            let body = json!({"metadata": {"uid": live_uid}, "spec": {"template": {"metadata": {"annotations": annotations}}}});
            let mut prepared = prepare_patch(cluster, object, body, true).await?;
            prepared.memory = Some(json!({"restarted_at": at.to_string()}));
            Ok(prepared)
        }
        ActionKind::SuspendJob | ActionKind::ResumeJob => {
            let suspend = spec.kind == ActionKind::SuspendJob;
            if live
                .data
                .pointer("/spec/suspend")
                .and_then(Value::as_bool)
                .unwrap_or(false)
                == suspend
            {
                let state = if suspend {
                    "suspended already"
                } else {
                    "not suspended"
                };
                return Err(ActionError::Changed(format!("it is {state}")));
            }
            let body = json!({"metadata": {"uid": live_uid}, "spec": {"suspend": suspend}});
            prepare_patch(cluster, object, body, false).await
        }
        ActionKind::CordonNode | ActionKind::UncordonNode => {
            let cordon = spec.kind == ActionKind::CordonNode;
            if live
                .data
                .pointer("/spec/unschedulable")
                .and_then(Value::as_bool)
                .unwrap_or(false)
                == cordon
            {
                let state = if cordon {
                    "takes no new pods already"
                } else {
                    "takes new pods already"
                };
                return Err(ActionError::Changed(format!("the node {state}")));
            }
            let body = json!({"metadata": {"uid": live_uid}, "spec": {"unschedulable": cordon}});
            prepare_patch(cluster, object, body, false).await
        }
        ActionKind::RunaiSuspend
        | ActionKind::RunaiResume
        | ActionKind::RunaiDelete
        | ActionKind::RunaiRestart => {
            unreachable!("an action that does not fit its target is never permitted")
        }
    }
}

/// Why a failed target needs no repair any more.
fn recovered(kind: ActionKind, live: &Value) -> Option<&'static str> {
    let holds = |kind: &str| {
        live.pointer("/status/conditions")
            .and_then(Value::as_array)
            .is_some_and(|all| {
                all.iter()
                    .any(|c| c["type"] == kind && c["status"] == "True")
            })
    };
    match kind {
        ActionKind::DeletePod => holds("Ready").then_some("the pod is ready again"),
        ActionKind::RecreateJob | ActionKind::SuspendJob => {
            holds("Complete").then_some("the Job has completed")
        }
        ActionKind::RolloutRestart
        | ActionKind::ResumeJob
        | ActionKind::RunaiSuspend
        | ActionKind::RunaiResume
        | ActionKind::RunaiDelete
        | ActionKind::RunaiRestart
        | ActionKind::CordonNode
        | ActionKind::UncordonNode => None,
    }
}

/// Whether a changed template would make the controller replace its pods.
fn check_rolls(live: &Value) -> Result<(), ActionError> {
    if live.pointer("/spec/paused").and_then(Value::as_bool) == Some(true) {
        return Err(ActionError::Refused(
            "its rollout is paused, so a restart would not roll".to_owned(),
        ));
    }
    if live
        .pointer("/spec/updateStrategy/type")
        .and_then(Value::as_str)
        == Some("OnDelete")
    {
        return Err(ActionError::Refused(
            "its update strategy is OnDelete, so a restart would not roll".to_owned(),
        ));
    }
    Ok(())
}

async fn prepare_delete(
    cluster: &ClusterClient,
    object: Object,
    live: DynamicObject,
    uid: String,
) -> Result<Prepared, ActionError> {
    let owner = live
        .metadata
        .owner_references
        .unwrap_or_default()
        .into_iter()
        .find(|owner| owner.controller == Some(true));
    let Some(owner) = owner else {
        return Err(ActionError::Refused(
            "nothing was done: no controller would make the pod again".to_owned(),
        ));
    };
    rehearse(
        object
            .api(cluster)
            .delete(&object.name, &delete_params(&uid).dry_run()),
    )
    .await?;
    Ok(Prepared {
        what: format!(
            "DELETE pod {}/{} with uid {uid}",
            object.namespace, object.name
        ),
        memory: Some(
            json!({"owner_uid": owner.uid, "owner": format!("{} {}", owner.kind, owner.name)}),
        ),
        call: AnyCall::Kubernetes(Call::Delete { object, uid }),
    })
}

async fn prepare_patch(
    cluster: &ClusterClient,
    object: Object,
    body: Value,
    strategic: bool,
) -> Result<Prepared, ActionError> {
    let params = patch_params().dry_run();
    rehearse(
        object
            .api(cluster)
            .patch(&object.name, &params, &patch(&body, strategic)),
    )
    .await?;
    Ok(Prepared {
        what: format!(
            "PATCH {} {} with {body}",
            object.kind.to_lowercase(),
            path(&object)
        ),
        memory: None,
        call: AnyCall::Kubernetes(Call::Patch {
            object,
            body,
            strategic,
        }),
    })
}

pub(super) async fn carry_out(cluster: &ClusterClient, call: Call) -> Result<String, ActionError> {
    match call {
        Call::Delete { object, uid } => {
            object
                .api(cluster)
                .delete(&object.name, &delete_params(&uid))
                .await
                .map_err(sent)?;
            Ok(format!("the cluster accepted to delete {}", path(&object)))
        }
        Call::Patch {
            object,
            body,
            strategic,
        } => {
            object
                .api(cluster)
                .patch(&object.name, &patch_params(), &patch(&body, strategic))
                .await
                .map_err(sent)?;
            Ok(format!(
                "the cluster accepted the change of {}",
                path(&object)
            ))
        }
        Call::Recreate(plan) => recreate::carry_out(cluster, *plan).await,
    }
}

fn path(object: &Object) -> String {
    if object.namespace.is_empty() {
        object.name.clone()
    } else {
        format!("{}/{}", object.namespace, object.name)
    }
}

fn patch(body: &Value, strategic: bool) -> Patch<&Value> {
    if strategic {
        Patch::Strategic(body)
    } else {
        Patch::Merge(body)
    }
}

fn patch_params() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

fn delete_params(uid: &str) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    }
}
