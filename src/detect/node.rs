//! What a node's conditions say.

use jiff::Timestamp;

use super::{Assessment, FailureClass, Symptom, Thresholds};
use crate::estate::Condition;
use crate::estate::index::NodeEntry;

/// Judges a node: not ready, under pressure, or with a fault that a node agent reports as a condition.
pub fn node_symptoms(entry: &NodeEntry, thresholds: &Thresholds, now: Timestamp) -> Assessment {
    let node = &entry.node;
    let mut found = Assessment::default();
    for condition in node
        .conditions
        .iter()
        .filter(|condition| is_fault(condition))
    {
        let since = condition.since.unwrap_or(node.created);
        let told = condition
            .message
            .as_deref()
            .or(condition.reason.as_deref())
            .unwrap_or("no message");
        let state = if condition.kind == "Ready" {
            "NodeNotReady"
        } else {
            condition.kind.as_str()
        };
        let mut symptom = Symptom::new(
            FailureClass::Node,
            state,
            format!("node {}: {told}", node.name),
            since,
        );
        symptom.node = Some(node.name.clone());
        if condition.kind == "Ready" {
            found.after(thresholds.node_seconds, now, symptom);
        } else {
            found.now(symptom);
        }
    }
    found
}

/// `Ready` and its like (`KernelReady`, `AcceleratedHardwareReady` of the EKS agent) are faults unless `True`; the
/// others (pressure, node-problem-detector, NVSentinel) are faults when `True`.
pub(crate) fn is_fault(condition: &Condition) -> bool {
    if condition.kind.ends_with("Ready") {
        condition.status != "True"
    } else {
        condition.status == "True"
    }
}
