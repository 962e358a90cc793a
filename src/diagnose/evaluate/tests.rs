//! The shipped cases can be read and decoded, and the counting is right.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

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
fn the_shipped_cases_reach_the_marks_of_a_release() {
    let report = CaseSet::embedded()
        .unwrap()
        .run(&Knowledge::embedded())
        .unwrap();
    assert!(report.passes(), "{:#?}", report.misses);
    assert!(
        report.calibration.expected_error < 0.08,
        "{:?}",
        report.calibration
    );
}

/// What a person reads of every failure, as the first case in which it occurs has it.
#[test]
fn the_report_of_every_failure_reads_well() {
    let knowledge = Knowledge::embedded();
    let mut reports = BTreeMap::new();
    for case in CaseSet::embedded().unwrap().cases() {
        let diagnosis = analyze(&scene::evidence(case).unwrap(), &knowledge);
        for finding in diagnosis.findings {
            let first = finding.role == Role::Root || finding.role == Role::Expected;
            // The one in which it is the answer tells more than one in which it stands aside.
            let known = reports
                .get(&finding.cause)
                .is_some_and(|(told, _)| *told || !first);
            if !known {
                reports.insert(finding.cause.clone(), (first, finding));
            }
        }
    }
    let mut told = String::new();
    for (cause, (_, finding)) in &reports {
        for sentence in [&finding.explanation, &finding.recommendation] {
            assert!(
                sentence.ends_with(['.', '?', '…', ')']) && !sentence.contains("  "),
                "{cause}: {sentence}"
            );
        }
        writeln!(
            told,
            "{cause}: {}\n  {}\n  {}",
            finding.title, finding.explanation, finding.recommendation
        )
        .unwrap();
    }
    let unseen: Vec<&str> = knowledge
        .failures()
        .iter()
        .map(|row| row.id.as_str())
        .filter(|id| !reports.contains_key(*id))
        .collect();
    writeln!(told, "\nnot in any case: {}", unseen.join(", ")).unwrap();
    insta::assert_snapshot!(told);
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
