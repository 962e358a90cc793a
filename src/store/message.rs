//! What was told where: messages in chat, and what PagerDuty heard last.

use jiff::Timestamp;

use super::{Result, Store, Tx, on_read, on_tx};

row! {
    /// A message about a subject at one destination.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Message {
        /// Where it really is: Slack's answer may name another channel than was asked for.
        pub channel: Option<String>,
        /// Slack's key of the message within its channel; never a number.
        pub ts: Option<String>,
        /// Digest of what is shown.
        pub digest: Option<String>,
        /// When a post began whose outcome is not known yet.
        pub attempt_ms: Option<i64>,
        pub posted_ms: Option<i64>,
    }
}

row! {
    /// What PagerDuty was told last about a subject.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct PageRow {
        pub dedup_key: String,
        pub state: String,
        pub episode: i64,
    }
}

row! {
    /// A page with the subject it is about.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct MemberPage {
        pub subject: String,
        pub dedup_key: String,
        pub state: String,
    }
}

impl Store {
    /// The message about `subject` at `destination`, if a post was ever begun.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn message(&self, subject: &str, destination: &str) -> Result<Option<Message>> {
        Ok(on_read!(self, pool => {
            sqlx::query_as(
                "select channel, ts, digest, attempt_ms, posted_ms from message where subject = $1 and destination = $2",
            )
            .bind(subject).bind(destination).fetch_optional(pool).await
        })?)
    }

    /// The subject whose message is `ts` in `channel`: what a thread is about.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn subject_of_message(&self, channel: &str, ts: &str) -> Result<Option<String>> {
        Ok(on_read!(self, pool => {
            sqlx::query_scalar("select subject from message where channel = $1 and ts = $2")
                .bind(channel).bind(ts).fetch_optional(pool).await
        })?)
    }

    /// Records that a post is about to be made. Its outcome is unknown until [`Tx::message_posted`].
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn begin_post(&self, subject: &str, destination: &str, now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        on_tx!(&mut tx, conn => {
            sqlx::query(
                "insert into message (subject, destination, attempt_ms) values ($1, $2, $3)
                 on conflict (subject, destination) do update set
                    attempt_ms = coalesce(message.attempt_ms, excluded.attempt_ms)",
            )
            .bind(subject).bind(destination).bind(now.as_millisecond()).execute(conn).await.map(drop)
        })?;
        tx.commit().await
    }

    /// Records that a post was refused: nothing was posted.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn forget_post(&self, subject: &str, destination: &str) -> Result<()> {
        let mut tx = self.begin().await?;
        on_tx!(&mut tx, conn => {
            sqlx::query("update message set attempt_ms = null where subject = $1 and destination = $2")
                .bind(subject).bind(destination).execute(conn).await.map(drop)
        })?;
        tx.commit().await
    }

    /// What PagerDuty was told last about `subject`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn page(&self, subject: &str) -> Result<Option<PageRow>> {
        Ok(on_read!(self, pool => {
            sqlx::query_as("select dedup_key, state, episode from page where subject = $1")
                .bind(subject).fetch_optional(pool).await
        })?)
    }

    /// The subject that PagerDuty knows by `dedup_key`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn subject_of_page(&self, dedup_key: &str) -> Result<Option<String>> {
        Ok(on_read!(self, pool => {
            sqlx::query_scalar("select subject from page where dedup_key = $1 order by updated_ms desc limit 1")
                .bind(dedup_key).fetch_optional(pool).await
        })?)
    }

    /// What PagerDuty has open of the members of a group by themselves, the oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open_pages_of_members(&self, group_id: &str) -> Result<Vec<MemberPage>> {
        Ok(on_read!(self, pool => {
            sqlx::query_as(
                "select page.subject, page.dedup_key, page.state from page
                 join alert on page.subject = 'alert:' || alert.id
                 where alert.group_id = $1 and page.state <> 'resolved' order by alert.number limit 100",
            )
            .bind(group_id).fetch_all(pool).await
        })?)
    }

    /// Saves what PagerDuty is being told, or was told.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn save_page(&self, subject: &str, page: &PageRow, now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        on_tx!(&mut tx, conn => {
            sqlx::query(
                "insert into page (subject, dedup_key, state, episode, updated_ms) values ($1, $2, $3, $4, $5)
                 on conflict (subject) do update set
                    dedup_key = excluded.dedup_key, state = excluded.state, episode = excluded.episode,
                    updated_ms = excluded.updated_ms",
            )
            .bind(subject).bind(&page.dedup_key).bind(&page.state).bind(page.episode).bind(now.as_millisecond())
            .execute(conn).await.map(drop)
        })?;
        tx.commit().await
    }
}

impl Tx {
    /// Notes since when PagerDuty cannot be told about `subject`, or (`None`) that it can again. False if that was noted
    /// before: it is told once.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn note_paging_trouble(
        &mut self,
        subject: &str,
        since: Option<Timestamp>,
    ) -> Result<bool> {
        let changed = on_tx!(self, conn => {
            sqlx::query("update page set trouble_ms = $1 where subject = $2 and (trouble_ms is null) = $3")
                .bind(since.map(Timestamp::as_millisecond)).bind(subject).bind(since.is_some())
                .execute(conn).await.map(|done| done.rows_affected())
        })?;
        Ok(changed > 0)
    }

    /// Records what is now shown at `destination`, and where.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn message_posted(
        &mut self,
        subject: &str,
        destination: &str,
        at: Option<(&str, &str)>,
        digest: &str,
        now: Timestamp,
    ) -> Result<()> {
        let (channel, ts) = at.unzip();
        on_tx!(self, conn => {
            sqlx::query(
                "insert into message (subject, destination, channel, ts, digest, posted_ms, updated_ms)
                 values ($1, $2, $3, $4, $5, $6, $6)
                 on conflict (subject, destination) do update set
                    channel = coalesce(excluded.channel, message.channel), ts = coalesce(excluded.ts, message.ts),
                    digest = excluded.digest, attempt_ms = null,
                    posted_ms = coalesce(message.posted_ms, excluded.posted_ms), updated_ms = excluded.updated_ms",
            )
            .bind(subject).bind(destination).bind(channel).bind(ts).bind(digest).bind(now.as_millisecond())
            .execute(conn).await.map(drop)
        })?;
        Ok(())
    }
}
