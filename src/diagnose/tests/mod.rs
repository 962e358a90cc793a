//! Cases as they come from real clusters, and the traps among them.

mod cases;
mod gang;
mod scene;

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

#[track_caller]
fn assert_root(name: &str, scene: Scene, cause: &str) {
    let diagnosis = diagnose(scene);
    assert_eq!(root(&diagnosis), Some(cause), "{name}: {diagnosis:#?}");
    assert_eq!(diagnosis.state, Verdict::Failing, "{name}: {diagnosis:#?}");
    assert_eq!(
        diagnosis.findings[0].role,
        Role::Root,
        "{name}: the cause comes first"
    );
    assert!(
        !diagnosis.findings[0].evidence.is_empty(),
        "{name}: a cause needs evidence"
    );
    let size = serde_json::to_vec(&diagnosis).unwrap().len();
    assert!(size < 64 << 10, "{name}: {size} bytes");
}

#[track_caller]
fn assert_calm(name: &str, scene: Scene, state: Verdict, expected: Option<&str>) {
    let diagnosis = diagnose(scene);
    assert_eq!(root(&diagnosis), None, "{name}: {diagnosis:#?}");
    assert_eq!(diagnosis.state, state, "{name}: {diagnosis:#?}");
    if let Some(expected) = expected {
        assert_eq!(
            diagnosis.findings[0].cause, expected,
            "{name}: {diagnosis:#?}"
        );
        assert_eq!(diagnosis.findings[0].role, Role::Expected, "{name}");
    }
}
