//! From evidence to a diagnosis. Pure and deterministic, in these steps:
//!
//! 1. *observe*: what states, nodes and logs say becomes hits of rows of the knowledge ([`facts`], [`observe`], [`rules`]);
//! 2. *attribute*: which pod, node and rank failed first ([`first`], [`ranks`]);
//! 3. *excuse*: whether a life-cycle event explains it all ([`lifecycle`]);
//! 4. *weigh*: which hit near the first failure explains the others ([`cause`], [`weigh`]);
//! 5. *explain*: the findings in words, with their evidence ([`finding`]).

mod cause;
mod first;
mod lifecycle;
mod observe;
mod ranks;
mod weigh;

use jiff::SignedDuration;

pub(super) use self::first::First;
use super::hit::Hit;
use super::knowledge::{Failure, Knowledge};
use super::logs::{CollectiveTimeout, FirstObserved};
use super::standing::{Death, Standing, deaths, standing};
use super::{Diagnosis, Evidence, Verdict, exporters, facts, finding, rules};
use crate::estate::Phase;

/// Ends within this time of an expected event belong to it.
const TEARDOWN: SignedDuration = SignedDuration::from_mins(2);
/// A wait that is younger needs no explanation.
const YOUNG: SignedDuration = SignedDuration::from_mins(5);

/// Why the job failed, is blocked, or is not failing at all.
#[must_use]
pub fn analyze(evidence: &Evidence, knowledge: &Knowledge) -> Diagnosis {
    let mut diagnosis = Case::observe(evidence, knowledge).diagnose();
    diagnosis.course = super::course::course(evidence, &diagnosis);
    diagnosis
}

/// All that was found, before it is weighed.
pub(super) struct Case<'a> {
    pub(super) evidence: &'a Evidence,
    pub(super) knowledge: &'a Knowledge,
    pub(super) standing: Standing,
    pub(super) hits: Vec<Hit>,
    pub(super) deaths: Vec<Death<'a>>,
    timeouts: Vec<CollectiveTimeout>,
    first_observed: Option<FirstObserved>,
    /// Global ranks that prefixes of log lines name.
    ranks: Vec<u32>,
}

impl<'a> Case<'a> {
    fn observe(evidence: &'a Evidence, knowledge: &'a Knowledge) -> Self {
        let standing = standing(evidence);
        let read = observe::read_logs(evidence, knowledge, standing);
        let mut hits = facts::hits(evidence, knowledge);
        hits.extend(exporters::hits(evidence, knowledge));
        hits.extend(rules::hits(evidence, knowledge, standing, &hits));
        hits.extend(read.hits);
        observe::demote_covered(&mut hits, knowledge);
        Self {
            evidence,
            knowledge,
            standing,
            hits,
            deaths: deaths(evidence),
            timeouts: read.timeouts,
            first_observed: read.first_observed,
            ranks: read.ranks,
        }
    }

    pub(super) fn row(&self, hit: &Hit) -> &'a Failure {
        &self.knowledge.failures()[hit.failure]
    }

    fn diagnose(&self) -> Diagnosis {
        let first = self.first();
        let expected = self.expected();
        let root = match expected {
            Some(_) => None,
            None => self.root(&first),
        };
        let state = match (&root, expected, self.standing) {
            (Some(_), _, _) => Verdict::Failing,
            (None, Some(_), _) | (None, None, Standing::Completed) => Verdict::Expected,
            (None, None, Standing::Well | Standing::Starting) => Verdict::Healthy,
            (None, None, Standing::Troubled) => self.unexplained(),
        };
        finding::diagnosis(self, state, root, expected, &first)
    }

    /// Troubled, but nothing fits: only a wait that is young or partial is no failure.
    fn unexplained(&self) -> Verdict {
        let deleting = matches!(
            self.evidence
                .workload
                .as_ref()
                .map(|workload| &workload.phase),
            Some(Phase::Deleting | Phase::Terminating)
        );
        let young_wait = !self.evidence.pods.is_empty()
            && self.deaths.is_empty()
            && self.evidence.pods.iter().all(|pod| {
                matches!(pod.phase.as_str(), "Pending" | "Running" | "Succeeded")
                    && self.evidence.collected.duration_since(pod.created) < YOUNG
            });
        if self.is_named("partial_gang") || deleting || young_wait {
            Verdict::Expected
        } else {
            Verdict::Failing
        }
    }

    /// The row of this id was found.
    fn is_named(&self, id: &str) -> bool {
        self.hits
            .iter()
            .any(|hit| !hit.weak && self.row(hit).id == id)
    }
}
