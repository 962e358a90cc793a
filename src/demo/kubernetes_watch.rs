//! Watches of the simulated API server: JSON lines that go on until a timeout, a fault or the client ends them.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::cluster::{ChangeKind, Expired};
use super::estate::SimEstate;
use super::kind::Kind;
use super::kubernetes_api::{failure, status_body};
use super::selector::Selector;

/// What the real server uses when the client names no time: half an hour and more.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(30);
/// How often a watch that asked for bookmarks gets one.
const BOOKMARK_EVERY: Duration = Duration::from_mins(1);

/// What a watch asked for.
pub(super) struct WatchParameters {
    pub(super) kind: Kind,
    pub(super) namespace: Option<String>,
    pub(super) selector: Selector,
    /// Resource version; empty or `0` for "whatever is there".
    pub(super) from: String,
    /// Seconds.
    pub(super) timeout: Option<u64>,
    pub(super) bookmarks: bool,
    /// A streaming list: everything there is, then a bookmark that says so, then the changes.
    pub(super) initial: bool,
}

struct Watch {
    estate: SimEstate,
    parameters: WatchParameters,
    changes: watch::Receiver<u64>,
    /// Everything up to this version was sent.
    seen: u64,
    pending: VecDeque<String>,
    deadline: Instant,
    next_bookmark: Instant,
    /// The count of ended watches when this one began.
    epoch: u64,
    over: bool,
}

/// Answers with the changes after the wanted version as they come.
pub(super) fn stream(estate: &SimEstate, parameters: WatchParameters) -> Response {
    let changes = estate.changes();
    let mut pending = VecDeque::new();
    let everything = parameters.from.is_empty() || parameters.from == "0" || parameters.initial;
    let seen = if everything {
        estate.read(|world| {
            let objects = world.cluster.list(
                parameters.kind,
                parameters.namespace.as_deref(),
                &parameters.selector,
            );
            pending.extend(objects.map(|object| line("ADDED", &object.whole())));
            world.cluster.version()
        })
    } else if let Ok(version) = parameters.from.parse() {
        version
    } else {
        let message = format!(
            "resourceVersion: Invalid value: \"{}\": strconv.ParseUint",
            parameters.from
        );
        return failure(StatusCode::BAD_REQUEST, "BadRequest", &message, &json!({}));
    };
    if parameters.initial {
        pending.push_back(bookmark(parameters.kind, seen, true));
    }
    let now = Instant::now();
    let watch = Watch {
        epoch: estate.kubernetes_faults().watch_epoch(),
        estate: estate.clone(),
        changes,
        seen,
        pending,
        deadline: now
            + parameters
                .timeout
                .map_or(DEFAULT_TIMEOUT, Duration::from_secs),
        next_bookmark: now + BOOKMARK_EVERY,
        parameters,
        over: false,
    };
    let lines = stream::unfold(watch, |mut watch| async move {
        let line = watch.next().await?;
        Some((Ok::<_, std::convert::Infallible>(line), watch))
    });
    (
        [(header::CONTENT_TYPE, "application/json")],
        Body::from_stream(lines),
    )
        .into_response()
}

impl Watch {
    /// The next line; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(line) = self.pending.pop_front() {
                return Some(line);
            }
            if self.over || self.epoch != self.estate.kubernetes_faults().watch_epoch() {
                return None;
            }
            self.changes.borrow_and_update();
            self.catch_up();
            if !self.pending.is_empty() {
                continue;
            }
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                () = tokio::time::sleep_until(self.deadline) => return None,
                () = tokio::time::sleep_until(self.next_bookmark), if self.parameters.bookmarks => {
                    self.next_bookmark += BOOKMARK_EVERY;
                    return Some(bookmark(self.parameters.kind, self.seen, false));
                }
            }
        }
    }

    /// Puts what has changed since the last look into the line.
    fn catch_up(&mut self) {
        let Self {
            parameters,
            pending,
            seen,
            over,
            ..
        } = self;
        self.estate.read(
            |world| match world.cluster.changes_since(*seen, parameters.kind) {
                Ok(changes) => {
                    for change in changes {
                        let object = &change.object;
                        let wanted = parameters
                            .namespace
                            .as_ref()
                            .is_none_or(|namespace| *namespace == object.namespace)
                            && parameters.selector.matches(object);
                        if wanted {
                            let kind = match change.kind {
                                ChangeKind::Added => "ADDED",
                                ChangeKind::Modified => "MODIFIED",
                                ChangeKind::Deleted => "DELETED",
                            };
                            pending.push_back(line(kind, &object.whole()));
                        }
                    }
                    *seen = world.cluster.version();
                }
                Err(Expired { oldest }) => {
                    let message = format!("too old resource version: {seen} ({oldest})");
                    let status = status_body(StatusCode::GONE, "Expired", &message, &Value::Null);
                    pending.push_back(line("ERROR", &status.to_string()));
                    *over = true;
                }
            },
        );
    }
}

fn line(kind: &str, object: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}

fn bookmark(kind: Kind, version: u64, initial_end: bool) -> String {
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if initial_end {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let mut object =
        json!({"kind": kind.name(), "apiVersion": kind.api_version(), "metadata": metadata});
    // The real server sends the empty object of the kind; a pod's has a null list of containers.
    if kind == Kind::Pod {
        object["spec"] = json!({"containers": null});
        object["status"] = json!({});
    }
    line("BOOKMARK", &object.to_string())
}
