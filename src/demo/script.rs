//! What a simulated job is and how it behaves: its shape, the script of its failure, and what cures it.

use std::time::Duration;

/// The kind of a job, which decides its Kubernetes controller and its Run:AI path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// Run:AI `Training` over a `batch/v1` Job.
    Training,
    /// Run:AI `Distributed` over a `PyTorchJob`: one master and workers, rank 0 is the master.
    Distributed,
    /// Run:AI `Workspace` over a StatefulSet.
    Workspace,
    /// Run:AI `Inference` over a Deployment.
    Inference,
}

/// What makes a failing job recover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// Nothing that can be done from outside: the job itself must change.
    Never,
    /// A new run: re-created, suspended and resumed, or rolled out again.
    NextRun,
    /// A new pod; restarting the container in place does not help.
    NewPod,
    /// A run of which no pod lies on a faulty node.
    OffFaultyNode,
}

/// How a container ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    pub code: i32,
    /// As the kubelet states it: `Error`, `OOMKilled`, `Completed` …
    pub reason: String,
    pub message: Option<String>,
}

impl Exit {
    /// An exit with a non-zero code.
    pub fn error(code: i32) -> Self {
        Self {
            code,
            reason: "Error".to_owned(),
            message: None,
        }
    }

    pub fn oom_killed() -> Self {
        Self {
            code: 137,
            reason: "OOMKilled".to_owned(),
            message: None,
        }
    }

    pub fn completed() -> Self {
        Self {
            code: 0,
            reason: "Completed".to_owned(),
            message: None,
        }
    }
}

/// What happens to a pod between its creation and its first running container.
#[derive(Clone, Debug)]
pub enum Start {
    /// It is scheduled and its container starts, if there is room.
    Runs,
    /// It is scheduled, but the kubelet cannot start its container.
    Blocked {
        /// Waiting reason and message at the first attempt, then between attempts.
        first: (String, String),
        then: (String, String),
        /// Events of each attempt: type, reason, message.
        events: Vec<(&'static str, &'static str, String)>,
        /// Between attempts.
        every: Duration,
    },
    /// The scheduler holds it back, whatever room there is.
    OverQuota {
        requested: u32,
        quota: u32,
        allocated: u32,
    },
}

/// One thing that happens to a pod, counted from the start of its container.
#[derive(Clone, Debug)]
pub struct Step {
    pub after: Duration,
    /// The slot (rank) it happens to; `None` for each pod.
    pub slot: Option<u32>,
    pub act: Act,
}

#[derive(Clone, Debug)]
pub enum Act {
    /// Lines on the container's log.
    Log(Vec<String>),
    /// One line of progress now and every so often from then on.
    Progress { every: Duration, line: ProgressLine },
    /// The container ends.
    Exit(Exit),
    /// An event on the pod: type, reason, message.
    Event(&'static str, &'static str, String),
    /// The readiness of the container.
    Ready(bool),
    /// The pod's node loses a GPU: an Xid in its kernel log, a condition, an event, one allocatable GPU less.
    LoseGpu { xid: u32, pci: &'static str },
    /// The scheduler takes all pods of the job for `by`; they come back after `back`.
    Preempt { by: String, back: Duration },
    /// The owner stops the job.
    StopByUser,
}

/// What a line of progress looks like; `n` counts up from 1.
#[derive(Clone, Copy, Debug)]
pub enum ProgressLine {
    Training,
    Serving,
    Notebook,
}

/// How the pods of one run behave.
#[derive(Clone, Debug)]
pub struct Script {
    pub start: Start,
    pub steps: Vec<Step>,
}

impl Script {
    /// Runs and makes progress for ever.
    pub fn healthy(line: ProgressLine) -> Self {
        Self {
            start: Start::Runs,
            steps: vec![Step {
                after: Duration::from_millis(500),
                slot: None,
                act: Act::Progress {
                    every: Duration::from_secs(10),
                    line,
                },
            }],
        }
    }

    /// Starts and then takes `steps`, each after so many seconds and on one slot or all.
    pub fn steps(steps: impl IntoIterator<Item = (f64, Option<u32>, Act)>) -> Self {
        let steps = steps
            .into_iter()
            .map(|(after, slot, act)| Step {
                after: Duration::from_secs_f64(after),
                slot,
                act,
            })
            .collect();
        Self {
            start: Start::Runs,
            steps,
        }
    }

    /// Never starts.
    pub fn blocked(start: Start) -> Self {
        Self {
            start,
            steps: Vec::new(),
        }
    }
}

/// A job to simulate.
#[derive(Clone, Debug)]
pub struct JobSpec {
    pub name: String,
    /// Run:AI project; its namespace is `runai-<project>`.
    pub project: String,
    pub kind: JobKind,
    pub pods: u32,
    /// Whole GPUs of each pod.
    pub gpus: u32,
    pub image: String,
    pub command: String,
    /// Memory limit of each pod, as Kubernetes writes it.
    pub memory: String,
    /// Node pool its pods are placed on.
    pub pool: String,
    pub priority_class: String,
    pub preemptible: bool,
    pub submitted_by: String,
    /// Failed pods that a Job replaces before it gives up.
    pub backoff_limit: u32,
    /// The kubelet restarts a failed container in place (`OnFailure`, `Always`).
    pub restarts_in_place: bool,
    /// Claims mounted.
    pub claims: Vec<String>,
    /// Known to Run:AI; else to Kubernetes alone.
    pub runai: bool,
    pub script: Script,
    /// What follows once it is cured.
    pub cured: Script,
    pub cure: Cure,
}

impl JobSpec {
    /// A healthy single-pod training of one GPU.
    pub fn training(project: &str, name: &str) -> Self {
        let healthy = Script::healthy(ProgressLine::Training);
        Self {
            name: name.to_owned(),
            project: project.to_owned(),
            kind: JobKind::Training,
            pods: 1,
            gpus: 1,
            image: "registry.demo.local/train/pytorch:2.8.0-cu128".to_owned(),
            command: "python -m train --config /etc/train/config.yaml".to_owned(),
            memory: "64Gi".to_owned(),
            pool: "a100".to_owned(),
            priority_class: "medium".to_owned(),
            preemptible: true,
            submitted_by: "demo-user@example.com".to_owned(),
            backoff_limit: 0,
            restarts_in_place: false,
            claims: Vec::new(),
            runai: true,
            script: healthy.clone(),
            cured: healthy,
            cure: Cure::Never,
        }
    }

    /// A healthy gang of `pods` with eight GPUs each.
    pub fn distributed(project: &str, name: &str, pods: u32) -> Self {
        Self {
            kind: JobKind::Distributed,
            pods,
            gpus: 8,
            pool: "h100".to_owned(),
            memory: "512Gi".to_owned(),
            command: "torchrun --nnodes=$WORLD_SIZE --nproc-per-node=8 pretrain.py".to_owned(),
            ..Self::training(project, name)
        }
    }

    /// A healthy Deployment of `pods` replicas.
    pub fn inference(project: &str, name: &str, pods: u32) -> Self {
        let healthy = Script::healthy(ProgressLine::Serving);
        Self {
            kind: JobKind::Inference,
            pods,
            image: "registry.demo.local/serve/vllm:0.11.2".to_owned(),
            command: "vllm serve --port 8000".to_owned(),
            priority_class: "very-high".to_owned(),
            preemptible: false,
            restarts_in_place: true,
            script: healthy.clone(),
            cured: healthy,
            ..Self::training(project, name)
        }
    }

    /// A healthy notebook.
    pub fn workspace(project: &str, name: &str) -> Self {
        let healthy = Script::healthy(ProgressLine::Notebook);
        Self {
            kind: JobKind::Workspace,
            image: "registry.demo.local/workspace/jupyter:2026.10".to_owned(),
            command: "jupyter lab --ip=0.0.0.0".to_owned(),
            priority_class: "high".to_owned(),
            preemptible: false,
            restarts_in_place: true,
            script: healthy.clone(),
            cured: healthy,
            ..Self::training(project, name)
        }
    }

    pub fn namespace(&self) -> String {
        format!("runai-{}", self.project)
    }
}
