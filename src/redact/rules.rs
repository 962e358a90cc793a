//! The shapes of secrets. A first pass for words that go with secrets decides which rules look at a text at all.

use std::borrow::Cow;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex::{Captures, Regex, RegexBuilder};

use super::REDACTED;

/// One shape of secret.
struct Rule {
    regex: Regex,
    /// What replaces a match; the whole match where it is not a secret after all.
    replace: fn(&Captures<'_>) -> String,
}

/// Words of which one must be in the text, and the rules (by index into [`RULES`]) that then look at it.
const GATES: &[(&str, &[usize])] = &[
    ("private key", &[0]),
    ("://", &[1, 2]),
    ("hooks.slack.com", &[3]),
    ("webhook", &[3]),
    ("eyj", &[4]),
    ("xox", &[5]),
    ("xapp-", &[5]),
    ("ghp_", &[5]),
    ("gho_", &[5]),
    ("ghu_", &[5]),
    ("ghs_", &[5]),
    ("ghr_", &[5]),
    ("github_pat_", &[5]),
    ("glpat-", &[5]),
    ("glrt-", &[5]),
    ("gldt-", &[5]),
    ("glptt-", &[5]),
    ("glcbt-", &[5]),
    ("glsoat-", &[5]),
    ("glsa_", &[5]),
    ("gocspx-", &[5]),
    ("q~", &[5]),
    ("hvs.", &[5]),
    ("dop_v1_", &[5]),
    ("r8_", &[5]),
    ("api_org_", &[5]),
    ("akia", &[5]),
    ("asia", &[5]),
    ("hf_", &[5]),
    ("sk-", &[5]),
    ("sk_", &[5]),
    ("rk_", &[5]),
    ("aiza", &[5]),
    ("ya29.", &[5]),
    ("nvapi-", &[5]),
    ("npm_", &[5]),
    ("pypi-", &[5]),
    ("dckr_pat_", &[5]),
    ("dapi", &[5]),
    ("wandb", &[5, 6]),
    ("sg.", &[5]),
    ("authorization", &[7]),
    ("bearer", &[8]),
    ("basic", &[8]),
    ("pass", &[9, 10]),
    ("pwd", &[9, 10]),
    ("secret", &[9, 10]),
    ("token", &[9, 10]),
    ("key", &[9, 10]),
    ("credential", &[9, 10]),
    ("auth", &[9]),
    ("signature", &[9]),
    ("sig=", &[9]),
    ("cookie", &[9]),
    ("session", &[9]),
    ("sas", &[9]),
    ("cookie:", &[12]),
    ("login ", &[13]),
    (" -u", &[13]),
    ("--user", &[13]),
    ("@tcp(", &[13]),
    ("@unix(", &[13]),
];

static GATE: LazyLock<AhoCorasick> = LazyLock::new(|| {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .kind(Some(AhoCorasickKind::DFA))
        .build(GATES.iter().map(|(word, _)| *word))
        .expect("the gate is a few dozen short literals")
});

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    vec![
        // 0: a private key block, to its end or, cut short, to the end of the text.
        rule(
            r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
            |_| REDACTED.to_owned(),
        ),
        // 1: the password of a connection string. Greedy: passwords may hold `@` and `/`.
        rule(
            r#"(?P<head>[A-Za-z][A-Za-z0-9+.\-]*://[^\s:/@"'<>]*:)(?P<secret>[^\s"'<>]+)@"#,
            |found| {
                let secret = &found["secret"];
                // `http://host:8080/path?mail=a@b` has a port there, not a password.
                let port = secret
                    .split(['/', '?', '#', ','])
                    .next()
                    .unwrap_or_default();
                if port.len() < secret.len() && port.bytes().all(|b| b.is_ascii_digit()) {
                    return found[0].to_owned();
                }
                format!("{}{REDACTED}@", &found["head"])
            },
        ),
        // 2: a token as the user of a URL.
        rule(
            r"(?P<head>[A-Za-z][A-Za-z0-9+.\-]*://)(?P<secret>[A-Za-z0-9_\-]{20,})@",
            |found| format!("{}{REDACTED}@", &found["head"]),
        ),
        // 3: web hooks whose path is the secret.
        rule(
            r#"(?i)(?P<head>hooks\.slack\.com/(?:services|workflows|triggers)/|discord(?:app)?\.com/api/webhooks/|webhook\.office\.com/webhookb2/)[^\s"'<>|\\]+"#,
            |found| format!("{}{REDACTED}", &found["head"]),
        ),
        // 4: JSON web tokens (and what else is base64 of a JSON object, in two parts or more).
        rule(
            r"eyJ[A-Za-z0-9_\-]{6,}\.[A-Za-z0-9_\-]{4,}(?:\.[A-Za-z0-9_\-]*)*|eyJ[A-Za-z0-9+/_\-]{60,}={0,2}",
            |_| REDACTED.to_owned(),
        ),
        // 5: tokens that say by their prefix what they are.
        rule(
            r"(?x)
              xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9\-]{8,} | xapp-[A-Za-z0-9\-]{8,}
            | gh[pousr]_[A-Za-z0-9]{16,} | github_pat_[A-Za-z0-9_]{16,}
            | gl(?:pat|rt|dt|ptt|cbt|soat)-[A-Za-z0-9_\-]{16,} | glsa_[A-Za-z0-9_]{20,} | GOCSPX-[A-Za-z0-9_\-]{20,}
            | [A-Za-z0-9_~.\-]{3}[0-9]Q~[A-Za-z0-9_~.\-]{31,34} | \bhvs\.[A-Za-z0-9_\-]{20,} | dop_v1_[a-f0-9]{32,}
            | \br8_[A-Za-z0-9]{30,} | \bapi_org_[A-Za-z]{20,}
            | (?:AKIA|ASIA)[A-Z0-9]{16}
            | \bhf_[A-Za-z0-9]{16,}
            | \bsk-[A-Za-z0-9_\-]{16,} | \b[sr]k_(?:live|test)_[A-Za-z0-9]{8,}
            | AIza[A-Za-z0-9_\-]{30,} | ya29\.[A-Za-z0-9_\-]{16,}
            | nvapi-[A-Za-z0-9_\-]{16,} | \bnpm_[A-Za-z0-9]{30,} | pypi-[A-Za-z0-9_\-]{40,}
            | dckr_pat_[A-Za-z0-9_\-]{16,} | \bdapi[0-9a-f]{32} | wandb_v1_[A-Za-z0-9_]{16,}
            | \bSG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}",
            |_| REDACTED.to_owned(),
        ),
        // 6: a Weights & Biases key is 40 hex digits, like a commit: only what stands beside its name is one.
        rule(
            r"(?i)(?P<head>wandb[^\n]{0,60}?(?:\s|=|:|'|\x22|local-))[0-9a-f]{40}\b",
            |found| format!("{}{REDACTED}", &found["head"]),
        ),
        // 7: the value of an authorization header.
        rule(
            r#"(?i)(?P<head>authorization\\?["']?\s*[:=]\s*\\?["']?)(?P<scheme>(?:bearer|basic|token|digest|negotiate|apikey|aws4-hmac-sha256|splunk)\s+)?(?P<secret>[^\s"'\\]+)"#,
            |found| {
                let scheme = found.name("scheme").map_or("", |scheme| scheme.as_str());
                if scheme.is_empty() && !looks_random(&found["secret"]) {
                    return found[0].to_owned();
                }
                format!("{}{scheme}{REDACTED}", &found["head"])
            },
        ),
        // 8: bearer and basic credentials wherever they stand.
        rule(
            r"(?i)(?P<head>\b(?:bearer|basic)\s+)(?P<secret>[A-Za-z0-9._~+/=\-]{6,})",
            |found| {
                if looks_random(&found["secret"]) {
                    format!("{}{REDACTED}", &found["head"])
                } else {
                    found[0].to_owned()
                }
            },
        ),
        // 9: `name=value`, `name: value`, JSON and Python dictionaries, URL parameters, environment dumps.
        rule(
            r#"(?i)(?P<key>[A-Za-z0-9_.\-]{0,64}(?:password|passwd|passphrase|passwort|pwd|secret|token|key|credentials?|auth|signature|sig|cookie|session|sas|pass)[A-Za-z0-9_\-]{0,24})(?P<sep>\\*["']?\s*(?::=|=>|[:=])\s*)(?P<secret>(?:b|r|u)?\\*"(?:[^"\\\n]|\\[^"\n])*\\*"|(?:b|r|u)?'(?:[^'\\\n]|\\.)*'|[^\s"',;&<>]+)"#,
            assignment,
        ),
        // 10: `--password value`.
        rule(
            r#"(?i)(?P<head>\s--?[a-z0-9\-]*(?:password|passwd|passphrase|secret|token|api-?key|access-?key|secret-?key|credential)\s+)(?P<secret>"[^"\n]*"|'[^'\n]*'|[^\s"'-][^\s"']*)"#,
            |found| format!("{}{REDACTED}", &found["head"]),
        ),
        // 11: a whole line of base64, as the body of a key block has when it arrives line by line.
        rule(
            r"(?m)^[ \t]*(?P<secret>[A-Za-z0-9+/]{60,80}={0,2})[ \t]*$",
            |found| {
                let secret = &found["secret"];
                let hex = secret.bytes().all(|b| b.is_ascii_hexdigit());
                if !hex && looks_random(secret) && secret.bytes().any(|b| b.is_ascii_uppercase()) {
                    REDACTED.to_owned()
                } else {
                    found[0].to_owned()
                }
            },
        ),
        // 12: all that a cookie header holds.
        rule(
            r#"(?i)(?P<head>\b(?:set-)?cookie:\s*)(?P<secret>[^\n"']*[^\s"'])"#,
            |found| format!("{}{REDACTED}", &found["head"]),
        ),
        // 13: `.netrc`, `curl -u user:password`, and the addresses of Go's database drivers.
        rule(
            r#"(?i)(?P<head>\blogin\s+\S+\s+password\s+|\s(?:-u|--user)[ =]["']?[A-Za-z0-9_.@\-]*[A-Za-z_@.\-][A-Za-z0-9_.@\-]*:)(?P<secret>[^\s"']+)|(?P<user>[A-Za-z0-9_.\-]+:)(?P<word>[^\s:@/"']+)(?P<at>@(?:tcp|unix)\()"#,
            |found| match found.name("user") {
                Some(user) => format!("{}{REDACTED}{}", user.as_str(), &found["at"]),
                None => format!("{}{REDACTED}", &found["head"]),
            },
        ),
    ]
});

/// Index of the rule that needs no word in the text: it is tried on every text that may hold such a line.
const BASE64_LINE: usize = 11;

/// Indexes of the rules for names with values.
const ASSIGNMENT: usize = 9;
const OPTION: usize = 10;

pub(super) fn apply(text: &str) -> Cow<'_, str> {
    let mut wanted = [false; 14];
    for found in GATE.find_overlapping_iter(text) {
        for rule in GATES[found.pattern().as_usize()].1 {
            // Logs are full of tokens per second: a name without a value is not worth the slow rule.
            wanted[*rule] |= match *rule {
                ASSIGNMENT => !wanted[ASSIGNMENT] && is_given_a_value(text, found.end()),
                OPTION => !wanted[OPTION] && is_an_option(text, found.start()),
                _ => true,
            };
        }
    }
    wanted[BASE64_LINE] = text.len() >= 60 && text.lines().any(may_be_base64_line);
    let mut out = Cow::Borrowed(text);
    for (rule, _) in RULES.iter().zip(wanted).filter(|(_, wanted)| *wanted) {
        let changed = match rule.regex.replace_all(&out, rule.replace) {
            Cow::Borrowed(_) => None,
            Cow::Owned(changed) => (changed != out).then_some(changed),
        };
        if let Some(changed) = changed {
            out = Cow::Owned(changed);
        }
    }
    out
}

/// True where the rest of a name, quotes and blanks lead from `end` to a colon or an equals sign.
fn is_given_a_value(text: &str, end: usize) -> bool {
    let rest = &text.as_bytes()[end..];
    let name = rest
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        .count();
    // `sig=` and `cookie:` carry their own mark.
    if matches!(text.as_bytes()[end - 1], b'=' | b':') {
        return true;
    }
    rest[name..]
        .iter()
        .find(|byte| !matches!(byte, b'\\' | b'"' | b'\'') && !byte.is_ascii_whitespace())
        .is_some_and(|byte| matches!(byte, b'=' | b':'))
}

/// True where the word is part of one that begins with a hyphen.
fn is_an_option(text: &str, start: usize) -> bool {
    let before = &text.as_bytes()[..start];
    let word = before
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-')
        .count();
    before[before.len() - word..].contains(&b'-')
}

fn may_be_base64_line(line: &str) -> bool {
    let line = line.trim();
    (60..=82).contains(&line.len()) && !line.contains(' ')
}

fn rule(pattern: &str, replace: fn(&Captures<'_>) -> String) -> Rule {
    let regex = RegexBuilder::new(pattern)
        .dfa_size_limit(8 << 20)
        .build()
        .expect("the rules are constants that the tests compile");
    Rule { regex, replace }
}

/// How sure a name makes it that what it names is a secret.
#[derive(PartialEq)]
enum Naming {
    /// `password`, `client_secret`: whatever it holds.
    Certain,
    /// `token`, `key`: if the value looks the part.
    Possible,
    /// `max_tokens`, `secretName`: names something else.
    Harmless,
}

fn assignment(found: &Captures<'_>) -> String {
    let (key, sep, value) = (&found["key"], &found["sep"], &found["secret"]);
    let bare = value
        .trim_start_matches(['b', 'r', 'u'])
        .trim_matches(['"', '\'', '\\']);
    let secret = match naming(key) {
        Naming::Certain => !is_placeholder(bare),
        // Prose has "bad token: expected"; a value has digits, marks, or length.
        Naming::Possible => looks_random(bare) && !is_placeholder(bare) && !is_path(bare),
        Naming::Harmless => false,
    };
    if !secret {
        return found[0].to_owned();
    }
    let quote = |c: Option<char>| c.filter(|c| matches!(c, '"' | '\''));
    let (open, close) = (
        quote(
            value
                .trim_start_matches(['b', 'r', 'u', '\\'])
                .chars()
                .next(),
        ),
        quote(value.chars().last()),
    );
    match (open, close) {
        (Some(open), Some(close)) if open == close => {
            let escape = if value.ends_with("\\\"") { "\\" } else { "" };
            format!("{key}{sep}{escape}{open}{REDACTED}{escape}{close}")
        }
        (Some(_) | None, Some(_) | None) => format!("{key}{sep}{REDACTED}"),
    }
}

fn naming(key: &str) -> Naming {
    let key = key.to_ascii_lowercase().replace(['-', '.'], "_");
    let ends = |endings: &[&str]| endings.iter().any(|ending| key.ends_with(ending));
    if ends(&[
        "pad_token",
        "eos_token",
        "bos_token",
        "unk_token",
        "mask_token",
        "cls_token",
        "sep_token",
        "next_token",
        "image_token",
        "special_token",
        "last_token",
        "first_token",
        "per_token",
        "imagepullsecret",
        "imagepullsecrets",
        "primary_key",
        "foreign_key",
        "cache_key",
        "dedup_key",
        "sort_key",
        "public_key",
        "monkey",
        "bypass",
        "forward_pass",
        "backward_pass",
    ]) {
        return Naming::Harmless;
    }
    if ends(&[
        "password",
        "passwd",
        "passphrase",
        "passwort",
        "pwd",
        "_pass",
        "secret",
        "secret_key",
        "secretkey",
        "access_key",
        "accesskey",
        "account_key",
        "accountkey",
        "private_key",
        "privatekey",
        "api_key",
        "apikey",
        "access_token",
        "auth_token",
        "refresh_token",
        "id_token",
        "session_token",
        "security_token",
        "bot_token",
        "app_token",
        "hub_token",
        "hf_token",
        "api_token",
        "key_data",
        "signing_key",
        "encryption_key",
        "routing_key",
        "credential",
        "credentials",
        "x_amz_signature",
        "set_cookie",
        "cookie",
        "_authtoken",
        "password_hash",
        "client_secret_value",
    ]) || key == "pass"
    {
        return Naming::Certain;
    }
    if ends(&[
        "token",
        "key",
        "_auth",
        "signature",
        "sig",
        "session",
        "sessionid",
        "session_id",
        "sas",
        "key_id",
        "key_base",
        "secret_id",
    ]) || key == "auth"
    {
        return Naming::Possible;
    }
    Naming::Harmless
}

fn is_placeholder(value: &str) -> bool {
    let value = value.trim_matches(['"', '\'', '\\']);
    value.is_empty()
        || value == REDACTED
        || value.starts_with("[redacted]")
        || value.bytes().all(|b| b == b'*' || b == b'.' || b == b'x')
        || matches!(
            value.to_ascii_lowercase().as_str(),
            "none"
                | "null"
                | "true"
                | "false"
                | "nil"
                | "undefined"
                | "missing"
                | "unset"
                | "<unset>"
        )
}

fn is_path(value: &str) -> bool {
    value.starts_with('/') || value.starts_with("./") || value.contains("://")
}

/// True where a word is no word of a language: digits among letters, both cases mixed, or very long.
fn looks_random(value: &str) -> bool {
    let value = value.trim_matches(['"', '\'', '\\', '(', ')', '.', ',']);
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let letters = value.bytes().filter(u8::is_ascii_alphabetic).count();
    let inner_upper = value.bytes().skip(1).any(|b| b.is_ascii_uppercase());
    let lower = value.bytes().any(|b| b.is_ascii_lowercase());
    match value.len() {
        0..=5 => false,
        6..=19 => (digits >= 1 && letters >= 2) || (inner_upper && lower) || value.ends_with('='),
        _ => letters > 0 && !value.contains(['[', '(']),
    }
}
