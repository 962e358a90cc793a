//! The Run:AI side, through our own client and bare requests.

use nightbell::demo::script::{JobSpec, Script, Start};
use nightbell::estate::Phase;
use nightbell::watch::runai::RunaiError;
use nightbell::watch::runai::client::Filter;
use serde_json::{Value, json};

use super::Demo;

/// A bare request with a fresh token.
pub(super) async fn get(demo: &Demo, path: &str) -> (u16, Value) {
    let (http, base) = (reqwest::Client::new(), &demo.servers.runai_base_url);
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", demo.servers.runai_client_id.as_str()),
        ("client_secret", demo.servers.runai_client_secret.as_str()),
    ];
    let token = http
        .post(format!("{base}/api/v2/token"))
        .form(&form)
        .send()
        .await
        .expect("an answer");
    let token: Value = token.json().await.expect("a token");
    let request = http
        .get(format!("{base}{path}"))
        .bearer_auth(token["access_token"].as_str().expect("a token"));
    let response = request.send().await.expect("an answer");
    (
        response.status().as_u16(),
        response.json().await.expect("JSON"),
    )
}

fn names(answer: &Value) -> Vec<&str> {
    answer["workloads"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|workload| workload["name"].as_str())
        .collect()
}

#[tokio::test]
async fn workloads_are_filtered_sorted_and_paged() {
    let demo = Demo::start().await;
    for name in ["alpha", "beta", "gamma"] {
        demo.run(JobSpec::training("demo-nlp", name));
    }
    demo.estate.suspend("runai-demo-nlp", "beta");
    demo.pass(3.0);

    for (query, expected) in [
        ("", vec!["alpha", "beta", "gamma"]),
        ("?filterBy=phase==Running", vec!["alpha", "gamma"]),
        (
            "?filterBy=phase!=Running,projectName==demo-nlp",
            vec!["beta"],
        ),
        ("?filterBy=name=@mm", vec!["gamma"]),
        ("?filterBy=name=%5Eal", vec!["alpha"]),
        (
            "?filterBy=phaseUpdatedAt%3E=2026-11-21T10:00:06Z",
            vec!["beta"],
        ),
        (
            "?sortBy=name&sortOrder=desc",
            vec!["gamma", "beta", "alpha"],
        ),
        ("?deleted=true", vec![]),
    ] {
        let (code, answer) = get(&demo, &format!("/api/v1/workloads{query}")).await;
        assert_eq!((code, names(&answer)), (200, expected), "{query}");
    }
    let (_, first) = get(&demo, "/api/v1/workloads?limit=2").await;
    assert_eq!(
        (names(&first), &first["next"]),
        (vec!["alpha", "beta"], &json!(2))
    );
    let (_, last) = get(&demo, "/api/v1/workloads?limit=2&offset=2").await;
    assert_eq!((names(&last), last.get("next")), (vec!["gamma"], None));
    for query in [
        "limit=501",
        "filterBy=colour==red",
        "filterBy=createdAt=@2026",
    ] {
        let (code, answer) = get(&demo, &format!("/api/v1/workloads?{query}")).await;
        assert_eq!((code, &answer["code"]), (400, &json!(400)), "{query}");
    }
}

#[tokio::test]
async fn an_accepted_action_shows_later() {
    let demo = Demo::start().await;
    demo.run(JobSpec::training("demo-nlp", "train"));
    let id = demo.job("train").workload_id;
    let phase = async || {
        demo.runai
            .workload(&id)
            .await
            .map(|detail| detail.workload.phase)
    };

    demo.runai.suspend("Training", &id).await.expect("accepted");
    assert_eq!(phase().await.expect("a workload"), Phase::Stopping);
    demo.pass(3.0);
    assert_eq!(phase().await.expect("a workload"), Phase::Stopped);
    demo.runai.resume("Training", &id).await.expect("accepted");
    assert_eq!(phase().await.expect("a workload"), Phase::Resuming);
    demo.pass(3.0);
    assert_eq!(phase().await.expect("a workload"), Phase::Running);

    let history = demo.runai.history(&id).await.expect("a history");
    let phases: Vec<_> = history
        .iter()
        .filter_map(|entry| entry.phase.as_deref())
        .collect();
    assert!(
        phases
            .windows(2)
            .any(|pair| pair == ["Stopping", "Stopped"]),
        "{phases:?}"
    );

    demo.runai.delete("Training", &id).await.expect("accepted");
    demo.pass(3.0);
    let (_, listed) = get(&demo, "/api/v1/workloads").await;
    let (_, deleted) = get(&demo, "/api/v1/workloads?deleted=true").await;
    assert_eq!((names(&listed), names(&deleted)), (vec![], vec!["train"]));
    assert!(matches!(
        demo.runai.suspend("Training", &id).await,
        Err(RunaiError::NotFound)
    ));
}

#[tokio::test]
async fn work_beyond_its_quota_says_why_it_waits() {
    let demo = Demo::start().await;
    let over = Start::OverQuota {
        requested: 8,
        quota: 24,
        allocated: 20,
    };
    demo.run(JobSpec {
        script: Script::blocked(over),
        preemptible: false,
        ..JobSpec::training("demo-nlp", "big")
    });
    let detail = demo
        .runai
        .workload(&demo.job("big").workload_id)
        .await
        .expect("a workload");
    assert_eq!(detail.workload.phase, Phase::Pending);
    assert_eq!(
        detail.workload.phase_reason.as_deref(),
        Some("NonPreemptibleOverQuota")
    );
    assert!(
        detail.pending_messages[0].contains("requested 8 GPUs"),
        "{:?}",
        detail.pending_messages
    );
}

#[tokio::test]
async fn a_batch_tells_what_succeeded_and_what_did_not() {
    let demo = Demo::start().await;
    demo.run(JobSpec::training("demo-nlp", "train"));
    demo.run(JobSpec::inference("demo-nlp", "api", 1));
    let (train, api) = (demo.job("train").workload_id, demo.job("api").workload_id);
    let http = reqwest::Client::new();
    let base = &demo.servers.runai_base_url;
    let credentials = json!({"grantType": "client_credentials", "clientID": demo.servers.runai_client_id,
        "clientSecret": demo.servers.runai_client_secret});
    let token = http
        .post(format!("{base}/api/v1/token"))
        .json(&credentials)
        .send()
        .await
        .expect("an answer");
    let token: Value = token.json().await.expect("a token");
    let batch = json!({"ids": [train, api], "action": "suspend"});
    let request = http
        .post(format!("{base}/api/v1/workloads/batch"))
        .json(&batch);
    let answer = request
        .bearer_auth(token["accessToken"].as_str().expect("a token"))
        .send()
        .await
        .expect("an answer");
    let answer: Value = answer.json().await.expect("JSON");
    assert_eq!(answer["succeeded"], json!([train]));
    assert_eq!(answer["failed"][0]["id"], json!(api));

    let wrong = http
        .post(format!("{base}/api/v2/token"))
        .form(&[("grant_type", "client_credentials")]);
    let wrong = wrong.send().await.expect("an answer");
    assert_eq!(wrong.status(), 401);
    let unsigned = http
        .get(format!("{base}/api/v1/clusters"))
        .send()
        .await
        .expect("an answer");
    assert_eq!(unsigned.status(), 401);
    let clusters = demo.runai.clusters().await.expect("clusters");
    assert!(clusters[0].connected && clusters[0].name == "demo");
}

#[tokio::test]
async fn the_list_of_a_large_tenant_is_complete() {
    let demo = Demo::start().await;
    demo.estate.populate(1_203, 1);
    let mut seen = std::collections::BTreeSet::new();
    let mut offset = Some(0);
    while let Some(at) = offset {
        let page = demo
            .runai
            .workloads(&Filter::default(), at, 500)
            .await
            .expect("a page");
        seen.extend(page.items.into_iter().map(|workload| workload.id));
        offset = page.next;
    }
    assert_eq!(seen.len(), 1_203);
}
