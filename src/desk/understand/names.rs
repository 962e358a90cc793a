//! Names in a sentence: jobs, projects, namespaces, services, runbooks, nodes. A name is only ever what was written.

use super::Known;
use super::words::{Kind, Token};

/// What a name is the name of, as far as the words around it say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Job,
    Project,
    Namespace,
    Service,
    Runbook,
    Node,
    /// After "in" and the like: a place, so a project or namespace.
    Place,
    /// The words do not say.
    Unsaid,
}

/// A name, what it names, and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Name {
    pub(super) value: String,
    pub(super) sort: Sort,
    pub(super) at: usize,
    /// Index after the last word of the name.
    pub(super) end: usize,
}

/// Words that never are a name, even right after "job" or "project".
const NEVER: &[&str] = &[
    "a",
    "about",
    "after",
    "again",
    "alert",
    "alerts",
    "all",
    "already",
    "also",
    "an",
    "and",
    "any",
    "anymore",
    "are",
    "as",
    "at",
    "be",
    "been",
    "before",
    "but",
    "by",
    "called",
    "can",
    "crash",
    "crashed",
    "crashes",
    "crashing",
    "could",
    "dead",
    "did",
    "die",
    "died",
    "dies",
    "do",
    "does",
    "doing",
    "done",
    "down",
    "dying",
    "ended",
    "errors",
    "erroring",
    "event",
    "events",
    "every",
    "exit",
    "exited",
    "fail",
    "failed",
    "failing",
    "failure",
    "failures",
    "fails",
    "finish",
    "finished",
    "for",
    "from",
    "get",
    "gets",
    "getting",
    "go",
    "going",
    "got",
    "had",
    "has",
    "have",
    "having",
    "here",
    "history",
    "how",
    "i",
    "id",
    "if",
    "in",
    "info",
    "instead",
    "into",
    "is",
    "it",
    "its",
    "jobs",
    "job",
    "just",
    "keep",
    "keeps",
    "kept",
    "last",
    "list",
    "logs",
    "log",
    "me",
    "monitoring",
    "my",
    "name",
    "names",
    "named",
    "needs",
    "never",
    "no",
    "not",
    "now",
    "of",
    "on",
    "only",
    "or",
    "out",
    "output",
    "over",
    "owner",
    "pending",
    "please",
    "pls",
    "pods",
    "pod",
    "progress",
    "project",
    "projects",
    "queue",
    "queued",
    "quota",
    "reported",
    "right",
    "run",
    "running",
    "runs",
    "scheduling",
    "show",
    "since",
    "so",
    "status",
    "start",
    "started",
    "starting",
    "state",
    "still",
    "stop",
    "stopped",
    "stopping",
    "stuck",
    "succeeded",
    "take",
    "taking",
    "team",
    "teams",
    "than",
    "that",
    "the",
    "their",
    "them",
    "then",
    "there",
    "these",
    "they",
    "this",
    "those",
    "to",
    "today",
    "tonight",
    "too",
    "tomorrow",
    "until",
    "up",
    "use",
    "uses",
    "using",
    "via",
    "waiting",
    "waits",
    "was",
    "we",
    "were",
    "what",
    "when",
    "where",
    "which",
    "who",
    "whose",
    "why",
    "will",
    "with",
    "without",
    "won",
    "workload",
    "workloads",
    "would",
    "yesterday",
    "yet",
    "you",
    "your",
    "namespace",
    "namespaces",
    "service",
    "services",
    "runbook",
    "runbooks",
    "gpu",
    "gpus",
    "node",
    "nodes",
    "cluster",
    "thanks",
    "thank",
    "scope",
    "level",
    "one",
    "ones",
];

/// Hyphenated or dotted words of ordinary speech.
const ORDINARY_COMPOUNDS: &[&str] = &[
    "on-call",
    "follow-up",
    "follow-ups",
    "up-to-date",
    "real-time",
    "realtime",
    "e-mail",
    "24/7",
    "and/or",
    "i.e",
    "e.g",
    "out-of-memory",
    "out-of-scope",
    "non-critical",
    "self-approval",
    "two-person",
    "multi-node",
    "multi-gpu",
    "single-node",
    "long-running",
    "in-flight",
    "in-progress",
    "auto-remediation",
    "auto-heal",
    "auto-healing",
    "auto-fix",
    "self-healing",
    "week-to-date",
    "month-to-date",
    "day-to-day",
    "end-of-day",
    "end-of-week",
    "ad-hoc",
    "pre-empted",
    "k8s",
    "run:ai",
    "s3",
    "p50",
    "p90",
    "p95",
    "p99",
    "h100",
    "a100",
    "v100",
    "h200",
    "b200",
    "l40s",
    "l4",
    "t4",
    "gb200",
    "x86",
    "fp16",
    "bf16",
    "5xx",
    "4xx",
    "top-5",
    "top-10",
    "hello-world",
    "first-failure",
    "root-cause",
    "half-hour",
    "well-known",
    "c++",
    "co-pilot",
    "sev-0",
    "sev-1",
    "sev-2",
    "sev-3",
    "sev-4",
    "sev0",
    "sev1",
    "sev2",
    "sev3",
    "sev4",
    "p0",
    "p1",
    "p2",
    "p3",
    "p4",
    "one-off",
    "time-out",
    "back-off",
    "set-up",
    "wake-up",
    "heads-up",
    "hands-on",
    "built-in",
    "crash-loop",
    "crash-looping",
    "image-pull",
    "node-level",
    "high-level",
    "low-level",
    "right-now",
    "over-quota",
    "short-term",
    "opt-out",
    "opt-in",
    "mid-week",
    "low-hanging",
    "half-life",
    "ok-ish",
    "false-positive",
];

/// Finds every name. `taken` marks words that already mean something (times, numbers, people); `ordinary` says
/// whether a word belongs to the ordinary language of this desk.
pub(super) fn find(
    tokens: &[Token],
    taken: &[bool],
    known: &Known,
    ordinary: impl Fn(&str) -> bool,
) -> Vec<Name> {
    let mut names = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if taken[at] {
            at += 1;
            continue;
        }
        if let Some(mut found) = at_word(tokens, taken, at, known, &ordinary) {
            // `ns/name` and `project/name` say two things at once.
            if let Some((place, name)) = split_path(&found.value.clone()) {
                let sort = if known.has_project(place) {
                    Sort::Project
                } else {
                    Sort::Namespace
                };
                names.push(Name {
                    value: place.to_owned(),
                    sort,
                    at,
                    end: found.end,
                });
                found = Name {
                    value: name.to_owned(),
                    sort: Sort::Job,
                    ..found
                };
            }
            at = found.end;
            names.push(found);
        } else {
            at += 1;
        }
    }
    names
}

fn split_path(value: &str) -> Option<(&str, &str)> {
    let (place, name) = value.split_once('/')?;
    let plain = |part: &str| !part.is_empty() && !part.contains(['/', ':', '.']);
    (plain(place) && plain(name)).then_some((place, name))
}

fn at_word(
    tokens: &[Token],
    taken: &[bool],
    at: usize,
    known: &Known,
    ordinary: &impl Fn(&str) -> bool,
) -> Option<Name> {
    let here = &tokens[at];
    if !matches!(here.kind, Kind::Word | Kind::Quoted) {
        return None;
    }
    let shaped = here.kind == Kind::Quoted || is_name_shaped(&here.raw) || known.has(&here.raw);
    let end = at + 1;
    let make = |sort| {
        Some(Name {
            value: here.raw.clone(),
            sort,
            at,
            end,
        })
    };

    let before = before(tokens, at);
    let after = tokens
        .get(end)
        .filter(|_| !here.pause)
        .map(|t| t.word.as_str());
    let candidate = shaped
        || !NEVER.contains(&here.word.as_str())
            && here.word.chars().any(char::is_alphabetic)
            && here.word.len() > 1;
    if !candidate {
        return None;
    }
    let unusual = shaped || !ordinary(&here.word);

    // "the X project", "X namespace", "the X job": the noun that follows says it best.
    if let Some(sort) = after.and_then(noun) {
        let plural = after.is_some_and(|word| word.ends_with('s'));
        let next = tokens
            .get(end + 1)
            .map(|t| (t, end + 1))
            .filter(|&(t, index)| {
                !taken[index]
                    && (t.kind == Kind::Quoted || is_name_shaped(&t.raw) || known.has(&t.raw))
            });
        match sort {
            // "show job train-1": the name follows the noun, the word before it is a verb.
            _ if next.is_some() && !shaped => {}
            Sort::Job if plural && unusual && !matches!(before, Some("job" | "workload")) => {
                return make(Sort::Place);
            }
            Sort::Runbook if !plural => {
                if let Some(name) = runbook_before(tokens, taken, at, shaped) {
                    return Some(name);
                }
            }
            _ if unusual && !plural => return make(sort),
            _ => {}
        }
    }
    // "job X", "project X".
    if let Some(sort) = before.and_then(noun)
        && !(sort == Sort::Runbook && !shaped && ordinary(&here.word))
        && (shaped || !matches!(sort, Sort::Job | Sort::Service | Sort::Node) || unusual)
    {
        let plural = before.is_some_and(|word| word.ends_with('s') && word != "ns");
        if !plural || unusual {
            return make(sort);
        }
    }
    if let Some("team" | "teams" | "tenant" | "department" | "group") = before
        && unusual
    {
        return make(Sort::Project);
    }
    if let Some("team" | "team's" | "department" | "group" | "tenant") = after
        && unusual
        && !tokens.iter().any(|t| {
            matches!(
                t.word.as_str(),
                "page" | "notify" | "call" | "wake" | "escalate" | "alert"
            )
        })
    {
        return make(Sort::Project);
    }
    if !unusual {
        return None;
    }
    let sort = match before {
        Some("in" | "under" | "within" | "inside" | "across") => Sort::Place,
        Some("on") if looks_like_node(&here.word) => Sort::Node,
        _ => Sort::Unsaid,
    };
    if sort == Sort::Unsaid && !shaped {
        // An ordinary-looking word is a name only where a name is due.
        return match before {
            Some("for" | "of" | "from" | "on" | "called" | "named" | "with" | "to") => {
                make(Sort::Unsaid)
            }
            Some("about") if tokens.len() <= 4 => make(Sort::Unsaid),
            _ if here.possessive => make(Sort::Unsaid),
            _ => verb_before(tokens, at).then(|| Name {
                value: here.raw.clone(),
                sort,
                at,
                end,
            }),
        };
    }
    if sort == Sort::Unsaid {
        if looks_like_node(&here.word) {
            return make(Sort::Node);
        }
        if known.has_project(&here.raw)
            || !known.has_job(&here.raw) && looks_like_project(&here.word)
        {
            return make(Sort::Project);
        }
    }
    make(sort)
}

/// "the high memory runbook": the words between the article or verb and "runbook".
fn runbook_before(tokens: &[Token], taken: &[bool], at: usize, shaped: bool) -> Option<Name> {
    const NOT_PART: &[&str] = &[
        "the",
        "a",
        "an",
        "run",
        "execute",
        "start",
        "launch",
        "trigger",
        "kick",
        "off",
        "our",
        "this",
        "that",
        "which",
        "what",
        "list",
        "show",
        "all",
        "any",
        "available",
        "me",
        "of",
        "invoke",
        "apply",
        "use",
        "please",
        "same",
        "your",
        "my",
        "dry",
        "do",
        "go",
        "with",
        "through",
        "begin",
        "fire",
        "to",
        "some",
        "every",
        "custom",
        "and",
        "configured",
        "existing",
        "perform",
        "walk",
        "have",
        "are",
        "is",
        "you",
        "for",
    ];
    if shaped {
        return Some(Name {
            value: tokens[at].raw.clone(),
            sort: Sort::Runbook,
            at,
            end: at + 1,
        });
    }
    let mut start = at + 1;
    while start > 0
        && at + 1 - start < 5
        && !taken[start - 1]
        && !NOT_PART.contains(&tokens[start - 1].word.as_str())
    {
        start -= 1;
    }
    (start <= at).then(|| Name {
        value: tokens[start..=at]
            .iter()
            .map(|t| t.raw.as_str())
            .collect::<Vec<_>>()
            .join(" "),
        sort: Sort::Runbook,
        at: start,
        end: at + 1,
    })
}

/// The word that leads to the one at `at`, articles and "called" skipped.
fn before(tokens: &[Token], at: usize) -> Option<&str> {
    let mut index = at;
    while index > 0 {
        index -= 1;
        if tokens[index].pause {
            return None;
        }
        match tokens[index].word.as_str() {
            "the" | "a" | "an" | "called" | "named" | "name" | "my" | "our" | "is" if index > 0 => {
            }
            word => return Some(word),
        }
    }
    None
}

/// The sort of thing a noun stands for.
fn noun(word: &str) -> Option<Sort> {
    Some(match word {
        "job" | "jobs" | "workload" | "workloads" | "workspace" | "pod" | "deployment"
        | "statefulset" | "pytorchjob" | "training" | "experiment" => Sort::Job,
        "project" | "projects" => Sort::Project,
        "namespace" | "namespaces" | "ns" => Sort::Namespace,
        "service" | "svc" | "microservice" => Sort::Service,
        "runbook" | "runbooks" | "playbook" | "playbooks" => Sort::Runbook,
        "node" | "nodes" | "host" | "machine" | "server" => Sort::Node,
        _ => return None,
    })
}

/// Verbs whose object is a name: "restart trainer", "troubleshoot trainer".
fn verb_before(tokens: &[Token], at: usize) -> bool {
    const VERBS: &[&str] = &[
        "restart",
        "suspend",
        "resume",
        "delete",
        "kill",
        "resubmit",
        "scale",
        "rollback",
        "troubleshoot",
        "diagnose",
        "debug",
        "investigate",
        "cordon",
        "uncordon",
        "drain",
        "monitor",
        "silence",
        "mute",
        "unmute",
        "bounce",
        "relaunch",
        "did",
    ];
    at > 0 && VERBS.contains(&tokens[at - 1].word.as_str())
}

/// A word that nobody says but as a name: `train-7`, `bert_ft`, `resnet50`, `a/b`.
pub(super) fn is_name_shaped(raw: &str) -> bool {
    let lower = raw.to_lowercase();
    if raw.chars().count() < 3
        || ORDINARY_COMPOUNDS.contains(&lower.as_str())
        || lower.contains("://")
    {
        return false;
    }
    let legal = raw
        .chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':'));
    let letters = raw.chars().filter(|c| c.is_alphabetic()).count();
    let digits = raw.chars().any(|c| c.is_ascii_digit());
    let joined = raw.contains(['-', '_']) || raw.contains(['.', '/', ':']) && !raw.ends_with('.');
    let decimal = raw.parse::<f64>().is_ok();
    let unit = raw.starts_with(|c: char| c.is_ascii_digit()) && letters <= 3 && !joined;
    let negating = [
        "non-", "un-", "re-", "auto-", "self-", "well-", "pre-", "post-", "mid-",
    ]
    .iter()
    .any(|p| lower.starts_with(p))
        && !digits;
    let ordinal = matches!(
        lower.trim_start_matches(|c: char| c.is_ascii_digit()),
        "st" | "nd" | "rd" | "th"
    );
    legal && letters >= 1 && !decimal && !unit && !negating && !ordinal && (joined || digits)
}

fn looks_like_node(word: &str) -> bool {
    ["node", "gpu-node", "worker-node", "dgx", "host", "ip-"]
        .iter()
        .any(|prefix| word.starts_with(prefix))
        || word.contains("-node-")
        || (word.contains("-dgx") || word.contains("-node"))
            && word.ends_with(|c: char| c.is_ascii_digit())
        || word.starts_with("gpu") && word.chars().any(|c| c.is_ascii_digit()) && word.len() <= 8
}

/// Whether a name reads like a project: a team, a lab, an environment.
pub(super) fn looks_like_project(word: &str) -> bool {
    const ENDS: &[&str] = &[
        "team",
        "project",
        "proj",
        "group",
        "lab",
        "labs",
        "org",
        "dept",
        "research",
        "prod",
        "production",
        "dev",
        "staging",
        "platform",
        "squad",
        "division",
        "science",
        "ml",
        "nlp",
        "vision",
        "infra",
        "ops",
    ];
    const STARTS: &[&str] = &["team", "project", "proj", "dept", "group", "lab", "org"];
    let parts: Vec<&str> = word.split(['-', '_']).collect();
    parts.len() > 1
        && (parts.last().is_some_and(|last| ENDS.contains(last))
            || parts.first().is_some_and(|first| STARTS.contains(first)))
        && !looks_like_job(word)
}

/// Whether a name reads like a job: a model, a stage of training.
pub(super) fn looks_like_job(word: &str) -> bool {
    word.split(['-', '_', '.']).any(|part| {
        [
            "train",
            "trainer",
            "training",
            "finetune",
            "ft",
            "tune",
            "pretrain",
            "bert",
            "gpt",
            "llama",
            "resnet",
            "vit",
            "job",
            "run",
            "eval",
            "sweep",
            "infer",
            "inference",
            "etl",
            "preprocess",
            "notebook",
            "sft",
            "rlhf",
            "dpo",
            "lora",
            "diffusion",
            "whisper",
            "mistral",
            "unet",
            "yolo",
            "clip",
            "exp",
            "batch",
            "embed",
            "tokenize",
            "ranker",
            "benchmark",
            "serving",
        ]
        .contains(&part.trim_end_matches(|c: char| c.is_ascii_digit()))
    })
}
