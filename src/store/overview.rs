//! Reads that go across families or page through them: what the API and the live page ask for.

use super::{Result, Store, decode, name_of, on_read};
use crate::alert::Alert;
use crate::safety::{Approval, ApprovalState};

row! {
    /// What changes whenever there is something new to show. Reading it costs a few index look-ups.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Pulse {
        /// Newest entry of any alert's timeline.
        pub alerts: Option<String>,
        /// When an open alert changed last, in any way: what is folded into an alert makes no entry.
        pub changed_ms: Option<i64>,
        /// Newest effect: a message to send, a page, an action.
        pub effects: Option<String>,
        /// Last entry of the audit: approvals, actions, the kill switch.
        pub audit: i64,
    }
}

row! {
    struct Body {
        id: String,
        body: String,
    }
}

impl Store {
    /// What to compare to know whether something happened.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn pulse(&self) -> Result<Pulse> {
        Ok(on_read!(self, pool => {
            sqlx::query_as(
                "select (select max(id) from alert_event) as alerts, (select max(updated_ms) from alert where state <> 'resolved') as changed_ms,
                        (select max(id) from effect) as effects,
                        (select value from gate where name = 'audit') as audit",
            )
            .fetch_one(pool).await
        })?)
    }

    /// Alerts numbered below `before`, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn alerts_before(
        &self,
        before: Option<i64>,
        resolved: bool,
        limit: i64,
    ) -> Result<Vec<Alert>> {
        let rows: Vec<Body> = on_read!(self, pool => {
            sqlx::query_as(
                "select id, body from alert where number < $1 and ($2 = 1 or state <> 'resolved')
                 order by number desc limit $3",
            )
            .bind(before.unwrap_or(i64::MAX)).bind(i64::from(resolved)).bind(limit).fetch_all(pool).await
        })?;
        rows.into_iter()
            .map(|row| decode("alert", &row.id, &row.body))
            .collect()
    }

    /// Approvals numbered below `before`, in one state or in any, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn approvals_before(
        &self,
        before: Option<i64>,
        state: Option<ApprovalState>,
        limit: i64,
    ) -> Result<Vec<Approval>> {
        let state = state.as_ref().map(name_of).unwrap_or_default();
        let ids: Vec<String> = on_read!(self, pool => {
            sqlx::query_scalar(
                "select id from approval where number < $1 and ($2 = '' or state = $2) order by number desc limit $3",
            )
            .bind(before.unwrap_or(i64::MAX)).bind(&state).bind(limit).fetch_all(pool).await
        })?;
        let mut approvals = Vec::with_capacity(ids.len());
        for id in ids {
            approvals.extend(self.approval(&id).await?.map(|(approval, _)| approval));
        }
        Ok(approvals)
    }
}
