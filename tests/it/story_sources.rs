//! One failing job is one message: whichever source tells of it, however often, and through both at once.

use nightbell::demo::script::{Act, Exit, JobSpec, Script};

use crate::support::world::{PROJECT, Setup, World, alone};

/// A training in Run:AI that fails for a bug.
fn failing(name: &str) -> JobSpec {
    JobSpec {
        script: failure(),
        ..alone(name)
    }
}

/// Four pods that fail together.
fn failing_gang(name: &str) -> JobSpec {
    JobSpec {
        script: failure(),
        gpus: 1,
        ..JobSpec::distributed(PROJECT, name, 4)
    }
}

fn failure() -> Script {
    let lines = [
        "Traceback (most recent call last):",
        "  File \"train.py\", line 3, in <module>",
        "KeyError: 'labels'",
    ];
    let lines = lines.map(str::to_owned).to_vec();
    Script::steps([
        (0.2, None, Act::Log(lines)),
        (0.4, None, Act::Exit(Exit::error(1))),
    ])
}

impl World {
    /// Lets Run:AI be asked so many times more.
    async fn polled_again(&self, times: u64) {
        let asked = self.estate.runai_faults().requests();
        let often_enough =
            |world: &World| (world.estate.runai_faults().requests() > asked + times).then_some(());
        self.eventually("Run:AI is polled again and again", often_enough)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_run_ai_alone_a_failing_workload_is_told_once_over_many_polls() {
    let world = World::start(Setup {
        kubernetes: false,
        runai: true,
        ..Setup::default()
    })
    .await;
    let (train, gang) = (
        world.submit(failing("sort-tokens")),
        world.submit(failing_gang("pretrain-s")),
    );
    for job in [&train, &gang] {
        world.message_with(job, &[PROJECT, "Failed"]).await;
    }
    world.polled_again(10).await;
    assert_eq!(world.channel().len(), 2, "{}", world.slack.messages());
    assert_eq!(world.alerts().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_both_sources_show_is_one_message_over_polls_lists_and_broken_watches() {
    let world = World::start(Setup::both()).await;
    let (train, gang) = (
        world.submit(failing("sort-tokens")),
        world.submit(failing_gang("pretrain-s")),
    );
    for job in [&train, &gang] {
        world
            .message_with(job, &[PROJECT, "KeyError: 'labels'"])
            .await;
    }
    world.polled_again(6).await;
    world.estate.drop_watches();
    world.polled_again(6).await;
    world.estate.expire_history();
    world.polled_again(12).await;
    assert_eq!(world.channel().len(), 2, "{}", world.slack.messages());
    let alerts = world.alerts().await;
    assert_eq!(alerts.len(), 2, "{alerts:#?}");
    let id = world.about(&gang)[0].shown();
    let workload = world
        .estate
        .job("runai-nlp", &gang)
        .expect("the gang")
        .workload_id;
    assert!(id.contains(&workload), "both views are in one alert: {id}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_expected_is_not_told() {
    let world = World::start(Setup::both()).await;
    let done = Script::steps([(0.4, None, Act::Exit(Exit::completed()))]);
    world.submit(JobSpec {
        script: done.clone(),
        cured: done,
        ..alone("short-eval")
    });
    for job in ["gives-way", "stopped"] {
        world.submit(alone(job));
    }
    let running = |name: &'static str| {
        move |world: &World| {
            let job = world.estate.job("runai-nlp", name)?;
            job.pods.iter().any(|pod| pod.running).then_some(())
        }
    };
    world.eventually("one runs", running("gives-way")).await;
    world.eventually("the other runs", running("stopped")).await;
    world.estate.preempt(
        "runai-nlp",
        "gives-way",
        "urgent-hotfix",
        std::time::Duration::from_secs(2),
    );
    world.estate.suspend("runai-nlp", "stopped");
    world.polled_again(8).await;
    world
        .eventually("the preempted one runs again", running("gives-way"))
        .await;
    world.polled_again(8).await;

    // What is not expected still is.
    let bad = world.submit(failing("sort-tokens"));
    world.message_with(&bad, &["KeyError"]).await;
    assert_eq!(world.channel().len(), 1, "{}", world.slack.messages());
    let alerts = world.alerts().await;
    assert_eq!(alerts.len(), 1, "{alerts:#?}");
}
