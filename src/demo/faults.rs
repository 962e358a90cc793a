//! What can go wrong with a simulated server: slow, rate-limiting, malformed, refusing, gone.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// The faults of one simulated server. Clones share them; everything starts healthy.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<Planned>,
    /// Counts how often open watches were to end.
    watch_epoch: AtomicU64,
    /// Counts requests served, refused ones included.
    requests: AtomicU64,
}

#[derive(Debug, Default)]
struct Planned {
    latency: Duration,
    failures: Option<Failures>,
    malformed: u32,
    down: bool,
    tokens_revoked: bool,
    forbidden: HashSet<(String, String)>,
}

#[derive(Clone, Debug)]
struct Failures {
    left: u32,
    status: StatusCode,
    retry_after: Option<Duration>,
}

impl Faults {
    /// Each answer takes this long.
    pub fn latency(&self, latency: Duration) {
        self.lock().latency = latency;
    }

    /// The next `count` requests are answered with `status`, and `Retry-After` if given.
    ///
    /// # Panics
    /// If `status` is no HTTP status.
    pub fn fail_next(&self, count: u32, status: u16, retry_after: Option<Duration>) {
        let status = StatusCode::from_u16(status).expect("a test asks for a status that exists");
        self.lock().failures = Some(Failures {
            left: count,
            status,
            retry_after,
        });
    }

    /// The next `count` answers break off in the middle of their JSON.
    pub fn malformed_next(&self, count: u32) {
        self.lock().malformed = count;
    }

    /// The server closes every connection without an answer, until called with `false`.
    pub fn down(&self, down: bool) {
        self.lock().down = down;
    }

    /// No token is good any more, the ones issued from now on included, until called with `false`.
    pub fn revoke_tokens(&self, revoked: bool) {
        self.lock().tokens_revoked = revoked;
    }

    /// The caller may not do `verb` on `resource` (its plural, `pods`), whatever the namespace.
    pub fn forbid(&self, verb: &str, resource: &str) {
        self.lock()
            .forbidden
            .insert((verb.to_owned(), resource.to_owned()));
    }

    /// How many requests came in so far.
    pub fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }

    pub(super) fn is_down(&self) -> bool {
        self.lock().down
    }

    pub(super) fn tokens_revoked(&self) -> bool {
        self.lock().tokens_revoked
    }

    pub(super) fn forbids(&self, verb: &str, resource: &str) -> bool {
        self.lock()
            .forbidden
            .contains(&(verb.to_owned(), resource.to_owned()))
    }

    pub(super) fn end_watches(&self) {
        self.0.watch_epoch.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn watch_epoch(&self) -> u64 {
        self.0.watch_epoch.load(Ordering::SeqCst)
    }

    /// One of the planned failures, if any is left.
    fn take_failure(&self) -> Option<Failures> {
        let mut planned = self.lock();
        let failures = planned
            .failures
            .as_mut()
            .filter(|failures| failures.left > 0)?;
        failures.left -= 1;
        Some(failures.clone())
    }

    fn take_malformed(&self) -> bool {
        let mut planned = self.lock();
        let take = planned.malformed > 0;
        planned.malformed = planned.malformed.saturating_sub(1);
        take
    }

    fn lock(&self) -> MutexGuard<'_, Planned> {
        self.0
            .state
            .lock()
            .expect("nothing panics while it holds the faults")
    }
}

/// The body of a planned failure, in the manner of the server.
pub(super) type ErrorBody = fn(StatusCode) -> serde_json::Value;

/// Middleware that makes the planned faults happen.
pub(super) async fn inject(
    State((faults, body)): State<(Faults, ErrorBody)>,
    request: Request,
    next: Next,
) -> Response {
    faults.0.requests.fetch_add(1, Ordering::Relaxed);
    let latency = faults.lock().latency;
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    if let Some(failure) = faults.take_failure() {
        let mut response = (failure.status, axum::Json(body(failure.status))).into_response();
        if let Some(wait) = failure.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs()));
        }
        return response;
    }
    let response = next.run(request).await;
    if faults.take_malformed() {
        broken_off(response).await
    } else {
        response
    }
}

/// The first half of an answer, as a proxy that gave up would send it.
async fn broken_off(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    if http_body_exact(&body).is_none() {
        // A watch has no end to wait for: it says half a line and stops.
        return Response::from_parts(
            parts,
            Body::from("{\"type\":\"ADDED\",\"object\":{\"kind\":\"Po\n"),
        );
    }
    let whole = axum::body::to_bytes(body, usize::MAX)
        .await
        .unwrap_or_default();
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(whole.slice(..whole.len() / 2)))
}

fn http_body_exact(body: &Body) -> Option<u64> {
    axum::body::HttpBody::size_hint(body).exact()
}
