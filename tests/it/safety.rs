//! The gate holds: nothing runs unapproved, twice, beyond a limit or after a stop, however many replicas and clicks.

use std::sync::Arc;

use jiff::SignedDuration;
use nightbell::action::{ActionKind, Target};
use nightbell::alert::Severity;
use nightbell::desk::{Principal, Role, Standing, Surface};
use nightbell::safety::limits::{LimitReached, Limits};
use nightbell::safety::policy::Policy;
use nightbell::safety::{
    ApprovalState, Decision, ExecutionState, Proposed, Refusal, Settings, Start, audit,
};
use nightbell::store::{EffectKind, Store};

use crate::support::alerting;
use crate::support::database::{databases, sqlite};
use crate::support::gate::{
    approve, approved, asked, at, at_home, chain_holds, mira, proposal, propose, run, safety,
    settings, slack,
};

#[tokio::test]
async fn an_approval_is_asked_once_decided_once_and_becomes_one_execution() {
    for db in databases().await {
        let safety = safety(&db);
        let approval = asked(&safety, &db.store, "alert-1", "train-0", at(0)).await;
        assert_eq!(
            asked(&safety, &db.store, "alert-1", "train-0", at(5)).await,
            approval,
            "asked once"
        );
        assert_eq!(approval.number, 1);

        let execution = approved(&safety, &approval, at(10)).await;
        assert_eq!(
            (execution.state, execution.by.as_str()),
            (ExecutionState::Permitted, "U01")
        );
        let again = safety
            .decide(&approval.id, &slack("U02"), false, Some("no"), at(11))
            .await
            .expect("decide");
        match again {
            Decision::AlreadyDecided { by, what, .. } => {
                assert_eq!((by.as_str(), what), ("U01", ApprovalState::Approved));
            }
            other => panic!("the first decision wins, got {other:?}"),
        }
        let effects = db
            .store
            .claim_effects(
                EffectKind::Execute,
                "w",
                10,
                SignedDuration::from_secs(30),
                at(12),
            )
            .await
            .expect("claim");
        assert_eq!(effects.len(), 1);
        assert_eq!(effects[0].payload::<String>().expect("an id"), execution.id);
        assert!(
            matches!(
                propose(&safety, &db.store, "alert-1", &proposal("train-0"), at(20)).await,
                Proposed::AlreadyDecided(_)
            ),
            "what was decided is not asked again under the same alert"
        );
        chain_holds(&db.store).await;
    }
}

#[tokio::test]
async fn of_twenty_clicks_at_once_exactly_one_decides() {
    for db in databases().await {
        let other_replica = Store::open(&db.url)
            .await
            .expect("a second replica opens the database");
        let replicas = [safety(&db), at_home(other_replica, settings())];
        let approval = asked(&replicas[0], &db.store, "alert-1", "train-0", at(0)).await;
        let clicks = (0..20).map(|i| {
            let (safety, id) = (replicas[i % 2].clone(), approval.id.clone());
            let who = slack(if i % 3 == 0 { "U01" } else { "U02" });
            tokio::spawn(async move {
                safety
                    .decide(&id, &who, i % 4 != 0, None, at(1))
                    .await
                    .expect("decide")
            })
        });
        let mut firsts = 0;
        for click in clicks.collect::<Vec<_>>() {
            match click.await.expect("no click panics") {
                Decision::Approved { .. } | Decision::Denied { .. } => firsts += 1,
                Decision::AlreadyDecided { .. } => {}
                other => panic!("unexpected {other:?}"),
            }
        }
        assert_eq!(firsts, 1);
        assert!(db.store.executions(10).await.expect("executions").len() <= 1);
        chain_holds(&db.store).await;
    }
}

#[tokio::test]
async fn replicas_together_never_exceed_the_hourly_limit() {
    for db in databases().await {
        let open = Settings {
            limits: Limits {
                cooldown: SignedDuration::ZERO,
                one_service_at_a_time: false,
                concurrent: 100,
                ..Limits::default()
            },
            ..settings()
        };
        let other_replica = Store::open(&db.url).await.expect("a second replica");
        let replicas = [
            at_home(db.store.clone(), open.clone()),
            at_home(other_replica, open),
        ];
        let mut approvals = Vec::new();
        for i in 0..25 {
            approvals.push(
                asked(
                    &replicas[0],
                    &db.store,
                    &format!("alert-{i}"),
                    &format!("train-{i}"),
                    at(0),
                )
                .await,
            );
        }
        let clicks: Vec<_> = approvals
            .iter()
            .enumerate()
            .map(|(i, approval)| {
                let (safety, approval) = (replicas[i % 2].clone(), approval.clone());
                tokio::spawn(async move { approve(&safety, &approval, at(1)).await })
            })
            .collect();
        let mut permitted = 0;
        for click in clicks {
            match click.await.expect("no click panics") {
                Decision::Approved { .. } => permitted += 1,
                Decision::Refused {
                    refusal:
                        Refusal::Limit(LimitReached::Hourly {
                            limit: 10,
                            used: 10,
                            ..
                        }),
                    approval,
                } => assert_eq!(
                    approval.state,
                    ApprovalState::Pending,
                    "a refused approval can be pressed again"
                ),
                other => panic!("unexpected {other:?}"),
            }
        }
        assert_eq!(permitted, 10);
        chain_holds(&db.store).await;
    }
}

#[tokio::test]
async fn who_may_not_decide_is_told_why_and_the_attempt_is_audited() {
    for db in databases().await {
        let safety = safety(&db);
        let approval = asked(&safety, &db.store, "alert-1", "train-0", at(0)).await;
        let guest = Principal {
            team: Some("T2".into()),
            ..mira()
        };
        for who in [
            slack("U09"),
            guest,
            Principal {
                surface: Surface::Api,
                user: "local".into(),
                team: None,
                standing: Standing::Token(Role::Operator),
            },
        ] {
            let decision = safety
                .decide(&approval.id, &who, true, None, at(1))
                .await
                .expect("decide");
            assert!(
                matches!(decision, Decision::NotAllowed { .. }),
                "{who:?}: {decision:?}"
            );
        }
        let told = db.store.audit_of(&approval.id).await.expect("audit");
        assert_eq!(
            told.iter()
                .filter(|e| e.kind == audit::AuditKind::DecisionRefused)
                .count(),
            3
        );
        assert!(
            db.store
                .executions(10)
                .await
                .expect("executions")
                .is_empty()
        );

        let nobody = at_home(
            db.store.clone(),
            Settings {
                approvers: "".parse().expect("empty"),
                ..settings()
            },
        );
        let decision = nobody
            .decide(&approval.id, &mira(), true, None, at(1))
            .await
            .expect("decide");
        assert_eq!(decision, Decision::NobodyMayApprove);
    }
}

#[tokio::test]
async fn a_group_lets_its_members_in_and_fails_closed_when_slack_is_silent() {
    let db = sqlite().await;
    let by_group = Settings {
        approvers: "S01".parse().expect("a group"),
        ..settings()
    };
    let plain = at_home(db.store.clone(), by_group);
    let silent = plain
        .clone()
        .with_groups(Arc::new(|_| Box::pin(async { None })));
    let speaks = plain.clone().with_groups(Arc::new(|group| {
        Box::pin(async move { (group == "S01").then(|| vec!["U01".to_owned()]) })
    }));
    let approval = asked(&plain, &db.store, "alert-1", "train-0", at(0)).await;
    for closed in [&plain, &silent] {
        let decision = approve(closed, &approval, at(1)).await;
        assert!(
            matches!(decision, Decision::NotAllowed { .. }),
            "{decision:?}"
        );
    }
    let stranger = speaks
        .decide(&approval.id, &slack("U02"), true, None, at(2))
        .await
        .expect("decide");
    assert!(
        matches!(stranger, Decision::NotAllowed { .. }),
        "{stranger:?}"
    );
    assert!(matches!(
        approve(&speaks, &approval, at(2)).await,
        Decision::Approved { .. }
    ));
}

#[tokio::test]
async fn the_audit_names_the_subject_of_the_token_that_approved() {
    let db = sqlite().await;
    let safety = safety(&db);
    let approval = asked(&safety, &db.store, "alert-1", "train-0", at(0)).await;
    let by = |role| Principal {
        surface: Surface::Api,
        user: "mira@example.com".into(),
        team: None,
        standing: Standing::Token(role),
    };
    let refused = safety
        .decide(&approval.id, &by(Role::Operator), true, None, at(1))
        .await
        .expect("decide");
    assert!(
        matches!(refused, Decision::NotAllowed { .. }),
        "{refused:?}"
    );
    let decision = safety
        .decide(&approval.id, &by(Role::Approver), true, None, at(2))
        .await
        .expect("decide");
    let Decision::Approved { approval, .. } = decision else {
        panic!("{decision:?}")
    };
    assert_eq!(approval.decided_by.as_deref(), Some("api:mira@example.com"));
    let told = db.store.audit_of(&approval.id).await.expect("audit");
    assert!(
        told.iter()
            .any(|e| e.kind == audit::AuditKind::Approved && e.actor == "api:mira@example.com"),
        "{told:?}"
    );
}

#[tokio::test]
async fn nobody_approves_their_own_request() {
    for db in databases().await {
        let safety = safety(&db);
        let mut tx = db.store.begin().await.expect("begin");
        let proposed = safety
            .request(&mut tx, None, &proposal("train-0"), &mira(), at(0))
            .await
            .expect("request");
        tx.commit().await.expect("commit");
        let Proposed::Asked(approval) = proposed else {
            panic!("{proposed:?}")
        };
        assert!(matches!(
            approve(&safety, &approval, at(1)).await,
            Decision::NotAllowed { .. }
        ));
        let other = safety
            .decide(&approval.id, &slack("U02"), true, None, at(1))
            .await
            .expect("decide");
        assert!(matches!(other, Decision::Approved { .. }), "{other:?}");
    }
}

#[tokio::test]
async fn expired_withdrawn_and_superseded_questions_are_explained() {
    for db in databases().await {
        let safety = safety(&db);
        let old = asked(&safety, &db.store, "alert-1", "train-0", at(0)).await;
        assert!(
            safety
                .expire(&old.id, at(100))
                .await
                .expect("expire")
                .is_none(),
            "its time is not up"
        );
        let decision = approve(&safety, &old, old.expires).await;
        assert!(matches!(decision, Decision::Expired { .. }), "{decision:?}");
        assert!(
            matches!(
                approve(&safety, &old, at(1)).await,
                Decision::Expired { .. }
            ),
            "for good"
        );

        let first = asked(&safety, &db.store, "alert-2", "train-1", at(0)).await;
        let second = asked(&safety, &db.store, "alert-2", "train-2", at(10)).await;
        match approve(&safety, &first, at(11)).await {
            Decision::Stale { why, .. } => assert_eq!(why, "another action is proposed instead"),
            other => panic!("{other:?}"),
        }
        let mut tx = db.store.begin().await.expect("begin");
        safety
            .withdraw(&mut tx, "alert-2", "the job recovered", at(20))
            .await
            .expect("withdraw");
        tx.commit().await.expect("commit");
        match approve(&safety, &second, at(21)).await {
            Decision::Stale { why, .. } => assert_eq!(why, "the job recovered"),
            other => panic!("{other:?}"),
        }
        assert_eq!(
            safety
                .decide("nothing", &mira(), true, None, at(1))
                .await
                .expect("decide"),
            Decision::NotFound
        );
        assert!(
            db.store
                .executions(10)
                .await
                .expect("executions")
                .is_empty()
        );
    }
}

#[tokio::test]
async fn what_recovered_is_not_repaired() {
    for db in databases().await {
        let (safety, alerts) = (safety(&db), alerting::alerts(&db.store));
        let failing = |name: &str| {
            let crashed = alerting::crashed("CrashLoopBackOff", 0);
            alerting::kubernetes(name, &format!("uid-{name}"), vec![crashed])
        };
        let opened = alerting::ingest(&alerts, &[failing("a")], 0).await;
        let question = asked(&safety, &db.store, &opened[0], "train-0", at(1)).await;
        alerts
            .resolve(&opened[0], "U02", at(2))
            .await
            .expect("resolve");
        match approve(&safety, &question, at(3)).await {
            Decision::Stale { approval, .. } => assert_eq!(approval.id, question.id),
            other => panic!("{other:?}"),
        }

        // Resolved between the approval and the start.
        let opened = alerting::ingest(&alerts, &[failing("b")], 10).await;
        let approval = asked(&safety, &db.store, &opened[0], "train-1", at(11)).await;
        let execution = approved(&safety, &approval, at(12)).await;
        alerts
            .resolve(&opened[0], "U02", at(13))
            .await
            .expect("resolve");
        let start = safety.start(&execution.id, at(14)).await.expect("start");
        assert!(matches!(start, Start::Cancelled(_)), "{start:?}");
        chain_holds(&db.store).await;
    }
}

#[tokio::test]
async fn a_denial_keeps_its_reason_and_is_not_asked_again() {
    for db in databases().await {
        let safety = safety(&db);
        let approval = asked(&safety, &db.store, "alert-1", "train-0", at(0)).await;
        let denied = safety
            .decide(&approval.id, &mira(), false, Some("owner is on it"), at(1))
            .await
            .expect("decide");
        let Decision::Denied { approval } = denied else {
            panic!("{denied:?}")
        };
        assert_eq!(approval.deny_reason.as_deref(), Some("owner is on it"));
        let stored = db
            .store
            .latest_approval_of("alert-1")
            .await
            .expect("read")
            .expect("there");
        assert_eq!(stored, approval);
        let again = propose(&safety, &db.store, "alert-1", &proposal("train-0"), at(5)).await;
        assert!(matches!(again, Proposed::AlreadyDecided(_)), "{again:?}");
    }
}

#[tokio::test]
async fn what_the_policy_lets_run_is_permitted_at_once_and_asked_outside_the_limits() {
    for db in databases().await {
        let policy = Policy {
            require_approval: false,
            require_approval_threshold: Severity::High,
            dry_run: false,
        };
        let safety = at_home(
            db.store.clone(),
            Settings {
                policy,
                ..settings()
            },
        );
        let first = propose(&safety, &db.store, "alert-1", &proposal("train-0"), at(0)).await;
        let Proposed::Permitted(execution) = first else {
            panic!("{first:?}")
        };
        assert_eq!(execution.by, "policy");
        let again = propose(&safety, &db.store, "alert-1", &proposal("train-0"), at(1)).await;
        assert!(matches!(again, Proposed::AlreadyPermitted(_)), "{again:?}");
        run(&safety, &execution, at(2)).await;

        let after_cooldown =
            propose(&safety, &db.store, "alert-2", &proposal("train-0"), at(60)).await;
        let Proposed::Asked(approval) = after_cooldown else {
            panic!("{after_cooldown:?}")
        };
        assert!(
            approval.reason.contains("rests until"),
            "{}",
            approval.reason
        );
        chain_holds(&db.store).await;
    }
}

#[tokio::test]
async fn a_rehearsal_that_was_asked_about_never_becomes_the_real_thing() {
    for db in databases().await {
        let mut dry = settings();
        dry.policy.dry_run = true;
        let rehearsing = at_home(db.store.clone(), dry);
        let approval = asked(&rehearsing, &db.store, "alert-1", "train-0", at(0)).await;
        assert!(approval.dry_run);
        let live = safety(&db);
        assert!(approved(&live, &approval, at(1)).await.dry_run);
    }
}

#[tokio::test]
async fn a_restart_of_what_is_well_again_is_refused() {
    for db in databases().await {
        let alerts = alerting::alerts(&db.store);
        let safety = safety(&db).with_alerts(alerts.clone());
        let failing = alerting::kubernetes("train", "u1", vec![alerting::crashed("Error", 0)]);
        let id = alerting::ingest(&alerts, &[failing], 0).await.remove(0);
        let mut restart = proposal("train");
        restart.spec.kind = ActionKind::RunaiRestart;
        restart.spec.target = Target::Runai {
            workload_id: "6f1f7a1e-4d0c-4c5e-9a53-0d2f3f1f7a1e".into(),
            name: "train".into(),
            project: "ml".into(),
            kind: "Training".into(),
        };
        let Proposed::Asked(approval) = propose(&safety, &db.store, &id, &restart, at(1)).await
        else {
            panic!("it is asked");
        };
        let well = alerting::kubernetes("train", "u1", vec![]);
        alerting::ingest(&alerts, &[well], 60).await;
        match approve(&safety, &approval, at(61)).await {
            Decision::Stale { why, .. } => {
                assert!(why.contains("no failure of train is seen since"), "{why}");
            }
            other => panic!("{other:?}"),
        }
        // It fails again, and is asked anew.
        let failing = alerting::kubernetes("train", "u1", vec![alerting::crashed("Error", 70)]);
        alerting::ingest(&alerts, &[failing], 70).await;
        let Proposed::Asked(again) = propose(&safety, &db.store, &id, &restart, at(71)).await
        else {
            panic!("it is asked again");
        };
        assert_ne!(again.id, approval.id);
        let execution = approved(&safety, &again, at(72)).await;
        // It recovers between the decision and the start.
        let well = alerting::kubernetes("train", "u1", vec![]);
        alerting::ingest(&alerts, &[well], 73).await;
        assert!(matches!(
            safety.start(&execution.id, at(74)).await.expect("start"),
            Start::Cancelled(_)
        ));
    }
}
