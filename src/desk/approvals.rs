//! Approvals: which wait, and deciding them. The gate decides who may; the desk says what it said.

use jiff::Timestamp;
use serde_json::json;

use super::execute::{Desk, who};
use super::reply::{
    ago, answer, card, code, counted, header, length, problem, say, small, unavailable,
};
use super::{Answer, Outcome, Principal};
use crate::action::Target;
use crate::chat::card::{Block, Button, ButtonStyle, Press, Tone, Verb};
use crate::redact;
use crate::safety::{Approval, ApprovalState, Decision};

/// Approvals shown with their buttons; more would be longer than one message.
const SHOWN: usize = 8;
const READ: i64 = 200;

impl Desk {
    pub(super) async fn list_approvals(&self, now: Timestamp) -> Answer {
        let pending = match self.store.approvals(ApprovalState::Pending, READ).await {
            Ok(pending) => pending,
            Err(error) => return unavailable(&error),
        };
        let pending: Vec<Approval> = pending
            .into_iter()
            .filter(|approval| approval.expires > now)
            .collect();
        let headline = match pending.len() {
            0 => "No approvals are waiting".to_owned(),
            count => format!("{} waiting", counted(count, "approval")),
        };
        let mut blocks = vec![header(&headline)];
        for approval in pending.iter().take(SHOWN) {
            blocks.push(say(&format!("#{}: {}", approval.number, what(approval))));
            blocks.push(small(&format!(
                "{} Asked {}, expires in {}.{}{}",
                redact::line(&approval.reason, 300),
                ago(approval.requested, now),
                length(approval.expires.duration_since(now).as_secs()),
                so_far(approval),
                if approval.dry_run { " Dry run." } else { "" }
            )));
            blocks.push(Block::Buttons {
                buttons: decision_buttons(approval),
            });
        }
        if pending.len() > SHOWN {
            blocks.push(small(&format!("And {} more.", pending.len() - SHOWN)));
        }
        if self.safety.settings().nobody_may_approve() {
            blocks.push(small("Nobody may approve: `APPROVERS` is empty."));
        }
        let tone = if pending.is_empty() {
            Tone::Info
        } else {
            Tone::Warning
        };
        answer(
            card(tone, &headline, blocks),
            json!({ "approvals": pending }),
        )
    }

    /// `approval` is an id or a short number, with or without `#`.
    pub(super) async fn decide(
        &self,
        principal: &Principal,
        approval: &str,
        approve: bool,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Answer {
        let id = match self.approval_id(approval).await {
            Ok(id) => id,
            Err(answer) => return *answer,
        };
        let reason = reason.map(|reason| redact::line(reason, 500));
        match self
            .safety
            .decide(&id, principal, approve, reason.as_deref(), now)
            .await
        {
            Ok(decision) => told(&decision, &who(principal), now),
            Err(error) => unavailable(&error),
        }
    }

    async fn approval_id(&self, named: &str) -> Result<String, Box<Answer>> {
        let number = named.trim().trim_start_matches('#');
        let Ok(number) = number.parse::<i64>() else {
            return Ok(named.to_owned());
        };
        match self.store.approval_numbered(number).await {
            Ok(Some(approval)) => Ok(approval.id),
            Ok(None) => Err(Box::new(problem(
                Outcome::NotFound,
                format!("There is no approval #{number}."),
                "`approvals` shows those that wait.",
            ))),
            Err(error) => Err(Box::new(unavailable(&error))),
        }
    }
}

/// How far the approval of several people is.
fn so_far(approval: &Approval) -> String {
    let (done, needed) = (approval.endorsed.len(), approval.people);
    if needed < 2 {
        return String::new();
    }
    if done == 0 {
        return format!(" Needs {needed} people.");
    }
    let by: Vec<&str> = approval.endorsed.iter().map(|e| e.by.as_str()).collect();
    format!(" {done} of {needed}: approved by {}.", by.join(", "))
}

pub(super) fn decision_buttons(approval: &Approval) -> Vec<Button> {
    let button = |verb, label: String, style| Button {
        press: Press {
            verb,
            id: approval.id.clone(),
        },
        label,
        style,
        confirm: None,
    };
    vec![
        button(
            Verb::Approve,
            format!("Approve #{}", approval.number),
            ButtonStyle::Primary,
        ),
        button(
            Verb::Deny,
            format!("Deny #{}", approval.number),
            ButtonStyle::Danger,
        ),
    ]
}

/// The action and its target, in words.
pub(super) fn what(approval: &Approval) -> String {
    let target = match &approval.spec.target {
        Target::Kubernetes {
            cluster,
            namespace,
            kind,
            name,
            ..
        } if namespace.is_empty() => format!("{kind} {} on {}", code(name), code(cluster)),
        Target::Kubernetes {
            cluster,
            namespace,
            kind,
            name,
            ..
        } => format!(
            "{kind} {} in {} on {}",
            code(name),
            code(namespace),
            code(cluster)
        ),
        Target::Runai { name, project, .. } => {
            format!("workload {} of project {}", code(name), code(project))
        }
        Target::Named { of, name, .. } => format!("{} ({of})", code(name)),
    };
    format!("{} {target}", code(approval.spec.kind.as_str()))
}

fn told(decision: &Decision, by: &str, now: Timestamp) -> Answer {
    let refused = |text: String, way_out: &str| problem(Outcome::Refused, text, way_out);
    match decision {
        Decision::Approved {
            approval,
            execution,
        } => {
            let text = format!("Approved #{} by {by}: {}.", approval.number, what(approval));
            let then = if execution.dry_run {
                "Dry run: everything but the last call is done, and reported."
            } else {
                "It starts at once; the result follows in the alert's thread."
            };
            answer(
                card(Tone::Good, &text, vec![say(&text), small(then)]),
                json!({ "decision": "approved", "approval": approval, "execution": execution }),
            )
        }
        Decision::Endorsed { approval, needed } => {
            let text = format!(
                "{} of {needed} approved #{}, {by} among them: {}.",
                approval.endorsed.len(),
                approval.number,
                what(approval)
            );
            let then = "It starts when somebody else approves too. Anybody who may approve can still deny it.";
            answer(
                card(Tone::Info, &text, vec![say(&text), small(then)]),
                json!({ "decision": "endorsed", "approval": approval, "needed": needed }),
            )
        }
        Decision::Denied { approval } => {
            let reason = approval
                .deny_reason
                .as_deref()
                .map_or_else(String::new, |reason| {
                    format!(" Reason: {}", redact::line(reason, 300))
                });
            let text = format!(
                "Denied #{} by {by}: {}.{reason}",
                approval.number,
                what(approval)
            );
            answer(
                card(Tone::Info, &text, vec![say(&text)]),
                json!({ "decision": "denied", "approval": approval }),
            )
        }
        Decision::AlreadyDecided { by, what, approval } => {
            let how = match what {
                ApprovalState::Approved => "approved",
                ApprovalState::Denied => "denied",
                ApprovalState::Expired => "closed, it expired",
                ApprovalState::Withdrawn => "withdrawn",
                ApprovalState::Pending => "decided",
            };
            let when = approval
                .decided
                .map_or_else(String::new, |at| format!(" {}", ago(at, now)));
            refused(
                format!("#{} was already {how} by {by}{when}.", approval.number),
                "The first decision counts.",
            )
        }
        Decision::Expired { approval } => refused(
            format!(
                "#{} expired {}.",
                approval.number,
                ago(approval.expires, now)
            ),
            "`troubleshoot` the job again; if the action still fits, it is proposed anew.",
        ),
        Decision::NotAllowed { why } => refused(
            redact::line(&why.to_string(), 300),
            "`APPROVERS`, or the rule of `approvals.rules` that fits, lists who may decide.",
        ),
        Decision::NobodyMayApprove => refused(
            "Nobody may approve: no approvers are configured.".to_owned(),
            "An operator sets `APPROVERS` to Slack user ids (U…), user groups (S…), or `local`.",
        ),
        Decision::Stale { why, approval } => refused(
            format!(
                "#{} is no longer the right question: {}.",
                approval.number,
                redact::line(why, 300)
            ),
            "A newer proposal, if there is one, is in the alert.",
        ),
        Decision::Refused { refusal, approval } => refused(
            format!(
                "The gate holds #{} back: {}.",
                approval.number,
                redact::line(&refusal.to_string(), 300)
            ),
            "The approval still waits; press again when this has passed.",
        ),
        Decision::NotFound => problem(
            Outcome::NotFound,
            "There is no such approval.",
            "`approvals` shows those that wait.",
        ),
    }
}
