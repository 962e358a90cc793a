//! Decisions on questions: once, by somebody who may, while the question is fresh; what is approved is permitted in the
//! same transaction.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use jiff::Timestamp;
use serde_json::json;

use super::approval::{NIGHTBELL, end, expire, withdraw};
use super::approvers::{self, Approvers, GroupMembers, NotAllowed};
use super::audit::AuditKind;
use super::gate::{Refusal, Request, Safety, entry};
use super::stop;
use super::{Approval, ApprovalState, Endorsement, Execution, digest};
use crate::action::ActionKind;
use crate::alert::lifecycle::Event;
use crate::alert::service::AlertError;
use crate::alert::{AlertState, Severity};
use crate::desk::Principal;
use crate::notify::Destination;
use crate::store::{Result, Tx};

/// Asks Slack who is in a user group; `None` if it did not say.
pub type AskGroup = Arc<dyn Fn(String) -> BoxFuture<'static, Option<Vec<String>>> + Send + Sync>;

/// How long Slack may take to say who is in a group before that counts as not said.
const ASK_GROUP_TIMEOUT: Duration = Duration::from_secs(5);

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
    /// One approved, and `needed` different people have to.
    Endorsed {
        approval: Approval,
        needed: usize,
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

impl Safety {
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
        // Who decides follows from what never changes of an approval, so that Slack can be asked before the transaction.
        let Some((asked, its_scope)) = self.store.approval(approval_id).await? else {
            return Ok(Decision::NotFound);
        };
        let deciders = self.deciders(&asked.spec, &its_scope, asked.severity);
        let groups = self.ask_groups(principal, deciders.approvers).await;
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
        let requester = if self.roster.same(&approval.requested_by, &who) {
            &who
        } else {
            &approval.requested_by
        };
        if let Err(why) = deciders
            .approvers
            .check(principal, requester, home, &groups)
        {
            let told = json!({"why": why.to_string(), "approve": approve, "rule": deciders.rule, "surface": principal.surface, "team": principal.team});
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

        // What people were told when it was asked counts, and what the rules say by now.
        let needed = approval.people.max(deciders.people);
        if self.different_people(&approval, &who) < needed {
            return self.endorse(tx, approval, &who, needed, now).await;
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
        let told = json!({
            "execution": execution.id, "surface": principal.surface, "team": principal.team, "rule": deciders.rule,
            "with": approval.endorsed.iter().map(|e| &e.by).filter(|by| !self.roster.same(by, &who)).collect::<Vec<_>>(),
        });
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

    /// How many people approved, `who` included, each counted once under whatever names they came, and who asked not at
    /// all: that two names are one person's may have become known since.
    fn different_people(&self, approval: &Approval, who: &str) -> usize {
        let mut people = vec![who];
        for endorsed in &approval.endorsed {
            let by = endorsed.by.as_str();
            let is_known = people.iter().any(|one| self.roster.same(one, by));
            if !is_known && !self.roster.same(&approval.requested_by, by) {
                people.push(by);
            }
        }
        people.len()
    }

    /// Keeps one approval of several; the action waits for the others.
    async fn endorse(
        &self,
        mut tx: Tx,
        mut approval: Approval,
        who: &str,
        needed: usize,
        now: Timestamp,
    ) -> Result<Decision> {
        if approval
            .endorsed
            .iter()
            .any(|e| self.roster.same(&e.by, who))
        {
            return Ok(Decision::Endorsed { approval, needed });
        }
        approval.endorsed.push(Endorsement {
            by: who.to_owned(),
            at: now,
        });
        approval.people = needed;
        tx.save_endorsed(&approval).await?;
        self.show(&mut tx, &approval, Some(who), now).await?;
        let told = json!({"approved": approval.endorsed.len(), "needed": needed});
        let told = entry(AuditKind::Endorsed, who, &approval.id, &approval.spec, told);
        tx.append_audit(&told, now).await?;
        tx.commit().await?;
        Ok(Decision::Endorsed { approval, needed })
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
    pub(super) async fn show(
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
            ApprovalState::Approved => "approved".to_owned(),
            ApprovalState::Denied => "denied".to_owned(),
            ApprovalState::Expired => "nobody decided in time".to_owned(),
            ApprovalState::Pending => {
                format!(
                    "{} of {} approved",
                    approval.endorsed.len(),
                    approval.people
                )
            }
            ApprovalState::Withdrawn => "withdrawn".to_owned(),
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
        let applied = alerts.apply(tx, alert_id, event, now).await;
        let denied = approval.state == ApprovalState::Denied;
        // People who said no to the repair leave a job that still fails: somebody has to know.
        let applied = if applied.is_ok() && denied && approval.severity >= Severity::High {
            let paged = alerts
                .settings()
                .destinations
                .contains(&Destination::PagerDuty);
            let told = if paged {
                "PagerDuty is told, unless somebody has the alert already"
            } else {
                "PagerDuty is not configured, so nobody is called: please take it on"
            };
            let text = format!("Denied, so the failure is left to people. Escalated: {told}.");
            alerts
                .apply(tx, alert_id, Event::Escalated { text }, now)
                .await
        } else {
            applied
        };
        match applied {
            Ok(_) | Err(AlertError::NotFound(_)) => Ok(()),
            Err(AlertError::Store(fault)) => Err(fault),
        }
    }

    /// Membership of the groups that could let `principal` in, asked for before any transaction begins.
    pub(super) async fn ask_groups(
        &self,
        principal: &Principal,
        approvers: &Approvers,
    ) -> Vec<GroupMembers> {
        let groups = approvers.groups_to_ask(principal);
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
    let (approval, told) = withdraw(&mut tx, approval, NIGHTBELL, why, now).await?;
    if let Some(told) = told {
        tx.append_audit(&told, now).await?;
    }
    tx.commit().await?;
    Ok(Decision::Stale {
        why: why.to_owned(),
        approval,
    })
}
