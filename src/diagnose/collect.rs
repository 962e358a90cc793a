//! Collecting evidence: everything at once, under one deadline, and what could not be had is said.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, timeout_at};

use super::{ContainerLog, Evidence, HistoryEntry};
use crate::estate::index::{Estate, Job};
use crate::estate::{ContainerState, Event, JobKey, Pod, SharedEstate, Termination};
use crate::watch::kubernetes::client::{ClusterClient, Clusters, KubeError};
use crate::watch::runai::RunaiClient;

/// How much is collected, and for how long.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For everything together; what is not there by then is missing.
    pub deadline: Duration,
    /// Logs read at once.
    pub concurrency: usize,
    /// Pods of a gang whose logs are read: those that ended first, ended badly, or have the lowest ranks.
    pub pods: usize,
    /// Log lines per container, and for the pod that failed first.
    pub lines: u32,
    pub first_lines: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            concurrency: 16,
            pods: 24,
            lines: 100,
            first_lines: 200,
        }
    }
}

/// Failures of other jobs on the same node within this time point at the node.
const NEIGHBOURHOOD: SignedDuration = SignedDuration::from_hours(1);

/// Collects evidence about jobs of the estate. Cheap to clone.
#[derive(Clone)]
pub struct Collector {
    runai: Option<RunaiClient>,
    clusters: Clusters,
    estate: SharedEstate,
    settings: Arc<Settings>,
}

impl Collector {
    #[must_use]
    pub fn new(
        runai: Option<RunaiClient>,
        clusters: Clusters,
        estate: SharedEstate,
        settings: Settings,
    ) -> Self {
        Self {
            runai,
            clusters,
            estate,
            settings: Arc::new(settings),
        }
    }

    /// Everything that can be had about a job within the deadline.
    pub async fn collect(&self, key: &JobKey, now: Timestamp) -> Evidence {
        let until = Instant::now() + self.settings.deadline;
        let mut evidence = self.from_estate(key, now);
        let cluster = self.clusters.cluster(&key.cluster);
        let gone = evidence.pods.is_empty()
            && evidence.controllers.is_empty()
            && evidence.workload.is_none();
        if gone {
            evidence.missing.push(
                "The job is no longer there; only what was recorded of it is known.".to_owned(),
            );
        }
        match cluster {
            Some(cluster) => {
                let pods = telling(&evidence.pods, self.settings.pods);
                let (events, (logs, unread)) = tokio::join!(
                    self.events(cluster, &evidence, &pods, until),
                    self.logs(cluster, &key.namespace, &pods, until)
                );
                match events {
                    Ok(events) => merge(&mut evidence.events, events),
                    Err(why) => evidence.missing.push(format!("Kubernetes events could not be read: {why}.")),
                }
                if pods.len() < evidence.pods.len() {
                    evidence.missing.push(format!(
                        "Logs of {} of {} pods were read: those that ended first, ended badly or have the lowest ranks.",
                        pods.len(),
                        evidence.pods.len()
                    ));
                }
                evidence.logs = logs;
                evidence.missing.extend(unread);
            }
            None if !gone => evidence.missing.push(
                "The job's Kubernetes cluster is not connected: no container states, events or logs.".to_owned(),
            ),
            None => {}
        }
        self.ask_runai(&mut evidence, until).await;
        if !evidence
            .nodes
            .iter()
            .any(|node| node.conditions.iter().any(|c| !is_standard(&c.kind)))
            && evidence
                .pods
                .iter()
                .any(|pod| pod.gpus > 0.0 && pod.node.is_some())
        {
            evidence.missing.push(
                "GPU health unknown: no node agent reports GPU conditions on the job's nodes."
                    .to_owned(),
            );
        }
        evidence
    }

    fn from_estate(&self, key: &JobKey, now: Timestamp) -> Evidence {
        let estate = self.estate.read().unwrap_or_else(PoisonError::into_inner);
        let mut evidence = Evidence {
            job: key.clone(),
            project: None,
            workload: None,
            controllers: Vec::new(),
            pods: Vec::new(),
            nodes: Vec::new(),
            events: Vec::new(),
            logs: Vec::new(),
            history: Vec::new(),
            pending_messages: Vec::new(),
            neighbours: Vec::new(),
            missing: Vec::new(),
            collected: now,
        };
        let Some(job) = estate.job(key) else {
            return evidence;
        };
        evidence.project.clone_from(&job.project);
        evidence.workload.clone_from(&job.workload);
        evidence.controllers.clone_from(&job.controllers);
        evidence.pods.clone_from(&job.pods);
        evidence.events = job.events.iter().cloned().collect();
        let names: BTreeSet<&str> = job
            .pods
            .iter()
            .filter_map(|pod| pod.node.as_deref())
            .collect();
        for name in names {
            match estate.node(&key.cluster, name) {
                Some(entry) => {
                    evidence.nodes.push(entry.node.clone());
                    evidence.events.extend(entry.events.iter().cloned());
                }
                None => evidence
                    .missing
                    .push(format!("Nothing is known of node {name}.")),
            }
            evidence
                .neighbours
                .extend(neighbours(&estate, job, name, now));
        }
        evidence.events.sort_by_key(|event| event.last);
        evidence
    }

    async fn events(
        &self,
        cluster: &ClusterClient,
        evidence: &Evidence,
        pods: &[&Pod],
        until: Instant,
    ) -> Result<Vec<Event>, String> {
        let mut names: BTreeSet<String> = pods.iter().map(|pod| pod.name.clone()).collect();
        names.insert(evidence.job.name.clone());
        names.extend(
            evidence
                .controllers
                .iter()
                .map(|controller| controller.name.clone()),
        );
        names.extend(pods.iter().flat_map(|pod| pod.claims.iter().cloned()));
        names.extend(
            evidence
                .pods
                .iter()
                .filter_map(|pod| pod.owner.as_ref())
                .map(|owner| owner.name.clone()),
        );
        let names: Vec<String> = names.into_iter().collect();
        in_time(until, cluster.events(&evidence.job.namespace, &names)).await
    }

    async fn logs(
        &self,
        cluster: &ClusterClient,
        namespace: &str,
        pods: &[&Pod],
        until: Instant,
    ) -> (Vec<ContainerLog>, Vec<String>) {
        let wanted: Vec<(String, String, bool, u32)> = pods
            .iter()
            .enumerate()
            .flat_map(|(place, pod)| {
                let lines = if place == 0 {
                    self.settings.first_lines
                } else {
                    self.settings.lines
                };
                pod.containers.iter().flat_map(move |container| {
                    let started = !matches!(
                        container.state,
                        ContainerState::Waiting { .. } | ContainerState::Unknown
                    );
                    // The log of a container that waits to be restarted is that of its last run.
                    let current = (started || container.restarts > 0)
                        .then(|| (pod.name.clone(), container.name.clone(), false, lines));
                    let previous = (container.last.is_some() || container.restarts > 0)
                        .then(|| (pod.name.clone(), container.name.clone(), true, lines));
                    current.into_iter().chain(previous)
                })
            })
            .collect();
        let mut reads = stream::iter(wanted.into_iter().map(
            |(pod, container, previous, lines)| async move {
                let read = timeout_at(
                    until,
                    cluster.logs(namespace, &pod, &container, previous, lines),
                )
                .await;
                (pod, container, previous, read)
            },
        ))
        .buffered(self.settings.concurrency);
        let (mut logs, mut late, mut refused) =
            (Vec::new(), 0_usize, BTreeMap::<String, Vec<String>>::new());
        while let Some((pod, container, previous, read)) = reads.next().await {
            match read {
                Ok(Ok(lines)) => logs.push(ContainerLog {
                    pod,
                    container,
                    previous,
                    lines,
                }),
                // It has not started, or nothing ended before: there is no log, and none is missing.
                Ok(Err(KubeError::NoLog { .. })) if !previous => {}
                Ok(Err(KubeError::NoLog { .. } | KubeError::NotFound { .. })) => {
                    let which = if previous {
                        "The previous log"
                    } else {
                        "The log"
                    };
                    refused
                        .entry(format!("{which} is gone"))
                        .or_default()
                        .push(format!("{pod}/{container}"));
                }
                Ok(Err(error)) => {
                    refused
                        .entry(format!("A log could not be read ({})", error.told()))
                        .or_default()
                        .push(format!("{pod}/{container}"));
                }
                Err(_) => late += 1,
            }
        }
        let mut missing: Vec<String> = refused
            .into_iter()
            .map(|(what, of)| match of.as_slice() {
                [one] => format!("{what}: {one}."),
                [first, ..] => format!("{what}: {first} and {} more.", of.len() - 1),
                [] => format!("{what}."),
            })
            .collect();
        if late > 0 {
            missing.push(format!("{late} logs did not arrive in time."));
        }
        (logs, missing)
    }

    async fn ask_runai(&self, evidence: &mut Evidence, until: Instant) {
        let Some(workload) = &evidence.workload else {
            return;
        };
        let Some(client) = &self.runai else { return };
        let id = workload.id.clone();
        let (detail, events, history) = tokio::join!(
            in_time(until, client.workload(&id)),
            in_time(until, client.events(&id)),
            in_time(until, client.history(&id))
        );
        match detail {
            Ok(detail) => evidence.pending_messages = detail.pending_messages,
            Err(why) => evidence.missing.push(format!(
                "Run:AI's details of the workload could not be read: {why}."
            )),
        }
        match events {
            Ok(events) => merge(&mut evidence.events, events),
            Err(why) => evidence.missing.push(format!(
                "Run:AI's events of the workload could not be read: {why}."
            )),
        }
        match history {
            Ok(mut history) => {
                history.sort_by_key(|entry: &HistoryEntry| entry.at);
                evidence.history = history;
            }
            Err(why) => evidence.missing.push(format!(
                "Run:AI's history of the workload could not be read: {why}."
            )),
        }
    }
}

/// Errors of either client, in words for people.
trait Told {
    fn told(&self) -> String;
}

impl Told for KubeError {
    fn told(&self) -> String {
        self.to_string()
    }
}

impl Told for crate::watch::runai::RunaiError {
    fn told(&self) -> String {
        Self::told(self)
    }
}

async fn in_time<T, E: Told>(
    until: Instant,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match timeout_at(until, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.told()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

/// Adds events that are not there yet; both sources tell some of the same.
fn merge(events: &mut Vec<Event>, more: Vec<Event>) {
    for event in more {
        let held = events.iter_mut().find(|held| {
            held.uid == event.uid
                || (held.reason == event.reason
                    && held.message == event.message
                    && held.object.name == event.object.name)
        });
        match held {
            Some(held) if held.last < event.last => *held = event,
            Some(_) => {}
            None => events.push(event),
        }
    }
    events.sort_by_key(|event| event.last);
}

/// The pods whose logs tell most, first the one that ended first: ended badly before running, early before late, low
/// rank before high.
fn telling(pods: &[Pod], most: usize) -> Vec<&Pod> {
    let mut order: Vec<&Pod> = pods.iter().collect();
    order.sort_by_cached_key(|pod| {
        let end = worst_end(pod);
        let asked_to_stop = end.as_ref().is_some_and(|end| end.exit_code == 143);
        (
            end.is_none(),
            asked_to_stop,
            end.and_then(|end| end.finished).unwrap_or(Timestamp::MAX),
            pod.rank.unwrap_or(u32::MAX),
            pod.name.clone(),
        )
    });
    order.truncate(most);
    order
}

/// The earliest bad end of any of the pod's containers, of the present or the previous run.
fn worst_end(pod: &Pod) -> Option<Termination> {
    pod.containers
        .iter()
        .flat_map(|container| {
            let now = match &container.state {
                ContainerState::Terminated(end) => Some(end),
                ContainerState::Waiting { .. }
                | ContainerState::Running { .. }
                | ContainerState::Unknown => None,
            };
            now.into_iter().chain(&container.last)
        })
        .filter(|end| end.exit_code != 0 || end.reason.as_deref() == Some("OOMKilled"))
        .min_by_key(|end| end.finished.unwrap_or(Timestamp::MAX))
        .cloned()
}

/// Other jobs with a pod that ended badly on the node within the hour.
fn neighbours(estate: &Estate, job: &Job, node: &str, now: Timestamp) -> Vec<(String, String)> {
    estate
        .jobs_on(&job.key.cluster, node)
        .into_iter()
        .filter(|key| *key != job.key)
        .filter(|key| {
            estate.job(key).is_some_and(|other| {
                other
                    .pods
                    .iter()
                    .filter(|pod| pod.node.as_deref() == Some(node))
                    .any(|pod| {
                        worst_end(pod)
                            .and_then(|end| end.finished)
                            .is_some_and(|at| now.duration_since(at) < NEIGHBOURHOOD)
                    })
            })
        })
        .map(|key| (node.to_owned(), key.name))
        .collect()
}

/// Conditions that every kubelet reports; others come from an agent that looks deeper.
fn is_standard(condition: &str) -> bool {
    matches!(
        condition,
        "Ready" | "MemoryPressure" | "DiskPressure" | "PIDPressure" | "NetworkUnavailable"
    )
}
