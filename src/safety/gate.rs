//! The gate itself: inside one transaction, and holding it against other replicas, counts what was done and either
//! lets one more action through or says which limit refuses it.

use std::sync::{Arc, OnceLock, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::approvers::Approvers;
use super::audit::{AuditKind, NewEntry};
use super::decision::AskGroup;
use super::limits::{Asked, Counted, DAY, LimitReached, Limits};
use super::policy::Policy;
use super::rules::{self, Deciders, Rule};
use super::stop::{self, Stop};
use super::{Execution, ExecutionState, Scope, place};
use crate::action::{ActionKind, ActionSpec, InvalidAction};
use crate::alert::Severity;
use crate::alert::service::Alerts;
use crate::desk::{Principal, Roster, Surface};
use crate::estate::SharedEstate;
use crate::store::{EffectKind, NewEffect, Result, Store, Tx, new_id};

/// What the operator set about safety.
#[derive(Clone, Debug)]
pub struct Settings {
    pub policy: Policy,
    pub limits: Limits,
    /// Who approves what no rule is for.
    pub approvers: Approvers,
    pub rules: Vec<Rule>,
    /// How long a question waits for its answer.
    pub approval_ttl: SignedDuration,
    /// How long a permitted action may wait for its start. After an outage older work is dropped, not done late.
    pub start_within: SignedDuration,
    /// Failed executions in a row after which everything stops by itself.
    pub breaker: usize,
}

impl Settings {
    /// Neither `APPROVERS` nor any rule lets anybody approve.
    #[must_use]
    pub fn nobody_may_approve(&self) -> bool {
        let mut rules = self.rules.iter();
        self.approvers.is_empty() && rules.all(|rule| rule.approvers.is_empty())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            limits: Limits::default(),
            approvers: Approvers::default(),
            rules: Vec::new(),
            approval_ttl: SignedDuration::from_hours(4),
            start_within: SignedDuration::from_mins(5),
            breaker: 3,
        }
    }
}

/// Why the gate let nothing through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{0}")]
    Stopped(Stop),
    #[error("`{0}` is disabled")]
    KindDisabled(ActionKind),
    #[error("{0}")]
    Limit(LimitReached),
    #[error("{0}")]
    Invalid(InvalidAction),
}

/// The shell around the pure core: loads, asks, saves. Cheap to clone.
#[derive(Clone)]
pub struct Safety {
    pub(super) store: Store,
    pub(super) settings: Arc<Settings>,
    pub(super) ask_group: Option<AskGroup>,
    pub(super) home_team: Arc<OnceLock<String>>,
    pub(super) alerts: Option<Arc<Alerts>>,
    pub(super) roster: Roster,
    estate: Option<SharedEstate>,
}

/// An action at the gate, and for whom.
pub(super) struct Request<'a> {
    pub(super) spec: &'a ActionSpec,
    pub(super) digest: &'a str,
    pub(super) scope: &'a Scope,
    pub(super) alert_id: Option<&'a str>,
    pub(super) approval_id: Option<&'a str>,
    pub(super) by: &'a str,
    pub(super) dry_run: bool,
}

impl Safety {
    #[must_use]
    pub fn new(store: Store, settings: Settings) -> Self {
        Self {
            store,
            settings: Arc::new(settings),
            ask_group: None,
            home_team: Arc::new(OnceLock::new()),
            alerts: None,
            roster: Roster::default(),
            estate: None,
        }
    }

    /// Gives the alerts that show what was decided about them.
    #[must_use]
    pub fn with_alerts(mut self, alerts: Alerts) -> Self {
        self.alerts = Some(Arc::new(alerts));
        self
    }

    /// Gives the estate that the blast radius is measured on when a permit is issued. Without it, what whoever asks knew
    /// has to do.
    #[must_use]
    pub fn with_estate(mut self, estate: SharedEstate) -> Self {
        self.estate = Some(estate);
        self
    }

    /// The scope of an action, with the place where it would take effect now.
    pub(super) fn placed(&self, spec: &ActionSpec, scope: &Scope) -> Scope {
        let Some(estate) = &self.estate else {
            return scope.clone();
        };
        let estate = estate.read().unwrap_or_else(PoisonError::into_inner);
        Scope {
            place: place(spec, &estate),
            ..scope.clone()
        }
    }

    /// Gives the way to ask Slack who is in a user group. Without it nobody is let in by a group.
    #[must_use]
    pub fn with_groups(mut self, ask: AskGroup) -> Self {
        self.ask_group = Some(ask);
        self
    }

    /// Tells who is who. Without it a person is one under each name.
    #[must_use]
    pub fn with_roster(mut self, roster: Roster) -> Self {
        self.roster = roster;
        self
    }

    /// Who is who.
    #[must_use]
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Tells which Slack workspace is ours, once Slack said so. Until then nobody in Slack may decide, and
    /// from then on nobody of another workspace.
    pub fn set_home_team(&self, team: &str) {
        // The workspace of a token never changes, so a second telling has nothing to add.
        let _ = self.home_team.set(team.to_owned());
    }

    /// Our own Slack workspace, once Slack said so.
    #[must_use]
    pub fn home_team(&self) -> Option<&str> {
        self.home_team.get().map(String::as_str)
    }

    /// Whether somebody in Slack is known to be of another workspace than ours (a Slack Connect guest).
    #[must_use]
    pub fn is_foreign(&self, principal: &Principal) -> bool {
        principal.surface == Surface::Slack
            && matches!((self.home_team.get(), &principal.team), (Some(home), Some(team)) if home != team)
    }

    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Who decides about an action under an alert of this severity.
    pub(super) fn deciders(
        &self,
        spec: &ActionSpec,
        scope: &Scope,
        severity: Severity,
    ) -> Deciders<'_> {
        let case = rules::Case::of(spec, scope, severity);
        rules::deciders(&self.settings.rules, &self.settings.approvers, case)
    }

    /// Asks the gate. On success the execution and the effect that carries it out are part of the transaction.
    pub(super) async fn admit(
        &self,
        tx: &mut Tx,
        request: &Request<'_>,
        now: Timestamp,
    ) -> Result<std::result::Result<Execution, Refusal>> {
        tx.lock_gate().await?;
        let scope = self.placed(request.spec, request.scope);
        if let Err(refusal) = self.check(tx, request, &scope, now).await? {
            return Ok(Err(refusal));
        }
        let execution = Execution {
            id: new_id(),
            approval_id: request.approval_id.map(str::to_owned),
            alert_id: request.alert_id.map(str::to_owned),
            spec: request.spec.clone(),
            digest: request.digest.to_owned(),
            state: ExecutionState::Permitted,
            dry_run: request.dry_run,
            by: request.by.to_owned(),
            created: now,
            started: None,
            ended: None,
            answer: None,
            verification: None,
        };
        tx.insert_execution(&execution, &scope).await?;
        tx.add_effect(
            &NewEffect {
                kind: EffectKind::Execute,
                lane: format!("execute:{}", execution.spec.target.key()),
                fold: Some(format!("execute:{}", execution.id)),
                payload: json!(execution.id),
                due: now,
            },
            now,
        )
        .await?;
        Ok(Ok(execution))
    }

    pub(super) async fn check(
        &self,
        tx: &mut Tx,
        request: &Request<'_>,
        scope: &Scope,
        now: Timestamp,
    ) -> Result<std::result::Result<(), Refusal>> {
        if let Err(invalid) = request.spec.validate() {
            return Ok(Err(Refusal::Invalid(invalid)));
        }
        if let Some(refusal) = stop::refusal(tx, request.spec.kind).await? {
            return Ok(Err(refusal));
        }
        let counted = counted(tx, request.dry_run, now).await?;
        let asked = Asked {
            spec: request.spec,
            service: &scope.service,
            instances: scope.instances,
            place: &scope.place,
        };
        Ok(self
            .settings
            .limits
            .check(asked, &counted, now)
            .map_err(Refusal::Limit))
    }
}

/// What the limits count, as of `now`. Dry runs are counted among themselves, so that rehearsing takes nothing from the
/// real thing and yet shows what the limits would say.
pub(super) async fn counted(tx: &mut Tx, dry_run: bool, now: Timestamp) -> Result<Vec<Counted>> {
    let rows = tx
        .counted_executions(
            dry_run,
            now.saturating_sub(DAY).expect("a day is a plain duration"),
        )
        .await?;
    Ok(rows
        .into_iter()
        .map(|(execution, scope)| Counted {
            service: scope.service,
            place: scope.place,
            state: execution.state,
            created: execution.created,
            touched: execution
                .ended
                .or(execution.started)
                .unwrap_or(execution.created),
            spec: execution.spec,
        })
        .collect())
}

/// An audit entry about an action, with what is needed to read it alone.
pub(super) fn entry(
    kind: AuditKind,
    actor: &str,
    subject: &str,
    spec: &ActionSpec,
    mut more: serde_json::Value,
) -> NewEntry {
    if let Some(fields) = more.as_object_mut() {
        fields.insert("action".to_owned(), json!(spec));
        fields.insert("digest".to_owned(), json!(super::digest::of_action(spec)));
    }
    NewEntry {
        kind,
        actor: actor.to_owned(),
        subject: subject.to_owned(),
        content: more,
    }
}
