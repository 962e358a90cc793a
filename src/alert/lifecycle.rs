//! The life of one alert: every state answers every event, and says what is to follow as data (`outcome`).
//! What a diagnosis changes and how an alert ends are files of their own.

use std::collections::BTreeSet;

use jiff::Timestamp;

pub use super::diagnosed::root_cause;
pub use super::outcome::{EventKind, Note, Outcome};
use super::report::{JobReport, Presence, digest, telling};
use super::settings::Settings;
use super::{Alert, AlertState, Severity, Track};
use crate::diagnose::Diagnosis;

/// Pods, nodes, images and claims kept by name; beyond that only their number matters.
const NAMES_KEPT: usize = 64;
/// A job that fails again and again says so in its thread this often; its message counts on.
const REOPENINGS_TOLD: u64 = 3;

/// What can happen to an alert.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The job was looked at: it fails, is quiet, has ended or is gone.
    Reported {
        report: Box<JobReport>,
        severity: Severity,
    },
    /// What it told of is over, and the job fails in another way.
    Superseded,
    /// A time came that the alert wanted to be looked at.
    TimePassed,
    Diagnosed(Box<Diagnosis>),
    Acknowledged {
        by: String,
    },
    ResolvedBy {
        by: String,
    },
    Silenced {
        by: String,
        until: Timestamp,
    },
    Unsilenced {
        by: String,
    },
    /// The silences that cover it may have changed; what covers it is looked up when it is saved.
    SilencesChanged,
    /// PagerDuty cannot be told of it (`why`), or was at last.
    PagingTroubled {
        why: Option<String>,
    },
    /// 👍 or 👎 for the diagnosis.
    Rated {
        by: String,
        up: bool,
    },
    /// An action is on offer; `text` says which.
    ApprovalOffered {
        approval_id: String,
        text: String,
    },
    /// Someone (or the clock) decided the offer; `text` says who and what.
    ApprovalDecided {
        text: String,
        by: Option<String>,
        approved: bool,
    },
    /// The repair was refused: people are called to it, whatever its severity; `text` says so.
    Escalated {
        text: String,
    },
    /// Something happened to an action for it; `mitigating` while it runs or is being verified.
    ActionNoted {
        text: String,
        mitigating: bool,
    },
}

/// What a new alert is made from, beside the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Birth {
    pub id: String,
    pub number: i64,
    pub job_id: String,
    pub severity: Severity,
    pub demo: bool,
}

/// Opens an alert for a failing job; `None` if nothing in the report is a failure.
pub fn open(birth: Birth, report: &JobReport, now: Timestamp) -> Option<(Alert, Vec<Outcome>)> {
    let first = report.most_telling()?;
    let mut alert = Alert {
        id: birth.id,
        number: birth.number,
        job_id: birth.job_id,
        subject: report.subject.clone(),
        class: first.class,
        failure: first.state.clone(),
        detail: first.detail.clone(),
        severity: birth.severity,
        state: AlertState::Open,
        opened: now,
        updated: now,
        resolved: None,
        resolution: None,
        count: 0,
        pods: Vec::new(),
        pods_failing: 0,
        nodes: Vec::new(),
        images: Vec::new(),
        acknowledged_by: None,
        silenced_until: None,
        covered: None,
        paging_trouble: None,
        group_id: None,
        diagnosis: None,
        approval_id: None,
        action_note: None,
        feedback: 0,
        demo: birth.demo,
        track: Track::default(),
    };
    alert.track.began.push(now);
    alert.fold(report);
    let outcomes = vec![
        Outcome::Record {
            kind: EventKind::Opened,
            by: None,
            text: format!("{}: {}", alert.failure, alert.detail),
        },
        Outcome::Show,
        Outcome::Page,
        Outcome::Diagnose { again: false },
    ];
    Some((alert, outcomes))
}

impl Alert {
    /// Applies `event`. Late and repeated events leave the alert as it was and cause nothing.
    pub fn apply(&mut self, event: Event, settings: &Settings, now: Timestamp) -> Vec<Outcome> {
        let outcomes = match (self.state, event) {
            (AlertState::Resolved, Event::Reported { report, severity }) => {
                self.reopen(&report, severity, settings, now)
            }
            (_, Event::Reported { report, severity }) => {
                self.track.failing_views.remove(&report.view());
                let elsewhere = !self.track.failing_views.is_empty();
                match report.presence {
                    Presence::Present | Presence::Finished if report.failing() => {
                        self.fails_on(&report, severity, settings, now)
                    }
                    // Another source still sees it fail.
                    Presence::Removed | Presence::Finished | Presence::Present if elsewhere => {
                        vec![Outcome::Changed]
                    }
                    // Our own action takes it down and makes it anew; how that went is for the action to say, and then
                    // for the run that took its place.
                    Presence::Removed
                        if self.state == AlertState::Mitigating || self.was_made_anew() =>
                    {
                        vec![Outcome::Changed]
                    }
                    Presence::Removed => self.resolve("removed", None, now),
                    Presence::Finished => self.resolve("completed", None, now),
                    Presence::Present => self.goes_quiet(&report, now),
                }
            }
            (
                AlertState::Resolved,
                Event::TimePassed
                | Event::Superseded
                | Event::SilencesChanged
                | Event::Escalated { .. },
            ) => Vec::new(),
            (_, Event::SilencesChanged) => vec![Outcome::Changed],
            (_, Event::Superseded) => self.resolve("started", None, now),
            (_, Event::TimePassed) => self.time_passed(settings, now),
            (_, Event::Diagnosed(diagnosis)) => self.diagnosed(diagnosis),
            (AlertState::Open, Event::Acknowledged { by }) => {
                self.state = AlertState::Acknowledged;
                self.acknowledge(by)
            }
            (AlertState::Mitigating, Event::Acknowledged { by })
                if self.acknowledged_by.is_none() =>
            {
                self.acknowledge(by)
            }
            (
                AlertState::Acknowledged | AlertState::Mitigating | AlertState::Resolved,
                Event::Acknowledged { .. },
            )
            | (AlertState::Resolved, Event::ResolvedBy { .. } | Event::Silenced { .. }) => {
                Vec::new()
            }
            (_, Event::ResolvedBy { by }) => {
                self.track.resolved_by = Some(by.clone());
                self.resolve("resolved by hand", Some(by), now)
            }
            (_, Event::Silenced { by, until }) => {
                self.silenced_until = Some(until);
                vec![
                    Outcome::Show,
                    Outcome::Record {
                        kind: EventKind::Silenced,
                        by: Some(by),
                        text: format!("until {until}"),
                    },
                ]
            }
            (_, Event::Unsilenced { by }) => {
                if self.silenced_until.take().is_none() {
                    return Vec::new();
                }
                vec![
                    Outcome::Show,
                    Outcome::Page,
                    Outcome::Record {
                        kind: EventKind::Unsilenced,
                        by: Some(by),
                        text: String::new(),
                    },
                ]
            }
            (_, Event::PagingTroubled { why }) => self.paging_troubled(why),
            (_, Event::Rated { by, up }) => {
                self.feedback += if up { 1 } else { -1 };
                let text = if up { "helpful" } else { "not helpful" }.to_owned();
                vec![
                    Outcome::Changed,
                    Outcome::Record {
                        kind: EventKind::Rated,
                        by: Some(by),
                        text,
                    },
                ]
            }
            (_, Event::ApprovalOffered { approval_id, text }) => {
                self.approval_id = Some(approval_id);
                vec![
                    Outcome::Show,
                    Outcome::Record {
                        kind: EventKind::Offered,
                        by: None,
                        text,
                    },
                ]
            }
            (state, Event::ApprovalDecided { text, by, approved }) => {
                if approved && state != AlertState::Resolved {
                    self.state = AlertState::Mitigating;
                }
                let mut outcomes = vec![Outcome::Show, Outcome::Page];
                // Who decided it was answered in the thread, and the message names them.
                if by.is_none() {
                    self.action_note = Some(text.clone());
                    outcomes.push(Outcome::Tell(Note::Action { text: text.clone() }));
                }
                outcomes.push(Outcome::Record {
                    kind: EventKind::Decided,
                    by,
                    text,
                });
                outcomes
            }
            (_, Event::Escalated { text }) => {
                self.track.escalated = true;
                vec![
                    Outcome::Show,
                    Outcome::Page,
                    Outcome::Tell(Note::Action { text: text.clone() }),
                    Outcome::Record {
                        kind: EventKind::Action,
                        by: None,
                        text,
                    },
                ]
            }
            (state, Event::ActionNoted { text, mitigating }) => {
                // What was only permitted makes the alert mitigating; what is told to go on after that was done.
                if mitigating && state == AlertState::Mitigating {
                    self.track.acted = Some(now);
                }
                if state != AlertState::Resolved {
                    self.state = match (mitigating, &self.acknowledged_by) {
                        (true, _) => AlertState::Mitigating,
                        (false, Some(_)) => AlertState::Acknowledged,
                        (false, None) => AlertState::Open,
                    };
                }
                self.action_note = Some(text.clone());
                vec![
                    Outcome::Show,
                    Outcome::Tell(Note::Action { text: text.clone() }),
                    Outcome::Record {
                        kind: EventKind::Action,
                        by: None,
                        text,
                    },
                ]
            }
        };
        if !outcomes.is_empty() {
            self.updated = now;
        }
        outcomes
    }

    /// When something is to be done about the alert though nothing is seen: the hold-down or a silence ends.
    #[must_use]
    pub fn look_at(&self, settings: &Settings) -> Option<Timestamp> {
        if self.state == AlertState::Resolved {
            return None;
        }
        let stable = self.track.quiet_since.map(|since| {
            since
                .saturating_add(self.hold_down(settings))
                .unwrap_or(since)
        });
        let covered = self.covered.as_ref().map(|cover| cover.until);
        stable
            .into_iter()
            .chain(self.silenced_until)
            .chain(covered)
            .min()
    }

    /// Whether a run that our action made is seen in the place of the one that failed, and does not fail.
    fn was_made_anew(&self) -> bool {
        self.track.acted.is_some() && self.track.quiet_since.is_some()
    }

    /// What PagerDuty and people call this failing of the job: it counts up when the job fails again.
    #[must_use]
    pub fn episode(&self) -> i64 {
        i64::try_from(self.track.reopened).unwrap_or(i64::MAX)
    }

    fn fails_on(
        &mut self,
        report: &JobReport,
        severity: Severity,
        settings: &Settings,
        now: Timestamp,
    ) -> Vec<Outcome> {
        let seen = digest(report.failures());
        self.track.failing_views.insert(report.view());
        if self.track.quiet_since.is_none() && self.track.seen == seen {
            return Vec::new();
        }
        let (failure, severe) = (self.failure.clone(), self.severity);
        // Held, it begins to fail again without anybody being told: that is what was announced.
        if self.is_held() && self.track.quiet_since.is_some() {
            self.begins(settings, now);
        }
        self.fold(report);
        self.severity = severe.max(severity);
        let mut outcomes = vec![Outcome::Show, Outcome::Diagnose { again: true }];
        if self.severity != severe {
            outcomes.push(Outcome::Page);
        }
        if self.failure != failure {
            let text = format!("{}: {}", self.failure, self.detail);
            outcomes.push(Outcome::Record {
                kind: EventKind::Observed,
                by: None,
                text,
            });
        }
        outcomes
    }

    fn reopen(
        &mut self,
        report: &JobReport,
        severity: Severity,
        settings: &Settings,
        now: Timestamp,
    ) -> Vec<Outcome> {
        let new = match (&self.track.resolved_by, self.resolved) {
            // Whoever resolved it by hand knew of what was wrong then.
            (Some(_), Some(resolved)) => {
                // The end of a job that was crashing then is no news, unless nothing but the end is told: Run:AI alone
                // says only that a workload failed.
                let bare = report.failures().all(|s| s.wrapper);
                report
                    .failures()
                    .any(|s| s.since > resolved && (bare || !s.wrapper))
            }
            _ => report.failing(),
        };
        if !new || report.presence == Presence::Removed {
            return Vec::new();
        }
        self.state = AlertState::Open;
        self.resolved = None;
        self.resolution = None;
        self.acknowledged_by = None;
        self.track.resolved_by = None;
        self.track.escalated = false;
        self.track.reopened += 1;
        self.severity = severity;
        self.fold(report);
        let text = format!("{}: {}", self.failure, self.detail);
        let mut outcomes = vec![
            Outcome::Record {
                kind: EventKind::Reopened,
                by: None,
                text,
            },
            Outcome::Show,
            Outcome::Page,
            Outcome::Diagnose { again: false },
        ];
        let flaps = self.begins(settings, now);
        if flaps && self.is_held() {
            let times = u64::try_from(self.track.began.len()).unwrap_or(u64::MAX);
            let minutes = whole_minutes(self.hold_down(settings));
            outcomes.push(Outcome::Tell(Note::Flapping { times, minutes }));
            outcomes.push(Outcome::Record {
                kind: EventKind::Flapping,
                by: None,
                text: format!("held until a recovery lasts {minutes} min"),
            });
        } else if (self.track.reopened <= REOPENINGS_TOLD || self.severity == Severity::Critical)
            && !self.silenced(now)
        {
            outcomes.push(Outcome::Tell(Note::FailedAgain {
                times: self.track.reopened,
            }));
        }
        outcomes
    }

    /// Takes over what a failing report says; a more telling state replaces the one shown.
    fn fold(&mut self, report: &JobReport) {
        self.subject = report.subject.clone();
        self.track.failing_views.insert(report.view());
        self.count += 1;
        self.track.quiet_since = None;
        self.track.expected_state = None;
        self.track.seen = digest(report.failures());
        if let Some(symptom) = report.most_telling()
            && (self.count == 1
                || telling(symptom) > self.track.telling
                || self.failure == symptom.state)
        {
            self.track.telling = telling(symptom);
            self.class = symptom.class;
            self.failure.clone_from(&symptom.state);
            self.detail.clone_from(&symptom.detail);
        }
        for symptom in report.failures() {
            if let Some(pod) = &symptom.pod {
                keep(&mut self.pods, pod);
            }
            if let Some(node) = &symptom.node {
                keep(&mut self.nodes, node);
            }
            if let Some(image) = &symptom.image {
                keep(&mut self.images, image);
            }
        }
        for claim in &report.claims {
            keep(&mut self.track.claims, claim);
        }
        // Beyond the names kept, the number is that of the report with most failing pods.
        let distinct: BTreeSet<&str> = report.failures().filter_map(|s| s.pod.as_deref()).collect();
        let most = self.pods.len().max(distinct.len());
        self.pods_failing = self
            .pods_failing
            .max(u64::try_from(most).unwrap_or(u64::MAX));
    }

    fn paging_troubled(&mut self, why: Option<String>) -> Vec<Outcome> {
        if self.paging_trouble == why {
            return Vec::new();
        }
        let text = match &why {
            Some(why) => format!("cannot page: {why}"),
            None => "PagerDuty was told at last".to_owned(),
        };
        self.paging_trouble = why;
        vec![
            Outcome::Show,
            Outcome::Record {
                kind: EventKind::Paging,
                by: None,
                text,
            },
        ]
    }

    fn acknowledge(&mut self, by: String) -> Vec<Outcome> {
        self.acknowledged_by = Some(by.clone());
        vec![
            Outcome::Show,
            Outcome::Page,
            Outcome::Record {
                kind: EventKind::Acknowledged,
                by: Some(by),
                text: String::new(),
            },
        ]
    }
}

fn whole_minutes(duration: jiff::SignedDuration) -> i64 {
    (duration.as_secs() + 59) / 60
}

fn keep(names: &mut Vec<String>, name: &str) {
    if names.len() < NAMES_KEPT && !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::report::tests::{at, report, symptom};
    use crate::detect::FailureClass;

    #[test]
    fn what_was_resolved_by_hand_opens_again_only_for_a_later_failure() {
        let crash = |since| symptom(FailureClass::Crashed, "OOMKilled", since);
        let end = |since| symptom(FailureClass::Crashed, "Failed", since);
        for (symptoms, opens) in [
            (vec![crash(10)], false),
            (vec![crash(10), end(90)], false),
            (vec![crash(90)], true),
            (vec![end(10)], false),
            (vec![end(90)], true),
        ] {
            let birth = Birth {
                id: "a1".to_owned(),
                number: 1,
                job_id: "j".to_owned(),
                severity: Severity::Medium,
                demo: false,
            };
            let first = report("train", vec![crash(10)]);
            let (mut alert, _) = open(birth, &first, at(10)).expect("a failure");
            let settings = Settings::default();
            let by = "mira".to_owned();
            alert.apply(Event::ResolvedBy { by }, &settings, at(60));
            let again = Event::Reported {
                report: Box::new(report("train", symptoms.clone())),
                severity: Severity::Medium,
            };
            alert.apply(again, &settings, at(100));
            assert_eq!(alert.state == AlertState::Open, opens, "{symptoms:?}");
        }
    }

    #[test]
    fn a_job_that_our_action_stops_and_starts_again_recovers() {
        let birth = Birth {
            id: "a1".to_owned(),
            number: 1,
            job_id: "j".to_owned(),
            severity: Severity::Medium,
            demo: false,
        };
        let failing = report("train", vec![symptom(FailureClass::Crashed, "Error", 10)]);
        let (mut alert, _) = open(birth, &failing, at(10)).expect("a failure");
        let settings = Settings::default();
        let mut happens = |event: Event, now: i64| {
            alert.apply(event, &settings, at(now));
            (alert.state, alert.resolution.clone())
        };
        let seen = |symptoms| Event::Reported {
            report: Box::new(report("train", symptoms)),
            severity: Severity::Medium,
        };
        let approved = Event::ApprovalDecided {
            text: "approved".to_owned(),
            by: Some("mira".to_owned()),
            approved: true,
        };
        happens(approved, 20);
        let mut stopped = symptom(FailureClass::Disrupted, "Stopped", 30);
        stopped.expected = true;
        happens(seen(vec![stopped]), 30);
        assert_eq!(
            happens(Event::TimePassed, 7_200),
            (AlertState::Mitigating, None)
        );
        let verified = Event::ActionNoted {
            text: "verified".to_owned(),
            mitigating: false,
        };
        happens(verified, 7_210);
        happens(seen(Vec::new()), 7_210);
        assert_eq!(happens(Event::TimePassed, 7_211), (AlertState::Open, None));
        assert_eq!(
            happens(Event::TimePassed, 14_400),
            (AlertState::Resolved, Some("recovered".to_owned()))
        );
    }
}
