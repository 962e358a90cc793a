use std::collections::BTreeMap;
use std::time::Duration;

use super::Config;
use crate::alert::Severity;

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn mistakes(pairs: &[(&str, &str)], yaml: &str) -> Vec<String> {
    match Config::from_values(&env(pairs), yaml) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.0.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn nothing_needs_to_be_set() {
    let config = Config::from_values(&BTreeMap::new(), "").expect("the defaults are sound");
    assert_eq!(config.http.port, 8000);
    assert!(config.gate.dry_run, "dry-run is the default");
    assert_eq!(config.monitor.projects, ["*"]);
    assert_eq!(config.monitor.poll_interval, Duration::from_mins(1));
    assert_eq!(config.monitor.max_alerts_per_job, 1);
    assert!(config.approvers.is_empty(), "nobody may approve");
}

#[test]
fn every_mistake_is_told_at_once_by_name_and_line() {
    let told = mistakes(
        &[
            ("API_PORT", "eighty"),
            ("SLACK_BOT_TOKEN", "secret-of-another-kind"),
            ("RUNAI_BASE_URL", "app.run.ai"),
            ("APPROVERS", "mira"),
            ("DATABASE_URL", "mysql://x"),
            ("DRY_RUN", "maybe"),
        ],
        "runai_proactive_monitor:\n  poll_interval_second: 30\n  monitored_projects: []\nthresholds:\n  pending_seconds: soon\n",
    );
    for wanted in [
        "API_PORT: `eighty` is not a whole number from 0 to 65535",
        "SLACK_BOT_TOKEN: is not a bot token: it must begin with xoxb- or xoxe.xoxb-",
        "RUNAI_BASE_URL: is not a URL: it must look like https://host/path",
        "RUNAI_CLIENT_ID: is not set, though other Run:AI settings are: all three are needed",
        "APPROVERS: `mira` is neither a Slack user id (U…), a Slack user group id (S…), `local`, `role:approver` nor `role:admin`",
        "DATABASE_URL: must begin with sqlite:// or postgres://",
        "DRY_RUN: `maybe` is neither true nor false",
        "nightbell.yaml line 2: runai_proactive_monitor.poll_interval_second: is not a setting; did you mean runai_proactive_monitor.poll_interval_seconds?",
        "nightbell.yaml line 3: runai_proactive_monitor.monitored_projects: is empty: use [\"*\"] for all projects",
    ] {
        assert!(
            told.iter().any(|line| line == wanted),
            "missing: {wanted}\ntold: {told:#?}"
        );
    }
    assert!(
        told.iter()
            .any(|line| line.starts_with("nightbell.yaml line 5: thresholds.pending_seconds")),
        "{told:#?}"
    );
    assert!(
        !told
            .iter()
            .any(|line| line.contains("secret-of-another-kind")),
        "a token is never shown"
    );
}

#[test]
fn the_environment_wins_over_the_file() {
    let config = Config::from_values(
        &env(&[("API_PORT", "9000")]),
        "api_port: 8100\ndry_run: false\n",
    )
    .expect("sound");
    assert_eq!(config.http.port, 9000);
    assert!(
        !config.gate.dry_run,
        "a variable may stand in the file in lower case"
    );
}

#[test]
fn broken_yaml_is_told_with_its_line() {
    let told = mistakes(
        &[],
        "alerts:\n  resolve_after_seconds: [1\nthresholds: {}\n",
    );
    assert!(
        told.iter()
            .any(|line| line.starts_with("nightbell.yaml") && line.contains("line")),
        "{told:#?}"
    );
}

#[test]
fn what_is_not_built_yet_is_said() {
    let config =
        Config::from_values(&env(&[("SPLUNK_HOST", "splunk.internal")]), "").expect("sound");
    assert_eq!(
        config.notes,
        ["SPLUNK_HOST is set, but this version does not use Splunk yet"]
    );
}

#[test]
fn the_example_names_every_variable_and_its_values_are_sound() {
    let example = include_str!("../../.env.example");
    let mut named: Vec<String> = Vec::new();
    let mut values = BTreeMap::new();
    for line in example.lines() {
        let assignment = line.strip_prefix('#').unwrap_or(line);
        let Some((name, value)) = assignment.split_once('=') else {
            continue;
        };
        if name.is_empty()
            || !name
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        {
            continue;
        }
        named.push(name.to_owned());
        // An address without its credentials is a mistake of its own.
        if name != "RUNAI_BASE_URL" {
            values.insert(name.to_owned(), value.to_owned());
        }
    }
    named.sort();
    assert_eq!(named, Config::variables());
    Config::from_values(&values, "").expect("the example's values are the defaults");
}

#[test]
fn slack_without_a_channel_answers_questions_and_says_where_alerts_go() {
    let config = Config::from_values(&env(&[("SLACK_BOT_TOKEN", "xoxb-1")]), "")
        .expect("a token is enough to talk");
    assert_eq!(
        config.notes,
        [
            "SLACK_CHANNEL is not set: questions are answered in Slack, but alerts go to the built-in console only"
        ]
    );
}

#[test]
fn people_windows_severities_and_links_are_read() {
    let config = Config::from_values(
        &BTreeMap::new(),
        r#"
people:
  mira:
    slack: U0MIRA
    email: [mira@example.com, m@example.com]
    subject: "oidc:248"
    local: true
maintenance_windows:
  patching:
    cron: "0 2 * * sun"
    duration: 4h
    time_zone: Europe/Berlin
    matchers: ["node=~gpu-.*", "severity!=critical"]
  all:
    cron: "0 0 1 jan *"
    duration: 30 minutes
severity_rules:
  b-batch: {project: sandbox, severity: P3}
  a-nodes: {class: node, severity: critical}
links:
  Grafana: "https://grafana.example.com/d/gpu?var-namespace={namespace}"
"#,
    )
    .expect("sound");
    assert_eq!(config.people[0].slack, ["U0MIRA"]);
    assert_eq!(config.people[0].emails.len(), 2);
    assert!(config.people[0].local);
    let windows = &config.alerts.windows;
    assert_eq!(
        windows.iter().map(|w| w.name.as_str()).collect::<Vec<_>>(),
        ["all", "patching"]
    );
    assert_eq!(windows[1].matchers.len(), 2);
    assert_eq!(windows[1].time_zone.iana_name(), Some("Europe/Berlin"));
    let severities: Vec<_> = config
        .alerts
        .severities
        .iter()
        .map(|r| r.severity)
        .collect();
    assert_eq!(severities, [Severity::Critical, Severity::Low]);
    assert_eq!(config.alerts.links[0].label, "Grafana");
}

#[test]
fn mistakes_in_people_windows_severities_and_links_are_told_with_their_lines() {
    let told = mistakes(
        &[],
        r#"people:
  mira: {slack: mira, nick: m}
  jo: {email: one@example.com}
  noor: {email: One@example.com}
maintenance_windows:
  a: {cron: "0 25 * * *", duration: 4h}
  b: {cron: "0 2 * * *"}
  c: {cron: "0 2 * * *", duration: 9d, time_zone: Mars/Base, matchers: [team=ml]}
severity_rules:
  x: {severity: awful}
  y: {project: p}
links:
  Grafana: "https://grafana/{team}"
"#,
    );
    for wanted in [
        "line 2: people.mira.slack: must be a Slack user id",
        "line 2: people.mira.nick: is not a setting",
        "line 4: people.noor.email: is given to jo already",
        "line 6: maintenance_windows.a.cron: `25` is no hour",
        "maintenance_windows.b: needs duration",
        "line 8: maintenance_windows.c.duration: is not a length of time",
        "line 8: maintenance_windows.c.time_zone: `Mars/Base` is no time zone",
        "line 8: maintenance_windows.c.matchers: there is no label `team`",
        "severity rule x: unknown variant `awful`",
        "severity rule y: missing field `severity`",
        "line 13: links.Grafana: has no place `{team}`",
    ] {
        assert!(
            told.iter().any(|line| line.contains(wanted)),
            "missing: {wanted}\ntold: {told:#?}"
        );
    }
}
