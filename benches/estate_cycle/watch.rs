//! The watching side, which measures itself and prints the cells of one line.

use std::collections::HashMap;
use std::sync::{Arc, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nightbell::alert::service::Alerts;
use nightbell::detect::Thresholds;
use nightbell::estate::SharedEstate;
use nightbell::estate::index::Estate;
use nightbell::store::Store;
use nightbell::watch::Observation;
use nightbell::watch::control::{MonitoringControl, Projects};
use nightbell::watch::kubernetes::client::ClusterClient;
use nightbell::watch::kubernetes::watcher;
use nightbell::watch::pipeline::Pipeline;
use nightbell::watch::runai::{RunaiClient, Settings, poller};
use nightbell::watch::sources::Sources;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::meter::{cpu, cpu_until_quiet, megabytes};
use crate::server::{LAST_JOB, PODS_CHANGED};

const CLUSTER: &str = "bench";
/// As the program's own queue of observations.
const QUEUE: usize = 1024;
/// Seldom enough that looking costs nothing to speak of.
const LOOK: Duration = Duration::from_millis(50);
const IDLE: Duration = Duration::from_secs(10);

/// The pipeline as the program runs it, and what it writes to.
struct Watching {
    out: mpsc::Sender<Observation>,
    estate: SharedEstate,
    sources: Sources,
    control: MonitoringControl,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Watching {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite://{}", folder.path().join("bench.db").display());
        let store = Store::open(&url).await.expect("a database");
        let now = Timestamp::now();
        let control = MonitoringControl::open(store.clone(), Projects::All, now)
            .await
            .expect("a state");
        let contexts = vec![CLUSTER.to_owned()];
        let estate = Arc::new(RwLock::new(Estate::new(contexts, HashMap::new())));
        let sources = Sources::default();
        let pipeline = Pipeline::new(
            Arc::clone(&estate),
            Alerts::new(
                store.clone(),
                nightbell::alert::settings::Settings::default(),
            ),
            store,
            control.clone(),
            sources.clone(),
            Thresholds::default(),
        );
        let (out, seen) = mpsc::channel(QUEUE);
        let stop = CancellationToken::new();
        tokio::spawn(pipeline.run(seen, stop.clone()));
        Self {
            out,
            estate,
            sources,
            control,
            stop,
            _folder: folder,
        }
    }

    fn estate(&self) -> RwLockReadGuard<'_, Estate> {
        self.estate.read().expect("nobody panicked")
    }

    fn jobs(&self) -> usize {
        self.estate().job_count()
    }

    /// When Run:AI was last heard; a failed sweep ends the measurement.
    fn heard(&self) -> Option<Timestamp> {
        let statuses = self.sources.statuses(Timestamp::now());
        let runai = statuses
            .into_iter()
            .find(|status| status.state.source == poller::SOURCE)?;
        assert_eq!(runai.state.last_error, None, "the sweep failed");
        runai.state.last_beat
    }

    async fn until(&self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            sleep(LOOK).await;
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn workloads(server: &str, size: usize) {
    let watching = Watching::start().await;
    let start = megabytes("VmRSS");
    let url = format!("http://{server}").parse().expect("a URL");
    let secret = "bench".to_owned().into();
    let client = RunaiClient::new(Settings::new(url, "bench".to_owned(), secret));
    let each = u32::try_from(size).expect("a number of objects");
    let settings = poller::Settings {
        // Long enough for a sweep to be over, with what follows from it, before the next begins.
        interval: Duration::from_secs(4) + Duration::from_micros(300) * each,
        // All pages, changes only, all pages.
        full_every: 2,
        large: 0,
        ..poller::Settings::default()
    };
    let mut before = cpu();
    let poller = tokio::spawn(poller::run(
        client,
        settings,
        watching.control.subscribe(),
        watching.sources.clone(),
        watching.out.clone(),
        watching.stop.clone(),
    ));
    for _ in 0..3 {
        let last = watching.heard();
        watching.until(|watching| watching.heard() != last).await;
        let heard = watching.heard();
        let used = cpu_until_quiet(before).await.as_secs_f64();
        assert_eq!(heard, watching.heard(), "the next sweep had begun");
        let took = ask(server, "/bench/took").await;
        print!("{used:>8.2}{took:>8} | ");
        before = cpu();
    }
    assert_eq!(watching.jobs(), size, "every workload is a job");
    println!("{:>6}{start:>6}", megabytes("VmHWM"));
    watching.stop.cancel();
    poller.await.expect("the poller stops");
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn pods(server: &str, size: usize) {
    let watching = Watching::start().await;
    let start = megabytes("VmRSS");
    let url = format!("http://{server}").parse().expect("a URL");
    let cluster = ClusterClient::at(CLUSTER, url).expect("a client");
    let (before, began) = (cpu(), Instant::now());
    let settings = watcher::Settings::default();
    let watch = tokio::spawn(watcher::run(cluster, settings, watching.out.clone()));
    watching
        .until(|watching| watching.estate().pods_listed(CLUSTER))
        .await;
    let took = began.elapsed().as_secs_f64();
    let used = cpu_until_quiet(before).await.as_secs_f64();
    let held: usize = watching.estate().jobs().map(|job| job.pods.len()).sum();
    assert_eq!(held, size, "every pod is held");
    print!("{used:>8.2}{took:>8.2} | ");

    let before = cpu();
    sleep(IDLE).await;
    print!("{:>17.2} | ", cpu().saturating_sub(before).as_secs_f64());

    let before = cpu();
    ask(server, "/bench/change").await;
    watching
        .until(|watching| watching.estate().jobs().any(|job| job.key.name == LAST_JOB))
        .await;
    let used = cpu_until_quiet(before).await.as_secs_f64();
    print!("{:>17.0} | ", used * 1e6 / PODS_CHANGED as f64);
    println!("{:>6}{start:>6}", megabytes("VmHWM"));
    watch.abort();
    watching.stop.cancel();
}

/// Asks the server for something that is not of the cluster or control plane.
async fn ask(server: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(server).await.expect("the server");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it hears");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("it answers");
    let body = answer.split_once("\r\n\r\n").expect("an answer").1;
    body.to_owned()
}
