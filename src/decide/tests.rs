//! What is proposed, and what is not, as tables.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::*;
use crate::estate::{Controller, JobKey, Pod, Workload};
use crate::safety::ExecutionState;

const WORKLOAD: &str = "0b6a5b0e-6c4e-4c39-9a65-1b8f0d1f3a01";

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + minute * 60).unwrap()
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn alert() -> Alert {
    read(json!({
        "id": "a1", "number": 17, "job_id": "j1",
        "subject": {
            "cluster": "prod", "namespace": "ml", "name": "train", "project": "nlp", "kind": "Job", "runai_id": null,
            "owner": null, "gpus": 8.0, "pods_total": 2, "created": at(0), "status": "Failed",
        },
        "class": "crashed", "failure": "Failed", "detail": "", "severity": "high", "state": "open", "opened": at(100),
        "updated": at(100), "resolved": null, "resolution": null, "count": 1, "pods": [], "pods_failing": 1, "nodes": [],
        "images": [], "acknowledged_by": null, "silenced_until": null, "group_id": null, "diagnosis": null,
        "approval_id": null, "action_note": null, "feedback": 0, "demo": false,
    }))
}

fn pod(name: &str, phase: &str) -> Pod {
    let ready = if phase == "Running" { "True" } else { "False" };
    read(json!({
        "cluster": "prod", "namespace": "ml", "name": name, "uid": format!("uid-{name}"), "created": at(0),
        "deleting": null, "node": "gpu-7", "phase": phase, "reason": null, "message": null,
        "conditions": [{"kind": "Ready", "status": ready, "reason": null, "message": null, "since": null}],
        "containers": [], "owner": {"kind": "Job", "name": "train", "uid": "u-1"}, "workload": "train",
        "runai_id": null, "project": null, "gpus": 4.0, "scheduler": null, "claims": [], "rank": 0,
        "restart_policy": null,
    }))
}

fn controller(kind: &str) -> Controller {
    read(json!({
        "cluster": "prod", "namespace": "ml", "name": "train", "kind": kind, "uid": "u-1", "created": at(0),
        "deleting": null, "owner": null, "workload": "train", "runai_id": null, "project": null, "suspended": false,
        "conditions": [], "desired": 2, "active": 1, "failed": 1, "succeeded": 0, "ready": 1, "backoff_limit": 0,
        "gitops": null,
    }))
}

fn workload() -> Workload {
    read(json!({
        "id": WORKLOAD, "name": "train", "kind": "Training", "project": "nlp", "namespace": "ml", "cluster_id": "c",
        "phase": "Failed", "phase_message": null, "phase_reason": null, "submitted_by": null, "created": at(0),
        "phase_updated": null, "completed": null, "requested_gpus": 8.0, "allocated_gpus": 8.0,
        "idle_allocated_gpus": null, "requested_pods": 2, "running_pods": 1, "preemptible": null,
        "priority_class": null, "images": [], "node_pools": [], "conditions": [], "can_suspend": true,
        "can_delete": true, "running_seconds": 5400, "pending_seconds": null,
    }))
}

fn job() -> Job {
    Job {
        key: JobKey {
            cluster: "prod".into(),
            namespace: "ml".into(),
            name: "train".into(),
        }
        .into(),
        project: None,
        workload: None,
        controllers: vec![controller("Job")],
        pods: vec![pod("train-0", "Running"), pod("train-1", "Failed")],
        events: VecDeque::new(),
        restarts: VecDeque::new(),
        progress: None,
    }
}

fn finding(role: &str, action: &str, safety: &str, parameters: &Value) -> Value {
    json!({
        "cause": "xid_79", "role": role, "confidence": 0.96, "title": "GPU fell off the bus", "explanation": "",
        "evidence": [], "recommendation": "",
        "remediation": {"action": action, "parameters": parameters, "safety": safety},
    })
}

fn diagnosis(findings: &Value) -> Diagnosis {
    read(json!({
        "job": "train", "project": null, "namespace": "ml", "state": "failing", "findings": findings,
        "first_failure": null, "missing_evidence": [],
    }))
}

fn decide(
    action: &str,
    safety: &str,
    parameters: &Value,
    job: &Job,
) -> Result<Proposal, NoProposal> {
    let diagnosis = diagnosis(&json!([finding("root", action, safety, parameters)]));
    proposal(&alert(), &diagnosis, job, Known::default(), at(101))
}

#[test]
fn a_root_cause_becomes_one_action_bound_to_the_object_that_is_seen() {
    let proposed = decide(
        "recreate_job",
        "auto",
        &json!({"name": "train", "uid": "u-1", "avoid_node": "gpu-7"}),
        &job(),
    )
    .unwrap();
    assert_eq!(
        proposed.spec,
        ActionSpec {
            kind: ActionKind::RecreateJob,
            target: Target::Kubernetes {
                cluster: "prod".into(),
                namespace: "ml".into(),
                kind: "Job".into(),
                name: "train".into(),
                uid: Some("u-1".into()),
            },
            parameters: Parameters::default(),
            avoid_node: Some("gpu-7".into()),
        }
    );
    assert_eq!(
        (proposed.class, proposed.severity),
        (SafetyClass::Auto, Severity::High)
    );
    assert_eq!(proposed.reason, "GPU fell off the bus (96 % sure).");
    assert_eq!(
        (proposed.scope.service.as_str(), proposed.scope.instances),
        ("prod/ml/train", 2)
    );
    assert_eq!(proposed.healthy_taken, 1);
    assert_eq!(
        proposed.impact,
        [
            "Ends 1 running of 2 pods (1 ready); local disks are lost.",
            "The job holds 4 GPUs.",
            "It ran for 1 h 41 min; the age of its last checkpoint is not known, so up to 6.7 GPU-hours are at stake.",
            "The Job is deleted and made anew from its spec; its finished pods and their logs go with it.",
        ]
    );
}

#[test]
fn consequences_expected_events_and_causes_for_people_propose_nothing() {
    let remedy = json!({"name": "train"});
    for role in ["cascade", "confirming", "expected"] {
        let found = diagnosis(&json!([finding(role, "recreate_job", "auto", &remedy)]));
        assert_eq!(
            proposal(&alert(), &found, &job(), Known::default(), at(101)),
            Err(NoProposal::NoRoot),
            "{role}"
        );
    }
    for safety in ["human", "quiet"] {
        assert_eq!(
            decide("recreate_job", safety, &remedy, &job()),
            Err(NoProposal::ForPeople),
            "{safety}"
        );
    }
    for state in ["healthy", "expected"] {
        let mut fine = diagnosis(&json!([finding("root", "recreate_job", "auto", &remedy)]));
        fine.state = read(json!(state));
        assert_eq!(
            proposal(&alert(), &fine, &job(), Known::default(), at(101)),
            Err(NoProposal::NothingToRepair)
        );
    }
    assert_eq!(
        decide("drop_table", "auto", &remedy, &job()),
        Err(NoProposal::UnknownAction("drop_table".into()))
    );
}

#[test]
fn a_target_that_is_not_seen_or_has_another_uid_is_not_acted_on() {
    let gone = Err(NoProposal::TargetGone);
    assert_eq!(
        decide(
            "recreate_job",
            "auto",
            &json!({"name": "train", "uid": "u-0"}),
            &job()
        ),
        gone
    );
    assert_eq!(
        decide("recreate_job", "auto", &json!({"name": "other"}), &job()),
        gone
    );
    assert_eq!(
        decide("delete_pod", "auto", &json!({"name": "train-9"}), &job()),
        gone
    );
    assert_eq!(
        decide("delete_pod", "auto", &json!({}), &job()),
        gone,
        "which pod was not said"
    );
    assert_eq!(
        decide("rollout_restart", "auto", &json!({"name": "train"}), &job()),
        gone,
        "a Job cannot roll"
    );
    assert_eq!(
        decide(
            "runai_restart",
            "auto",
            &json!({"workload_id": WORKLOAD}),
            &job()
        ),
        gone
    );
    assert!(decide("delete_pod", "auto", &json!({"name": "train-1"}), &job()).is_ok());
}

#[test]
fn an_unsure_cause_asks() {
    let mut unsure = finding("root", "recreate_job", "auto", &json!({"name": "train"}));
    unsure["confidence"] = json!(0.5);
    let proposed = proposal(
        &alert(),
        &diagnosis(&json!([unsure])),
        &job(),
        Known::default(),
        at(101),
    )
    .unwrap();
    assert_eq!(proposed.class, SafetyClass::Gated);
}

#[test]
fn a_restart_that_cannot_be_told_to_keep_off_a_node_takes_the_node_out_first() {
    let mut on_runai = job();
    on_runai.workload = Some(Box::new(workload()));
    let remedy = json!({"workload_id": WORKLOAD, "avoid_node": "gpu-7"});
    let first = decide("runai_restart", "auto", &remedy, &on_runai).unwrap();
    assert_eq!(
        (first.spec.kind, first.class),
        (ActionKind::CordonNode, SafetyClass::Gated)
    );
    assert_eq!(first.scope.service, "prod/node/gpu-7");
    assert!(
        first.reason.contains("taken out of scheduling first"),
        "{}",
        first.reason
    );

    let found = diagnosis(&json!([finding("root", "runai_restart", "auto", &remedy)]));
    let known = Known {
        unschedulable_nodes: &["gpu-7".to_owned()],
        ..Known::default()
    };
    let then = proposal(&alert(), &found, &on_runai, known, at(101)).unwrap();
    assert_eq!(then.spec.kind, ActionKind::RunaiRestart);
    assert_eq!(then.spec.avoid_node.as_deref(), Some("gpu-7"));
}

#[test]
fn a_git_owner_is_named() {
    let mut owned = job();
    owned.controllers[0].gitops = Some("Argo CD".into());
    let proposed = decide("recreate_job", "auto", &json!({"name": "train"}), &owned).unwrap();
    assert!(proposed.owned_elsewhere);
    assert_eq!(
        proposed.impact.last().unwrap(),
        "Argo CD owns it and may undo or repeat the change."
    );
}

#[test]
fn what_did_not_help_is_not_proposed_again() {
    let past = [Past {
        kind: ActionKind::RecreateJob,
        cause: Some("xid_79".into()),
        state: ExecutionState::Verified,
        at: at(95),
        failing_since: Some(at(80)),
    }];
    let known = Known {
        past: &past,
        ..Known::default()
    };
    let found = diagnosis(&json!([finding(
        "root",
        "recreate_job",
        "auto",
        &json!({"name": "train"})
    )]));
    let refused = proposal(&alert(), &found, &job(), known, at(101)).unwrap_err();
    assert!(matches!(refused, NoProposal::Exhausted(_)), "{refused:?}");
}

#[test]
fn a_hostile_name_is_refused_before_it_is_proposed() {
    let remedy = json!({"node": "../../secrets"});
    assert!(matches!(
        decide("cordon_node", "gated", &remedy, &job()),
        Err(NoProposal::Invalid(_))
    ));
}
