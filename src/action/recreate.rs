//! Restarting a whole Job: it cannot be rolled, so it is read, deleted with its pods, and created anew from its spec.
//!
//! The manifest is noted durably before the delete, so that a crash in between loses no Job: people can apply it.

use std::time::Duration;

use kube::api::{DeleteParams, DynamicObject, PostParams, Preconditions, PropagationPolicy};
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::kubernetes::{Call, Object, rehearse};
use super::systems::{ActionError, Call as AnyCall, Prepared, sent};
use crate::watch::kubernetes::client::{ClusterClient, KubeError};

/// How often it is looked whether the deleted Job is gone. The whole wait ends with the action's time-out.
const GONE_PAUSE: Duration = Duration::from_secs(1);

/// Said when the Job is deleted and not made anew.
pub(super) const MANIFEST_KEPT: &str = "its manifest is kept with this execution";

/// Labels that the Job controller puts on a Job and its template; a new Job gets its own.
const CONTROLLER_LABELS: [&str; 4] = [
    "controller-uid",
    "job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
];

#[derive(Debug)]
pub(super) struct Plan {
    object: Object,
    uid: String,
    manifest: DynamicObject,
}

pub(super) async fn prepare(
    cluster: &ClusterClient,
    object: Object,
    live: &DynamicObject,
    avoid_node: Option<&str>,
) -> Result<Prepared, ActionError> {
    let owner = live
        .metadata
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true) && owner.kind != "CronJob");
    if let Some(owner) = owner {
        return Err(ActionError::Refused(format!(
            "nothing was done: the Job belongs to {} {}, which has to be restarted instead",
            owner.kind, owner.name
        )));
    }
    let uid = live.metadata.uid.clone().unwrap_or_default();
    let manifest = manifest(live, avoid_node).ok_or_else(|| {
        ActionError::Refused(
            "nothing was done: the Job has no spec to make it anew from".to_owned(),
        )
    })?;
    let manifest: DynamicObject = serde_json::from_value(manifest)
        .map_err(|error| ActionError::Refused(format!("nothing was done: {error}")))?;

    // Under its own name a rehearsed create would find the old Job in its way.
    let mut rehearsed = manifest.clone();
    let short: String = uid
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(8)
        .collect();
    rehearsed.metadata.name = Some(format!("nightbell-check-{short}"));
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let api = object.api(cluster);
    rehearse(api.create(&dry_run, &rehearsed)).await?;
    rehearse(api.delete(&object.name, &delete_params(&uid).dry_run())).await?;
    let memory = json!({"was_uid": uid, "manifest": manifest});
    Ok(Prepared {
        impact: Vec::new(),
        what: format!(
            "DELETE job {}/{} with uid {uid} and its pods, wait until it is gone, CREATE it anew from its spec{}",
            object.namespace,
            object.name,
            avoid_node.map_or_else(String::new, |node| format!(", keeping off node {node}"))
        ),
        memory: Some(memory),
        call: AnyCall::Kubernetes(Call::Recreate(Box::new(Plan {
            object,
            uid,
            manifest,
        }))),
    })
}

pub(super) async fn carry_out(cluster: &ClusterClient, plan: Plan) -> Result<String, ActionError> {
    let api = plan.object.api(cluster);
    let name = &plan.object.name;
    api.delete(name, &delete_params(&plan.uid))
        .await
        .map_err(sent)?;
    loop {
        match api.get_opt(name).await.map_err(KubeError::from) {
            Ok(None) | Err(KubeError::NotFound { .. }) => break,
            Ok(Some(now)) if now.metadata.uid.as_deref() != Some(&plan.uid) => {
                return Err(ActionError::Refused(
                    "the Job was deleted, and somebody else made it anew".to_owned(),
                ));
            }
            // Still ending, or the server has a moment's trouble; the action's time-out ends this.
            Ok(Some(_)) | Err(_) => sleep(GONE_PAUSE).await,
        }
    }
    match api.create(&PostParams::default(), &plan.manifest).await {
        Ok(made) => Ok(format!(
            "the Job was deleted and made anew (uid {})",
            made.metadata.uid.unwrap_or_default()
        )),
        Err(error) => Err(match sent(error) {
            ActionError::Unknown(why) => ActionError::Unknown(format!(
                "the Job was deleted; whether it was made anew is unknown: {why}; {MANIFEST_KEPT}"
            )),
            ActionError::Changed(why) | ActionError::Refused(why) => ActionError::Refused(format!(
                "the Job was deleted, but making it anew failed: {why}; {MANIFEST_KEPT}"
            )),
        }),
    }
}

fn delete_params(uid: &str) -> DeleteParams {
    DeleteParams {
        // The Job stays until its pods are gone: two runs of one job would fight over GPUs and checkpoints.
        propagation_policy: Some(PropagationPolicy::Foreground),
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    }
}

/// The Job as somebody would write it: without status and without what the server and the Job controller added.
pub(super) fn manifest(live: &DynamicObject, avoid_node: Option<&str>) -> Option<Value> {
    let mut spec = live.data.get("spec")?.clone();
    let fields = spec.as_object_mut()?;
    if fields.get("manualSelector") != Some(&json!(true)) {
        fields.remove("selector");
        if let Some(labels) = spec
            .pointer_mut("/template/metadata/labels")
            .and_then(Value::as_object_mut)
        {
            strip(labels);
        }
    }
    if let Some(node) = avoid_node {
        keep_off(spec.pointer_mut("/template/spec")?, node);
    }
    let mut labels: Map<String, Value> = live
        .metadata
        .labels
        .iter()
        .flatten()
        .map(|(k, v)| (k.clone(), json!(v)))
        .collect();
    strip(&mut labels);
    let annotations: Map<String, Value> = live
        .metadata
        .annotations
        .iter()
        .flatten()
        .filter(|(key, _)| *key != "batch.kubernetes.io/job-tracking")
        .map(|(k, v)| (k.clone(), json!(v)))
        .collect();
    Some(json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": live.metadata.name,
            "namespace": live.metadata.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": live.metadata.owner_references.clone().unwrap_or_default(),
        },
        "spec": spec,
    }))
}

fn strip(labels: &mut Map<String, Value>) {
    for label in CONTROLLER_LABELS {
        labels.remove(label);
    }
}

/// Adds to each alternative of the pod's required node affinity that it must not be this node.
fn keep_off(pod: &mut Value, node: &str) {
    let not_this = json!({"key": "metadata.name", "operator": "NotIn", "values": [node]});
    for step in [
        "affinity",
        "nodeAffinity",
        "requiredDuringSchedulingIgnoredDuringExecution",
    ] {
        ensure_object(pod, step);
    }
    let terms = &mut pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        ["nodeSelectorTerms"];
    match terms.as_array_mut() {
        Some(terms) if !terms.is_empty() => {
            for term in terms {
                match term["matchFields"].as_array_mut() {
                    Some(fields) => fields.push(not_this.clone()),
                    None => term["matchFields"] = json!([not_this]),
                }
            }
        }
        Some(_) | None => *terms = json!([{"matchFields": [not_this]}]),
    }
}

/// Makes sure that the path `affinity` → `nodeAffinity` → `required…` exists as objects, one step per call.
fn ensure_object(pod: &mut Value, step: &str) {
    let place = match step {
        "affinity" => &mut pod["affinity"],
        "nodeAffinity" => &mut pod["affinity"]["nodeAffinity"],
        required => &mut pod["affinity"]["nodeAffinity"][required],
    };
    if !place.is_object() {
        *place = json!({});
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(extra: &Value) -> DynamicObject {
        let mut job = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {
                "name": "train", "namespace": "ml", "uid": "u1", "resourceVersion": "9", "generation": 3,
                "creationTimestamp": "2026-03-01T00:00:00Z", "managedFields": [],
                "labels": {"team": "a", "batch.kubernetes.io/controller-uid": "u1"},
                "annotations": {"note": "x", "batch.kubernetes.io/job-tracking": ""},
            },
            "spec": {
                "backoffLimit": 2, "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u1"}},
                "futureField": {"kept": true},
                "template": {
                    "metadata": {"labels": {"app": "t", "controller-uid": "u1", "job-name": "train"}},
                    "spec": {"containers": [], "restartPolicy": "Never"},
                },
            },
            "status": {"failed": 3},
        });
        if let Some(fields) = extra.as_object() {
            for (key, value) in fields {
                job["spec"][key] = value.clone();
            }
        }
        serde_json::from_value(job).unwrap()
    }

    #[test]
    fn a_job_is_made_anew_as_somebody_wrote_it() {
        let manifest = manifest(&job(&json!({})), None).unwrap();
        assert_eq!(
            manifest,
            json!({
                "apiVersion": "batch/v1", "kind": "Job",
                "metadata": {
                    "name": "train", "namespace": "ml", "labels": {"team": "a"}, "annotations": {"note": "x"},
                    "ownerReferences": [],
                },
                "spec": {
                    "backoffLimit": 2, "futureField": {"kept": true},
                    "template": {"metadata": {"labels": {"app": "t"}}, "spec": {"containers": [], "restartPolicy": "Never"}},
                },
            })
        );
    }

    #[test]
    fn a_selector_that_somebody_chose_is_kept() {
        let manifest = manifest(&job(&json!({"manualSelector": true})), None).unwrap();
        assert!(manifest.pointer("/spec/selector/matchLabels").is_some());
        assert!(
            manifest
                .pointer("/spec/template/metadata/labels/job-name")
                .is_some()
        );
    }

    #[test]
    fn a_node_is_avoided_in_every_alternative() {
        let not_this = json!([{"key": "metadata.name", "operator": "NotIn", "values": ["gpu-7"]}]);
        let terms = "/spec/template/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";

        let plain = manifest(&job(&json!({})), Some("gpu-7")).unwrap();
        assert_eq!(
            plain.pointer(terms).unwrap(),
            &json!([{"matchFields": not_this}])
        );

        let pool = |value: &str| json!({"matchExpressions": [{"key": "pool", "operator": "In", "values": [value]}]});
        let template = json!({"spec": {"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [pool("a"), pool("b")]}}}}});
        let chosen = manifest(&job(&json!({"template": template})), Some("gpu-7")).unwrap();
        let alternatives = chosen.pointer(terms).unwrap().as_array().unwrap();
        assert_eq!(alternatives.len(), 2);
        for (alternative, value) in alternatives.iter().zip(["a", "b"]) {
            assert_eq!(alternative["matchFields"], not_this);
            assert_eq!(
                alternative["matchExpressions"],
                pool(value)["matchExpressions"]
            );
        }
    }
}
