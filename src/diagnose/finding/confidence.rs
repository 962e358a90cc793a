//! How sure a finding is, from the kinds of evidence behind it.

use crate::diagnose::Role;
use crate::diagnose::analyze::{Case, First};
use crate::diagnose::hit::{Hit, Tier};
use crate::diagnose::knowledge::Failure;

pub(super) fn confidence(case: &Case<'_>, row: &Failure, hits: &[&Hit], first: &First) -> f64 {
    /// What each missing piece of evidence costs.
    const MISSING_COST: f64 = 0.05;
    let strongest = hits.iter().map(|hit| (hit.weak, hit.tier)).min();
    let died = case
        .deaths
        .iter()
        .any(|death| Some(&death.pod.name) == first.pod.as_ref() && !death.is_teardown());
    let base: f64 = match strongest {
        Some((true, _)) => 0.45,
        Some((false, Tier::State)) if row.id == "image_pull_backoff" => 0.6,
        Some((false, Tier::State)) if row.weight >= 50 => 0.97,
        Some((false, Tier::State)) if row.weight >= 30 => 0.85,
        Some((false, Tier::State)) => 0.55,
        // A conclusion from other jobs, not a report of the node.
        Some((false, Tier::Node)) if row.id == "bad_node_many_jobs" => 0.7,
        Some((false, Tier::Node)) => 0.95,
        Some((false, Tier::Log)) if row.role != Role::Root => 0.65,
        Some((false, Tier::Log)) => match (row.weight, died) {
            (0..=30, true) => 0.75,
            (0..=30, false) => 0.6,
            (_, true) => 0.92,
            (_, false) => 0.8,
        },
        Some((false, Tier::Exit)) if row.weight >= 50 => 0.5,
        Some((false, Tier::Exit)) | None => 0.4,
    };
    let missing = u32::try_from(case.evidence.missing.len().min(4)).unwrap_or(4);
    let cost = match strongest {
        // What is stated outright stays so, whatever else could not be read.
        Some((false, Tier::State | Tier::Node)) => 0.0,
        Some((_, Tier::State | Tier::Node | Tier::Log | Tier::Exit)) | None => {
            MISSING_COST * f64::from(missing)
        }
    };
    ((base - cost).clamp(0.1, 0.99) * 100.0).round() / 100.0
}

/// Less sure, because another cause is possible as well.
pub(super) fn doubted(confidence: f64) -> f64 {
    ((confidence * 0.75) * 100.0).round() / 100.0
}
