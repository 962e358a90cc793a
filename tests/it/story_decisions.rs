//! What people press: deny with a reason, press too late, acknowledge, silence, thumbs up.

use crate::support::world::{APPROVER, Setup, World, lost_gpu};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_asks_for_a_reason_says_who_and_why_and_nothing_is_done() {
    let world = World::start(Setup::default()).await;
    let job = world.submit(lost_gpu("tokenize"));
    world.message_with(&job, &["[Deny"]).await;
    assert!(world.slack.click("Deny", APPROVER).await);
    world
        .eventually("a dialog asks for the reason", |world| {
            world.slack.last_view()
        })
        .await;
    assert!(
        world
            .slack
            .submit("waiting for the driver update", APPROVER)
            .await
    );
    let denied = world
        .message_with(
            &job,
            &["Denied by", APPROVER, "waiting for the driver update"],
        )
        .await;
    assert!(
        denied.button("Approve").is_none() && denied.button("Deny").is_none(),
        "{}",
        denied.shown()
    );
    assert_eq!(world.runs(&job), 0);
    assert!(world.actions().await.is_empty());

    // What was denied is not proposed again when somebody looks once more.
    let reports = world.thread(&denied).matches("cause,").count();
    assert!(world.slack.click("Troubleshoot again", APPROVER).await);
    world
        .eventually("it was looked into again", |world| {
            let answers = world.thread(&denied).matches("cause,").count()
                + world.whispers().matches("cause,").count();
            (answers > reports).then_some(())
        })
        .await;
    assert!(
        world.about(&job)[0].button("Approve").is_none(),
        "{}",
        world.slack.messages()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledging_silencing_and_thumbs_are_shown_on_the_message() {
    let world = World::start(Setup::default()).await;
    let job = world.submit(lost_gpu("tokenize"));
    world
        .message_with(&job, &["[Approve", "[Acknowledge]"])
        .await;
    assert!(world.slack.click("Acknowledge", APPROVER).await);
    let seen = world
        .message_with(&job, &["acknowledged by", APPROVER])
        .await;
    assert!(seen.button("Acknowledge").is_none(), "{}", seen.shown());
    assert!(world.slack.click("Silence 1h", APPROVER).await);
    let silent = world.message_with(&job, &["silenced until"]).await;
    assert!(silent.button("Silence 1h").is_none(), "{}", silent.shown());
    assert!(world.slack.click("👍", APPROVER).await);
    assert!(world.slack.click("Show logs", APPROVER).await);
    world
        .eventually("the logs are shown", |world| {
            world
                .slack
                .messages()
                .contains("Failed to initialize NVML")
                .then_some(())
        })
        .await;
    let number = world.alerts().await[0]["number"].clone();
    let mut timeline = String::new();
    for _ in 0..100 {
        timeline = world.bot.get(&format!("/api/v1/alerts/{number}")).await["timeline"].to_string();
        if timeline.contains("rated") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(timeline.contains("rated"), "the thumb is kept: {timeline}");
    assert_eq!(world.runs(&job), 0, "nothing was approved");
    assert_eq!(world.channel().len(), 1, "{}", world.slack.messages());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_press_on_an_alert_that_ended_by_itself_is_explained_and_does_nothing() {
    let world = World::start(Setup::default()).await;
    let job = world.submit(lost_gpu("tokenize"));
    let asking = world.message_with(&job, &["[Approve"]).await;
    world.estate.delete("runai-nlp", &job);
    world.message_with(&job, &["Resolved"]).await;
    assert!(world.slack.click_on(&asking, "Approve", APPROVER).await);
    world
        .eventually("the late press is explained", |world| {
            let told = world.whispers();
            (told.contains("withdrawn") || told.contains("no longer")).then_some(())
        })
        .await;
    assert!(world.actions().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_nobody_answers_expires_and_a_late_press_is_explained() {
    const SETTINGS: &str = "
approvals:
  expire_after_seconds: 60
thresholds:
  restarting_seconds: 1
";
    let world = World::start(Setup {
        settings: SETTINGS,
        ..Setup::default()
    })
    .await;
    let job = world.submit(lost_gpu("tokenize"));
    let asking = world.message_with(&job, &["[Approve", "Expires"]).await;
    let expired = world.message_with(&job, &["Nobody decided in time"]).await;
    assert!(expired.button("Approve").is_none(), "{}", expired.shown());
    assert!(world.slack.click_on(&asking, "Approve", APPROVER).await);
    world
        .eventually("the late press is explained", |world| {
            world.whispers().contains("expired").then_some(())
        })
        .await;
    assert_eq!(world.runs(&job), 0);
    assert!(world.actions().await.is_empty());
}
