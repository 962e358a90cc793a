//! One person under several names: in Slack, by a token, at this machine. Whoever asks under one of them does not
//! approve under another.
//!
//! The configuration says who is who (`people`). Beyond that, names with the same e-mail address are one person: Slack
//! tells it where the app may read it, an identity provider in its tokens. What was learnt so is kept, so that a
//! question asked before a restart still has its asker. To be known here grants nobody anything.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;

use super::Principal;
use crate::safety::approvers;
use crate::store::{Store, StoreError};

/// Where what was learnt is kept.
const LEARNT: &str = "roster.emails";
/// Names learnt at most; far more than people who may talk to one bot.
const MOST: usize = 20_000;

/// A person of the configuration (`people.NAME`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    pub name: String,
    /// Slack user ids.
    pub slack: Vec<String>,
    pub emails: Vec<String>,
    /// Subjects of our own tokens, or of the identity provider's as `oidc:SUBJECT`.
    pub subjects: Vec<String>,
    /// Whoever sits at this machine is this person.
    pub local: bool,
}

/// Who is who. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Names as [`approvers::name`] gives them → person of the configuration.
    named: HashMap<String, String>,
    /// E-mail addresses → person of the configuration.
    addressed: HashMap<String, String>,
    /// Names → e-mail address.
    learnt: RwLock<HashMap<String, String>>,
    store: Option<Store>,
}

impl Roster {
    /// The people of the configuration; nothing is learnt yet, and what will be is not kept.
    #[must_use]
    pub fn new(people: &[Person]) -> Self {
        Self {
            inner: Arc::new(Inner::of(people)),
        }
    }

    /// The people of the configuration, and what was learnt before.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn load(people: &[Person], store: Store) -> Result<Self, StoreError> {
        let learnt = store.setting(LEARNT).await?.unwrap_or_default();
        let inner = Inner {
            learnt: RwLock::new(learnt),
            store: Some(store),
            ..Inner::of(people)
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The one name of whoever asks.
    #[must_use]
    pub fn person(&self, principal: &Principal) -> String {
        self.canonical(&approvers::name(principal))
    }

    /// The one name of whoever records call `name`: that of the configuration, else an e-mail address, else itself.
    #[must_use]
    pub fn canonical(&self, name: &str) -> String {
        let inner = &self.inner;
        if let Some(person) = inner.named.get(name) {
            return person.clone();
        }
        let learnt = inner.learnt.read().unwrap_or_else(PoisonError::into_inner);
        match learnt.get(name) {
            Some(email) => inner
                .addressed
                .get(email)
                .cloned()
                .unwrap_or_else(|| format!("mailto:{email}")),
            None => name.to_owned(),
        }
    }

    /// Whether two names of records are one person's.
    #[must_use]
    pub fn same(&self, one: &str, other: &str) -> bool {
        one == other || self.canonical(one) == self.canonical(other)
    }

    /// Reads what other replicas learnt.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let Some(store) = &self.inner.store else {
            return Ok(());
        };
        let kept: HashMap<String, String> = store.setting(LEARNT).await?.unwrap_or_default();
        let mut learnt = self
            .inner
            .learnt
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for (name, email) in kept {
            learnt.entry(name).or_insert(email);
        }
        Ok(())
    }

    /// Takes to heart that `name` has this e-mail address. Should it not be kept, it is learnt again.
    pub async fn learn(&self, name: &str, email: &str, now: Timestamp) {
        let email = folded(email);
        if !email.contains('@') {
            return;
        }
        let kept = {
            let mut learnt = self
                .inner
                .learnt
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            let known = learnt.get(name);
            if known == Some(&email) || (known.is_none() && learnt.len() >= MOST) {
                return;
            }
            learnt.insert(name.to_owned(), email.clone());
            self.inner.store.clone()
        };
        if let Some(store) = kept
            && let Err(error) = keep(&store, name, email, now).await
        {
            tracing::warn!(%error, "cannot keep whose e-mail address that is");
        }
    }
}

/// Adds to what other replicas learnt.
async fn keep(store: &Store, name: &str, email: String, now: Timestamp) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    // Two replicas that learn at once must not forget for each other.
    tx.lock_alerts().await?;
    let mut all: HashMap<String, String> = tx.setting(LEARNT).await?.unwrap_or_default();
    all.insert(name.to_owned(), email);
    tx.save_setting(LEARNT, &all, now).await?;
    tx.commit().await
}

impl Inner {
    fn of(people: &[Person]) -> Self {
        let mut inner = Self::default();
        for person in people {
            // A name of its own, that no id or subject can be.
            let one = format!("person:{}", person.name);
            let subjects = person
                .subjects
                .iter()
                .map(|subject| format!("api:{subject}"));
            let local = person.local.then(|| "local".to_owned());
            let names = person.slack.iter().cloned().chain(subjects).chain(local);
            inner.named.extend(names.map(|name| (name, one.clone())));
            let emails = person.emails.iter().map(|email| folded(email));
            inner
                .addressed
                .extend(emails.map(|email| (email, one.clone())));
        }
        inner
    }
}

fn folded(email: &str) -> String {
    email.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::{Role, Standing, Surface};

    fn mira() -> Person {
        Person {
            name: "mira".to_owned(),
            slack: vec!["U0MIRA".to_owned()],
            emails: vec!["Mira@example.com".to_owned()],
            subjects: vec!["mira-ci".to_owned(), "oidc:248".to_owned()],
            local: true,
        }
    }

    #[tokio::test]
    async fn names_of_one_person_are_one_person() {
        let roster = Roster::new(&[mira()]);
        let now = Timestamp::UNIX_EPOCH;
        roster.learn("api:oidc:999", "mira@EXAMPLE.com ", now).await;
        roster.learn("U0JO", "jo@example.com", now).await;
        roster.learn("api:oidc:7", "jo@example.com", now).await;
        roster.learn("api:oidc:8", "", now).await;
        for (one, other, same) in [
            ("U0MIRA", "api:mira-ci", true),
            ("U0MIRA", "api:oidc:248", true),
            ("U0MIRA", "local", true),
            ("U0MIRA", "api:oidc:999", true),
            ("U0JO", "api:oidc:7", true),
            ("U0JO", "U0MIRA", false),
            ("api:oidc:8", "api:oidc:9", false),
            ("policy", "policy", true),
            ("mira", "U0MIRA", false),
        ] {
            assert_eq!(roster.same(one, other), same, "{one} and {other}");
        }
    }

    #[test]
    fn whoever_asks_is_called_by_the_one_name() {
        let roster = Roster::new(&[mira()]);
        let by_token = Principal {
            surface: Surface::Api,
            user: "mira-ci".to_owned(),
            team: None,
            standing: Standing::Token(Role::Approver),
        };
        assert_eq!(roster.person(&by_token), roster.canonical("U0MIRA"));
    }

    #[tokio::test]
    async fn what_was_learnt_survives_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("x.db").display());
        let store = Store::open(&url).await.expect("a database");
        let before = Roster::load(&[], store.clone()).await.expect("it opens");
        before
            .learn("U0JO", "jo@example.com", Timestamp::UNIX_EPOCH)
            .await;
        before
            .learn("api:oidc:7", "jo@example.com", Timestamp::UNIX_EPOCH)
            .await;
        let after = Roster::load(&[], store).await.expect("it opens");
        assert!(after.same("U0JO", "api:oidc:7"));
    }
}
