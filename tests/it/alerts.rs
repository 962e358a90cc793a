//! One alert per job and failure, whatever sees it, however often, and across restarts.

use nightbell::alert::lifecycle::Event;
use nightbell::alert::{AlertState, GroupKey, Severity};
use nightbell::detect::FailureClass;
use nightbell::store::Store;

use crate::support::alerting::{
    alerts, all, at, crashed, diagnosis, ingest, kubernetes, removed, runai, settle, symptom,
};
use crate::support::database::{databases, sqlite};

#[tokio::test]
async fn one_failing_job_seen_by_both_sources_across_a_restart_is_one_alert() {
    for db in databases().await {
        let before = alerts(&db.store);
        ingest(
            &before,
            &[kubernetes(
                "train",
                "u1",
                vec![crashed("CrashLoopBackOff", 5)],
            )],
            10,
        )
        .await;
        ingest(
            &before,
            &[runai("train", "r1", vec![crashed("Failed", 20)])],
            70,
        )
        .await;
        ingest(
            &before,
            &[kubernetes("train", "u1", vec![crashed("OOMKilled", 80)])],
            80,
        )
        .await;

        let restarted = alerts(
            &Store::open(&db.url)
                .await
                .expect("the database opens again"),
        );
        let mut joined = runai(
            "train",
            "r1",
            vec![crashed("Failed", 20), crashed("OOMKilled", 80)],
        );
        joined
            .identity
            .aliases
            .extend(kubernetes("train", "u1", vec![]).identity.aliases);
        ingest(&restarted, &[joined], 130).await;
        ingest(
            &restarted,
            &[kubernetes(
                "train",
                "u1",
                vec![crashed("BackoffLimitExceeded", 140)],
            )],
            140,
        )
        .await;

        let all = all(&restarted).await;
        assert_eq!(all.len(), 1, "{}", db.store.backend());
        assert_eq!(
            (all[0].number, all[0].failure.as_str(), all[0].state),
            (1, "OOMKilled", AlertState::Open)
        );
        assert_eq!(all[0].severity, Severity::High, "sixteen GPUs");
    }
}

#[tokio::test]
async fn the_same_reports_again_change_nothing() {
    for db in databases().await {
        let alerts = alerts(&db.store);
        let reports = [
            kubernetes("train", "u1", vec![crashed("Error", 5)]),
            kubernetes("fine", "u2", vec![]),
        ];
        assert_eq!(ingest(&alerts, &reports, 10).await.len(), 1);
        let again = alerts
            .ingest(&reports, 1_000, at(20))
            .await
            .expect("the reports are saved");
        assert_eq!(again.changed, 0);
    }
}

#[tokio::test]
async fn a_job_that_fails_again_reopens_its_alert_and_another_failure_is_another_alert() {
    for db in databases().await {
        let alerts = alerts(&db.store);
        ingest(
            &alerts,
            &[kubernetes("train", "u1", vec![crashed("OOMKilled", 5)])],
            10,
        )
        .await;
        ingest(&alerts, &[kubernetes("train", "u1", vec![])], 60).await;
        alerts.sweep(at(120)).await.expect("the sweep is saved");
        assert_eq!(
            all(&alerts).await[0].state,
            AlertState::Open,
            "a minute of quiet is no recovery"
        );
        settle(&alerts, 60).await;
        assert_eq!(
            all(&alerts).await[0].resolution.as_deref(),
            Some("recovered")
        );

        ingest(
            &alerts,
            &[kubernetes("train", "u1", vec![crashed("OOMKilled", 900)])],
            910,
        )
        .await;
        let reopened = all(&alerts).await;
        assert_eq!(
            (
                reopened.len(),
                reopened[0].state,
                reopened[0].track.reopened
            ),
            (1, AlertState::Open, 1)
        );

        ingest(&alerts, &[kubernetes("train", "u1", vec![])], 1_000).await;
        settle(&alerts, 1_000).await;
        let evicted = symptom(FailureClass::Disrupted, "Evicted", 2_000);
        ingest(&alerts, &[kubernetes("train", "u1", vec![evicted])], 2_000).await;
        assert_eq!(all(&alerts).await.len(), 2);
    }
}

#[tokio::test]
async fn after_a_recovery_another_root_cause_is_told_apart() {
    for db in databases().await {
        let alerts = alerts(&db.store);
        let id = ingest(
            &alerts,
            &[kubernetes("train", "u1", vec![crashed("Error", 5)])],
            10,
        )
        .await
        .remove(0);
        alerts
            .attach_diagnosis(&id, diagnosis("cuda_oom"), at(12))
            .await
            .expect("attached");
        ingest(&alerts, &[kubernetes("train", "u1", vec![])], 60).await;
        settle(&alerts, 60).await;
        ingest(
            &alerts,
            &[kubernetes("train", "u1", vec![crashed("Error", 900)])],
            910,
        )
        .await;
        let same = alerts
            .attach_diagnosis(&id, diagnosis("cuda_oom"), at(912))
            .await
            .expect("attached");
        assert_eq!(same.id, id);
        let other = alerts
            .attach_diagnosis(&id, diagnosis("nccl_timeout"), at(920))
            .await
            .expect("attached");
        assert_ne!(other.id, id);
        let all = all(&alerts).await;
        assert_eq!(
            all.iter().map(|a| a.state).collect::<Vec<_>>(),
            [AlertState::Resolved, AlertState::Open]
        );
    }
}

#[tokio::test]
async fn a_rerun_is_a_new_job_and_what_was_deleted_is_removed_not_recovered() {
    for db in databases().await {
        let alerts = alerts(&db.store);
        let first = kubernetes("train", "u1", vec![crashed("Error", 5)]);
        ingest(&alerts, std::slice::from_ref(&first), 10).await;
        ingest(&alerts, &[removed(first)], 60).await;
        let mut rerun = kubernetes("train", "u2", vec![crashed("Error", 100)]);
        rerun.identity.created = at(90);
        ingest(&alerts, &[rerun], 110).await;
        let all = all(&alerts).await;
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].resolution.as_deref(), Some("removed"));
        assert_eq!(all[1].state, AlertState::Open);
    }
}

#[tokio::test]
async fn expected_events_never_alert_and_explain_an_end() {
    for db in databases().await {
        let alerts = alerts(&db.store);
        let preempted = symptom(FailureClass::Disrupted, "Preempted", 5);
        assert!(
            ingest(
                &alerts,
                &[kubernetes("other", "u2", vec![preempted.clone()])],
                10
            )
            .await
            .is_empty()
        );
        let id = ingest(
            &alerts,
            &[kubernetes("train", "u1", vec![crashed("Error", 5)])],
            10,
        )
        .await
        .remove(0);
        let mut suspended = symptom(FailureClass::Disrupted, "Suspended", 50);
        suspended.expected = true;
        ingest(&alerts, &[kubernetes("train", "u1", vec![suspended])], 60).await;
        settle(&alerts, 60).await;
        let alert = alerts.get(&id).await.expect("the alert");
        assert_eq!(alert.resolution.as_deref(), Some("ended: Suspended"));
        assert_eq!(alert.track.expected, 1);
    }
}

#[tokio::test]
async fn what_a_person_resolved_stays_resolved_until_something_new_happens() {
    for db in databases().await {
        let alerts = alerts(&db.store);
        let id = ingest(
            &alerts,
            &[kubernetes("train", "u1", vec![crashed("Error", 5)])],
            10,
        )
        .await
        .remove(0);
        alerts.resolve(&id, "mira", at(30)).await.expect("resolved");
        let known = kubernetes(
            "train",
            "u1",
            vec![crashed("Error", 5), crashed("Failed", 40)],
        );
        ingest(&alerts, &[known], 60).await;
        assert_eq!(
            alerts.get(&id).await.expect("the alert").state,
            AlertState::Resolved
        );
        ingest(
            &alerts,
            &[kubernetes("train", "u1", vec![crashed("Error", 90)])],
            95,
        )
        .await;
        assert_eq!(
            alerts.get(&id).await.expect("the alert").state,
            AlertState::Open
        );
        assert_eq!(all(&alerts).await.len(), 1);
    }
}

#[tokio::test]
async fn the_timeline_tells_who_did_what() {
    for db in databases().await {
        let alerts = alerts(&db.store);
        let id = ingest(
            &alerts,
            &[kubernetes("train", "u1", vec![crashed("Error", 5)])],
            10,
        )
        .await
        .remove(0);
        alerts
            .acknowledge(&id, "mira", at(20))
            .await
            .expect("acknowledged");
        alerts
            .acknowledge(&id, "noor", at(21))
            .await
            .expect("acknowledged");
        alerts
            .silence(&id, "mira", at(3_600), at(25))
            .await
            .expect("silenced");
        alerts
            .unsilence(&id, "noor", at(26))
            .await
            .expect("unsilenced");
        alerts
            .feedback(&id, "noor", true, at(27))
            .await
            .expect("rated");
        alerts
            .note_action(&id, "restarted train", true, at(28))
            .await
            .expect("noted");
        let told: Vec<(String, Option<String>)> = alerts
            .timeline(&id)
            .await
            .expect("a timeline")
            .into_iter()
            .map(|e| (e.kind, e.actor))
            .collect();
        let by = |name: &str| Some(name.to_owned());
        let expected = [
            ("opened", None),
            ("acknowledged", by("mira")),
            ("silenced", by("mira")),
            ("unsilenced", by("noor")),
            ("rated", by("noor")),
            ("action", None),
        ];
        assert_eq!(told, expected.map(|(kind, actor)| (kind.to_owned(), actor)));
        let alert = alerts.get(&id).await.expect("the alert");
        assert_eq!(
            (
                alert.state,
                alert.feedback,
                alert.acknowledged_by.as_deref()
            ),
            (AlertState::Mitigating, 1, Some("mira"))
        );
        assert_eq!(
            alerts.by_number(alert.number).await.expect("the alert").id,
            id
        );
    }
}

#[tokio::test]
async fn a_change_that_is_rolled_back_leaves_neither_state_nor_effects() {
    for db in databases().await {
        let alerts = alerts(&db.store);
        let id = ingest(
            &alerts,
            &[kubernetes("train", "u1", vec![crashed("Error", 5)])],
            10,
        )
        .await
        .remove(0);
        let mut tx = db.store.begin().await.expect("begin");
        let event = Event::Acknowledged {
            by: "mira".to_owned(),
        };
        alerts
            .apply(&mut tx, &id, event, at(20))
            .await
            .expect("applied");
        drop(tx);
        assert_eq!(
            alerts.get(&id).await.expect("the alert").state,
            AlertState::Open
        );
        assert_eq!(alerts.timeline(&id).await.expect("a timeline").len(), 1);
    }
}

#[tokio::test]
async fn two_thousand_pods_of_forty_jobs_give_three_alerts_of_their_own_and_lose_none() {
    for db in databases().await {
        let alerts = alerts(&db.store);
        let mut batches: Vec<Vec<_>> = vec![Vec::new(); 4];
        for job in 0..40 {
            let pods = (0..50).map(|pod| {
                let mut failed = crashed("Error", 5);
                failed.pod = Some(format!("job-{job}-{pod}"));
                failed
            });
            batches[job % 4].push(kubernetes(
                &format!("job-{job}"),
                &format!("u{job}"),
                pods.collect(),
            ));
        }
        for (second, batch) in (10..).zip(&batches) {
            ingest(&alerts, batch, second).await;
        }
        let all = all(&alerts).await;
        assert_eq!(all.len(), 40);
        assert!(all.iter().all(|alert| alert.pods_failing == 50));
        let alone = all.iter().filter(|alert| alert.track.own_message).count();
        assert_eq!(alone, 3);
        let groups: std::collections::BTreeSet<_> =
            all.iter().filter_map(|a| a.group_id.clone()).collect();
        assert_eq!(groups.len(), 1);
        let group = db
            .store
            .group(groups.first().expect("one"))
            .await
            .expect("read")
            .expect("the group");
        assert!(matches!(group.key, GroupKey::Storm(_)));
        assert_eq!(group.members.len(), 37);
    }
}

#[tokio::test]
async fn a_group_is_over_when_its_last_member_is() {
    for db in databases().await {
        let alerts = alerts(&db.store);
        let on_node = |n: usize| {
            let mut failed = crashed("Error", 5);
            failed.node = Some("gpu-1".to_owned());
            kubernetes(&format!("job-{n}"), &format!("u{n}"), vec![failed])
        };
        let ids = ingest(&alerts, &[on_node(1), on_node(2), on_node(3)], 10).await;
        let group_id = alerts
            .get(&ids[0])
            .await
            .expect("the alert")
            .group_id
            .expect("in a group");
        for (n, id) in ids.iter().enumerate() {
            let group = db
                .store
                .group(&group_id)
                .await
                .expect("read")
                .expect("the group");
            assert_eq!(group.resolved, None, "after {n} of three");
            alerts.resolve(id, "mira", at(60)).await.expect("resolved");
        }
        let group = db
            .store
            .group(&group_id)
            .await
            .expect("read")
            .expect("the group");
        assert_eq!(group.resolved, Some(at(60)));
    }
}

#[tokio::test]
async fn a_job_that_already_fails_is_counted_once_among_those_that_fail() {
    let db = sqlite().await;
    let alerts = alerts(&db.store);
    let small = |n: usize, state: &str| {
        let mut report = kubernetes(
            &format!("job-{n}"),
            &format!("u{n}"),
            vec![crashed(state, 5)],
        );
        report.subject.gpus = 1.0;
        report
    };
    // Five of twenty are a quarter, and no more.
    let five: Vec<_> = (0..5).map(|n| small(n, "Error")).collect();
    alerts.ingest(&five, 20, at(10)).await.expect("saved");
    let again = [small(0, "OOMKilled")];
    alerts.ingest(&again, 20, at(20)).await.expect("saved");
    let told = all(&alerts).await;
    assert!(
        told.iter().all(|alert| alert.severity == Severity::Medium),
        "{:?}",
        told.iter().map(|alert| alert.severity).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn the_open_alerts_of_a_group_are_acknowledged_and_silenced_together() {
    for db in databases().await {
        let alerts = alerts(&db.store);
        let on_node = |n: usize| {
            let mut crash = crashed("Error", 5);
            crash.node = Some("gpu-1".to_owned());
            kubernetes(&format!("job-{n}"), &format!("u{n}"), vec![crash])
        };
        let three: Vec<_> = (0..3).map(on_node).collect();
        let opened = ingest(&alerts, &three, 10).await;
        let group = alerts
            .get(&opened[0])
            .await
            .expect("there")
            .group_id
            .expect("they share a node");
        alerts
            .resolve(&opened[2], "mira", at(15))
            .await
            .expect("resolved");

        let changed = alerts
            .acknowledge_group(&group, "mira", at(20))
            .await
            .expect("acknowledged");
        assert_eq!(changed, 2, "one of them is over");
        let again = alerts.acknowledge_group(&group, "jo", at(21)).await;
        assert_eq!(again.expect("nothing to do"), 0);
        let until = at(4_000);
        alerts
            .silence_group(&group, "mira", until, at(22))
            .await
            .expect("silenced");
        for id in &opened[..2] {
            let alert = alerts.get(id).await.expect("there");
            assert_eq!(alert.acknowledged_by.as_deref(), Some("mira"));
            assert_eq!(alert.silenced_until, Some(until));
        }
        assert!(
            alerts
                .acknowledge_group("none", "mira", at(23))
                .await
                .is_err()
        );
    }
}

#[tokio::test]
async fn a_diagnosis_that_saw_less_does_not_replace_the_one_that_saw_more() {
    let db = sqlite().await;
    let alerts = alerts(&db.store);
    let id = ingest(
        &alerts,
        &[kubernetes("train", "u1", vec![crashed("Error", 5)])],
        10,
    )
    .await
    .remove(0);
    let cause =
        |alert: nightbell::alert::Alert| alert.diagnosis.map(|d| d.findings[0].cause.clone());
    alerts
        .attach_diagnosis(&id, diagnosis("cuda_oom"), at(12))
        .await
        .expect("attached");
    let mut blind = diagnosis("backoff_limit_exceeded");
    blind.findings[0].confidence = 0.55;
    blind.missing_evidence = vec!["The job's pods are gone, and their logs with them.".to_owned()];
    let kept = alerts
        .attach_diagnosis(&id, blind.clone(), at(60))
        .await
        .expect("attached");
    assert_eq!(cause(kept).as_deref(), Some("cuda_oom"));
    // Repaired, it looks well; why it failed stays known.
    let mut well = diagnosis("unknown");
    well.findings.clear();
    let kept = alerts
        .attach_diagnosis(&id, well, at(65))
        .await
        .expect("attached");
    assert_eq!(cause(kept).as_deref(), Some("cuda_oom"));
    let mut better = diagnosis("xid_79");
    better.findings[0].confidence = 0.95;
    let replaced = alerts
        .attach_diagnosis(&id, better, at(70))
        .await
        .expect("attached");
    assert_eq!(cause(replaced).as_deref(), Some("xid_79"));
}
