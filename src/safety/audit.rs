//! Who asked, who decided, what ran and what came of it: a chain in which each entry's hash covers the one before.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::digest;
use crate::store::{Store, StoreError};

/// What an entry tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditKind {
    /// An approval was asked for.
    Proposed,
    Approved,
    Denied,
    Expired,
    Withdrawn,
    /// Somebody who may not decide tried to.
    DecisionRefused,
    /// The gate said no: a limit, the kill switch, a disabled kind.
    Refused,
    Permitted,
    Started,
    /// The call ended, well or badly.
    Answered,
    /// What was observed afterwards.
    Observed,
    Cancelled,
    EmergencyStop,
    EmergencyClear,
    KindDisabled,
    KindEnabled,
}

/// An entry before it has its place in the chain.
#[derive(Clone, Debug)]
pub struct NewEntry {
    pub kind: AuditKind,
    /// A person as [`super::approvers::name`] names them, or `policy`, `nightbell`.
    pub actor: String,
    /// Id of the approval or execution, or of what else it is about.
    pub subject: String,
    pub content: Value,
}

/// An entry of the chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// From 1, without gaps.
    pub seq: i64,
    pub at: Timestamp,
    pub kind: AuditKind,
    pub actor: String,
    pub subject: String,
    pub content: Value,
    /// Hash of the entry before; empty for the first.
    pub previous: String,
    pub hash: String,
}

/// Gives an entry its place. `previous` is the hash of entry `seq - 1`.
#[must_use]
pub fn link(seq: i64, previous: Option<String>, entry: &NewEntry, now: Timestamp) -> AuditEntry {
    // The database keeps milliseconds; the hash must cover what can be read back.
    let at = Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now);
    let mut entry = AuditEntry {
        seq,
        at,
        kind: entry.kind,
        actor: entry.actor.clone(),
        subject: entry.subject.clone(),
        content: entry.content.clone(),
        previous: previous.unwrap_or_default(),
        hash: String::new(),
    };
    entry.hash = entry.compute_hash();
    entry
}

impl AuditEntry {
    fn compute_hash(&self) -> String {
        digest::of(&json!({
            "seq": self.seq,
            "at_ms": self.at.as_millisecond(),
            "kind": self.kind,
            "actor": self.actor,
            "subject": self.subject,
            "content": self.content,
            "previous": self.previous,
        }))
    }
}

/// Where the chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("audit entry {seq} is missing")]
    Missing { seq: i64 },
    #[error("audit entry {seq} was changed")]
    Changed { seq: i64 },
    #[error("audit entry {seq} does not follow from the one before it")]
    Unlinked { seq: i64 },
}

/// Follows the chain over `entries`, from the state that earlier entries left in `last` (number and hash).
fn follow(last: &mut (i64, String), entries: &[AuditEntry]) -> Result<(), Broken> {
    for entry in entries {
        let seq = last.0 + 1;
        if entry.seq != seq {
            return Err(Broken::Missing { seq });
        }
        if entry.previous != last.1 {
            return Err(Broken::Unlinked { seq });
        }
        if entry.hash != entry.compute_hash() {
            return Err(Broken::Changed { seq });
        }
        *last = (seq, entry.hash.clone());
    }
    Ok(())
}

/// Entries read at once while checking.
const PAGE: i64 = 1000;

/// Checks the whole chain: how many entries hold, or where it breaks.
///
/// # Errors
/// When the database does not answer; a broken chain is an answer.
pub async fn verify(store: &Store) -> Result<Result<i64, Broken>, StoreError> {
    // Read first: entries appended while we page may be more, never fewer.
    let head = store.audit_head().await?;
    let mut last = (0, String::new());
    loop {
        let page = store.audit_after(last.0, PAGE).await?;
        if page.is_empty() {
            break;
        }
        if let Err(broken) = follow(&mut last, &page) {
            return Ok(Err(broken));
        }
    }
    if last.0 < head {
        return Ok(Err(Broken::Missing { seq: last.0 + 1 }));
    }
    Ok(Ok(last.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(n: i64) -> Vec<AuditEntry> {
        let mut entries: Vec<AuditEntry> = Vec::new();
        for seq in 1..=n {
            let new = NewEntry {
                kind: AuditKind::Approved,
                actor: "U1".into(),
                subject: format!("a{seq}"),
                content: json!({"digest": "d", "n": seq}),
            };
            let previous = entries.last().map(|e| e.hash.clone());
            entries.push(link(
                seq,
                previous,
                &new,
                Timestamp::from_second(seq).unwrap(),
            ));
        }
        entries
    }
    fn check(entries: &[AuditEntry]) -> Result<(), Broken> {
        follow(&mut (0, String::new()), entries)
    }

    #[test]
    fn a_chain_holds_until_somebody_touches_it() {
        let whole = chain(5);
        assert_eq!(check(&whole), Ok(()));

        let mut edited = whole.clone();
        edited[2].actor = "U2".into();
        assert_eq!(check(&edited), Err(Broken::Changed { seq: 3 }));

        let mut forged = whole.clone();
        forged[2].actor = "U2".into();
        forged[2].hash = forged[2].compute_hash();
        assert_eq!(check(&forged), Err(Broken::Unlinked { seq: 4 }));

        let mut removed = whole;
        removed.remove(1);
        assert_eq!(check(&removed), Err(Broken::Missing { seq: 2 }));
    }
}
