//! The register of heartbeats: which source was heard when, and whether what it told is still fresh.
//!
//! Unknown is not healthy: a source that is expected but was never heard is as bad as one that fell silent.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Beat;

/// A source may miss this many beats before it is late.
const BEATS_MISSED: i32 = 3;
/// How often a source beats that nobody announced.
const USUAL_INTERVAL: Duration = Duration::from_mins(1);

/// What is known of one source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceState {
    pub source: String,
    /// How often it should beat.
    pub interval: Duration,
    /// Since when it is expected to beat.
    pub expected_since: Timestamp,
    pub last_beat: Option<Timestamp>,
    pub last_success: Option<Timestamp>,
    /// The newest failure, also after it recovered.
    pub last_error: Option<(Timestamp, String)>,
    /// First failure after the last success; `None` while it succeeds.
    pub failing_since: Option<Timestamp>,
    /// Failed beats since the start.
    pub errors: u64,
    /// Objects it held at its last beat.
    pub objects: u64,
    pub lag_ms: Option<u64>,
    /// Stands still because it was told to.
    pub paused_since: Option<Timestamp>,
}

/// What a source's word is worth now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Fresh,
    /// Silent for three intervals; `since` is its last beat.
    Late {
        since: Timestamp,
    },
    Failing {
        since: Timestamp,
        error: String,
    },
    NeverSeen,
    /// Stopped by command, not by a fault.
    Paused {
        since: Timestamp,
    },
}

impl Health {
    /// Only fresh data can say that all is well.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        matches!(self, Self::Fresh)
    }
}

/// Judges a source at `now`.
#[must_use]
pub fn assess(state: &SourceState, now: Timestamp) -> Health {
    if let Some(since) = state.paused_since {
        return Health::Paused { since };
    }
    let Some(last_beat) = state.last_beat else {
        return Health::NeverSeen;
    };
    let patience = SignedDuration::try_from(state.interval * BEATS_MISSED.unsigned_abs())
        .unwrap_or(SignedDuration::MAX);
    match (state.failing_since, &state.last_error) {
        (Some(since), Some((_, error))) => Health::Failing {
            since,
            error: error.clone(),
        },
        _ if now.duration_since(last_beat) > patience => Health::Late { since: last_beat },
        _ => Health::Fresh,
    }
}

/// One source with the judgement on it.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceStatus {
    pub state: SourceState,
    pub health: Health,
}

/// All sources of this process. Clones share the register.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    states: Arc<RwLock<BTreeMap<String, SourceState>>>,
}

impl Sources {
    /// Announces a source, so that its silence is noticed from the start.
    pub fn expect(&self, source: &str, interval: Duration, now: Timestamp) {
        self.with(|states| {
            states
                .entry(source.to_owned())
                .and_modify(|state| state.interval = interval)
                .or_insert_with(|| SourceState::new(source, interval, now));
        });
    }

    /// Records a beat. A source under another (`runai/prod`) beats as often as the one above it.
    pub fn beat(&self, beat: &Beat) {
        self.with(|states| {
            let above = beat
                .source
                .split_once('/')
                .and_then(|(above, _)| states.get(above));
            let interval = above.map_or(USUAL_INTERVAL, |above| above.interval);
            let state = states
                .entry(beat.source.clone())
                .or_insert_with(|| SourceState::new(&beat.source, interval, beat.at));
            state.record(beat);
        });
    }

    /// Takes a source, and those under it, for standing still by command; its next beat ends that.
    pub fn pause(&self, source: &str, now: Timestamp) {
        self.with(|states| {
            let under = |name: &str| {
                name.strip_prefix(source)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            for state in states.values_mut().filter(|state| under(&state.source)) {
                state.paused_since.get_or_insert(now);
            }
        });
    }

    /// Forgets a source that is no longer configured.
    pub fn forget(&self, source: &str) {
        self.with(|states| states.remove(source));
    }

    /// Every source by name.
    #[must_use]
    pub fn statuses(&self, now: Timestamp) -> Vec<SourceStatus> {
        self.with(|states| {
            let status = |state: &SourceState| SourceStatus {
                health: assess(state, now),
                state: state.clone(),
            };
            states.values().map(status).collect()
        })
    }

    /// True when no source is late, failing or unheard. Without any source nothing is known: false.
    #[must_use]
    pub fn healthy(&self, now: Timestamp) -> bool {
        self.with(|states| {
            !states.is_empty()
                && states.values().all(|state| {
                    matches!(assess(state, now), Health::Fresh | Health::Paused { .. })
                })
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, SourceState>) -> T) -> T {
        // The map is whole after each statement above, so that a panic elsewhere leaves it usable.
        work(&mut self.states.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl SourceState {
    fn new(source: &str, interval: Duration, now: Timestamp) -> Self {
        Self {
            source: source.to_owned(),
            interval,
            expected_since: now,
            last_beat: None,
            last_success: None,
            last_error: None,
            failing_since: None,
            errors: 0,
            objects: 0,
            lag_ms: None,
            paused_since: None,
        }
    }

    fn record(&mut self, beat: &Beat) {
        self.last_beat = Some(beat.at);
        self.objects = beat.objects;
        self.paused_since = None;
        match &beat.error {
            None => {
                self.last_success = Some(beat.at);
                self.failing_since = None;
                self.lag_ms = beat.lag_ms.or(self.lag_ms);
            }
            Some(error) => {
                self.errors += 1;
                self.failing_since.get_or_insert(beat.at);
                self.last_error = Some((beat.at, error.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).expect("a time in range")
    }

    fn beat(source: &str, second: i64, error: Option<&str>) -> Beat {
        Beat {
            source: source.to_owned(),
            at: at(second),
            error: error.map(str::to_owned),
            objects: 7,
            lag_ms: Some(40),
        }
    }

    fn health(sources: &Sources, source: &str, second: i64) -> Health {
        let statuses = sources.statuses(at(second));
        statuses
            .into_iter()
            .find(|status| status.state.source == source)
            .expect("a known source")
            .health
    }

    #[test]
    fn a_source_is_fresh_until_it_missed_three_beats() {
        let sources = Sources::default();
        sources.expect("runai", Duration::from_secs(30), at(0));
        assert_eq!(health(&sources, "runai", 1), Health::NeverSeen);
        assert!(!sources.healthy(at(1)), "never heard is not healthy");
        sources.beat(&beat("runai", 10, None));
        assert_eq!(health(&sources, "runai", 100), Health::Fresh);
        assert_eq!(
            health(&sources, "runai", 101),
            Health::Late { since: at(10) }
        );
        assert!(!sources.healthy(at(101)));
    }

    #[test]
    fn a_failing_source_says_since_when_and_recovers_with_a_success() {
        let sources = Sources::default();
        sources.beat(&beat("kubernetes/prod", 0, None));
        sources.beat(&beat("kubernetes/prod", 60, Some("connection refused")));
        sources.beat(&beat("kubernetes/prod", 120, Some("timed out")));
        let failing = Health::Failing {
            since: at(60),
            error: "timed out".to_owned(),
        };
        assert_eq!(health(&sources, "kubernetes/prod", 121), failing);
        sources.beat(&beat("kubernetes/prod", 180, None));
        assert_eq!(health(&sources, "kubernetes/prod", 181), Health::Fresh);
        let state = &sources.statuses(at(181))[0].state;
        assert_eq!(
            (state.errors, state.last_error.as_ref().map(|(at, _)| *at)),
            (2, Some(at(120)))
        );
    }

    #[test]
    fn a_source_stopped_by_command_is_neither_late_nor_fresh() {
        let sources = Sources::default();
        for source in ["runai", "runai/prod", "runaix"] {
            sources.beat(&beat(source, 0, None));
        }
        sources.pause("runai", at(10));
        sources.pause("runai", at(20));
        assert_eq!(
            health(&sources, "runai", 9000),
            Health::Paused { since: at(10) }
        );
        assert_eq!(
            health(&sources, "runai/prod", 9000),
            Health::Paused { since: at(10) }
        );
        assert_eq!(
            health(&sources, "runaix", 9000),
            Health::Late { since: at(0) }
        );
        sources.beat(&beat("runai", 9000, None));
        assert_eq!(health(&sources, "runai", 9001), Health::Fresh);
    }

    #[test]
    fn nothing_to_hear_is_not_health() {
        assert!(!Sources::default().healthy(at(0)));
    }
}
