//! Who works on the outbox, and who no longer does. A process that is killed holds claims whose leases run for minutes;
//! the others, or its successor, take them over as soon as it is known to be dead.

use std::collections::HashMap;
use std::fs::File;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::store::{Result, Store};

/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(2);
/// A process that gave no sign for so long is dead. Longer than a database fails over between two of its machines, or a
/// busy machine lets a task wait; should it live after all, its claim was lost as if its lease had run out.
const DEAD: Duration = Duration::from_secs(20);

/// This process among all that share the database.
#[derive(Debug)]
pub struct Replica {
    store: Store,
    id: String,
    /// Held while this process lives: nobody else works on the SQLite file.
    alone: Option<File>,
    census: Census,
}

impl Replica {
    /// Joins the others. Whoever has the database to itself takes over at once what its predecessors held.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn join(store: Store, id: &str, now: Timestamp) -> Result<Self> {
        let alone = store.take_alone();
        if alone.is_some() {
            for (other, _) in store.replicas().await? {
                bury(&store, &other).await?;
            }
        }
        store.beat(id, now).await?;
        Ok(Self {
            store,
            id: id.to_owned(),
            alone,
            census: Census::default(),
        })
    }

    /// Gives signs of life and looks for those of the others, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Err(error) = self.look(Timestamp::now(), Instant::now()).await {
                warn!(%error, "cannot look who else works on the database");
                // While the database was away nobody could give a sign.
                self.census = Census::default();
            }
        }
    }

    /// Gives one sign of life and takes over from whoever gave none for long, by `clock`.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn look(&mut self, now: Timestamp, clock: Instant) -> Result<()> {
        self.store.beat(&self.id, now).await?;
        if self.alone.is_some() {
            return Ok(());
        }
        let known = self.store.replicas().await?;
        for dead in self.census.dead(&self.id, &known, clock) {
            bury(&self.store, &dead).await?;
        }
        Ok(())
    }
}

async fn bury(store: &Store, dead: &str) -> Result<()> {
    let freed = store.bury_replica(dead).await?;
    if freed > 0 {
        info!(
            effects = freed,
            "took over what a process that ended had in hand"
        );
    }
    Ok(())
}

/// Since when each process was last seen to give a sign of life, by our own clock: the clocks of machines differ.
#[derive(Debug, Default)]
struct Census {
    seen: HashMap<String, (Option<i64>, Instant)>,
}

impl Census {
    /// Takes in who is `known`, with how many signs they gave, and says who is dead. Never `us`.
    fn dead(&mut self, us: &str, known: &[(String, Option<i64>)], now: Instant) -> Vec<String> {
        self.seen
            .retain(|id, _| known.iter().any(|(other, _)| other == id));
        let mut dead = Vec::new();
        for (id, beats) in known.iter().filter(|(id, _)| id != us) {
            let (counted, since) = self.seen.entry(id.clone()).or_insert((*beats, now));
            if counted != beats {
                (*counted, *since) = (*beats, now);
            } else if now.duration_since(*since) >= DEAD {
                dead.push(id.clone());
            }
        }
        dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_gives_no_sign_for_long_is_dead_and_who_beats_is_not() {
        let mut census = Census::default();
        let start = Instant::now();
        let known = |beats| {
            vec![
                ("us".to_owned(), Some(1)),
                ("killed".to_owned(), Some(7)),
                ("alive".to_owned(), Some(beats)),
                ("never beat".to_owned(), None),
            ]
        };
        assert!(census.dead("us", &known(1), start).is_empty());
        assert!(census.dead("us", &known(2), start + DEAD / 2).is_empty());
        assert_eq!(
            census.dead("us", &known(3), start + DEAD),
            ["killed", "never beat"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_back_with_the_same_name_begins_anew() {
        let mut census = Census::default();
        let start = Instant::now();
        let one = [("a".to_owned(), Some(7))];
        census.dead("us", &one, start);
        census.dead("us", &[], start + BEAT);
        assert!(census.dead("us", &one, start + DEAD).is_empty());
    }
}
