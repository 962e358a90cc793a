//! Slack takes about one message a second in a channel, and says so when it wants less.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Channels remembered before those at rest are forgotten.
const CHANNELS_KEPT: usize = 1_000;

/// What is written first, when several wait for one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// What nobody was told of yet.
    News,
    /// What completes or corrects what was told.
    Later,
}

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

    /// Waits for this caller's turn in `channel`, unless that is further away than `patience`: then the wait that is
    /// left. News take the next turn at once; the rest takes one only when it has come, so that it never stands
    /// between news and the channel.
    pub async fn turn(
        &self,
        channel: &str,
        urgency: Urgency,
        patience: Duration,
    ) -> Result<(), Duration> {
        let give_up = Instant::now() + patience;
        loop {
            let now = Instant::now();
            let at = {
                // Every statement leaves the map whole, so that a panic elsewhere does no harm here.
                let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
                if next.len() > CHANNELS_KEPT {
                    next.retain(|_, at| *at > now);
                }
                let at = next.get(channel).copied().unwrap_or(now).max(now);
                if at > give_up {
                    return Err(at.duration_since(now));
                }
                if urgency == Urgency::News || at == now {
                    next.insert(channel.to_owned(), at + self.between);
                    if at == now {
                        return Ok(());
                    }
                }
                at
            };
            tokio::time::sleep_until(at).await;
            if urgency == Urgency::News {
                return Ok(());
            }
        }
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
    use super::Urgency::{Later, News};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PATIENT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_channel_is_written_to_once_a_second_and_others_do_not_wait_for_it() {
        let (pace, start) = (Pace::new(SECOND), Instant::now());
        for urgency in [News, Later, News] {
            pace.turn("C1", urgency, PATIENT)
                .await
                .expect("its turn comes");
        }
        assert_eq!(start.elapsed(), Duration::from_secs(2));
        pace.turn("C2", Later, PATIENT)
            .await
            .expect("its turn comes");
        assert_eq!(start.elapsed(), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn news_do_not_wait_behind_edits() {
        let (pace, start) = (Pace::new(SECOND), Instant::now());
        let edits: Vec<_> = (0..5)
            .map(|_| {
                let pace = pace.clone();
                tokio::spawn(async move {
                    pace.turn("C1", Later, PATIENT)
                        .await
                        .map(|()| start.elapsed())
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(500)).await;
        pace.turn("C1", News, PATIENT)
            .await
            .expect("its turn comes");
        assert_eq!(start.elapsed(), SECOND);
        let mut times = Vec::new();
        for edit in edits {
            times.push(
                edit.await
                    .expect("no panic")
                    .expect("its turn comes")
                    .as_secs(),
            );
        }
        times.sort_unstable();
        assert_eq!(times, [0, 2, 3, 4, 5], "each has a turn of its own");
    }

    #[tokio::test(start_paused = true)]
    async fn a_channel_that_must_rest_is_not_waited_for() {
        let pace = Pace::new(SECOND);
        pace.rest("C1", Duration::from_secs(30));
        for urgency in [News, Later] {
            assert_eq!(
                pace.turn("C1", urgency, PATIENT).await,
                Err(Duration::from_secs(30))
            );
        }
        tokio::time::advance(Duration::from_secs(25)).await;
        assert_eq!(pace.turn("C1", Later, PATIENT).await, Ok(()));
    }
}
