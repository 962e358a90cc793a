//! PagerDuty follows the alert: triggered once, acknowledged with it, resolved with it, under one key.

use nightbell::demo::script::{Act, Cure, Exit, JobSpec, Script};

use crate::support::pagerduty::{FakePagerDuty, Fault, ROUTING_KEY};
use crate::support::world::{APPROVER, PROJECT, Setup, World, lost_gpu};

/// A served model whose containers crash at each start until its pods are new.
fn served(name: &str) -> JobSpec {
    JobSpec {
        script: Script::steps([
            (
                0.2,
                None,
                Act::Log(vec![
                    "RuntimeError: Failed to initialize NVML: Unknown Error".to_owned(),
                ]),
            ),
            (0.4, None, Act::Exit(Exit::error(1))),
        ]),
        cure: Cure::NewPod,
        runai: false,
        ..JobSpec::inference(PROJECT, name, 2)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_sent_once_acknowledged_and_resolved_with_its_alert() {
    let pagerduty = FakePagerDuty::start().await;
    // The first trigger takes effect though PagerDuty says that it failed, so it is sent again.
    pagerduty.fail(Fault::StatusAfterEffect(503));
    let setup = Setup::default()
        .with("PAGERDUTY_ROUTING_KEY", ROUTING_KEY)
        .with("PAGERDUTY_EVENTS_URL", pagerduty.url.as_str())
        .with("REQUIRE_APPROVAL", "true");
    let mut world = World::start(setup).await;
    let batch = world.submit(lost_gpu("batch-eval"));
    world.message_with(&batch, &["[Approve"]).await;
    assert!(
        pagerduty.account().pages.is_empty(),
        "a medium alert wakes nobody"
    );

    let model = world.submit(served("chat-api"));
    world.message_with(&model, &["High", "[Approve"]).await;
    world
        .eventually("somebody is woken", |_| {
            (!pagerduty.account().pages.is_empty()).then_some(())
        })
        .await;
    let message = world.about(&model)[0].clone();
    assert!(
        world
            .slack
            .click_on(&message, "Acknowledge", APPROVER)
            .await
    );
    world
        .eventually("it is acknowledged there too", |_| {
            let account = pagerduty.account();
            account
                .open
                .values()
                .any(|state| *state == "acknowledged")
                .then_some(())
        })
        .await;

    let message = world.about(&model)[0].clone();
    assert!(world.slack.click_on(&message, "Approve", APPROVER).await);
    world.message_with(&model, &["Resolved"]).await;
    world
        .eventually("it is resolved there too", |_| {
            pagerduty.account().open.is_empty().then_some(())
        })
        .await;

    // Nothing that is sent again after that wakes anybody.
    world.bot.restart().await;
    let last = world.submit(lost_gpu("batch-eval-2"));
    world.message_with(&last, &["[Approve"]).await;
    let account = pagerduty.account();
    assert_eq!(account.pages.len(), 1, "{:?}", account.pages);
    assert!(
        account.open.is_empty() && account.refused.is_empty(),
        "{:?} {:?}",
        account.events,
        account.refused
    );
    let keys: std::collections::HashSet<&String> =
        account.events.iter().map(|(_, key)| key).collect();
    assert_eq!(keys.len(), 1, "{:?}", account.events);
    drop(account);
    assert_eq!(world.about(&model).len(), 1, "{}", world.slack.messages());
}
