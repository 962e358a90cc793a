//! Slack takes about one message a second in a channel, and says so when it wants less.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Channels remembered before those at rest are forgotten.
const CHANNELS_KEPT: usize = 1_000;

/// When each channel may be written to next; clones share it.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Between two calls about one channel.
    between: Duration,
    next: Arc<Mutex<HashMap<String, Instant>>>,
}

impl Pace {
    #[must_use]
    pub fn new(between: Duration) -> Self {
        Self {
            between,
            next: Arc::default(),
        }
    }

    /// Waits for this caller's turn in `channel`, unless the channel rests for longer than `patience`: then the wait
    /// that is left.
    pub async fn turn(&self, channel: &str, patience: Duration) -> Result<(), Duration> {
        let now = Instant::now();
        let at = {
            // Every statement leaves the map whole, so that a panic elsewhere does no harm here.
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            if next.len() > CHANNELS_KEPT {
                next.retain(|_, at| *at > now);
            }
            let at = next.get(channel).copied().unwrap_or(now).max(now);
            if at.duration_since(now) > patience {
                return Err(at.duration_since(now));
            }
            next.insert(channel.to_owned(), at + self.between);
            at
        };
        tokio::time::sleep_until(at).await;
        Ok(())
    }

    /// Lets a channel rest: Slack asked for it.
    pub fn rest(&self, channel: &str, for_: Duration) {
        let until = Instant::now() + for_;
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let at = next.entry(channel.to_owned()).or_insert(until);
        *at = (*at).max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PATIENT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_channel_is_written_to_once_a_second_and_others_do_not_wait_for_it() {
        let (pace, start) = (Pace::new(SECOND), Instant::now());
        for _ in 0..3 {
            pace.turn("C1", PATIENT).await.expect("its turn comes");
        }
        assert_eq!(start.elapsed(), Duration::from_secs(2));
        pace.turn("C2", PATIENT).await.expect("its turn comes");
        assert_eq!(start.elapsed(), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_channel_that_must_rest_is_not_waited_for() {
        let pace = Pace::new(SECOND);
        pace.rest("C1", Duration::from_secs(30));
        assert_eq!(pace.turn("C1", PATIENT).await, Err(Duration::from_secs(30)));
        tokio::time::advance(Duration::from_secs(25)).await;
        assert_eq!(pace.turn("C1", PATIENT).await, Ok(()));
    }
}
