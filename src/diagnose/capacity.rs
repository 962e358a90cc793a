//! What GPUs are free in a cluster, in how large blocks, and who holds the others. Computed from what nodes offer and
//! what pods ask for; no scheduler is asked. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::estate::index::{Estate, Job};
use crate::estate::{Condition, JobKey, Node};

/// Jobs named as holding GPUs.
const HOLDERS: usize = 5;
/// Less than this of a GPU is rounding.
const LEAST: f64 = 0.01;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// Nodes with GPUs.
    pub nodes: Vec<Room>,
    /// Who holds most GPUs in the cluster, most first.
    pub holders: Vec<Holder>,
    /// GPUs held by the waiting job's project, its own included; `None` where it has no project.
    pub project_holds: Option<f64>,
    /// Who holds most in the project, most first.
    pub in_project: Vec<Holder>,
}

/// One node's GPUs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Room {
    pub node: String,
    pub pool: Option<String>,
    pub gpus: f64,
    pub free: f64,
    /// Cordoned, not ready, or with a taint that keeps work away.
    pub closed: Option<Closed>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closed {
    Cordoned,
    NotReady,
    /// `key=value:Effect`.
    Tainted(String),
}

/// A job that holds GPUs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    pub job: String,
    pub project: Option<String>,
    pub gpus: f64,
    pub since: Option<Timestamp>,
}

impl Capacity {
    /// Free GPUs on nodes that take work.
    #[must_use]
    pub fn free(&self) -> f64 {
        self.open().map(|room| room.free).sum()
    }

    /// The most GPUs that are free on one node.
    #[must_use]
    pub fn largest_block(&self) -> f64 {
        self.open().map(|room| room.free).fold(0.0, f64::max)
    }

    #[must_use]
    pub fn all(&self) -> f64 {
        self.nodes.iter().map(|room| room.gpus).sum()
    }

    /// Free GPUs on nodes that take no work: those would help if the nodes were opened.
    #[must_use]
    pub fn closed(&self) -> f64 {
        let closed = self.nodes.iter().filter(|room| room.closed.is_some());
        closed.map(|room| room.free).sum()
    }

    /// How many pods of `gpus` each would fit now, whatever else they ask for.
    #[must_use]
    pub fn fits(&self, gpus: f64) -> usize {
        if gpus < LEAST {
            return usize::MAX;
        }
        let mut count = 0;
        for room in self.open() {
            let mut free = room.free;
            while free + LEAST >= gpus {
                free -= gpus;
                count += 1;
            }
        }
        count
    }

    fn open(&self) -> impl Iterator<Item = &Room> {
        self.nodes.iter().filter(|room| room.closed.is_none())
    }
}

/// What is free for a job that waits; `None` for one that does not, or where no node is known.
#[must_use]
pub fn of(job: &Job, estate: &Estate, now: Timestamp) -> Option<Capacity> {
    let waits = |job: &Job| {
        let waiting_pods = job
            .live_pods()
            .any(|pod| pod.phase == "Pending" && pod.node.is_none());
        waiting_pods || job.pods.is_empty()
    };
    if !waits(job) {
        return None;
    }
    let mut used: std::collections::HashMap<&str, f64> = std::collections::HashMap::new();
    let mut held: Vec<(&Job, f64)> = Vec::new();
    for other in estate
        .jobs()
        .filter(|other| other.key.cluster == job.key.cluster)
    {
        let mut holds = 0.0;
        for pod in &other.pods {
            if let Some(node) = pod
                .node
                .as_deref()
                .filter(|_| !pod.has_ended() && pod.gpus > 0.0)
            {
                *used.entry(node).or_default() += pod.gpus;
                holds += pod.gpus;
            }
        }
        if holds > LEAST {
            held.push((other, holds));
        }
    }
    let mut nodes: Vec<Room> = estate
        .nodes()
        .filter(|entry| entry.node.cluster == job.key.cluster && entry.node.capacity_gpus > 0.0)
        .map(|entry| {
            let node = &entry.node;
            let used = used.get(node.name.as_str()).copied().unwrap_or(0.0);
            Room {
                node: node.name.clone(),
                pool: node.node_pool.clone(),
                gpus: node.allocatable_gpus,
                free: (node.allocatable_gpus - used).max(0.0),
                closed: closed(node),
            }
        })
        .collect();
    if nodes.is_empty() {
        return None;
    }
    nodes.sort_by(|a, b| b.free.total_cmp(&a.free).then_with(|| a.node.cmp(&b.node)));
    held.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.key.cmp(&b.0.key)));
    let holder = |(other, gpus): &(&Job, f64)| Holder {
        job: other.key.name.clone(),
        project: other.project.clone(),
        gpus: *gpus,
        since: started(other).filter(|since| *since <= now),
    };
    let others = || {
        held.iter()
            .filter(|(other, _)| is_other(&other.key, &job.key))
    };
    let project = job.project.as_deref();
    let in_project =
        |(other, _): &&(&Job, f64)| project.is_some() && other.project.as_deref() == project;
    Some(Capacity {
        nodes,
        holders: others().take(HOLDERS).map(holder).collect(),
        project_holds: project.map(|_| held.iter().filter(in_project).map(|(_, gpus)| gpus).sum()),
        in_project: others()
            .filter(in_project)
            .take(HOLDERS)
            .map(holder)
            .collect(),
    })
}

fn is_other(a: &JobKey, b: &JobKey) -> bool {
    a != b
}

/// When the oldest of its running pods came into being.
fn started(job: &Job) -> Option<Timestamp> {
    let running = job
        .pods
        .iter()
        .filter(|pod| pod.node.is_some() && !pod.has_ended());
    running.map(|pod| pod.created).min()
}

/// Taints that GPU nodes carry as a matter of course are no closure: those who ask for GPUs tolerate them.
fn closed(node: &Node) -> Option<Closed> {
    const USUAL: [&str; 4] = ["nvidia.com/gpu", "amd.com/gpu", "gpu", "sku=gpu"];
    if node.unschedulable {
        return Some(Closed::Cordoned);
    }
    let ready = |condition: &Condition| condition.kind == "Ready" && condition.status != "True";
    if node.conditions.iter().any(ready) {
        return Some(Closed::NotReady);
    }
    node.taints
        .iter()
        .find(|taint| {
            (taint.ends_with(":NoSchedule") || taint.ends_with(":NoExecute"))
                && !USUAL.iter().any(|usual| taint.starts_with(usual))
        })
        .map(|taint| Closed::Tainted(taint.clone()))
}
