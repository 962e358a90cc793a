//! Calls to Slack: the Web API, response URLs and the incoming webhook, with our own cards in and ids out.
//!
//! Transport, tokens and errors are slack-morphism's; requests are our own types, because blocks, metadata and the
//! verdicts on errors must be exact. Nothing is repeated here: the outbox decides when to try again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use slack_morphism::prelude::SlackClientHyperHttpsConnector;
use slack_morphism::{
    SlackApiToken, SlackApiTokenValue, SlackClientApiCallContext, SlackClientHttpConnector,
};
use tokio::time::{Instant, timeout};
use url::Url;

use super::blocks;
use super::error::SlackError;
use crate::chat::card::Card;

/// Slack's own Web API.
pub(super) const SLACK_API: &str = "https://slack.com/api";
/// Names our metadata on messages, by which a repeated post is recognised.
const EVENT_TYPE: &str = "nightbell";
/// How long the members of a user group may be remembered: an approver who was removed must not approve for long.
const GROUP_CACHE: Duration = Duration::from_mins(1);
/// Pages of 200 messages that are searched for an earlier post before giving up.
const SEARCH_PAGES: usize = 5;
/// Clocks of Slack and this machine may differ by this much when searching since a time.
const CLOCK_SKEW: jiff::SignedDuration = jiff::SignedDuration::from_secs(120);
/// The hosts of response URLs and webhooks.
const HOOK_HOSTS: [&str; 2] = ["hooks.slack.com", "hooks.slack-gov.com"];

pub type Result<T, E = SlackError> = std::result::Result<T, E>;

/// How to reach Slack. What is not set cannot be used, and says so when tried.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Base of the Web API, with or without a slash at its end; Slack's when not set.
    pub api_url: Option<Url>,
    pub bot_token: Option<SecretString>,
    /// For Socket Mode.
    pub app_token: Option<SecretString>,
    pub webhook_url: Option<SecretString>,
    /// Of each call.
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            api_url: None,
            bot_token: None,
            app_token: None,
            webhook_url: None,
            timeout: Duration::from_secs(10),
        }
    }
}

/// A message that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// Always the id, also when it was posted by name.
    pub channel: String,
    /// The message's key within its channel; never a number.
    pub ts: String,
}

/// Who we are in Slack.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Identity {
    pub team_id: String,
    /// The bot's own user id.
    pub user_id: String,
    pub bot_id: Option<String>,
    #[serde(default)]
    pub team: Option<String>,
}

/// What decides whether a user counts as a colleague.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct User {
    pub id: String,
    pub team_id: Option<String>,
    #[serde(default)]
    pub deleted: bool,
    #[serde(default)]
    pub is_bot: bool,
    #[serde(default)]
    pub is_restricted: bool,
    #[serde(default)]
    pub is_ultra_restricted: bool,
    #[serde(default)]
    pub is_stranger: bool,
    #[serde(default)]
    profile: Profile,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct Profile {
    email: Option<String>,
}

impl User {
    /// The address that Slack has checked; only an app with the scope `users:read.email` is told.
    #[must_use]
    pub fn email(&self) -> Option<&str> {
        self.profile.email.as_deref()
    }
}

/// One message of a thread or channel, as far as we look at it.
#[derive(Clone, Debug, Deserialize)]
pub struct Message {
    pub ts: String,
    #[serde(default)]
    pub text: String,
    pub user: Option<String>,
    pub bot_id: Option<String>,
    metadata: Option<Metadata>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Metadata {
    event_type: String,
    event_payload: Value,
}

/// Who sees what is posted to a response URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Respond {
    /// Only the person who asked.
    Ephemeral,
    InChannel,
    /// Takes the place of the message whose button was pressed.
    Replace,
}

/// A client for one workspace; cheap to clone.
#[derive(Clone)]
pub struct SlackClient {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) connector: SlackClientHyperHttpsConnector,
    pub(super) api: Url,
    bot_token: Option<SlackApiToken>,
    app_token: Option<SlackApiToken>,
    webhook_url: Option<SecretString>,
    timeout: Duration,
    groups: Mutex<HashMap<String, Group>>,
}

/// The members of a user group, and when they were asked for.
type Group = (Instant, Arc<[String]>);

impl std::fmt::Debug for SlackClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SlackClient")
            .field("api", &self.inner.api.as_str())
            .finish_non_exhaustive()
    }
}

impl SlackClient {
    /// Makes a client; nothing is called.
    ///
    /// # Errors
    /// When the machine's root certificates cannot be read.
    pub fn new(settings: Settings) -> std::io::Result<Self> {
        let base = settings
            .api_url
            .as_ref()
            .map_or(SLACK_API, Url::as_str)
            .trim_end_matches('/')
            .to_owned();
        // Plain HTTP only where the configured base asks for it.
        let https = hyper_rustls::HttpsConnectorBuilder::new().with_native_roots()?;
        let https = if base.starts_with("http://") {
            https.https_or_http()
        } else {
            https.https_only()
        };
        let connector = SlackClientHyperHttpsConnector::with_connector(
            https.enable_http1().enable_http2().build(),
        )
        .with_slack_api_url(&base);
        let api = Url::parse(&base)
            .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))?;
        let token = |secret: SecretString| {
            SlackApiToken::new(SlackApiTokenValue(secret.expose_secret().trim().to_owned()))
        };
        Ok(Self {
            inner: Arc::new(Inner {
                connector,
                api,
                bot_token: settings.bot_token.map(token),
                app_token: settings.app_token.map(token),
                webhook_url: settings.webhook_url,
                timeout: settings.timeout,
                groups: Mutex::default(),
            }),
        })
    }

    /// Checks the bot token and tells who we are.
    pub async fn auth_test(&self) -> Result<Identity> {
        self.call("auth.test", &json!({})).await
    }

    /// Posts a card, to a thread when `thread_ts` is its parent. `key` names the message for [`Self::find_posted`].
    ///
    /// When Slack refuses the blocks, the card goes out once more as plain text.
    pub async fn post(
        &self,
        channel: &str,
        card: &Card,
        thread_ts: Option<&str>,
        key: &str,
    ) -> Result<Posted> {
        let rendered = blocks::render(card);
        let message = |text: &str, blocks: &[Value]| {
            let mut message = json!({
                "channel": channel,
                "text": text,
                "unfurl_links": false,
                "unfurl_media": false,
                "metadata": Metadata { event_type: EVENT_TYPE.to_owned(), event_payload: json!({"key": key}) },
            });
            if !blocks.is_empty() {
                message["blocks"] = json!(blocks);
            }
            if let Some(parent) = thread_ts {
                message["thread_ts"] = json!(parent);
            }
            message
        };
        match self
            .call(
                "chat.postMessage",
                &message(&rendered.text, &rendered.blocks),
            )
            .await
        {
            Err(SlackError::BadBlocks { code, details }) => {
                refused_form(&code, &details, &rendered.blocks);
                self.call("chat.postMessage", &message(&blocks::short_form(card), &[]))
                    .await
            }
            result => result,
        }
    }

    /// Brings a posted message up to date; plain text when Slack refuses the blocks.
    pub async fn update(&self, channel: &str, ts: &str, card: &Card) -> Result<Posted> {
        let rendered = blocks::render(card);
        let message = |text: &str, blocks: &[Value]| json!({"channel": channel, "ts": ts, "text": text, "blocks": blocks});
        match self
            .call("chat.update", &message(&rendered.text, &rendered.blocks))
            .await
        {
            Err(SlackError::BadBlocks { code, details }) => {
                refused_form(&code, &details, &rendered.blocks);
                self.call("chat.update", &message(&blocks::short_form(card), &[]))
                    .await
            }
            result => result,
        }
    }

    /// Shows a card to one user of a channel; it leaves no message behind.
    pub async fn post_ephemeral(
        &self,
        channel: &str,
        user: &str,
        card: &Card,
        thread_ts: Option<&str>,
    ) -> Result<()> {
        let rendered = blocks::render(card);
        let mut message = json!({"channel": channel, "user": user, "text": rendered.text, "blocks": rendered.blocks});
        if let Some(parent) = thread_ts {
            message["thread_ts"] = json!(parent);
        }
        self.call::<Value>("chat.postEphemeral", &message)
            .await
            .map(drop)
    }

    /// Looks for a message that was posted to `channel` with `key` at or after `since`, so that an attempt whose
    /// answer was lost is not repeated. `None` also when the app may not read the channel: then a repeat is the
    /// lesser evil.
    pub async fn find_posted(
        &self,
        channel: &str,
        key: &str,
        since: Timestamp,
    ) -> Result<Option<Posted>> {
        self.find("conversations.history", channel, None, key, since)
            .await
    }

    /// As [`Self::find_posted`], among the replies to the message `thread_ts`.
    pub async fn find_reply(
        &self,
        channel: &str,
        thread_ts: &str,
        key: &str,
        since: Timestamp,
    ) -> Result<Option<Posted>> {
        self.find(
            "conversations.replies",
            channel,
            Some(thread_ts),
            key,
            since,
        )
        .await
    }

    async fn find(
        &self,
        method: &'static str,
        channel: &str,
        thread_ts: Option<&str>,
        key: &str,
        since: Timestamp,
    ) -> Result<Option<Posted>> {
        let oldest = format!(
            "{}.000000",
            since
                .saturating_sub(CLOCK_SKEW)
                .map_or(0, Timestamp::as_second)
        );
        let mut cursor: Option<String> = None;
        for _ in 0..SEARCH_PAGES {
            let page: Page = match self
                .query(
                    method,
                    &[
                        ("channel", Some(channel)),
                        ("ts", thread_ts),
                        ("oldest", Some(&oldest)),
                        ("include_all_metadata", Some("true")),
                        ("limit", Some("200")),
                        ("cursor", cursor.as_deref()),
                    ],
                )
                .await
            {
                Ok(page) => page,
                Err(
                    SlackError::Configuration { .. }
                    | SlackError::BadChannel { .. }
                    | SlackError::Refused { .. },
                ) => return Ok(None),
                Err(error) => return Err(error),
            };
            if let Some(message) = page.messages.iter().find(|message| message.has_key(key)) {
                return Ok(Some(Posted {
                    channel: channel.to_owned(),
                    ts: message.ts.clone(),
                }));
            }
            cursor = page
                .response_metadata
                .and_then(|metadata| metadata.next_cursor)
                .filter(|next| !next.is_empty());
            if cursor.is_none() {
                break;
            }
        }
        Ok(None)
    }

    /// The first `limit` messages of a thread, its parent first.
    pub async fn thread(&self, channel: &str, thread_ts: &str, limit: u16) -> Result<Vec<Message>> {
        let limit = limit.to_string();
        let page: Page = self
            .query(
                "conversations.replies",
                &[
                    ("channel", Some(channel)),
                    ("ts", Some(thread_ts)),
                    ("limit", Some(&limit)),
                ],
            )
            .await?;
        Ok(page.messages)
    }

    /// The members of a user group, at most a minute old. Whoever asks in order to allow something must take an
    /// error as no.
    pub async fn user_group_members(&self, group: &str) -> Result<Arc<[String]>> {
        #[derive(Deserialize)]
        struct Members {
            users: Vec<String>,
        }
        if let Some(members) = self.remembered_group(group) {
            return Ok(members);
        }
        let asked = Instant::now();
        let members: Members = self
            .query("usergroups.users.list", &[("usergroup", Some(group))])
            .await?;
        let members: Arc<[String]> = members.users.into();
        let mut groups = self
            .inner
            .groups
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        groups.retain(|_, (since, _)| since.elapsed() < GROUP_CACHE);
        groups.insert(group.to_owned(), (asked, Arc::clone(&members)));
        Ok(members)
    }

    fn remembered_group(&self, group: &str) -> Option<Arc<[String]>> {
        let groups = self
            .inner
            .groups
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        groups
            .get(group)
            .filter(|(since, _)| since.elapsed() < GROUP_CACHE)
            .map(|(_, members)| Arc::clone(members))
    }

    /// A user's standing.
    pub async fn user(&self, user: &str) -> Result<User> {
        #[derive(Deserialize)]
        struct Found {
            user: User,
        }
        self.query("users.info", &[("user", Some(user))])
            .await
            .map(|found: Found| found.user)
    }

    /// The channel for direct messages with a user.
    pub async fn open_direct(&self, user: &str) -> Result<String> {
        #[derive(Deserialize)]
        struct Opened {
            channel: Channel,
        }
        #[derive(Deserialize)]
        struct Channel {
            id: String,
        }
        self.call("conversations.open", &json!({"users": user}))
            .await
            .map(|opened: Opened| opened.channel.id)
    }

    /// Opens a dialog. A trigger is good once, for three seconds.
    pub async fn open_view(&self, trigger_id: &str, view: &Value) -> Result<()> {
        self.call::<Value>(
            "views.open",
            &json!({"trigger_id": trigger_id, "view": view}),
        )
        .await
        .map(drop)
    }

    /// Asks for the address of a new socket. It is good once, at once.
    pub async fn open_socket(&self) -> Result<Url> {
        #[derive(Deserialize)]
        struct Opened {
            url: Url,
        }
        let token = self
            .inner
            .app_token
            .as_ref()
            .ok_or(SlackError::NotCallable {
                reason: "no app token is set",
            })?;
        let opened: Opened = self
            .send("apps.connections.open", &json!({}), token)
            .await?;
        Ok(opened.url)
    }

    /// Answers a slash command or a pressed button: up to five times within half an hour.
    ///
    /// The address is called only if it is one of Slack's own (or of the configured API's host).
    pub async fn respond(&self, response_url: &str, card: &Card, how: Respond) -> Result<()> {
        let url = self.hook_url(response_url)?;
        let rendered = blocks::render(card);
        let message = |text: &str, blocks: &[Value]| {
            let mut message = match how {
                Respond::Ephemeral => {
                    json!({"response_type": "ephemeral", "replace_original": false})
                }
                Respond::InChannel => {
                    json!({"response_type": "in_channel", "replace_original": false})
                }
                Respond::Replace => json!({"replace_original": true}),
            };
            message["text"] = json!(text);
            message["blocks"] = json!(blocks);
            message
        };
        match self
            .post_hook(&url, &message(&rendered.text, &rendered.blocks))
            .await
        {
            Err(SlackError::BadBlocks { code, details }) => {
                refused_form(&code, &details, &rendered.blocks);
                self.post_hook(&url, &message(&blocks::short_form(card), &[]))
                    .await
            }
            result => result,
        }
    }

    /// Posts a card by the incoming webhook. There are no buttons: nothing would hear them.
    pub async fn post_webhook(&self, card: &Card) -> Result<()> {
        let url = self
            .inner
            .webhook_url
            .as_ref()
            .ok_or(SlackError::NotCallable {
                reason: "no webhook is set",
            })?;
        let url = Url::parse(url.expose_secret()).map_err(|_| SlackError::NotCallable {
            reason: "the webhook's address is not a URL",
        })?;
        let mut quiet = card.clone();
        quiet
            .blocks
            .retain(|block| !matches!(block, crate::chat::card::Block::Buttons { .. }));
        let rendered = blocks::render(&quiet);
        match self
            .post_hook(
                &url,
                &json!({"text": rendered.text, "blocks": rendered.blocks}),
            )
            .await
        {
            Err(SlackError::BadBlocks { code, details }) => {
                refused_form(&code, &details, &rendered.blocks);
                self.post_hook(&url, &json!({"text": blocks::short_form(&quiet)}))
                    .await
            }
            result => result,
        }
    }

    /// A response URL comes with a payload: only Slack's hosts over HTTPS may be called, or the very host that the
    /// operator configured.
    fn hook_url(&self, text: &str) -> Result<Url> {
        let refused = SlackError::NotCallable {
            reason: "the response URL is not one of Slack's",
        };
        let Ok(url) = Url::parse(text) else {
            return Err(refused);
        };
        let host = url.host_str().unwrap_or_default();
        let is_slacks =
            url.scheme() == "https" && HOOK_HOSTS.contains(&host) && url.port().is_none();
        if is_slacks
            || (url.origin() == self.inner.api.origin() && self.inner.api.as_str() != SLACK_API)
        {
            Ok(url)
        } else {
            Err(refused)
        }
    }

    async fn post_hook(&self, url: &Url, message: &Value) -> Result<()> {
        let span = tracing::Span::none();
        let context = SlackClientApiCallContext {
            rate_control_params: None,
            token: None,
            tracing_span: &span,
            is_sensitive_url: true,
        };
        self.in_time(
            self.inner
                .connector
                .http_post_uri::<_, Value>(url.clone(), message, context),
        )
        .await
        .map(drop)
    }

    pub(super) async fn call<T: DeserializeOwned + Send>(
        &self,
        method: &'static str,
        request: &Value,
    ) -> Result<T> {
        self.send(method, request, self.bot_token()?).await
    }

    async fn send<T: DeserializeOwned + Send>(
        &self,
        method: &'static str,
        request: &Value,
        token: &SlackApiToken,
    ) -> Result<T> {
        let span = tracing::debug_span!("slack", method);
        let context = SlackClientApiCallContext {
            rate_control_params: None,
            token: Some(token),
            tracing_span: &span,
            is_sensitive_url: false,
        };
        let Accepted { answer, .. } = self
            .in_time(self.inner.connector.http_post(method, request, context))
            .await?;
        Ok(answer)
    }

    /// Methods that read take their arguments in the query, never as JSON.
    pub(super) async fn query<T: DeserializeOwned + Send>(
        &self,
        method: &'static str,
        arguments: &[(&str, Option<&str>)],
    ) -> Result<T> {
        let span = tracing::debug_span!("slack", method);
        let context = SlackClientApiCallContext {
            rate_control_params: None,
            token: Some(self.bot_token()?),
            tracing_span: &span,
            is_sensitive_url: false,
        };
        let arguments = arguments.to_vec();
        let Accepted { answer, .. } = self
            .in_time(self.inner.connector.http_get(method, &arguments, context))
            .await?;
        Ok(answer)
    }

    fn bot_token(&self) -> Result<&SlackApiToken> {
        self.inner
            .bot_token
            .as_ref()
            .ok_or(SlackError::NotCallable {
                reason: "no bot token is set",
            })
    }

    pub(super) async fn in_time<T>(
        &self,
        call: impl Future<Output = std::result::Result<T, slack_morphism::errors::SlackClientError>>,
    ) -> Result<T> {
        match timeout(self.inner.timeout, call).await {
            Ok(result) => result.map_err(SlackError::from),
            Err(_) => Err(SlackError::TimedOut),
        }
    }
}

/// An answer with `ok`: without it, whatever came back is not Slack's.
#[derive(Deserialize)]
struct Accepted<T> {
    #[serde(rename = "ok")]
    _ok: bool,
    #[serde(flatten)]
    answer: T,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    messages: Vec<Message>,
    response_metadata: Option<NextPage>,
}

#[derive(Deserialize)]
struct NextPage {
    next_cursor: Option<String>,
}

impl Message {
    fn has_key(&self, key: &str) -> bool {
        self.metadata.as_ref().is_some_and(|metadata| {
            metadata.event_type == EVENT_TYPE && metadata.event_payload["key"].as_str() == Some(key)
        })
    }
}

/// Logs the shape, never the text, of blocks that Slack refused.
fn refused_form(code: &str, details: &str, blocks: &[Value]) {
    let shape: Vec<&str> = blocks
        .iter()
        .filter_map(|block| block["type"].as_str())
        .collect();
    tracing::error!(
        slack.code = code,
        slack.details = details,
        ?shape,
        "Slack refused a message's blocks, sending plain text"
    );
}
