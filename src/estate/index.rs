//! The estate in memory: objects of all sources joined into jobs.
//!
//! Everything here can be read again from the sources, so nothing of it is saved. The index answers which jobs an
//! observation changed; what is wrong with them is for `detect`.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use super::progress::Progress;
use super::{Condition, Controller, Event, JobAlias, JobKey, Node, Pod, Workload};
use crate::watch::Observation;

/// Events kept per job and node: enough for detection; a diagnosis reads them all from the source.
const EVENTS_KEPT: usize = 24;
/// Events about objects not seen yet wait here for their object.
const UNPLACED_KEPT: usize = 2_000;
/// Restarts remembered per job, for the restart rate.
const RESTARTS_KEPT: usize = 32;

/// Normal events that still tell something; every Warning is kept.
const TELLING_NORMAL: [&str; 8] = [
    "Evict",
    "Preempted",
    "Killing",
    "TaintManagerEviction",
    "NodeNotReady",
    "NodeNotSchedulable",
    "SandboxChanged",
    "StaleJob",
];

/// A job with everything the sources say of it at this moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub key: Arc<JobKey>,
    pub project: Option<String>,
    pub workload: Option<Box<Workload>>,
    pub controllers: Vec<Controller>,
    pub pods: Vec<Pod>,
    /// The latest telling events of the job and its pods, oldest first.
    pub events: VecDeque<Event>,
    /// When containers were seen to have restarted, oldest first.
    pub restarts: VecDeque<Timestamp>,
    /// How far it is, where its logs are read.
    pub progress: Option<Progress>,
}

impl Job {
    fn new(key: Arc<JobKey>) -> Self {
        Self {
            key,
            project: None,
            workload: None,
            controllers: Vec::new(),
            pods: Vec::new(),
            events: VecDeque::new(),
            restarts: VecDeque::new(),
            progress: None,
        }
    }

    /// The strong names under which the sources know this run.
    pub fn aliases(&self) -> Vec<JobAlias> {
        let mut aliases = BTreeSet::new();
        if let Some(workload) = &self.workload {
            aliases.insert(JobAlias::Runai(workload.id.clone()));
        }
        for id in self.pods.iter().filter_map(|pod| pod.runai_id.as_ref()) {
            aliases.insert(JobAlias::Runai(id.clone()));
        }
        // Parts of another controller that we hold are aliases too: whoever saw them first, before the whole was listed,
        // knows the run by them.
        for controller in &self.controllers {
            aliases.insert(JobAlias::Kubernetes(controller.uid.clone()));
        }
        if self.controllers.is_empty() {
            for pod in &self.pods {
                match &pod.owner {
                    // A ReplicaSet is one revision of a Deployment, not the service that people know.
                    Some(owner) if owner.kind == "ReplicaSet" => {}
                    Some(owner) => {
                        let uid = owner.uid.as_ref().unwrap_or(&owner.name);
                        aliases.insert(JobAlias::Kubernetes(uid.clone()));
                    }
                    None => {
                        aliases.insert(JobAlias::Kubernetes(pod.uid.clone()));
                    }
                }
            }
        }
        aliases.into_iter().collect()
    }

    /// The controllers that are no part of another that we hold. A Job of a CronJob stands for itself.
    pub fn top_controllers(&self) -> impl Iterator<Item = &Controller> {
        let held: HashSet<&str> = self.controllers.iter().map(|c| c.uid.as_str()).collect();
        self.controllers.iter().filter(move |controller| {
            let owner = controller.owner.as_ref().and_then(|o| o.uid.as_deref());
            !owner.is_some_and(|uid| held.contains(uid))
        })
    }

    /// True where a Deployment's pod has a younger one that is ready: what befell the older is over, though the object
    /// stays, an evicted pod for weeks.
    pub fn has_replaced(&self, pod: &Pod) -> bool {
        let of_deployment = |pod: &Pod| pod.owner.as_ref().is_some_and(|o| o.kind == "ReplicaSet");
        of_deployment(pod)
            && self.live_pods().any(|other| {
                other.created > pod.created && of_deployment(other) && other.is_ready()
            })
    }

    /// When this run came into being, by the earliest source.
    pub fn created(&self) -> Option<Timestamp> {
        self.workload
            .iter()
            .map(|w| w.created)
            .chain(self.controllers.iter().map(|c| c.created))
            .chain(self.pods.iter().map(|p| p.created))
            .min()
    }

    /// `Training`, `PyTorchJob`, `Deployment` …: Run:AI's word first, then the top-level controller's kind.
    pub fn kind(&self) -> &str {
        if let Some(workload) = &self.workload {
            return &workload.kind;
        }
        let top = self
            .controllers
            .iter()
            .min_by_key(|c| (c.owner.is_some(), c.created));
        if let Some(controller) = top {
            return &controller.kind;
        }
        match self.pods.first().and_then(|pod| pod.owner.as_ref()) {
            Some(owner) if owner.kind == "ReplicaSet" => "Deployment",
            Some(owner) => &owner.kind,
            None => "Pod",
        }
    }

    /// True for what is meant to run for ever: a service rather than a batch job.
    pub fn is_service(&self) -> bool {
        matches!(
            self.kind(),
            "Deployment"
                | "StatefulSet"
                | "DaemonSet"
                | "Inference"
                | "DistributedInference"
                | "Service"
        )
    }

    /// The status in the sources' own words: a Run:AI phase, a controller's final condition, else the pods' phases.
    pub fn status(&self) -> String {
        if let Some(workload) = &self.workload {
            return workload.phase.as_str().to_owned();
        }
        for controller in &self.controllers {
            for wanted in ["Failed", "Complete", "Succeeded", "Suspended"] {
                if holds(&controller.conditions, wanted) {
                    return wanted.to_owned();
                }
            }
        }
        for wanted in ["Failed", "Pending", "Unknown", "Running", "Succeeded"] {
            if self.live_pods().any(|pod| pod.phase == wanted) {
                return wanted.to_owned();
            }
        }
        if self.pods.is_empty() {
            "No pods".to_owned()
        } else {
            "Unknown".to_owned()
        }
    }

    /// GPUs held now: as Run:AI allocated them, else what the running pods ask for.
    pub fn gpus(&self) -> f64 {
        self.workload
            .as_ref()
            .and_then(|w| w.allocated_gpus.filter(|gpus| *gpus > 0.0))
            .unwrap_or_else(|| {
                let pods: f64 = self
                    .pods
                    .iter()
                    .filter(|p| p.node.is_some() && !p.has_ended())
                    .map(|p| p.gpus)
                    .sum();
                if pods > 0.0 {
                    pods
                } else {
                    self.requested_gpus()
                }
            })
    }

    /// GPUs asked for.
    pub fn requested_gpus(&self) -> f64 {
        self.workload
            .as_ref()
            .and_then(|w| w.requested_gpus)
            .unwrap_or_else(|| self.current_pods().iter().map(|pod| pod.gpus).sum())
    }

    /// Pods that are not being deleted.
    pub fn live_pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.iter().filter(|pod| pod.deleting.is_none())
    }

    /// The pods of the present attempt: of those that share an owner and rank, the newest; of a Job without ranks, as
    /// many of the newest as it runs at once. Earlier ones were superseded by a retry, and a Deployment's that ended by
    /// those that took their place.
    pub fn current_pods(&self) -> Vec<&Pod> {
        let mut newest: Vec<&Pod> = self
            .pods
            .iter()
            .filter(|pod| !(pod.has_ended() && self.has_replaced(pod)))
            .collect();
        newest.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| b.name.cmp(&a.name)));
        let mut taken: HashMap<(&str, Option<u32>), u32> = HashMap::new();
        newest.retain(|pod| {
            let Some(owner) = &pod.owner else { return true };
            let limit = match (pod.rank, owner.kind.as_str()) {
                (Some(_), _) => 1,
                (None, "Job") => self
                    .controllers
                    .iter()
                    .find(|c| Some(c.uid.as_str()) == owner.uid.as_deref())
                    .map_or(u32::MAX, |c| c.desired.max(1)),
                (None, _) => u32::MAX,
            };
            let count = taken
                .entry((owner.uid.as_deref().unwrap_or(&owner.name), pod.rank))
                .or_default();
            *count = count.saturating_add(1);
            *count <= limit
        });
        newest
    }

    fn is_empty(&self) -> bool {
        self.workload.is_none() && self.controllers.is_empty() && self.pods.is_empty()
    }

    fn note_event(&mut self, event: Event) {
        keep_event(&mut self.events, event);
    }

    fn settle_project(&mut self) {
        self.project = self
            .workload
            .as_ref()
            .map(|w| String::from(&w.project))
            .filter(|project| !project.is_empty())
            .or_else(|| self.pods.iter().find_map(|p| p.project.clone()))
            .or_else(|| self.controllers.iter().find_map(|c| c.project.clone()))
            .or_else(|| self.key.namespace.strip_prefix("runai-").map(str::to_owned));
    }
}

impl Pod {
    /// True once it can neither run nor start again.
    pub fn has_ended(&self) -> bool {
        self.phase == "Succeeded" || self.phase == "Failed"
    }

    /// True where `Ready` holds.
    pub fn is_ready(&self) -> bool {
        holds(&self.conditions, "Ready")
    }
}

/// True where the condition is stated as `True`.
pub(crate) fn holds(conditions: &[Condition], kind: &str) -> bool {
    conditions
        .iter()
        .any(|c| c.kind == kind && c.status == "True")
}

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

#[derive(Clone, Debug)]
struct Placed {
    key: Arc<JobKey>,
    /// The list in which it was last seen.
    seen: u64,
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
            Observation::WorkloadGone { id } => self.drop_workload(&id),
            Observation::Pod(pod) => self.put_pod(*pod, now),
            Observation::Controller(controller) => self.put_controller(*controller),
            Observation::PodGone { uid, .. } | Observation::ControllerGone { uid, .. } => {
                self.drop_object(&uid)
            }
            Observation::Node(node) => self.put_node(*node),
            Observation::NodeGone { cluster, name } => {
                self.nodes.remove(&(cluster.clone(), name.clone()));
                self.jobs_on(&cluster, &name)
            }
            Observation::Event(event) => self.put_event(*event),
            Observation::ListStarted { scope } => {
                self.listed.entry(scope.clone()).or_insert(false);
                *self.lists.entry(scope).or_default() += 1;
                Vec::new()
            }
            Observation::ListDone { scope } => self.sweep(&scope),
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

    fn entry(&mut self, key: JobKey) -> (&mut Job, Arc<JobKey>) {
        let shared = match self.jobs.get_key_value(&key) {
            Some((shared, _)) => Arc::clone(shared),
            None => Arc::new(key),
        };
        let job = self
            .jobs
            .entry(Arc::clone(&shared))
            .or_insert_with(|| Box::new(Job::new(Arc::clone(&shared))));
        (job, shared)
    }

    fn generation(&self, scope: &str) -> u64 {
        self.lists.get(scope).copied().unwrap_or_default()
    }

    fn put_workload(&mut self, workload: Workload) -> Vec<JobKey> {
        let cluster = self.context_of(&workload.cluster_id);
        let key = JobKey {
            cluster,
            namespace: (&workload.namespace).into(),
            name: workload.name.clone(),
        };
        let id = workload.id.clone();
        let seen = self.generation(RUNAI_SCOPE);
        let mut changed = Vec::new();
        // Under the same name the newer workload is the present run; the older is about to leave the list.
        if let Some(held) = self.jobs.get(&key).and_then(|job| job.workload.as_ref())
            && held.id != id
        {
            if held.created > workload.created {
                return changed;
            }
            let old = held.id.clone();
            self.workloads.remove(&old);
        }
        let (job, shared) = self.entry(key);
        if job.workload.as_deref() != Some(&workload) {
            job.workload = Some(Box::new(workload));
            job.settle_project();
            changed.push((*shared).clone());
        }
        self.workloads.insert(id, Placed { key: shared, seen });
        changed
    }

    fn drop_workload(&mut self, id: &str) -> Vec<JobKey> {
        let Some(placed) = self.workloads.remove(id) else {
            return Vec::new();
        };
        if let Some(job) = self.jobs.get_mut(&placed.key)
            && job.workload.as_ref().is_some_and(|w| w.id == id)
        {
            job.workload = None;
        }
        self.drop_if_empty(&placed.key);
        vec![(*placed.key).clone()]
    }

    fn put_pod(&mut self, pod: Pod, now: Timestamp) -> Vec<JobKey> {
        let mut changed = self.learn_cluster(pod.runai_id.as_deref(), &pod.cluster);
        let key = JobKey {
            cluster: (&pod.cluster).into(),
            namespace: (&pod.namespace).into(),
            name: (&pod.workload).into(),
        };
        let seen = self.generation(&format!("pods@{}", pod.cluster));
        let uid = pod.uid.clone();
        changed.extend(self.leave_other(&uid, &key));
        let node = pod
            .node
            .clone()
            .map(|name| (String::from(&pod.cluster), name));
        let waiting = self.take_unplaced(&uid);
        let (job, shared) = self.entry(key);
        match job.pods.iter_mut().find(|held| held.uid == pod.uid) {
            Some(held) if *held == pod => {}
            Some(held) => {
                if restarts(&pod) > restarts(held) {
                    if job.restarts.len() == RESTARTS_KEPT {
                        job.restarts.pop_front();
                    }
                    job.restarts.push_back(now);
                }
                *held = pod;
                changed.push((*shared).clone());
            }
            None => {
                room_for_one(&mut job.pods);
                job.pods.push(pod);
                changed.push((*shared).clone());
            }
        }
        for event in waiting {
            job.note_event(event);
        }
        job.settle_project();
        if let Some(at) = node {
            self.on_node
                .entry(at)
                .or_default()
                .insert(Arc::clone(&shared));
        }
        self.objects.insert(uid, Placed { key: shared, seen });
        changed
    }

    fn put_controller(&mut self, controller: Controller) -> Vec<JobKey> {
        let mut changed = self.learn_cluster(controller.runai_id.as_deref(), &controller.cluster);
        let key = JobKey {
            cluster: (&controller.cluster).into(),
            namespace: (&controller.namespace).into(),
            name: (&controller.workload).into(),
        };
        let seen = self.generation(&controllers_scope(&controller.kind, &controller.cluster));
        let uid = controller.uid.clone();
        changed.extend(self.leave_other(&uid, &key));
        let waiting = self.take_unplaced(&uid);
        let (job, shared) = self.entry(key);
        match job
            .controllers
            .iter_mut()
            .find(|held| held.uid == controller.uid)
        {
            Some(held) if *held == controller => {}
            Some(held) => {
                *held = controller;
                changed.push((*shared).clone());
            }
            None => {
                room_for_one(&mut job.controllers);
                job.controllers.push(controller);
                changed.push((*shared).clone());
            }
        }
        for event in waiting {
            job.note_event(event);
        }
        job.settle_project();
        self.objects.insert(uid, Placed { key: shared, seen });
        changed
    }

    fn put_node(&mut self, node: Node) -> Vec<JobKey> {
        let at = (node.cluster.clone(), node.name.clone());
        let seen = self.generation(&format!("nodes@{}", node.cluster));
        let changed = if let Some((entry, held_seen)) = self.nodes.get_mut(&at) {
            *held_seen = seen;
            let changed = entry.node != node;
            entry.node = node;
            changed
        } else {
            let events = VecDeque::new();
            self.nodes
                .insert(at.clone(), (NodeEntry { node, events }, seen));
            true
        };
        if changed {
            self.jobs_on(&at.0, &at.1)
        } else {
            Vec::new()
        }
    }

    fn put_event(&mut self, event: Event) -> Vec<JobKey> {
        if event.kind == "Normal" && !TELLING_NORMAL.contains(&event.reason.as_str()) {
            return Vec::new();
        }
        if event.object.kind == "Node" {
            let at = (String::from(&event.cluster), event.object.name.clone());
            if let Some((entry, _)) = self.nodes.get_mut(&at) {
                keep_event(&mut entry.events, event);
                return self.jobs_on(&at.0, &at.1);
            }
            return Vec::new();
        }
        let by_uid = event
            .object
            .uid
            .as_ref()
            .and_then(|uid| self.objects.get(uid))
            .map(|p| Arc::clone(&p.key));
        let key = by_uid.or_else(|| self.key_by_name(&event));
        let Some(key) = key else {
            if self.unplaced.len() == UNPLACED_KEPT {
                self.unplaced.pop_front();
            }
            self.unplaced.push_back(event);
            return Vec::new();
        };
        if let Some(job) = self.jobs.get_mut(&key) {
            job.note_event(event);
        }
        vec![(*key).clone()]
    }

    /// A pod group is named `pg-<workload>-<uid>`; a controller's event may lack the uid we hold.
    fn key_by_name(&self, event: &Event) -> Option<Arc<JobKey>> {
        let name = match event.object.kind.as_str() {
            "PodGroup" => {
                let inner = event.object.name.strip_prefix("pg-")?;
                // The uid is a UUID: five dash-separated parts.
                let mut parts: Vec<&str> = inner.rsplitn(6, '-').collect();
                parts
                    .pop()
                    .filter(|workload| !workload.is_empty())?
                    .to_owned()
            }
            "Pod" => return None,
            _ => event.object.name.clone(),
        };
        let key = JobKey {
            cluster: (&event.cluster).into(),
            namespace: (&event.namespace).into(),
            name,
        };
        self.jobs
            .get_key_value(&key)
            .map(|(shared, _)| Arc::clone(shared))
    }

    fn take_unplaced(&mut self, uid: &str) -> Vec<Event> {
        if !self
            .unplaced
            .iter()
            .any(|e| e.object.uid.as_deref() == Some(uid))
        {
            return Vec::new();
        }
        let (mine, rest) = self
            .unplaced
            .drain(..)
            .partition(|e: &Event| e.object.uid.as_deref() == Some(uid));
        self.unplaced = rest;
        Vec::from(mine)
    }

    /// An object whose labels now name another job than before leaves the one it was in.
    fn leave_other(&mut self, uid: &str, key: &JobKey) -> Vec<JobKey> {
        if self
            .objects
            .get(uid)
            .is_some_and(|placed| *placed.key != *key)
        {
            self.drop_object(uid)
        } else {
            Vec::new()
        }
    }

    fn drop_object(&mut self, uid: &str) -> Vec<JobKey> {
        let Some(placed) = self.objects.remove(uid) else {
            return Vec::new();
        };
        if let Some(job) = self.jobs.get_mut(&placed.key) {
            let mut left = None;
            job.pods.retain(|pod| {
                if pod.uid == uid {
                    left.clone_from(&pod.node);
                }
                pod.uid != uid
            });
            job.controllers.retain(|controller| controller.uid != uid);
            if let Some(node) = left
                && !job.pods.iter().any(|pod| pod.node.as_ref() == Some(&node))
            {
                let at = (placed.key.cluster.clone(), node);
                if let Some(keys) = self.on_node.get_mut(&at) {
                    keys.remove(&placed.key);
                    if keys.is_empty() {
                        self.on_node.remove(&at);
                    }
                }
            }
        }
        self.drop_if_empty(&placed.key);
        vec![(*placed.key).clone()]
    }

    fn drop_if_empty(&mut self, key: &Arc<JobKey>) {
        if self.job(key).is_some_and(Job::is_empty) {
            self.schedule(key, None);
            self.jobs.remove(key);
        }
    }

    /// Drops what a finished list no longer holds.
    fn sweep(&mut self, scope: &str) -> Vec<JobKey> {
        let generation = self.generation(scope);
        self.listed.insert(scope.to_owned(), true);
        let mut changed = BTreeSet::new();
        if scope == RUNAI_SCOPE {
            let gone: Vec<String> = self
                .workloads
                .iter()
                .filter(|(_, p)| p.seen < generation)
                .map(|(id, _)| id.clone())
                .collect();
            for id in gone {
                changed.extend(self.drop_workload(&id));
            }
        } else if let Some(cluster) = scope.strip_prefix("nodes@") {
            self.nodes
                .retain(|at, (_, seen)| at.0 != cluster || *seen >= generation);
        } else if let Some((kind, cluster)) = scope.split_once('@') {
            let mut gone = Vec::new();
            for job in self.jobs.values().filter(|job| job.key.cluster == cluster) {
                let pods = job
                    .pods
                    .iter()
                    .filter(|_| kind == "pods")
                    .map(|pod| &pod.uid);
                let controllers = job
                    .controllers
                    .iter()
                    .filter(|c| controllers_scope(&c.kind, &c.cluster) == scope)
                    .map(|c| &c.uid);
                for uid in pods.chain(controllers) {
                    if self
                        .objects
                        .get(uid)
                        .is_none_or(|placed| placed.seen < generation)
                    {
                        gone.push(uid.clone());
                    }
                }
            }
            for uid in gone {
                changed.extend(self.drop_object(&uid));
            }
        }
        changed.into_iter().collect()
    }

    fn context_of(&self, cluster_id: &str) -> String {
        if let Some(context) = self.clusters.get(cluster_id) {
            return context.clone();
        }
        match self.contexts.as_slice() {
            [only] => only.clone(),
            _ => cluster_id.to_owned(),
        }
    }

    /// A pod that names its Run:AI workload tells which context that Run:AI cluster is.
    fn learn_cluster(&mut self, runai_id: Option<&str>, context: &str) -> Vec<JobKey> {
        let Some(placed) = runai_id.and_then(|id| self.workloads.get(id)) else {
            return Vec::new();
        };
        if placed.key.cluster == context {
            return Vec::new();
        }
        let Some(cluster_id) = self
            .jobs
            .get(&placed.key)
            .and_then(|job| job.workload.as_ref())
            .map(|w| w.cluster_id.clone())
        else {
            return Vec::new();
        };
        self.clusters
            .insert((&cluster_id).into(), context.to_owned());
        let moving: Vec<String> = self
            .jobs
            .values()
            .filter_map(|job| job.workload.as_ref())
            .filter(|w| w.cluster_id == cluster_id)
            .map(|w| w.id.clone())
            .collect();
        let mut changed = Vec::new();
        for id in moving {
            let Some(placed) = self.workloads.get(&id).cloned() else {
                continue;
            };
            let Some(workload) = self
                .jobs
                .get(&placed.key)
                .and_then(|job| job.workload.clone())
            else {
                continue;
            };
            changed.extend(self.drop_workload(&id));
            changed.extend(self.put_workload(*workload));
            if let Some(moved) = self.workloads.get_mut(&id) {
                moved.seen = placed.seen;
            }
        }
        changed
    }
}

/// The list scope of all Run:AI workloads.
pub const RUNAI_SCOPE: &str = "workloads@runai";

/// The list scope of one controller kind in one cluster, such as `jobs@prod` or `pytorchjobs@prod`.
pub fn controllers_scope(kind: &str, cluster: &str) -> String {
    format!("{}s@{cluster}", kind.to_lowercase())
}

fn restarts(pod: &Pod) -> u32 {
    pod.containers.iter().map(|c| c.restarts).sum()
}

/// Grows a list from none by one and then by half: most jobs have one pod and one controller, and a vector would begin with
/// room for four.
fn room_for_one<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len().div_ceil(2).max(1));
    }
}

/// Keeps the newest telling events; a repeat of one (same uid, grown count) takes its place.
fn keep_event(events: &mut VecDeque<Event>, event: Event) {
    if let Some(at) = events.iter().position(|held| held.uid == event.uid) {
        events.remove(at);
    }
    if events.len() == EVENTS_KEPT {
        events.pop_front();
    }
    events.push_back(event);
}
