//! The pod, node and rank that failed first.
//! Every pod that ended badly, is in trouble or stands on a faulty node is a suspect; the earliest that ended by itself leads.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::Case;
use crate::diagnose::hit::{Hit, Tier};
use crate::diagnose::logs::FirstObserved;
use crate::diagnose::standing::{Death, Standing};
use crate::diagnose::{FirstFailure, Role};
use crate::estate::Pod;

/// Who failed first, as far as it can be told.
#[derive(Clone, Debug, Default)]
pub(in crate::diagnose) struct First {
    pub(in crate::diagnose) pod: Option<String>,
    pub(in crate::diagnose) node: Option<String>,
    pub(in crate::diagnose) at: Option<Timestamp>,
    pub(in crate::diagnose) rank: Option<u32>,
}

impl First {
    /// As the contract has it, if a pod is known.
    pub(in crate::diagnose) fn failure(&self) -> Option<FirstFailure> {
        Some(FirstFailure {
            pod: self.pod.clone()?,
            rank: self.rank,
            node: self.node.clone(),
        })
    }
}

/// How a pod's end counts, the most telling first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    /// By itself.
    Own,
    /// By an abort that a peer may have caused.
    Abort,
    /// By being told to stop.
    Told,
}

/// A pod that may have failed first. The order of the fields is the order of suspicion.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Suspect<'a> {
    ending: Ending,
    at: Timestamp,
    unexplained: bool,
    rank: u32,
    pod: &'a str,
}

/// The strong hits of each pod.
type ByPod<'a> = HashMap<&'a str, Vec<&'a Hit>>;

impl Case<'_> {
    /// The pod, node and rank that failed first.
    pub(super) fn first(&self) -> First {
        match self.standing {
            Standing::Troubled => {}
            // A job that seems to run well can only be told from its node not to.
            Standing::Well => return self.first_on(&self.on_faulty_nodes()),
            Standing::Completed | Standing::Starting => return First::default(),
        }
        let mut by_pod = ByPod::new();
        for hit in self.hits.iter().filter(|hit| !hit.weak) {
            if let Some(pod) = &hit.pod {
                by_pod.entry(pod).or_default().push(hit);
            }
        }
        let mut suspects: Vec<Suspect<'_>> = self
            .deaths
            .iter()
            .map(|death| self.suspect(death, &by_pod))
            .collect();
        suspects.extend(self.in_trouble(&by_pod));
        suspects.extend(self.on_faulty_nodes());
        suspects.sort();
        let block = self
            .first_observed
            .as_ref()
            .filter(|block| block.exit_code != Some(-15));
        let late = self.late_rank();
        let Some(name) = self.choose(suspects.first(), block, late) else {
            return First::default();
        };
        let pod = self.pod(&name);
        let at = suspects
            .iter()
            .filter(|suspect| suspect.pod == name && suspect.at < Timestamp::MAX)
            .map(|suspect| suspect.at)
            .min();
        First {
            rank: self.rank_of(&name, pod, block, late),
            node: pod.and_then(|pod| pod.node.clone()),
            at,
            pod: Some(name),
        }
    }

    /// The first of the pods that their nodes make suspect, if any.
    fn first_on(&self, suspects: &[Suspect<'_>]) -> First {
        let Some(suspect) = suspects.iter().min() else {
            return First::default();
        };
        let pod = self.pod(suspect.pod);
        First {
            rank: self.rank_of(suspect.pod, pod, None, None),
            node: pod.and_then(|pod| pod.node.clone()),
            at: Some(suspect.at).filter(|at| *at < Timestamp::MAX),
            pod: Some(suspect.pod.to_owned()),
        }
    }

    /// A pod of which a container ended.
    fn suspect<'a>(&'a self, death: &Death<'a>, by_pod: &ByPod<'_>) -> Suspect<'a> {
        let hits = by_pod
            .get(death.pod.name.as_str())
            .map_or(&[][..], Vec::as_slice);
        let blames = |tiers: &[Tier]| {
            hits.iter()
                .any(|hit| self.row(hit).role == Role::Root && tiers.contains(&hit.tier))
        };
        let only_follows = !blames(&[Tier::Log])
            && hits
                .iter()
                .any(|hit| hit.tier == Tier::Log && self.row(hit).role == Role::Cascade);
        let ending = if blames(&[Tier::State, Tier::Node]) {
            Ending::Own
        } else if death.is_teardown() && !blames(&[Tier::Log]) {
            Ending::Told
        } else if only_follows || (death.end.exit_code == 134 && !blames(&[Tier::Log])) {
            Ending::Abort
        } else {
            Ending::Own
        };
        // The end of a container is known to the second; what its log says of the time is finer and earlier.
        let logged = hits
            .iter()
            .filter(|hit| hit.tier == Tier::Log && self.row(hit).role == Role::Root)
            .filter_map(|hit| hit.at)
            .min();
        let at = match (logged, death.at()) {
            (Some(logged), Some(ended)) => logged.min(ended),
            (Some(at), None) | (None, Some(at)) => at,
            (None, None) => Timestamp::MAX,
        };
        Suspect {
            ending,
            at,
            unexplained: !blames(&[Tier::State, Tier::Node, Tier::Log]),
            rank: rank_or_last(death.pod),
            pod: &death.pod.name,
        }
    }

    /// Pods that have not ended, but are said to be in trouble; and those whose state names it outright.
    fn in_trouble<'a>(&'a self, by_pod: &ByPod<'a>) -> Vec<Suspect<'a>> {
        let died: HashSet<&str> = self
            .deaths
            .iter()
            .map(|death| death.pod.name.as_str())
            .collect();
        let mut suspects = Vec::new();
        for (pod, hits) in by_pod {
            for hit in hits {
                if self.row(hit).role == Role::Root
                    && hit.tier <= Tier::Log
                    && (!died.contains(pod) || hit.tier == Tier::State)
                {
                    suspects.push(Suspect {
                        ending: Ending::Own,
                        at: hit.at.unwrap_or(Timestamp::MAX),
                        unexplained: false,
                        rank: self.pod(pod).map_or(u32::MAX, rank_or_last),
                        pod,
                    });
                }
            }
        }
        suspects
    }

    /// A fault of a node takes the pods on it, whether or not they could still say so.
    fn on_faulty_nodes(&self) -> Vec<Suspect<'_>> {
        let mut suspects = Vec::new();
        for hit in self
            .hits
            .iter()
            .filter(|hit| !hit.weak && hit.tier == Tier::Node && hit.pod.is_none())
        {
            let row = self.row(hit);
            if hit.node.is_none()
                || row.role != Role::Root
                || !row.hardware
                || !self.is_admissible(hit)
            {
                continue;
            }
            for pod in self.evidence.pods.iter().filter(|pod| pod.node == hit.node) {
                let explained_otherwise = self.has_plain_cause(&pod.name)
                    && self
                        .deaths
                        .iter()
                        .any(|death| death.pod.name == pod.name && !death.is_teardown());
                if !explained_otherwise {
                    suspects.push(Suspect {
                        ending: Ending::Own,
                        at: hit.at.unwrap_or(Timestamp::MAX),
                        unexplained: false,
                        rank: rank_or_last(pod),
                        pod: &pod.name,
                    });
                }
            }
        }
        suspects
    }

    /// The leading suspect, unless the reports of the ranks or of torchrun know better.
    fn choose(
        &self,
        leading: Option<&Suspect<'_>>,
        block: Option<&FirstObserved>,
        late: Option<u32>,
    ) -> Option<String> {
        let by_itself = leading.is_some_and(|suspect| suspect.ending == Ending::Own);
        let mut pod = leading.map(|suspect| suspect.pod);
        // When all that is known of the ends is that they follow, the reports of the ranks tell who was late.
        if leading.is_some()
            && !by_itself
            && let Some(of_rank) = late.and_then(|late| self.pod_of_rank(late))
        {
            pod = Some(&of_rank.name);
        }
        let named_by_block = block
            .and_then(|block| block.host.as_deref())
            .and_then(|host| {
                self.evidence
                    .pods
                    .iter()
                    .find(|pod| pod.name == host || host.starts_with(&format!("{}.", pod.name)))
            });
        if let Some(of_block) = named_by_block
            && (!by_itself
                || (leading.is_some_and(|suspect| suspect.unexplained)
                    && !self.was_torn_down(of_block)))
        {
            pod = Some(&of_block.name);
        }
        pod.map(str::to_owned)
    }

    fn was_torn_down(&self, pod: &Pod) -> bool {
        self.deaths
            .iter()
            .any(|death| death.pod.name == pod.name && death.is_teardown())
    }

    /// The pod's log blames an ordinary cause, which no node explains.
    fn has_plain_cause(&self, pod: &str) -> bool {
        self.hits.iter().any(|hit| {
            let row = self.row(hit);
            hit.pod.as_deref() == Some(pod)
                && !hit.weak
                && hit.tier == Tier::Log
                && row.role == Role::Root
                && !row.hardware
                && row.weight > 30
        })
    }

    fn pod(&self, name: &str) -> Option<&Pod> {
        self.evidence.pods.iter().find(|pod| pod.name == name)
    }
}

fn rank_or_last(pod: &Pod) -> u32 {
    pod.rank.unwrap_or(u32::MAX)
}
