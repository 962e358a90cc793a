//! Who asked, who decided, what ran and what came of it: a chain in which each entry's hash covers the one before.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::digest;
use crate::store::{AuditRow, Store, StoreError};

/// What an entry tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditKind {
    /// An approval was asked for.
    Proposed,
    /// One of several people who have to approve did.
    Endorsed,
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
    /// Everything that waited was withdrawn or cancelled.
    QueueCleared,
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
    #[error("audit entry {seq} was put in: nightbell never numbered one so")]
    Inserted { seq: i64 },
    #[error("audit entry {seq} is not the one that was last appended")]
    Rewritten { seq: i64 },
    #[error(
        "audit entry {seq} is not the one that was expected: the chain was rewritten since, or belongs to another database"
    )]
    NotExpected { seq: i64 },
}

/// An entry that somebody noted elsewhere, written `SEQ:HASH`: with it, a rewriting of the whole chain up to there
/// shows, which nothing inside the database can show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub seq: i64,
    pub hash: String,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not SEQ:HASH, as an earlier check printed it")]
pub struct InvalidMark(String);

impl FromStr for Mark {
    type Err = InvalidMark;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidMark(text.chars().take(80).collect());
        let (seq, hash) = text.trim().split_once(':').ok_or_else(invalid)?;
        let seq = seq
            .parse()
            .ok()
            .filter(|seq| *seq > 0)
            .ok_or_else(invalid)?;
        if hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        Ok(Self {
            seq,
            hash: hash.to_ascii_lowercase(),
        })
    }
}

/// Follows a chain, entry by entry.
struct Follower<'a> {
    /// Number and hash of the last entry that holds.
    last: (i64, String),
    /// Entries that are known from elsewhere.
    known: Vec<(&'a Mark, Broken)>,
}

impl Follower<'_> {
    fn follow(&mut self, row: &AuditRow) -> Result<(), Broken> {
        let seq = self.last.0 + 1;
        if row.seq < seq {
            return Err(Broken::Inserted { seq: row.seq });
        }
        if row.seq > seq {
            return Err(Broken::Missing { seq });
        }
        let Some(entry) = &row.entry else {
            return Err(Broken::Changed { seq });
        };
        if entry.previous != self.last.1 {
            return Err(Broken::Unlinked { seq });
        }
        if entry.hash != entry.compute_hash() {
            return Err(Broken::Changed { seq });
        }
        for (mark, broken) in &self.known {
            if mark.seq == seq && mark.hash != entry.hash {
                return Err(broken.clone());
            }
        }
        self.last = (seq, entry.hash.clone());
        Ok(())
    }
}

/// Rows read at once while checking.
const PAGE: i64 = 1000;

/// Checks the whole chain: where it ends (`None` if nothing was ever appended), or where it breaks.
///
/// It finds any row that was changed, removed, put in, moved or cut off the end. What it cannot find from inside: that
/// somebody who may write the whole database made the whole chain and its kept end anew. Against that, note the end
/// elsewhere from time to time and give it as `expected`.
///
/// # Errors
/// When the database does not answer; a broken chain is an answer.
pub async fn verify(
    store: &Store,
    expected: Option<&Mark>,
) -> Result<Result<Option<Mark>, Broken>, StoreError> {
    // Read first: entries appended while we page may be more, never fewer.
    let head = store.audit_head().await?;
    let kept = head.hash.map(|hash| Mark {
        seq: head.seq,
        hash,
    });
    let mut follower = Follower {
        last: (0, String::new()),
        known: Vec::new(),
    };
    if let Some(kept) = &kept {
        follower
            .known
            .push((kept, Broken::Rewritten { seq: kept.seq }));
    }
    if let Some(mark) = expected {
        follower
            .known
            .push((mark, Broken::NotExpected { seq: mark.seq }));
    }
    let mut after = i64::MIN;
    loop {
        let page = store.audit_rows(after, PAGE).await?;
        let Some(end) = page.last() else {
            break;
        };
        after = end.seq;
        for row in &page {
            if let Err(broken) = follower.follow(row) {
                return Ok(Err(broken));
            }
        }
    }
    let (seq, hash) = follower.last;
    let needed = head.seq.max(expected.map_or(0, |mark| mark.seq));
    if seq < needed {
        return Ok(Err(Broken::Missing { seq: seq + 1 }));
    }
    // An entry and its number are saved together, so that whatever we read is numbered by now.
    if seq > store.audit_head().await?.seq {
        return Ok(Err(Broken::Inserted { seq }));
    }
    Ok(Ok((seq > 0).then_some(Mark { seq, hash })))
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
        let mut follower = Follower {
            last: (0, String::new()),
            known: Vec::new(),
        };
        entries.iter().try_for_each(|entry| {
            follower.follow(&AuditRow {
                seq: entry.seq,
                entry: Some(entry.clone()),
            })
        })
    }

    #[test]
    fn a_mark_is_a_number_and_a_hash() {
        let hash = "ab".repeat(32);
        let mark: Mark = format!(" 12:{hash}").parse().unwrap();
        assert_eq!((mark.seq, mark.to_string()), (12, format!("12:{hash}")));
        for wrong in ["", "12", "12:ab", "0:", "-1:aa", &format!("x:{hash}")] {
            assert!(wrong.parse::<Mark>().is_err(), "{wrong}");
        }
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
