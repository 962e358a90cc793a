//! The audit on demand: whether its chain holds, and if not, where it was tampered with.

use serde_json::json;

use super::execute::Desk;
use super::reply::{answer, card, counted, header, problem, say, small, unavailable};
use super::{Answer, Outcome};
use crate::chat::card::Tone;
use crate::safety::audit::{self, Mark};

impl Desk {
    pub(super) async fn verify_audit(&self, expect: Option<&str>) -> Answer {
        let expected = match expect.map(str::parse::<Mark>).transpose() {
            Ok(expected) => expected,
            Err(invalid) => {
                return problem(
                    Outcome::Invalid,
                    crate::redact::line(&invalid.to_string(), 200),
                    "`nightbell audit verify` prints it.",
                );
            }
        };
        match audit::verify(&self.store, expected.as_ref()).await {
            Err(error) => unavailable(&error),
            Ok(Ok(None)) => {
                let text = "The audit is empty: nothing was asked for or decided yet.";
                answer(
                    card(Tone::Good, text, vec![say(text)]),
                    json!({ "holds": true, "entries": 0, "head": null }),
                )
            }
            Ok(Ok(Some(head))) => {
                let entries = usize::try_from(head.seq).unwrap_or(usize::MAX);
                let text = format!(
                    "The audit holds: {}, none changed, removed or put in.",
                    counted(entries, "record")
                );
                let blocks = vec![
                    say(&text),
                    say(&format!("It ends with `{head}`.")),
                    small(
                        "Note that elsewhere and give it to `nightbell audit verify --expect`: only so can it be seen if somebody who may write the whole database makes the whole chain anew.",
                    ),
                ];
                answer(
                    card(Tone::Good, &text, blocks),
                    json!({ "holds": true, "entries": head.seq, "head": head.to_string() }),
                )
            }
            Ok(Err(broken)) => {
                let text = format!("The audit was tampered with: {broken}.");
                let blocks = vec![
                    header("The audit was tampered with"),
                    say(&text),
                    small(
                        "What comes after that place proves nothing. Compare with an export or a backup.",
                    ),
                ];
                let mut answer = answer(
                    card(Tone::Bad, &text, blocks),
                    json!({ "holds": false, "broken": broken.to_string() }),
                );
                answer.outcome = Outcome::Refused;
                answer
            }
        }
    }
}
