//! Times of scheduled runs: crontab lines with five fields, in a time zone, by their next times. Pure.
//!
//! The parser of the `cron` crate reads six or seven fields with seconds first and counts days from Sunday = 1; what
//! people write is turned into that. It reckons in the clock on the wall, which is then placed in the zone: a time that
//! the change to summer time leaves out is the moment an hour later, and one that occurs twice is the first.

use std::str::FromStr;

use chrono::{DateTime, Datelike, Timelike, Utc};
use jiff::civil;
use jiff::tz::{Disambiguation, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// A crontab line in its zone.
#[derive(Clone, Debug)]
pub struct Schedule {
    line: String,
    zone: TimeZone,
    zone_name: String,
    parsed: Box<cron::Schedule>,
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        (&self.line, &self.zone_name) == (&other.line, &other.zone_name)
    }
}

/// A missed run is made up for if it is late by no more than this; else the next one is awaited.
pub const GRACE: SignedDuration = SignedDuration::from_hours(1);

const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// What is wrong with a crontab line or its zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSchedule {
    #[error(
        "a schedule has five fields: minute, hour, day of month, month, day of week; this has {0}"
    )]
    Fields(usize),
    #[error("`{value}` is no {field}: {wanted}")]
    Field {
        field: &'static str,
        value: String,
        wanted: &'static str,
    },
    #[error(
        "give the day of month or the day of week, not both: programs disagree on what both mean"
    )]
    BothDays,
    #[error("this never happens")]
    Never,
    #[error("there is no time zone `{0}`; known are names such as Europe/Berlin or UTC")]
    Zone(String),
}

impl Schedule {
    /// Reads a line such as `30 6 * * 1-5`, or `@daily`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn read(line: &str, zone: Option<&str>) -> Result<Self, BadSchedule> {
        let zone_name = zone.unwrap_or("UTC").to_owned();
        let zone = TimeZone::get(&zone_name).map_err(|_| BadSchedule::Zone(zone_name.clone()))?;
        let expanded = match line.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other => other,
        };
        let fields: Vec<&str> = expanded.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(BadSchedule::Fields(fields.len()));
        };
        if *day != "*" && *weekday != "*" {
            return Err(BadSchedule::BothDays);
        }
        let weekday_names = weekdays(weekday)?;
        let fields = [
            ("minute", *minute, "0-59, such as `0`, `*/15` or `0,30`"),
            ("hour", *hour, "0-23, such as `6` or `8-18`"),
            ("day of month", *day, "1-31"),
            ("month", *month, "1-12 or jan-dec"),
            (
                "day of week",
                &weekday_names,
                "0-7 (0 and 7 are Sunday) or mon-sun",
            ),
        ];
        // Each by itself first, so that the message names the field.
        for (place, (field, value, wanted)) in fields.iter().enumerate() {
            let mut alone = ["0", "0", "1", "1", "*"];
            if place == 4 {
                alone[2] = "*";
            }
            alone[place] = value;
            if cron::Schedule::from_str(&format!("0 {}", alone.join(" "))).is_err() {
                let value = if place == 4 { weekday } else { value };
                return Err(BadSchedule::Field {
                    field,
                    value: super::yaml::shown(value),
                    wanted,
                });
            }
        }
        let text = format!("0 {minute} {hour} {day} {month} {weekday_names}");
        let parsed = cron::Schedule::from_str(&text).map_err(|_| BadSchedule::Never)?;
        let schedule = Self {
            line: line.trim().to_owned(),
            zone,
            zone_name,
            parsed: Box::new(parsed),
        };
        // 30 February parses, and never comes.
        let some_time = Timestamp::UNIX_EPOCH;
        if schedule.next(some_time).is_none() {
            return Err(BadSchedule::Never);
        }
        Ok(schedule)
    }

    /// The first time after `after`.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        // What the clock on the wall shows, an hour back: around a change of time it may go back.
        let wall = self
            .zone
            .to_datetime(after.saturating_sub(SignedDuration::from_hours(2)).ok()?);
        let from = pretend_utc(wall)?;
        self.parsed
            .after(&from)
            .take(1_000)
            .filter_map(|wall| self.place(&wall))
            .find(|at| *at > after)
    }

    /// The moment of a time on the wall.
    fn place(&self, wall: &DateTime<Utc>) -> Option<Timestamp> {
        let part = |value: u32| i8::try_from(value).ok();
        let civil = civil::DateTime::new(
            i16::try_from(wall.year()).ok()?,
            part(wall.month())?,
            part(wall.day())?,
            part(wall.hour())?,
            part(wall.minute())?,
            part(wall.second())?,
            0,
        )
        .ok()?;
        self.zone
            .to_ambiguous_zoned(civil)
            .disambiguate(Disambiguation::Compatible)
            .ok()
            .map(|zoned| zoned.timestamp())
    }

    /// The latest time that is due at `now` and was not before: what a run is to be made up for. `last` is the latest
    /// that was dealt with.
    #[must_use]
    pub fn due(&self, last: Timestamp, now: Timestamp) -> Due {
        let mut due = None;
        let mut missed = 0;
        // Whoever was away for long is interested in the last hour only.
        let mut from = last.max(now.saturating_sub(GRACE + GRACE).unwrap_or(last));
        let skipped_some = from > last && self.next(last).is_some_and(|at| at <= from);
        while let Some(at) = self.next(from).filter(|at| *at <= now) {
            missed += u32::from(due.is_some());
            due = Some(at);
            from = at;
        }
        match due {
            Some(at) if now.duration_since(at) <= GRACE => Due::Run { at, missed },
            Some(at) => Due::TooLate { at },
            None if skipped_some => Due::TooLate { at: from },
            None => Due::NotYet,
        }
    }
}

/// What a schedule wants at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    NotYet,
    /// Run once, for this time; so many before it were missed and are not made up for.
    Run {
        at: Timestamp,
        missed: u32,
    },
    /// Missed by more than [`GRACE`]: it is noted, and the next time is awaited.
    TooLate {
        at: Timestamp,
    },
}

fn pretend_utc(wall: civil::DateTime) -> Option<DateTime<Utc>> {
    let seconds = wall.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
    DateTime::from_timestamp(seconds, 0)
}

/// Days of the week by name: the numbers of crontab are not those of the parser.
fn weekdays(field: &str) -> Result<String, BadSchedule> {
    let bad = || BadSchedule::Field {
        field: "day of week",
        value: super::yaml::shown(field),
        wanted: "0-7 (0 and 7 are Sunday) or mon-sun",
    };
    if field == "*" {
        return Ok("*".to_owned());
    }
    let number = |text: &str| -> Option<usize> {
        let lower = text.to_ascii_lowercase();
        DAYS.iter()
            .position(|day| *day == lower)
            .or_else(|| text.parse::<usize>().ok().filter(|n| *n <= 7))
    };
    let mut days = Vec::new();
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (
                range,
                step.parse::<usize>()
                    .ok()
                    .filter(|n| *n > 0)
                    .ok_or_else(bad)?,
            ),
            None => (part, 1),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (0, 6),
            Some((first, last)) => {
                let (first, last) = (
                    number(first).ok_or_else(bad)?,
                    number(last).ok_or_else(bad)?,
                );
                // `fri-sun`: Sunday is the seventh day there.
                (first, if last < first && last == 0 { 7 } else { last })
            }
            None => {
                let day = number(range).ok_or_else(bad)?;
                (day, day)
            }
        };
        if first > last {
            return Err(bad());
        }
        days.extend((first..=last).step_by(step).map(|day| DAYS[day % 7]));
    }
    days.dedup();
    Ok(days.join(","))
}

impl std::fmt::Display for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.line, self.zone_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn next(line: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::read(line, Some(zone)).unwrap();
        let mut from = at(after);
        (0..count)
            .map(|_| {
                from = schedule.next(from).unwrap();
                from.to_string()
            })
            .collect()
    }

    #[test]
    fn a_line_is_judged_by_its_next_times() {
        // 2026-03-02 is a Monday.
        for (line, expected) in [
            (
                "0 6 * * *",
                ["2026-03-02T06:00:00Z", "2026-03-03T06:00:00Z"],
            ),
            (
                "*/20 5 * * *",
                ["2026-03-02T05:00:00Z", "2026-03-02T05:20:00Z"],
            ),
            (
                "30 9 * * 1-5",
                ["2026-03-02T09:30:00Z", "2026-03-03T09:30:00Z"],
            ),
            (
                "30 9 * * 0",
                ["2026-03-08T09:30:00Z", "2026-03-15T09:30:00Z"],
            ),
            (
                "30 9 * * 7",
                ["2026-03-08T09:30:00Z", "2026-03-15T09:30:00Z"],
            ),
            (
                "30 9 * * fri-sun",
                ["2026-03-06T09:30:00Z", "2026-03-07T09:30:00Z"],
            ),
            (
                "0 3 1 * *",
                ["2026-04-01T03:00:00Z", "2026-05-01T03:00:00Z"],
            ),
            (
                "0 0 29 2 *",
                ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"],
            ),
            ("@weekly", ["2026-03-08T00:00:00Z", "2026-03-15T00:00:00Z"]),
        ] {
            assert_eq!(
                next(line, "UTC", "2026-03-02T04:00:00Z", 2),
                expected,
                "{line}"
            );
        }
    }

    #[test]
    fn summer_time_leaves_nothing_out_and_repeats_nothing() {
        // Berlin: 2026-03-29 02:00 → 03:00, 2026-10-25 03:00 → 02:00.
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 3),
            [
                "2026-03-28T01:30:00Z",
                "2026-03-29T01:30:00Z",
                "2026-03-30T00:30:00Z"
            ]
        );
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
        assert_eq!(
            next("0 6 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 2),
            ["2026-03-28T05:00:00Z", "2026-03-29T04:00:00Z"]
        );
    }

    #[test]
    fn mistakes_name_their_field() {
        for (line, part) in [
            ("0 6 * *", "this has 4"),
            ("0 0 6 * * *", "this has 6"),
            ("60 6 * * *", "`60` is no minute"),
            ("0 24 * * *", "`24` is no hour"),
            ("0 6 0 * *", "`0` is no day of month"),
            ("0 6 * 13 *", "`13` is no month"),
            ("0 6 * * 8", "`8` is no day of week"),
            ("0 6 * * monday-", "is no day of week"),
            ("0 6 1 * 1", "not both"),
            ("0 6 30 2 *", "never"),
        ] {
            let told = Schedule::read(line, None).unwrap_err().to_string();
            assert!(told.contains(part), "{line}: {told}");
        }
        assert!(matches!(
            Schedule::read("0 6 * * *", Some("Mars/Base")),
            Err(BadSchedule::Zone(_))
        ));
    }

    #[test]
    fn a_missed_time_is_made_up_for_once_and_only_within_the_grace() {
        let daily = Schedule::read("0 6 * * *", None).unwrap();
        let last = at("2026-03-02T06:00:00Z");
        for (now, expected) in [
            ("2026-03-03T05:59:59Z", Due::NotYet),
            (
                "2026-03-03T06:00:00Z",
                Due::Run {
                    at: at("2026-03-03T06:00:00Z"),
                    missed: 0,
                },
            ),
            (
                "2026-03-03T06:40:00Z",
                Due::Run {
                    at: at("2026-03-03T06:00:00Z"),
                    missed: 0,
                },
            ),
            (
                "2026-03-03T07:30:00Z",
                Due::TooLate {
                    at: at("2026-03-03T06:00:00Z"),
                },
            ),
        ] {
            assert_eq!(daily.due(last, at(now)), expected, "{now}");
        }
        assert!(matches!(
            daily.due(last, at("2026-03-05T12:00:00Z")),
            Due::TooLate { .. }
        ));
        let often = Schedule::read("*/10 * * * *", None).unwrap();
        assert_eq!(
            often.due(at("2026-03-03T05:00:00Z"), at("2026-03-03T05:35:00Z")),
            Due::Run {
                at: at("2026-03-03T05:30:00Z"),
                missed: 2
            }
        );
    }
}
