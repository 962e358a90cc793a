//! The outbox keeps what was decided until it is done, in order, once per claim.

use jiff::{SignedDuration, Timestamp};
use nightbell::store::{EffectKind, NewEffect, Store};
use serde_json::json;

use crate::support::database::databases;

const LEASE: SignedDuration = SignedDuration::from_secs(30);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).expect("a time in range")
}

fn note(lane: &str, text: &str, due: Timestamp) -> NewEffect {
    NewEffect {
        kind: EffectKind::ThreadNote,
        lane: lane.to_owned(),
        fold: None,
        payload: json!(text),
        due,
    }
}

async fn save(store: &Store, effect: &NewEffect, now: Timestamp) {
    let mut tx = store.begin().await.expect("begin");
    tx.add_effect(effect, now).await.expect("add");
    tx.commit().await.expect("commit");
}

async fn claim(store: &Store, owner: &str, now: Timestamp) -> Vec<nightbell::store::Effect> {
    store
        .claim_effects(EffectKind::ThreadNote, owner, 10, LEASE, now)
        .await
        .expect("claim")
}

#[tokio::test]
async fn effects_of_one_lane_are_carried_out_one_after_another() {
    for db in databases().await {
        save(&db.store, &note("slack:C1", "first", at(0)), at(0)).await;
        save(&db.store, &note("slack:C1", "second", at(0)), at(1)).await;
        save(&db.store, &note("slack:C2", "elsewhere", at(0)), at(1)).await;

        let claimed = claim(&db.store, "a", at(2)).await;
        let texts: Vec<String> = claimed.iter().map(|e| e.payload().expect("text")).collect();
        assert_eq!(texts, ["first", "elsewhere"]);
        assert!(
            claim(&db.store, "b", at(3)).await.is_empty(),
            "both lanes are busy"
        );

        db.store
            .finish_effect(&claimed[0], "a", at(3))
            .await
            .expect("finish");
        let next = claim(&db.store, "b", at(4)).await;
        assert_eq!(next[0].payload::<String>().expect("text"), "second");
    }
}

#[tokio::test]
async fn an_effect_whose_worker_died_is_claimed_again_after_its_lease() {
    for db in databases().await {
        save(&db.store, &note("slack:C1", "hello", at(0)), at(0)).await;
        assert_eq!(claim(&db.store, "dies", at(1)).await.len(), 1);
        assert!(
            claim(&db.store, "b", at(20)).await.is_empty(),
            "the lease still holds"
        );

        let again = claim(&db.store, "b", at(32)).await;
        assert_eq!(again.len(), 1);
        assert_eq!(
            again[0].attempts, 2,
            "the second claimant knows that an attempt was made"
        );
    }
}

#[tokio::test]
async fn a_request_that_arrives_while_its_effect_runs_makes_it_run_again() {
    for db in databases().await {
        let mut sync = note("slack:C1", "state 1", at(0));
        sync.fold = Some("alert-1@C1".to_owned());
        save(&db.store, &sync, at(0)).await;
        sync.payload = json!("state 2");
        save(&db.store, &sync, at(1)).await;

        let claimed = claim(&db.store, "a", at(2)).await;
        assert_eq!(claimed.len(), 1, "the two requests were folded");
        assert_eq!(claimed[0].payload::<String>().expect("text"), "state 2");

        sync.payload = json!("state 3");
        save(&db.store, &sync, at(3)).await;
        db.store
            .finish_effect(&claimed[0], "a", at(4))
            .await
            .expect("finish");

        let again = claim(&db.store, "a", at(5)).await;
        assert_eq!(again[0].payload::<String>().expect("text"), "state 3");
        db.store
            .finish_effect(&again[0], "a", at(6))
            .await
            .expect("finish");
        assert!(claim(&db.store, "a", at(7)).await.is_empty());
    }
}

#[tokio::test]
async fn a_failed_effect_waits_for_its_retry_and_keeps_the_order_of_its_lane() {
    for db in databases().await {
        save(&db.store, &note("slack:C1", "first", at(0)), at(0)).await;
        save(&db.store, &note("slack:C1", "second", at(0)), at(1)).await;
        let claimed = claim(&db.store, "a", at(2)).await;
        db.store
            .retry_effect(&claimed[0], "a", "rate limited", at(60))
            .await
            .expect("retry");

        assert!(
            claim(&db.store, "a", at(30)).await.is_empty(),
            "the second must not overtake the first"
        );
        let again = claim(&db.store, "a", at(61)).await;
        assert_eq!(again[0].payload::<String>().expect("text"), "first");
    }
}

#[tokio::test]
async fn a_late_finish_by_a_worker_that_lost_its_lease_changes_nothing() {
    for db in databases().await {
        save(&db.store, &note("slack:C1", "hello", at(0)), at(0)).await;
        let slow = claim(&db.store, "slow", at(1)).await;
        let fresh = claim(&db.store, "fresh", at(40)).await;
        db.store
            .finish_effect(&slow[0], "slow", at(41))
            .await
            .expect("finish");
        assert!(
            claim(&db.store, "c", at(42)).await.is_empty(),
            "the fresh claim still holds the lane"
        );
        db.store
            .finish_effect(&fresh[0], "fresh", at(43))
            .await
            .expect("finish");
        assert!(claim(&db.store, "c", at(100)).await.is_empty());
    }
}
