//! What a page says.

use serde_json::json;

use crate::alert::{Alert, Severity};
use crate::chat::alert::{GroupView, common_cause};
use crate::detect::FailureClass;
use crate::notify::pagerduty::Trigger;
use crate::redact::{line, scrub};

pub(super) fn class(alert: &Alert) -> String {
    serde_json::to_value(alert.class)
        .ok()
        .and_then(|v| v.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// What is wrong, to follow the name of the job.
fn is(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Blocked => "waits and cannot be scheduled",
        FailureClass::CannotStart => "cannot start",
        FailureClass::Crashed => "failed",
        FailureClass::Disrupted => "was disrupted",
        FailureClass::Degraded => "is degraded",
        FailureClass::Stalled => "runs but gets nowhere",
        FailureClass::Stuck => "is stuck",
        FailureClass::Node => "is a node in trouble",
        FailureClass::Source => "is not heard any more",
    }
}

pub(super) fn alert_trigger(alert: &Alert) -> Trigger {
    let subject = &alert.subject;
    let finding = alert
        .diagnosis
        .as_ref()
        .and_then(|diagnosis| diagnosis.findings.first());
    let why = finding.map_or_else(
        || format!("{}: {}", alert.failure, alert.detail),
        |f| f.title.clone(),
    );
    let demo = if alert.demo { "[demo] " } else { "" };
    Trigger {
        summary: scrub(&format!(
            "{demo}{} {}: {why}",
            subject.name,
            is(alert.class)
        )),
        source: scrub(&format!(
            "{}/{}/{}",
            subject.cluster, subject.namespace, subject.name
        )),
        severity: alert.severity,
        timestamp: alert.opened,
        component: scrub(&subject.name),
        group: subject.project.as_deref().map(scrub),
        class: scrub(&alert.failure),
        details: json!({
            "number": alert.number,
            "kind": subject.kind,
            "owner": subject.owner,
            "gpus": subject.gpus,
            "pods_failing": alert.pods_failing,
            "detail": line(&alert.detail, 1_000),
            "recommendation": finding.map(|finding| line(&finding.recommendation, 1_000)),
        }),
        links: Vec::new(),
    }
}

pub(super) fn group_trigger(view: &GroupView) -> Trigger {
    let what = common_cause(&view.group.key);
    let open = match view.group.members.len() {
        1 => "1 alert is open".to_owned(),
        count => format!("{count} alerts are open"),
    };
    let severity = view
        .members
        .iter()
        .map(|member| member.alert.severity)
        .max()
        .unwrap_or(Severity::High);
    let names: Vec<String> = view
        .members
        .iter()
        .take(20)
        .map(|member| line(&member.alert.subject.name, 100))
        .collect();
    Trigger {
        summary: scrub(&format!("{what}: {open}")),
        source: scrub(&what),
        severity,
        timestamp: view.group.opened,
        component: scrub(&what),
        group: None,
        class: "group".to_owned(),
        details: json!({"jobs": names, "count": view.group.members.len()}),
        links: Vec::new(),
    }
}
