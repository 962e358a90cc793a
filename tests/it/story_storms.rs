//! Much fails at once: a few messages tell it all.

use std::time::Duration;

use nightbell::demo::script::{Exit, JobSpec};
use serde_json::Value;

use crate::support::world::{Setup, World, alone};

const SETTINGS: &str = "
alerts:
  resolve_after_seconds: 3
thresholds:
  node_seconds: 2
  settle_seconds: 1
  restarting_seconds: 1
";

fn in_life() -> Setup {
    Setup {
        settings: SETTINGS,
        ..Setup::default()
    }
}

/// How many alerts of `prefix…` the bot has, by name of the job.
fn named(alerts: &[Value], prefix: &str) -> Vec<String> {
    let mut names: Vec<String> = alerts
        .iter()
        .filter_map(|alert| alert["job"].as_str())
        .filter(|job| job.starts_with(prefix))
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    names
}

impl World {
    async fn alerts_of(&self, prefix: &str, count: usize) {
        let began = std::time::Instant::now();
        loop {
            let alerts = self.alerts().await;
            if named(&alerts, prefix).len() >= count {
                return;
            }
            assert!(
                began.elapsed() < Duration::from_mins(1),
                "only {:?}",
                named(&alerts, prefix)
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_pods_of_forty_jobs_make_a_few_messages_and_lose_no_job() {
    let mut world = World::prepare(in_life()).await;
    world.estate.populate(40, 50);
    world.bot.launch();
    world.bot.ready().await;
    let jobs: Vec<String> = (0..60)
        .map(|n| format!("load-{n:05}"))
        .filter(|name| world.estate.job("runai-demo-load", name).is_some())
        .collect();
    assert_eq!(jobs.len(), 40);
    for job in &jobs {
        world.estate.fail_job(
            "runai-demo-load",
            job,
            &Exit::error(1),
            &["RuntimeError: NCCL communicator was aborted"],
        );
    }
    world.alerts_of("load-", 40).await;

    // Each job is told in a message of its own or counted by the one that tells of many.
    let told = |world: &World| {
        let messages = world.channel();
        let single = jobs
            .iter()
            .filter(|job| messages.iter().any(|m| m.text.contains(job.as_str())))
            .count();
        let grouped: usize = messages.iter().filter_map(|m| grouped(&m.text)).sum();
        (single + grouped >= jobs.len()).then_some(())
    };
    world.eventually("all forty are told", told).await;
    world
        .eventually("the group's message or thread names every job", |world| {
            let everything = world.slack.messages();
            jobs.iter()
                .all(|job| everything.contains(job.as_str()))
                .then_some(())
        })
        .await;
    assert!(world.channel().len() <= 6, "{}", world.slack.messages());
}

/// How many alerts the title of a group's message speaks of.
fn grouped(title: &str) -> Option<usize> {
    let (before, _) = title.split_once(" alerts, ")?;
    before.rsplit(' ').next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twelve_jobs_on_a_lost_node_are_one_message() {
    let mut world = World::prepare(in_life()).await;
    world.estate.add_node("gpu-17", "rack", 12);
    let jobs: Vec<String> = (1..=12).map(|n| format!("on-node-{n:02}")).collect();
    for job in &jobs {
        world.estate.add_job(JobSpec {
            pool: "rack".to_owned(),
            runai: false,
            ..alone(job)
        });
    }
    world.bot.launch();
    world.bot.ready().await;
    world
        .eventually("all of them run", |world| {
            let runs = |job: &String| {
                world
                    .estate
                    .job("runai-nlp", job)
                    .is_some_and(|job| job.pods.iter().any(|pod| pod.running))
            };
            jobs.iter().all(runs).then_some(())
        })
        .await;
    world.estate.node_ready("gpu-17", false);

    let group = world
        .eventually("one message names the node and every job", |world| {
            let messages = world.channel();
            messages.into_iter().find(|m| {
                m.text.contains("gpu-17") && jobs.iter().all(|job| m.shown().contains(job.as_str()))
            })
        })
        .await;
    assert_eq!(world.channel().len(), 1, "{}", world.slack.messages());
    assert!(
        group.shown().contains("NodeNotReady") || group.shown().contains("node is lost"),
        "{}",
        group.shown()
    );
    world.alerts_of("on-node-", 12).await;

    // The node comes back, and with it the jobs.
    world.estate.node_ready("gpu-17", true);
    world
        .eventually("the message says that it is over", |world| {
            let messages = world.channel();
            messages
                .into_iter()
                .find(|m| m.ts == group.ts && m.text.contains("Resolved"))
        })
        .await;
    assert_eq!(world.channel().len(), 1, "{}", world.slack.messages());
}
