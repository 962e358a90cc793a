//! From evidence to a diagnosis: who failed first, what of all that was found is the cause, and what only follows.
//! Pure and deterministic.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use super::hit::{Hit, Tier};
use super::knowledge::{Failure, Knowledge};
use super::logs::{CollectiveTimeout, FirstObserved, LogReading};
use super::standing::{Death, Standing, deaths, standing};
use super::{Diagnosis, Evidence, FirstFailure, Role, Verdict, facts, finding, logs, rules};
use crate::estate::{ContainerState, Phase, Pod};

/// Ends within this time of an expected event belong to it.
const TEARDOWN: SignedDuration = SignedDuration::from_mins(2);

/// Why the job failed, is blocked, or is not failing at all.
#[must_use]
pub fn analyze(evidence: &Evidence, knowledge: &Knowledge) -> Diagnosis {
    let standing = standing(evidence);
    let read = read_logs(evidence, knowledge, standing);
    let mut hits = facts::hits(evidence, knowledge);
    hits.extend(rules::hits(evidence, knowledge, standing, &hits));
    hits.extend(read.hits);
    demote_covered(&mut hits, knowledge);
    let deaths = deaths(evidence);
    let case = Case {
        evidence,
        knowledge,
        standing,
        hits,
        deaths,
        timeouts: read.timeouts,
        first_observed: read.first_observed,
        ranks: read.ranks,
    };
    case.diagnose()
}

/// All that was found, before it is weighed.
pub(super) struct Case<'a> {
    pub(super) evidence: &'a Evidence,
    pub(super) knowledge: &'a Knowledge,
    pub(super) standing: Standing,
    pub(super) hits: Vec<Hit>,
    pub(super) deaths: Vec<Death<'a>>,
    pub(super) timeouts: Vec<CollectiveTimeout>,
    pub(super) first_observed: Option<FirstObserved>,
    pub(super) ranks: Vec<u32>,
}

/// Who failed first, as far as it can be told.
#[derive(Clone, Debug, Default)]
pub(super) struct First {
    pub(super) pod: Option<String>,
    pub(super) node: Option<String>,
    pub(super) at: Option<Timestamp>,
    pub(super) rank: Option<u32>,
}

impl First {
    /// As the contract has it, if a pod is known.
    pub(super) fn failure(&self) -> Option<FirstFailure> {
        Some(FirstFailure {
            pod: self.pod.clone()?,
            rank: self.rank,
            node: self.node.clone(),
        })
    }
}

/// Reads the logs of the containers that matter: of a pod in which something died, those that died.
fn read_logs(evidence: &Evidence, knowledge: &Knowledge, standing: Standing) -> LogReading {
    let mut all = LogReading::default();
    if matches!(
        standing,
        Standing::Well | Standing::Completed | Standing::Starting
    ) {
        return all;
    }
    let dead: HashSet<(&str, &str)> = deaths(evidence)
        .iter()
        .map(|death| (death.pod.name.as_str(), death.container.name.as_str()))
        .collect();
    let dead_pods: HashSet<&str> = dead.iter().map(|(pod, _)| *pod).collect();
    let pods: HashMap<&str, &Pod> = evidence
        .pods
        .iter()
        .map(|pod| (pod.name.as_str(), pod))
        .collect();
    for log in &evidence.logs {
        let pod = pods.get(log.pod.as_str()).copied();
        let matters = if dead_pods.contains(log.pod.as_str()) {
            dead.contains(&(log.pod.as_str(), log.container.as_str()))
        } else {
            pod.is_none_or(|pod| {
                pod.containers
                    .iter()
                    .find(|container| container.name == log.container)
                    .is_none_or(|container| {
                        !super::standing::is_sidecar(container) && !container.init
                    })
            })
        };
        if !matters {
            continue;
        }
        let mut reading = logs::read(log, pod.and_then(|pod| pod.node.as_deref()), knowledge);
        // A pod that still runs has not failed; what it logs can follow from a peer, or be of no account.
        let runs =
            pod.is_some_and(super::standing::is_ready) && !dead_pods.contains(log.pod.as_str());
        if runs && dead_pods.len() + usize::from(evidence.pods.len() > 1) > 1 {
            for hit in &mut reading.hits {
                hit.weak |= knowledge.failures()[hit.failure].role == Role::Root;
            }
        }
        all.hits.append(&mut reading.hits);
        all.timeouts.append(&mut reading.timeouts);
        all.ranks.append(&mut reading.ranks);
        let earlier = match (&all.first_observed, &reading.first_observed) {
            (_, None) => false,
            (None, Some(_)) => true,
            // SIGTERM is what torchrun sends to the others.
            (Some(kept), Some(new)) => {
                (new.exit_code == Some(-15), new.at.unwrap_or(Timestamp::MAX))
                    < (
                        kept.exit_code == Some(-15),
                        kept.at.unwrap_or(Timestamp::MAX),
                    )
            }
        };
        if earlier {
            all.first_observed = reading.first_observed;
        }
    }
    all
}

/// An exception whose line, or a line before it in the same log, says that it only follows from a peer is no cause.
fn demote_covered(hits: &mut [Hit], knowledge: &Knowledge) {
    /// Pod, container and source of a log.
    type Place = (Option<String>, Option<String>, &'static str);
    /// Rows below this weight only summarize, and cover nothing but their own line.
    const TELLING: u8 = 28;
    let row = |hit: &Hit| &knowledge.failures()[hit.failure];
    let mut follows: HashMap<Place, Vec<(usize, u8)>> = HashMap::new();
    for hit in hits.iter().filter(|hit| hit.tier == Tier::Log && !hit.weak) {
        if row(hit).role == Role::Cascade {
            let place = (hit.pod.clone(), hit.container.clone(), hit.source);
            follows
                .entry(place)
                .or_default()
                .push((hit.order, row(hit).weight));
        }
    }
    for hit in hits
        .iter_mut()
        .filter(|hit| hit.tier == Tier::Log && !hit.weak)
    {
        let row = row(hit);
        if row.role == Role::Root && row.weight <= 30 {
            let place = (hit.pod.clone(), hit.container.clone(), hit.source);
            hit.weak = follows.get(&place).is_some_and(|lines| {
                lines.iter().any(|(order, weight)| {
                    *order == hit.order || (*order < hit.order && *weight >= TELLING)
                })
            });
        }
    }
}

impl Case<'_> {
    pub(super) fn row(&self, hit: &Hit) -> &Failure {
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
        let waits_only = self
            .hits
            .iter()
            .any(|hit| !hit.weak && self.row(hit).id == "partial_gang");
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
                    && self.evidence.collected.duration_since(pod.created)
                        < SignedDuration::from_mins(5)
            });
        if waits_only || deleting || young_wait {
            Verdict::Expected
        } else {
            Verdict::Failing
        }
    }

    /// The life-cycle event that explains how the job stands, if one does.
    fn expected(&self) -> Option<usize> {
        if self.standing == Standing::Well || self.standing == Standing::Starting {
            return None;
        }
        let best = self
            .hits
            .iter()
            .filter(|hit| {
                !hit.weak
                    && self.row(hit).role == Role::Expected
                    && self.row(hit).id != "partial_gang"
            })
            .max_by_key(|hit| (self.row(hit).weight, hit.at))?;
        let row = self.row(best);
        let overridden = self.hits.iter().any(|hit| {
            let other = self.row(hit);
            !hit.weak && other.role == Role::Root && other.over.contains(&row.id)
        });
        if overridden || self.named("repeated_preemption") {
            return None;
        }
        if row.id == "runai_stopped" {
            return Some(best.failure);
        }
        // Ctrl-C in a log is how many programs take a SIGTERM; it explains nothing if something else failed.
        let says = |hit: &&Hit| {
            let row = self.row(hit);
            !hit.weak && row.role == Role::Root && !row_waits(row) && hit.tier != Tier::Exit
        };
        let since = self.latest_of(best.failure);
        let fails = self.hits.iter().filter(says).any(|hit| {
            if best.tier == Tier::Log
                && hit.tier == Tier::Log
                && hit.pod == best.pod
                && hit.container == best.container
            {
                return self.row(hit).weight > 22;
            }
            match (hit.at, since) {
                (Some(hit_at), Some(since)) => {
                    let own_end = self.deaths.iter().any(|death| {
                        Some(&death.pod.name) == hit.pod.as_ref()
                            && death.at().is_some_and(|at| at < since)
                    });
                    hit_at.duration_since(since) > TEARDOWN || own_end
                }
                (Some(_) | None, Some(_) | None) => hit.tier != Tier::Log || best.tier == Tier::Log,
            }
        });
        let own_death_after = self.deaths.iter().any(|death| {
            !death.is_teardown()
                && death.end.exit_code != 130
                && match (death.at(), since) {
                    (Some(at), Some(since)) => at.duration_since(since) > TEARDOWN,
                    (Some(_) | None, Some(_) | None) => false,
                }
        });
        let explained = row.over.iter().any(|id| id == "node_not_ready");
        ((!fails && !own_death_after) || (explained && self.only_explained_by(row)))
            .then_some(best.failure)
    }

    fn only_explained_by(&self, row: &Failure) -> bool {
        self.hits
            .iter()
            .filter(|hit| !hit.weak && self.row(hit).role == Role::Root && hit.tier != Tier::Exit)
            .all(|hit| row.over.contains(&self.row(hit).id))
    }

    fn latest_of(&self, failure: usize) -> Option<Timestamp> {
        self.hits
            .iter()
            .filter(|hit| hit.failure == failure)
            .filter_map(|hit| hit.at)
            .max()
    }

    fn named(&self, id: &str) -> bool {
        self.hits
            .iter()
            .any(|hit| !hit.weak && self.row(hit).id == id)
    }

    /// The pod, node and rank that failed first.
    fn first(&self) -> First {
        // How a pod's end counts: by itself, by an abort that a peer may have caused, by being told to stop.
        const OWN: u8 = 0;
        const ABORT: u8 = 1;
        const TOLD: u8 = 2;
        if matches!(
            self.standing,
            Standing::Well | Standing::Completed | Standing::Starting
        ) {
            return First::default();
        }
        let mut strong: HashMap<&str, Vec<&Hit>> = HashMap::new();
        for hit in self.hits.iter().filter(|hit| !hit.weak) {
            if let Some(pod) = &hit.pod {
                strong.entry(pod).or_default().push(hit);
            }
        }
        let mut suspects: Vec<(u8, Timestamp, u8, u32, &str)> = Vec::new();
        let rank = |pod: &Pod| pod.rank.unwrap_or(u32::MAX);
        for death in &self.deaths {
            let of_pod = strong
                .get(death.pod.name.as_str())
                .map_or(&[][..], Vec::as_slice);
            let blames = |tier: &[Tier]| {
                of_pod
                    .iter()
                    .any(|hit| self.row(hit).role == Role::Root && tier.contains(&hit.tier))
            };
            let only_follows = !blames(&[Tier::Log])
                && of_pod
                    .iter()
                    .any(|hit| hit.tier == Tier::Log && self.row(hit).role == Role::Cascade);
            let class = if blames(&[Tier::State, Tier::Node]) {
                OWN
            } else if death.is_teardown() && !blames(&[Tier::Log]) {
                TOLD
            } else if only_follows || (matches!(death.end.exit_code, 134) && !blames(&[Tier::Log]))
            {
                ABORT
            } else {
                OWN
            };
            // The end of a container is known to the second; what its log says of the time is finer and earlier.
            let logged = of_pod
                .iter()
                .filter(|hit| hit.tier == Tier::Log && self.row(hit).role == Role::Root)
                .filter_map(|hit| hit.at)
                .min();
            let ended = death.at();
            let at = match (logged, ended) {
                (Some(logged), Some(ended)) => logged.min(ended),
                (Some(at), None) | (None, Some(at)) => at,
                (None, None) => Timestamp::MAX,
            };
            let explained = u8::from(!blames(&[Tier::State, Tier::Node, Tier::Log]));
            suspects.push((class, at, explained, rank(death.pod), &death.pod.name));
        }
        let died: HashSet<&str> = self
            .deaths
            .iter()
            .map(|death| death.pod.name.as_str())
            .collect();
        for (pod, hits) in &strong {
            for hit in hits {
                let row = self.row(hit);
                if row.role == Role::Root
                    && hit.tier <= Tier::Log
                    && (!died.contains(pod) || hit.tier == Tier::State)
                {
                    let rank = self.pod(pod).map_or(u32::MAX, rank);
                    suspects.push((OWN, hit.at.unwrap_or(Timestamp::MAX), 0, rank, pod));
                }
            }
        }
        // A fault of a node takes the pods on it, whether or not they could still say so.
        for hit in self
            .hits
            .iter()
            .filter(|hit| !hit.weak && hit.tier == Tier::Node && hit.pod.is_none())
        {
            let row = self.row(hit);
            let Some(node) = &hit.node else { continue };
            if row.role != Role::Root || !row.hardware {
                continue;
            }
            for pod in self
                .evidence
                .pods
                .iter()
                .filter(|pod| pod.node.as_ref() == Some(node))
            {
                let own = self
                    .deaths
                    .iter()
                    .find(|death| death.pod.name == pod.name && !death.is_teardown());
                let clear = own.is_some_and(|death| self.has_plain_cause(&death.pod.name));
                if !clear {
                    suspects.push((
                        OWN,
                        hit.at.unwrap_or(Timestamp::MAX),
                        0,
                        rank(pod),
                        &pod.name,
                    ));
                }
            }
        }
        suspects.sort();
        let block = self
            .first_observed
            .as_ref()
            .filter(|block| block.exit_code != Some(-15));
        let rank_of_timeout = self.late_rank();
        let chosen = suspects.first();
        // When all that is known of the ends is that they follow, the reports of the ranks tell who was late.
        let mut pod = chosen.map(|suspect| suspect.4.to_owned());
        if chosen.is_some_and(|suspect| suspect.0 != OWN)
            && let Some(late) = rank_of_timeout
            && let Some(of_rank) = self.pod_of_rank(late)
        {
            pod = Some(of_rank.name.clone());
        }
        let named_by_block = block
            .and_then(|block| block.host.as_deref())
            .and_then(|host| {
                self.evidence
                    .pods
                    .iter()
                    .find(|pod| pod.name == host || host.starts_with(&format!("{}.", pod.name)))
            });
        if chosen.is_none_or(|suspect| suspect.0 != OWN || suspect.2 == 1)
            && let Some(of_block) = named_by_block
            && !(chosen.is_some_and(|suspect| suspect.0 == OWN)
                && self
                    .deaths
                    .iter()
                    .any(|death| death.pod.name == of_block.name && death.is_teardown()))
        {
            pod = Some(of_block.name.clone());
        }
        let Some(name) = pod else {
            return First::default();
        };
        let pod = self.pod(&name);
        let at = suspects
            .iter()
            .filter(|suspect| suspect.4 == name && suspect.1 < Timestamp::MAX)
            .map(|suspect| suspect.1)
            .min();
        First {
            rank: self.rank_of(&name, pod, block, rank_of_timeout),
            node: pod.and_then(|pod| pod.node.clone()),
            at,
            pod: Some(name),
        }
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

    /// The global rank that failed in this pod.
    fn rank_of(
        &self,
        name: &str,
        pod: Option<&Pod>,
        block: Option<&FirstObserved>,
        late: Option<u32>,
    ) -> Option<u32> {
        let logged = self
            .hits
            .iter()
            .filter(|hit| {
                hit.pod.as_deref() == Some(name)
                    && !hit.weak
                    && hit.tier == Tier::Log
                    && hit.rank.is_some()
            })
            .min_by_key(|hit| (self.row(hit).role != Role::Root, hit.at, hit.order))
            .filter(|hit| self.row(hit).role == Role::Root);
        if let Some(hit) = logged {
            return hit.rank;
        }
        let per_pod = self.ranks_per_pod(pod);
        let pod_rank = pod.and_then(|pod| pod.rank);
        let within = |rank: u32| pod_rank.is_none_or(|pod| rank / per_pod.max(1) == pod);
        if let Some(rank) = block.and_then(|block| block.rank)
            && block
                .and_then(|block| block.host.as_deref())
                .is_none_or(|host| {
                    host == name || host.starts_with(&format!("{name}.")) || within(rank)
                })
        {
            return Some(rank);
        }
        if let Some(late) =
            late.filter(|late| self.pod_of_rank(*late).is_some_and(|pod| pod.name == name))
        {
            return Some(late);
        }
        // With several ranks in a pod, its own number says only which ranks it may have been.
        if per_pod <= 1 { pod_rank } else { None }
    }

    /// How many ranks a pod holds: one per GPU, unless its log shows otherwise.
    fn ranks_per_pod(&self, pod: Option<&Pod>) -> u32 {
        let highest = self.ranks.iter().max().map_or(0, |rank| rank + 1);
        let pods = u32::try_from(self.evidence.pods.len())
            .unwrap_or(u32::MAX)
            .max(1);
        if highest > pods && highest.is_multiple_of(pods) {
            return highest / pods;
        }
        let gpus = pod.map_or(0.0, |pod| pod.gpus);
        // GPUs per pod are a small whole number where they are more than one.
        (2u32..=64)
            .rev()
            .find(|count| f64::from(*count) <= gpus)
            .unwrap_or(1)
    }

    fn pod_of_rank(&self, rank: u32) -> Option<&Pod> {
        let per_pod = self.ranks_per_pod(self.evidence.pods.first());
        self.evidence
            .pods
            .iter()
            .find(|pod| pod.rank == Some(rank / per_pod.max(1)))
    }

    /// The rank that the others waited for: absent from their reports, or furthest behind.
    fn late_rank(&self) -> Option<u32> {
        if self.timeouts.is_empty() {
            return None;
        }
        let mut behind: BTreeMap<u32, u64> = BTreeMap::new();
        for report in &self.timeouts {
            let sequence = report.sequence.unwrap_or(u64::MAX);
            let known = behind.entry(report.rank).or_insert(sequence);
            *known = (*known).min(sequence);
        }
        let pods = u32::try_from(self.evidence.pods.len()).ok()?;
        let world = (pods * self.ranks_per_pod(self.evidence.pods.first()))
            .max(behind.keys().max().map_or(0, |rank| rank + 1));
        let absent: Vec<u32> = (0..world)
            .filter(|rank| !behind.contains_key(rank))
            .collect();
        // One that does not report is late; many that do not are logs that were not read.
        if absent.len() == 1 && behind.len() > 1 {
            return absent.first().copied();
        }
        let (rank, least) = behind.iter().min_by_key(|(_, sequence)| **sequence)?;
        let alone = behind
            .values()
            .filter(|sequence| *sequence == least)
            .count()
            == 1;
        (alone && behind.len() > 1).then_some(*rank)
    }

    /// The cause, as the index of its row.
    fn root(&self, first: &First) -> Option<usize> {
        let healthy = matches!(
            self.standing,
            Standing::Well | Standing::Starting | Standing::Completed
        );
        let admissible = |hit: &&Hit| {
            let row = self.row(hit);
            if !healthy {
                return true;
            }
            // Of a job that runs well, only the rules over time and the gravest faults of its node are a cause.
            matches!(
                row.id.as_str(),
                "hang"
                    | "idle_gpus"
                    | "held_no_process"
                    | "exit_0_incomplete"
                    | "repeated_preemption"
                    | "pod_stuck_terminating"
            ) || (hit.tier == Tier::Node
                && self.standing == Standing::Well
                && row.weight >= 70
                && row.hardware
                && self.is_of_this_run(hit))
        };
        let of_role = |alone: bool, weak: bool| -> Vec<&Hit> {
            self.hits
                .iter()
                .filter(|hit| hit.weak == weak)
                .filter(|hit| {
                    let row = self.row(hit);
                    match row.role {
                        Role::Root => !alone,
                        Role::Cascade | Role::Confirming => alone && row.alone,
                        Role::Expected => false,
                    }
                })
                .filter(admissible)
                .collect()
        };
        let strong = of_role(false, false);
        let near: Vec<&Hit> = strong
            .iter()
            .copied()
            .filter(|hit| Self::is_near(hit, first))
            .collect();
        let exit_only = |hits: &[&Hit]| hits.iter().all(|hit| self.row(hit).weight <= 12);
        let follows = of_role(true, false);
        let best = self
            .best(&near, first)
            .filter(|_| !exit_only(&near))
            .or_else(|| {
                self.best(&strong, first)
                    .filter(|_| !exit_only(&strong) && near.is_empty())
            });
        if let Some(best) = best {
            return Some(best.failure);
        }
        if healthy {
            return None;
        }
        if let Some(failure) = self.by_first_observed() {
            return Some(failure);
        }
        let near_follows: Vec<&Hit> = follows
            .iter()
            .copied()
            .filter(|hit| Self::is_near(hit, first))
            .collect();
        // A bare non-zero exit is explained by the log's silence, not by the wrappers around it.
        let specific = |hits: &[&Hit]| -> Option<usize> {
            let hits: Vec<&Hit> = hits
                .iter()
                .copied()
                .filter(|hit| self.row(hit).weight > 14)
                .collect();
            let best = self.best_following(&hits)?;
            // What the other pods say may explain how this one ended.
            let explains = |hit: &&&Hit| self.row(hit).over.contains(&self.row(best).id);
            let best = follows
                .iter()
                .filter(explains)
                .max_by_key(|hit| self.row(hit).weight)
                .map_or(best, |hit| *hit);
            Some(best.failure)
        };
        let named = specific(&near_follows).or_else(|| {
            self.best(&strong, first)
                .filter(|_| !exit_only(&strong))
                .map(|hit| hit.failure)
        });
        if named.is_some() {
            return named;
        }
        match self.silent_exit(first) {
            Silence::Silent(failure) => return failure,
            // It says something, only nothing that is known: that is told as unknown, with the line.
            Silence::Speaks => return None,
            Silence::NoSuchExit => {}
        }
        specific(&follows)
            .or_else(|| {
                self.best(&of_role(false, true), first)
                    .filter(|hit| hit.tier != Tier::State)
                    .map(|hit| hit.failure)
            })
            .or_else(|| self.best_following(&follows).map(|hit| hit.failure))
    }

    /// The report of torchrun names how the first worker ended, which the container's own exit code hides.
    fn by_first_observed(&self) -> Option<usize> {
        let code = self.first_observed.as_ref()?.exit_code?;
        let id = match code {
            -9 => "torchrun_negative_exit",
            -11 => "segfault",
            -7 => "exit_135_sigbus",
            -4 => "illegal_instruction",
            -8 => "exit_136_sigfpe",
            _ => return None,
        };
        self.knowledge.index(id)
    }

    /// What there is to say of a small non-zero exit that no signature explains.
    fn silent_exit(&self, first: &First) -> Silence {
        let Some(death) = self
            .deaths
            .iter()
            .filter(|death| !death.is_teardown() && matches!(death.end.exit_code, 1..=124))
            .min_by_key(|death| (Some(&death.pod.name) != first.pod.as_ref(), death.at()))
        else {
            return Silence::NoSuchExit;
        };
        let mut logs = self
            .evidence
            .logs
            .iter()
            .filter(|log| log.pod == death.pod.name && log.container == death.container.name)
            .peekable();
        let unread = logs.peek().is_none();
        if logs.any(|log| logs::telling_line(log, self.knowledge).is_some()) {
            return Silence::Speaks;
        }
        Silence::Silent(self.knowledge.index(if unread && death.end.exit_code == 1 {
            "exit_1"
        } else {
            "app_exit_unexplained"
        }))
    }

    /// A report of a node counts for this run if it is no older than the pods on it.
    fn is_of_this_run(&self, hit: &Hit) -> bool {
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
    fn is_near(hit: &Hit, first: &First) -> bool {
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
    fn best<'h>(&self, hits: &[&'h Hit], first: &First) -> Option<&'h Hit> {
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
                    Tier::Node if plain => 3,
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

    /// Of rows that usually follow from something, the one that says most.
    fn best_following<'h>(&self, hits: &[&'h Hit]) -> Option<&'h Hit> {
        hits.iter().copied().max_by_key(|hit| {
            (
                self.row(hit).weight,
                std::cmp::Reverse((hit.at.unwrap_or(Timestamp::MAX), hit.order)),
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

/// What the log says of an exit that no signature explains.
enum Silence {
    /// Nothing died with a small exit code.
    NoSuchExit,
    /// Nothing, or it could not be read: the row that says so.
    Silent(Option<usize>),
    /// Something that nobody knows.
    Speaks,
}

/// A row that tells of a wait, not of an end.
fn row_waits(row: &Failure) -> bool {
    matches!(
        row.id.as_str(),
        "insufficient_gpus"
            | "placement_constraints"
            | "long_pending"
            | "nonpreemptible_over_quota"
            | "over_limit"
            | "volume_affinity_conflict"
            | "pods_vanished"
            | "runai_initializing_long"
            | "runai_failed_no_pods"
    )
}
