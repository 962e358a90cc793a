//! A job that waits is explained with numbers, in the same words wherever somebody asks.

use nightbell::demo::script::JobSpec;

use crate::support::world::{PROJECT, Setup, World, alone};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_is_told_with_what_is_asked_free_and_held() {
    let world = World::start(Setup::default()).await;
    let big = JobSpec {
        gpus: 3,
        pool: "healthy".to_owned(),
        runai: false,
        ..alone("big-run")
    };
    assert_eq!(big.project, PROJECT);
    world.estate.add_job(big);
    world
        .message_with("big-run", &["Waits for resources"])
        .await;

    let asks = "Each waiting pod asks for 3 GPUs on one node; the only node cannot take it";
    let free = "0 of 12 GPUs are free, at most 0 on one node; most are held by fine-";
    let (code, out, errors) = world
        .bot
        .command(&["ask", "why is big-run pending?", "--json"]);
    assert_eq!(code, 0, "{errors}");
    let answer: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let reply = answer["reply"].as_str().unwrap_or_default();
    assert!(reply.contains(asks) && reply.contains(free), "{reply}");
    assert_eq!(answer["intent"], "why_pending");

    let (_, out, errors) = world.bot.command(&["troubleshoot", "big-run", "--json"]);
    let diagnosis: serde_json::Value = serde_json::from_str(&out).expect(&errors);
    let top = &diagnosis["findings"][0];
    assert_eq!(top["cause"], "insufficient_gpus", "{out}");
    let explanation = top["explanation"].as_str().unwrap_or_default();
    assert!(
        explanation.contains(asks) && explanation.contains(free),
        "{explanation}"
    );
    let help = top["recommendation"].as_str().unwrap_or_default();
    assert!(
        help.starts_with("It starts when 3 GPUs more come free on one node"),
        "{help}"
    );
}
