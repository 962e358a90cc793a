//! Sentences that place a failure: where it began, what became of the rest, what the driver asks for.

use std::collections::BTreeSet;

use crate::diagnose::analyze::{Case, First};
use crate::diagnose::hit::Hit;
use crate::diagnose::knowledge::Failure;

/// Where and when it was first seen.
pub(super) fn where_first(case: &Case<'_>, first: &First, row: &Failure) -> Option<String> {
    let pod = first.pod.as_ref()?;
    if case.evidence.pods.len() < 2 && first.rank.is_none() && row.node.is_none() {
        return None;
    }
    let rank = first
        .rank
        .map(|rank| format!(" (rank {rank})"))
        .unwrap_or_default();
    let node = first
        .node
        .as_ref()
        .map(|node| format!(" on node {node}"))
        .unwrap_or_default();
    let at = first
        .at
        .map(|at| format!(" at {}", at.strftime("%H:%M:%S UTC")))
        .unwrap_or_default();
    Some(format!("It failed first in pod {pod}{rank}{node}{at}."))
}

/// How the rest of the gang ended.
pub(super) fn rest_of_gang(case: &Case<'_>, first: &First) -> Option<String> {
    let pod = first.pod.as_ref()?;
    let others: BTreeSet<&str> = case
        .deaths
        .iter()
        .map(|death| death.pod.name.as_str())
        .filter(|name| name != pod)
        .collect();
    match others.len() {
        0 => None,
        1 => Some("One other pod ended after it.".to_owned()),
        more => Some(format!("{more} other pods ended after it.")),
    }
}

/// Xid 154 names the action that the GPU needs.
pub(super) fn recovery_action(row: &Failure, hits: &[&Hit]) -> Option<String> {
    if row.id != "xid_154" {
        return None;
    }
    let text = hits.first()?.line.to_ascii_lowercase();
    let action = [
        ("node reboot", "The driver asks for a reboot of the node."),
        (
            "drain and reset",
            "The driver asks for the node to be drained and the GPU reset.",
        ),
        (
            "drain p2p",
            "The driver asks for peer-to-peer work to be drained.",
        ),
        ("gpu reset", "The driver asks for a reset of the GPU."),
    ];
    action
        .iter()
        .find(|(words, _)| text.contains(words))
        .map(|(_, sentence)| (*sentence).to_owned())
}
