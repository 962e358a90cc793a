//! What is told as gone, and what is only no longer looked at.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use jiff::{SignedDuration, Timestamp};

use super::Pipeline;
use crate::alert::lifecycle::Event;
use crate::alert::service::Alerts;
use crate::alert::settings::Settings;
use crate::alert::{AlertState, Severity};
use crate::detect::Thresholds;
use crate::estate::index::{Estate, RUNAI_SCOPE};
use crate::estate::{Condition, Controller, Node, Phase, Workload};
use crate::store::{AlertFilter, Store};
use crate::watch::Observation;
use crate::watch::control::{MonitoringControl, Projects};
use crate::watch::sources::Sources;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).expect("a time in range")
}

fn failed(name: &str, project: &str) -> Observation {
    in_phase(name, project, Phase::Failed)
}

fn in_phase(name: &str, project: &str, phase: Phase) -> Observation {
    Observation::Workload(Box::new(Workload {
        id: format!("id-{name}"),
        name: name.to_owned(),
        kind: "Training".into(),
        project: project.into(),
        namespace: format!("runai-{project}").into(),
        cluster_id: "prod".into(),
        phase,
        phase_message: None,
        phase_reason: None,
        submitted_by: None,
        created: at(-600),
        phase_updated: Some(at(-60)),
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
    }))
}

fn list(scope: &str, rows: Vec<Observation>) -> Vec<Observation> {
    let started = Observation::ListStarted {
        scope: scope.to_owned(),
    };
    let done = Observation::ListDone {
        scope: scope.to_owned(),
    };
    std::iter::once(started).chain(rows).chain([done]).collect()
}

struct Scene {
    pipeline: Pipeline,
    store: Store,
    control: MonitoringControl,
    folder: std::path::PathBuf,
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Scene {
    async fn new() -> Self {
        let folder = std::env::temp_dir().join(crate::store::new_id());
        std::fs::create_dir(&folder).expect("a folder");
        let url = format!("sqlite://{}", folder.join("test.db").display());
        let store = Store::open(&url).await.expect("a database");
        let control = MonitoringControl::open(store.clone(), Projects::All, at(0))
            .await
            .expect("a state");
        let pipeline = Self::started(&store, &control);
        Self {
            pipeline,
            store,
            control,
            folder,
        }
    }

    fn started(store: &Store, control: &MonitoringControl) -> Pipeline {
        Pipeline::new(
            Arc::new(RwLock::new(Estate::new(Vec::new(), HashMap::new()))),
            Alerts::new(store.clone(), Settings::default()),
            store.clone(),
            control.clone(),
            Sources::default(),
            Thresholds::default(),
        )
    }

    /// The process ends and begins again.
    fn restart(&mut self) {
        self.pipeline = Self::started(&self.store, &self.control);
    }

    async fn sees(&mut self, observations: Vec<Observation>, now: Timestamp) {
        for observation in observations {
            self.pipeline.observe(observation, now);
        }
        self.settle(now).await;
    }

    async fn settle(&mut self, now: Timestamp) {
        if let Some(handing) = self.pipeline.hand_over(now) {
            handing.await.1.expect("saved");
        }
    }

    /// Name, whether it is over, and severity of every alert.
    async fn alerts(&self) -> Vec<(String, bool, Severity)> {
        let all = AlertFilter {
            resolved: true,
            ..AlertFilter::default()
        };
        let mut alerts: Vec<_> = self
            .store
            .alerts(all)
            .await
            .expect("alerts")
            .into_iter()
            .map(|alert| {
                let over = alert.state == AlertState::Resolved;
                (alert.subject.name, over, alert.severity)
            })
            .collect();
        alerts.sort_by(|a, b| a.0.cmp(&b.0));
        alerts
    }

    /// Every alert by name with how it ended.
    async fn ends(&self) -> Vec<String> {
        let all = AlertFilter {
            resolved: true,
            ..AlertFilter::default()
        };
        let alerts = self.store.alerts(all).await.expect("alerts").into_iter();
        let mut ends: Vec<String> = alerts
            .map(|alert| {
                let end = alert.resolution.unwrap_or_else(|| "open".to_owned());
                format!("{} {end}", alert.subject.name)
            })
            .collect();
        ends.sort_unstable();
        ends
    }

    async fn over(&self) -> Vec<(String, bool)> {
        let alerts = self.alerts().await.into_iter();
        alerts.map(|(name, over, _)| (name, over)).collect()
    }
}

#[tokio::test]
async fn a_job_out_of_the_narrowed_scope_is_not_told_as_gone() {
    let mut scene = Scene::new().await;
    let both = || vec![failed("bert", "nlp"), failed("sums", "etl")];
    scene.sees(list(RUNAI_SCOPE, both()), at(0)).await;

    scene
        .control
        .start(Some("etl".to_owned()), None, "mira", at(10))
        .await
        .expect("saved");
    let narrowed = list(RUNAI_SCOPE, vec![failed("sums", "etl")]);
    scene.sees(narrowed, at(11)).await;
    let open = |name: &str| (name.to_owned(), false);
    assert_eq!(scene.over().await, [open("bert"), open("sums")]);

    // Then it really goes away while nobody looks, which is noticed when somebody does.
    scene
        .control
        .start(None, None, "mira", at(20))
        .await
        .expect("saved");
    let wide = list(RUNAI_SCOPE, vec![failed("sums", "etl")]);
    scene.sees(wide, at(21)).await;
    scene.pipeline.compare(at(30)).await.expect("compared");
    scene.settle(at(30)).await;
    assert_eq!(
        scene.over().await,
        [open("bert"), open("sums")],
        "too early"
    );
    scene.pipeline.compare(at(90)).await.expect("compared");
    scene.settle(at(90)).await;
    assert_eq!(
        scene.over().await,
        [("bert".to_owned(), true), open("sums")]
    );
}

#[tokio::test]
async fn a_node_that_was_removed_while_nobody_ran_is_no_longer_alerted() {
    let mut scene = Scene::new().await;
    let silent = Node {
        cluster: "prod".to_owned(),
        name: "gpu-07".to_owned(),
        uid: "uid-node".to_owned(),
        created: at(-9_000),
        unschedulable: false,
        taints: Vec::new(),
        conditions: vec![Condition {
            kind: "Ready".into(),
            status: "Unknown".into(),
            reason: None,
            message: None,
            since: Some(at(-300)),
        }],
        allocatable_gpus: 8.0,
        capacity_gpus: 8.0,
        gpu_type: None,
        node_pool: None,
        region: None,
    };
    let nodes = vec![Observation::Node(Box::new(silent))];
    scene.sees(list("nodes@prod", nodes), at(0)).await;
    assert_eq!(scene.over().await, [("gpu-07".to_owned(), false)]);

    scene.restart();
    scene.pipeline.compare(at(90)).await.expect("compared");
    scene.settle(at(90)).await;
    assert_eq!(
        scene.over().await,
        [("gpu-07".to_owned(), false)],
        "nothing was listed yet"
    );
    scene.sees(list("nodes@prod", Vec::new()), at(100)).await;
    let later = at(100) + SignedDuration::from_secs(60);
    scene.pipeline.compare(later).await.expect("compared");
    scene.settle(later).await;
    assert_eq!(scene.over().await, [("gpu-07".to_owned(), true)]);
}

#[tokio::test]
async fn the_first_failures_of_an_unfinished_list_are_no_share_of_the_estate() {
    let mut scene = Scene::new().await;
    let mut page: Vec<Observation> = (0..30)
        .map(|n| failed(&format!("job-{n}"), "nlp"))
        .collect();
    page.insert(
        0,
        Observation::ListStarted {
            scope: RUNAI_SCOPE.to_owned(),
        },
    );
    scene.sees(page, at(0)).await;
    let alerts = scene.alerts().await;
    assert_eq!(alerts.len(), 30);
    assert!(
        alerts
            .iter()
            .all(|(_, _, severity)| *severity == Severity::Medium)
    );
}

#[tokio::test]
async fn more_open_alerts_than_are_read_at_once_are_all_compared_with_what_is_there() {
    let mut scene = Scene::new().await;
    let many = 520;
    let all = (0..many)
        .map(|n| failed(&format!("job-{n}"), "nlp"))
        .collect();
    scene.sees(list(RUNAI_SCOPE, all), at(0)).await;
    assert_eq!(scene.store.count_alerts().await.expect("count").0, many);
    scene.restart();
    scene.sees(list(RUNAI_SCOPE, Vec::new()), at(100)).await;
    scene.pipeline.compare(at(200)).await.expect("compared");
    scene.settle(at(200)).await;
    assert_eq!(scene.store.count_alerts().await.expect("count").0, 0);
}

fn let_go(name: &str) -> Observation {
    Observation::WorkloadLetGo {
        id: format!("id-{name}"),
    }
}

#[tokio::test]
async fn while_only_failures_are_fetched_what_left_the_list_ends_as_what_became_of_it() {
    let mut scene = Scene::new().await;
    scene.pipeline = Scene::started(&scene.store, &scene.control).of_failing_only(true);
    let names = ["bert", "sums", "t5"];
    let all = names.map(|name| failed(name, "nlp")).to_vec();
    scene.sees(list(RUNAI_SCOPE, all), at(0)).await;
    let left = vec![
        in_phase("bert", "nlp", Phase::Running),
        let_go("bert"),
        in_phase("sums", "nlp", Phase::Completed),
        let_go("sums"),
    ];
    scene.sees(left, at(60)).await;
    let estate = Arc::clone(&scene.pipeline.estate);
    assert_eq!(estate.read().expect("no panic").job_count(), 1, "forgotten");

    // The third is deleted while nobody runs. Not to be in a list of failures proves nothing; a word about it does.
    let restarted = Scene::started(&scene.store, &scene.control);
    scene.pipeline = restarted.of_failing_only(true);
    scene.sees(list(RUNAI_SCOPE, Vec::new()), at(100)).await;
    scene.pipeline.compare(at(200)).await.expect("compared");
    scene.settle(at(200)).await;
    let ends = scene.ends().await;
    assert_eq!(ends[1], "sums completed");
    assert_eq!(ends[2], "t5 open");
    let gone = Observation::WorkloadGone {
        id: "id-t5".to_owned(),
    };
    scene.sees(vec![gone], at(210)).await;
    scene.pipeline.compare(at(260)).await.expect("compared");
    scene.settle(at(260)).await;
    let later = at(7_200);
    scene.pipeline.alerts.sweep(later).await.expect("swept");
    assert_eq!(
        scene.ends().await,
        ["bert recovered", "sums completed", "t5 removed"]
    );
}

fn job(uid: &str, created: Timestamp, failed: bool) -> Observation {
    let condition = Condition {
        kind: "Failed".into(),
        status: "True".into(),
        reason: Some("BackoffLimitExceeded".into()),
        message: None,
        since: Some(created),
    };
    Observation::Controller(Box::new(Controller {
        cluster: "prod".into(),
        namespace: "ml".into(),
        name: "train".to_owned(),
        kind: "Job".into(),
        uid: uid.to_owned(),
        created,
        deleting: None,
        owner: None,
        workload: "train".into(),
        runai_id: None,
        project: None,
        suspended: false,
        conditions: failed.then_some(condition).into_iter().collect(),
        desired: 1,
        active: u32::from(!failed),
        failed: u32::from(failed),
        succeeded: 0,
        ready: 0,
        backoff_limit: Some(0),
        gitops: None,
    }))
}

fn job_gone(uid: &str) -> Observation {
    Observation::ControllerGone {
        cluster: "prod".to_owned(),
        namespace: "ml".to_owned(),
        name: "train".to_owned(),
        kind: "Job".to_owned(),
        uid: uid.to_owned(),
    }
}

impl Scene {
    /// What an approved action goes through, as its executor tells it.
    async fn acts(&self, text: &str, mitigating: bool, now: Timestamp) {
        let alerts = self.pipeline.alerts.open().await.expect("alerts");
        let text = text.to_owned();
        let event = Event::ActionNoted { text, mitigating };
        let id = &alerts[0].id;
        let happened = self.pipeline.alerts.happen(id, event, now).await;
        happened.expect("saved");
    }

    async fn approved(&self, now: Timestamp) {
        let alerts = self.pipeline.alerts.open().await.expect("alerts");
        let event = Event::ApprovalDecided {
            text: "approved".to_owned(),
            by: Some("mira".to_owned()),
            approved: true,
        };
        let happened = self.pipeline.alerts.happen(&alerts[0].id, event, now).await;
        happened.expect("saved");
    }
}

#[tokio::test]
async fn a_job_that_our_action_made_anew_ends_its_alert_as_recovered() {
    // Whether the new run is seen while the action goes on, after it, or only by a process that starts later.
    for seen in ["at once", "afterwards", "after a restart"] {
        let mut scene = Scene::new().await;
        let failing = vec![job("uid-1", at(0), true)];
        scene.sees(list("jobs@prod", failing), at(10)).await;
        scene.sees(list("pods@prod", Vec::new()), at(10)).await;
        assert_eq!(scene.ends().await, ["train open"]);
        scene.approved(at(20)).await;
        scene.sees(vec![job_gone("uid-1")], at(21)).await;
        let anew = || vec![job("uid-2", at(22), false)];
        if seen == "at once" {
            scene.sees(anew(), at(22)).await;
        }
        scene.acts("done; watching", true, at(23)).await;
        scene.acts("verified", false, at(60)).await;
        match seen {
            "afterwards" => scene.sees(anew(), at(61)).await,
            "after a restart" => {
                scene.restart();
                scene.sees(list("jobs@prod", anew()), at(70)).await;
                scene.sees(list("pods@prod", Vec::new()), at(70)).await;
            }
            _ => {}
        }
        scene.pipeline.compare(at(120)).await.expect("compared");
        scene.settle(at(120)).await;
        assert_eq!(scene.ends().await, ["train open"], "{seen}: not yet sure");
        scene.pipeline.alerts.sweep(at(7_200)).await.expect("swept");
        assert_eq!(scene.ends().await, ["train recovered"], "{seen}");
    }
}

#[tokio::test]
async fn a_job_that_its_owner_ran_again_is_no_recovery() {
    let mut scene = Scene::new().await;
    let failing = vec![job("uid-1", at(0), true)];
    scene.sees(list("jobs@prod", failing), at(10)).await;
    scene.sees(vec![job_gone("uid-1")], at(21)).await;
    scene.sees(vec![job("uid-2", at(22), false)], at(22)).await;
    assert_eq!(scene.ends().await, ["train removed"]);
}
