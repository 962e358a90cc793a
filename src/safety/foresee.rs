//! What the gate would say to an action now, without asking anybody and without counting anything.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Scope;
use super::approval::{BY_RULE, ends_instances};
use super::approvers;
use super::gate::{Request, Safety};
use super::policy::{Case, Verdict};
use super::{digest, stop};
use crate::decide::Proposal;
use crate::desk::Principal;
use crate::store::Result;

/// The answer of each gate, in the order in which they are passed. `None`: it lets the action through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreseen {
    /// Why no action of its kind may start at all.
    pub stop: Option<String>,
    /// The limit that refuses it for now.
    pub limit: Option<String>,
    /// Why a person decides.
    pub asks: Option<String>,
    /// Why it would only be recorded.
    pub log_only: Option<String>,
    /// Everything but the last call would be done.
    pub dry_run: bool,
    /// Nobody is set up who may approve.
    pub nobody_approves: bool,
}

impl Safety {
    /// Asks the gate what it would say to this proposal of a person, or of the policy if nobody is named.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn foresee(
        &self,
        proposal: &Proposal,
        by: Option<&Principal>,
        now: Timestamp,
    ) -> Result<Foreseen> {
        let mut tx = self.store.begin().await?;
        let stop = stop::refusal(&mut tx, proposal.spec.kind).await?;
        let name = by.map_or_else(|| "policy".to_owned(), approvers::name);
        let scope: &Scope = &proposal.scope;
        let request = Request {
            spec: &proposal.spec,
            digest: &digest::of_action(&proposal.spec),
            scope,
            alert_id: None,
            approval_id: None,
            by: &name,
            dry_run: self.settings.policy.dry_run,
        };
        let placed = self.placed(&proposal.spec, scope);
        let refused = self.check(&mut tx, &request, &placed, now).await?;
        // The transaction wrote nothing, and is dropped.
        drop(tx);
        let verdict = self.settings.policy.judge(Case {
            kind: proposal.spec.kind,
            class: proposal.class,
            severity: proposal.severity,
            by_person: by.is_some(),
            wide: proposal.healthy_taken * 100
                > scope.instances * self.settings.limits.instances_percent,
            ends_instances: ends_instances(proposal),
            owned_elsewhere: proposal.owned_elsewhere,
        });
        let deciders = self.deciders(&proposal.spec, scope, proposal.severity);
        let verdict = match (verdict, deciders.rule) {
            (Verdict::Auto, Some(_)) => Verdict::Ask(BY_RULE),
            (verdict, _) => verdict,
        };
        let (asks, log_only) = match verdict {
            Verdict::Auto => (None, None),
            Verdict::Ask(why) => (Some(why.to_owned()), None),
            Verdict::LogOnly(why) => (None, Some(why.to_owned())),
        };
        Ok(Foreseen {
            limit: match (&stop, refused) {
                (None, Err(refusal)) => Some(refusal.to_string()),
                (Some(_), _) | (None, Ok(())) => None,
            },
            stop: stop.map(|stop| stop.to_string()),
            asks,
            log_only,
            dry_run: self.settings.policy.dry_run,
            nobody_approves: deciders.approvers.is_empty(),
        })
    }
}
