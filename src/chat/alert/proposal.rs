//! A proposed action, the decision about it, and what became of it.

use super::words::{PROSE, VALUE, bold, capital, plain, time};
use crate::chat::card::{Block, Button, ButtonStyle, Press, Span, Verb};
use crate::redact::line;
use crate::safety::{Approval, ApprovalState, Execution, ExecutionState};

pub(super) fn proposal(approval: &Approval) -> Block {
    let what = action(approval);
    let mut spans = match approval.state {
        ApprovalState::Pending => {
            vec![
                bold("Proposed:"),
                plain(&format!(" {what}"), VALUE),
                plain(&format!(". {}", approval.reason), PROSE),
            ]
        }
        ApprovalState::Approved | ApprovalState::Denied => {
            let word = if approval.state == ApprovalState::Approved {
                "Approved by"
            } else {
                "Denied by"
            };
            let mut spans = vec![bold(word), plain(" ", 2)];
            if approval.state == ApprovalState::Approved {
                let last = approval.decided_by.as_ref();
                for endorsed in approval.endorsed.iter().filter(|e| Some(&e.by) != last) {
                    spans.push(Span::User(endorsed.by.clone()));
                    spans.push(plain(" and ", 5));
                }
            }
            spans.extend(
                approval
                    .decided_by
                    .as_ref()
                    .map(|by| Span::User(by.clone())),
            );
            spans.push(plain(&format!(": {what}"), VALUE));
            spans.extend(
                approval
                    .deny_reason
                    .as_ref()
                    .map(|reason| plain(&format!(". Reason: {reason}"), PROSE)),
            );
            spans
        }
        ApprovalState::Expired => vec![
            bold("Nobody decided in time:"),
            plain(&format!(" {what}"), VALUE),
        ],
        ApprovalState::Withdrawn => vec![bold("Withdrawn:"), plain(&format!(" {what}"), VALUE)],
    };
    if approval.state == ApprovalState::Pending {
        if !approval.impact.is_empty() {
            spans.push(Span::Plain("\n".to_owned()));
            spans.push(bold("Blast radius:"));
            spans.push(plain(&format!(" {}", approval.impact.join(" ")), PROSE));
        }
        spans.extend(endorsed(approval));
        spans.push(plain(" ", 2));
        spans.push(Span::Italic(format!("Expires {}.", time(approval.expires))));
    }
    if approval.dry_run {
        spans.push(plain(" ", 2));
        spans.push(Span::Italic(
            "Dry run: everything but the last call happens.".to_owned(),
        ));
    }
    Block::Text { spans }
}

/// How many of several people approved so far, and who.
fn endorsed(approval: &Approval) -> Vec<Span> {
    if approval.people < 2 {
        return Vec::new();
    }
    let (done, needed) = (approval.endorsed.len(), approval.people);
    if done == 0 {
        return vec![plain(&format!(" Needs {needed} people to approve."), PROSE)];
    }
    let mut spans = vec![
        plain(" ", 2),
        bold(&format!("{done} of {needed}:")),
        plain(" approved by ", 20),
    ];
    for (i, endorsement) in approval.endorsed.iter().enumerate() {
        if i > 0 {
            spans.push(plain(", ", 2));
        }
        spans.push(Span::User(endorsement.by.clone()));
    }
    let waiting = match needed.saturating_sub(done) {
        0 | 1 => ", waiting for another person.".to_owned(),
        more => format!(", waiting for {more} other people."),
    };
    spans.push(plain(&waiting, PROSE));
    spans
}

pub(super) fn execution(execution: &Execution) -> Block {
    let state = match execution.state {
        ExecutionState::Permitted => "is about to run",
        ExecutionState::Started => "is running",
        ExecutionState::Verifying => "was carried out; its effect is being watched",
        ExecutionState::Verified => "was carried out and its effect verified",
        ExecutionState::NotVerified => "was carried out, but its effect was not seen",
        ExecutionState::Failed => "failed",
        ExecutionState::Unknown => {
            "was interrupted: whether it happened is not known, and it is not repeated"
        }
        ExecutionState::Cancelled => "was cancelled",
        ExecutionState::DryRun => "was rehearsed (dry run): nothing was changed",
    };
    let mut spans = vec![
        bold(&capital(execution.spec.kind.verb().trim_end_matches(" of"))),
        plain(&format!(" {state}"), VALUE),
    ];
    let told = execution
        .verification
        .as_ref()
        .or(execution.answer.as_ref());
    spans.extend(told.map(|text| plain(&format!(": {text}"), PROSE)));
    Block::Text { spans }
}

pub(super) fn decision(approval: &Approval, which: &str) -> Vec<Button> {
    let what = action(approval);
    let confirm = format!("{}? {}", capital(&what), approval.impact.join(" "));
    let button = |verb, label: String, style, confirm| Button {
        press: Press {
            verb,
            id: approval.id.clone(),
        },
        label: line(&label, 75),
        style,
        confirm,
    };
    vec![
        button(
            Verb::Approve,
            format!("Approve{which}: {what}"),
            ButtonStyle::Primary,
            Some(line(&confirm, 300)),
        ),
        button(
            Verb::Deny,
            format!("Deny{which}"),
            ButtonStyle::Danger,
            None,
        ),
    ]
}

fn action(approval: &Approval) -> String {
    let name = approval.spec.target.name();
    let avoid = approval
        .spec
        .avoid_node
        .as_ref()
        .map_or_else(String::new, |node| format!(", avoiding {node}"));
    line(
        &format!("{} {name}{avoid}", approval.spec.kind.verb()),
        VALUE,
    )
}
