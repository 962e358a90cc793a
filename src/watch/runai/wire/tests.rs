//! Tables of answers, good and odd.

use serde_json::json;

use super::*;
use crate::estate::Phase;

fn body(value: &serde_json::Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("JSON")
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// A workload with one field replaced.
fn with(field: &str, value: serde_json::Value) -> serde_json::Value {
    let mut workload = json!({
        "id": "w-1", "name": "train", "type": "Training", "phase": "Running", "projectName": "etl",
        "clusterId": "c-1", "namespace": "runai-etl", "createdAt": "2026-03-02T10:00:00Z",
    });
    workload[field] = value;
    workload
}

#[test]
fn a_page_of_mixed_phases_is_read_with_all_that_matters() {
    let page = workloads(include_bytes!(
        "../../../../tests/fixtures/runai/workloads.json"
    ))
    .expect("a page");
    assert_eq!(
        (page.items.len(), page.next, page.unreadable.len()),
        (3, Some(3), 0)
    );

    let failed = &page.items[0];
    assert_eq!(failed.name, "etl-embed-nightly");
    assert_eq!(failed.phase, Phase::Failed);
    assert_eq!(failed.requested_gpus, Some(2.0));
    assert_eq!(failed.allocated_gpus, Some(0.0));
    assert_eq!(failed.requested_pods, Some(1));
    assert_eq!(failed.completed, Some(at("2026-03-02T10:41:06Z")));
    assert_eq!(failed.node_pools, ["a100"]);
    assert_eq!(
        failed.conditions[0].reason.as_deref(),
        Some("BackoffLimitExceeded")
    );
    assert!(failed.can_suspend && failed.can_delete);
    assert_eq!(failed.running_seconds, Some(2510));

    let pending = &page.items[1];
    assert_eq!(
        pending.phase_reason.as_deref(),
        Some("NonPreemptibleOverQuota")
    );
    assert_eq!(pending.preemptible, Some(false));
    assert_eq!(pending.requested_pods, Some(9));
    assert_eq!(pending.node_pools, ["h100"], "asked for, none given yet");
    assert_eq!(pending.requested_gpus, None);

    let serving = &page.items[2];
    assert_eq!(serving.phase_message, None, "an empty message is none");
    assert_eq!(serving.allocated_gpus, Some(0.5));
    assert_eq!(
        serving.requested_pods,
        Some(1),
        "the least that it scales to"
    );
    assert!(!serving.can_suspend);
}

#[test]
fn odd_values_cost_a_field_at_most() {
    let read = |field: &str, value: serde_json::Value| {
        let page = workloads(&body(&json!({"workloads": [with(field, value)]}))).expect("a page");
        assert_eq!(page.unreadable, Vec::<String>::new(), "{field}");
        page.items.into_iter().next().expect("the workload is kept")
    };
    assert_eq!(
        read("phase", json!("Hibernating")).phase,
        Phase::Other("Hibernating".to_owned())
    );
    assert_eq!(read("phase", json!(null)).phase, Phase::Unknown);
    assert_eq!(read("runningPods", json!("3")).running_pods, 3);
    assert_eq!(read("runningPods", json!(-1)).running_pods, 0);
    assert_eq!(read("runningPods", json!(1e300)).running_pods, u32::MAX);
    assert_eq!(read("preemptible", json!("true")).preemptible, Some(true));
    assert_eq!(read("images", json!(null)).images, Vec::<String>::new());
    assert_eq!(read("images", json!(["a", null, 7, {}])).images, ["a", "7"]);
    assert_eq!(read("conditions", json!([null])).conditions.len(), 0);
    assert_eq!(
        read(
            "allocatedResources",
            json!({"gpu": "0.5", "gpuMemory": "0B"})
        )
        .allocated_gpus,
        Some(0.5)
    );
    assert_eq!(read("allocatedResources", json!(null)).allocated_gpus, None);
    assert_eq!(
        read("completedAt", json!("0001-01-01T00:00:00Z")).completed,
        None,
        "never"
    );
    assert_eq!(read("completedAt", json!("yesterday")).completed, None);
    assert_eq!(
        read("phaseMessage", json!({"text": "?"})).phase_message,
        None
    );
    assert_eq!(
        read("phaseMessage", json!("é".repeat(10_000)))
            .phase_message
            .expect("text")
            .len(),
        LONGEST_TEXT
    );
    assert_eq!(
        read(
            "podsRequestedResources",
            json!({"gpu": {"request": 8, "limit": null}})
        )
        .requested_gpus,
        Some(8.0)
    );
    assert_eq!(
        read("aFieldOfNextYear", json!({"deep": [1, {"x": null}]})).name,
        "train"
    );
}

#[test]
fn a_bad_element_is_counted_and_the_page_kept() {
    let page = workloads(&body(&json!({"next": null, "workloads": [
        with("name", json!("first")),
        "not a workload",
        null,
        with("id", json!("../../clusters")),
        with("name", json!(null)),
        with("createdAt", json!(null)),
        with("requestedPods", json!("nine")),
        with("name", json!("last")),
    ]})))
    .expect("a page");
    let names: Vec<_> = page
        .items
        .iter()
        .map(|workload| workload.name.as_str())
        .collect();
    assert_eq!(names, ["first", "last"]);
    assert_eq!(page.unreadable.len(), 5, "{:?}", page.unreadable);
}

#[test]
fn one_byte_that_is_not_text_costs_no_page() {
    let mut answer = body(
        &json!({"workloads": [with("phaseMessage", json!("a?b")), with("name", json!("other"))]}),
    );
    let at = answer
        .windows(3)
        .position(|three| three == b"a?b")
        .expect("the message");
    answer[at + 1] = 0xff;
    let page = workloads(&answer).expect("a page");
    assert_eq!(page.items.len(), 2);
    assert_eq!(page.items[0].phase_message.as_deref(), Some("a\u{fffd}b"));
}

#[test]
fn an_answer_that_is_no_list_is_malformed_not_empty() {
    for answer in [
        &b"<html>log in</html>"[..],
        b"{}",
        br#"{"message":"hello"}"#,
        b"[]",
        b"",
        br#"{"workloads":[{"#,
    ] {
        let error = workloads(answer).expect_err("not a page");
        assert!(matches!(error, RunaiError::Malformed { .. }), "{error}");
    }
    assert_eq!(
        workloads(br#"{"workloads":null}"#)
            .expect("an empty list")
            .items
            .len(),
        0
    );
}

#[test]
fn a_pending_workload_tells_why_by_node_pool() {
    let mut answer = with("phase", json!("Pending"));
    answer["pendingSchedulingMessages"] = json!([
        {"nodePool": "a100", "phaseReason": "OverLimit", "reason": "limit 8, asked 16", "orgType": "PROJECT"},
        null,
        {"nodePool": "h100", "reason": "raw", "userMessage": "no node has 8 free GPUs"},
    ]);
    let detail = workload(&body(&answer)).expect("a workload");
    assert_eq!(
        detail.pending_messages,
        ["a100: limit 8, asked 16", "h100: no node has 8 free GPUs"]
    );

    answer["pendingSchedulingMessages"] = json!("soon");
    assert_eq!(
        workload(&body(&answer))
            .expect("still a workload")
            .pending_messages,
        Vec::<String>::new()
    );
}

#[test]
fn events_history_and_pods_are_read() {
    let page = history(include_bytes!(
        "../../../../tests/fixtures/runai/history.json"
    ))
    .expect("a history");
    assert_eq!(page.items[0].phase.as_deref(), Some("Failed"));
    assert!(
        page.items[1]
            .message
            .starts_with("BackOff: Back-off restarting"),
        "{}",
        page.items[1].message
    );

    let page = pods(include_bytes!("../../../../tests/fixtures/runai/pods.json")).expect("pods");
    assert_eq!(page.items[0].node.as_deref(), Some("gpu-a100-07"));

    let page = events(&body(&json!({"events": [
        null,
        {"createdAt": "2026-03-02T10:00:00Z", "type": "Warning", "clusterId": "c-1", "message": "m", "reason": "BackOff",
         "involvedObject": {"uid": "u", "kind": "Pod", "name": "p", "namespace": "n"}},
        {"type": "Warning", "message": "when?"},
    ]})))
    .expect("events");
    assert_eq!((page.items.len(), page.unreadable.len()), (1, 1));
    assert_eq!(page.items[0].namespace, "n");
}

#[test]
fn only_a_cluster_that_is_known_to_be_away_is_not_connected() {
    let answer = body(&json!([
        {"uuid": "a", "name": "one", "status": {"state": "Connected"}},
        {"uuid": "b", "name": "two", "status": {"state": "Disconnected"}},
        {"uuid": "c", "name": "three", "status": {"state": "ServiceIssues"}},
        {"uuid": "d", "name": "four", "status": null},
        {"uuid": "e", "name": "gone", "deletedAt": "2026-01-01T00:00:00Z"},
    ]));
    let connected: Vec<_> = clusters(&answer)
        .expect("clusters")
        .into_iter()
        .map(|c| (c.name, c.connected))
        .collect();
    let expected = [
        ("one", true),
        ("two", false),
        ("three", true),
        ("four", true),
    ];
    assert_eq!(connected, expected.map(|(name, up)| (name.to_owned(), up)));
}
