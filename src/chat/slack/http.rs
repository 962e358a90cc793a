//! Slack over HTTP: verify the bytes, record, acknowledge. No work is done before the answer.

use std::time::Duration;

use axum::Router;
use axum::body::{Bytes, HttpBody as _};
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::time::timeout;
use tracing::{info, warn};

use super::door::{self, Heard, Malformed};
use super::inbox::{Inbox, Receipt};
use super::signature::{Refusal, Verifier};

/// How long a body may take to come. Slack wants its answer in three seconds; whoever sends slower is not Slack.
const BODY_WITHIN: Duration = Duration::from_secs(2);
/// The largest body taken. Slack's payloads carry the whole message whose button was pressed.
const BODY_LIMIT: usize = 1024 * 1024;

#[derive(Clone)]
struct Door {
    inbox: Inbox,
    verifier: Verifier,
}

/// `POST /slack/events`, `/slack/interactions` and `/slack/commands`.
pub fn router(inbox: Inbox, signing_secret: &SecretString) -> Router {
    Router::new()
        .route("/slack/events", post(events))
        .route("/slack/interactions", post(interactions))
        .route("/slack/commands", post(commands))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(Door {
            inbox,
            verifier: Verifier::new(signing_secret),
        })
}

/// The bytes of a body that came whole and in time; else the refusal.
struct Whole(Bytes);

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        // What says itself that it is too large is not waited for.
        if request.body().size_hint().lower() > BODY_LIMIT as u64 {
            return Err(StatusCode::PAYLOAD_TOO_LARGE.into_response());
        }
        match timeout(BODY_WITHIN, Bytes::from_request(request, state)).await {
            Ok(Ok(bytes)) => Ok(Self(bytes)),
            Ok(Err(refusal)) => Err(refusal.into_response()),
            Err(_) => Err(StatusCode::REQUEST_TIMEOUT.into_response()),
        }
    }
}

async fn events(State(door): State<Door>, headers: HeaderMap, Whole(body): Whole) -> Response {
    let read = |body: &[u8]| {
        std::str::from_utf8(body)
            .map_err(|_| Malformed)
            .and_then(door::event)
    };
    door.take(&headers, &body, read).await
}

async fn interactions(
    State(door): State<Door>,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Response {
    door.take(&headers, &body, door::interaction_form).await
}

async fn commands(State(door): State<Door>, headers: HeaderMap, Whole(body): Whole) -> Response {
    // The probe for the certificate may come unsigned, and does nothing.
    if door::is_probe_form(&body) {
        return StatusCode::OK.into_response();
    }
    door.take(&headers, &body, door::command_form).await
}

impl Door {
    async fn take(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        read: impl Fn(&[u8]) -> Result<Heard, Malformed>,
    ) -> Response {
        let signature = match self.verify(headers, body, Timestamp::now()) {
            Ok(signature) => signature,
            Err(refusal) => {
                info!(slack.refusal = %refusal, "refused a request to the Slack address");
                return StatusCode::UNAUTHORIZED.into_response();
            }
        };
        let mut delivery = match read(body) {
            Ok(Heard::Delivery(delivery)) => delivery,
            Ok(Heard::Challenge(challenge)) => return challenge.into_response(),
            Ok(Heard::RateLimited) => {
                warn!("Slack is withholding events: more than 30,000 an hour");
                return StatusCode::OK.into_response();
            }
            Ok(Heard::Nothing) => return StatusCode::OK.into_response(),
            Err(Malformed) => return StatusCode::BAD_REQUEST.into_response(),
        };
        delivery.signature = Some(signature);
        match self.inbox.record(delivery).await {
            Receipt::Stored | Receipt::Duplicate => StatusCode::OK,
            // Slack repeats itself and says so. Whoever else does has listened in; either way it is not done twice.
            Receipt::Replayed if headers.contains_key("x-slack-retry-num") => StatusCode::OK,
            Receipt::Replayed => StatusCode::UNAUTHORIZED,
            Receipt::Failed => StatusCode::SERVICE_UNAVAILABLE,
        }
        .into_response()
    }

    fn verify(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<String, Refusal> {
        let timestamp = only(headers, "x-slack-request-timestamp")?;
        let signature = only(headers, "x-slack-signature")?;
        self.verifier
            .verify(timestamp, signature, body, now)
            .map(str::to_owned)
    }
}

/// The value of a header that must be there exactly once.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().map_err(|_| Refusal::Header),
        _ => Err(Refusal::Header),
    }
}
