//! Starting and stopping the watch outlives the process, and the dead man's switch is pinged only while all is well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nightbell::watch::control::{MonitoringControl, Projects};
use nightbell::watch::deadman;
use tokio_util::sync::CancellationToken;

use crate::support::database::databases;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).expect("a time in range")
}

#[tokio::test]
async fn a_limited_watch_ends_by_itself_also_after_a_restart() {
    for db in databases().await {
        let open = async |now| {
            MonitoringControl::open(db.store.clone(), Projects::All, now)
                .await
                .expect("a state")
        };
        let control = open(at(0)).await;
        assert!(control.current(at(0)).enabled, "watching is the default");

        let half_an_hour = SignedDuration::from_mins(30);
        control
            .start(Some("etl".to_owned()), Some(half_an_hour), "mira", at(0))
            .await
            .expect("saved");
        assert!(control.admits(Some("etl"), "runai-etl", at(1799)));
        assert!(!control.admits(Some("nlp"), "runai-nlp", at(1799)));

        let restarted = open(at(60)).await;
        assert_eq!(restarted.current(at(60)), control.current(at(60)));
        assert!(!restarted.current(at(1800)).enabled);
        assert!(
            !open(at(3600)).await.current(at(3600)).enabled,
            "it ended while nobody ran"
        );
    }
}

#[tokio::test]
async fn a_stop_by_one_replica_reaches_the_others() {
    for db in databases().await {
        let one = MonitoringControl::open(db.store.clone(), Projects::All, at(0))
            .await
            .expect("a state");
        let other = MonitoringControl::open(db.store.clone(), Projects::All, at(0))
            .await
            .expect("a state");
        let mut heard = other.subscribe();
        one.stop("mira", at(5)).await.expect("saved");
        let again = one.stop("tom", at(9)).await.expect("already stopped");
        assert_eq!(
            (again.changed_by.as_deref(), again.since),
            (Some("mira"), Some(at(5)))
        );

        other.refresh(at(10)).await.expect("read");
        assert!(heard.has_changed().expect("the control lives"));
        assert!(!heard.borrow_and_update().enabled);
        other.refresh(at(15)).await.expect("read");
        assert!(
            !heard.has_changed().expect("the control lives"),
            "no news is not told"
        );
    }
}

#[tokio::test]
async fn the_dead_mans_switch_is_pinged_only_while_all_is_well() {
    let pings = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&pings);
    let router = axum::Router::new().fallback(move || {
        // The first pings fail: they must not end the pinging.
        let nth = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            if nth < 2 {
                axum::http::StatusCode::BAD_GATEWAY
            } else {
                axum::http::StatusCode::OK
            }
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let url = format!(
        "http://{}/ping/s3cret",
        listener.local_addr().expect("an address")
    );
    tokio::spawn(async move { axum::serve(listener, router).await });

    let healthy = Arc::new(AtomicBool::new(true));
    let asked = Arc::new(AtomicUsize::new(0));
    let stop = CancellationToken::new();
    let mut settings = deadman::Settings::new(url.parse().expect("a URL"));
    settings.interval = Duration::from_millis(5);
    let task = {
        let (healthy, asked) = (Arc::clone(&healthy), Arc::clone(&asked));
        let is_healthy = move || {
            asked.fetch_add(1, Ordering::SeqCst);
            healthy.load(Ordering::SeqCst)
        };
        tokio::spawn(deadman::run(settings, is_healthy, stop.clone()))
    };
    let until = async |done: &dyn Fn() -> bool| {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    until(&|| pings.load(Ordering::SeqCst) >= 4).await;

    healthy.store(false, Ordering::SeqCst);
    let asked_before = asked.load(Ordering::SeqCst);
    until(&|| asked.load(Ordering::SeqCst) >= asked_before + 2).await;
    let pinged = pings.load(Ordering::SeqCst);
    until(&|| asked.load(Ordering::SeqCst) >= asked_before + 6).await;
    assert_eq!(
        pings.load(Ordering::SeqCst),
        pinged,
        "silence is the signal"
    );

    stop.cancel();
    task.await.expect("it stops");
}
