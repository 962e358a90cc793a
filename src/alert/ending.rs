//! How an alert ends: its job shows no failure for long enough, is gone, or somebody says that it is over.

use jiff::Timestamp;

use super::lifecycle::{EventKind, Note, Outcome};
use super::report::JobReport;
use super::settings::Settings;
use super::{Alert, AlertState};

impl Alert {
    pub(super) fn goes_quiet(&mut self, report: &JobReport, now: Timestamp) -> Vec<Outcome> {
        let expected = report.expected().next();
        let mut outcomes = Vec::new();
        if let Some(event) = expected
            && self.track.expected_state.as_ref() != Some(&event.state)
        {
            self.track.expected += 1;
            self.track.expected_state = Some(event.state.clone());
            let text = format!("{}: {}", event.state, event.detail);
            outcomes.push(Outcome::Record {
                kind: EventKind::Expected,
                by: None,
                text,
            });
        }
        // What was stopped goes on: from now on it can recover.
        if expected.is_none() && self.track.expected_state.take().is_some() {
            self.track.quiet_since = None;
        }
        if self.track.quiet_since.is_none() {
            self.track.quiet_since = Some(now);
            self.subject = report.subject.clone();
            outcomes.push(Outcome::Record {
                kind: EventKind::Quiet,
                by: None,
                text: String::new(),
            });
        }
        if !outcomes.is_empty() {
            outcomes.push(Outcome::Changed);
        }
        outcomes
    }

    pub(super) fn time_passed(&mut self, settings: &Settings, now: Timestamp) -> Vec<Outcome> {
        let stable = self
            .track
            .quiet_since
            .is_some_and(|since| now.duration_since(since) >= self.hold_down(settings));
        // What our own action stopped it may be about to start again.
        let stopped_by_us =
            self.state == AlertState::Mitigating && self.track.expected_state.is_some();
        if stable && !stopped_by_us {
            let how = match &self.track.expected_state {
                Some(state) => format!("ended: {state}"),
                None if self.is_held() => "recovered, and no longer flapping".to_owned(),
                None => "recovered".to_owned(),
            };
            return self.resolve(&how, None, now);
        }
        if self.silenced_until.is_some_and(|until| until <= now) {
            self.silenced_until = None;
            return vec![
                Outcome::Show,
                Outcome::Page,
                Outcome::Record {
                    kind: EventKind::Unsilenced,
                    by: None,
                    text: "the silence ended".to_owned(),
                },
            ];
        }
        if self
            .covered
            .as_ref()
            .is_some_and(|cover| cover.until <= now)
        {
            return vec![Outcome::Changed];
        }
        Vec::new()
    }

    pub(super) fn resolve(
        &mut self,
        how: &str,
        by: Option<String>,
        now: Timestamp,
    ) -> Vec<Outcome> {
        self.state = AlertState::Resolved;
        self.resolved = Some(now);
        self.resolution = Some(how.to_owned());
        self.silenced_until = None;
        self.covered = None;
        self.track.failing_views.clear();
        // Beginnings are counted on, unless a recovery lasted or somebody declared it over.
        if by.is_some() || self.track.flapping_since.take().is_some() {
            self.track.began.clear();
        }
        vec![
            Outcome::Show,
            Outcome::Page,
            Outcome::Tell(Note::Resolved {
                how: how.to_owned(),
            }),
            Outcome::Record {
                kind: EventKind::Resolved,
                by,
                text: how.to_owned(),
            },
        ]
    }
}
