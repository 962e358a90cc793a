//! Only Kubernetes and Slack: a Job fails, is diagnosed, and a person lets it be repaired.

use crate::support::world::{APPROVER, STRANGER, Setup, World, lost_gpu};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_lost_its_gpu_is_told_once_diagnosed_and_after_an_approval_run_anew() {
    let world = World::start(Setup::default()).await;
    let job = world.submit(lost_gpu("tokenize"));

    let asked = world
        .message_with(&job, &["lost access to its GPU", "[Approve", "[Deny"])
        .await;
    assert!(asked.edits > 0, "the diagnosis came as an edit");

    // Who may not approve is told so, and nothing happens.
    assert!(world.slack.click("Approve", STRANGER).await);
    world
        .eventually("the stranger is refused", |world| {
            (!world.whispers().is_empty()).then_some(())
        })
        .await;
    assert!(world.whispers().contains("not"), "{}", world.whispers());
    assert_eq!(world.runs(&job), 0);

    assert!(world.slack.click("Approve", APPROVER).await);
    assert!(world.slack.click_on(&asked, "Approve", APPROVER).await);
    let done = world
        .message_with(&job, &["Approved by", APPROVER, "verified"])
        .await;
    assert_eq!(done.ts, asked.ts, "the same message tells it all");
    assert!(
        done.button("Approve").is_none() && done.button("Deny").is_none(),
        "{}",
        done.shown()
    );
    assert_eq!(world.runs(&job), 1, "carried out once");
    let thread = world.thread(&done);
    assert!(
        thread.contains("lost access to its GPU") && thread.contains("NVML"),
        "{thread}"
    );
    world
        .eventually("the second press is explained", |world| {
            world.whispers().contains("already").then_some(())
        })
        .await;

    let over = world.message_with(&job, &["Resolved"]).await;
    assert_eq!(over.ts, asked.ts);
    assert_eq!(world.about(&job).len(), 1, "{}", world.slack.messages());
    assert_eq!(world.channel().len(), 1, "{}", world.slack.messages());
    assert_eq!(world.actions().await.len(), 1);
}
