//! nightbell's own logs: JSON on standard error and in rotated files.
//!
//! `app.log` holds everything; `actions.log`, `ai_decisions.log` and `startup.log` hold the lines of one concern each.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use file_rotate::{ContentLimit, FileRotate, compression::Compression, suffix::AppendCount};
use serde::de::IgnoredAny;
use serde_json::Value;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::config::Log;
use crate::redact;

/// A log file is rotated at 10 MB and five are kept.
const FILE_BYTES: usize = 10 * 1024 * 1024;
const FILES_KEPT: usize = 5;

/// Targets for lines that also go to a file of their own.
pub const STARTUP: &str = "nightbell::startup";
pub const ACTIONS: &str = "nightbell::action";
pub const DECISIONS: &str = "nightbell::decide";

/// How the console shows log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    Json,
    /// For people at a terminal: the demo, one-off commands.
    Plain,
}

/// Starts logging. Call once per process. A folder that cannot be written to is said, and the console stays.
pub fn start(log: &Log, console: Console) {
    let level = if log.debug { "debug" } else { &log.level };
    // At debug level the Slack library prints the expected signature of a forged request, and hyper every frame.
    let filter = format!(
        "{level},slack_morphism=info,hyper=info,h2=info,rustls=info,sqlx=warn,kube_client=info"
    );
    let filter = if level.contains('=') {
        level.to_owned()
    } else {
        filter
    };
    let filter = || EnvFilter::new(&filter);

    let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = Vec::new();
    let terminal = tracing_subscriber::fmt::layer().with_writer(|| Scrubbed(io::stderr()));
    layers.push(match console {
        Console::Json => terminal
            .json()
            .flatten_event(true)
            .with_filter(filter())
            .boxed(),
        Console::Plain => terminal
            .with_target(false)
            .compact()
            .with_filter(filter())
            .boxed(),
    });
    let folder = std::fs::create_dir_all(&log.folder);
    if folder.is_ok() {
        let file = |name: &str| {
            tracing_subscriber::fmt::layer()
                .json()
                .flatten_event(true)
                .with_writer({
                    let file = RotatedFile::new(&log.folder, name);
                    move || Scrubbed(file.clone())
                })
        };
        layers.push(file("app.log").with_filter(filter()).boxed());
        for (name, target) in [
            ("startup.log", STARTUP),
            ("actions.log", ACTIONS),
            ("ai_decisions.log", DECISIONS),
        ] {
            let only = Targets::new().with_target(target, LevelFilter::DEBUG);
            layers.push(file(name).with_filter(only).boxed());
        }
    }
    if tracing_subscriber::registry()
        .with(layers)
        .try_init()
        .is_err()
    {
        // Another subscriber was installed first, as tests do: it gets the lines.
        return;
    }
    if let Err(error) = folder {
        tracing::warn!(folder = %log.folder.display(), %error, "cannot write log files; logging to the console only");
    }
}

#[derive(Clone)]
struct RotatedFile(Arc<Mutex<FileRotate<AppendCount>>>);

impl RotatedFile {
    fn new(folder: &Path, name: &str) -> Self {
        let rotate = FileRotate::new(
            folder.join(name),
            AppendCount::new(FILES_KEPT - 1),
            ContentLimit::BytesSurpassed(FILE_BYTES),
            Compression::None,
            None,
        );
        Self(Arc::new(Mutex::new(rotate)))
    }
}

impl io::Write for RotatedFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .flush()
    }
}

/// Writes log lines without the secrets that an error or a message from outside may have brought into them.
struct Scrubbed<W>(W);

impl<W: io::Write> io::Write for Scrubbed<W> {
    /// Each call brings one whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match scrubbed(&String::from_utf8_lossy(line)) {
            Some(clean) => self.0.write_all(clean.as_bytes())?,
            None => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The line without its secrets; `None` where it holds none. A line of JSON stays one.
fn scrubbed(line: &str) -> Option<String> {
    let redacted = match redact::redact(line) {
        Cow::Borrowed(_) => return None,
        Cow::Owned(redacted) => redacted,
    };
    let Ok(mut fields) = serde_json::from_str::<Value>(line) else {
        return Some(redacted);
    };
    if serde_json::from_str::<IgnoredAny>(&redacted).is_ok() {
        return Some(redacted);
    }
    // A secret stood beside an escaped quote: each text is redacted as it was before it was escaped.
    scrub_texts(&mut fields);
    Some(format!("{fields}\n"))
}

fn scrub_texts(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(redacted) = redact::redact(text) {
                *text = redacted;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(scrub_texts),
        Value::Object(fields) => fields.values_mut().for_each(scrub_texts),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_secret_reaches_a_log_and_every_line_stays_json(
            before in "[a-z \"\\\\{}:,=]{0,20}",
            secret in "[A-Z][a-z0-9]{14}7",
            after in "[a-z \"\\\\{}:,=]{0,20}",
        ) {
            let message = format!("{before} password={secret} {after}");
            let line = format!("{}\n", serde_json::json!({"level": "WARN", "message": message}));
            let clean = scrubbed(&line).expect("it holds a secret");
            prop_assert!(!clean.contains(&secret), "{clean}");
            let read: Value = serde_json::from_str(&clean).expect("still JSON");
            prop_assert_eq!(&read["level"], "WARN");
            prop_assert!(clean.ends_with('\n'));
        }
    }

    #[test]
    fn a_line_without_secrets_is_written_as_it_is() {
        let mut out = Vec::new();
        let line = "{\"level\":\"INFO\",\"message\":\"paged U123 for train-0\"}\n";
        io::Write::write_all(&mut Scrubbed(&mut out), line.as_bytes()).unwrap();
        assert_eq!(out, line.as_bytes());
    }
}
