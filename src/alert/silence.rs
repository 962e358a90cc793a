//! Silences: for a time, nobody is told aloud or woken by the alerts that they cover. Such an alert is kept and shown
//! as silenced; if it still fails when the silence ends, it is told then.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::lifecycle::{EventKind, Outcome};
use super::matcher::Matcher;
use super::window::Window;
use super::{Alert, AlertState};

/// A silence by labels, made by a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Short number for people: `S3`.
    pub number: i64,
    /// All of them must fit; none fits everything.
    pub matchers: Vec<Matcher>,
    pub starts: Timestamp,
    pub ends: Timestamp,
    pub by: String,
    pub reason: Option<String>,
}

impl Silence {
    /// How it is named to people.
    #[must_use]
    pub fn name(&self) -> String {
        format!("silence S{}", self.number)
    }
}

/// What matchers cover, for people.
#[must_use]
pub fn what(matchers: &[Matcher]) -> String {
    if matchers.is_empty() {
        return "everything".to_owned();
    }
    let texts: Vec<String> = matchers.iter().map(Matcher::to_string).collect();
    texts.join(" and ")
}

/// Why an alert is silent, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cover {
    /// `silence S3`, `maintenance window nightly`.
    pub by: String,
    pub until: Timestamp,
}

/// What covers the alert at `now`; of several, that which ends last.
#[must_use]
pub fn cover(
    alert: &Alert,
    silences: &[Silence],
    windows: &[Window],
    now: Timestamp,
) -> Option<Cover> {
    let fits = |matchers: &[Matcher]| matchers.iter().all(|matcher| matcher.fits(alert));
    let silences = silences
        .iter()
        .filter(|silence| silence.starts <= now && now < silence.ends && fits(&silence.matchers))
        .map(|silence| Cover {
            by: silence.name(),
            until: silence.ends,
        });
    let windows = windows
        .iter()
        .filter(|window| fits(&window.matchers))
        .filter_map(|window| {
            Some(Cover {
                by: format!("maintenance window {}", window.name),
                until: window.open_until(now)?,
            })
        });
    silences.chain(windows).max_by_key(|cover| cover.until)
}

impl Alert {
    /// Takes note of what covers it from now on.
    pub(super) fn be_covered(&mut self, cover: Option<Cover>) -> Vec<Outcome> {
        let cover = cover.filter(|_| self.state != AlertState::Resolved);
        if self.covered == cover {
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.covered, cover);
        match (&before, &self.covered) {
            (_, Some(cover)) => vec![
                Outcome::Show,
                Outcome::Record {
                    kind: EventKind::Silenced,
                    by: None,
                    text: format!("by {} until {}", cover.by, cover.until),
                },
            ],
            (Some(before), None) if self.state != AlertState::Resolved => vec![
                Outcome::Show,
                Outcome::Page,
                Outcome::Record {
                    kind: EventKind::Unsilenced,
                    by: None,
                    text: format!("{} ended", before.by),
                },
            ],
            (Some(_) | None, None) => Vec::new(),
        }
    }

    /// Whether nobody was told of it in a message: a silence covered it when it began.
    #[must_use]
    pub fn is_untold(&self) -> bool {
        !self.track.own_message && self.group_id.is_none()
    }

    /// Until when nobody is to be woken or told aloud because of it; `None` if it is not silent at `now`.
    #[must_use]
    pub fn silent_until(&self, now: Timestamp) -> Option<Timestamp> {
        let covered = self.covered.as_ref().map(|cover| cover.until);
        self.silenced_until
            .into_iter()
            .chain(covered)
            .filter(|until| *until > now)
            .max()
    }

    /// Whether nobody is to be woken or told aloud because of it at `now`.
    #[must_use]
    pub fn silenced(&self, now: Timestamp) -> bool {
        self.silent_until(now).is_some()
    }
}
