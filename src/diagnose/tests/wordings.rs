//! How real software words each failure, and what healthy jobs say, from `wordings.yaml`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Wordings {
    log: Words,
    pull: Words,
    start: Words,
    pending: Words,
    kernel: Words,
    expected: Words,
    harmless: Vec<String>,
}

/// By cause.
type Words = BTreeMap<String, Vec<String>>;

fn wordings() -> Wordings {
    serde_saphyr::from_str(include_str!("wordings.yaml")).unwrap()
}

/// One pod of a Job whose main container ended with exit code 1 after these words.
fn ended(words: &str) -> Scene {
    Scene::new("train")
        .pod("train-0", |pod| pod.exited(1, "Error", 1600).gpus(1.0))
        .failed_job("BackoffLimitExceeded")
        .log("train-0", &["starting", words])
}

fn waits(reason: &str, words: &str) -> Scene {
    Scene::new("train").pod("train-0", |pod| pod.waiting(reason, words))
}

fn pending(words: &str) -> Scene {
    Scene::new("train").pod("train-0", |pod| pod.unschedulable(words).gpus(8.0))
}

fn kernel(words: &str) -> Scene {
    Scene::new("train")
        .pod("train-0", |pod| pod.exited(137, "Error", 1600).gpus(1.0))
        .failed_job("BackoffLimitExceeded")
        .event("Node/gpu-1", "KernelLog", words, 1590)
}

fn all(words: Words, scene: impl Fn(&str) -> Scene) -> Vec<String> {
    let mut wrong = Vec::new();
    for (cause, lines) in words {
        for line in lines {
            wrong.extend(mismatch(&line, scene(&line), &cause));
        }
    }
    wrong
}

#[test]
fn each_failure_is_known_in_the_words_of_several_programs() {
    let words = wordings();
    let wrong = [
        all(words.log, ended),
        all(words.pull, |line| waits("ErrImagePull", line)),
        all(words.start, |line| waits("RunContainerError", line)),
        all(words.pending, pending),
        all(words.kernel, kernel),
    ];
    assert_none(wrong.into_iter().flatten());
}

#[test]
fn an_end_that_was_meant_is_known_in_the_words_of_several_programs() {
    let calm = wordings().expected.into_iter().flat_map(|(cause, lines)| {
        lines
            .into_iter()
            .filter_map(move |line| not_calm(&line, ended(&line), Verdict::Expected, Some(&cause)))
    });
    assert_none(calm);
}

#[test]
fn the_ordinary_words_of_healthy_jobs_name_no_cause() {
    let wrong = wordings().harmless.into_iter().filter_map(|line| {
        let diagnosis = diagnose(ended(&line));
        let cause = root(&diagnosis);
        (!matches!(cause, Some("app_exit_unexplained" | "unknown")))
            .then(|| format!("{line}: {}", told(&diagnosis)))
    });
    assert_none(wrong);
}
