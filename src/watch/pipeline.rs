//! From observations to alerts: the one task that writes the estate. It takes in what sources saw, judges the jobs
//! that changed, and hands the reports to alerting in batches. When the database is away it keeps what it has to tell.

mod compare;
mod judge;
#[cfg(test)]
mod tests;
mod work;

use std::sync::PoisonError;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Observation;
use super::control::MonitoringControl;
use super::report::{self, Batch};
use super::sources::Sources;
use crate::alert::service::{Alerts, Ingested, Result};
use crate::detect::Thresholds;
use crate::estate::SharedEstate;
use crate::estate::index::RUNAI_SCOPE;
use crate::store::Store;
use work::Work;

/// Changes are collected for this long, so that what fails together is told together.
const COLLECT: Duration = Duration::from_millis(250);
const TICK: Duration = Duration::from_secs(1);
/// Observations taken at once.
const TAKE: usize = 2_048;
/// The first and longest wait after the database refused.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(30);
/// Pods that are seen before their controller wait this long for it: its uid is the job's name for good.
const OWNER_WAIT: SignedDuration = SignedDuration::from_secs(1);
/// How often open alerts are compared with what is there.
const COMPARE_EVERY: Duration = Duration::from_mins(1);

/// The pipeline's parts.
pub struct Pipeline {
    estate: SharedEstate,
    alerts: Alerts,
    store: Store,
    control: MonitoringControl,
    sources: Sources,
    thresholds: Thresholds,
    /// Whether the estate holds all jobs, so that a share of them means something.
    counts_all: bool,
    work: Work,
}

type Handing = BoxFuture<'static, (Batch, Result<Ingested>)>;

impl Pipeline {
    #[must_use]
    pub fn new(
        estate: SharedEstate,
        alerts: Alerts,
        store: Store,
        control: MonitoringControl,
        sources: Sources,
        thresholds: Thresholds,
    ) -> Self {
        Self {
            estate,
            alerts,
            store,
            control,
            sources,
            thresholds,
            counts_all: true,
            work: Work::default(),
        }
    }

    /// Only failing jobs are fetched (`monitor_only_failed`): of how many they are a part is not known.
    #[must_use]
    pub fn of_failing_only(mut self, only_failed: bool) -> Self {
        self.counts_all = !only_failed;
        self
    }

    /// Runs until `stop` or until every source is gone. What is known then is handed over before it returns.
    pub async fn run(
        mut self,
        mut observations: mpsc::Receiver<Observation>,
        stop: CancellationToken,
    ) {
        let mut seen = Vec::with_capacity(TAKE);
        let mut scope = self.control.subscribe();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut compared = Instant::now();
        let mut handing: Option<Handing> = None;
        let mut hand_over_at: Option<Instant> = None;
        let mut wait = RETRY;
        let mut database_rests = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                count = observations.recv_many(&mut seen, TAKE) => {
                    if count == 0 {
                        break;
                    }
                    let now = Timestamp::now();
                    for observation in seen.drain(..) {
                        self.observe(observation, now);
                    }
                    hand_over_at.get_or_insert(Instant::now() + COLLECT);
                }
                (batch, result) = handed_over(handing.as_mut()) => {
                    handing = None;
                    match result {
                        Ok(_) => {
                            wait = RETRY;
                            if !self.work.is_idle() {
                                hand_over_at.get_or_insert(Instant::now() + COLLECT);
                            }
                        }
                        Err(error) => {
                            warn!(error = %error, reports = batch.len(), "cannot save alerts; keeping them to try again");
                            self.work.batch = batch.then(std::mem::take(&mut self.work.batch));
                            hand_over_at = Some(Instant::now() + wait);
                            wait = (wait * 2).min(RETRY_LONGEST);
                        }
                    }
                }
                () = tokio::time::sleep_until(hand_over_at.unwrap_or_else(Instant::now)), if hand_over_at.is_some() && handing.is_none() => {
                    hand_over_at = None;
                    handing = self.hand_over(Timestamp::now());
                }
                _ = ticks.tick() => {
                    let now = Timestamp::now();
                    self.tick(now);
                    if !self.work.is_idle() {
                        hand_over_at.get_or_insert(Instant::now());
                    }
                    if database_rests <= Instant::now()
                        && let Err(error) = self.look_at_open(now, &mut compared).await
                    {
                        warn!(error = %error, "cannot look at the open alerts");
                        database_rests = Instant::now() + RETRY_LONGEST;
                    }
                }
                Ok(()) = scope.changed() => {
                    // Another scope is another list of Run:AI, and until it is complete nothing is known to be gone.
                    self.work.lists.remove(RUNAI_SCOPE);
                    // What went on while nobody asked is news now.
                    self.judge_everything_again();
                    hand_over_at.get_or_insert(Instant::now());
                }
            }
        }
        if let Some(last) = handing {
            let (batch, result) = last.await;
            if result.is_err() {
                self.work.batch = batch.then(std::mem::take(&mut self.work.batch));
            }
        }
        if let Some(last) = self.hand_over(Timestamp::now())
            && let (_, Err(error)) = last.await
        {
            warn!(error = %error, "what was seen last is not saved; it will be seen again after the start");
        }
    }

    /// Looks at alerts whose time has come, and now and then at whether the jobs of the open ones are still there.
    async fn look_at_open(&mut self, now: Timestamp, compared: &mut Instant) -> Result<()> {
        self.alerts.sweep(now).await?;
        if compared.elapsed() >= COMPARE_EVERY {
            *compared = Instant::now();
            self.compare(now).await?;
        }
        Ok(())
    }

    /// Takes in one observation. What a job shows is judged before anything of it goes away.
    fn observe(&mut self, observation: Observation, now: Timestamp) {
        self.judge_before(&observation, now);
        match &observation {
            Observation::Beat(beat) => self.sources.beat(beat),
            Observation::Node(node) => {
                self.work
                    .nodes
                    .insert((node.cluster.clone(), node.name.clone()));
            }
            Observation::NodeGone { cluster, name } => {
                self.work.nodes.insert((cluster.clone(), name.clone()));
            }
            Observation::ListStarted { scope } => {
                let of_jobs = scope == RUNAI_SCOPE || scope.starts_with("pods@");
                if of_jobs && !self.work.listed.contains(scope) {
                    self.work.listing.insert(scope.clone());
                }
                if scope == RUNAI_SCOPE {
                    self.work.lists.remove(scope);
                }
            }
            Observation::ListDone { scope } => {
                self.work.lists.entry(scope.clone()).or_insert(now);
                self.work.listing.remove(scope);
                self.work.listed.insert(scope.clone());
                // A list of nodes drops those that are gone without a word of each.
                if let Some(cluster) = scope.strip_prefix("nodes@") {
                    let known = self
                        .work
                        .failed
                        .values()
                        .filter(|report| report.subject.kind == report::NODE_KIND);
                    let of_cluster = known.filter(|report| report.identity.cluster == cluster);
                    let names: Vec<_> = of_cluster
                        .map(|report| (cluster.to_owned(), report.identity.name.clone()))
                        .collect();
                    self.work.nodes.extend(names);
                }
            }
            Observation::Pod(pod) => {
                self.work.fresh.insert(pod.uid.clone());
            }
            Observation::Controller(controller) => {
                self.work.fresh.insert(controller.uid.clone());
            }
            Observation::Event(event) => self.work.fresh.extend(event.object.uid.clone()),
            Observation::WorkloadGone { id } if !self.counts_all => {
                self.work.gone_workloads.insert(id.clone());
            }
            Observation::Workload(_)
            | Observation::WorkloadGone { .. }
            | Observation::WorkloadLetGo { .. }
            | Observation::PodGone { .. }
            | Observation::ControllerGone { .. }
            | Observation::Progress { .. } => {}
        }
        let let_go = matches!(observation, Observation::WorkloadLetGo { .. });
        let mut estate = self.estate.write().unwrap_or_else(PoisonError::into_inner);
        for key in estate.apply(observation, now) {
            if let_go && estate.job(&key).is_none() {
                self.work.let_go(&key);
            } else {
                self.work.jobs.insert(key);
            }
        }
    }

    fn tick(&mut self, now: Timestamp) {
        let due = self
            .estate
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .due(now);
        self.work.jobs.extend(due);
        while self
            .work
            .nodes_due
            .first()
            .is_some_and(|(at, _)| *at <= now)
        {
            if let Some((_, node)) = self.work.nodes_due.pop_first() {
                self.work.nodes.insert(node);
            }
        }
        self.judge_sources(now);
    }

    fn judge_everything_again(&mut self) {
        let estate = self.estate.read().unwrap_or_else(PoisonError::into_inner);
        self.work
            .jobs
            .extend(estate.jobs().map(|job| (*job.key).clone()));
        self.work.nodes.extend(
            estate
                .nodes()
                .map(|entry| (entry.node.cluster.clone(), entry.node.name.clone())),
        );
    }

    /// Starts to hand over what there is to tell; `None` if that is nothing.
    fn hand_over(&mut self, now: Timestamp) -> Option<Handing> {
        self.judge(now);
        if self.work.batch.is_empty() {
            return None;
        }
        let batch = std::mem::take(&mut self.work.batch);
        let total = if self.counts_all && self.work.listing.is_empty() {
            self.estate
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .job_count()
        } else {
            0
        };
        let alerts = self.alerts.clone();
        Some(
            async move {
                let result = alerts
                    .ingest(
                        &batch.reports(),
                        u64::try_from(total).unwrap_or(u64::MAX),
                        now,
                    )
                    .await;
                (batch, result)
            }
            .boxed(),
        )
    }
}

/// How a hand-over that is under way ends; never, if none is.
async fn handed_over(handing: Option<&mut Handing>) -> (Batch, Result<Ingested>) {
    match handing {
        Some(handing) => handing.await,
        None => std::future::pending().await,
    }
}
