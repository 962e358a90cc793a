//! What the words of a sentence fill in, and the sentence with those words replaced by what they are.

use super::names::{self, Name, Sort};
use super::time::{self, Span};
use super::words::{Kind, Sentence};
use super::{Intent, Known, Slots};
use crate::alert::Severity;

/// Everything a sentence mentions, before it is known what the sentence wants.
#[derive(Clone, Debug, Default)]
pub(super) struct Mentions {
    pub(super) names: Vec<Name>,
    pub(super) duration: Option<u64>,
    pub(super) since: Option<u64>,
    pub(super) severity: Option<Severity>,
    pub(super) incident: Option<String>,
    /// A number that nothing around explains.
    pub(super) number: Option<u64>,
    /// A number of things: "last 5 incidents", "3 replicas", "100 lines".
    pub(super) count: Option<u64>,
    pub(super) user: Option<String>,
    pub(super) action: Option<&'static str>,
    pub(super) approve: Option<bool>,
    pub(super) failing: bool,
    pub(super) plural_jobs: bool,
    /// The sentence with every mention replaced by its sort: `show logs of _name_`.
    pub(super) shape: Vec<String>,
}

const NUMBERED: &[&str] = &[
    "incident",
    "incidents",
    "alert",
    "inc",
    "ticket",
    "issue",
    "approval",
    "request",
    "number",
    "no",
    "nr",
    "num",
    "id",
    "outage",
    "proposal",
    "#",
    "silence",
];
const NUMBERED_VERBS: &[&str] = &[
    "ack",
    "acknowledge",
    "acked",
    "resolve",
    "close",
    "approve",
    "deny",
    "reject",
    "decline",
    "reopen",
    "unsilence",
    "unmute",
    "show",
    "open",
    "on",
    "to",
    "for",
    "about",
    "like",
    "cancel",
    "note",
];

pub(super) fn mentions(
    sentence: &Sentence,
    known: &Known,
    ordinary: impl Fn(&str) -> bool,
) -> Mentions {
    let tokens = &sentence.tokens;
    let mut found = Mentions::default();
    let mut labels: Vec<Option<&'static str>> = vec![None; tokens.len()];

    for time in time::find(tokens) {
        let label = match time.span {
            Span::Ahead(seconds) => {
                found.duration.get_or_insert(seconds);
                "_dur_"
            }
            Span::Back(seconds) => {
                found.since.get_or_insert(seconds);
                "_since_"
            }
        };
        labels[time.start..time.end].fill(Some(label));
    }
    for (at, token) in tokens.iter().enumerate() {
        let free = labels[at].is_none();
        match token.kind {
            Kind::User => {
                found.user.get_or_insert_with(|| token.raw.clone());
                labels[at] = Some("_user_");
            }
            Kind::Hash => {
                found.incident.get_or_insert_with(|| token.raw.clone());
                labels[at] = Some("_inc_");
            }
            Kind::Channel => labels[at] = Some("_channel_"),
            Kind::Text => labels[at] = Some("_text_"),
            Kind::Word if free => {
                if let Some(digits) = incident_code(&token.word) {
                    found.incident.get_or_insert(digits);
                    labels[at] = Some("_inc_");
                } else if let Some(severity) = severity(sentence, at) {
                    found.severity.get_or_insert(severity);
                    labels[at] = Some("_sev_");
                }
            }
            Kind::Word | Kind::Quoted => {}
        }
    }
    numbers(sentence, &mut found, &mut labels);
    let taken: Vec<bool> = labels.iter().map(Option::is_some).collect();
    found.names = names::find(tokens, &taken, known, ordinary);
    for name in &found.names {
        labels[name.at..name.end].fill(Some("_name_"));
    }
    person(sentence, &mut found, &mut labels);
    found.action = action(sentence, &labels);
    found.approve = approve(sentence);
    found.failing = sentence.has(&[
        "failing",
        "failed",
        "fail",
        "fails",
        "broken",
        "crashed",
        "crashing",
        "unhealthy",
        "down",
        "errored",
        "erroring",
        "dead",
        "red",
        "problems",
        "trouble",
        "failures",
        "dying",
        "wrong",
        "problematic",
    ]);
    found.plural_jobs = sentence.has(&[
        "jobs",
        "workloads",
        "everything",
        "trainings",
        "runs",
        "pods",
        "anything",
        "experiments",
    ]);

    let mut last = None;
    for (token, label) in tokens.iter().zip(&labels) {
        match label {
            Some(label) if last == Some(*label) => {}
            Some(label) => found.shape.push((*label).to_owned()),
            None => found.shape.push(token.word.clone()),
        }
        last = *label;
    }
    found
}

/// `inc-42`, `incident42`, `alert-7`.
fn incident_code(word: &str) -> Option<String> {
    ["incident", "inc", "alert", "approval"]
        .iter()
        .find_map(|prefix| {
            let rest = word.strip_prefix(prefix)?;
            let digits = rest.trim_start_matches(['-', '_', '#', ':']);
            (!digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()))
                .then(|| digits.to_owned())
        })
}

fn severity(sentence: &Sentence, at: usize) -> Option<Severity> {
    let word = sentence.tokens[at].word.as_str();
    let neighbour = |offset: isize| {
        at.checked_add_signed(offset)
            .and_then(|index| sentence.tokens.get(index))
            .map_or("", |t| t.word.as_str())
    };
    let graded = |word: &str| {
        matches!(
            word,
            "severity" | "sev" | "priority" | "prio" | "urgency" | "importance"
        )
    };
    let told = graded(neighbour(1)) || graded(neighbour(-1)) || graded(neighbour(-2));
    let noun = |word: &str| {
        matches!(
            word,
            "incident"
                | "incidents"
                | "alert"
                | "alerts"
                | "issue"
                | "issues"
                | "ones"
                | "and"
                | "or"
                | "only"
                | "level"
                | "outage"
                | "failures"
        )
    };
    Some(match word {
        "p0" | "sev0" | "sev-0" | "sev1" | "sev-1" | "critical" | "crit" | "criticals" => {
            Severity::Critical
        }
        "p1" | "sev2" | "sev-2" => Severity::High,
        "p2" | "sev3" | "sev-3" => Severity::Medium,
        "p3" | "sev4" | "sev-4" => Severity::Low,
        "high" | "major" if told || noun(neighbour(1)) => Severity::High,
        "medium" | "moderate" if told || noun(neighbour(1)) => Severity::Medium,
        "low" | "minor" if told || noun(neighbour(1)) => Severity::Low,
        "0" | "1" | "2" | "3" | "4" if matches!(neighbour(-1), "sev") => match word {
            "0" | "1" => Severity::Critical,
            "2" => Severity::High,
            "3" => Severity::Medium,
            _ => Severity::Low,
        },
        _ => return None,
    })
}

fn numbers(sentence: &Sentence, found: &mut Mentions, labels: &mut [Option<&'static str>]) {
    let tokens = &sentence.tokens;
    let mut at = 0;
    while at < tokens.len() {
        let Some((value, end)) = labels[at]
            .is_none()
            .then(|| time::number(tokens, at))
            .flatten()
        else {
            at += 1;
            continue;
        };
        let before = at
            .checked_sub(1)
            .map_or("", |index| tokens[index].word.as_str());
        let after = tokens.get(end).map_or("", |t| t.word.as_str());
        let digits = tokens[at].word.chars().all(|c| c.is_ascii_digit());
        let whole = whole(value);
        if digits && NUMBERED.contains(&before) {
            found
                .incident
                .get_or_insert_with(|| tokens[at].word.clone());
            labels[at] = Some("_inc_");
        } else if matches!(
            before,
            "last" | "first" | "top" | "latest" | "past" | "only" | "recent" | "newest"
        ) || matches!(
            after,
            "replicas"
                | "replica"
                | "pods"
                | "lines"
                | "line"
                | "incidents"
                | "alerts"
                | "jobs"
                | "workers"
                | "instances"
                | "results"
                | "entries"
                | "approvals"
                | "workloads"
                | "copies"
                | "rows"
                | "messages"
                | "failures"
                | "recent"
                | "latest"
                | "most"
                | "worst"
                | "times"
                | "reports"
                | "similar"
                | "nodes"
                | "oldest"
                | "newest"
        ) {
            if let Some(whole) = whole {
                found.count.get_or_insert(whole);
            }
            labels[at..end].fill(Some("_num_"));
        } else if digits
            && NUMBERED_VERBS.contains(&before)
            && !matches!(after, "gpus" | "gpu" | "%" | "percent")
        {
            found.number.get_or_insert(whole.unwrap_or_default());
            labels[at] = Some("_num_");
        } else if tokens[at].word.starts_with(|c: char| c.is_ascii_digit()) {
            if let Some(whole) = whole {
                found.number.get_or_insert(whole);
            }
            labels[at..end].fill(Some("_num_"));
        }
        at = end;
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be a small whole number first"
)]
fn whole(value: f64) -> Option<u64> {
    (value.fract() == 0.0 && (0.0..1e15).contains(&value)).then_some(value as u64)
}

/// "page alice", "escalate to Bob": a person without a handle.
fn person(sentence: &Sentence, found: &mut Mentions, labels: &mut [Option<&'static str>]) {
    const CALLS: &[&str] = &[
        "page", "call", "wake", "notify", "ping", "alert", "escalate", "summon", "paging", "phone",
        "ring", "buzz", "tell", "contact", "assign", "get",
    ];
    const NOT_PEOPLE: &[&str] = &[
        "the",
        "someone",
        "somebody",
        "anyone",
        "whoever",
        "on-call",
        "primary",
        "secondary",
        "manager",
        "engineer",
        "person",
        "team",
        "up",
        "in",
        "out",
        "them",
        "him",
        "her",
        "me",
        "us",
        "it",
        "this",
        "that",
        "to",
        "about",
        "for",
        "a",
        "an",
        "next",
        "everyone",
        "all",
        "our",
        "your",
        "my",
        "backup",
        "duty",
        "sre",
        "on",
        "who",
        "is",
        "oncall",
        "level",
        "tier",
        "exec",
        "executive",
        "executives",
        "responder",
        "and",
        "now",
        "please",
        "of",
        "with",
        "incident",
        "hold",
        "again",
        "these",
        "those",
        "both",
    ];
    if found.user.is_some() {
        return;
    }
    let tokens = &sentence.tokens;
    let Some(verb) = tokens.iter().position(|t| CALLS.contains(&t.word.as_str())) else {
        return;
    };
    let mut at = verb + 1;
    if tokens[verb].word == "escalate" || tokens[verb].word == "assign" {
        match tokens.iter().skip(verb).position(|t| t.word == "to") {
            Some(to) => at = verb + to + 1,
            None => return,
        }
    }
    while let Some(token) = tokens.get(at) {
        let word = token.word.as_str();
        if matches!(word, "up" | "in" | "out" | "hold" | "of" | "the" | "our") {
            at += 1;
            continue;
        }
        let capital =
            token.raw.starts_with(char::is_uppercase) && !token.raw.chars().all(char::is_uppercase);
        let free = labels[at].is_none()
            || labels[at] == Some("_name_") && !names::is_name_shaped(&token.raw);
        if free
            && !NOT_PEOPLE.contains(&word)
            && word.chars().all(|c| c.is_alphabetic() || c == '.')
        {
            let followed_by_role = tokens.get(at + 1).is_some_and(|t| {
                matches!(
                    t.word.as_str(),
                    "team"
                        | "on-call"
                        | "engineer"
                        | "manager"
                        | "lead"
                        | "people"
                        | "folks"
                        | "responder"
                        | "status"
                        | "logs"
                        | "jobs"
                )
            });
            if (capital || token.kind == Kind::Word && super::is_unusual(word)) && !followed_by_role
            {
                found.names.retain(|name| name.at != at);
                found.user = Some(token.raw.clone());
                labels[at] = Some("_user_");
            }
        }
        return;
    }
}

/// The verb of an action, bare.
fn action(sentence: &Sentence, labels: &[Option<&'static str>]) -> Option<&'static str> {
    let words: Vec<&str> = sentence
        .tokens
        .iter()
        .zip(labels)
        .map(|(t, label)| if label.is_some() { "" } else { t.word.as_str() })
        .collect();
    let pair = |a: &[&str], b: &[&str]| {
        words
            .windows(2)
            .any(|w| a.contains(&w[0]) && b.contains(&w[1]))
    };
    if pair(&["roll", "rolled", "rolling", "roll"], &["back"])
        || words
            .iter()
            .enumerate()
            .any(|(at, w)| *w == "roll" && words[at..].contains(&"back"))
    {
        return Some("rollback");
    }
    let again = words.contains(&"again");
    for word in &words {
        let verb = match *word {
            "restart" | "restarts" | "restarting" | "restarted" | "reboot" | "bounce"
            | "relaunch" | "recycle" | "reset" | "rebooting" => "restart",
            "suspend" | "suspending" | "suspension" | "pause" | "pausing" | "suspended"
            | "hold" => "suspend",
            "resume" | "resuming" | "unpause" | "unsuspend" | "continue" | "resumption" => "resume",
            "delete" | "deleting" | "deletion" | "remove" | "removal" | "kill" | "killing"
            | "terminate" | "nuke" | "destroy" | "tear" | "removing" | "terminating" => "delete",
            "resubmit" | "rerun" | "resubmitting" | "resubmission" | "requeue" | "rerunning" => {
                "resubmit"
            }
            "submit" | "run" if again => "resubmit",
            "start" if again => "restart",
            "scale" | "scaling" | "resize" | "upscale" | "downscale" | "autoscale" => "scale",
            "rollback" | "rollbacks" | "revert" | "undo" | "reverting" => "rollback",
            "cordon" | "cordoning" | "quarantine" => "cordon",
            "uncordon" | "uncordoning" => "uncordon",
            "drain" | "draining" | "evacuate" | "drainage" => "drain",
            _ => continue,
        };
        return Some(verb);
    }
    // "stop the job", "halt training": to stop a job without losing it is to suspend it.
    words
        .iter()
        .any(|w| matches!(*w, "stop" | "halt" | "freeze" | "stopping"))
        .then_some("suspend")
}

fn approve(sentence: &Sentence) -> Option<bool> {
    let no = [
        "deny",
        "reject",
        "decline",
        "disapprove",
        "refuse",
        "veto",
        "denied",
        "rejected",
        "denying",
        "turn",
        "block",
    ];
    let yes = [
        "approve",
        "approved",
        "accept",
        "ok",
        "okay",
        "green-light",
        "greenlight",
        "allow",
        "authorize",
        "authorise",
        "permit",
        "sign",
        "lgtm",
        "approving",
        "confirm",
    ];
    let negated = sentence.tokens.windows(2).any(|w| {
        matches!(w[0].word.as_str(), "not" | "never") && yes.contains(&w[1].word.as_str())
    });
    if negated || sentence.has(&no) {
        Some(false)
    } else if sentence.has(&yes) {
        Some(true)
    } else {
        None
    }
}

/// The slots of `intent`: only what it can use, only what was said.
pub(super) fn fill(intent: Intent, found: &Mentions) -> Slots {
    let mut slots = Slots {
        duration_seconds: found.duration,
        severity: found.severity,
        incident: found.incident.clone(),
        count: found.count,
        since_seconds: found.since,
        user: found.user.clone(),
        ..Slots::default()
    };
    for name in &found.names {
        let slot = match sort_for(intent, name, found) {
            Sort::Job | Sort::Unsaid => &mut slots.job,
            Sort::Project | Sort::Place => &mut slots.project,
            Sort::Namespace => &mut slots.namespace,
            Sort::Service => &mut slots.service,
            Sort::Runbook => &mut slots.runbook,
            Sort::Node => &mut slots.node,
        };
        slot.get_or_insert_with(|| name.value.clone());
    }
    match intent {
        Intent::IncidentAck
        | Intent::IncidentResolve
        | Intent::IncidentShow
        | Intent::IncidentNote
        | Intent::ApprovalDecide
        | Intent::SimilarIncidents
        | Intent::PageSomeone
        | Intent::ActionCancel
        | Intent::SilenceRemove
            if slots.incident.is_none() =>
        {
            slots.incident = found.number.map(|number| number.to_string());
        }
        Intent::ActionRun
        | Intent::ShowLogs
        | Intent::ListIncidents
        | Intent::ListJobs
        | Intent::SettingsChange => {
            slots.count = slots.count.or(found.number);
        }
        _ => {}
    }
    match intent {
        Intent::ActionRun
        | Intent::ActionCancel
        | Intent::ApprovalDecide
        | Intent::SettingsChange => {
            slots.action = found.action.map(str::to_owned);
        }
        _ => {}
    }
    // Starting and silencing look ahead; logs, reports and lists look back.
    match intent {
        Intent::MonitoringStart
        | Intent::SilenceCreate
        | Intent::MonitoringStop
        | Intent::SettingsChange => {
            slots.duration_seconds = slots.duration_seconds.or(slots.since_seconds.take());
        }
        Intent::ShowLogs
        | Intent::Report
        | Intent::ListIncidents
        | Intent::ListJobs
        | Intent::SimilarIncidents
        | Intent::IdleGpus
        | Intent::LearningStatus => {
            slots.since_seconds = slots.since_seconds.or(slots.duration_seconds.take());
        }
        _ => {}
    }
    // "Crashed overnight" is no length of anything that is to be done.
    if !matches!(
        intent,
        Intent::MonitoringStart
            | Intent::MonitoringStop
            | Intent::SilenceCreate
            | Intent::SettingsChange
    ) {
        slots.duration_seconds = None;
    }
    if intent == Intent::ApprovalDecide {
        slots.approve = found.approve;
    }
    if matches!(intent, Intent::ListJobs) {
        slots.failing_only = found.failing;
    }
    if matches!(intent, Intent::Help | Intent::Greeting | Intent::OutOfScope) {
        return Slots::default();
    }
    slots
}

/// What a name stands for, once the intent is known.
fn sort_for(intent: Intent, name: &Name, found: &Mentions) -> Sort {
    let word = name.value.to_lowercase();
    match (name.sort, intent) {
        (Sort::Unsaid, Intent::RunbookRun | Intent::RunbookList) => Sort::Runbook,
        (Sort::Unsaid | Sort::Place, Intent::IncidentCreate | Intent::PageSomeone)
            if !names::looks_like_job(&word) =>
        {
            Sort::Service
        }
        (Sort::Place, _) if word.starts_with("runai-") => Sort::Namespace,
        (
            Sort::Unsaid,
            Intent::ListJobs | Intent::ClusterCapacity | Intent::IdleGpus | Intent::Report,
        ) if !names::looks_like_job(&word) => Sort::Project,
        (Sort::Unsaid, Intent::MonitoringStart | Intent::MonitoringStop)
            if found.plural_jobs || !names::looks_like_job(&word) =>
        {
            Sort::Project
        }
        (
            Sort::Unsaid,
            Intent::ListIncidents
            | Intent::SilenceCreate
            | Intent::SilenceRemove
            | Intent::SilenceList
            | Intent::IncidentShow,
        ) if looks_like_service(&word) => Sort::Service,
        (sort, _) => sort,
    }
}

fn looks_like_service(word: &str) -> bool {
    [
        "-api",
        "-service",
        "-svc",
        "-db",
        "-gateway",
        "-frontend",
        "-backend",
        "-proxy",
        "-cache",
    ]
    .iter()
    .any(|end| word.ends_with(end))
}
