//! How the watch of one cluster fares, kind by kind, and the heartbeat that says so.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::watch::Beat;

/// Longest error text of a beat: a line or two of a status page.
const ERROR_CHARS: usize = 500;

/// Shared by the feeds of one cluster; read by whoever beats.
pub(super) struct Health {
    source: String,
    state: Mutex<State>,
    /// Told when a kind starts or stops failing.
    pub(super) changed: Notify,
}

#[derive(Default)]
struct State {
    kinds: BTreeMap<String, Kind>,
    /// The worst since the last beat.
    lag_ms: Option<u64>,
}

#[derive(Default)]
struct Kind {
    /// The cluster answered at least once.
    answered: bool,
    error: Option<String>,
    objects: u64,
}

impl Health {
    pub(super) fn new(cluster: &str) -> Self {
        Self {
            source: format!("kubernetes/{cluster}"),
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    pub(super) fn expect(&self, kind: &str) {
        self.state().kinds.entry(kind.to_owned()).or_default();
    }

    pub(super) fn forget(&self, kind: &str) {
        self.state().kinds.remove(kind);
        self.changed.notify_one();
    }

    pub(super) fn works(&self, kind: &str) {
        let mut state = self.state();
        let kind = state.kinds.entry(kind.to_owned()).or_default();
        let first = !std::mem::replace(&mut kind.answered, true);
        let recovered = kind.error.take().is_some();
        if first || recovered {
            self.changed.notify_one();
        }
    }

    /// True where this is news.
    pub(super) fn fails(&self, kind: &str, error: String) -> bool {
        let mut state = self.state();
        let kind = state.kinds.entry(kind.to_owned()).or_default();
        if kind.error.as_ref() == Some(&error) {
            return false;
        }
        kind.error = Some(error);
        self.changed.notify_one();
        true
    }

    pub(super) fn holds(&self, kind: &str, objects: usize) {
        let mut state = self.state();
        state.kinds.entry(kind.to_owned()).or_default().objects = objects as u64;
    }

    pub(super) fn lags(&self, milliseconds: u64) {
        let mut state = self.state();
        state.lag_ms = state.lag_ms.max(Some(milliseconds));
    }

    /// `None` while the first answer is still awaited, within reason (`patience_over` false).
    pub(super) fn beat(&self, now: Timestamp, patience_over: bool) -> Option<Beat> {
        let mut state = self.state();
        let answered = state.kinds.values().any(|kind| kind.answered);
        let error = state.error();
        let error = match (error, answered, patience_over) {
            (None, false, false) => return None,
            (None, false, true) => Some("the cluster has not answered yet".to_owned()),
            (error, _, _) => error,
        };
        Some(Beat {
            source: self.source.clone(),
            at: now,
            error,
            objects: state.kinds.values().map(|kind| kind.objects).sum(),
            lag_ms: state.lag_ms.take(),
        })
    }

    /// No panic can leave the state half-written, so a poisoned lock is as good as a clean one.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What fails, each reason once: a cluster that is down fails for every kind in the same words.
    fn error(&self) -> Option<String> {
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, kind) in &self.kinds {
            if let Some(error) = &kind.error {
                reasons.entry(error).or_default().push(name);
            }
        }
        let lines: Vec<String> = reasons
            .into_iter()
            .map(|(reason, kinds)| {
                if kinds.len() == self.kinds.len() {
                    reason.to_owned()
                } else {
                    format!("{}: {reason}", kinds.join(", "))
                }
            })
            .collect();
        (!lines.is_empty()).then(|| lines.join("; ").chars().take(ERROR_CHARS).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_is_down_is_told_once_and_a_forbidden_kind_by_name() {
        let now = Timestamp::UNIX_EPOCH;
        let health = Health::new("prod");
        for kind in ["pods", "jobs", "events"] {
            health.expect(kind);
        }
        assert!(health.beat(now, false).is_none());
        let silent = health.beat(now, true).unwrap();
        assert_eq!(
            silent.error.as_deref(),
            Some("the cluster has not answered yet")
        );

        for kind in ["pods", "jobs", "events"] {
            assert!(health.fails(kind, "unreachable".to_owned()));
            assert!(!health.fails(kind, "unreachable".to_owned()), "no news");
        }
        let down = health.beat(now, false).unwrap();
        assert_eq!(
            (down.source.as_str(), down.error.as_deref()),
            ("kubernetes/prod", Some("unreachable"))
        );

        health.works("pods");
        health.works("jobs");
        health.fails("events", "not permitted".to_owned());
        health.holds("pods", 7);
        health.lags(40);
        health.lags(20);
        let partly = health.beat(now, false).unwrap();
        assert_eq!(partly.error.as_deref(), Some("events: not permitted"));
        assert_eq!((partly.objects, partly.lag_ms), (7, Some(40)));
        assert_eq!(health.beat(now, false).unwrap().lag_ms, None);

        health.forget("events");
        assert_eq!(health.beat(now, false).unwrap().error, None);
    }
}
