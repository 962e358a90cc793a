//! Carries out what was recorded: asks the desk, and posts its answer where the question came from.
//!
//! A press of Deny opens a dialog for the reason. Its trigger is good for three seconds from the click, so this worker
//! is woken by each record instead of polling. When the dialog cannot be opened any more (a crash or a stalled
//! database ate the time), the press counts as a denial without a reason: saying no must always be possible.
//!
//! An answer that is too long for one message is posted in parts, each once.
//!
//! The desk may hear one delivery twice if the process dies while it answers, so what it does must bear that. Its
//! answer is saved before it is posted, and a post is looked for before it is repeated.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info_span, warn};

use super::client::{Respond, SlackClient};
use super::decode::{Ask, Place, decode, deny_dialog};
use super::error::SlackError;
use super::inbox::Inbox;
use super::mrkdwn::{cut, typed};
use super::parts;
use super::people::People;
use crate::chat::card::{Block, Card, Press, Span, Tone, Verb};
use crate::desk::{Answer, Command, Handler, Outcome, Principal, Standing};
use crate::store::{Effect, EffectKind, InboxRow, Store, StoreError};

/// Deliveries carried out at once.
const AT_ONCE: usize = 32;
/// How long a claim holds: longer than the desk may take plus a few calls to Slack.
const LEASE: SignedDuration = SignedDuration::from_mins(3);
/// How long the desk may take over one answer.
const PATIENCE: Duration = Duration::from_mins(2);
/// How often to look for work that nobody announced: retries, and what a dead process left.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// An answer older than this helps nobody; response URLs are dead by then too.
const STALE: SignedDuration = SignedDuration::from_mins(30);
/// Attempts before a delivery that keeps killing its worker is given up.
const ATTEMPTS: i64 = 12;
/// Attempts at finding out who asks before the question is politely refused: some seconds.
const RECOGNISE_ATTEMPTS: i64 = 4;
/// Earlier messages of a thread that the desk gets to see, and how much of each.
const CONTEXT_MESSAGES: usize = 20;
const CONTEXT_TEXT: usize = 1_000;

/// The worker for `Deliver` effects.
#[derive(Clone)]
pub struct Deliverer {
    pub store: Store,
    pub client: SlackClient,
    pub inbox: Inbox,
    pub desk: Handler,
    pub people: People,
    /// Names this process in claims.
    pub owner: String,
}

/// Why a delivery could not be carried out for now.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Slack(#[from] SlackError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Deliverer {
    /// Works until `stop`, then finishes what is in hand.
    pub async fn run(self, stop: CancellationToken) {
        let this = Arc::new(self);
        let arrived = this.inbox.arrived();
        let mut tasks: JoinSet<()> = JoinSet::new();
        while !stop.is_cancelled() {
            let room = AT_ONCE - tasks.len();
            let claimed = if room == 0 {
                Vec::new()
            } else {
                this.claim(room).await
            };
            let none_claimed = claimed.is_empty();
            for effect in claimed {
                let this = Arc::clone(&this);
                let span = info_span!("deliver", effect.id = %effect.id);
                tasks.spawn(async move { this.carry_out(&effect).await }.instrument(span));
            }
            if none_claimed {
                tokio::select! {
                    () = arrived.notified(), if room > 0 => {}
                    Some(ended) = tasks.join_next() => finished(ended),
                    () = sleep(LOOK_EVERY) => {}
                    () = stop.cancelled() => {}
                }
            }
            while let Some(ended) = tasks.try_join_next() {
                finished(ended);
            }
        }
        while let Some(ended) = tasks.join_next().await {
            finished(ended);
        }
    }

    async fn claim(&self, room: usize) -> Vec<Effect> {
        let room = i64::try_from(room).unwrap_or(1);
        match self
            .store
            .claim_effects(
                EffectKind::Deliver,
                &self.owner,
                room,
                LEASE,
                Timestamp::now(),
            )
            .await
        {
            Ok(effects) => effects,
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot look for what came from Slack"
                );
                Vec::new()
            }
        }
    }

    async fn carry_out(&self, effect: &Effect) {
        let result = self.attempt(effect).await;
        let now = Timestamp::now();
        let age = SignedDuration::from_millis(now.as_millisecond() - effect.created_ms);
        let recorded = match result {
            Ok(()) => self.finish(effect, now).await,
            Err(fault) => match retry_after(&fault, effect.failures + 1) {
                Some(wait) if age < STALE && effect.failures < ATTEMPTS => {
                    let due = now.saturating_add(wait).unwrap_or(now);
                    self.store
                        .retry_effect(effect, &self.owner, &fault.to_string(), due)
                        .await
                }
                Some(_) | None => {
                    error!(
                        error = &fault as &dyn std::error::Error,
                        "gave up answering in Slack"
                    );
                    self.finish(effect, now).await
                }
            },
        };
        if let Err(error) = recorded {
            warn!(
                error = &error as &dyn std::error::Error,
                "cannot record what became of a delivery"
            );
        }
    }

    async fn finish(&self, effect: &Effect, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        if let Ok(id) = effect.payload::<String>() {
            tx.finish_delivery(&id, now).await?;
        }
        tx.finish_effect(effect, &self.owner, now).await?;
        tx.commit().await
    }

    async fn attempt(&self, effect: &Effect) -> Result<(), Fault> {
        let Some(row) = self.store.delivery(&effect.payload::<String>()?).await? else {
            return Ok(());
        };
        if effect.attempts > ATTEMPTS {
            error!(inbox.id = %row.id, "gave up on a delivery that never came to an end");
            return Ok(());
        }
        match decode(&row.kind, &row.payload) {
            Ok(Some(mut ask)) => {
                self.recognise(&mut ask, effect.attempts).await?;
                self.answer(&row, ask, effect.attempts > 1).await
            }
            Ok(None) => Ok(()),
            Err(error) => {
                error!(inbox.id = %row.id, inbox.kind = row.kind, %error, "cannot read what Slack sent");
                Ok(())
            }
        }
    }

    /// Finds out whether a member or a guest asks. Decisions need no asking, and their dialog has no time for it: the
    /// gate lets nobody in who is not named.
    async fn recognise(&self, ask: &mut Ask, attempts: i64) -> Result<(), Fault> {
        if ask.is_decision() {
            return Ok(());
        }
        let principal = ask.principal();
        principal.standing = match self.people.standing(principal).await {
            Ok(standing) => standing,
            Err(error) if error.is_transient() && attempts < RECOGNISE_ATTEMPTS => {
                return Err(error.into());
            }
            Err(error) => {
                warn!(%error, "Slack does not say who asks, so nothing is answered");
                Standing::Unknown
            }
        };
        Ok(())
    }

    async fn answer(&self, row: &InboxRow, ask: Ask, again: bool) -> Result<(), Fault> {
        match ask {
            Ask::Said {
                principal,
                text,
                place,
                bot,
            } => {
                let command = if text.is_empty() {
                    Command::Help { topic: None }
                } else {
                    Command::Say {
                        text,
                        context: self.context(&place, bot.as_deref()).await,
                    }
                };
                let user = principal.user.clone();
                let answer = self.ask(row, principal, command).await?;
                self.reply(row, &place, &user, &answer, again).await
            }
            Ask::Slash {
                principal,
                command,
                channel,
                response_url,
            } => {
                let user = principal.user.clone();
                let answer = self.ask(row, principal, command).await?;
                let how = if answer.private {
                    Respond::Ephemeral
                } else {
                    Respond::InChannel
                };
                self.respond(&response_url, how, &answer.card, &channel, &user, None)
                    .await
            }
            Ask::Pressed {
                principal,
                press:
                    Press {
                        verb: Verb::Deny,
                        id,
                    },
                place,
                response_url,
                trigger_id,
            } => {
                let press = Press {
                    verb: Verb::Deny,
                    id,
                };
                if self
                    .open_dialog(&press, &place, trigger_id.as_deref(), again)
                    .await
                {
                    return Ok(());
                }
                let command = Command::Press {
                    verb: press.verb,
                    id: press.id,
                    reason: None,
                };
                self.press(
                    row,
                    principal,
                    command,
                    &place,
                    response_url.as_deref(),
                    again,
                )
                .await
            }
            Ask::Pressed {
                principal,
                press,
                place,
                response_url,
                trigger_id: _,
            } => {
                let command = Command::Press {
                    verb: press.verb,
                    id: press.id,
                    reason: None,
                };
                self.press(
                    row,
                    principal,
                    command,
                    &place,
                    response_url.as_deref(),
                    again,
                )
                .await
            }
            Ask::DeniedBecause {
                principal,
                command,
                place: Some(place),
            } => {
                self.press(row, principal, command, &place, None, again)
                    .await
            }
            Ask::DeniedBecause {
                principal,
                command,
                place: None,
            } => self.ask(row, principal, command).await.map(drop),
        }
    }

    /// Asks the desk, or takes the answer that an earlier attempt got.
    async fn ask(
        &self,
        row: &InboxRow,
        principal: Principal,
        command: Command,
    ) -> Result<Answer, Fault> {
        if let Some(answer) = row.answer::<Answer>()? {
            return Ok(answer);
        }
        let answer = timeout(PATIENCE, (self.desk)(principal, command))
            .await
            .unwrap_or_else(|_| too_slow());
        self.store.save_delivery_answer(&row.id, &answer).await?;
        Ok(answer)
    }

    /// Whether the dialog for the reason is, or was, on the person's screen.
    async fn open_dialog(
        &self,
        press: &Press,
        place: &Place,
        trigger: Option<&str>,
        again: bool,
    ) -> bool {
        let Some(trigger) = trigger else { return false };
        match self
            .client
            .open_view(trigger, &deny_dialog(press, place))
            .await
        {
            Ok(()) => true,
            // Only an earlier attempt of ours can have used it.
            Err(SlackError::TriggerGone { code }) if again && code.contains("exchanged") => true,
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot ask for the reason, denying without one"
                );
                false
            }
        }
    }

    async fn press(
        &self,
        row: &InboxRow,
        principal: Principal,
        command: Command,
        place: &Place,
        response_url: Option<&str>,
        again: bool,
    ) -> Result<(), Fault> {
        let user = principal.user.clone();
        let is_confirmation = matches!(
            command,
            Command::Press {
                verb: Verb::Confirm | Verb::Cancel,
                ..
            }
        );
        let answer = self.ask(row, principal, command).await?;
        match response_url {
            // The question has been answered: its buttons go.
            Some(url) if is_confirmation && answer.outcome == Outcome::Done => {
                self.respond(
                    url,
                    Respond::Replace,
                    &answer.card,
                    &place.channel,
                    &user,
                    Some(place.parent()),
                )
                .await
            }
            Some(url) if answer.private => {
                self.respond(
                    url,
                    Respond::Ephemeral,
                    &answer.card,
                    &place.channel,
                    &user,
                    Some(place.parent()),
                )
                .await
            }
            Some(_) | None => self.reply(row, place, &user, &answer, again).await,
        }
    }

    /// Answers through the address that came with the question; through our own token when it is spent.
    async fn respond(
        &self,
        url: &str,
        how: Respond,
        card: &Card,
        channel: &str,
        user: &str,
        thread_ts: Option<&str>,
    ) -> Result<(), Fault> {
        for (number, part) in parts::split(card).iter().enumerate() {
            // One message takes the place of the question; what follows is for who asked.
            let how = match how {
                Respond::Replace if number > 0 => Respond::Ephemeral,
                how => how,
            };
            match self.client.respond(url, part, how).await {
                Err(error) if !error.is_transient() => {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "cannot use a response URL"
                    );
                    self.client
                        .post_ephemeral(channel, user, part, thread_ts)
                        .await?;
                }
                result => result?,
            }
        }
        Ok(())
    }

    /// Answers in the thread; privately where the answer is only for the asker and others are there.
    async fn reply(
        &self,
        row: &InboxRow,
        place: &Place,
        user: &str,
        answer: &Answer,
        again: bool,
    ) -> Result<(), Fault> {
        let parts = parts::split(&answer.card);
        if answer.private && !place.direct {
            match self.whisper(place, user, &parts).await {
                Err(error) if !error.is_transient() => {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "cannot answer privately"
                    );
                }
                result => return result.map_err(Fault::from),
            }
        }
        let parent = place.parent();
        let whole = format!("inbox:{}", row.id);
        for (number, part) in parts.iter().enumerate() {
            let key = parts::key(&whole, number);
            if again {
                let since =
                    Timestamp::from_millisecond(row.received_ms).unwrap_or(Timestamp::UNIX_EPOCH);
                let found = self
                    .client
                    .find_reply(&place.channel, parent, &key, since)
                    .await?;
                if found.is_some() {
                    continue;
                }
            }
            self.client
                .post(&place.channel, part, Some(parent), &key)
                .await?;
        }
        Ok(())
    }

    /// Shows an answer to one person only.
    async fn whisper(&self, place: &Place, user: &str, parts: &[Card]) -> Result<(), SlackError> {
        for part in parts {
            self.client
                .post_ephemeral(&place.channel, user, part, place.thread_ts.as_deref())
                .await?;
        }
        Ok(())
    }

    /// What was said in the thread before; nothing when it cannot be read.
    async fn context(&self, place: &Place, bot: Option<&str>) -> Vec<String> {
        let Some(thread_ts) = place.thread_ts.as_deref() else {
            return Vec::new();
        };
        let messages = match self.client.thread(&place.channel, thread_ts, 200).await {
            Ok(messages) => messages,
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot read the thread, answering without it"
                );
                return Vec::new();
            }
        };
        let mut earlier: Vec<String> = messages
            .into_iter()
            .filter(|message| is_before(&message.ts, &place.ts))
            .map(|message| cut(&typed(&message.text, bot), CONTEXT_TEXT))
            .filter(|text| !text.is_empty())
            .collect();
        // The parent says what the thread is about; of the rest the latest count.
        let surplus = earlier.len().saturating_sub(CONTEXT_MESSAGES);
        if surplus > 0 {
            earlier.drain(1..=surplus);
        }
        earlier
    }
}

/// Whether a message's key is before another's; keys are `seconds.counter` and must not become floats.
fn is_before(ts: &str, other: &str) -> bool {
    let parts = |ts: &str| {
        let (seconds, counter) = ts.split_once('.').unwrap_or((ts, "0"));
        (
            seconds.parse::<u64>().unwrap_or(0),
            counter.parse::<u64>().unwrap_or(0),
        )
    };
    parts(ts) < parts(other)
}

/// When to try again; `None` when trying again cannot help.
fn retry_after(fault: &Fault, failures: i64) -> Option<SignedDuration> {
    let back_off = SignedDuration::from_secs(1 << failures.clamp(0, 8));
    match fault {
        Fault::Slack(SlackError::RateLimited { retry_after }) => {
            Some(SignedDuration::try_from(*retry_after).unwrap_or(back_off))
        }
        Fault::Slack(error) if error.is_transient() => Some(back_off),
        Fault::Slack(_) | Fault::Store(StoreError::Corrupt { .. }) => None,
        Fault::Store(_) => Some(back_off),
    }
}

fn too_slow() -> Answer {
    let text = "That took too long, so I stopped waiting. Please try again.".to_owned();
    Answer {
        card: Card {
            fallback: text.clone(),
            tone: Tone::Warning,
            blocks: vec![Block::Text {
                spans: vec![Span::Plain(text)],
            }],
        },
        body: serde_json::Value::Null,
        outcome: Outcome::Unavailable,
        private: true,
    }
}

fn finished(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        // Its claim runs out, and the delivery is tried again.
        error!(%error, "carrying out a delivery ended in a panic");
    }
}
