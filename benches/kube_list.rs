//! What it costs to list a cluster's pods: CPU seconds and memory of the watching side, from 100 to 100,000 pods, and
//! what the steady state costs per change.
//!
//! `cargo bench --bench kube_list`. The server is a process of its own (this program again), so that neither its CPU
//! nor its memory is counted; each size is measured in a fresh process. Pods are those of a recorded cluster, each
//! grown to the 7 KB that pods of training jobs have, with names of their own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use nightbell::watch::Observation;
use nightbell::watch::kubernetes::client::ClusterClient;
use nightbell::watch::kubernetes::watcher::{self, Settings};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

const RECORDED: &str = include_str!("../tests/fixtures/kubernetes/runai-nlp.pods.json");
const SIZES: [usize; 4] = [100, 1_000, 10_000, 100_000];
const POD_BYTES: usize = 7_000;
/// Changes told after the list, to see what one of them costs.
const CHANGES: usize = 10_000;
/// As the pipeline's own queue.
const QUEUE: usize = 1024;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("serve") => serve(arguments[2].parse().expect("a number of pods")),
        Some("watch") => measure(
            arguments[2].parse().expect("an address"),
            arguments[3].parse().expect("a number of pods"),
            arguments[4] == "keep",
        ),
        Some(_) | None => table(),
    }
}

fn table() {
    row(
        "pods",
        "kept",
        "MB sent",
        "CPU s",
        "wall s",
        "peak MB",
        "CPU µs/change",
    );
    for (size, keep) in SIZES
        .map(|size| (size, "drop"))
        .into_iter()
        .chain([(100_000, "keep")])
    {
        let mut server = child(&["serve", &size.to_string()]);
        let mut lines = BufReader::new(server.stdout.take().expect("a pipe")).lines();
        let address = lines.next().expect("an address").expect("text");
        let watch = child(&["watch", &address, &size.to_string(), keep]).wait_with_output();
        let _ = server.kill();
        let _ = server.wait();
        let measured = String::from_utf8(watch.expect("the watcher ran").stdout).expect("text");
        let cells: Vec<&str> = measured.split_whitespace().collect();
        let [cpu, wall, peak, change] = cells.as_slice() else {
            panic!("the watcher said {measured:?}");
        };
        let sent = (size * POD_BYTES / 1_000_000).to_string();
        row(&size.to_string(), keep, &sent, cpu, wall, peak, change);
    }
}

#[expect(
    clippy::print_stdout,
    reason = "a benchmark's result is what it prints"
)]
fn row(pods: &str, kept: &str, sent: &str, cpu: &str, wall: &str, peak: &str, change: &str) {
    println!("{pods:>8} {kept:>5} {sent:>8} {cpu:>8} {wall:>8} {peak:>8} {change:>14}");
}

fn child(arguments: &[&str]) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program starts again")
}

/// Watches until all changes were seen, and prints: CPU s, wall s and peak MB of the list, CPU µs per change.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "told to the parent process")]
async fn measure(server: SocketAddr, pods: usize, keep: bool) {
    let cluster = ClusterClient::at(
        "bench",
        format!("http://{server}").parse().expect("an address"),
    )
    .expect("a client");
    let (out, mut seen) = mpsc::channel(QUEUE);
    let (began, cpu_before) = (Instant::now(), cpu());
    let watch = tokio::spawn(watcher::run(cluster, Settings::default(), out));
    let mut kept = Vec::new();
    let mut listed = 0;
    loop {
        match seen.recv().await.expect("the watch goes on") {
            Observation::Pod(pod) => {
                listed += 1;
                if keep {
                    kept.push(pod);
                }
            }
            Observation::ListDone { scope } if scope == "pods@bench" => break,
            _ => {}
        }
    }
    assert_eq!(listed, pods, "every pod was seen");
    let (list_cpu, list_wall, peak) = (
        cpu().saturating_sub(cpu_before),
        began.elapsed(),
        peak_megabytes(),
    );
    let cpu_before = cpu();
    let mut changed = 0;
    while changed < CHANGES {
        if let Observation::Pod(_) = seen.recv().await.expect("the watch goes on") {
            changed += 1;
        }
    }
    let per_change = cpu().saturating_sub(cpu_before).as_secs_f64() * 1e6 / CHANGES as f64;
    watch.abort();
    println!(
        "{:.2} {:.2} {peak} {per_change:.0}",
        list_cpu.as_secs_f64(),
        list_wall.as_secs_f64(),
    );
    drop(kept);
}

/// CPU time of this process so far, all threads, user and system.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this is Linux");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11..=12]
        .iter()
        .map(|field| field.parse::<u64>().expect("a number of ticks"))
        .sum();
    // Linux tells user space 100 ticks a second, whatever its own clock.
    Duration::from_millis(ticks * 10)
}

fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .expect("a peak");
    let kilobytes: u64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .expect("a number");
    kilobytes / 1024
}

struct World {
    pods: usize,
    templates: Vec<String>,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    limit: usize,
    #[serde(rename = "continue", default)]
    from: usize,
    #[serde(default)]
    watch: bool,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "told to the parent process")]
async fn serve(pods: usize) {
    let world = Arc::new(World {
        pods,
        templates: templates(),
    });
    let router = Router::new()
        .route("/api/v1/pods", axum::routing::get(pods_answer))
        .fallback(nothing)
        .with_state(world);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    axum::serve(listener, router)
        .await
        .expect("serves until killed");
}

/// The recorded pods with a placeholder for what differs, padded with the environment that real pods have.
fn templates() -> Vec<String> {
    let list: Value = serde_json::from_str(RECORDED).expect("recorded JSON");
    let pods = list["items"].as_array().expect("a list").clone();
    pods.into_iter()
        .map(|mut pod| {
            let name = pod["metadata"]["name"].as_str().expect("a name").to_owned();
            let uid = pod["metadata"]["uid"].as_str().expect("a uid").to_owned();
            let missing = POD_BYTES.saturating_sub(pod.to_string().len());
            let variable =
                r#"{"name":"NCCL_SETTING_00","value":"\"quoted\"\tand long enough to skip"},"#;
            let environment: Vec<Value> = (0..missing / variable.len())
                .map(|index| {
                    json!({
                        "name": format!("NCCL_SETTING_{index:02}"),
                        "value": "\"quoted\"\tand long enough to skip",
                    })
                })
                .collect();
            pod["spec"]["containers"][0]["env"] = Value::Array(environment);
            pod.to_string()
                .replace(&uid, "@uid@")
                .replace(&name, "@name@")
        })
        .collect()
}

impl World {
    fn pod(&self, index: usize) -> String {
        self.templates[index % self.templates.len()]
            .replace("@name@", &format!("train-{index}"))
            .replace("@uid@", &format!("7a93a9f0-0000-4000-8000-{index:012}"))
    }
}

async fn pods_answer(State(world): State<Arc<World>>, Query(asked): Query<Asked>) -> Response {
    if asked.watch {
        return changes(world);
    }
    let to = world.pods.min(asked.from + asked.limit);
    let more = if to < world.pods {
        to.to_string()
    } else {
        String::new()
    };
    let items: Vec<String> = (asked.from..to).map(|index| world.pod(index)).collect();
    format!(
        r#"{{"kind":"PodList","apiVersion":"v1","metadata":{{"resourceVersion":"9","continue":"{more}"}},"items":[{}]}}"#,
        items.join(",")
    )
    .into_response()
}

fn changes(world: Arc<World>) -> Response {
    let lines = futures_util::stream::unfold(0, move |told| {
        let world = Arc::clone(&world);
        async move {
            if told == CHANGES {
                std::future::pending::<()>().await;
            }
            let line = format!(
                "{{\"type\":\"MODIFIED\",\"object\":{}}}\n",
                world.pod(told % world.pods)
            );
            Some((Ok::<_, std::io::Error>(Bytes::from(line)), told + 1))
        }
    });
    Body::from_stream(lines).into_response()
}

/// Every other kind is empty and stays so.
async fn nothing(Query(asked): Query<Asked>) -> Response {
    if asked.watch {
        return Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>())
            .into_response();
    }
    r#"{"metadata":{"resourceVersion":"9"},"items":[],"groups":[]}"#.into_response()
}
