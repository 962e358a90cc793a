//! Taking a rollout back to an earlier revision, as `kubectl rollout undo` does: a Deployment's from its ReplicaSets, a
//! StatefulSet's and a DaemonSet's from their ControllerRevisions.

use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use serde_json::{Value, json};

use super::super::parameters::Parameters;
use super::super::systems::{ActionError, Prepared};
use super::super::{ActionKind, ActionSpec};
use super::change::{Change, Form, Pin};
use super::{Object, check_rolls, owner, patched, refused, rehearse};
use crate::watch::kubernetes::client::ClusterClient;

const REVISION: &str = "deployment.kubernetes.io/revision";

/// An earlier state of a controller's template.
struct Revision {
    number: i64,
    object: DynamicObject,
}

pub(super) async fn prepare(
    cluster: &ClusterClient,
    object: Object,
    live: &DynamicObject,
    spec: &ActionSpec,
) -> Result<Prepared, ActionError> {
    owner::check_free(&object, live)?;
    check_rolls(&live.data)?;
    let uid = live.metadata.uid.as_deref().unwrap_or_default();
    let deployment = object.kind == "Deployment";
    let mut revisions = revisions(cluster, &object, uid, deployment).await?;
    revisions.sort_by_key(|revision| revision.number);
    let current = if deployment {
        annotated(live)
    } else {
        revisions.last().map(|revision| revision.number)
    };
    let Some(current) = current else {
        return Err(refused(format!("{object} tells no revision of itself")));
    };
    let wanted = spec.parameters.integer("revision");
    let target = match wanted {
        Some(number) => revisions.iter().find(|revision| revision.number == number),
        None => revisions
            .iter()
            .rev()
            .find(|revision| revision.number < current),
    };
    let Some(target) = target else {
        let kept: Vec<String> = revisions
            .iter()
            .map(|revision| revision.number.to_string())
            .collect();
        return Err(refused(match wanted {
            Some(number) => format!(
                "{object} has no revision {number}; kept are {}",
                kept.join(", ")
            ),
            None => {
                format!("{object} has no revision before {current}, so there is nothing to undo")
            }
        }));
    };
    if target.number == current {
        return Err(ActionError::Changed(format!(
            "{object} is at revision {current} already"
        )));
    }
    let (form, body) = if deployment {
        (
            Form::Json,
            json!([{"op": "replace", "path": "/spec/template", "value": template(&target.object)}]),
        )
    } else {
        // The revision's data is the patch that its controller made of it.
        (
            Form::Strategic,
            target
                .object
                .data
                .get("data")
                .cloned()
                .unwrap_or_else(|| json!({})),
        )
    };
    let mut change = Change {
        subresource: None,
        form,
        body,
        pin: Some(Pin::to(live, &["/spec"])),
        object,
    };
    let would_be = change.rehearse(cluster).await?;
    let template = would_be.data.pointer("/spec/template").cloned();
    if template.as_ref() == live.data.pointer("/spec/template") {
        return Err(ActionError::Changed(format!(
            "revision {} of {} is the same as what runs now",
            target.number, change.object
        )));
    }
    let back = Parameters::default().with("revision", current);
    Ok(patched(
        format!(
            "PATCH {} {} back to the template of revision {} (now {current}{}); its pods are then replaced",
            change.object.kind.to_lowercase(),
            change.object.path(),
            target.number,
            images(template.as_ref())
        ),
        Some(json!({
            "template": template,
            "inverse": {"kind": ActionKind::RolloutUndo, "parameters": back},
        })),
        change,
    ))
}

async fn revisions(
    cluster: &ClusterClient,
    object: &Object,
    uid: &str,
    deployment: bool,
) -> Result<Vec<Revision>, ActionError> {
    let resource = if deployment {
        ApiResource::erase::<ReplicaSet>(&())
    } else {
        ApiResource::erase::<ControllerRevision>(&())
    };
    let api: Api<DynamicObject> =
        Api::namespaced_with(cluster.client(), &object.namespace, &resource);
    let list = rehearse(api.list(&ListParams::default())).await?;
    let owned = |revision: &DynamicObject| {
        revision
            .metadata
            .owner_references
            .iter()
            .flatten()
            .any(|owner| owner.controller == Some(true) && owner.uid == uid)
    };
    Ok(list
        .items
        .into_iter()
        .filter(owned)
        .filter_map(|object| {
            let number = if deployment {
                annotated(&object)?
            } else {
                object.data.get("revision")?.as_i64()?
            };
            Some(Revision { number, object })
        })
        .collect())
}

fn annotated(object: &DynamicObject) -> Option<i64> {
    object
        .metadata
        .annotations
        .as_ref()?
        .get(REVISION)?
        .parse()
        .ok()
}

/// A ReplicaSet's template without the label by which its Deployment tells it from others.
fn template(replica_set: &DynamicObject) -> Value {
    let mut template = replica_set
        .data
        .pointer("/spec/template")
        .cloned()
        .unwrap_or_default();
    if let Some(labels) = template
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        labels.remove("pod-template-hash");
    }
    template
}

/// The images of a template, for people: what most rollbacks are about.
fn images(template: Option<&Value>) -> String {
    let images: Vec<&str> = template
        .and_then(|template| template.pointer("/spec/containers"))
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|container| container["image"].as_str())
        .collect();
    if images.is_empty() {
        String::new()
    } else {
        format!("; image {}", images.join(", "))
    }
}
