//! From a permit to an outcome: start (once), answer, observation; each one transaction.

use jiff::Timestamp;
use serde_json::json;

use super::audit::{AuditKind, NewEntry};
use super::decision::{OVER, is_over, is_well};
use super::gate::{Refusal, Safety, entry};
use super::stop::{self, append};
use super::{ApprovalState, Execution, ExecutionState, Scope, digest};
use crate::action::ActionSpec;
use crate::alert::AlertState;
use crate::alert::effects::request_diagnosis;
use crate::store::{EffectKind, ExecutionStep, NewEffect, Result, Tx};

/// Proof that one action was counted against the limits, approved where that was required, and durably marked as
/// started. It is spent by carrying the action out; nothing outside this module can make one.
#[derive(Debug)]
pub struct Permit {
    execution: Execution,
    for_cause: bool,
}

impl Permit {
    #[must_use]
    pub fn spec(&self) -> &ActionSpec {
        &self.execution.spec
    }
    #[must_use]
    pub fn execution_id(&self) -> &str {
        &self.execution.id
    }
    /// True if it is to repair a failure, so that there is nothing to do once the target recovered.
    #[must_use]
    pub fn for_cause(&self) -> bool {
        self.for_cause
    }
    /// True if everything is to be done but the last call.
    #[must_use]
    pub fn dry_run(&self) -> bool {
        self.execution.dry_run
    }
}

/// Whether a permitted execution starts now.
#[derive(Debug)]
pub enum Start {
    /// It is marked as started: carry it out, once.
    Go(Permit),
    /// It was marked as started before and never answered. What became of the call is unknown; it is so recorded, and
    /// the target will be observed.
    Unknown(Execution),
    /// It was cancelled: its answer says why.
    Cancelled(Execution),
    /// It is past its start already.
    Past(Execution),
    Missing,
}

/// How carrying it out ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// The call was accepted; what it brings about has to be observed.
    Accepted(String),
    /// The target's system said no, or a step of several did not succeed; the text says how far it came.
    Failed(String),
    /// Nobody knows whether the call arrived.
    Unknown(String),
    /// Nothing was called: the target changed, recovered, or a stop came in time.
    Withdrawn(String),
    /// Everything but the last call was done; the text says what that would have been.
    DryRun(String),
}

/// What was observed of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    Reached(String),
    NotReached(String),
}

impl Safety {
    /// Marks a permitted execution as started, unless by now something speaks against it. Whoever gets
    /// [`Start::Go`] is the only one ever to get it for this execution.
    pub async fn start(&self, execution_id: &str, now: Timestamp) -> Result<Start> {
        let mut tx = self.store.begin().await?;
        tx.lock_gate().await?;
        let Some((mut execution, scope)) = tx.execution(execution_id).await? else {
            return Ok(Start::Missing);
        };
        match execution.state {
            ExecutionState::Permitted => {}
            ExecutionState::Started => {
                let why =
                    "nightbell was interrupted during the call; whether it arrived is unknown";
                let answered = Answered::Unknown(why.to_owned());
                self.record(&mut tx, &mut execution, answered, now).await?;
                tx.commit().await?;
                return Ok(Start::Unknown(execution));
            }
            ExecutionState::Verifying
            | ExecutionState::Verified
            | ExecutionState::NotVerified
            | ExecutionState::Failed
            | ExecutionState::Unknown
            | ExecutionState::Cancelled
            | ExecutionState::DryRun => return Ok(Start::Past(execution)),
        }
        if let Some(why) = self.against(&mut tx, &execution, &scope, now).await? {
            self.cancel(&mut tx, &mut execution, why, now).await?;
            if self.is_late(&execution, now) {
                self.decide_anew(&mut tx, execution.alert_id.as_deref(), now)
                    .await?;
            }
            tx.commit().await?;
            return Ok(Start::Cancelled(execution));
        }
        let step = ExecutionStep {
            to: ExecutionState::Started,
            answer: None,
            verification: None,
            at: now,
        };
        if !tx
            .step_execution(execution_id, ExecutionState::Permitted, &step)
            .await?
        {
            return Ok(Start::Past(execution));
        }
        let told = json!({"dry_run": execution.dry_run});
        tx.append_audit(
            &entry(
                AuditKind::Started,
                &execution.by,
                execution_id,
                &execution.spec,
                told,
            ),
            now,
        )
        .await?;
        tx.commit().await?;
        execution.state = ExecutionState::Started;
        execution.started = Some(now);
        Ok(Start::Go(Permit {
            execution,
            for_cause: scope.cause.is_some(),
        }))
    }

    /// What speaks against starting a permitted execution.
    async fn against(
        &self,
        tx: &mut Tx,
        execution: &Execution,
        scope: &Scope,
        now: Timestamp,
    ) -> Result<Option<String>> {
        if let Some(refusal) = stop::refusal(tx, execution.spec.kind).await? {
            return Ok(Some(refusal.to_string()));
        }
        if self.is_late(execution, now) {
            return Ok(Some(
                "it could not start in time and may no longer be right; ask again".to_owned(),
            ));
        }
        if digest::of_action(&execution.spec) != execution.digest {
            return Ok(Some(
                "its parameters are not the ones that were permitted".to_owned(),
            ));
        }
        if is_over(tx, execution.alert_id.as_deref()).await? {
            return Ok(Some(OVER.to_owned()));
        }
        if scope.cause.is_some()
            && let Some(why) =
                is_well(tx, execution.alert_id.as_deref(), execution.spec.kind).await?
        {
            return Ok(Some(why));
        }
        if let Some(approval_id) = &execution.approval_id {
            let approved = tx
                .approval(approval_id)
                .await?
                .is_some_and(|(approval, _)| {
                    approval.state == ApprovalState::Approved && approval.digest == execution.digest
                });
            if !approved {
                return Ok(Some(
                    "its approval is gone or is for another action".to_owned(),
                ));
            }
        }
        Ok(None)
    }

    fn is_late(&self, execution: &Execution, now: Timestamp) -> bool {
        now.duration_since(execution.created) > self.settings.start_within
    }

    /// Has the job of an alert looked at again, and with it what to do about it: what was cancelled is asked anew if
    /// the failure still stands.
    pub(super) async fn decide_anew(
        &self,
        tx: &mut Tx,
        alert_id: Option<&str>,
        now: Timestamp,
    ) -> Result<()> {
        let (Some(alerts), Some(alert_id)) = (&self.alerts, alert_id) else {
            return Ok(());
        };
        if let Some(alert) = tx.alert(alert_id).await?
            && alert.state != AlertState::Resolved
        {
            let look = request_diagnosis(&alert, false, false, alerts.settings(), now);
            tx.add_effect(&look, now).await?;
        }
        Ok(())
    }

    async fn cancel(
        &self,
        tx: &mut Tx,
        execution: &mut Execution,
        why: String,
        now: Timestamp,
    ) -> Result<()> {
        let step = ExecutionStep {
            to: ExecutionState::Cancelled,
            answer: Some(&why),
            verification: None,
            at: now,
        };
        tx.step_execution(&execution.id, execution.state, &step)
            .await?;
        let told = entry(
            AuditKind::Cancelled,
            "nightbell",
            &execution.id,
            &execution.spec,
            json!({"why": why}),
        );
        tx.append_audit(&told, now).await?;
        execution.state = ExecutionState::Cancelled;
        execution.ended = Some(now);
        execution.answer = Some(why);
        Ok(())
    }

    /// What would refuse this permit by now: asked right before the call, after the checks that took their time.
    pub async fn still_refused(&self, permit: &Permit) -> Result<Option<Refusal>> {
        let mut tx = self.store.begin().await?;
        stop::refusal(&mut tx, permit.spec().kind).await
    }

    /// Notes something durably before the call: what to compare afterwards, a manifest to make anew from.
    pub async fn remember(&self, permit: &Permit, memory: &serde_json::Value) -> Result<()> {
        let mut tx = self.store.begin().await?;
        tx.remember(permit.execution_id(), memory).await?;
        tx.commit().await
    }

    /// Records how carrying out ended. `None` if the outcome had been recorded otherwise meanwhile (as unknown, by
    /// somebody who took us for dead): that stays.
    pub async fn answered(
        &self,
        execution_id: &str,
        answered: Answered,
        now: Timestamp,
    ) -> Result<Option<Execution>> {
        let mut tx = self.store.begin().await?;
        tx.lock_gate().await?;
        let Some((mut execution, _)) = tx.execution(execution_id).await? else {
            return Ok(None);
        };
        if execution.state != ExecutionState::Started {
            return Ok(None);
        }
        self.record(&mut tx, &mut execution, answered, now).await?;
        tx.commit().await?;
        Ok(Some(execution))
    }

    async fn record(
        &self,
        tx: &mut Tx,
        execution: &mut Execution,
        answered: Answered,
        now: Timestamp,
    ) -> Result<()> {
        let (to, text) = match answered {
            Answered::Accepted(text) => (ExecutionState::Verifying, text),
            Answered::Failed(text) => (ExecutionState::Failed, text),
            Answered::Unknown(text) => (ExecutionState::Unknown, text),
            Answered::Withdrawn(text) => (ExecutionState::Cancelled, text),
            Answered::DryRun(text) => (ExecutionState::DryRun, text),
        };
        let step = ExecutionStep {
            to,
            answer: Some(&text),
            verification: None,
            at: now,
        };
        tx.step_execution(&execution.id, execution.state, &step)
            .await?;
        if matches!(to, ExecutionState::Verifying | ExecutionState::Unknown) {
            tx.add_effect(&verify(&execution.id, now), now).await?;
        }
        let mut entries = vec![entry(
            AuditKind::Answered,
            "nightbell",
            &execution.id,
            &execution.spec,
            json!({"state": to, "answer": text}),
        )];
        execution.state = to;
        execution.answer = Some(text);
        self.end(tx, execution, &mut entries, now).await
    }

    /// Records what was observed. A verified state ends the execution; an unknown one stays unknown, with what was seen.
    pub async fn observed(
        &self,
        execution_id: &str,
        observed: Observed,
        now: Timestamp,
    ) -> Result<Option<Execution>> {
        let mut tx = self.store.begin().await?;
        tx.lock_gate().await?;
        let Some((mut execution, _)) = tx.execution(execution_id).await? else {
            return Ok(None);
        };
        let (to, text) = match observed {
            Observed::Reached(text) => (ExecutionState::Verified, text),
            Observed::NotReached(text) => (ExecutionState::NotVerified, text),
        };
        match execution.state {
            ExecutionState::Verifying => {
                let step = ExecutionStep {
                    to,
                    answer: None,
                    verification: Some(&text),
                    at: now,
                };
                tx.step_execution(execution_id, ExecutionState::Verifying, &step)
                    .await?;
                execution.state = to;
            }
            // It ended when it became unknown, and was counted then.
            ExecutionState::Unknown => {
                tx.note_execution(execution_id, &text).await?;
                let seen = entry(
                    AuditKind::Observed,
                    "nightbell",
                    execution_id,
                    &execution.spec,
                    json!({"state": execution.state, "observed": text}),
                );
                tx.append_audit(&seen, now).await?;
                tx.commit().await?;
                execution.verification = Some(text);
                return Ok(Some(execution));
            }
            ExecutionState::Permitted
            | ExecutionState::Started
            | ExecutionState::Verified
            | ExecutionState::NotVerified
            | ExecutionState::Failed
            | ExecutionState::Cancelled
            | ExecutionState::DryRun => return Ok(None),
        }
        let mut entries = vec![entry(
            AuditKind::Observed,
            "nightbell",
            execution_id,
            &execution.spec,
            json!({"state": execution.state, "observed": text}),
        )];
        execution.verification = Some(text);
        self.end(&mut tx, &mut execution, &mut entries, now).await?;
        tx.commit().await?;
        Ok(Some(execution))
    }

    /// What follows when an execution may have ended: its time, the breaker, the audit.
    async fn end(
        &self,
        tx: &mut Tx,
        execution: &mut Execution,
        entries: &mut Vec<NewEntry>,
        now: Timestamp,
    ) -> Result<()> {
        if !execution.state.is_active() {
            execution.ended = execution.ended.or(Some(now));
            if !execution.dry_run {
                entries.extend(self.trip(tx, execution, now).await?);
            }
        }
        append(tx, entries, now).await
    }
}

fn verify(execution_id: &str, now: Timestamp) -> NewEffect {
    NewEffect {
        kind: EffectKind::Verify,
        lane: format!("verify:{execution_id}"),
        fold: Some(format!("verify:{execution_id}")),
        payload: json!(execution_id),
        due: now,
    }
}
