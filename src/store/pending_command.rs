//! Commands that wait for their asker's yes.

use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, de::DeserializeOwned};

use super::{Result, Store, decode, encode, new_id, on_read, on_tx};

/// How long a settled or expired command is kept to explain late clicks.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// What became of the attempt to take a pending command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken<T> {
    /// It is the caller's now, and nobody else's.
    Yours(T),
    /// Somebody else asked for it.
    NotYours,
    /// It was confirmed or cancelled before.
    Already,
    Expired,
    Unknown,
}

row! {
    struct Row {
        asker: String,
        expires_ms: i64,
        taken_ms: Option<i64>,
    }
}

impl Store {
    /// Keeps a command until its asker confirms it or `expires` comes. Returns its id.
    pub async fn keep_command<T: Serialize>(
        &self,
        asker: &str,
        command: &T,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<String> {
        let id = new_id();
        let command = encode("pending_command", &id, command)?;
        let forget = now.saturating_sub(KEPT).unwrap_or(Timestamp::MIN);
        let mut tx = self.begin().await?;
        on_tx!(&mut tx, conn => {
            sqlx::query("delete from pending_command where expires_ms < $1")
                .bind(forget.as_millisecond()).execute(conn).await.map(drop)
        })?;
        on_tx!(&mut tx, conn => {
            sqlx::query("insert into pending_command (id, asker, command, expires_ms) values ($1, $2, $3, $4)")
                .bind(&id).bind(asker).bind(&command).bind(expires.as_millisecond()).execute(conn).await.map(drop)
        })?;
        tx.commit().await?;
        Ok(id)
    }

    /// Reads a command that waits, without taking it.
    pub async fn kept_command<T: DeserializeOwned>(&self, id: &str) -> Result<Option<T>> {
        let command: Option<String> = on_read!(self, pool => {
            sqlx::query_scalar("select command from pending_command where id = $1 and taken_ms is null")
                .bind(id).fetch_optional(pool).await
        })?;
        command
            .map(|json| decode("pending_command", id, &json))
            .transpose()
    }

    /// Takes a command for `asker`. Of several attempts at once, one gets it.
    pub async fn take_command<T: DeserializeOwned>(
        &self,
        id: &str,
        asker: &str,
        now: Timestamp,
    ) -> Result<Taken<T>> {
        let mut tx = self.begin().await?;
        let command: Option<String> = on_tx!(&mut tx, conn => {
            sqlx::query_scalar(
                "update pending_command set taken_ms = $1
                 where id = $2 and asker = $3 and taken_ms is null and expires_ms > $1 returning command",
            )
            .bind(now.as_millisecond()).bind(id).bind(asker).fetch_optional(conn).await
        })?;
        if let Some(command) = command {
            let command = decode("pending_command", id, &command)?;
            tx.commit().await?;
            return Ok(Taken::Yours(command));
        }
        let row: Option<Row> = on_tx!(&mut tx, conn => {
            sqlx::query_as("select asker, expires_ms, taken_ms from pending_command where id = $1")
                .bind(id).fetch_optional(conn).await
        })?;
        Ok(match row {
            None => Taken::Unknown,
            Some(row) if row.asker != asker => Taken::NotYours,
            Some(row) if row.taken_ms.is_some() => Taken::Already,
            Some(row) if row.expires_ms > now.as_millisecond() => Taken::Already,
            Some(_) => Taken::Expired,
        })
    }
}
