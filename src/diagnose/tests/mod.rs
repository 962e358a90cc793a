//! Cases as they come from real clusters, and the traps among them.

mod cases;
mod gang;
mod scene;
mod wordings;

use std::sync::LazyLock;

pub(crate) use scene::{Scene, at};

use super::knowledge::Knowledge;
use super::*;

static KNOWLEDGE: LazyLock<Knowledge> = LazyLock::new(Knowledge::embedded);

fn diagnose(scene: Scene) -> Diagnosis {
    analyze(&scene.evidence(), &KNOWLEDGE)
}

/// The cause that is blamed, if any.
fn root(diagnosis: &Diagnosis) -> Option<&str> {
    diagnosis
        .findings
        .iter()
        .find(|finding| finding.role == Role::Root)
        .map(|finding| finding.cause.as_str())
}

/// What is wrong with the diagnosis of a case that has this cause, if anything.
fn mismatch(name: &str, scene: Scene, cause: &str) -> Option<String> {
    let diagnosis = diagnose(scene);
    let size = serde_json::to_vec(&diagnosis).unwrap().len();
    let wrong = if root(&diagnosis) != Some(cause) {
        "another cause"
    } else if diagnosis.state != Verdict::Failing {
        "not called failing"
    } else if diagnosis.findings[0].role != Role::Root {
        "the cause is not first"
    } else if diagnosis.findings[0].evidence.is_empty() {
        "no evidence"
    } else if size >= 64 << 10 {
        "too large"
    } else {
        return None;
    };
    Some(format!("{name} ({cause}): {wrong}: {}", told(&diagnosis)))
}

fn told(diagnosis: &Diagnosis) -> String {
    let findings: Vec<String> = diagnosis
        .findings
        .iter()
        .map(|finding| {
            format!(
                "{:?} {} {}",
                finding.role, finding.cause, finding.confidence
            )
        })
        .collect();
    format!(
        "{:?} {findings:?} {:?}",
        diagnosis.state, diagnosis.first_failure
    )
}

#[track_caller]
fn assert_root(name: &str, scene: Scene, cause: &str) {
    assert_eq!(mismatch(name, scene, cause), None);
}

/// What is wrong with the diagnosis of a job that has no failure to repair, if anything.
fn not_calm(name: &str, scene: Scene, state: Verdict, expected: Option<&str>) -> Option<String> {
    let diagnosis = diagnose(scene);
    let top = diagnosis
        .findings
        .first()
        .map(|finding| (finding.cause.as_str(), finding.role));
    let wrong = root(&diagnosis).is_some()
        || diagnosis.state != state
        || expected.is_some_and(|cause| top != Some((cause, Role::Expected)));
    wrong.then(|| format!("{name}: {}", told(&diagnosis)))
}

#[track_caller]
fn assert_calm(name: &str, scene: Scene, state: Verdict, expected: Option<&str>) {
    assert_eq!(not_calm(name, scene, state, expected), None);
}

/// Fails with every wrong case of a table at once.
#[track_caller]
fn assert_none(wrong: impl Iterator<Item = String>) {
    let wrong: Vec<String> = wrong.collect();
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
