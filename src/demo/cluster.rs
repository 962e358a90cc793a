//! The object store behind the simulated API server: versioned objects and the change log that watches read.
//!
//! Objects are kept as text, ready to send, so that a list of 100,000 pods costs the server next to nothing and a
//! measurement of a client measures the client.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use super::kind::Kind;
use super::selector::Selector;

/// How many changes a watch may lie behind before its resource version is too old.
const HISTORY: usize = 50_000;

/// One stored version of one object.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) kind: Kind,
    /// Empty for what has no namespace.
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) version: u64,
    pub(super) labels: Vec<(String, String)>,
    fields: Vec<(&'static str, String)>,
    /// The object without `kind` and `apiVersion`, as items of a list are.
    json: Box<str>,
}

impl Object {
    fn new(kind: Kind, version: u64, mut value: Value) -> Self {
        value["metadata"]["resourceVersion"] = Value::String(version.to_string());
        let text = |pointer: &str| {
            value
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let labels = value["metadata"]["labels"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect();
        let fields = selectable(kind)
            .iter()
            .map(|(name, pointer)| (*name, text(pointer)))
            .collect();
        Self {
            kind,
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
            uid: text("/metadata/uid"),
            version,
            labels,
            fields,
            json: value.to_string().into_boxed_str(),
        }
    }

    /// The value of a field that a field selector may name; empty if there is none.
    pub(super) fn field(&self, name: &str) -> &str {
        match name {
            "metadata.name" => &self.name,
            "metadata.namespace" => &self.namespace,
            _ => self
                .fields
                .iter()
                .find(|(field, _)| *field == name)
                .map_or("", |(_, value)| value),
        }
    }

    /// As an item of a list.
    pub(super) fn item(&self) -> &str {
        &self.json
    }

    /// On its own: with `kind` and `apiVersion`.
    pub(super) fn whole(&self) -> String {
        let (kind, version) = (self.kind.name(), self.kind.api_version());
        format!(
            r#"{{"kind":"{kind}","apiVersion":"{version}",{}"#,
            &self.json[1..]
        )
    }

    /// The object to change, without `kind` and `apiVersion`.
    pub(super) fn value(&self) -> Value {
        serde_json::from_str(&self.json).expect("stored objects were written by serde_json")
    }
}

/// Field selectors that each kind supports, beside `metadata.name` and `metadata.namespace`.
fn selectable(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::Pod => &[
            ("spec.nodeName", "/spec/nodeName"),
            ("spec.restartPolicy", "/spec/restartPolicy"),
            ("status.phase", "/status/phase"),
        ],
        Kind::Event => &[
            ("involvedObject.kind", "/involvedObject/kind"),
            ("involvedObject.namespace", "/involvedObject/namespace"),
            ("involvedObject.name", "/involvedObject/name"),
            ("involvedObject.uid", "/involvedObject/uid"),
            ("reason", "/reason"),
            ("type", "/type"),
        ],
        Kind::Namespace
        | Kind::Node
        | Kind::PersistentVolumeClaim
        | Kind::Job
        | Kind::Deployment
        | Kind::StatefulSet
        | Kind::ReplicaSet
        | Kind::PyTorchJob => &[],
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangeKind {
    Added,
    Modified,
    Deleted,
}

/// An entry of the change log.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) kind: ChangeKind,
    pub(super) object: Arc<Object>,
}

/// The wanted resource version has left the change log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expired {
    /// The oldest version that can still be resumed from.
    pub(super) oldest: u64,
}

/// All objects of the simulated cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    objects: BTreeMap<Kind, BTreeMap<(String, String), Arc<Object>>>,
    log: VecDeque<Change>,
    version: u64,
    /// Changes up to and including this version are no longer in the log.
    forgotten: u64,
}

impl Default for Cluster {
    fn default() -> Self {
        // A cluster is never at version 0: clients read that as "any version".
        Self {
            objects: BTreeMap::new(),
            log: VecDeque::new(),
            version: 100,
            forgotten: 100,
        }
    }
}

impl Cluster {
    /// The newest resource version.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.objects
            .get(&kind)?
            .get(&(namespace.to_owned(), name.to_owned()))
            .cloned()
    }

    /// Adds or replaces the object that `value`'s metadata names.
    pub(super) fn put(&mut self, kind: Kind, value: Value) -> Arc<Object> {
        self.version += 1;
        let object = Arc::new(Object::new(kind, self.version, value));
        let key = (object.namespace.clone(), object.name.clone());
        let old = self
            .objects
            .entry(kind)
            .or_default()
            .insert(key, Arc::clone(&object));
        let change = if old.is_some() {
            ChangeKind::Modified
        } else {
            ChangeKind::Added
        };
        self.record(change, Arc::clone(&object));
        object
    }

    pub(super) fn remove(
        &mut self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<Object>> {
        let old = self
            .objects
            .get_mut(&kind)?
            .remove(&(namespace.to_owned(), name.to_owned()))?;
        self.version += 1;
        let last = Arc::new(Object::new(kind, self.version, old.value()));
        self.record(ChangeKind::Deleted, Arc::clone(&last));
        Some(last)
    }

    /// Objects of a kind in key order, in one namespace or all.
    pub(super) fn list<'a>(
        &'a self,
        kind: Kind,
        namespace: Option<&'a str>,
        selector: &'a Selector,
    ) -> impl Iterator<Item = &'a Arc<Object>> {
        self.objects
            .get(&kind)
            .into_iter()
            .flat_map(BTreeMap::values)
            .filter(move |object| namespace.is_none_or(|wanted| wanted == object.namespace))
            .filter(move |object| selector.matches(object))
    }

    /// The changes of one kind after `version`, oldest first.
    pub(super) fn changes_since(&self, version: u64, kind: Kind) -> Result<Vec<Change>, Expired> {
        if version < self.forgotten {
            return Err(Expired {
                oldest: self.forgotten,
            });
        }
        let first = self
            .log
            .partition_point(|change| change.object.version <= version);
        Ok(self
            .log
            .range(first..)
            .filter(|change| change.object.kind == kind)
            .cloned()
            .collect())
    }

    /// Forgets the change log, as compaction does: older resource versions can no longer be resumed from.
    pub(super) fn expire_history(&mut self) {
        // One version more, so that even a client which saw everything has to list again.
        self.version += 1;
        self.forgotten = self.version;
        self.log.clear();
    }

    /// Whether a list that began at `version` may still be continued.
    pub(super) fn remembers(&self, version: u64) -> bool {
        version >= self.forgotten
    }

    fn record(&mut self, kind: ChangeKind, object: Arc<Object>) {
        if self.log.len() == HISTORY
            && let Some(oldest) = self.log.pop_front()
        {
            self.forgotten = oldest.object.version;
        }
        self.log.push_back(Change { kind, object });
    }
}
