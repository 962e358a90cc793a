//! From a sentence to what it wants: offline, deterministic, pure.
//!
//! A message is cut into words ([`words`]), its names, times and numbers are taken out ([`slots`]), a small linear
//! model ([`model`]) and hard patterns ([`rules`]) agree on an intent, and the thread ([`thread`]) fills in what a
//! follow-up leaves unsaid. Text can ask for anything; whether it happens is decided elsewhere.

mod intent;
mod model;
mod names;
mod rules;
mod slots;
#[cfg(test)]
mod tests;
mod thread;
mod time;
mod words;

use std::collections::HashSet;
use std::sync::LazyLock;

use serde::Serialize;

pub use intent::{Intent, Slots};
use model::{Model, Phrases, class};
use slots::Mentions;
use words::{Kind, Sentence};

/// Below this the bot asks back instead of doing what it guessed.
pub const SURE: f64 = 0.55;

/// A request says what it wants early; what follows in a longer message is a pasted log.
const LONGEST: usize = 2_000;
const MOST_WORDS: usize = 80;

/// Names that exist, so that they are recognised whatever they look like.
#[derive(Clone, Debug, Default)]
pub struct Known {
    jobs: HashSet<String>,
    projects: HashSet<String>,
}

impl Known {
    /// Names of jobs and projects, as they are spelt.
    pub fn new(
        jobs: impl IntoIterator<Item = String>,
        projects: impl IntoIterator<Item = String>,
    ) -> Self {
        // A job that somebody named "status" must not swallow the word.
        let usable = |name: &String| !is_ordinary(&name.to_lowercase());
        Self {
            jobs: jobs.into_iter().filter(usable).collect(),
            projects: projects.into_iter().filter(usable).collect(),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.has_job(name) || self.has_project(name)
    }

    fn has_job(&self, name: &str) -> bool {
        self.jobs.contains(name)
    }

    fn has_project(&self, name: &str) -> bool {
        self.projects.contains(name)
    }
}

/// What a message was understood to want.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Understanding {
    pub intent: Intent,
    /// 0..=1.
    pub confidence: f64,
    pub slots: Slots,
    /// Carrying it out must wait for a person's yes.
    pub needs_confirmation: bool,
    /// The next best guesses, best first, for asking back.
    #[serde(skip)]
    pub alternatives: Vec<Intent>,
    /// The command was negated ("don't restart it"): nothing is to be done.
    #[serde(skip)]
    pub negated: bool,
}

impl Understanding {
    /// What was read word for word, without doubt and without slots.
    pub(super) fn of(intent: Intent) -> Self {
        Self::new(intent, 1.0, Slots::default())
    }

    fn new(intent: Intent, confidence: f64, slots: Slots) -> Self {
        Self {
            intent,
            confidence,
            slots,
            needs_confirmation: intent.needs_confirmation(),
            alternatives: Vec::new(),
            negated: false,
        }
    }

    /// Whether to ask back rather than go on.
    #[must_use]
    pub fn is_unsure(&self) -> bool {
        self.confidence < SURE
    }
}

struct Language {
    model: Model,
    /// Words of this desk's ordinary language: not names, and spelt right.
    ordinary: HashSet<String>,
}

/// The words of the ordinary language, and the sentences to train from.
type Ordinary = (HashSet<String>, Vec<(String, Intent)>);

static ORDINARY: LazyLock<Ordinary> = LazyLock::new(|| {
    let phrases = Phrases::embedded();
    let mut words = phrases.words;
    words.extend(
        include_str!("ordinary.txt")
            .split_whitespace()
            .map(str::to_owned),
    );
    (words, phrases.sentences)
});

static LANGUAGE: LazyLock<Language> = LazyLock::new(|| {
    let (ordinary, sentences) = &*ORDINARY;
    let examples: Vec<_> = sentences
        .iter()
        .map(|(sentence, intent)| {
            let read = Sentence::read(sentence, |word| ordinary.contains(word));
            (
                slots::mentions(&read, &Known::default(), |word| ordinary.contains(word)).shape,
                *intent,
            )
        })
        .collect();
    Language {
        model: Model::train(&examples),
        ordinary: ordinary.clone(),
    }
});

fn is_ordinary(word: &str) -> bool {
    let words = &ORDINARY.0;
    words.contains(word)
        || word
            .strip_suffix('s')
            .is_some_and(|stem| words.contains(stem))
        || word
            .strip_suffix("ed")
            .is_some_and(|stem| words.contains(stem))
        || word
            .strip_suffix("ing")
            .is_some_and(|stem| words.contains(stem))
        || word
            .strip_suffix("ly")
            .is_some_and(|stem| words.contains(stem))
}

fn is_unusual(word: &str) -> bool {
    !is_ordinary(word)
}

/// Understands one message in the light of the earlier ones of its thread, oldest first.
///
/// The first call trains the model (tens of milliseconds in a release build); see [`prepare`].
#[must_use]
pub fn understand(text: &str, context: &[String], known: &Known) -> Understanding {
    let topic = thread::topic(context, known);
    thread::follow(&read(text, known), topic.as_ref())
}

/// Trains the model, so that the first message need not wait for it.
pub fn prepare() {
    LazyLock::force(&LANGUAGE);
}

/// One message by itself, with what following up needs to know about it.
struct Reading {
    sentence: Sentence,
    mentions: Mentions,
    /// Without any thread.
    alone: Understanding,
}

fn read(text: &str, known: &Known) -> Reading {
    let language = &*LANGUAGE;
    let end = text
        .char_indices()
        .nth(LONGEST)
        .map_or(text.len(), |(at, _)| at);
    let mut sentence = Sentence::read(&text[..end], |word| language.ordinary.contains(word));
    sentence.tokens.truncate(MOST_WORDS);
    address(&mut sentence);
    let mentions = slots::mentions(&sentence, known, is_ordinary);
    let alone = alone(&sentence, &mentions, language);
    Reading {
        sentence,
        mentions,
        alone,
    }
}

/// Drops whom the message is addressed to ("@nightbell", "hey nightbell,", "/nightbell").
fn address(sentence: &mut Sentence) {
    let tokens = &mut sentence.tokens;
    let starts_with_bot = tokens.first().is_some_and(|t| {
        t.kind == Kind::User && t.raw.starts_with(['U', 'W', 'B']) && t.raw.len() > 6
    });
    if starts_with_bot && tokens.len() > 1 {
        tokens.remove(0);
    }
    let named = |word: &str| matches!(word, "nightbell" | "/nightbell");
    if tokens.len() > 1
        && (named(&tokens[0].word)
            || matches!(tokens[0].word.as_str(), "hey" | "ok" | "okay")
                && named(&tokens[1].word)
                && tokens.len() > 2)
    {
        let drop = if named(&tokens[0].word) { 1 } else { 2 };
        tokens.drain(..drop);
    }
    // A salutation before a request is no greeting.
    while tokens.len() > 2
        && matches!(
            tokens[0].word.as_str(),
            "hi" | "hello" | "hey" | "yo" | "morning" | "hiya"
        )
        && (tokens[0].pause || tokens.len() > 3)
    {
        tokens.remove(0);
        if tokens.len() > 1
            && matches!(
                tokens[0].word.as_str(),
                "there" | "nightbell" | "team" | "bot" | "all" | "folks" | "everyone"
            )
        {
            tokens.remove(0);
        }
    }
}

/// Politeness that would hide how a sentence begins.
fn bare(shape: &[String]) -> Vec<String> {
    const DROP: &[&str] = &[
        "please",
        "kindly",
        "just",
        "pls",
        "nightbell",
        "bot",
        "asap",
        "quickly",
    ];
    const OPENINGS: &[&[&str]] = &[
        &["can", "you"],
        &["could", "you"],
        &["would", "you"],
        &["will", "you"],
        &["i", "want", "you", "to"],
        &["i", "would", "like", "you", "to"],
        &["i", "would", "like", "to"],
        &["i", "need", "you", "to"],
        &["i", "want", "to"],
        &["we", "need", "to"],
        &["go", "ahead", "and"],
        &["let", "us"],
        &["you", "should"],
        &["i", "need", "to"],
        &["we", "should"],
        &["we", "want", "to"],
        &["may", "i"],
        &["can", "we"],
        &["can", "i"],
        &["could", "we"],
        &["could", "i"],
        &["would", "you", "mind"],
        &["be", "so", "kind", "to"],
        &["make", "sure", "to"],
        &["is", "it", "possible", "to"],
        &["i", "think", "we", "should"],
        &["i", "think", "you", "should"],
        &["do", "me", "a", "favor", "and"],
        &["try", "to"],
        &["you", "can"],
        &["yes"],
        &["ok"],
        &["okay"],
        &["so"],
        &["well"],
        &["hmm"],
        &["alright"],
        &["great"],
        &["thanks"],
        &["and"],
        &["then"],
        &["now"],
        &["quick"],
        &["also"],
        &["hey"],
        &["yo"],
    ];
    let mut words: Vec<String> = shape
        .iter()
        .filter(|word| !DROP.contains(&word.as_str()))
        .cloned()
        .collect();
    while let Some(opening) = OPENINGS.iter().find(|opening| {
        words.len() > opening.len() && words.iter().zip(**opening).all(|(a, b)| a == b)
    }) {
        words.drain(..opening.len());
    }
    words
}

fn alone(sentence: &Sentence, mentions: &Mentions, language: &Language) -> Understanding {
    let whole = mentions.shape.join(" ");
    if sentence.tokens.is_empty() {
        return Understanding::new(Intent::OutOfScope, 0.3, Slots::default());
    }
    let words = bare(&command_part(&mentions.shape, sentence));
    let shape = words.join(" ");
    if rules::is_manipulation(&whole) {
        return Understanding::new(Intent::OutOfScope, 0.97, Slots::default());
    }
    let mut scores = language.model.predict(&words);
    let guess = scores;
    for score in &mut scores {
        *score = score.max(1e-4).ln();
    }
    rules::add(&shape, &mut scores);
    if rules::is_foreign(&whole) {
        scores[class(Intent::OutOfScope)] += 7.0;
    }
    let known_words = words
        .iter()
        .filter(|word| word.starts_with('_') || language.ordinary.contains(word.as_str()))
        .count();
    if known_words * 2 < words.len() {
        // Mostly words that were never heard at this desk.
        scores[class(Intent::OutOfScope)] += 3.0;
    }
    if rules::is_of_no_trade(&words) {
        scores[class(Intent::OutOfScope)] += 2.5;
    }
    if sentence.question && guess[class(Intent::Help)] > 0.1 {
        scores[class(Intent::Help)] += 0.5;
    }
    model::softmax(&mut scores);

    let mut ranked: Vec<usize> = (0..scores.len()).collect();
    ranked.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let mut intent = Intent::ALL[ranked[0]];
    let mut confidence = f64::from(scores[ranked[0]]);
    let alternatives: Vec<Intent> = ranked[1..4].iter().map(|&at| Intent::ALL[at]).collect();

    let has_target = !mentions.names.is_empty()
        || mentions.incident.is_some()
        || mentions.user.is_some()
        || sentence.has(&["it", "this", "that", "them"]);
    if intent.needs_confirmation()
        && !has_target
        && rules::asks_about_ability(&whole)
        && is_general(sentence)
    {
        (intent, confidence) = (Intent::Help, 0.85);
    }
    let negated = intent != Intent::ApprovalDecide && rules::negated(&whole);
    let mut understanding = Understanding::new(intent, confidence, slots::fill(intent, mentions));
    understanding.alternatives = alternatives;
    if negated {
        apply_negation(&mut understanding, &whole, mentions);
    }
    understanding
}

/// An ability is asked about in the plural or with "a": "can you restart jobs", "can you run a runbook".
fn is_general(sentence: &Sentence) -> bool {
    let definite = sentence.has(&[
        "the",
        "my",
        "all",
        "our",
        "every",
        "last",
        "emergency",
        "everything",
        "now",
    ]);
    !definite
        && (sentence.has(&[
            "jobs",
            "pods",
            "nodes",
            "workloads",
            "deployments",
            "alerts",
            "people",
            "things",
            "incidents",
            "runbooks",
            "actions",
            "a",
            "an",
            "someone",
            "stuff",
            "anything",
            "able",
            "automatically",
            "approvals",
            "requests",
        ]) || sentence.tokens.len() <= 3)
}

/// The words before the colon of "add a note to #4: …": what follows is somebody's text.
fn command_part(shape: &[String], sentence: &Sentence) -> Vec<String> {
    let noted = sentence.has(&[
        "note", "comment", "remark", "annotate", "append", "timeline",
    ]);
    if !noted || shape.len() != sentence.tokens.len() {
        return shape.to_vec();
    }
    let head = sentence
        .tokens
        .iter()
        .position(|token| token.pause)
        .map_or(shape.len(), |at| at + 1);
    let head_says_it = sentence.tokens[..head].iter().any(|t| {
        matches!(
            t.word.as_str(),
            "note" | "comment" | "remark" | "annotate" | "append" | "timeline"
        )
    });
    if head_says_it && head >= 2 {
        shape[..head].to_vec()
    } else {
        shape.to_vec()
    }
}

fn apply_negation(understanding: &mut Understanding, shape: &str, mentions: &Mentions) {
    understanding.negated = true;
    let intent = match understanding.intent {
        // "don't restart it": whatever was about to do that shall not.
        Intent::ActionRun | Intent::ActionCancel | Intent::RunbookRun => Intent::ActionCancel,
        // "don't stop monitoring": it goes on.
        Intent::MonitoringStop
            if shape.contains("stop")
                || shape.contains("end")
                || shape.contains("pause")
                || shape.contains("off")
                || shape.contains("disable") =>
        {
            Intent::MonitoringStatus
        }
        Intent::MonitoringStop
        | Intent::EmergencyStop
        | Intent::SilenceCreate
        | Intent::MonitoringStart
        | Intent::MonitoringStatus
        | Intent::JobStatus
        | Intent::ListJobs
        | Intent::Troubleshoot
        | Intent::ShowLogs
        | Intent::WhyPending
        | Intent::ListIncidents
        | Intent::IncidentShow
        | Intent::IncidentNote
        | Intent::SilenceList
        | Intent::OncallWho
        | Intent::ApprovalsList
        | Intent::ApprovalDecide
        | Intent::RunbookList
        | Intent::Report
        | Intent::SimilarIncidents
        | Intent::ClusterCapacity
        | Intent::IdleGpus
        | Intent::LearningStatus
        | Intent::Help
        | Intent::Greeting
        | Intent::OutOfScope => {
            understanding.negated = false;
            return;
        }
        Intent::IncidentAck | Intent::IncidentResolve => Intent::IncidentShow,
        Intent::SilenceRemove => Intent::SilenceList,
        Intent::IncidentCreate
        | Intent::PageSomeone
        | Intent::SettingsChange
        | Intent::EmergencyClear => Intent::Help,
    };
    understanding.intent = intent;
    understanding.needs_confirmation = intent.needs_confirmation();
    understanding.slots = slots::fill(intent, mentions);
    understanding.confidence = understanding.confidence.min(0.7);
}
