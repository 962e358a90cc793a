//! Small builders for what Kubernetes and Run:AI would report.

use jiff::{SignedDuration, Timestamp};

use crate::diagnose::{ContainerLog, Evidence, HistoryEntry, LogLine};
use crate::estate::{
    Condition, Container, ContainerState, Controller, Event, JobKey, Node, ObjectRef, Phase, Pod,
    Termination, Workload,
};

/// Seconds after the beginning of the scene, 2026-03-02 10:00:00 UTC.
pub(crate) fn at(seconds: i64) -> Timestamp {
    "2026-03-02T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

/// Evidence in the making. It is collected 30 minutes after the beginning.
pub(crate) struct Scene(Evidence);

impl Scene {
    pub(crate) fn new(job: &str) -> Self {
        Self(Evidence {
            job: JobKey {
                cluster: "prod".into(),
                namespace: "runai-nlp".into(),
                name: job.into(),
            },
            project: Some("nlp".into()),
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
            patience: crate::detect::Thresholds::default(),
            capacity: None,
            missing: Vec::new(),
            collected: at(1800),
            measured: crate::diagnose::measured::Measured::default(),
            surroundings: crate::diagnose::surroundings::Surroundings::default(),
        })
    }

    pub(crate) fn evidence(self) -> Evidence {
        self.0
    }

    pub(crate) fn pod(mut self, name: &str, build: impl Fn(Pods) -> Pods) -> Self {
        let pod = Pod {
            cluster: "prod".into(),
            namespace: "runai-nlp".into(),
            name: name.into(),
            uid: format!("uid-{name}"),
            created: at(0),
            deleting: None,
            node: Some("gpu-1".into()),
            phase: "Running".into(),
            reason: None,
            message: None,
            conditions: Vec::new(),
            containers: vec![container(
                "main",
                ContainerState::Running {
                    started: Some(at(5)),
                },
            )],
            owner: Some(ObjectRef {
                kind: "Job".into(),
                name: self.0.job.name.clone(),
                uid: None,
            }),
            workload: self.0.job.name.as_str().into(),
            runai_id: None,
            project: None,
            gpus: 0.0,
            scheduler: None,
            claims: Vec::new(),
            rank: None,
            restart_policy: Some("Never".into()),
        };
        self.0.pods.push(build(Pods(pod)).0);
        self
    }

    /// A batch Job that used up its retries.
    pub(crate) fn failed_job(self, reason: &str) -> Self {
        self.controller("Job", |job| {
            job.failed = 1;
            job.conditions
                .push(condition("Failed", "True", reason, "", 1700));
        })
    }

    pub(crate) fn controller(mut self, kind: &str, build: impl Fn(&mut Controller)) -> Self {
        let mut controller = Controller {
            cluster: "prod".into(),
            namespace: "runai-nlp".into(),
            name: self.0.job.name.clone(),
            kind: kind.into(),
            uid: "uid-job".into(),
            created: at(-10),
            deleting: None,
            owner: None,
            workload: self.0.job.name.as_str().into(),
            runai_id: None,
            project: None,
            suspended: false,
            conditions: Vec::new(),
            desired: 1,
            active: 0,
            failed: 0,
            succeeded: 0,
            ready: 0,
            backoff_limit: Some(0),
            gitops: None,
        };
        build(&mut controller);
        self.0.controllers.push(controller);
        self
    }

    pub(crate) fn runai(mut self, phase: &str, build: impl Fn(&mut Workload)) -> Self {
        let mut workload = Workload {
            id: "0b6a5b0e-6c4e-4c39-9a65-1b8f0d1f3a01".into(),
            name: self.0.job.name.clone(),
            kind: "Training".into(),
            project: "nlp".into(),
            namespace: "runai-nlp".into(),
            cluster_id: "c".into(),
            phase: Phase::from(phase.to_owned()),
            phase_message: None,
            phase_reason: None,
            submitted_by: None,
            created: at(-10),
            phase_updated: Some(at(1700)),
            completed: None,
            requested_gpus: Some(8.0),
            allocated_gpus: None,
            idle_allocated_gpus: None,
            requested_pods: None,
            running_pods: 0,
            preemptible: Some(true),
            priority_class: None,
            images: Vec::new(),
            node_pools: Vec::new(),
            conditions: Vec::new(),
            can_suspend: true,
            can_delete: true,
            running_seconds: None,
            pending_seconds: None,
        };
        build(&mut workload);
        self.0.workload = Some(workload);
        self
    }

    pub(crate) fn node(mut self, name: &str, conditions: &[(&str, &str, &str, &str, i64)]) -> Self {
        self.0.nodes.push(Node {
            cluster: "prod".into(),
            name: name.into(),
            uid: format!("uid-{name}"),
            created: at(-100_000),
            unschedulable: false,
            taints: Vec::new(),
            conditions: conditions
                .iter()
                .map(|(kind, status, reason, message, since)| {
                    condition(kind, status, reason, message, *since)
                })
                .collect(),
            allocatable_gpus: 8.0,
            capacity_gpus: 8.0,
            gpu_type: None,
            node_pool: None,
            region: None,
        });
        self
    }

    /// An event about `Kind/name`.
    pub(crate) fn event(mut self, object: &str, reason: &str, message: &str, seconds: i64) -> Self {
        let (kind, name) = object.split_once('/').unwrap();
        self.0.events.push(Event {
            cluster: "prod".into(),
            namespace: "runai-nlp".into(),
            uid: format!("event-{}", self.0.events.len()),
            kind: "Warning".into(),
            reason: reason.into(),
            message: message.into(),
            object: ObjectRef {
                kind: kind.into(),
                name: name.into(),
                uid: None,
            },
            source: None,
            count: 1,
            first: None,
            last: at(seconds),
            annotations: Vec::new(),
        });
        self
    }

    pub(crate) fn log(self, pod: &str, lines: &[&str]) -> Self {
        self.log_of(pod, "main", false, lines)
    }

    pub(crate) fn log_of(
        mut self,
        pod: &str,
        container: &str,
        previous: bool,
        lines: &[&str],
    ) -> Self {
        self.0.logs.push(ContainerLog {
            pod: pod.into(),
            container: container.into(),
            previous,
            lines: lines
                .iter()
                .map(|text| LogLine {
                    at: None,
                    text: (*text).into(),
                })
                .collect(),
        });
        self
    }

    /// A log of which every line is one second after the one before, from `seconds` on.
    pub(crate) fn timed_log(mut self, pod: &str, seconds: i64, lines: &[&str]) -> Self {
        self.0.logs.push(ContainerLog {
            pod: pod.into(),
            container: "main".into(),
            previous: false,
            lines: (seconds..)
                .zip(lines)
                .map(|(second, text)| LogLine {
                    at: Some(at(second)),
                    text: (*text).into(),
                })
                .collect(),
        });
        self
    }

    pub(crate) fn history(
        mut self,
        phase: &str,
        message: &str,
        actor: Option<&str>,
        seconds: i64,
    ) -> Self {
        self.0.history.push(HistoryEntry {
            at: at(seconds),
            phase: Some(phase.into()),
            message: message.into(),
            actor: actor.map(str::to_owned),
        });
        self
    }

    pub(crate) fn pending_message(mut self, message: &str) -> Self {
        self.0.pending_messages.push(message.into());
        self
    }

    pub(crate) fn neighbour(mut self, node: &str, job: &str) -> Self {
        self.0.neighbours.push((node.into(), job.into()));
        self
    }

    pub(crate) fn missing(mut self, sentence: &str) -> Self {
        self.0.missing.push(sentence.into());
        self
    }

    pub(crate) fn with(mut self, change: impl Fn(&mut Evidence)) -> Self {
        change(&mut self.0);
        self
    }
}

fn container(name: &str, state: ContainerState) -> Container {
    Container {
        name: name.into(),
        image: "registry.example.com/train:1".into(),
        init: false,
        ready: matches!(state, ContainerState::Running { .. }),
        restarts: 0,
        state,
        last: None,
    }
}

pub(crate) fn condition(
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    since: i64,
) -> Condition {
    Condition {
        kind: kind.into(),
        status: status.into(),
        reason: (!reason.is_empty()).then(|| reason.into()),
        message: (!message.is_empty()).then(|| message.into()),
        since: Some(at(since)),
    }
}

#[allow(clippy::unnecessary_box_returns, reason = "the estate keeps it boxed")]
fn ended(code: i32, reason: &str, seconds: i64) -> Box<Termination> {
    Box::new(Termination {
        exit_code: code,
        signal: None,
        reason: (!reason.is_empty()).then(|| reason.into()),
        message: None,
        started: Some(at(5)),
        finished: Some(at(seconds)),
    })
}

/// A pod in the making; it runs well until it is told otherwise.
pub(crate) struct Pods(pub(crate) Pod);

impl Pods {
    /// Its main container ended for good.
    pub(crate) fn exited(mut self, code: i32, reason: &str, seconds: i64) -> Self {
        self.0.phase = if code == 0 { "Succeeded" } else { "Failed" }.into();
        self.0.containers[0] = container(
            "main",
            ContainerState::Terminated(ended(code, reason, seconds)),
        );
        self
    }

    /// Its main container waits to be restarted.
    pub(crate) fn crash_looping(
        mut self,
        code: i32,
        reason: &str,
        seconds: i64,
        restarts: u32,
    ) -> Self {
        let main = &mut self.0.containers[0];
        main.ready = false;
        main.restarts = restarts;
        main.last = Some(ended(code, reason, seconds));
        main.state = ContainerState::Waiting {
            reason: Some("CrashLoopBackOff".into()),
            message: Some("back-off 5m0s restarting failed container=main".into()),
        };
        self
    }

    /// It runs, and ended once before.
    pub(crate) fn restarted(
        mut self,
        code: i32,
        reason: &str,
        seconds: i64,
        restarts: u32,
    ) -> Self {
        self.0.containers[0].restarts = restarts;
        self.0.containers[0].last = Some(ended(code, reason, seconds));
        self
    }

    pub(crate) fn waiting(mut self, reason: &str, message: &str) -> Self {
        self.0.phase = "Pending".into();
        let state = ContainerState::Waiting {
            reason: Some(reason.into()),
            message: Some(message.into()),
        };
        self.0.containers[0] = container("main", state);
        self
    }

    /// No node yet.
    pub(crate) fn pending(mut self) -> Self {
        self.0.phase = "Pending".into();
        self.0.node = None;
        self.0.containers[0] = container("main", ContainerState::Unknown);
        self
    }

    pub(crate) fn unschedulable(self, message: &str) -> Self {
        self.pending()
            .condition("PodScheduled", "False", "Unschedulable", message, 1790)
    }

    pub(crate) fn not_ready(mut self) -> Self {
        self.0.containers[0].ready = false;
        self
    }

    pub(crate) fn state(mut self, phase: &str, reason: &str, message: &str) -> Self {
        self.0.phase = phase.into();
        self.0.reason = Some(reason.into());
        self.0.message = Some(message.into());
        self
    }

    pub(crate) fn message(mut self, message: &str) -> Self {
        if let ContainerState::Terminated(end) = &mut self.0.containers[0].state {
            end.message = Some(message.into());
        }
        if let Some(end) = &mut self.0.containers[0].last {
            end.message = Some(message.into());
        }
        self
    }

    pub(crate) fn condition(
        mut self,
        kind: &str,
        status: &str,
        reason: &str,
        message: &str,
        since: i64,
    ) -> Self {
        self.0
            .conditions
            .push(condition(kind, status, reason, message, since));
        self
    }

    pub(crate) fn sidecar(mut self, name: &str, end: Option<(i32, i64)>) -> Self {
        let state = match end {
            Some((code, seconds)) => ContainerState::Terminated(ended(code, "Error", seconds)),
            None => ContainerState::Running {
                started: Some(at(5)),
            },
        };
        self.0.containers.push(container(name, state));
        self
    }

    /// An init container that failed; the main one never started.
    pub(crate) fn init_failed(mut self, name: &str, code: i32) -> Self {
        self = self.waiting("PodInitializing", "");
        let mut init = container(name, ContainerState::Terminated(ended(code, "Error", 20)));
        init.init = true;
        self.0.containers.insert(0, init);
        self
    }

    pub(crate) fn on(mut self, node: &str) -> Self {
        self.0.node = Some(node.into());
        self
    }

    pub(crate) fn rank(mut self, rank: u32) -> Self {
        self.0.rank = Some(rank);
        self
    }

    pub(crate) fn gpus(mut self, gpus: f64) -> Self {
        self.0.gpus = gpus;
        self
    }

    pub(crate) fn created(mut self, seconds: i64) -> Self {
        self.0.created = at(seconds);
        self
    }

    pub(crate) fn deleting(mut self, seconds: i64) -> Self {
        self.0.deleting = Some(at(seconds));
        self
    }
}
