//! Socket Mode: Slack's deliveries over a WebSocket that we open, for places without a public address.
//!
//! Written over the bare WebSocket, because an envelope may be acknowledged only after its record is durable, and a
//! refused token or a switched-off Socket Mode must be said once and not be hammered. Trust is the socket: envelopes
//! carry no signature. What happens to events while no socket is open Slack does not say; a new one is opened before
//! the old one goes.

use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, info, info_span, warn};

use super::client::SlackClient;
use super::door::{self, Heard, Malformed};
use super::error::SlackError;
use super::inbox::{Inbox, Receipt};

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How the sockets behave.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Sockets kept open at once; Slack allows ten. With two, one may die without a gap.
    pub connections: usize,
    /// For the connection and for Slack's hello on it.
    pub connect_timeout: Duration,
    /// Without any frame for this long we ask for a sign of life; Slack pings more often than that.
    pub silence: Duration,
    /// How long the sign of life may take.
    pub pong_timeout: Duration,
    /// The first wait after a failure; it doubles up to `longest_wait`.
    pub first_wait: Duration,
    pub longest_wait: Duration,
    /// The wait after Slack refused the token or switched Socket Mode off, which only people can change.
    pub refused_wait: Duration,
    /// How long a socket that Slack is about to close is still listened to.
    pub farewell: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections: 2,
            connect_timeout: Duration::from_secs(10),
            silence: Duration::from_secs(30),
            pong_timeout: Duration::from_secs(5),
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_mins(1),
            refused_wait: Duration::from_mins(10),
            farewell: Duration::from_secs(30),
        }
    }
}

/// What a socket tells while it lives.
enum Note {
    /// Slack greeted us on it.
    Hello,
    /// Slack will close it; another should be opened now.
    Leaving,
}

/// How a socket came to its end.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("cannot get the address of a socket")]
    Address(#[source] SlackError),
    #[error("cannot connect the socket")]
    Connect(#[source] Box<tokio_tungstenite::tungstenite::Error>),
    #[error("Slack did not greet us in time")]
    NoHello,
    #[error("the socket fell silent")]
    Silent,
    #[error("the socket broke")]
    Broken(#[source] Box<tokio_tungstenite::tungstenite::Error>),
    /// Socket Mode was switched off for the app.
    #[error("Socket Mode is switched off for the app")]
    Disabled,
    #[error("the app has too many sockets open")]
    TooMany,
    #[error("the socket was closed")]
    Closed,
    #[error("stopped")]
    Stopped,
}

/// What to do after a socket's end.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Reconnect,
    BackOff(Option<Duration>),
    /// Only people can mend it.
    Refused,
}

impl End {
    fn next(&self) -> Next {
        match self {
            Self::Closed | Self::Stopped => Next::Reconnect,
            Self::Disabled => Next::Refused,
            Self::Address(SlackError::RateLimited { retry_after }) => {
                Next::BackOff(Some(*retry_after))
            }
            Self::Address(error) if !error.is_transient() => Next::Refused,
            Self::Address(_)
            | Self::Connect(_)
            | Self::NoHello
            | Self::Silent
            | Self::Broken(_)
            | Self::TooMany => Next::BackOff(None),
        }
    }
}

/// Keeps sockets open and hands their envelopes to the inbox until `stop`.
pub async fn run(client: SlackClient, inbox: Inbox, settings: Settings, stop: CancellationToken) {
    let (notes, mut heard) = mpsc::channel::<(u64, Note)>(64);
    let mut sockets: JoinSet<(u64, End)> = JoinSet::new();
    // Sockets that count towards `connections`: not those that Slack said it will close.
    let mut staying: Vec<u64> = Vec::new();
    let mut number = 0;
    let mut failures = 0_u32;
    let mut not_before = Instant::now();
    while !stop.is_cancelled() {
        tokio::select! {
            () = sleep_until(not_before), if staying.len() < settings.connections.clamp(1, 10) => {
                number += 1;
                staying.push(number);
                let socket = Socket {
                    number,
                    client: client.clone(),
                    inbox: inbox.clone(),
                    settings: settings.clone(),
                    notes: notes.clone(),
                    stop: stop.clone(),
                };
                let span = info_span!("slack_socket", socket.number = number);
                sockets.spawn(async move { (socket.number, socket.live().await) }.instrument(span));
                // Not all at once: Slack rations the addresses.
                not_before = Instant::now() + settings.first_wait;
            }
            Some((number, note)) = heard.recv() => match note {
                Note::Hello => failures = 0,
                Note::Leaving => staying.retain(|socket| *socket != number),
            },
            Some(ended) = sockets.join_next() => {
                let (number, end) = match ended {
                    Ok(ended) => ended,
                    Err(error) => {
                        // Which one is not known, so that all are counted anew.
                        error!(%error, "a Slack socket ended in a panic");
                        staying.clear();
                        sockets.abort_all();
                        continue;
                    }
                };
                staying.retain(|socket| *socket != number);
                not_before = after(&end, &mut failures, &settings);
            }
            () = stop.cancelled() => {}
        }
    }
    while sockets.join_next().await.is_some() {}
}

/// Says what happened, once, and when the next socket may be tried.
fn after(end: &End, failures: &mut u32, settings: &Settings) -> Instant {
    let cause = end as &dyn std::error::Error;
    let wait = match end.next() {
        Next::Reconnect => {
            debug!("a Slack socket was closed, opening another");
            settings.first_wait
        }
        Next::BackOff(Some(wait)) => {
            warn!(wait_s = wait.as_secs(), "Slack rations new sockets");
            wait
        }
        Next::BackOff(None) => {
            let wait = (settings.first_wait * 2_u32.saturating_pow((*failures).min(10)))
                .min(settings.longest_wait);
            *failures += 1;
            warn!(
                error = cause,
                wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                "lost a Slack socket"
            );
            wait.mul_f64(0.75 + 0.5 * fastrand::f64())
        }
        Next::Refused => {
            error!(
                error = cause,
                wait_s = settings.refused_wait.as_secs(),
                "Slack refuses Socket Mode: check SLACK_APP_TOKEN, its connections:write scope and the app's settings"
            );
            settings.refused_wait
        }
    };
    Instant::now() + wait
}

struct Socket {
    number: u64,
    client: SlackClient,
    inbox: Inbox,
    settings: Settings,
    notes: mpsc::Sender<(u64, Note)>,
    stop: CancellationToken,
}

#[derive(Deserialize)]
struct Frame<'f> {
    #[serde(rename = "type")]
    kind: String,
    envelope_id: Option<String>,
    reason: Option<String>,
    #[serde(borrow)]
    payload: Option<&'f RawValue>,
}

impl Socket {
    async fn live(&self) -> End {
        let stream = tokio::select! {
            connected = self.connect() => match connected {
                Ok(stream) => stream,
                Err(end) => return end,
            },
            () = self.stop.cancelled() => return End::Stopped,
        };
        self.serve(stream).await
    }

    async fn connect(&self) -> Result<Stream, End> {
        let url = self.client.open_socket().await.map_err(End::Address)?;
        // The address is a secret and goes into no log.
        match timeout(self.settings.connect_timeout, connect_async(url.as_str())).await {
            Ok(Ok((stream, _))) => Ok(stream),
            Ok(Err(error)) => Err(End::Connect(Box::new(error))),
            Err(_) => Err(End::NoHello),
        }
    }

    /// Reads frames, records envelopes side by side, and acknowledges each when its record is durable.
    async fn serve(&self, stream: Stream) -> End {
        let (mut sink, mut frames) = stream.split();
        let mut recording = FuturesUnordered::new();
        let mut greeted = false;
        let mut pinged = false;
        let mut deadline = Instant::now() + self.settings.connect_timeout;
        let mut leave_at: Option<Instant> = None;
        let mut stopping = false;
        loop {
            // After a stop, and after Slack's farewell, what was taken in is still recorded and acknowledged.
            if stopping && recording.is_empty() {
                let _ = sink.send(Message::Close(None)).await;
                return End::Stopped;
            }
            let farewell = leave_at.unwrap_or(deadline + self.settings.farewell);
            tokio::select! {
                frame = frames.next(), if !stopping => {
                    let text = match frame {
                        Some(Ok(Message::Text(text))) => text,
                        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_))) => {
                            pinged = false;
                            deadline = self.quiet_until(greeted, deadline);
                            // The answer to a ping is queued by the library and goes out with the next flush.
                            if let Err(error) = sink.flush().await {
                                return End::Broken(Box::new(error));
                            }
                            continue;
                        }
                        Some(Ok(Message::Close(_))) | None if greeted => return End::Closed,
                        Some(Ok(Message::Close(_))) | None => return End::NoHello,
                        Some(Err(error)) => return End::Broken(Box::new(error)),
                    };
                    match serde_json::from_str::<Frame<'_>>(text.as_str()) {
                        Ok(frame) => match self.take(&frame, &mut leave_at).await {
                            Taken::Hello => greeted = true,
                            Taken::Record(envelope, heard) => recording.push(self.record(envelope, heard)),
                            Taken::Nothing => {}
                            Taken::End(end) => return end,
                        },
                        Err(error) => warn!(%error, "cannot read a frame from Slack's socket"),
                    }
                    pinged = false;
                    deadline = self.quiet_until(greeted, deadline);
                }
                Some(acknowledgement) = recording.next(), if !recording.is_empty() => {
                    if let Some(text) = acknowledgement
                        && let Err(error) = sink.send(Message::text::<String>(text)).await
                    {
                        return End::Broken(Box::new(error));
                    }
                }
                () = sleep_until(deadline), if !stopping => {
                    if !greeted {
                        return End::NoHello;
                    }
                    if pinged {
                        return End::Silent;
                    }
                    pinged = true;
                    deadline = Instant::now() + self.settings.pong_timeout;
                    if let Err(error) = sink.send(Message::Ping(Bytes::new())).await {
                        return End::Broken(Box::new(error));
                    }
                }
                () = sleep_until(farewell), if leave_at.is_some() => return End::Closed,
                () = self.stop.cancelled(), if !stopping => stopping = true,
            }
        }
    }

    /// Until when it may be quiet, after a frame came.
    fn quiet_until(&self, greeted: bool, deadline: Instant) -> Instant {
        if greeted {
            Instant::now() + self.settings.silence
        } else {
            deadline
        }
    }

    async fn take(&self, frame: &Frame<'_>, leave_at: &mut Option<Instant>) -> Taken {
        match (frame.kind.as_str(), &frame.envelope_id) {
            ("hello", _) => {
                info!("connected to Slack");
                let _ = self.notes.send((self.number, Note::Hello)).await;
                Taken::Hello
            }
            ("disconnect", _) => match frame.reason.as_deref() {
                Some("link_disabled") => Taken::End(End::Disabled),
                Some("too_many_websockets") => Taken::End(End::TooMany),
                reason => {
                    debug!(reason, "Slack will close the socket");
                    *leave_at = Some(Instant::now() + self.settings.farewell);
                    let _ = self.notes.send((self.number, Note::Leaving)).await;
                    Taken::Nothing
                }
            },
            (kind, Some(envelope)) => {
                let payload = frame.payload.map_or("null", RawValue::get);
                let heard = match kind {
                    "events_api" => door::event(payload),
                    "interactive" => door::interaction(payload),
                    "slash_commands" => door::command(payload),
                    _ => Ok(Heard::Nothing),
                };
                Taken::Record(envelope.clone(), heard)
            }
            (kind, None) => {
                debug!(kind, "a frame of an unknown kind from Slack");
                Taken::Nothing
            }
        }
    }

    /// The acknowledgement of an envelope, once it is recorded or known to need no record.
    async fn record(&self, envelope: String, heard: Result<Heard, Malformed>) -> Option<String> {
        let is_settled = match heard {
            Ok(Heard::Delivery(mut delivery)) => {
                if delivery.keys.is_empty() {
                    delivery.keys.push(format!("envelope:{envelope}"));
                }
                match self.inbox.record(delivery).await {
                    Receipt::Stored | Receipt::Duplicate | Receipt::Replayed => true,
                    Receipt::Failed => false,
                }
            }
            Ok(Heard::Challenge(_) | Heard::RateLimited | Heard::Nothing) => true,
            // Sent again it would be no better.
            Err(Malformed) => {
                warn!("cannot read an envelope from Slack");
                true
            }
        };
        is_settled.then(|| json!({"envelope_id": envelope}).to_string())
    }
}

enum Taken {
    Hello,
    Record(String, Result<Heard, Malformed>),
    Nothing,
    End(End),
}
