//! The picture of a diagnosis, in the thread of its alert. A nicety: it comes after the message and never delays it,
//! and is given up where a message would be repeated.

use std::sync::atomic::Ordering;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use tracing::{info, warn};

use super::ThreadPicture;
use super::slack::{Inner, SlackDelivery};
use super::worker::{Again, Handled, back_off, store_fault};
use crate::chat::picture::{alt, png, worth_seeing};
use crate::chat::slack::error::SlackError;
use crate::store::{Effect, StoreError};

/// How soon it looks again for the message whose thread it belongs to.
const PARENT_WAIT: SignedDuration = SignedDuration::from_secs(2);
/// Attempts before a picture is given up.
const ATTEMPTS: i64 = 4;

impl SlackDelivery {
    pub(super) async fn picture(&self, effect: Effect) -> Handled {
        let now = Timestamp::now();
        self.inner
            .share(&effect)
            .await
            .unwrap_or_else(|fault| Err(store_fault(&fault, now)))
    }
}

impl Inner {
    /// Shares the picture, or says why not; the outer error is our own database's.
    async fn share(&self, effect: &Effect) -> Result<Handled, StoreError> {
        let now = Timestamp::now();
        let Ok(wanted) = effect.payload::<ThreadPicture>() else {
            return self.done(effect).await;
        };
        let destination = wanted.destination.key();
        let alert = self.store.alert(&wanted.alert_id).await?;
        let course = alert
            .as_ref()
            .and_then(|alert| alert.diagnosis.as_ref()?.course.clone())
            .filter(worth_seeing);
        let (Some(alert), Some(course)) = (alert, course) else {
            return self.done(effect).await;
        };
        let parent = self
            .store
            .message(&wanted.subject.key(), &destination)
            .await?
            .and_then(|message| Some((message.channel?, message.ts?)));
        let Some((channel, thread)) = parent else {
            if alert.group_id.is_some() {
                return self.done(effect).await;
            }
            let at = now.saturating_add(PARENT_WAIT).unwrap_or(now);
            return Ok(Err(Again::waits(at, "its message is not there yet")));
        };
        let drawn = tokio::task::spawn_blocking({
            let course = course.clone();
            move || png(&course)
        })
        .await;
        let picture = match drawn {
            Ok(Ok(picture)) => picture,
            Ok(Err(error)) => {
                warn!(alert.number = alert.number, %error, "a picture cannot be drawn; the report goes without it");
                return self.done(effect).await;
            }
            Err(_) => {
                warn!(
                    alert.number = alert.number,
                    "drawing a picture panicked; the report goes without it"
                );
                return self.done(effect).await;
            }
        };
        // One picture of each diagnosis: a share whose answer was lost is not repeated, for nothing can look for it.
        let digest = hex::encode(&Sha256::digest(&picture)[..16]);
        let key = format!("picture:{}:{digest}", alert.id);
        let begun = self.store.message(&key, &destination).await?;
        if begun.is_some_and(|message| message.attempt_ms.is_some() || message.posted_ms.is_some())
        {
            return self.done(effect).await;
        }
        let title = format!("{}: who failed first", alert.subject.name);
        let prepared = match self
            .client
            .upload("timeline.png", &alt(&course), picture)
            .await
        {
            Ok(file) => {
                self.store.begin_post(&key, &destination, now).await?;
                self.client
                    .share_file(&file, &crate::redact::line(&title, 100), &channel, &thread)
                    .await
            }
            Err(error) => Err(error),
        };
        match prepared {
            Ok(()) => {
                let mut tx = self.store.begin().await?;
                tx.message_posted(&key, &destination, None, &digest, now)
                    .await?;
                tx.finish_effect(effect, &self.owner, now).await?;
                tx.commit().await?;
                Ok(Ok(()))
            }
            Err(error) if error.is_transient() && effect.failures < ATTEMPTS => {
                if !error.may_have_happened() {
                    self.store.forget_post(&key, &destination).await?;
                }
                let at = match &error {
                    SlackError::RateLimited { retry_after } => now
                        .saturating_add(
                            SignedDuration::try_from(*retry_after).unwrap_or(PARENT_WAIT),
                        )
                        .unwrap_or(now),
                    _ => back_off(effect.failures + 1, now),
                };
                Ok(Err(Again::failed(at, error.to_string())))
            }
            Err(error) => {
                // Once: a missing scope would be said with each alert.
                if !self.pictures_refused.swap(true, Ordering::Relaxed) {
                    info!(slack.error = %error, "pictures are not shared in Slack; the app may lack the scope files:write");
                }
                self.done(effect).await
            }
        }
    }

    async fn done(&self, effect: &Effect) -> Result<Handled, StoreError> {
        self.store
            .finish_effect(effect, &self.owner, Timestamp::now())
            .await?;
        Ok(Ok(()))
    }
}
