//! What the logs of the containers that matter say, and which of it only follows from a peer.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use crate::diagnose::hit::{Hit, Tier};
use crate::diagnose::knowledge::Knowledge;
use crate::diagnose::logs::{self, LogReading};
use crate::diagnose::standing::{Standing, deaths, is_ready, is_sidecar};
use crate::diagnose::{ContainerLog, Evidence, LogLine, Role};
use crate::estate::Pod;

/// Reads the logs of the containers that matter: of a pod in which something died, those that died.
pub(super) fn read_logs(
    evidence: &Evidence,
    knowledge: &Knowledge,
    standing: Standing,
) -> LogReading {
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
    let spoken = last_words(evidence);
    for log in evidence.logs.iter().chain(&spoken) {
        let pod = pods.get(log.pod.as_str()).copied();
        let matters = if dead_pods.contains(log.pod.as_str()) {
            dead.contains(&(log.pod.as_str(), log.container.as_str()))
        } else {
            pod.is_none_or(|pod| {
                pod.containers
                    .iter()
                    .find(|container| container.name == log.container)
                    .is_none_or(|container| !is_sidecar(container) && !container.init)
            })
        };
        if !matters {
            continue;
        }
        let mut reading = logs::read(log, pod.and_then(|pod| pod.node.as_deref()), knowledge);
        // A pod that still runs has not failed; what it logs can follow from a peer, or be of no account.
        let runs = pod.is_some_and(is_ready) && !dead_pods.contains(log.pod.as_str());
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

/// The termination messages of containers whose log is not there: with them the kubelet keeps the end of a log.
fn last_words(evidence: &Evidence) -> Vec<ContainerLog> {
    deaths(evidence)
        .into_iter()
        .filter(|death| {
            !evidence.logs.iter().any(|log| {
                log.pod == death.pod.name
                    && log.container == death.container.name
                    && !log.lines.is_empty()
            })
        })
        .filter_map(|death| {
            let message = death.end.message.as_deref()?;
            Some(ContainerLog {
                pod: death.pod.name.clone(),
                container: death.container.name.to_string(),
                previous: death.previous,
                lines: message
                    .lines()
                    .map(|text| LogLine {
                        at: None,
                        text: text.to_owned(),
                    })
                    .collect(),
            })
        })
        .collect()
}

/// An exception whose line, or a line before it in the same log, says that it only follows from a peer is no cause.
pub(super) fn demote_covered(hits: &mut [Hit], knowledge: &Knowledge) {
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
