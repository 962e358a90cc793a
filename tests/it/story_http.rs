//! Slack over signed HTTP: commands, mentions in threads, and buttons.

use crate::support::slack::{BOT_USER, FakeSlack};
use crate::support::world::{APPROVER, CHANNEL, Setup, World, lost_gpu};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_mentions_and_presses_work_over_signed_requests() {
    let world = World::start(Setup {
        http: true,
        ..Setup::default()
    })
    .await;
    assert!(world.slack.slash(CHANNEL, APPROVER, "status").await);
    world
        .eventually("the status is told", |world| {
            let told = world.slack.messages();
            (told.contains("kubernetes/demo") && told.contains("fresh")).then_some(())
        })
        .await;

    let job = world.submit(lost_gpu("tokenize"));
    let asking = world.message_with(&job, &["[Approve"]).await;

    // A question in the alert's thread needs no name, and neither does the next one.
    for (question, answer) in [
        ("why did it fail?", "lost access to its GPU"),
        ("show me the logs", "Failed to initialize NVML"),
    ] {
        let before = said_in(&world, &asking.ts).len();
        assert!(
            world
                .slack
                .say_in(CHANNEL, Some(&asking.ts), APPROVER, question)
                .await
        );
        world
            .eventually(question, |world| {
                said_in(world, &asking.ts)
                    .iter()
                    .skip(before)
                    .any(|said| said.contains(answer))
                    .then_some(())
            })
            .await;
    }

    assert!(world.slack.click("Approve", APPROVER).await);
    world.message_with(&job, &["Approved by", "verified"]).await;
    assert_eq!(world.runs(&job), 1);

    // Forged and replayed requests change nothing and are refused.
    let payload = world.slack.clicked("👎", APPROVER);
    let mut forged = FakeSlack::request("interactive", &payload);
    forged.signature =
        crate::support::slack::sign("another secret", &forged.timestamp, forged.body.as_bytes());
    assert_eq!(world.slack.send_signed(&forged).await, 401);
    assert_eq!(world.about(&job).len(), 1, "{}", world.slack.messages());
}

/// What the bot said in a thread.
fn said_in(world: &World, thread: &str) -> Vec<String> {
    let mut messages = world.slack.all();
    messages.retain(|m| m.thread_ts.as_deref() == Some(thread) && m.user == BOT_USER);
    messages
        .iter()
        .map(crate::support::slack::Message::shown)
        .collect()
}
