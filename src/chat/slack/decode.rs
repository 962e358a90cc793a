//! The full reading of a recorded delivery: who says or presses what, and where the answer goes.

use serde::Deserialize;
use serde_json::{Value, json};

use super::blocks::press_of;
use super::mrkdwn::{cut, typed};
use crate::chat::card::{Press, Verb};
use crate::desk::{Command, Principal, Standing, Surface};

/// The longest text taken from a person, in UTF-16 units.
const LONGEST_TEXT: usize = 4_000;
/// The field of the dialog that asks why, and its block.
const REASON: &str = "reason";
/// Marks the dialog as ours.
const DENY_DIALOG: &str = "deny_reason";

/// Something a person did, and where.
#[derive(Debug, PartialEq)]
pub(crate) enum Ask {
    /// A mention or direct message. `bot` is who we are there, to leave mentions of us out of earlier messages too.
    Said {
        principal: Principal,
        text: String,
        place: Place,
        bot: Option<String>,
    },
    /// A slash command.
    Slash {
        principal: Principal,
        command: Command,
        channel: String,
        response_url: String,
    },
    /// A button.
    Pressed {
        principal: Principal,
        press: Press,
        place: Place,
        response_url: Option<String>,
        trigger_id: Option<String>,
    },
    /// The dialog that asks why, sent off.
    DeniedBecause {
        principal: Principal,
        command: Command,
        place: Option<Place>,
    },
}

/// A message and the thread it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) channel: String,
    pub(crate) ts: String,
    pub(crate) thread_ts: Option<String>,
    /// Only the person themself is there.
    pub(crate) direct: bool,
}

impl Ask {
    /// Who asks.
    pub(crate) fn principal(&mut self) -> &mut Principal {
        match self {
            Self::Said { principal, .. }
            | Self::Slash { principal, .. }
            | Self::Pressed { principal, .. }
            | Self::DeniedBecause { principal, .. } => principal,
        }
    }

    /// Whether a proposed action is decided by it.
    pub(crate) fn is_decision(&self) -> bool {
        match self {
            Self::Pressed { press, .. } => matches!(press.verb, Verb::Approve | Verb::Deny),
            Self::DeniedBecause { .. } => true,
            Self::Said { .. } | Self::Slash { .. } => false,
        }
    }
}

impl Place {
    /// The message under which answers go.
    pub(crate) fn parent(&self) -> &str {
        self.thread_ts.as_deref().unwrap_or(&self.ts)
    }
}

/// Reads a recorded delivery; `None` when there is nothing to do about it.
///
/// # Errors
/// When the record is not what Slack sends.
pub(crate) fn decode(kind: &str, payload: &str) -> Result<Option<Ask>, serde_json::Error> {
    match kind {
        "event" => Ok(said(serde_json::from_str(payload)?)),
        "command" => Ok(Some(slash(serde_json::from_str(payload)?))),
        "interaction" => interaction(payload),
        _ => Ok(None),
    }
}

fn principal(user: &str, team: Option<String>) -> Principal {
    Principal {
        surface: Surface::Slack,
        user: user.to_owned(),
        team,
        standing: Standing::Member,
    }
}

#[derive(Deserialize)]
struct Envelope {
    team_id: Option<String>,
    event: Message,
    #[serde(default)]
    authorizations: Vec<Authorization>,
}

#[derive(Deserialize)]
struct Authorization {
    user_id: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    user: String,
    /// The team of the author, who may be a guest from elsewhere.
    user_team: Option<String>,
    team: Option<String>,
    #[serde(default)]
    text: String,
    channel: String,
    channel_type: Option<String>,
    ts: String,
    thread_ts: Option<String>,
}

fn said(envelope: Envelope) -> Option<Ask> {
    let bot = envelope
        .authorizations
        .into_iter()
        .find_map(|authorization| authorization.user_id);
    let event = envelope.event;
    if bot.as_ref() == Some(&event.user) {
        return None;
    }
    let text = cut(&typed(&event.text, bot.as_deref()), LONGEST_TEXT);
    let team = event.user_team.or(event.team).or(envelope.team_id);
    let direct = event.channel_type.as_deref() == Some("im");
    let place = Place {
        channel: event.channel,
        ts: event.ts,
        thread_ts: event.thread_ts,
        direct,
    };
    Some(Ask::Said {
        principal: principal(&event.user, team),
        text,
        place,
        bot,
    })
}

#[derive(Deserialize)]
struct Slash {
    user_id: String,
    team_id: Option<String>,
    channel_id: String,
    #[serde(default)]
    text: String,
    response_url: String,
}

fn slash(slash: Slash) -> Ask {
    let text = cut(&typed(&slash.text, None), LONGEST_TEXT);
    // The bare command is how people ask what there is.
    let command = if text.is_empty() {
        Command::Help { topic: None }
    } else {
        Command::Say {
            text,
            context: Vec::new(),
        }
    };
    Ask::Slash {
        principal: principal(&slash.user_id, slash.team_id),
        command,
        channel: slash.channel_id,
        response_url: slash.response_url,
    }
}

#[derive(Deserialize)]
struct Interaction {
    #[serde(rename = "type")]
    kind: String,
    user: User,
    team: Option<Team>,
    container: Option<Container>,
    #[serde(default)]
    actions: Vec<Action>,
    response_url: Option<String>,
    trigger_id: Option<String>,
    view: Option<View>,
}

#[derive(Deserialize)]
struct User {
    id: String,
    team_id: Option<String>,
}

#[derive(Deserialize)]
struct Team {
    id: String,
}

#[derive(Deserialize)]
struct Container {
    message_ts: Option<String>,
    channel_id: Option<String>,
    thread_ts: Option<String>,
}

#[derive(Deserialize)]
struct Action {
    value: Option<String>,
}

#[derive(Deserialize)]
struct View {
    #[serde(default)]
    callback_id: String,
    #[serde(default)]
    private_metadata: String,
    #[serde(default)]
    state: Value,
}

fn interaction(payload: &str) -> Result<Option<Ask>, serde_json::Error> {
    let interaction: Interaction = serde_json::from_str(payload)?;
    let team = interaction
        .user
        .team_id
        .or(interaction.team.map(|team| team.id));
    let principal = principal(&interaction.user.id, team);
    match (
        interaction.kind.as_str(),
        interaction.container,
        interaction.view,
    ) {
        ("block_actions", Some(container), _) => {
            let press = interaction
                .actions
                .first()
                .and_then(|action| press_of(action.value.as_deref()?));
            let (Some(press), Some(channel), Some(ts)) =
                (press, container.channel_id, container.message_ts)
            else {
                return Ok(None);
            };
            let direct = channel.starts_with('D');
            let place = Place {
                channel,
                ts,
                thread_ts: container.thread_ts,
                direct,
            };
            Ok(Some(Ask::Pressed {
                principal,
                press,
                place,
                response_url: interaction.response_url,
                trigger_id: interaction.trigger_id,
            }))
        }
        ("view_submission", _, Some(view)) if view.callback_id == DENY_DIALOG => {
            let about: About = serde_json::from_str(&view.private_metadata)?;
            let reason = view.state["values"][REASON][REASON]["value"].as_str();
            let reason = reason
                .map(|reason| cut(reason.trim(), 1_000))
                .filter(|reason| !reason.is_empty());
            let command = Command::Press {
                verb: Verb::Deny,
                id: about.id,
                reason,
            };
            Ok(Some(Ask::DeniedBecause {
                principal,
                command,
                place: about.place.map(Place::from),
            }))
        }
        _ => Ok(None),
    }
}

/// What the dialog keeps about the press that opened it. It comes back from the client: the id is looked up again,
/// and the place is only where its own sender is answered.
#[derive(Deserialize)]
struct About {
    id: String,
    place: Option<(String, String, Option<String>)>,
}

impl From<(String, String, Option<String>)> for Place {
    fn from((channel, ts, thread_ts): (String, String, Option<String>)) -> Self {
        let direct = channel.starts_with('D');
        Self {
            channel,
            ts,
            thread_ts,
            direct,
        }
    }
}

/// The dialog that asks why something is denied.
pub(crate) fn deny_dialog(press: &Press, place: &Place) -> Value {
    let about = json!({"id": press.id, "place": (&place.channel, &place.ts, &place.thread_ts)});
    json!({
        "type": "modal",
        "callback_id": DENY_DIALOG,
        "private_metadata": about.to_string(),
        "title": {"type": "plain_text", "text": "Deny this action"},
        "submit": {"type": "plain_text", "text": "Deny"},
        "close": {"type": "plain_text", "text": "Back"},
        "blocks": [{
            "type": "input",
            "block_id": REASON,
            "label": {"type": "plain_text", "text": "Why?"},
            "hint": {"type": "plain_text", "text": "Kept in the audit record and shown in the thread."},
            "element": {
                "type": "plain_text_input",
                "action_id": REASON,
                "multiline": true,
                "min_length": 1,
                "max_length": 1000,
            },
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mention_becomes_a_sentence_with_its_author_and_thread() {
        let payload = r#"{"team_id":"T1","authorizations":[{"user_id":"UBOT"}],"event":{"type":"app_mention","user":"U1","text":"<@UBOT> why is &lt;llm-7b&gt; failing?","ts":"17.02","thread_ts":"17.01","channel":"C1"}}"#;
        let ask = decode("event", payload).expect("an event");
        let place = Place {
            channel: "C1".into(),
            ts: "17.02".into(),
            thread_ts: Some("17.01".into()),
            direct: false,
        };
        assert_eq!(
            ask,
            Some(Ask::Said {
                principal: principal("U1", Some("T1".into())),
                text: "why is <llm-7b> failing?".into(),
                place,
                bot: Some("UBOT".into()),
            })
        );
    }

    #[test]
    fn our_own_words_are_not_an_order() {
        let payload = r#"{"authorizations":[{"user_id":"UBOT"}],"event":{"user":"UBOT","text":"hi","ts":"1.0","channel":"D1"}}"#;
        assert_eq!(decode("event", payload).expect("an event"), None);
    }

    #[test]
    fn a_guest_keeps_the_team_they_come_from() {
        let payload = r#"{"team_id":"T1","event":{"user":"U9","user_team":"TELSEWHERE","team":"T1","text":"hi","ts":"1.0","channel":"D1","channel_type":"im"}}"#;
        let Some(Ask::Said {
            principal, place, ..
        }) = decode("event", payload).expect("an event")
        else {
            panic!("nothing said");
        };
        assert_eq!(principal.team.as_deref(), Some("TELSEWHERE"));
        assert!(place.direct);
    }

    #[test]
    fn a_bare_slash_command_asks_for_help() {
        let payload = r#"{"user_id":"U1","channel_id":"C1","text":" ","response_url":"https://hooks.slack.com/x"}"#;
        let Some(Ask::Slash { command, .. }) = decode("command", payload).expect("a command")
        else {
            panic!("no command");
        };
        assert_eq!(command, Command::Help { topic: None });
    }

    #[test]
    fn the_dialog_brings_the_press_back_with_its_reason() {
        let press = Press {
            verb: Verb::Deny,
            id: "a1".into(),
        };
        let place = Place {
            channel: "C1".into(),
            ts: "17.01".into(),
            thread_ts: None,
            direct: false,
        };
        let mut view = deny_dialog(&press, &place);
        view["state"] = json!({"values": {"reason": {"reason": {"type": "plain_text_input", "value": " not now "}}}});
        let payload =
            json!({"type": "view_submission", "user": {"id": "U1", "team_id": "T1"}, "view": view})
                .to_string();
        let ask = decode("interaction", &payload).expect("an interaction");
        let command = Command::Press {
            verb: Verb::Deny,
            id: "a1".into(),
            reason: Some("not now".into()),
        };
        assert_eq!(
            ask,
            Some(Ask::DeniedBecause {
                principal: principal("U1", Some("T1".into())),
                command,
                place: Some(place)
            })
        );
    }

    #[test]
    fn a_button_that_is_not_ours_is_nothing() {
        let payload = r#"{"type":"block_actions","user":{"id":"U1"},"container":{"message_ts":"1.0","channel_id":"C1"},"actions":[{"value":"rm:everything"}]}"#;
        assert_eq!(
            decode("interaction", payload).expect("an interaction"),
            None
        );
    }
}
