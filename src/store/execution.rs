//! Executions: what was permitted, started and answered; what the limits count.

use jiff::Timestamp;

use super::{
    Result, Store, Tx, decode, encode, instant, instant_option, name_of, named, on_read, on_tx,
};
use crate::safety::{Execution, ExecutionState, Scope};

row! {
    struct Row {
        id: String,
        approval_id: Option<String>,
        alert_id: Option<String>,
        spec: String,
        digest: String,
        scope: String,
        state: String,
        dry_run: bool,
        run_by: String,
        created_ms: i64,
        started_ms: Option<i64>,
        ended_ms: Option<i64>,
        answer: Option<String>,
        verification: Option<String>,
    }
}

impl Row {
    fn decode(self) -> Result<(Execution, Scope)> {
        let scope = decode("execution", &self.id, &self.scope)?;
        let execution = Execution {
            approval_id: self.approval_id,
            alert_id: self.alert_id,
            spec: decode("execution", &self.id, &self.spec)?,
            digest: self.digest,
            state: named("execution", &self.id, &self.state)?,
            dry_run: self.dry_run,
            by: self.run_by,
            created: instant(self.created_ms),
            started: instant_option(self.started_ms),
            ended: instant_option(self.ended_ms),
            answer: self.answer,
            verification: self.verification,
            id: self.id,
        };
        Ok((execution, scope))
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select id, approval_id, alert_id, spec, digest, scope, state, dry_run, run_by, created_ms, started_ms,
                    ended_ms, answer, verification
             from execution ",
            $rest
        )
    };
}

/// A step of an execution's life. `answer` and `verification` keep what was there when `None`.
#[derive(Clone, Debug)]
pub struct ExecutionStep<'a> {
    pub to: ExecutionState,
    pub answer: Option<&'a str>,
    pub verification: Option<&'a str>,
    pub at: Timestamp,
}

impl Tx {
    /// Holds the gate: until this transaction ends no other replica permits, starts or stops anything.
    pub async fn lock_gate(&mut self) -> Result<()> {
        on_tx!(self, conn => {
            sqlx::query("update gate set value = value + 1 where name = 'limits'").execute(conn).await.map(drop)
        })?;
        Ok(())
    }

    /// Saves a permitted execution. The schema refuses a second one of an approval, or on a busy target.
    pub async fn insert_execution(&mut self, execution: &Execution, scope: &Scope) -> Result<()> {
        let spec = encode("execution", &execution.id, &execution.spec)?;
        let scope_json = encode("execution", &execution.id, scope)?;
        on_tx!(self, conn => {
            sqlx::query(
                "insert into execution (id, approval_id, alert_id, spec, digest, target, scope, service, state,
                    dry_run, run_by, created_ms)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            )
            .bind(&execution.id).bind(&execution.approval_id).bind(&execution.alert_id).bind(spec)
            .bind(&execution.digest).bind(execution.spec.target.key()).bind(scope_json).bind(&scope.service)
            .bind(name_of(&execution.state)).bind(execution.dry_run).bind(&execution.by)
            .bind(execution.created.as_millisecond()).execute(conn).await.map(drop)
        })?;
        Ok(())
    }

    /// Reads an execution inside the transaction.
    pub async fn execution(&mut self, id: &str) -> Result<Option<(Execution, Scope)>> {
        let row: Option<Row> = on_tx!(self, conn => {
            sqlx::query_as(select!("where id = $1")).bind(id).fetch_optional(conn).await
        })?;
        row.map(Row::decode).transpose()
    }

    /// Takes an execution from one state to the next. False if it is not in `from`: nothing changed then.
    pub async fn step_execution(
        &mut self,
        id: &str,
        from: ExecutionState,
        step: &ExecutionStep<'_>,
    ) -> Result<bool> {
        let at = step.at.as_millisecond();
        let started = (step.to == ExecutionState::Started).then_some(at);
        let ended = (!step.to.is_active()).then_some(at);
        let changed = on_tx!(self, conn => {
            sqlx::query(
                "update execution set state = $1, started_ms = coalesce(started_ms, $2), ended_ms = coalesce($3, ended_ms),
                    answer = coalesce($4, answer), verification = coalesce($5, verification)
                 where id = $6 and state = $7",
            )
            .bind(name_of(&step.to)).bind(started).bind(ended).bind(step.answer).bind(step.verification)
            .bind(id).bind(name_of(&from)).execute(conn).await.map(|done| done.rows_affected())
        })?;
        Ok(changed == 1)
    }

    /// Adds what was observed to an execution whose state stays as it is.
    pub async fn note_execution(&mut self, id: &str, verification: &str) -> Result<()> {
        on_tx!(self, conn => {
            sqlx::query("update execution set verification = $1 where id = $2")
                .bind(verification).bind(id).execute(conn).await.map(drop)
        })?;
        Ok(())
    }

    /// What the limits count: executions permitted after `since` that are (or are not) dry runs, and all active ones.
    /// Those cancelled before they started never were.
    pub async fn counted_executions(
        &mut self,
        dry_run: bool,
        since: Timestamp,
    ) -> Result<Vec<(Execution, Scope)>> {
        let rows: Vec<Row> = on_tx!(self, conn => {
            sqlx::query_as(select!(
                "where (created_ms > $1 and dry_run = $2 and not (state = 'cancelled' and started_ms is null))
                    or state in ('permitted', 'started', 'verifying')
                 order by created_ms, id"
            ))
            .bind(since.as_millisecond()).bind(dry_run).fetch_all(conn).await
        })?;
        rows.into_iter().map(Row::decode).collect()
    }

    /// Notes something before the call, for what comes after it or after a crash.
    pub async fn remember(&mut self, id: &str, memory: &serde_json::Value) -> Result<()> {
        on_tx!(self, conn => {
            sqlx::query("update execution set memory = $1 where id = $2")
                .bind(memory.to_string()).bind(id).execute(conn).await.map(drop)
        })?;
        Ok(())
    }

    /// The latest execution of exactly this action under an alert that was not cancelled before it began.
    pub async fn execution_of_digest(
        &mut self,
        alert_id: &str,
        digest: &str,
    ) -> Result<Option<Execution>> {
        let row: Option<Row> = on_tx!(self, conn => {
            sqlx::query_as(select!("where alert_id = $1 and digest = $2 and state <> 'cancelled' order by created_ms desc, id desc limit 1"))
                .bind(alert_id).bind(digest).fetch_optional(conn).await
        })?;
        row.map(|row| Ok(row.decode()?.0)).transpose()
    }

    /// Ids of the open alerts under which something was cancelled since `since`, before it began.
    pub async fn alerts_with_cancelled(&mut self, since: Timestamp) -> Result<Vec<String>> {
        Ok(on_tx!(self, conn => {
            sqlx::query_scalar(
                "select distinct alert.id from execution join alert on alert.id = execution.alert_id
                 where execution.state = 'cancelled' and execution.ended_ms >= $1 and alert.state <> 'resolved'
                 order by alert.id limit 500",
            )
            .bind(since.as_millisecond()).fetch_all(conn).await
        })?)
    }

    /// Executions that were permitted but have not started.
    pub async fn waiting_executions(&mut self) -> Result<Vec<Execution>> {
        let rows: Vec<Row> = on_tx!(self, conn => {
            sqlx::query_as(select!("where state = 'permitted' order by created_ms, id")).fetch_all(conn).await
        })?;
        rows.into_iter().map(|row| Ok(row.decode()?.0)).collect()
    }
}

impl Store {
    /// Reads an execution.
    pub async fn execution(&self, id: &str) -> Result<Option<(Execution, Scope)>> {
        let row: Option<Row> = on_read!(self, pool => {
            sqlx::query_as(select!("where id = $1")).bind(id).fetch_optional(pool).await
        })?;
        row.map(Row::decode).transpose()
    }

    /// What was noted before the call of an execution.
    pub async fn execution_memory(&self, id: &str) -> Result<Option<serde_json::Value>> {
        let memory: Option<Option<String>> = on_read!(self, pool => {
            sqlx::query_scalar("select memory from execution where id = $1").bind(id).fetch_optional(pool).await
        })?;
        memory
            .flatten()
            .map(|json| decode("execution", id, &json))
            .transpose()
    }

    /// The latest executions, newest first.
    pub async fn executions(&self, limit: i64) -> Result<Vec<Execution>> {
        let rows: Vec<Row> = on_read!(self, pool => {
            sqlx::query_as(select!("order by created_ms desc, id desc limit $1")).bind(limit).fetch_all(pool).await
        })?;
        rows.into_iter().map(|row| Ok(row.decode()?.0)).collect()
    }

    /// The latest execution for an alert.
    pub async fn latest_execution_of(&self, alert_id: &str) -> Result<Option<Execution>> {
        let row: Option<Row> = on_read!(self, pool => {
            sqlx::query_as(select!("where alert_id = $1 order by created_ms desc, id desc limit 1"))
                .bind(alert_id).fetch_optional(pool).await
        })?;
        row.map(|row| Ok(row.decode()?.0)).transpose()
    }

    /// Real executions on a service since a time, oldest first: the ledger of the restart budget.
    pub async fn executions_of_service(
        &self,
        service: &str,
        since: Timestamp,
    ) -> Result<Vec<(Execution, Scope)>> {
        let rows: Vec<Row> = on_read!(self, pool => {
            sqlx::query_as(select!("where service = $1 and created_ms > $2 and not dry_run order by created_ms, id"))
                .bind(service).bind(since.as_millisecond()).fetch_all(pool).await
        })?;
        rows.into_iter().map(Row::decode).collect()
    }
}
