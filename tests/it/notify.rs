//! What was decided reaches people: once, in time, and in the end, whatever Slack and PagerDuty do.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nightbell::alert::AlertState;
use nightbell::alert::Severity;
use nightbell::alert::service::Alerts;
use nightbell::alert::settings::{Settings as AlertSettings, SeverityRule};
use nightbell::chat::alert::card;
use nightbell::chat::slack::client::{Settings as ClientSettings, SlackClient};
use nightbell::chat::terminal;
use nightbell::detect::FailureClass;
use nightbell::notify::Destination;
use nightbell::notify::page::Pager;
use nightbell::notify::pagerduty::{PagerDuty, Settings as PagerSettings};
use nightbell::notify::slack::{Settings, SlackDelivery};
use nightbell::notify::view::Views;
use secrecy::SecretString;

use crate::support::alerting::{
    CHANNEL, alerts, at, crashed, diagnosis, ingest, kubernetes, settle, symptom,
};
use crate::support::database::{TestDatabase, databases, sqlite};
use crate::support::pagerduty::{FakePagerDuty, Fault as PagerFault, ROUTING_KEY};
use crate::support::slack::{APP_TOKEN, BOT_TOKEN, FakeSlack, Fault};

fn client(slack: &FakeSlack) -> SlackClient {
    SlackClient::new(ClientSettings {
        api_url: Some(slack.api_url()),
        bot_token: Some(SecretString::from(BOT_TOKEN)),
        app_token: Some(SecretString::from(APP_TOKEN)),
        webhook_url: Some(SecretString::from(slack.webhook_url())),
        timeout: Duration::from_secs(2),
    })
    .expect("a client")
}

fn delivery(db: &TestDatabase, slack: &FakeSlack) -> SlackDelivery {
    delivery_that_awaits(SignedDuration::ZERO, db, slack)
}

fn delivery_that_awaits(
    await_diagnosis: SignedDuration,
    db: &TestDatabase,
    slack: &FakeSlack,
) -> SlackDelivery {
    let settings = Settings {
        default_channel: Some("C0DEFAULT".to_owned()),
        between: Duration::ZERO,
        await_diagnosis,
    };
    SlackDelivery::new(
        db.store.clone(),
        client(slack),
        Views::new(db.store.clone(), None),
        settings,
        "test",
    )
}

fn pager(db: &TestDatabase, duty: &FakePagerDuty) -> Pager {
    pager_of(&alerts(&db.store), db, duty)
}

fn pager_of(alerts: &Alerts, db: &TestDatabase, duty: &FakePagerDuty) -> Pager {
    let settings = PagerSettings {
        events_url: duty.url.clone(),
        routing_key: SecretString::from(ROUTING_KEY),
        timeout: Duration::from_secs(2),
        page: None,
    };
    let client = PagerDuty::new(settings).expect("a client");
    Pager::new(
        db.store.clone(),
        client,
        Views::new(db.store.clone(), None),
        alerts.settings(),
        "test",
    )
}

/// Delivers until nothing is due.
async fn deliver(slack: &SlackDelivery) {
    while slack.deliver_due().await.expect("the outbox answers") > 0 {}
}

async fn page(pager: &Pager) {
    while pager.deliver_due().await.expect("the outbox answers") > 0 {}
}

/// Delivers again and again, as the worker does, until `done`.
async fn deliver_until(slack: &SlackDelivery, done: impl Fn() -> bool) {
    for _ in 0..500 {
        deliver(slack).await;
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it was never delivered");
}

#[tokio::test]
async fn an_alert_is_one_message_that_is_edited_and_a_thread() {
    for db in databases().await {
        let (alerts, slack) = (alerts(&db.store), FakeSlack::start().await);
        let delivery = delivery(&db, &slack);
        let id = ingest(
            &alerts,
            &[kubernetes("train", "u1", vec![crashed("Error", 5)])],
            10,
        )
        .await
        .remove(0);
        deliver(&delivery).await;
        alerts
            .attach_diagnosis(&id, diagnosis("cuda_oom"), at(12))
            .await
            .expect("attached");
        alerts
            .acknowledge(&id, "U0MIRA", at(14))
            .await
            .expect("acknowledged");
        deliver(&delivery).await;
        ingest(&alerts, &[kubernetes("train", "u1", vec![])], 60).await;
        settle(&alerts, 60).await;
        deliver(&delivery).await;

        let message = slack.message(0);
        assert_eq!(message.text, "🟢 Resolved · train: recovered");
        assert_eq!(message.channel, CHANNEL);
        assert_eq!(
            slack.calls("chat.postMessage"),
            3,
            "the message, the report and the end"
        );
        assert!((1..3).all(|n| slack.message(n).thread_ts.as_ref() == Some(&message.ts)));
        assert_eq!(
            slack.calls("chat.update"),
            2,
            "two changes at once are one edit"
        );
        deliver(&delivery).await;
        assert_eq!(slack.calls("chat.update"), 2);
    }
}

#[tokio::test]
async fn an_outage_of_slack_delays_but_loses_and_repeats_nothing() {
    let db = sqlite().await;
    let (alerts, slack) = (alerts(&db.store), FakeSlack::start().await);
    let delivery = delivery(&db, &slack);
    slack.set_down(true);
    let id = ingest(
        &alerts,
        &[kubernetes("train", "u1", vec![crashed("Error", 5)])],
        10,
    )
    .await
    .remove(0);
    deliver(&delivery).await;
    alerts
        .acknowledge(&id, "U0MIRA", at(14))
        .await
        .expect("acknowledged");
    deliver(&delivery).await;
    slack.set_down(false);
    deliver_until(&delivery, || {
        slack.calls("chat.postMessage") > 1 && slack.messages().contains("train")
    })
    .await;
    let messages = slack.messages();
    let posted = messages.lines().filter(|line| line.starts_with(CHANNEL));
    assert_eq!(posted.count(), 1, "{messages}");
}

#[tokio::test]
async fn a_post_whose_answer_was_lost_is_found_and_not_repeated() {
    let db = sqlite().await;
    let (alerts, slack) = (alerts(&db.store), FakeSlack::start().await);
    let delivery = delivery(&db, &slack);
    slack.fail("chat.postMessage", Fault::FatalAfterEffect);
    ingest(
        &alerts,
        &[kubernetes("train", "u1", vec![crashed("Error", 5)])],
        10,
    )
    .await;
    deliver_until(&delivery, || slack.calls("chat.update") == 1).await;
    assert_eq!(slack.calls("chat.postMessage"), 1);
}

#[tokio::test]
async fn a_process_that_died_between_the_post_and_its_record_does_not_post_twice() {
    let db = sqlite().await;
    let (alerts, slack) = (alerts(&db.store), FakeSlack::start().await);
    let id = ingest(
        &alerts,
        &[kubernetes("train", "u1", vec![crashed("Error", 5)])],
        10,
    )
    .await
    .remove(0);
    let subject = format!("alert:{id}");
    db.store
        .begin_post(&subject, &format!("slack:{CHANNEL}"), Timestamp::now())
        .await
        .expect("begun");
    let views = Views::new(db.store.clone(), None);
    let card = views
        .card(&nightbell::notify::Subject::Alert(id))
        .await
        .expect("read")
        .expect("a card");
    client(&slack)
        .post(CHANNEL, &card, None, &subject)
        .await
        .expect("posted");

    deliver(&delivery(&db, &slack)).await;
    assert_eq!(slack.calls("chat.postMessage"), 1);
}

#[tokio::test]
async fn a_rate_limit_is_obeyed() {
    let db = sqlite().await;
    let (alerts, slack) = (alerts(&db.store), FakeSlack::start().await);
    let delivery = delivery(&db, &slack);
    slack.fail("chat.postMessage", Fault::RateLimited(1));
    ingest(
        &alerts,
        &[kubernetes("train", "u1", vec![crashed("Error", 5)])],
        10,
    )
    .await;
    deliver(&delivery).await;
    deliver(&delivery).await;
    assert_eq!(
        slack.calls("chat.postMessage"),
        1,
        "not before the time that Slack named"
    );
    deliver_until(&delivery, || slack.calls("chat.postMessage") == 2).await;
}

#[tokio::test]
async fn a_message_that_cannot_be_edited_is_followed_in_its_thread() {
    let db = sqlite().await;
    let (alerts, slack) = (alerts(&db.store), FakeSlack::start().await);
    let delivery = delivery(&db, &slack);
    let id = ingest(
        &alerts,
        &[kubernetes("train", "u1", vec![crashed("Error", 5)])],
        10,
    )
    .await
    .remove(0);
    deliver(&delivery).await;
    slack.fail("chat.update", Fault::Error("edit_window_closed"));
    alerts
        .acknowledge(&id, "U0MIRA", at(14))
        .await
        .expect("acknowledged");
    deliver(&delivery).await;
    assert_eq!(slack.message(1).thread_ts, Some(slack.message(0).ts));
}

#[tokio::test]
async fn a_channel_that_takes_no_messages_is_replaced_by_the_default_one() {
    let db = sqlite().await;
    let (alerts, slack) = (alerts(&db.store), FakeSlack::start().await);
    let delivery = delivery(&db, &slack);
    slack.fail("chat.postMessage", Fault::Error("is_archived"));
    ingest(
        &alerts,
        &[kubernetes("train", "u1", vec![crashed("Error", 5)])],
        10,
    )
    .await;
    deliver(&delivery).await;
    assert_eq!(slack.message(0).channel, "C0DEFAULT");
}

#[tokio::test]
async fn a_storm_is_three_messages_and_a_summary() {
    let db = sqlite().await;
    let (alerts, slack) = (alerts(&db.store), FakeSlack::start().await);
    let delivery = delivery(&db, &slack);
    let jobs: Vec<_> = (0..40)
        .map(|n| {
            kubernetes(
                &format!("job-{n}"),
                &format!("u{n}"),
                vec![crashed("Error", 5)],
            )
        })
        .collect();
    for (second, batch) in (10..).zip(jobs.chunks(10)) {
        ingest(&alerts, batch, second).await;
        deliver(&delivery).await;
    }
    assert_eq!(slack.calls("chat.postMessage"), 4, "{}", slack.messages());
    assert!(
        slack.messages().contains("37 alerts, "),
        "{}",
        slack.messages()
    );
}

#[tokio::test]
async fn a_webhook_is_told_the_beginning_and_the_end() {
    let db = sqlite().await;
    let settings = AlertSettings {
        destinations: vec![Destination::SlackWebhook],
        ..AlertSettings::default()
    };
    let (alerts, slack) = (
        Alerts::new(db.store.clone(), settings),
        FakeSlack::start().await,
    );
    let delivery = delivery(&db, &slack);
    let id = ingest(
        &alerts,
        &[kubernetes("train", "u1", vec![crashed("Error", 5)])],
        10,
    )
    .await
    .remove(0);
    deliver(&delivery).await;
    alerts
        .acknowledge(&id, "mira", at(20))
        .await
        .expect("acknowledged");
    deliver(&delivery).await;
    alerts.resolve(&id, "mira", at(30)).await.expect("resolved");
    deliver(&delivery).await;
    assert_eq!(slack.webhook_posts().len(), 2);
}

#[tokio::test]
async fn a_webhook_that_cannot_edit_is_told_with_the_diagnosis() {
    for diagnosed in [false, true] {
        let db = sqlite().await;
        let settings = AlertSettings {
            destinations: vec![Destination::SlackWebhook],
            ..AlertSettings::default()
        };
        let (alerts, slack) = (
            Alerts::new(db.store.clone(), settings),
            FakeSlack::start().await,
        );
        let delivery = delivery_that_awaits(SignedDuration::MAX, &db, &slack);
        let failing = kubernetes("train", "u1", vec![crashed("Error", 5)]);
        let id = ingest(&alerts, &[failing], 10).await.remove(0);
        if diagnosed {
            alerts
                .attach_diagnosis(&id, diagnosis("cuda_oom"), at(12))
                .await
                .expect("attached");
        }
        deliver(&delivery).await;
        assert_eq!(slack.webhook_posts().len(), usize::from(diagnosed));
    }
}

#[tokio::test]
async fn a_high_alert_pages_and_what_people_do_in_chat_is_seen_there() {
    for db in databases().await {
        let (alerts, duty) = (alerts(&db.store), FakePagerDuty::start().await);
        let pager = pager(&db, &duty);
        let id = ingest(
            &alerts,
            &[kubernetes("train", "u1", vec![crashed("OOMKilled", 5)])],
            10,
        )
        .await
        .remove(0);
        page(&pager).await;
        assert_eq!(
            duty.account().pages,
            ["train failed: OOMKilled: OOMKilled was stated"]
        );
        alerts
            .acknowledge(&id, "mira", at(20))
            .await
            .expect("acknowledged");
        page(&pager).await;
        ingest(&alerts, &[kubernetes("train", "u1", vec![])], 60).await;
        settle(&alerts, 60).await;
        page(&pager).await;
        assert_eq!(duty.actions(), ["trigger", "acknowledge", "resolve"]);
        assert!(duty.account().open.is_empty());

        ingest(
            &alerts,
            &[kubernetes("train", "u1", vec![crashed("OOMKilled", 900)])],
            910,
        )
        .await;
        page(&pager).await;
        assert_eq!(
            duty.account().pages.len(),
            2,
            "it fails again: someone is to know"
        );
        assert!(
            duty.account()
                .events
                .iter()
                .all(|(_, key)| key.starts_with("nightbell:") && key.ends_with(":crashed"))
        );
    }
}

#[tokio::test]
async fn a_low_alert_and_a_silenced_one_wake_nobody() {
    let db = sqlite().await;
    let (alerts, duty) = (alerts(&db.store), FakePagerDuty::start().await);
    let pager = pager(&db, &duty);
    let mut small = kubernetes(
        "notebook",
        "u1",
        vec![symptom(FailureClass::Blocked, "Unschedulable", 5)],
    );
    small.subject.gpus = 1.0;
    ingest(&alerts, &[small], 10).await;
    let id = ingest(
        &alerts,
        &[kubernetes("train", "u2", vec![crashed("Error", 5)])],
        10,
    )
    .await
    .remove(0);
    let until = Timestamp::now() + jiff::SignedDuration::from_hours(1);
    alerts
        .silence(&id, "mira", until, at(11))
        .await
        .expect("silenced");
    page(&pager).await;
    assert!(duty.actions().is_empty());
    alerts
        .unsilence(&id, "mira", at(30))
        .await
        .expect("unsilenced");
    page(&pager).await;
    assert_eq!(duty.actions(), ["trigger"]);
}

#[tokio::test]
async fn a_page_that_could_not_be_sent_before_the_recovery_is_never_sent() {
    let db = sqlite().await;
    let (alerts, duty) = (alerts(&db.store), FakePagerDuty::start().await);
    let pager = pager(&db, &duty);
    duty.fail(PagerFault::Status(503));
    let id = ingest(
        &alerts,
        &[kubernetes("train", "u1", vec![crashed("Error", 5)])],
        10,
    )
    .await
    .remove(0);
    page(&pager).await;
    alerts.resolve(&id, "mira", at(30)).await.expect("resolved");
    while duty.actions().is_empty() {
        page(&pager).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    page(&pager).await;
    assert_eq!(
        duty.actions(),
        ["resolve"],
        "the first try might have been heard, so it is resolved"
    );
    assert!(duty.account().pages.is_empty());
}

#[tokio::test]
async fn a_trigger_whose_answer_was_lost_wakes_only_once() {
    let db = sqlite().await;
    let (alerts, duty) = (alerts(&db.store), FakePagerDuty::start().await);
    let pager = pager(&db, &duty);
    duty.fail(PagerFault::StatusAfterEffect(502));
    ingest(
        &alerts,
        &[kubernetes("train", "u1", vec![crashed("Error", 5)])],
        10,
    )
    .await;
    while duty.actions().len() < 2 {
        page(&pager).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(duty.account().pages.len(), 1);
}

#[tokio::test]
async fn a_page_that_pagerduty_dislikes_goes_out_in_its_bare_form() {
    let db = sqlite().await;
    let (alerts, duty) = (alerts(&db.store), FakePagerDuty::start().await);
    duty.account().dislikes_details = true;
    let mut long = crashed("Error", 5);
    long.detail = "x".repeat(5_000);
    ingest(&alerts, &[kubernetes("train", "u1", vec![long])], 10).await;
    page(&pager(&db, &duty)).await;
    assert_eq!(duty.account().refused.len(), 1);
    assert_eq!(duty.account().pages.len(), 1);
}

#[tokio::test]
async fn a_rate_limit_of_pagerduty_is_obeyed() {
    let db = sqlite().await;
    let (alerts, duty) = (alerts(&db.store), FakePagerDuty::start().await);
    let pager = pager(&db, &duty);
    duty.fail(PagerFault::RateLimited(1));
    ingest(
        &alerts,
        &[kubernetes("train", "u1", vec![crashed("Error", 5)])],
        10,
    )
    .await;
    page(&pager).await;
    page(&pager).await;
    assert!(duty.actions().is_empty());
    while duty.actions().is_empty() {
        page(&pager).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Minutes between two failings of a job that flaps slowly.
const CYCLE: i64 = 20 * 60;

async fn fails(alerts: &Alerts, second: i64) {
    let failing = kubernetes("train", "u1", vec![crashed("OOMKilled", second)]);
    ingest(alerts, &[failing], second).await;
}

/// Is well at `second`, and looked at until that counts as recovered, if it does.
async fn recovers(alerts: &Alerts, second: i64) {
    ingest(alerts, &[kubernetes("train", "u1", vec![])], second).await;
    settle(alerts, second).await;
}

#[tokio::test]
async fn slow_flapping_is_announced_once_held_and_its_end_announced() {
    let db = sqlite().await;
    let (alerts, slack) = (alerts(&db.store), FakeSlack::start().await);
    let duty = FakePagerDuty::start().await;
    let (delivery, pager) = (delivery(&db, &slack), pager(&db, &duty));
    for n in 0..8 {
        fails(&alerts, 10 + n * CYCLE).await;
        deliver(&delivery).await;
        page(&pager).await;
        recovers(&alerts, 70 + n * CYCLE).await;
        deliver(&delivery).await;
        page(&pager).await;
    }
    let announced = |what: &str| {
        slack
            .all()
            .iter()
            .filter(|m| m.thread_ts.is_some() && m.text.contains(what))
            .count()
    };
    assert_eq!(announced("is flapping"), 1, "{}", slack.messages());
    assert_eq!(
        duty.account().pages.len(),
        3,
        "the third failing makes it flap"
    );
    let alert = alerts.by_number(1).await.expect("there");
    assert_ne!(alert.state, AlertState::Resolved, "it is held");

    let last = 10 + 7 * CYCLE + 60;
    let hour_later = at(last + 61 * 60);
    alerts.sweep(hour_later).await.expect("swept");
    deliver(&delivery).await;
    page(&pager).await;
    assert_eq!(announced("no longer flapping"), 1, "{}", slack.messages());
    assert!(duty.account().open.is_empty());
    assert_eq!(duty.account().pages.len(), 3);
    assert_eq!(
        slack
            .messages()
            .lines()
            .filter(|l| l.starts_with(CHANNEL))
            .count(),
        1
    );
}

#[tokio::test]
async fn what_is_critical_is_never_held_back() {
    let db = sqlite().await;
    let mut settings = alerts(&db.store).settings().clone();
    settings.severities = vec![SeverityRule {
        class: None,
        project: None,
        namespace: None,
        kind: None,
        severity: Severity::Critical,
    }];
    let alerts = Alerts::new(db.store.clone(), settings);
    let duty = FakePagerDuty::start().await;
    let pager = pager(&db, &duty);
    for n in 0..6 {
        fails(&alerts, 10 + n * CYCLE).await;
        page(&pager).await;
        assert!(!duty.account().open.is_empty(), "failing {n} woke somebody");
        recovers(&alerts, 70 + n * CYCLE).await;
        page(&pager).await;
        assert!(duty.account().open.is_empty(), "and is told as over");
    }
    assert_eq!(duty.account().pages.len(), 6);
}

/// Lets what waits for its next attempt be due now.
async fn hurry(db: &TestDatabase) {
    let pool = sqlx::SqlitePool::connect(&db.url)
        .await
        .expect("a database");
    sqlx::query("update effect set due_ms = 0 where done_ms is null")
        .execute(&pool)
        .await
        .expect("updated");
}

#[tokio::test]
async fn while_pagerduty_is_away_slack_says_once_that_nobody_is_woken_and_once_that_it_got_through()
{
    let db = sqlite().await;
    let (alerts, slack) = (alerts(&db.store), FakeSlack::start().await);
    let duty = FakePagerDuty::start().await;
    let (delivery, pager) = (delivery(&db, &slack), pager(&db, &duty));
    for _ in 0..7 {
        duty.fail(PagerFault::Status(503));
    }
    let failing = kubernetes("train", "u1", vec![crashed("Error", 5)]);
    ingest(&alerts, &[failing], 10).await;
    let said = |what: &str| slack.messages().matches(what).count();
    for attempt in 1..=7 {
        page(&pager).await;
        deliver(&delivery).await;
        assert_eq!(
            said("Could not page about train") > 0,
            attempt >= 4,
            "{attempt}: {}",
            slack.messages()
        );
        hurry(&db).await;
    }
    let posts = slack.calls("chat.postMessage");
    assert_eq!(posts, 2, "the alert, and one note: {}", slack.messages());
    page(&pager).await;
    deliver(&delivery).await;
    assert_eq!(duty.account().pages.len(), 1);
    assert!(
        said("PagerDuty takes pages again") > 0,
        "{}",
        slack.messages()
    );
    assert_eq!(slack.calls("chat.postMessage"), 3);
}

#[tokio::test]
async fn that_nobody_is_woken_is_told_where_only_a_webhook_or_only_the_console_is_set() {
    for destinations in [
        vec![Destination::Console, Destination::PagerDuty],
        vec![
            Destination::Console,
            Destination::SlackWebhook,
            Destination::PagerDuty,
        ],
    ] {
        let has_webhook = destinations.contains(&Destination::SlackWebhook);
        let db = sqlite().await;
        let alerts = Alerts::new(
            db.store.clone(),
            AlertSettings {
                destinations,
                ..AlertSettings::default()
            },
        );
        let (slack, duty) = (FakeSlack::start().await, FakePagerDuty::start().await);
        let delivery = delivery(&db, &slack);
        let pager = pager_of(&alerts, &db, &duty);
        // It refuses the key.
        duty.fail(PagerFault::Status(403));
        let failing = kubernetes("train", "u1", vec![crashed("Error", 5)]);
        let opened = ingest(&alerts, &[failing], 10).await;
        let views = Views::new(db.store.clone(), None);
        let shown = async || {
            let alert = alerts.get(&opened[0]).await.expect("there");
            let view = views.alert(alert).await.expect("a view");
            terminal::text(&card(&view))
        };
        let posts = || {
            let posts = slack.webhook_posts();
            posts.iter().map(ToString::to_string).collect::<String>()
        };
        deliver(&delivery).await;
        page(&pager).await;
        deliver(&delivery).await;
        assert!(
            shown().await.contains("Nobody is woken"),
            "{}",
            shown().await
        );
        assert_eq!(
            posts().matches("Could not page about train").count() > 0,
            has_webhook,
            "{}",
            posts()
        );

        hurry(&db).await;
        page(&pager).await;
        deliver(&delivery).await;
        assert_eq!(duty.account().pages.len(), 1);
        assert!(!shown().await.contains("Nobody is woken"));
        assert_eq!(posts().contains("PagerDuty takes pages again"), has_webhook);
        let expected = if has_webhook { 3 } else { 0 };
        assert_eq!(slack.webhook_posts().len(), expected, "{}", posts());
    }
}

#[tokio::test]
async fn a_page_goes_out_though_slack_is_away() {
    let db = sqlite().await;
    let (alerts, slack) = (alerts(&db.store), FakeSlack::start().await);
    let duty = FakePagerDuty::start().await;
    let (delivery, pager) = (delivery(&db, &slack), pager(&db, &duty));
    slack.set_down(true);
    let failing = kubernetes("train", "u1", vec![crashed("Error", 5)]);
    ingest(&alerts, &[failing], 10).await;
    deliver(&delivery).await;
    page(&pager).await;
    assert_eq!(duty.account().pages.len(), 1);
}

#[tokio::test]
async fn whoever_was_woken_for_one_of_a_group_is_not_woken_for_the_group() {
    for db in databases().await {
        let (alerts, duty) = (alerts(&db.store), FakePagerDuty::start().await);
        let pager = pager(&db, &duty);
        let on_node = |n: i64, failing: bool| {
            let mut crash = crashed("Error", 5);
            crash.node = Some("gpu-1".to_owned());
            let symptoms = if failing { vec![crash] } else { Vec::new() };
            kubernetes(&format!("job-{n}"), &format!("u{n}"), symptoms)
        };
        for n in 0..2 {
            ingest(&alerts, &[on_node(n, true)], 10 + n).await;
            page(&pager).await;
        }
        assert_eq!(
            duty.account().pages.len(),
            2,
            "nobody knows of a common cause"
        );
        for n in 2..6 {
            ingest(&alerts, &[on_node(n, true)], 10 + n).await;
            page(&pager).await;
        }
        assert_eq!(duty.account().pages.len(), 2, "{:?}", duty.account().pages);

        // It is over when all of them are, and not before.
        for n in 0..5 {
            ingest(&alerts, &[on_node(n, false)], 100).await;
        }
        settle(&alerts, 100).await;
        page(&pager).await;
        assert_eq!(duty.account().open.len(), 1, "{:?}", duty.account().events);
        ingest(&alerts, &[on_node(5, false)], 1_000).await;
        settle(&alerts, 1_000).await;
        page(&pager).await;
        assert!(
            duty.account().open.is_empty(),
            "{:?}",
            duty.account().events
        );
        assert_eq!(duty.account().pages.len(), 2);
    }
}

#[tokio::test]
async fn a_page_says_what_is_wrong_in_words_that_fit_it() {
    let db = sqlite().await;
    let (alerts, duty) = (alerts(&db.store), FakePagerDuty::start().await);
    let mut settings = alerts.settings().clone();
    settings.page_from = Severity::Low;
    let waits = symptom(FailureClass::Blocked, "Unschedulable", 5);
    ingest(&alerts, &[kubernetes("train", "u1", vec![waits])], 10).await;
    let client = PagerDuty::new(PagerSettings {
        events_url: duty.url.clone(),
        routing_key: SecretString::from(ROUTING_KEY),
        timeout: Duration::from_secs(2),
        page: None,
    })
    .expect("a client");
    let views = Views::new(db.store.clone(), None);
    page(&Pager::new(
        db.store.clone(),
        client,
        views,
        &settings,
        "test",
    ))
    .await;
    assert_eq!(
        duty.account().pages,
        ["train waits and cannot be scheduled: Unschedulable: Unschedulable was stated"]
    );
}
