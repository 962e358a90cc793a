//! Kubernetes objects, decoded only as far as the estate needs them.
//!
//! A field that is null, missing or of the wrong type counts as absent: it never costs the object, nor the list that
//! the object stands in. Everything else in the JSON (managed fields, volumes, environments) is skipped unread.

mod controller;
mod event;
mod lenient;
mod meta;
mod node;
mod pod;

pub use controller::SlimController;
pub use event::SlimEvent;
pub use node::SlimNode;
pub use pod::SlimPod;

use serde::{Deserialize, Deserializer};

use crate::estate::{Condition, Name};
pub(in crate::watch::kubernetes) use lenient::Lenient;
use lenient::{Time, lenient, lenient_object};

/// One page of a list. An element that is no object decodes to an empty one, which is kept out further on: it has no
/// name.
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// Token of the next page; `None` on the last.
    pub(super) next: Option<String>,
    /// Resource version of the list, from which a watch goes on.
    pub(super) version: Option<String>,
}

impl<'de, T: Lenient<'de>> Deserialize<'de> for Page<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(bound(deserialize = "T: Lenient<'de>"))]
        struct List<T> {
            #[serde(default, deserialize_with = "lenient")]
            metadata: ListMeta,
            #[serde(default = "Vec::new", deserialize_with = "lenient")]
            items: Vec<T>,
        }

        let list = List::deserialize(deserializer)?;
        Ok(Self {
            items: list.items,
            next: list.metadata.next.filter(|token| !token.is_empty()),
            version: list.metadata.version.filter(|version| !version.is_empty()),
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ListMeta {
    #[serde(rename = "continue", deserialize_with = "lenient")]
    next: Option<String>,
    #[serde(rename = "resourceVersion", deserialize_with = "lenient")]
    version: Option<String>,
}

lenient_object!(ListMeta);
lenient_object!(SlimPod, SlimNode, SlimEvent, SlimController);

/// One of `status.conditions`, of whatever object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimCondition {
    #[serde(rename = "type", deserialize_with = "lenient")]
    kind: Option<Name>,
    #[serde(deserialize_with = "lenient")]
    status: Option<Name>,
    #[serde(deserialize_with = "lenient")]
    reason: Option<Name>,
    #[serde(deserialize_with = "lenient")]
    message: Option<Name>,
    #[serde(rename = "lastTransitionTime", deserialize_with = "lenient")]
    since: Time,
}

lenient_object!(SlimCondition);

fn conditions(slim: Vec<SlimCondition>) -> Vec<Condition> {
    let mut conditions: Vec<Condition> = slim
        .into_iter()
        .filter_map(|condition| {
            Some(Condition {
                kind: condition.kind?,
                status: condition.status.unwrap_or_else(|| Name::shared("Unknown")),
                reason: condition.reason.filter(|reason| !reason.is_empty()),
                message: condition.message.filter(|message| !message.is_empty()),
                since: condition.since.0,
            })
        })
        .collect();
    // A hundred thousand of these lists are kept, and most objects never change again.
    conditions.shrink_to_fit();
    conditions
}

#[cfg(test)]
mod owners;
#[cfg(test)]
mod tests;
