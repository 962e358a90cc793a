//! Jobs that fail, as reports, and an alerting service to take them in.

use jiff::{SignedDuration, Timestamp};
use nightbell::alert::identity::{Alias, Identity};
use nightbell::alert::report::{JobReport, Presence};
use nightbell::alert::service::Alerts;
use nightbell::alert::settings::Settings;
use nightbell::alert::{Alert, Subject};
use nightbell::detect::{FailureClass, Symptom};
use nightbell::diagnose::{Diagnosis, Finding, Role, Verdict};
use nightbell::notify::Destination;
use nightbell::store::{AlertFilter, Store};

pub const CHANNEL: &str = "C0ALERTS";

/// A moment; the scenes begin a while ago, so that effects are due by the clock of the workers.
pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).expect("a time in range")
}

pub fn alerts(store: &Store) -> Alerts {
    let destinations = vec![
        Destination::Slack {
            channel: CHANNEL.to_owned(),
        },
        Destination::PagerDuty,
    ];
    Alerts::new(
        store.clone(),
        Settings {
            destinations,
            ..Settings::default()
        },
    )
}

pub fn symptom(class: FailureClass, state: &str, since: i64) -> Symptom {
    Symptom {
        class,
        state: state.to_owned(),
        detail: format!("{state} was stated"),
        pod: Some("train-0".to_owned()),
        container: Some("main".to_owned()),
        node: None,
        image: None,
        since: at(since),
        wrapper: matches!(
            state,
            "Failed" | "BackoffLimitExceeded" | "Degraded" | "CrashLoopBackOff"
        ),
        expected: matches!(state, "Preempted" | "Suspended"),
    }
}

pub fn crashed(state: &str, since: i64) -> Symptom {
    symptom(FailureClass::Crashed, state, since)
}

/// What Kubernetes shows of a job.
pub fn kubernetes(name: &str, uid: &str, symptoms: Vec<Symptom>) -> JobReport {
    JobReport {
        identity: Identity {
            aliases: vec![Alias::Kubernetes(uid.to_owned())],
            cluster: "prod".to_owned(),
            namespace: "runai-ml".to_owned(),
            name: name.to_owned(),
            created: at(0),
        },
        subject: Subject {
            cluster: "prod".to_owned(),
            namespace: "runai-ml".to_owned(),
            name: name.to_owned(),
            project: Some("ml".to_owned()),
            kind: "Training".to_owned(),
            runai_id: None,
            owner: Some("mira".to_owned()),
            gpus: 16.0,
            pods_total: 2,
            created: at(0),
            status: "Running".to_owned(),
        },
        symptoms,
        claims: Vec::new(),
        presence: Presence::Present,
    }
}

/// What Run:AI shows of a job; the control plane made it half a minute before its pods.
pub fn runai(name: &str, id: &str, symptoms: Vec<Symptom>) -> JobReport {
    let mut report = kubernetes(name, "", symptoms);
    report.identity.aliases = vec![Alias::Runai(id.to_owned())];
    report.identity.created = at(-30);
    report
}

pub fn removed(mut report: JobReport) -> JobReport {
    report.symptoms.clear();
    report.presence = Presence::Removed;
    report
}

pub async fn ingest(alerts: &Alerts, reports: &[JobReport], second: i64) -> Vec<String> {
    alerts
        .ingest(reports, 1_000, at(second))
        .await
        .expect("the reports are saved")
        .opened
}

pub async fn all(alerts: &Alerts) -> Vec<Alert> {
    let filter = AlertFilter {
        resolved: true,
        limit: 1_000,
        offset: 0,
    };
    let mut all = alerts.list(filter).await.expect("the alerts are read");
    all.reverse();
    all
}

/// Lets the hold-down of quiet alerts pass.
pub async fn settle(alerts: &Alerts, second: i64) {
    let later = at(second)
        .saturating_add(SignedDuration::from_mins(6))
        .expect("a time in range");
    alerts.sweep(later).await.expect("the sweep is saved");
}

pub fn diagnosis(cause: &str) -> Diagnosis {
    Diagnosis {
        job: "train".to_owned(),
        project: Some("ml".to_owned()),
        namespace: "runai-ml".to_owned(),
        state: Verdict::Failing,
        findings: vec![Finding {
            cause: cause.to_owned(),
            role: Role::Root,
            confidence: 0.9,
            title: format!("{cause} it is"),
            explanation: "It says so.".to_owned(),
            evidence: Vec::new(),
            recommendation: "Repair it.".to_owned(),
            remediation: None,
        }],
        first_failure: None,
        missing_evidence: Vec::new(),
        course: None,
    }
}
