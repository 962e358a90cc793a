//! Maintenance windows: silences that come again by a schedule in the words of cron.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};

use super::matcher::Matcher;

/// A time that comes again and again, during which some alerts are silent.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    pub name: String,
    pub schedule: Schedule,
    /// How long it is open each time; at most [`Window::LONGEST`].
    pub duration: SignedDuration,
    pub time_zone: TimeZone,
    /// All of them must fit; none fits everything.
    pub matchers: Vec<Matcher>,
}

impl Window {
    /// What is silent for longer is no maintenance.
    pub const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);

    /// When it closes, if it is open at `now`. A beginning that the change to summer time leaves out is left out here
    /// too; one that comes twice begins the first time.
    #[must_use]
    pub fn open_until(&self, now: Timestamp) -> Option<Timestamp> {
        let earliest = now.saturating_sub(self.duration).unwrap_or(now);
        let mut day = earliest.to_zoned(self.time_zone.clone()).date();
        let last = now.to_zoned(self.time_zone.clone()).date();
        let mut closes = None;
        while day <= last {
            for begins in self.schedule.times(day) {
                let Some(begins) = self.instant(day, begins) else {
                    continue;
                };
                if begins <= now && begins > earliest {
                    closes = begins.saturating_add(self.duration).ok().max(closes);
                }
            }
            day = day.checked_add(1.day()).ok()?;
        }
        closes
    }

    fn instant(&self, day: Date, (hour, minute): (i8, i8)) -> Option<Timestamp> {
        let moment = self
            .time_zone
            .to_ambiguous_zoned(day.at(hour, minute, 0, 0));
        if matches!(moment.offset(), AmbiguousOffset::Gap { .. }) {
            return None;
        }
        Some(moment.compatible().ok()?.timestamp())
    }
}

/// Five fields of cron: minute, hour, day of the month, month, day of the week. Each is `*`, or numbers, ranges and
/// steps joined by commas; months and days of the week have names too. If both days are given, either will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether a day of the month, and whether a day of the week, is given.
    by_day: (bool, bool),
    text: String,
}

/// Why a text is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSchedule {
    #[error("has {0} fields: cron has five, minute hour day month weekday, such as `0 2 * * sun`")]
    Fields(usize),
    #[error("`{field}` is no {what} ({low} to {high})")]
    Field {
        field: String,
        what: &'static str,
        low: u8,
        high: u8,
    },
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl FromStr for Schedule {
    type Err = InvalidSchedule;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower = text.to_lowercase();
        let fields: Vec<&str> = lower.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(InvalidSchedule::Fields(fields.len()));
        };
        // Both 0 and 7 are Sunday.
        let weekdays = field(weekday, "day of the week", 0, 7, &WEEKDAYS)?;
        Ok(Self {
            minutes: field(minute, "minute", 0, 59, &[])?,
            hours: field(hour, "hour", 0, 23, &[])?,
            days: field(day, "day of the month", 1, 31, &[])?,
            months: field(month, "month", 1, 12, &MONTHS)?,
            weekdays: weekdays | (weekdays >> 7),
            by_day: (!day.starts_with('*'), !weekday.starts_with('*')),
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Schedule {
    /// Hours and minutes of a day at which it begins.
    fn times(&self, day: Date) -> Vec<(i8, i8)> {
        let has = |set: u64, value: i8| set >> value & 1 == 1;
        let of_month = has(self.days, day.day());
        let of_week = has(self.weekdays, day.weekday().to_sunday_zero_offset());
        let is_day = match self.by_day {
            (true, true) => of_month || of_week,
            (true | false, false) | (false, true) => of_month && of_week,
        };
        if !is_day || !has(self.months, day.month()) {
            return Vec::new();
        }
        let hours = (0..24).filter(|hour| has(self.hours, *hour));
        hours
            .flat_map(|hour| {
                (0..60)
                    .filter(|minute| has(self.minutes, *minute))
                    .map(move |minute| (hour, minute))
            })
            .collect()
    }
}

/// The values of a field as bits.
fn field(
    text: &str,
    what: &'static str,
    low: u8,
    high: u8,
    names: &[&str],
) -> Result<u64, InvalidSchedule> {
    let bad = || InvalidSchedule::Field {
        field: text.to_owned(),
        what,
        low,
        high,
    };
    let number = |text: &str| {
        let position = names.iter().position(|name| *name == text);
        let value = match position {
            // Months begin with 1, days of the week with 0.
            Some(place) => u8::try_from(place).ok().map(|place| place + low),
            None => text.parse().ok(),
        };
        value
            .filter(|value| (low..=high).contains(value))
            .ok_or_else(bad)
    };
    let mut set = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                let step: u8 = step.parse().map_err(|_| bad())?;
                (range, Some(step).filter(|step| *step > 0).ok_or_else(bad)?)
            }
            None => (part, 1),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (low, high),
            Some((first, last)) => (number(first)?, number(last)?),
            None if part.contains('/') => (number(range)?, high),
            None => (number(range)?, number(range)?),
        };
        if first > last {
            return Err(bad());
        }
        for value in (first..=last).step_by(usize::from(step)) {
            set |= 1_u64 << value;
        }
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(cron: &str, hours: i64, zone: &str) -> Window {
        Window {
            name: "w".to_owned(),
            schedule: cron.parse().expect(cron),
            duration: SignedDuration::from_hours(hours),
            time_zone: TimeZone::get(zone).expect(zone),
            matchers: Vec::new(),
        }
    }

    fn time(text: &str) -> Timestamp {
        text.parse().expect(text)
    }

    #[test]
    fn a_window_is_open_from_its_time_for_its_duration() {
        // 2026-11-22 is a Sunday.
        for (cron, hours, zone, now, until) in [
            ("0 2 * * sun", 4, "UTC", "2026-11-22T01:59:59Z", None),
            (
                "0 2 * * sun",
                4,
                "UTC",
                "2026-11-22T02:00:00Z",
                Some("2026-11-22T06:00:00Z"),
            ),
            (
                "0 2 * * 7",
                4,
                "UTC",
                "2026-11-22T05:59:59Z",
                Some("2026-11-22T06:00:00Z"),
            ),
            ("0 2 * * sun", 4, "UTC", "2026-11-22T06:00:00Z", None),
            ("0 2 * * mon-fri", 4, "UTC", "2026-11-22T03:00:00Z", None),
            // Over midnight, and in the time of another place.
            (
                "0 22 * * sat",
                6,
                "UTC",
                "2026-11-22T03:00:00Z",
                Some("2026-11-22T04:00:00Z"),
            ),
            (
                "0 3 * * *",
                1,
                "Europe/Berlin",
                "2026-11-22T02:30:00Z",
                Some("2026-11-22T03:00:00Z"),
            ),
            (
                "0 3 * * *",
                1,
                "Europe/Berlin",
                "2026-07-22T01:30:00Z",
                Some("2026-07-22T02:00:00Z"),
            ),
            // Times that overlap go on until the last is over.
            (
                "*/30 * * * *",
                1,
                "UTC",
                "2026-11-22T10:45:00Z",
                Some("2026-11-22T11:30:00Z"),
            ),
            // Either day will do.
            (
                "0 0 1 * sun",
                1,
                "UTC",
                "2026-11-22T00:10:00Z",
                Some("2026-11-22T01:00:00Z"),
            ),
            (
                "0 0 22 jan-nov/2 *",
                1,
                "UTC",
                "2026-11-22T00:10:00Z",
                Some("2026-11-22T01:00:00Z"),
            ),
            ("0 0 23 * *", 1, "UTC", "2026-11-22T00:10:00Z", None),
            // The hour that summer time leaves out.
            (
                "30 2 * * *",
                1,
                "Europe/Berlin",
                "2026-03-29T01:30:00Z",
                None,
            ),
        ] {
            let open = window(cron, hours, zone).open_until(time(now));
            assert_eq!(open, until.map(time), "{cron} in {zone} at {now}");
        }
    }

    #[test]
    fn what_is_no_schedule_is_told() {
        for (cron, told) in [
            ("0 2 * *", "has 4 fields"),
            ("0 24 * * *", "`24` is no hour (0 to 23)"),
            ("0 2 0 * *", "no day of the month"),
            ("0 2 * * funday", "no day of the week"),
            ("*/0 * * * *", "no minute"),
            ("30-10 * * * *", "no minute"),
        ] {
            let error = cron.parse::<Schedule>().expect_err(cron).to_string();
            assert!(error.contains(told), "{cron}: {error}");
        }
    }
}
