//! From observations to alerts: the one task that writes the estate. It takes in what sources saw, judges the jobs
//! that changed, and hands the reports to alerting in batches. When the database is away it keeps what it has to tell.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Observation;
use super::control::MonitoringControl;
use super::report::{self, Batch};
use super::sources::{Health, Sources};
use crate::alert::Alert;
use crate::alert::identity::Alias;
use crate::alert::report::{JobReport, Presence};
use crate::alert::service::{Alerts, Ingested, Result};
use crate::detect::{FailureClass, Thresholds, assess, first_death, node_symptoms};
use crate::estate::index::RUNAI_SCOPE;
use crate::estate::{JobKey, SharedEstate};
use crate::store::{AlertFilter, Store};

/// Changes are collected for this long, so that what fails together is told together.
const COLLECT: Duration = Duration::from_millis(250);
const TICK: Duration = Duration::from_secs(1);
/// Observations taken at once.
const TAKE: usize = 2_048;
/// Jobs judged under one lock of the estate, which readers wait for.
const JUDGE: usize = 1_000;
/// The first and longest wait after the database refused.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(30);
/// A source may fail this long before it is an alert of its own.
const SOURCE_HOLD: SignedDuration = SignedDuration::from_mins(2);
/// Pods that are seen before their controller wait this long for it: its uid is the job's name for good.
/// While a cluster is read for the first time its controllers may come long after its pods.
const OWNER_WAIT: SignedDuration = SignedDuration::from_secs(1);
const OWNER_WAIT_AT_START: SignedDuration = SignedDuration::from_secs(30);
/// How often open alerts are compared with what is there, and how long after a list is complete.
const COMPARE_EVERY: Duration = Duration::from_mins(1);
const LIST_SETTLES: SignedDuration = SignedDuration::from_secs(30);
/// Open alerts read at once.
const OPEN_READ: i64 = 500;

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

/// What is still to be judged or told.
#[derive(Default)]
struct Work {
    /// Jobs that changed.
    jobs: HashSet<JobKey>,
    /// Nodes (cluster, name) that changed, and when to look at one again.
    nodes: BTreeSet<(String, String)>,
    nodes_due: BTreeSet<(Timestamp, (String, String))>,
    /// Reports that were not handed over yet.
    batch: Batch,
    /// The last failing report of every job and node that is there and ever failed, by which its end is told.
    failed: HashMap<String, JobReport>,
    /// Pods without their controller, since when they wait for it.
    orphans: HashMap<JobKey, Timestamp>,
    /// What was last reported of each source: whether it fails.
    sources: BTreeMap<String, bool>,
    /// When each list was complete for the first time.
    lists: HashMap<String, Timestamp>,
    /// Lists that were complete once, and those of jobs that began and never were: the share of jobs that fail means
    /// nothing while most jobs are still to be told.
    listed: BTreeSet<String>,
    listing: BTreeSet<String>,
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
        match &observation {
            Observation::PodGone { .. }
            | Observation::WorkloadGone { .. }
            | Observation::ControllerGone { .. }
            | Observation::ListDone { .. } => self.judge(now),
            Observation::Workload(_)
            | Observation::Pod(_)
            | Observation::Controller(_)
            | Observation::Node(_)
            | Observation::NodeGone { .. }
            | Observation::Event(_)
            | Observation::ListStarted { .. }
            | Observation::Progress { .. }
            | Observation::Beat(_) => {}
        }
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
            Observation::Workload(_)
            | Observation::WorkloadGone { .. }
            | Observation::Pod(_)
            | Observation::PodGone { .. }
            | Observation::Controller(_)
            | Observation::ControllerGone { .. }
            | Observation::Progress { .. }
            | Observation::Event(_) => {}
        }
        let changed = self
            .estate
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .apply(observation, now);
        self.work.jobs.extend(changed);
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

    /// Judges the jobs and nodes that changed.
    fn judge(&mut self, now: Timestamp) {
        let mut keys: Vec<JobKey> = self.work.jobs.drain().collect();
        // A batch that holds the same always looks the same.
        keys.sort_unstable();
        for some in keys.chunks(JUDGE) {
            let shared = Arc::clone(&self.estate);
            let mut estate = shared.write().unwrap_or_else(PoisonError::into_inner);
            for key in some {
                let Some(job) = estate.job(key) else {
                    self.work.orphans.remove(key);
                    let view = crate::alert::report::view(&key.cluster, &key.namespace, &key.name);
                    let project = self.work.project_of(&view);
                    if self.control.admits(project, &key.namespace, now) {
                        self.work.gone(&view);
                    } else {
                        // Nobody looks there any more, which is no sign that the job is gone.
                        self.work.failed.remove(&view);
                    }
                    continue;
                };
                let judged = assess(job, &estate, &self.thresholds, now);
                // A node on which several jobs die is judged by that, whatever it says of itself.
                if let Some((node, _)) = first_death(job) {
                    self.work.nodes.insert((key.cluster.clone(), node));
                }
                let admitted = self
                    .control
                    .admits(job.project.as_deref(), &key.namespace, now);
                let seen = report::of_job(job, judged.symptoms);
                let mut recheck = judged.recheck;
                if admitted {
                    let wait = if estate.is_being_read(&key.cluster) {
                        OWNER_WAIT_AT_START
                    } else {
                        OWNER_WAIT
                    };
                    match self.work.waits_for_owner(job, &seen, wait, now) {
                        Some(until) => recheck = Some(recheck.map_or(until, |at| at.min(until))),
                        None => self.work.report(seen),
                    }
                }
                estate.schedule(key, recheck);
            }
        }
        let nodes = std::mem::take(&mut self.work.nodes);
        let shared = Arc::clone(&self.estate);
        let estate = shared.read().unwrap_or_else(PoisonError::into_inner);
        for at in nodes {
            let Some(entry) = estate.node(&at.0, &at.1) else {
                self.work
                    .gone(&crate::alert::report::view(&at.0, "", &at.1));
                continue;
            };
            let judged = node_symptoms(entry, &estate, &self.thresholds, now);
            if let Some(recheck) = judged.recheck {
                self.work.nodes_due.insert((recheck, at));
            }
            if self.control.admits(None, "", now) {
                self.work
                    .report(report::of_node(&entry.node, judged.symptoms));
            }
        }
    }

    /// Sources that fail or are silent are alerts of their own: no news from them is not good news.
    fn judge_sources(&mut self, now: Timestamp) {
        for status in self.sources.statuses(now) {
            let held = |since: Timestamp| now.duration_since(since) >= SOURCE_HOLD;
            let trouble = match &status.health {
                Health::Fresh | Health::Paused { .. } => None,
                Health::Failing { since, error } if held(*since) => {
                    Some(("Failing", *since, error.clone()))
                }
                Health::Late { since } if held(*since) => {
                    Some(("Silent", *since, format!("nothing was heard since {since}")))
                }
                Health::NeverSeen if held(status.state.expected_since) => Some((
                    "Silent",
                    status.state.expected_since,
                    "it was never heard".to_owned(),
                )),
                Health::Failing { .. } | Health::Late { .. } | Health::NeverSeen => continue,
            };
            let name = &status.state.source;
            if self.work.sources.get(name) != Some(&trouble.is_some()) {
                self.work.sources.insert(name.clone(), trouble.is_some());
                self.work.report(report::of_source(name, trouble));
            }
        }
    }

    /// Compares the open alerts with what is there: jobs that went away, or ran again under the same name, while this
    /// process did not look.
    async fn compare(&mut self, now: Timestamp) -> Result<()> {
        let mut open = Vec::new();
        loop {
            let page = self
                .alerts
                .list(AlertFilter {
                    limit: OPEN_READ,
                    offset: i64::try_from(open.len()).unwrap_or(i64::MAX),
                    ..AlertFilter::default()
                })
                .await?;
            let last = i64::try_from(page.len()).unwrap_or(i64::MAX) < OPEN_READ;
            open.extend(page);
            if last {
                break;
            }
        }
        for alert in open {
            if matches!(alert.class, FailureClass::Node | FailureClass::Source) {
                if self.left_us(&alert, now) {
                    info!(
                        alert.number = alert.number,
                        "what an open alert tells of is no longer there"
                    );
                    let known = self.store.aliases_of_job(&alert.job_id).await?;
                    let key = JobKey {
                        cluster: alert.subject.cluster.clone(),
                        namespace: String::new(),
                        name: alert.subject.name.clone(),
                    };
                    self.work.batch.add(report::removed(&alert, &key, known));
                }
                continue;
            }
            let subject = &alert.subject;
            if !self
                .control
                .admits(subject.project.as_deref(), &subject.namespace, now)
            {
                continue;
            }
            let known: Vec<Alias> = self.store.aliases_of_job(&alert.job_id).await?;
            let mut views = alert.track.failing_views.clone();
            if views.is_empty() {
                views.insert(crate::alert::report::view(
                    &subject.cluster,
                    &subject.namespace,
                    &subject.name,
                ));
            }
            for view in views {
                let Some(key) = report::key_of_view(&view) else {
                    continue;
                };
                if !self.looked_at(&key, &known, now) {
                    continue;
                }
                let there = {
                    let estate = self.estate.read().unwrap_or_else(PoisonError::into_inner);
                    estate
                        .job(&key)
                        .map(|job| report::of_job(job, Vec::new()).identity.aliases)
                };
                let gone = match there {
                    None => true,
                    Some(aliases) => {
                        !aliases.is_empty()
                            && !known.is_empty()
                            && !aliases.iter().any(|alias| known.contains(alias))
                    }
                };
                if gone {
                    info!(
                        alert.number = alert.number,
                        "the job of an open alert is no longer there"
                    );
                    self.work
                        .batch
                        .add(report::removed(&alert, &key, known.clone()));
                }
            }
        }
        Ok(())
    }

    /// Whether the node or source of an alert is known to be there no more: the node was removed, or the source is no
    /// longer configured.
    fn left_us(&self, alert: &Alert, now: Timestamp) -> bool {
        let subject = &alert.subject;
        if alert.class == FailureClass::Source {
            let known = self.sources.statuses(now);
            // A source under another (`runai/prod`) is heard of only after that one was.
            let settled = known
                .iter()
                .all(|status| status.state.last_success.is_some());
            return settled
                && !known
                    .iter()
                    .any(|status| status.state.source == subject.name);
        }
        self.settled(&format!("nodes@{}", subject.cluster), now)
            && self
                .estate
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .node(&subject.cluster, &subject.name)
                .is_none()
    }

    /// Whether a list was complete a while ago.
    fn settled(&self, scope: &str, now: Timestamp) -> bool {
        self.work
            .lists
            .get(scope)
            .is_some_and(|done| now.duration_since(*done) >= LIST_SETTLES)
    }

    /// Whether the sources that know a job by `aliases` have listed everything they have, a while ago.
    fn looked_at(&self, key: &JobKey, aliases: &[Alias], now: Timestamp) -> bool {
        !aliases.is_empty()
            && aliases.iter().all(|alias| match alias {
                Alias::Runai(_) => self.settled(RUNAI_SCOPE, now),
                Alias::Kubernetes(_) => self.settled(&format!("pods@{}", key.cluster), now),
                Alias::Source(_) => false,
            })
    }
}

impl Work {
    fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.nodes.is_empty() && self.batch.is_empty()
    }

    fn report(&mut self, report: JobReport) {
        let view = report.view();
        if let Some(before) = self.failed.get(&view)
            && replaced(before, &report)
        {
            self.gone(&view);
        }
        if report.failing() {
            self.failed.insert(view, report.clone());
        }
        self.batch.add(report);
    }

    /// The project of what failed at `view`.
    fn project_of(&self, view: &str) -> Option<&str> {
        self.failed.get(view)?.subject.project.as_deref()
    }

    /// What failed is no longer there.
    fn gone(&mut self, view: &str) {
        if let Some(last) = self.failed.remove(view) {
            self.batch.add(JobReport {
                presence: Presence::Removed,
                symptoms: Vec::new(),
                ..last
            });
        }
    }

    /// Until when a failing job whose controller was not seen yet is to wait for it; `None` if it need not.
    fn waits_for_owner(
        &mut self,
        job: &crate::estate::index::Job,
        seen: &JobReport,
        wait: SignedDuration,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let orphaned = job.workload.is_none()
            && job.controllers.is_empty()
            && job.pods.iter().any(|pod| pod.owner.is_some())
            && seen.failing();
        if !orphaned {
            self.orphans.remove(&job.key);
            return None;
        }
        let since = *self.orphans.entry((*job.key).clone()).or_insert(now);
        let until = since.saturating_add(wait).unwrap_or(since);
        // The first lists may end long before the longest wait for them: it is looked again soon.
        let soon = now.saturating_add(OWNER_WAIT).unwrap_or(until);
        (until > now).then_some(until.min(soon))
    }
}

/// How a hand-over that is under way ends; never, if none is.
async fn handed_over(handing: Option<&mut Handing>) -> (Batch, Result<Ingested>) {
    match handing {
        Some(handing) => handing.await,
        None => std::future::pending().await,
    }
}

/// Whether another run took the place of the one that failed: the same source calls it otherwise.
fn replaced(before: &JobReport, after: &JobReport) -> bool {
    let (old, new) = (&before.identity.aliases, &after.identity.aliases);
    let common_source = old
        .iter()
        .any(|a| new.iter().any(|b| a.source() == b.source()));
    common_source && !old.iter().any(|alias| new.contains(alias))
}

#[cfg(test)]
mod tests;
