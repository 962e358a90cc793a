//! The built-in chat: what Slack would show, what a person says, the buttons they press.
//!
//! A conversation is kept by who has it: its earlier messages come along as context, as in a Slack thread.

use axum::extract::State;
use axum::{Extension, Json};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::alerts::message;
use super::ask_desk;
use crate::chat::card::{Card, Verb};
use crate::desk::{Answer, Command};
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::extract::{Json as Body, Query};
use crate::http::problem::{Problem, of_answer};
use crate::store::AlertFilter;

/// Alerts shown in the console, newest first.
const MESSAGES: u32 = 30;
const MESSAGES_MAX: u32 = 100;
/// A sentence for a person to say; more is a pasted log.
const SENTENCE: usize = 4_000;
/// Earlier messages of a thread that are looked at.
const THREAD: usize = 20;

/// One message of the console.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Message {
    /// `alert:<id>`.
    subject: String,
    number: i64,
    #[schema(value_type = String)]
    updated: Timestamp,
    resolved: bool,
    #[schema(value_type = Object)]
    card: Card,
}

/// What is shown.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Messages {
    items: Vec<Message>,
}

/// Which messages.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Which {
    /// Those of resolved alerts too.
    #[serde(default)]
    resolved: bool,
    /// 1 to 100; 30 when not given.
    limit: Option<u32>,
}

/// The messages of alerts, newest first
#[utoipa::path(get, path = "/api/v1/console/messages", tag = "console", params(Which),
    responses((status = 200, body = Messages)))]
pub(in crate::http) async fn messages(
    State(shared): State<Shared>,
    Query(which): Query<Which>,
) -> Result<Json<Messages>, Problem> {
    let limit = which.limit.unwrap_or(MESSAGES);
    if !(1..=MESSAGES_MAX).contains(&limit) {
        return Err(Problem::invalid(format!(
            "`limit` must be 1 to {MESSAGES_MAX}"
        )));
    }
    let alerts = shared
        .store
        .alerts(AlertFilter {
            resolved: which.resolved,
            limit: i64::from(limit),
            offset: 0,
        })
        .await?;
    let mut items = Vec::with_capacity(alerts.len());
    for alert in alerts {
        items.push(Message {
            subject: format!("alert:{}", alert.id),
            number: alert.number,
            updated: alert.updated,
            resolved: alert.resolved.is_some(),
            card: message(&shared, alert).await?,
        });
    }
    Ok(Json(Messages { items }))
}

/// A sentence.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Sentence {
    text: String,
    /// Earlier messages of the thread, oldest first.
    #[serde(default)]
    context: Vec<String>,
}

impl Sentence {
    fn command(mut self) -> Result<Command, Problem> {
        if self.text.trim().is_empty() {
            return Err(Problem::invalid("`text` is empty"));
        }
        let too_long = |text: &String| text.chars().count() > SENTENCE;
        if too_long(&self.text) || self.context.iter().any(too_long) {
            return Err(Problem::invalid(format!(
                "a message has at most {SENTENCE} characters"
            )));
        }
        let skip = self.context.len().saturating_sub(THREAD);
        Ok(Command::Say {
            text: self.text,
            context: self.context.split_off(skip),
        })
    }
}

/// Answers a sentence, for machines
#[utoipa::path(post, path = "/api/v1/ask", tag = "console", request_body = Sentence,
    responses((status = 200, body = Object)))]
pub(in crate::http) async fn ask(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(sentence): Body<Sentence>,
) -> Result<Json<Value>, Problem> {
    of_answer(ask_desk(&shared, &caller, sentence.command()?).await?)
}

/// Says a sentence; the answer is a message, also when it is a refusal
#[utoipa::path(post, path = "/api/v1/console/say", tag = "console", request_body = Sentence,
    responses((status = 200, body = Object)))]
pub(in crate::http) async fn say(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(sentence): Body<Sentence>,
) -> Result<Json<Answer>, Problem> {
    Ok(Json(ask_desk(&shared, &caller, sentence.command()?).await?))
}

/// A pressed button.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Pressed {
    #[schema(value_type = String, example = "acknowledge")]
    verb: Verb,
    /// The button's.
    id: String,
    reason: Option<String>,
}

/// Presses a button; the answer is a message, also when it is a refusal
#[utoipa::path(post, path = "/api/v1/console/press", tag = "console", request_body = Pressed,
    responses((status = 200, body = Object)))]
pub(in crate::http) async fn press(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(pressed): Body<Pressed>,
) -> Result<Json<Answer>, Problem> {
    let command = Command::Press {
        verb: pressed.verb,
        id: pressed.id,
        reason: pressed.reason,
    };
    Ok(Json(ask_desk(&shared, &caller, command).await?))
}
