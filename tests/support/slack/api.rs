//! The Web API, response URLs and the incoming webhook.

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, Path, State as Context};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, post};
use serde_json::{Map, Value, json};

use super::{APP_TOKEN, BOT_TOKEN, BOT_USER, FakeSlack, Fault, Message, State, TEAM, limits};

pub(crate) fn router(slack: FakeSlack) -> Router {
    Router::new()
        .route("/api/{method}", any(call))
        .route("/actions/{id}", post(respond))
        .route("/upload/{id}", post(upload))
        .route("/services/{*rest}", post(webhook))
        .with_state(slack)
}

fn answer(body: &Value) -> Response {
    (
        [(header::CONTENT_TYPE, "application/json; charset=utf-8")],
        body.to_string(),
    )
        .into_response()
}

fn refuse(code: &str) -> Response {
    answer(&json!({"ok": false, "error": code}))
}

fn page(status: StatusCode) -> Response {
    (status, Html("<html><body>upstream is unwell</body></html>")).into_response()
}

async fn call(
    Context(slack): Context<FakeSlack>,
    Path(method): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let arguments = arguments(uri.query(), &headers, &body);
    let fault = {
        let mut state = slack.state();
        state.calls.push((method.clone(), arguments.clone()));
        if state.down {
            return page(StatusCode::SERVICE_UNAVAILABLE);
        }
        state
            .faults
            .get_mut(&method)
            .and_then(std::collections::VecDeque::pop_front)
    };
    match fault {
        None => {}
        Some(Fault::RateLimited(seconds)) => {
            let body = json!({"ok": false, "error": "ratelimited"}).to_string();
            let headers = [
                (header::RETRY_AFTER, seconds.to_string()),
                (header::CONTENT_TYPE, "application/json".into()),
            ];
            return (StatusCode::TOO_MANY_REQUESTS, headers, body).into_response();
        }
        Some(Fault::RateLimitedQuietly) => return refuse("rate_limited"),
        Some(Fault::BadGateway) => return page(StatusCode::BAD_GATEWAY),
        Some(Fault::Error(code)) => {
            return answer(&json!({"ok": false, "error": code, "needed": "chat:write"}));
        }
        Some(Fault::FatalAfterEffect) => {
            let _ = slack.carry_out(&method, &arguments);
            return refuse("fatal_error");
        }
        Some(Fault::Slow(wait)) => tokio::time::sleep(wait).await,
    }
    let wanted = if method == "apps.connections.open" {
        APP_TOKEN
    } else {
        BOT_TOKEN
    };
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if slack.state().revoked {
        return refuse("token_revoked");
    }
    if token != format!("Bearer {wanted}") {
        return refuse("invalid_auth");
    }
    // The pause lets a test's time-outs be seen by the caller only.
    tokio::time::sleep(Duration::ZERO).await;
    match slack.carry_out(&method, &arguments) {
        Ok(mut body) => {
            body["ok"] = json!(true);
            answer(&body)
        }
        Err((code, details)) => answer(
            &json!({"ok": false, "error": code, "response_metadata": {"messages": [details]}}),
        ),
    }
}

/// JSON from a body, or the query of a method that reads, which ignores JSON as Slack does.
fn arguments(query: Option<&str>, headers: &HeaderMap, body: &[u8]) -> Value {
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/json"));
    if is_json {
        return serde_json::from_slice(body).expect("the body is JSON");
    }
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    Value::Object(
        pairs
            .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
            .collect::<Map<_, _>>(),
    )
}

type Outcome = Result<Value, (&'static str, String)>;

fn no(code: &'static str) -> Outcome {
    Err((code, String::new()))
}

impl FakeSlack {
    fn carry_out(&self, method: &str, arguments: &Value) -> Outcome {
        let text = |name: &str| arguments[name].as_str().unwrap_or_default().to_owned();
        let socket_url = self.socket_url();
        let mut state = self.state();
        match method {
            "auth.test" => {
                Ok(json!({"team_id": TEAM, "user_id": BOT_USER, "bot_id": "BBOT", "team": "test"}))
            }
            "apps.connections.open" => Ok(json!({"url": socket_url})),
            "chat.postMessage" => state.post(arguments, None),
            "chat.postEphemeral" => {
                let user = text("user");
                state.post(arguments, Some(user))
            }
            "chat.update" => state.update(&text("channel"), &text("ts"), arguments),
            "conversations.history" => Ok(state.history(
                &text("channel"),
                None,
                &text("oldest"),
                text("include_all_metadata") == "true",
            )),
            "conversations.replies" => {
                let parent = text("ts");
                Ok(state.history(
                    &text("channel"),
                    Some(&parent),
                    &text("oldest"),
                    text("include_all_metadata") == "true",
                ))
            }
            "files.getUploadURLExternal" => {
                // As Slack: arguments in JSON are not seen.
                if text("filename").is_empty() || text("length").parse::<usize>().is_err() {
                    return no("invalid_arguments");
                }
                let id = format!("F{}", state.next());
                let url = format!(
                    "{}upload/{id}",
                    self.api_url().as_str().trim_end_matches("api/")
                );
                let file = super::File {
                    name: text("filename"),
                    alt: text("alt_txt"),
                    length: text("length").parse().unwrap_or_default(),
                    ..super::File::default()
                };
                state.files.insert(id.clone(), file);
                Ok(json!({"upload_url": url, "file_id": id}))
            }
            "files.completeUploadExternal" => state.share(arguments),
            "conversations.info" => Ok(json!({"channel": {"id": text("channel"), "name": "ops"}})),
            "conversations.open" => Ok(json!({"channel": {"id": format!("D{}", text("users"))}})),
            "users.info" => {
                let mut user =
                    json!({"id": text("user"), "team_id": TEAM, "deleted": false, "is_bot": false});
                if let Some(Value::Object(profile)) = state.profiles.get(&text("user")) {
                    for (name, value) in profile {
                        user[name] = value.clone();
                    }
                }
                Ok(json!({"user": user}))
            }
            "usergroups.users.list" => match state.groups.get(&text("usergroup")) {
                Some(users) => Ok(json!({"users": users})),
                None => no("no_such_subteam"),
            },
            "views.open" => {
                if state.triggers.remove(&text("trigger_id")) {
                    let view = arguments["view"].clone();
                    state.views.push(view);
                    Ok(json!({"view": {"id": "V1"}}))
                } else {
                    no("expired_trigger_id")
                }
            }
            _ => no("unknown_method"),
        }
    }
}

impl State {
    fn post(&mut self, arguments: &Value, only_for: Option<String>) -> Outcome {
        let channel = arguments["channel"].as_str().unwrap_or_default();
        if !channel.starts_with(['C', 'D', 'G']) {
            return no("channel_not_found");
        }
        if let Some(refusal) = limits::refusal(arguments, false) {
            return Err(refusal);
        }
        let ts = self.next_ts();
        self.messages.push(Message {
            channel: channel.to_owned(),
            ts: ts.clone(),
            thread_ts: arguments["thread_ts"].as_str().map(str::to_owned),
            user: BOT_USER.to_owned(),
            text: arguments["text"].as_str().unwrap_or_default().to_owned(),
            blocks: arguments["blocks"].as_array().cloned().unwrap_or_default(),
            metadata: arguments["metadata"].clone(),
            only_for,
            edits: 0,
            arrived: Instant::now(),
        });
        Ok(json!({"channel": channel, "ts": ts, "message": {"ts": ts}}))
    }

    fn update(&mut self, channel: &str, ts: &str, arguments: &Value) -> Outcome {
        if let Some(refusal) = limits::refusal(arguments, true) {
            return Err(refusal);
        }
        let found = self.messages.iter_mut().find(|message| {
            message.channel == channel
                && message.ts == ts
                && message.user == BOT_USER
                && message.only_for.is_none()
        });
        let Some(message) = found else {
            return no("message_not_found");
        };
        arguments["text"]
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut message.text);
        message.blocks = arguments["blocks"].as_array().cloned().unwrap_or_default();
        message.edits += 1;
        Ok(json!({"channel": channel, "ts": ts, "text": message.text}))
    }

    fn history(
        &self,
        channel: &str,
        parent: Option<&str>,
        oldest: &str,
        with_metadata: bool,
    ) -> Value {
        let in_view = |message: &&Message| {
            let in_thread = match parent {
                Some(parent) => {
                    message.ts == parent || message.thread_ts.as_deref() == Some(parent)
                }
                None => message.thread_ts.is_none(),
            };
            message.channel == channel
                && message.only_for.is_none()
                && in_thread
                && message.ts.as_str() >= oldest
        };
        let messages: Vec<Value> = self
            .messages
            .iter()
            .filter(in_view)
            .map(|message| {
                let mut shown = json!({"type": "message", "ts": message.ts, "text": message.text, "user": message.user});
                if with_metadata && !message.metadata.is_null() {
                    shown["metadata"] = message.metadata.clone();
                }
                shown
            })
            .collect();
        json!({"messages": messages, "has_more": false, "response_metadata": {"next_cursor": ""}})
    }
}

impl State {
    fn share(&mut self, arguments: &Value) -> Outcome {
        let channel = arguments["channel_id"].as_str().unwrap_or_default();
        let thread = arguments["thread_ts"].as_str().unwrap_or_default();
        if !self
            .messages
            .iter()
            .any(|message| message.channel == channel && message.ts == thread)
        {
            return no("message_not_found");
        }
        let asked = arguments["files"].as_array().cloned().unwrap_or_default();
        for wanted in &asked {
            let Some(file) = self
                .files
                .get_mut(wanted["id"].as_str().unwrap_or_default())
            else {
                return no("file_not_found");
            };
            if file.bytes.len() != file.length {
                return no("file_update_failed");
            }
            let title = wanted["title"].as_str().unwrap_or_default();
            title.clone_into(&mut file.title);
            file.shared = Some((channel.to_owned(), thread.to_owned()));
        }
        Ok(json!({"files": asked}))
    }
}

/// Takes the bytes of a file; the answer is plain text.
async fn upload(
    Context(slack): Context<FakeSlack>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut state = slack.state();
    if state.down {
        return page(StatusCode::SERVICE_UNAVAILABLE);
    }
    assert!(
        headers.get(header::AUTHORIZATION).is_none(),
        "the token stays with the Web API"
    );
    let Some(file) = state.files.get_mut(&id) else {
        return (StatusCode::NOT_FOUND, "no such upload").into_response();
    };
    file.bytes = body.to_vec();
    format!("OK - {}", file.bytes.len()).into_response()
}

async fn respond(
    Context(slack): Context<FakeSlack>,
    OriginalUri(uri): OriginalUri,
    body: Bytes,
) -> Response {
    let message: Value = serde_json::from_slice(&body).expect("the body is JSON");
    let mut state = slack.state();
    state
        .calls
        .push(("response_url".to_owned(), message.clone()));
    if state.down {
        return page(StatusCode::SERVICE_UNAVAILABLE);
    }
    let Some((uses, channel, original)) = state.responses.get_mut(uri.path()) else {
        return (StatusCode::NOT_FOUND, "expired_url").into_response();
    };
    *uses += 1;
    if *uses > 5 {
        return (StatusCode::NOT_FOUND, "used_url").into_response();
    }
    let (channel, original) = (channel.clone(), original.clone());
    let mut message = message;
    message["channel"] = json!(channel);
    let outcome = match original {
        Some(ts) if message["replace_original"] == true => state.update(&channel, &ts, &message),
        _ => {
            let only_for = (message["response_type"] != "in_channel").then(|| "asker".to_owned());
            state.post(&message, only_for)
        }
    };
    match outcome {
        Ok(_) => "ok".into_response(),
        Err((code, _)) => (StatusCode::BAD_REQUEST, code).into_response(),
    }
}

async fn webhook(Context(slack): Context<FakeSlack>, body: Bytes) -> Response {
    let message: Value = serde_json::from_slice(&body).expect("the body is JSON");
    let mut state = slack.state();
    if state.down {
        return (StatusCode::INTERNAL_SERVER_ERROR, "rollup_error").into_response();
    }
    if state.revoked {
        return (StatusCode::NOT_FOUND, "no_service").into_response();
    }
    if let Some((code, _)) = limits::refusal(&message, false) {
        return (StatusCode::BAD_REQUEST, code).into_response();
    }
    state.webhook_posts.push(message);
    "ok".into_response()
}
