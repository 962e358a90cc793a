//! Runbooks: procedures as files, checked before they are used, and run step by step under the gate.
//!
//! [`check`](check::check) reads a file and tells every mistake with its place; [`Library`] holds what is shipped and
//! what a folder adds.

pub mod check;
pub mod library;
mod load;
pub mod model;
pub mod schedule;
pub mod template;
pub mod told;
mod yaml;

use std::collections::BTreeSet;

pub use check::{Checked, Known};
pub use library::{Entry, Library, Unusable};
pub use model::Runbook;
pub use yaml::{At, Mistake};

use crate::diagnose::knowledge::{Knowledge, sections};

/// The ids that a `cause` trigger may name.
#[must_use]
pub fn known_causes(knowledge: &Knowledge) -> BTreeSet<String> {
    let listed = sections()
        .into_iter()
        .flat_map(|(_, ids)| ids)
        .map(str::to_owned);
    let loaded = knowledge
        .failures()
        .iter()
        .map(|failure| failure.id.clone());
    listed.chain(loaded).collect()
}

#[cfg(test)]
mod tests;
