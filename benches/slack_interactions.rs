//! What it costs to take in what people press in Slack: verified, checked for replay, durably recorded, acknowledged.
//!
//! Two numbers, over loopback against SQLite on disk:
//! - requests per CPU second of the server, with 64 clients that each wait for their answer;
//! - the time from request to acknowledgement at 200 requests a second.
//!
//! The server is this program once more, as a child process, so that its CPU time (user and system, of all threads,
//! from `/proc/PID/stat`) holds nothing of the clients'. It runs the real router and inbox; the worker that answers
//! later does not run. Each request is a signed press of its own with a message of about 2 KB around it.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use nightbell::chat::slack::http;
use nightbell::chat::slack::inbox::Inbox;
use nightbell::store::Store;
use secrecy::SecretString;
use serde_json::json;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const SECRET: &str = "benchmark-signing-secret";
const CLIENTS: usize = 64;
const REQUESTS: usize = 30_000;
const STEADY_RATE: u32 = 200;
const STEADY_SECONDS: u32 = 10;
/// Of the clock that counts CPU time in `/proc`, on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match arguments.iter().position(|argument| argument == "serve") {
        Some(at) => runtime.block_on(serve(&arguments[at + 1])),
        None => runtime.block_on(measure()),
    }
}

async fn serve(database: &str) {
    let store = Store::open(database).await.expect("a database");
    let (inbox, writer) = Inbox::new(store);
    tokio::spawn(writer.run(CancellationToken::new()));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("{}", listener.local_addr().expect("a bound address"));
    axum::serve(listener, http::router(inbox, &SecretString::from(SECRET)))
        .await
        .expect("it serves");
}

struct Server {
    child: Child,
    address: String,
    folder: std::path::PathBuf,
}

impl Server {
    fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("nightbell-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let database = format!("sqlite://{}", folder.join("bench.db").display());
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["serve", &database])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut address = String::new();
        let output = child.stdout.take().expect("its output is piped");
        BufReader::new(output)
            .read_line(&mut address)
            .expect("it says where it listens");
        Self {
            child,
            address: address.trim().to_owned(),
            folder,
        }
    }

    /// CPU seconds of the server so far.
    fn cpu_seconds(&self) -> f64 {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        // The second field is the name in brackets; user and system time are the 14th and 15th.
        let after_name = stat.rsplit_once(')').expect("a name").1;
        let ticks = |field: usize| -> f64 {
            after_name
                .split_whitespace()
                .nth(field - 3)
                .and_then(|ticks| ticks.parse().ok())
                .expect("a number")
        };
        (ticks(14) + ticks(15)) / TICKS_PER_SECOND
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn measure() {
    let server = Server::start();
    let requests: Vec<Vec<u8>> = (0..REQUESTS)
        .map(|number| request(&server.address, number))
        .collect();
    let before = server.cpu_seconds();
    let started = Instant::now();
    let mut clients = tokio::task::JoinSet::new();
    let portions: Vec<Vec<Vec<u8>>> = requests
        .chunks(REQUESTS.div_ceil(CLIENTS))
        .map(<[_]>::to_vec)
        .collect();
    for portion in portions {
        let address = server.address.clone();
        clients.spawn(async move {
            let mut connection = TcpStream::connect(address).await.expect("it listens");
            for request in portion {
                exchange(&mut connection, &request).await;
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.expect("all are acknowledged");
    }
    let cpu = server.cpu_seconds() - before;
    let wall = started.elapsed().as_secs_f64();
    println!(
        "{REQUESTS} presses by {CLIENTS} clients: {cpu:.2} CPU s of the server, {wall:.2} s by the clock"
    );
    println!(
        "  {:.0} per CPU second, {:.0} per second",
        REQUESTS as f64 / cpu,
        REQUESTS as f64 / wall
    );

    let before = server.cpu_seconds();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / STEADY_RATE);
    let mut presses = tokio::task::JoinSet::new();
    for number in 0..STEADY_RATE * STEADY_SECONDS {
        let due = ticks.tick().await;
        let address = server.address.clone();
        let request = request(&address, REQUESTS + number as usize);
        presses.spawn(async move {
            let mut connection = TcpStream::connect(address).await.expect("it listens");
            exchange(&mut connection, &request).await;
            // From when it was due: a client that is late must not flatter the server.
            due.elapsed()
        });
    }
    let mut times: Vec<Duration> = presses.join_all().await;
    times.sort_unstable();
    let at =
        |thousandths: usize| times[(times.len() - 1) * thousandths / 1_000].as_secs_f64() * 1_000.0;
    println!(
        "{STEADY_RATE} presses a second for {STEADY_SECONDS} s, each on a connection of its own:"
    );
    println!(
        "  acknowledged in p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms; {:.2} CPU s of the server",
        at(500),
        at(990),
        at(1_000),
        server.cpu_seconds() - before
    );
}

/// Sends a request and reads its answer, which must be an acknowledgement.
async fn exchange(connection: &mut TcpStream, request: &[u8]) {
    connection.write_all(request).await.expect("it listens");
    let mut answer = [0; 1_024];
    let mut length = 0;
    while !answer[..length].windows(4).any(|end| end == b"\r\n\r\n") {
        let read = connection
            .read(&mut answer[length..])
            .await
            .expect("it answers");
        assert!(read > 0, "the server hung up");
        length += read;
    }
    let text = String::from_utf8_lossy(&answer[..length]);
    assert!(text.starts_with("HTTP/1.1 200"), "not acknowledged: {text}");
}

/// A signed press as it goes over the wire.
fn request(address: &str, number: usize) -> Vec<u8> {
    let blocks: Vec<_> = (0..6)
        .map(|block| json!({"type": "section", "block_id": format!("b{block}"), "text": {"type": "mrkdwn", "text": "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB".repeat(3)}}))
        .collect();
    let payload = json!({
        "type": "block_actions",
        "user": {"id": format!("U{}", number % 50), "username": "mira", "team_id": "T1"},
        "team": {"id": "T1", "domain": "test"},
        "api_app_id": "A1",
        "container": {"type": "message", "message_ts": "1790000000.000100", "channel_id": "C1"},
        "trigger_id": format!("{number}.1.0123456789abcdef"),
        "channel": {"id": "C1", "name": "ops"},
        "message": {"ts": "1790000000.000100", "text": "llm-7b failed", "blocks": blocks},
        "response_url": "https://hooks.slack.com/actions/T1/1/x",
        "actions": [{"type": "button", "action_id": "approve-0", "block_id": "buttons-0", "value": "approve:a1", "action_ts": format!("1790000000.{number:06}")}],
    });
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", &payload.to_string())
        .finish();
    let timestamp = jiff::Timestamp::now().as_second();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key of any length");
    mac.update(format!("v0:{timestamp}:{body}").as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    format!(
        "POST /slack/interactions HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         x-slack-request-timestamp: {timestamp}\r\nx-slack-signature: v0={signature}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
