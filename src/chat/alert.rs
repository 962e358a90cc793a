//! An alert, a group of alerts, or a note about one, as a card. All text is cut and scrubbed here: what leaves in a
//! message is data without secrets, whatever it was when it came.

use jiff::Timestamp;

use super::card::{Block, Button, ButtonStyle, Card, Press, Span, Tone, Verb};
use crate::alert::lifecycle::Note;
use crate::alert::{Alert, AlertState, Group, GroupKey, Severity};
use crate::detect::FailureClass;
use crate::diagnose::{Diagnosis, EvidenceLine, Finding, Role, Verdict};
use crate::notify::Subject;
use crate::redact::{line, scrub};
use crate::safety::{Approval, ApprovalState, Execution, ExecutionState};

/// Slack's header takes 150 characters; the verdict must fit a phone's notification anyway.
const TITLE: usize = 140;
/// A name, a status, an owner.
const VALUE: usize = 120;
/// An explanation or recommendation.
const PROSE: usize = 700;
/// An excerpt of evidence.
const EXCERPT: usize = 500;
/// Members of a group shown by name: what a person reads before opening the page.
const MEMBERS: usize = 20;
/// Names of the further members: Slack takes 3,000 characters in such a block.
const REST: usize = 2_500;
/// Members of a group whose proposed action has its buttons in the group's message.
const DECISIONS: usize = 5;
/// Findings in a full report.
const FINDINGS: usize = 5;

/// An alert with what hangs on it.
#[derive(Clone, Debug)]
pub struct AlertView {
    pub alert: Alert,
    /// The approval asked for last.
    pub approval: Option<Approval>,
    /// The execution made last.
    pub execution: Option<Execution>,
    pub links: Vec<Link>,
}

/// Somewhere to read on: Run:AI, Grafana, the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub label: String,
    pub url: String,
}

/// A group with its members.
#[derive(Clone, Debug)]
pub struct GroupView {
    pub group: Group,
    pub members: Vec<AlertView>,
    pub links: Vec<Link>,
}

/// The message of one alert.
#[must_use]
pub fn card(view: &AlertView) -> Card {
    let alert = &view.alert;
    let title = title(alert);
    let mut blocks = vec![Block::Header {
        text: title.clone(),
    }];
    blocks.push(Block::Text {
        spans: verdict(alert),
    });
    blocks.push(Block::Fields {
        fields: fields(alert),
    });
    if let Some(evidence) = top(alert).and_then(|finding| finding.evidence.first()) {
        blocks.push(Block::Code {
            text: excerpt(evidence),
        });
    }
    if let Some(finding) = top(alert).filter(|finding| !finding.recommendation.is_empty()) {
        blocks.push(Block::Text {
            spans: vec![
                bold("Recommended:"),
                plain(&format!(" {}", finding.recommendation), PROSE),
            ],
        });
    }
    if alert.state != AlertState::Resolved
        || view
            .approval
            .as_ref()
            .is_some_and(|a| a.state != ApprovalState::Pending)
    {
        blocks.extend(view.approval.as_ref().map(proposal));
    }
    if let Some(carried_out) = &view.execution {
        blocks.push(execution(carried_out));
    } else if let Some(note) = &alert.action_note {
        blocks.push(Block::Text {
            spans: vec![bold("Action:"), plain(&format!(" {note}"), PROSE)],
        });
    }
    blocks.push(Block::Context {
        spans: small_print(alert, &view.links),
    });
    let pending = view.approval.as_ref().filter(|approval| {
        approval.state == ApprovalState::Pending && alert.state != AlertState::Resolved
    });
    if let Some(approval) = pending {
        blocks.push(Block::Buttons {
            buttons: decision(approval, ""),
        });
    }
    blocks.push(Block::Buttons {
        buttons: buttons(alert),
    });
    Card {
        fallback: title,
        tone: tone(alert),
        blocks,
    }
}

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
    let jobs = jobs(all);
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

/// What a thread is told about an alert.
#[must_use]
pub fn note_card(alert: &Alert, note: &Note) -> Card {
    let about = name(alert);
    match note {
        Note::Diagnosed => match &alert.diagnosis {
            Some(diagnosis) => report(diagnosis, &about),
            None => Card {
                fallback: format!("{about}: no diagnosis"),
                tone: Tone::Info,
                blocks: Vec::new(),
            },
        },
        Note::FailedAgain { times } => said(
            &format!(
                "{about} fails again after it had recovered ({times}×): {}",
                line(&alert.detail, PROSE)
            ),
            Tone::Bad,
        ),
        Note::Flapping { times, minutes } => said(
            &format!(
                "{about} is flapping: it failed and recovered {times} times lately. From now on it counts as failing \
                 until no failure was seen for {minutes} min; nobody is told or paged of each failing in between."
            ),
            Tone::Warning,
        ),
        Note::Paging { why: Some(why) } => said(
            &format!(
                "Could not page about {about}: {}. It is tried again until PagerDuty takes it; until then nobody is \
                 woken.",
                line(why, VALUE)
            ),
            Tone::Bad,
        ),
        Note::Paging { why: None } => said(
            &format!("PagerDuty takes pages again, and was told of {about}."),
            Tone::Good,
        ),
        Note::Resolved { how } => said(
            &format!("{about} {}.", ended(&line(how, VALUE))),
            Tone::Good,
        ),
        Note::Action { text } => said(&line(text, PROSE), Tone::Info),
    }
}

/// The full report of a diagnosis.
#[must_use]
pub fn report(diagnosis: &Diagnosis, about: &str) -> Card {
    let verdict = match diagnosis.state {
        Verdict::Failing => "is failing",
        Verdict::Healthy => "looks healthy",
        Verdict::Expected => "shows nothing that needs repair",
    };
    let fallback = match diagnosis.findings.first() {
        Some(finding) => line(&format!("{about} {verdict}: {}", finding.title), TITLE),
        None => line(&format!("{about} {verdict}"), TITLE),
    };
    let mut blocks = vec![Block::Text {
        spans: vec![bold(&fallback)],
    }];
    if let Some(first) = &diagnosis.first_failure {
        let rank = first
            .rank
            .map_or_else(String::new, |rank| format!(", rank {rank}"));
        let node = first
            .node
            .as_ref()
            .map_or_else(String::new, |node| format!(", on {node}"));
        blocks.push(Block::Text {
            spans: vec![plain(
                &format!("First to fail: {}{rank}{node}", first.pod),
                PROSE,
            )],
        });
    }
    for finding in diagnosis.findings.iter().take(FINDINGS) {
        let role = match finding.role {
            Role::Root => "cause",
            Role::Cascade => "follows from it",
            Role::Confirming => "confirms it",
            Role::Expected => "expected",
        };
        let sure = (finding.confidence * 100.0).round();
        let mut spans = vec![
            bold(&finding.title),
            plain(&format!(" ({role}, {sure}%) "), VALUE),
        ];
        spans.push(plain(&finding.explanation, PROSE));
        blocks.push(Block::Text { spans });
        if !finding.evidence.is_empty() {
            let lines: Vec<String> = finding.evidence.iter().take(3).map(excerpt).collect();
            blocks.push(Block::Code {
                text: lines.join("\n"),
            });
        }
        if !finding.recommendation.is_empty() {
            blocks.push(Block::Text {
                spans: vec![
                    bold("Recommended:"),
                    plain(&format!(" {}", finding.recommendation), PROSE),
                ],
            });
        }
    }
    if !diagnosis.missing_evidence.is_empty() {
        let missing = diagnosis.missing_evidence.join(" ");
        blocks.push(Block::Context {
            spans: vec![plain(&format!("Not looked at: {missing}"), PROSE)],
        });
    }
    let tone = match diagnosis.state {
        Verdict::Failing => Tone::Bad,
        Verdict::Healthy => Tone::Good,
        Verdict::Expected => Tone::Info,
    };
    Card {
        fallback,
        tone,
        blocks,
    }
}

fn title(alert: &Alert) -> String {
    let demo = if alert.demo { "[demo] " } else { "" };
    let name = name(alert);
    if alert.state == AlertState::Resolved {
        let how = alert.resolution.as_deref().unwrap_or("resolved");
        return line(&format!("{demo}Resolved · {name}: {}", ended(how)), TITLE);
    }
    let why = match top(alert) {
        Some(finding) => finding.title.as_str(),
        None => alert.failure.as_str(),
    };
    line(
        &format!("{demo}{} · {name}: {why}", severity(alert.severity)),
        TITLE,
    )
}

/// What the resolution says happened to the job, to follow its name.
fn ended(how: &str) -> String {
    match how.split_once(": ") {
        Some(("ended", state)) => format!("no longer fails; it is {state} now"),
        Some(_) | None => match how {
            "removed" => "is no longer there: deleted or made anew".to_owned(),
            "started" => "got what it waited for".to_owned(),
            "resolved by hand" => "was declared over".to_owned(),
            how => how.to_owned(),
        },
    }
}

fn name(alert: &Alert) -> String {
    let kind = match alert.class {
        FailureClass::Node => "node ",
        FailureClass::Source => "source ",
        FailureClass::Blocked
        | FailureClass::CannotStart
        | FailureClass::Crashed
        | FailureClass::Disrupted
        | FailureClass::Degraded
        | FailureClass::Stalled
        | FailureClass::Stuck => "",
    };
    format!("{kind}{}", line(&alert.subject.name, VALUE))
}

/// What happened in words: the top finding's explanation, else what the platform stated.
fn verdict(alert: &Alert) -> Vec<Span> {
    match top(alert) {
        Some(finding) => vec![
            bold(&finding.title),
            plain(". ", 2),
            plain(&finding.explanation, PROSE),
        ],
        None => vec![
            bold(&alert.failure),
            plain(": ", 2),
            plain(&alert.detail, PROSE),
        ],
    }
}

fn fields(alert: &Alert) -> Vec<(String, Vec<Span>)> {
    let subject = &alert.subject;
    let mut fields = vec![("Job", vec![code(&subject.name)])];
    if let Some(project) = &subject.project {
        fields.push(("Project", vec![plain(project, VALUE)]));
    }
    fields.push(("Type", vec![plain(&subject.kind, VALUE)]));
    let state = match alert.state {
        AlertState::Open => "open",
        AlertState::Acknowledged => "acknowledged",
        AlertState::Mitigating => "being repaired",
        AlertState::Resolved => "resolved",
    };
    fields.push((
        "Status",
        vec![plain(
            &if subject.status == alert.failure {
                format!("{} · {state}", subject.status)
            } else {
                format!("{} · {} · {state}", subject.status, alert.failure)
            },
            VALUE,
        )],
    ));
    if let Some(owner) = &subject.owner {
        fields.push(("Owner", vec![plain(owner, VALUE)]));
    }
    if subject.gpus > 0.0 {
        fields.push(("GPUs", vec![plain(&subject.gpus.to_string(), VALUE)]));
    }
    if alert.pods_failing > 0 {
        let of = alert.pods_failing.max(subject.pods_total);
        fields.push((
            "Pods failing",
            vec![plain(&format!("{} of {of}", alert.pods_failing), VALUE)],
        ));
    }
    fields.push(("Since", vec![plain(&time(alert.opened), VALUE)]));
    if subject.namespace.is_empty() {
        fields.push(("Cluster", vec![plain(&subject.cluster, VALUE)]));
    } else {
        fields.push((
            "Cluster",
            vec![plain(
                &format!("{} / {}", subject.cluster, subject.namespace),
                VALUE,
            )],
        ));
    }
    if let Some(id) = &subject.runai_id {
        fields.push(("UUID", vec![code(id)]));
    }
    fields
        .into_iter()
        .map(|(label, spans)| (label.to_owned(), spans))
        .collect()
}

fn proposal(approval: &Approval) -> Block {
    let what = action(approval);
    let mut spans = match approval.state {
        ApprovalState::Pending => {
            vec![
                bold("Proposed:"),
                plain(&format!(" {what}"), VALUE),
                plain(&format!(". {}", approval.reason), PROSE),
            ]
        }
        ApprovalState::Approved | ApprovalState::Denied => {
            let word = if approval.state == ApprovalState::Approved {
                "Approved by"
            } else {
                "Denied by"
            };
            let mut spans = vec![bold(word), plain(" ", 2)];
            spans.extend(
                approval
                    .decided_by
                    .as_ref()
                    .map(|by| Span::User(by.clone())),
            );
            spans.push(plain(&format!(": {what}"), VALUE));
            spans.extend(
                approval
                    .deny_reason
                    .as_ref()
                    .map(|reason| plain(&format!(". Reason: {reason}"), PROSE)),
            );
            spans
        }
        ApprovalState::Expired => vec![
            bold("Nobody decided in time:"),
            plain(&format!(" {what}"), VALUE),
        ],
        ApprovalState::Withdrawn => vec![bold("Withdrawn:"), plain(&format!(" {what}"), VALUE)],
    };
    if approval.state == ApprovalState::Pending {
        for impact in &approval.impact {
            spans.push(plain(&format!(" {impact}"), PROSE));
        }
        spans.push(plain(" ", 2));
        spans.push(Span::Italic(format!("Expires {}.", time(approval.expires))));
    }
    if approval.dry_run {
        spans.push(plain(" ", 2));
        spans.push(Span::Italic(
            "Dry run: everything but the last call happens.".to_owned(),
        ));
    }
    Block::Text { spans }
}

fn execution(execution: &Execution) -> Block {
    let state = match execution.state {
        ExecutionState::Permitted => "is about to run",
        ExecutionState::Started => "is running",
        ExecutionState::Verifying => "was carried out; its effect is being watched",
        ExecutionState::Verified => "was carried out and its effect verified",
        ExecutionState::NotVerified => "was carried out, but its effect was not seen",
        ExecutionState::Failed => "failed",
        ExecutionState::Unknown => {
            "was interrupted: whether it happened is not known, and it is not repeated"
        }
        ExecutionState::Cancelled => "was cancelled",
        ExecutionState::DryRun => "was rehearsed (dry run): nothing was changed",
    };
    let mut spans = vec![
        bold(&capital(execution.spec.kind.verb().trim_end_matches(" of"))),
        plain(&format!(" {state}"), VALUE),
    ];
    let told = execution
        .verification
        .as_ref()
        .or(execution.answer.as_ref());
    spans.extend(told.map(|text| plain(&format!(": {text}"), PROSE)));
    Block::Text { spans }
}

fn small_print(alert: &Alert, to: &[Link]) -> Vec<Span> {
    let mut parts = vec![format!("#{}", alert.number)];
    if alert.count > 1 {
        parts.push(format!("seen {}×", alert.count));
    }
    if alert.track.reopened > 0 {
        parts.push(format!("failed again {}×", alert.track.reopened));
    }
    if let Some(first) = alert
        .diagnosis
        .as_ref()
        .and_then(|d| d.first_failure.as_ref())
    {
        let rank = first
            .rank
            .map_or_else(String::new, |rank| format!(" (rank {rank})"));
        let node = first
            .node
            .as_ref()
            .map_or_else(String::new, |node| format!(" on {node}"));
        parts.push(format!("first to fail: {}{rank}{node}", first.pod));
    }
    if alert.track.expected > 0 {
        parts.push(format!(
            "{} expected events (preempted, suspended …)",
            alert.track.expected
        ));
    }
    if let Some(since) = alert.track.flapping_since.filter(|_| alert.is_held()) {
        parts.push(format!(
            "flapping since {}, held until it stays well",
            time(since)
        ));
    }
    if let Some(until) = alert.silenced_until {
        parts.push(format!("silenced until {}", time(until)));
    }
    if let Some(resolved) = alert.resolved {
        parts.push(format!("resolved {}", time(resolved)));
    }
    let mut spans = vec![plain(&parts.join(" · "), PROSE)];
    if let Some(by) = &alert.acknowledged_by {
        spans.push(plain(" · acknowledged by ", VALUE));
        spans.push(Span::User(by.clone()));
    }
    spans.extend(links(to));
    spans
}

fn links(links: &[Link]) -> Vec<Span> {
    links
        .iter()
        .flat_map(|link| {
            [
                plain(" · ", 3),
                Span::Link {
                    label: link.label.clone(),
                    url: link.url.clone(),
                },
            ]
        })
        .collect()
}

fn decision(approval: &Approval, which: &str) -> Vec<Button> {
    let what = action(approval);
    let confirm = format!("{}? {}", capital(&what), approval.impact.join(" "));
    let button = |verb, label: String, style, confirm| Button {
        press: Press {
            verb,
            id: approval.id.clone(),
        },
        label: line(&label, 75),
        style,
        confirm,
    };
    vec![
        button(
            Verb::Approve,
            format!("Approve{which}: {what}"),
            ButtonStyle::Primary,
            Some(line(&confirm, 300)),
        ),
        button(
            Verb::Deny,
            format!("Deny{which}"),
            ButtonStyle::Danger,
            None,
        ),
    ]
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
        .any(|member| member.alert.silenced_until.is_none())
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

fn buttons(alert: &Alert) -> Vec<Button> {
    let mut verbs = Vec::new();
    if alert.state == AlertState::Open {
        verbs.push((Verb::Acknowledge, "Acknowledge"));
    }
    if alert.state != AlertState::Resolved {
        verbs.push((Verb::Resolve, "Resolve"));
        if alert.silenced_until.is_none() {
            verbs.push((Verb::Silence1h, "Silence 1h"));
            verbs.push((Verb::Silence4h, "Silence 4h"));
            verbs.push((Verb::Silence1d, "Silence 1d"));
        }
    }
    if !matches!(alert.class, FailureClass::Node | FailureClass::Source) {
        verbs.push((Verb::Troubleshoot, "Troubleshoot again"));
        verbs.push((Verb::ShowLogs, "Show logs"));
    }
    verbs.push((Verb::ThumbsUp, "👍"));
    verbs.push((Verb::ThumbsDown, "👎"));
    verbs
        .into_iter()
        .map(|(verb, label)| Button {
            press: Press {
                verb,
                id: alert.id.clone(),
            },
            label: label.to_owned(),
            style: ButtonStyle::Plain,
            confirm: None,
        })
        .collect()
}

fn row(alert: &Alert) -> Vec<String> {
    let state = match (alert.state, &alert.resolution) {
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

fn action(approval: &Approval) -> String {
    use crate::action::Target;
    let name = match &approval.spec.target {
        Target::Kubernetes { name, .. } | Target::Runai { name, .. } => name,
    };
    let avoid = approval
        .spec
        .avoid_node
        .as_ref()
        .map_or_else(String::new, |node| format!(", avoiding {node}"));
    line(
        &format!("{} {name}{avoid}", approval.spec.kind.verb()),
        VALUE,
    )
}

fn top(alert: &Alert) -> Option<&Finding> {
    alert
        .diagnosis
        .as_ref()?
        .findings
        .first()
        .filter(|finding| finding.cause != "unknown")
}

fn tone(alert: &Alert) -> Tone {
    match (alert.state, alert.severity) {
        (AlertState::Resolved, _) => Tone::Good,
        (_, Severity::Low) => Tone::Info,
        (_, Severity::Medium) => Tone::Warning,
        (_, Severity::High | Severity::Critical) => Tone::Bad,
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "Low",
        Severity::Medium => "Medium",
        Severity::High => "High",
        Severity::Critical => "CRITICAL",
    }
}

fn jobs(n: usize) -> String {
    if n == 1 {
        "1 alert".to_owned()
    } else {
        format!("{n} alerts")
    }
}

fn excerpt(evidence: &EvidenceLine) -> String {
    let from = match (&evidence.pod, &evidence.container) {
        (Some(pod), Some(container)) => format!("{pod}/{container}: "),
        (Some(pod), None) => format!("{pod}: "),
        (None, _) => String::new(),
    };
    line(&format!("{from}{}", evidence.line), EXCERPT)
}

fn said(text: &str, tone: Tone) -> Card {
    let text = scrub(text);
    Card {
        fallback: line(&text, TITLE),
        tone,
        blocks: vec![Block::Text {
            spans: vec![Span::Plain(text)],
        }],
    }
}

fn plain(text: &str, max: usize) -> Span {
    // `line` drops trailing blanks, which separate spans here.
    let blank = text.ends_with(' ');
    let mut text = line(text, max);
    if blank {
        text.push(' ');
    }
    Span::Plain(text)
}

fn bold(text: &str) -> Span {
    match plain(text, VALUE) {
        Span::Plain(text) => Span::Bold(text),
        other => other,
    }
}

fn code(text: &str) -> Span {
    Span::Code(line(text, VALUE))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
#[path = "alert_tests.rs"]
mod tests;
