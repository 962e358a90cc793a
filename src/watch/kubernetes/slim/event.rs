//! Events about the things that jobs are made of; what leases and configuration maps have to say is left out.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::NamespaceResourceScope;
use serde::Deserialize;

use super::lenient::{Time, lenient, lenient_object};
use super::meta::{Named, object_meta};
use crate::estate::{Event, Name, ObjectRef};
use crate::watch::kubernetes::kinds;

/// A core/v1 event as the API sends it, less what is not kept.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SlimEvent {
    #[serde(deserialize_with = "object_meta")]
    metadata: ObjectMeta,
    #[serde(deserialize_with = "lenient")]
    involved_object: Involved,
    #[serde(rename = "type", deserialize_with = "lenient")]
    kind: Option<Name>,
    #[serde(deserialize_with = "lenient")]
    reason: Option<Name>,
    #[serde(deserialize_with = "lenient")]
    message: Option<String>,
    #[serde(deserialize_with = "lenient")]
    source: Source,
    #[serde(deserialize_with = "lenient")]
    reporting_component: Option<Name>,
    #[serde(deserialize_with = "lenient")]
    count: Option<u32>,
    #[serde(deserialize_with = "lenient")]
    first_timestamp: Time,
    #[serde(deserialize_with = "lenient")]
    last_timestamp: Time,
    #[serde(deserialize_with = "lenient")]
    event_time: Time,
    #[serde(deserialize_with = "lenient")]
    series: Series,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Involved {
    #[serde(deserialize_with = "lenient")]
    kind: Option<Name>,
    #[serde(deserialize_with = "lenient")]
    name: Option<String>,
    #[serde(deserialize_with = "lenient")]
    namespace: Option<Name>,
    #[serde(deserialize_with = "lenient")]
    uid: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Source {
    #[serde(deserialize_with = "lenient")]
    component: Option<Name>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Series {
    #[serde(deserialize_with = "lenient")]
    count: Option<u32>,
    #[serde(deserialize_with = "lenient")]
    last_observed_time: Time,
}

lenient_object!(Involved, Source, Series);

impl SlimEvent {
    /// `None` for an object without a name, and for events about kinds that no job is made of.
    /// `seen` stands in for a missing creation time.
    #[must_use]
    pub fn into_event(self, cluster: &str, seen: Timestamp) -> Option<Event> {
        let named = Named::new(self.metadata, seen)?;
        let object = ObjectRef {
            kind: self.involved_object.kind?,
            name: self.involved_object.name?,
            uid: self.involved_object.uid.filter(|uid| !uid.is_empty()),
        };
        if !kinds::is_part_of_a_job(&object.kind) {
            return None;
        }
        let last = [
            self.last_timestamp,
            self.series.last_observed_time,
            self.event_time,
        ]
        .into_iter()
        .find_map(|time| time.0)
        .unwrap_or(named.created);
        Some(Event {
            cluster: Name::shared(cluster),
            // An event about a node lives in namespace `default`; all others live with their object.
            namespace: self
                .involved_object
                .namespace
                .filter(|namespace| !namespace.is_empty())
                .unwrap_or(named.namespace),
            uid: named.uid.clone(),
            kind: self.kind.unwrap_or_else(|| Name::shared("Normal")),
            reason: self.reason.unwrap_or_default(),
            message: self.message.unwrap_or_default(),
            object,
            source: self
                .source
                .component
                .or(self.reporting_component)
                .filter(|source| !source.is_empty()),
            count: self.count.or(self.series.count).unwrap_or(1).max(1),
            first: self.first_timestamp.0.or(self.event_time.0),
            last,
            annotations: named.annotations.into_iter().collect(),
        })
    }
}

impl kube::Resource for SlimEvent {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Event".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "events".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
