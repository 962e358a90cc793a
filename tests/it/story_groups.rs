//! The message of many alerts: its buttons are for all of them, over sockets and over signed requests.

use nightbell::demo::script::JobSpec;

use crate::support::slack::Message;
use crate::support::world::{APPROVER, NAMESPACE, Setup, World, alone};

const JOBS: [&str; 4] = ["rack-a", "rack-b", "rack-c", "rack-d"];

/// A world in which a node with four jobs is lost, and the message that tells it.
async fn lost_rack(setup: Setup) -> (World, Message) {
    let world = World::start(setup).await;
    world.estate.add_node("gpu-17", "rack", 4);
    for job in JOBS {
        world.estate.add_job(JobSpec {
            pool: "rack".to_owned(),
            runai: false,
            ..alone(job)
        });
    }
    world
        .eventually("all of them run", |world| {
            let runs = |job: &&str| {
                world
                    .estate
                    .job(NAMESPACE, job)
                    .is_some_and(|job| job.pods.iter().any(|pod| pod.running))
            };
            JOBS.iter().all(runs).then_some(())
        })
        .await;
    world.estate.node_ready("gpu-17", false);
    let group = world
        .eventually("one message names the node and every job", |world| {
            world.channel().into_iter().find(|m| {
                m.text.contains("gpu-17") && JOBS.iter().all(|job| m.shown().contains(job))
            })
        })
        .await;
    (world, group)
}

impl World {
    /// Open alerts of the rack's jobs for which `is` holds.
    async fn of_rack(&self, is: impl Fn(&serde_json::Value) -> bool) -> usize {
        let alerts = self.alerts().await;
        let of_rack = |alert: &&serde_json::Value| {
            alert["job"].as_str().is_some_and(|job| JOBS.contains(&job)) && is(alert)
        };
        alerts.iter().filter(of_rack).count()
    }

    async fn rack_becomes(&self, what: &str, is: impl Fn(&serde_json::Value) -> bool) {
        let began = std::time::Instant::now();
        while self.of_rack(&is).await < JOBS.len() {
            assert!(
                began.elapsed() < std::time::Duration::from_mins(1),
                "not all of them {what}\n{}",
                self.report().await
            );
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

/// Presses the buttons of a group and sees what they do.
async fn acknowledged_and_silenced_together(setup: Setup) {
    let (world, group) = lost_rack(setup).await;
    assert!(
        world
            .slack
            .click_on(&group, "Acknowledge all", APPROVER)
            .await
    );
    world
        .rack_becomes("are acknowledged", |alert| {
            alert["state"] == "acknowledged" && alert["acknowledged_by"] == APPROVER
        })
        .await;
    let shown = world
        .eventually("the message says so", |world| {
            let mut messages = world.channel().into_iter();
            messages.find(|m| m.ts == group.ts && m.button("Acknowledge all").is_none())
        })
        .await;
    assert!(shown.shown().contains("acknowledged"), "{}", shown.shown());

    assert!(
        world
            .slack
            .click_on(&shown, "Silence all 4h", APPROVER)
            .await
    );
    world
        .rack_becomes("are silenced", |alert| alert["silenced_until"].is_string())
        .await;
    world
        .eventually("no silence is offered any more", |world| {
            let mut messages = world.channel().into_iter();
            messages.find(|m| m.ts == group.ts && m.button("Silence all").is_none())
        })
        .await;
    assert_eq!(world.channel().len(), 1, "{}", world.slack.messages());

    // An old picture of the message may be pressed: nothing is left to do, and that is said.
    assert!(
        world
            .slack
            .click_on(&group, "Acknowledge all", APPROVER)
            .await
    );
    world
        .eventually("the late press is explained", |world| {
            world
                .slack
                .messages()
                .contains("Nothing was left to do")
                .then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_acknowledged_and_silenced_by_its_buttons_over_sockets() {
    acknowledged_and_silenced_together(Setup::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_acknowledged_and_silenced_by_its_buttons_over_signed_requests() {
    acknowledged_and_silenced_together(Setup {
        http: true,
        ..Setup::default()
    })
    .await;
}
