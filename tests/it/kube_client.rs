//! Questions to a cluster, and what comes back when it is slow, busy, wrong or gone.

use std::time::Duration;

use nightbell::watch::kubernetes::client::KubeError;
use serde_json::{Value, json};

use crate::support::kube_api::{Fault, KubeApi};

const POD: &str = "/api/v1/namespaces/runai-nlp/pods/bert-eval-6l7zh";
const LOG: &str = "/api/v1/namespaces/runai-nlp/pods/bert-eval-6l7zh/log";

fn recorded(list: &str, name: &str) -> Value {
    let list: Value = serde_json::from_str(list).unwrap();
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .find(|item| item["metadata"]["name"] == name)
        .unwrap()
        .clone()
}

fn recorded_pod() -> Value {
    recorded(
        include_str!("../fixtures/kubernetes/runai-nlp.pods.json"),
        "bert-eval-6l7zh",
    )
}

#[tokio::test]
async fn a_pod_is_read_or_is_not_there() {
    let api = KubeApi::start().await;
    api.answer(POD, recorded_pod());
    let cluster = api.client("lab");
    let pod = cluster
        .pod("runai-nlp", "bert-eval-6l7zh")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (pod.cluster.as_str(), pod.workload.as_str()),
        ("lab", "bert-eval")
    );
    assert!(cluster.pod("runai-nlp", "nope").await.unwrap().is_none());
    let odd = cluster.pod("runai-nlp", "../../secrets").await;
    assert!(odd.unwrap().is_none(), "what is no name is not found");
    assert!(
        api.requests("/api/v1/namespaces/runai-nlp/pods/..")
            .is_empty(),
        "and never sent"
    );
}

#[tokio::test]
async fn a_log_is_its_last_lines_with_their_times() {
    let api = KubeApi::start().await;
    api.answer_text(
        LOG,
        "2026-11-21T22:16:02.1Z loading checkpoint\n2026-11-21T22:16:02.2Z Traceback\n",
    );
    let log = api
        .client("lab")
        .logs("runai-nlp", "bert-eval-6l7zh", "eval", true, 100)
        .await
        .unwrap();
    assert_eq!(log[1].text, "Traceback");
    assert!(log[0].at.unwrap() < log[1].at.unwrap());
    let request = &api.requests(LOG)[0];
    for part in [
        "container=eval",
        "previous=true",
        "tailLines=100",
        "limitBytes=1048576",
        "timestamps=true",
    ] {
        assert!(request.contains(part), "{request}");
    }
}

#[tokio::test]
async fn a_container_without_a_log_says_so() {
    let api = KubeApi::start().await;
    api.fault(LOG, Fault::Status(400, None));
    let error = api
        .client("lab")
        .logs("runai-nlp", "bert-eval-6l7zh", "eval", false, 100)
        .await
        .unwrap_err();
    assert!(matches!(error, KubeError::NoLog { .. }), "{error}");
    for recorded in [
        include_str!("../fixtures/kubernetes/error-400-log-previous.json"),
        include_str!("../fixtures/kubernetes/error-400-log-while-waiting.json"),
    ] {
        let KubeError::Rejected { message, .. } =
            KubeError::from_answer(400, None, recorded.as_bytes())
        else {
            panic!("400 is a rejection");
        };
        assert!(message.contains("etl"));
    }
}

#[tokio::test]
async fn a_busy_cluster_is_asked_again_and_a_refusing_one_is_not() {
    let api = KubeApi::start().await;
    api.answer(POD, recorded_pod());
    let cluster = api.client("lab");
    api.fault(POD, Fault::Status(503, None));
    api.fault(POD, Fault::Status(429, Some(0)));
    assert!(
        cluster
            .pod("runai-nlp", "bert-eval-6l7zh")
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(api.requests(POD).len(), 3);

    for _ in 0..3 {
        api.fault(POD, Fault::Status(500, None));
    }
    let error = cluster
        .pod("runai-nlp", "bert-eval-6l7zh")
        .await
        .unwrap_err();
    assert!(matches!(error, KubeError::Rejected { status: 500, .. }));
    assert_eq!(api.requests(POD).len(), 6, "three tries, no more");

    for (status, refused) in [
        (401, "credentials"),
        (403, "not permitted"),
        (409, "conflict"),
    ] {
        api.fault(POD, Fault::Status(status, None));
        let error = cluster
            .pod("runai-nlp", "bert-eval-6l7zh")
            .await
            .unwrap_err();
        assert!(error.to_string().contains(refused), "{error}");
    }
    assert_eq!(api.requests(POD).len(), 9, "a refusal is final");
}

#[tokio::test]
async fn a_rate_limit_longer_than_the_deadline_is_told_at_once() {
    let api = KubeApi::start().await;
    api.fault(POD, Fault::Status(429, Some(3600)));
    let error = api
        .client("lab")
        .pod("runai-nlp", "bert-eval-6l7zh")
        .await
        .unwrap_err();
    let KubeError::RateLimited { retry_after } = error else {
        panic!("{error}");
    };
    assert_eq!(retry_after, Duration::from_hours(1));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_stays_silent_is_given_up_after_the_deadline() {
    let api = KubeApi::start().await;
    for _ in 0..5 {
        api.fault(POD, Fault::Silence);
    }
    let asked = tokio::time::Instant::now();
    let error = api
        .client("lab")
        .pod("runai-nlp", "bert-eval-6l7zh")
        .await
        .unwrap_err();
    assert!(matches!(error, KubeError::Unreachable(_)), "{error}");
    assert!(asked.elapsed() <= Duration::from_secs(11));
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_malformed() {
    let api = KubeApi::start().await;
    api.fault(POD, Fault::Text("<html>login</html>".to_owned()));
    let error = api
        .client("lab")
        .pod("runai-nlp", "bert-eval-6l7zh")
        .await
        .unwrap_err();
    assert!(matches!(error, KubeError::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn the_controllers_of_a_workload_are_found_whatever_their_kind() {
    let api = KubeApi::start().await;
    let jobs: Value =
        serde_json::from_str(include_str!("../fixtures/kubernetes/runai-nlp.jobs.json")).unwrap();
    api.answer("/apis/batch/v1/namespaces/runai-nlp/jobs", jobs);
    api.answer(
        "/apis/apps/v1/namespaces/runai-nlp/deployments",
        json!({"items": null}),
    );
    api.refuse("/apis/apps/v1/namespaces/runai-nlp/statefulsets", Some(403));
    let controllers = api
        .client("lab")
        .controllers("runai-nlp", "ddp-pretrain")
        .await
        .unwrap();
    assert_eq!(controllers.len(), 1);
    assert_eq!(
        (controllers[0].kind.as_str(), controllers[0].desired),
        ("Job", 3)
    );
}

#[tokio::test]
async fn the_events_of_some_objects_come_oldest_first() {
    let api = KubeApi::start().await;
    let events: Value =
        serde_json::from_str(include_str!("../fixtures/kubernetes/runai-nlp.events.json")).unwrap();
    api.answer("/api/v1/namespaces/runai-nlp/events", events);
    let names = ["bert-eval-6l7zh".to_owned()];
    let events = api.client("lab").events("runai-nlp", &names).await.unwrap();
    assert!(!events.is_empty());
    assert!(events.iter().all(|event| event.object.name == names[0]));
    assert!(events.is_sorted_by_key(|event| event.last));
    let asked = &api.requests("/api/v1/namespaces/runai-nlp/events")[0];
    assert!(
        asked.contains("fieldSelector=involvedObject.name%3Dbert-eval-6l7zh"),
        "{asked}"
    );
}

#[tokio::test]
async fn permissions_are_asked_for_by_an_access_review() {
    const REVIEW: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let api = KubeApi::start().await;
    let cluster = api.client("lab");
    api.answer(REVIEW, json!({"status": {"allowed": true}}));
    assert!(
        cluster
            .can_i("delete", "", "pods", "runai-nlp")
            .await
            .unwrap()
    );
    api.answer(
        REVIEW,
        json!({"status": {"allowed": false, "reason": "no"}}),
    );
    assert!(
        !cluster
            .can_i("patch", "batch", "jobs", "runai-nlp")
            .await
            .unwrap()
    );
}
