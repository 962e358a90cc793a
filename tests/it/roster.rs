//! One person under several names asks and decides as one.

use jiff::Timestamp;
use nightbell::desk::{Person, Principal, Role, Roster, Standing, Surface};
use nightbell::safety::{Decision, Proposed, Safety};

use crate::support::database::databases;
use crate::support::gate::{at, proposal, settings, slack};

fn by_token(subject: &str) -> Principal {
    Principal {
        surface: Surface::Api,
        user: subject.to_owned(),
        team: None,
        standing: Standing::Token(Role::Approver),
    }
}

#[tokio::test]
async fn whoever_asked_in_slack_does_not_approve_by_a_token() {
    for db in databases().await {
        let mira = Person {
            name: "mira".to_owned(),
            slack: vec!["U01".to_owned()],
            subjects: vec!["mira".to_owned()],
            ..Person::default()
        };
        let roster = Roster::load(&[mira], db.store.clone()).await.expect("read");
        let safety = Safety::new(db.store.clone(), settings()).with_roster(roster.clone());
        safety.set_home_team("T1");
        let mut tx = db.store.begin().await.expect("begin");
        let asked = safety
            .request(&mut tx, None, &proposal("train-0"), &slack("U01"), at(0))
            .await
            .expect("asked");
        tx.commit().await.expect("commit");
        let Proposed::Asked(approval) = asked else {
            panic!("{asked:?}");
        };
        let decide = async |who: &Principal, second| {
            safety
                .decide(&approval.id, who, true, None, at(second))
                .await
                .expect("decided")
        };
        for own in [slack("U01"), by_token("mira")] {
            let refused = decide(&own, 1).await;
            assert!(
                matches!(refused, Decision::NotAllowed { .. }),
                "{refused:?}"
            );
        }
        // The same e-mail address, in a token of the identity provider and in the configured person's Slack.
        roster
            .learn("U01", "mira@example.com", Timestamp::now())
            .await;
        let other = decide(&by_token("oidc:7"), 2).await;
        assert!(matches!(other, Decision::Approved { .. }), "{other:?}");
    }
}

#[tokio::test]
async fn one_address_is_one_person_on_every_replica() {
    for db in databases().await {
        let load = async || {
            let roster = Roster::load(&[], db.store.clone()).await.expect("read");
            let safety = Safety::new(db.store.clone(), settings()).with_roster(roster.clone());
            safety.set_home_team("T1");
            (roster, safety)
        };
        let ((first, asking), (second, deciding)) = (load().await, load().await);
        first.learn("U01", "mira@example.com", at(0)).await;
        second.learn("api:oidc:7", "Mira@example.com", at(0)).await;
        let mut tx = db.store.begin().await.expect("begin");
        let asked = asking
            .request(&mut tx, None, &proposal("train-0"), &slack("U01"), at(0))
            .await
            .expect("asked");
        tx.commit().await.expect("commit");
        let Proposed::Asked(approval) = asked else {
            panic!("{asked:?}");
        };
        let decision = deciding
            .decide(&approval.id, &by_token("oidc:7"), true, None, at(1))
            .await
            .expect("decided");
        assert!(
            matches!(decision, Decision::NotAllowed { .. }),
            "{decision:?}"
        );
    }
}
