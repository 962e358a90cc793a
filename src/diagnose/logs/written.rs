//! Times as programs write them at the beginning of a line. Those without a zone or a year are understood by the time at
//! which the kubelet took the line.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// The time that a line begins with. `taken` is when the kubelet took it; without it, no zone means UTC.
pub(super) fn time(line: &str, taken: Option<Timestamp>) -> Option<Timestamp> {
    let (time, _) = leading(line, taken)?;
    time
}

/// What follows the time that a line begins with, less one blank.
pub(super) fn after_time(line: &str) -> Option<&str> {
    let (_, end) = leading(line, None)?;
    let rest = &line[end..];
    Some(rest.strip_prefix([' ', '\t']).unwrap_or(rest))
}

/// A time at the beginning, and where it ends. The time is `None` where it cannot be placed: seconds since boot, or a
/// day without a year and nothing to tell it by.
fn leading(line: &str, taken: Option<Timestamp>) -> Option<(Option<Timestamp>, usize)> {
    let blank = line.len() - line.trim_start_matches('\u{feff}').len();
    let text = &line[blank..];
    match text.as_bytes() {
        [b'[', inner, ..] if inner.is_ascii_digit() || *inner == b' ' => {
            let close = text.find(']').filter(|close| *close <= 48)?;
            let inside = text[1..close].trim();
            let found = match plain(inside, taken) {
                Some((time, end)) if end == inside.len() => time,
                _ => since_boot(inside)?,
            };
            Some((found, blank + close + 1))
        }
        [b'I' | b'W' | b'E' | b'F', digit, ..] if digit.is_ascii_digit() => {
            let (time, end) = glog(text, taken)?;
            Some((time, blank + end))
        }
        [first, ..] if first.is_ascii_digit() || first.is_ascii_uppercase() => {
            let (time, end) = plain(text, taken)?;
            // A number that goes on is no time.
            let next = text.as_bytes().get(end);
            next.is_none_or(|next| !next.is_ascii_alphanumeric())
                .then_some((time, blank + end))
        }
        _ => None,
    }
}

fn plain(text: &str, taken: Option<Timestamp>) -> Option<(Option<Timestamp>, usize)> {
    iso(text, taken)
        .or_else(|| short_year(text, taken))
        .or_else(|| syslog(text, taken))
        .or_else(|| epoch(text))
}

/// The digits of `text[range]` as a number.
fn digits(text: &str, range: std::ops::Range<usize>) -> Option<i16> {
    let part = text.get(range)?;
    part.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| part.parse().ok())
        .flatten()
}

/// `HH:MM:SS` with an optional fraction at `at`: the parts and the end.
fn clock(text: &str, at: usize) -> Option<((i8, i8, i8, i32), usize)> {
    let bytes = text.as_bytes();
    if *bytes.get(at + 2)? != b':' || *bytes.get(at + 5)? != b':' {
        return None;
    }
    let part = |from: usize| i8::try_from(digits(text, from..from + 2)?).ok();
    let (hour, minute, second) = (part(at)?, part(at + 3)?, part(at + 6)?);
    let mut end = at + 8;
    let mut nanoseconds = 0;
    if matches!(bytes.get(end), Some(b'.' | b','))
        && bytes.get(end + 1).is_some_and(u8::is_ascii_digit)
    {
        let fraction: usize = bytes[end + 1..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let shown = &text[end + 1..end + 1 + fraction.min(9)];
        nanoseconds = format!("{shown:0<9}").parse().ok()?;
        end += 1 + fraction;
    }
    Some(((hour, minute, second, nanoseconds), end))
}

/// `2026-03-02T10:00:00.123Z`, `2026-03-02 10:00:00,123`, `2026/03/02 10:00:00`, `2026-03-02_10:00:00`.
fn iso(text: &str, taken: Option<Timestamp>) -> Option<(Option<Timestamp>, usize)> {
    let bytes = text.as_bytes();
    let mark = *bytes.get(4)?;
    if !matches!(mark, b'-' | b'/')
        || *bytes.get(7)? != mark
        || !matches!(bytes.get(10)?, b'T' | b't' | b' ' | b'_')
    {
        return None;
    }
    let date = Date::new(
        digits(text, 0..4)?,
        i8::try_from(digits(text, 5..7)?).ok()?,
        i8::try_from(digits(text, 8..10)?).ok()?,
    )
    .ok()?;
    let (time, end) = clock(text, 11)?;
    let (time, end) = zoned(text, civil(date, time)?, end, taken);
    Some((time, end))
}

/// `26/03/02 10:00:00` of log4j, as Spark writes it.
fn short_year(text: &str, taken: Option<Timestamp>) -> Option<(Option<Timestamp>, usize)> {
    let bytes = text.as_bytes();
    if *bytes.get(2)? != b'/' || *bytes.get(5)? != b'/' || *bytes.get(8)? != b' ' {
        return None;
    }
    let date = Date::new(
        2000 + digits(text, 0..2)?,
        i8::try_from(digits(text, 3..5)?).ok()?,
        i8::try_from(digits(text, 6..8)?).ok()?,
    )
    .ok()?;
    let (time, end) = clock(text, 9)?;
    Some((Some(placed(civil(date, time)?, taken)?), end))
}

/// `Mar  2 10:00:00`.
fn syslog(text: &str, taken: Option<Timestamp>) -> Option<(Option<Timestamp>, usize)> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let month = MONTHS.iter().position(|name| text.get(..3) == Some(name))?;
    let month = i8::try_from(month + 1).ok()?;
    let day = text.get(4..6)?.trim_start().parse().ok()?;
    if text.as_bytes()[3] != b' ' || *text.as_bytes().get(6)? != b' ' {
        return None;
    }
    let (time, end) = clock(text, 7)?;
    Some((this_year(month, day, time, taken), end))
}

/// `I0302 10:00:00.123456   123 file.cc:9] `, to its bracket.
fn glog(text: &str, taken: Option<Timestamp>) -> Option<(Option<Timestamp>, usize)> {
    let month = i8::try_from(digits(text, 1..3)?).ok()?;
    let day = i8::try_from(digits(text, 3..5)?).ok()?;
    if *text.as_bytes().get(5)? != b' ' || !(1..=12).contains(&month) {
        return None;
    }
    let (time, end) = clock(text, 6)?;
    let close = text[end..].find("] ").filter(|close| *close <= 96);
    let end = close.map_or(end, |close| end + close + 1);
    Some((this_year(month, day, time, taken), end))
}

/// `1772445600.123` or `1772445600123`: seconds or milliseconds since 1970, of this century's first decades.
fn epoch(text: &str) -> Option<(Option<Timestamp>, usize)> {
    let whole = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: i64 = text[..whole].parse().ok()?;
    match whole {
        10 if (1_400_000_000..2_600_000_000).contains(&number) => {
            let rest = &text[whole..];
            let fraction = rest.strip_prefix('.').map_or(0, |fraction| {
                fraction.bytes().take_while(u8::is_ascii_digit).count()
            });
            let shown: String = text[whole..]
                .chars()
                .skip(1)
                .take(fraction.min(9))
                .collect();
            let nanoseconds = format!("{shown:0<9}").parse().ok()?;
            let end = whole + if fraction > 0 { fraction + 1 } else { 0 };
            Some((Timestamp::new(number, nanoseconds).ok(), end))
        }
        13 if (1_400_000_000_000..2_600_000_000_000).contains(&number) => {
            Some((Timestamp::from_millisecond(number).ok(), whole))
        }
        _ => None,
    }
}

/// The kernel's `1234.567890`, which only the boot would place.
#[allow(
    clippy::option_option,
    reason = "a form that is known, and a time that is not"
)]
fn since_boot(inside: &str) -> Option<Option<Timestamp>> {
    let (seconds, fraction) = inside.split_once('.')?;
    let all = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (all(seconds) && all(fraction) && fraction.len() == 6).then_some(None)
}

fn civil(date: Date, (hour, minute, second, nanosecond): (i8, i8, i8, i32)) -> Option<DateTime> {
    // A leap second is told as the last one before it.
    let time = jiff::civil::Time::new(hour, minute, second.min(59), nanosecond).ok()?;
    Some(DateTime::from_parts(date, time))
}

/// Reads the zone after a time, if there is one.
fn zoned(
    text: &str,
    time: DateTime,
    end: usize,
    taken: Option<Timestamp>,
) -> (Option<Timestamp>, usize) {
    let rest = &text[end..];
    if rest.starts_with(['Z', 'z']) {
        return (utc(time), end + 1);
    }
    let skip = usize::from(rest.starts_with(' '));
    let sign = match rest.as_bytes().get(skip) {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => 0,
    };
    let offset = || {
        let hours = digits(rest, skip + 1..skip + 3)?;
        let colon = usize::from(rest.as_bytes().get(skip + 3) == Some(&b':'));
        let minutes = digits(rest, skip + 3 + colon..skip + 5 + colon)?;
        // `10:00:00 -1234 ...` is no zone.
        (hours <= 14 && minutes < 60)
            .then_some((i64::from(hours) * 60 + i64::from(minutes), skip + 5 + colon))
    };
    match (sign, offset()) {
        (0, _) | (_, None) => (placed(time, taken), end),
        (sign, Some((minutes, length))) => {
            let shifted = utc(time).and_then(|time| {
                time.checked_sub(SignedDuration::from_mins(sign * minutes))
                    .ok()
            });
            (shifted, end + length)
        }
    }
}

fn utc(time: DateTime) -> Option<Timestamp> {
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// A time without a zone. Most containers count in UTC; where that cannot be, because the kubelet took the line before it
/// or more than an hour after, the zone is the one that makes it least late.
fn placed(time: DateTime, taken: Option<Timestamp>) -> Option<Timestamp> {
    const HALF_HOUR: i64 = 30 * 60;
    /// Clocks of a node and of a container differ by less.
    const SKEW: i64 = 5;
    let time = utc(time)?;
    let Some(taken) = taken else {
        return Some(time);
    };
    let late = taken.duration_since(time).as_secs();
    if (-SKEW..=2 * HALF_HOUR).contains(&late) {
        return Some(time);
    }
    let zone = (late + SKEW).div_euclid(HALF_HOUR) * HALF_HOUR;
    if zone.abs() > 14 * 3600 {
        return Some(time);
    }
    time.checked_add(SignedDuration::from_secs(zone)).ok()
}

/// A day without a year: of the year in which the kubelet took the line, or at the turn of the year the one before.
fn this_year(
    month: i8,
    day: i8,
    time: (i8, i8, i8, i32),
    taken: Option<Timestamp>,
) -> Option<Timestamp> {
    let taken = taken?;
    let year = taken.to_zoned(TimeZone::UTC).year();
    let of = |year: i16| placed(civil(Date::new(year, month, day).ok()?, time)?, Some(taken));
    let this = of(year)?;
    if this.duration_since(taken) > SignedDuration::from_hours(48) {
        return of(year - 1);
    }
    Some(this)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[allow(
        clippy::unnecessary_wraps,
        reason = "it is compared with what was read"
    )]
    fn at(text: &str) -> Option<Timestamp> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn times_are_read_in_the_usual_forms() {
        let taken = at("2026-03-02T10:00:01Z");
        for (line, expected) in [
            (
                "2026-03-02T10:00:00.123456789Z x",
                at("2026-03-02T10:00:00.123456789Z"),
            ),
            ("2026-03-02T12:00:00+02:00 x", at("2026-03-02T10:00:00Z")),
            ("2026-03-02 05:00:00 -0500 x", at("2026-03-02T10:00:00Z")),
            (
                "2026-03-02 10:00:00,123 - INFO - x",
                at("2026-03-02T10:00:00.123Z"),
            ),
            (
                "[2026-03-02 10:00:00,123] x",
                at("2026-03-02T10:00:00.123Z"),
            ),
            ("2026/03/02 10:00:00 x", at("2026-03-02T10:00:00Z")),
            ("2026-03-02_10:00:00", at("2026-03-02T10:00:00Z")),
            (
                "26/03/02 10:00:00 ERROR Executor: x",
                at("2026-03-02T10:00:00Z"),
            ),
            (
                "I0302 10:00:00.123456   12 a.cc:9] x",
                at("2026-03-02T10:00:00.123456Z"),
            ),
            (
                "Mar  2 10:00:00 gpu-1 kernel: x",
                at("2026-03-02T10:00:00Z"),
            ),
            ("1772445600.5 x", at("2026-03-02T10:00:00.5Z")),
            ("1772445600500 x", at("2026-03-02T10:00:00.5Z")),
            ("[ 1234.567890] NVRM", None),
            ("step 12", None),
            ("12345678901234567890", None),
            ("2026-13-02T10:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(time(line, taken), expected, "{line}");
        }
    }

    #[test]
    fn a_time_without_a_zone_is_placed_by_when_the_kubelet_took_it() {
        // Written in New York, in Kolkata, and in UTC ten minutes before it was flushed.
        for (line, taken, expected) in [
            (
                "2026-03-02 05:00:00 x",
                "2026-03-02T10:00:02Z",
                "2026-03-02T10:00:00Z",
            ),
            (
                "2026-03-02 15:30:00 x",
                "2026-03-02T10:00:02Z",
                "2026-03-02T10:00:00Z",
            ),
            (
                "2026-03-02 09:50:00 x",
                "2026-03-02T10:00:02Z",
                "2026-03-02T09:50:00Z",
            ),
            (
                "2026-02-01 09:50:00 x",
                "2026-03-02T10:00:02Z",
                "2026-02-01T09:50:00Z",
            ),
            (
                "Dec 31 23:59:59 x",
                "2026-01-01T00:00:01Z",
                "2025-12-31T23:59:59Z",
            ),
        ] {
            assert_eq!(time(line, at(taken)), at(expected), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(line in "\\PC{0,60}", taken in proptest::option::of(0i64..4_000_000_000)) {
            let taken = taken.map(|second| Timestamp::from_second(second).unwrap());
            let _ = time(&line, taken);
            if let Some(rest) = after_time(&line) {
                prop_assert!(line.ends_with(rest));
            }
        }

        #[test]
        fn every_second_survives_being_written(second in 1_400_000_000i64..2_600_000_000) {
            let written = Timestamp::from_second(second).unwrap();
            prop_assert_eq!(time(&format!("{written} x"), None), Some(written));
            prop_assert_eq!(time(&format!("{second} x"), None), Some(written));
        }
    }
}
