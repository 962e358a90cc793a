//! PagerDuty's Events API v2: trigger, acknowledge and resolve, always with a deduplication key of ours.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::{Value, json};
use url::Url;

use crate::alert::Severity;

/// Characters that PagerDuty takes for a summary and for a key.
const SUMMARY: usize = 1_024;
const KEY: usize = 255;
/// The documentation asks for 30 s between tries after a rate limit.
const RATE_LIMIT_WAIT: Duration = Duration::from_secs(30);
/// More than this is taken for a mistake; times far enough ahead cannot even be added to the clock.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// Where and how events are sent.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Base URL; `v2/enqueue` is appended.
    pub events_url: Url,
    /// The 32-character integration key of a service. It is the only credential.
    pub routing_key: SecretString,
    pub timeout: Duration,
    /// Where people reach nightbell's page, for the link in an incident.
    pub page: Option<Url>,
}

/// What the caller can do about a failed call.
#[derive(Debug, thiserror::Error)]
pub enum PagerError {
    #[error("PagerDuty is rate limiting, retry in {} s", .retry_after.as_secs())]
    RateLimited { retry_after: Duration },
    /// The event itself is bad; sending it again would fail again.
    #[error("PagerDuty rejected the event: {message}")]
    Rejected { message: String },
    /// Undocumented for events: most likely a proxy or a wrong URL.
    #[error("PagerDuty refused the call with status {status}")]
    Refused { status: u16 },
    #[error("PagerDuty failed with status {status}")]
    Unavailable { status: u16 },
    #[error("PagerDuty did not answer")]
    Unreachable(#[source] reqwest::Error),
}

/// What PagerDuty is told.
#[derive(Clone, Debug, PartialEq)]
pub enum PagerEvent {
    Trigger { key: String, trigger: Box<Trigger> },
    Acknowledge { key: String },
    Resolve { key: String },
}

/// What a page says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trigger {
    pub summary: String,
    pub source: String,
    pub severity: Severity,
    pub timestamp: Timestamp,
    pub component: String,
    pub group: Option<String>,
    pub class: String,
    pub details: Value,
    /// Links with their labels.
    pub links: Vec<(String, String)>,
}

/// A client of the Events API; cheap to clone.
#[derive(Clone, Debug)]
pub struct PagerDuty {
    http: reqwest::Client,
    enqueue: Url,
    settings: Settings,
}

impl PagerDuty {
    /// # Errors
    /// When the machine's TLS set-up cannot be used or the base URL cannot have paths.
    pub fn new(settings: Settings) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(settings.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("nightbell")
            .build()?;
        let mut enqueue = settings.events_url.clone();
        enqueue
            .path_segments_mut()
            .map_err(|()| anyhow::anyhow!("the PagerDuty events URL takes no path"))?
            .pop_if_empty()
            .extend(["v2", "enqueue"]);
        Ok(Self {
            http,
            enqueue,
            settings,
        })
    }

    /// Sends an event. A trigger that PagerDuty finds malformed is sent once more with only what it requires.
    ///
    /// `Ok` means queued, not that someone was woken: a maintenance window or an event rule can still swallow it.
    ///
    /// # Errors
    /// See [`PagerError`].
    pub async fn send(&self, event: &PagerEvent) -> Result<(), PagerError> {
        match (self.enqueue(&self.body(event, true)).await, event) {
            (Err(PagerError::Rejected { message }), PagerEvent::Trigger { .. }) => {
                tracing::error!(pagerduty.answer = %message, "PagerDuty rejected a page; sending its bare form");
                self.enqueue(&self.body(event, false)).await
            }
            (result, _) => result,
        }
    }

    fn body(&self, event: &PagerEvent, full: bool) -> Value {
        let routing_key = self.settings.routing_key.expose_secret();
        let plain = |action: &str, key: &str| json!({"routing_key": routing_key, "event_action": action, "dedup_key": cut(key, KEY)});
        let (key, trigger) = match event {
            PagerEvent::Acknowledge { key } => return plain("acknowledge", key),
            PagerEvent::Resolve { key } => return plain("resolve", key),
            PagerEvent::Trigger { key, trigger } => (key, trigger),
        };
        let mut body = plain("trigger", key);
        body["payload"] = json!({
            "summary": cut(&trigger.summary, SUMMARY),
            "source": if trigger.source.is_empty() { "nightbell" } else { &trigger.source },
            "severity": severity(trigger.severity),
        });
        if full {
            body["payload"]["timestamp"] = json!(trigger.timestamp.to_string());
            body["payload"]["component"] = json!(trigger.component);
            body["payload"]["class"] = json!(trigger.class);
            if let Some(group) = &trigger.group {
                body["payload"]["group"] = json!(group);
            }
            body["payload"]["custom_details"] = trigger.details.clone();
            body["client"] = json!("nightbell");
            if let Some(page) = &self.settings.page {
                body["client_url"] = json!(page.as_str());
            }
            let links: Vec<Value> = trigger
                .links
                .iter()
                .map(|(text, href)| json!({"href": href, "text": text}))
                .collect();
            if !links.is_empty() {
                body["links"] = json!(links);
            }
        }
        body
    }

    async fn enqueue(&self, body: &Value) -> Result<(), PagerError> {
        let response = self
            .http
            .post(self.enqueue.clone())
            .json(body)
            .send()
            .await
            .map_err(PagerError::Unreachable)?;
        let status = response.status();
        match status {
            StatusCode::ACCEPTED | StatusCode::OK => Ok(()),
            StatusCode::TOO_MANY_REQUESTS => {
                let stated = response
                    .headers()
                    .get("retry-after")
                    .and_then(|value| value.to_str().ok()?.parse().ok());
                Err(PagerError::RateLimited {
                    retry_after: stated
                        .map_or(RATE_LIMIT_WAIT, Duration::from_secs)
                        .min(LONGEST_WAIT),
                })
            }
            StatusCode::BAD_REQUEST => {
                let text = response.text().await.unwrap_or_default();
                Err(PagerError::Rejected {
                    message: crate::redact::line(&text, 300),
                })
            }
            status if status.is_server_error() => Err(PagerError::Unavailable {
                status: status.as_u16(),
            }),
            status => Err(PagerError::Refused {
                status: status.as_u16(),
            }),
        }
    }
}

/// P0 … P3 in PagerDuty's words.
fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "info",
    }
}

fn cut(text: &str, max: usize) -> String {
    text.chars().take(max).collect()
}
