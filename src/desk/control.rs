//! Holding actions back short of an emergency stop: disabling one kind of action, and clearing what waits.

use std::sync::LazyLock;

use jiff::Timestamp;
use regex::Regex;
use serde_json::json;

use super::execute::{Desk, who};
use super::reply::{answer, card, code, counted, problem, say, small, unavailable};
use super::{Answer, Command, Outcome, Principal};
use crate::action::{ActionKind, catalogue};
use crate::chat::card::Tone;
use crate::redact;

/// "disable delete_pod", "please turn the `rollout restart` action on again". The name is looked up in the catalogue.
static SWITCH: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?x)^(?:please\s+)?(?P<what>disable|forbid|enable|re-enable|allow)\s+
          (?:the\s+)?(?:actions?\s+)?(?:type\s+|kind\s+)?[`']?(?P<name>[a-z][a-z_\ -]{2,40}?)[`']?
          (?:\s+actions?)?(?:\s+again)?\s*[.!]?$",
    )
    .expect("a regex of our own")
});
static CLEAR: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"^(?:please\s+)?(?:clear|empty|flush)\s+(?:the\s+)?(?:action\s+|actions\s+|approval\s+)?queue\s*[.!]?$",
    )
    .expect("a regex of our own")
});

/// The command of this file that a sentence is, if it is one. Only names of the catalogue make one, so that nothing is
/// guessed.
pub(super) fn said(text: &str) -> Option<Command> {
    let text = text.trim().to_lowercase();
    if CLEAR.is_match(&text) {
        return Some(Command::ClearQueue);
    }
    let found = SWITCH.captures(&text)?;
    let action = named(&found["name"])?.as_str().to_owned();
    let disabled = matches!(&found["what"], "disable" | "forbid");
    Some(Command::SetAction { action, disabled })
}

/// The kind that is called so in the catalogue, or in words: `delete pod`.
fn named(name: &str) -> Option<ActionKind> {
    ActionKind::named(&name.trim().replace([' ', '-'], "_"))
}

impl Desk {
    pub(super) async fn set_action(
        &self,
        principal: &Principal,
        action: &str,
        disabled: bool,
        now: Timestamp,
    ) -> Answer {
        let Some(kind) = named(action) else {
            let known: Vec<&str> = catalogue().iter().map(|entry| entry.name).collect();
            return problem(
                Outcome::NotFound,
                format!("There is no action {}.", code(&redact::line(action, 60))),
                format!("Actions are {}.", known.join(", ")),
            );
        };
        match self
            .safety
            .set_disabled_for(principal, kind, disabled, now)
            .await
        {
            Err(error) => unavailable(&error),
            Ok(Err(why)) => problem(
                Outcome::Refused,
                format!(
                    "{} stays disabled: {}.",
                    code(kind.as_str()),
                    redact::line(&why.to_string(), 300)
                ),
                "`APPROVERS` lists who may enable it in Slack; `nightbell enable-action` does it at the machine.",
            ),
            Ok(Ok(all)) => {
                let name = code(kind.as_str());
                let text = if disabled {
                    format!("{name} is disabled: none starts from now on, approved or not.")
                } else {
                    format!("{name} is enabled: it may run again, within its limits and approvals.")
                };
                let names: Vec<&str> = all.iter().map(|kind| kind.as_str()).collect();
                let rest = if names.is_empty() {
                    "No action is disabled.".to_owned()
                } else {
                    format!("Disabled are: {}.", names.join(", "))
                };
                let tone = if disabled { Tone::Warning } else { Tone::Good };
                answer(
                    card(tone, &text, vec![say(&text), small(&rest)]),
                    json!({ "action": kind, "disabled": disabled, "all_disabled": names }),
                )
            }
        }
    }

    pub(super) async fn clear_queue(&self, principal: &Principal, now: Timestamp) -> Answer {
        match self.safety.clear_queue(&who(principal), now).await {
            Err(error) => unavailable(&error),
            Ok(cleared) => {
                let text = format!(
                    "The queue is clear: {} withdrawn, {} cancelled before it began.",
                    counted(cleared.withdrawn, "question"),
                    counted(cleared.cancelled, "action"),
                );
                let blocks = vec![
                    say(&text),
                    small(
                        "What runs already goes on. What still fails is proposed anew when its job is looked at again.",
                    ),
                ];
                answer(card(Tone::Info, &text, blocks), json!(cleared))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_catalogue_make_a_command() {
        let switch = |action: &str, disabled| {
            Some(Command::SetAction {
                action: action.into(),
                disabled,
            })
        };
        for (text, expected) in [
            ("disable delete_pod", switch("delete_pod", true)),
            (
                "Please disable the action `delete_pod`",
                switch("delete_pod", true),
            ),
            (
                "disable the rollout restart action",
                switch("rollout_restart", true),
            ),
            (
                "disable action type runai-delete.",
                switch("runai_delete", true),
            ),
            ("enable delete pod again", switch("delete_pod", false)),
            ("re-enable recreate_job", switch("recreate_job", false)),
            ("clear the queue", Some(Command::ClearQueue)),
            ("clear queue", Some(Command::ClearQueue)),
            ("disable everything", None),
            ("disable dry-run mode", None),
            ("enable pagerduty", None),
            ("delete pod train-0", None),
            ("don't disable delete_pod", None),
            ("disable delete_pod and drop_table", None),
            ("clear the emergency stop", None),
        ] {
            assert_eq!(said(text), expected, "{text}");
        }
    }
}
