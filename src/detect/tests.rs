//! What is and is not a failure, as tables.

use jiff::{SignedDuration, Timestamp};

use super::{Assessment, FailureClass, Thresholds, assess, ended_well, node_symptoms, preemptions};
use crate::estate::index::{Estate, Job};
use crate::estate::{
    Condition, Container, ContainerState, Controller, Event, JobKey, Node, ObjectRef, Phase, Pod,
    Termination, Workload,
};
use crate::watch::Observation;

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + 60 * minutes).expect("a time in range")
}

fn condition(kind: &str, status: &str, reason: &str, since: Timestamp) -> Condition {
    Condition {
        kind: kind.into(),
        status: status.into(),
        reason: (!reason.is_empty()).then(|| reason.into()),
        message: None,
        since: Some(since),
    }
}

#[allow(clippy::unnecessary_box_returns, reason = "the estate keeps it boxed")]
fn end(exit_code: i32, reason: &str, finished: Timestamp) -> Box<Termination> {
    Box::new(Termination {
        exit_code,
        signal: None,
        reason: Some(reason.into()),
        message: None,
        started: None,
        finished: Some(finished),
    })
}

fn waiting(reason: &str) -> ContainerState {
    ContainerState::Waiting {
        reason: Some(reason.into()),
        message: None,
    }
}

fn pod(name: &str, phase: &str, state: ContainerState) -> Pod {
    Pod {
        cluster: "prod".into(),
        namespace: "runai-nlp".into(),
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        created: at(0),
        deleting: None,
        node: Some("gpu-07".to_owned()),
        phase: phase.into(),
        reason: None,
        message: None,
        conditions: Vec::new(),
        containers: vec![Container {
            name: "main".into(),
            image: "registry.example.com/train:1".into(),
            init: false,
            ready: phase == "Running",
            restarts: 0,
            state,
            last: None,
        }],
        owner: Some(ObjectRef {
            kind: "Job".into(),
            name: "bert".to_owned(),
            uid: Some("uid-bert".to_owned()),
        }),
        workload: "bert".into(),
        runai_id: None,
        project: None,
        gpus: 1.0,
        scheduler: None,
        claims: Vec::new(),
        rank: None,
        restart_policy: Some("Never".into()),
    }
}

fn controller(kind: &str, conditions: Vec<Condition>) -> Controller {
    Controller {
        cluster: "prod".into(),
        namespace: "runai-nlp".into(),
        name: "bert".to_owned(),
        kind: kind.into(),
        uid: "uid-bert".to_owned(),
        created: at(0),
        deleting: None,
        owner: None,
        workload: "bert".into(),
        runai_id: None,
        project: None,
        suspended: false,
        conditions,
        desired: 1,
        active: 0,
        failed: 0,
        succeeded: 0,
        ready: 0,
        backoff_limit: Some(2),
        gitops: None,
    }
}

fn workload(phase: &str, since: Timestamp) -> Workload {
    Workload {
        id: "0b6a5b0e".to_owned(),
        name: "bert".to_owned(),
        kind: "Training".into(),
        project: "nlp".into(),
        namespace: "runai-nlp".into(),
        cluster_id: "71f69d83".into(),
        phase: Phase::from(phase.to_owned()),
        phase_message: None,
        phase_reason: None,
        submitted_by: None,
        created: at(0),
        phase_updated: Some(since),
        completed: None,
        requested_gpus: Some(1.0),
        allocated_gpus: None,
        idle_allocated_gpus: None,
        requested_pods: Some(1),
        running_pods: 0,
        preemptible: None,
        priority_class: None,
        images: Vec::new(),
        node_pools: Vec::new(),
        conditions: Vec::new(),
        can_suspend: true,
        can_delete: true,
        running_seconds: None,
        pending_seconds: None,
    }
}

fn event(kind: &str, reason: &str, message: &str, object: (&str, &str)) -> Event {
    Event {
        cluster: "prod".into(),
        namespace: "runai-nlp".into(),
        uid: format!("event-{reason}"),
        kind: kind.into(),
        reason: reason.into(),
        message: message.to_owned(),
        object: ObjectRef {
            kind: object.0.into(),
            name: object.1.to_owned(),
            uid: None,
        },
        source: None,
        count: 1,
        first: Some(at(0)),
        last: at(1),
        annotations: Vec::new(),
    }
}

/// One estate with one job, judged at `now`.
struct Scene {
    estate: Estate,
}

impl Scene {
    fn new() -> Self {
        Self {
            estate: Estate::new(vec!["prod".to_owned()], std::collections::HashMap::new()),
        }
    }

    fn sees(mut self, observation: Observation) -> Self {
        self.estate.apply(observation, at(1));
        self
    }

    fn pod(self, pod: Pod) -> Self {
        self.sees(Observation::Pod(Box::new(pod)))
    }

    fn controller(self, controller: Controller) -> Self {
        self.sees(Observation::Controller(Box::new(controller)))
    }

    fn workload(self, workload: Workload) -> Self {
        self.sees(Observation::Workload(Box::new(workload)))
    }

    fn job(&self) -> &Job {
        let key = JobKey {
            cluster: "prod".to_owned(),
            namespace: "runai-nlp".to_owned(),
            name: "bert".to_owned(),
        };
        self.estate.job(&key).expect("all that was seen is one job")
    }

    fn judged(&self, now: Timestamp) -> Assessment {
        assess(self.job(), &self.estate, &Thresholds::default(), now)
    }

    /// `class/state`, with `?` for expected and `~` for a wrapper.
    fn says(&self, now: Timestamp) -> Vec<String> {
        let mark = |expected, wrapper| {
            if expected {
                "?"
            } else if wrapper {
                "~"
            } else {
                ""
            }
        };
        self.judged(now)
            .symptoms
            .iter()
            .map(|s| format!("{}{:?}/{}", mark(s.expected, s.wrapper), s.class, s.state))
            .collect()
    }
}

#[test]
fn every_container_state_that_kubernetes_calls_a_failure_is_one() {
    for (state, class) in [
        ("ErrImagePull", FailureClass::CannotStart),
        ("ImagePullBackOff", FailureClass::CannotStart),
        ("InvalidImageName", FailureClass::CannotStart),
        ("CreateContainerConfigError", FailureClass::CannotStart),
        ("CreateContainerError", FailureClass::CannotStart),
        ("RunContainerError", FailureClass::CannotStart),
        ("CrashLoopBackOff", FailureClass::Crashed),
    ] {
        let judged = Scene::new()
            .pod(pod("bert-x", "Pending", waiting(state)))
            .judged(at(0));
        let found: Vec<_> = judged
            .symptoms
            .iter()
            .map(|s| (s.class, s.state.as_str()))
            .collect();
        assert_eq!(found, [(class, state)]);
    }
}

#[test]
fn a_container_that_ended_badly_says_how() {
    for (exit_code, reason, said) in [
        (1, "Error", "Crashed/Error"),
        (137, "OOMKilled", "Crashed/OOMKilled"),
        (0, "OOMKilled", "Crashed/OOMKilled"),
        (128, "StartError", "CannotStart/StartError"),
        (127, "ContainerCannotRun", "CannotStart/ContainerCannotRun"),
        (143, "Error", "~Crashed/Error"),
    ] {
        let state = ContainerState::Terminated(end(exit_code, reason, at(1)));
        assert_eq!(
            Scene::new().pod(pod("bert-x", "Failed", state)).says(at(2)),
            [said]
        );
    }
    let fine = ContainerState::Terminated(end(0, "Completed", at(1)));
    assert!(
        Scene::new()
            .pod(pod("bert-x", "Succeeded", fine))
            .says(at(2))
            .is_empty()
    );
}

#[test]
fn a_pod_that_waits_is_given_its_time() {
    let mut waits = pod("bert-x", "Pending", ContainerState::Unknown);
    waits.node = None;
    waits.containers.clear();
    waits.conditions = vec![condition("PodScheduled", "False", "Unschedulable", at(0))];
    let scene = Scene::new().pod(waits);
    let early = scene.judged(at(9));
    assert!(early.symptoms.is_empty());
    assert_eq!(
        early.recheck,
        Some(at(10)),
        "it asks to be looked at when its time is up"
    );
    assert_eq!(scene.says(at(10)), ["Blocked/Unschedulable"]);

    let creating = Scene::new().pod(pod("bert-x", "Pending", waiting("ContainerCreating")));
    assert!(creating.says(at(14)).is_empty());
    assert_eq!(creating.says(at(15)), ["CannotStart/ContainerCreating"]);
}

#[test]
fn what_the_platform_does_by_design_is_expected() {
    let mut preempted = pod(
        "bert-x",
        "Failed",
        ContainerState::Terminated(end(143, "Error", at(1))),
    );
    preempted.conditions = vec![condition(
        "DisruptionTarget",
        "True",
        "PreemptionByScheduler",
        at(1),
    )];
    assert_eq!(
        Scene::new().pod(preempted).says(at(2)),
        ["?Disrupted/PreemptionByScheduler"]
    );

    let mut suspended = controller("Job", Vec::new());
    suspended.suspended = true;
    assert_eq!(
        Scene::new().controller(suspended).says(at(2)),
        ["?Disrupted/Suspended"]
    );

    assert_eq!(
        Scene::new()
            .workload(workload("Stopped", at(1)))
            .says(at(2)),
        ["?Disrupted/Stopped"]
    );

    let evict = event(
        "Normal",
        "Evict",
        "was preempted by higher priority workload",
        ("PodGroup", "pg-bert-0b6a5b0e-6c4e-4c39-9a65-1b8f0d1f3a01"),
    );
    let scene = Scene::new()
        .workload(workload("Pending", at(1)))
        .sees(Observation::Event(Box::new(evict)));
    assert_eq!(scene.says(at(2)), ["?Disrupted/Preempted"]);
}

#[test]
fn the_wait_after_a_preemption_is_no_failure_until_the_preemption_no_longer_explains_it() {
    let evict = event(
        "Normal",
        "Evict",
        "was preempted by higher priority workload",
        ("PodGroup", "pg-bert-0b6a5b0e-6c4e-4c39-9a65-1b8f0d1f3a01"),
    );
    let scene = Scene::new()
        .workload(workload("Pending", at(1)))
        .sees(Observation::Event(Box::new(evict)));
    assert_eq!(scene.says(at(20)), ["?Disrupted/Preempted"]);
    assert_eq!(scene.says(at(40)), ["Blocked/Pending"]);
}

#[test]
fn the_end_of_a_gang_whose_member_died_is_not_a_preemption() {
    let evict = event(
        "Normal",
        "Evict",
        "Workload doesn't meet the minimum required number of pods (8)",
        ("PodGroup", "pg-bert-0b6a5b0e-6c4e-4c39-9a65-1b8f0d1f3a01"),
    );
    let died = pod(
        "bert-x",
        "Failed",
        ContainerState::Terminated(end(1, "Error", at(1))),
    );
    let scene = Scene::new()
        .pod(died)
        .sees(Observation::Event(Box::new(evict)));
    assert_eq!(scene.says(at(2)), ["Crashed/Error"]);
}

#[test]
fn an_eviction_is_a_failure() {
    let mut evicted = pod("bert-x", "Failed", ContainerState::Unknown);
    evicted.reason = Some("Evicted".into());
    evicted.message = Some("The node was low on resource: ephemeral-storage.".to_owned());
    assert_eq!(Scene::new().pod(evicted).says(at(2)), ["Disrupted/Evicted"]);
}

#[test]
fn a_failed_pod_that_a_retry_replaced_no_longer_counts() {
    let failed = pod(
        "bert-1",
        "Failed",
        ContainerState::Terminated(end(1, "Error", at(1))),
    );
    let mut retry = pod(
        "bert-2",
        "Running",
        ContainerState::Running {
            started: Some(at(2)),
        },
    );
    retry.created = at(2);
    let mut job = controller("Job", Vec::new());
    job.active = 1;
    let scene = Scene::new().controller(job).pod(failed);
    assert_eq!(scene.says(at(2)), ["Crashed/Error"]);
    assert!(scene.pod(retry).says(at(3)).is_empty());
}

#[test]
fn the_wrappers_come_last_and_the_deadline_is_its_own_cause() {
    let failed = condition("Failed", "True", "BackoffLimitExceeded", at(2));
    let died = pod(
        "bert-x",
        "Failed",
        ContainerState::Terminated(end(1, "Error", at(1))),
    );
    let scene = Scene::new()
        .controller(controller("Job", vec![failed]))
        .pod(died)
        .workload(workload("Failed", at(2)));
    assert_eq!(
        scene.says(at(3)),
        [
            "Crashed/Error",
            "~Crashed/Failed",
            "~Crashed/BackoffLimitExceeded"
        ]
    );

    let late = condition("Failed", "True", "DeadlineExceeded", at(2));
    assert_eq!(
        Scene::new()
            .controller(controller("Job", vec![late]))
            .says(at(3)),
        ["Crashed/DeadlineExceeded"]
    );
}

#[test]
fn quota_that_refuses_pods_before_they_exist_is_told_by_the_controller() {
    let refused = event(
        "Warning",
        "FailedCreate",
        "pods \"bert-\" is forbidden: exceeded quota",
        ("Job", "bert"),
    );
    let scene = Scene::new()
        .controller(controller("Job", Vec::new()))
        .sees(Observation::Event(Box::new(refused)));
    assert_eq!(scene.says(at(2)), ["Blocked/FailedCreate"]);
}

#[test]
fn run_ai_phases_that_last_are_symptoms() {
    for (phase, minutes, said) in [
        ("Failed", 0, "~Crashed/Failed"),
        ("Degraded", 0, "~Degraded/Degraded"),
        ("Pending", 10, "Blocked/Pending"),
        ("Initializing", 15, "~CannotStart/Initializing"),
        ("Stopping", 15, "~Stuck/Stopping"),
        ("Unknown", 10, "~Stuck/Unknown"),
    ] {
        let scene = Scene::new().workload(workload(phase, at(0)));
        assert_eq!(scene.says(at(minutes)), [said]);
        if minutes > 0 {
            assert!(
                scene.says(at(minutes - 1)).is_empty(),
                "{phase} is given its time"
            );
        }
    }
    let mut over_quota = workload("Pending", at(0));
    over_quota.phase_reason = Some("NonPreemptibleOverQuota".into());
    assert_eq!(
        Scene::new().workload(over_quota).says(at(5)),
        ["Blocked/NonPreemptibleOverQuota"]
    );
}

#[test]
fn a_silent_kubelet_puts_its_pods_in_trouble() {
    let node = Node {
        cluster: "prod".to_owned(),
        name: "gpu-07".to_owned(),
        uid: "uid-node".to_owned(),
        created: at(0),
        unschedulable: false,
        taints: Vec::new(),
        conditions: vec![condition("Ready", "Unknown", "NodeStatusUnknown", at(1))],
        allocatable_gpus: 8.0,
        capacity_gpus: 8.0,
        gpu_type: None,
        node_pool: None,
        region: None,
    };
    let scene = Scene::new()
        .sees(Observation::Node(Box::new(node)))
        .pod(pod(
            "bert-x",
            "Running",
            ContainerState::Running {
                started: Some(at(0)),
            },
        ));
    let early = at(1) + SignedDuration::from_secs(39);
    assert!(scene.says(early).is_empty());
    assert_eq!(scene.says(at(2)), ["Disrupted/NodeNotReady"]);
    // A node that is taken out of the cluster takes its silence with it, and not the trouble of its pods.
    let scene = scene.sees(Observation::NodeGone {
        cluster: "prod".to_owned(),
        name: "gpu-07".to_owned(),
    });
    assert_eq!(scene.says(at(2)), ["Disrupted/NodeLost"]);
}

#[test]
fn frequent_restarts_are_noticed_though_the_container_runs_each_time() {
    let running = |restarts: u32| {
        let mut running = pod(
            "bert-x",
            "Running",
            ContainerState::Running {
                started: Some(at(1)),
            },
        );
        running.containers[0].restarts = restarts;
        running.containers[0].last = Some(end(1, "Error", at(1)));
        running
    };
    let scene = Scene::new().pod(running(0)).pod(running(1));
    assert!(scene.says(at(2)).is_empty(), "one restart is not frequent");
    let scene = scene.pod(running(2));
    assert_eq!(scene.says(at(2)), ["~Crashed/FrequentRestarts"]);
    assert!(scene.says(at(20)).is_empty(), "the window has passed");
}

#[test]
fn a_finished_job_is_not_judged_by_its_earlier_pods() {
    let failed = pod(
        "bert-1",
        "Failed",
        ContainerState::Terminated(end(1, "Error", at(1))),
    );
    let scene = Scene::new().pod(failed).controller(controller(
        "Job",
        vec![condition("Complete", "True", "", at(3))],
    ));
    assert!(scene.says(at(4)).is_empty());
    assert!(ended_well(scene.job()));
}

fn replica(name: &str, phase: &str, created: i64, ready: bool) -> Pod {
    let mut replica = pod(
        name,
        phase,
        ContainerState::Running {
            started: Some(at(created)),
        },
    );
    replica.created = at(created);
    replica.owner = Some(ObjectRef {
        kind: "ReplicaSet".into(),
        name: "bert-66c9".to_owned(),
        uid: Some("uid-rs".to_owned()),
    });
    if ready {
        replica.conditions = vec![condition("Ready", "True", "", at(created))];
    }
    replica
}

#[test]
fn an_evicted_replica_counts_until_another_took_its_place() {
    let mut evicted = replica("bert-66c9-a", "Failed", 0, false);
    evicted.reason = Some("Evicted".into());
    let scene = Scene::new().pod(evicted);
    let scene = scene.pod(replica("bert-66c9-b", "Running", 1, false));
    assert_eq!(scene.says(at(2)), ["Disrupted/Evicted"]);
    let scene = scene.pod(replica("bert-66c9-b", "Running", 1, true));
    assert!(scene.says(at(3)).is_empty());
}

#[test]
fn a_finished_job_does_not_hide_a_service_of_the_same_name() {
    let mut done = controller("Job", vec![condition("Complete", "True", "", at(1))]);
    done.uid = "uid-job".to_owned();
    let scene = Scene::new()
        .controller(done)
        .controller(controller("Deployment", Vec::new()))
        .pod(pod("bert-66c9-a", "Running", waiting("CrashLoopBackOff")));
    assert_eq!(scene.says(at(3)), ["~Crashed/CrashLoopBackOff"]);
    assert!(!ended_well(scene.job()));
}

#[test]
fn a_finished_run_of_a_cron_job_is_not_judged_by_its_earlier_pods() {
    let mut run = controller("Job", vec![condition("Complete", "True", "", at(3))]);
    run.desired = 2;
    run.owner = Some(ObjectRef {
        kind: "CronJob".into(),
        name: "nightly".to_owned(),
        uid: Some("uid-cron".to_owned()),
    });
    let failed = ContainerState::Terminated(end(1, "Error", at(1)));
    let scene = Scene::new()
        .controller(run)
        .pod(pod("bert-1", "Failed", failed));
    assert!(scene.says(at(4)).is_empty());
    assert!(ended_well(scene.job()));
}

#[test]
fn what_holds_for_a_while_is_looked_at_again_when_that_is_over() {
    let mut running = pod(
        "bert-x",
        "Running",
        ContainerState::Running {
            started: Some(at(1)),
        },
    );
    running.containers[0].last = Some(end(137, "OOMKilled", at(1)));
    let scene = Scene::new().pod(running);
    let judged = scene.judged(at(2));
    assert_eq!(judged.symptoms.len(), 1);
    let again = judged.recheck.expect("a time to look again");
    assert!(scene.judged(again).symptoms.is_empty());
}

#[test]
fn a_pod_that_is_to_leave_a_silent_node_is_still_in_trouble() {
    let node = Node {
        cluster: "prod".to_owned(),
        name: "gpu-07".to_owned(),
        uid: "uid-node".to_owned(),
        created: at(0),
        unschedulable: false,
        taints: Vec::new(),
        conditions: vec![condition("Ready", "Unknown", "NodeStatusUnknown", at(1))],
        allocatable_gpus: 8.0,
        capacity_gpus: 8.0,
        gpu_type: None,
        node_pool: None,
        region: None,
    };
    let mut leaving = pod(
        "bert-x",
        "Running",
        ContainerState::Running {
            started: Some(at(0)),
        },
    );
    leaving.deleting = Some(at(6));
    let scene = Scene::new()
        .sees(Observation::Node(Box::new(node)))
        .pod(leaving);
    assert_eq!(scene.says(at(8)), ["Disrupted/NodeNotReady"]);
}

#[test]
fn a_pod_that_ran_out_of_time_says_so_beside_how_its_container_ended() {
    let mut late = pod(
        "bert-x",
        "Failed",
        ContainerState::Terminated(end(137, "Error", at(2))),
    );
    late.reason = Some("DeadlineExceeded".into());
    let says = Scene::new().pod(late).says(at(3));
    assert!(
        says.contains(&"Crashed/DeadlineExceeded".to_owned()),
        "{says:?}"
    );
}

#[test]
fn the_third_preemption_of_a_day_is_a_failure_of_its_own() {
    let evict = |n: i64| {
        let mut evict = event(
            "Normal",
            "Evict",
            "was preempted by higher priority workload",
            ("PodGroup", "pg-bert-0b6a5b0e-6c4e-4c39-9a65-1b8f0d1f3a01"),
        );
        evict.uid = format!("evict-{n}");
        evict.first = None;
        evict.last = at(n * 120);
        Observation::Event(Box::new(evict))
    };
    let twice = Scene::new()
        .workload(workload("Pending", at(1)))
        .sees(evict(0))
        .sees(evict(1));
    assert_eq!(twice.says(at(121)), ["?Disrupted/Preempted"]);
    let thrice = twice.sees(evict(2));
    assert_eq!(
        thrice.says(at(241)),
        ["Disrupted/RepeatedPreemption", "?Disrupted/Preempted"]
    );
    let detail = &thrice.judged(at(241)).symptoms[0].detail;
    assert_eq!(detail, "preempted 3 times within 24 hours");
    // A day after the first of the three there were only two.
    assert!(
        !thrice
            .says(at(24 * 60 + 1))
            .contains(&"Disrupted/RepeatedPreemption".to_owned())
    );
}

#[test]
fn a_gang_that_is_taken_at_once_was_preempted_once() {
    let taken: Vec<Event> = (0..64)
        .map(|n| {
            let mut event = event("Normal", "Preempted", "by a/b", ("Pod", "bert-x"));
            event.last = at(n / 16);
            event
        })
        .collect();
    assert_eq!(preemptions(&taken, at(10)).len(), 1);
    let mut folded = event("Normal", "Evict", "taken", ("PodGroup", "pg"));
    folded.count = 64;
    (folded.first, folded.last) = (Some(at(0)), at(1));
    assert_eq!(preemptions([&folded], at(10)).len(), 1);
    folded.count = 4;
    folded.last = at(600);
    assert_eq!(preemptions([&folded], at(601)).len(), 4);
}

#[test]
fn two_jobs_that_die_on_one_node_make_it_suspect_and_one_does_not() {
    let died = |job: &str, node: &str, exit_code: i32, minute: i64| {
        let mut pod = pod(
            &format!("{job}-x"),
            "Failed",
            ContainerState::Terminated(end(exit_code, "Error", at(minute))),
        );
        pod.uid = format!("uid-{job}");
        pod.workload = job.into();
        pod.owner = None;
        pod.runai_id = None;
        pod.node = Some(node.to_owned());
        pod
    };
    let node = || Node {
        cluster: "prod".into(),
        name: "gpu-1".to_owned(),
        uid: "uid-gpu-1".to_owned(),
        created: at(0),
        unschedulable: false,
        taints: Vec::new(),
        conditions: Vec::new(),
        capacity_gpus: 8.0,
        allocatable_gpus: 8.0,
        gpu_type: None,
        node_pool: None,
        region: None,
    };
    let judged = |pods: Vec<Pod>, now: Timestamp| {
        let mut scene = Scene::new().sees(Observation::Node(Box::new(node())));
        for pod in pods {
            scene = scene.pod(pod);
        }
        let entry = scene.estate.node("prod", "gpu-1").expect("it was seen");
        node_symptoms(entry, &scene.estate, &Thresholds::default(), now)
            .symptoms
            .into_iter()
            .map(|symptom| symptom.detail)
            .collect::<Vec<_>>()
    };
    let one = died("one", "gpu-1", 139, 1);
    let two = died("two", "gpu-1", 134, 30);
    assert_eq!(judged(vec![one.clone()], at(31)), Vec::<String>::new());
    assert_eq!(
        judged(vec![one.clone(), two.clone()], at(31)),
        ["node gpu-1: 2 different jobs failed here within the hour: two, one"]
    );
    for (other, why) in [
        (died("two", "gpu-1", 1, 30), "an error of its own"),
        (died("two", "gpu-1", 143, 30), "somebody stopped it"),
        (died("two", "gpu-2", 139, 30), "another node"),
    ] {
        assert_eq!(
            judged(vec![one.clone(), other], at(31)),
            Vec::<String>::new(),
            "{why}"
        );
    }
    assert_eq!(
        judged(vec![one, two], at(62)),
        Vec::<String>::new(),
        "an hour ago"
    );
}
