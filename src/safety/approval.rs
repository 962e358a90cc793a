//! Questions to people: asked once per alert and action, and ended when they are answered, too old or no longer right.

use jiff::Timestamp;
use serde_json::json;

use super::approvers;
use super::audit::{AuditKind, NewEntry};
use super::gate::{Request, Safety, entry};
use super::policy::{Case, Verdict};
use super::stop;
use super::{Approval, ApprovalState, Execution, digest};
use crate::action::Takes;
use crate::decide::Proposal;
use crate::desk::Principal;
use crate::store::{ApprovalEnd, EffectKind, NewEffect, Result, Tx, new_id};

/// Who is asked for what a finding proposes.
const POLICY: &str = "policy";
/// Who ends a question that nobody decided.
pub(super) const NIGHTBELL: &str = "nightbell";

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq)]
pub enum Proposed {
    /// A person is asked. The same proposal again gives the same approval.
    Asked(Approval),
    /// The policy let it run within the limits.
    Permitted(Execution),
    /// People decided about exactly this under this alert already, or let it run out.
    AlreadyDecided(Approval),
    /// An execution for exactly this was permitted under this alert already.
    AlreadyPermitted(Execution),
    /// Recorded only; the sentence says why.
    LogOnly(&'static str),
    /// No system could have such a target.
    Invalid(crate::action::InvalidAction),
}

/// Why what the policy would let run asks all the same.
pub(super) const BY_RULE: &str = "a rule of approvals.rules is for it";

/// Whether working instances go and none comes in their place.
pub(super) fn ends_instances(proposal: &Proposal) -> bool {
    proposal.spec.kind.entry().takes == Takes::Counted && proposal.healthy_taken > 0
}

impl Safety {
    /// Takes a proposal under an alert: asks people, or permits it at once where the policy and the limits allow.
    ///
    /// Part of the caller's transaction; let it be the last thing done before the commit (it takes the gate and the end
    /// of the audit). Repeating it changes nothing. An older pending question of the same alert is withdrawn, unless a
    /// person asked it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn propose(
        &self,
        tx: &mut Tx,
        alert_id: &str,
        proposal: &Proposal,
        now: Timestamp,
    ) -> Result<Proposed> {
        self.ask(tx, Some(alert_id), proposal, POLICY, now).await
    }

    /// As [`Safety::propose`], for what a person asks for: always another person's decision.
    pub async fn request(
        &self,
        tx: &mut Tx,
        alert_id: Option<&str>,
        proposal: &Proposal,
        by: &Principal,
        now: Timestamp,
    ) -> Result<Proposed> {
        self.ask(tx, alert_id, proposal, &approvers::name(by), now)
            .await
    }

    async fn ask(
        &self,
        tx: &mut Tx,
        alert_id: Option<&str>,
        proposal: &Proposal,
        by: &str,
        now: Timestamp,
    ) -> Result<Proposed> {
        if let Err(invalid) = proposal.spec.validate() {
            return Ok(Proposed::Invalid(invalid));
        }
        let digest = digest::of_action(&proposal.spec);
        tx.lock_gate().await?;
        let earlier = match alert_id {
            Some(alert_id) => tx.approvals_of(alert_id).await?,
            None => Vec::new(),
        };
        if let Some(same) = earlier.iter().rfind(|a| a.digest == digest) {
            let same_alert = alert_id.unwrap_or_default();
            match same.state {
                ApprovalState::Pending if same.expires > now => {
                    return Ok(Proposed::Asked(same.clone()));
                }
                ApprovalState::Denied | ApprovalState::Expired if by == POLICY => {
                    return Ok(Proposed::AlreadyDecided(same.clone()));
                }
                // What was cancelled before it began (an emergency stop, a start that came too late) was never done,
                // and is decided anew once actions may run again.
                ApprovalState::Approved
                    if by == POLICY
                        && (tx.execution_of_digest(same_alert, &digest).await?.is_some()
                            || stop::refusal(tx, proposal.spec.kind).await?.is_some()) =>
                {
                    return Ok(Proposed::AlreadyDecided(same.clone()));
                }
                // A pending one past its time is ended below; a withdrawn one may be asked again, and a person may
                // ask for what was decided before.
                ApprovalState::Pending
                | ApprovalState::Withdrawn
                | ApprovalState::Approved
                | ApprovalState::Denied
                | ApprovalState::Expired => {}
            }
        }
        if let Some(alert_id) = alert_id
            && let Some(execution) = tx.execution_of_digest(alert_id, &digest).await?
            && by == POLICY
        {
            return Ok(Proposed::AlreadyPermitted(execution));
        }

        let verdict = self.settings.policy.judge(Case {
            kind: proposal.spec.kind,
            class: proposal.class,
            severity: proposal.severity,
            by_person: by != POLICY,
            wide: proposal.healthy_taken * 100
                > proposal.scope.instances * self.settings.limits.instances_percent,
            ends_instances: ends_instances(proposal),
            owned_elsewhere: proposal.owned_elsewhere,
        });
        let deciders = self.deciders(&proposal.spec, &proposal.scope, proposal.severity);
        // Whoever wrote a rule for something means that it asks.
        let verdict = match (verdict, deciders.rule) {
            (Verdict::Auto, Some(_)) => Verdict::Ask(BY_RULE),
            (verdict, _) => verdict,
        };
        let mut reason = proposal.reason.clone();
        let mut entries = Vec::new();
        match verdict {
            Verdict::LogOnly(why) => return Ok(Proposed::LogOnly(why)),
            Verdict::Ask(_) => {}
            Verdict::Auto => {
                let request = Request {
                    spec: &proposal.spec,
                    digest: &digest,
                    scope: &proposal.scope,
                    alert_id,
                    approval_id: None,
                    by: POLICY,
                    dry_run: self.settings.policy.dry_run,
                };
                match self.admit(tx, &request, now).await? {
                    Ok(execution) => {
                        let told = json!({"reason": reason, "cause": proposal.scope.cause});
                        let told = entry(
                            AuditKind::Permitted,
                            POLICY,
                            &execution.id,
                            &execution.spec,
                            told,
                        );
                        tx.append_audit(&told, now).await?;
                        return Ok(Proposed::Permitted(execution));
                    }
                    Err(refusal) => {
                        let told = json!({"refusal": refusal.to_string()});
                        entries.push(entry(
                            AuditKind::Refused,
                            POLICY,
                            alert_id.unwrap_or_default(),
                            &proposal.spec,
                            told,
                        ));
                        reason = format!("{reason} It would run by itself, but {refusal}.");
                    }
                }
            }
        }
        for old in earlier {
            // What a person asked for is for people to end, not for the next look at the job.
            if by == POLICY && old.requested_by != POLICY && old.digest != digest {
                continue;
            }
            let why = "another action is proposed instead";
            entries.extend(withdraw(tx, old, NIGHTBELL, why, now).await?.1);
        }
        let approval = self
            .save(tx, alert_id, proposal, digest, reason, by, now)
            .await?;
        let told = json!({
            "reason": approval.reason, "impact": approval.impact, "severity": approval.severity,
            "asked_because": match verdict { Verdict::Ask(why) => why, Verdict::Auto | Verdict::LogOnly(_) => "outside limits" },
            "number": approval.number, "dry_run": approval.dry_run, "people": approval.people, "rule": deciders.rule,
        });
        entries.push(entry(
            AuditKind::Proposed,
            by,
            &approval.id,
            &approval.spec,
            told,
        ));
        stop::append(tx, &mut entries, now).await?;
        Ok(Proposed::Asked(approval))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one row, used in one place"
    )]
    async fn save(
        &self,
        tx: &mut Tx,
        alert_id: Option<&str>,
        proposal: &Proposal,
        digest: String,
        reason: String,
        by: &str,
        now: Timestamp,
    ) -> Result<Approval> {
        let expires = now
            .saturating_add(self.settings.approval_ttl)
            .unwrap_or(Timestamp::MAX);
        let approval = Approval {
            id: new_id(),
            number: tx.next_approval_number().await?,
            alert_id: alert_id.map(str::to_owned),
            spec: proposal.spec.clone(),
            digest,
            severity: proposal.severity,
            reason,
            impact: proposal.impact.clone(),
            requested_by: by.to_owned(),
            requested: now,
            expires,
            state: ApprovalState::Pending,
            decided_by: None,
            decided: None,
            deny_reason: None,
            dry_run: self.settings.policy.dry_run,
            people: self
                .deciders(&proposal.spec, &proposal.scope, proposal.severity)
                .people,
            endorsed: Vec::new(),
        };
        tx.insert_approval(&approval, &proposal.scope).await?;
        tx.add_effect(
            &NewEffect {
                kind: EffectKind::ExpireApproval,
                lane: format!("approval:{}", approval.id),
                fold: Some(format!("expire:{}", approval.id)),
                payload: json!(approval.id),
                due: expires,
            },
            now,
        )
        .await?;
        Ok(approval)
    }

    /// Ends an approval whose time is up. `None` if it was decided before, or its time was not up.
    pub async fn expire(&self, approval_id: &str, now: Timestamp) -> Result<Option<Approval>> {
        let mut tx = self.store.begin().await?;
        tx.lock_gate().await?;
        let Some((approval, _)) = tx.approval(approval_id).await? else {
            return Ok(None);
        };
        if approval.state != ApprovalState::Pending || approval.expires > now {
            return Ok(None);
        }
        let approval = expire(&mut tx, approval, now).await?;
        tx.commit().await?;
        Ok(Some(approval))
    }

    /// Withdraws the pending questions of an alert, because its job recovered or went away. Part of the caller's
    /// transaction, as its last step.
    pub async fn withdraw(
        &self,
        tx: &mut Tx,
        alert_id: &str,
        why: &str,
        now: Timestamp,
    ) -> Result<()> {
        tx.lock_gate().await?;
        let mut entries = Vec::new();
        for approval in tx.approvals_of(alert_id).await? {
            entries.extend(withdraw(tx, approval, NIGHTBELL, why, now).await?.1);
        }
        stop::append(tx, &mut entries, now).await
    }
}

/// Ends a pending approval. The gate is held, so that nobody else can have been first since it was read.
pub(super) async fn end(
    tx: &mut Tx,
    mut approval: Approval,
    state: ApprovalState,
    by: &str,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<Approval> {
    let end = ApprovalEnd {
        state,
        by,
        reason,
        at: now,
    };
    if tx
        .end_approval(&approval.id, &approval.digest, &end)
        .await?
    {
        approval.state = state;
        approval.decided_by = Some(by.to_owned());
        approval.decided = Some(now);
        approval.deny_reason = reason.map(str::to_owned);
    }
    Ok(approval)
}

pub(super) async fn expire(tx: &mut Tx, approval: Approval, now: Timestamp) -> Result<Approval> {
    let approval = end(tx, approval, ApprovalState::Expired, "nightbell", None, now).await?;
    let told = entry(
        AuditKind::Expired,
        "nightbell",
        &approval.id,
        &approval.spec,
        json!({"expires": approval.expires}),
    );
    tx.append_audit(&told, now).await?;
    Ok(approval)
}

/// Withdraws one approval if it is pending; the entry is for the end of the transaction.
pub(super) async fn withdraw(
    tx: &mut Tx,
    approval: Approval,
    by: &str,
    why: &str,
    now: Timestamp,
) -> Result<(Approval, Option<NewEntry>)> {
    if approval.state != ApprovalState::Pending {
        return Ok((approval, None));
    }
    let withdrawn = end(tx, approval, ApprovalState::Withdrawn, by, Some(why), now).await?;
    let told = entry(
        AuditKind::Withdrawn,
        by,
        &withdrawn.id,
        &withdrawn.spec,
        json!({"why": why}),
    );
    Ok((withdrawn, Some(told)))
}
