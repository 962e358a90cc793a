//! The way into the record: deliveries queue up, are committed together, and each waits for its own verdict.
//!
//! One commit for many deliveries is what makes a durable record cheap enough to give before the acknowledgement.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::store::{NewDelivery, Recorded, Store};

/// Deliveries in one transaction at most.
const BATCH: usize = 256;
/// How long the first of a batch waits for company.
const LINGER: Duration = Duration::from_millis(5);
/// How long a delivery waits for its record: Slack wants its answer in three seconds, the way there included.
const PATIENCE: Duration = Duration::from_millis(2_700);
/// Deliveries that may wait. More than the slowest database takes in within [`PATIENCE`] would only time out.
const QUEUE: usize = 16_384;
/// How often the record is tidied.
const TIDY_EVERY: Duration = Duration::from_mins(1);
/// How long what was done is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    Stored,
    /// Recorded earlier; there is nothing to do but to acknowledge.
    Duplicate,
    /// The very same signed request was recorded earlier.
    Replayed,
    /// Not recorded in time; it must not be acknowledged.
    Failed,
}

/// Where deliveries are handed in; cheap to clone.
#[derive(Clone, Debug)]
pub struct Inbox {
    waiting: mpsc::Sender<Waiting>,
    arrived: Arc<Notify>,
}

/// The task behind an [`Inbox`].
#[derive(Debug)]
pub struct Writer {
    store: Store,
    waiting: mpsc::Receiver<Waiting>,
    arrived: Arc<Notify>,
}

#[derive(Debug)]
struct Waiting {
    delivery: NewDelivery,
    verdict: oneshot::Sender<Recorded>,
}

impl Inbox {
    /// An inbox, and the task that must run for it.
    #[must_use]
    pub fn new(store: Store) -> (Self, Writer) {
        let (sender, waiting) = mpsc::channel(QUEUE);
        let arrived = Arc::new(Notify::new());
        (
            Self {
                waiting: sender,
                arrived: Arc::clone(&arrived),
            },
            Writer {
                store,
                waiting,
                arrived,
            },
        )
    }

    /// Records a delivery, within the time in which it can still be acknowledged.
    ///
    /// After [`Receipt::Failed`] the delivery may still be recorded later; Slack's repetition of it is then known.
    pub async fn record(&self, delivery: NewDelivery) -> Receipt {
        let (sender, verdict) = oneshot::channel();
        if self
            .waiting
            .try_send(Waiting {
                delivery,
                verdict: sender,
            })
            .is_err()
        {
            return Receipt::Failed;
        }
        match timeout(PATIENCE, verdict).await {
            Ok(Ok(Recorded::Stored)) => Receipt::Stored,
            Ok(Ok(Recorded::Duplicate)) => Receipt::Duplicate,
            Ok(Ok(Recorded::Replayed)) => Receipt::Replayed,
            Ok(Err(_)) | Err(_) => Receipt::Failed,
        }
    }

    /// Is notified when something was recorded, so that the work begins at once and not at the next look.
    #[must_use]
    pub fn arrived(&self) -> Arc<Notify> {
        Arc::clone(&self.arrived)
    }
}

impl Writer {
    /// Commits what is handed in until `stop`, then what is still waiting.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tidy = interval(TIDY_EVERY);
        tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                received = self.waiting.recv() => match received {
                    Some(first) => {
                        batch.push(first);
                        self.gather(&mut batch).await;
                        self.commit(&mut batch).await;
                    }
                    None => return,
                },
                _ = tidy.tick() => self.tidy().await,
                () = stop.cancelled() => {
                    // Nobody can hand in any more; what came in is still recorded and acknowledged.
                    self.waiting.close();
                    while self.waiting.recv_many(&mut batch, BATCH).await > 0 {
                        self.commit(&mut batch).await;
                    }
                    return;
                }
            }
        }
    }

    async fn gather(&mut self, batch: &mut Vec<Waiting>) {
        let until = Instant::now() + LINGER;
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            match timeout_at(until, self.waiting.recv_many(batch, room)).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    async fn commit(&self, batch: &mut Vec<Waiting>) {
        let (deliveries, verdicts): (Vec<NewDelivery>, Vec<oneshot::Sender<Recorded>>) = batch
            .drain(..)
            .map(|waiting| (waiting.delivery, waiting.verdict))
            .unzip();
        match self
            .store
            .record_deliveries(&deliveries, Timestamp::now())
            .await
        {
            Ok(recorded) => {
                for (sender, verdict) in verdicts.into_iter().zip(recorded) {
                    // Whoever gave up waiting no longer hears; the record stands.
                    let _ = sender.send(verdict);
                }
                self.arrived.notify_one();
            }
            // The waiting hear that their senders are gone.
            Err(error) => warn!(
                inbox.refused = deliveries.len(),
                error = &error as &dyn std::error::Error,
                "cannot record what came from Slack"
            ),
        }
    }

    async fn tidy(&self) {
        let now = Timestamp::now();
        let before = now.saturating_sub(KEPT).unwrap_or(Timestamp::MIN);
        if let Err(error) = self.store.prune_inbox(before, now).await {
            warn!(
                error = &error as &dyn std::error::Error,
                "cannot tidy the inbox"
            );
        }
    }
}
