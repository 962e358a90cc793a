//! What is old and over is deleted, a little at a time. The audit is never pruned, and neither are approvals and
//! executions, which it speaks of.

use jiff::Timestamp;

use super::{Result, Store, Tx, on_tx};

impl Store {
    /// Deletes what ended before `before`: alerts with their timelines, messages and pages, then groups and jobs that
    /// have none left, and silences; of each at most `limit`. Returns how many rows of those kinds went; less than `limit` of each
    /// means that nothing more is due. An alert that is open, or under which something waits for a decision or runs,
    /// stays.
    ///
    /// # Errors
    /// When the database refuses; nothing was deleted then.
    pub async fn prune_history(&self, before: Timestamp, limit: i64) -> Result<u64> {
        let before = before.as_millisecond();
        let mut tx = self.begin().await?;
        tx.lock_alerts().await?;
        let alerts: Vec<String> = on_tx!(&mut tx, conn => {
            sqlx::query_scalar(
                "select id from alert
                 where state = 'resolved' and resolved_ms < $1
                   and not exists (select 1 from approval
                                   where approval.alert_id = alert.id and approval.state = 'pending')
                   and not exists (select 1 from execution
                                   where execution.alert_id = alert.id
                                     and execution.state in ('permitted', 'started', 'verifying'))
                   and not exists (select 1 from alert_group
                                   where alert_group.id = alert.group_id and alert_group.resolved_ms is null)
                 order by resolved_ms limit $2",
            )
            .bind(before).bind(limit).fetch_all(conn).await
        })?;
        delete_each(
            &mut tx,
            &alerts,
            &[
                "delete from message where subject = 'alert:' || $1",
                "delete from page where subject = 'alert:' || $1",
                "delete from alert_event where alert_id = $1",
                "delete from alert where id = $1",
            ],
        )
        .await?;
        let groups: Vec<String> = on_tx!(&mut tx, conn => {
            sqlx::query_scalar(
                "select id from alert_group where resolved_ms < $1
                   and not exists (select 1 from alert where alert.group_id = alert_group.id)
                 order by resolved_ms limit $2",
            )
            .bind(before).bind(limit).fetch_all(conn).await
        })?;
        delete_each(
            &mut tx,
            &groups,
            &[
                "delete from message where subject = 'group:' || $1",
                "delete from page where subject = 'group:' || $1",
                "delete from alert_group where id = $1",
            ],
        )
        .await?;
        let jobs: Vec<String> = on_tx!(&mut tx, conn => {
            sqlx::query_scalar(
                "select id from job where seen_ms < $1
                   and not exists (select 1 from alert where alert.job_id = job.id)
                 order by seen_ms limit $2",
            )
            .bind(before).bind(limit).fetch_all(conn).await
        })?;
        delete_each(
            &mut tx,
            &jobs,
            &[
                "delete from job_alias where job_id = $1",
                "delete from job where id = $1",
            ],
        )
        .await?;
        // What was said in threads; the message of the thread is its alert's.
        let notes = on_tx!(&mut tx, conn => {
            sqlx::query(
                "delete from message where subject in (
                    select subject from message where subject like 'note:%' and posted_ms < $1 limit $2)",
            )
            .bind(before).bind(limit).execute(conn).await.map(|done| done.rows_affected())
        })?;
        // The last one stays, so that its number is not given again.
        let silences = on_tx!(&mut tx, conn => {
            sqlx::query("delete from silence where ends_ms < $1 and number < (select max(number) from silence)")
                .bind(before).execute(conn).await.map(|done| done.rows_affected())
        })?;
        tx.commit().await?;
        let rows = alerts.len() + groups.len() + jobs.len();
        Ok(u64::try_from(rows)
            .unwrap_or(u64::MAX)
            .saturating_add(notes)
            .saturating_add(silences))
    }
}

/// Deletes what belongs to each of `ids`, bound as `$1`, in the order of the statements.
async fn delete_each(tx: &mut Tx, ids: &[String], statements: &[&'static str]) -> Result<()> {
    for id in ids {
        for &sql in statements {
            on_tx!(tx, conn => sqlx::query(sql).bind(id).execute(conn).await.map(drop))?;
        }
    }
    Ok(())
}
