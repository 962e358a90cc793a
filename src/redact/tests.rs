use proptest::prelude::*;

use super::*;

/// One secret of each shape: the text around it, and the part that must not survive.
fn secrets() -> impl Strategy<Value = (String, String)> {
    let alnum = |n: usize| proptest::string::string_regex(&format!("[A-Za-z0-9]{{{n}}}")).unwrap();
    let hex = |n: usize| proptest::string::string_regex(&format!("[0-9a-f]{{{n}}}")).unwrap();
    let with = |strategy: BoxedStrategy<String>, before: &'static str, after: &'static str| {
        strategy
            .prop_map(move |secret| (format!("{before}{secret}{after}"), secret))
            .boxed()
    };
    let prefixed = |prefix: &'static str, n: usize| {
        alnum(n)
            .prop_map(move |rest| {
                let secret = format!("{prefix}{rest}");
                (secret.clone(), secret)
            })
            .boxed()
    };
    // A password of any shape, but with enough of it that finding it in the output is no accident.
    let password = "[A-Za-z][A-Za-z0-9!#$%^*_+-]{9,20}[0-9]".boxed();
    prop_oneof![
        with(password.clone(), "password=", ""),
        with(password.clone(), "PGPASSWORD: ", ""),
        with(password.clone(), "\"db_password\": \"", "\""),
        with(password.clone(), "{\\\"password\\\": \\\"", "\\\"}"),
        with(password.clone(), "client_secret: '", "'"),
        with(password.clone(), "postgres://app:", "@db.prod:5432/jobs"),
        with(password.clone(), "run --password ", " --verbose"),
        with(alnum(40).boxed(), "Authorization: Bearer ", ""),
        with(alnum(24).boxed(), "authorization: Basic ", "=="),
        with(alnum(40).boxed(), "AWS_SECRET_ACCESS_KEY=", ""),
        with(
            alnum(32).boxed(),
            "environ({'OPENAI_API_KEY': '",
            "', 'HOME': '/root'})"
        ),
        with(hex(40).boxed(), "wandb login ", ""),
        with(hex(40).boxed(), "WANDB_API_KEY=", ""),
        with(
            alnum(30).boxed(),
            "https://hooks.slack.com/services/T0/B0/",
            ""
        ),
        with(
            alnum(64).boxed(),
            "-----BEGIN RSA PRIVATE KEY-----\n",
            "\n-----END RSA PRIVATE KEY-----"
        ),
        with(alnum(64).boxed(), "-----BEGIN PRIVATE KEY-----\n", ""),
        (alnum(20), alnum(30), alnum(43))
            .prop_map(|(head, body, sign)| { (format!("eyJ{head}.eyJ{body}.{sign}"), body) }),
        with(alnum(80).boxed(), "    client-key-data: ", "=="),
        with(alnum(30).boxed(), "machine hub login bot password ", ""),
        with(password.clone(), "curl -u admin:", " https://x"),
        with(alnum(12).boxed(), "app:", "@tcp(db:3306)/jobs"),
        with(alnum(24).boxed(), "Cookie: session=a; csrf=", ""),
        with(
            alnum(44).boxed(),
            "AccountName=a;AccountKey=",
            "==;EndpointSuffix=core.windows.net"
        ),
        with(
            alnum(44).boxed(),
            "https://a.blob.core.windows.net/c?sv=2022&sig=",
            "&se=1"
        ),
        with(
            alnum(80).boxed(),
            "\"private_key\": \"-----BEGIN PRIVATE KEY-----\\n",
            "\\n-----END PRIVATE KEY-----\\n\""
        ),
        prefixed("sk-ant-api03-", 80),
        prefixed("sk-proj-", 48),
        prefixed("glpat-", 20),
        prefixed("glrt-", 20),
        prefixed("GOCSPX-", 28),
        prefixed("AIza", 35),
        prefixed("ya29.", 60),
        prefixed("hvs.", 30),
        prefixed("eyJhcGlfYWRkcmVzcyI6", 80),
        prefixed("xoxb-", 40),
        prefixed("xapp-1-", 40),
        prefixed("ghp_", 36),
        prefixed("github_pat_", 40),
        prefixed("hf_", 34),
        prefixed("sk-", 48),
        prefixed("nvapi-", 60),
        "[A-Z0-9]{16}".prop_map(|rest| (format!("AKIA{rest}"), format!("AKIA{rest}"))),
    ]
}

/// Log text around a secret; it ends as words end.
fn surroundings() -> impl Strategy<Value = String> {
    "([a-zA-Z0-9 .:/=_\\[\\]{}\",-]{0,40}[ \n\t(\\[])?"
}

proptest! {
    #[test]
    fn no_secret_survives_wherever_it_stands(
        before in surroundings(),
        (text, secret) in secrets(),
        after in "([ \n\t)][a-zA-Z0-9 .:/_-]{0,40})?",
    ) {
        let out = scrub(&format!("{before}{text}{after}"));
        prop_assert!(!out.contains(&secret), "{out}");
        prop_assert!(out.contains(REDACTED), "{out}");
    }

    #[test]
    fn colour_codes_and_invisible_characters_do_not_hide_a_secret(
        (text, secret) in secrets(),
        at in 0usize..64,
        hidden in prop_oneof![Just("\u{1b}[31m"), Just("\u{200b}"), Just("\u{202e}"), Just("\u{0}"), Just("\u{1b}]0;t\u{7}")],
    ) {
        let at = at % text.len();
        let text = format!("{}{hidden}{}", &text[..at], &text[at..]);
        let out = scrub(&text);
        prop_assert!(!out.contains(&secret), "{out}");
    }

    #[test]
    fn repeating_it_changes_nothing(before in "\\PC{0,60}", (text, _) in secrets(), after in "\\PC{0,60}") {
        let once = scrub(&format!("{before}{text}{after}"));
        prop_assert_eq!(scrub(&once), once);
    }

    #[test]
    fn any_text_is_cleaned_of_control_characters(text in any::<String>()) {
        let out = clean(&text).into_owned();
        prop_assert!(out.chars().all(|c| c == '\n' || c == '\t' || !is_unwanted(c)));
        prop_assert_eq!(clean(&out).into_owned(), out.clone());
    }

    #[test]
    fn a_line_is_never_longer_than_asked(text in any::<String>(), max in 1usize..600) {
        prop_assert!(line(&text, max).chars().count() <= max);
    }
}

#[test]
fn ordinary_text_of_logs_and_events_survives() {
    for text in [
        "FileNotFoundError: [Errno 2] No such file or directory: '/mnt/ckpt/bert-final.pt'",
        "registry.example.com/etl/embed@sha256:095d56762bd68ae40f3376609673d8eaba232c36f5f4f0a5f5e37f97ed18e3fa",
        "uid 0b6a5b0e-6c4e-4c39-9a65-1b8f0d1f3a01 on node gpu-a100-07",
        "step 1200 loss 3.91 tokens/s=31200 max_tokens=2048 num_tokens: 4096 pad_token_id=0 eos_token='</s>'",
        "Error: secret \"registry-cred\" not found",
        "Error: couldn't find key DB_URL in Secret ml/training",
        "FailedToRetrieveImagePullSecret: Unable to retrieve some image pull secrets (regcred)",
        "KeyError: 'input_ids'",
        "NCCL INFO Bootstrap : Using eth0:10.0.3.14<0>",
        "http://10.0.0.7:8080/metrics?mail=a@b",
        "commit 3f786850e387550fdab836ed7e6dc881de23001b",
        "Basic authentication failed; bearer authentication required",
        "RuntimeError: CUDA error: an illegal memory access was encountered",
        "tokenizer: gpt2, token: unexpected end, secretName: regcred",
        "key=value monkey=2 primary_key: 17",
        "NVRM: Xid (PCI:0000:06:00): 79, pid=1234, GPU has fallen off the bus.",
        "disk-0123456789abcdef0 attached; task-7f8a9b0c1d2e3f4a5b done",
        "docker run -u 1000:1000 image; step 100 tokens/s 31200 key frames: 7",
        "--tokenizer-path /models/llama --max-tokens 2048 --key-frames 3",
        "pass 3: loss 0.1, session closed, authentication ok, basic block 7",
    ] {
        assert_eq!(scrub(text), text);
    }
}

#[test]
fn what_stands_around_a_secret_stays_readable() {
    for (text, expected) in [
        (
            "connect postgres://nightbell:s3cr@t/x@db:5432/a failed",
            "connect postgres://nightbell:[redacted]@db:5432/a failed",
        ),
        (
            "curl -H 'Authorization: Bearer abc123def456' https://hub",
            "curl -H 'Authorization: Bearer [redacted]' https://hub",
        ),
        (
            "{\"password\":\"a b c\",\"user\":\"x\"}",
            "{\"password\":\"[redacted]\",\"user\":\"x\"}",
        ),
        (
            "GET /d?X-Amz-Signature=0a1b2c3d4e5f&x=1",
            "GET /d?X-Amz-Signature=[redacted]&x=1",
        ),
        (
            "\u{1b}[31mERROR\u{1b}[0m disk \u{202e}full",
            "ERROR disk full",
        ),
    ] {
        assert_eq!(scrub(text), expected);
    }
}

#[test]
fn a_line_of_ten_megabytes_is_cut_without_leaking_its_secret() {
    let mut text = "x".repeat(10 << 20);
    text.insert_str(100, " password=hunter2hunter2 ");
    assert!(!scrub(&text).contains("hunter2"));
    let short = line(&text, 500);
    assert_eq!(short.chars().count(), 500);
    assert!(!short.contains("hunter2"));
    assert!(short.ends_with('…'));
}

#[test]
fn progress_bars_become_lines() {
    assert_eq!(clean("10%|#\r20%|##\r\ndone\r\n"), "10%|#\n20%|##\ndone\n");
}

proptest! {
    /// Whatever surrounds it, what was no secret and no control character stays.
    #[test]
    fn identifiers_of_programs_survive(
        sha in "[0-9a-f]{40}",
        digest in "[0-9a-f]{64}",
        uuid in "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}",
        step in 0u32..1_000_000,
    ) {
        let text = format!("step {step}/1000000 commit {sha} image repo/train@sha256:{digest} uid {uuid} gpu-{step} loss=3.9");
        prop_assert_eq!(scrub(&text), text);
    }
}
