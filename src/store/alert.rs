//! Alerts, groups of alerts, and the timeline of each.

use jiff::Timestamp;

use super::{Result, Store, Tx, decode, encode, new_id, on_read, on_tx};
use crate::alert::lifecycle::EventKind;
use crate::alert::{Alert, AlertState, Group};

/// Alerts of one job that placement looks at: the open one and the last ones that ended.
const OF_ONE_JOB: i64 = 16;
/// Members of a group beyond this are counted but no longer read for its message.
const GROUP_MEMBERS_READ: i64 = 1_000;

/// One entry of an alert's timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineEntry {
    pub at: Timestamp,
    /// Name of an [`EventKind`].
    pub kind: String,
    /// Who did it; `None` for nightbell itself.
    pub actor: Option<String>,
    pub note: String,
}

/// Which alerts a list shows. The newest come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertFilter {
    /// Resolved ones too.
    pub resolved: bool,
    pub limit: i64,
    pub offset: i64,
}

impl Default for AlertFilter {
    fn default() -> Self {
        Self {
            resolved: false,
            limit: 50,
            offset: 0,
        }
    }
}

row! {
    struct Body {
        id: String,
        body: String,
    }
}

row! {
    struct TimelineRow {
        at_ms: i64,
        kind: String,
        actor: Option<String>,
        note: String,
    }
}

fn alerts(rows: Vec<Body>) -> Result<Vec<Alert>> {
    rows.into_iter()
        .map(|row| decode("alert", &row.id, &row.body))
        .collect()
}

fn groups(rows: Vec<Body>) -> Result<Vec<Group>> {
    rows.into_iter()
        .map(|row| decode("alert_group", &row.id, &row.body))
        .collect()
}

fn state_name(state: AlertState) -> &'static str {
    match state {
        AlertState::Open => "open",
        AlertState::Acknowledged => "acknowledged",
        AlertState::Mitigating => "mitigating",
        AlertState::Resolved => "resolved",
    }
}

fn class_name(alert: &Alert) -> Result<String> {
    Ok(encode("alert", &alert.id, &alert.class)?
        .trim_matches('"')
        .to_owned())
}

impl Tx {
    /// Takes the lock under which alerts are placed and changed, until the transaction ends.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn lock_alerts(&mut self) -> Result<()> {
        on_tx!(self, conn => {
            sqlx::query("update alert_ledger set last_number = last_number where id = 1").execute(conn).await.map(drop)
        })?;
        Ok(())
    }

    /// The next short number for people.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn next_alert_number(&mut self) -> Result<i64> {
        Ok(on_tx!(self, conn => {
            sqlx::query_scalar("update alert_ledger set last_number = last_number + 1 where id = 1 returning last_number")
                .fetch_one(conn).await
        })?)
    }

    /// Saves a new or changed alert. `look` is when it is to be looked at again though nothing is seen of it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn save_alert(&mut self, alert: &Alert, look: Option<Timestamp>) -> Result<()> {
        let body = encode("alert", &alert.id, alert)?;
        let class = class_name(alert)?;
        on_tx!(self, conn => {
            sqlx::query(
                "insert into alert
                    (id, number, job_id, class, state, opened_ms, updated_ms, resolved_ms, look_ms, group_id, demo, body)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
                 on conflict (id) do update set
                    class = excluded.class, state = excluded.state, updated_ms = excluded.updated_ms,
                    resolved_ms = excluded.resolved_ms, look_ms = excluded.look_ms, group_id = excluded.group_id,
                    body = excluded.body",
            )
            .bind(&alert.id)
            .bind(alert.number)
            .bind(&alert.job_id)
            .bind(&class)
            .bind(state_name(alert.state))
            .bind(alert.opened.as_millisecond())
            .bind(alert.updated.as_millisecond())
            .bind(alert.resolved.map(Timestamp::as_millisecond))
            .bind(look.map(Timestamp::as_millisecond))
            .bind(&alert.group_id)
            .bind(i64::from(alert.demo))
            .bind(&body)
            .execute(conn)
            .await
            .map(drop)
        })?;
        Ok(())
    }

    /// An alert by id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn alert(&mut self, id: &str) -> Result<Option<Alert>> {
        let row: Option<Body> = on_tx!(self, conn => {
            sqlx::query_as("select id, body from alert where id = $1").bind(id).fetch_optional(conn).await
        })?;
        row.map(|row| decode("alert", &row.id, &row.body))
            .transpose()
    }

    /// The alerts of a job, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn alerts_of_job(&mut self, job_id: &str) -> Result<Vec<Alert>> {
        let rows: Vec<Body> = on_tx!(self, conn => {
            sqlx::query_as(
                "select id, body from alert where job_id = $1
                 order by case when state = 'resolved' then 1 else 0 end, number desc limit $2",
            )
            .bind(job_id).bind(OF_ONE_JOB).fetch_all(conn).await
        })?;
        alerts(rows)
    }

    /// The newest alerts opened since `since`, at most `limit`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn alerts_opened_since(
        &mut self,
        since: Timestamp,
        limit: i64,
    ) -> Result<Vec<Alert>> {
        let rows: Vec<Body> = on_tx!(self, conn => {
            sqlx::query_as("select id, body from alert where opened_ms >= $1 order by opened_ms desc, number desc limit $2")
                .bind(since.as_millisecond()).bind(limit).fetch_all(conn).await
        })?;
        alerts(rows)
    }

    /// How many alerts are not resolved.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn count_open_alerts(&mut self) -> Result<i64> {
        Ok(on_tx!(self, conn => {
            sqlx::query_scalar("select count(*) from alert where state <> 'resolved'").fetch_one(conn).await
        })?)
    }

    /// How many members of a group are not resolved.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn count_open_members(&mut self, group_id: &str) -> Result<i64> {
        Ok(on_tx!(self, conn => {
            sqlx::query_scalar("select count(*) from alert where group_id = $1 and state <> 'resolved'")
                .bind(group_id).fetch_one(conn).await
        })?)
    }

    /// Adds to the timeline of an alert.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn record_alert_event(
        &mut self,
        alert_id: &str,
        kind: EventKind,
        actor: Option<&str>,
        note: &str,
        now: Timestamp,
    ) -> Result<()> {
        on_tx!(self, conn => {
            sqlx::query("insert into alert_event (id, alert_id, at_ms, kind, actor, note) values ($1, $2, $3, $4, $5, $6)")
                .bind(new_id()).bind(alert_id).bind(now.as_millisecond()).bind(kind.as_str()).bind(actor).bind(note)
                .execute(conn).await.map(drop)
        })?;
        Ok(())
    }

    /// Saves a new or changed group.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn save_group(&mut self, group: &Group) -> Result<()> {
        let body = encode("alert_group", &group.id, group)?;
        let key = encode("alert_group", &group.id, &group.key)?;
        on_tx!(self, conn => {
            sqlx::query(
                "insert into alert_group (id, group_key, opened_ms, updated_ms, resolved_ms, body)
                 values ($1, $2, $3, $4, $5, $6)
                 on conflict (id) do update set
                    updated_ms = excluded.updated_ms, resolved_ms = excluded.resolved_ms, body = excluded.body",
            )
            .bind(&group.id).bind(&key).bind(group.opened.as_millisecond()).bind(group.updated.as_millisecond())
            .bind(group.resolved.map(Timestamp::as_millisecond)).bind(&body)
            .execute(conn).await.map(drop)
        })?;
        Ok(())
    }

    /// A group by id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn group(&mut self, id: &str) -> Result<Option<Group>> {
        let row: Option<Body> = on_tx!(self, conn => {
            sqlx::query_as("select id, body from alert_group where id = $1").bind(id).fetch_optional(conn).await
        })?;
        row.map(|row| decode("alert_group", &row.id, &row.body))
            .transpose()
    }

    /// The groups that are not resolved.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open_groups(&mut self) -> Result<Vec<Group>> {
        let rows: Vec<Body> = on_tx!(self, conn => {
            sqlx::query_as("select id, body from alert_group where resolved_ms is null order by opened_ms, id")
                .fetch_all(conn).await
        })?;
        groups(rows)
    }
}

impl Store {
    /// An alert by id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn alert(&self, id: &str) -> Result<Option<Alert>> {
        let row: Option<Body> = on_read!(self, pool => {
            sqlx::query_as("select id, body from alert where id = $1").bind(id).fetch_optional(pool).await
        })?;
        row.map(|row| decode("alert", &row.id, &row.body))
            .transpose()
    }

    /// An alert by its short number.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn alert_by_number(&self, number: i64) -> Result<Option<Alert>> {
        let row: Option<Body> = on_read!(self, pool => {
            sqlx::query_as("select id, body from alert where number = $1").bind(number).fetch_optional(pool).await
        })?;
        row.map(|row| decode("alert", &row.id, &row.body))
            .transpose()
    }

    /// Alerts, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn alerts(&self, filter: AlertFilter) -> Result<Vec<Alert>> {
        let rows: Vec<Body> = on_read!(self, pool => {
            sqlx::query_as(
                "select id, body from alert where ($1 = 1 or state <> 'resolved')
                 order by number desc limit $2 offset $3",
            )
            .bind(i64::from(filter.resolved)).bind(filter.limit).bind(filter.offset).fetch_all(pool).await
        })?;
        alerts(rows)
    }

    /// How many alerts there are: those not resolved, and all.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn count_alerts(&self) -> Result<(i64, i64)> {
        Ok(on_read!(self, pool => {
            sqlx::query_as(
                "select coalesce(sum(case when state <> 'resolved' then 1 else 0 end), 0), count(*) from alert",
            )
            .fetch_one(pool).await
        })?)
    }

    /// Ids of the alerts whose time to be looked at has come.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn alerts_to_look_at(&self, now: Timestamp) -> Result<Vec<String>> {
        Ok(on_read!(self, pool => {
            sqlx::query_scalar("select id from alert where look_ms <= $1 order by look_ms limit 500")
                .bind(now.as_millisecond()).fetch_all(pool).await
        })?)
    }

    /// What happened to an alert, oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn timeline(&self, alert_id: &str) -> Result<Vec<TimelineEntry>> {
        let rows: Vec<TimelineRow> = on_read!(self, pool => {
            sqlx::query_as("select at_ms, kind, actor, note from alert_event where alert_id = $1 order by at_ms, id limit 1000")
                .bind(alert_id).fetch_all(pool).await
        })?;
        Ok(rows
            .into_iter()
            .map(|row| TimelineEntry {
                at: Timestamp::from_millisecond(row.at_ms).unwrap_or(Timestamp::MIN),
                kind: row.kind,
                actor: row.actor,
                note: row.note,
            })
            .collect())
    }

    /// A group by id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn group(&self, id: &str) -> Result<Option<Group>> {
        let row: Option<Body> = on_read!(self, pool => {
            sqlx::query_as("select id, body from alert_group where id = $1").bind(id).fetch_optional(pool).await
        })?;
        row.map(|row| decode("alert_group", &row.id, &row.body))
            .transpose()
    }

    /// The members of a group, in the order they were opened.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn group_members(&self, group_id: &str) -> Result<Vec<Alert>> {
        let rows: Vec<Body> = on_read!(self, pool => {
            sqlx::query_as("select id, body from alert where group_id = $1 order by number limit $2")
                .bind(group_id).bind(GROUP_MEMBERS_READ).fetch_all(pool).await
        })?;
        alerts(rows)
    }

    /// Ids of the members of a group that are not resolved.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open_members(&self, group_id: &str) -> Result<Vec<String>> {
        Ok(on_read!(self, pool => {
            sqlx::query_scalar("select id from alert where group_id = $1 and state <> 'resolved' order by number")
                .bind(group_id).fetch_all(pool).await
        })?)
    }
}
