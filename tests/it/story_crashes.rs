//! The bot is killed again and again, at any moment: nothing is lost, told twice or done twice.

use std::time::Duration;

use crate::support::world::{APPROVER, Setup, World, lost_gpu};

const KILLS: usize = 20;
const JOBS: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_lose_no_failing_job_tell_none_twice_and_repeat_no_action() {
    let setup = Setup::both()
        .with("COOLDOWN_SECONDS", "0")
        .with("MAX_ACTIONS_PER_HOUR", "1000");
    let mut world = World::start(setup).await;
    let mut dice = fastrand::Rng::with_seed(
        std::env::var("CRASH_SEED")
            .ok()
            .and_then(|s| s.parse().ok())
            .unwrap_or(20),
    );
    let mut jobs: Vec<String> = Vec::new();
    // One action is on its way when the first kill comes.
    let approved = world.submit(lost_gpu("victim-first"));
    let asking = world.message_with(&approved, &["[Approve"]).await;
    assert!(world.slack.click_on(&asking, "Approve", APPROVER).await);
    jobs.push(approved.clone());
    for round in 0..KILLS {
        if jobs.len() < JOBS && (round % 2 == 0) {
            jobs.push(world.submit(lost_gpu(&format!("victim-{round:02}"))));
        }
        // In some rounds much gets done, others end before the bot is up.
        if dice.u8(0..3) > 0 {
            world.bot.ready().await;
        }
        for _ in 0..dice.usize(0..10) {
            tokio::time::sleep(Duration::from_millis(dice.u64(20..300))).await;
            let mut asking = world.channel();
            asking.retain(|message| message.button("Approve").is_some());
            if let Some(asking) = dice.choice(asking) {
                // A press while nobody listens is lost, as in Slack.
                world.slack.click_on(&asking, "Approve", APPROVER).await;
            }
        }
        world.bot.kill();
        world.bot.launch();
    }
    world.bot.ready().await;

    for job in &jobs {
        // The diagnosis is there, whether the job still fails or has recovered by then.
        world.message_with(job, &["access to its GPU"]).await;
    }
    for job in &jobs {
        let told = world.about(job).len();
        assert_eq!(told, 1, "{job}:\n{}", world.report().await);
    }
    assert_eq!(world.channel().len(), JOBS, "{}", world.slack.messages());
    assert_eq!(world.alerts().await.len(), JOBS);

    // Whatever became of an action, its Job was made anew once at most.
    let actions = world.actions().await;
    assert!(!actions.is_empty(), "somebody approved something");
    for job in &jobs {
        let of_job =
            |action: &&serde_json::Value| action["spec"].to_string().contains(job.as_str());
        let permitted = actions.iter().filter(of_job).count();
        let done = usize::try_from(world.runs(job)).expect("a few");
        assert!(
            done <= permitted,
            "{job} was made anew {done} times, permitted {permitted}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_while_the_bot_is_down_is_told_when_it_is_back() {
    let mut world = World::start(Setup::default()).await;
    let first = world.submit(lost_gpu("before"));
    let told = world.message_with(&first, &["[Approve"]).await;
    world.bot.kill();
    let second = world.submit(lost_gpu("meanwhile"));
    world
        .eventually("it failed", |world| {
            let job = world.estate.job("runai-nlp", &second)?;
            (job.phase == nightbell::estate::Phase::Failed).then_some(())
        })
        .await;
    world.bot.launch();
    world.bot.ready().await;
    world.message_with(&second, &["[Approve"]).await;
    assert_eq!(world.channel().len(), 2, "{}", world.slack.messages());

    // A button from before the crash still works.
    assert!(world.slack.click_on(&told, "Approve", APPROVER).await);
    world
        .message_with(&first, &["Approved by", "verified"])
        .await;
    assert_eq!((world.runs(&first), world.runs(&second)), (1, 0));
}
