use super::*;
use crate::diagnose::FirstFailure;
use crate::diagnose::tests::{Scene, at};
use crate::estate::{ContainerState, Termination};

fn ended(code: i32, seconds: i64) -> ContainerState {
    ContainerState::Terminated(Box::new(Termination {
        exit_code: code,
        signal: None,
        reason: Some("Error".into()),
        message: None,
        started: Some(at(5)),
        finished: Some(at(seconds)),
    }))
}

/// A gang whose pod `first` fails at second 600; the others are taken down after it.
fn gang(pods: usize, first: usize) -> (Evidence, Diagnosis) {
    let mut evidence = Scene::new("llm").evidence();
    for n in 0..pods {
        let seconds = if n == first {
            600
        } else {
            605 + i64::try_from(n % 40).expect("small")
        };
        let mut pod = Scene::new("llm")
            .pod(&format!("llm-worker-{n}"), |pod| pod)
            .evidence()
            .pods
            .remove(0);
        pod.node = Some(format!("gpu-{}", n / 8));
        pod.containers[0].state = ended(if n == first { 1 } else { 137 }, seconds);
        evidence.pods.push(pod);
    }
    let diagnosis = Diagnosis {
        job: "llm".to_owned(),
        project: None,
        namespace: "runai-nlp".to_owned(),
        state: Verdict::Failing,
        findings: Vec::new(),
        first_failure: Some(FirstFailure {
            pod: format!("llm-worker-{first}"),
            rank: Some(77),
            node: None,
        }),
        missing_evidence: Vec::new(),
        course: None,
    };
    (evidence, diagnosis)
}

#[test]
fn who_ends_after_the_first_failure_was_stopped_by_it() {
    let (evidence, diagnosis) = gang(4, 2);
    let course = course(&evidence, &diagnosis).expect("times are known");
    let told: Vec<_> = course
        .lanes
        .iter()
        .map(|lane| (lane.pod.as_str(), lane.end, lane.first))
        .collect();
    assert_eq!(
        told,
        [
            ("llm-worker-0", LaneEnd::Stopped, false),
            ("llm-worker-1", LaneEnd::Stopped, false),
            ("llm-worker-2", LaneEnd::Failed, true),
            ("llm-worker-3", LaneEnd::Stopped, false),
        ]
    );
    assert_eq!((course.began, course.until), (at(5), at(608)));
    assert_eq!(course.lanes[2].rank, Some(77));
}

#[test]
fn a_gang_of_512_is_the_first_to_fail_and_bands_of_the_others() {
    let (evidence, diagnosis) = gang(512, 317);
    let course = course(&evidence, &diagnosis).expect("times are known");
    assert_eq!(course.pods, 512);
    assert_eq!(
        course.lanes.iter().map(|lane| lane.pods).sum::<usize>(),
        512
    );
    assert!(course.lanes.len() <= 1 + BANDS);
    assert!(course.lanes[0].first && course.lanes[0].pod == "llm-worker-317");
    assert!(serde_json::to_string(&course).expect("JSON").len() < 6_000);
}

#[test]
fn without_times_there_is_no_course() {
    let (mut evidence, diagnosis) = gang(2, 0);
    for pod in &mut evidence.pods {
        pod.containers[0].state = ContainerState::Unknown;
    }
    assert!(course(&evidence, &diagnosis).is_none());
}

#[test]
fn what_people_did_before_it_failed_is_a_change_and_what_came_later_is_not() {
    let (evidence, diagnosis) = gang(2, 0);
    let mut evidence = evidence;
    for (seconds, actor) in [(300, Some("mira")), (310, None), (900, Some("tom"))] {
        evidence.history.push(crate::diagnose::HistoryEntry {
            at: at(seconds),
            phase: None,
            message: "Resumed with password=hunter2hunter2".to_owned(),
            actor: actor.map(str::to_owned),
        });
    }
    let course = course(&evidence, &diagnosis).expect("times are known");
    let told: Vec<&str> = course
        .changes
        .iter()
        .map(|change| change.text.as_str())
        .collect();
    assert_eq!(told, ["mira: Resumed with password=[redacted]"]);
}
