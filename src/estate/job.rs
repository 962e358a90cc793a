//! One job with everything the sources say of it, and what follows from that alone.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use super::progress::Progress;
use super::{Condition, Controller, Event, JobAlias, JobKey, Pod, Workload};

/// Events kept per job and node: enough for detection; a diagnosis reads them all from the source.
const EVENTS_KEPT: usize = 24;
/// Restarts remembered per job, for the restart rate.
const RESTARTS_KEPT: usize = 32;

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
    pub(super) fn new(key: Arc<JobKey>) -> Self {
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

    pub(super) fn is_empty(&self) -> bool {
        self.workload.is_none() && self.controllers.is_empty() && self.pods.is_empty()
    }

    pub(super) fn note_event(&mut self, event: Event) {
        keep_event(&mut self.events, event);
    }

    pub(super) fn note_restart(&mut self, at: Timestamp) {
        if self.restarts.len() == RESTARTS_KEPT {
            self.restarts.pop_front();
        }
        self.restarts.push_back(at);
    }

    pub(super) fn settle_project(&mut self) {
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

/// Keeps the newest telling events; a repeat of one (same uid, grown count) takes its place.
pub(super) fn keep_event(events: &mut VecDeque<Event>, event: Event) {
    if let Some(at) = events.iter().position(|held| held.uid == event.uid) {
        events.remove(at);
    }
    if events.len() == EVENTS_KEPT {
        events.pop_front();
    }
    events.push_back(event);
}
