//! Sentences that place a failure: where it began, what became of the rest, what the driver asks for.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use crate::diagnose::analyze::{Case, First};
use crate::diagnose::hit::Hit;
use crate::diagnose::knowledge::Failure;
use crate::diagnose::rules::spoken;
use crate::diagnose::surroundings::{ChangeKind, QuotaKind};

/// A change this long before a failure may have to do with it.
const SUSPECT: SignedDuration = SignedDuration::from_hours(1);
/// Quotas told of a wait.
const QUOTAS: usize = 2;

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

/// What was changed shortly before the first failure: the newest roll-out, else the newest other change.
pub(super) fn changed(case: &Case<'_>, first: &First) -> Option<String> {
    let ends = case
        .deaths
        .iter()
        .filter_map(crate::diagnose::standing::Death::at);
    let failed = first.at.or_else(|| ends.min())?;
    let change = case
        .evidence
        .surroundings
        .changes
        .iter()
        .filter(|change| change.at <= failed && failed.duration_since(change.at) <= SUSPECT)
        .max_by_key(|change| (change.kind == ChangeKind::Rollout, change.at))?;
    let before = spoken(failed.duration_since(change.at));
    Some(match change.kind {
        ChangeKind::Rollout => format!(
            "{} was rolled out {before} before the first failure ({}).",
            change.object, change.told
        ),
        ChangeKind::Configuration | ChangeKind::Secret => format!(
            "{} was {} {before} before the first failure.",
            change.object, change.told
        ),
    })
}

/// The numbers of the quotas that stand over a job that waits for its share.
pub(super) fn quotas(case: &Case<'_>, row: &Failure) -> Option<String> {
    let of_queues = matches!(
        row.id.as_str(),
        "nonpreemptible_over_quota"
            | "over_limit"
            | "insufficient_gpus"
            | "long_pending"
            | "scheduling_gated"
    );
    let of_namespace = row.id == "resource_quota_exceeded";
    let told: Vec<String> = case
        .evidence
        .surroundings
        .quotas
        .iter()
        .filter(|quota| match quota.kind {
            QuotaKind::ResourceQuota => {
                of_namespace
                    && quota
                        .used
                        .zip(quota.limit)
                        .is_some_and(|(used, limit)| used >= limit)
            }
            QuotaKind::KaiQueue | QuotaKind::KueueClusterQueue => {
                of_queues
                    && quota.resource.ends_with("gpu")
                    && quota.limit.or(quota.deserved).is_some()
            }
        })
        .take(QUOTAS)
        .map(crate::diagnose::surroundings::Quota::told)
        .collect();
    let sentence = format!("{}.", told.join("; "));
    let mut chars = sentence.chars();
    let head = chars.next().filter(|_| !told.is_empty())?;
    Some(head.to_uppercase().chain(chars).collect())
}
