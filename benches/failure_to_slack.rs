//! How long it takes from a failure in Kubernetes to its message in Slack, and from the start of the program to ready.
//!
//! `cargo bench --bench failure_to_slack [-- FAILURES [SECONDS_BETWEEN]]`. The program runs as a process of its own, on
//! SQLite, between the stateful stand-ins that the scenes use; all is loopback. Printed are
//! - the time from a watch event leaving the API server, which says that a pod ended in an error, to `chat.postMessage`
//!   arriving at Slack, for many failures of jobs that have nothing in common;
//! - the time from `exec` to `/health/ready`, with a new database and with one that is there.
//!
//! Slack takes about one message a second in a channel, and the program keeps to it. A failure is told by a message, an
//! edit with the diagnosis and a report in the thread, so failures that come faster than one in three seconds wait for
//! the channel and not for the program: the default is one in three and a half, irregularly. A storm (more than
//! `alerts.messages_per_minute` failures) is told by one rolling message and is not measured here.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints what it measured, and uses a part of what the scenes share"
)]

#[path = "../tests/support/bot.rs"]
mod bot;
#[path = "../tests/support/kube_api.rs"]
mod kube_api;
#[path = "../tests/support/slack/mod.rs"]
mod slack;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use bot::{Bot, eventually};
use kube_api::{KubeApi, PODS};
use slack::{BOT_TOKEN, FakeSlack};

const FAILURES: usize = 100;
const BETWEEN: Duration = Duration::from_millis(3_500);
const STARTS: usize = 10;
const CHANNEL: &str = "C0ALERTS";
const NAMESPACE: &str = "runai-nlp";
/// Jobs that do well, for each that fails: a failure is not half of the estate.
const HEALTHY: usize = 4;
const SETTINGS: &str = "alerts:\n  messages_per_minute: 30\n";

#[tokio::main]
async fn main() {
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse::<f64>().ok());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small count that a person typed"
    )]
    let failures = numbers
        .next()
        .map_or(FAILURES, |count| (count as usize).max(1));
    let between = numbers
        .next()
        .map_or(BETWEEN, |seconds| Duration::from_secs_f64(seconds.max(0.0)));
    starts().await;
    told(failures, between).await;
}

/// From `exec` to `/health/ready`.
async fn starts() {
    let (mut new, mut again) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let mut bot = Bot::prepare(&[]);
        new.push(start(&mut bot).await);
        bot.kill();
        again.push(start(&mut bot).await);
    }
    println!("start to ready, {STARTS} times each:");
    print_times("  with a new database  ", new);
    print_times("  with one that exists ", again);
}

async fn start(bot: &mut Bot) -> Duration {
    let http = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let ready = bot.url("/health/ready");
    let began = Instant::now();
    bot.launch();
    loop {
        if let Ok(answer) = http.get(&ready).send().await
            && answer.status().is_success()
        {
            return began.elapsed();
        }
        assert!(began.elapsed() < bot::PATIENCE, "not ready: {}", bot.log());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// From a watch event to `chat.postMessage`.
async fn told(failures: usize, between: Duration) {
    let (api, slack) = (KubeApi::start().await, FakeSlack::start().await);
    for number in 0..failures * (HEALTHY + 1) {
        api.put_silently(PODS, pod(&job(number), None));
    }
    let slack_url = slack.api_url();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, kubeconfig_of(api.url())).expect("the folder is ours");
    let mut bot = Bot::prepare(&[
        ("KUBE_ENABLED", "true"),
        ("KUBECONFIG", &kubeconfig.display().to_string()),
        ("SLACK_BOT_TOKEN", BOT_TOKEN),
        ("SLACK_API_URL", slack_url.as_str()),
        ("SLACK_CHANNEL", CHANNEL),
    ]);
    bot.configure(SETTINGS);
    bot.launch();
    bot.ready().await;
    eventually("the pods are watched", async || {
        let watches = api.requests(PODS);
        watches.iter().any(|w| w.contains("watch")).then_some(())
    })
    .await;

    println!(
        "{failures} failures, one in {between:.1?} on average, from the watch event to chat.postMessage:"
    );
    let mut sent = Vec::with_capacity(failures);
    for number in 0..failures {
        let name = job(number);
        let failed = pod(&name, Some(Timestamp::now()));
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{name}");
        api.answer(&path, failed.clone());
        api.answer_text(
            &format!("{path}/log"),
            "step 1200 loss 2.31\nValueError: bad batch\n",
        );
        sent.push((name, Instant::now()));
        api.put(PODS, failed);
        tokio::time::sleep(between.mul_f64(0.5 + fastrand::f64())).await;
    }
    let mut times = Vec::new();
    for (name, at) in sent {
        let posted = eventually(&format!("{name} is told"), async || {
            let all = slack.all();
            all.iter()
                .find(|m| m.thread_ts.is_none() && m.text.contains(&name))
                .map(|m| m.arrived)
        })
        .await;
        times.push(posted.duration_since(at));
    }
    print_times("  ", times);
}

/// A name that is part of no other's.
fn job(number: usize) -> String {
    format!("train-{number:06}")
}

/// A training pod of a job of its own, on a node and with an image that no other has.
fn pod(name: &str, failed: Option<Timestamp>) -> Value {
    let state = match failed {
        Some(at) => json!({"terminated": {
            "exitCode": 1, "reason": "Error", "startedAt": "2026-01-01T00:00:00Z", "finishedAt": at.to_string(),
        }}),
        None => json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}),
    };
    let image = format!("registry.example.com/train/{name}:1");
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {
            "name": name, "namespace": NAMESPACE, "uid": format!("uid-{name}"),
            "creationTimestamp": "2026-01-01T00:00:00Z", "resourceVersion": "1",
        },
        "spec": {
            "nodeName": format!("node-{name}"), "restartPolicy": "Never",
            "containers": [{"name": "main", "image": image, "resources": {"limits": {"nvidia.com/gpu": "1"}}}],
        },
        "status": {
            "phase": if failed.is_some() { "Failed" } else { "Running" },
            "startTime": "2026-01-01T00:00:00Z",
            "containerStatuses": [{
                "name": "main", "image": image, "imageID": "", "ready": failed.is_none(), "restartCount": 0,
                "state": state,
            }],
        },
    })
}

fn kubeconfig_of(url: &str) -> String {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": {"server": url}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "nobody"}}],
    });
    config.to_string()
}

fn print_times(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at =
        |hundredths: usize| times[(times.len() - 1) * hundredths / 100].as_secs_f64() * 1_000.0;
    println!(
        "{what}p50 {:.0} ms, p95 {:.0} ms, p99 {:.0} ms, max {:.0} ms",
        at(50),
        at(95),
        at(99),
        at(100)
    );
}
