//! The kill switch, the circuit breaker, disabled kinds, and what the gate says of itself.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::approvers::{self, NotAllowed};
use super::audit::{AuditKind, NewEntry};
use super::gate::{Refusal, Safety, counted, entry};
use super::{ApprovalState, ExecutionState};
use crate::action::ActionKind;
use crate::desk::{Principal, Surface};
use crate::store::{ExecutionStep, Result, Tx};

const STOP: &str = "emergency_stop";
const CLEARED: &str = "emergency_cleared_ms";
const DISABLED: &str = "disabled_actions";
/// Who stops when the breaker trips.
const BREAKER: &str = "circuit breaker";

/// An emergency stop that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    pub by: String,
    pub reason: Option<String>,
    pub since: Timestamp,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.since.strftime("%Y-%m-%d %H:%M:%S UTC");
        write!(f, "all actions are stopped since {since} by {}", self.by)?;
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

/// What the gate says of itself.
#[derive(Clone, Debug, Serialize)]
pub struct SafetyStatus {
    pub dry_run: bool,
    pub stopped: Option<Stop>,
    /// `APPROVERS` is empty: nothing can be approved.
    pub nobody_may_approve: bool,
    pub disabled: Vec<ActionKind>,
    pub pending_approvals: usize,
    pub running: usize,
    pub used_this_hour: usize,
    pub per_hour: usize,
    pub used_this_day: usize,
    pub per_day: usize,
}

/// What refuses every action of this kind now, if anything does.
pub(super) async fn refusal(tx: &mut Tx, kind: ActionKind) -> Result<Option<Refusal>> {
    if let Some(stop) = tx.setting::<Option<Stop>>(STOP).await?.flatten() {
        return Ok(Some(Refusal::Stopped(stop)));
    }
    let disabled: Vec<ActionKind> = tx.setting(DISABLED).await?.unwrap_or_default();
    Ok(disabled
        .contains(&kind)
        .then_some(Refusal::KindDisabled(kind)))
}

impl Safety {
    /// Stops everything. When this returns, no execution can be marked as started any more, on any replica, and those
    /// that only waited are cancelled. A second stop leaves the first as it is.
    ///
    /// # Errors
    /// When the database refuses; the stop is not in force then.
    pub async fn emergency_stop(
        &self,
        by: &str,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<Stop> {
        let mut tx = self.store.begin().await?;
        tx.lock_gate().await?;
        let (stop, mut entries) = stop_all(&mut tx, by, reason, now).await?;
        append(&mut tx, &mut entries, now).await?;
        tx.commit().await?;
        tracing::warn!(stop.by = by, "emergency stop: {stop}");
        Ok(stop)
    }

    /// As [`Safety::emergency_clear`], if `principal` may. In Slack that takes an approver; who comes through the API was
    /// asked for the role at its door, or sits at this machine.
    ///
    /// # Errors
    /// When the database refuses; the stop stays in force then.
    pub async fn emergency_clear_for(
        &self,
        principal: &Principal,
        now: Timestamp,
    ) -> Result<std::result::Result<Option<Stop>, NotAllowed>> {
        let by = approvers::name(principal);
        if principal.surface == Surface::Slack {
            let groups = self.ask_groups(principal).await;
            let home = self.home_team.get().map(String::as_str);
            // Nobody asks for it, so that whoever stopped may also clear.
            let asked_by = "";
            if let Err(why) = self
                .settings
                .approvers
                .check(principal, asked_by, home, &groups)
            {
                let told = json!({"why": why.to_string(), "clear": true, "team": principal.team});
                let mut tx = self.store.begin().await?;
                tx.append_audit(&switch(AuditKind::DecisionRefused, &by, STOP, told), now)
                    .await?;
                tx.commit().await?;
                return Ok(Err(why));
            }
        }
        self.emergency_clear(&by, now).await.map(Ok)
    }

    /// Lets actions through again. Returns the stop that was in force, if one was.
    pub async fn emergency_clear(&self, by: &str, now: Timestamp) -> Result<Option<Stop>> {
        let mut tx = self.store.begin().await?;
        tx.lock_gate().await?;
        let stop = tx.setting::<Option<Stop>>(STOP).await?.flatten();
        if let Some(stop) = &stop {
            // What the stop cancelled is decided anew where the failure still stands.
            for alert_id in tx.alerts_with_cancelled(stop.since).await? {
                self.decide_anew(&mut tx, Some(&alert_id), now).await?;
            }
            tx.save_setting(STOP, &None::<Stop>, now).await?;
            tx.save_setting(CLEARED, &now.as_millisecond(), now).await?;
            let entry = switch(AuditKind::EmergencyClear, by, STOP, json!({ "was": stop }));
            tx.append_audit(&entry, now).await?;
        }
        tx.commit().await?;
        Ok(stop)
    }

    /// Disables or enables one kind of action.
    pub async fn set_disabled(
        &self,
        kind: ActionKind,
        disabled: bool,
        by: &str,
        now: Timestamp,
    ) -> Result<()> {
        let mut tx = self.store.begin().await?;
        tx.lock_gate().await?;
        let mut kinds: Vec<ActionKind> = tx.setting(DISABLED).await?.unwrap_or_default();
        kinds.retain(|k| *k != kind);
        if disabled {
            kinds.push(kind);
        }
        tx.save_setting(DISABLED, &kinds, now).await?;
        let told = if disabled {
            AuditKind::KindDisabled
        } else {
            AuditKind::KindEnabled
        };
        tx.append_audit(&switch(told, by, kind.as_str(), json!({})), now)
            .await?;
        tx.commit().await
    }

    /// The stop that is in force.
    pub async fn stopped(&self) -> Result<Option<Stop>> {
        Ok(self.store.setting::<Option<Stop>>(STOP).await?.flatten())
    }

    /// What the gate says of itself.
    pub async fn status(&self, now: Timestamp) -> Result<SafetyStatus> {
        let settings = self.settings();
        let pending = self.store.approvals(ApprovalState::Pending, 1000).await?;
        let mut tx = self.store.begin().await?;
        let counted = counted(&mut tx, settings.policy.dry_run, now).await?;
        let stopped = tx.setting::<Option<Stop>>(STOP).await?.flatten();
        let disabled = tx.setting(DISABLED).await?.unwrap_or_default();
        drop(tx);
        let hour = jiff::SignedDuration::from_hours(1);
        Ok(SafetyStatus {
            dry_run: settings.policy.dry_run,
            stopped,
            nobody_may_approve: settings.approvers.is_empty(),
            disabled,
            pending_approvals: pending.iter().filter(|a| a.expires > now).count(),
            running: counted.iter().filter(|c| c.state.is_active()).count(),
            used_this_hour: counted.iter().filter(|c| c.created + hour > now).count(),
            per_hour: settings.limits.per_hour,
            used_this_day: counted.len(),
            per_day: settings.limits.per_day,
        })
    }

    /// Stops everything if the last executions since the last clearing all failed. Part of the transaction that
    /// records the last of them; the entries are to be appended at its end.
    pub(super) async fn trip(&self, tx: &mut Tx, now: Timestamp) -> Result<Vec<NewEntry>> {
        let limit = self.settings.breaker;
        if limit == 0 || tx.setting::<Option<Stop>>(STOP).await?.flatten().is_some() {
            return Ok(Vec::new());
        }
        let cleared: i64 = tx.setting(CLEARED).await?.unwrap_or_default();
        let since = Timestamp::from_millisecond(cleared).unwrap_or_default();
        let count = i64::try_from(limit).unwrap_or(i64::MAX);
        let outcomes = tx.last_outcomes(since, count).await?;
        let all_failed = outcomes.iter().all(|state| match state {
            ExecutionState::Failed | ExecutionState::NotVerified | ExecutionState::Unknown => true,
            ExecutionState::Permitted
            | ExecutionState::Started
            | ExecutionState::Verifying
            | ExecutionState::Verified
            | ExecutionState::Cancelled
            | ExecutionState::DryRun => false,
        });
        if outcomes.len() < limit || !all_failed {
            return Ok(Vec::new());
        }
        let reason = format!("{limit} actions in a row failed or could not be verified");
        tracing::error!("{BREAKER}: {reason}; all actions are stopped");
        Ok(stop_all(tx, BREAKER, Some(&reason), now).await?.1)
    }
}

/// Puts the stop in force and cancels what waits. The gate must be held.
async fn stop_all(
    tx: &mut Tx,
    by: &str,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<(Stop, Vec<NewEntry>)> {
    let mut entries = Vec::new();
    let stop = match tx.setting::<Option<Stop>>(STOP).await?.flatten() {
        Some(already) => already,
        None => Stop {
            by: by.to_owned(),
            reason: reason.map(str::to_owned),
            since: now,
        },
    };
    tx.save_setting(STOP, &Some(&stop), now).await?;
    entries.push(switch(
        AuditKind::EmergencyStop,
        by,
        STOP,
        json!({ "reason": reason }),
    ));
    for waiting in tx.waiting_executions().await? {
        let cancelled = ExecutionStep {
            to: ExecutionState::Cancelled,
            answer: Some("cancelled before it started: emergency stop"),
            verification: None,
            at: now,
        };
        if tx
            .step_execution(&waiting.id, ExecutionState::Permitted, &cancelled)
            .await?
        {
            entries.push(entry(
                AuditKind::Cancelled,
                by,
                &waiting.id,
                &waiting.spec,
                json!({"why": "emergency stop"}),
            ));
        }
    }
    Ok((stop, entries))
}

/// Appends entries in order.
pub(super) async fn append(tx: &mut Tx, entries: &mut Vec<NewEntry>, now: Timestamp) -> Result<()> {
    for entry in entries.drain(..) {
        tx.append_audit(&entry, now).await?;
    }
    Ok(())
}

fn switch(kind: AuditKind, by: &str, subject: &str, content: serde_json::Value) -> NewEntry {
    NewEntry {
        kind,
        actor: by.to_owned(),
        subject: subject.to_owned(),
        content,
    }
}
