//! What a thread is about, and what a follow-up ("and in ml-team?", "stop it", "why?") means in its light.

use super::names::Sort;
use super::slots::{self, Mentions};
use super::{Intent, Known, Reading, Slots, Understanding};

/// What the earlier messages were about.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    intent: Intent,
    slots: Slots,
    /// The job, incident and person spoken of last, whatever was asked about them.
    focus: Slots,
    /// The last message was about an action that waits for a yes.
    pending: bool,
}

/// Goes through the earlier messages of a thread.
pub(super) fn topic(context: &[String], known: &Known) -> Option<Topic> {
    let mut topic: Option<Topic> = None;
    for message in context {
        let reading = super::read(message, known);
        let understood = follow(&reading, topic.as_ref());
        let old = topic.as_ref();
        let mut focus = Slots {
            job: understood.slots.job.clone(),
            project: understood.slots.project.clone(),
            namespace: understood.slots.namespace.clone(),
            incident: understood.slots.incident.clone(),
            user: understood.slots.user.clone(),
            ..Slots::default()
        };
        if focus.job.is_none() {
            focus.job = reading
                .mentions
                .names
                .iter()
                .find(|name| {
                    matches!(name.sort, Sort::Job | Sort::Unsaid)
                        && !is_taken(&understood.slots, &name.value)
                })
                .map(|name| name.value.clone());
        }
        if focus.incident.is_none() {
            focus.incident.clone_from(&reading.mentions.incident);
        }
        // A new job does not live in the old one's project.
        if let Some(old) = old {
            if focus.job.is_some() && focus.job != old.focus.job {
                focus.incident = focus.incident.or_else(|| old.focus.incident.clone());
            } else {
                focus = focus.or(&old.focus);
            }
        }
        let chatter = matches!(
            understood.intent,
            Intent::Greeting | Intent::OutOfScope | Intent::Help
        ) || understood.is_unsure();
        topic = Some(match old {
            Some(old) if chatter => Topic {
                focus,
                ..old.clone()
            },
            _ => Topic {
                intent: understood.intent,
                pending: understood.needs_confirmation,
                slots: understood.slots,
                focus,
            },
        });
    }
    topic.filter(|topic| !matches!(topic.intent, Intent::Greeting) || !topic.focus.is_empty())
}

fn is_taken(slots: &Slots, name: &str) -> bool {
    [
        &slots.project,
        &slots.namespace,
        &slots.service,
        &slots.runbook,
    ]
    .into_iter()
    .any(|slot| slot.as_deref() == Some(name))
}

/// The message in the light of its thread.
pub(super) fn follow(reading: &Reading, topic: Option<&Topic>) -> Understanding {
    let Some(topic) = topic else {
        return reading.alone.clone();
    };
    let words: Vec<&str> = reading.sentence.words().collect();
    let found = &reading.mentions;
    if let Some(intent) = short_follow_up(&words, found, topic) {
        return build(intent, 0.85, found, topic, false);
    }
    if is_fragment(&words, found)
        && !matches!(
            topic.intent,
            Intent::OutOfScope | Intent::Help | Intent::Greeting
        )
    {
        return build(topic.intent, 0.85, found, topic, true);
    }
    let mut understood = reading.alone.clone();
    let refers = refers_back(&words);
    if understood.is_unsure()
        && refers
        && topic.intent != Intent::OutOfScope
        && understood.intent == Intent::OutOfScope
    {
        understood = build(topic.intent, 0.5, found, topic, true);
    }
    inherit(&mut understood, topic, refers);
    understood
}

/// Fixed small answers whose meaning hangs on the thread.
fn short_follow_up(words: &[&str], found: &Mentions, topic: &Topic) -> Option<Intent> {
    let about_job = topic.focus.job.is_some();
    let text = words
        .iter()
        .filter(|w| {
            !matches!(
                **w,
                "please" | "then" | "now" | "ok" | "okay" | "and" | "but" | "so"
            )
        })
        .copied()
        .collect::<Vec<_>>()
        .join(" ");
    let plain = found.names.is_empty();
    let monitoring = matches!(
        topic.intent,
        Intent::MonitoringStart | Intent::MonitoringStatus | Intent::MonitoringStop
    );
    Some(match text.as_str() {
        "why" | "why is that" | "how come" | "what happened" | "what is wrong" | "why did it"
        | "explain" | "why though" | "for what reason" | "why not" => {
            if topic.intent == Intent::WhyPending || text == "why not" && about_job {
                Intent::WhyPending
            } else if about_job {
                Intent::Troubleshoot
            } else if topic.focus.incident.is_some() {
                Intent::IncidentShow
            } else {
                return None;
            }
        }
        "stop it" | "stop that" | "turn it off" | "switch it off" | "stop" | "end it"
        | "end that" | "pause it" | "pause that" | "disable it" | "you can stop"
            if monitoring =>
        {
            Intent::MonitoringStop
        }
        "start it" | "start it again" | "turn it on" | "turn it back on" | "resume it"
        | "resume" | "start again" | "restart it"
            if monitoring =>
        {
            Intent::MonitoringStart
        }
        "cancel" | "cancel it" | "cancel that" | "abort" | "abort it" | "never mind"
        | "nevermind" | "forget it" | "stop it" | "stop that" | "no stop" | "undo that"
            if matches!(topic.intent, Intent::ActionRun | Intent::RunbookRun)
                || topic.intent == Intent::ApprovalDecide && text.starts_with("cancel") =>
        {
            Intent::ActionCancel
        }
        "unmute it" | "undo it" | "undo that" | "remove it" | "lift it" | "cancel it"
        | "cancel that" | "delete it" | "end it"
            if matches!(topic.intent, Intent::SilenceCreate | Intent::SilenceList) =>
        {
            Intent::SilenceRemove
        }
        "clear it" | "lift it" | "undo it" | "undo that" | "cancel it" | "release it"
        | "reset it"
            if topic.intent == Intent::EmergencyStop =>
        {
            Intent::EmergencyClear
        }
        "yes" | "yep" | "yeah" | "yes do it" | "do it" | "go ahead" | "sure" | "confirm"
        | "confirmed" | "yes go ahead" | "go for it" | "proceed" | "make it so" | "sounds good"
        | "lgtm" | "approve" | "approve it" | "approved" | "yes approve"
            if matches!(topic.intent, Intent::ApprovalsList | Intent::ApprovalDecide) =>
        {
            Intent::ApprovalDecide
        }
        "yes" | "yep" | "yeah" | "yes do it" | "do it" | "go ahead" | "sure" | "confirm"
        | "confirmed" | "yes go ahead" | "go for it" | "proceed" | "make it so" | "sounds good"
            if topic.pending =>
        {
            topic.intent
        }
        "deny it" | "reject it" | "no" | "deny" | "reject" | "decline"
            if matches!(topic.intent, Intent::ApprovalsList | Intent::ApprovalDecide) =>
        {
            Intent::ApprovalDecide
        }
        "page them" | "page him" | "page her" | "call them" | "call him" | "call her"
        | "wake them up" | "wake him up" | "wake her up" | "ping them" | "wake them"
        | "get them" => Intent::PageSomeone,
        "logs" | "the logs" | "show logs" | "its logs" | "show me the logs"
            if about_job && plain =>
        {
            Intent::ShowLogs
        }
        "status"
        | "how is it"
        | "how is it doing"
        | "how is it going"
        | "is it running"
        | "is it done"
        | "is it still running"
        | "any update"
        | "any updates"
        | "any news"
        | "what about it"
            if about_job =>
        {
            Intent::JobStatus
        }
        "again" | "once more" | "retry" | "try again" | "do it again" | "refresh"
        | "repeat that" => topic.intent,
        "more" | "show more" | "details" | "more details" | "tell me more" | "expand"
            if topic.focus.incident.is_some() && !about_job =>
        {
            Intent::IncidentShow
        }
        "more" | "show more" | "more lines" if topic.intent == Intent::ShowLogs => Intent::ShowLogs,
        "how long"
        | "for how long"
        | "until when"
        | "how much longer"
        | "is it still on"
        | "is it still running"
        | "is it on"
        | "is it active"
            if monitoring =>
        {
            Intent::MonitoringStatus
        }
        _ => return None,
    })
}

/// "and in ml-team?", "what about bert-2", "for 2 hours instead", "only critical ones": slots without a verb.
fn is_fragment(words: &[&str], found: &Mentions) -> bool {
    const GLUE: &[&str] = &[
        "and",
        "in",
        "for",
        "what",
        "about",
        "how",
        "instead",
        "make",
        "it",
        "only",
        "just",
        "the",
        "ones",
        "one",
        "same",
        "project",
        "job",
        "namespace",
        "please",
        "also",
        "but",
        "rather",
        "of",
        "or",
        "to",
        "on",
        "from",
        "with",
        "is",
        "no",
        "i",
        "mean",
        "meant",
        "actually",
        "then",
        "ok",
        "okay",
        "now",
        "that",
        "this",
        "do",
        "a",
        "too",
        "as",
        "well",
        "so",
        "team",
        "sorry",
        "wait",
        "not",
        "maybe",
        "limit",
        "since",
        "incident",
        "alert",
        "workload",
        "again",
        "lines",
        "replicas",
        "severity",
        "change",
        "but",
        "longer",
        "jobs",
        "there",
        "by",
        "hmm",
        "yes",
        "those",
        "other",
        "service",
        "runbook",
        "failing",
        "failed",
        "running",
        "pending",
        "thing",
        "should",
        "be",
        "have",
        "extend",
        "shorter",
        "until",
        "stuck",
        "incidents",
        "alerts",
        "workloads",
        "last",
        "first",
        "latest",
        "past",
        "show",
        "me",
        "all",
        "give",
        "list",
        "get",
    ];
    let mentions_something = found.names.iter().any(|name| name.sort != Sort::Node)
        || found.duration.is_some()
        || found.since.is_some()
        || found.severity.is_some()
        || found.incident.is_some()
        || found.count.is_some()
        || found.number.is_some()
        || found.user.is_some()
        || found.failing && words.len() <= 4;
    if !mentions_something || words.len() > 12 {
        return false;
    }
    let bare = found
        .shape
        .iter()
        .filter(|word| !word.starts_with('_'))
        .all(|word| GLUE.contains(&word.as_str()));
    // "status of x" by itself is a request of its own; "jobs in x" too.
    let own_request =
        matches!(words, ["jobs" | "workloads" | "incidents" | "alerts", ..]) && words.len() > 2;
    bare && !own_request
}

fn refers_back(words: &[&str]) -> bool {
    const BACK: &[&str] = &[
        "it", "its", "that", "this", "them", "they", "he", "she", "him", "her", "one", "same",
        "there", "their", "those", "these",
    ];
    words.iter().any(|word| BACK.contains(word))
}

/// Takes what the message leaves unsaid from the thread: the job of "restart it", the number of "resolve it".
fn inherit(understood: &mut Understanding, topic: &Topic, refers: bool) {
    let slots = &mut understood.slots;
    let intent = understood.intent;
    let focus = &topic.focus;
    let about_job = intent.is_about_a_job()
        || refers
            && matches!(
                intent,
                Intent::SilenceCreate
                    | Intent::SilenceRemove
                    | Intent::ActionCancel
                    | Intent::IncidentCreate
                    | Intent::SimilarIncidents
            );
    if about_job && slots.job.is_none() && slots.incident.is_none() {
        let general = matches!(intent, Intent::ActionRun)
            && !refers
            && topic.focus.job.is_some()
            && slots.project.is_some();
        if !general && focus.job.is_some() {
            slots.job.clone_from(&focus.job);
            if slots.project.is_none() && slots.namespace.is_none() {
                slots.project.clone_from(&focus.project);
                slots.namespace.clone_from(&focus.namespace);
            }
        }
    }
    if intent.is_about_an_incident()
        && slots.incident.is_none()
        && !(intent == Intent::SimilarIncidents && slots.job.is_some())
    {
        slots.incident.clone_from(&focus.incident);
    }
    if refers
        && slots.incident.is_none()
        && slots.job.is_none()
        && matches!(
            intent,
            Intent::PageSomeone | Intent::SilenceCreate | Intent::SilenceRemove
        )
    {
        slots.incident.clone_from(&focus.incident);
    }
    if refers
        && slots.project.is_none()
        && matches!(
            intent,
            Intent::ListJobs
                | Intent::ListIncidents
                | Intent::ClusterCapacity
                | Intent::IdleGpus
                | Intent::MonitoringStart
        )
    {
        slots.project.clone_from(&focus.project);
    }
    if slots.job.is_some() || slots.incident.is_some() {
        understood.confidence = understood.confidence.max(if refers { 0.6 } else { 0.0 });
    }
}

/// The intent with the slots of this message over those of the thread.
fn build(
    intent: Intent,
    confidence: f64,
    found: &Mentions,
    topic: &Topic,
    same: bool,
) -> Understanding {
    let mut new = slots::fill(intent, found);
    // "and vision-lab?" names again what was named before.
    let unsaid = found
        .names
        .iter()
        .any(|name| matches!(name.sort, Sort::Unsaid | Sort::Place));
    if unsaid && new.job.is_some() && topic.slots.job.is_none() && topic.slots.project.is_some() {
        new.project = new.project.or(new.job.take());
    } else if unsaid
        && new.project.is_some()
        && topic.slots.project.is_none()
        && topic.slots.namespace.is_some()
    {
        new.namespace = new.namespace.or(new.project.take());
    }
    if new.incident.is_none() && intent.is_about_an_incident() {
        new.incident = found.number.map(|number| number.to_string());
    }
    let new_place = new.project.is_some() || new.namespace.is_some();
    let new_job = new.job.is_some() && new.job != topic.slots.job;
    let mut earlier = if same || intent == topic.intent {
        topic.slots.clone()
    } else {
        Slots::default()
    };
    if new_place || new_job {
        earlier.project = None;
        earlier.namespace = None;
    }
    if new_job {
        earlier.incident = None;
    }
    if intent == Intent::ListJobs
        && found
            .shape
            .iter()
            .any(|word| matches!(word.as_str(), "running" | "pending" | "all"))
    {
        earlier.failing_only = false;
    }
    let mut understood = Understanding::new(intent, confidence, new.or(&earlier));
    if matches!(intent, Intent::MonitoringStop) {
        understood.slots = Slots::default();
    }
    inherit(&mut understood, topic, true);
    if intent == Intent::PageSomeone {
        understood.slots.user = understood.slots.user.or_else(|| topic.focus.user.clone());
    }
    understood
}
