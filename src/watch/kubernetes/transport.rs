//! Requests to one cluster, each with a deadline. Reads that fail for the moment are tried again; writes never are.

use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::{Request, Response, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kube::client::Body;
use kube::core::WatchEvent;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout_at};

use super::client::ClusterClient;
use super::error::KubeError;
use super::slim::{Lenient, Page};

/// A person waits for these answers.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
/// A page of 500 pods, for which nobody waits, from a server that may be busy.
const PAGE_DEADLINE: Duration = Duration::from_mins(1);
/// Logs come from the node, by way of the API server.
pub(super) const LOG_DEADLINE: Duration = Duration::from_secs(15);
/// 100 lines of the longest kind kept fit nearly always; ten times the usual tail.
pub(super) const LOG_BYTES: usize = 1024 * 1024;
/// Far above a page of 500 pods (about 4 MB).
const ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// What client-go takes per page.
const PAGE: &str = "500";
/// Pages read to answer one question: 10,000 objects of one namespace.
const PAGES: usize = 20;
const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

impl ClusterClient {
    /// One object, tried again while the cluster has a moment's trouble.
    pub(super) async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, KubeError> {
        let mut tries = Tries::new(DEADLINE);
        loop {
            match within(tries.until, DEADLINE, self.answer(get(path)?)).await {
                Ok(answer) => return decode(&answer),
                Err(error) => tries.wait(error).await?,
            }
        }
    }

    /// All pages of a list, up to [`PAGES`].
    pub(super) async fn list<T>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Vec<T>, KubeError>
    where
        T: for<'de> Lenient<'de>,
    {
        let mut items = Vec::new();
        let mut next: Option<String> = None;
        for _ in 0..PAGES {
            let path = page_path(path, query, next.as_deref());
            let page: Page<T> = self.read(&path).await?;
            items.extend(page.items);
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        Ok(items)
    }

    /// One page of a list, asked for once. For lists that are followed by a watch.
    pub(super) async fn page<T>(&self, path: &str, next: Option<&str>) -> Result<Page<T>, KubeError>
    where
        T: for<'de> Lenient<'de>,
    {
        let until = Instant::now() + PAGE_DEADLINE;
        let request = get(&page_path(path, &[], next))?;
        decode(&within(until, PAGE_DEADLINE, self.answer(request)).await?)
    }

    /// Opens a watch from a resource version on. The server ends it after `lifetime`, or when it likes.
    pub(super) async fn watch<T>(
        &self,
        path: &str,
        version: &str,
        lifetime: Duration,
    ) -> Result<impl Stream<Item = kube::Result<WatchEvent<T>>> + Send + use<T>, KubeError>
    where
        T: Clone + DeserializeOwned + Send + 'static,
    {
        let seconds = lifetime.as_secs().max(1).to_string();
        let query = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", &seconds),
            ("resourceVersion", version),
        ];
        let request = Request::get(with_query(path, &query))
            .body(Vec::new())
            .map_err(malformed)?;
        let until = Instant::now() + DEADLINE;
        let opened = async { Ok(self.client.request_events(request).await?) };
        within(until, DEADLINE, opened).await
    }

    pub(super) async fn answer(&self, request: Request<Body>) -> Result<Bytes, KubeError> {
        let response = self.send(request).await?;
        body(response, ANSWER_BYTES).await
    }

    /// Sends a request; an answer that is not a success is an error.
    pub(super) async fn send(&self, request: Request<Body>) -> Result<Response<Body>, KubeError> {
        let response = self.client.send(request).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let body = body(response, ANSWER_BYTES).await.unwrap_or_default();
        Err(KubeError::from_answer(status.as_u16(), retry_after, &body))
    }
}

/// Names go into paths: what is no name (`../secrets`, `a?b`) is not found, and never sent.
pub(super) fn segment(name: &str) -> Result<&str, KubeError> {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
    let is_name = !name.is_empty()
        && name.len() <= 253
        && name.bytes().all(allowed)
        && !name.starts_with('.');
    if is_name {
        Ok(name)
    } else {
        Err(KubeError::NotFound {
            message: "that is not a Kubernetes name".to_owned(),
        })
    }
}

pub(super) fn with_query(path: &str, query: &[(&str, &str)]) -> String {
    if query.is_empty() {
        return path.to_owned();
    }
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(query)
        .finish();
    format!("{path}?{query}")
}

fn page_path(path: &str, query: &[(&str, &str)], next: Option<&str>) -> String {
    let mut query = query.to_vec();
    query.push(("limit", PAGE));
    query.extend(next.map(|token| ("continue", token)));
    with_query(path, &query)
}

pub(super) fn get(path: &str) -> Result<Request<Body>, KubeError> {
    Request::get(path).body(Body::empty()).map_err(malformed)
}

pub(super) fn malformed(error: impl std::fmt::Display) -> KubeError {
    KubeError::Malformed {
        what: error.to_string(),
    }
}

pub(super) fn decode<T: DeserializeOwned>(answer: &[u8]) -> Result<T, KubeError> {
    serde_json::from_slice(answer).map_err(malformed)
}

pub(super) fn found<T>(result: Result<T, KubeError>) -> Result<Option<T>, KubeError> {
    match result {
        Ok(object) => Ok(Some(object)),
        Err(KubeError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Up to three tries of one read, all before one deadline.
pub(super) struct Tries {
    pub(super) until: Instant,
    left: u32,
    pause: Duration,
}

impl Tries {
    pub(super) fn new(deadline: Duration) -> Self {
        Self {
            until: Instant::now() + deadline,
            left: TRIES - 1,
            pause: FIRST_PAUSE,
        }
    }

    /// Waits for the next try, or gives the error back where another one would not help or come too late.
    pub(super) async fn wait(&mut self, error: KubeError) -> Result<(), KubeError> {
        let wait = match &error {
            KubeError::RateLimited { retry_after } => *retry_after,
            // Half to one and a half of the pause, so that many callers do not come back at once.
            _ => self.pause.mul_f64(0.5 + fastrand::f64()),
        };
        if self.left == 0 || !error.is_transient() || Instant::now() + wait >= self.until {
            return Err(error);
        }
        sleep(wait).await;
        self.left -= 1;
        self.pause *= 2;
        Ok(())
    }
}

pub(super) async fn within<T>(
    until: Instant,
    limit: Duration,
    call: impl Future<Output = Result<T, KubeError>>,
) -> Result<T, KubeError> {
    timeout_at(until, call).await.unwrap_or_else(|_| {
        let silence = format!("no answer within {} s", limit.as_secs());
        Err(KubeError::Unreachable(silence.into()))
    })
}

async fn body(response: Response<Body>, limit: usize) -> Result<Bytes, KubeError> {
    match Limited::new(response.into_body(), limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(malformed(format!("longer than {limit} bytes")))
        }
        Err(error) => Err(KubeError::Unreachable(error)),
    }
}

/// Reads up to [`LOG_BYTES`]. What came before a stall or a break is worth more than an error.
pub(super) async fn read_log(
    response: Response<Body>,
    until: Instant,
) -> Result<Vec<u8>, KubeError> {
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while bytes.len() < LOG_BYTES {
        match timeout_at(until, body.frame()).await {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => {
                if let Ok(chunk) = frame.into_data() {
                    bytes.extend_from_slice(&chunk);
                }
            }
            Ok(Some(Err(_))) | Err(_) if !bytes.is_empty() => break,
            Ok(Some(Err(error))) => return Err(KubeError::Unreachable(error.into())),
            Err(elapsed) => return Err(KubeError::Unreachable(elapsed.into())),
        }
    }
    bytes.truncate(LOG_BYTES);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_never_reaches_a_path() {
        for name in [
            "",
            "..",
            "../secrets",
            "a/b",
            "a?b",
            "a%2fb",
            "a b",
            ".hidden",
        ] {
            assert!(
                matches!(segment(name), Err(KubeError::NotFound { .. })),
                "{name}"
            );
        }
        assert!(segment("bert-eval-6l7zh").is_ok());
        assert!(segment("node-1.example.com").is_ok());
    }
}
