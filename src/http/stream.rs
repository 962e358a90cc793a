//! Server-sent events that say what changed, so that a page reads it again. Nothing is sent but names of lists.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream, StreamExt};
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, MissedTickBehavior};

use super::Shared;
use super::problem::Problem;
use crate::store::{Pulse, StoreError};
use crate::watch::control::Monitoring;

/// How often a stream looks whether something changed.
const LOOK: Duration = Duration::from_secs(1);
/// Streams look at the same moment's state if it is no older than this.
const SHARED_FOR: Duration = Duration::from_millis(900);
/// A comment is sent after so much silence: proxies cut quiet connections after a minute or less.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Open streams at once.
const STREAMS: usize = 256;

/// The state that streams compare, read once for all of them.
#[derive(Clone, Debug)]
pub struct Pulses {
    last: Arc<Mutex<Option<(Instant, Pulse)>>>,
    streams: Arc<Semaphore>,
}

impl Default for Pulses {
    fn default() -> Self {
        Self {
            last: Arc::default(),
            streams: Arc::new(Semaphore::new(STREAMS)),
        }
    }
}

/// What a page may have to read again.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    store: Option<Pulse>,
    sources: Vec<(String, Option<Timestamp>, &'static str)>,
    monitoring: Monitoring,
    jobs: usize,
}

impl Seen {
    async fn now(shared: &Shared) -> Self {
        let now = Timestamp::now();
        let sources = shared.sources.statuses(now).into_iter().map(|status| {
            let health = super::api::sources::health_name(&status.health);
            (status.state.source, status.state.last_beat, health)
        });
        Self {
            store: shared.pulses.read(shared).await.ok(),
            sources: sources.collect(),
            monitoring: shared.monitoring.current(now),
            jobs: shared.jobs(crate::estate::index::Estate::job_count),
        }
    }

    /// Names of the lists that differ from `before`.
    fn changes(&self, before: &Self) -> Vec<&'static str> {
        let mut changed = Vec::new();
        if self.store != before.store {
            changed.extend(["alerts", "approvals", "audit"]);
        }
        if self.sources != before.sources {
            changed.push("sources");
        }
        if self.sources != before.sources || self.jobs != before.jobs {
            changed.push("jobs");
        }
        if self.monitoring != before.monitoring {
            changed.push("monitoring");
        }
        changed
    }
}

impl Pulses {
    async fn read(&self, shared: &Shared) -> Result<Pulse, StoreError> {
        let mut last = self.last.lock().await;
        if let Some((at, pulse)) = &*last
            && at.elapsed() < SHARED_FOR
        {
            return Ok(pulse.clone());
        }
        let pulse = shared.store.pulse().await?;
        *last = Some((Instant::now(), pulse.clone()));
        Ok(pulse)
    }
}

/// Says what changed
///
/// Server-sent events: first `hello`, then `changed` with `{"changed": ["alerts", …]}`. Keep-alive comments between.
#[utoipa::path(get, path = "/api/v1/stream", tag = "overview",
    responses((status = 200, content_type = "text/event-stream", body = String)))]
pub(super) async fn changes(
    State(shared): State<Shared>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let Ok(place) = Arc::clone(&shared.pulses.streams).try_acquire_owned() else {
        return Err(Problem::unavailable(format!(
            "{STREAMS} streams are open; read the lists instead"
        )));
    };
    let shutdown = shared.shutdown.clone();
    let first = Seen::now(&shared).await;
    let hello = Event::default()
        .event("hello")
        .data(json!({ "version": env!("CARGO_PKG_VERSION"), "demo": shared.demo }).to_string());
    let events = stream::iter([hello])
        .chain(stream::unfold((shared, first, place), next_change))
        .map(Ok)
        .take_until(shutdown.cancelled_owned());
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

async fn next_change(
    (shared, mut seen, place): (Shared, Seen, OwnedSemaphorePermit),
) -> Option<(Event, (Shared, Seen, OwnedSemaphorePermit))> {
    let mut look = tokio::time::interval_at(Instant::now() + LOOK, LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        let now = Seen::now(&shared).await;
        let changed = now.changes(&seen);
        seen = now;
        if !changed.is_empty() {
            let data = json!({ "changed": changed }).to_string();
            let event = Event::default().event("changed").data(data);
            return Some((event, (shared, seen, place)));
        }
    }
}
