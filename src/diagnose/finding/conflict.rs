//! Two causes that do not explain each other: the doubt is said, with what would settle it.

use crate::diagnose::Role;
use crate::diagnose::analyze::{Case, First};
use crate::diagnose::hit::{Hit, Tier};
use crate::diagnose::knowledge::Failure;

/// A row of at most this weight says too little to stand against another.
const TELLING: u8 = 44;
/// A rival that says this much less is no rival.
const GAP: u8 = 20;

/// The strongest other cause near the first failure that the chosen one does not explain.
pub(super) fn rival<'a>(case: &'a Case<'_>, chosen: usize, first: &First) -> Option<&'a Failure> {
    let row = &case.knowledge.failures()[chosen];
    let tier = tier_of(case, chosen)?;
    case.hits
        .iter()
        .filter(|hit| {
            let other = case.row(hit);
            !hit.weak
                && hit.failure != chosen
                && other.role == Role::Root
                && other.weight > TELLING
                && other.weight + GAP > row.weight
                // What the platform states outright is not in doubt for a line in a log.
                && (tier >= Tier::Node || hit.tier == Tier::State)
                && hit.tier <= Tier::Log
                && Case::is_near(hit, first)
                && !explains(row, other)
                && !explains(other, row)
        })
        .max_by_key(|hit| case.row(hit).weight)
        .map(|hit| case.row(hit))
}

/// The doubt in words.
pub(super) fn sentence(case: &Case<'_>, chosen: usize, rival: &Failure) -> String {
    let row = &case.knowledge.failures()[chosen];
    let test = match (row.hardware, rival.hardware) {
        (true, false) | (false, true) => {
            "A run on another node would tell them apart: a fault of the node stays behind, a fault of the job comes along."
        }
        (true, true) => "The node's kernel log around that time would tell them apart.",
        (false, false) => {
            "Which of the two came first would tell them apart: compare their times in the log and in the events."
        }
    };
    format!(
        "Two causes are possible: {} and {}. {test}",
        quoted(&row.title),
        quoted(&rival.title)
    )
}

fn tier_of(case: &Case<'_>, failure: usize) -> Option<Tier> {
    let strong = |hit: &&Hit| hit.failure == failure && !hit.weak;
    case.hits.iter().filter(strong).map(|hit| hit.tier).min()
}

fn explains(row: &Failure, other: &Failure) -> bool {
    row.over.contains(&other.id)
        || other.see.contains(&row.id)
        // What the kernel names of a GPU is the reason for what CUDA or the node's inventory then says of it.
        || (names_an_xid(row) && other.hardware && !names_an_xid(other))
}

fn names_an_xid(row: &Failure) -> bool {
    row.id.starts_with("xid_") || row.id == "sxid"
}

fn quoted(title: &str) -> String {
    format!("“{title}”")
}
