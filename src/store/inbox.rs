//! Deliveries from chat: recorded many at a time, each once, together with the effect that carries it out.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::AssertSqlSafe;

use super::{EffectKind, Result, Store, StoreError, Tx, new_id, on_read, on_tx};

/// How long a signature is remembered. Slack's are refused after five minutes by their own time, so that twice that
/// leaves no gap.
const SIGNATURE_KEPT: SignedDuration = SignedDuration::from_mins(10);
/// How long an event, message or click is remembered: Slack may deliver events a day late.
const DELIVERY_KEPT: SignedDuration = SignedDuration::from_hours(25);
/// Rows of one insert. Few sizes, so that few statements are prepared.
const ROWS: [usize; 4] = [64, 16, 4, 1];

/// A verified delivery, not yet recorded.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    /// `event`, `interaction` or `command`.
    pub kind: &'static str,
    /// JSON.
    pub payload: String,
    /// Hex of the request's signature; none from a socket.
    pub signature: Option<String>,
    /// Any of these seen before means that this delivery was seen before.
    pub keys: Vec<String>,
    /// Deliveries of one lane are carried out in order.
    pub lane: String,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    Stored,
    /// The same event, message or click is recorded already.
    Duplicate,
    /// The very same signed request is recorded already.
    Replayed,
}

row! {
    /// A recorded delivery.
    #[derive(Clone, Debug)]
    pub struct InboxRow {
        pub id: String,
        pub kind: String,
        pub payload: String,
        pub received_ms: i64,
        answer: Option<String>,
    }
}

impl InboxRow {
    /// The answer that an earlier attempt got from the desk.
    ///
    /// # Errors
    /// When it was saved by a version with another shape.
    pub fn answer<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.answer
            .as_deref()
            .map(|json| super::decode("inbox", &self.id, json))
            .transpose()
    }
}

impl Store {
    /// Records deliveries with their `Deliver` effects in one transaction, each at most once. Gives the verdicts in
    /// the order of `deliveries`.
    ///
    /// # Errors
    /// When the database refuses; none is recorded then.
    pub async fn record_deliveries(
        &self,
        deliveries: &[NewDelivery],
        now: Timestamp,
    ) -> Result<Vec<Recorded>> {
        let ids: Vec<String> = deliveries.iter().map(|_| new_id()).collect();
        let mut tx = self.begin().await?;
        let mut fresh = tx.take_keys(deliveries, &ids, now).await?;
        let mut verdicts = Vec::with_capacity(deliveries.len());
        let mut stored = Vec::with_capacity(deliveries.len());
        for (delivery, id) in deliveries.iter().zip(&ids) {
            // A key that is taken out by the first delivery of the batch is no longer fresh for the second.
            let replayed = delivery
                .signature
                .iter()
                .any(|signature| !fresh.remove(&signature_key(signature)));
            // All of them are taken out, also after the first that is known.
            let known = delivery
                .keys
                .iter()
                .filter(|key| !fresh.remove(*key))
                .count()
                > 0;
            verdicts.push(match (replayed, known) {
                (true, _) => Recorded::Replayed,
                (false, true) => Recorded::Duplicate,
                (false, false) => {
                    stored.push((delivery, id.as_str()));
                    Recorded::Stored
                }
            });
        }
        tx.insert_deliveries(&stored, now).await?;
        tx.commit().await?;
        Ok(verdicts)
    }

    /// Reads a recorded delivery; `None` if it was pruned.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn delivery(&self, id: &str) -> Result<Option<InboxRow>> {
        on_read!(self, pool => {
            sqlx::query_as("select id, kind, payload, received_ms, answer from inbox where id = $1")
                .bind(id).fetch_optional(pool).await
        })
        .map_err(StoreError::Query)
    }

    /// Saves what the desk answered, before it is posted.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn save_delivery_answer<T: Serialize + Sync>(
        &self,
        id: &str,
        answer: &T,
    ) -> Result<()> {
        let json = super::encode("inbox", id, answer)?;
        let mut tx = self.begin().await?;
        on_tx!(&mut tx, conn => {
            sqlx::query("update inbox set answer = $1 where id = $2").bind(json).bind(id).execute(conn).await.map(drop)
        })?;
        tx.commit().await
    }

    /// Deletes deliveries that were done before `before`, and keys that ran out by `now`.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn prune_inbox(&self, before: Timestamp, now: Timestamp) -> Result<u64> {
        let mut tx = self.begin().await?;
        let pruned = on_tx!(&mut tx, conn => {
            sqlx::query("delete from inbox where done_ms < $1")
                .bind(before.as_millisecond()).execute(conn).await.map(|done| done.rows_affected())
        })?;
        on_tx!(&mut tx, conn => {
            sqlx::query("delete from inbox_key where expires_ms < $1")
                .bind(now.as_millisecond()).execute(conn).await.map(drop)
        })?;
        tx.commit().await?;
        Ok(pruned)
    }
}

impl Tx {
    /// Marks a delivery as done and forgets its payload and answer.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn finish_delivery(&mut self, id: &str, now: Timestamp) -> Result<()> {
        on_tx!(self, conn => {
            sqlx::query("update inbox set done_ms = $1, payload = '', answer = null where id = $2")
                .bind(now.as_millisecond()).bind(id).execute(conn).await.map(drop)
        })
        .map_err(StoreError::Query)
    }

    /// Saves all keys of the deliveries and gives back those that were not there before.
    async fn take_keys(
        &mut self,
        deliveries: &[NewDelivery],
        ids: &[String],
        now: Timestamp,
    ) -> Result<HashSet<String>> {
        let mut keys: HashMap<String, (&str, i64)> = HashMap::new();
        let until = |kept| {
            now.saturating_add(kept)
                .map_or(i64::MAX, Timestamp::as_millisecond)
        };
        for (delivery, id) in deliveries.iter().zip(ids) {
            if let Some(signature) = &delivery.signature {
                keys.entry(signature_key(signature))
                    .or_insert((id, until(SIGNATURE_KEPT)));
            }
            for key in &delivery.keys {
                keys.entry(key.clone())
                    .or_insert((id, until(DELIVERY_KEPT)));
            }
        }
        // In one order everywhere, so that two replicas that record the same keys do not wait for each other.
        let mut rows: Vec<(String, (&str, i64))> = keys.into_iter().collect();
        rows.sort_unstable();
        let mut fresh = HashSet::with_capacity(rows.len());
        for rows in in_portions(&rows) {
            // A key that ran out counts as new, whether it was pruned yet or not.
            let insert = format!(
                "insert into inbox_key (name, inbox_id, expires_ms) values {}
                 on conflict (name) do update set inbox_id = excluded.inbox_id, expires_ms = excluded.expires_ms
                    where inbox_key.expires_ms < ${}",
                placeholders(rows.len(), 3, &[]),
                rows.len() * 3 + 1,
            );
            let taken = on_tx!(self, conn => {
                let mut query = sqlx::query(AssertSqlSafe(insert));
                for (key, (id, expires)) in rows {
                    query = query.bind(key).bind(*id).bind(*expires);
                }
                query.bind(now.as_millisecond()).execute(conn).await.map(|done| done.rows_affected())
            })?;
            if taken == rows.len() as u64 {
                fresh.extend(rows.iter().map(|(key, _)| key.clone()));
                continue;
            }
            // Some were there before: those that still belong to another delivery.
            let owners = format!(
                "select name, inbox_id from inbox_key where name in {}",
                placeholders(1, rows.len(), &[])
            );
            let owners: Vec<(String, String)> = on_tx!(self, conn => {
                let mut query = sqlx::query_as(AssertSqlSafe(owners));
                for (key, _) in rows {
                    query = query.bind(key);
                }
                query.fetch_all(conn).await
            })?;
            let is_ours = |(key, owner): &(String, String)| {
                rows.binary_search_by(|(name, _)| name.cmp(key))
                    .is_ok_and(|at| rows[at].1.0 == owner)
            };
            fresh.extend(owners.into_iter().filter(is_ours).map(|(key, _)| key));
        }
        Ok(fresh)
    }

    async fn insert_deliveries(
        &mut self,
        deliveries: &[(&NewDelivery, &str)],
        now: Timestamp,
    ) -> Result<()> {
        let now_ms = now.as_millisecond();
        for rows in in_portions(deliveries) {
            let sql = format!(
                "insert into inbox (id, kind, payload, received_ms) values {}",
                placeholders(rows.len(), 4, &[])
            );
            on_tx!(self, conn => {
                let mut query = sqlx::query(AssertSqlSafe(sql));
                for (delivery, id) in rows {
                    query = query.bind(*id).bind(delivery.kind).bind(&delivery.payload).bind(now_ms);
                }
                query.execute(conn).await.map(drop)
            })?;
            // As `add_effect` does, without what folding needs.
            let sql = format!(
                "insert into effect (id, lane, payload, due_ms, created_ms, kind) values {}",
                placeholders(rows.len(), 5, &[EffectKind::Deliver.as_str()])
            );
            on_tx!(self, conn => {
                let mut query = sqlx::query(AssertSqlSafe(sql));
                for (delivery, id) in rows {
                    query = query.bind(new_id()).bind(&delivery.lane).bind(format!("\"{id}\"")).bind(now_ms).bind(now_ms);
                }
                query.execute(conn).await.map(drop)
            })?;
        }
        Ok(())
    }
}

/// Half of a signature names its request well enough, and keeps the index small.
fn signature_key(signature: &str) -> String {
    format!("signature:{}", signature.get(..32).unwrap_or(signature))
}

/// `($1, $2), ($3, $4)` for `rows` rows of `columns` bound values, each followed by the same literal words.
fn placeholders(rows: usize, columns: usize, words: &[&str]) -> String {
    let mut sql = String::with_capacity(rows * (columns * 6 + 20));
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=columns {
            if column > 1 {
                sql.push_str(", ");
            }
            sql.push('$');
            sql.push_str(&(row * columns + column).to_string());
        }
        for word in words {
            sql.push_str(", '");
            sql.push_str(word);
            sql.push('\'');
        }
        sql.push(')');
    }
    sql
}

/// Splits rows into portions of the sizes in [`ROWS`], largest first.
fn in_portions<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = ROWS.into_iter().find(|size| *size <= rows.len())?;
        let (portion, rest) = rows.split_at(size);
        rows = rest;
        Some(portion)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_inserted_in_few_sizes_and_all_of_them() {
        let rows: Vec<usize> = (0..150).collect();
        let sizes: Vec<usize> = in_portions(&rows).map(<[usize]>::len).collect();
        assert_eq!(sizes, [64, 64, 16, 4, 1, 1]);
        assert_eq!(placeholders(2, 2, &["x"]), "($1, $2, 'x'), ($3, $4, 'x')");
    }
}
