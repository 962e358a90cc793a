//! One kind of objects of one cluster: listed page by page, then watched, for ever.
//!
//! kube's own watcher is not used: it begins a list again when one page fails, cannot get out of a refused resource
//! version, goes on after a line it could not read (and so misses a change), and does not tell when it is connected again.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::fmt::Debug;
use std::hash::BuildHasher;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::Timestamp;
use kube::core::{Resource, WatchEvent};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::client::ClusterClient;
use super::error::KubeError;
use super::health::Health;
use super::kinds::ControllerKind;
use super::slim::{Lenient, SlimController, SlimEvent, SlimNode, SlimPod};
use super::watcher::Settings;
use crate::watch::Observation;

/// A watch that ends sooner than this did not work out, whatever the server's answer.
const SHORT_WATCH: Duration = Duration::from_secs(1);
/// How much later than promised a server may end a watch before the connection counts as dead.
const WATCH_GRACE: Duration = Duration::from_secs(10);

/// A kind of objects that observations are made of.
pub(super) trait Watched:
    Resource + Clone + Debug + DeserializeOwned + for<'de> Lenient<'de> + Send + 'static
{
    /// `None` for objects that are of no interest.
    fn seen(self, cluster: &str, kind: &Self::DynamicType, now: Timestamp) -> Option<Observation>;

    /// `None` where nobody needs to know.
    fn gone(self, cluster: &str, kind: &Self::DynamicType) -> Option<Observation>;
}

/// Why a feed ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Nobody listens any more.
    Unheard,
    /// The cluster does not serve this kind (any longer).
    NotServed,
}

/// What to do after a failed watch.
enum Next {
    List,
    Watch,
}

pub(super) struct Feed<K: Watched> {
    cluster: ClusterClient,
    kind: K::DynamicType,
    path: String,
    /// As people and the health say it: `pods`.
    name: String,
    /// True where the cluster may do without this kind.
    optional: bool,
    settings: Settings,
    health: Arc<Health>,
    out: mpsc::Sender<Observation>,
    /// Hashes of the uids that are there: to count them costs 8 bytes each instead of 36.
    held: HashSet<u64>,
    hasher: RandomState,
    pauses: Pauses,
    listed: Option<Instant>,
}

impl<K: Watched> Feed<K> {
    pub(super) fn new(
        cluster: ClusterClient,
        kind: K::DynamicType,
        optional: bool,
        settings: Settings,
        health: Arc<Health>,
        out: mpsc::Sender<Observation>,
    ) -> Self {
        let name = format!("{}s", K::kind(&kind).to_lowercase());
        health.expect(&name);
        Self {
            path: K::url_path(&kind, None),
            pauses: Pauses::new(settings.first_pause, settings.longest_pause),
            cluster,
            kind,
            name,
            optional,
            settings,
            health,
            out,
            held: HashSet::new(),
            hasher: RandomState::new(),
            listed: None,
        }
    }

    /// Lists and watches until nobody listens or the kind is gone.
    pub(super) async fn run(mut self) -> Ended {
        loop {
            let version = match self.list().await {
                Ok(version) => version,
                Err(ended) => return self.end(ended).await,
            };
            if let Err(ended) = self.watch(version).await {
                return self.end(ended).await;
            }
        }
    }

    /// A kind that is not served has no objects: whatever was there before is gone.
    async fn end(self, ended: Ended) -> Ended {
        if ended == Ended::NotServed {
            info!(
                kubernetes.context = self.cluster.name(),
                kubernetes.kind = self.name,
                "kind is not served"
            );
            self.health.forget(&self.name);
            let told = self
                .send(Observation::ListStarted {
                    scope: self.scope(),
                })
                .await;
            if told.is_ok() {
                let _ = self
                    .send(Observation::ListDone {
                        scope: self.scope(),
                    })
                    .await;
            }
        }
        ended
    }

    fn scope(&self) -> String {
        format!("{}@{}", self.name, self.cluster.name())
    }

    /// Sends the whole list; returns the version from which to watch. Asks for a failed page again, not for the list.
    async fn list(&mut self) -> Result<String, Ended> {
        if self
            .listed
            .is_some_and(|at| at.elapsed() < self.settings.longest_pause)
        {
            self.pause(None).await;
        }
        loop {
            self.listed = Some(Instant::now());
            if let Some(version) = self.pages().await? {
                return Ok(version);
            }
        }
    }

    /// `None` when the list has to begin again: it took so long that the server forgot its beginning.
    async fn pages(&mut self) -> Result<Option<String>, Ended> {
        self.send(Observation::ListStarted {
            scope: self.scope(),
        })
        .await?;
        let mut held = HashSet::new();
        let mut nameless = 0_usize;
        let mut next: Option<String> = None;
        loop {
            let page = match self.cluster.page::<K>(&self.path, next.as_deref()).await {
                Ok(page) => page,
                Err(error) => {
                    let expired = is_expired(&error);
                    if !(expired && next.is_some()) {
                        self.failed(&error)?;
                    }
                    self.pause(Some(&error)).await;
                    if expired {
                        return Ok(None);
                    }
                    continue;
                }
            };
            self.health.works(&self.name);
            let now = Timestamp::now();
            for object in page.items {
                nameless += usize::from(object.meta().name.is_none());
                let uid = self.uid(&object);
                if let Some(observation) = object.seen(self.cluster.name(), &self.kind, now) {
                    held.insert(uid);
                    self.send(observation).await?;
                }
            }
            next = page.next;
            if next.is_some() {
                continue;
            }
            if nameless > 0 {
                warn!(
                    kubernetes.context = self.cluster.name(),
                    kubernetes.kind = self.name,
                    kubernetes.skipped = nameless,
                    "a list held objects without a name"
                );
            }
            let Some(version) = page.version else {
                let error = KubeError::Malformed {
                    what: "a list without a resource version".to_owned(),
                };
                self.failed(&error)?;
                self.pause(Some(&error)).await;
                return Ok(None);
            };
            self.held = held;
            self.health.holds(&self.name, self.held.len());
            self.send(Observation::ListDone {
                scope: self.scope(),
            })
            .await?;
            return Ok(Some(version));
        }
    }

    /// Watches from `version` on, over as many connections as it takes, until the list has to be read again.
    async fn watch(&mut self, mut version: String) -> Result<(), Ended> {
        loop {
            let opened = Instant::now();
            match self.connection(&mut version).await? {
                Next::List => return Ok(()),
                Next::Watch if opened.elapsed() < SHORT_WATCH => self.pause(None).await,
                Next::Watch => {}
            }
        }
    }

    /// One connection of a watch. Moves `version` on with each change.
    async fn connection(&mut self, version: &mut String) -> Result<Next, Ended> {
        // Watches that began together need not end together.
        let lifetime = self.settings.watch_for.mul_f64(0.8 + 0.2 * fastrand::f64());
        let stream = match self.cluster.watch::<K>(&self.path, version, lifetime).await {
            Ok(stream) => stream,
            Err(error) => return self.after(&error).await,
        };
        self.health.works(&self.name);
        let mut stream = pin!(stream);
        loop {
            let event = match timeout(lifetime + WATCH_GRACE, stream.next()).await {
                Ok(Some(Ok(event))) => event,
                Ok(Some(Err(error))) => return self.after(&error.into()).await,
                Ok(None) => return Ok(Next::Watch),
                Err(_) => {
                    debug!(kubernetes.kind = self.name, "watch went silent");
                    return Ok(Next::Watch);
                }
            };
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    let Some(moved) = object.meta().resource_version.clone() else {
                        return Ok(Next::List);
                    };
                    self.changed(object).await?;
                    *version = moved;
                }
                WatchEvent::Deleted(object) => {
                    let Some(moved) = object.meta().resource_version.clone() else {
                        return Ok(Next::List);
                    };
                    self.held.remove(&self.uid(&object));
                    self.health.holds(&self.name, self.held.len());
                    if let Some(observation) = object.gone(self.cluster.name(), &self.kind) {
                        self.send(observation).await?;
                    }
                    *version = moved;
                }
                WatchEvent::Bookmark(bookmark) => *version = bookmark.metadata.resource_version,
                WatchEvent::Error(status) => {
                    // From here the server does not go on, whatever the reason: the list is the way out.
                    self.after(&kube::Error::Api(status).into()).await?;
                    return Ok(Next::List);
                }
            }
        }
    }

    async fn changed(&mut self, object: K) -> Result<(), Ended> {
        let (uid, now) = (self.uid(&object), Timestamp::now());
        let Some(observation) = object.seen(self.cluster.name(), &self.kind, now) else {
            return Ok(());
        };
        if let Observation::Event(event) = &observation {
            let lag = now.duration_since(event.last).as_millis();
            self.health.lags(u64::try_from(lag).unwrap_or(0));
        }
        if self.held.insert(uid) {
            self.health.holds(&self.name, self.held.len());
        }
        self.send(observation).await
    }

    async fn after(&mut self, error: &KubeError) -> Result<Next, Ended> {
        if is_expired(error) {
            debug!(
                kubernetes.kind = self.name,
                "watch is too old, listing again"
            );
            return Ok(Next::List);
        }
        self.failed(error)?;
        self.pause(Some(error)).await;
        Ok(match error {
            // A change was sent that could not be read: only a list tells what it was.
            KubeError::Malformed { .. } => Next::List,
            _ => Next::Watch,
        })
    }

    fn failed(&self, error: &KubeError) -> Result<(), Ended> {
        if self.optional && matches!(error, KubeError::NotFound { .. }) {
            return Err(Ended::NotServed);
        }
        let explained = error.explain();
        if self.health.fails(&self.name, explained.clone()) {
            warn!(
                kubernetes.context = self.cluster.name(),
                kubernetes.kind = self.name,
                "cannot watch {}: {explained}",
                self.name
            );
        }
        Ok(())
    }

    async fn pause(&mut self, error: Option<&KubeError>) {
        let pause = self.pauses.next(Instant::now());
        let asked = match error {
            Some(KubeError::RateLimited { retry_after }) => *retry_after,
            Some(_) | None => Duration::ZERO,
        };
        sleep(pause.max(asked)).await;
    }

    async fn send(&self, observation: Observation) -> Result<(), Ended> {
        self.out.send(observation).await.map_err(|_| Ended::Unheard)
    }

    fn uid(&self, object: &K) -> u64 {
        let meta = object.meta();
        match &meta.uid {
            Some(uid) => self.hasher.hash_one(uid),
            None => self.hasher.hash_one((&meta.namespace, &meta.name)),
        }
    }
}

/// The version or page token is so old that the server forgot it.
fn is_expired(error: &KubeError) -> bool {
    matches!(error, KubeError::Rejected { status: 410, .. })
}

/// Growing pauses between failures, which start small again after a time without any.
struct Pauses {
    first: Duration,
    longest: Duration,
    next: Duration,
    last: Option<Instant>,
}

impl Pauses {
    fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
            last: None,
        }
    }

    /// The pause to make now, half to once its length at random.
    fn next(&mut self, now: Instant) -> Duration {
        if self.last.is_some_and(|last| now - last > self.longest * 2) {
            self.next = self.first;
        }
        self.last = Some(now);
        let pause = self.next.mul_f64(0.5 + 0.5 * fastrand::f64());
        self.next = (self.next * 2).min(self.longest);
        pause
    }
}

impl Watched for SlimPod {
    fn seen(self, cluster: &str, (): &(), now: Timestamp) -> Option<Observation> {
        self.into_pod(cluster, now)
            .map(|pod| Observation::Pod(Box::new(pod)))
    }

    fn gone(self, cluster: &str, (): &()) -> Option<Observation> {
        let meta = self.meta();
        Some(Observation::PodGone {
            cluster: cluster.to_owned(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone()?,
            uid: meta.uid.clone().unwrap_or_default(),
        })
    }
}

impl Watched for SlimNode {
    fn seen(self, cluster: &str, (): &(), now: Timestamp) -> Option<Observation> {
        self.into_node(cluster, now)
            .map(|node| Observation::Node(Box::new(node)))
    }

    fn gone(self, cluster: &str, (): &()) -> Option<Observation> {
        Some(Observation::NodeGone {
            cluster: cluster.to_owned(),
            name: self.meta().name.clone()?,
        })
    }
}

impl Watched for SlimEvent {
    fn seen(self, cluster: &str, (): &(), now: Timestamp) -> Option<Observation> {
        self.into_event(cluster, now)
            .map(|event| Observation::Event(Box::new(event)))
    }

    /// Events expire after an hour; what they said stays true.
    fn gone(self, _: &str, (): &()) -> Option<Observation> {
        None
    }
}

impl Watched for SlimController {
    fn seen(self, cluster: &str, kind: &ControllerKind, now: Timestamp) -> Option<Observation> {
        self.into_controller(cluster, kind, now)
            .map(|controller| Observation::Controller(Box::new(controller)))
    }

    fn gone(self, cluster: &str, kind: &ControllerKind) -> Option<Observation> {
        let meta = self.meta();
        Some(Observation::ControllerGone {
            cluster: cluster.to_owned(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone()?,
            kind: kind.kind.to_owned(),
            uid: meta.uid.clone().unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_start_over_after_quiet() {
        let mut pauses = Pauses::new(Duration::from_millis(100), Duration::from_secs(10));
        let start = Instant::now();
        let longest = (0..20).map(|_| pauses.next(start)).max().unwrap();
        assert!(longest <= Duration::from_secs(10) && longest >= Duration::from_secs(5));
        assert!(pauses.next(start + Duration::from_secs(5)) >= Duration::from_secs(5));
        assert!(pauses.next(start + Duration::from_mins(1)) <= Duration::from_millis(100));
    }
}
