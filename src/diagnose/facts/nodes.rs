//! What the nodes of the job report of themselves: conditions, kernel lines, GPUs that are gone.

use std::collections::HashSet;

use super::{Facts, Place, condition_line};
use crate::diagnose::hit::Tier;
use crate::diagnose::knowledge::{NodeNeed, Sign, TextPlace};
use crate::diagnose::logs;

impl Facts<'_> {
    pub(super) fn nodes(&mut self) {
        let evidence = self.evidence;
        let used: HashSet<&str> = evidence
            .pods
            .iter()
            .filter_map(|pod| pod.node.as_deref())
            .collect();
        for node in &evidence.nodes {
            if !used.is_empty() && !used.contains(node.name.as_str()) {
                continue;
            }
            for condition in &node.conditions {
                let place = Place {
                    source: "node",
                    node: Some(&node.name),
                    at: condition.since,
                    ..Place::default()
                };
                let line = format!("{} {}", node.name, condition_line(condition));
                for (failure, _, sign) in self.signs() {
                    if let Sign::Node {
                        conditions,
                        statuses,
                        text,
                    } = sign
                        && conditions.iter().any(|kind| condition.kind == *kind)
                        && statuses.iter().any(|status| condition.status == *status)
                        && text.is_match(condition.message.as_deref().unwrap_or_default())
                    {
                        self.add(failure, Tier::Node, place, line.clone());
                    }
                }
                // `AcceleratedHardwareReady=False` reports trouble as `KernelDeadlock=True` does.
                let reports = if condition.kind.ends_with("Ready") {
                    condition.kind != "Ready" && condition.status == "False"
                } else {
                    condition.status == "True"
                };
                if reports {
                    self.kernel(&line, place);
                }
            }
            let asks_gpus = evidence
                .pods
                .iter()
                .any(|pod| pod.gpus > 0.0 && pod.node.as_deref() == Some(&node.name));
            if asks_gpus
                && node.allocatable_gpus < node.capacity_gpus
                && let Some(failure) = self.knowledge.index("gpu_count_mismatch")
            {
                let place = Place {
                    source: "node",
                    node: Some(&node.name),
                    ..Place::default()
                };
                let line = format!(
                    "{} offers {} of its {} GPUs",
                    node.name, node.allocatable_gpus, node.capacity_gpus
                );
                self.add(failure, Tier::Node, place, line);
            }
        }
    }

    /// Kernel text of a node: signatures and Xids.
    pub(super) fn kernel(&mut self, line: &str, place: Place<'_>) {
        self.text(TextPlace::Kernel, line, Tier::Node, place, line);
        for code in logs::xids(line) {
            if let Some(failure) = self.knowledge.xid(code) {
                // A GPU that needs a reset stays broken for whoever comes next.
                let stays = self.knowledge.failures()[failure].node == Some(NodeNeed::Out);
                let place = Place {
                    weak: place.weak && !stays,
                    ..place
                };
                self.add(failure, Tier::Node, place, line.to_owned());
            }
        }
    }
}
