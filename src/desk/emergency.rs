//! The kill switch: anyone may stop, only approvers may clear; what was stopped and by whom is always said.

use jiff::Timestamp;
use serde_json::json;

use super::execute::{Desk, who};
use super::reply::{answer, card, header, problem, say, small, unavailable};
use super::{Answer, Outcome, Principal};
use crate::chat::card::Tone;
use crate::redact;

impl Desk {
    pub(super) async fn emergency_stop(
        &self,
        principal: &Principal,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Answer {
        let reason = reason.map(|reason| redact::line(reason, 300));
        match self
            .safety
            .emergency_stop(&who(principal), reason.as_deref(), now)
            .await
        {
            Err(error) => unavailable(&error),
            Ok(stop) => {
                let text = "Emergency stop: no action starts from now on.";
                let blocks = vec![
                    header(text),
                    say(&redact::line(&stop.to_string(), 400)),
                    small(
                        "Watching, alerting and paging go on. `clear the emergency stop` allows actions again.",
                    ),
                ];
                answer(card(Tone::Bad, text, blocks), json!({ "stopped": stop }))
            }
        }
    }

    pub(super) async fn emergency_clear(&self, principal: &Principal, now: Timestamp) -> Answer {
        match self.safety.emergency_clear_for(principal, now).await {
            Err(error) => unavailable(&error),
            Ok(Err(why)) => problem(
                Outcome::Refused,
                format!(
                    "The emergency stop stays in force: {}.",
                    redact::line(&why.to_string(), 300)
                ),
                "`APPROVERS` lists who may clear it in Slack; `nightbell emergency-stop --clear` does it at the machine.",
            ),
            Ok(Ok(Some(stop))) => {
                let text = "The emergency stop is cleared: actions may run again, each within its limits and approvals.";
                let blocks = vec![
                    say(text),
                    small(&format!(
                        "It was in force because {}.",
                        redact::line(&stop.to_string(), 400)
                    )),
                ];
                answer(
                    card(Tone::Good, text, blocks),
                    json!({ "stopped": null, "was": stop }),
                )
            }
            Ok(Ok(None)) => {
                let text = "There was no emergency stop in force.";
                answer(
                    card(Tone::Info, text, vec![say(text)]),
                    json!({ "stopped": null, "was": null }),
                )
            }
        }
    }
}
