//! Finding a job without a running service: one look at every cluster and at Run:AI fills the estate, and the same
//! rules as ever find the job in it.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::Collector;
use crate::desk::JobQuery;
use crate::estate::JobKey;
use crate::estate::index::{Estate, Found};
use crate::watch::Observation;
use crate::watch::kubernetes::client::ClusterClient;
use crate::watch::kubernetes::watcher;
use crate::watch::runai::client::{Filter, PAGE_LIMIT, RunaiClient};

/// For the first look at one source; a cluster of 100,000 pods needs some seconds.
const LOOK: Duration = Duration::from_secs(20);
/// All lists of a cluster begin within moments of each other; after this long without news there are no more.
const QUIET: Duration = Duration::from_millis(400);
/// A refused list is tried again after a pause; what is refused for this long stays so.
const REFUSED: Duration = Duration::from_secs(3);
/// Observations in flight.
const IN_FLIGHT: usize = 1024;

/// A job as the contract names a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Candidate {
    pub job: String,
    pub project: Option<String>,
    pub namespace: String,
}

/// What was found of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFind {
    pub found: Found,
    /// The jobs that `found` names, as the contract tells them.
    pub candidates: Vec<Candidate>,
    /// Sources that could not be looked at, as sentences.
    pub missing: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    #[error("neither Kubernetes nor Run:AI is configured")]
    NoSource,
    #[error("no source could be reached: {0}")]
    Unreachable(String),
}

pub(super) async fn find(
    collector: &Collector,
    query: &JobQuery,
    now: Timestamp,
) -> Result<RemoteFind, RemoteError> {
    let mut sources = collector.clusters.names().len();
    let mut missing = Vec::new();
    let clusters = collector
        .clusters
        .iter()
        .map(|cluster| look_at_cluster(collector, cluster, now));
    for outcome in futures_util::future::join_all(clusters).await {
        missing.extend(outcome.err());
    }
    if let Some(runai) = &collector.runai {
        sources += 1;
        let look = look_at_runai(collector, runai, query, now);
        missing.extend(match timeout(LOOK, look).await {
            Ok(outcome) => outcome.err(),
            Err(_) => Some(format!(
                "Run:AI did not answer within {} s.",
                LOOK.as_secs()
            )),
        });
    }
    if sources == 0 {
        return Err(RemoteError::NoSource);
    }
    if missing.len() == sources {
        return Err(RemoteError::Unreachable(missing.join(" ")));
    }
    let estate = collector
        .estate
        .read()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let found = estate.find(query);
    let keys: Vec<&JobKey> = match &found {
        Found::One(key) => vec![key],
        Found::Several(keys) | Found::None { nearest: keys } => keys.iter().collect(),
    };
    let candidates = keys
        .into_iter()
        .map(|key| candidate(&estate, key))
        .collect();
    Ok(RemoteFind {
        found,
        candidates,
        missing,
    })
}

fn candidate(estate: &Estate, key: &JobKey) -> Candidate {
    Candidate {
        job: estate.telling_name(key),
        project: estate.job(key).and_then(|job| job.project.clone()),
        namespace: key.namespace.clone(),
    }
}

fn apply(collector: &Collector, observation: Observation, now: Timestamp) {
    collector
        .estate
        .write()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .apply(observation, now);
}

/// Follows the cluster's watch through its first lists.
async fn look_at_cluster(
    collector: &Collector,
    cluster: &ClusterClient,
    now: Timestamp,
) -> Result<(), String> {
    let (sender, mut receiver) = mpsc::channel(IN_FLIGHT);
    let watch = watcher::run(cluster.clone(), watcher::Settings::default(), sender);
    tokio::pin!(watch);
    let until = Instant::now() + LOOK;
    let pods = format!("pods@{}", cluster.name());
    let (mut open, mut done): (HashSet<String>, HashSet<String>) = (HashSet::new(), HashSet::new());
    let mut refusal = None;
    loop {
        let wait = if open.is_empty() && done.contains(&pods) {
            until.min(Instant::now() + QUIET)
        } else if refusal.is_some() {
            until.min(Instant::now() + REFUSED)
        } else {
            until
        };
        let observation = tokio::select! {
            observation = receiver.recv() => observation,
            ended = &mut watch => {
                return ended.map_err(|error| format!("Cluster {} could not be watched: {error}.", cluster.name()));
            }
            () = sleep_until(wait) => break,
        };
        let Some(observation) = observation else {
            break;
        };
        match &observation {
            Observation::ListStarted { scope } => {
                open.insert(scope.clone());
            }
            Observation::ListDone { scope } => {
                open.remove(scope);
                done.insert(scope.clone());
            }
            Observation::Beat(beat) => refusal.clone_from(&beat.error),
            Observation::Workload(_)
            | Observation::WorkloadGone { .. }
            | Observation::WorkloadLetGo { .. }
            | Observation::Pod(_)
            | Observation::PodGone { .. }
            | Observation::Controller(_)
            | Observation::ControllerGone { .. }
            | Observation::Node(_)
            | Observation::NodeGone { .. }
            | Observation::Progress { .. }
            | Observation::Event(_) => {}
        }
        apply(collector, observation, now);
    }
    if done.contains(&pods) {
        return Ok(());
    }
    let reason = refusal.unwrap_or_else(|| format!("no answer within {} s", LOOK.as_secs()));
    Err(format!(
        "Cluster {} could not be read: {reason}.",
        cluster.name()
    ))
}

/// Reads the workloads of the asked project, or all of them.
async fn look_at_runai(
    collector: &Collector,
    runai: &RunaiClient,
    query: &JobQuery,
    now: Timestamp,
) -> Result<(), String> {
    let filter = Filter {
        project: query.project.clone(),
        ..Filter::default()
    };
    let mut offset = 0;
    loop {
        let page = runai
            .workloads(&filter, offset, PAGE_LIMIT)
            .await
            .map_err(|error| format!("Run:AI could not be read: {}.", error.told()))?;
        for workload in page.items {
            apply(collector, Observation::Workload(Box::new(workload)), now);
        }
        match page.next {
            Some(next) if next > offset => offset = next,
            Some(_) | None => return Ok(()),
        }
    }
}
