//! The gate holds: nothing runs unapproved, twice, beyond a limit or after a stop, however many replicas and clicks.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use nightbell::action::{ActionKind, ActionSpec, Parameters, Target};
use nightbell::alert::Severity;
use nightbell::decide::Proposal;
use nightbell::desk::{Principal, Role, Standing, Surface};
use nightbell::diagnose::SafetyClass;
use nightbell::safety::limits::{LimitReached, Limits};
use nightbell::safety::policy::Policy;
use nightbell::safety::{
    Answered, Approval, ApprovalState, Decision, Execution, ExecutionState, Observed, Proposed,
    Refusal, Safety, Scope, Settings, Start, audit,
};
use nightbell::store::{EffectKind, Store};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::support::alerting;
use crate::support::database::{TestDatabase, databases, sqlite};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).expect("a time in range")
}

pub fn proposal(name: &str) -> Proposal {
    Proposal {
        spec: ActionSpec {
            kind: ActionKind::DeletePod,
            target: Target::Kubernetes {
                cluster: "prod".into(),
                namespace: "ml".into(),
                kind: "Pod".into(),
                name: name.into(),
                uid: Some(format!("uid-{name}")),
            },
            parameters: Parameters::default(),
            avoid_node: None,
        },
        class: SafetyClass::Auto,
        severity: Severity::High,
        reason: "GPU fell off the bus (96 % sure).".into(),
        impact: vec!["Ends 1 of 8 pods of the job; its controller makes another.".into()],
        scope: Scope {
            service: format!("prod/ml/{name}"),
            cause: Some("xid_79".into()),
            instances: 8,
            failing_since: Some(at(0)),
        },
        healthy_taken: 0,
        owned_elsewhere: false,
    }
}

pub fn settings() -> Settings {
    Settings {
        policy: Policy {
            require_approval: true,
            require_approval_threshold: Severity::High,
            dry_run: false,
        },
        approvers: "U01,U02,local".parse().expect("approvers"),
        ..Settings::default()
    }
}

fn safety(db: &TestDatabase) -> Safety {
    at_home(db.store.clone(), settings())
}

/// A gate that knows its own Slack workspace.
fn at_home(store: Store, settings: Settings) -> Safety {
    let safety = Safety::new(store, settings);
    safety.set_home_team("T1");
    safety
}

fn mira() -> Principal {
    slack("U01")
}
pub fn slack(user: &str) -> Principal {
    Principal {
        surface: Surface::Slack,
        user: user.into(),
        team: Some("T1".into()),
        standing: Standing::Member,
    }
}

async fn propose(
    safety: &Safety,
    store: &Store,
    alert: &str,
    proposal: &Proposal,
    now: Timestamp,
) -> Proposed {
    let mut tx = store.begin().await.expect("begin");
    let proposed = safety
        .propose(&mut tx, alert, proposal, now)
        .await
        .expect("propose");
    tx.commit().await.expect("commit");
    proposed
}

pub async fn asked(
    safety: &Safety,
    store: &Store,
    alert: &str,
    name: &str,
    now: Timestamp,
) -> Approval {
    match propose(safety, store, alert, &proposal(name), now).await {
        Proposed::Asked(approval) => approval,
        other => panic!("expected a question, got {other:?}"),
    }
}

async fn approve(safety: &Safety, approval: &Approval, now: Timestamp) -> Decision {
    safety
        .decide(&approval.id, &mira(), true, None, now)
        .await
        .expect("decide")
}

pub async fn approved(safety: &Safety, approval: &Approval, now: Timestamp) -> Execution {
    match approve(safety, approval, now).await {
        Decision::Approved { execution, .. } => execution,
        other => panic!("expected an approval, got {other:?}"),
    }
}

/// Starts, answers and verifies an execution.
async fn run(safety: &Safety, execution: &Execution, now: Timestamp) {
    let Start::Go(permit) = safety.start(&execution.id, now).await.expect("start") else {
        panic!("a fresh execution starts");
    };
    let id = permit.execution_id();
    safety
        .answered(id, Answered::Accepted("accepted".into()), now)
        .await
        .expect("answered");
    safety
        .observed(id, Observed::Reached("ready".into()), now)
        .await
        .expect("observed");
}

async fn chain_holds(store: &Store) {
    let checked = audit::verify(store).await.expect("the audit can be read");
    assert!(checked.is_ok(), "{checked:?}");
}

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
                standing: Standing::Member,
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
async fn tampering_with_a_row_is_seen_in_the_chain_and_stops_the_action() {
    let db = sqlite().await;
    let safety = safety(&db);
    let approval = asked(&safety, &db.store, "alert-1", "train-0", at(0)).await;
    let execution = approved(&safety, &approval, at(1)).await;
    let pool = sqlx::SqlitePool::connect(&db.url)
        .await
        .expect("a second connection");
    sqlx::query("update execution set spec = replace(spec, 'train-0', 'train-1')")
        .execute(&pool)
        .await
        .expect("tamper");
    let Start::Cancelled(cancelled) = safety.start(&execution.id, at(2)).await.expect("start")
    else {
        panic!()
    };
    assert_eq!(
        cancelled.answer.as_deref(),
        Some("its parameters are not the ones that were permitted")
    );

    chain_holds(&db.store).await;
    sqlx::query("update audit set actor = 'U99' where seq = 2")
        .execute(&pool)
        .await
        .expect("tamper");
    assert_eq!(
        audit::verify(&db.store).await.expect("read"),
        Err(audit::Broken::Changed { seq: 2 })
    );
    sqlx::query("delete from audit where seq >= 2")
        .execute(&pool)
        .await
        .expect("cut");
    assert_eq!(
        audit::verify(&db.store).await.expect("read"),
        Err(audit::Broken::Missing { seq: 2 })
    );
}

/// One step of the model: anything that people, workers, crashes and clocks may do next.
#[derive(Clone, Debug)]
enum Step {
    Propose {
        job: u8,
    },
    Click {
        job: u8,
        approve: bool,
        replica: u8,
        twice: bool,
    },
    /// A worker claims the oldest permitted or abandoned execution and gets as far as `progress`.
    Work {
        replica: u8,
        progress: u8,
    },
    /// Somebody repeats the start of an execution that was begun before.
    Reclaim {
        pick: u8,
    },
    Stop,
    Clear,
    /// Seconds, also backwards.
    Clock(i32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..6_u8).prop_map(|job| Step::Propose { job }),
        4 => (0..6_u8, any::<bool>(), 0..2_u8, any::<bool>())
            .prop_map(|(job, approve, replica, twice)| Step::Click { job, approve: approve || job < 4, replica, twice }),
        4 => (0..2_u8, 0..4_u8).prop_map(|(replica, progress)| Step::Work { replica, progress }),
        1 => any::<u8>().prop_map(|pick| Step::Reclaim { pick }),
        1 => Just(Step::Stop),
        2 => Just(Step::Clear),
        3 => (-400..4000_i32).prop_map(Step::Clock),
    ]
}

/// What must be true after any history.
#[derive(Default)]
struct Witness {
    /// Executions that got a permit: each may be carried out once.
    calls: HashSet<String>,
    /// When calls were let through, in true order of `now`.
    stopped: bool,
}

async fn play(db: &TestDatabase, steps: &[Step]) {
    let limits = Limits {
        per_hour: 3,
        per_day: 5,
        ..Limits::default()
    };
    let settings = Settings {
        limits: limits.clone(),
        breaker: 0,
        ..settings()
    };
    let other = Store::open(&db.url).await.expect("a second replica");
    let replicas = [
        at_home(db.store.clone(), settings.clone()),
        at_home(other, settings),
    ];
    let mut now = at(100_000);
    let mut alerts = [0_u32; 6];
    let mut witness = Witness::default();
    for step in steps {
        match step {
            Step::Propose { job } => {
                let job = usize::from(*job);
                let alert = format!("job-{job}-{}", alerts[job]);
                let proposed = propose(
                    &replicas[0],
                    &db.store,
                    &alert,
                    &proposal(&format!("job-{job}")),
                    now,
                )
                .await;
                if let Proposed::AlreadyDecided(_) = proposed {
                    alerts[job] += 1;
                }
                assert!(
                    !matches!(proposed, Proposed::Permitted(_)),
                    "everything asks under this policy"
                );
            }
            Step::Click {
                job,
                approve,
                replica,
                twice,
            } => {
                let alert = format!("job-{job}-{}", alerts[usize::from(*job)]);
                let Some(approval) = db.store.latest_approval_of(&alert).await.expect("read")
                else {
                    continue;
                };
                let safety = &replicas[usize::from(*replica)];
                let first = safety
                    .decide(&approval.id, &mira(), *approve, None, now)
                    .await
                    .expect("decide");
                assert!(
                    !(witness.stopped && matches!(first, Decision::Approved { .. })),
                    "approved while stopped"
                );
                if *twice {
                    let second = replicas[0]
                        .decide(&approval.id, &mira(), true, None, now)
                        .await
                        .expect("decide");
                    if matches!(first, Decision::Approved { .. } | Decision::Denied { .. }) {
                        assert!(
                            matches!(second, Decision::AlreadyDecided { .. }),
                            "{second:?}"
                        );
                    }
                }
            }
            Step::Work { replica, progress } => {
                let executions = db.store.executions(100).await.expect("executions");
                let next = executions.iter().rev().find(|e| {
                    matches!(e.state, ExecutionState::Permitted | ExecutionState::Started)
                });
                let Some(execution) = next else { continue };
                work(
                    &replicas[usize::from(*replica)],
                    execution,
                    *progress,
                    now,
                    &mut witness,
                )
                .await;
            }
            Step::Reclaim { pick } => {
                let executions = db.store.executions(100).await.expect("executions");
                if let Some(execution) =
                    executions.get(usize::from(*pick) % executions.len().max(1))
                {
                    work(&replicas[0], execution, 3, now, &mut witness).await;
                }
            }
            Step::Stop => {
                replicas[1]
                    .emergency_stop("U02", None, now)
                    .await
                    .expect("stop");
                witness.stopped = true;
            }
            Step::Clear => {
                replicas[0]
                    .emergency_clear("U02", now)
                    .await
                    .expect("clear");
                witness.stopped = false;
            }
            Step::Clock(seconds) => now += SignedDuration::from_secs(i64::from(*seconds)),
        }
        check(db, &limits).await;
    }
    chain_holds(&db.store).await;
}

async fn work(
    safety: &Safety,
    execution: &Execution,
    progress: u8,
    now: Timestamp,
    witness: &mut Witness,
) {
    if let Start::Go(permit) = safety.start(&execution.id, now).await.expect("start") {
        assert!(!witness.stopped, "started while stopped");
        assert!(
            witness.calls.insert(permit.execution_id().to_owned()),
            "started twice"
        );
    } else {
        return;
    }
    // Progress 0: the process dies right here.
    let answered = match progress {
        0 => return,
        1 => Answered::Failed("no".into()),
        2 | 3 => Answered::Accepted("accepted".into()),
        _ => unreachable!("four kinds of progress"),
    };
    safety
        .answered(&execution.id, answered, now)
        .await
        .expect("answered");
    if progress == 3 {
        safety
            .observed(&execution.id, Observed::Reached("ready".into()), now)
            .await
            .expect("observed");
    }
}

/// The invariants, read from the rows alone.
async fn check(db: &TestDatabase, limits: &Limits) {
    let executions = db.store.executions(1000).await.expect("executions");
    let active: Vec<_> = executions.iter().filter(|e| e.state.is_active()).collect();
    assert!(active.len() <= limits.concurrent, "too many at once");
    let targets: HashSet<String> = active.iter().map(|e| e.spec.target.key()).collect();
    assert_eq!(targets.len(), active.len(), "two actions on one target");
    let mut spent = HashSet::new();
    let hour = SignedDuration::from_hours(1);
    for execution in &executions {
        let approval_id = execution
            .approval_id
            .as_ref()
            .expect("everything is approved under this policy");
        assert!(
            spent.insert(approval_id.clone()),
            "an approval was spent twice"
        );
        let (approval, _) = db
            .store
            .approval(approval_id)
            .await
            .expect("read")
            .expect("there");
        assert_eq!(approval.state, ApprovalState::Approved);
        assert_eq!(approval.digest, execution.digest);
    }
    // By the clock that permitted them, no window of an hour or a day holds more than its limit.
    let counted: Vec<_> = executions
        .iter()
        .filter(|e| !(e.state == ExecutionState::Cancelled && e.started.is_none()))
        .map(|e| e.created)
        .collect();
    for end in &counted {
        let in_hour = counted
            .iter()
            .filter(|c| **c <= *end && **c + hour > *end)
            .count();
        assert!(in_hour <= limits.per_hour, "{in_hour} within an hour");
        let in_day = counted
            .iter()
            .filter(|c| **c <= *end && **c + hour * 24 > *end)
            .count();
        assert!(in_day <= limits.per_day, "{in_day} within a day");
    }
}

#[test]
fn no_history_of_clicks_crashes_clocks_and_replicas_breaks_the_gate() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    // A fixed seed: the same histories on every machine. Longer searches are for whoever changes the gate.
    let config = Config {
        cases: 12,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    runner
        .run(&prop::collection::vec(step(), 30..70), |steps| {
            runtime.block_on(async {
                let db = sqlite().await;
                play(&db, &steps).await;
            });
            Ok(())
        })
        .expect("the invariants hold");
}

#[tokio::test]
async fn the_same_histories_hold_on_postgresql() {
    let mut runner = TestRunner::new_with_rng(
        Config {
            failure_persistence: None,
            ..Config::default()
        },
        TestRng::from_seed(RngAlgorithm::ChaCha, &[11; 32]),
    );
    for _ in 0..3 {
        let steps = prop::collection::vec(step(), 30..60)
            .new_tree(&mut runner)
            .expect("steps")
            .current();
        play(&crate::support::database::postgres().await, &steps).await;
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
                assert!(why.contains("no failure of train is seen since"), "{why}")
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
