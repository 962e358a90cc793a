//! What is over is deleted in time, and nothing that anybody still needs.

use nightbell::alert::service::Alerts;
use nightbell::decide::Proposal;
use nightbell::safety::{Proposed, Safety, Settings};

use crate::support::alerting::{alerts, all, at, crashed, ingest, kubernetes};
use crate::support::database::databases;

const DAY: i64 = 86_400;

async fn failed_and_resolved(alerts: &Alerts, name: &str, second: i64) -> String {
    let failing = kubernetes(name, &format!("uid-{name}"), vec![crashed("Error", second)]);
    let id = ingest(alerts, &[failing], second).await.remove(0);
    alerts
        .resolve(&id, "mira", at(second + 1))
        .await
        .expect("resolved");
    id
}

async fn names(alerts: &Alerts) -> Vec<String> {
    let all = all(alerts).await.into_iter();
    all.map(|alert| alert.subject.name).collect()
}

#[tokio::test]
async fn what_ended_long_ago_is_deleted_a_little_at_a_time_and_the_rest_stays() {
    for db in databases().await {
        let alerts = alerts(&db.store);
        for n in 0..5 {
            failed_and_resolved(&alerts, &format!("old-{n}"), 10 + n).await;
        }
        let failing = kubernetes("fails-since-long", "u-open", vec![crashed("Error", 20)]);
        ingest(&alerts, &[failing], 20).await;
        failed_and_resolved(&alerts, "lately", 100 * DAY).await;
        let told = db.store.message("alert:none", "slack:C1").await;
        assert!(told.expect("read").is_none());

        let before = at(50 * DAY);
        let mut rounds = 0;
        while db.store.prune_history(before, 2).await.expect("pruned") > 0 {
            rounds += 1;
            assert!(rounds < 20, "it comes to an end");
        }
        assert!(rounds >= 3, "in batches");
        let mut left = names(&alerts).await;
        left.sort();
        assert_eq!(
            left,
            ["fails-since-long", "lately"],
            "{}",
            db.store.backend()
        );
        // A job of that name that fails now is a new one.
        let again = kubernetes("old-0", "uid-old-0", vec![crashed("Error", 100 * DAY)]);
        assert_eq!(ingest(&alerts, &[again], 100 * DAY).await.len(), 1);
    }
}

#[tokio::test]
async fn an_alert_with_a_question_that_waits_is_kept() {
    for db in databases().await {
        let alerts = alerts(&db.store);
        let id = failed_and_resolved(&alerts, "train", 10).await;
        let safety = Safety::new(db.store.clone(), settings());
        let mut tx = db.store.begin().await.expect("begin");
        let asked = safety
            .propose(&mut tx, &id, &proposal(), at(12))
            .await
            .expect("proposed");
        tx.commit().await.expect("commit");
        let Proposed::Asked(_) = asked else {
            panic!("{asked:?}");
        };
        db.store
            .prune_history(at(50 * DAY), 100)
            .await
            .expect("pruned");
        assert_eq!(names(&alerts).await, ["train"]);
        let mut tx = db.store.begin().await.expect("begin");
        safety
            .withdraw(&mut tx, &id, "the alert is over", at(13))
            .await
            .expect("withdrawn");
        tx.commit().await.expect("commit");
        db.store
            .prune_history(at(50 * DAY), 100)
            .await
            .expect("pruned");
        assert!(names(&alerts).await.is_empty());
        let kept = db.store.audit_head().await.expect("read");
        assert!(kept.seq > 0, "the audit is never pruned");
    }
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.policy.require_approval = true;
    settings
}

fn proposal() -> Proposal {
    crate::support::gate::proposal("train-0")
}
