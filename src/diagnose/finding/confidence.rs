//! How sure a finding is, from the kinds of evidence behind it: what a platform states outright, then what a node
//! reports, then a signature in a log, then an exit code. The numbers are set so that they come true on the shipped
//! cases (`nightbell evaluate diagnosis` prints how often), rounded towards doubt.

use crate::diagnose::Role;
use crate::diagnose::analyze::{Case, First};
use crate::diagnose::exporters::MEASURED;
use crate::diagnose::hit::{Hit, Tier};
use crate::diagnose::knowledge::Failure;
use crate::diagnose::standing::Standing;

/// Just below what lets an automatic remedy run unasked.
const ASKS: f64 = 0.74;

#[allow(clippy::match_same_arms, reason = "each arm is a judgement of its own")]
pub(super) fn confidence(case: &Case<'_>, row: &Failure, hits: &[&Hit], first: &First) -> f64 {
    /// What each missing piece of evidence costs.
    const MISSING_COST: f64 = 0.05;
    let strongest = hits.iter().map(|hit| (hit.weak, hit.tier)).min();
    let measured = hits
        .iter()
        .filter(|hit| !hit.weak && hit.tier == Tier::State)
        .all(|hit| hit.source == MEASURED);
    let died = case
        .deaths
        .iter()
        .any(|death| Some(&death.pod.name) == first.pod.as_ref() && !death.is_teardown());
    let base: f64 = match strongest {
        Some((true, _)) => 0.5,
        // Concluded from numbers that are up to a minute old.
        Some((false, Tier::State)) if measured => 0.85,
        Some((false, Tier::State)) if row.id == "image_pull_backoff" => 0.6,
        Some((false, Tier::State)) if row.weight >= 50 => 0.98,
        Some((false, Tier::State)) if row.weight >= 30 => 0.92,
        Some((false, Tier::State)) => 0.8,
        // A conclusion from other jobs, not a report of the node.
        Some((false, Tier::Node)) if row.id == "bad_node_many_jobs" => 0.75,
        Some((false, Tier::Node)) => 0.97,
        // A symptom stands for its cause only because nothing better was found: nobody should act on it unasked.
        Some((false, Tier::Log)) if row.role != Role::Root => ASKS,
        Some((false, Tier::Log)) => match (row.weight, died) {
            (0..=30, true) => 0.9,
            (0..=30, false) => 0.75,
            (_, true) => 0.95,
            (_, false) => 0.87,
        },
        // The weakest evidence: many things end a program with the same code.
        Some((false, Tier::Exit)) | None => 0.5,
    };
    // How sure a silence is depends on what else is known of it.
    let stated = (case.standing == Standing::Well)
        .then(|| crate::diagnose::silent::of(case.evidence))
        .into_iter()
        .flatten()
        .find(|silence| silence.cause == row.id);
    let base = stated.map_or(base, |silence| base.min(silence.confidence));
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

/// Less sure, because another cause is possible as well: whatever the remedy, somebody is asked.
pub(super) fn doubted(confidence: f64) -> f64 {
    confidence.min(ASKS)
}
