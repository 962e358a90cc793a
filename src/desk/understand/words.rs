//! From a chat message to words: Slack's markup, quotes, contractions and common typing mistakes are undone.

/// One word of a message.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    /// As written, without surrounding punctuation and possessive ending.
    pub(super) raw: String,
    /// Lower case, typing mistakes undone. What rules and classifier see.
    pub(super) word: String,
    pub(super) kind: Kind,
    /// Followed by `'s`.
    pub(super) possessive: bool,
    /// Followed by a comma, colon or full stop.
    pub(super) pause: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    /// Quoted or in backticks: a name, whatever it looks like.
    Quoted,
    /// Several quoted words: somebody's text, not a name and not a command.
    Text,
    /// A person or user group, by id or handle.
    User,
    /// A chat channel.
    Channel,
    /// `#42`.
    Hash,
}

/// A message, cut into words.
#[derive(Clone, Debug, Default)]
pub(super) struct Sentence {
    pub(super) tokens: Vec<Token>,
    /// It ends with a question mark.
    pub(super) question: bool,
}

/// Words that are spelt right and must not be "corrected" into a keyword.
const SPELT_RIGHT: &[&str] = &[
    "sending",
    "ending",
    "spending",
    "lending",
    "bending",
    "tending",
    "starting",
    "started",
    "starts",
    "stars",
    "smart",
    "report",
    "resort",
    "paused",
    "page",
    "pages",
    "paged",
    "cause",
    "caused",
    "clause",
    "running",
    "cunning",
    "stating",
    "states",
    "stated",
    "states",
    "resolved",
    "revolve",
    "involve",
    "silent",
    "science",
    "active",
    "actions",
    "action",
    "auction",
    "election",
    "caption",
    "option",
    "relation",
    "education",
    "listing",
    "approved",
    "improve",
    "prove",
    "reprove",
    "details",
    "detail",
    "retail",
    "cuter",
    "muster",
    "faster",
    "master",
    "luster",
    "closer",
    "closed",
    "close",
    "clever",
    "cluster",
    "allow",
    "alarm",
    "charm",
    "delay",
    "stop",
    "stock",
    "shop",
    "restore",
    "resume",
    "presume",
    "consume",
    "failing",
    "falling",
    "calling",
    "filling",
    "feeling",
    "sailing",
    "mailing",
    "nailing",
    "waiting",
    "writing",
    "baiting",
    "logging",
    "healthy",
    "wealthy",
    "health",
    "wealth",
    "training",
    "raining",
    "draining",
    "gaining",
    "remaining",
    "straining",
    "idle",
    "idol",
    "weekly",
    "weakly",
    "number",
    "member",
    "recent",
    "decent",
    "accident",
    "incidence",
    "accidents",
    "coming",
    "morning",
    "warning",
    "warming",
    "learning",
    "yearning",
    "earning",
    "turning",
    "burning",
    "watching",
    "matching",
    "catching",
];

/// Keywords worth recognising through a typing mistake.
const KEYWORDS: &[&str] = &[
    "monitor",
    "monitoring",
    "status",
    "incident",
    "incidents",
    "troubleshoot",
    "troubleshooting",
    "diagnose",
    "acknowledge",
    "acknowledged",
    "resolve",
    "silence",
    "silences",
    "unsilence",
    "approve",
    "approval",
    "approvals",
    "pending",
    "restart",
    "suspend",
    "resume",
    "delete",
    "resubmit",
    "rollback",
    "cordon",
    "uncordon",
    "runbook",
    "runbooks",
    "emergency",
    "capacity",
    "cluster",
    "project",
    "namespace",
    "workload",
    "workloads",
    "failing",
    "failed",
    "failure",
    "failures",
    "running",
    "alerts",
    "alert",
    "report",
    "weekly",
    "similar",
    "learning",
    "threshold",
    "confidence",
    "escalate",
    "oncall",
    "critical",
    "minutes",
    "minute",
    "hours",
    "severity",
    "please",
    "investigate",
    "stopped",
    "crashed",
    "crashing",
    "watching",
    "enable",
    "disable",
    "cancel",
    "start",
    "everything",
    "maintenance",
    "available",
    "utilization",
    "unschedulable",
    "scheduled",
    "available",
    "queued",
    "waiting",
    "summary",
    "accuracy",
    "actions",
    "automation",
    "progress",
    "problem",
    "problems",
    "what",
    "show",
];

impl Sentence {
    /// Cuts a message into words. `spelling` says whether a word is spelt right.
    pub(super) fn read(message: &str, spelling: impl Fn(&str) -> bool) -> Self {
        let text = unescape(message);
        let mut sentence = Self {
            tokens: Vec::new(),
            question: text.trim_end().ends_with('?'),
        };
        let mut rest = text.trim();
        while let Some(first) = rest.chars().next() {
            if first.is_whitespace() {
                rest = rest.trim_start();
            } else if let Some((token, after)) = entity(rest).or_else(|| quoted(rest)) {
                sentence.tokens.push(token);
                rest = after;
            } else {
                let end = rest
                    .find(|c: char| c.is_whitespace() || c == '`')
                    .unwrap_or(rest.len())
                    .max(first.len_utf8());
                let (chunk, after) = rest.split_at(end);
                sentence.push_chunk(chunk, &spelling);
                rest = after;
            }
        }
        sentence
    }

    fn push_chunk(&mut self, chunk: &str, spelling: &impl Fn(&str) -> bool) {
        let opening = chunk.trim_start_matches([
            '(', '[', '{', '"', '\'', '“', '‘', '*', '~', '>', '¡', '¿', '-', '–', '—', '!',
        ]);
        let body = opening.trim_end_matches([
            ',', '.', '!', '?', ';', ':', ')', ']', '}', '"', '\'', '”', '’', '*', '~', '…', '-',
            '–', '—',
        ]);
        let tail = &opening[body.len()..];
        let pause = tail.contains([',', ':', '.', ';', '!', '?']);
        if body.is_empty() {
            if let Some(last) = self.tokens.last_mut() {
                last.pause |= pause || chunk.starts_with(['-', '–', '—']);
            }
            return;
        }
        if let Some(number) = body.strip_prefix('#') {
            let kind = if number.chars().all(|c| c.is_ascii_digit()) {
                Kind::Hash
            } else {
                Kind::Channel
            };
            self.push(number, number.to_lowercase(), kind, false, pause);
            return;
        }
        if let Some(handle) = body.strip_prefix('@').filter(|h| !h.is_empty()) {
            if handle.eq_ignore_ascii_case("nightbell") {
                return;
            }
            let kind = if is_role(handle) {
                Kind::Word
            } else {
                Kind::User
            };
            self.push(handle, handle.to_lowercase(), kind, false, pause);
            return;
        }
        let lower = body.to_lowercase().replace('’', "'");
        if let Some(words) = expand(&lower) {
            for word in words.split(' ') {
                self.push(word, word.to_owned(), Kind::Word, false, false);
            }
            if let Some(last) = self.tokens.last_mut() {
                last.pause = pause;
            }
            return;
        }
        let possessive = lower.ends_with("'s") || lower.ends_with("s'");
        let cut = if lower.ends_with("'s") {
            &body[..body.char_indices().rev().nth(1).map_or(0, |(at, _)| at)]
        } else {
            body.trim_end_matches(['\'', '’'])
        };
        for part in parts(cut) {
            let lower = part.to_lowercase();
            let word = if lower.chars().all(char::is_alphabetic) && !spelling(&lower) {
                correct(&lower).map_or(lower, str::to_owned)
            } else {
                lower
            };
            self.push(part, word, Kind::Word, possessive, pause);
        }
    }

    fn push(&mut self, raw: &str, word: String, kind: Kind, possessive: bool, pause: bool) {
        self.tokens.push(Token {
            raw: raw.to_owned(),
            word,
            kind,
            possessive,
            pause,
        });
    }

    /// The words, for rules that look at the whole.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().map(|token| token.word.as_str())
    }

    /// Whether any of the words occurs.
    pub(super) fn has(&self, words: &[&str]) -> bool {
        self.words().any(|word| words.contains(&word))
    }
}

/// `and/or`-like chunks are two words; paths, images and `namespace/name` are one.
fn parts(chunk: &str) -> Vec<&str> {
    if chunk.contains('/')
        && chunk
            .split('/')
            .all(|part| part.len() > 2 && part.chars().all(char::is_alphabetic))
    {
        let ordinary = [
            "and", "or", "start", "stop", "approve", "deny", "jobs", "pods", "errors", "warnings",
            "logs",
        ];
        if chunk
            .split('/')
            .any(|part| ordinary.contains(&part.to_lowercase().as_str()))
        {
            return chunk.split('/').collect();
        }
    }
    vec![chunk]
}

/// Handles that name a role, not a person.
fn is_role(handle: &str) -> bool {
    matches!(
        handle.to_lowercase().as_str(),
        "here" | "channel" | "everyone" | "oncall" | "on-call"
    )
}

fn unescape(message: &str) -> String {
    message
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
        .replace(['\u{a0}', '\u{200b}', '\u{feff}'], " ")
        .replace('’', "'")
        .replace("```", "`")
}

/// A Slack entity at the start: `<@U1|mira>`, `<#C1|ops>`, `<!subteam^S1|@sre>`, `<https://…|label>`.
fn entity(text: &str) -> Option<(Token, &str)> {
    let inner = text.strip_prefix('<')?;
    let (body, after) = inner.split_once('>')?;
    let (id, label) = body.split_once('|').unwrap_or((body, ""));
    let (raw, kind) = if let Some(user) = id.strip_prefix('@') {
        (user, Kind::User)
    } else if let Some(channel) = id.strip_prefix('#') {
        (channel, Kind::Channel)
    } else if let Some(group) = id.strip_prefix("!subteam^") {
        (group, Kind::User)
    } else if id.contains("://") {
        (if label.is_empty() { id } else { label }, Kind::Text)
    } else if let Some(special) = id.strip_prefix('!') {
        (special, Kind::Text)
    } else {
        // People write placeholders such as <name>; the word inside is what they mean.
        (id, Kind::Word)
    };
    if raw.is_empty() || raw.contains(char::is_whitespace) && kind == Kind::Word {
        return None;
    }
    let (possessive, after) = match after.strip_prefix("'s") {
        Some(after) => (true, after),
        None => (false, after),
    };
    Some((
        Token {
            raw: raw.to_owned(),
            word: raw.to_lowercase(),
            kind,
            possessive,
            pause: after.starts_with([',', ':']),
        },
        after.trim_start_matches([',', ':', '.', '?', '!']),
    ))
}

/// Something quoted at the start.
fn quoted(text: &str) -> Option<(Token, &str)> {
    let open = text.chars().next()?;
    let close = match open {
        '`' | '"' | '\'' => open,
        '“' => '”',
        '‘' => '’',
        '«' => '»',
        _ => return None,
    };
    let inner = &text[open.len_utf8()..];
    let (body, after) = inner.split_once(close)?;
    if body.trim().is_empty() || (open == '\'' && after.starts_with(char::is_alphanumeric)) {
        return None;
    }
    let (possessive, after) = match after.strip_prefix("'s") {
        Some(after) => (true, after),
        None => (false, after),
    };
    let body = body.trim().trim_end_matches(['.', ',', '!', '?']);
    let kind = if body.contains(char::is_whitespace) {
        Kind::Text
    } else {
        Kind::Quoted
    };
    let pause = after.starts_with([',', ':', '.']);
    Some((
        Token {
            raw: body.to_owned(),
            word: body.to_lowercase(),
            kind,
            possessive,
            pause,
        },
        after.trim_start_matches([',', ':', '.', '?', '!', ')']),
    ))
}

/// Contractions and short forms, as the words they stand for.
fn expand(lower: &str) -> Option<&'static str> {
    Some(match lower {
        "what's" | "whats" | "wats" | "wot's" => "what is",
        "who's" | "whos" => "who is",
        "where's" | "wheres" => "where is",
        "how's" | "hows" => "how is",
        "when's" => "when is",
        "why's" | "whys" => "why is",
        "it's" => "it is",
        "that's" | "thats" => "that is",
        "there's" | "theres" => "there is",
        "here's" => "here is",
        "let's" | "lets" => "let us",
        "i'm" => "i am",
        "i'd" => "i would",
        "i've" => "i have",
        "i'll" => "i will",
        "we're" => "we are",
        "we've" => "we have",
        "we'll" => "we will",
        "you're" | "ur" => "you are",
        "you've" => "you have",
        "they're" | "theyre" => "they are",
        "don't" | "dont" => "do not",
        "doesn't" | "doesnt" => "does not",
        "didn't" | "didnt" => "did not",
        "isn't" | "isnt" => "is not",
        "aren't" | "arent" => "are not",
        "wasn't" | "wasnt" => "was not",
        "hasn't" | "hasnt" => "has not",
        "haven't" | "havent" => "have not",
        "can't" | "cant" | "cannot" => "can not",
        "won't" | "wont" => "will not",
        "shouldn't" => "should not",
        "couldn't" => "could not",
        "wouldn't" => "would not",
        "gimme" => "give me",
        "lemme" => "let me",
        "wanna" => "want to",
        "gonna" => "going to",
        "u" => "you",
        "r" => "are",
        "plz" | "pls" | "pleas" | "plse" => "please",
        "thx" | "tnx" | "ty" => "thanks",
        "&" => "and",
        "w/" => "with",
        "thru" => "through",
        "proj" => "project",
        "stat" => "status",
        "mon" => "monitoring",
        "msg" => "message",
        "oncall" => "on-call",
        "on-duty" => "on duty",
        "kill-switch" | "killswitch" => "kill switch",
        "e-stop" | "estop" | "emergency-stop" => "emergency stop",
        "emergency-clear" => "emergency clear",
        "monitor-status" => "monitoring status",
        "dry-run" | "dryrun" => "dry run",
        "roll-back" => "rollback",
        "un-silence" => "unsilence",
        "un-mute" => "unmute",
        "re-run" => "rerun",
        "re-start" => "restart",
        "re-submit" => "resubmit",
        "trouble-shoot" => "troubleshoot",
        "run-book" => "runbook",
        "play-book" => "playbook",
        "post-mortem" => "postmortem",
        "high-priority" => "high priority",
        "low-priority" => "low priority",
        "high-severity" => "high severity",
        "low-severity" => "low severity",
        "medium-severity" => "medium severity",
        "auto-troubleshoot" | "auto-troubleshooting" => "automatic troubleshooting",
        _ => return None,
    })
}

/// The keyword that a misspelt word most likely is: one slip in five letters, two in eight.
fn correct(word: &str) -> Option<&'static str> {
    let letters = word.chars().count();
    if letters < 4 || SPELT_RIGHT.contains(&word) || KEYWORDS.contains(&word) {
        return None;
    }
    let slips = if letters >= 8 { 2 } else { 1 };
    KEYWORDS
        .iter()
        .filter(|keyword| letters >= 5 || keyword.len() == 4)
        .filter(|keyword| keyword.chars().count().abs_diff(letters) <= slips)
        .filter(|keyword| keyword.chars().next() == word.chars().next() || letters >= 7)
        .map(|keyword| (strsim::osa_distance(word, keyword), *keyword))
        .filter(|&(distance, _)| distance <= slips)
        .min()
        .map(|(_, keyword)| keyword)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(message: &str) -> Vec<String> {
        Sentence::read(message, |_| false)
            .words()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn slack_markup_quotes_and_contractions_are_undone() {
        for (message, expected) in [
            (
                "<@U024BE7LH> what's up?",
                vec!["u024be7lh", "what", "is", "up"],
            ),
            (
                "logs of `train-7`, please",
                vec!["logs", "of", "train-7", "please"],
            ),
            ("ack #42", vec!["ack", "42"]),
            ("show train-bert’s logs", vec!["show", "train-bert", "logs"]),
            ("don't &amp; won't", vec!["do", "not", "and", "will", "not"]),
            ("montior all jobs", vec!["monitor", "all", "jobs"]),
            ("troubelshoot it", vec!["troubleshoot", "it"]),
            ("we are sending it", vec!["we", "are", "sending", "it"]),
            ("", vec![]),
            ("?!", vec![]),
        ] {
            assert_eq!(words(message), expected, "{message}");
        }
    }

    #[test]
    fn any_text_is_cut_without_panic() {
        for message in [
            "<",
            "<@>",
            "``",
            "`",
            "'",
            "\"x",
            "<!subteam^S1|@sre>",
            "é'",
            "’s",
            "#",
            "@",
            "\u{202e}abc",
            "'''s",
        ] {
            let _ = Sentence::read(message, |_| false);
        }
    }
}
