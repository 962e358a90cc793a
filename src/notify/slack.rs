//! Slack: brings messages up to date and says things in their threads, at least once and as seldom twice as Slack's
//! API allows. Nothing is dropped because of how it looks or because Slack is away.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::pace::{Pace, Urgency};
use super::view::Views;
use super::worker::{Again, Handled, back_off, store_fault, turn, work};
use super::{Destination, Subject, SyncMessage, ThreadNote};
use crate::alert::lifecycle::Note;
use crate::alert::{Alert, AlertState};
use crate::chat::alert::note_card;
use crate::chat::card::{Card, Tone};
use crate::chat::slack::client::{Posted, SlackClient};
use crate::chat::slack::error::SlackError;
use crate::chat::slack::parts;
use crate::detect::FailureClass;
use crate::store::{Effect, EffectKind, Message, Store, StoreError};

/// A channel that rests longer than this gives its effect back instead of holding the claim.
const PATIENCE: Duration = Duration::from_secs(10);
/// How soon a note looks again for the message whose thread it belongs to.
const PARENT_WAIT: SignedDuration = SignedDuration::from_secs(2);
/// What only an operator can repair is tried this seldom.
const OPERATOR_WAIT: SignedDuration = SignedDuration::from_mins(5);

/// Delivers messages and thread notes; cheap to clone.
#[derive(Clone)]
pub struct SlackDelivery {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) client: SlackClient,
    views: Views,
    pace: Pace,
    /// Where a message goes whose own channel takes none.
    default_channel: Option<String>,
    await_diagnosis: SignedDuration,
    pub(super) owner: String,
    /// Whether it was said that pictures cannot be shared here.
    pub(super) pictures_refused: AtomicBool,
}

/// How Slack is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where a message goes whose own channel takes none.
    pub default_channel: Option<String>,
    /// Between two calls about one channel: Slack takes about one a second.
    pub between: Duration,
    /// How long a message that cannot be edited waits for the diagnosis of what it tells. None, if nobody diagnoses.
    pub await_diagnosis: SignedDuration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            default_channel: None,
            between: Duration::from_secs(1),
            await_diagnosis: SignedDuration::ZERO,
        }
    }
}

/// What stopped a delivery.
enum Fault {
    Slack(SlackError),
    Store(StoreError),
    /// The channel rests; try after this long.
    Resting(Duration),
    /// What it hangs on is not there yet.
    TooEarly,
}

impl From<StoreError> for Fault {
    fn from(fault: StoreError) -> Self {
        Self::Store(fault)
    }
}

impl From<SlackError> for Fault {
    fn from(fault: SlackError) -> Self {
        Self::Slack(fault)
    }
}

impl SlackDelivery {
    /// `owner` names this process among all replicas.
    #[must_use]
    pub fn new(
        store: Store,
        client: SlackClient,
        views: Views,
        settings: Settings,
        owner: &str,
    ) -> Self {
        let inner = Inner {
            store,
            client,
            views,
            pace: Pace::new(settings.between),
            default_channel: settings.default_channel,
            await_diagnosis: settings.await_diagnosis,
            owner: format!("{owner}/slack"),
            pictures_refused: AtomicBool::new(false),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Keeps messages up to date until `stop`.
    pub async fn run_messages(&self, stop: CancellationToken) {
        let inner = &self.inner;
        work(
            &inner.store,
            EffectKind::SyncMessage,
            &inner.owner,
            &stop,
            |effect| self.sync(effect),
        )
        .await;
    }

    /// Posts thread notes until `stop`.
    pub async fn run_notes(&self, stop: CancellationToken) {
        let inner = &self.inner;
        work(
            &inner.store,
            EffectKind::ThreadNote,
            &inner.owner,
            &stop,
            |effect| self.note(effect),
        )
        .await;
    }

    /// Puts pictures into threads until `stop`.
    pub async fn run_pictures(&self, stop: CancellationToken) {
        let inner = &self.inner;
        work(
            &inner.store,
            EffectKind::ThreadPicture,
            &inner.owner,
            &stop,
            |effect| self.picture(effect),
        )
        .await;
    }

    /// Carries out what is due now, once; returns how much that was.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn deliver_due(&self) -> Result<usize, StoreError> {
        let inner = &self.inner;
        let messages = turn(&inner.store, EffectKind::SyncMessage, &inner.owner, &|e| {
            self.sync(e)
        })
        .await?;
        let notes = turn(&inner.store, EffectKind::ThreadNote, &inner.owner, &|e| {
            self.note(e)
        })
        .await?;
        let pictures = turn(
            &inner.store,
            EffectKind::ThreadPicture,
            &inner.owner,
            &|e| self.picture(e),
        )
        .await?;
        Ok(messages + notes + pictures)
    }

    async fn sync(&self, effect: Effect) -> Handled {
        let outcome = match effect.payload::<SyncMessage>() {
            Ok(wanted) => match &wanted.destination {
                Destination::Slack { channel } => {
                    self.inner.sync_channel(&effect, &wanted, channel).await
                }
                Destination::SlackWebhook => self.inner.sync_webhook(&effect, &wanted).await,
                Destination::PagerDuty | Destination::Console => self.inner.finish(&effect).await,
            },
            Err(unreadable) => self.inner.give_up(&effect, &unreadable).await,
        };
        settle(&effect, outcome)
    }

    async fn note(&self, effect: Effect) -> Handled {
        let outcome = match effect.payload::<ThreadNote>() {
            Ok(wanted) => self.inner.post_note(&effect, &wanted).await,
            Err(unreadable) => self.inner.give_up(&effect, &unreadable).await,
        };
        settle(&effect, outcome)
    }
}

impl Inner {
    async fn sync_channel(
        &self,
        effect: &Effect,
        wanted: &SyncMessage,
        channel: &str,
    ) -> Result<(), Fault> {
        let (subject, destination) = (wanted.subject.key(), wanted.destination.key());
        let known = self.store.message(&subject, &destination).await?;
        if known.is_none() && self.told_by_group(&wanted.subject).await? {
            return self.finish(effect).await;
        }
        let Some(card) = self.views.card(&wanted.subject).await? else {
            return self.finish(effect).await;
        };
        let digest = digest(&card);
        if known
            .as_ref()
            .is_some_and(|message| message.digest.as_deref() == Some(&digest))
        {
            return self.finish(effect).await;
        }
        let there = match known {
            Some(Message {
                channel: Some(channel),
                ts: Some(ts),
                ..
            }) => Some(Posted { channel, ts }),
            Some(Message {
                attempt_ms: Some(began),
                ..
            }) => self.found(channel, &subject, began).await?,
            Some(_) | None => None,
        };
        let shown = match there {
            Some(posted) => {
                self.edit(&posted, &card, &subject).await?;
                posted
            }
            None => {
                self.post_first(channel, &card, &subject, &destination)
                    .await?
            }
        };
        let now = Timestamp::now();
        let mut tx = self.store.begin().await?;
        tx.message_posted(
            &subject,
            &destination,
            Some((&shown.channel, &shown.ts)),
            &digest,
            now,
        )
        .await?;
        tx.finish_effect(effect, &self.owner, now).await?;
        Ok(tx.commit().await?)
    }

    /// Posts what was not posted before. The attempt is recorded first: if this process dies before the answer is
    /// saved, the next attempt looks for the message before it repeats it.
    async fn post_first(
        &self,
        channel: &str,
        card: &Card,
        subject: &str,
        destination: &str,
    ) -> Result<Posted, Fault> {
        self.ready(channel, Urgency::News).await?;
        self.store
            .begin_post(subject, destination, Timestamp::now())
            .await?;
        let posted = match self.client.post(channel, card, None, subject).await {
            Err(SlackError::BadChannel { code }) => match &self.default_channel {
                Some(default) if default != channel => {
                    error!(slack.channel = channel, slack.error = %code, "cannot post there; using the default channel");
                    self.client.post(default, card, None, subject).await
                }
                Some(_) | None => Err(SlackError::BadChannel { code }),
            },
            Err(SlackError::BadBlocks { .. }) => {
                self.client.post(channel, &bare(card), None, subject).await
            }
            result => result,
        };
        if let Err(fault) = &posted
            && !fault.may_have_happened()
        {
            self.store.forget_post(subject, destination).await?;
        }
        posted.map_err(|fault| self.heard(channel, fault))
    }

    async fn edit(&self, posted: &Posted, card: &Card, subject: &str) -> Result<(), Fault> {
        self.ready(&posted.channel, Urgency::Later).await?;
        match self.client.update(&posted.channel, &posted.ts, card).await {
            Ok(_) => Ok(()),
            Err(SlackError::CannotEdit { code }) => {
                info!(slack.error = %code, "cannot edit the message of {subject}; replying in its thread");
                self.ready(&posted.channel, Urgency::Later).await?;
                let key = format!("{subject}:{}", digest(card));
                self.client
                    .post(&posted.channel, card, Some(&posted.ts), &key)
                    .await
                    .map(drop)
                    .map_err(|fault| self.heard(&posted.channel, fault))
            }
            Err(SlackError::BadBlocks { .. }) => self
                .client
                .update(&posted.channel, &posted.ts, &bare(card))
                .await
                .map(drop)
                .map_err(|fault| self.heard(&posted.channel, fault)),
            Err(fault) => Err(self.heard(&posted.channel, fault)),
        }
    }

    /// A webhook cannot edit: one message when it begins, one when it ends.
    async fn sync_webhook(&self, effect: &Effect, wanted: &SyncMessage) -> Result<(), Fault> {
        let (subject, destination) = (wanted.subject.key(), wanted.destination.key());
        let known = self.store.message(&subject, &destination).await?;
        if known.is_none() && self.told_by_group(&wanted.subject).await? {
            return self.finish(effect).await;
        }
        let Some(phase) = self.phase(&wanted.subject).await? else {
            return self.finish(effect).await;
        };
        if known
            .as_ref()
            .is_some_and(|message| message.digest.as_deref() == Some(&phase))
        {
            return self.finish(effect).await;
        }
        if self.is_being_diagnosed(&wanted.subject).await? {
            return Err(Fault::TooEarly);
        }
        let Some(card) = self.views.card(&wanted.subject).await? else {
            return self.finish(effect).await;
        };
        self.ready(&destination, Urgency::News).await?;
        match self.client.post_webhook(&card).await {
            Err(SlackError::BadBlocks { .. }) => self.client.post_webhook(&bare(&card)).await,
            result => result,
        }
        .map_err(|fault| self.heard(&destination, fault))?;
        let now = Timestamp::now();
        let mut tx = self.store.begin().await?;
        tx.message_posted(&subject, &destination, None, &phase, now)
            .await?;
        tx.finish_effect(effect, &self.owner, now).await?;
        Ok(tx.commit().await?)
    }

    async fn post_note(&self, effect: &Effect, wanted: &ThreadNote) -> Result<(), Fault> {
        let destination = wanted.destination.key();
        let Some(parent) = self
            .store
            .message(&wanted.subject.key(), &destination)
            .await?
        else {
            // Its message is still to come, unless a group tells it after all.
            let never = self.told_by_group(&wanted.subject).await?;
            return if never {
                self.finish(effect).await
            } else {
                Err(Fault::TooEarly)
            };
        };
        let Some(alert) = self.store.alert(&wanted.alert_id).await? else {
            return self.finish(effect).await;
        };
        if wanted.destination == Destination::SlackWebhook {
            return self.note_by_webhook(effect, &alert, &wanted.note).await;
        }
        let (Some(channel), Some(thread)) = (parent.channel, parent.ts) else {
            return Err(Fault::TooEarly);
        };
        let key = format!("note:{}", effect.id);
        let past = if wanted.note == Note::Diagnosed {
            self.store.similar_alerts(&alert).await?
        } else {
            Vec::new()
        };
        let card = note_card(&alert, &wanted.note, &past);
        let began = self
            .store
            .message(&key, &destination)
            .await?
            .and_then(|message| message.attempt_ms)
            .and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let mut first = None;
        for (number, part) in parts::split(&card).iter().enumerate() {
            let part_key = parts::key(&key, number);
            let there = match began {
                Some(since) => {
                    self.client
                        .find_reply(&channel, &thread, &part_key, since)
                        .await?
                }
                None => None,
            };
            let posted = if let Some(posted) = there {
                posted
            } else {
                self.ready(&channel, Urgency::Later).await?;
                self.store
                    .begin_post(&key, &destination, Timestamp::now())
                    .await?;
                self.post_part(&channel, &thread, part, &part_key).await?
            };
            first.get_or_insert((posted.channel, posted.ts));
        }
        let now = Timestamp::now();
        let mut tx = self.store.begin().await?;
        let told = first
            .as_ref()
            .map(|(channel, ts)| (channel.as_str(), ts.as_str()));
        tx.message_posted(&key, &destination, told, &digest(&card), now)
            .await?;
        tx.finish_effect(effect, &self.owner, now).await?;
        Ok(tx.commit().await?)
    }

    /// A webhook has no threads: what is said is a message of its own.
    async fn note_by_webhook(
        &self,
        effect: &Effect,
        alert: &Alert,
        note: &Note,
    ) -> Result<(), Fault> {
        let destination = Destination::SlackWebhook.key();
        self.ready(&destination, Urgency::News).await?;
        let card = note_card(alert, note, &[]);
        match self.client.post_webhook(&card).await {
            Err(SlackError::BadBlocks { .. }) => self.client.post_webhook(&bare(&card)).await,
            result => result,
        }
        .map_err(|fault| self.heard(&destination, fault))?;
        self.finish(effect).await
    }

    async fn post_part(
        &self,
        channel: &str,
        thread: &str,
        part: &Card,
        key: &str,
    ) -> Result<Posted, Fault> {
        match self.client.post(channel, part, Some(thread), key).await {
            Err(SlackError::BadBlocks { .. }) => {
                self.client
                    .post(channel, &bare(part), Some(thread), key)
                    .await
            }
            result => result,
        }
        .map_err(|fault| self.heard(channel, fault))
    }

    /// Looks for a message whose post was begun but never answered.
    async fn found(
        &self,
        channel: &str,
        key: &str,
        began_ms: i64,
    ) -> Result<Option<Posted>, Fault> {
        let since = Timestamp::from_millisecond(began_ms).unwrap_or(Timestamp::UNIX_EPOCH);
        if let Some(posted) = self.client.find_posted(channel, key, since).await? {
            return Ok(Some(posted));
        }
        match &self.default_channel {
            Some(default) if default != channel => {
                Ok(self.client.find_posted(default, key, since).await?)
            }
            Some(_) | None => Ok(None),
        }
    }

    /// True for an alert that joined a group before anything was posted about it.
    async fn told_by_group(&self, subject: &Subject) -> Result<bool, Fault> {
        Ok(match subject {
            Subject::Alert(id) => self
                .store
                .alert(id)
                .await?
                .is_none_or(|alert| alert.group_id.is_some()),
            Subject::Group(_) => false,
        })
    }

    /// Whether a diagnosis is to be expected any moment: what cannot be edited is better told with it.
    async fn is_being_diagnosed(&self, subject: &Subject) -> Result<bool, Fault> {
        let Subject::Alert(id) = subject else {
            return Ok(false);
        };
        Ok(self.store.alert(id).await?.is_some_and(|alert| {
            alert.state == AlertState::Open
                && alert.diagnosis.is_none()
                && !matches!(alert.class, FailureClass::Node | FailureClass::Source)
                && Timestamp::now().duration_since(alert.opened) < self.await_diagnosis
        }))
    }

    /// What a destination that cannot edit is told: that it began, and that it is over.
    async fn phase(&self, subject: &Subject) -> Result<Option<String>, Fault> {
        let over = |over: bool| if over { "over" } else { "open" };
        Ok(match subject {
            Subject::Alert(id) => self.store.alert(id).await?.map(|alert: Alert| {
                format!(
                    "{}:{}",
                    over(alert.state == AlertState::Resolved),
                    alert.episode()
                )
            }),
            Subject::Group(id) => self
                .store
                .group(id)
                .await?
                .map(|group| over(group.resolved.is_some()).to_owned()),
        })
    }

    async fn ready(&self, channel: &str, urgency: Urgency) -> Result<(), Fault> {
        self.pace
            .turn(channel, urgency, PATIENCE)
            .await
            .map_err(Fault::Resting)
    }

    fn heard(&self, channel: &str, fault: SlackError) -> Fault {
        if let SlackError::RateLimited { retry_after } = &fault {
            self.pace.rest(channel, *retry_after);
        }
        Fault::Slack(fault)
    }

    async fn finish(&self, effect: &Effect) -> Result<(), Fault> {
        Ok(self
            .store
            .finish_effect(effect, &self.owner, Timestamp::now())
            .await?)
    }

    /// An effect that this version cannot read must not block its lane for ever.
    async fn give_up(&self, effect: &Effect, unreadable: &StoreError) -> Result<(), Fault> {
        error!(effect.id = %effect.id, error = %unreadable, "dropped an effect that cannot be read");
        self.finish(effect).await
    }
}

/// What becomes of an effect after an attempt.
fn settle(effect: &Effect, outcome: Result<(), Fault>) -> Handled {
    let now = Timestamp::now();
    let after = |wait: Duration| {
        let wait = SignedDuration::try_from(wait).unwrap_or(OPERATOR_WAIT);
        now.saturating_add(wait).unwrap_or(now)
    };
    match outcome {
        Ok(()) => Ok(()),
        Err(Fault::Store(fault)) => Err(store_fault(&fault, now)),
        Err(Fault::Resting(wait)) => Err(Again::waits(after(wait), "the channel rests")),
        Err(Fault::TooEarly) => {
            let at = now.saturating_add(PARENT_WAIT).unwrap_or(now);
            Err(Again::waits(
                at,
                "its message or diagnosis is not there yet",
            ))
        }
        Err(Fault::Slack(SlackError::RateLimited { retry_after })) => {
            Err(Again::waits(after(retry_after), "Slack is rate limiting"))
        }
        Err(Fault::Slack(fault)) => {
            let at = if fault.is_transient() {
                back_off(effect.failures + 1, now)
            } else {
                error!(effect.lane = %effect.lane, error = %fault, "Slack will not take this until someone acts");
                now.saturating_add(OPERATOR_WAIT).unwrap_or(now)
            };
            Err(Again::failed(at, fault.to_string()))
        }
    }
}

/// The least that tells of it, should Slack refuse even the plain form.
fn bare(card: &Card) -> Card {
    let fallback: String = card
        .fallback
        .chars()
        .filter(|c| c.is_alphanumeric() || " .,:;#()-_/".contains(*c))
        .take(200)
        .collect();
    Card {
        fallback,
        tone: Tone::Info,
        blocks: Vec::new(),
    }
}

fn digest(card: &Card) -> String {
    // A card of strings and enums has no way to fail as JSON.
    let json = serde_json::to_vec(card).unwrap_or_default();
    hex::encode(&Sha256::digest(json)[..16])
}
