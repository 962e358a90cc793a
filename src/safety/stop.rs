//! The kill switch, the circuit breaker, disabled kinds, and what the gate says of itself.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::approval::withdraw;
use super::approvers::{self, NotAllowed};
use super::audit::{AuditKind, NewEntry};
use super::gate::{Refusal, Safety, counted, entry};
use super::{ApprovalState, Execution, ExecutionState};
use crate::action::ActionKind;
use crate::alert::effects::{notes, told_by};
use crate::alert::lifecycle::Note;
use crate::desk::{Principal, Surface};
use crate::store::{ExecutionStep, Result, Tx};

const STOP: &str = "emergency_stop";
const FAILED_IN_A_ROW: &str = "failed_in_a_row";
const QUEUE: &str = "queue";
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

/// What a clearing of the queue ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Cleared {
    pub withdrawn: usize,
    pub cancelled: usize,
}

/// What the gate says of itself.
#[derive(Clone, Debug, Serialize)]
pub struct SafetyStatus {
    pub dry_run: bool,
    pub stopped: Option<Stop>,
    /// Neither `APPROVERS` nor a rule names anybody: nothing can be approved.
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
        if let Err(why) = self.may_release(principal, STOP, now).await? {
            return Ok(Err(why));
        }
        let by = approvers::name(principal);
        self.emergency_clear(&by, now).await.map(Ok)
    }

    /// Whether somebody may let go on what was held back; a refusal is kept.
    async fn may_release(
        &self,
        principal: &Principal,
        what: &str,
        now: Timestamp,
    ) -> Result<std::result::Result<(), NotAllowed>> {
        if principal.surface != Surface::Slack {
            return Ok(Ok(()));
        }
        let groups = self.ask_groups(principal, &self.settings.approvers).await;
        let home = self.home_team.get().map(String::as_str);
        // Nobody asks for it, so that whoever held it back may also release it.
        let asked_by = "";
        let allowed = self
            .settings
            .approvers
            .check(principal, asked_by, home, &groups);
        if let Err(why) = &allowed {
            let by = approvers::name(principal);
            let told = json!({"why": why.to_string(), "clear": true, "team": principal.team});
            let mut tx = self.store.begin().await?;
            tx.append_audit(&switch(AuditKind::DecisionRefused, &by, what, told), now)
                .await?;
            tx.commit().await?;
        }
        Ok(allowed)
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
            // Whoever clears it has looked: it takes as many new failures to stop again.
            tx.save_setting(FAILED_IN_A_ROW, &0_usize, now).await?;
            let entry = switch(AuditKind::EmergencyClear, by, STOP, json!({ "was": stop }));
            tx.append_audit(&entry, now).await?;
        }
        tx.commit().await?;
        Ok(stop)
    }

    /// As [`Safety::set_disabled`], if `principal` may: anybody who may change things disables, who may clear an emergency
    /// stop enables.
    pub async fn set_disabled_for(
        &self,
        principal: &Principal,
        kind: ActionKind,
        disabled: bool,
        now: Timestamp,
    ) -> Result<std::result::Result<Vec<ActionKind>, NotAllowed>> {
        if !disabled && let Err(why) = self.may_release(principal, kind.as_str(), now).await? {
            return Ok(Err(why));
        }
        let by = approvers::name(principal);
        self.set_disabled(kind, disabled, &by, now).await.map(Ok)
    }

    /// Disables or enables one kind of action, on all replicas, until somebody says otherwise. Returns all that are
    /// disabled now. When it returns, none of a disabled kind can be marked as started any more.
    pub async fn set_disabled(
        &self,
        kind: ActionKind,
        disabled: bool,
        by: &str,
        now: Timestamp,
    ) -> Result<Vec<ActionKind>> {
        let mut tx = self.store.begin().await?;
        tx.lock_gate().await?;
        let mut kinds: Vec<ActionKind> = tx.setting(DISABLED).await?.unwrap_or_default();
        if kinds.contains(&kind) == disabled {
            return Ok(kinds);
        }
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
        tx.commit().await?;
        Ok(kinds)
    }

    /// Withdraws every question that waits, and cancels what was permitted and has not begun. What runs goes on.
    pub async fn clear_queue(&self, by: &str, now: Timestamp) -> Result<Cleared> {
        let why = format!("{by} cleared the queue");
        let mut tx = self.store.begin().await?;
        // Alerts before the gate, as everywhere.
        tx.lock_alerts().await?;
        tx.lock_gate().await?;
        let mut entries = Vec::new();
        let mut withdrawn = 0;
        for approval in tx.pending_approvals().await? {
            let (approval, told) = withdraw(&mut tx, approval, by, &why, now).await?;
            self.show(&mut tx, &approval, Some(by), now).await?;
            withdrawn += usize::from(told.is_some());
            entries.extend(told);
        }
        let cancelled = cancel_waiting(&mut tx, by, &why, now).await?;
        let cleared = Cleared {
            withdrawn,
            cancelled: cancelled.len(),
        };
        entries.extend(cancelled);
        entries.push(switch(AuditKind::QueueCleared, by, QUEUE, json!(cleared)));
        append(&mut tx, &mut entries, now).await?;
        tx.commit().await?;
        Ok(cleared)
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
            nobody_may_approve: settings.nobody_may_approve(),
            disabled,
            pending_approvals: pending.iter().filter(|a| a.expires > now).count(),
            running: counted.iter().filter(|c| c.state.is_active()).count(),
            used_this_hour: counted.iter().filter(|c| c.created + hour > now).count(),
            per_hour: settings.limits.per_hour,
            used_this_day: counted.len(),
            per_day: settings.limits.per_day,
        })
    }

    /// Counts how an execution ended, and stops everything once too many in a row went wrong. Part of the transaction
    /// that records the end; the entries are to be appended at its end. A count is kept, not times compared: a clock that
    /// was set back must not hide failures.
    pub(super) async fn trip(
        &self,
        tx: &mut Tx,
        execution: &Execution,
        now: Timestamp,
    ) -> Result<Vec<NewEntry>> {
        let limit = self.settings.breaker;
        let failed = match execution.state {
            ExecutionState::Failed | ExecutionState::NotVerified | ExecutionState::Unknown => true,
            ExecutionState::Verified => false,
            // Neither tells whether actions work.
            ExecutionState::Permitted
            | ExecutionState::Started
            | ExecutionState::Verifying
            | ExecutionState::Cancelled
            | ExecutionState::DryRun => return Ok(Vec::new()),
        };
        let before: usize = tx.setting(FAILED_IN_A_ROW).await?.unwrap_or_default();
        let in_a_row = if failed { before.saturating_add(1) } else { 0 };
        if in_a_row != before {
            tx.save_setting(FAILED_IN_A_ROW, &in_a_row, now).await?;
        }
        if limit == 0
            || in_a_row < limit
            || tx.setting::<Option<Stop>>(STOP).await?.flatten().is_some()
        {
            return Ok(Vec::new());
        }
        let reason = format!("{in_a_row} actions in a row failed or could not be verified");
        tracing::error!("{BREAKER}: {reason}; all actions are stopped");
        let entries = stop_all(tx, BREAKER, Some(&reason), now).await?.1;
        self.tell_stopped(tx, execution.alert_id.as_deref(), &reason, now)
            .await?;
        Ok(entries)
    }

    /// Says in the thread of the alert whose action failed last that nothing runs any more until a person looked.
    async fn tell_stopped(
        &self,
        tx: &mut Tx,
        alert_id: Option<&str>,
        reason: &str,
        now: Timestamp,
    ) -> Result<()> {
        let (Some(alerts), Some(alert_id)) = (&self.alerts, alert_id) else {
            return Ok(());
        };
        let Some(alert) = tx.alert(alert_id).await? else {
            return Ok(());
        };
        let text = format!(
            "All actions are stopped: {reason}. Nothing runs until somebody found out why and says `clear the emergency stop`."
        );
        if let Some(subject) = told_by(&alert).first() {
            let note = Note::Action { text };
            for effect in notes(subject, &alert, &note, alerts.settings(), now) {
                tx.add_effect(&effect, now).await?;
            }
        }
        Ok(())
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
    entries.extend(cancel_waiting(tx, by, "emergency stop", now).await?);
    Ok((stop, entries))
}

/// Cancels what was permitted and has not begun. The gate must be held.
async fn cancel_waiting(tx: &mut Tx, by: &str, why: &str, now: Timestamp) -> Result<Vec<NewEntry>> {
    let answer = format!("cancelled before it started: {why}");
    let mut entries = Vec::new();
    for waiting in tx.waiting_executions().await? {
        let cancelled = ExecutionStep {
            to: ExecutionState::Cancelled,
            answer: Some(&answer),
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
                json!({ "why": why }),
            ));
        }
    }
    Ok(entries)
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
