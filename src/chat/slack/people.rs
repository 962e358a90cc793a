//! Who somebody in Slack is to us: a member of our workspace, or a guest. Asked of Slack, and remembered for a while.
//!
//! Fails closed: until Slack said which workspace is ours, and while it does not say who a person is, nobody counts as
//! a member. An app that may not ask (no scope `users:read`) goes by the workspace that came with the question.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tracing::warn;

use super::client::{SlackClient, User};
use super::error::SlackError;
use crate::desk::{Principal, Roster, Standing};

/// How long it is remembered who is a guest: somebody who was made one must not read on for long.
const REMEMBERED: Duration = Duration::from_mins(5);
/// People remembered at once; far more than talk to a bot within that time.
const PEOPLE: usize = 10_000;

/// Called with our workspace's id once Slack said it.
pub type Learnt = Arc<dyn Fn(&str) + Send + Sync>;

/// What is known of the people in Slack. Cheap to clone.
#[derive(Clone)]
pub struct People {
    client: SlackClient,
    /// Our own workspace.
    home: Arc<OnceCell<String>>,
    learnt: Learnt,
    guests_may_read: bool,
    known: Arc<Mutex<HashMap<String, Known>>>,
    complained: Arc<AtomicBool>,
    roster: Roster,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    asked: Instant,
    guest: bool,
}

impl People {
    #[must_use]
    pub fn new(client: SlackClient, guests_may_read: bool, learnt: Learnt) -> Self {
        Self {
            client,
            home: Arc::default(),
            learnt,
            guests_may_read,
            known: Arc::default(),
            complained: Arc::default(),
            roster: Roster::default(),
        }
    }

    /// Tells the roster whose e-mail address is which, where Slack says so.
    #[must_use]
    pub fn telling(mut self, roster: Roster) -> Self {
        self.roster = roster;
        self
    }

    /// Our own workspace; asks Slack until it has said so once.
    ///
    /// # Errors
    /// When Slack does not say.
    pub async fn home(&self) -> Result<&str, SlackError> {
        let ask = || async {
            let team = self.client.auth_test().await?.team_id;
            (self.learnt)(&team);
            Ok(team)
        };
        self.home.get_or_try_init(ask).await.map(String::as_str)
    }

    /// How the asker stands to us.
    ///
    /// # Errors
    /// When Slack did not answer now but may soon.
    pub(super) async fn standing(&self, principal: &Principal) -> Result<Standing, SlackError> {
        let home = self.home().await?;
        let is_guest = match principal.team.as_deref() {
            Some(team) if team != home => true,
            // An app of a whole organisation hears no workspace; Slack still says who is a stranger.
            Some(_) | None => match self.is_guest(&principal.user).await {
                Ok(guest) => guest,
                // An answer without a user is no failure that passes.
                Err(error) if error.is_transient() && !matches!(error, SlackError::Malformed) => {
                    return Err(error);
                }
                Err(error) => {
                    self.complain(&error);
                    false
                }
            },
        };
        Ok(match (is_guest, self.guests_may_read) {
            (false, _) => Standing::Member,
            (true, true) => Standing::Visitor,
            (true, false) => Standing::Guest,
        })
    }

    async fn is_guest(&self, user: &str) -> Result<bool, SlackError> {
        if let Some(guest) = self.remembered(user) {
            return Ok(guest);
        }
        let asked = Instant::now();
        let found = self.client.user(user).await?;
        let guest = is_guest(&found);
        // Whose account it is, is for our own workspace to say.
        if let Some(email) = found.email().filter(|_| !guest) {
            self.roster.learn(user, email, Timestamp::now()).await;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= PEOPLE {
            known.retain(|_, known| known.asked.elapsed() < REMEMBERED);
        }
        // Whoever does not fit is asked about each time.
        if known.len() < PEOPLE {
            known.insert(user.to_owned(), Known { asked, guest });
        }
        Ok(guest)
    }

    fn remembered(&self, user: &str) -> Option<bool> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .get(user)
            .filter(|known| known.asked.elapsed() < REMEMBERED)
            .map(|known| known.guest)
    }

    /// Says once that guests of our own workspace cannot be told apart.
    fn complain(&self, error: &SlackError) {
        if !self.complained.swap(true, Ordering::Relaxed) {
            warn!(
                %error,
                "Slack does not say who is a guest (the app needs the scope users:read): guests of this workspace are \
                 taken for members"
            );
        }
    }
}

/// Whether a user is less than a member: invited to some channels only, of another workspace, or gone.
fn is_guest(user: &User) -> bool {
    user.deleted || user.is_restricted || user.is_ultra_restricted || user.is_stranger
}
