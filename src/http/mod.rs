//! The HTTP surface: health, metrics, the API under `/api/v1`, its documentation, and the page at `/`.
//!
//! What changes something goes through the desk, as every other surface does; reading is answered from the store, the
//! estate and the register of sources. Slack's routes are merged from `chat::slack`.

pub mod access;
mod api;
mod docs;
mod extract;
mod health;
mod limit;
mod metrics;
pub mod oidc;
mod page;
mod peer;
mod problem;
mod stream;
pub mod token;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower_http::compression::CompressionLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::set_header::SetResponseHeaderLayer;

use crate::desk::Handler;
use crate::estate::SharedEstate;
use crate::estate::index::Estate;
use crate::notify::view::Views;
use crate::safety::Safety;
use crate::store::Store;
use crate::watch::control::MonitoringControl;
use crate::watch::sources::Sources;
use problem::Problem;

pub use access::Access;
pub use stream::Pulses;

/// The largest body taken: a sentence with the messages of its thread.
const BODY_LIMIT: usize = 256 * 1024;
/// An answer takes at most this long; collecting the evidence for a diagnosis takes the longest.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Scripts and styles are files of our own; nothing comes from elsewhere and nobody frames us.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'";

/// What the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct Shared {
    pub store: Store,
    pub desk: Handler,
    pub estate: SharedEstate,
    pub sources: Sources,
    pub monitoring: MonitoringControl,
    pub safety: Safety,
    /// Alerts as their messages show them.
    pub views: Views,
    /// Counters that other rooms keep; the rest is computed when it is scraped.
    pub registry: Arc<Registry>,
    pub access: Access,
    /// Everything that is watched is the simulated estate.
    pub demo: bool,
    pub started: Timestamp,
    /// Set once the store is open and the sources run.
    pub ready: tokio::sync::watch::Receiver<bool>,
    /// Ends the open streams, which would otherwise hold up the end of the process.
    pub shutdown: CancellationToken,
    pub pulses: Pulses,
}

impl Shared {
    /// Reads the estate. The lock is held only while `read` runs.
    fn jobs<T>(&self, read: impl FnOnce(&Estate) -> T) -> T {
        // A writer that panicked leaves an estate that is at worst old, and sources say how old.
        read(&self.estate.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Everything below `/`, but for Slack's routes.
pub fn router(shared: Shared) -> Router {
    let open = health::routes().merge(metrics::routes());
    let here = page::routes()
        .merge(docs::routes())
        .route_layer(middleware::from_fn_with_state(
            shared.clone(),
            access::from_here,
        ));
    let api = api::routes()
        .merge(health::detailed_route())
        .route_layer(middleware::from_fn_with_state(
            shared.clone(),
            limit::per_client(),
        ))
        .route_layer(middleware::from_fn_with_state(
            shared.clone(),
            access::admit,
        ))
        .layer(SetResponseHeaderLayer::if_not_present(
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-store"),
        ));
    let routes = open
        .merge(here)
        .merge(api)
        .fallback(nowhere)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(shared);
    with_layers(routes)
}

/// Serves until `stop` completes and the requests in hand are answered.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service)
        .with_graceful_shutdown(stop)
        .await
}

fn with_layers(routes: Router) -> Router {
    let header = |name: &'static str, value: &'static str| {
        SetResponseHeaderLayer::overriding(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    routes.layer(
        ServiceBuilder::new()
            .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
            .layer(middleware::from_fn(trace))
            .layer(PropagateRequestIdLayer::new(REQUEST_ID))
            .layer(header("x-content-type-options", "nosniff"))
            .layer(header("x-frame-options", "DENY"))
            .layer(header("referrer-policy", "no-referrer"))
            .layer(header("cross-origin-opener-policy", "same-origin"))
            .layer(header("cross-origin-resource-policy", "same-origin"))
            .layer(SetResponseHeaderLayer::if_not_present(
                header::CONTENT_SECURITY_POLICY,
                HeaderValue::from_static(CONTENT_POLICY),
            ))
            .layer(CompressionLayer::new())
            .layer(middleware::from_fn(in_time)),
    )
}

/// One span per request, and one line about those that failed on our side.
async fn trace(request: Request, next: Next) -> Response {
    use tracing::Instrument;
    let id = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default();
    let span = tracing::info_span!(
        "http",
        http.method = %request.method(),
        http.path = request.uri().path(),
        request.id = id,
    );
    async {
        let response = next.run(request).await;
        if response.status().is_server_error() {
            tracing::warn!(
                http.status = response.status().as_u16(),
                "could not answer a request"
            );
        }
        response
    }
    .instrument(span)
    .await
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable(format!(
            "no answer within {} s; ask again",
            ANSWER_WITHIN.as_secs()
        ))
        .into_response(),
    }
}

/// Paths that users expect and this version does not have, so that nobody looks for a mistake of their own.
const NOT_BUILT: [(&str, &str); 5] = [
    ("/api/v1/ai/", "learning which action to take"),
    ("/api/v1/runbooks", "runbooks"),
    ("/api/v1/monitoring/logs", "log files as a source"),
    ("/api/v1/logs/", "log files as a source"),
    ("/webhooks/", "incoming webhooks"),
];

async fn nowhere(request: Request) -> Problem {
    let path = request.uri().path();
    let expected = NOT_BUILT
        .iter()
        .find(|(prefix, _)| path.starts_with(prefix));
    if let Some((_, what)) = expected {
        return Problem::not_built(format!(
            "this version does not have {what} yet; /docs lists what it has"
        ));
    }
    Problem::not_found(format!("nothing is at {path}; /docs lists what is"))
}

async fn wrong_method(request: Request) -> Problem {
    Problem::method(format!(
        "{} does not take {}; /docs lists what it takes",
        request.uri().path(),
        request.method()
    ))
}
