//! The truth of the simulated estate and its clock: what exists, and what is due to happen when.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::cluster::Cluster;
use super::script::{Act, Exit, JobSpec, Script};
use crate::estate::Phase;

/// A node of the simulated cluster.
#[derive(Clone, Debug)]
pub(super) struct SimNode {
    pub(super) pool: String,
    pub(super) gpus: u32,
    /// GPUs that the device plugin has taken out of service.
    pub(super) lost: u32,
    /// Its kubelet has not been heard.
    pub(super) silent: bool,
    pub(super) used: u32,
    pub(super) unschedulable: bool,
}

#[derive(Clone, Debug)]
pub(super) struct SimProject {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) gpu_quota: u32,
}

/// How a container ended, and when.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) exit: Exit,
    pub(super) started: Timestamp,
    pub(super) finished: Timestamp,
}

#[derive(Clone, Debug)]
pub(super) enum Container {
    Waiting { reason: String, message: String },
    Running { since: Timestamp },
    Ended(Ended),
}

/// A pod as the kubelet knows it.
#[derive(Clone, Debug)]
pub(super) struct SimPod {
    pub(super) job: u64,
    pub(super) slot: u32,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) created: Timestamp,
    /// The script it follows, chosen when it was created.
    pub(super) script: Script,
    pub(super) node: Option<String>,
    /// It occupies its GPUs: from its placement to the end of its container.
    pub(super) holds_gpus: bool,
    pub(super) ip: String,
    pub(super) scheduled: Option<Timestamp>,
    /// Why it is not scheduled.
    pub(super) unschedulable: Option<String>,
    pub(super) container: Container,
    pub(super) last: Option<Ended>,
    pub(super) restarts: u32,
    pub(super) ready: bool,
    pub(super) ready_since: Timestamp,
    /// Set while it is being deleted.
    pub(super) deleting: Option<Timestamp>,
    /// The reason of its `DisruptionTarget` condition, if the platform took it.
    pub(super) disrupted: Option<&'static str>,
}

impl SimPod {
    /// The container failed and is not tried again.
    pub(super) fn failed(&self) -> bool {
        matches!(&self.container, Container::Ended(ended) if ended.exit.code != 0)
    }

    pub(super) fn succeeded(&self) -> bool {
        matches!(&self.container, Container::Ended(ended) if ended.exit.code == 0)
    }

    pub(super) fn running(&self) -> bool {
        matches!(self.container, Container::Running { .. })
    }
}

/// A job and the run it is in.
#[derive(Clone, Debug)]
pub(super) struct SimJob {
    pub(super) id: u64,
    pub(super) spec: JobSpec,
    /// Uid of the Kubernetes controller; a re-created job has another.
    pub(super) uid: String,
    /// Run:AI workload id.
    pub(super) workload: String,
    pub(super) created: Timestamp,
    /// Counts runs: 0 is the first.
    pub(super) run: u32,
    pub(super) pods: Vec<String>,
    /// Nodes that the owner wants avoided (node affinity `NotIn`).
    pub(super) avoid: Vec<String>,
    pub(super) suspended: bool,
    /// Until when the scheduler leaves its pods waiting, after a preemption.
    pub(super) held_until: Option<Timestamp>,
    /// Pods made so far; what exceeds `spec.pods` are replacements.
    pub(super) born: u32,
    /// Why the controller gave up: reason, message.
    pub(super) failed: Option<(String, String, Timestamp)>,
    pub(super) completed: Option<Timestamp>,
    pub(super) failed_pods: u32,
    /// Hash of the pod template, which names a Deployment's ReplicaSet.
    pub(super) template_hash: String,
    pub(super) phase: Phase,
    pub(super) phase_message: String,
    pub(super) phase_since: Timestamp,
    /// A phase on its way that hides what the pods say: Stopping, Resuming, Deleting.
    pub(super) transition: Option<Phase>,
    pub(super) history: Vec<History>,
    pub(super) deleted: Option<Timestamp>,
}

/// An entry of a workload's history in Run:AI.
#[derive(Clone, Debug)]
pub(super) enum History {
    Phase {
        at: Timestamp,
        phase: Phase,
        message: String,
    },
    Event {
        at: Timestamp,
        event: serde_json::Value,
    },
}

/// One line of a container's log.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) at: Timestamp,
    pub(super) text: String,
}

/// What is due to happen.
#[derive(Clone, Debug)]
pub(super) enum Task {
    /// Place the pod and begin its script.
    Schedule { pod: String },
    /// The container starts.
    StartContainer { pod: String },
    /// A blocked container is tried once more.
    RetryBlocked { pod: String, attempt: u32 },
    /// A crashed container is started once more.
    StartAgain { pod: String },
    /// A step of the script, unless the container was restarted since.
    Act {
        pod: String,
        restarts: u32,
        act: Act,
    },
    Progress {
        pod: String,
        restarts: u32,
        every: Duration,
        line: super::script::ProgressLine,
        n: u32,
    },
    /// A deleted pod's object goes.
    RemovePod { pod: String },
    /// Pods of a job are wanted (again).
    FillJob { job: u64, run: u32 },
    /// A stop of a workload has come through.
    Stopped { job: u64 },
    /// A deleted workload goes.
    RemoveJob { job: u64 },
}

/// Everything that is true in the simulated estate.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) cluster: Cluster,
    pub(super) nodes: BTreeMap<String, SimNode>,
    pub(super) projects: Vec<SimProject>,
    pub(super) jobs: BTreeMap<u64, SimJob>,
    pub(super) pods: HashMap<String, SimPod>,
    /// Newest job of each namespace and name.
    pub(super) names: HashMap<(String, String), u64>,
    /// Pods that found no room.
    pub(super) waiting: BTreeSet<String>,
    /// Per pod uid, the lines of each container run, oldest first.
    pub(super) logs: HashMap<String, Vec<Vec<Line>>>,
    /// Event objects that grow a count instead of repeating: (object uid, reason, message) to name.
    pub(super) repeats: HashMap<(String, String, String), String>,
    /// Jobs whose status and phase no longer tell the truth.
    pub(super) stale: BTreeSet<u64>,
    /// Scripts run this many times faster than written.
    pub(super) speed: f64,
    pub(super) rng: fastrand::Rng,
    queue: BTreeMap<(Timestamp, u64), Task>,
    sequence: u64,
}

/// Container runs whose logs are kept per pod, and lines per container run.
const KEPT_RUNS: usize = 2;
const KEPT_LINES: usize = 1_000;

impl World {
    pub(super) fn new(now: Timestamp, speed: f64, rng_seed: u64) -> Self {
        Self {
            now,
            cluster: Cluster::default(),
            nodes: BTreeMap::new(),
            projects: Vec::new(),
            jobs: BTreeMap::new(),
            pods: HashMap::new(),
            names: HashMap::new(),
            waiting: BTreeSet::new(),
            logs: HashMap::new(),
            repeats: HashMap::new(),
            stale: BTreeSet::new(),
            speed,
            rng: fastrand::Rng::with_seed(rng_seed),
            queue: BTreeMap::new(),
            sequence: 0,
        }
    }

    /// Carries out everything that is due until `now`, each at its own time.
    pub(super) fn advance(&mut self, now: Timestamp) {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let ((at, _), task) = entry.remove_entry();
            if at > self.now {
                // What happens at one instant to many pods of a job is summed up once.
                self.settle();
                self.now = at;
            }
            self.carry_out(task);
        }
        self.settle();
        self.now = self.now.max(now);
    }

    /// Plans `task` for `delay` from now, in script time.
    pub(super) fn plan(&mut self, delay: Duration, task: Task) {
        let delay = delay.div_f64(self.speed);
        let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
        // What lies beyond the end of time never happens.
        if let Ok(at) = self.now.checked_add(delay) {
            self.sequence += 1;
            self.queue.insert((at, self.sequence), task);
        }
    }

    fn carry_out(&mut self, task: Task) {
        match task {
            Task::Schedule { pod } => self.schedule(&pod),
            Task::StartContainer { pod } => self.start_container(&pod),
            Task::StartAgain { pod } => self.start_again(&pod),
            Task::RetryBlocked { pod, attempt } => self.retry_blocked(&pod, attempt),
            Task::Act { pod, restarts, act } => self.act(&pod, restarts, act),
            Task::Progress {
                pod,
                restarts,
                every,
                line,
                n,
            } => self.progress(&pod, restarts, every, line, n),
            Task::RemovePod { pod } => self.remove_pod(&pod),
            Task::FillJob { job, run } => self.fill_job(job, run),
            Task::Stopped { job } => self.stopped(job),
            Task::RemoveJob { job } => self.remove_job(job),
        }
    }

    /// Appends to the log of the pod's present container run.
    pub(super) fn log(&mut self, pod: &str, lines: impl IntoIterator<Item = String>) {
        let at = self.now;
        let runs = self.logs.entry(pod.to_owned()).or_default();
        if runs.is_empty() {
            runs.push(Vec::new());
        }
        let Some(run) = runs.last_mut() else { return };
        // A microsecond apart, so that the order of lines shows in their times.
        for (n, text) in (0..).zip(lines) {
            run.push(Line {
                at: at
                    .saturating_add(SignedDuration::from_micros(n))
                    .unwrap_or(at),
                text,
            });
        }
        if run.len() > KEPT_LINES {
            run.drain(..run.len() - KEPT_LINES);
        }
    }

    /// Begins the log of a new container run.
    pub(super) fn new_log(&mut self, pod: &str) {
        let runs = self.logs.entry(pod.to_owned()).or_default();
        runs.push(Vec::new());
        if runs.len() > KEPT_RUNS {
            runs.remove(0);
        }
    }

    pub(super) fn new_uid(&mut self) -> String {
        uuid::Builder::from_random_bytes(self.rng.u128(..).to_be_bytes())
            .into_uuid()
            .to_string()
    }

    /// A suffix as Kubernetes makes it for generated names.
    pub(super) fn suffix(&mut self, length: usize) -> String {
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..length)
            .map(|_| char::from(ALPHABET[self.rng.usize(..ALPHABET.len())]))
            .collect()
    }

    /// The living job of that name.
    pub(super) fn job_named(&self, namespace: &str, name: &str) -> Option<&SimJob> {
        let id = self.names.get(&(namespace.to_owned(), name.to_owned()))?;
        self.jobs.get(id).filter(|job| job.deleted.is_none())
    }

    pub(super) fn pod_named(&self, namespace: &str, name: &str) -> Option<&SimPod> {
        let object = self.cluster.get(super::kind::Kind::Pod, namespace, name)?;
        self.pods.get(&object.uid)
    }

    pub(super) fn job_pods(&self, job: u64) -> impl Iterator<Item = &SimPod> {
        self.jobs
            .get(&job)
            .into_iter()
            .flat_map(|job| &job.pods)
            .filter_map(|uid| self.pods.get(uid))
    }
}

/// How much history Run:AI is asked to keep of one workload.
const KEPT_HISTORY: usize = 500;

impl SimJob {
    pub(super) fn record(&mut self, entry: History) {
        if self.history.len() == KEPT_HISTORY {
            self.history.remove(0);
        }
        self.history.push(entry);
    }
}
