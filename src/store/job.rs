//! Durable identity of the jobs that ever alerted.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{Result, Store, Tx, new_id, on_read, on_tx};
use crate::alert::identity::{Alias, Candidate, Identity, other_view};

row! {
    struct CandidateRow {
        id: String,
        cluster: String,
        created_ms: i64,
        being_repaired: bool,
    }
}

impl Tx {
    /// The job that `identity` means, known or new, with all the aliases of this report recorded.
    /// The caller holds the alert ledger, so that two replicas cannot both make the job.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn resolve_job(&mut self, identity: &Identity, now: Timestamp) -> Result<String> {
        let job = if let Some(job) = self.known_job(identity).await? {
            job
        } else {
            let candidates = self
                .job_candidates(&identity.namespace, &identity.name)
                .await?;
            match other_view(identity, &candidates) {
                Some(known) => known.job_id.clone(),
                None => self.add_job(identity, now).await?,
            }
        };
        self.name_job(&job, &identity.aliases).await?;
        Ok(job)
    }

    /// Records that the sources know the job by these names too. A name that is another job's stays so.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn name_job(&mut self, job: &str, aliases: &[Alias]) -> Result<()> {
        for alias in aliases {
            on_tx!(self, conn => {
                sqlx::query("insert into job_alias (alias, source, job_id) values ($1, $2, $3) on conflict (alias) do nothing")
                    .bind(alias.key()).bind(alias.source()).bind(job).execute(conn).await.map(drop)
            })?;
        }
        Ok(())
    }

    /// The job that one of the aliases of `identity` names, if any does.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn known_job(&mut self, identity: &Identity) -> Result<Option<String>> {
        for alias in &identity.aliases {
            if let Some(job) = self.job_of_alias(&alias.key()).await? {
                return Ok(Some(job));
            }
        }
        Ok(None)
    }

    async fn job_of_alias(&mut self, alias: &str) -> Result<Option<String>> {
        Ok(on_tx!(self, conn => {
            sqlx::query_scalar("select job_id from job_alias where alias = $1").bind(alias).fetch_optional(conn).await
        })?)
    }

    async fn job_candidates(&mut self, namespace: &str, name: &str) -> Result<Vec<Candidate>> {
        let rows: Vec<CandidateRow> = on_tx!(self, conn => {
            sqlx::query_as(
                "select id, cluster, created_ms,
                    exists (select 1 from alert where job_id = job.id and state = 'mitigating') as being_repaired
                 from job where namespace = $1 and name = $2 order by seen_ms desc, id desc limit 20",
            )
            .bind(namespace).bind(name).fetch_all(conn).await
        })?;
        let mut candidates = Vec::with_capacity(rows.len());
        for row in rows {
            let sources: Vec<String> = on_tx!(self, conn => {
                sqlx::query_scalar("select distinct source from job_alias where job_id = $1")
                    .bind(&row.id).fetch_all(conn).await
            })?;
            candidates.push(Candidate {
                job_id: row.id,
                cluster: row.cluster,
                created: Timestamp::from_millisecond(row.created_ms).unwrap_or(Timestamp::MIN),
                sources,
                being_repaired: row.being_repaired,
            });
        }
        Ok(candidates)
    }

    async fn add_job(&mut self, identity: &Identity, now: Timestamp) -> Result<String> {
        let id = new_id();
        on_tx!(self, conn => {
            sqlx::query(
                "insert into job (id, cluster, namespace, name, created_ms, seen_ms) values ($1, $2, $3, $4, $5, $6)",
            )
            .bind(&id).bind(&identity.cluster).bind(&identity.namespace).bind(&identity.name)
            .bind(identity.created.as_millisecond()).bind(now.as_millisecond())
            .execute(conn).await.map(drop)
        })?;
        Ok(id)
    }
}

impl Store {
    /// Under which names the sources know a job.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn aliases_of_job(&self, job_id: &str) -> Result<Vec<Alias>> {
        let keys: Vec<String> = on_read!(self, pool => {
            sqlx::query_scalar("select alias from job_alias where job_id = $1 order by alias")
                .bind(job_id).fetch_all(pool).await
        })?;
        Ok(keys.iter().filter_map(|key| Alias::from_key(key)).collect())
    }

    /// Every alias of the jobs that have an open alert, with the job's id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn aliases_of_open_alerts(&self) -> Result<Vec<(String, String)>> {
        Ok(on_read!(self, pool => {
            sqlx::query_as(
                "select a.alias, a.job_id from job_alias a
                 join alert on alert.job_id = a.job_id and alert.state <> 'resolved'",
            )
            .fetch_all(pool).await
        })?)
    }

    /// The jobs for whose alert an action is under way, by cluster, namespace and name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn jobs_under_repair(&self) -> Result<HashMap<(String, String, String), String>> {
        let rows: Vec<(String, String, String, String)> = on_read!(self, pool => {
            sqlx::query_as(
                "select job.cluster, job.namespace, job.name, job.id from job
                 join alert on alert.job_id = job.id and alert.state = 'mitigating'",
            )
            .fetch_all(pool).await
        })?;
        Ok(rows
            .into_iter()
            .map(|(cluster, namespace, name, id)| ((cluster, namespace, name), id))
            .collect())
    }
}
