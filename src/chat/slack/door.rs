//! What comes in at the door, looked at just enough to record it: what kind it is, and what makes it the same as an
//! earlier one. The full reading comes later, from the record.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::store::NewDelivery;

/// What a verified body is.
#[derive(Debug)]
pub(super) enum Heard {
    Delivery(NewDelivery),
    /// Slack wants to know whether this address is ours; the text goes back.
    Challenge(String),
    /// Slack rations us; the team it is about.
    RateLimited,
    /// Nothing that anybody would do something about.
    Nothing,
}

/// The body is not what Slack sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is not one of Slack's")]
pub(super) struct Malformed;

impl From<serde_json::Error> for Malformed {
    fn from(_: serde_json::Error) -> Self {
        Self
    }
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: String,
    challenge: Option<String>,
    event_id: Option<String>,
    event: Option<Event>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    subtype: Option<String>,
    bot_id: Option<String>,
    channel_type: Option<String>,
    channel: Option<Value>,
    user: Option<Value>,
    ts: Option<String>,
}

impl Event {
    /// Whether a person says something to us. Edits, joins, bots (ourselves among them) do not count.
    fn is_said_to_us(&self) -> bool {
        let is_plain = matches!(
            self.subtype.as_deref(),
            None | Some("file_share" | "thread_broadcast")
        );
        let is_to_us = self.kind == "app_mention"
            || (self.kind == "message" && self.channel_type.as_deref() == Some("im"));
        is_plain && is_to_us && self.bot_id.is_none() && self.user.is_some()
    }
}

/// Reads an Events API body.
///
/// # Errors
/// When it is not JSON or not an event.
pub(super) fn event(body: &str) -> Result<Heard, Malformed> {
    let envelope: Envelope = serde_json::from_str(body)?;
    match (envelope.kind.as_str(), envelope.challenge, envelope.event) {
        ("url_verification", Some(challenge), _) => Ok(Heard::Challenge(challenge)),
        ("app_rate_limited", _, _) => Ok(Heard::RateLimited),
        ("event_callback", _, Some(event)) if event.is_said_to_us() => {
            let channel = event
                .channel
                .as_ref()
                .and_then(Value::as_str)
                .ok_or(Malformed)?;
            let user = event
                .user
                .as_ref()
                .and_then(Value::as_str)
                .ok_or(Malformed)?;
            let ts = event.ts.ok_or(Malformed)?;
            // A mention comes as two events where the app also hears messages: the message itself is the same.
            let mut keys = vec![format!("message:{channel}:{ts}")];
            keys.extend(envelope.event_id.map(|id| format!("event:{id}")));
            Ok(Heard::Delivery(delivery(
                "event",
                body.to_owned(),
                keys,
                channel,
                user,
            )))
        }
        ("event_callback", _, Some(_)) => Ok(Heard::Nothing),
        _ => Err(Malformed),
    }
}

#[derive(Deserialize)]
struct Interaction {
    #[serde(rename = "type")]
    kind: String,
    user: Named,
    trigger_id: Option<String>,
    container: Option<Container>,
    #[serde(default)]
    actions: Vec<Action>,
    view: Option<View>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

#[derive(Deserialize)]
struct Container {
    message_ts: Option<String>,
    channel_id: Option<String>,
}

#[derive(Deserialize)]
struct Action {
    #[serde(default)]
    action_id: String,
    #[serde(default)]
    action_ts: String,
}

#[derive(Deserialize)]
struct View {
    id: String,
    #[serde(default)]
    hash: String,
}

/// Reads the payload of an interaction.
///
/// # Errors
/// When it is not JSON or names no user.
pub(super) fn interaction(payload: &str) -> Result<Heard, Malformed> {
    let interaction: Interaction = serde_json::from_str(payload)?;
    let user = interaction.user.id;
    let trigger = interaction.trigger_id.map(|id| format!("trigger:{id}"));
    let (key, place) = match interaction.kind.as_str() {
        "block_actions" => {
            let action = interaction.actions.first().ok_or(Malformed)?;
            let container = interaction.container.unwrap_or(Container {
                message_ts: None,
                channel_id: None,
            });
            let click = container.message_ts.map(|ts| {
                format!(
                    "click:{ts}:{user}:{}:{}",
                    action.action_id, action.action_ts
                )
            });
            (click.or(trigger), container.channel_id.unwrap_or_default())
        }
        "view_submission" => {
            let view = interaction.view.ok_or(Malformed)?;
            let sent = || format!("view:{}:{}", view.id, view.hash);
            (Some(trigger.unwrap_or_else(sent)), String::new())
        }
        // Closed dialogs, shortcuts and menus that ask for options: none of them is ours.
        _ => return Ok(Heard::Nothing),
    };
    Ok(Heard::Delivery(delivery(
        "interaction",
        payload.to_owned(),
        key.into_iter().collect(),
        &place,
        &user,
    )))
}

/// Reads the form of an interaction, whose one field holds the payload.
///
/// # Errors
/// When the field is missing or its payload is malformed.
pub(super) fn interaction_form(body: &[u8]) -> Result<Heard, Malformed> {
    let payload = url::form_urlencoded::parse(body)
        .find(|(name, _)| name == "payload")
        .ok_or(Malformed)?
        .1;
    interaction(&payload)
}

/// Reads the form of a slash command.
///
/// # Errors
/// When it names no command, user or channel.
pub(super) fn command_form(body: &[u8]) -> Result<Heard, Malformed> {
    let fields: Map<String, Value> = url::form_urlencoded::parse(body)
        .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
        .collect();
    if is_probe(&fields) {
        return Ok(Heard::Nothing);
    }
    command(&Value::Object(fields).to_string())
}

/// Whether a form is Slack's probe of the certificate, which comes without the rest of a command.
#[must_use]
pub(super) fn is_probe_form(body: &[u8]) -> bool {
    body.len() < 1_000
        && url::form_urlencoded::parse(body)
            .any(|(name, value)| name == "ssl_check" && value == "1")
}

fn is_probe(fields: &Map<String, Value>) -> bool {
    fields.get("ssl_check").and_then(Value::as_str) == Some("1")
}

#[derive(Deserialize)]
struct Slash {
    #[serde(rename = "command")]
    _command: String,
    user_id: String,
    channel_id: String,
    trigger_id: Option<String>,
}

/// Reads a slash command's fields as JSON, as a socket brings them.
///
/// # Errors
/// When it is not JSON or names no command, user or channel.
pub(super) fn command(payload: &str) -> Result<Heard, Malformed> {
    let slash: Slash = serde_json::from_str(payload)?;
    let keys = slash
        .trigger_id
        .iter()
        .map(|id| format!("trigger:{id}"))
        .collect();
    Ok(Heard::Delivery(delivery(
        "command",
        payload.to_owned(),
        keys,
        &slash.channel_id,
        &slash.user_id,
    )))
}

/// What one person does in one place is carried out in order; others do not wait for it.
fn delivery(
    kind: &'static str,
    payload: String,
    keys: Vec<String>,
    channel: &str,
    user: &str,
) -> NewDelivery {
    NewDelivery {
        kind,
        payload,
        signature: None,
        keys,
        lane: format!("chat:{channel}:{user}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(heard: Result<Heard, Malformed>) -> Vec<String> {
        match heard {
            Ok(Heard::Delivery(delivery)) => delivery.keys,
            other => panic!("no delivery: {other:?}"),
        }
    }

    #[test]
    fn a_mention_is_known_by_its_event_and_by_its_message() {
        let body = r#"{"type":"event_callback","event_id":"Ev1","event":{"type":"app_mention","user":"U1","text":"hi","ts":"17.01","channel":"C1"}}"#;
        assert_eq!(keys(event(body)), ["message:C1:17.01", "event:Ev1"]);
    }

    #[test]
    fn bots_edits_and_other_peoples_talk_are_not_for_us() {
        for inner in [
            r#"{"type":"message","channel_type":"im","user":"U1","bot_id":"B1","ts":"1.0","channel":"D1"}"#,
            r#"{"type":"message","channel_type":"im","subtype":"message_changed","ts":"1.0","channel":"D1"}"#,
            r#"{"type":"message","channel_type":"channel","user":"U1","ts":"1.0","channel":"C1"}"#,
            r#"{"type":"app_mention","ts":"1.0","channel":"C1"}"#,
            r#"{"type":"channel_created","channel":{"id":"C1"}}"#,
        ] {
            let body = format!(r#"{{"type":"event_callback","event_id":"Ev1","event":{inner}}}"#);
            assert!(matches!(event(&body), Ok(Heard::Nothing)), "{inner}");
        }
    }

    #[test]
    fn a_click_is_known_by_who_clicked_what_when() {
        let payload = r#"{"type":"block_actions","user":{"id":"U1"},"container":{"message_ts":"17.01","channel_id":"C1"},"actions":[{"action_id":"approve-0","action_ts":"18.02","value":"approve:1"}]}"#;
        assert_eq!(
            keys(interaction(payload)),
            ["click:17.01:U1:approve-0:18.02"]
        );
        let form: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("payload", payload)
            .finish();
        assert_eq!(
            keys(interaction_form(form.as_bytes())),
            ["click:17.01:U1:approve-0:18.02"]
        );
    }

    #[test]
    fn a_command_is_known_by_its_trigger() {
        let form = "command=%2Fnightbell&text=status&user_id=U1&channel_id=C1&trigger_id=1.2.3";
        assert_eq!(keys(command_form(form.as_bytes())), ["trigger:1.2.3"]);
        assert!(matches!(
            command_form(b"ssl_check=1&token=x"),
            Ok(Heard::Nothing)
        ));
    }

    #[test]
    fn what_slack_would_not_send_is_malformed() {
        assert!(event("{").is_err());
        assert!(event(r#"{"type":"event_callback"}"#).is_err());
        assert!(event(r#"{"type":"surprise"}"#).is_err());
        assert!(interaction(r#"{"type":"block_actions","user":{"id":"U1"}}"#).is_err());
        assert!(interaction_form(b"nothing=here").is_err());
        assert!(command_form(b"text=status").is_err());
    }
}
