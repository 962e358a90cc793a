//! What a thread gets beside words: the picture of who failed first, and incidents like this one.

use std::time::Duration;

use jiff::SignedDuration;
use nightbell::chat::slack::client::{Settings as ClientSettings, SlackClient};
use nightbell::diagnose::Diagnosis;
use nightbell::diagnose::course::{Course, Lane, LaneEnd};
use nightbell::notify::slack::{Settings, SlackDelivery};
use nightbell::notify::view::Views;
use secrecy::SecretString;

use crate::support::alerting::{alerts, at, crashed, diagnosis, ingest, kubernetes, settle};
use crate::support::database::{TestDatabase, databases, sqlite};
use crate::support::slack::{BOT_TOKEN, FakeSlack, Fault};

fn delivery(db: &TestDatabase, slack: &FakeSlack) -> SlackDelivery {
    let client = SlackClient::new(ClientSettings {
        api_url: Some(slack.api_url()),
        bot_token: Some(SecretString::from(BOT_TOKEN)),
        timeout: Duration::from_secs(2),
        ..ClientSettings::default()
    })
    .expect("a client");
    let settings = Settings {
        default_channel: None,
        between: Duration::ZERO,
        await_diagnosis: SignedDuration::ZERO,
    };
    let views = Views::new(db.store.clone(), None);
    SlackDelivery::new(db.store.clone(), client, views, settings, "test")
}

async fn deliver(slack: &SlackDelivery) {
    while slack.deliver_due().await.expect("the outbox answers") > 0 {}
}

/// A gang of two, of which the second failed first.
fn gang(cause: &str) -> Diagnosis {
    let lane = |n: u32, ended: i64| Lane {
        pod: format!("train-worker-{n}"),
        pods: 1,
        rank: Some(n),
        node: Some("gpu-07".to_owned()),
        began: at(0),
        trouble: None,
        ended: Some(at(ended)),
        last_ended: Some(at(ended)),
        end: LaneEnd::Stopped,
        first: n == 1,
    };
    let course = Course {
        began: at(0),
        until: at(9),
        pods: 2,
        lanes: vec![lane(0, 9), lane(1, 5)],
        changes: Vec::new(),
        usage: None,
    };
    Diagnosis {
        course: Some(course),
        ..diagnosis(cause)
    }
}

/// A failing job whose message is posted; its alert's id.
async fn told(db: &TestDatabase, delivery: &SlackDelivery) -> String {
    let failing = kubernetes("train", "u1", vec![crashed("Error", 5)]);
    let id = ingest(&alerts(&db.store), &[failing], 10).await.remove(0);
    deliver(delivery).await;
    id
}

#[tokio::test]
async fn the_thread_gets_one_picture_of_who_failed_first() {
    for db in databases().await {
        let slack = FakeSlack::start().await;
        let delivery = delivery(&db, &slack);
        let id = told(&db, &delivery).await;
        for second in [12, 13] {
            alerts(&db.store)
                .attach_diagnosis(&id, gang("cuda_oom"), at(second))
                .await
                .expect("attached");
            deliver(&delivery).await;
        }
        let files = slack.shared_files();
        assert_eq!(files.len(), 1, "the same picture is not shared twice");
        let thread = slack.message(0);
        assert_eq!(files[0].shared, Some((thread.channel, thread.ts)));
        assert_eq!(files[0].name, "timeline.png");
        assert!(files[0].bytes.starts_with(b"\x89PNG"));
        assert!(
            files[0]
                .alt
                .contains("train-worker-1 (rank 1) on gpu-07 was the first to fail")
        );
    }
}

#[tokio::test]
async fn without_the_scope_for_files_the_report_comes_without_a_picture() {
    let (db, slack) = (sqlite().await, FakeSlack::start().await);
    let delivery = delivery(&db, &slack);
    let id = told(&db, &delivery).await;
    slack.fail("files.getUploadURLExternal", Fault::Error("missing_scope"));
    alerts(&db.store)
        .attach_diagnosis(&id, gang("cuda_oom"), at(12))
        .await
        .expect("attached");
    deliver(&delivery).await;
    assert!(slack.shared_files().is_empty());
    assert_eq!(
        slack.calls("files.getUploadURLExternal"),
        1,
        "it is not tried again"
    );
    assert_eq!(
        slack.calls("chat.postMessage"),
        2,
        "the message and the report"
    );
}

#[tokio::test]
async fn a_slow_upload_delays_neither_message_nor_report() {
    let (db, slack) = (sqlite().await, FakeSlack::start().await);
    let delivery = delivery(&db, &slack);
    let id = told(&db, &delivery).await;
    slack.fail(
        "files.getUploadURLExternal",
        Fault::Slow(Duration::from_mins(1)),
    );
    alerts(&db.store)
        .attach_diagnosis(&id, gang("cuda_oom"), at(12))
        .await
        .expect("attached");
    deliver(&delivery).await;
    let calls: Vec<String> = slack
        .payloads()
        .into_iter()
        .map(|(method, _)| method)
        .collect();
    let shared = calls
        .iter()
        .position(|call| call == "files.completeUploadExternal");
    let told = calls.iter().rposition(|call| call == "chat.postMessage");
    assert!(told < shared || shared.is_none(), "{calls:?}");
    assert_eq!(slack.calls("chat.update"), 1);
    assert_eq!(slack.calls("chat.postMessage"), 2);
}

#[tokio::test]
async fn an_incident_like_an_earlier_one_says_what_ended_that() {
    for db in databases().await {
        let slack = FakeSlack::start().await;
        let (alerts, delivery) = (alerts(&db.store), delivery(&db, &slack));
        let first = told(&db, &delivery).await;
        alerts
            .attach_diagnosis(&first, gang("cuda_oom"), at(12))
            .await
            .expect("attached");
        ingest(&alerts, &[kubernetes("train", "u1", vec![])], 60).await;
        settle(&alerts, 60).await;

        let again = kubernetes("train-2", "u2", vec![crashed("Error", 1_005)]);
        let other = kubernetes("frontend", "u3", vec![crashed("Error", 1_005)]);
        let opened = ingest(&alerts, &[again, other], 1_010).await;
        alerts
            .attach_diagnosis(&opened[0], gang("cuda_oom"), at(1_012))
            .await
            .expect("attached");
        alerts
            .attach_diagnosis(&opened[1], gang("missing_file"), at(1_012))
            .await
            .expect("attached");
        for (id, expected) in [(&opened[0], vec!["train"]), (&opened[1], vec![])] {
            let alert = alerts.get(id).await.expect("it is there");
            let past = db.store.similar_alerts(&alert).await.expect("it answers");
            let names: Vec<&str> = past.iter().map(|past| past.job.as_str()).collect();
            assert_eq!(names, expected);
        }
        deliver(&delivery).await;
        assert!(
            slack.messages().contains("Seen before:"),
            "{}",
            slack.messages()
        );
    }
}
