//! The watch of one cluster: a feed per kind, a heartbeat, and a look now and then for newly installed operators.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, info};

use super::client::ClusterClient;
use super::error::KubeError;
use super::feed::{Ended, Feed, Watched};
use super::health::Health;
use super::kinds::ControllerKind;
use super::slim::{SlimController, SlimEvent, SlimNode, SlimPod};
use crate::watch::Observation;

/// Timing of a watch.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Time between heartbeats; news beat at once.
    pub beat_every: Duration,
    /// Time between looks for kinds whose operator was installed meanwhile.
    pub discover_every: Duration,
    /// Lifetime asked for each watch connection. A connection that died in silence is noticed that much later.
    pub watch_for: Duration,
    /// First and longest pause after failures, at random from half of it.
    pub first_pause: Duration,
    pub longest_pause: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            beat_every: Duration::from_secs(15),
            discover_every: Duration::from_mins(10),
            watch_for: Duration::from_mins(1),
            first_pause: Duration::from_millis(800),
            longest_pause: Duration::from_secs(30),
        }
    }
}

/// A feed stopped by a fault of its own.
#[derive(Debug, thiserror::Error)]
#[error("a part of the watch of cluster {cluster} ended early")]
pub struct WatchError {
    pub cluster: String,
    #[source]
    source: JoinError,
}

/// Watches one cluster and sends what is seen, until the receiver is dropped. To drop the future stops everything.
///
/// Each list is framed by `ListStarted` and `ListDone` of scope `<kind, lower case>s@<context>`: `pods@prod`,
/// `pytorchjobs@prod`. Beats come as source `kubernetes/<context>`.
///
/// # Errors
/// When one of its tasks panicked.
pub async fn run(
    cluster: ClusterClient,
    settings: Settings,
    out: mpsc::Sender<Observation>,
) -> Result<(), WatchError> {
    let mut watch = Watch {
        health: Arc::new(Health::new(cluster.name())),
        feeds: JoinSet::new(),
        optional: BTreeMap::new(),
        cluster,
        settings,
        out,
    };
    watch.run().await
}

struct Watch {
    cluster: ClusterClient,
    settings: Settings,
    out: mpsc::Sender<Observation>,
    health: Arc<Health>,
    feeds: JoinSet<Ended>,
    /// Feeds of kinds that not every cluster has.
    optional: BTreeMap<&'static str, Id>,
}

impl Watch {
    async fn run(&mut self) -> Result<(), WatchError> {
        self.follow::<SlimPod>((), false);
        self.follow::<SlimEvent>((), false);
        self.follow::<SlimNode>((), false);
        for kind in ControllerKind::built_in() {
            self.follow::<SlimController>(kind, false);
        }
        let begun = Instant::now();
        let mut beats = interval(self.settings.beat_every);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Until the first success, operators are looked for with each beat.
        let mut discovered: Option<Instant> = None;
        let mut discovery = JoinSet::new();
        loop {
            tokio::select! {
                _ = beats.tick() => {
                    let due = discovered.is_none_or(|at| at.elapsed() >= self.settings.discover_every);
                    if due && discovery.is_empty() {
                        let cluster = self.cluster.clone();
                        discovery.spawn(async move { cluster.optional_kinds().await });
                    }
                }
                () = self.health.changed.notified() => {}
                Some(kinds) = discovery.join_next() => {
                    if self.found(kinds.map_err(|source| self.fault(source))?) {
                        discovered = Some(Instant::now());
                    }
                    continue;
                }
                Some(ended) = self.feeds.join_next_with_id() => {
                    let (id, ended) = ended.map_err(|source| self.fault(source))?;
                    self.optional.retain(|_, feed| *feed != id);
                    match ended {
                        Ended::Unheard => return Ok(()),
                        Ended::NotServed => continue,
                    }
                }
            }
            let patience_over = begun.elapsed() >= self.settings.beat_every;
            if let Some(beat) = self.health.beat(Timestamp::now(), patience_over)
                && self.out.send(Observation::Beat(beat)).await.is_err()
            {
                return Ok(());
            }
        }
    }

    fn follow<K: Watched>(&mut self, kind: K::DynamicType, optional: bool) -> Id {
        let feed = Feed::<K>::new(
            self.cluster.clone(),
            kind,
            optional,
            self.settings.clone(),
            Arc::clone(&self.health),
            self.out.clone(),
        );
        self.feeds.spawn(feed.run()).id()
    }

    /// Starts feeds for kinds that are new. False where the cluster did not tell its kinds.
    fn found(&mut self, kinds: Result<Vec<ControllerKind>, KubeError>) -> bool {
        match kinds {
            Ok(kinds) => {
                for kind in kinds {
                    if !self.optional.contains_key(kind.kind) {
                        info!(
                            kubernetes.context = self.cluster.name(),
                            "the cluster serves {} ({}/{})", kind.kind, kind.group, kind.version
                        );
                        let name = kind.kind;
                        let feed = self.follow::<SlimController>(kind, true);
                        self.optional.insert(name, feed);
                    }
                }
                true
            }
            Err(error) => {
                // The feeds of the built-in kinds say the same, and louder.
                debug!(
                    kubernetes.context = self.cluster.name(),
                    "cannot list kinds: {}",
                    error.explain()
                );
                false
            }
        }
    }

    fn fault(&self, source: JoinError) -> WatchError {
        WatchError {
            cluster: self.cluster.name().to_owned(),
            source,
        }
    }
}
