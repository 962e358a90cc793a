//! Which alert a report of a job belongs to: the one that is open, one that ended, or a new one.

use super::report::JobReport;
use super::settings::Settings;
use super::{Alert, AlertState};
use crate::detect::FailureClass;

/// Where a report goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// To the alert with this id: it is open, or the same failure begins again.
    Known(String),
    /// What the open alert told of is over, and the job fails in another way: end that alert, then place again.
    Supersede(String),
    /// To a new alert.
    New,
    /// Nothing is wrong, and nobody was told otherwise.
    Nowhere,
}

/// Places `report` among the alerts of its job.
#[must_use]
pub fn place(report: &JobReport, alerts: &[Alert], settings: &Settings) -> Placement {
    let open = alerts
        .iter()
        .find(|alert| alert.state != AlertState::Resolved);
    let Some(symptom) = report.most_telling() else {
        return open.map_or(Placement::Nowhere, |alert| {
            Placement::Known(alert.id.clone())
        });
    };
    if let Some(alert) = open {
        // A job that waited, was started and then fails, fails for another reason than the one it waited for.
        let started = alert.class == FailureClass::Blocked && alert.track.quiet_since.is_some();
        return if started && !symptom.wrapper && symptom.class != FailureClass::Blocked {
            Placement::Supersede(alert.id.clone())
        } else {
            Placement::Known(alert.id.clone())
        };
    }
    let mut same: Vec<&Alert> = alerts
        .iter()
        .filter(|alert| alert.class == symptom.class)
        .collect();
    if same.is_empty() && symptom.wrapper {
        // A wrapper says only that the job failed, so it says nothing new; but waiting is no failure to wrap.
        same = alerts
            .iter()
            .filter(|alert| alert.class != FailureClass::Blocked)
            .collect();
    }
    let told = u64::try_from(same.len()).unwrap_or(u64::MAX);
    // Found by hand as over, and this is what was known then: the alert itself decides to stay resolved.
    let dismissed = same
        .iter()
        .max_by_key(|alert| alert.number)
        .is_some_and(|alert| alert.track.resolved_by.is_some());
    match same.iter().max_by_key(|alert| alert.number) {
        Some(last) if dismissed || told >= settings.max_alerts_per_job.max(1) => {
            Placement::Known(last.id.clone())
        }
        Some(_) | None => Placement::New,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Severity;
    use crate::alert::lifecycle::{Birth, Event, open};
    use crate::alert::report::tests::{at, report, symptom};

    fn alert(number: i64, class: FailureClass, state: &str) -> Alert {
        let birth = Birth {
            id: format!("a{number}"),
            number,
            job_id: "j".to_owned(),
            severity: Severity::Medium,
            demo: false,
        };
        open(
            birth,
            &report("train", vec![symptom(class, state, 0)]),
            at(0),
        )
        .expect("a failure")
        .0
    }

    fn resolved(mut alert: Alert) -> Alert {
        alert.state = AlertState::Resolved;
        alert.resolved = Some(at(60));
        alert
    }

    fn goes(report: &JobReport, alerts: &[Alert]) -> Placement {
        place(report, alerts, &Settings::default())
    }

    #[test]
    fn everything_folds_into_the_open_alert() {
        let alerts = [alert(1, FailureClass::CannotStart, "ImagePullBackOff")];
        for (class, state) in [
            (FailureClass::Crashed, "OOMKilled"),
            (FailureClass::Crashed, "BackoffLimitExceeded"),
            (FailureClass::Disrupted, "Evicted"),
        ] {
            let next = report("train", vec![symptom(class, state, 5)]);
            assert_eq!(
                goes(&next, &alerts),
                Placement::Known("a1".to_owned()),
                "{state}"
            );
        }
    }

    #[test]
    fn after_resolution_the_same_failure_reopens_and_another_is_new() {
        let alerts = [resolved(alert(1, FailureClass::Crashed, "OOMKilled"))];
        let crash = report("train", vec![symptom(FailureClass::Crashed, "Error", 90)]);
        assert_eq!(goes(&crash, &alerts), Placement::Known("a1".to_owned()));
        let evicted = report(
            "train",
            vec![symptom(FailureClass::Disrupted, "Evicted", 90)],
        );
        assert_eq!(goes(&evicted, &alerts), Placement::New);
        let wrapper = report(
            "train",
            vec![symptom(FailureClass::Degraded, "Degraded", 90)],
        );
        assert_eq!(goes(&wrapper, &alerts), Placement::Known("a1".to_owned()));
    }

    #[test]
    fn a_job_that_waited_and_then_crashes_failed_in_another_way() {
        let mut waiting = alert(1, FailureClass::Blocked, "Unschedulable");
        let crash = report(
            "train",
            vec![symptom(FailureClass::Crashed, "OOMKilled", 90)],
        );
        assert_eq!(
            goes(&crash, std::slice::from_ref(&waiting)),
            Placement::Known("a1".to_owned())
        );
        let started = Event::Reported {
            report: Box::new(report("train", vec![])),
            severity: Severity::Low,
        };
        waiting.apply(started, &Settings::default(), at(30));
        assert_eq!(
            goes(&crash, &[waiting]),
            Placement::Supersede("a1".to_owned())
        );
    }

    #[test]
    fn as_many_messages_as_are_allowed_are_made_for_one_failure() {
        let settings = Settings {
            max_alerts_per_job: 2,
            ..Settings::default()
        };
        let crash = report("train", vec![symptom(FailureClass::Crashed, "Error", 90)]);
        let mut alerts = vec![resolved(alert(1, FailureClass::Crashed, "Error"))];
        assert_eq!(place(&crash, &alerts, &settings), Placement::New);
        alerts.push(resolved(alert(2, FailureClass::Crashed, "Error")));
        assert_eq!(
            place(&crash, &alerts, &settings),
            Placement::Known("a2".to_owned())
        );
    }

    #[test]
    fn a_healthy_job_without_an_alert_goes_nowhere() {
        assert_eq!(goes(&report("train", vec![]), &[]), Placement::Nowhere);
        let mut preempted = symptom(FailureClass::Disrupted, "Preempted", 0);
        preempted.expected = true;
        assert_eq!(
            goes(&report("train", vec![preempted]), &[]),
            Placement::Nowhere
        );
    }
}
