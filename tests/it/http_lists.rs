//! Lists of the API: filters, pages, links, and the stream that says when to read them again.

use std::time::Duration;

use jiff::Timestamp;
use nightbell::alert::Subject;
use nightbell::alert::report::JobReport;
use nightbell::http;
use nightbell::http::token::Role;
use nightbell::safety::Safety;
use serde_json::{Value, json};

use crate::http::{
    OTHER_MACHINE, PAGE, Surroundings, body, client, get, open, problem, read_until, request,
    with_tokens,
};
use crate::support::alerting::{alerts, at, crashed, ingest, kubernetes};
use crate::support::gate::{approved, asked, settings};

/// Failures of seven jobs, one after another: three of project nlp, three of vision, one of none. The first is over.
async fn seven_failures(bot: &Surroundings) {
    let alerts = alerts(&bot.database.store);
    for n in 0..7 {
        let project = ["nlp", "vision"].get(n / 3).map(|name| (*name).to_owned());
        let plain = kubernetes(
            &format!("job-{n}"),
            &format!("u{n}"),
            vec![crashed("Error", 1)],
        );
        let report = JobReport {
            subject: Subject {
                namespace: format!("ns-{}", project.as_deref().unwrap_or("plain")),
                project,
                ..plain.subject.clone()
            },
            ..plain
        };
        let second = 2 + i64::try_from(n).unwrap_or(0);
        ingest(&alerts, &[report], second).await;
    }
    let first = alerts.by_number(1).await.expect("the first alert");
    alerts
        .resolve(&first.id, "mira", at(20))
        .await
        .expect("resolved");
}

async fn numbers(bot: &Surroundings, path: &str) -> Vec<i64> {
    let page = body(bot.send(get(path)).await).await;
    page["items"]
        .as_array()
        .unwrap_or_else(|| panic!("{path}: {page}"))
        .iter()
        .filter_map(|item| item["number"].as_i64())
        .collect()
}

#[tokio::test]
async fn alerts_are_filtered_and_those_that_are_over_are_shown_only_when_asked_for() {
    let bot = open().await;
    seven_failures(&bot).await;
    for (query, expected) in [
        ("", vec![7, 6, 5, 4, 3, 2]),
        ("?state=all", vec![7, 6, 5, 4, 3, 2, 1]),
        ("?state=resolved", vec![1]),
        ("?state=open", vec![7, 6, 5, 4, 3, 2]),
        ("?state=acknowledged", vec![]),
        ("?project=nlp", vec![3, 2]),
        ("?project=nlp&state=all", vec![3, 2, 1]),
        ("?project=nl", vec![]),
        ("?namespace=ns-plain", vec![7]),
        ("?severity=low", vec![]),
    ] {
        for list in ["alerts", "incidents"] {
            let path = format!("/api/v1/{list}{query}");
            assert_eq!(numbers(&bot, &path).await, expected, "{path}");
        }
    }
    for wrong in [
        "?state=lost",
        "?severity=dreadful",
        "?limit=0",
        "?limit=501",
        "?limit=many",
        "?cursor=nonsense",
    ] {
        let path = format!("/api/v1/alerts{wrong}");
        let (status, detail) = problem(bot.send(get(&path)).await).await;
        assert!(matches!(status, 400 | 422), "{path}: {status} {detail}");
    }
}

#[tokio::test]
async fn pages_together_are_the_list_with_nothing_twice_and_an_end() {
    let bot = open().await;
    seven_failures(&bot).await;
    for (limit, sizes) in [
        (2, vec![2, 2, 2]),
        (4, vec![4, 2]),
        (6, vec![6]),
        (500, vec![6]),
    ] {
        let mut seen = Vec::new();
        let mut pages = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/v1/alerts?limit={limit}{cursor}");
            let page = body(bot.send(get(&path)).await).await;
            let items = page["items"].as_array().expect("items").clone();
            pages.push(items.len());
            seen.extend(items.iter().filter_map(|item| item["number"].as_i64()));
            let Some(next) = page["next"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, [7, 6, 5, 4, 3, 2], "{limit} a page");
        assert_eq!(pages, sizes, "{limit} a page");
    }
    // A filter does not shorten pages.
    let page = body(bot.send(get("/api/v1/alerts?limit=1&project=nlp")).await).await;
    assert_eq!(page["items"][0]["number"], 3);
    let next = page["next"].as_str().expect("there is one more");
    let path = format!("/api/v1/alerts?limit=1&project=nlp&cursor={next}");
    assert_eq!(numbers(&bot, &path).await, [2]);
}

#[tokio::test]
async fn cards_of_the_api_lead_to_the_page() {
    let bot = open().await;
    seven_failures(&bot).await;
    let link = format!("{PAGE}#alert-3");
    let shown = body(bot.send(get("/api/v1/alerts/3")).await).await;
    assert!(shown["card"].to_string().contains(&link), "{shown}");
    assert!(
        shown["timeline"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
    );
    let all = body(bot.send(get("/api/v1/console/messages")).await).await;
    let message = all["items"]
        .as_array()
        .and_then(|items| items.iter().find(|item| item["number"] == 3).cloned())
        .unwrap_or(Value::Null);
    assert!(message["card"].to_string().contains(&link), "{message}");
    let (status, _) = problem(bot.send(get("/api/v1/alerts/99")).await).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn the_stream_tells_at_once_what_is_folded_into_an_open_alert() {
    let bot = open().await;
    let alerts = alerts(&bot.database.store);
    let failing = |pods: i64| {
        let symptoms = (0..pods).map(|n| crashed("Error", n)).collect();
        kubernetes("train", "u1", symptoms)
    };
    ingest(&alerts, &[failing(1)], 2).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let stop = bot.shutdown.clone();
    tokio::spawn(http::serve(
        listener,
        bot.router.clone(),
        stop.cancelled_owned(),
    ));
    let mut stream = client()
        .get(format!("http://{address}/api/v1/stream"))
        .send()
        .await
        .expect("an answer");
    let mut heard = String::new();
    read_until(&mut stream, &mut heard, "event: hello").await;
    let before = body(bot.send(get("/api/v1/alerts/1")).await).await;
    ingest(&alerts, &[failing(2)], 60).await;
    let after = body(bot.send(get("/api/v1/alerts/1")).await).await;
    assert_eq!(
        before["timeline"], after["timeline"],
        "what is folded makes no entry"
    );
    assert_ne!(before["count"], after["count"]);
    read_until(&mut stream, &mut heard, "\"alerts\"").await;
    bot.shutdown.cancel();
}

#[tokio::test]
async fn what_was_deleted_to_be_made_anew_is_given_back_to_an_admin_only() {
    let (bot, tokens) = with_tokens().await;
    let store = &bot.database.store;
    let safety = Safety::new(store.clone(), settings());
    safety.set_home_team("T1");
    let question = asked(&safety, store, "alert-1", "train-0", at(0)).await;
    let execution = approved(&safety, &question, at(1)).await;
    let path = format!("/api/v1/actions/{}/manifest", execution.id);
    let ask = async |role, path: &str| {
        let token = tokens
            .issue("mira", role, Duration::from_mins(1), Timestamp::now())
            .expect("a token");
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        bot.send(request("GET", path, OTHER_MACHINE, &headers, ""))
            .await
    };
    let (status, _) = problem(ask(Role::Admin, &path).await).await;
    assert_eq!(status, 404, "nothing is kept yet");

    let manifest = json!({"kind": "Job", "metadata": {"name": "train"}});
    let mut tx = store.begin().await.expect("begin");
    tx.remember(&execution.id, &json!({ "manifest": manifest, "uid": "u1" }))
        .await
        .expect("noted");
    tx.commit().await.expect("commit");
    assert_eq!(body(ask(Role::Admin, &path).await).await, manifest);
    for role in [Role::Viewer, Role::Operator, Role::Approver] {
        let (status, detail) = problem(ask(role, &path).await).await;
        assert_eq!(status, 403, "{role:?}");
        assert!(detail.contains("admin"), "{detail}");
    }
    let (status, _) = problem(ask(Role::Admin, "/api/v1/actions/none/manifest").await).await;
    assert_eq!(status, 404);
}
