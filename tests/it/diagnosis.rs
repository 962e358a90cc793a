//! From a cluster's own answers to a diagnosis, with everything that cannot be read said.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use nightbell::desk::JobQuery;
use nightbell::diagnose::collect::{Collector, RemoteError, Settings};
use nightbell::diagnose::knowledge::Knowledge;
use nightbell::diagnose::{Diagnosis, Verdict, analyze};
use nightbell::estate::JobKey;
use nightbell::estate::index::{Estate, Found};
use nightbell::watch::Observation;
use nightbell::watch::kubernetes::client::Clusters;
use serde_json::{Value, json};

use crate::support::bot::run;
use crate::support::kube_api::{Fault, JOBS, KubeApi, NODES, PODS};
use crate::support::prometheus::{self, PrometheusApi};
use crate::support::runai::{FakeRunai, workload};

const LOGS: &str = "/api/v1/namespaces/runai-nlp/pods";
const EVENTS: &str = "/api/v1/namespaces/runai-nlp/events";
const MISSING_FILE: &str = "2026-11-21T22:16:02.1Z loading checkpoint\n\
     2026-11-21T22:16:02.2Z Traceback (most recent call last):\n\
     2026-11-21T22:16:02.2Z   File \"<string>\", line 1, in <module>\n\
     2026-11-21T22:16:02.2Z FileNotFoundError: [Errno 2] No such file or directory: '/mnt/ckpt/bert-final.pt'\n";

fn now() -> Timestamp {
    "2026-11-21T22:18:00Z".parse().unwrap()
}

fn items(list: &str) -> Vec<Value> {
    let list: Value = serde_json::from_str(list).unwrap();
    list["items"].as_array().unwrap().clone()
}

/// The cluster that was recorded: four jobs, each failing in its own way.
async fn recorded_cluster() -> KubeApi {
    let api = KubeApi::start().await;
    for (path, list) in [
        (
            PODS,
            include_str!("../fixtures/kubernetes/runai-nlp.pods.json"),
        ),
        (
            JOBS,
            include_str!("../fixtures/kubernetes/runai-nlp.jobs.json"),
        ),
        (NODES, include_str!("../fixtures/kubernetes/nodes.json")),
    ] {
        for object in items(list) {
            api.put(path, object);
        }
    }
    let events = items(include_str!("../fixtures/kubernetes/runai-nlp.events.json"));
    api.answer(EVENTS, json!({"metadata": {}, "items": events}));
    api.answer(
        "/api/v1/namespaces/default/events",
        json!({"metadata": {}, "items": []}),
    );
    for pod in ["bert-eval-6l7zh", "bert-eval-jdq4c", "bert-eval-mrkb5"] {
        api.answer_text(&format!("{LOGS}/{pod}/log"), MISSING_FILE);
    }
    api.answer_text(
        &format!("{LOGS}/ddp-pretrain-1-b6d2w/log"),
        "2026-11-21T22:15:37Z [rank1] init_process_group backend=nccl world_size=3\n2026-11-21T22:15:38Z [rank1] step 12 loss 3.91\n",
    );
    api
}

fn collector(api: &KubeApi, settings: Settings) -> Collector {
    let estate = Arc::new(RwLock::new(Estate::new(vec!["lab".to_owned()], [].into())));
    Collector::new(
        None,
        Clusters::new(vec![api.client("lab")]),
        estate,
        settings,
    )
}

fn named(name: &str) -> JobQuery {
    JobQuery {
        name: name.to_owned(),
        project: None,
        namespace: None,
    }
}

async fn diagnosed(collector: &Collector, name: &str) -> Diagnosis {
    let found = collector.find_remote(&named(name), now()).await.unwrap();
    let Found::One(key) = found.found else {
        panic!("{found:?}");
    };
    analyze(
        &collector.collect(&key, now()).await,
        &Knowledge::embedded(),
    )
}

#[tokio::test]
async fn the_jobs_of_a_recorded_cluster_are_found_and_diagnosed_without_a_service() {
    let api = recorded_cluster().await;
    let collector = collector(&api, Settings::default());
    for (job, cause) in [
        ("bert-eval", "missing_file"),
        ("ddp-pretrain", "segfault"),
        ("llm-finetune", "insufficient_gpus"),
        ("nightly-embeddings", "deadline_exceeded"),
    ] {
        let diagnosis = diagnosed(&collector, job).await;
        assert_eq!(diagnosis.state, Verdict::Failing, "{diagnosis:#?}");
        assert_eq!(diagnosis.findings[0].cause, cause, "{diagnosis:#?}");
    }
}

#[tokio::test]
async fn what_is_read_by_halves_is_not_taken_for_all_there_is() {
    let api = recorded_cluster().await;
    let estate = Arc::new(RwLock::new(Estate::new(vec!["lab".to_owned()], [].into())));
    let whole = collector(&api, Settings::default());
    let found = whole
        .find_remote(&named("bert-eval"), now())
        .await
        .unwrap()
        .found;
    let Found::One(key) = found else {
        panic!("{found:?}");
    };
    let controllers = whole.collect(&key, now()).await.controllers;
    let list = |fixture: &str| json!({"metadata": {}, "items": items(fixture)});
    api.answer(
        LOGS,
        list(include_str!("../fixtures/kubernetes/runai-nlp.pods.json")),
    );
    api.answer(
        "/apis/batch/v1/namespaces/runai-nlp/jobs",
        list(include_str!("../fixtures/kubernetes/runai-nlp.jobs.json")),
    );
    for kind in ["deployments", "statefulsets"] {
        let path = format!("/apis/apps/v1/namespaces/runai-nlp/{kind}");
        api.answer(&path, json!({"metadata": {}, "items": []}));
    }
    // Right after a start: the Job is here, its pods are not yet.
    for controller in controllers {
        let seen = Observation::Controller(Box::new(controller));
        estate.write().unwrap().apply(seen, now());
    }
    assert!(estate.read().unwrap().is_being_read("lab"));
    let restarted = Collector::new(
        None,
        Clusters::new(vec![api.client("lab")]),
        Arc::clone(&estate),
        Settings::default(),
    );
    let diagnosis = analyze(
        &restarted.collect(&key, now()).await,
        &Knowledge::embedded(),
    );
    assert_eq!(
        diagnosis.findings[0].cause, "missing_file",
        "{diagnosis:#?}"
    );

    // A list that came to its end is believed.
    for scope in ["pods@lab", "jobs@lab"] {
        let scope = scope.to_owned();
        let (begun, done) = (
            Observation::ListStarted {
                scope: scope.clone(),
            },
            Observation::ListDone { scope },
        );
        estate.write().unwrap().apply(begun, now());
        estate.write().unwrap().apply(done, now());
    }
    assert!(!estate.read().unwrap().is_being_read("lab"));
}

#[tokio::test]
async fn a_name_that_fits_none_gives_the_nearest() {
    let api = recorded_cluster().await;
    let collector = collector(&api, Settings::default());
    let found = collector
        .find_remote(&named("bert-evla"), now())
        .await
        .unwrap();
    assert!(matches!(found.found, Found::None { .. }));
    assert_eq!(found.candidates[0].job, "bert-eval");
    assert_eq!(found.candidates[0].namespace, "runai-nlp");
}

#[tokio::test]
async fn what_hangs_or_is_forbidden_is_said_and_the_rest_is_used() {
    let api = recorded_cluster().await;
    let settings = Settings {
        deadline: Duration::from_secs(3),
        call: Duration::from_millis(500),
        ..Settings::default()
    };
    let collector = collector(&api, settings);
    let found = collector
        .find_remote(&named("bert-eval"), now())
        .await
        .unwrap();
    let Found::One(key) = found.found else {
        panic!("{found:?}");
    };
    api.fault(&format!("{LOGS}/bert-eval-6l7zh/log"), Fault::Silence);
    api.refuse(EVENTS, Some(403));
    let diagnosis = analyze(
        &collector.collect(&key, now()).await,
        &Knowledge::embedded(),
    );
    // Only the exit code is left, and the answer is as unsure as that.
    assert_eq!(diagnosis.findings[0].cause, "exit_1", "{diagnosis:#?}");
    assert!(diagnosis.findings[0].confidence < 0.5, "{diagnosis:#?}");
    let missing = diagnosis.missing_evidence.join(" ");
    assert!(
        missing.contains("log of bert-eval-6l7zh/eval could not be read within"),
        "{missing}"
    );
    assert!(
        missing.contains("events of the job and its pods could not be read"),
        "{missing}"
    );
}

#[tokio::test]
async fn without_any_source_or_with_none_that_answers_it_is_an_error() {
    let estate = Arc::new(RwLock::new(Estate::new(Vec::new(), [].into())));
    let none = Collector::new(None, Clusters::default(), estate, Settings::default());
    assert!(matches!(
        none.find_remote(&named("x"), now()).await,
        Err(RemoteError::NoSource)
    ));
    let key = JobKey {
        cluster: "lab".to_owned(),
        namespace: "a".to_owned(),
        name: "b".to_owned(),
    };
    let evidence = none.collect(&key, now()).await;
    assert!(evidence.missing[0].contains("cluster lab is not configured"));

    let api = KubeApi::start().await;
    api.refuse_all(Some(401));
    let refused = collector(&api, Settings::default())
        .find_remote(&named("x"), now())
        .await;
    assert!(
        matches!(refused, Err(RemoteError::Unreachable(_))),
        "{refused:?}"
    );
}

/// A worker of a gang as a training operator labels it.
fn worker(index: usize, exit_code: Option<i32>) -> Value {
    let state = match exit_code {
        Some(code) => json!({"terminated": {"exitCode": code, "reason": "Error",
            "startedAt": "2026-11-21T22:00:00Z", "finishedAt": "2026-11-21T22:16:00Z"}}),
        None => json!({"running": {"startedAt": "2026-11-21T22:00:00Z"}}),
    };
    json!({
        "metadata": {"name": format!("gang-worker-{index}"), "namespace": "runai-nlp", "uid": format!("u{index}"),
            "creationTimestamp": "2026-11-21T22:00:00Z",
            "labels": {"training.kubeflow.org/job-name": "gang", "training.kubeflow.org/replica-type": "worker",
                "training.kubeflow.org/replica-index": index.to_string()}},
        "spec": {"nodeName": format!("gpu-{index}"), "restartPolicy": "Never",
            "containers": [{"name": "pytorch", "image": "train:1", "resources": {"limits": {"nvidia.com/gpu": "1"}}}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "corpus"}}]},
        "status": {"phase": if exit_code.is_some() { "Failed" } else { "Running" },
            "containerStatuses": [{"name": "pytorch", "image": "train:1", "restartCount": 0, "state": state}]},
    })
}

#[tokio::test]
async fn the_rank_that_all_others_wait_for_is_read_in_a_second_round() {
    let api = KubeApi::start().await;
    for index in 0..40 {
        api.put(PODS, worker(index, (index != 17).then_some(1)));
        let log = if index == 17 {
            "2026-11-21T22:10:00Z OSError: [Errno 28] No space left on device: '/ckpt/step-900'\n"
        } else {
            "2026-11-21T22:16:00Z RuntimeError: Rank 17 failed to pass monitoredBarrier in 1800000 ms\n"
        };
        api.answer_text(&format!("{LOGS}/gang-worker-{index}/log"), log);
    }
    let settings = Settings {
        pods: 4,
        ..Settings::default()
    };
    let collector = collector(&api, settings);
    let found = collector.find_remote(&named("gang"), now()).await.unwrap();
    let Found::One(key) = found.found else {
        panic!("{found:?}");
    };
    let evidence = collector.collect(&key, now()).await;
    let read: Vec<&str> = evidence.logs.iter().map(|log| log.pod.as_str()).collect();
    assert_eq!(
        read.len(),
        5,
        "four first, then the one they name: {read:?}"
    );
    assert!(read.contains(&"gang-worker-17"), "{read:?}");
}

#[tokio::test]
async fn volumes_quotas_and_changes_around_a_job_are_collected() {
    let api = KubeApi::start().await;
    api.put(PODS, worker(0, Some(1)));
    let mut waiting = worker(1, None);
    waiting["spec"]["nodeName"] = Value::Null;
    waiting["status"] = json!({"phase": "Pending"});
    api.put(PODS, waiting);
    let namespace = "/api/v1/namespaces/runai-nlp";
    api.answer(
        &format!("{namespace}/persistentvolumeclaims/corpus"),
        json!({"metadata": {"name": "corpus"}, "status": {"phase": "Lost", "capacity": {"storage": "1Ti"}},
            "spec": {"storageClassName": "fast", "accessModes": ["ReadWriteMany"],
                "resources": {"requests": {"storage": "1Ti"}}}}),
    );
    api.answer(
        &format!("{namespace}/resourcequotas"),
        json!({"items": [{"metadata": {"name": "team"}, "status": {
            "hard": {"requests.nvidia.com/gpu": "8"}, "used": {"requests.nvidia.com/gpu": "7"}}}]}),
    );
    let mut pod = worker(0, Some(1));
    pod["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "settings"}}]);
    api.answer(&format!("{namespace}/pods/gang-worker-0"), pod);
    api.answer(
        &format!("{namespace}/configmaps/settings"),
        json!({"metadata": {"name": "settings", "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [{"time": "2026-11-21T21:59:00Z"}]}, "data": {"password": "hunter2hunter2"}}),
    );
    let collector = collector(&api, Settings::default());
    let found = collector.find_remote(&named("gang"), now()).await.unwrap();
    let Found::One(key) = found.found else {
        panic!("{found:?}");
    };
    let around = collector.collect(&key, now()).await.surroundings;
    assert_eq!(around.claims[0].phase, "Lost");
    let quota = &around.quotas[0];
    assert_eq!((quota.used, quota.limit), (Some(7.0), Some(8.0)));
    assert_eq!(around.changes[0].object, "ConfigMap/settings");
    assert_eq!(around.changes[0].told, "changed");
    assert!(!serde_json::to_string(&around).unwrap().contains("hunter2"));
}

#[tokio::test]
async fn an_xid_that_only_the_exporter_tells_is_found() {
    let api = KubeApi::start().await;
    api.put(PODS, worker(3, Some(1)));
    api.answer_text(
        &format!("{LOGS}/gang-worker-3/log"),
        "2026-11-21T22:15:00Z step 900 loss 3.1\n",
    );
    let exporter = PrometheusApi::start().await;
    let labels = [
        ("UUID", "GPU-a"),
        ("gpu", "5"),
        ("Hostname", "gpu-3"),
        ("exported_pod", "gang-worker-3"),
        ("exported_namespace", "runai-nlp"),
    ];
    let end = "2026-11-21T22:16:30Z".parse().unwrap();
    exporter.put(
        "DCGM_FI_DEV_XID_ERRORS",
        &labels,
        end,
        60,
        &[0.0, 0.0, 79.0, 79.0],
    );
    let collector = collector(&api, Settings::default()).with_metrics(Some(exporter.client()));
    let diagnosis = diagnosed(&collector, "gang").await;
    assert_eq!(diagnosis.findings[0].cause, "xid_79", "{diagnosis:#?}");
    for _ in 0..32 {
        exporter.fault(prometheus::Fault::Status(422, None, "too many samples"));
    }
    let again = diagnosed(&collector, "gang").await;
    assert!(
        again
            .missing_evidence
            .join(" ")
            .contains("metrics of the GPUs could not be read"),
        "{again:#?}"
    );
}

/// Runs `nightbell troubleshoot` with no service, against these addresses.
async fn troubleshoot(
    kube: Option<&KubeApi>,
    runai: Option<&FakeRunai>,
    job: &str,
) -> (i32, Value, String) {
    troubleshoot_in(tempfile::tempdir().unwrap(), kube, runai, job).await
}

/// The same, in a folder that holds the configuration.
async fn troubleshoot_in(
    folder: tempfile::TempDir,
    kube: Option<&KubeApi>,
    runai: Option<&FakeRunai>,
    job: &str,
) -> (i32, Value, String) {
    let mut variables = BTreeMap::from([("API_PORT".to_owned(), "1".to_owned())]);
    if let Some(kube) = kube {
        let path = folder.path().join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": {"server": kube.url()}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "u"}}],
        });
        std::fs::write(&path, config.to_string()).unwrap();
        variables.insert("KUBECONFIG".to_owned(), path.display().to_string());
    } else {
        variables.insert("KUBE_ENABLED".to_owned(), "false".to_owned());
    }
    if let Some(runai) = runai {
        for (name, value) in [
            ("RUNAI_BASE_URL", runai.url.as_str()),
            ("RUNAI_CLIENT_ID", "nightbell"),
            ("RUNAI_CLIENT_SECRET", "s3cret"),
        ] {
            variables.insert(name.to_owned(), value.to_owned());
        }
    }
    let job = job.to_owned();
    let (code, output, errors) = tokio::task::spawn_blocking(move || {
        run(&["troubleshoot", &job, "--json"], folder.path(), &variables)
    })
    .await
    .unwrap();
    let answer =
        serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}{errors}"));
    (code, answer, output)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_diagnoses_without_a_service_and_stays_within_its_limits() {
    let api = KubeApi::start().await;
    for index in 0..30 {
        api.put(PODS, worker(index, Some(1)));
        let mut log = String::new();
        for line in 0..30 {
            let text = "\u{1f525}\"\\".repeat(300);
            let second = line % 60;
            writeln!(
                log,
                "2026-11-21T22:15:{second:02}Z ValueError: {line} password=hunter2hunter2 {text}"
            )
            .unwrap();
        }
        api.answer_text(&format!("{LOGS}/gang-worker-{index}/log"), &log);
    }
    let (code, answer, output) = troubleshoot(Some(&api), None, "gang").await;
    assert_eq!(code, 0, "{answer}");
    assert_eq!(answer["state"], "failing");
    assert!(output.len() < 64 << 10, "{} bytes", output.len());
    assert!(!output.contains("hunter2"));
    for finding in answer["findings"].as_array().unwrap() {
        for evidence in finding["evidence"].as_array().unwrap() {
            assert!(evidence["line"].as_str().unwrap().chars().count() <= 500);
        }
    }
    let (code, answer, _) = troubleshoot(Some(&api), None, "gnag").await;
    assert_eq!(code, 1, "{answer}");
    assert!(answer["error"].is_string());
    assert_eq!(answer["candidates"][0]["job"], "gang");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_asks_run_ai_alone_and_tells_several_candidates() {
    let runai = FakeRunai::start().await;
    let mut failed = workload("11111111-1111-4111-8111-111111111111", "Failed");
    failed["name"] = json!("train-bert");
    let mut twin = workload("22222222-2222-4222-8222-222222222222", "Failed");
    twin["name"] = json!("train-bert");
    twin["namespace"] = json!("runai-other");
    twin["projectName"] = json!("other");
    runai.world().workloads = vec![failed, twin];
    let (code, answer, _) = troubleshoot(None, Some(&runai), "train-bert").await;
    assert_eq!(code, 1, "{answer}");
    assert_eq!(
        answer["candidates"].as_array().unwrap().len(),
        2,
        "{answer}"
    );
    runai.world().workloads.pop();
    let (code, answer, _) = troubleshoot(None, Some(&runai), "train-bert").await;
    assert_eq!(code, 0, "{answer}");
    assert_eq!(answer["job"], "train-bert");
    assert!(
        !answer["missing_evidence"].as_array().unwrap().is_empty(),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_that_a_local_file_adds_is_named_with_its_own_advice() {
    let api = KubeApi::start().await;
    api.put(PODS, worker(0, Some(1)));
    api.answer_text(
        &format!("{LOGS}/gang-worker-0/log"),
        "2026-11-21T22:15:00Z solver starting\n2026-11-21T22:15:02Z flexlm: no seat left for feature SOLVER (71)\n",
    );
    let (_, before, _) = troubleshoot(Some(&api), None, "gang").await;
    assert_ne!(before["findings"][0]["cause"], "licence_seats", "{before}");

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("ours.yaml"),
        "version: 1\nfailures:\n  - id: licence_seats\n    title: All licence seats are taken\n    weight: 70\n    \
         over: [app_exception, app_exit_unexplained]\n    safety: human\n    cause: The licence server has no seat left.\n    \
         advice: Wait for a seat, or ask the vendor for more.\n    source: us\n    signs:\n      \
         - {log: '(?i)flexlm: no seat left'}\n",
    )
    .unwrap();
    let ours = folder.path().join("ours.yaml");
    std::fs::write(
        folder.path().join("nightbell.yaml"),
        format!("knowledge_file: {}\n", ours.display()),
    )
    .unwrap();
    let (code, answer, _) = troubleshoot_in(folder, Some(&api), None, "gang").await;
    assert_eq!(code, 0, "{answer}");
    let found = &answer["findings"][0];
    assert_eq!(found["cause"], "licence_seats", "{answer}");
    assert_eq!(found["role"], "root");
    assert_eq!(found["title"], "All licence seats are taken");
    assert_eq!(
        found["recommendation"],
        "Wait for a seat, or ask the vendor for more."
    );
    assert_eq!(
        found["evidence"][0]["line"],
        "flexlm: no seat left for feature SOLVER (71)"
    );
}
