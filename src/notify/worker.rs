//! The loop that every outbox worker runs: wait for what is due, claim it, carry it out, give back what failed.

use std::future::Future;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::store::{Effect, EffectKind, Store, StoreError};

/// How soon a new effect is noticed. Looking is one indexed read.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How soon the effects of a worker that died are taken over once its lease ran out; claiming is a write.
const TAKE_OVER_EVERY: Duration = Duration::from_secs(5);
/// After a fault of the database.
const AFTER_FAULT: Duration = Duration::from_secs(2);
/// A claim outlives the slowest call with its wait for the channel.
const LEASE: SignedDuration = SignedDuration::from_secs(60);
/// Effects claimed in one write.
const LANES: i64 = 16;
/// Effects in hand at once. Most of them wait for their turn in a channel, which costs nothing.
const IN_HAND: usize = 64;
/// Diagnoses in hand at once: each holds the logs of a gang.
const DIAGNOSES_IN_HAND: usize = 16;
/// The longest wait between attempts, however long the other side is away.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_mins(5);

/// Why an effect was not carried out, and when to try again.
#[derive(Debug)]
pub struct Again {
    at: Timestamp,
    /// Fit for people and logs: no secrets.
    why: String,
    failed: bool,
}

impl Again {
    /// An attempt failed. Failures add up and make the next wait longer, see [`back_off`].
    #[must_use]
    pub fn failed(at: Timestamp, why: impl Into<String>) -> Self {
        Self {
            at,
            why: why.into(),
            failed: true,
        }
    }

    /// Its turn has not come. To have waited long must not make a first failure look like the thirtieth.
    #[must_use]
    pub fn waits(at: Timestamp, why: impl Into<String>) -> Self {
        Self {
            at,
            why: why.into(),
            failed: false,
        }
    }
}

/// What a worker made of an effect: it finished the effect itself, in the transaction that saved its outcome, or wants
/// it back later.
pub type Handled = Result<(), Again>;

/// Carries out effects of `kind` until `stop`, and then what it has in hand. `owner` names this worker among all
/// replicas. What takes long holds up nothing but its own lane.
pub async fn work<F, Fut>(
    store: &Store,
    kind: EffectKind,
    owner: &str,
    stop: &CancellationToken,
    handle: F,
) where
    F: Fn(Effect) -> Fut,
    Fut: Future<Output = Handled>,
{
    let most = match kind {
        EffectKind::Diagnose => DIAGNOSES_IN_HAND,
        EffectKind::SyncMessage
        | EffectKind::ThreadNote
        | EffectKind::ThreadPicture
        | EffectKind::Page
        | EffectKind::Execute
        | EffectKind::Verify
        | EffectKind::ExpireApproval
        | EffectKind::Deliver
        | EffectKind::Wake => IN_HAND,
    };
    let mut in_hand = FuturesUnordered::new();
    let mut taken_over: Option<Instant> = None;
    let mut wait = Duration::ZERO;
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(()) = in_hand.next() => {
                // What it made possible may be due at once: an edit of what was posted.
                wait = Duration::ZERO;
                continue;
            }
            () = tokio::time::sleep(wait) => {}
        }
        wait = LOOK_EVERY;
        let room = i64::try_from(most.saturating_sub(in_hand.len())).unwrap_or(LANES);
        if room == 0 {
            continue;
        }
        let due = match store.next_effect_due(kind).await {
            Ok(due) => due.is_some_and(|due| due <= Timestamp::now()),
            // The claim meets the same fault and says so.
            Err(_) => true,
        };
        if !due && taken_over.is_some_and(|at| at.elapsed() < TAKE_OVER_EVERY) {
            continue;
        }
        taken_over = Some(Instant::now());
        match store
            .claim_effects(kind, owner, room.min(LANES), LEASE, Timestamp::now())
            .await
        {
            Ok(claimed) => {
                for effect in claimed {
                    in_hand.push(carry_out(store, kind, owner, &handle, effect));
                }
            }
            Err(fault) => {
                warn!(effect.kind = kind.as_str(), error = %fault, "cannot reach the outbox");
                wait = AFTER_FAULT;
            }
        }
    }
    while in_hand.next().await.is_some() {}
}

/// Claims what is due and carries it out; returns how many effects were claimed.
pub async fn turn<F, Fut>(
    store: &Store,
    kind: EffectKind,
    owner: &str,
    handle: &F,
) -> Result<usize, StoreError>
where
    F: Fn(Effect) -> Fut,
    Fut: Future<Output = Handled>,
{
    let claimed = store
        .claim_effects(kind, owner, LANES, LEASE, Timestamp::now())
        .await?;
    let count = claimed.len();
    join_all(
        claimed
            .into_iter()
            .map(|effect| carry_out(store, kind, owner, handle, effect)),
    )
    .await;
    Ok(count)
}

/// Carries out one claimed effect, and gives it back if it failed.
async fn carry_out<F, Fut>(store: &Store, kind: EffectKind, owner: &str, handle: &F, effect: Effect)
where
    F: Fn(Effect) -> Fut,
    Fut: Future<Output = Handled>,
{
    let kept = effect.clone();
    let Err(again) = handle(effect).await else {
        return;
    };
    if again.failed && kept.failures >= 3 {
        warn!(effect.kind = kind.as_str(), effect.lane = %kept.lane, effect.failures = kept.failures + 1,
            "still failing: {}", again.why);
    }
    let given_back = if again.failed {
        store.retry_effect(&kept, owner, &again.why, again.at).await
    } else {
        store
            .postpone_effect(&kept, owner, &again.why, again.at)
            .await
    };
    if let Err(fault) = given_back {
        // Its lease runs out, and it is claimed again.
        error!(effect.kind = kind.as_str(), error = %fault, "cannot give an effect back");
    }
}

/// When to try again after so many `failures`: doubling from a second to five minutes, spread by a fifth so that
/// replicas do not knock together.
#[must_use]
pub fn back_off(failures: i64, now: Timestamp) -> Timestamp {
    let seconds = 1_i64 << failures.clamp(1, 9).saturating_sub(1);
    let wait = SignedDuration::from_secs(seconds)
        .min(LONGEST_WAIT)
        .mul_f64(0.8 + 0.4 * fastrand::f64());
    now.saturating_add(wait).unwrap_or(now)
}

/// A fault of our own database while carrying out an effect.
#[must_use]
pub fn store_fault(fault: &StoreError, now: Timestamp) -> Again {
    Again::failed(back_off(2, now), fault.to_string())
}
