//! Help, greetings, and saying plainly what can't be done.

use serde_json::json;

use super::reply::{answer, card, header, say, small};
use super::understand::Intent;
use super::{Answer, Outcome};
use crate::chat::card::{Block, Tone};

/// What people can say, by topic.
const TOPICS: &[(&str, &str, &[&str])] = &[
    (
        "monitoring",
        "Start, stop, narrow and limit monitoring, and see how it goes.",
        &[
            "start monitoring all jobs",
            "monitor jobs in project ml-team for 2 hours",
            "stop monitoring",
            "what is the monitoring status?",
        ],
    ),
    (
        "jobs",
        "See jobs, find out why one fails or waits, read its logs.",
        &[
            "list failing jobs in ml-team",
            "status of train-7",
            "why did train-7 fail?",
            "why is train-7 pending?",
            "show the logs of train-7",
        ],
    ),
    (
        "alerts",
        "See, acknowledge, silence and resolve alerts.",
        &[
            "list alerts",
            "show #12",
            "ack #12",
            "silence #12 for 4 hours",
            "silence everything in ml-team for 2 hours",
            "list silences",
            "unsilence S3",
            "resolve #12",
        ],
    ),
    (
        "approvals",
        "See which actions wait for a yes, and decide. Every action passes limits, approval and audit.",
        &["what needs my approval?", "approve #3", "deny #3"],
    ),
    (
        "emergency",
        "Stop all actions at once or one kind of them, clear what waits, and allow them again.",
        &[
            "emergency stop",
            "clear the emergency stop",
            "disable delete_pod",
            "enable delete_pod",
            "clear the queue",
        ],
    ),
];

/// All topics, or one in detail.
pub(super) fn help(topic: Option<&str>) -> Answer {
    let wanted = topic
        .map(|topic| topic.trim().to_lowercase())
        .filter(|topic| !topic.is_empty());
    let chosen: Vec<_> = TOPICS
        .iter()
        .filter(|(name, ..)| {
            wanted
                .as_ref()
                .is_none_or(|wanted| name.starts_with(wanted.trim_end_matches('s')))
        })
        .collect();
    if let (Some(wanted), true) = (&wanted, chosen.is_empty()) {
        let mut answer = help(None);
        answer.card.blocks.insert(
            0,
            say(&format!(
                "There is no help about “{wanted}”; this is all I can do."
            )),
        );
        return answer;
    }
    let text = "I watch GPU jobs, find out why they fail, and fix them if you allow it.";
    let mut blocks = vec![header("What I can do"), say(text)];
    for (name, about, examples) in &chosen {
        let mut title = (*name).to_owned();
        title[..1].make_ascii_uppercase();
        let examples = examples
            .iter()
            .map(|example| format!("`{example}`"))
            .collect::<Vec<_>>()
            .join(", ");
        blocks.push(say(&format!("{title}: {about} {examples}")));
    }
    blocks.push(small("Plain sentences do, also in a thread: “and in ml-team?”, “show its logs”. Nothing is changed before you confirm."));
    let mut answer = answer(
        card(
            Tone::Info,
            "What I can do: monitoring, jobs, alerts, approvals, emergency stop",
            blocks,
        ),
        json!({ "topics": chosen.iter().map(|(name, about, examples)| json!({
            "topic": name, "about": about, "examples": examples,
        })).collect::<Vec<_>>() }),
    );
    answer.private = true;
    answer
}

pub(super) fn greeting() -> Answer {
    let text = "Hello! I am on call. Ask me `what is failing?`, or say `help`.";
    answer(
        card(Tone::Info, "Hello! I am on call.", vec![say(text)]),
        json!({}),
    )
}

pub(super) fn out_of_scope() -> Answer {
    let text = "That is outside what I do: I look after GPU and Kubernetes jobs.";
    let mut answer = answer(
        card(
            Tone::Info,
            text,
            vec![say(text), small("Say `help` to see what I can do.")],
        ),
        json!({ "error": text }),
    );
    answer.outcome = Outcome::Invalid;
    answer.private = true;
    answer
}

/// Understood, but nothing here can do it yet.
pub(super) fn not_yet(intent: Intent) -> Answer {
    let text = format!(
        "I understand that you want me to {}, but I can't do that yet.",
        intent.describe()
    );
    let way_out = "What I can do: monitoring, job status, diagnosis, logs, alerts, approvals, emergency stop. Say `help` for examples.";
    let mut answer = answer(
        card(Tone::Info, &text, vec![say(&text), small(way_out)]),
        json!({ "error": text, "hint": way_out }),
    );
    answer.outcome = Outcome::Invalid;
    answer.private = true;
    answer
}

/// The guess is too weak to act on: offer what it could have been.
pub(super) fn ask_back(best: Intent, others: &[Intent]) -> Answer {
    let mut options: Vec<&str> = Vec::new();
    for intent in std::iter::once(&best).chain(others) {
        if !matches!(intent, Intent::OutOfScope | Intent::Greeting | Intent::Help)
            && options.len() < 3
        {
            options.push(intent.describe());
        }
    }
    let text = "I am not sure what you mean.";
    let options = options.join("\n• ");
    let blocks: Vec<Block> = vec![
        say(&format!("{text} Shall I:\n• {options}")),
        small("Say it in other words, or `help` for examples."),
    ];
    let mut answer = answer(card(Tone::Info, text, blocks), json!({ "error": text }));
    answer.outcome = Outcome::Invalid;
    answer.private = true;
    answer
}
