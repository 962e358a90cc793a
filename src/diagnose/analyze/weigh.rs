//! Of several things found near the first failure, the one that explains the others.

use std::collections::HashSet;

use jiff::Timestamp;

use super::{Case, First, TEARDOWN};
use crate::diagnose::Role;
use crate::diagnose::hit::{Hit, Tier};
use crate::estate::ContainerState;

/// A fault of a node of this weight explains whatever exception came of it.
const GRAVE: u8 = 70;

impl Case<'_> {
    /// A report of a node counts for this run if it is no older than the pods on it.
    pub(super) fn is_of_this_run(&self, hit: &Hit) -> bool {
        let started = self
            .evidence
            .pods
            .iter()
            .filter(|pod| pod.node == hit.node)
            .flat_map(|pod| &pod.containers)
            .filter_map(|container| match &container.state {
                ContainerState::Running { started } => *started,
                ContainerState::Waiting { .. }
                | ContainerState::Terminated(_)
                | ContainerState::Unknown => None,
            })
            .min();
        match (hit.at, started) {
            (Some(at), Some(started)) => at >= started,
            (Some(_) | None, Some(_) | None) => true,
        }
    }

    /// Of the first failing pod, its node, or the job as a whole.
    pub(in crate::diagnose) fn is_near(hit: &Hit, first: &First) -> bool {
        let Some(pod) = &first.pod else { return true };
        match (&hit.pod, &hit.node) {
            (Some(of), _) => of == pod,
            (None, Some(node)) => first.node.as_ref() == Some(node) && Self::in_time(hit, first),
            (None, None) => true,
        }
    }

    /// A node's trouble that began well after the end is not what caused it.
    fn in_time(hit: &Hit, first: &First) -> bool {
        match (hit.at, first.at) {
            (Some(at), Some(failed)) => at.duration_since(failed) < TEARDOWN,
            (Some(_) | None, Some(_) | None) => true,
        }
    }

    /// The hit that explains the others.
    pub(super) fn best<'h>(&self, hits: &[&'h Hit], first: &First) -> Option<&'h Hit> {
        let ids: HashSet<&str> = hits.iter().map(|hit| self.row(hit).id.as_str()).collect();
        let explained: HashSet<&str> = hits
            .iter()
            .flat_map(|hit| {
                self.row(hit)
                    .over
                    .iter()
                    .map(move |over| (over.as_str(), self.row(hit).id.as_str()))
            })
            // Two rows that explain each other would both vanish.
            .filter(|(over, by)| {
                ids.contains(over)
                    && !self
                        .knowledge
                        .failure(over)
                        .is_some_and(|row| row.over.iter().any(|id| id == by))
            })
            .map(|(over, _)| over)
            .collect();
        let plain = hits.iter().any(|hit| {
            let row = self.row(hit);
            hit.tier == Tier::Log && !hit.weak && !row.hardware && row.weight > 30
        });
        let python = hits
            .iter()
            .any(|hit| hit.tier == Tier::Log && hit.fatal && is_of_the_program(&hit.line));
        hits.iter()
            .copied()
            .filter(|hit| !explained.contains(self.row(hit).id.as_str()))
            .min_by_key(|hit| {
                let row = self.row(hit);
                let generic = row.weight <= 30;
                let place = match hit.tier {
                    // The deadline ends what crashed until then; the crash is the cause.
                    Tier::State
                        if row.id == "deadline_exceeded" && self.crashed_by_itself(first) =>
                    {
                        5
                    }
                    Tier::State if generic => 4,
                    Tier::State => 0,
                    Tier::Node if plain || (python && row.weight < GRAVE) => 3,
                    Tier::Node => 1,
                    Tier::Log if generic => 3,
                    Tier::Log => 2,
                    Tier::Exit if row.weight > 30 => 3,
                    Tier::Exit => 6,
                };
                (
                    place,
                    std::cmp::Reverse(u8::from(hit.fatal)),
                    // Node and state facts have no order in time that could be trusted below their weight.
                    if hit.tier <= Tier::Node {
                        100 - row.weight
                    } else {
                        0
                    },
                    hit.at.unwrap_or(Timestamp::MAX),
                    hit.order,
                    100 - row.weight,
                    hit.failure,
                )
            })
    }

    fn crashed_by_itself(&self, first: &First) -> bool {
        self.deaths
            .iter()
            .any(|death| !death.is_teardown() && Some(&death.pod.name) == first.pod.as_ref())
            && self.hits.iter().any(|hit| {
                !hit.weak
                    && hit.tier <= Tier::Log
                    && hit.pod == first.pod
                    && hit.pod.is_some()
                    && self.row(hit).role == Role::Root
            })
    }
}

/// Exceptions of the program's own logic, which no fault of a GPU raises.
fn is_of_the_program(line: &str) -> bool {
    [
        "AttributeError",
        "NameError",
        "TypeError",
        "KeyError",
        "ImportError",
    ]
    .iter()
    .any(|name| line.contains(name))
}
