use jiff::Timestamp;

use super::*;
use crate::action::{ActionKind, ActionSpec, Parameters, Target};
use crate::alert::lifecycle::Note;
use crate::alert::{GroupKey, Subject, Track};
use crate::diagnose::course::{Change, Course, Lane, LaneEnd};
use crate::diagnose::similar::Similar;
use crate::diagnose::{EvidenceLine, FirstFailure, Role, Verdict};
use crate::safety::Endorsement;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).expect("a time in range")
}

pub(super) fn alert() -> Alert {
    Alert {
        id: "a1".to_owned(),
        number: 17,
        job_id: "j1".to_owned(),
        subject: Subject {
            cluster: "prod".to_owned(),
            namespace: "runai-nlp".to_owned(),
            name: "llm-7b".to_owned(),
            project: Some("nlp".to_owned()),
            kind: "Distributed".to_owned(),
            runai_id: Some("0b6a5b0e-6c4e-4c39-9a65-1b8f0d1f3a01".to_owned()),
            owner: Some("mira".to_owned()),
            gpus: 16.0,
            pods_total: 4,
            created: at(0),
            status: "Failed".to_owned(),
        },
        class: FailureClass::Crashed,
        failure: "OOMKilled".to_owned(),
        detail: "container main of llm-7b-1 ended with exit code 137 (OOMKilled)".to_owned(),
        severity: Severity::High,
        state: AlertState::Open,
        opened: at(60),
        updated: at(60),
        resolved: None,
        resolution: None,
        count: 3,
        pods: vec!["llm-7b-1".to_owned()],
        pods_failing: 1,
        nodes: Vec::new(),
        images: Vec::new(),
        acknowledged_by: None,
        silenced_until: None,
        covered: None,
        paging_trouble: None,
        group_id: None,
        diagnosis: None,
        approval_id: None,
        action_note: None,
        feedback: 0,
        demo: false,
        track: Track::default(),
    }
}

pub(super) fn diagnosis() -> Diagnosis {
    Diagnosis {
        job: "llm-7b".to_owned(),
        project: Some("nlp".to_owned()),
        namespace: "runai-nlp".to_owned(),
        state: Verdict::Failing,
        findings: vec![Finding {
            cause: "cuda_oom".to_owned(),
            role: Role::Root,
            confidence: 0.92,
            title: "Out of GPU memory".to_owned(),
            explanation: "PyTorch could not allocate 2.50 GiB.".to_owned(),
            evidence: vec![EvidenceLine {
                source: "log".to_owned(),
                pod: Some("llm-7b-1".to_owned()),
                container: Some("main".to_owned()),
                line: "torch.OutOfMemoryError: CUDA out of memory. <!channel>".to_owned(),
            }],
            recommendation: "Lower the batch size.".to_owned(),
            remediation: None,
        }],
        first_failure: Some(FirstFailure {
            pod: "llm-7b-1".to_owned(),
            rank: Some(1),
            node: Some("gpu-07".to_owned()),
        }),
        missing_evidence: vec!["The log of llm-7b-3 could not be read.".to_owned()],
        course: Some(course()),
    }
}

pub(super) fn course() -> Course {
    let lane = |n: u32, ended: i64, end| Lane {
        pod: format!("llm-7b-{n}"),
        pods: 1,
        rank: Some(n),
        node: Some(format!("gpu-{n:02}")),
        began: at(0),
        trouble: None,
        ended: Some(at(ended)),
        last_ended: Some(at(ended)),
        end,
        first: false,
    };
    let first = Lane {
        trouble: Some(at(3_588)),
        first: true,
        node: Some("gpu-07".to_owned()),
        ..lane(1, 3_590, LaneEnd::Failed)
    };
    Course {
        began: at(0),
        until: at(3_604),
        pods: 4,
        lanes: vec![
            lane(0, 3_601, LaneEnd::Stopped),
            first,
            lane(2, 3_602, LaneEnd::Stopped),
            lane(3, 3_604, LaneEnd::Stopped),
        ],
        changes: vec![Change {
            at: at(3_000),
            text: "mira: Set micro batch to 16".to_owned(),
        }],
        usage: None,
    }
}

fn approval(state: ApprovalState) -> Approval {
    Approval {
        id: "p1".to_owned(),
        number: 4,
        alert_id: Some("a1".to_owned()),
        spec: ActionSpec {
            kind: ActionKind::RunaiRestart,
            target: Target::Runai {
                workload_id: "0b6a5b0e".to_owned(),
                name: "llm-7b".to_owned(),
                project: "nlp".to_owned(),
                kind: "Distributed".to_owned(),
            },
            parameters: Parameters::default(),
            avoid_node: Some("gpu-07".to_owned()),
        },
        digest: String::new(),
        severity: Severity::High,
        reason: "The node is suspect.".to_owned(),
        impact: vec!["4 pods with 16 GPUs restart.".to_owned()],
        requested_by: "policy".to_owned(),
        requested: at(70),
        expires: at(3_670),
        state,
        decided_by: None,
        decided: None,
        deny_reason: None,
        people: 1,
        endorsed: Vec::new(),
        dry_run: true,
    }
}

pub(super) fn view(alert: Alert, approval: Option<Approval>) -> AlertView {
    let links = vec![Link {
        label: "Open in nightbell".to_owned(),
        url: "http://127.0.0.1:8000/#alert-17".to_owned(),
    }];
    AlertView {
        alert,
        approval,
        execution: None,
        links,
    }
}

/// A card as plain text, a line for each block.
fn text(card: &Card) -> String {
    let spans = |spans: &[Span]| -> String {
        spans
            .iter()
            .map(|span| match span {
                Span::Plain(text) => text.clone(),
                Span::Bold(text) => format!("*{text}*"),
                Span::Italic(text) => format!("_{text}_"),
                Span::Code(text) => format!("`{text}`"),
                Span::User(user) => format!("@{user}"),
                Span::Link { label, url } => format!("[{label}]({url})"),
            })
            .collect()
    };
    let mut lines = vec![format!("{:?} | {}", card.tone, card.fallback)];
    for block in &card.blocks {
        lines.push(match block {
            Block::Header { text } => format!("# {text}"),
            Block::Text { spans: parts } => spans(parts),
            Block::Fields { fields } => fields
                .iter()
                .map(|(label, value)| format!("  {label}: {}", spans(value)))
                .collect::<Vec<_>>()
                .join("\n"),
            Block::Code { text } => format!("```{text}```"),
            Block::Context { spans: parts } => format!("({})", spans(parts)),
            Block::Table { header, rows } => std::iter::once(header)
                .chain(rows)
                .map(|row| row.join(" | "))
                .collect::<Vec<_>>()
                .join("\n"),
            Block::Buttons { buttons } => buttons
                .iter()
                .map(|button| format!("[{}]", button.label))
                .collect::<Vec<_>>()
                .join(" "),
            Block::Picture { alt, .. } => format!("<{alt}>"),
            Block::Divider => "---".to_owned(),
        });
    }
    lines.join("\n")
}

#[test]
fn a_new_alert_says_what_the_platform_stated() {
    insta::assert_snapshot!(text(&card(&view(alert(), None))));
}

#[test]
fn a_diagnosed_alert_with_a_proposal_asks_for_a_decision() {
    let mut alert = alert();
    alert.diagnosis = Some(diagnosis());
    insta::assert_snapshot!(text(&card(&view(
        alert,
        Some(approval(ApprovalState::Pending))
    ))));
}

#[test]
fn a_decision_takes_the_place_of_its_buttons() {
    let mut alert = alert();
    alert.diagnosis = Some(diagnosis());
    alert.state = AlertState::Mitigating;
    let mut decided = approval(ApprovalState::Denied);
    decided.decided_by = Some("U0MIRA".to_owned());
    decided.deny_reason = Some("a checkpoint is being written".to_owned());
    let shown = text(&card(&view(alert, Some(decided))));
    assert!(!shown.contains("[Approve"), "{shown}");
    insta::assert_snapshot!(shown);
}

#[test]
fn of_two_people_who_have_to_approve_the_first_is_named() {
    let shown = |endorsed: &[&str], decided: Option<&str>| {
        let mut asked = approval(ApprovalState::Pending);
        asked.people = 2;
        asked.endorsed = endorsed
            .iter()
            .map(|by| Endorsement {
                by: (*by).to_owned(),
                at: at(80),
            })
            .collect();
        if let Some(by) = decided {
            asked.state = ApprovalState::Approved;
            asked.decided_by = Some(by.to_owned());
            asked.decided = Some(at(90));
        }
        text(&card(&view(alert(), Some(asked))))
    };
    for (text, wanted) in [
        (shown(&[], None), "Needs 2 people to approve."),
        (
            shown(&["U0MIRA"], None),
            "*1 of 2:* approved by @U0MIRA, waiting for another person.",
        ),
        (shown(&["U0MIRA"], Some("U0SAM")), "@U0MIRA and @U0SAM"),
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
}

#[test]
fn a_resolved_alert_is_green_and_asks_for_nothing() {
    let mut alert = alert();
    alert.state = AlertState::Resolved;
    alert.resolved = Some(at(900));
    alert.resolution = Some("recovered".to_owned());
    alert.demo = true;
    let card = card(&view(alert, Some(approval(ApprovalState::Pending))));
    assert_eq!(card.tone, Tone::Good);
    insta::assert_snapshot!(text(&card));
}

#[test]
fn a_group_lists_its_members_and_what_is_to_be_decided() {
    let members = (0..25).map(|n| {
        let mut member = alert();
        member.number = n;
        member.subject.name = format!("job-{n}");
        if n == 1 {
            member.state = AlertState::Resolved;
        }
        view(member, (n == 2).then(|| approval(ApprovalState::Pending)))
    });
    let group = GroupView {
        group: Group {
            id: "g1".to_owned(),
            key: GroupKey::Node("prod/gpu-07".to_owned()),
            opened: at(60),
            updated: at(90),
            resolved: None,
            members: (0..25).map(|n| format!("a{n}")).collect(),
        },
        members: members.collect(),
        links: Vec::new(),
    };
    insta::assert_snapshot!(text(&group_card(&group)));
}

#[test]
fn the_thread_gets_the_whole_report() {
    let mut alert = alert();
    alert.diagnosis = Some(diagnosis());
    let past = Similar {
        alert_id: "a0".to_owned(),
        number: 9,
        job: "llm-7b-0301".to_owned(),
        what: "Out of GPU memory".to_owned(),
        opened: at(-90_000),
        resolved: Some(at(-88_500)),
        resolution: Some("recovered".to_owned()),
        fixed_by: Some("restart llm-7b-0301, avoiding gpu-07".to_owned()),
        score: 10,
        alike: vec![
            "cause".to_owned(),
            "job family".to_owned(),
            "node".to_owned(),
        ],
    };
    insta::assert_snapshot!(text(&note_card(&alert, &Note::Diagnosed, &[past])));
}

#[test]
fn the_cost_is_what_the_gpus_did_for_nothing() {
    let cost = |class: FailureClass, gpus: f64, updated: i64, diagnosed: bool| {
        let mut alert = alert();
        alert.class = class;
        alert.subject.gpus = gpus;
        alert.opened = at(3_600);
        alert.updated = at(updated);
        alert.diagnosis = diagnosed.then(diagnosis);
        facts::cost(&alert)
    };
    for (class, gpus, updated, diagnosed, told) in [
        (
            FailureClass::Crashed,
            16.0,
            3_600,
            true,
            Some("up to 16 GPU-hours lost: 16 GPUs for 59 min, less what a checkpoint saved."),
        ),
        (
            FailureClass::Crashed,
            0.5,
            3_600,
            false,
            Some(
                "up to 0.5 GPU-hours lost: 0.5 GPUs for 1 h at most, less what a checkpoint saved.",
            ),
        ),
        (
            FailureClass::Stuck,
            8.0,
            5_400,
            false,
            Some("4.0 GPU-hours idle: 8 GPUs held for 30 min (by 15:43:20)."),
        ),
        (
            FailureClass::CannotStart,
            8.0,
            3_600,
            false,
            Some("8 GPUs held without work done."),
        ),
        (
            FailureClass::Blocked,
            8.0,
            3_600,
            false,
            Some("8 GPUs asked for, none had, after 1 h."),
        ),
        (FailureClass::Crashed, 0.0, 3_600, false, None),
        (FailureClass::Node, 8.0, 3_600, false, None),
    ] {
        assert_eq!(
            cost(class, gpus, updated, diagnosed).as_deref(),
            told,
            "{class:?} {gpus}"
        );
    }
}

#[test]
fn how_it_ended_is_said_in_words() {
    for (how, said) in [
        ("recovered", "llm-7b recovered."),
        (
            "removed",
            "llm-7b is no longer there: deleted or made anew.",
        ),
        ("completed", "llm-7b completed."),
        ("started", "llm-7b got what it waited for."),
        (
            "ended: Preempted",
            "llm-7b no longer fails; it is Preempted now.",
        ),
        ("resolved by hand", "llm-7b was declared over."),
    ] {
        let how = how.to_owned();
        assert_eq!(
            note_card(&alert(), &Note::Resolved { how }, &[]).fallback,
            said
        );
    }
}

#[test]
fn secrets_and_escape_sequences_do_not_leave_in_a_message() {
    let mut alert = alert();
    alert.detail = "\u{1b}[31mlogin failed\u{1b}[0m password=hunter2hunter2 for bot".to_owned();
    let shown = text(&card(&view(alert, None)));
    assert!(!shown.contains("hunter2hunter2"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown}");
}
