//! Which past alerts are like one, and what was done about them.

use super::{AlertFilter, Result, Store};
use crate::alert::Alert;
use crate::diagnose::similar::{LOOKED_AT, Similar, similar};
use crate::safety::ExecutionState;

impl Store {
    /// The past alerts most like this one, of the newest [`LOOKED_AT`], with what was carried out for them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn similar_alerts(&self, alert: &Alert) -> Result<Vec<Similar>> {
        let past = self
            .alerts(AlertFilter {
                resolved: true,
                limit: LOOKED_AT,
                offset: 0,
            })
            .await?;
        let mut found = similar(alert, &past);
        for incident in &mut found {
            let done = self.latest_execution_of(&incident.alert_id).await?;
            incident.fixed_by = done
                .filter(|done| done.state == ExecutionState::Verified)
                .map(|done| {
                    let avoid = done
                        .spec
                        .avoid_node
                        .as_ref()
                        .map_or_else(String::new, |node| format!(", avoiding {node}"));
                    format!("{} {}{avoid}", done.spec.kind.verb(), done.spec.target)
                });
        }
        Ok(found)
    }
}
