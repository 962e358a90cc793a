//! What was permitted is carried out once, rehearsed first, watched afterwards, and told as it was.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nightbell::action::{
    self, ActionKind, ActionSpec, Executor, Parameters, Report, Systems, Target,
};
use nightbell::alert::Severity;
use nightbell::decide::Proposal;
use nightbell::desk::{Principal, Standing, Surface};
use nightbell::diagnose::SafetyClass;
use nightbell::safety::policy::Policy;
use nightbell::safety::{
    Decision, Execution, ExecutionState, Place, Proposed, Safety, Scope, Settings, Start,
};
use serde_json::{Value, json};

use crate::support::cluster::{Cluster, Fault};
use crate::support::database::{TestDatabase, databases, sqlite};
use crate::support::runai::{FakeRunai, workload};

const POD: &str = "/api/v1/namespaces/ml/pods/train-0";
const JOB: &str = "/apis/batch/v1/namespaces/ml/jobs/train";
const WORKLOAD: &str = "0b6a5b0e-6c4e-4c39-9a65-1b8f0d1f3a01";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).expect("a time in range")
}

fn kubernetes(kind: ActionKind, object: &str, name: &str) -> ActionSpec {
    ActionSpec {
        kind,
        target: Target::Kubernetes {
            cluster: "prod".into(),
            namespace: if object == "Node" {
                String::new()
            } else {
                "ml".into()
            },
            kind: object.into(),
            name: name.into(),
            uid: Some("u-1".into()),
        },
        parameters: Parameters::default(),
        avoid_node: None,
    }
}

fn pod(uid: &str, ready: bool) -> Value {
    let ready = if ready { "True" } else { "False" };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "train-0", "namespace": "ml", "uid": uid, "creationTimestamp": "2026-03-02T10:00:00Z",
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "train", "uid": "o-1", "controller": true}],
        },
        "spec": {"containers": [{"name": "main", "image": "train:1"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]},
    })
}

fn job() -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "train", "namespace": "ml", "uid": "u-1", "creationTimestamp": "2026-03-02T10:00:00Z"},
        "spec": {
            "parallelism": 1, "selector": {"matchLabels": {"controller-uid": "u-1"}},
            "template": {"metadata": {"labels": {"controller-uid": "u-1"}}, "spec": {"containers": []}},
        },
        "status": {"failed": 1, "conditions": [{"type": "Failed", "status": "True"}]},
    })
}

/// A gate, an executor and what they told, over one database and one cluster.
struct Bench {
    safety: Safety,
    executor: Executor,
    db: TestDatabase,
    told: Arc<Mutex<Vec<(ExecutionState, String, bool)>>>,
}

impl Bench {
    fn new(db: TestDatabase, cluster: &Cluster, runai: Option<&FakeRunai>, dry_run: bool) -> Self {
        Self::with_timeout(
            db,
            cluster,
            runai,
            dry_run,
            action::Settings::default().timeout,
        )
    }

    fn with_timeout(
        db: TestDatabase,
        cluster: &Cluster,
        runai: Option<&FakeRunai>,
        dry_run: bool,
        timeout: Duration,
    ) -> Self {
        let settings = Settings {
            policy: Policy {
                dry_run,
                ..Policy::default()
            },
            approvers: "local".parse().expect("approvers"),
            ..Settings::default()
        };
        let safety = Safety::new(db.store.clone(), settings);
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let executor = Executor::new(
            safety.clone(),
            db.store.clone(),
            Systems {
                runai: runai.map(FakeRunai::client),
                clusters: cluster.clusters(),
                ..Systems::default()
            },
            action::Settings {
                timeout,
                ..action::Settings::default()
            },
            Arc::new(move |report| {
                if let Report::Execution {
                    execution,
                    text,
                    needs_person,
                } = report
                {
                    heard
                        .lock()
                        .expect("not poisoned")
                        .push((execution.state, text, needs_person));
                }
                Box::pin(async { Ok(()) })
            }),
        );
        Self {
            safety,
            executor,
            db,
            told,
        }
    }

    /// Asks for the action, has it approved, and returns the permitted execution.
    async fn approved(&self, spec: ActionSpec, now: Timestamp) -> Execution {
        let proposal = Proposal {
            spec,
            class: SafetyClass::Gated,
            severity: Severity::High,
            reason: "a reason".into(),
            impact: Vec::new(),
            scope: Scope {
                service: "prod/ml/train".into(),
                cause: Some("xid_79".into()),
                instances: 1,
                touched: 0,
                failing_since: None,
                place: Place::default(),
            },
            healthy_taken: 0,
            owned_elsewhere: false,
        };
        let mut tx = self.db.store.begin().await.expect("begin");
        let proposed = self
            .safety
            .propose(&mut tx, "alert-1", &proposal, now)
            .await
            .expect("propose");
        tx.commit().await.expect("commit");
        let Proposed::Asked(approval) = proposed else {
            panic!("{proposed:?}")
        };
        let local = Principal {
            surface: Surface::Console,
            user: "local".into(),
            team: None,
            standing: Standing::Member,
        };
        let decision = self
            .safety
            .decide(&approval.id, &local, true, None, now)
            .await
            .expect("decide");
        let Decision::Approved { execution, .. } = decision else {
            panic!("{decision:?}")
        };
        execution
    }

    async fn turn(&self, now: Timestamp) {
        self.executor.turn(now).await.expect("a turn");
    }

    async fn state(&self, execution: &Execution) -> Execution {
        self.db
            .store
            .execution(&execution.id)
            .await
            .expect("read")
            .expect("there")
            .0
    }

    fn told(&self) -> Vec<(ExecutionState, String, bool)> {
        self.told.lock().expect("not poisoned").clone()
    }
}

#[tokio::test]
async fn an_approved_pod_deletion_is_rehearsed_done_once_and_verified() {
    for db in databases().await {
        let cluster = Cluster::start().await;
        cluster.put(POD, pod("u-1", false));
        let bench = Bench::new(db, &cluster, None, false);
        let execution = bench
            .approved(kubernetes(ActionKind::DeletePod, "Pod", "train-0"), at(0))
            .await;

        bench.turn(at(1)).await;
        assert_eq!(cluster.writes(), [format!("DELETE {POD}")]);
        assert_eq!(
            bench.state(&execution).await.state,
            ExecutionState::Verifying
        );
        assert_eq!(
            cluster
                .world()
                .requests
                .iter()
                .filter(|r| r.starts_with("DELETE"))
                .count(),
            2,
            "once rehearsed, once done"
        );

        bench.turn(at(2)).await;
        assert_eq!(
            bench.state(&execution).await.state,
            ExecutionState::Verifying,
            "nothing took its place yet"
        );
        cluster.put(POD, pod("u-2", true));
        bench.turn(at(10)).await;
        assert_eq!(
            bench.state(&execution).await.state,
            ExecutionState::Verifying,
            "it must hold for a while"
        );
        bench.turn(at(30)).await;
        let verified = bench.state(&execution).await;
        assert_eq!(verified.state, ExecutionState::Verified);
        assert_eq!(
            verified.verification.as_deref(),
            Some("pod train-0 took its place and is ready")
        );
        assert_eq!(cluster.writes().len(), 1);
        assert_eq!(
            bench.told().last().expect("told").1,
            "verified: delete pod Pod ml/train-0 in prod; pod train-0 took its place and is ready."
        );
    }
}

#[tokio::test]
async fn a_dry_run_does_everything_but_the_call_and_says_what_it_would_be() {
    let cluster = Cluster::start().await;
    cluster.put(POD, pod("u-1", false));
    let bench = Bench::new(sqlite().await, &cluster, None, true);
    let execution = bench
        .approved(kubernetes(ActionKind::DeletePod, "Pod", "train-0"), at(0))
        .await;
    bench.turn(at(1)).await;
    let done = bench.state(&execution).await;
    assert_eq!(done.state, ExecutionState::DryRun);
    assert_eq!(
        done.answer.as_deref(),
        Some("dry-run, nothing was changed. It would: DELETE pod ml/train-0 with uid u-1")
    );
    assert!(cluster.writes().is_empty());
}

#[tokio::test]
async fn a_target_that_changed_recovered_or_went_away_is_left_alone() {
    for (object, why) in [
        (Some(pod("u-2", false)), "was made anew"),
        (Some(pod("u-1", true)), "ready again"),
        (None, "not found"),
    ] {
        let cluster = Cluster::start().await;
        if let Some(object) = object {
            cluster.put(POD, object);
        }
        let bench = Bench::new(sqlite().await, &cluster, None, false);
        let execution = bench
            .approved(kubernetes(ActionKind::DeletePod, "Pod", "train-0"), at(0))
            .await;
        bench.turn(at(1)).await;
        let done = bench.state(&execution).await;
        assert_eq!(done.state, ExecutionState::Cancelled, "{why}");
        assert!(
            done.answer
                .as_deref()
                .is_some_and(|answer| answer.contains(why)),
            "{why}: {done:?}"
        );
        assert!(cluster.writes().is_empty());
    }
}

#[tokio::test]
async fn refusals_conflicts_and_silence_each_end_as_what_they_are_and_are_not_repeated() {
    let table = [
        (Fault::Status(403), ExecutionState::Failed),
        (Fault::Status(409), ExecutionState::Cancelled),
        (Fault::Status(429), ExecutionState::Failed),
        (Fault::Status(500), ExecutionState::Unknown),
        (Fault::Swallowed, ExecutionState::Unknown),
    ];
    for (fault, expected) in table {
        let cluster = Cluster::start().await;
        cluster.put(POD, pod("u-1", false));
        cluster.world().faults.push_back(fault);
        // Only the silent one waits for it; the others must not run into it on a busy machine.
        let timeout = Duration::from_secs(if matches!(fault, Fault::Swallowed) {
            2
        } else {
            60
        });
        let bench = Bench::with_timeout(sqlite().await, &cluster, None, false, timeout);
        let execution = bench
            .approved(kubernetes(ActionKind::DeletePod, "Pod", "train-0"), at(0))
            .await;
        bench.turn(at(1)).await;
        assert_eq!(bench.state(&execution).await.state, expected, "{fault:?}");
        bench.turn(at(20)).await;
        bench.turn(at(900)).await;
        let deletes = cluster
            .world()
            .requests
            .iter()
            .filter(|r| r.starts_with("DELETE"))
            .count();
        assert_eq!(deletes, 2, "{fault:?}: one rehearsal, one call, no repeat");
        let after = bench.state(&execution).await;
        assert_eq!(after.state, expected, "{fault:?}");
        if expected == ExecutionState::Unknown {
            assert!(
                after.verification.is_some(),
                "{fault:?}: the target was observed"
            );
            assert!(
                bench.told().last().expect("told").2,
                "{fault:?}: a person is asked"
            );
        }
    }
}

#[tokio::test]
async fn without_permission_nothing_is_sent() {
    let cluster = Cluster::start().await;
    cluster.put(POD, pod("u-1", false));
    cluster.world().forbids = true;
    let bench = Bench::new(sqlite().await, &cluster, None, false);
    let execution = bench
        .approved(kubernetes(ActionKind::DeletePod, "Pod", "train-0"), at(0))
        .await;
    bench.turn(at(1)).await;
    let done = bench.state(&execution).await;
    assert_eq!(done.state, ExecutionState::Failed);
    assert_eq!(
        done.answer.as_deref(),
        Some("nothing was done: the cluster does not let nightbell delete pods there")
    );
    assert!(
        !cluster
            .world()
            .requests
            .iter()
            .any(|r| r.starts_with("DELETE"))
    );
}

#[tokio::test]
async fn a_crash_between_start_and_answer_is_told_as_unknown_and_not_repeated() {
    for db in databases().await {
        let cluster = Cluster::start().await;
        cluster.put(POD, pod("u-1", false));
        let bench = Bench::new(db, &cluster, None, false);
        let execution = bench
            .approved(kubernetes(ActionKind::DeletePod, "Pod", "train-0"), at(0))
            .await;
        // Another process marked the start, and died.
        assert!(matches!(
            bench
                .safety
                .start(&execution.id, at(1))
                .await
                .expect("start"),
            Start::Go(_)
        ));

        bench.turn(at(500)).await;
        assert_eq!(bench.state(&execution).await.state, ExecutionState::Unknown);
        let (state, text, needs_person) = bench.told()[0].clone();
        assert_eq!((state, needs_person), (ExecutionState::Unknown, true));
        assert!(text.contains("It is not repeated."), "{text}");
        bench.turn(at(1200)).await;
        let seen = bench.state(&execution).await;
        assert_eq!(
            seen.verification.as_deref(),
            Some("the pod is still ending"),
            "its target was looked at"
        );
        assert!(cluster.writes().is_empty());
    }
}

#[tokio::test]
async fn a_result_that_does_not_come_is_told_as_not_verified() {
    let cluster = Cluster::start().await;
    cluster.put(POD, pod("u-1", false));
    let bench = Bench::new(sqlite().await, &cluster, None, false);
    let execution = bench
        .approved(kubernetes(ActionKind::DeletePod, "Pod", "train-0"), at(0))
        .await;
    bench.turn(at(1)).await;
    cluster.put(POD, pod("u-2", false));
    bench.turn(at(10)).await;
    bench.turn(at(700)).await;
    let done = bench.state(&execution).await;
    assert_eq!(done.state, ExecutionState::NotVerified);
    assert_eq!(
        done.verification.as_deref(),
        Some("pod train-0 took its place and is Running")
    );
    assert!(bench.told().last().expect("told").2, "a person is asked");
}

#[tokio::test]
async fn a_job_is_made_anew_without_what_the_controller_added_and_its_manifest_is_kept() {
    let cluster = Cluster::start().await;
    cluster.put(JOB, job());
    let bench = Bench::new(sqlite().await, &cluster, None, false);
    let mut spec = kubernetes(ActionKind::RecreateJob, "Job", "train");
    spec.avoid_node = Some("gpu-7".into());
    let execution = bench.approved(spec, at(0)).await;
    bench.turn(at(1)).await;
    assert_eq!(
        cluster.writes(),
        [
            format!("DELETE {JOB}"),
            "POST /apis/batch/v1/namespaces/ml/jobs".to_owned()
        ],
        "{:?} {:?}",
        bench.state(&execution).await,
        cluster.world().requests
    );
    let made = cluster.world().objects[JOB].clone();
    assert_ne!(made["metadata"]["uid"], "u-1");
    assert!(made["spec"].get("selector").is_none());
    assert!(
        made["spec"]["template"]["spec"]
            .to_string()
            .contains("gpu-7"),
        "the node is avoided"
    );
    let memory = bench
        .db
        .store
        .execution_memory(&execution.id)
        .await
        .expect("read")
        .expect("kept");
    assert_eq!(memory["manifest"]["metadata"]["name"], "train");

    let mut running = made;
    running["status"] = json!({"active": 1, "ready": 1});
    cluster.put(JOB, running);
    bench.turn(at(10)).await;
    bench.turn(at(40)).await;
    assert_eq!(
        bench.state(&execution).await.state,
        ExecutionState::Verified
    );
}

#[tokio::test]
async fn a_job_whose_creation_fails_is_told_with_its_manifest() {
    let cluster = Cluster::start().await;
    cluster.put(JOB, job());
    // The delete works; what is sent after it does not.
    cluster.world().on_write = Some(Box::new(|world, text| {
        if text.starts_with("DELETE") {
            world.faults.push_back(Fault::Status(422));
        }
    }));
    let bench = Bench::new(sqlite().await, &cluster, None, false);
    let execution = bench
        .approved(kubernetes(ActionKind::RecreateJob, "Job", "train"), at(0))
        .await;
    bench.turn(at(1)).await;
    let done = bench.state(&execution).await;
    assert_eq!(done.state, ExecutionState::Failed);
    assert!(
        done.answer
            .as_deref()
            .is_some_and(|a| a.contains("its manifest is kept")),
        "{done:?}"
    );
}

#[tokio::test]
async fn suspending_cordoning_and_rolling_change_one_field_each() {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gpu-7", "uid": "u-1"}, "spec": {}});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api", "namespace": "ml", "uid": "u-1", "generation": 2},
        "spec": {"replicas": 1, "template": {"metadata": {}, "spec": {}}},
    });
    for (spec, path, object, field) in [
        (
            kubernetes(ActionKind::CordonNode, "Node", "gpu-7"),
            "/api/v1/nodes/gpu-7",
            node,
            "/spec/unschedulable",
        ),
        (
            kubernetes(ActionKind::SuspendJob, "Job", "train"),
            JOB,
            job(),
            "/spec/suspend",
        ),
        (
            kubernetes(ActionKind::RolloutRestart, "Deployment", "api"),
            "/apis/apps/v1/namespaces/ml/deployments/api",
            deployment,
            "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt",
        ),
    ] {
        let cluster = Cluster::start().await;
        cluster.put(path, object.clone());
        let bench = Bench::new(sqlite().await, &cluster, None, false);
        let execution = bench.approved(spec.clone(), at(0)).await;
        bench.turn(at(1)).await;
        assert_eq!(cluster.writes(), [format!("PATCH {path}")], "{spec}");
        let mut now = cluster.world().objects[path].clone();
        assert!(now.pointer(field).is_some_and(|v| !v.is_null()), "{spec}");
        if spec.kind == ActionKind::RolloutRestart {
            now["status"] = json!({"observedGeneration": 2, "updatedReplicas": 1, "availableReplicas": 1, "replicas": 1});
        }
        cluster.put(path, now);
        bench.turn(at(10)).await;
        bench.turn(at(40)).await;
        assert_eq!(
            bench.state(&execution).await.state,
            ExecutionState::Verified,
            "{spec}"
        );
    }
}

fn runai_spec(kind: ActionKind) -> ActionSpec {
    ActionSpec {
        kind,
        target: Target::Runai {
            workload_id: WORKLOAD.into(),
            name: WORKLOAD.into(),
            project: "etl".into(),
            kind: "Training".into(),
        },
        parameters: Parameters::default(),
        avoid_node: None,
    }
}

fn suspendable(phase: &str) -> Value {
    let mut workload = workload(WORKLOAD, phase);
    workload["actionsSupport"] = json!({"suspend": true, "delete": true});
    workload
}

#[tokio::test]
async fn a_workload_is_restarted_by_suspending_and_resuming_it() {
    let (cluster, runai) = (Cluster::start().await, FakeRunai::start().await);
    runai.world().workloads.push(suspendable("Stopped"));
    let bench = Bench::new(sqlite().await, &cluster, Some(&runai), false);
    let execution = bench
        .approved(runai_spec(ActionKind::RunaiRestart), at(0))
        .await;
    bench.turn(at(1)).await;
    let posts: Vec<String> = runai
        .calls("POST")
        .iter()
        .map(|call| call.trim().to_owned())
        .collect();
    assert_eq!(
        posts,
        [
            format!("POST /api/v1/workloads/trainings/{WORKLOAD}/suspend"),
            format!("POST /api/v1/workloads/trainings/{WORKLOAD}/resume"),
        ],
        "{:?}",
        bench.state(&execution).await
    );
    runai.world().workloads[0] = suspendable("Running");
    bench.turn(at(10)).await;
    bench.turn(at(40)).await;
    assert_eq!(
        bench.state(&execution).await.state,
        ExecutionState::Verified
    );
}

#[tokio::test]
async fn a_workload_that_does_not_stop_in_time_is_not_resumed_blindly() {
    let (cluster, runai) = (Cluster::start().await, FakeRunai::start().await);
    runai.world().workloads.push(suspendable("Failed"));
    let timeout = Duration::from_secs(2);
    let bench = Bench::with_timeout(sqlite().await, &cluster, Some(&runai), false, timeout);
    let execution = bench
        .approved(runai_spec(ActionKind::RunaiRestart), at(0))
        .await;
    bench.turn(at(1)).await;
    let done = bench.state(&execution).await;
    assert_eq!(done.state, ExecutionState::Unknown);
    assert_eq!(runai.calls("/resume").len(), 0);
    assert!(
        done.answer
            .as_deref()
            .is_some_and(|a| a.contains("how far it came is unknown")),
        "{done:?}"
    );
}

#[tokio::test]
async fn a_restart_that_must_keep_off_a_node_waits_until_the_node_is_out() {
    let (cluster, runai) = (Cluster::start().await, FakeRunai::start().await);
    runai.world().workloads.push(suspendable("Failed"));
    cluster.put(
        "/api/v1/nodes/gpu-7",
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gpu-7", "uid": "n-1"}, "spec": {}, "status": {}}),
    );
    let bench = Bench::new(sqlite().await, &cluster, Some(&runai), false);
    let mut spec = runai_spec(ActionKind::RunaiRestart);
    spec.avoid_node = Some("gpu-7".into());
    let execution = bench.approved(spec, at(0)).await;
    bench.turn(at(1)).await;
    let done = bench.state(&execution).await;
    assert_eq!(done.state, ExecutionState::Cancelled);
    assert!(
        done.answer
            .as_deref()
            .is_some_and(|a| a.contains("cordon it first")),
        "{done:?}"
    );
    assert_eq!(runai.calls("POST /api/v1/workloads").len(), 0);
}

#[tokio::test]
async fn a_question_that_nobody_answers_expires_by_itself() {
    let cluster = Cluster::start().await;
    let expired = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&expired);
    let bench = Bench::new(sqlite().await, &cluster, None, false);
    let executor = Executor::new(
        bench.safety.clone(),
        bench.db.store.clone(),
        Systems {
            runai: None,
            clusters: cluster.clusters(),
            ..Systems::default()
        },
        action::Settings::default(),
        Arc::new(move |report| {
            if let Report::Expired { text, .. } = report {
                heard.lock().expect("not poisoned").push(text);
            }
            Box::pin(async { Ok(()) })
        }),
    );
    let mut tx = bench.db.store.begin().await.expect("begin");
    let proposal = Proposal {
        spec: kubernetes(ActionKind::DeletePod, "Pod", "train-0"),
        class: SafetyClass::Gated,
        severity: Severity::High,
        reason: "a reason".into(),
        impact: Vec::new(),
        scope: Scope {
            service: "s".into(),
            cause: None,
            instances: 1,
            touched: 0,
            failing_since: None,
            place: Place::default(),
        },
        healthy_taken: 0,
        owned_elsewhere: false,
    };
    bench
        .safety
        .propose(&mut tx, "alert-1", &proposal, at(0))
        .await
        .expect("propose");
    tx.commit().await.expect("commit");
    executor.turn(at(10)).await.expect("a turn");
    assert!(expired.lock().expect("not poisoned").is_empty());
    executor
        .turn(at(0) + SignedDuration::from_hours(4))
        .await
        .expect("a turn");
    assert_eq!(
        *expired.lock().expect("not poisoned"),
        ["nobody decided in time about approval 1: delete pod Pod ml/train-0 in prod"]
    );
}
