//! The client of the query API. Everything it sends is a read, and is tried again where that is polite.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use reqwest::RequestBuilder;

use super::transport::{self, Tries};
use super::wire::{self, Answered, Sample, Series};
use super::{MetricsError, Settings};

/// A longer query goes into the body of a POST: proxies cut addresses, but some refuse POST.
const LONGEST_IN_ADDRESS: usize = 2_000;
/// The server refuses ranges of more points per series than this.
const MOST_POINTS: i64 = 11_000;

/// A span of time in equal steps, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub start: Timestamp,
    pub end: Timestamp,
    /// In seconds, at least 1.
    pub step: u32,
}

impl Window {
    /// The `span` before `end`, in steps of `step` seconds.
    #[must_use]
    pub fn before(end: Timestamp, span: SignedDuration, step: u32) -> Self {
        Self {
            start: end.checked_sub(span).unwrap_or(Timestamp::UNIX_EPOCH),
            end,
            step,
        }
    }

    /// The step, widened where the server would refuse the number of points.
    fn allowed_step(&self) -> i64 {
        let seconds = self.end.duration_since(self.start).as_secs().max(0);
        i64::from(self.step)
            .max(1)
            .max(seconds / (MOST_POINTS - 1) + 1)
    }
}

/// A client of one Prometheus, or of anything that speaks its query API; clones share the connections.
#[derive(Clone, Debug)]
pub struct Prometheus {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    http: reqwest::Client,
    settings: Settings,
}

impl Prometheus {
    /// A client; nothing is sent yet.
    ///
    /// # Panics
    /// When the system's root certificates cannot be read.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        // A provider that the program installed before stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.timeout)
            // The API never redirects; a log-in page does.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("nightbell/", env!("CARGO_PKG_VERSION")))
            .build()
            .expect("the TLS provider is installed and all options are constants");
        Self {
            shared: Arc::new(Shared { http, settings }),
        }
    }

    /// The value of every series that `query` gives at `at`, or now. A scalar is one sample without labels.
    pub async fn instant(
        &self,
        query: &str,
        at: Option<Timestamp>,
    ) -> Result<Answered<Sample>, MetricsError> {
        let mut form = vec![("query", query.to_owned())];
        form.extend(at.map(|at| ("time", seconds(at))));
        wire::samples(&self.ask("api/v1/query", &form).await?)
    }

    /// The values of every series that `query` gives in a window.
    pub async fn range(
        &self,
        query: &str,
        window: Window,
    ) -> Result<Answered<Series>, MetricsError> {
        let form = [
            ("query", query.to_owned()),
            ("start", seconds(window.start)),
            ("end", seconds(window.end)),
            ("step", window.allowed_step().to_string()),
        ];
        wire::series(&self.ask("api/v1/query_range", &form).await?)
    }

    async fn ask(&self, path: &str, form: &[(&str, String)]) -> Result<Vec<u8>, MetricsError> {
        let settings = &self.shared.settings;
        let mut tries = Tries::new(settings);
        loop {
            let sent = transport::send(self.request(path, form), settings.largest_answer);
            let outcome = match tokio::time::timeout_at(tries.until(), sent).await {
                Ok(outcome) => outcome,
                Err(_) => Err(MetricsError::TimedOut {
                    after: settings.patience,
                }),
            };
            match outcome {
                Ok(body) => return Ok(body),
                Err(error) => tries.wait(error).await?,
            }
        }
    }

    fn request(&self, path: &str, form: &[(&str, String)]) -> RequestBuilder {
        let mut url = self.shared.settings.endpoint.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        // People paste the address of the query API as often as that of the server.
        let base = base.strip_suffix("/api/v1").unwrap_or(&base);
        url.set_path(&format!("{base}/{path}"));
        let length: usize = form.iter().map(|(_, value)| value.len()).sum();
        if length > LONGEST_IN_ADDRESS {
            self.shared.http.post(url).form(form)
        } else {
            self.shared.http.get(url).query(form)
        }
    }
}

/// Unix seconds with milliseconds, as the API takes times.
fn seconds(at: Timestamp) -> String {
    let milliseconds = at.as_millisecond();
    format!(
        "{}.{:03}",
        milliseconds.div_euclid(1000),
        milliseconds.rem_euclid(1000)
    )
}

/// A label value as a PromQL string, quotes included: text from outside stays a value.
#[must_use]
pub fn quoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

/// A PromQL string for `=~` that matches exactly these values, quotes included.
#[must_use]
pub fn any_of<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let escaped: Vec<String> = values.into_iter().map(regex::escape).collect();
    quoted(&escaped.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_from_outside_stay_values() {
        assert_eq!(
            quoted("a\"} or vector(1) #\\"),
            r#""a\"} or vector(1) #\\""#
        );
        assert_eq!(
            any_of(["gpu-1.lab", "b|.*"]),
            r#""gpu\\-1\\.lab|b\\|\\.\\*""#
        );
    }

    #[test]
    fn a_window_never_asks_for_more_points_than_the_server_gives() {
        let end: Timestamp = "2026-03-02T10:00:00Z".parse().unwrap();
        let window = Window::before(end, SignedDuration::from_hours(24 * 30), 1);
        assert!(30 * 24 * 3600 / window.allowed_step() < MOST_POINTS);
        let hour = Window::before(end, SignedDuration::from_hours(1), 60);
        assert_eq!(hour.allowed_step(), 60);
        let backwards = Window {
            start: end,
            end: hour.start,
            step: 0,
        };
        assert_eq!(backwards.allowed_step(), 1);
    }

    #[test]
    fn times_are_sent_with_milliseconds() {
        assert_eq!(
            seconds("2026-03-02T10:00:00.25Z".parse().unwrap()),
            "1772445600.250"
        );
    }
}
