//! The message of a group: what its members have in common, who they are, and what is to be decided.

use super::facts::links;
use super::proposal::{decision, proposal};
use super::words::{PROSE, TITLE, VALUE, counted, plain, time};
use super::{AlertView, GroupView, top, unpaged};
use crate::alert::{Alert, AlertState, GroupKey, Severity};
use crate::chat::card::{Block, Button, ButtonStyle, Card, Press, Tone, Verb};
use crate::notify::Subject;
use crate::redact::line;
use crate::safety::ApprovalState;

/// Members of a group shown by name: what a person reads before opening the page.
const MEMBERS: usize = 20;
/// Names of the further members: Slack takes 3,000 characters in such a block.
const REST: usize = 2_500;
/// Members of a group whose proposed action has its buttons in the group's message.
const DECISIONS: usize = 5;

/// The message of a group.
#[must_use]
pub fn group_card(view: &GroupView) -> Card {
    let (open, over): (Vec<_>, Vec<_>) = view
        .members
        .iter()
        .partition(|member| member.alert.state != AlertState::Resolved);
    let all = view.group.members.len().max(view.members.len());
    let demo = if view.members.iter().any(|member| member.alert.demo) {
        "[demo] "
    } else {
        ""
    };
    let what = common_cause(&view.group.key);
    let jobs = counted(all, "alert");
    let title = if view.group.resolved.is_some() {
        line(&format!("{demo}Resolved · {what}: {jobs}"), TITLE)
    } else {
        line(
            &format!(
                "{demo}{what}: {jobs}, {} still open",
                all - over.len().min(all)
            ),
            TITLE,
        )
    };
    let mut blocks = vec![Block::Header {
        text: title.clone(),
    }];
    blocks.push(Block::Text {
        spans: vec![plain(
            "They are told together because they have one cause, or because there are too many to tell one by one. \
             Each is an alert of its own: ask for it by its number.",
            PROSE,
        )],
    });
    let shown: Vec<&&AlertView> = open.iter().chain(&over).take(MEMBERS).collect();
    blocks.extend(open.iter().find_map(|member| unpaged(&member.alert)));
    blocks.push(Block::Table {
        header: ["#", "Job", "Project", "Failure", "State"]
            .map(str::to_owned)
            .to_vec(),
        rows: shown.iter().map(|member| row(&member.alert)).collect(),
    });
    if all > shown.len() {
        let rest = open.iter().chain(&over).skip(MEMBERS);
        let names: Vec<String> = rest
            .map(|member| line(&member.alert.subject.name, 60))
            .collect();
        let more = format!("and {} more: {}", all - shown.len(), names.join(", "));
        blocks.push(Block::Context {
            spans: vec![plain(&more, REST)],
        });
    }
    let pending = open.iter().filter_map(|member| {
        member
            .approval
            .as_ref()
            .filter(|a| a.state == ApprovalState::Pending)
            .map(|approval| (&member.alert, approval))
    });
    for (alert, approval) in pending.take(DECISIONS) {
        blocks.push(proposal(approval));
        blocks.push(Block::Buttons {
            buttons: decision(approval, &format!(" #{}", alert.number)),
        });
    }
    let mut spans = vec![plain(&format!("since {}", time(view.group.opened)), VALUE)];
    spans.extend(links(&view.links));
    blocks.push(Block::Context { spans });
    if !open.is_empty() {
        blocks.push(Block::Buttons {
            buttons: for_all(view, &open),
        });
    }
    let severity = open.iter().map(|member| member.alert.severity).max();
    let tone = match severity {
        None => Tone::Good,
        Some(Severity::Low) => Tone::Info,
        Some(Severity::Medium) => Tone::Warning,
        Some(Severity::High | Severity::Critical) => Tone::Bad,
    };
    Card {
        fallback: title,
        tone,
        blocks,
    }
}

fn row(alert: &Alert) -> Vec<String> {
    let is_silent = alert.silenced_until.is_some() || alert.covered.is_some();
    let state = match (alert.state, &alert.resolution) {
        (AlertState::Open, _) if is_silent => "silenced",
        (AlertState::Open, _) => "open",
        (AlertState::Acknowledged, _) => "acknowledged",
        (AlertState::Mitigating, _) => "being repaired",
        (AlertState::Resolved, Some(how)) => how,
        (AlertState::Resolved, None) => "resolved",
    };
    let why = top(alert).map_or(&alert.failure, |finding| &finding.title);
    vec![
        format!("#{}", alert.number),
        line(&alert.subject.name, 60),
        line(alert.subject.project.as_deref().unwrap_or("–"), 40),
        line(why, 60),
        line(state, 40),
    ]
}

/// The one line under which a group is known.
#[must_use]
pub fn common_cause(key: &GroupKey) -> String {
    match key {
        GroupKey::Node(node) => format!("Node {node}"),
        GroupKey::Image(image) => format!("Image {image}"),
        GroupKey::Registry(registry) => format!("Registry {registry}"),
        GroupKey::Quota(project) => format!("Resources of project {project}"),
        GroupKey::Claim(claim) => format!("Volume claim {claim}"),
        GroupKey::Storm(_) => "Many failures at once".to_owned(),
    }
}

/// What can be done with all open members of a group at once.
fn for_all(view: &GroupView, open: &[&AlertView]) -> Vec<Button> {
    let mut verbs = Vec::new();
    if open
        .iter()
        .any(|member| member.alert.state == AlertState::Open)
    {
        verbs.push((Verb::Acknowledge, "Acknowledge all"));
    }
    if open
        .iter()
        .any(|member| member.alert.silenced_until.is_none() && member.alert.covered.is_none())
    {
        verbs.push((Verb::Silence1h, "Silence all 1h"));
        verbs.push((Verb::Silence4h, "Silence all 4h"));
        verbs.push((Verb::Silence1d, "Silence all 1d"));
    }
    let id = Subject::Group(view.group.id.clone()).key();
    let button = |(verb, label): (Verb, &str)| Button {
        press: Press {
            verb,
            id: id.clone(),
        },
        label: label.to_owned(),
        style: ButtonStyle::Plain,
        confirm: None,
    };
    verbs.into_iter().map(button).collect()
}
