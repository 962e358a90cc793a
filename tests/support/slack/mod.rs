//! A Slack that keeps state: a Web API over HTTP, sockets, response URLs, a webhook, and people who speak and click.
//!
//! It refuses what Slack refuses (limits, unknown messages, revoked tokens) and can be made to fail as Slack fails.

mod api;
mod limits;
mod sockets;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use url::Url;

pub const BOT_TOKEN: &str = "xoxb-test";
pub const APP_TOKEN: &str = "xapp-test";
pub const SIGNING_SECRET: &str = "oncall-test-signing-secret";
pub const BOT_USER: &str = "UBOT";
pub const TEAM: &str = "T1";

/// How one call goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// HTTP 429 with `Retry-After`.
    RateLimited(u64),
    /// `rate_limited` in a body with status 200.
    RateLimitedQuietly,
    /// An HTML page from something in between.
    BadGateway,
    /// One of Slack's codes.
    Error(&'static str),
    /// The call takes effect, the answer says it failed.
    FatalAfterEffect,
    /// The answer comes late.
    Slow(Duration),
}

/// A message as people see it.
#[derive(Clone, Debug)]
pub struct Message {
    pub channel: String,
    pub ts: String,
    pub thread_ts: Option<String>,
    pub user: String,
    pub text: String,
    pub blocks: Vec<Value>,
    pub metadata: Value,
    /// Only this user sees it.
    pub only_for: Option<String>,
    pub edits: usize,
    /// When the call that made it arrived.
    #[allow(dead_code, reason = "a benchmark reads it")]
    pub arrived: Instant,
}

impl Message {
    /// Its text with all its parts and buttons, as a person sees it.
    pub fn shown(&self) -> String {
        render(self)
    }

    /// The button whose label begins with `label`.
    pub fn button(&self, label: &str) -> Option<Value> {
        let elements = self
            .blocks
            .iter()
            .flat_map(|block| block["elements"].as_array().into_iter().flatten());
        let mut buttons = elements.filter(|element| element["type"] == "button");
        let begins = |button: &&Value| {
            let text = button["text"]["text"].as_str();
            text.is_some_and(|text| text.starts_with(label))
        };
        buttons.find(begins).cloned()
    }
}

/// An uploaded file.
#[derive(Clone, Debug, Default)]
pub struct File {
    pub name: String,
    pub alt: String,
    pub title: String,
    pub length: usize,
    pub bytes: Vec<u8>,
    /// The channel and thread that show it.
    pub shared: Option<(String, String)>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) files: HashMap<String, File>,
    pub(crate) messages: Vec<Message>,
    /// Opened dialogs, by the trigger that opened them.
    pub(crate) views: Vec<Value>,
    /// Every call: its method and arguments.
    pub(crate) calls: Vec<(String, Value)>,
    pub(crate) faults: HashMap<String, VecDeque<Fault>>,
    pub(crate) down: bool,
    pub(crate) revoked: bool,
    pub(crate) groups: HashMap<String, Vec<String>>,
    /// What `users.info` says of users beyond their id.
    pub(crate) profiles: HashMap<String, Value>,
    /// Triggers that are still good.
    pub(crate) triggers: HashSet<String>,
    /// Response URLs and how often they were used.
    pub(crate) responses: HashMap<String, (usize, String, Option<String>)>,
    pub(crate) webhook_posts: Vec<Value>,
    pub(crate) sockets: Vec<mpsc::UnboundedSender<String>>,
    pub(crate) sockets_opened: usize,
    pub(crate) acknowledged: HashSet<String>,
    counter: u64,
}

impl State {
    pub(crate) fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub(crate) fn next_ts(&mut self) -> String {
        format!("{}.{:06}", jiff::Timestamp::now().as_second(), self.next())
    }
}

/// A running stand-in for Slack.
#[derive(Clone)]
pub struct FakeSlack {
    pub(crate) state: Arc<Mutex<State>>,
    address: SocketAddr,
    socket_address: SocketAddr,
    /// Where signed requests go; over the sockets when not set.
    bot: Arc<Mutex<Option<Url>>>,
    http: reqwest::Client,
}

impl FakeSlack {
    pub async fn start() -> Self {
        // Other tests of the binary may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let sockets = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let slack = Self {
            state: Arc::default(),
            address: listener.local_addr().expect("a bound address"),
            socket_address: sockets.local_addr().expect("a bound address"),
            bot: Arc::default(),
            http: reqwest::Client::builder().build().expect("a client"),
        };
        let router = api::router(slack.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        tokio::spawn(sockets::accept(slack.clone(), sockets));
        slack
    }

    /// The base of the Web API, as `SLACK_API_URL` has it.
    pub fn api_url(&self) -> Url {
        format!("http://{}/api/", self.address)
            .parse()
            .expect("a URL")
    }

    pub fn webhook_url(&self) -> String {
        format!("http://{}/services/T1/B1/x", self.address)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the state is not poisoned")
    }

    // How Slack fails.

    /// The next call of `method` goes wrong.
    pub fn fail(&self, method: &str, fault: Fault) {
        self.state()
            .faults
            .entry(method.to_owned())
            .or_default()
            .push_back(fault);
    }

    /// Nothing answers but a page that says 503.
    pub fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    pub fn set_revoked(&self, revoked: bool) {
        self.state().revoked = revoked;
    }

    /// What `users.info` says of a user from now on, such as `{"is_restricted": true}`.
    pub fn set_profile(&self, user: &str, profile: Value) {
        self.state().profiles.insert(user.to_owned(), profile);
    }

    pub fn set_group(&self, group: &str, members: &[&str]) {
        self.state().groups.insert(
            group.to_owned(),
            members.iter().map(|&user| user.to_owned()).collect(),
        );
    }

    /// All triggers are too old from now on.
    pub fn expire_triggers(&self) {
        self.state().triggers.clear();
    }

    // What Slack saw.

    pub fn calls(&self, method: &str) -> usize {
        self.state()
            .calls
            .iter()
            .filter(|(called, _)| called == method)
            .count()
    }

    pub fn last_view(&self) -> Option<Value> {
        self.state().views.last().cloned()
    }

    /// Files that a thread shows.
    pub fn shared_files(&self) -> Vec<File> {
        let state = self.state();
        state
            .files
            .values()
            .filter(|file| file.shared.is_some())
            .cloned()
            .collect()
    }

    pub fn webhook_posts(&self) -> Vec<Value> {
        self.state().webhook_posts.clone()
    }

    /// All messages as text, threads indented, for snapshots.
    pub fn messages(&self) -> String {
        self.state()
            .messages
            .iter()
            .map(render)
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Everything that anybody sees, oldest first.
    pub fn all(&self) -> Vec<Message> {
        self.state().messages.clone()
    }

    /// Arguments of every call so far, by method, refused ones included.
    pub fn payloads(&self) -> Vec<(String, Value)> {
        self.state().calls.clone()
    }

    pub fn message(&self, index: usize) -> Message {
        self.state().messages[index].clone()
    }

    /// Waits until there are `count` messages.
    pub async fn wait_for_messages(&self, count: usize) {
        self.wait_until(|state| state.messages.len() >= count).await;
    }

    /// Waits until something is so, ten seconds at most.
    pub async fn wait_until(&self, what: impl Fn(&State) -> bool) {
        for _ in 0..1_000 {
            if what(&self.state()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("Slack waited in vain; it has\n{}", self.messages());
    }

    // What people do.

    /// Signed requests go to this address from now on, instead of the sockets.
    pub fn use_http(&self, bot: Url) {
        *self.bot.lock().expect("not poisoned") = Some(bot);
    }

    /// Says something to the bot: by mention in a channel `C…`, directly in a `D…`. Whether it was acknowledged.
    pub async fn say(&self, channel: &str, user: &str, text: &str) -> bool {
        self.say_in(channel, None, user, text).await
    }

    pub async fn say_in(
        &self,
        channel: &str,
        thread_ts: Option<&str>,
        user: &str,
        text: &str,
    ) -> bool {
        let payload = self.said(channel, thread_ts, user, text);
        self.send("events_api", &payload).await
    }

    /// The payload of something said, recorded as a message of the channel.
    pub fn said(&self, channel: &str, thread_ts: Option<&str>, user: &str, text: &str) -> Value {
        let mut state = self.state();
        let ts = state.next_ts();
        let is_direct = channel.starts_with('D');
        let escaped = text
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        let text = if is_direct {
            escaped
        } else {
            format!("<@{BOT_USER}> {escaped}")
        };
        state.messages.push(Message {
            channel: channel.to_owned(),
            ts: ts.clone(),
            thread_ts: thread_ts.map(str::to_owned),
            user: user.to_owned(),
            text: text.clone(),
            blocks: Vec::new(),
            metadata: Value::Null,
            only_for: None,
            edits: 0,
            arrived: Instant::now(),
        });
        let mut event = json!({
            "type": if is_direct { "message" } else { "app_mention" },
            "user": user, "team": TEAM, "text": text, "ts": ts, "event_ts": ts, "channel": channel,
        });
        if is_direct {
            event["channel_type"] = json!("im");
        }
        if let Some(thread_ts) = thread_ts {
            event["thread_ts"] = json!(thread_ts);
        }
        json!({
            "token": "x", "team_id": TEAM, "api_app_id": "A1", "type": "event_callback",
            "event_id": format!("Ev{}", state.next()), "event_time": 1, "event": event,
            "authorizations": [{"team_id": TEAM, "user_id": BOT_USER, "is_bot": true}],
        })
    }

    /// Types `/nightbell TEXT`.
    pub async fn slash(&self, channel: &str, user: &str, text: &str) -> bool {
        let (trigger, response_url) = self.handles(channel, None);
        let payload = json!({
            "token": "x", "team_id": TEAM, "team_domain": "test", "channel_id": channel, "channel_name": "ops",
            "user_id": user, "user_name": "someone", "command": "/nightbell", "text": text, "api_app_id": "A1",
            "is_enterprise_install": "false", "response_url": response_url, "trigger_id": trigger,
        });
        self.send("slash_commands", &payload).await
    }

    /// Presses the button whose label begins with `label`, on the latest message that has one.
    pub async fn click(&self, label: &str, user: &str) -> bool {
        let payload = self.clicked(label, user);
        self.send("interactive", &payload).await
    }

    /// The payload of a press.
    pub fn clicked(&self, label: &str, user: &str) -> Value {
        let (message, button) = self
            .find_button(label)
            .unwrap_or_else(|| panic!("no button {label} in\n{}", self.messages()));
        self.pressed(&message, &button, user)
    }

    /// Presses the button of `message` whose label begins with `label`.
    pub async fn click_on(&self, message: &Message, label: &str, user: &str) -> bool {
        let button = message
            .button(label)
            .unwrap_or_else(|| panic!("no button {label} on\n{}", message.shown()));
        let payload = self.pressed(message, &button, user);
        self.send("interactive", &payload).await
    }

    fn pressed(&self, message: &Message, button: &Value, user: &str) -> Value {
        let (trigger, response_url) = self.handles(&message.channel, Some(&message.ts));
        let number = self.state().next();
        let mut container = json!({
            "type": "message", "message_ts": message.ts, "channel_id": message.channel,
            "is_ephemeral": message.only_for.is_some(),
        });
        if let Some(thread_ts) = &message.thread_ts {
            container["thread_ts"] = json!(thread_ts);
        }
        json!({
            "type": "block_actions", "api_app_id": "A1", "token": "x",
            "user": {"id": user, "username": "someone", "team_id": TEAM}, "team": {"id": TEAM, "domain": "test"},
            "container": container, "channel": {"id": message.channel, "name": "ops"},
            "message": {"ts": message.ts, "text": message.text, "blocks": message.blocks, "user": BOT_USER},
            "trigger_id": trigger, "response_url": response_url,
            "actions": [{
                "type": "button", "action_id": button["action_id"], "block_id": "buttons-0",
                "value": button["value"], "text": button["text"], "action_ts": format!("1790000000.{number:06}"),
            }],
        })
    }

    /// Sends off the dialog that was opened last.
    pub async fn submit(&self, reason: &str, user: &str) -> bool {
        let mut view = self.last_view().expect("a dialog was opened");
        view["id"] = json!("V1");
        view["hash"] = json!("h1");
        view["state"] = json!({"values": {"reason": {"reason": {"type": "plain_text_input", "value": reason}}}});
        let (trigger, _) = self.handles("", None);
        let payload = json!({
            "type": "view_submission", "team": {"id": TEAM}, "user": {"id": user, "team_id": TEAM}, "view": view,
            "trigger_id": trigger, "response_urls": [],
        });
        self.send("interactive", &payload).await
    }

    fn handles(&self, channel: &str, message: Option<&str>) -> (String, String) {
        let mut state = self.state();
        let trigger = format!("{}.1.x", state.next());
        state.triggers.insert(trigger.clone());
        let path = format!("/actions/{}", state.next());
        state.responses.insert(
            path.clone(),
            (0, channel.to_owned(), message.map(str::to_owned)),
        );
        (trigger, format!("http://{}{path}", self.address))
    }

    fn find_button(&self, label: &str) -> Option<(Message, Value)> {
        let state = self.state();
        let mut latest = state.messages.iter().rev();
        latest.find_map(|message| Some((message.clone(), message.button(label)?)))
    }

    /// Brings a payload to the bot by the way in use. Whether it was acknowledged within three seconds.
    pub async fn send(&self, kind: &str, payload: &Value) -> bool {
        let bot = self.bot.lock().expect("not poisoned").clone();
        match bot {
            Some(_) => self.send_signed(&Self::request(kind, payload)).await == 200,
            None => self.send_envelope(kind, payload).await,
        }
    }

    /// A signed request, as it would go over the wire.
    pub fn request(kind: &str, payload: &Value) -> Request {
        let (path, body) = match kind {
            "events_api" => ("slack/events", payload.to_string()),
            "interactive" => (
                "slack/interactions",
                form(&[("payload", &payload.to_string())]),
            ),
            "slash_commands" => {
                let fields = payload.as_object().expect("fields");
                let fields: Vec<(&str, &str)> = fields
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str().expect("text")))
                    .collect();
                ("slack/commands", form(&fields))
            }
            other => panic!("no such way in: {other}"),
        };
        let timestamp = jiff::Timestamp::now().as_second().to_string();
        let signature = sign(SIGNING_SECRET, &timestamp, body.as_bytes());
        Request {
            path: path.to_owned(),
            body,
            timestamp,
            signature,
            retry: None,
        }
    }

    /// Sends a request and gives the status.
    pub async fn send_signed(&self, request: &Request) -> u16 {
        let bot = self
            .bot
            .lock()
            .expect("not poisoned")
            .clone()
            .expect("HTTP is in use");
        let content_type = if request.path.ends_with("events") {
            "application/json"
        } else {
            "application/x-www-form-urlencoded"
        };
        let mut call = self
            .http
            .post(bot.join(&request.path).expect("a URL"))
            .header("content-type", content_type)
            .header("x-slack-request-timestamp", &request.timestamp)
            .header("x-slack-signature", &request.signature)
            .timeout(Duration::from_secs(3))
            .body(request.body.clone());
        if let Some(retry) = request.retry {
            call = call
                .header("x-slack-retry-num", retry)
                .header("x-slack-retry-reason", "http_timeout");
        }
        call.send()
            .await
            .map_or(0, |response| response.status().as_u16())
    }
}

/// A signed request.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    pub body: String,
    pub timestamp: String,
    pub signature: String,
    pub retry: Option<u16>,
}

pub fn sign(secret: &str, timestamp: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length");
    mac.update(format!("v0:{timestamp}:").as_bytes());
    mac.update(body);
    format!("v0={}", hex::encode(mac.finalize().into_bytes()))
}

fn form(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}

/// One message as text: who, where, what, and its buttons.
fn render(message: &Message) -> String {
    let mut lines = vec![message.text.clone()];
    for block in &message.blocks {
        let mut texts: Vec<String> = block["text"]["text"]
            .as_str()
            .map(str::to_owned)
            .into_iter()
            .collect();
        for part in ["fields", "elements"] {
            for element in block[part].as_array().into_iter().flatten() {
                texts.extend(match element["type"].as_str() {
                    Some("button") => element["text"]["text"]
                        .as_str()
                        .map(|label| format!("[{label}]")),
                    _ => element["text"]
                        .as_str()
                        .map(|text| text.replace('\n', ": ")),
                });
            }
        }
        if !texts.is_empty() {
            lines.push(texts.join(" "));
        }
    }
    let indent = if message.thread_ts.is_some() {
        "  ↳ "
    } else {
        ""
    };
    let only_for = message
        .only_for
        .as_ref()
        .map(|user| format!(" (only {user} sees it)"))
        .unwrap_or_default();
    let edited = if message.edits > 0 { " (edited)" } else { "" };
    format!(
        "{indent}{} {}{only_for}{edited}: {}",
        message.channel,
        message.user,
        lines.join(&format!("\n{indent}  "))
    )
}
