//! From what is seen of a job to what is wrong with it. Pure: `now` is an argument.
//!
//! Only states that Kubernetes or Run:AI state explicitly are judged here, and how long some of them last. Why they
//! came about is for `diagnose`.

mod container;
mod controller;
mod disruption;
mod node;
mod pod;
pub mod silent;
mod workload;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::estate::index::{Estate, Job};
use crate::redact;

pub(crate) use disruption::{REPEATED, preemptions};
pub(crate) use node::first_death;
pub use node::node_symptoms;

/// The kinds of failure that alerts are told apart by. Coarse on purpose: while a job's alert is open,
/// everything that follows from one failure (a crash, its back-off, the job's end) stays one alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// Waits for resources, quota, volumes or admission longer than is usual.
    Blocked,
    /// Cannot start: image, configuration, mount, sandbox.
    CannotStart,
    /// Ran and ended badly, or keeps restarting.
    Crashed,
    /// The platform took it: eviction, node loss.
    Disrupted,
    /// Runs, but probes fail or replicas are missing.
    Degraded,
    /// Runs, but gets nowhere: a hang, GPUs that are held and not used, one rank behind the rest.
    Stalled,
    /// Will not go away, or is neither running nor ended.
    Stuck,
    /// A node, not a job, is unhealthy.
    Node,
    /// A source of observations is late or failing.
    Source,
}

/// One thing that is wrong (or expected), with what stated it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Symptom {
    pub class: FailureClass,
    /// The state's usual name: `CrashLoopBackOff`, `OOMKilled`, `Unschedulable`, `Evicted`, `Failed` …
    pub state: String,
    /// One line for people; text from outside, unescaped.
    pub detail: String,
    pub pod: Option<String>,
    pub container: Option<String>,
    pub node: Option<String>,
    pub image: Option<String>,
    pub since: Timestamp,
    /// True where the state only wraps another (Failed, BackoffLimitExceeded, Degraded): it joins any open alert.
    pub wrapper: bool,
    /// True for life-cycle events that are not failures (preempted, suspended, user stop): counted, not alerted.
    pub expected: bool,
}

/// How long a state may last before it is a symptom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    /// Unschedulable or pending without a stated reason.
    pub pending_seconds: u64,
    /// Pending for a reason that waiting alone seldom removes: over quota, over limit.
    pub quota_seconds: u64,
    /// ContainerCreating, Initializing, Resuming and their like: the pull of a 30 GB image takes minutes.
    pub starting_seconds: u64,
    /// Beyond the end of a pod's own grace period.
    pub terminating_seconds: u64,
    /// A container that ended with an error and will be restarted is given this long to come back.
    pub restarting_seconds: u64,
    /// Mount failures, probe failures and missing replicas are given this long to pass.
    pub settle_seconds: u64,
    /// A node whose kubelet is silent is given this long, as the node controller gives it (40 s).
    pub node_seconds: u64,
    /// No log line and no progress while the GPUs stand still or spin. A collective of PyTorch gives up after 10 min
    /// by itself where its watchdog is on; this is half as much again.
    pub hang_seconds: u64,
    /// The same where nothing says what the GPUs do: half an hour, which was the default of older collectives.
    pub silence_seconds: u64,
    /// GPUs at 0 % for so long are a waste; Run:AI's own idle timeouts are set in hours.
    pub idle_gpu_seconds: u64,
    /// GPUs that no process of a batch job uses.
    pub held_gpu_seconds: u64,
    /// A checkpoint may be so old where the job's own rhythm of saving is not known.
    pub checkpoint_seconds: u64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            pending_seconds: 600,
            quota_seconds: 300,
            starting_seconds: 900,
            terminating_seconds: 900,
            restarting_seconds: 20,
            settle_seconds: 120,
            node_seconds: 40,
            hang_seconds: 900,
            silence_seconds: 1_800,
            idle_gpu_seconds: 3_600,
            held_gpu_seconds: 1_800,
            checkpoint_seconds: 21_600,
        }
    }
}

/// Frequent restarts: more than 0.1 a minute over 15 minutes, that is two or more in the window.
const RESTART_WINDOW: SignedDuration = SignedDuration::from_mins(15);
const RESTARTS_IN_WINDOW: usize = 2;
/// Characters of a symptom's detail; Kubernetes lets a termination message have 4,096.
const DETAIL: usize = 2_000;

/// What is wrong with a job now, and when to look again though nothing is seen of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assessment {
    pub symptoms: Vec<Symptom>,
    /// When the first state that still has time runs out of it.
    pub recheck: Option<Timestamp>,
}

impl Assessment {
    /// Adds a symptom once `since` lies `seconds` back; until then asks to be looked at again.
    fn after(&mut self, seconds: u64, now: Timestamp, symptom: Symptom) {
        let patience = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
        match symptom.since.checked_add(patience) {
            Ok(at) if at > now => {
                self.recheck = Some(self.recheck.map_or(at, |earlier| earlier.min(at)));
            }
            Ok(_) | Err(_) => self.symptoms.push(symptom),
        }
    }

    fn now(&mut self, symptom: Symptom) {
        self.symptoms.push(symptom);
    }

    /// Adds a symptom that holds for `window` after `at`, and asks to be looked at when that is over: nothing else may
    /// change then.
    fn within(
        &mut self,
        window: SignedDuration,
        at: Timestamp,
        now: Timestamp,
        symptom: impl FnOnce() -> Symptom,
    ) {
        // One second more, because the last moment still counts.
        let over = at.saturating_add(window + SignedDuration::from_secs(1));
        let over = over.unwrap_or(Timestamp::MAX);
        if over > now {
            self.recheck = Some(self.recheck.map_or(over, |earlier| earlier.min(over)));
            self.symptoms.push(symptom());
        }
    }
}

/// Judges a job. Symptoms are ordered: real before expected, specific before wrappers, oldest first.
pub fn assess(job: &Job, estate: &Estate, thresholds: &Thresholds, now: Timestamp) -> Assessment {
    let mut found = Assessment::default();
    if let Some(workload) = &job.workload {
        workload::assess(job, workload, thresholds, now, &mut found);
    }
    for controller in &job.controllers {
        controller::assess(job, controller, thresholds, now, &mut found);
    }
    if !said_to_have_ended_well(job) {
        for pod in job.current_pods() {
            pod::assess(job, pod, estate, thresholds, now, &mut found);
        }
    }
    disruption::assess(job, now, &mut found);
    silent::assess(job, thresholds, now, &mut found);
    // What the scheduler took waits for its turn again: that wait is part of the preemption, not a failure.
    if found
        .symptoms
        .iter()
        .any(|symptom| symptom.expected && disruption::is_preemption(&symptom.state))
    {
        found
            .symptoms
            .retain(|symptom| symptom.class != FailureClass::Blocked);
    }
    found
        .symptoms
        .sort_by_key(|symptom| (symptom.expected, symptom.wrapper, symptom.since));
    found
}

/// True where the job reached its end without a failure, or people or policy stopped it.
pub fn ended_well(job: &Job) -> bool {
    said_to_have_ended_well(job)
        || (!job.pods.is_empty()
            && job
                .current_pods()
                .iter()
                .all(|pod| pod.phase == "Succeeded"))
}

/// Run:AI says so, or every controller of the job that is no part of another. One of several is not enough: a Job that
/// is done may share its name with a Deployment that is not.
fn said_to_have_ended_well(job: &Job) -> bool {
    let mut top = job.top_controllers().peekable();
    job.workload.as_deref().is_some_and(workload::ended_well)
        || (top.peek().is_some() && top.all(controller::ended_well))
}

impl Symptom {
    fn new(
        class: FailureClass,
        state: impl Into<String>,
        detail: impl Into<String>,
        since: Timestamp,
    ) -> Self {
        Self {
            class,
            state: state.into(),
            // Messages of containers are their last log lines where the pod says so, secrets included; from here they
            // go into alerts, timelines and JSON.
            detail: redact::line(&detail.into(), DETAIL),
            pod: None,
            container: None,
            node: None,
            image: None,
            since,
            wrapper: false,
            expected: false,
        }
    }

    fn wrapping(mut self) -> Self {
        self.wrapper = true;
        self
    }

    fn expected(mut self) -> Self {
        self.expected = true;
        self
    }

    fn of_pod(mut self, pod: &crate::estate::Pod) -> Self {
        self.pod = Some(pod.name.clone());
        self.node.clone_from(&pod.node);
        self
    }
}

#[cfg(test)]
mod tests;
