//! What joins, what stays apart, and what a finished list changes.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{Estate, Found, RUNAI_SCOPE};
use crate::desk::JobQuery;
use crate::estate::{JobKey, Node, Phase, Pod, Workload};
use crate::watch::Observation;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).expect("a time in range")
}

fn workload(id: &str, name: &str, cluster_id: &str, created: i64) -> Workload {
    Workload {
        id: id.to_owned(),
        name: name.to_owned(),
        kind: "Training".into(),
        project: "nlp".into(),
        namespace: "runai-nlp".into(),
        cluster_id: cluster_id.into(),
        phase: Phase::Running,
        phase_message: None,
        phase_reason: None,
        submitted_by: None,
        created: at(created),
        phase_updated: None,
        completed: None,
        requested_gpus: Some(1.0),
        allocated_gpus: None,
        idle_allocated_gpus: None,
        requested_pods: Some(1),
        running_pods: 1,
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

fn pod(name: &str, of: &str, runai_id: Option<&str>, node: &str) -> Pod {
    Pod {
        cluster: "prod".into(),
        namespace: "runai-nlp".into(),
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        created: at(0),
        deleting: None,
        node: Some(node.to_owned()),
        phase: "Running".into(),
        reason: None,
        message: None,
        conditions: Vec::new(),
        containers: Vec::new(),
        owner: None,
        workload: of.into(),
        runai_id: runai_id.map(str::to_owned),
        project: None,
        gpus: 1.0,
        scheduler: None,
        claims: Vec::new(),
        rank: None,
        restart_policy: None,
    }
}

fn node(name: &str) -> Node {
    Node {
        cluster: "prod".to_owned(),
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        created: at(-9_000),
        unschedulable: false,
        taints: Vec::new(),
        conditions: Vec::new(),
        allocatable_gpus: 8.0,
        capacity_gpus: 8.0,
        gpu_type: None,
        node_pool: None,
        region: None,
    }
}

/// One estate of the context `prod`.
struct Scene(Estate);

impl Scene {
    fn new() -> Self {
        Self(Estate::new(vec!["prod".to_owned()], HashMap::new()))
    }

    fn sees(&mut self, observation: Observation) -> Vec<String> {
        let changed = self.0.apply(observation, at(1));
        changed.into_iter().map(|key| key.name).collect()
    }

    fn workload(&mut self, workload: Workload) -> Vec<String> {
        self.sees(Observation::Workload(Box::new(workload)))
    }

    fn pod(&mut self, pod: Pod) -> Vec<String> {
        self.sees(Observation::Pod(Box::new(pod)))
    }

    fn list(&mut self, scope: &str, rows: Vec<Observation>) -> Vec<String> {
        let scope = scope.to_owned();
        self.sees(Observation::ListStarted {
            scope: scope.clone(),
        });
        let mut changed: Vec<String> = rows.into_iter().flat_map(|row| self.sees(row)).collect();
        changed.extend(self.sees(Observation::ListDone { scope }));
        changed
    }

    /// Each job as `cluster/name workload pods`.
    fn jobs(&self) -> Vec<String> {
        let mut jobs: Vec<String> = self
            .0
            .jobs()
            .map(|job| {
                let mut pods: Vec<&str> = job.pods.iter().map(|pod| pod.name.as_str()).collect();
                pods.sort_unstable();
                let id = job.workload.as_ref().map_or("-", |w| w.id.as_str());
                let JobKey { cluster, name, .. } = &*job.key;
                format!("{cluster}/{name} {id} {}", pods.join("+"))
            })
            .collect();
        jobs.sort_unstable();
        jobs
    }

    fn find(&self, name: &str) -> Found {
        self.0.find(&JobQuery {
            name: name.to_owned(),
            ..JobQuery::default()
        })
    }
}

const OLD: &str = "0b6a5b0e-6c4e-4c39-9a65-1b8f0d1f3a01";
const NEW: &str = "9f31c2aa-1d54-4a7e-8a54-7c2c5c1f0002";

#[test]
fn two_live_workloads_of_one_name_are_two_jobs_with_their_own_pods() {
    for (first, second) in [((OLD, 0), (NEW, 60)), ((NEW, 60), (OLD, 0))] {
        let mut scene = Scene::new();
        scene.pod(pod("dev-old", "dev", Some(OLD), "gpu-1"));
        scene.pod(pod("dev-new", "dev", Some(NEW), "gpu-2"));
        for (id, created) in [first, second] {
            scene.workload(workload(id, "dev", "c-1", created));
        }
        scene.pod(pod("dev-old-2", "dev", Some(OLD), "gpu-1"));
        let both = [
            format!("prod/dev {NEW} dev-new"),
            format!("prod/dev:0b6a5b0e {OLD} dev-old+dev-old-2"),
        ];
        assert_eq!(scene.jobs(), both);
        // To be told the same again moves nothing.
        assert!(scene.workload(workload(OLD, "dev", "c-1", 0)).is_empty());
        assert!(scene.workload(workload(NEW, "dev", "c-1", 60)).is_empty());

        let Found::Several(keys) = scene.find("dev") else {
            panic!("both are meant")
        };
        let names: Vec<String> = keys.iter().map(|key| scene.0.telling_name(key)).collect();
        assert_eq!(names, ["dev:9f31c2aa", "dev:0b6a5b0e"]);
        for (name, key) in names.iter().zip(&keys) {
            assert_eq!(scene.find(name), Found::One(key.clone()), "{name}");
        }

        scene.sees(Observation::WorkloadGone { id: NEW.to_owned() });
        scene.sees(Observation::PodGone {
            cluster: "prod".to_owned(),
            namespace: "runai-nlp".to_owned(),
            name: "dev-new".to_owned(),
            uid: "uid-dev-new".to_owned(),
        });
        assert_eq!(scene.jobs(), both[1..]);
        assert!(matches!(scene.find("dev"), Found::One(_)));
    }
}

#[test]
fn a_rerun_keeps_the_plain_name_and_its_predecessor_ends_apart() {
    let mut scene = Scene::new();
    scene.list(
        RUNAI_SCOPE,
        vec![Observation::Workload(Box::new(workload(
            OLD, "bert", "c-1", 0,
        )))],
    );
    let changed = scene.workload(workload(NEW, "bert", "c-1", 90));
    assert_eq!(changed, ["bert:0b6a5b0e", "bert"]);
    let changed = scene.list(
        RUNAI_SCOPE,
        vec![Observation::Workload(Box::new(workload(
            NEW, "bert", "c-1", 90,
        )))],
    );
    assert_eq!(changed, ["bert:0b6a5b0e"]);
    assert_eq!(scene.jobs(), [format!("prod/bert {NEW} ")]);
}

#[test]
fn a_cluster_that_is_known_to_be_another_shares_no_jobs_with_ours() {
    let mut scene = Scene::new();
    scene.workload(workload(OLD, "bert", "c-1", 0));
    scene.workload(workload(NEW, "bert", "c-2", 60));
    // Nothing tells yet which of them is the one that is watched.
    assert_eq!(scene.jobs().len(), 2);
    scene.pod(pod("bert-0", "bert", Some(OLD), "gpu-1"));
    scene.workload(workload("w-3", "t5", "c-2", 90));
    assert_eq!(
        scene.jobs(),
        [
            format!("c-2/bert {NEW} "),
            "c-2/t5 w-3 ".to_owned(),
            format!("prod/bert:0b6a5b0e {OLD} bert-0"),
        ]
    );
    assert!(matches!(scene.find("bert"), Found::Several(_)));
}

#[test]
fn a_node_that_a_list_no_longer_holds_changes_the_jobs_on_it() {
    let mut scene = Scene::new();
    let nodes = ["gpu-1", "gpu-2"].map(|name| Observation::Node(Box::new(node(name))));
    scene.list("nodes@prod", nodes.to_vec());
    scene.pod(pod("a-0", "a", None, "gpu-1"));
    scene.pod(pod("b-0", "b", None, "gpu-2"));
    let left = Observation::Node(Box::new(node("gpu-2")));
    assert_eq!(scene.list("nodes@prod", vec![left]), ["a"]);
    assert_eq!(scene.0.lost_node("prod", "gpu-1"), Some(at(1)));
    assert_eq!(scene.0.lost_node("prod", "gpu-2"), None);
    scene.sees(Observation::PodGone {
        cluster: "prod".to_owned(),
        namespace: "runai-nlp".to_owned(),
        name: "a-0".to_owned(),
        uid: "uid-a-0".to_owned(),
    });
    assert_eq!(scene.0.lost_node("prod", "gpu-1"), None, "nobody misses it");
}

#[test]
fn pods_that_come_change_and_go_in_any_order_leave_nothing_behind() {
    let mut scene = Scene::new();
    let name = |n: usize| format!("gang-{n}");
    for n in 0..16 {
        scene.pod(pod(&name(n), "gang", None, &format!("gpu-{}", n % 4)));
    }
    let gone = |n: usize| Observation::PodGone {
        cluster: "prod".to_owned(),
        namespace: "runai-nlp".to_owned(),
        name: name(n),
        uid: format!("uid-{}", name(n)),
    };
    for n in [3, 15, 0, 7, 8] {
        scene.sees(gone(n));
    }
    for n in [1, 2, 4, 14] {
        let mut ended = pod(&name(n), "gang", None, &format!("gpu-{}", n % 4));
        ended.phase = "Succeeded".into();
        assert_eq!(scene.pod(ended.clone()), ["gang"], "it changed");
        assert!(scene.pod(ended).is_empty(), "the same again is no change");
    }
    assert_eq!(scene.0.jobs_on("prod", "gpu-3").len(), 1);
    for n in (0..16).filter(|n| ![3, 15, 0, 7, 8].contains(n)) {
        scene.sees(gone(n));
    }
    assert_eq!(scene.0.job_count(), 0);
    assert!(scene.0.jobs_on("prod", "gpu-3").is_empty());
}
