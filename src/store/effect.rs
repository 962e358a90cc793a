//! The outbox: effects are saved with the decision that wants them, claimed by lease, and retried until done.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Result, Store, StoreError, Tx, new_id, on_read, on_tx, sql_lock};

/// What is to be done. The payload of each kind is named beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectKind {
    /// Bring the message of an alert or group at one destination up to date (`notify::SyncMessage`).
    SyncMessage,
    /// Post a card into the thread of an alert's message (`notify::ThreadNote`).
    ThreadNote,
    /// Put the picture of a diagnosis into the thread of an alert's message (`notify::ThreadPicture`).
    ThreadPicture,
    /// Tell PagerDuty (`notify::Page`).
    Page,
    /// Collect evidence and diagnose an alert's job (`diagnose::worker::Request`).
    Diagnose,
    /// Carry out a permitted execution (its id).
    Execute,
    /// Observe the target of an execution (its id).
    Verify,
    /// An approval runs out (its id).
    ExpireApproval,
    /// Carry out a recorded chat delivery (its inbox id).
    Deliver,
    /// Something to look at again at a time (subject id).
    Wake,
}

impl EffectKind {
    /// The name in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SyncMessage => "sync_message",
            Self::ThreadNote => "thread_note",
            Self::ThreadPicture => "thread_picture",
            Self::Page => "page",
            Self::Diagnose => "diagnose",
            Self::Execute => "execute",
            Self::Verify => "verify",
            Self::ExpireApproval => "expire_approval",
            Self::Deliver => "deliver",
            Self::Wake => "wake",
        }
    }
}

/// An effect to be saved.
#[derive(Clone, Debug)]
pub struct NewEffect {
    pub kind: EffectKind,
    /// Effects of one lane are carried out in order, one at a time: `slack:C1`, `pagerduty`, `execute:<id>`.
    pub lane: String,
    /// While an effect with this key waits, another folds into it (and brings the due time forward).
    pub fold: Option<String>,
    pub payload: serde_json::Value,
    pub due: Timestamp,
}

row! {
    /// A claimed effect.
    #[derive(Clone, Debug)]
    pub struct Effect {
        pub id: String,
        pub lane: String,
        /// JSON of the kind's payload.
        pub payload: String,
        pub generation: i64,
        /// How often it was claimed, this time included. More than one: an earlier attempt failed or died.
        pub attempts: i64,
        /// How often it failed since it last succeeded. An attempt whose process died is none.
        pub failures: i64,
        pub created_ms: i64,
    }
}

impl Effect {
    /// Decodes the payload.
    ///
    /// # Errors
    /// When it was saved by a version with another shape.
    pub fn payload<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        super::decode("effect", &self.id, &self.payload)
    }
}

impl Tx {
    /// Saves an effect, or folds it into the waiting one with the same key.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn add_effect(&mut self, effect: &NewEffect, now: Timestamp) -> Result<()> {
        on_tx!(self, conn => {
            sqlx::query(
                "insert into effect (id, kind, lane, fold, payload, due_ms, created_ms)
                 values ($1, $2, $3, $4, $5, $6, $7)
                 on conflict (fold) where done_ms is null and fold is not null do update set
                    payload = excluded.payload,
                    generation = effect.generation + 1,
                    due_ms = case when effect.failures > 0 and effect.owner is null then effect.due_ms
                                  when effect.due_ms < excluded.due_ms then effect.due_ms
                                  else excluded.due_ms end",
            )
            .bind(new_id())
            .bind(effect.kind.as_str())
            .bind(&effect.lane)
            .bind(&effect.fold)
            .bind(effect.payload.to_string())
            .bind(effect.due.as_millisecond())
            .bind(now.as_millisecond())
            .execute(conn)
            .await
            .map(drop)
        })
        .map_err(StoreError::Query)
    }
}

impl Store {
    /// Claims up to `limit` due effects of `kind` for `owner`: at most the first of each lane, and none of a lane
    /// that another claim holds. A claim lasts `lease`; after that the effect counts as abandoned and is due again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn claim_effects(
        &self,
        kind: EffectKind,
        owner: &str,
        limit: i64,
        lease: SignedDuration,
        now: Timestamp,
    ) -> Result<Vec<Effect>> {
        let now_ms = now.as_millisecond();
        let lease_until =
            now_ms.saturating_add(i64::try_from(lease.as_millis()).unwrap_or(i64::MAX));
        let mut tx = self.begin().await?;
        // The first waiting effect of its lane is the one with no earlier one before it; a lane with a live lease is
        // busy. A backed-off head blocks its lane, which keeps the order of a thread.
        let sql = sql_lock!(
            &tx,
            "update effect set owner = $1, lease_until_ms = $2, attempts = attempts + 1 where id in (
                select e.id from effect e
                where e.done_ms is null and e.kind = $3 and e.due_ms <= $4
                  and (e.lease_until_ms is null or e.lease_until_ms <= $4)
                  and not exists (
                    select 1 from effect b where b.lane = e.lane and b.done_ms is null and b.kind = e.kind
                      and ((b.lease_until_ms > $4) or (b.created_ms < e.created_ms)
                           or (b.created_ms = e.created_ms and b.id < e.id)))
                order by e.due_ms, e.id limit $5",
            ") returning id, lane, payload, generation, attempts, failures, created_ms"
        );
        let mut effects: Vec<Effect> = on_tx!(&mut tx, conn => {
            sqlx::query_as(sql)
                .bind(owner).bind(lease_until).bind(kind.as_str()).bind(now_ms).bind(limit)
                .fetch_all(conn).await
        })?;
        tx.commit().await?;
        effects.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(effects)
    }

    /// Records that a claimed effect was carried out. If a request folded into it meanwhile, it is due again.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn finish_effect(&self, effect: &Effect, owner: &str, now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        tx.finish_effect(effect, owner, now).await?;
        tx.commit().await
    }

    /// Gives a claimed effect back after a failed attempt, to be due at `retry_at`.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn retry_effect(
        &self,
        effect: &Effect,
        owner: &str,
        error: &str,
        retry_at: Timestamp,
    ) -> Result<()> {
        self.give_back(effect, owner, error, retry_at, true).await
    }

    /// Gives a claimed effect back whose turn has not come, to be due at `at`; the attempt does not count.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn postpone_effect(
        &self,
        effect: &Effect,
        owner: &str,
        why: &str,
        at: Timestamp,
    ) -> Result<()> {
        self.give_back(effect, owner, why, at, false).await
    }

    async fn give_back(
        &self,
        effect: &Effect,
        owner: &str,
        error: &str,
        due: Timestamp,
        failed: bool,
    ) -> Result<()> {
        // A turn that had not come was no attempt.
        let attempts = effect.attempts - i64::from(!failed);
        let failures = effect.failures + i64::from(failed);
        let mut tx = self.begin().await?;
        on_tx!(&mut tx, conn => {
            sqlx::query(
                "update effect set owner = null, lease_until_ms = null, last_error = $1, due_ms = $2, attempts = $3,
                    failures = $4
                 where id = $5 and owner = $6",
            )
            .bind(error).bind(due.as_millisecond()).bind(attempts).bind(failures).bind(&effect.id).bind(owner)
            .execute(conn).await.map(drop)
        })?;
        tx.commit().await
    }

    /// When the next effect of `kind` is due, if any waits.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn next_effect_due(&self, kind: EffectKind) -> Result<Option<Timestamp>> {
        let due: Option<i64> = on_read!(self, pool => {
            sqlx::query_scalar("select min(due_ms) from effect where done_ms is null and owner is null and kind = $1")
                .bind(kind.as_str()).fetch_one(pool).await
        })?;
        Ok(due.and_then(|ms| Timestamp::from_millisecond(ms).ok()))
    }

    /// Effects that wait, by kind: how many, the age of the oldest in milliseconds, and the last error of any.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn effect_backlog(
        &self,
        now: Timestamp,
    ) -> Result<Vec<(String, i64, i64, Option<String>)>> {
        let rows: Vec<(String, i64, i64, Option<String>)> = on_read!(self, pool => {
            sqlx::query_as(
                "select kind, count(*), min(created_ms), max(last_error) from effect
                 where done_ms is null and due_ms <= $1 group by kind order by kind",
            )
            .bind(now.as_millisecond()).fetch_all(pool).await
        })?;
        Ok(rows
            .into_iter()
            .map(|(kind, n, oldest, error)| (kind, n, now.as_millisecond() - oldest, error))
            .collect())
    }

    /// Deletes effects that were done before `before`.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn prune_effects(&self, before: Timestamp) -> Result<u64> {
        let mut tx = self.begin().await?;
        let pruned = on_tx!(&mut tx, conn => {
            sqlx::query("delete from effect where done_ms < $1")
                .bind(before.as_millisecond()).execute(conn).await.map(|done| done.rows_affected())
        })?;
        tx.commit().await?;
        Ok(pruned)
    }
}

impl Tx {
    /// As [`Store::finish_effect`], inside the transaction that saves what the effect brought about.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn finish_effect(
        &mut self,
        effect: &Effect,
        owner: &str,
        now: Timestamp,
    ) -> Result<()> {
        on_tx!(self, conn => {
            sqlx::query(
                "update effect set
                    done_ms = case when generation = $1 then $2 else null end,
                    owner = null, lease_until_ms = null, attempts = 0, failures = 0,
                    last_error = null
                 where id = $3 and owner = $4",
            )
            .bind(effect.generation).bind(now.as_millisecond()).bind(&effect.id).bind(owner)
            .execute(conn).await.map(drop)
        })
        .map_err(StoreError::Query)
    }
}
