//! Whatever two sources say of one job, in whatever order: one open alert at most, none lost, no message twice.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::lifecycle::{Birth, Event, open};
use super::placement::{Placement, place};
use super::report::tests::{at, report, symptom};
use super::report::{JobReport, Presence};
use super::settings::Settings;
use super::{Alert, AlertState, Severity};
use crate::detect::FailureClass;

/// What happens next.
#[derive(Clone, Debug)]
enum Next {
    /// A source (by its view of the estate) sees these states; none is quiet.
    Seen {
        elsewhere: bool,
        states: Vec<usize>,
    },
    Removed {
        elsewhere: bool,
    },
    Finished,
    Acknowledged,
    Passes {
        seconds: i64,
    },
}

const STATES: [(FailureClass, &str); 8] = [
    (FailureClass::Crashed, "Failed"),
    (FailureClass::Crashed, "BackoffLimitExceeded"),
    (FailureClass::Crashed, "CrashLoopBackOff"),
    (FailureClass::Crashed, "OOMKilled"),
    (FailureClass::Degraded, "Degraded"),
    (FailureClass::CannotStart, "ImagePullBackOff"),
    (FailureClass::Blocked, "Unschedulable"),
    (FailureClass::Disrupted, "Evicted"),
];

fn next() -> impl Strategy<Value = Next> {
    prop_oneof![
        6 => (any::<bool>(), prop::collection::vec(0..STATES.len(), 0..3))
            .prop_map(|(elsewhere, states)| Next::Seen { elsewhere, states }),
        1 => any::<bool>().prop_map(|elsewhere| Next::Removed { elsewhere }),
        1 => Just(Next::Finished),
        1 => Just(Next::Acknowledged),
        3 => (1_i64..900).prop_map(|seconds| Next::Passes { seconds }),
    ]
}

/// The alerts of one job, kept as the service keeps them.
struct Ledger {
    alerts: Vec<Alert>,
    settings: Settings,
    now: Timestamp,
}

impl Ledger {
    fn apply(&mut self, id: &str, event: Event) {
        if let Some(alert) = self.alerts.iter_mut().find(|alert| alert.id == id) {
            alert.apply(event, &self.settings, self.now);
        }
    }

    /// Returns the class of a new alert, if one was opened.
    fn take(&mut self, report: &JobReport) -> Option<FailureClass> {
        let severity = Severity::Medium;
        let mut placed = place(report, &self.alerts, &self.settings);
        if let Placement::Supersede(id) = &placed {
            self.apply(id, Event::Superseded);
            placed = place(report, &self.alerts, &self.settings);
        }
        match placed {
            Placement::Known(id) => {
                let report = Box::new(report.clone());
                self.apply(&id, Event::Reported { report, severity });
                return None;
            }
            Placement::Nowhere | Placement::Supersede(_) => return None,
            Placement::New => {}
        }
        let number = i64::try_from(self.alerts.len()).expect("few") + 1;
        let birth = Birth {
            id: format!("a{number}"),
            number,
            job_id: "j".to_owned(),
            severity,
            demo: false,
        };
        let (alert, _) = open(birth, report, self.now)?;
        let class = alert.class;
        self.alerts.push(alert);
        Some(class)
    }

    fn open(&self) -> Vec<&Alert> {
        self.alerts
            .iter()
            .filter(|alert| alert.state != AlertState::Resolved)
            .collect()
    }
}

fn seen(elsewhere: bool, states: &[usize], now: Timestamp) -> JobReport {
    let symptoms = states
        .iter()
        .map(|&state| {
            let (class, name) = STATES[state];
            let mut symptom = symptom(class, name, 0);
            symptom.since = now;
            symptom
        })
        .collect();
    let mut report = report("train", symptoms);
    if elsewhere {
        "c-1".clone_into(&mut report.identity.cluster);
    }
    report
}

proptest! {
    #[test]
    fn a_job_has_one_open_alert_and_no_failure_has_two_messages(story in prop::collection::vec(next(), 1..60)) {
        let mut ledger = Ledger { alerts: Vec::new(), settings: Settings::default(), now: at(0) };
        for next in story {
            ledger.now += SignedDuration::from_secs(1);
            let now = ledger.now;
            match next {
                Next::Seen { elsewhere, states } => {
                    let report = seen(elsewhere, &states, now);
                    let before = ledger.alerts.clone();
                    let opened = ledger.take(&report);
                    if let Some(class) = opened {
                        prop_assert!(
                            before.iter().all(|alert| alert.class != class),
                            "a second message for {class:?}"
                        );
                    }
                    prop_assert!(!report.failing() || ledger.open().len() == 1, "a failing job was lost");
                }
                Next::Removed { elsewhere } => {
                    let mut report = seen(elsewhere, &[], now);
                    report.presence = Presence::Removed;
                    ledger.take(&report);
                }
                Next::Finished => {
                    let mut report = seen(false, &[], now);
                    report.presence = Presence::Finished;
                    ledger.take(&report);
                }
                Next::Acknowledged => {
                    for id in ledger.alerts.iter().map(|alert| alert.id.clone()).collect::<Vec<_>>() {
                        ledger.apply(&id, Event::Acknowledged { by: "mira".to_owned() });
                    }
                }
                Next::Passes { seconds } => {
                    ledger.now += SignedDuration::from_secs(seconds);
                    for id in ledger.alerts.iter().map(|alert| alert.id.clone()).collect::<Vec<_>>() {
                        ledger.apply(&id, Event::TimePassed);
                    }
                }
            }
            prop_assert!(ledger.open().len() <= 1);
        }
    }
}
