//! From times to places on the picture. A cascade takes seconds and a run may take days: when the end is too short to
//! be seen, the time before it is folded into the left edge.

use jiff::{SignedDuration, Timestamp};

use crate::diagnose::course::Course;

/// A failure that takes less than this part of the run is looked at closely.
const SMALL: f64 = 0.25;
/// Time shown before the first trouble, as a part of the trouble.
const BEFORE: f64 = 0.35;
/// The shortest time worth a whole picture, in seconds.
const SHORTEST: f64 = 10.0;
/// Part of the width into which what came before is folded.
const FOLD: f32 = 0.14;
/// Steps between marks of the axis, in seconds.
const STEPS: [i64; 20] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200,
    86_400, 172_800, 604_800,
];
const MARKS: f64 = 5.0;

/// The axis: a linear stretch, with what came before folded into its left edge if `folded`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    from: f64,
    to: f64,
    left: f32,
    width: f32,
    pub(super) folded: bool,
}

fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

impl Scale {
    pub(super) fn of(course: &Course, left: f32, width: f32) -> Self {
        let (began, until) = (seconds(course.began), seconds(course.until));
        let trouble = course
            .lanes
            .iter()
            .filter_map(|lane| match (lane.trouble, lane.ended) {
                (Some(trouble), Some(ended)) => Some(trouble.min(ended)),
                (time, None) | (None, time) => time,
            })
            .min()
            .map_or(began, seconds);
        let close = (until - trouble).max(SHORTEST);
        let from = trouble - close * BEFORE;
        let folded = close < (until - began) * SMALL && from > began;
        let from = if folded { from } else { began };
        Self {
            from,
            to: until.max(from + 1.0) + (until - from).max(1.0) * 0.02,
            left: if folded { left + width * FOLD } else { left },
            width: if folded { width * (1.0 - FOLD) } else { width },
            folded,
        }
    }

    /// Where a time is; folded time is at the place where `fold` begins.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a place within some hundred units"
    )]
    pub(super) fn x(&self, at: Timestamp) -> f32 {
        let at = seconds(at);
        if at < self.from {
            return self.left - self.width * FOLD / (1.0 - FOLD);
        }
        self.left + ((at - self.from) / (self.to - self.from)) as f32 * self.width
    }

    /// Where the folded part ends.
    pub(super) fn fold(&self) -> f32 {
        self.left
    }

    /// Marks of the axis: place and label.
    pub(super) fn marks(&self) -> Vec<(f32, String)> {
        let span = self.to - self.from;
        let step = STEPS
            .into_iter()
            .find(|step| span / (*step as f64) <= MARKS)
            .unwrap_or(2_592_000);
        #[expect(clippy::cast_possible_truncation, reason = "seconds since 1970")]
        let first = (self.from as i64).div_euclid(step) * step + step;
        (0..8)
            .map(|n| first + n * step)
            .filter(|second| (*second as f64) < self.to)
            .filter_map(|second| {
                let at = Timestamp::UNIX_EPOCH
                    .checked_add(SignedDuration::from_secs(second))
                    .ok()?;
                let label = match step {
                    ..60 => at.strftime("%H:%M:%S"),
                    60..86_400 => at.strftime("%H:%M"),
                    _ => at.strftime("%b %d"),
                };
                Some((self.x(at), label.to_string()))
            })
            .collect()
    }
}
