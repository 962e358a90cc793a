//! From a cluster's own answers to a diagnosis, with everything that cannot be read said.

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

use crate::support::kube_api::{Fault, JOBS, KubeApi, NODES, PODS};

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
