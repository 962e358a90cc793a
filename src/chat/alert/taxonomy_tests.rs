//! The message of every failure that is known, as Slack gets it: to be read, all of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::tests::{alert, course, diagnosis, view};
use super::*;
use crate::chat::slack::blocks::render;
use crate::diagnose::evaluate::diagnoses;
use crate::diagnose::knowledge::{Failure, Knowledge};
use crate::diagnose::{Diagnosis, EvidenceLine, Remediation, Role, SafetyClass, Verdict};

/// An alert whose diagnosis is this failure.
fn failing_by(failure: &Failure) -> AlertView {
    let mut alert = alert();
    let mut told = diagnosis();
    told.course = Some(course());
    if failure.role == Role::Expected {
        told.state = Verdict::Expected;
    }
    let finding = &mut told.findings[0];
    failure.id.clone_into(&mut finding.cause);
    finding.title.clone_from(&failure.title);
    finding.role = failure.role;
    finding.explanation = format!(
        "{} It failed first in pod llm-7b-1 (rank 1).",
        failure.cause
    );
    finding.recommendation.clone_from(&failure.advice);
    finding.evidence = vec![EvidenceLine {
        source: "log".to_owned(),
        pod: Some("llm-7b-1".to_owned()),
        container: Some("main".to_owned()),
        line: format!("a line of {}", failure.id),
    }];
    finding.remediation = (failure.safety == SafetyClass::Auto).then(|| Remediation {
        action: "runai_restart".to_owned(),
        parameters: serde_json::Map::new(),
        safety: SafetyClass::Auto,
    });
    alert.diagnosis = Some(told);
    view(alert, None)
}

/// Texts of blocks in their order.
fn texts(blocks: &[Value]) -> Vec<String> {
    fn collect(value: &Value, out: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(text)) = object.get("text") {
                    out.push(text.clone());
                }
                object.values().for_each(|value| collect(value, out));
            }
            Value::Array(list) => list.iter().for_each(|value| collect(value, out)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut out = Vec::new();
    blocks
        .iter()
        .filter(|block| block["type"] != "actions")
        .for_each(|block| collect(block, &mut out));
    out
}

#[test]
fn the_message_of_every_known_failure_reads_well() {
    let knowledge = Knowledge::embedded();
    let mut shown = String::new();
    for failure in knowledge.failures() {
        let message = render(&card(&failing_by(failure)));
        let texts = texts(&message.blocks);
        // Header, why, the line, where it was found, what to do: the rest is the same for all.
        writeln!(shown, "{}", failure.id).unwrap();
        for text in texts
            .iter()
            .filter(|text| !text.contains("a line of") && !text.starts_with("log of"))
            .take(3)
        {
            writeln!(shown, "  {text}").unwrap();
        }
    }
    insta::assert_snapshot!(shown);
}

/// As a real case gives it: what Slack shows first, then the report of the terminal.
#[test]
fn the_report_of_a_typical_case_of_every_failure_reads_well() {
    let knowledge = Knowledge::embedded();
    let mut typical: BTreeMap<String, (String, Diagnosis)> = BTreeMap::new();
    for (case, diagnosis) in diagnoses(&knowledge) {
        if let Some(finding) = diagnosis.findings.first() {
            let cause = finding.cause.clone();
            typical.entry(cause).or_insert((case, diagnosis));
        }
    }
    let mut shown = String::new();
    for failure in knowledge.failures() {
        let Some((case, told)) = typical.get(&failure.id) else {
            continue;
        };
        writeln!(shown, "━━ {} ({case})", failure.id).unwrap();
        let mut alert = alert();
        alert.diagnosis = Some(told.clone());
        let message = render(&card(&view(alert, None)));
        for text in texts(&message.blocks).iter().take(4) {
            writeln!(shown, "  │ {text}").unwrap();
        }
        for line in crate::chat::terminal::text(&report(told, &told.job)).lines() {
            writeln!(shown, "  {line}").unwrap();
        }
    }
    let without: Vec<&str> = knowledge
        .failures()
        .iter()
        .map(|failure| failure.id.as_str())
        .filter(|id| !typical.contains_key(*id))
        .collect();
    writeln!(shown, "━━ never told first: {}", without.join(", ")).unwrap();
    insta::assert_snapshot!(shown);
}

#[test]
fn the_words_of_every_known_failure_keep_to_the_rules() {
    let mut wrong = Vec::new();
    for failure in Knowledge::embedded().failures() {
        let id = &failure.id;
        let mut check = |good: bool, what: &str| {
            if !good {
                wrong.push(format!("{id}: {what}"));
            }
        };
        check(
            failure.title.chars().count() <= 60,
            "the title is longer than a phone's line",
        );
        check(
            !failure.title.ends_with('.'),
            "the title ends with a full stop",
        );
        check(
            failure.cause.ends_with('.'),
            "the cause does not end with a full stop",
        );
        check(
            failure.advice.ends_with('.'),
            "the advice does not end with a full stop",
        );
        check(
            failure.advice.matches(". ").count() <= 1,
            "the advice is more than two sentences",
        );
        check(
            failure.advice.chars().count() <= 200,
            "the advice is too long for a tired person",
        );
        // Some names begin with a small letter.
        let capital = |text: &str| {
            !text.starts_with(|c: char| c.is_ascii_lowercase())
                || text.starts_with("torchrun")
                || text.starts_with("cuDNN")
                || text.starts_with("vGPU")
        };
        check(
            capital(&failure.title) && capital(&failure.cause) && capital(&failure.advice),
            "begins with a small letter",
        );
        for text in [&failure.title, &failure.cause, &failure.advice] {
            check(
                !text.contains("  ") && !text.contains(" ,") && !text.contains(".."),
                "odd punctuation",
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn slack_takes_the_message_and_the_report_of_every_known_failure() {
    for failure in Knowledge::embedded().failures() {
        let view = failing_by(failure);
        let about = &view.alert.subject.name;
        let report = report(view.alert.diagnosis.as_ref().expect("diagnosed"), about);
        for card in [card(&view), report] {
            let message = render(&card);
            assert!(!message.cut, "{}: something did not fit", failure.id);
            assert!(message.blocks.len() <= 50);
            let refused =
                refused(&json!({"channel": "C1", "text": message.text, "blocks": message.blocks}));
            assert!(refused.is_none(), "{}: {refused:?}", failure.id);
        }
    }
}

/// What a validator of Slack messages says, if `SLACK_BLOCKS_VALIDATOR` names one that reads a message from its input.
fn refused(message: &Value) -> Option<String> {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let validator = std::env::var_os("SLACK_BLOCKS_VALIDATOR")?;
    let mut run = Command::new("python3")
        .arg(validator)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let mut input = run.stdin.take().expect("piped");
    input
        .write_all(message.to_string().as_bytes())
        .expect("it reads");
    drop(input);
    let said = run.wait_with_output().expect("it ends");
    (!said.status.success()).then(|| String::from_utf8_lossy(&said.stdout).into_owned())
}
