//! Approvals: saved with what they ask, decided once.

use jiff::Timestamp;

use super::{
    Result, Store, Tx, decode, encode, instant, instant_option, name_of, named, on_read, on_tx,
};
use crate::safety::{Approval, ApprovalState, Scope};

row! {
    struct Row {
        id: String,
        number: i64,
        alert_id: Option<String>,
        spec: String,
        digest: String,
        scope: String,
        severity: String,
        reason: String,
        impact: String,
        requested_by: String,
        requested_ms: i64,
        expires_ms: i64,
        state: String,
        decided_by: Option<String>,
        decided_ms: Option<i64>,
        deny_reason: Option<String>,
        dry_run: bool,
        people: i64,
        endorsed: String,
    }
}

impl Row {
    fn decode(self) -> Result<(Approval, Scope)> {
        let scope = decode("approval", &self.id, &self.scope)?;
        let approval = Approval {
            number: self.number,
            alert_id: self.alert_id,
            spec: decode("approval", &self.id, &self.spec)?,
            digest: self.digest,
            severity: named("approval", &self.id, &self.severity)?,
            reason: self.reason,
            impact: decode("approval", &self.id, &self.impact)?,
            requested_by: self.requested_by,
            requested: instant(self.requested_ms),
            expires: instant(self.expires_ms),
            state: named("approval", &self.id, &self.state)?,
            decided_by: self.decided_by,
            decided: instant_option(self.decided_ms),
            deny_reason: self.deny_reason,
            dry_run: self.dry_run,
            people: usize::try_from(self.people).unwrap_or(usize::MAX),
            endorsed: decode("approval", &self.id, &self.endorsed)?,
            id: self.id,
        };
        Ok((approval, scope))
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select id, number, alert_id, spec, digest, scope, severity, reason, impact, requested_by, requested_ms,
                    expires_ms, state, decided_by, decided_ms, deny_reason, dry_run, people, endorsed
             from approval ",
            $rest
        )
    };
}

fn count(people: usize) -> i64 {
    i64::try_from(people).unwrap_or(i64::MAX)
}

/// How an approval ended.
#[derive(Clone, Debug)]
pub struct ApprovalEnd<'a> {
    pub state: ApprovalState,
    pub by: &'a str,
    pub reason: Option<&'a str>,
    pub at: Timestamp,
}

impl Tx {
    /// The next short number for people. Holds the numbering until the transaction ends.
    pub async fn next_approval_number(&mut self) -> Result<i64> {
        Ok(on_tx!(self, conn => {
            sqlx::query_scalar("update gate set value = value + 1 where name = 'approval' returning value")
                .fetch_one(conn).await
        })?)
    }

    /// Saves a new approval. A second pending one for the same alert and digest is refused by the schema.
    pub async fn insert_approval(&mut self, approval: &Approval, scope: &Scope) -> Result<()> {
        let spec = encode("approval", &approval.id, &approval.spec)?;
        let scope = encode("approval", &approval.id, scope)?;
        let impact = encode("approval", &approval.id, &approval.impact)?;
        on_tx!(self, conn => {
            sqlx::query(
                "insert into approval (id, number, alert_id, spec, digest, scope, severity, reason, impact,
                    requested_by, requested_ms, expires_ms, state, dry_run, people)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
            )
            .bind(&approval.id).bind(approval.number).bind(&approval.alert_id).bind(spec).bind(&approval.digest)
            .bind(scope).bind(name_of(&approval.severity)).bind(&approval.reason).bind(impact)
            .bind(&approval.requested_by).bind(approval.requested.as_millisecond())
            .bind(approval.expires.as_millisecond()).bind(name_of(&approval.state)).bind(approval.dry_run)
            .bind(count(approval.people))
            .execute(conn).await.map(drop)
        })?;
        Ok(())
    }

    /// Reads an approval inside the transaction.
    pub async fn approval(&mut self, id: &str) -> Result<Option<(Approval, Scope)>> {
        let row: Option<Row> = on_tx!(self, conn => {
            sqlx::query_as(select!("where id = $1")).bind(id).fetch_optional(conn).await
        })?;
        row.map(Row::decode).transpose()
    }

    /// All approvals that were asked for under an alert, oldest first.
    pub async fn approvals_of(&mut self, alert_id: &str) -> Result<Vec<Approval>> {
        let rows: Vec<Row> = on_tx!(self, conn => {
            sqlx::query_as(select!("where alert_id = $1 order by number")).bind(alert_id).fetch_all(conn).await
        })?;
        rows.into_iter().map(|row| Ok(row.decode()?.0)).collect()
    }

    /// All approvals that wait, oldest first.
    pub async fn pending_approvals(&mut self) -> Result<Vec<Approval>> {
        let rows: Vec<Row> = on_tx!(self, conn => {
            sqlx::query_as(select!("where state = 'pending' order by number")).fetch_all(conn).await
        })?;
        rows.into_iter().map(|row| Ok(row.decode()?.0)).collect()
    }

    /// Saves who approved so far, and of how many. False if it is no longer pending: nothing changed then.
    pub async fn save_endorsed(&mut self, approval: &Approval) -> Result<bool> {
        let endorsed = encode("approval", &approval.id, &approval.endorsed)?;
        let changed = on_tx!(self, conn => {
            sqlx::query(
                "update approval set endorsed = $1, people = $2 where id = $3 and digest = $4 and state = 'pending'",
            )
            .bind(endorsed).bind(count(approval.people)).bind(&approval.id).bind(&approval.digest)
            .execute(conn).await.map(|done| done.rows_affected())
        })?;
        Ok(changed == 1)
    }

    /// Ends a pending approval with this digest. False if somebody was first: nothing changed then.
    pub async fn end_approval(
        &mut self,
        id: &str,
        digest: &str,
        end: &ApprovalEnd<'_>,
    ) -> Result<bool> {
        let changed = on_tx!(self, conn => {
            sqlx::query(
                "update approval set state = $1, decided_by = $2, decided_ms = $3, deny_reason = $4
                 where id = $5 and digest = $6 and state = 'pending'",
            )
            .bind(name_of(&end.state)).bind(end.by).bind(end.at.as_millisecond()).bind(end.reason)
            .bind(id).bind(digest).execute(conn).await.map(|done| done.rows_affected())
        })?;
        Ok(changed == 1)
    }
}

impl Store {
    /// Reads an approval.
    pub async fn approval(&self, id: &str) -> Result<Option<(Approval, Scope)>> {
        let row: Option<Row> = on_read!(self, pool => {
            sqlx::query_as(select!("where id = $1")).bind(id).fetch_optional(pool).await
        })?;
        row.map(Row::decode).transpose()
    }

    /// Reads an approval by its short number.
    pub async fn approval_numbered(&self, number: i64) -> Result<Option<Approval>> {
        let row: Option<Row> = on_read!(self, pool => {
            sqlx::query_as(select!("where number = $1")).bind(number).fetch_optional(pool).await
        })?;
        row.map(|row| Ok(row.decode()?.0)).transpose()
    }

    /// The approval last asked for under an alert.
    pub async fn latest_approval_of(&self, alert_id: &str) -> Result<Option<Approval>> {
        let row: Option<Row> = on_read!(self, pool => {
            sqlx::query_as(select!("where alert_id = $1 order by number desc limit 1"))
                .bind(alert_id).fetch_optional(pool).await
        })?;
        row.map(|row| Ok(row.decode()?.0)).transpose()
    }

    /// Approvals in one state, newest first.
    pub async fn approvals(&self, state: ApprovalState, limit: i64) -> Result<Vec<Approval>> {
        let rows: Vec<Row> = on_read!(self, pool => {
            sqlx::query_as(select!("where state = $1 order by number desc limit $2"))
                .bind(name_of(&state)).bind(limit).fetch_all(pool).await
        })?;
        rows.into_iter().map(|row| Ok(row.decode()?.0)).collect()
    }

    /// The latest approvals, whatever became of them, newest first.
    pub async fn recent_approvals(&self, limit: i64) -> Result<Vec<Approval>> {
        let rows: Vec<Row> = on_read!(self, pool => {
            sqlx::query_as(select!("order by number desc limit $1")).bind(limit).fetch_all(pool).await
        })?;
        rows.into_iter().map(|row| Ok(row.decode()?.0)).collect()
    }
}
