//! Collects the evidence about one job: at once, under one deadline, and with what could not be had said.
//! What the estate already holds is not asked for again.

mod around;
pub(crate) mod offline;
mod plan;
mod remote;
mod second;

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, timeout, timeout_at};

pub use remote::{Candidate, RemoteError, RemoteFind};

use super::measured::Measured;
use super::standing::{deaths, is_by_the_job};
use super::surroundings::{Change, Claim, Quota};
use super::{ContainerLog, Evidence, HistoryEntry, capacity};
use crate::desk::JobQuery;
use crate::detect::Thresholds;
use crate::estate::{Controller, Event, JobKey, Node, Pod, SharedEstate, Workload};
use crate::watch::kubernetes::client::{ClusterClient, Clusters, KubeError};
use crate::watch::metrics::{Prometheus, facts};
use crate::watch::runai::client::{Filter, RunaiClient, WorkloadDetail};

/// Objects whose events are asked for; a gang's events repeat each other.
const EVENT_NAMES: usize = 200;
/// Nodes that are asked about.
const NODES: usize = 32;
/// Failures of other jobs on a node count as neighbours for this long.
const NEIGHBOURS: SignedDuration = SignedDuration::from_hours(1);
/// Neighbours told; a bad node is proven by two.
const NEIGHBOURS_TOLD: usize = 16;

/// How long and how much.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For everything together: a person waits.
    pub deadline: Duration,
    /// For each question, so that one that hangs does not hold a place for long.
    pub call: Duration,
    /// Questions at one time.
    pub concurrency: usize,
    /// Pods of a gang whose logs are read, those that matter first.
    pub pods: usize,
    pub tail_lines: u32,
    /// Lines of the pod that failed first.
    pub first_tail_lines: u32,
    /// How long a state may last, as detection has it.
    pub patience: Thresholds,
    /// Lines read of a failed container whose tail tells nothing.
    pub far_tail_lines: u32,
    /// Pods whose logs are read because others name them.
    pub named_pods: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            call: Duration::from_secs(8),
            concurrency: 16,
            pods: 24,
            tail_lines: 100,
            first_tail_lines: 200,
            patience: Thresholds::default(),
            far_tail_lines: 3_000,
            named_pods: 8,
        }
    }
}

/// Reads evidence from the estate, Kubernetes and Run:AI.
#[derive(Clone, Debug)]
pub struct Collector {
    runai: Option<RunaiClient>,
    clusters: Clusters,
    estate: SharedEstate,
    settings: Settings,
    metrics: Option<Prometheus>,
}

/// One answer.
enum Part {
    Job {
        pods: Vec<Pod>,
        controllers: Vec<Controller>,
    },
    Log(ContainerLog),
    Events(Vec<Event>),
    Node(Option<Node>),
    Workload(Box<WorkloadDetail>),
    History(Vec<HistoryEntry>),
    /// What was measured, with sentences about what was not.
    Measured(Measured, Vec<String>),
    Claim(Claim),
    Quotas(Vec<Quota>),
    Changes(Vec<Change>),
    /// There is nothing, and that is in order.
    Nothing,
}

/// A question with what is missing if it is not answered, told after "could not be read".
struct Question<'a> {
    about: String,
    ask: BoxFuture<'a, Result<Part, String>>,
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
            settings,
            metrics: None,
        }
    }

    /// Asks this Prometheus too.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Option<Prometheus>) -> Self {
        self.metrics = metrics;
        self
    }

    /// The evidence about a job. Never fails: what could not be had is in `missing`.
    pub async fn collect(&self, key: &JobKey, now: Timestamp) -> Evidence {
        let until = Instant::now() + self.settings.deadline;
        let mut evidence = self.known(key, now);
        let all_pods_read = self
            .estate
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .pods_listed(&key.cluster);
        evidence.pods_unread = !all_pods_read && evidence.pods.is_empty();
        let cluster = self.clusters.cluster(&key.cluster);
        if cluster.is_none() {
            evidence.missing.push(format!(
                "Kubernetes cluster {} is not configured, so logs and events of its pods were not read.",
                key.cluster
            ));
        }
        // Right after a start the estate holds some of the job: to conclude that its pods are gone would be wrong.
        let nothing_known = evidence.pods.is_empty() && evidence.controllers.is_empty();
        if let Some(cluster) = cluster.filter(|_| nothing_known || !all_pods_read) {
            self.answer(&mut evidence, vec![job_of(cluster, key)], until)
                .await;
        }
        if let Some(runai) = self.runai.as_ref().filter(|_| evidence.workload.is_none()) {
            // A job that is only in Kubernetes is no gap, so a workload that is not found is not told.
            if let Ok(Some(workload)) = timeout(
                self.settings.call.min(self.settings.deadline / 3),
                workload_named(runai, key),
            )
            .await
            {
                evidence
                    .project
                    .get_or_insert_with(|| workload.project.to_string());
                evidence.workload = Some(workload);
            }
        }
        let mut questions = Vec::new();
        if let Some(cluster) = cluster {
            questions.extend(read_logs(
                cluster,
                &evidence,
                plan::logs(&evidence, &self.settings),
            ));
            questions.extend(events(cluster, &evidence));
            questions.extend(nodes(cluster, &evidence));
            questions.extend(around::questions(cluster, &evidence));
        }
        if let (Some(runai), Some(workload)) = (&self.runai, &evidence.workload) {
            questions.extend(of_workload(runai, &workload.id));
        }
        if let Some(prometheus) = &self.metrics {
            questions.push(measured(prometheus, &evidence));
        }
        self.answer(&mut evidence, questions, until).await;
        if let Some(cluster) = cluster {
            let wanted = second::logs(&evidence, &self.settings);
            let questions = read_logs(cluster, &evidence, wanted);
            self.answer(&mut evidence, questions, until).await;
        }
        tidy(&mut evidence);
        evidence
    }

    /// What the estate holds of the job, its nodes and their other jobs.
    fn known(&self, key: &JobKey, now: Timestamp) -> Evidence {
        let mut evidence = Evidence {
            job: key.clone(),
            project: None,
            workload: None,
            controllers: Vec::new(),
            pods: Vec::new(),
            pods_unread: false,
            nodes: Vec::new(),
            events: Vec::new(),
            logs: Vec::new(),
            history: Vec::new(),
            pending_messages: Vec::new(),
            neighbours: Vec::new(),
            progress: None,
            patience: self.settings.patience.clone(),
            capacity: None,
            missing: Vec::new(),
            collected: now,
            measured: crate::diagnose::measured::Measured::default(),
            surroundings: crate::diagnose::surroundings::Surroundings::default(),
        };
        let estate = self
            .estate
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(job) = estate.job(key) else {
            return evidence;
        };
        evidence.project.clone_from(&job.project);
        evidence.progress.clone_from(&job.progress);
        evidence.capacity = capacity::of(job, &estate, now);
        evidence.workload = job.workload.as_deref().cloned();
        evidence.controllers.clone_from(&job.controllers);
        evidence.pods = job.current_pods().into_iter().cloned().collect();
        evidence.events = job.events.iter().cloned().collect();
        let names: BTreeSet<&String> = evidence
            .pods
            .iter()
            .filter_map(|pod| pod.node.as_ref())
            .collect();
        for name in names.into_iter().take(NODES) {
            if let Some(entry) = estate.node(&key.cluster, name) {
                evidence.nodes.push(entry.node.clone());
                evidence.events.extend(entry.events.iter().cloned());
            }
            for other in estate.jobs_on(&key.cluster, name) {
                let failed = estate.job(&other).is_some_and(|job| {
                    job.pods
                        .iter()
                        .any(|pod| pod.node.as_ref() == Some(name) && failed_lately(pod, now))
                });
                if other != *key && failed && evidence.neighbours.len() < NEIGHBOURS_TOLD {
                    evidence.neighbours.push((name.clone(), other.name));
                }
            }
        }
        evidence
    }

    /// Asks all at once and takes in what is answered in time.
    async fn answer(&self, evidence: &mut Evidence, questions: Vec<Question<'_>>, until: Instant) {
        let mut open: BTreeSet<String> = questions
            .iter()
            .map(|question| question.about.clone())
            .collect();
        let call = self.settings.call;
        // Boxed one by one: as a closure over borrowed questions the future would not be known to be `Send`.
        let asked: Vec<BoxFuture<'_, _>> = questions
            .into_iter()
            .map(|Question { about, ask }| {
                timeout(call, ask)
                    .map(move |answer| (about, answer))
                    .boxed()
            })
            .collect();
        let mut answers = stream::iter(asked).buffer_unordered(self.settings.concurrency.max(1));
        while let Ok(Some((about, answer))) = timeout_at(until, answers.next()).await {
            open.remove(&about);
            match answer {
                Ok(Ok(part)) => take(evidence, part),
                Ok(Err(reason)) => evidence
                    .missing
                    .push(format!("{about} could not be read: {reason}.")),
                Err(_) => evidence.missing.push(format!(
                    "{about} could not be read within {} s.",
                    call.as_secs()
                )),
            }
        }
        drop(answers);
        for about in open {
            evidence
                .missing
                .push(format!("{about} could not be read in time."));
        }
    }

    /// Finds a job without a running service: reads the clusters and Run:AI once into this collector's estate.
    pub async fn find_remote(
        &self,
        query: &JobQuery,
        now: Timestamp,
    ) -> Result<RemoteFind, RemoteError> {
        remote::find(self, query, now).await
    }
}

/// What went wrong, as people should read it: a missing right by its name.
fn told(error: &KubeError) -> String {
    match error.needs() {
        Some((verb, resource)) => {
            format!("nightbell is not permitted; it needs the verb {verb} on {resource} (403)")
        }
        None => error.explain(),
    }
}

fn read_logs<'a>(
    cluster: &'a ClusterClient,
    evidence: &Evidence,
    wanted: Vec<plan::WantedLog>,
) -> Vec<Question<'a>> {
    wanted
        .into_iter()
        .map(|wanted| {
            let namespace = evidence.job.namespace.clone();
            let which = if wanted.previous {
                "previous log"
            } else {
                "log"
            };
            let about = format!("The {which} of {}/{}", wanted.pod, wanted.container);
            let ask = Box::pin(async move {
                let lines = cluster
                    .logs(
                        &namespace,
                        &wanted.pod,
                        &wanted.container,
                        wanted.previous,
                        wanted.tail_lines,
                    )
                    .await;
                match lines {
                    Ok(lines) => Ok(Part::Log(ContainerLog {
                        pod: wanted.pod,
                        container: wanted.container,
                        previous: wanted.previous,
                        lines,
                    })),
                    // It waits to start, or nothing ended before: there is no log to miss.
                    Err(KubeError::NoLog { .. }) => Ok(Part::Nothing),
                    Err(KubeError::NotFound { .. }) => Err("the pod is gone".to_owned()),
                    Err(error) => Err(told(&error)),
                }
            });
            Question { about, ask }
        })
        .collect()
}

/// Failed in a way that the node may have caused.
fn failed_lately(pod: &Pod, now: Timestamp) -> bool {
    let lately = |at: Timestamp| now.duration_since(at) < NEIGHBOURS;
    let refused = pod.reason.as_deref().is_some_and(|reason| {
        matches!(reason, "UnexpectedAdmissionError" | "NodeLost") && lately(pod.created)
    });
    refused
        || pod.containers.iter().any(|container| {
            let current = match &container.state {
                crate::estate::ContainerState::Terminated(end) => Some(end),
                crate::estate::ContainerState::Waiting { .. }
                | crate::estate::ContainerState::Running { .. }
                | crate::estate::ContainerState::Unknown => None,
            };
            current
                .into_iter()
                .chain(&container.last)
                .any(|end| !is_by_the_job(end.exit_code) && end.finished.is_some_and(lately))
        })
}

fn take(evidence: &mut Evidence, part: Part) {
    match part {
        Part::Job { pods, controllers } => {
            evidence.pods_unread = false;
            evidence.pods = pods;
            evidence.controllers = controllers;
        }
        Part::Log(log) => {
            // One that was read further back takes the place of its tail.
            evidence.logs.retain(|known| {
                (&known.pod, &known.container, known.previous)
                    != (&log.pod, &log.container, log.previous)
            });
            evidence.logs.push(log);
        }
        Part::Claim(claim) => evidence.surroundings.claims.push(claim),
        Part::Quotas(quotas) => evidence.surroundings.quotas.extend(quotas),
        Part::Changes(changes) => evidence.surroundings.changes.extend(changes),
        Part::Events(events) => evidence.events.extend(events),
        Part::Node(Some(node)) => {
            evidence.nodes.retain(|known| known.name != node.name);
            evidence.nodes.push(node);
        }
        Part::Workload(detail) => {
            evidence.pending_messages = detail.pending_messages;
            evidence.workload = Some(detail.workload);
        }
        Part::History(history) => evidence.history = history,
        Part::Measured(measured, missing) => {
            evidence.measured = measured;
            evidence.missing.extend(missing);
        }
        Part::Node(None) | Part::Nothing => {}
    }
}

/// Puts what came in any order into the order of time and name, so that the same evidence gives the same diagnosis.
fn tidy(evidence: &mut Evidence) {
    let mut seen = HashSet::new();
    evidence
        .events
        .retain(|event| event.uid.is_empty() || seen.insert(event.uid.clone()));
    evidence
        .events
        .sort_by(|a, b| (a.last, &a.uid).cmp(&(b.last, &b.uid)));
    evidence.logs.sort_by(|a, b| {
        (&a.pod, &a.container, !a.previous).cmp(&(&b.pod, &b.container, !b.previous))
    });
    evidence.nodes.sort_by(|a, b| a.name.cmp(&b.name));
    evidence
        .pods
        .sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    evidence.neighbours.sort();
    let around = &mut evidence.surroundings;
    around.claims.sort_by(|a, b| a.name.cmp(&b.name));
    around
        .quotas
        .sort_by(|a, b| (a.kind, &a.name, &a.resource).cmp(&(b.kind, &b.name, &b.resource)));
    around
        .changes
        .sort_by(|a, b| b.at.cmp(&a.at).then(a.object.cmp(&b.object)));
    evidence.missing.sort();
}

fn job_of<'a>(cluster: &'a ClusterClient, key: &JobKey) -> Question<'a> {
    let key = key.clone();
    Question {
        about: format!("The pods and controllers of {}/{}", key.namespace, key.name),
        ask: Box::pin(async move {
            let (pods, controllers) = tokio::join!(
                cluster.pods(&key.namespace, None),
                cluster.controllers(&key.namespace, key.plain_name())
            );
            let mut pods = pods.map_err(|error| told(&error))?;
            pods.retain(|pod| pod.workload == *key.plain_name());
            let controllers = controllers.map_err(|error| told(&error))?;
            Ok(Part::Job { pods, controllers })
        }),
    }
}

/// Whose events tell about the job: its own, its controllers', its pod groups', its pods' and their claims'.
fn event_names(evidence: &Evidence) -> Vec<String> {
    let mut names: Vec<String> = vec![evidence.job.plain_name().to_owned()];
    names.extend(
        evidence
            .controllers
            .iter()
            .map(|controller| controller.name.clone()),
    );
    // The scheduler's pod group is named after the workload and the uid of its owner.
    names.extend(
        evidence
            .controllers
            .iter()
            .map(|controller| format!("pg-{}-{}", controller.name, controller.uid)),
    );
    for pod in &evidence.pods {
        names.push(pod.name.clone());
        names.extend(pod.owner.iter().map(|owner| owner.name.clone()));
        names.extend(pod.claims.iter().cloned());
    }
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names.truncate(EVENT_NAMES);
    names
}

fn events<'a>(cluster: &'a ClusterClient, evidence: &Evidence) -> Vec<Question<'a>> {
    let names = event_names(evidence);
    let namespace = evidence.job.namespace.clone();
    let of_job = Question {
        about: "The events of the job and its pods".to_owned(),
        ask: Box::pin(async move {
            let events = cluster.events(&namespace, &names).await;
            events.map(Part::Events).map_err(|error| told(&error))
        }),
    };
    let used = used_nodes(evidence);
    if used.is_empty() {
        return vec![of_job];
    }
    let of_nodes = Question {
        about: "The events of its nodes".to_owned(),
        ask: Box::pin(async move {
            let events = cluster.events("default", &used).await;
            events.map(Part::Events).map_err(|error| told(&error))
        }),
    };
    vec![of_job, of_nodes]
}

/// What the metrics tell of the time around the first failure.
fn measured<'a>(prometheus: &'a Prometheus, evidence: &Evidence) -> Question<'a> {
    /// Samples are up to a minute old, and the GPU reports after the process died.
    const AFTERWARDS: SignedDuration = SignedDuration::from_mins(3);
    let pods: Vec<String> = plan::pods(evidence)
        .into_iter()
        .take(facts::MOST_PODS)
        .map(|pod| pod.name.clone())
        .collect();
    let nodes = used_nodes(evidence);
    let namespace = evidence.job.namespace.clone();
    let gpus = evidence.pods.iter().any(|pod| pod.gpus > 0.0);
    let until = first_end(evidence)
        .map_or(evidence.collected, |end| {
            end.checked_add(AFTERWARDS).unwrap_or(end)
        })
        .min(evidence.collected);
    Question {
        about: "The metrics".to_owned(),
        ask: Box::pin(async move {
            let scope = facts::Scope {
                namespace: &namespace,
                pods: pods.iter().map(String::as_str).collect(),
                nodes: nodes.iter().map(String::as_str).collect(),
                gpus,
                until,
            };
            let (measured, missing) = facts::of_job(prometheus, &scope).await;
            Ok(Part::Measured(measured, missing))
        }),
    }
}

/// When the first container ended badly by itself.
fn first_end(evidence: &Evidence) -> Option<Timestamp> {
    deaths(evidence)
        .iter()
        .filter_map(|death| Some((death.is_teardown(), death.at()?)))
        .min()
        .map(|(_, at)| at)
}

fn used_nodes(evidence: &Evidence) -> Vec<String> {
    let names: BTreeSet<&String> = evidence
        .pods
        .iter()
        .filter_map(|pod| pod.node.as_ref())
        .collect();
    names.into_iter().take(NODES).cloned().collect()
}

/// The nodes that the estate does not hold.
fn nodes<'a>(cluster: &'a ClusterClient, evidence: &Evidence) -> Vec<Question<'a>> {
    used_nodes(evidence)
        .into_iter()
        .filter(|name| evidence.nodes.iter().all(|node| node.name != *name))
        .map(|name| Question {
            about: format!("The state of node {name}"),
            ask: Box::pin(async move {
                cluster
                    .node(&name)
                    .await
                    .map(Part::Node)
                    .map_err(|error| told(&error))
            }),
        })
        .collect()
}

fn of_workload<'a>(runai: &'a RunaiClient, id: &str) -> Vec<Question<'a>> {
    let (detail, events, history) = (id.to_owned(), id.to_owned(), id.to_owned());
    vec![
        Question {
            about: "The Run:AI workload".to_owned(),
            ask: Box::pin(async move {
                let detail = runai
                    .workload(&detail)
                    .await
                    .map_err(|error| error.told())?;
                Ok(Part::Workload(Box::new(detail)))
            }),
        },
        Question {
            about: "The Run:AI events".to_owned(),
            ask: Box::pin(async move {
                runai
                    .events(&events)
                    .await
                    .map(Part::Events)
                    .map_err(|error| error.told())
            }),
        },
        Question {
            about: "The Run:AI history".to_owned(),
            ask: Box::pin(async move {
                runai
                    .history(&history)
                    .await
                    .map(Part::History)
                    .map_err(|error| error.told())
            }),
        },
    ]
}

/// The newest Run:AI workload of this name and namespace, and of this id where the key holds its beginning.
async fn workload_named(runai: &RunaiClient, key: &JobKey) -> Option<Workload> {
    let filter = Filter {
        name: Some(key.plain_name().to_owned()),
        ..Filter::default()
    };
    let page = runai.workloads(&filter, 0, 100).await.ok()?;
    page.items
        .into_iter()
        .filter(|workload| {
            workload.name == key.plain_name()
                && workload.namespace == key.namespace
                && workload
                    .id
                    .starts_with(key.beginning_of_id().unwrap_or_default())
        })
        .max_by_key(|workload| workload.created)
}
