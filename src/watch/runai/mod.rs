//! Run:AI as a source: the client of its control plane, and the poller that turns workloads into observations.
//!
//! The API tells phases and messages, never exit codes or logs; those come from Kubernetes. What a phase means is
//! decided by `detect`, not here.

pub mod client;
pub mod poller;
mod sweep;
mod token;
mod transport;
pub(crate) mod wire;

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

pub use client::RunaiClient;

/// Where the control plane is and how to sign in. Times have the defaults of [`Settings::new`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// `https://tenant.run.ai`, or the address of a self-hosted control plane; may carry a path prefix.
    pub base_url: Url,
    pub client_id: String,
    pub client_secret: SecretString,
    pub sign_in: SignIn,
    pub connect_timeout: Duration,
    /// For one call as a whole, its body included.
    pub timeout: Duration,
    /// First wait between two tries of a read; doubles with each try.
    pub backoff: Duration,
    /// The longest `Retry-After` that a read waits for itself; a longer one is handed to the caller.
    pub longest_wait: Duration,
}

impl Settings {
    /// Settings with the usual limits: 5 s to connect, 30 s for a call, 500 ms before the first retry.
    #[must_use]
    pub fn new(base_url: Url, client_id: String, client_secret: SecretString) -> Self {
        Self {
            base_url,
            client_id,
            client_secret,
            sign_in: SignIn::V1,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            backoff: Duration::from_millis(500),
            longest_wait: Duration::from_secs(20),
        }
    }
}

/// Which token endpoint is asked. Exactly one, always: trying several with one secret looks like an attack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignIn {
    /// `POST /api/v1/token`, JSON with `clientID` and `clientSecret`: every release from 2.20.
    #[default]
    V1,
    /// `POST /api/v2/token`, an OAuth form: the one that release 3.0 documents.
    V2,
}

/// What went wrong, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum RunaiError {
    #[error("Run:AI refused the credentials")]
    Unauthorized,
    #[error("Run:AI grants this service account no access: {message}")]
    Forbidden { message: String },
    #[error("Run:AI does not know it")]
    NotFound,
    #[error("Run:AI is rate limiting, retry in {} s", .retry_after.as_secs())]
    RateLimited { retry_after: Duration },
    #[error("Run:AI answered {status}: {message}")]
    Rejected { status: u16, message: String },
    /// The answer is not what the API promises, for example a proxy's HTML page.
    #[error("cannot read Run:AI's {what}: {reason}; it begins with `{excerpt}`")]
    Malformed {
        what: &'static str,
        reason: String,
        excerpt: String,
    },
    #[error("Run:AI did not answer")]
    Unreachable(#[source] reqwest::Error),
    /// The call was never made.
    #[error("cannot ask Run:AI: {0}")]
    InvalidArgument(String),
    /// The API has no such action for this kind of workload. The call was never made.
    #[error("Run:AI cannot {action} a workload of kind {kind}")]
    Unsupported { action: &'static str, kind: String },
}

impl RunaiError {
    /// True when an action may have been carried out although this error came back: it was sent, and no answer of the
    /// control plane itself says that it was refused.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Self::Unreachable(source) => !source.is_connect(),
            Self::Rejected { status, .. } => *status >= 500,
            Self::Malformed { .. } => true,
            Self::Unauthorized
            | Self::Forbidden { .. }
            | Self::NotFound
            | Self::RateLimited { .. }
            | Self::InvalidArgument(_)
            | Self::Unsupported { .. } => false,
        }
    }

    /// The error and what lies under it, in one sentence for people.
    #[must_use]
    pub fn told(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}
