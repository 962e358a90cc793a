//! One query over HTTP: limits on time and size, the answer sorted into errors, and when it is asked again.

use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::{MetricsError, Settings};

/// Tries of a query, the first included.
const TRIES: u32 = 3;
/// What a server that says "slow down" without saying for how long is given.
const UNSTATED_WAIT: Duration = Duration::from_secs(5);
/// How much of an error's text is kept, in bytes.
const EXCERPT: usize = 200;

/// The tries of one query, under one deadline.
pub(super) struct Tries {
    until: Instant,
    tried: u32,
    backoff: Duration,
}

impl Tries {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            until: Instant::now() + settings.patience,
            tried: 0,
            backoff: settings.backoff,
        }
    }

    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// Waits for the next try, or hands the error back where trying again does not help or there is no time left.
    ///
    /// Time-outs are not repeated: whoever waits is better told soon.
    pub(super) async fn wait(&mut self, error: MetricsError) -> Result<(), MetricsError> {
        self.tried += 1;
        let jittered = self
            .backoff
            .saturating_mul(2_u32.saturating_pow(self.tried - 1))
            .mul_f64(0.5 + fastrand::f64());
        let wait = match &error {
            MetricsError::RateLimited { retry_after } => *retry_after,
            MetricsError::TimedOut { .. } => return Err(error),
            other if other.is_transient() => jittered,
            _ => return Err(error),
        };
        if self.tried >= TRIES || Instant::now() + wait >= self.until {
            return Err(error);
        }
        sleep(wait).await;
        Ok(())
    }
}

/// Sends one query and reads its answer to the end: the body of a success, or what the failure means.
pub(super) async fn send(request: RequestBuilder, limit: usize) -> Result<Vec<u8>, MetricsError> {
    let started = Instant::now();
    let failed = |error: reqwest::Error| {
        if error.is_timeout() && !error.is_connect() {
            MetricsError::TimedOut {
                after: started.elapsed(),
            }
        } else {
            // The address may hold a password.
            MetricsError::Unreachable(error.without_url())
        }
    };
    let mut response = request.send().await.map_err(failed)?;
    let status = response.status();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(Duration::from_secs);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > limit {
            return Err(MetricsError::TooLarge { limit });
        }
        body.extend_from_slice(&chunk);
    }
    if status.is_success() {
        return Ok(body);
    }
    Err(refusal(status, retry_after, &body))
}

fn refusal(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> MetricsError {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ErrorBody {
        error_type: String,
        error: String,
    }
    let stated: Option<ErrorBody> = serde_json::from_slice(body).ok();
    let message = match &stated {
        Some(stated) => excerpt(stated.error.as_bytes()),
        None => excerpt(body),
    };
    match status {
        StatusCode::UNAUTHORIZED => MetricsError::Unauthorized,
        StatusCode::FORBIDDEN => MetricsError::Forbidden { message },
        StatusCode::TOO_MANY_REQUESTS => MetricsError::RateLimited {
            retry_after: retry_after.unwrap_or(UNSTATED_WAIT),
        },
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::URI_TOO_LONG => {
            MetricsError::Refused {
                kind: stated.map_or_else(
                    || status.as_u16().to_string(),
                    |stated| excerpt(stated.error_type.as_bytes()),
                ),
                message,
            }
        }
        other => MetricsError::Failed {
            status: other.as_u16(),
            message,
        },
    }
}

/// The beginning of a body, on one line.
pub(super) fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(EXCERPT)])
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
