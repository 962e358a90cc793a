//! The simulated estate's servers on loopback, and the driver that lets its time pass.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::estate::SimEstate;
use super::faults::Faults;
use super::{CLUSTER_NAME, kubernetes_api, runai_api, scenario};

/// How the demo's estate is run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The scenario runs this many times faster than written.
    pub speed: f64,
    /// Decides generated names and uids.
    pub seed: u64,
    /// How often the driver lets time pass.
    pub tick: Duration,
    /// How long a Run:AI token is good.
    pub token_life: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            speed: 1.0,
            seed: 7,
            // Fine enough that what people see does not come in lumps.
            tick: Duration::from_millis(200),
            token_life: Duration::from_hours(1),
        }
    }
}

/// Running servers of a simulated estate, and how to reach them.
#[derive(Debug)]
pub struct DemoServers {
    pub estate: SimEstate,
    pub kubernetes_url: String,
    pub kubernetes_token: String,
    /// Name of the kube context.
    pub context: String,
    pub runai_base_url: String,
    pub runai_client_id: String,
    pub runai_client_secret: String,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

const TOKEN: &str = "demo-kubernetes-token";
const CLIENT_ID: &str = "demo-client";
const CLIENT_SECRET: &str = "demo-client-secret";

/// Starts the demo: the scenario's estate, its servers, and a driver that follows the clock.
pub async fn start(settings: &Settings, now: Timestamp) -> io::Result<DemoServers> {
    let estate = SimEstate::new(now, settings.speed, settings.seed);
    scenario::install(&estate);
    let mut servers = serve(estate, settings.token_life).await?;
    let (estate, stop, tick) = (servers.estate.clone(), servers.stop.clone(), settings.tick);
    servers.tasks.spawn(async move {
        let mut ticks = tokio::time::interval(tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            estate.advance(Timestamp::now());
        }
    });
    Ok(servers)
}

/// Serves an estate whose time the caller drives.
pub async fn serve(estate: SimEstate, token_life: Duration) -> io::Result<DemoServers> {
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let kubernetes = TcpListener::bind(("127.0.0.1", 0)).await?;
    let runai = TcpListener::bind(("127.0.0.1", 0)).await?;
    let servers = DemoServers {
        kubernetes_url: format!("http://{}", kubernetes.local_addr()?),
        kubernetes_token: TOKEN.to_owned(),
        context: CLUSTER_NAME.to_owned(),
        runai_base_url: format!("http://{}", runai.local_addr()?),
        runai_client_id: CLIENT_ID.to_owned(),
        runai_client_secret: CLIENT_SECRET.to_owned(),
        stop: stop.clone(),
        tasks: {
            let api = kubernetes_api::router(estate.clone(), TOKEN);
            tasks.spawn(run(
                kubernetes,
                api,
                estate.kubernetes_faults().clone(),
                stop.clone(),
            ));
            let api = runai_api::router(estate.clone(), CLIENT_ID, CLIENT_SECRET, token_life);
            tasks.spawn(run(runai, api, estate.runai_faults().clone(), stop));
            tasks
        },
        estate,
    };
    Ok(servers)
}

async fn run(listener: TcpListener, api: Router, faults: Faults, stop: CancellationToken) {
    let listener = FaultyListener { listener, faults };
    // Open watches would hold a graceful shutdown up; nothing of a simulation is worth waiting for.
    stop.run_until_cancelled(async { axum::serve(listener, api).await })
        .await;
}

impl DemoServers {
    /// A kubeconfig with one context, named like the cluster.
    pub fn kubeconfig(&self) -> String {
        let (name, url, token) = (&self.context, &self.kubernetes_url, &self.kubernetes_token);
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {name}\n\
             clusters:\n- name: {name}\n  cluster:\n    server: {url}\n\
             users:\n- name: demo-user\n  user:\n    token: {token}\n\
             contexts:\n- name: {name}\n  context:\n    cluster: {name}\n    user: demo-user\n"
        )
    }

    /// Ends when the servers were asked to stop; a server that ends by itself is a fault.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// The token that stops the servers.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Stops the servers and waits until they are gone.
    pub async fn shut_down(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// A listener whose connections break while the server is to be down.
struct FaultyListener {
    listener: TcpListener,
    faults: Faults,
}

impl Listener for FaultyListener {
    type Io = FaultyStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (FaultyStream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (
            FaultyStream {
                stream,
                faults: self.faults.clone(),
            },
            address,
        )
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

struct FaultyStream {
    stream: TcpStream,
    faults: Faults,
}

impl FaultyStream {
    fn broken(&self) -> Option<io::Error> {
        self.faults
            .is_down()
            .then(|| io::ErrorKind::ConnectionReset.into())
    }
}

impl AsyncRead for FaultyStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.broken() {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut self.stream).poll_read(ctx, buffer),
        }
    }
}

impl AsyncWrite for FaultyStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.broken() {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut self.stream).poll_write(ctx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(ctx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(ctx)
    }
}
