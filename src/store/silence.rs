//! Silences by labels.

use jiff::Timestamp;

use super::{Result, Store, Tx, decode, encode, on_read, on_tx};
use crate::alert::silence::Silence;

row! {
    struct Row {
        number: i64,
        body: String,
    }
}

fn silences(rows: Vec<Row>) -> Result<Vec<Silence>> {
    rows.into_iter()
        .map(|row| decode("silence", &row.number.to_string(), &row.body))
        .collect()
}

impl Tx {
    /// The next short number. The caller holds the lock of the alerts.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn next_silence_number(&mut self) -> Result<i64> {
        Ok(on_tx!(self, conn => {
            sqlx::query_scalar("select coalesce(max(number), 0) + 1 from silence").fetch_one(conn).await
        })?)
    }

    /// Saves a new or changed silence.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn save_silence(&mut self, silence: &Silence) -> Result<()> {
        let body = encode("silence", &silence.number.to_string(), silence)?;
        on_tx!(self, conn => {
            sqlx::query(
                "insert into silence (number, starts_ms, ends_ms, body) values ($1, $2, $3, $4)
                 on conflict (number) do update set
                    starts_ms = excluded.starts_ms, ends_ms = excluded.ends_ms, body = excluded.body",
            )
            .bind(silence.number)
            .bind(silence.starts.as_millisecond())
            .bind(silence.ends.as_millisecond())
            .bind(&body)
            .execute(conn)
            .await
            .map(drop)
        })?;
        Ok(())
    }

    /// A silence by number.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn silence(&mut self, number: i64) -> Result<Option<Silence>> {
        let row: Option<Row> = on_tx!(self, conn => {
            sqlx::query_as("select number, body from silence where number = $1").bind(number).fetch_optional(conn).await
        })?;
        Ok(silences(row.into_iter().collect())?.into_iter().next())
    }

    /// The silences that hold at `now`, oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn silences_in_force(&mut self, now: Timestamp) -> Result<Vec<Silence>> {
        let rows: Vec<Row> = on_tx!(self, conn => {
            sqlx::query_as("select number, body from silence where starts_ms <= $1 and ends_ms > $1 order by number")
                .bind(now.as_millisecond()).fetch_all(conn).await
        })?;
        silences(rows)
    }
}

impl Store {
    /// The silences that hold at `now` or will, oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn silences(&self, now: Timestamp) -> Result<Vec<Silence>> {
        let rows: Vec<Row> = on_read!(self, pool => {
            sqlx::query_as("select number, body from silence where ends_ms > $1 order by number")
                .bind(now.as_millisecond()).fetch_all(pool).await
        })?;
        silences(rows)
    }
}
