//! Silences by labels and maintenance windows: what they cover is kept and shown, told to nobody, and told when they end.

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use nightbell::alert::matcher::Matcher;
use nightbell::alert::service::{Alerts, NewSilence};
use nightbell::alert::settings::Settings;
use nightbell::alert::window::Window;
use nightbell::alert::{Alert, AlertState};
use nightbell::notify::Destination;
use nightbell::store::{EffectKind, Store};

use crate::support::alerting::{
    CHANNEL, alerts, all, at, crashed, diagnosis, ingest, kubernetes, settle,
};
use crate::support::database::databases;

fn of(matchers: &[&str], until: i64) -> NewSilence {
    let matchers = matchers.iter().map(|text| text.parse().expect("a matcher"));
    NewSilence {
        matchers: matchers.collect::<Vec<Matcher>>(),
        until: at(until),
        by: "mira".to_owned(),
        reason: None,
    }
}

/// How many messages and pages are wanted by now.
async fn wanted(store: &Store) -> usize {
    let mut effects = 0;
    for kind in [
        EffectKind::SyncMessage,
        EffectKind::ThreadNote,
        EffectKind::Page,
    ] {
        let lease = SignedDuration::from_secs(1);
        let now = jiff::Timestamp::now();
        let claimed = store.claim_effects(kind, "test", 1_000, lease, now).await;
        for effect in claimed.expect("the outbox answers") {
            effects += 1;
            let done = store.finish_effect(&effect, "test", now).await;
            done.expect("the outbox answers");
        }
    }
    effects
}

async fn only(alerts: &Alerts) -> Alert {
    let mut all = all(alerts).await;
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[tokio::test]
async fn what_a_silence_covers_is_kept_and_told_when_it_ends_and_it_still_fails() {
    for db in databases().await {
        let alerts = alerts(&db.store);
        let (silence, covered) = alerts
            .add_silence(of(&["project=ml", "severity!=critical"], 3_600), at(0))
            .await
            .expect("silenced");
        assert_eq!((silence.number, covered), (1, 0));

        let failing = [kubernetes("train", "u1", vec![crashed("OOMKilled", 5)])];
        let opened = ingest(&alerts, &failing, 10).await;
        let alert = only(&alerts).await;
        assert_eq!(alert.state, AlertState::Open);
        assert!(alert.silenced(at(20)) && alert.is_untold());
        assert_eq!(alert.covered.expect("covered").by, "silence S1");
        alerts
            .attach_diagnosis(&opened[0], diagnosis("host_oom"), at(15))
            .await
            .expect("saved");
        assert_eq!(wanted(&db.store).await, 0, "nobody is told or woken");

        alerts.sweep(at(3_599)).await.expect("swept");
        assert_eq!(wanted(&db.store).await, 0);
        alerts.sweep(at(3_600)).await.expect("swept");
        let alert = only(&alerts).await;
        assert!(!alert.silenced(at(3_600)) && !alert.is_untold());
        assert!(
            wanted(&db.store).await >= 3,
            "its message, the report of its diagnosis, its page"
        );
        let timeline = alerts.timeline(&opened[0]).await.expect("read");
        let kinds: Vec<&str> = timeline.iter().map(|entry| entry.kind.as_str()).collect();
        assert!(
            kinds.contains(&"silenced") && kinds.contains(&"unsilenced"),
            "{kinds:?}"
        );
    }
}

#[tokio::test]
async fn what_recovers_while_it_is_silent_is_told_to_nobody_and_may_fail_aloud_later() {
    for db in databases().await {
        let alerts = alerts(&db.store);
        alerts
            .add_silence(of(&["job=train"], 3_600), at(0))
            .await
            .expect("silenced");
        let failing = |since| kubernetes("train", "u1", vec![crashed("OOMKilled", since)]);
        ingest(&alerts, &[failing(5)], 10).await;
        ingest(&alerts, &[kubernetes("train", "u1", vec![])], 20).await;
        settle(&alerts, 20).await;
        assert_eq!(only(&alerts).await.state, AlertState::Resolved);
        assert_eq!(wanted(&db.store).await, 0);

        ingest(&alerts, &[failing(4_000)], 4_000).await;
        let alert = only(&alerts).await;
        assert_eq!(alert.state, AlertState::Open);
        assert!(wanted(&db.store).await >= 2, "its message and its page");
    }
}

#[tokio::test]
async fn a_silence_covers_what_is_open_already_until_it_is_lifted_and_others_not_at_all() {
    for db in databases().await {
        let alerts = alerts(&db.store);
        let two = [
            kubernetes("train", "u1", vec![crashed("OOMKilled", 5)]),
            kubernetes("eval", "u2", vec![crashed("OOMKilled", 5)]),
        ];
        ingest(&alerts, &two, 10).await;
        let (silence, covered) = alerts
            .add_silence(of(&["job=~tr.*"], 3_600), at(20))
            .await
            .expect("silenced");
        assert_eq!(covered, 1);
        for alert in all(&alerts).await {
            let is_train = alert.subject.name == "train";
            assert_eq!(alert.silenced(at(30)), is_train, "{}", alert.subject.name);
        }
        // Another silence of the same alert goes on when this one ends.
        alerts
            .add_silence(of(&["project=ml", "job!=eval"], 1_800), at(40))
            .await
            .expect("silenced");
        let ended = alerts.end_silence(silence.number, at(50)).await;
        assert!(ended.expect("ended").is_some());
        let train = &all(&alerts).await[0];
        assert_eq!(
            train.covered.as_ref().map(|cover| cover.by.as_str()),
            Some("silence S2")
        );
        let again = alerts.end_silence(silence.number, at(60)).await;
        assert!(again.expect("answered").is_none(), "it is over");
        assert!(
            alerts
                .end_silence(2, at(70))
                .await
                .expect("ended")
                .is_some()
        );
        assert!(all(&alerts).await.iter().all(|a| !a.silenced(at(70))));
        assert!(alerts.silences(at(70)).await.expect("read").is_empty());
    }
}

#[tokio::test]
async fn many_that_appear_when_a_silence_ends_are_told_together() {
    for db in databases().await {
        let alerts = alerts(&db.store);
        alerts
            .add_silence(of(&[], 3_600), at(0))
            .await
            .expect("silenced");
        let reports: Vec<_> = (0..40)
            .map(|n| {
                let crash = vec![crashed("Error", 5)];
                kubernetes(&format!("job-{n}"), &format!("u{n}"), crash)
            })
            .collect();
        ingest(&alerts, &reports, 10).await;
        assert!(all(&alerts).await.iter().all(Alert::is_untold));
        alerts.sweep(at(3_600)).await.expect("swept");
        let told = all(&alerts).await;
        assert!(told.iter().all(|alert| !alert.is_untold()), "none is lost");
        let own = told.iter().filter(|alert| alert.track.own_message).count();
        assert!(own <= 3, "{own} messages of their own");
    }
}

#[tokio::test]
async fn a_maintenance_window_is_a_silence_that_comes_by_itself() {
    for db in databases().await {
        // The scenes begin on Monday 2026-09-21 at 14:13:20 UTC.
        let window = Window {
            name: "patching".to_owned(),
            schedule: "0 15 * * mon".parse().expect("a schedule"),
            duration: SignedDuration::from_hours(2),
            time_zone: TimeZone::UTC,
            matchers: vec!["namespace=runai-ml".parse().expect("a matcher")],
        };
        let settings = Settings {
            destinations: vec![
                Destination::Slack {
                    channel: CHANNEL.to_owned(),
                },
                Destination::PagerDuty,
            ],
            windows: vec![window],
            ..Settings::default()
        };
        let alerts = Alerts::new(db.store.clone(), settings);
        let failing =
            |name: &str, uid: &str, since| [kubernetes(name, uid, vec![crashed("Error", since)])];
        // Before it opens, while it is open (15:00 to 17:00), and when it closes.
        ingest(&alerts, &failing("early", "u1", 5), 10).await;
        assert!(wanted(&db.store).await > 0);
        ingest(&alerts, &failing("train", "u2", 2_900), 2_900).await;
        assert_eq!(wanted(&db.store).await, 0);
        let train = all(&alerts).await.remove(1);
        let cover = train.covered.expect("covered");
        assert_eq!(cover.by, "maintenance window patching");
        assert_eq!(cover.until, at(10_000));
        alerts.sweep(at(10_000)).await.expect("swept");
        assert!(wanted(&db.store).await > 0);
    }
}

#[tokio::test]
async fn a_silence_that_ended_long_ago_is_forgotten_and_its_number_not_given_again() {
    for db in databases().await {
        let alerts = alerts(&db.store);
        for _ in 0..2 {
            alerts
                .add_silence(of(&["job=train"], 60), at(0))
                .await
                .expect("silenced");
        }
        let pruned = db.store.prune_history(at(10_000), 100).await;
        assert_eq!(pruned.expect("pruned"), 1);
        let (next, _) = alerts
            .add_silence(of(&["job=train"], 20_000), at(10_000))
            .await
            .expect("silenced");
        assert_eq!(next.number, 3);
    }
}
