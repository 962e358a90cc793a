//! Questions to people: asked once per alert and action, decided once, by somebody who may, while they are fresh.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use jiff::Timestamp;
use serde_json::json;

use super::approvers::{self, GroupMembers, NotAllowed};
use super::audit::{AuditKind, NewEntry};
use super::gate::{Refusal, Request, Safety, entry};
use super::policy::{Case, Verdict};
use super::stop;
use super::{Approval, ApprovalState, Execution, digest};
use crate::action::{ActionKind, Takes};
use crate::alert::AlertState;
use crate::alert::lifecycle::Event;
use crate::alert::service::AlertError;
use crate::decide::Proposal;
use crate::desk::Principal;
use crate::store::{ApprovalEnd, EffectKind, NewEffect, Result, Tx, new_id};

/// Asks Slack who is in a user group; `None` if it did not say.
pub type AskGroup = Arc<dyn Fn(String) -> BoxFuture<'static, Option<Vec<String>>> + Send + Sync>;

/// How long Slack may take to say who is in a group before that counts as not said.
const ASK_GROUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Who is asked for what a finding proposes.
const POLICY: &str = "policy";

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

/// What became of a click (or command) on an approval.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, made once and read once"
)]
pub enum Decision {
    /// Permitted: it will start at once (or was a rehearsal, if the execution says so).
    Approved {
        approval: Approval,
        execution: Execution,
    },
    Denied {
        approval: Approval,
    },
    /// Somebody was first.
    AlreadyDecided {
        by: String,
        what: ApprovalState,
        approval: Approval,
    },
    Expired {
        approval: Approval,
    },
    NotAllowed {
        why: NotAllowed,
    },
    NobodyMayApprove,
    /// The question is no longer the right one; the sentence says why.
    Stale {
        why: String,
        approval: Approval,
    },
    /// The gate refuses for now. The approval still waits and can be pressed again.
    Refused {
        refusal: Refusal,
        approval: Approval,
    },
    NotFound,
}

/// Whether working instances go and none comes in their place.
pub(super) fn ends_instances(proposal: &Proposal) -> bool {
    proposal.spec.kind.entry().takes == Takes::Counted && proposal.healthy_taken > 0
}

impl Safety {
    /// Takes a proposal under an alert: asks people, or permits it at once where the policy and the limits allow.
    ///
    /// Part of the caller's transaction; let it be the last thing done before the commit (it takes the gate and the end
    /// of the audit). Repeating it changes nothing. An older pending question of the same alert is withdrawn.
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
        for old in earlier.iter().filter(|a| a.state == ApprovalState::Pending) {
            entries.extend(withdraw(tx, old, "another action is proposed instead", now).await?);
        }
        let approval = self
            .save(tx, alert_id, proposal, digest, reason, by, now)
            .await?;
        let told = json!({
            "reason": approval.reason, "impact": approval.impact, "severity": approval.severity,
            "asked_because": match verdict { Verdict::Ask(why) => why, Verdict::Auto | Verdict::LogOnly(_) => "outside limits" },
            "number": approval.number, "dry_run": approval.dry_run,
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

    /// Decides an approval. The first decision wins, whatever replica it reaches; approving asks the gate in the same
    /// transaction, so that an approved action is a permitted one.
    ///
    /// # Errors
    /// When the database refuses; nothing was decided then.
    pub async fn decide(
        &self,
        approval_id: &str,
        principal: &Principal,
        approve: bool,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<Decision> {
        let groups = self.ask_groups(principal).await;
        let who = approvers::name(principal);
        self.roster.refresh().await?;
        let mut tx = self.store.begin().await?;
        // Always alerts before the gate, as when the end of an alert withdraws its question: else the two could wait
        // for each other.
        tx.lock_alerts().await?;
        tx.lock_gate().await?;
        let Some((approval, scope)) = tx.approval(approval_id).await? else {
            return Ok(Decision::NotFound);
        };
        if let Some(decision) = settled(&approval) {
            return Ok(decision);
        }
        if approval.expires <= now {
            let approval = expire(&mut tx, approval, now).await?;
            self.show(&mut tx, &approval, None, now).await?;
            tx.commit().await?;
            return Ok(Decision::Expired { approval });
        }
        let home = self.home_team.get().map(String::as_str);
        // Under whatever name they asked.
        let asker = if self.roster.same(&approval.requested_by, &who) {
            &who
        } else {
            &approval.requested_by
        };
        if let Err(why) = self
            .settings
            .approvers
            .check(principal, asker, home, &groups)
        {
            let told = json!({"why": why.to_string(), "approve": approve, "surface": principal.surface, "team": principal.team});
            tx.append_audit(
                &entry(
                    AuditKind::DecisionRefused,
                    &who,
                    &approval.id,
                    &approval.spec,
                    told,
                ),
                now,
            )
            .await?;
            tx.commit().await?;
            return Ok(match why {
                NotAllowed::NobodyMayApprove => Decision::NobodyMayApprove,
                NotAllowed::NotListed
                | NotAllowed::ForeignTeam
                | NotAllowed::OwnRequest
                | NotAllowed::TeamUnknown
                | NotAllowed::GroupUnknown { .. } => Decision::NotAllowed { why },
            });
        }
        if digest::of_action(&approval.spec) != approval.digest {
            let why = "its parameters are not the ones that were asked about";
            return finish_stale(tx, approval, why, now).await;
        }
        if is_over(&mut tx, approval.alert_id.as_deref()).await? {
            return finish_stale(tx, approval, OVER, now).await;
        }
        if !approve {
            return self.deny(tx, approval, &who, reason, now).await;
        }
        if scope.cause.is_some()
            && let Some(why) =
                is_well(&mut tx, approval.alert_id.as_deref(), approval.spec.kind).await?
        {
            return finish_stale(tx, approval, &why, now).await;
        }

        let request = Request {
            spec: &approval.spec,
            digest: &approval.digest,
            scope: &scope,
            alert_id: approval.alert_id.as_deref(),
            approval_id: Some(&approval.id),
            by: &who,
            // A rehearsal that was asked about never becomes the real thing, nor the other way round.
            dry_run: approval.dry_run || self.settings.policy.dry_run,
        };
        let execution = match self.admit(&mut tx, &request, now).await? {
            Ok(execution) => execution,
            Err(refusal) => {
                let told = json!({"refusal": refusal.to_string()});
                tx.append_audit(
                    &entry(AuditKind::Refused, &who, &approval.id, &approval.spec, told),
                    now,
                )
                .await?;
                tx.commit().await?;
                return Ok(Decision::Refused { refusal, approval });
            }
        };
        let approval = end(&mut tx, approval, ApprovalState::Approved, &who, None, now).await?;
        self.show(&mut tx, &approval, Some(&who), now).await?;
        let told = json!({"execution": execution.id, "surface": principal.surface, "team": principal.team});
        let mut entries = vec![
            entry(
                AuditKind::Approved,
                &who,
                &approval.id,
                &approval.spec,
                told,
            ),
            entry(
                AuditKind::Permitted,
                &who,
                &execution.id,
                &execution.spec,
                json!({"approval": approval.id}),
            ),
        ];
        stop::append(&mut tx, &mut entries, now).await?;
        tx.commit().await?;
        Ok(Decision::Approved {
            approval,
            execution,
        })
    }

    async fn deny(
        &self,
        mut tx: Tx,
        approval: Approval,
        who: &str,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<Decision> {
        let approval = end(&mut tx, approval, ApprovalState::Denied, who, reason, now).await?;
        self.show(&mut tx, &approval, Some(who), now).await?;
        let told = entry(
            AuditKind::Denied,
            who,
            &approval.id,
            &approval.spec,
            json!({"reason": reason}),
        );
        tx.append_audit(&told, now).await?;
        tx.commit().await?;
        Ok(Decision::Denied { approval })
    }

    /// Lets the alert show what became of the question, in the transaction that decides it: whoever sees the answer
    /// sees it on the message too, whatever happens to this process.
    async fn show(
        &self,
        tx: &mut Tx,
        approval: &Approval,
        by: Option<&str>,
        now: Timestamp,
    ) -> Result<()> {
        let (Some(alerts), Some(alert_id)) = (&self.alerts, &approval.alert_id) else {
            return Ok(());
        };
        let how = match approval.state {
            ApprovalState::Approved => "approved",
            ApprovalState::Denied => "denied",
            ApprovalState::Expired => "nobody decided in time",
            ApprovalState::Pending | ApprovalState::Withdrawn => "withdrawn",
        };
        let reason = approval
            .deny_reason
            .as_deref()
            .map_or_else(String::new, |reason| format!(" ({reason})"));
        let event = Event::ApprovalDecided {
            text: format!("{how}: {}{reason}", approval.spec),
            by: by.map(str::to_owned),
            approved: approval.state == ApprovalState::Approved,
        };
        match alerts.apply(tx, alert_id, event, now).await {
            Ok(_) | Err(AlertError::NotFound(_)) => Ok(()),
            Err(AlertError::Store(fault)) => Err(fault),
        }
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
            entries.extend(withdraw(tx, &approval, why, now).await?);
        }
        stop::append(tx, &mut entries, now).await
    }

    /// Membership of the groups that could let `principal` in, asked for before any transaction begins.
    pub(super) async fn ask_groups(&self, principal: &Principal) -> Vec<GroupMembers> {
        let groups = self.settings.approvers.groups_to_ask(principal);
        join_all(groups.iter().map(|group| async move {
            let members = match &self.ask_group {
                Some(ask) => tokio::time::timeout(ASK_GROUP_TIMEOUT, ask(group.clone()))
                    .await
                    .ok()
                    .flatten(),
                None => None,
            };
            GroupMembers {
                group: group.clone(),
                members,
            }
        }))
        .await
    }
}

/// The answer to a click on what is no longer pending.
fn settled(approval: &Approval) -> Option<Decision> {
    let approval = approval.clone();
    match approval.state {
        ApprovalState::Pending => None,
        ApprovalState::Approved | ApprovalState::Denied => Some(Decision::AlreadyDecided {
            by: approval.decided_by.clone().unwrap_or_default(),
            what: approval.state,
            approval,
        }),
        ApprovalState::Expired => Some(Decision::Expired { approval }),
        ApprovalState::Withdrawn => Some(Decision::Stale {
            why: approval.deny_reason.clone().unwrap_or_default(),
            approval,
        }),
    }
}

/// Ends a pending approval. The gate is held, so that nobody else can have been first since it was read.
async fn end(
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

async fn expire(tx: &mut Tx, approval: Approval, now: Timestamp) -> Result<Approval> {
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
async fn withdraw(
    tx: &mut Tx,
    approval: &Approval,
    why: &str,
    now: Timestamp,
) -> Result<Option<NewEntry>> {
    if approval.state != ApprovalState::Pending {
        return Ok(None);
    }
    end(
        tx,
        approval.clone(),
        ApprovalState::Withdrawn,
        "nightbell",
        Some(why),
        now,
    )
    .await?;
    Ok(Some(entry(
        AuditKind::Withdrawn,
        "nightbell",
        &approval.id,
        &approval.spec,
        json!({"why": why}),
    )))
}

/// Why nothing is decided or started for a resolved alert.
pub(super) const OVER: &str = "its alert is resolved";

/// The alert that something is to help is resolved: there is nothing to repair any more.
pub(super) async fn is_over(tx: &mut Tx, alert_id: Option<&str>) -> Result<bool> {
    let Some(alert_id) = alert_id else {
        return Ok(false);
    };
    let alert = tx.alert(alert_id).await?;
    Ok(alert.is_some_and(|alert| alert.state == AlertState::Resolved))
}

/// Why a restart that a finding proposed would only do harm by now: the job is well again, though its alert waits for
/// that to last.
pub(super) async fn is_well(
    tx: &mut Tx,
    alert_id: Option<&str>,
    kind: ActionKind,
) -> Result<Option<String>> {
    let (true, Some(alert_id)) = (kind.is_restart(), alert_id) else {
        return Ok(None);
    };
    let alert = tx.alert(alert_id).await?;
    Ok(alert.and_then(|alert| {
        let since = alert.track.quiet_since?.strftime("%H:%M:%S UTC");
        Some(format!(
            "no failure of {} is seen since {since}, so there is nothing to repair; it is asked again if it fails again",
            alert.subject.name
        ))
    }))
}

/// Withdraws a question that is no longer the right one, and says why.
async fn finish_stale(
    mut tx: Tx,
    approval: Approval,
    why: &str,
    now: Timestamp,
) -> Result<Decision> {
    if let Some(entry) = withdraw(&mut tx, &approval, why, now).await? {
        tx.append_audit(&entry, now).await?;
    }
    tx.commit().await?;
    Ok(Decision::Stale {
        why: why.to_owned(),
        approval,
    })
}
