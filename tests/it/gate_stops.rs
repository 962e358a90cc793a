//! What stops the gate: people, failures in a row, crashes, time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::SignedDuration;
use nightbell::action::ActionKind;
use nightbell::desk::Principal;
use nightbell::safety::limits::Limits;
use nightbell::safety::{
    Answered, Decision, ExecutionState, Observed, Proposed, Refusal, Settings, Start,
};
use nightbell::store::{EffectKind, Store};

use crate::support::alerting;
use crate::support::database::{databases, sqlite};
use crate::support::gate::{
    approve, approved, asked, at, at_home, chain_holds, mira, proposal, propose, safety, settings,
    slack,
};

#[tokio::test]
async fn in_slack_only_an_approver_of_our_workspace_clears_the_emergency_stop() {
    let db = sqlite().await;
    let safety = safety(&db);
    let stop = safety
        .emergency_stop("U09", None, at(0))
        .await
        .expect("stop");
    let guest = Principal {
        team: Some("T2".into()),
        ..mira()
    };
    for who in [slack("U09"), guest] {
        let told = safety
            .emergency_clear_for(&who, at(1))
            .await
            .expect("answer");
        assert!(told.is_err(), "{who:?}");
    }
    assert_eq!(safety.stopped().await.expect("stopped"), Some(stop.clone()));
    assert_eq!(
        safety
            .emergency_clear_for(&mira(), at(2))
            .await
            .expect("answer"),
        Ok(Some(stop))
    );
    chain_holds(&db.store).await;
}

#[tokio::test]
async fn after_an_emergency_stop_nothing_starts_until_it_is_cleared() {
    for db in databases().await {
        let safety = safety(&db);
        let waiting = asked(&safety, &db.store, "alert-1", "train-0", at(0)).await;
        let execution = approved(&safety, &waiting, at(1)).await;
        let pending = asked(&safety, &db.store, "alert-2", "train-1", at(1)).await;

        let stop = safety
            .emergency_stop("U02", Some("cooling is out"), at(2))
            .await
            .expect("stop");
        assert_eq!(
            stop.to_string(),
            "all actions are stopped since 2026-09-21 14:13:22 UTC by U02: cooling is out"
        );
        assert!(
            matches!(
                safety.start(&execution.id, at(3)).await.expect("start"),
                Start::Past(_)
            ),
            "it was cancelled"
        );
        let cancelled = db
            .store
            .execution(&execution.id)
            .await
            .expect("read")
            .expect("there")
            .0;
        assert_eq!(cancelled.state, ExecutionState::Cancelled);
        match approve(&safety, &pending, at(4)).await {
            Decision::Refused {
                refusal: Refusal::Stopped(by),
                ..
            } => assert_eq!(by, stop),
            other => panic!("{other:?}"),
        }
        assert_eq!(
            safety.status(at(4)).await.expect("status").stopped,
            Some(stop.clone())
        );

        assert_eq!(
            safety.emergency_clear("U02", at(5)).await.expect("clear"),
            Some(stop)
        );
        let execution = approved(&safety, &pending, at(6)).await;
        assert!(matches!(
            safety.start(&execution.id, at(7)).await.expect("start"),
            Start::Go(_)
        ));
        chain_holds(&db.store).await;
    }
}

#[tokio::test]
async fn a_disabled_kind_is_refused_and_others_are_not() {
    for db in databases().await {
        let safety = safety(&db);
        let approval = asked(&safety, &db.store, "alert-1", "train-0", at(0)).await;
        safety
            .set_disabled(ActionKind::DeletePod, true, "U02", at(1))
            .await
            .expect("disable");
        let decision = approve(&safety, &approval, at(2)).await;
        assert!(
            matches!(
                decision,
                Decision::Refused {
                    refusal: Refusal::KindDisabled(ActionKind::DeletePod),
                    ..
                }
            ),
            "{decision:?}"
        );
        safety
            .set_disabled(ActionKind::DeletePod, false, "U02", at(3))
            .await
            .expect("enable");
        assert!(matches!(
            approve(&safety, &approval, at(4)).await,
            Decision::Approved { .. }
        ));
    }
}

#[tokio::test]
async fn three_failures_in_a_row_stop_everything() {
    for db in databases().await {
        let safety = safety(&db);
        for i in 0..3 {
            assert_eq!(safety.stopped().await.expect("stopped"), None);
            let now = at(i * 1000);
            let approval = asked(
                &safety,
                &db.store,
                &format!("alert-{i}"),
                &format!("train-{i}"),
                now,
            )
            .await;
            let execution = approved(&safety, &approval, now).await;
            let Start::Go(permit) = safety.start(&execution.id, now).await.expect("start") else {
                panic!()
            };
            let failed = Answered::Failed("not permitted (403)".into());
            safety
                .answered(permit.execution_id(), failed, now)
                .await
                .expect("answered");
        }
        let stop = safety
            .stopped()
            .await
            .expect("stopped")
            .expect("the breaker tripped");
        assert_eq!(stop.by, "circuit breaker");

        // After clearing it takes three new ones.
        safety
            .emergency_clear("U01", at(4000))
            .await
            .expect("clear");
        let approval = asked(&safety, &db.store, "alert-9", "train-9", at(5000)).await;
        let execution = approved(&safety, &approval, at(5000)).await;
        let Start::Go(permit) = safety.start(&execution.id, at(5000)).await.expect("start") else {
            panic!()
        };
        safety
            .answered(
                permit.execution_id(),
                Answered::Failed("no".into()),
                at(5001),
            )
            .await
            .expect("answered");
        assert_eq!(safety.stopped().await.expect("stopped"), None);
        chain_holds(&db.store).await;
    }
}

#[tokio::test]
async fn a_crash_after_the_start_makes_the_outcome_unknown_and_never_a_second_start() {
    for db in databases().await {
        let safety = safety(&db);
        let approval = asked(&safety, &db.store, "alert-1", "train-0", at(0)).await;
        let execution = approved(&safety, &approval, at(0)).await;
        assert!(matches!(
            safety.start(&execution.id, at(1)).await.expect("start"),
            Start::Go(_)
        ));
        // The process dies here. Another claims the effect.
        let Start::Unknown(unknown) = safety.start(&execution.id, at(500)).await.expect("start")
        else {
            panic!()
        };
        assert_eq!(unknown.state, ExecutionState::Unknown);
        assert!(matches!(
            safety.start(&execution.id, at(501)).await.expect("start"),
            Start::Past(_)
        ));
        // The first was only slow: its late answer does not change what was told.
        let late = Answered::Accepted("accepted".into());
        assert!(
            safety
                .answered(&execution.id, late, at(502))
                .await
                .expect("answered")
                .is_none()
        );
        // What is seen is kept with it.
        let seen = safety
            .observed(
                &execution.id,
                Observed::Reached("pod is ready".into()),
                at(510),
            )
            .await
            .expect("observed");
        let seen = seen.expect("noted");
        assert_eq!(
            (seen.state, seen.verification.as_deref()),
            (ExecutionState::Unknown, Some("pod is ready"))
        );
    }
}

#[tokio::test]
async fn what_could_not_start_in_time_is_dropped() {
    for db in databases().await {
        let safety = safety(&db);
        let approval = asked(&safety, &db.store, "alert-1", "train-0", at(0)).await;
        let execution = approved(&safety, &approval, at(0)).await;
        let Start::Cancelled(dropped) = safety.start(&execution.id, at(7200)).await.expect("start")
        else {
            panic!()
        };
        assert_eq!(
            dropped.answer.as_deref(),
            Some("it could not start in time and may no longer be right; ask again")
        );
    }
}

#[tokio::test]
async fn what_an_emergency_stop_cancelled_is_asked_anew_once_it_is_cleared() {
    for db in databases().await {
        let alerts = alerting::alerts(&db.store);
        let safety = safety(&db).with_alerts(alerts.clone());
        let failing = alerting::kubernetes("train", "u1", vec![alerting::crashed("Error", 0)]);
        let id = alerting::ingest(&alerts, &[failing], 0).await.remove(0);
        let first = asked(&safety, &db.store, &id, "train-0", at(1)).await;
        approved(&safety, &first, at(2)).await;
        safety
            .emergency_stop("U02", None, at(3))
            .await
            .expect("stop");
        let while_stopped = propose(&safety, &db.store, &id, &proposal("train-0"), at(4)).await;
        assert!(
            matches!(while_stopped, Proposed::AlreadyDecided(_)),
            "{while_stopped:?}"
        );

        // What was asked for before is carried out, so that only what the clearing asks for is left.
        let later = at(100);
        let claim = |now| {
            db.store.claim_effects(
                EffectKind::Diagnose,
                "test",
                10,
                SignedDuration::from_secs(60),
                now,
            )
        };
        for effect in claim(later).await.expect("claim") {
            db.store
                .finish_effect(&effect, "test", later)
                .await
                .expect("finish");
        }
        safety.emergency_clear("U02", later).await.expect("clear");
        assert_eq!(
            claim(later).await.expect("claim").len(),
            1,
            "the job is looked at again"
        );
        let second = asked(&safety, &db.store, &id, "train-0", at(101)).await;
        assert_ne!(second.id, first.id);
        let execution = approved(&safety, &second, at(102)).await;
        assert!(matches!(
            safety.start(&execution.id, at(103)).await.expect("start"),
            Start::Go(_)
        ));
        let done = propose(&safety, &db.store, &id, &proposal("train-0"), at(104)).await;
        assert!(matches!(done, Proposed::AlreadyDecided(_)), "{done:?}");
        chain_holds(&db.store).await;
    }
}

#[tokio::test]
async fn once_an_emergency_stop_returned_none_of_fifty_permitted_actions_starts() {
    for db in databases().await {
        let open = Settings {
            limits: Limits {
                per_hour: 1000,
                per_day: 1000,
                concurrent: 1000,
                cooldown: SignedDuration::ZERO,
                one_service_at_a_time: false,
                ..Limits::default()
            },
            ..settings()
        };
        let other = Store::open(&db.url).await.expect("a second replica");
        let replicas = [
            at_home(db.store.clone(), open.clone()),
            at_home(other, open),
        ];
        let mut ids = Vec::new();
        for i in 0..50 {
            let (alert, name) = (format!("alert-{i}"), format!("train-{i}"));
            let approval = asked(&replicas[0], &db.store, &alert, &name, at(0)).await;
            ids.push(approved(&replicas[0], &approval, at(1)).await.id);
        }
        let returned = Arc::new(AtomicBool::new(false));
        let mut starts = Vec::new();
        let mut stop = None;
        for (i, id) in ids.iter().enumerate() {
            let (safety, id, is_over) =
                (replicas[i % 2].clone(), id.clone(), Arc::clone(&returned));
            starts.push(tokio::spawn(async move {
                // A worker that is slower than the stop comes when it has returned.
                for _ in 0..i {
                    tokio::task::yield_now().await;
                }
                let late = is_over.load(Ordering::SeqCst);
                let start = safety.start(&id, at(2)).await.expect("start");
                assert!(
                    !(late && matches!(start, Start::Go(_))),
                    "started after the stop returned"
                );
                match start {
                    Start::Go(permit) => Some(permit),
                    _ => None,
                }
            }));
            if i == 10 {
                let (safety, returned) = (replicas[1].clone(), Arc::clone(&returned));
                stop = Some(tokio::spawn(async move {
                    safety
                        .emergency_stop("U02", Some("fire"), at(2))
                        .await
                        .expect("stop");
                    returned.store(true, Ordering::SeqCst);
                }));
            }
        }
        stop.expect("begun").await.expect("it stops");
        let mut begun = 0;
        for start in starts {
            if let Some(permit) = start.await.expect("none starts late") {
                begun += 1;
                let refused = replicas[0].still_refused(&permit).await.expect("asked");
                assert!(refused.is_some(), "who began is refused before the call");
            }
        }
        for id in &ids {
            let start = replicas[0].start(id, at(3)).await.expect("start");
            assert!(!matches!(start, Start::Go(_)), "{start:?}");
        }
        let executions = db.store.executions(100).await.expect("read");
        let cancelled = executions
            .iter()
            .filter(|e| e.state == ExecutionState::Cancelled)
            .count();
        assert_eq!(begun + cancelled, 50, "each began before, or never");
        chain_holds(&db.store).await;
    }
}

#[tokio::test]
async fn the_breaker_says_in_the_thread_of_the_last_failure_that_everything_is_stopped() {
    for db in databases().await {
        let alerts = alerting::alerts(&db.store);
        let safety = safety(&db).with_alerts(alerts.clone());
        for i in 0..3 {
            let (name, now) = (format!("train-{i}"), at(i * 1000));
            let uid = format!("u{i}");
            let failing = alerting::kubernetes(&name, &uid, vec![alerting::crashed("Error", 0)]);
            let id = alerting::ingest(&alerts, &[failing], i * 1000)
                .await
                .remove(0);
            let approval = asked(&safety, &db.store, &id, &name, now).await;
            let execution = approved(&safety, &approval, now).await;
            let Start::Go(permit) = safety.start(&execution.id, now).await.expect("start") else {
                panic!("it starts")
            };
            let failed = Answered::Failed("not permitted (403)".into());
            let recorded = safety.answered(permit.execution_id(), failed, now).await;
            recorded.expect("answered");
        }
        let lease = SignedDuration::from_secs(60);
        let notes = db
            .store
            .claim_effects(EffectKind::ThreadNote, "test", 50, lease, at(5000))
            .await
            .expect("claim");
        let told = notes.iter().filter(|note| {
            note.payload
                .contains("All actions are stopped: 3 actions in a row failed")
        });
        assert_eq!(told.count(), 1, "{notes:#?}");
    }
}

#[tokio::test]
async fn clearing_the_queue_cancels_what_has_not_begun_and_leaves_what_runs() {
    for db in databases().await {
        let open = Settings {
            limits: Limits {
                one_service_at_a_time: false,
                ..Limits::default()
            },
            ..settings()
        };
        let safety = at_home(db.store.clone(), open);
        let mut ids = Vec::new();
        for i in 0..2 {
            let (alert, name) = (format!("alert-{i}"), format!("train-{i}"));
            let approval = asked(&safety, &db.store, &alert, &name, at(0)).await;
            ids.push(approved(&safety, &approval, at(1)).await.id);
        }
        let runs = safety.start(&ids[0], at(2)).await.expect("start");
        assert!(matches!(runs, Start::Go(_)));
        let waiting = asked(&safety, &db.store, "alert-9", "train-9", at(3)).await;

        let cleared = safety.clear_queue("U02", at(4)).await.expect("cleared");
        assert_eq!((cleared.withdrawn, cleared.cancelled), (1, 1));
        let again = safety.start(&ids[1], at(5)).await.expect("start");
        assert!(matches!(again, Start::Past(_)), "{again:?}");
        let decision = approve(&safety, &waiting, at(5)).await;
        assert!(matches!(decision, Decision::Stale { .. }), "{decision:?}");
        let reached = Observed::Reached("ready".into());
        let accepted = Answered::Accepted("accepted".into());
        safety
            .answered(&ids[0], accepted, at(6))
            .await
            .expect("answered")
            .expect("it ran on");
        safety
            .observed(&ids[0], reached, at(7))
            .await
            .expect("observed")
            .expect("it ran on");
        // What was withdrawn is asked anew where the failure still stands.
        let anew = asked(&safety, &db.store, "alert-9", "train-9", at(8)).await;
        assert_ne!(anew.id, waiting.id);
        chain_holds(&db.store).await;
    }
}
