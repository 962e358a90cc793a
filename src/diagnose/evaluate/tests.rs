//! The shipped cases can be read and decoded, and the counting is right.

use std::collections::BTreeSet;

use super::*;

#[test]
fn every_shipped_case_reads_decodes_and_names_known_causes() {
    let set = CaseSet::embedded().unwrap();
    let knowledge = Knowledge::embedded();
    let mut ids = BTreeSet::new();
    for case in set.cases() {
        assert!(ids.insert(&case.id), "{} is there twice", case.id);
        assert!(!case.why.is_empty(), "{}", case.id);
        let evidence = scene::evidence(case).unwrap_or_else(|flaw| panic!("{}: {flaw}", case.id));
        assert_eq!(evidence.job.name, case.job, "{}", case.id);
        let expect = &case.expect;
        for cause in [&expect.cause]
            .into_iter()
            .chain(&expect.accept)
            .chain(&expect.never)
        {
            let known =
                knowledge.failure(cause).is_some() || ["none", "unknown"].contains(&cause.as_str());
            assert!(known, "{} names {cause}", case.id);
        }
        assert!(!expect.never.contains(&expect.cause), "{}", case.id);
        assert_eq!(
            expect.cause == "none",
            expect.state == Verdict::Healthy,
            "{}: a healthy job has no root, and only it",
            case.id
        );
    }
}

#[test]
fn calibration_compares_what_was_stated_with_what_came_true() {
    let answers = [(0.95, true), (0.95, true), (0.55, true), (0.55, false)];
    let told = calibration(&answers);
    assert_eq!(told.bins.len(), 2);
    assert_eq!(told.bins[0].answers, 2);
    assert!((told.bins[0].observed - 0.5).abs() < 1e-9);
    assert!((told.expected_error - 0.05).abs() < 1e-9);
    assert!((told.brier - (0.0025 * 2.0 + 0.2025 + 0.3025) / 4.0).abs() < 1e-9);
    assert!(calibration(&[]).bins.is_empty());
}

#[test]
fn a_case_with_a_word_that_is_none_is_refused_with_its_line() {
    let text =
        "topic: t\ncases:\n  - id: a\n    why: b\n    podz: []\n    expect: {cause: exit_1}\n";
    let error = parse("t.yaml", text).unwrap_err().to_string();
    assert!(
        error.contains("podz") && error.contains("t.yaml"),
        "{error}"
    );
}
