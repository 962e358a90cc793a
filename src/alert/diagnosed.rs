//! What a diagnosis changes about an alert: its first one, a better one, or one of another failure.

use super::lifecycle::{EventKind, Note, Outcome};
use super::{Alert, AlertState};
use crate::diagnose::{Diagnosis, Role};

impl Alert {
    pub(super) fn diagnosed(&mut self, diagnosis: Box<Diagnosis>) -> Vec<Outcome> {
        let (before, after) = (
            self.diagnosis.as_ref().and_then(root_cause),
            root_cause(&diagnosis),
        );
        let another =
            self.track.reopened > 0 && matches!((before, after), (Some(a), Some(b)) if a != b);
        if another && self.state == AlertState::Open {
            return vec![Outcome::Split(diagnosis)];
        }
        if self.diagnosis.as_ref() == Some(&*diagnosis) {
            return Vec::new();
        }
        // Pods and their logs go away, and a repaired job looks well: why it failed stays what it was.
        let same_failing = self.track.diagnosed == self.track.reopened;
        if same_failing
            && self
                .diagnosis
                .as_ref()
                .is_some_and(|known| tells_less(&diagnosis, known))
        {
            return Vec::new();
        }
        self.track.diagnosed = self.track.reopened;
        let first_or_new_cause = before != after || self.diagnosis.is_none();
        let text = diagnosis
            .findings
            .first()
            .map_or_else(|| "nothing found".to_owned(), |f| f.title.clone());
        self.diagnosis = Some(*diagnosis);
        let mut outcomes = vec![
            Outcome::Show,
            Outcome::Record {
                kind: EventKind::Diagnosed,
                by: None,
                text,
            },
        ];
        if first_or_new_cause {
            outcomes.push(Outcome::Tell(Note::Diagnosed));
        }
        outcomes
    }
}

/// The cause that the best root finding names; `unknown` names none.
#[must_use]
pub fn root_cause(diagnosis: &Diagnosis) -> Option<&str> {
    diagnosis
        .findings
        .iter()
        .find(|finding| finding.role == Role::Root && finding.cause != "unknown")
        .map(|finding| finding.cause.as_str())
}

/// Whether `later` tells less of why the job failed than `earlier`: it found nothing wrong any more, or had less to look
/// at and is less sure for it.
fn tells_less(later: &Diagnosis, earlier: &Diagnosis) -> bool {
    let sure = |diagnosis: &Diagnosis| {
        let causes = diagnosis.findings.iter();
        causes
            .filter(|finding| finding.role == Role::Root && finding.cause != "unknown")
            .map(|finding| finding.confidence)
            .fold(0.0, f64::max)
    };
    let (later_sure, earlier_sure) = (sure(later), sure(earlier));
    later_sure < earlier_sure
        && (later_sure <= 0.0 || later.missing_evidence.len() > earlier.missing_evidence.len())
}
