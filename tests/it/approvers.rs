//! Who decides what: rules, two people, and what follows a denial.

use jiff::SignedDuration;
use nightbell::alert::Severity;
use nightbell::desk::{Person, Principal, Role, Roster, Standing, Surface};
use nightbell::safety::approvers::NotAllowed;
use nightbell::safety::policy::Policy;
use nightbell::safety::rules::{Pattern, Rule};
use nightbell::safety::{Approval, ApprovalState, Decision, Proposed, Safety, Settings, audit};
use nightbell::store::EffectKind;

use crate::support::alerting;
use crate::support::database::{TestDatabase, databases};
use crate::support::gate::{
    asked, at, at_home, chain_holds, meddle, proposal, propose, settings, slack,
};

/// Two of four people for what is in namespace `ml`; nobody for what is critical there.
fn ruled(db: &TestDatabase) -> Safety {
    let rule = |name: &str, approvers: &str, people| Rule {
        name: name.into(),
        actions: Vec::new(),
        namespaces: vec![Pattern::new("ml").expect("a name")],
        projects: Vec::new(),
        severities: Vec::new(),
        approvers: approvers.parse().expect("approvers"),
        people,
    };
    let rules = vec![
        rule("two", "U03,U04,U05,role:admin", 2),
        Rule {
            severities: vec![Severity::Critical],
            ..rule("nobody", "", 1)
        },
    ];
    at_home(
        db.store.clone(),
        Settings {
            rules,
            ..settings()
        },
    )
}

async fn click(safety: &Safety, approval: &Approval, who: &Principal, approve: bool) -> Decision {
    safety
        .decide(&approval.id, who, approve, None, at(10))
        .await
        .expect("decide")
}

#[tokio::test]
async fn the_gravest_takes_two_different_people() {
    for db in databases().await {
        let safety = ruled(&db);
        let approval = asked(&safety, &db.store, "alert-1", "train-0", at(0)).await;
        assert_eq!(approval.people, 2);
        assert!(
            matches!(
                click(&safety, &approval, &slack("U01"), true).await,
                Decision::NotAllowed {
                    why: NotAllowed::NotListed
                }
            ),
            "APPROVERS is for what no rule is for"
        );
        for _ in 0..3 {
            let Decision::Endorsed { approval, needed } =
                click(&safety, &approval, &slack("U03"), true).await
            else {
                panic!("one of two");
            };
            assert_eq!((approval.endorsed.len(), needed), (1, 2), "pressed again");
        }
        assert!(db.store.executions(10).await.expect("read").is_empty());
        let (waiting, _) = db
            .store
            .approval(&approval.id)
            .await
            .expect("read")
            .expect("kept");
        assert_eq!(waiting.state, ApprovalState::Pending);
        assert_eq!(waiting.endorsed[0].by, "U03");

        let admin = Principal {
            surface: Surface::Api,
            user: "mira".into(),
            team: None,
            standing: Standing::Token(Role::Admin),
        };
        let Decision::Approved { execution, .. } = click(&safety, &approval, &admin, true).await
        else {
            panic!("two of two");
        };
        assert_eq!(execution.digest, approval.digest);
        let told = db.store.audit_of(&approval.id).await.expect("read");
        let by: Vec<_> = told.iter().map(|e| (e.kind, e.actor.as_str())).collect();
        assert!(by.contains(&(audit::AuditKind::Endorsed, "U03")), "{by:?}");
        assert!(
            by.contains(&(audit::AuditKind::Approved, "api:mira")),
            "{by:?}"
        );
        chain_holds(&db.store).await;
    }
}

#[tokio::test]
async fn one_person_under_two_names_is_one_of_two() {
    let both = Person {
        name: "noor".into(),
        slack: vec!["U03".into()],
        subjects: vec!["noor".into()],
        ..Person::default()
    };
    for db in databases().await {
        let safety = ruled(&db).with_roster(Roster::new(std::slice::from_ref(&both)));
        let approval = asked(&safety, &db.store, "alert-1", "train-0", at(0)).await;
        let token = Principal {
            surface: Surface::Api,
            user: "noor".into(),
            team: None,
            standing: Standing::Token(Role::Admin),
        };
        for who in [&slack("U03"), &token] {
            let decision = click(&safety, &approval, who, true).await;
            let Decision::Endorsed { approval, needed } = decision else {
                panic!("{decision:?}")
            };
            assert_eq!((approval.endorsed.len(), needed), (1, 2), "{who:?}");
        }
        // Known to be one only after both approved, they are one all the same.
        let late = asked(&safety, &db.store, "alert-2", "train-1", at(0)).await;
        let strangers = safety.clone().with_roster(Roster::default());
        click(&strangers, &late, &slack("U03"), true).await;
        meddle(
            &db,
            "update approval set people = 3 where alert_id = 'alert-2'",
        )
        .await;
        click(&strangers, &late, &token, true).await;
        let third = click(&safety, &late, &slack("U04"), true).await;
        assert!(
            matches!(third, Decision::Endorsed { needed: 3, .. }),
            "{third:?}"
        );
    }
}

#[tokio::test]
async fn one_of_two_may_end_it_and_time_ends_it_too() {
    for db in databases().await {
        let safety = ruled(&db);
        let denied = asked(&safety, &db.store, "alert-1", "train-0", at(0)).await;
        let late = asked(&safety, &db.store, "alert-2", "train-1", at(0)).await;
        for approval in [&denied, &late] {
            click(&safety, approval, &slack("U03"), true).await;
        }
        assert!(matches!(
            click(&safety, &denied, &slack("U04"), false).await,
            Decision::Denied { .. }
        ));
        assert!(matches!(
            click(&safety, &denied, &slack("U05"), true).await,
            Decision::AlreadyDecided { .. }
        ));
        let after = late.expires + SignedDuration::from_secs(1);
        let decision = safety
            .decide(&late.id, &slack("U04"), true, None, after)
            .await
            .expect("decide");
        assert!(matches!(decision, Decision::Expired { .. }), "{decision:?}");
        assert!(db.store.executions(10).await.expect("read").is_empty());
    }
}

#[tokio::test]
async fn two_who_approve_at_once_are_two_and_one_who_clicks_twice_is_one() {
    for db in databases().await {
        let safety = ruled(&db);
        let approval = asked(&safety, &db.store, "alert-1", "train-0", at(0)).await;
        let clicks: Vec<_> = ["U03", "U03", "U03", "U03"]
            .into_iter()
            .map(|who| {
                let (safety, approval) = (safety.clone(), approval.clone());
                tokio::spawn(async move { click(&safety, &approval, &slack(who), true).await })
            })
            .collect();
        for click in clicks {
            let decision = click.await.expect("no click panics");
            assert!(
                matches!(decision, Decision::Endorsed { .. }),
                "{decision:?}"
            );
        }
        assert!(matches!(
            click(&safety, &approval, &slack("U05"), true).await,
            Decision::Approved { .. }
        ));
        assert_eq!(db.store.executions(10).await.expect("read").len(), 1);
    }
}

#[tokio::test]
async fn a_rule_without_approvers_lets_nobody_approve() {
    for db in databases().await {
        let safety = ruled(&db);
        let mut critical = proposal("train-0");
        critical.severity = Severity::Critical;
        let Proposed::Asked(approval) =
            propose(&safety, &db.store, "alert-1", &critical, at(0)).await
        else {
            panic!("critical asks");
        };
        for who in ["U01", "U03"] {
            assert!(matches!(
                click(&safety, &approval, &slack(who), true).await,
                Decision::NobodyMayApprove
            ));
        }
    }
}

#[tokio::test]
async fn a_denied_repair_of_something_grave_calls_people() {
    for db in databases().await {
        let alerts = alerting::alerts(&db.store);
        let safety = at_home(db.store.clone(), settings()).with_alerts(alerts.clone());
        let failing = alerting::kubernetes("train", "u1", vec![alerting::crashed("Error", 0)]);
        let id = alerting::ingest(&alerts, &[failing], 0).await.remove(0);
        let approval = asked(&safety, &db.store, &id, "train-0", at(1)).await;
        for effect in pages(&db).await {
            let done = db.store.finish_effect(&effect, "test", at(5)).await;
            done.expect("finished");
        }
        click(&safety, &approval, &slack("U02"), false).await;
        let alert = db.store.alert(&id).await.expect("read").expect("kept");
        assert!(alert.track.escalated);
        assert_eq!(pages(&db).await.len(), 1, "PagerDuty is brought up to date");
    }
}

async fn pages(db: &TestDatabase) -> Vec<nightbell::store::Effect> {
    let lease = SignedDuration::from_secs(60);
    db.store
        .claim_effects(EffectKind::Page, "test", 10, lease, at(30))
        .await
        .expect("claim")
}

#[tokio::test]
async fn what_a_rule_is_for_asks_though_the_policy_would_let_it_run() {
    for db in databases().await {
        let free = Settings {
            policy: Policy {
                require_approval: false,
                ..settings().policy
            },
            ..settings()
        };
        let unruled = at_home(db.store.clone(), free.clone());
        let ran = propose(&unruled, &db.store, "alert-1", &proposal("a"), at(0)).await;
        assert!(matches!(ran, Proposed::Permitted(_)), "{ran:?}");
        let rules = ruled(&db).settings().rules.clone();
        let strict = at_home(db.store.clone(), Settings { rules, ..free });
        let asks = propose(&strict, &db.store, "alert-2", &proposal("b"), at(0)).await;
        let Proposed::Asked(approval) = asks else {
            panic!("{asks:?}")
        };
        assert_eq!(approval.people, 2);
    }
}

#[tokio::test]
async fn what_a_person_asked_for_outlives_what_is_proposed_next() {
    for db in databases().await {
        let safety = at_home(db.store.clone(), settings());
        let mut tx = db.store.begin().await.expect("begin");
        let by = slack("U01");
        let wanted = proposal("train-0");
        let asked = safety
            .request(&mut tx, Some("alert-1"), &wanted, &by, at(0))
            .await;
        tx.commit().await.expect("commit");
        let Ok(Proposed::Asked(mine)) = asked else {
            panic!("{asked:?}")
        };
        let first = propose(&safety, &db.store, "alert-1", &proposal("train-1"), at(1)).await;
        let second = propose(&safety, &db.store, "alert-1", &proposal("train-2"), at(2)).await;
        let state = async |proposed: &Proposed| {
            let Proposed::Asked(approval) = proposed else {
                panic!("{proposed:?}")
            };
            let (now, _) = db
                .store
                .approval(&approval.id)
                .await
                .expect("read")
                .expect("kept");
            now.state
        };
        assert_eq!(
            state(&Proposed::Asked(mine.clone())).await,
            ApprovalState::Pending
        );
        assert_eq!(state(&first).await, ApprovalState::Withdrawn);
        assert_eq!(state(&second).await, ApprovalState::Pending);
        let decision = click(&safety, &mine, &slack("U02"), true).await;
        assert!(
            matches!(decision, Decision::Approved { .. }),
            "{decision:?}"
        );
    }
}
