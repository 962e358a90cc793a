//! A job that fails and recovers again and again: said once, then held as one failing until a recovery lasts.

use jiff::{SignedDuration, Timestamp};

use super::settings::Settings;
use super::{Alert, Severity};

/// Failing so often within the window is flapping.
const TIMES: usize = 3;
/// Beginnings kept: more say nothing new.
const KEPT: usize = 8;
/// The window, and how long a recovery must last while it flaps, in hold-downs: six hours and one hour, if a recovery
/// is believed after five minutes.
const WINDOW: i32 = 72;
const HOLD: i32 = 12;

impl Alert {
    /// Whether it flaps and is held. What is critical never is: each failing of it is told and paged.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.track.flapping_since.is_some() && self.severity != Severity::Critical
    }

    /// Notes that it begins to fail. True when that makes it flap.
    pub(super) fn begins(&mut self, settings: &Settings, now: Timestamp) -> bool {
        let window = times(settings.resolve_after, WINDOW);
        self.track
            .began
            .retain(|at| now.duration_since(*at) <= window);
        self.track.began.push(now);
        let surplus = self.track.began.len().saturating_sub(KEPT);
        self.track.began.drain(..surplus);
        let flaps = self.track.flapping_since.is_none() && self.track.began.len() >= TIMES;
        if flaps {
            self.track.flapping_since = Some(now);
        }
        flaps
    }

    /// How long no failure must be seen before it counts as recovered. While it flaps: longer than it takes to fail
    /// again.
    #[must_use]
    pub fn hold_down(&self, settings: &Settings) -> SignedDuration {
        if !self.is_held() {
            return settings.resolve_after;
        }
        let longest = self
            .track
            .began
            .windows(2)
            .map(|pair| pair[1].duration_since(pair[0]))
            .max()
            .unwrap_or_default();
        times(longest, 2)
            .max(times(settings.resolve_after, HOLD))
            .min(times(settings.resolve_after, WINDOW))
    }
}

fn times(duration: SignedDuration, factor: i32) -> SignedDuration {
    duration.checked_mul(factor).unwrap_or(SignedDuration::MAX)
}
