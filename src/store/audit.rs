//! The audit: appended inside the transaction that it tells of; never changed.

use jiff::Timestamp;

use super::{Result, Store, Tx, decode, encode, instant, name_of, named, on_read, on_tx};
use crate::safety::audit::{self, AuditEntry, NewEntry};

row! {
    struct Row {
        seq: i64,
        at_ms: i64,
        kind: String,
        actor: String,
        subject: String,
        content: String,
        previous: String,
        hash: String,
    }
}

impl Row {
    fn decode(self) -> Result<AuditEntry> {
        let id = self.seq.to_string();
        Ok(AuditEntry {
            seq: self.seq,
            at: instant(self.at_ms),
            kind: named("audit", &id, &self.kind)?,
            actor: self.actor,
            subject: self.subject,
            content: decode("audit", &id, &self.content)?,
            previous: self.previous,
            hash: self.hash,
        })
    }

    /// The entry, if the row is, to the letter, what appending it would have written.
    fn if_to_the_letter(self) -> Option<AuditEntry> {
        let (at_ms, content) = (self.at_ms, self.content.clone());
        let entry = self.decode().ok()?;
        let written = encode("audit", "", &entry.content).ok()?;
        (entry.at.as_millisecond() == at_ms && written == content).then_some(entry)
    }
}

row! {
    /// Where the chain ends, as kept apart from the entries.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct AuditHead {
        /// Number of the last entry ever appended.
        pub seq: i64,
        /// Its hash; `None` if it was appended before hashes were kept here.
        pub hash: Option<String>,
    }
}

/// A row of the audit as a check reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRow {
    pub seq: i64,
    /// `None` if the row is not what nightbell writes.
    pub entry: Option<AuditEntry>,
}

impl Tx {
    /// Appends an entry. It holds the end of the chain until the transaction ends, so let it be the last thing done
    /// before the commit: two transactions that take rows in different orders would wait for each other.
    pub async fn append_audit(&mut self, entry: &NewEntry, now: Timestamp) -> Result<()> {
        let head: AuditHead = on_tx!(self, conn => {
            sqlx::query_as("update gate set value = value + 1 where name = 'audit' returning value as seq, hash")
                .fetch_one(conn).await
        })?;
        let seq = head.seq;
        let previous = match head.hash {
            Some(hash) => Some(hash),
            None => on_tx!(self, conn => {
                sqlx::query_scalar("select hash from audit where seq = $1").bind(seq - 1).fetch_optional(conn).await
            })?,
        };
        let entry = audit::link(seq, previous, entry, now);
        let content = encode("audit", &seq.to_string(), &entry.content)?;
        on_tx!(self, conn => {
            sqlx::query(
                "insert into audit (seq, at_ms, kind, actor, subject, content, previous, hash)
                 values ($1, $2, $3, $4, $5, $6, $7, $8)",
            )
            .bind(entry.seq).bind(entry.at.as_millisecond()).bind(name_of(&entry.kind)).bind(&entry.actor)
            .bind(&entry.subject).bind(content).bind(&entry.previous).bind(&entry.hash)
            .execute(conn).await.map(drop)
        })?;
        on_tx!(self, conn => {
            sqlx::query("update gate set hash = $1 where name = 'audit'").bind(&entry.hash)
                .execute(conn).await.map(drop)
        })?;
        Ok(())
    }
}

impl Store {
    /// Entries after `seq` that were appended at `since` or later, oldest first: what an export pages through.
    pub async fn audit_after(
        &self,
        seq: i64,
        since: Option<Timestamp>,
        limit: i64,
    ) -> Result<Vec<AuditEntry>> {
        let since = since.map_or(i64::MIN, Timestamp::as_millisecond);
        let rows: Vec<Row> = on_read!(self, pool => {
            sqlx::query_as(
                "select seq, at_ms, kind, actor, subject, content, previous, hash from audit
                 where seq > $1 and at_ms >= $2 order by seq limit $3",
            )
            .bind(seq).bind(since).bind(limit).fetch_all(pool).await
        })?;
        rows.into_iter().map(Row::decode).collect()
    }

    /// Rows after `seq`, oldest first, each also if it cannot be read: what a check pages through.
    pub async fn audit_rows(&self, seq: i64, limit: i64) -> Result<Vec<AuditRow>> {
        let rows: Vec<Row> = on_read!(self, pool => {
            sqlx::query_as(
                "select seq, at_ms, kind, actor, subject, content, previous, hash from audit
                 where seq > $1 order by seq limit $2",
            )
            .bind(seq).bind(limit).fetch_all(pool).await
        })?;
        Ok(rows
            .into_iter()
            .map(|row| AuditRow {
                seq: row.seq,
                entry: row.if_to_the_letter(),
            })
            .collect())
    }

    /// Where the chain ends, kept apart from the entries, so that a cut-off or rewritten end shows.
    pub async fn audit_head(&self) -> Result<AuditHead> {
        Ok(on_read!(self, pool => {
            sqlx::query_as("select value as seq, hash from gate where name = 'audit'").fetch_one(pool).await
        })?)
    }

    /// Everything told about one approval or execution, oldest first.
    pub async fn audit_of(&self, subject: &str) -> Result<Vec<AuditEntry>> {
        let rows: Vec<Row> = on_read!(self, pool => {
            sqlx::query_as(
                "select seq, at_ms, kind, actor, subject, content, previous, hash from audit
                 where subject = $1 order by seq",
            )
            .bind(subject).fetch_all(pool).await
        })?;
        rows.into_iter().map(Row::decode).collect()
    }
}
