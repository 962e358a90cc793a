//! What can go wrong between here and an API server, by what the caller can do about it.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::time::Duration;

use kube::core::Status;
use tower::BoxError;

/// Why a call to a cluster failed.
#[derive(Debug, thiserror::Error)]
pub enum KubeError {
    #[error("the cluster refused the credentials (401)")]
    Unauthorized,
    /// The kubeconfig's command, token file or provider gave no credentials.
    #[error("no credentials for the cluster")]
    Credentials(#[source] BoxError),
    #[error("not permitted (403): {message}")]
    Forbidden { message: String },
    #[error("not found: {message}")]
    NotFound { message: String },
    /// The object changed, or is not the one that was meant.
    #[error("conflict: {message}")]
    Conflict { message: String },
    #[error("the cluster is rate limiting, retry in {} s", .retry_after.as_secs())]
    RateLimited { retry_after: Duration },
    /// There is no log to read: the container waits to start, or no earlier one ended.
    #[error("no log: {message}")]
    NoLog { message: String },
    #[error("the cluster answered {status}: {message}")]
    Rejected { status: u16, message: String },
    #[error("the cluster's answer was not understood: {what}")]
    Malformed { what: String },
    #[error("the cluster cannot be reached")]
    Unreachable(#[source] BoxError),
}

/// How long to wait where a rate limit does not say: what API servers themselves send by priority and fairness.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

/// More than this is taken for a mistake; times far enough ahead cannot even be added to the clock.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);

/// Longest text taken over from an answer: enough for a sentence, short enough for a status line.
const MESSAGE_CHARS: usize = 300;

impl KubeError {
    /// An answer that is not a success. `retry_after` is that header, if any; `body` a `Status`, or whatever a proxy
    /// in between says.
    #[must_use]
    pub fn from_answer(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let message = match serde_json::from_slice::<Status>(body) {
            Ok(stated) if !stated.message.is_empty() => stated.message,
            Ok(_) | Err(_) => {
                String::from_utf8_lossy(&body[..body.len().min(MESSAGE_CHARS)]).into_owned()
            }
        };
        Self::from_status(status, retry_after, cut(message.trim()))
    }

    fn from_status(status: u16, retry_after: Option<Duration>, message: String) -> Self {
        match status {
            401 => Self::Unauthorized,
            403 => Self::Forbidden { message },
            404 => Self::NotFound { message },
            409 => Self::Conflict { message },
            429 => Self::RateLimited {
                retry_after: retry_after
                    .unwrap_or(DEFAULT_RETRY_AFTER)
                    .min(LONGEST_RETRY_AFTER),
            },
            _ => Self::Rejected { status, message },
        }
    }

    /// The whole story in one line, fit for people: what failed, and the deepest reason known.
    #[must_use]
    pub fn explain(&self) -> String {
        let mut text = self.to_string();
        let mut deepest = self.source();
        while let Some(next) = deepest.and_then(StdError::source) {
            deepest = Some(next);
        }
        if let Some(reason) = deepest {
            let _ = write!(text, ": {reason}");
        }
        cut(&text)
    }

    /// What a role must grant so that this is permitted, where the answer says it: verb and resource.
    #[must_use]
    pub fn needs(&self) -> Option<(&str, &str)> {
        let Self::Forbidden { message } = self else {
            return None;
        };
        // `User "x" cannot list resource "events" in API group "" in the namespace "y"`
        let (_, rest) = message.split_once(" cannot ")?;
        let (verb, rest) = rest.split_once(" resource \"")?;
        let (resource, _) = rest.split_once('"')?;
        let is_word = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.'))
        };
        (is_word(verb) && is_word(resource)).then_some((verb, resource))
    }

    /// True where the same read may succeed a moment later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::RateLimited { .. } | Self::Unreachable(_) => true,
            Self::Rejected { status, .. } => matches!(status, 500 | 502 | 503 | 504),
            Self::Unauthorized
            | Self::Credentials(_)
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::Conflict { .. }
            | Self::NoLog { .. }
            | Self::Malformed { .. } => false,
        }
    }
}

impl From<kube::Error> for KubeError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => {
                let retry_after = status
                    .details
                    .as_ref()
                    .filter(|details| details.retry_after_seconds > 0)
                    .map(|details| Duration::from_secs(u64::from(details.retry_after_seconds)));
                Self::from_status(status.code, retry_after, cut(&status.message))
            }
            kube::Error::Auth(source) => Self::Credentials(source.into()),
            kube::Error::SerdeError(source) => Self::Malformed {
                what: source.to_string(),
            },
            kube::Error::FromUtf8(source) => Self::Malformed {
                what: source.to_string(),
            },
            kube::Error::Service(source) => Self::Unreachable(source),
            other => Self::Unreachable(other.into()),
        }
    }
}

fn cut(text: &str) -> String {
    let one_line: String = text.chars().take(MESSAGE_CHARS).collect();
    one_line.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_becomes_what_the_caller_can_do() {
        let forbidden = include_bytes!("../../../tests/fixtures/kubernetes/error-403.json");
        let KubeError::Forbidden { message } = KubeError::from_answer(403, None, forbidden) else {
            panic!("403 is forbidden");
        };
        assert!(message.contains("cannot list resource \"pods\""));
        let error = KubeError::Forbidden { message };
        assert_eq!(error.needs(), Some(("list", "pods")));

        let limited = KubeError::from_answer(429, Some(Duration::from_secs(7)), b"slow down");
        assert_eq!(
            limited.to_string(),
            "the cluster is rate limiting, retry in 7 s"
        );
        assert!(limited.is_transient());

        let page = format!("<html>\n{}", "x".repeat(10_000));
        let proxy = KubeError::from_answer(502, None, page.as_bytes());
        assert!(proxy.is_transient());
        assert!(proxy.explain().chars().count() <= MESSAGE_CHARS);
        assert!(!proxy.explain().contains('\n'));

        let odd = KubeError::from_answer(400, None, &[0xff, 0xfe]);
        assert!(!odd.is_transient());
    }

    #[test]
    fn the_deepest_reason_is_told() {
        let refused =
            std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "connection refused");
        let wrapped = std::io::Error::other(refused);
        let error = KubeError::Unreachable(Box::new(wrapped));
        assert_eq!(
            error.explain(),
            "the cluster cannot be reached: connection refused"
        );
    }
}
