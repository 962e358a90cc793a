//! The dead man's switch: a ping to somewhere else while all is well, so that our own death is noticed there.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use url::Url;

/// Where and how often to ping.
#[derive(Clone, Debug)]
pub struct Settings {
    pub url: Url,
    pub interval: Duration,
    pub timeout: Duration,
}

impl Settings {
    /// A ping a minute, each with ten seconds to be answered: what such services expect.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self {
            url,
            interval: Duration::from_mins(1),
            timeout: Duration::from_secs(10),
        }
    }
}

/// Pings while `healthy` says so, until `stop`. A ping that fails is only warned of: its absence is the signal.
///
/// # Panics
/// When the system's root certificates cannot be read.
pub async fn run(settings: Settings, healthy: impl Fn() -> bool, stop: CancellationToken) {
    // A provider that the program installed before stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder()
        .timeout(settings.timeout)
        .build()
        .expect("the TLS provider is installed and all options are constants");
    let mut ticks = interval(settings.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if !healthy() {
            continue;
        }
        let ping = http.get(settings.url.clone()).send();
        let Some(answer) = stop.run_until_cancelled(ping).await else {
            return;
        };
        // The URL often carries the check's secret, so that it stays out of the log.
        if let Err(error) = answer.and_then(reqwest::Response::error_for_status) {
            warn!(error = %error.without_url(), "the dead man's switch did not take the ping");
        }
    }
}
