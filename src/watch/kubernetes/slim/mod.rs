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

use serde::Deserialize;

use crate::estate::Condition;
use lenient::{Time, lenient, lenient_object};

/// One of `status.conditions`, of whatever object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimCondition {
    #[serde(rename = "type", deserialize_with = "lenient")]
    kind: Option<String>,
    #[serde(deserialize_with = "lenient")]
    status: Option<String>,
    #[serde(deserialize_with = "lenient")]
    reason: Option<String>,
    #[serde(deserialize_with = "lenient")]
    message: Option<String>,
    #[serde(rename = "lastTransitionTime", deserialize_with = "lenient")]
    since: Time,
}

lenient_object!(SlimCondition);

fn conditions(slim: Vec<SlimCondition>) -> Vec<Condition> {
    slim.into_iter()
        .filter_map(|condition| {
            Some(Condition {
                kind: condition.kind?,
                status: condition.status.unwrap_or_else(|| "Unknown".to_owned()),
                reason: condition.reason.filter(|reason| !reason.is_empty()),
                message: condition.message.filter(|message| !message.is_empty()),
                since: condition.since.0,
            })
        })
        .collect()
}
