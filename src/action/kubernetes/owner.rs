//! Who else decides about an object: a GitOps controller, another controller, an autoscaler. What they would change back
//! is not changed here.

use std::collections::BTreeMap;
use std::fmt;

use kube::api::DynamicObject;
use serde_json::Value;

use super::super::systems::ActionError;
use super::{Object, refused};
use crate::estate::identity;
use crate::watch::kubernetes::client::ClusterClient;

/// What keeps an object as a repository says, so that a change by hand would be undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner(String);

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The Argo CD application, Flux kustomization or Flux Helm release that keeps this object, by its labels and
/// annotations.
#[must_use]
pub fn managed_by(object: &DynamicObject) -> Option<Owner> {
    let tags = |tags: &Option<BTreeMap<String, String>>| tags.clone().unwrap_or_default();
    identity::gitops(
        &tags(&object.metadata.labels).into_iter().collect(),
        &tags(&object.metadata.annotations).into_iter().collect(),
    )
    .map(Owner)
}

/// Refuses a change of the spec of an object that somebody else would change back.
pub(super) fn check_free(object: &Object, live: &DynamicObject) -> Result<(), ActionError> {
    if let Some(owner) = managed_by(live) {
        return Err(refused(format!(
            "{owner} keeps {object} as its repository says and would change it back; change it there"
        )));
    }
    let controller = live
        .metadata
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true));
    match controller {
        Some(owner) => Err(refused(format!(
            "{object} belongs to {} {}, which would change it back; change that instead",
            owner.kind, owner.name
        ))),
        None => Ok(()),
    }
}

/// Refuses to scale what an autoscaler scales. Where autoscalers may not be listed, the returned words say so.
pub(super) async fn check_autoscaler(
    cluster: &ClusterClient,
    object: &Object,
) -> Result<&'static str, ActionError> {
    let path = format!(
        "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
        object.namespace
    );
    let request = http::Request::get(path)
        .body(Vec::new())
        .map_err(|error| refused(error.to_string()))?;
    let client = cluster.client();
    let listed = tokio::time::timeout(super::CALL_TIMEOUT, client.request::<Value>(request));
    let Ok(Ok(list)) = listed.await else {
        return Ok("; whether an autoscaler would change it back could not be read");
    };
    let scales = |item: &&Value| {
        let target = &item["spec"]["scaleTargetRef"];
        target["kind"] == object.kind.as_str() && target["name"] == object.name.as_str()
    };
    match list["items"].as_array().into_iter().flatten().find(scales) {
        Some(autoscaler) => Err(refused(format!(
            "HorizontalPodAutoscaler {} decides how many replicas {object} has ({} to {}); change its bounds instead",
            autoscaler["metadata"]["name"].as_str().unwrap_or("?"),
            autoscaler["spec"]["minReplicas"].as_i64().unwrap_or(1),
            autoscaler["spec"]["maxReplicas"].as_i64().unwrap_or(1),
        ))),
        None => Ok(""),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn argo_and_flux_are_known_by_what_they_write_on_their_objects() {
        let object = |metadata: Value| -> DynamicObject {
            serde_json::from_value(json!({"metadata": metadata})).unwrap()
        };
        let owner = |metadata: Value| managed_by(&object(metadata)).map(|owner| owner.to_string());
        assert_eq!(owner(json!({"name": "web"})), None);
        assert_eq!(
            owner(json!({"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:ml/web"}})).as_deref(),
            Some("Argo CD application shop")
        );
        assert_eq!(
            owner(json!({"labels": {"helm.toolkit.fluxcd.io/name": "web"}})).as_deref(),
            Some("Flux Helm release web")
        );
    }
}
