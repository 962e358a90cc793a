//! The classifier: a linear model over words, word pairs and letter groups, trained at first use from the phrase
//! grammar in `phrases.yaml`. Deterministic: the same grammar gives the same model on every machine.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;

use super::Intent;

const CLASSES: usize = Intent::ALL.len();
/// Hash buckets for features; sixteen times the number of distinct features seen, so collisions are rare.
const BUCKETS: usize = 1 << 15;
/// Sentences drawn per intent. More adds time to the first question and no accuracy.
const SENTENCES_PER_INTENT: usize = 170;
const EPOCHS: usize = 7;
const LEARNING_RATE: f32 = 1.2;

#[derive(Deserialize)]
struct Grammar {
    macros: BTreeMap<String, String>,
    intents: BTreeMap<Intent, Vec<String>>,
}

/// Sentences with their intent, drawn from the grammar, and the words they are made of.
pub(super) struct Phrases {
    pub(super) sentences: Vec<(String, Intent)>,
    pub(super) words: HashSet<String>,
}

impl Phrases {
    /// Draws the sentences. The grammar is part of the program, so a mistake in it is a fault of the build.
    pub(super) fn embedded() -> Self {
        let grammar: Grammar = serde_saphyr::from_str(include_str!("phrases.yaml"))
            .expect("phrases.yaml is read by a test");
        let mut draw = Draw(0x9e37_79b9_7f4a_7c15);
        let mut sentences = Vec::new();
        let mut words = HashSet::new();
        for (intent, templates) in &grammar.intents {
            let each = SENTENCES_PER_INTENT.div_ceil(templates.len());
            for template in templates {
                let template = replace_macros(template, &grammar.macros);
                ordinary_words(&template, &mut words);
                for _ in 0..each {
                    let mut sentence = String::new();
                    draw.expand(&template, &mut sentence);
                    sentences.push((sentence, *intent));
                }
            }
        }
        Self { sentences, words }
    }
}

fn replace_macros(template: &str, macros: &BTreeMap<String, String>) -> String {
    let mut text = template.to_owned();
    // Longest name first, so that `$incidents` is not read as `$incident` and an s. Macros may use macros.
    let mut names: Vec<&String> = macros.keys().collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    for _ in 0..2 {
        for name in &names {
            text = text.replace(&format!("${name}"), &macros[*name]);
        }
    }
    text
}

/// The words of a template, example names left out.
fn ordinary_words(template: &str, words: &mut HashSet<String>) {
    let mut plain = String::with_capacity(template.len());
    let mut inside = false;
    for c in template.chars() {
        match c {
            '<' => inside = true,
            '>' => inside = false,
            _ if inside => {}
            '{' | '}' | '|' | ',' | '!' | '?' | '\'' => plain.push(' '),
            c => plain.push(c),
        }
    }
    words.extend(
        plain
            .split_whitespace()
            .map(|word| word.trim_end_matches([':', '.']).to_lowercase()),
    );
}

/// A small deterministic generator (xorshift), so that training needs no randomness from outside.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound.max(1)
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    /// Appends one reading of the template.
    fn expand(&mut self, template: &str, out: &mut String) {
        let mut rest = template;
        while let Some(at) = rest.find(['{', '<']) {
            out.push_str(&rest[..at]);
            let closed = if rest[at..].starts_with('{') {
                let close = closing(&rest[at..]);
                let inside = &rest[at + 1..at + close];
                let choices = alternatives(inside);
                let choice = self.one(&choices);
                self.expand(choice, out);
                at + close + 1
            } else {
                let close = rest[at..].find('>').map_or(rest.len(), |close| at + close);
                out.push_str(self.example(&rest[at + 1..close]));
                close + 1
            };
            rest = rest.get(closed..).unwrap_or_default();
        }
        out.push_str(rest);
    }

    fn example(&mut self, slot: &str) -> &'static str {
        self.one(match slot {
            "job" => &[
                "train-llama-70b",
                "bert-ft",
                "resnet50-run3",
                "`trainer`",
                "ddp_train_7",
                "gpt-neo-eval",
            ],
            "project" => &["ml-team", "vision-lab", "nlp-research", "speech-prod"],
            "namespace" => &["runai-ml-team", "team-a", "ml-prod"],
            "service" => &["checkout-api", "auth-service", "feature-store"],
            "runbook" => &["gpu-xid-quarantine", "high-memory", "restart-pods"],
            "node" => &["gpu-node-17", "node-3", "dgx-04"],
            "user" => &["<@U024BE7LH>", "@mira", "@jonas"],
            "channel" => &["<#C0123|ops>", "#ml-ops"],
            "inc" => &["INC-42", "#17"],
            "n" => &["42", "7", "318"],
            "num" => &["3", "5", "20", "100"],
            "dur" => &["30 minutes", "2 hours", "an hour", "1h30", "a day"],
            "since" => &[
                "the last hour",
                "the past 24 hours",
                "the last 7 days",
                "last week",
            ],
            "sev" => &["critical", "P1", "P0", "high severity"],
            "text" => &["replaced the nic", "vendor informed"],
            other => panic!("phrases.yaml names an unknown slot <{other}>"),
        })
    }
}

/// Index of the brace that closes the one at the start.
fn closing(text: &str) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    panic!("phrases.yaml has an unclosed brace in {text}")
}

fn alternatives(inside: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut from) = (0, 0);
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            '|' if depth == 0 => {
                parts.push(&inside[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inside[from..]);
    parts
}

/// The trained model: one row of class weights per feature bucket.
pub(super) struct Model {
    weights: Vec<[f32; CLASSES]>,
}

/// Probabilities in the order of [`Intent::ALL`].
pub(super) type Scores = [f32; CLASSES];

impl Model {
    /// Trains on sentences given as their shapes (see `slots::mentions`).
    pub(super) fn train(examples: &[(Vec<String>, Intent)]) -> Self {
        let mut model = Self {
            weights: vec![[0.0; CLASSES]; BUCKETS],
        };
        let mut draw = Draw(0x2545_f491_4f6c_dd1d);
        let prepared: Vec<(Vec<usize>, usize)> = examples
            .iter()
            .map(|(shape, intent)| (features(shape), class(*intent)))
            .collect();
        let mut order: Vec<usize> = (0..prepared.len()).collect();
        for epoch in 0..EPOCHS {
            for at in (1..order.len()).rev() {
                order.swap(at, draw.below(at + 1));
            }
            let rate = LEARNING_RATE / (1.0 + 0.5 * epoch as f32);
            for &at in &order {
                let (features, target) = &prepared[at];
                model.step(features, *target, rate);
            }
        }
        model
    }

    fn step(&mut self, features: &[usize], target: usize, rate: f32) {
        let mut scores = self.predict_features(features);
        scores[target] -= 1.0;
        let rate = rate * unit(features);
        for &feature in features {
            for (weight, error) in self.weights[feature].iter_mut().zip(&scores) {
                *weight -= rate * error;
            }
        }
    }

    /// How likely each intent is.
    pub(super) fn predict(&self, shape: &[String]) -> Scores {
        self.predict_features(&features(shape))
    }

    fn predict_features(&self, features: &[usize]) -> Scores {
        let mut scores = [0.0; CLASSES];
        for &feature in features {
            for (score, weight) in scores.iter_mut().zip(&self.weights[feature]) {
                *score += weight;
            }
        }
        let scale = unit(features);
        for score in &mut scores {
            *score *= scale;
        }
        softmax(&mut scores);
        scores
    }
}

/// Feature values are one over the square root of their number, so that long sentences do not shout.
fn unit(features: &[usize]) -> f32 {
    1.0 / (features.len().max(1) as f32).sqrt()
}

/// Turns scores into probabilities.
pub(super) fn softmax(scores: &mut Scores) {
    let max = scores.iter().copied().fold(f32::MIN, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - max).exp();
        sum += *score;
    }
    for score in scores.iter_mut() {
        *score /= sum;
    }
}

/// The class number of an intent.
pub(super) fn class(intent: Intent) -> usize {
    Intent::ALL
        .iter()
        .position(|other| *other == intent)
        .expect("ALL lists every intent")
}

/// Words that carry no intent of their own.
const FILLERS: &[&str] = &[
    "please",
    "the",
    "a",
    "an",
    "just",
    "kindly",
    "nightbell",
    "hey",
    "really",
    "actually",
    "then",
    "now",
    "also",
    "ok",
    "okay",
    "so",
    "well",
    "some",
    "quickly",
    "quick",
    "asap",
];

/// One concept, one word: what the classifier need not tell apart.
pub(super) fn concept(word: &str) -> Option<&'static str> {
    Some(match word {
        "jobs" | "workloads" | "trainings" | "runs" | "experiments" => "=jobs",
        "job" | "workload" | "training" | "run" | "experiment" | "deployment" | "pod" => "=job",
        "incident" | "alert" | "outage" | "ticket" | "issue" => "=incident",
        "incidents" | "alerts" | "outages" | "problems" | "issues" | "fires" => "=incidents",
        "show" | "display" | "list" | "print" | "view" | "see" | "fetch" | "get" | "give"
        | "pull" | "enumerate" => "=show",
        "stop" | "halt" | "end" | "quit" | "cease" | "disable" | "pause" | "freeze"
        | "deactivate" => "=stop",
        "start" | "begin" | "launch" | "activate" | "enable" | "initiate" | "commence" => "=start",
        "monitor" | "monitoring" | "watch" | "watching" | "observe" | "observing" | "tracking"
        | "track" | "surveillance" | "supervise" => "=watch",
        "silence" | "mute" | "snooze" | "suppress" | "hush" | "quiet" | "shush" | "silenced"
        | "muted" | "snoozed" => "=silence",
        "silences" | "mutes" | "snoozes" => "=silences",
        "unsilence" | "unmute" | "unsnooze" => "=unsilence",
        "fail" | "failed" | "failing" | "crash" | "crashed" | "crashing" | "die" | "died"
        | "dying" | "broke" | "broken" | "fails" | "crashes" | "dies" | "killed" | "dead"
        | "exploded" => "=fail",
        "restart" | "suspend" | "resume" | "delete" | "kill" | "resubmit" | "rerun" | "scale"
        | "reboot" | "bounce" | "terminate" | "unpause" | "cordon" | "drain" | "uncordon"
        | "rollback" | "requeue" => "=act",
        "pending" | "queued" | "waiting" | "unschedulable" | "scheduled" | "queue" => "=wait",
        "gpu" | "gpus" | "accelerators" | "h100s" | "a100s" | "cards" => "=gpu",
        "idle" | "unused" | "wasted" | "wasting" | "idling" | "waste" | "underutilized"
        | "hoarding" => "=idle",
        "free" | "available" | "left" | "capacity" | "availability" | "spare" => "=free",
        "log" | "logs" | "output" | "stdout" | "stderr" => "=log",
        "approve" | "accept" | "authorize" | "approved" | "green-light" => "=approve",
        "deny" | "reject" | "decline" | "veto" | "refuse" | "denied" | "rejected" => "=deny",
        "approval" | "approvals" | "sign-off" | "permission" => "=approval",
        "ack" | "acknowledge" | "acked" | "acknowledged" => "=ack",
        "resolve" | "resolved" | "close" | "closed" | "fixed" | "solved" => "=resolve",
        "troubleshoot" | "diagnose" | "debug" | "investigate" | "analyze" | "analyse"
        | "inspect" | "diagnosis" | "diagnostics" => "=diagnose",
        "note" | "comment" | "remark" => "=note",
        "page" | "call" | "wake" | "summon" | "ping" | "escalate" | "phone" => "=page",
        "runbook" | "runbooks" | "playbook" | "playbooks" => "=runbook",
        "actions" | "automation" | "remediation" | "remediations" | "automations"
        | "interventions" => "=actions",
        "similar" | "like" | "resemble" | "comparable" | "related" | "before" => "=similar",
        "status" | "state" | "condition" | "health" | "progress" => "=status",
        "report" | "digest" | "summary" | "recap" | "overview" | "statistics" | "stats" => {
            "=report"
        }
        "set" | "change" | "raise" | "lower" | "increase" | "decrease" | "adjust" | "configure"
        | "update" => "=set",
        "threshold" | "interval" | "limit" | "cooldown" | "setting" | "settings" => "=setting",
        "learn" | "learned" | "learning" | "model" | "accuracy" | "trained" | "training-data"
        | "ai" => "=learn",
        _ => return None,
    })
}

fn features(shape: &[String]) -> Vec<usize> {
    let words: Vec<&str> = shape
        .iter()
        .map(String::as_str)
        .filter(|word| !FILLERS.contains(word))
        .collect();
    let concepts: Vec<&str> = words
        .iter()
        .map(|word| concept(word).unwrap_or(word))
        .collect();
    let mut found = Vec::with_capacity(words.len() * 12);
    let mut add = |parts: &[&str]| found.push(bucket(parts));
    add(&["bias"]);
    for (at, (word, concept)) in words.iter().zip(&concepts).enumerate() {
        add(&["w", word]);
        if word != concept {
            add(&["c", concept]);
        }
        if at == 0 {
            add(&["first", concept]);
        }
        let next = concepts.get(at + 1).copied().unwrap_or("$");
        add(&["pair", concept, next]);
        if let Some(after) = concepts.get(at + 2) {
            add(&["skip", concept, after]);
        }
        if !word.starts_with('_') && word.len() > 4 {
            let letters: Vec<char> = word.chars().collect();
            for group in letters.windows(4) {
                let group: String = group.iter().collect();
                add(&["l", &group]);
            }
        }
    }
    // Pairs of concepts anywhere: order of words varies more than their company.
    for (at, a) in concepts.iter().enumerate() {
        for b in &concepts[at + 1..] {
            if a.starts_with(['=', '_']) && b.starts_with(['=', '_']) {
                add(&["both", a, b]);
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// FNV-1a: stable over versions and machines.
fn bucket(parts: &[&str]) -> usize {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in parts.iter().flat_map(|part| part.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    usize::try_from(hash ^ (hash >> 29)).unwrap_or(0) % BUCKETS
}
