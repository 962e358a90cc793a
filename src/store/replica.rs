//! Processes that share the database: their signs of life, and what they hold.

use std::fs::File;

use jiff::Timestamp;

use super::{Db, Result, Store, on_read, on_tx};

impl Store {
    /// Takes the SQLite file for this process alone, for as long as the result lives; the operating system gives it back
    /// however the process ends. `None` if another process has it, if there is no file, or for PostgreSQL.
    #[must_use]
    pub fn take_alone(&self) -> Option<File> {
        let Db::Sqlite { write, .. } = &self.db else {
            return None;
        };
        let mut path = write
            .connect_options()
            .get_filename()
            .as_os_str()
            .to_owned();
        if path.is_empty() || path == ":memory:" {
            return None;
        }
        path.push(".lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .ok()?;
        // Where files cannot be locked, as on some network drives, nobody is known to be alone.
        file.try_lock().is_ok().then_some(file)
    }

    /// A sign of life of a process.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn beat(&self, replica: &str, now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        on_tx!(&mut tx, conn => {
            sqlx::query(
                "insert into replica (id, beats, started_ms) values ($1, 1, $2)
                 on conflict (id) do update set beats = replica.beats + 1",
            )
            .bind(replica).bind(now.as_millisecond()).execute(conn).await.map(drop)
        })?;
        tx.commit().await
    }

    /// How often each known process gave a sign of life. A process that holds claims is known; it may never have given
    /// one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn replicas(&self) -> Result<Vec<(String, Option<i64>)>> {
        let beating: Vec<(String, i64)> = on_read!(self, pool => {
            sqlx::query_as("select id, beats from replica").fetch_all(pool).await
        })?;
        let owners: Vec<String> = on_read!(self, pool => {
            sqlx::query_scalar("select distinct owner from effect where owner is not null and done_ms is null")
                .fetch_all(pool).await
        })?;
        let mut all: Vec<(String, Option<i64>)> = beating
            .into_iter()
            .map(|(id, beats)| (id, Some(beats)))
            .collect();
        for owner in owners {
            let id = process_of(&owner);
            if !all.iter().any(|(known, _)| known == id) {
                all.push((id.to_owned(), None));
            }
        }
        Ok(all)
    }

    /// Gives back what a process holds, so that it is due again, and forgets the process. Returns how much that was.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn bury_replica(&self, replica: &str) -> Result<u64> {
        let mut tx = self.begin().await?;
        let freed = on_tx!(&mut tx, conn => {
            sqlx::query(
                "update effect set owner = null, lease_until_ms = null
                 where owner is not null and done_ms is null and (owner = $1 or owner like $1 || '/%')",
            )
            .bind(replica).execute(conn).await.map(|done| done.rows_affected())
        })?;
        on_tx!(&mut tx, conn => {
            sqlx::query("delete from replica where id = $1").bind(replica).execute(conn).await.map(drop)
        })?;
        tx.commit().await?;
        Ok(freed)
    }
}

/// The process of a worker: workers are called `<process>/<what they do>`.
fn process_of(owner: &str) -> &str {
    owner.split_once('/').map_or(owner, |(process, _)| process)
}
