//! Prometheus as a source of facts: instant and range queries, and what its exporters tell about the GPUs and the
//! memory of a job. An empty answer is never read as zero.

pub mod client;
pub mod facts;
mod transport;
mod wire;

use std::fmt;
use std::time::Duration;

use url::Url;

pub use client::{Prometheus, Window, any_of, quoted};
pub use wire::{Answered, Labels, Point, Sample, Series};

/// Where the server is, and how long it may take. Times have the defaults of [`Settings::new`].
#[derive(Clone)]
pub struct Settings {
    /// The server's address; may carry a path prefix, and a user and password for basic authentication.
    pub endpoint: Url,
    pub connect_timeout: Duration,
    /// For one try of a query, its body included.
    pub timeout: Duration,
    /// For a query with all its tries.
    pub patience: Duration,
    /// First wait between two tries; doubles with each try.
    pub backoff: Duration,
    /// A larger answer is refused, in bytes.
    pub largest_answer: usize,
}

impl Settings {
    /// Settings with the usual limits: 3 s to connect, 8 s for a try, 12 s in all, answers up to 32 MiB.
    #[must_use]
    pub fn new(endpoint: Url) -> Self {
        Self {
            endpoint,
            connect_timeout: Duration::from_secs(3),
            timeout: Duration::from_secs(8),
            patience: Duration::from_secs(12),
            backoff: Duration::from_millis(300),
            largest_answer: 32 << 20,
        }
    }
}

/// The address may hold a password, which is not shown.
impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Settings")
            .field("host", &self.endpoint.host_str())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// What went wrong, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    #[error("Prometheus refused the credentials")]
    Unauthorized,
    #[error("Prometheus grants no access: {message}")]
    Forbidden { message: String },
    /// The query itself is wrong, or too much to ask: the same query fails again.
    #[error("Prometheus refused the query ({kind}): {message}")]
    Refused { kind: String, message: String },
    #[error("Prometheus is rate limiting, retry in {} s", .retry_after.as_secs())]
    RateLimited { retry_after: Duration },
    #[error("Prometheus answered {status}: {message}")]
    Failed { status: u16, message: String },
    /// The answer is not what the API promises, for example a proxy's HTML page.
    #[error("cannot read the answer of Prometheus: {reason}")]
    Malformed { reason: String },
    #[error("the answer of Prometheus is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("Prometheus did not answer within {} s", .after.as_secs())]
    TimedOut { after: Duration },
    #[error("Prometheus cannot be reached")]
    Unreachable(#[source] reqwest::Error),
}

impl MetricsError {
    /// True where the same query may succeed a moment later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::RateLimited { .. } | Self::Unreachable(_) | Self::TimedOut { .. } => true,
            Self::Failed { status, .. } => matches!(status, 500 | 502 | 503 | 504),
            Self::Unauthorized
            | Self::Forbidden { .. }
            | Self::Refused { .. }
            | Self::Malformed { .. }
            | Self::TooLarge { .. } => false,
        }
    }

    /// The error and its deepest reason, in one sentence for people.
    #[must_use]
    pub fn told(&self) -> String {
        let mut text = self.to_string();
        let mut deepest = std::error::Error::source(self);
        while let Some(next) = deepest.and_then(std::error::Error::source) {
            deepest = Some(next);
        }
        if let Some(reason) = deepest {
            text.push_str(": ");
            text.push_str(&reason.to_string());
        }
        text
    }
}
