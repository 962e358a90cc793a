//! The poller: sweeps over the workload lists on a beat, tells what changed, and says how it went.
//!
//! The first sweep of a scope is a list (`ListStarted` … `ListDone`); later ones tell differences and name what is gone.
//! A large estate is swept whole only now and then, and in between by what changed its phase.

mod follow;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::RunaiError;
use super::client::{Filter, PAGE_LIMIT, RunaiClient, RunaiCluster};
use super::sweep::{Known, Offer, lists};
use crate::estate::Workload;
use crate::estate::index::RUNAI_SCOPE;
use crate::watch::control::{Monitoring, Projects};
use crate::watch::sources::Sources;
use crate::watch::{Beat, Observation};
pub use follow::Followed;

/// The name under which the poller beats; clusters beat as `runai/<name>`.
pub const SOURCE: &str = "runai";

/// A million workloads in one list: beyond that the server pages in circles.
const MOST_PAGES: u64 = 2_000;
/// How many workloads that vanished from the lists are looked up by id in one sweep.
const LOOK_UPS: usize = 50;
/// The longest pause between sweeps of an ailing control plane, unless the interval or the server asks for longer.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// What is polled and how often.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `poll_interval_seconds`.
    pub interval: Duration,
    /// `monitored_projects`.
    pub projects: Projects,
    /// `monitor_only_failed`: asks only for workloads in the phases Failed, Degraded and Unknown.
    pub only_failed: bool,
    /// Every so many sweeps of a large estate look at everything.
    pub full_every: u32,
    /// From how many workloads on an estate is large: below, a full sweep is a few calls and saves nothing.
    pub large: usize,
    /// With `only_failed`, whose state is asked for by id though they may have left the lists.
    pub followed: Option<Followed>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            interval: Duration::from_mins(1),
            projects: Projects::All,
            only_failed: false,
            full_every: 10,
            large: 2_000,
            followed: None,
        }
    }
}

/// Polls until `stop`, or until nobody listens to `out` any more. A full `out` slows the sweep down.
pub async fn run(
    client: RunaiClient,
    settings: Settings,
    mut monitoring: watch::Receiver<Monitoring>,
    sources: Sources,
    out: mpsc::Sender<Observation>,
    stop: CancellationToken,
) {
    sources.expect(SOURCE, settings.interval, Timestamp::now());
    let mut poller = Poller::new(client, settings, sources, out);
    loop {
        let state = monitoring.borrow_and_update().clone().at(Timestamp::now());
        let round = async {
            if state.enabled {
                poller.poll(&state).await
            } else {
                // Repeated, because a beat still on its way would end the pause.
                poller.sources.pause(SOURCE, Timestamp::now());
                Ok(Instant::now() + poller.settings.interval)
            }
        };
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Ok(()) = monitoring.changed() => {
                // Another scope is another list; what was half told is told again.
                poller.start_over();
                continue;
            }
            next = round => match next {
                Ok(next) => next,
                Err(NobodyListens) => return,
            },
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Ok(()) = monitoring.changed() => poller.start_over(),
            () = sleep_until(next) => {}
        }
    }
}

/// The receiver of observations is gone: the program is stopping.
struct NobodyListens;

/// Why a sweep ended early.
enum Halt {
    Api(RunaiError),
    NobodyListens,
}

impl From<RunaiError> for Halt {
    fn from(error: RunaiError) -> Self {
        Self::Api(error)
    }
}

impl From<NobodyListens> for Halt {
    fn from(_: NobodyListens) -> Self {
        Self::NobodyListens
    }
}

struct Poller {
    client: RunaiClient,
    settings: Settings,
    sources: Sources,
    out: mpsc::Sender<Observation>,
    known: Known,
    /// Whether the estate has had a whole list of the present scope.
    listed: bool,
    sweeps_since_full: u32,
    /// The server does not filter by time of change.
    no_delta: bool,
    /// By Run:AI cluster id.
    clusters: HashMap<String, RunaiCluster>,
    failures: u32,
    /// Workloads that are looked at though they do not fail; `None` while it is not known which.
    followed: Option<HashSet<String>>,
}

/// What a sweep found beside the observations it told.
#[derive(Default)]
struct Found {
    unreadable: usize,
    reason: Option<String>,
    /// The newest change told.
    newest: Option<Timestamp>,
}

impl Poller {
    fn new(
        client: RunaiClient,
        settings: Settings,
        sources: Sources,
        out: mpsc::Sender<Observation>,
    ) -> Self {
        Self {
            client,
            settings,
            sources,
            out,
            known: Known::default(),
            listed: false,
            sweeps_since_full: 0,
            no_delta: false,
            clusters: HashMap::new(),
            failures: 0,
            followed: None,
        }
    }

    fn start_over(&mut self) {
        self.known = Known::default();
        self.listed = false;
    }

    /// One sweep with its beat; returns when the next is due.
    async fn poll(&mut self, monitoring: &Monitoring) -> Result<Instant, NobodyListens> {
        let started = Instant::now();
        let interval = self.settings.interval.mul_f64(0.95 + 0.1 * fastrand::f64());
        let outcome = self.sweep(monitoring).await;
        let (error, lag_ms, pause) = match outcome {
            Ok(found) => {
                if std::mem::take(&mut self.failures) > 0 {
                    info!("Run:AI can be polled again");
                }
                let age = found
                    .newest
                    .map(|at| Timestamp::now().duration_since(at).as_millis());
                let lag_ms = age.and_then(|ms| u64::try_from(ms).ok());
                let error = found.reason.map(|reason| {
                    format!(
                        "{} workloads cannot be read, such as: {reason}",
                        found.unreadable
                    )
                });
                (error, lag_ms, interval)
            }
            Err(Halt::NobodyListens) => return Err(NobodyListens),
            Err(Halt::Api(error)) => {
                self.failures += 1;
                let told = error.told();
                // Once per outage: the beat carries every failure to the status page.
                match error {
                    _ if self.failures > 1 => {}
                    RunaiError::Unauthorized | RunaiError::Forbidden { .. } => {
                        error!(runai.error = %told, "cannot poll Run:AI until its credentials are mended");
                    }
                    RunaiError::NotFound
                    | RunaiError::RateLimited { .. }
                    | RunaiError::Rejected { .. }
                    | RunaiError::Malformed { .. }
                    | RunaiError::Unreachable(_)
                    | RunaiError::InvalidArgument(_)
                    | RunaiError::Unsupported { .. } => {
                        warn!(runai.error = %told, "cannot poll Run:AI; what is known is kept");
                    }
                }
                (Some(told), None, self.pause_after(&error, interval))
            }
        };
        self.tell(Observation::Beat(Beat {
            source: SOURCE.to_owned(),
            at: Timestamp::now(),
            error,
            objects: self.known.len() as u64,
            lag_ms,
        }))
        .await?;
        Ok((started + pause).max(Instant::now()))
    }

    /// An ailing control plane is asked less and less often, at most four times slower.
    fn pause_after(&self, error: &RunaiError, interval: Duration) -> Duration {
        match error {
            RunaiError::RateLimited { retry_after } => interval.max(*retry_after),
            RunaiError::Unreachable(_) | RunaiError::Rejected { .. } => {
                let slower = interval * 2_u32.pow(self.failures.saturating_sub(1).min(2));
                slower.min(LONGEST_PAUSE).max(interval)
            }
            RunaiError::Unauthorized
            | RunaiError::Forbidden { .. }
            | RunaiError::NotFound
            | RunaiError::Malformed { .. }
            | RunaiError::InvalidArgument(_)
            | RunaiError::Unsupported { .. } => interval,
        }
    }

    async fn sweep(&mut self, monitoring: &Monitoring) -> Result<Found, Halt> {
        let projects = monitoring.projects(&self.settings.projects);
        let lists = lists(&projects, self.settings.only_failed);
        if lists.is_empty() {
            let project = monitoring.project.as_deref().unwrap_or_default();
            let text = format!("project {project:?} is not among the monitored projects");
            return Err(RunaiError::InvalidArgument(text).into());
        }
        self.look_at_clusters().await?;
        if let Some(since) = self.delta_since() {
            match self.delta(&lists, since).await {
                // The server knows no such filter: everything is looked at, now and from now on.
                Err(Halt::Api(RunaiError::Rejected { status, .. })) if status < 500 => {
                    self.no_delta = true;
                }
                outcome => return outcome,
            }
        }
        self.full(&lists).await
    }

    fn delta_since(&self) -> Option<Timestamp> {
        let possible =
            self.listed && self.failures == 0 && !self.no_delta && !self.settings.only_failed;
        let worth_it = self.known.len() >= self.settings.large;
        let due = self.sweeps_since_full + 1 < self.settings.full_every;
        if possible && worth_it && due {
            self.known.delta_since()
        } else {
            None
        }
    }

    async fn delta(&mut self, lists: &[Filter], since: Timestamp) -> Result<Found, Halt> {
        self.known.begin();
        let mut found = Found::default();
        for list in lists {
            let list = Filter {
                phase_updated_since: Some(since),
                ..list.clone()
            };
            self.walk(&list, &mut found).await?;
        }
        self.sweeps_since_full += 1;
        Ok(found)
    }

    async fn full(&mut self, lists: &[Filter]) -> Result<Found, Halt> {
        let first = !self.listed;
        if first {
            // An earlier try may have told a part of the list: the estate hears the whole of it again.
            self.known = Known::default();
            self.tell(Observation::ListStarted {
                scope: RUNAI_SCOPE.to_owned(),
            })
            .await?;
        }
        self.known.begin();
        let mut found = Found::default();
        for list in lists {
            self.walk(list, &mut found).await?;
        }
        self.follow().await;
        if first {
            // Before the end of the list, which drops what was not told of; so none is left for later.
            self.look_up_missing(usize::MAX).await?;
            self.tell(Observation::ListDone {
                scope: RUNAI_SCOPE.to_owned(),
            })
            .await?;
            self.listed = true;
        } else {
            self.look_up_missing(LOOK_UPS).await?;
        }
        self.sweeps_since_full = 0;
        Ok(found)
    }

    /// Goes through all pages of one list.
    async fn walk(&mut self, list: &Filter, found: &mut Found) -> Result<(), Halt> {
        let mut offset = 0;
        for _ in 0..MOST_PAGES {
            let page = self.client.workloads(list, offset, PAGE_LIMIT).await?;
            found.unreadable += page.unreadable.len();
            if found.reason.is_none() {
                found.reason = page.unreadable.into_iter().next();
            }
            let now = Timestamp::now();
            for workload in page.items {
                self.offer(workload, now, found).await?;
            }
            match page.next {
                None => return Ok(()),
                Some(next) if next > offset => offset = next,
                Some(next) => {
                    return Err(
                        endless(format!("after offset {offset} it goes on at {next}")).into(),
                    );
                }
            }
        }
        Err(endless(format!("it has more than {MOST_PAGES} pages")).into())
    }

    async fn offer(
        &mut self,
        workload: Workload,
        now: Timestamp,
        found: &mut Found,
    ) -> Result<(), NobodyListens> {
        let away = self
            .clusters
            .get(workload.cluster_id.as_str())
            .is_some_and(|cluster| !cluster.connected);
        match self.known.offer(&workload, away, now) {
            Offer::Tell => {
                found.newest = found.newest.max(workload.phase_updated);
                self.tell(Observation::Workload(Box::new(workload))).await
            }
            Offer::Unchanged | Offer::Again => Ok(()),
        }
    }

    /// Learns which clusters report. Of one that is away a single beat tells; its workloads are held as they were.
    async fn look_at_clusters(&mut self) -> Result<(), Halt> {
        match self.client.clusters().await {
            Ok(clusters) => {
                let clusters = clusters
                    .into_iter()
                    .map(|cluster| (cluster.id.clone(), cluster))
                    .collect();
                let before = std::mem::replace(&mut self.clusters, clusters);
                for cluster in before
                    .into_values()
                    .filter(|cluster| !self.clusters.contains_key(&cluster.id))
                {
                    self.sources.forget(&cluster_source(&cluster));
                }
            }
            Err(error @ (RunaiError::Unauthorized | RunaiError::RateLimited { .. })) => {
                return Err(error.into());
            }
            // Not every service account may see clusters; then none is known to be away.
            Err(error) => {
                debug!(runai.error = %error.told(), "cannot tell which clusters are connected");
                return Ok(());
            }
        }
        let at = Timestamp::now();
        let beats: Vec<Beat> = self
            .clusters
            .values()
            .map(|cluster| cluster_beat(cluster, at))
            .collect();
        for beat in beats {
            self.tell(Observation::Beat(beat)).await?;
        }
        Ok(())
    }

    async fn tell(&self, observation: Observation) -> Result<(), NobodyListens> {
        // Said while it waits, because a pipeline that stands still looks like a healthy, quiet estate.
        const PATIENCE: Duration = Duration::from_secs(30);
        loop {
            if let Ok(slot) = timeout(PATIENCE, self.out.reserve()).await {
                slot.map_err(|_| NobodyListens)?.send(observation);
                return Ok(());
            }
            warn!("the pipeline has taken no observation of Run:AI for 30 s");
        }
    }
}

fn cluster_source(cluster: &RunaiCluster) -> String {
    format!("{SOURCE}/{}", cluster.name)
}

fn cluster_beat(cluster: &RunaiCluster, at: Timestamp) -> Beat {
    Beat {
        source: cluster_source(cluster),
        at,
        error: (!cluster.connected).then(|| {
            format!(
                "cluster {} is {}: what Run:AI tells of its workloads is old",
                cluster.name, cluster.state
            )
        }),
        objects: 0,
        lag_ms: None,
    }
}

fn endless(reason: String) -> RunaiError {
    RunaiError::Malformed {
        what: "list of workloads",
        reason,
        excerpt: String::new(),
    }
}
