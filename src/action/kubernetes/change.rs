//! Changing one object by a patch: rehearsed by the server, pinned to what was read, sent once.
//!
//! A pinned change names the resource version it was made for. A conflict says that nothing was written; it is sent again
//! only if what matters of the object is still as it was, so that mere news of its status does not stand in the way.

use kube::api::DynamicObject;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::super::systems::{ActionError, nothing_sent, sent};
use super::{CALL_TIMEOUT, MANAGER, Object};
use crate::watch::kubernetes::client::{ClusterClient, KubeError};

/// How often a change is sent again to an object whose status keeps changing.
const CONFLICTS: usize = 5;

/// How the server merges a body into an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::action) enum Form {
    Merge,
    /// Lists such as containers are merged by their names.
    Strategic,
    /// RFC 6902 operations.
    Json,
}

/// A patch of one object.
#[derive(Clone, Debug)]
pub(in crate::action) struct Change {
    pub(super) object: Object,
    pub(super) subresource: Option<&'static str>,
    pub(super) form: Form,
    pub(super) body: Value,
    pub(super) pin: Option<Pin>,
}

/// What an object must still be for a change to be right.
#[derive(Clone, Debug)]
pub(in crate::action) struct Pin {
    uid: String,
    version: String,
    /// JSON pointers with the values that must not have changed.
    same: Vec<(String, Option<Value>)>,
}

impl Pin {
    /// To the object as it was read, of which `pointers` matter.
    pub(super) fn to(live: &DynamicObject, pointers: &[&str]) -> Self {
        let whole = json!(live);
        Self {
            uid: live.metadata.uid.clone().unwrap_or_default(),
            version: live.metadata.resource_version.clone().unwrap_or_default(),
            same: pointers
                .iter()
                .map(|pointer| ((*pointer).to_owned(), whole.pointer(pointer).cloned()))
                .collect(),
        }
    }

    fn holds(&self, live: &DynamicObject) -> bool {
        let whole = json!(live);
        live.metadata.uid.as_deref() == Some(&self.uid)
            && self
                .same
                .iter()
                .all(|(pointer, value)| whole.pointer(pointer) == value.as_ref())
    }
}

impl Change {
    /// The request as a person could make it.
    pub(super) fn told(&self) -> String {
        let subresource = self
            .subresource
            .map_or_else(String::new, |name| format!("/{name}"));
        format!(
            "PATCH {}{subresource} {} with {}",
            self.object.kind.to_lowercase(),
            self.object.path(),
            self.body
        )
    }

    /// Has the server try the change without keeping it. Returns what the object would become.
    pub(super) async fn rehearse(
        &mut self,
        cluster: &ClusterClient,
    ) -> Result<DynamicObject, ActionError> {
        self.send(cluster, true).await
    }

    /// Makes the change.
    pub(super) async fn make(
        &mut self,
        cluster: &ClusterClient,
    ) -> Result<DynamicObject, ActionError> {
        self.send(cluster, false).await
    }

    async fn send(
        &mut self,
        cluster: &ClusterClient,
        dry_run: bool,
    ) -> Result<DynamicObject, ActionError> {
        let failed = |error: KubeError| {
            if dry_run {
                nothing_sent(error)
            } else {
                sent(error)
            }
        };
        for _ in 0..CONFLICTS {
            let request = self.request(cluster, dry_run)?;
            let client = cluster.client();
            let call = client.request::<DynamicObject>(request);
            let answer = if dry_run {
                match timeout(CALL_TIMEOUT, call).await {
                    Ok(answer) => answer,
                    Err(_) => return Err(super::no_answer()),
                }
            } else {
                call.await
            };
            let error = match answer.map_err(KubeError::from) {
                Ok(object) => return Ok(object),
                Err(error) => error,
            };
            let (KubeError::Conflict { .. }, Some(pin)) = (&error, &mut self.pin) else {
                return Err(failed(error));
            };
            let live = self.object.read(cluster).await?;
            if !pin.holds(&live) {
                return Err(ActionError::Changed(format!(
                    "{} was changed by somebody else meanwhile",
                    self.object
                )));
            }
            pin.version = live.metadata.resource_version.unwrap_or_default();
        }
        Err(ActionError::Changed(format!(
            "{} keeps changing, so that no change of ours could be made to a known state of it",
            self.object
        )))
    }

    fn request(
        &self,
        cluster: &ClusterClient,
        dry_run: bool,
    ) -> Result<http::Request<Vec<u8>>, ActionError> {
        let api = self.object.api(cluster);
        let mut path = format!("{}/{}", api.resource_url(), self.object.name);
        if let Some(subresource) = self.subresource {
            path = format!("{path}/{subresource}");
        }
        let rehearsal = if dry_run { "&dryRun=All" } else { "" };
        let (content, body) = self.pinned();
        http::Request::patch(format!("{path}?fieldManager={MANAGER}{rehearsal}"))
            .header(http::header::CONTENT_TYPE, content)
            .header(http::header::ACCEPT, "application/json")
            .body(body.to_string().into_bytes())
            .map_err(|error| ActionError::Refused(format!("nothing was done: {error}")))
    }

    /// The content type, and the body with what it is pinned to.
    fn pinned(&self) -> (&'static str, Value) {
        let mut body = self.body.clone();
        match (self.form, &self.pin) {
            (Form::Json, Some(pin)) => {
                let mut operations = vec![
                    json!({"op": "test", "path": "/metadata/uid", "value": pin.uid}),
                    json!({"op": "replace", "path": "/metadata/resourceVersion", "value": pin.version}),
                ];
                operations.extend(body.as_array().cloned().unwrap_or_default());
                body = Value::Array(operations);
            }
            (Form::Merge | Form::Strategic, Some(pin)) => {
                body["metadata"]["uid"] = json!(pin.uid);
                body["metadata"]["resourceVersion"] = json!(pin.version);
            }
            (_, None) => {}
        }
        let content = match self.form {
            Form::Merge => "application/merge-patch+json",
            Form::Strategic => "application/strategic-merge-patch+json",
            Form::Json => "application/json-patch+json",
        };
        (content, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_holds_while_only_the_status_changes() {
        let deployment = |version: &str, replicas: i64, ready: i64| -> DynamicObject {
            serde_json::from_value(json!({
                "metadata": {"name": "web", "uid": "u", "resourceVersion": version},
                "spec": {"replicas": replicas}, "status": {"readyReplicas": ready},
            }))
            .unwrap()
        };
        let pin = Pin::to(&deployment("1", 3, 0), &["/spec/replicas"]);
        assert!(pin.holds(&deployment("2", 3, 2)));
        assert!(!pin.holds(&deployment("2", 4, 0)));
        let mut reborn = deployment("1", 3, 0);
        reborn.metadata.uid = Some("v".into());
        assert!(!pin.holds(&reborn));
    }
}
