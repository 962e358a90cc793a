//! Acting on Kubernetes objects. Each write names the uid it is meant for, was rehearsed by the server, and is sent once.

mod change;
mod diagnostic;
mod drain;
mod owner;
mod template;
mod traffic;
mod undo;

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Preconditions, PropagationPolicy};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::systems::{ActionError, Call as AnyCall, Prepared, Seen, nothing_sent, sent};
use super::{ActionKind, ActionSpec, Target, recreate};
use crate::safety::{Permit, Safety};
use crate::watch::kubernetes::client::{ClusterClient, KubeError};
use change::{Change, Form};
pub use diagnostic::Diagnostics;
pub use owner::{Owner, managed_by};
pub(super) use template::container;

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
        /// Whether what belongs to the object goes first.
        foreground: bool,
    },
    Change(Box<Change>),
    Recreate(Box<recreate::Plan>),
    Drain(Box<drain::Plan>),
    Diagnostic(diagnostic::Plan),
}

fn call(call: Call) -> AnyCall {
    AnyCall::Kubernetes(call)
}

/// Nothing was called, for this reason.
pub(super) fn refused(why: impl fmt::Display) -> ActionError {
    ActionError::Refused(format!("nothing was done: {why}"))
}

fn no_answer() -> ActionError {
    refused(format!(
        "the cluster did not answer within {} s",
        CALL_TIMEOUT.as_secs()
    ))
}

fn patched(what: String, memory: Option<Value>, change: Change) -> Prepared {
    Prepared {
        impact: Vec::new(),
        what,
        memory,
        call: call(Call::Change(Box::new(change))),
    }
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

    pub(super) async fn read(&self, cluster: &ClusterClient) -> Result<DynamicObject, ActionError> {
        rehearse(self.api(cluster).get(&self.name)).await
    }

    /// `namespace/name`, or the name alone where there is no namespace.
    fn path(&self) -> String {
        if self.namespace.is_empty() {
            self.name.clone()
        } else {
            format!("{}/{}", self.namespace, self.name)
        }
    }

    /// What nightbell must be allowed to do to it: verb, group and resource.
    fn permissions(&self, kind: ActionKind) -> Vec<(&'static str, &'static str, String)> {
        let (group, resource) = self.resource();
        let own = |verb| (verb, group, resource.to_owned());
        match kind {
            ActionKind::DeletePod | ActionKind::DeleteJob => vec![own("delete")],
            ActionKind::RecreateJob => vec![own("delete"), own("create")],
            ActionKind::Scale => vec![("patch", group, format!("{resource}/scale"))],
            ActionKind::DrainNode => vec![own("patch"), ("create", "", "pods/eviction".to_owned())],
            ActionKind::RunDiagnostic => vec![("create", "", "pods/exec".to_owned())],
            _ => vec![own("patch")],
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.path())
    }
}

impl Object {
    /// The object that an action is meant for.
    ///
    /// # Panics
    /// Never: callers chose by the target.
    pub(super) fn of(target: &Target) -> Self {
        let Target::Kubernetes {
            namespace,
            kind,
            name,
            ..
        } = target
        else {
            unreachable!("the caller chose by the target");
        };
        Self {
            kind: kind.clone(),
            namespace: namespace.clone(),
            name: name.clone(),
        }
    }
}

/// Awaits a read or a server-side dry run.
pub(super) async fn rehearse<T>(
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, ActionError> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(nothing_sent(error)),
        Err(_) => Err(no_answer()),
    }
}

pub(super) async fn prepare(
    cluster: &ClusterClient,
    spec: &ActionSpec,
    for_cause: bool,
    diagnostics: &Diagnostics,
) -> Result<Prepared, ActionError> {
    let object = Object::of(&spec.target);
    for (verb, group, resource) in object.permissions(spec.kind) {
        let allowed = cluster
            .can_i(verb, group, &resource, &object.namespace)
            .await
            .map_err(nothing_sent)?;
        if !allowed {
            return Err(refused(format!(
                "the cluster does not let nightbell {verb} {resource} there"
            )));
        }
    }
    let live = object.read(cluster).await?;
    let live_uid = live.metadata.uid.clone().unwrap_or_default();
    let Target::Kubernetes { uid, .. } = &spec.target else {
        unreachable!("the object was made of it");
    };
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
    if for_cause && let Some(why) = recovered(spec.kind, &live.data) {
        return Err(ActionError::Changed(why.to_owned()));
    }

    match spec.kind {
        ActionKind::DeletePod => prepare_delete(cluster, object, live, live_uid).await,
        ActionKind::DeleteJob => prepare_delete_job(cluster, object, &live, live_uid).await,
        ActionKind::RecreateJob => {
            recreate::prepare(cluster, object, &live, spec.avoid_node.as_deref()).await
        }
        ActionKind::RolloutRestart => {
            check_rolls(&live.data)?;
            let at = Timestamp::now();
            let annotations = json!({"kubectl.kubernetes.io/restartedAt": at.to_string()});
            let body = json!({"metadata": {"uid": live_uid}, "spec": {"template": {"metadata": {"annotations": annotations}}}});
            let mut prepared = prepare_patch(cluster, object, body, Form::Strategic).await?;
            prepared.memory = Some(json!({"restarted_at": at.to_string()}));
            Ok(prepared)
        }
        ActionKind::Scale => template::prepare_scale(cluster, object, &live, spec).await,
        ActionKind::SetImage | ActionKind::PatchResources | ActionKind::PatchProbes => {
            template::prepare_container(cluster, object, &live, spec).await
        }
        ActionKind::RolloutUndo => undo::prepare(cluster, object, &live, spec).await,
        ActionKind::SuspendJob | ActionKind::ResumeJob => {
            let suspend = spec.kind == ActionKind::SuspendJob;
            if flag(&live.data, "/spec/suspend") == suspend {
                let state = if suspend {
                    "suspended already"
                } else {
                    "not suspended"
                };
                return Err(ActionError::Changed(format!("it is {state}")));
            }
            let body = json!({"metadata": {"uid": live_uid}, "spec": {"suspend": suspend}});
            prepare_patch(cluster, object, body, Form::Merge).await
        }
        ActionKind::CordonNode | ActionKind::UncordonNode => {
            let cordon = spec.kind == ActionKind::CordonNode;
            if flag(&live.data, "/spec/unschedulable") == cordon {
                let state = if cordon {
                    "takes no new pods already"
                } else {
                    "takes new pods already"
                };
                return Err(ActionError::Changed(format!("the node {state}")));
            }
            let body = json!({"metadata": {"uid": live_uid}, "spec": {"unschedulable": cordon}});
            prepare_patch(cluster, object, body, Form::Merge).await
        }
        ActionKind::DrainNode => drain::prepare(cluster, object, &live, spec).await,
        ActionKind::TakeOutOfTraffic | ActionKind::PutIntoTraffic => {
            traffic::prepare(cluster, object, &live, spec).await
        }
        ActionKind::RunDiagnostic => diagnostic::prepare(diagnostics, object, &live, spec),
        _ => unreachable!("an action that does not fit its target is not valid"),
    }
}

fn flag(live: &Value, pointer: &str) -> bool {
    live.pointer(pointer)
        .and_then(Value::as_bool)
        .unwrap_or(false)
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
        // Of the others nothing in the object itself says that it is well.
        _ => None,
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
        impact: Vec::new(),
        what: format!("DELETE pod {} with uid {uid}", object.path()),
        memory: Some(
            json!({"owner_uid": owner.uid, "owner": format!("{} {}", owner.kind, owner.name)}),
        ),
        call: call(Call::Delete {
            object,
            uid,
            foreground: false,
        }),
    })
}

/// A Job goes with its pods. Its manifest is kept, so that a person can make it again.
async fn prepare_delete_job(
    cluster: &ClusterClient,
    object: Object,
    live: &DynamicObject,
    uid: String,
) -> Result<Prepared, ActionError> {
    owner::check_free(&object, live)?;
    let mut parameters = delete_params(&uid).dry_run();
    parameters.propagation_policy = Some(PropagationPolicy::Foreground);
    rehearse(object.api(cluster).delete(&object.name, &parameters)).await?;
    Ok(Prepared {
        impact: Vec::new(),
        what: format!("DELETE job {} with uid {uid} and its pods", object.path()),
        memory: recreate::manifest(live, None).map(|manifest| json!({"manifest": manifest})),
        call: call(Call::Delete {
            object,
            uid,
            foreground: true,
        }),
    })
}

async fn prepare_patch(
    cluster: &ClusterClient,
    object: Object,
    body: Value,
    form: Form,
) -> Result<Prepared, ActionError> {
    let mut change = Change {
        object,
        subresource: None,
        form,
        body,
        pin: None,
    };
    change.rehearse(cluster).await?;
    Ok(patched(change.told(), None, change))
}

/// Makes the last call. What takes several steps ends by itself shortly before `until`.
pub(super) async fn carry_out(
    cluster: &ClusterClient,
    safety: &Safety,
    permit: &Permit,
    call: Call,
    until: Instant,
) -> Result<String, ActionError> {
    match call {
        Call::Delete {
            object,
            uid,
            foreground,
        } => {
            let mut parameters = delete_params(&uid);
            if foreground {
                parameters.propagation_policy = Some(PropagationPolicy::Foreground);
            }
            object
                .api(cluster)
                .delete(&object.name, &parameters)
                .await
                .map_err(sent)?;
            Ok(format!("the cluster accepted to delete {}", object.path()))
        }
        Call::Change(mut change) => {
            change.make(cluster).await?;
            Ok(format!(
                "the cluster accepted the change of {}",
                change.object.path()
            ))
        }
        Call::Recreate(plan) => recreate::carry_out(cluster, *plan).await,
        Call::Drain(plan) => drain::carry_out(cluster, safety, permit, *plan, until).await,
        Call::Diagnostic(plan) => diagnostic::carry_out(cluster, safety, permit, plan, until).await,
    }
}

/// What is seen by those who did it, of the kinds that a look at the object alone does not tell.
pub(super) async fn observe_drain(
    cluster: &ClusterClient,
    node: &str,
    memory: Option<&Value>,
) -> Result<Seen, KubeError> {
    drain::observe(cluster, node, memory).await
}

pub(super) async fn observe_traffic(
    cluster: &ClusterClient,
    object: &Object,
    live: &DynamicObject,
    kind: ActionKind,
    memory: Option<&Value>,
) -> Result<Seen, KubeError> {
    traffic::observe(cluster, object, live, kind, memory).await
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
