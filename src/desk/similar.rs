//! "Has this happened before?": past alerts like one, and what ended them.

use serde_json::json;

use super::Answer;
use super::execute::Desk;
use super::reply::{answer, card, header, say, unavailable};
use crate::chat::alert::similar;
use crate::chat::card::Tone;
use crate::diagnose::similar::LOOKED_AT;

impl Desk {
    pub(super) async fn similar_alerts(&self, number: i64) -> Answer {
        let alert = match self.alerts.by_number(number).await {
            Ok(alert) => alert,
            Err(error) => return super::alerts::failed(&error),
        };
        let past = match self.store.similar_alerts(&alert).await {
            Ok(past) => past,
            Err(error) => return unavailable(&error),
        };
        let name = crate::redact::line(&alert.subject.name, 120);
        let headline = format!("Incidents like #{number} ({name})");
        let mut blocks = vec![header(&headline)];
        if past.is_empty() {
            blocks.push(say(&format!(
                "None of the last {LOOKED_AT} alerts is like this one: as far as I know it is the first of its kind."
            )));
        } else {
            blocks.extend(similar(&past));
        }
        answer(
            card(Tone::Info, &headline, blocks),
            json!({ "alert": number, "similar": past }),
        )
    }
}
