//! The estate in memory: objects of all sources joined into jobs.
//!
//! Everything here can be read again from the sources, so nothing of it is saved. The index answers which jobs an
//! observation changed; what is wrong with them is for `detect`.

mod departures;
mod homes;
mod intake;
#[cfg(test)]
mod tests;
mod workloads;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

pub use super::job::Job;
pub(crate) use super::job::holds;
use super::progress::Progress;
use super::{Event, JobKey, Node};
use crate::watch::Observation;

/// A node with its latest telling events.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeEntry {
    pub node: Node,
    pub events: VecDeque<Event>,
}

/// How a name that a person gave fits the estate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    One(JobKey),
    Several(Vec<JobKey>),
    /// Nothing fits; the nearest names, best first, at most five.
    None {
        nearest: Vec<JobKey>,
    },
}

/// Where an object is held.
#[derive(Clone, Debug)]
struct Placed {
    key: Arc<JobKey>,
    /// The list in which it was last seen.
    seen: u64,
    /// Its place among the pods or controllers of its job when it was last looked for. A hint: others may have left.
    at: usize,
}

/// All that is known of the watched clusters and tenants.
#[derive(Debug, Default)]
pub struct Estate {
    jobs: HashMap<Arc<JobKey>, Box<Job>>,
    nodes: HashMap<(String, String), (NodeEntry, u64)>,
    /// uid of a pod or controller → its job.
    objects: HashMap<String, Placed>,
    /// Run:AI workload id → its job.
    workloads: HashMap<String, Placed>,
    /// Jobs with a pod on a node.
    on_node: HashMap<(String, String), HashSet<Arc<JobKey>>>,
    /// When nodes went away on which there still are pods.
    lost_nodes: HashMap<(String, String), Timestamp>,
    /// Events about objects that were not seen yet.
    unplaced: VecDeque<Event>,
    due: BTreeSet<(Timestamp, Arc<JobKey>)>,
    due_of: HashMap<Arc<JobKey>, Timestamp>,
    /// The running number of each list scope.
    lists: HashMap<String, u64>,
    /// The scopes that began to be listed, and whether that ever came to its end.
    listed: HashMap<String, bool>,
    contexts: Vec<String>,
    /// Run:AI cluster id → kube context: configured, or learned from a pod that names its workload id.
    clusters: HashMap<String, String>,
}

impl Estate {
    /// An empty estate. `contexts` are the watched kube contexts; `clusters` maps Run:AI cluster ids to them.
    pub fn new(contexts: Vec<String>, clusters: HashMap<String, String>) -> Self {
        Self {
            contexts,
            clusters,
            ..Self::default()
        }
    }

    /// Takes in what a source saw and returns the jobs it changed. A job that is no longer there is returned too.
    pub fn apply(&mut self, observation: Observation, now: Timestamp) -> Vec<JobKey> {
        match observation {
            Observation::Workload(workload) => self.put_workload(*workload),
            // Why it leaves is for the pipeline to tell apart.
            Observation::WorkloadGone { id } | Observation::WorkloadLetGo { id } => {
                self.drop_workload(&id)
            }
            Observation::Pod(pod) => self.put_pod(*pod, now),
            Observation::Controller(controller) => self.put_controller(*controller),
            Observation::PodGone { uid, .. } | Observation::ControllerGone { uid, .. } => {
                self.drop_object(&uid)
            }
            Observation::Node(node) => self.put_node(*node),
            Observation::NodeGone { cluster, name } => self.drop_node((cluster, name), now),
            Observation::Event(event) => self.put_event(*event),
            Observation::ListStarted { scope } => {
                self.listed.entry(scope.clone()).or_insert(false);
                *self.lists.entry(scope).or_default() += 1;
                Vec::new()
            }
            Observation::ListDone { scope } => self.sweep(&scope, now),
            Observation::Progress { job, progress } => self.put_progress(&job, *progress),
            Observation::Beat(_) => Vec::new(),
        }
    }

    fn put_progress(&mut self, key: &JobKey, progress: Progress) -> Vec<JobKey> {
        match self.jobs.get_mut(key) {
            Some(job) => {
                job.progress = Some(progress);
                vec![key.clone()]
            }
            None => Vec::new(),
        }
    }

    pub fn job(&self, key: &JobKey) -> Option<&Job> {
        self.jobs.get(key).map(Box::as_ref)
    }

    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values().map(Box::as_ref)
    }

    pub fn job_count(&self) -> usize {
        self.jobs.len()
    }

    pub fn node(&self, cluster: &str, name: &str) -> Option<&NodeEntry> {
        self.nodes
            .get(&(cluster.to_owned(), name.to_owned()))
            .map(|(entry, _)| entry)
    }

    /// When a node went away from which pods have not gone yet. One that never was seen is not missed.
    pub fn lost_node(&self, cluster: &str, name: &str) -> Option<Timestamp> {
        // Nearly always there is none.
        if self.lost_nodes.is_empty() {
            return None;
        }
        self.lost_nodes
            .get(&(cluster.to_owned(), name.to_owned()))
            .copied()
    }

    pub fn nodes(&self) -> impl Iterator<Item = &NodeEntry> {
        self.nodes.values().map(|(entry, _)| entry)
    }

    /// Whether all pods of a cluster were read once: before that, a job without pods means nothing.
    pub fn pods_listed(&self, cluster: &str) -> bool {
        self.listed
            .get(&format!("pods@{cluster}"))
            .is_some_and(|done| *done)
    }

    /// Whether everything about a job in `cluster` is still being read for the first time. A cluster that is not
    /// watched has nothing to be read.
    pub fn is_being_read(&self, cluster: &str) -> bool {
        let of_cluster = |scope: &str| {
            scope == RUNAI_SCOPE || scope.split_once('@').is_some_and(|(_, of)| of == cluster)
        };
        let watched = self.contexts.iter().any(|context| context == cluster);
        (watched && !self.pods_listed(cluster))
            || self
                .listed
                .iter()
                .any(|(scope, done)| !done && of_cluster(scope))
    }

    /// Jobs with at least one pod on the node.
    pub fn jobs_on(&self, cluster: &str, node: &str) -> Vec<JobKey> {
        let at = (cluster.to_owned(), node.to_owned());
        self.on_node
            .get(&at)
            .into_iter()
            .flatten()
            .map(|key| (**key).clone())
            .collect()
    }

    /// The Run:AI workload with this id.
    pub fn by_runai_id(&self, id: &str) -> Option<&Job> {
        self.workloads
            .get(id)
            .and_then(|placed| self.job(&placed.key))
    }

    /// The job that holds the pod or controller of this uid.
    pub fn of_object(&self, uid: &str) -> Option<&Job> {
        self.objects
            .get(uid)
            .and_then(|placed| self.job(&placed.key))
    }

    /// Asks for a job to be looked at again at `at` even if nothing is seen of it; `None` takes that back.
    pub fn schedule(&mut self, key: &JobKey, at: Option<Timestamp>) {
        let Some((shared, _)) = self.jobs.get_key_value(key) else {
            return;
        };
        let shared = Arc::clone(shared);
        if let Some(old) = self.due_of.remove(&shared) {
            self.due.remove(&(old, Arc::clone(&shared)));
        }
        if let Some(at) = at {
            self.due.insert((at, Arc::clone(&shared)));
            self.due_of.insert(shared, at);
        }
    }

    /// Takes the jobs whose time to be looked at again has come.
    pub fn due(&mut self, now: Timestamp) -> Vec<JobKey> {
        let mut keys = Vec::new();
        while let Some((at, _)) = self.due.first() {
            if *at > now {
                break;
            }
            if let Some((_, key)) = self.due.pop_first() {
                self.due_of.remove(&key);
                keys.push((*key).clone());
            }
        }
        keys
    }

    fn generation(&self, scope: &str) -> u64 {
        self.lists.get(scope).copied().unwrap_or_default()
    }
}

/// The list scope of all Run:AI workloads.
pub const RUNAI_SCOPE: &str = "workloads@runai";

/// The list scope of one controller kind in one cluster, such as `jobs@prod` or `pytorchjobs@prod`.
pub fn controllers_scope(kind: &str, cluster: &str) -> String {
    format!("{}s@{cluster}", kind.to_lowercase())
}
