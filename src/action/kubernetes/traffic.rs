//! Taking one pod out of a Service's traffic and putting it back, by a label that the Service selects by.
//!
//! The label goes, and an annotation keeps its value for the way back. A label by which the pod's controller knows it
//! would make the controller let go of the pod and make another; that is done only if it is asked for.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use serde_json::{Map, Value, json};

use super::super::systems::{ActionError, Prepared, Seen};
use super::super::{ActionKind, ActionSpec, Parameters};
use super::change::{Change, Form, Pin};
use super::{Object, patched, refused, rehearse};
use crate::watch::kubernetes::client::{ClusterClient, KubeError};

/// Where the label of a pod that is out of traffic is kept: `{"service", "label", "value"}`.
const KEPT: &str = "nightbell/out-of-traffic";

pub(super) async fn prepare(
    cluster: &ClusterClient,
    object: Object,
    live: &DynamicObject,
    spec: &ActionSpec,
) -> Result<Prepared, ActionError> {
    if spec.kind == ActionKind::PutIntoTraffic {
        return put_back(cluster, object, live).await;
    }
    let labels = labels(live);
    if kept(live).is_some() {
        return Err(ActionError::Changed(format!(
            "{object} is out of traffic already"
        )));
    }
    let services = services(cluster, &object.namespace).await?;
    let selecting: Vec<&(String, BTreeMap<String, String>)> = services
        .iter()
        .filter(|(_, selector)| selects(selector, &labels))
        .collect();
    let wanted = spec.parameters.text("service");
    let chosen = match wanted {
        Some(name) => selecting.iter().find(|(service, _)| service == name),
        None if selecting.len() == 1 => selecting.first(),
        None => None,
    };
    let Some((service, selector)) = chosen else {
        let names: Vec<&str> = selecting.iter().map(|(name, _)| name.as_str()).collect();
        return Err(refused(match (wanted, names.is_empty()) {
            (_, true) => format!("no Service sends traffic to {object}"),
            (Some(name), false) => format!(
                "Service {name} does not send traffic to {object}; those that do: {}",
                names.join(", ")
            ),
            (None, false) => format!(
                "several Services send traffic to {object}; say which: {}",
                names.join(", ")
            ),
        }));
    };
    let own = controller_labels(cluster, live).await?;
    let (key, released) = match selector.keys().find(|key| !own.contains_key(*key)) {
        Some(key) => (key, false),
        None if spec.parameters.flag("let_go") => match selector.keys().next() {
            Some(key) => (key, true),
            None => return Err(refused(format!("Service {service} selects by no label"))),
        },
        None => {
            return Err(refused(format!(
                "every label by which Service {service} selects {object} is also one by which its controller knows it: \
                 without it the controller would let go of the pod and make another (`let_go` allows that)"
            )));
        }
    };
    let value = labels.get(key).cloned().unwrap_or_default();
    let keep = json!({"service": service, "label": key, "value": value}).to_string();
    let mut change = change(object, live, &json!({key: null}), &json!({KEPT: keep}), key);
    change.rehearse(cluster).await?;
    let released = if released {
        "; its controller lets go of it and makes another pod"
    } else {
        ""
    };
    Ok(patched(
        format!(
            "{}, so that Service {service} sends it no traffic{released}",
            change.told()
        ),
        Some(json!({
            "service": service, "selector": selector,
            "inverse": {"kind": ActionKind::PutIntoTraffic, "parameters": Parameters::default()},
        })),
        change,
    ))
}

async fn put_back(
    cluster: &ClusterClient,
    object: Object,
    live: &DynamicObject,
) -> Result<Prepared, ActionError> {
    let Some((service, key, value)) = kept(live) else {
        return Err(ActionError::Changed(format!(
            "{object} was not taken out of traffic"
        )));
    };
    let mut change = change(
        object,
        live,
        &json!({&key: value}),
        &json!({KEPT: null}),
        &key,
    );
    change.rehearse(cluster).await?;
    let services = services(cluster, &change.object.namespace).await?;
    let selector = services
        .into_iter()
        .find(|(name, _)| *name == service)
        .map(|(_, selector)| selector);
    let back = Parameters::default().with("service", service.as_str());
    Ok(patched(
        format!(
            "{}, so that Service {service} sends it traffic again",
            change.told()
        ),
        Some(json!({
            "service": service, "selector": selector,
            "inverse": {"kind": ActionKind::TakeOutOfTraffic, "parameters": back},
        })),
        change,
    ))
}

fn change(
    object: Object,
    live: &DynamicObject,
    labels: &Value,
    annotations: &Value,
    key: &str,
) -> Change {
    let label = format!("/metadata/labels/{}", escaped(key));
    let kept = format!("/metadata/annotations/{}", escaped(KEPT));
    Change {
        subresource: None,
        form: Form::Merge,
        body: json!({"metadata": {"labels": labels, "annotations": annotations}}),
        pin: Some(Pin::to(live, &[&label, &kept])),
        object,
    }
}

/// RFC 6901.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn labels(live: &DynamicObject) -> BTreeMap<String, String> {
    live.metadata.labels.clone().unwrap_or_default()
}

/// Service, label and value that were kept when the pod was taken out. Others can write annotations too, so a label is
/// put back only if it could have been one.
fn kept(live: &DynamicObject) -> Option<(String, String, String)> {
    let text = live.metadata.annotations.as_ref()?.get(KEPT)?;
    let kept: Value = serde_json::from_str(text).ok()?;
    let field = |name: &str| kept[name].as_str().map(str::to_owned);
    let (service, label, value) = (field("service")?, field("label")?, field("value")?);
    let plain = |text: &str| {
        text.len() <= 253
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'))
    };
    (plain(&service) && plain(&label) && !label.is_empty() && plain(&value))
        .then_some((service, label, value))
}

fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    !selector.is_empty()
        && selector
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
}

fn texts(map: Option<&Map<String, Value>>) -> BTreeMap<String, String> {
    map.into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// Services with what they select.
async fn services(
    cluster: &ClusterClient,
    namespace: &str,
) -> Result<Vec<(String, BTreeMap<String, String>)>, ActionError> {
    let api: Api<DynamicObject> = Api::namespaced_with(
        cluster.client(),
        namespace,
        &ApiResource::erase::<Service>(&()),
    );
    let list = rehearse(api.list(&ListParams::default())).await?;
    Ok(list
        .items
        .iter()
        .map(|service| {
            let selector = service.data.pointer("/spec/selector");
            (
                service.metadata.name.clone().unwrap_or_default(),
                texts(selector.and_then(Value::as_object)),
            )
        })
        .collect())
}

/// The labels by which the pod's controller knows it.
async fn controller_labels(
    cluster: &ClusterClient,
    live: &DynamicObject,
) -> Result<BTreeMap<String, String>, ActionError> {
    let owner = live
        .metadata
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true));
    let Some(owner) = owner else {
        return Ok(BTreeMap::new());
    };
    let resource = match owner.kind.as_str() {
        "ReplicaSet" => ApiResource::erase::<ReplicaSet>(&()),
        "StatefulSet" => ApiResource::erase::<StatefulSet>(&()),
        // What others know their pods by is not known here, so every label counts as theirs.
        _ => return Ok(labels(live)),
    };
    let namespace = live.metadata.namespace.clone().unwrap_or_default();
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.client(), &namespace, &resource);
    let controller = rehearse(api.get(&owner.name)).await?;
    let selector = controller.data.pointer("/spec/selector/matchLabels");
    Ok(texts(selector.and_then(Value::as_object)))
}

/// Whether the Service's endpoints are as wanted.
pub(super) async fn observe(
    cluster: &ClusterClient,
    object: &Object,
    live: &DynamicObject,
    kind: ActionKind,
    memory: Option<&Value>,
) -> Result<Seen, KubeError> {
    let service = memory
        .and_then(|memory| memory["service"].as_str())
        .unwrap_or_default();
    let selector = texts(memory.and_then(|memory| memory["selector"].as_object()));
    let out = kind == ActionKind::TakeOutOfTraffic;
    let selected = selects(&selector, &labels(live));
    if selected == out {
        let told = if out {
            "still selects"
        } else {
            "does not select"
        };
        return Ok(Seen::NotYet(format!("Service {service} {told} the pod")));
    }
    let listed = endpoints(cluster, object, service).await?;
    Ok(match (listed, out) {
        (Some(true), true) => {
            Seen::NotYet(format!("Service {service} still lists the pod's address"))
        }
        (Some(false), false) => Seen::NotYet(format!(
            "Service {service} does not list the pod as ready yet"
        )),
        (Some(false) | None, true) => {
            Seen::Reached(format!("Service {service} sends it no traffic"))
        }
        (Some(true) | None, false) => Seen::Reached(format!("Service {service} sends it traffic")),
    })
}

/// Whether the pod is a ready endpoint of the Service; `None` where endpoints may not be read.
async fn endpoints(
    cluster: &ClusterClient,
    object: &Object,
    service: &str,
) -> Result<Option<bool>, KubeError> {
    let path = format!(
        "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3D{service}",
        object.namespace
    );
    let Ok(request) = http::Request::get(path).body(Vec::new()) else {
        return Ok(None);
    };
    let list = match cluster.client().request::<Value>(request).await {
        Ok(list) => list,
        Err(error) => {
            return match KubeError::from(error) {
                KubeError::Forbidden { .. } | KubeError::NotFound { .. } => Ok(None),
                other => Err(other),
            };
        }
    };
    let ready = |endpoint: &Value| {
        endpoint["targetRef"]["kind"] == "Pod"
            && endpoint["targetRef"]["name"] == object.name.as_str()
            && endpoint["conditions"]["ready"] != json!(false)
    };
    Ok(Some(
        list["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == service)
            .filter_map(|slice| slice["endpoints"].as_array())
            .flatten()
            .any(ready),
    ))
}
