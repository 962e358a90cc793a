//! What happens to simulated nodes: a lost GPU, silence, a cordon.

use serde_json::{Value, json};

use super::events::Reporter;
use super::kind::Kind;
use super::objects::stamp;
use super::world::World;

impl World {
    /// The node loses a GPU: kernel line, condition, event, and one GPU less to allocate.
    pub(super) fn lose_gpu(&mut self, name: &str, xid: u32, pci: &str) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        node.lost += 1;
        let left = node.gpus - node.lost.min(node.gpus);
        let at = stamp(self.now);
        let message = format!(
            "NVRM: Xid (PCI:{pci}): {xid}, pid=48213, name=python, GPU has fallen off the bus."
        );
        let reason = format!("NvidiaXID{xid}Error");
        if let Some(object) = self.cluster.get(Kind::Node, "", name) {
            let mut value = object.value();
            value["status"]["allocatable"]["nvidia.com/gpu"] = left.to_string().into();
            set_condition(
                &mut value["status"]["conditions"],
                json!({"type": "AcceleratedHardwareReady", "status": "False", "lastHeartbeatTime": at,
                    "lastTransitionTime": at, "reason": reason, "message": message}),
            );
            self.cluster.put(Kind::Node, value);
        }
        self.emit(
            &Self::about_node(name),
            Reporter::NodeMonitor,
            "Warning",
            &reason,
            &message,
            &[],
        );
    }

    /// Cordons or uncordons a node.
    pub(super) fn cordon(&mut self, name: &str, on: bool) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        if node.unschedulable == on {
            return;
        }
        node.unschedulable = on;
        let reason = if on {
            "NodeNotSchedulable"
        } else {
            "NodeSchedulable"
        };
        let about = Self::about_node(name);
        let message = format!("Node {name} status is now: {reason}");
        self.emit(
            &about,
            Reporter::NodeController,
            "Normal",
            reason,
            &message,
            &[],
        );
        self.retry_waiting();
    }

    /// The node's kubelet falls silent, or is heard again.
    pub(super) fn node_ready(&mut self, name: &str, ready: bool) {
        let Some(object) = self.cluster.get(Kind::Node, "", name) else {
            return;
        };
        let at = stamp(self.now);
        let (status, reason, message) = if ready {
            ("True", "KubeletReady", "kubelet is posting ready status")
        } else {
            (
                "Unknown",
                "NodeStatusUnknown",
                "Kubelet stopped posting node status.",
            )
        };
        let mut value = object.value();
        set_condition(
            &mut value["status"]["conditions"],
            json!({"type": "Ready", "status": status, "lastHeartbeatTime": at, "lastTransitionTime": at,
                "reason": reason, "message": message}),
        );
        value["spec"]["taints"] = if ready {
            json!([])
        } else {
            json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule", "timeAdded": at},
                {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": at}])
        };
        self.cluster.put(Kind::Node, value);
        if let Some(node) = self.nodes.get_mut(name) {
            node.silent = !ready;
        }
        let reason = if ready { "NodeReady" } else { "NodeNotReady" };
        let message = format!("Node {name} status is now: {reason}");
        self.emit(
            &Self::about_node(name),
            Reporter::NodeController,
            "Normal",
            reason,
            &message,
            &[],
        );
    }
}

/// Replaces the condition of the same type.
fn set_condition(conditions: &mut Value, condition: Value) {
    let Some(list) = conditions.as_array_mut() else {
        return;
    };
    match list
        .iter_mut()
        .find(|other| other["type"] == condition["type"])
    {
        Some(other) => *other = condition,
        None => list.push(condition),
    }
}
