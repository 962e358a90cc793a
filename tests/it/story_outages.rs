//! Slack is down, in a hurry, or says it failed though it did not: every alert arrives, and arrives once.

use crate::support::slack::Fault;
use crate::support::world::{Setup, World, buggy};

const BUG: &str = "ValueError: could not convert string to float: 'n/a'";

impl World {
    /// Waits until the bot wrote or looked something up in Slack so many times.
    async fn slack_tried(&self, times: usize) {
        self.eventually("Slack is tried again and again", |world| {
            let calls = world.slack.payloads();
            let about_messages = |(method, _): &&(String, serde_json::Value)| {
                method.starts_with("chat.") || method.starts_with("conversations.")
            };
            (calls.iter().filter(about_messages).count() >= times).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_while_slack_is_down_is_told_once_when_it_is_back() {
    let mut world = World::start(Setup::default()).await;
    world.slack.set_down(true);
    let first = world.submit(buggy("clean-a", &[BUG]));
    world.slack_tried(2).await;
    let second = world.submit(buggy("clean-b", &[BUG]));
    world.slack_tried(5).await;
    world.bot.restart().await;
    assert!(world.channel().is_empty());

    world.slack.set_down(false);
    for job in [&first, &second] {
        world.message_with(job, &["ValueError"]).await;
        assert_eq!(world.about(job).len(), 1, "{}", world.slack.messages());
    }
    assert_eq!(world.channel().len(), 2, "{}", world.slack.messages());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_broken_gateways_and_false_failures_neither_lose_nor_repeat_a_message() {
    let world = World::start(Setup::default()).await;
    let faults = [
        Fault::RateLimited(2),
        Fault::BadGateway,
        Fault::FatalAfterEffect,
        Fault::RateLimitedQuietly,
        Fault::Error("internal_error"),
        Fault::FatalAfterEffect,
    ];
    for fault in faults {
        world.slack.fail("chat.postMessage", fault);
    }
    for fault in [
        Fault::RateLimited(1),
        Fault::BadGateway,
        Fault::FatalAfterEffect,
    ] {
        world.slack.fail("chat.update", fault);
    }
    let jobs: Vec<String> = ["clean-a", "clean-b", "clean-c", "clean-d"]
        .map(|name| world.submit(buggy(name, &[BUG])))
        .into();
    for job in &jobs {
        let told = world.message_with(job, &["ValueError"]).await;
        world
            .eventually("the thread holds the diagnosis", |world| {
                world.thread(&told).contains("ValueError").then_some(())
            })
            .await;
    }
    assert_eq!(
        world.channel().len(),
        jobs.len(),
        "{}",
        world.slack.messages()
    );
    for job in &jobs {
        assert_eq!(world.about(job).len(), 1, "{}", world.slack.messages());
        let thread = world.thread(&world.about(job)[0]);
        assert_eq!(
            thread.matches("(cause,").count(),
            1,
            "the report is there once: {thread}"
        );
    }
}
