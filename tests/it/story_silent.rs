//! Jobs that run and say nothing: a hang is told and its end too; what saves, waits for people or never spoke is left
//! alone.

use std::time::Duration;

use nightbell::demo::script::{Act, JobSpec, ProgressLine, Script};

use crate::support::world::{PROJECT, Setup, World, alone};

/// The simulated trainers log every ten seconds; nobody is silent before that.
const SETTINGS: &str = "
alerts:
  resolve_after_seconds: 2
  messages_per_minute: 30
thresholds:
  hang_seconds: 12
  silence_seconds: 14
  idle_gpu_seconds: 3600
progress:
  interval_seconds: 1
";

fn steps(from: u32, to: u32, start: f64) -> Vec<(f64, Option<u32>, Act)> {
    (from..to)
        .map(|step| {
            let line = format!("step {step}/5000 loss 2.{step} tok/s 512");
            (
                start + 0.4 * f64::from(step - from),
                None,
                Act::Log(vec![line]),
            )
        })
        .collect()
}

fn logging(name: &str, steps: Vec<(f64, Option<u32>, Act)>) -> JobSpec {
    JobSpec {
        runai: false,
        script: Script::steps(steps),
        ..alone(name)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_is_told_and_resolved_by_progress_and_nobody_else_is_blamed() {
    let world = World::start(Setup {
        settings: SETTINGS,
        ..Setup::default()
    })
    .await;
    let mut script = steps(100, 106, 0.2);
    // It finds its way again, as after a storage stall.
    let going_on = Act::Progress {
        every: Duration::from_secs(1),
        line: ProgressLine::Training,
    };
    script.push((45.0, None, going_on));
    let hung = world.submit(logging("stuck", script));
    let mut saving = steps(1, 5, 0.2);
    let save = "saving checkpoint at iteration 5 to /ckpt in torch_dist format".to_owned();
    saving.push((2.2, None, Act::Log(vec![save])));
    saving.extend(steps(5, 200, 24.0));
    let saving = world.submit(logging("saving", saving));
    let note = Act::Log(vec!["step 1 loss 3".to_owned(), "step 2 loss 2".to_owned()]);
    let notebook = world.submit(JobSpec {
        runai: false,
        script: Script::steps([(0.2, None, note)]),
        ..JobSpec::workspace(PROJECT, "notes")
    });
    let mute = world.submit(logging("mute", Vec::new()));

    world.message_with(&hung, &["Hangs without an error"]).await;
    let (code, out, errors) = world.bot.command(&["troubleshoot", &hung, "--json"]);
    assert_eq!(code, 0, "{errors}");
    let diagnosis: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(diagnosis["findings"][0]["cause"], "hang", "{out}");
    assert_eq!(diagnosis["state"], "failing", "{out}");
    let line = diagnosis["findings"][0]["evidence"][0]["line"].to_string();
    assert!(line.contains("it stopped at step 105 of 5000"), "{line}");

    world.message_with(&hung, &["Resolved"]).await;
    for quiet in [&saving, &notebook, &mute] {
        assert!(
            world.about(quiet).is_empty(),
            "{quiet}:\n{}",
            world.slack.messages()
        );
    }
    assert_eq!(world.about(&hung).len(), 1, "{}", world.slack.messages());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_that_starts_after_the_last_line_knows_since_when_a_job_hangs() {
    let mut world = World::start(Setup {
        settings: SETTINGS,
        ..Setup::default()
    })
    .await;
    let hung = world.submit(logging("stuck", steps(100, 106, 0.2)));
    world.bot.kill();
    tokio::time::sleep(Duration::from_secs(15)).await;
    let again = std::time::Instant::now();
    world.bot.launch();
    world.bot.ready().await;
    world.message_with(&hung, &["Hangs without an error"]).await;
    assert!(
        again.elapsed() < Duration::from_secs(12),
        "it must not wait for another window"
    );
}
