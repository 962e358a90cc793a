//! The outbox keeps what was decided until it is done, in order, once per claim.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nightbell::notify::replica::Replica;
use nightbell::store::{EffectKind, NewEffect, Store};
use serde_json::json;
use tokio::time::Instant;

use crate::support::database::{databases, sqlite};

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

#[tokio::test]
async fn a_process_that_ended_gives_back_what_it_held_and_its_end_is_no_failure_of_that() {
    for db in databases().await {
        save(&db.store, &note("slack:C1", "hello", at(0)), at(0)).await;
        save(&db.store, &note("slack:C2", "other", at(0)), at(0)).await;
        db.store.beat("killed", at(0)).await.expect("beat");
        let claimed = claim(&db.store, "killed/slack", at(1)).await;
        db.store
            .finish_effect(&claimed[1], "killed/slack", at(1))
            .await
            .expect("finish");
        let known = db.store.replicas().await.expect("replicas");
        assert_eq!(known, [("killed".to_owned(), Some(1))]);

        assert_eq!(db.store.bury_replica("killed").await.expect("bury"), 1);
        assert!(db.store.replicas().await.expect("replicas").is_empty());
        let again = claim(&db.store, "successor/slack", at(2)).await;
        assert_eq!((again[0].attempts, again[0].failures), (2, 0));

        // What really fails is tried less and less often; what has to wait for its turn is not.
        db.store
            .postpone_effect(&again[0], "successor/slack", "too early", at(3))
            .await
            .expect("postpone");
        let again = claim(&db.store, "successor/slack", at(4)).await;
        assert_eq!((again[0].attempts, again[0].failures), (2, 0));
        db.store
            .retry_effect(&again[0], "successor/slack", "refused", at(5))
            .await
            .expect("retry");
        let again = claim(&db.store, "successor/slack", at(6)).await;
        assert_eq!((again[0].attempts, again[0].failures), (3, 1));
    }
}

#[tokio::test]
async fn whoever_has_the_file_to_itself_takes_over_at_once_and_a_second_process_does_not() {
    let db = sqlite().await;
    save(&db.store, &note("slack:C1", "hello", at(0)), at(0)).await;
    claim(&db.store, "killed/slack", at(1)).await;

    let first = Replica::join(db.store.clone(), "first", at(2))
        .await
        .expect("it joins");
    let taken_over = claim(&db.store, "first/slack", at(3)).await;
    assert_eq!(taken_over.len(), 1);

    let other = Store::open(&db.url).await.expect("the file opens again");
    Replica::join(other.clone(), "second", at(4))
        .await
        .expect("it joins");
    assert!(
        claim(&other, "second/slack", at(5)).await.is_empty(),
        "the first is alive"
    );

    drop(first);
    Replica::join(other.clone(), "third", at(6))
        .await
        .expect("it joins");
    assert_eq!(claim(&other, "third/slack", at(7)).await.len(), 1);
}

#[tokio::test]
async fn replicas_that_share_a_database_take_over_what_a_dead_one_held() {
    for db in databases().await {
        // Something else has the file, so that nobody is alone.
        let held = db.store.take_alone();
        assert_eq!(held.is_some(), db.store.backend() == "sqlite");
        save(&db.store, &note("slack:C1", "hello", at(0)), at(0)).await;
        save(&db.store, &note("slack:C2", "of the living", at(0)), at(0)).await;
        db.store.beat("killed", at(0)).await.expect("beat");
        let mut alive = Replica::join(db.store.clone(), "alive", at(1))
            .await
            .expect("it joins");
        let mut survivor = Replica::join(db.store.clone(), "survivor", at(1))
            .await
            .expect("it joins");
        db.store
            .claim_effects(EffectKind::ThreadNote, "killed/slack", 1, LEASE, at(2))
            .await
            .expect("claim");
        claim(&db.store, "alive/slack", at(2)).await;

        let start = Instant::now();
        for seconds in (0..28).step_by(2) {
            let clock = start + Duration::from_secs(seconds);
            alive.look(at(3), clock).await.expect("it looks");
            survivor.look(at(3), clock).await.expect("it looks");
        }
        let freed = claim(&db.store, "survivor/slack", at(4)).await;
        let texts: Vec<String> = freed.iter().map(|e| e.payload().expect("text")).collect();
        assert_eq!(texts, ["hello"], "{}", db.store.backend());
    }
}
