//! Section `maintenance_windows`: silences that come again by a schedule.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jiff::tz::TimeZone;

use super::reader::Reader;
use super::source::{Given, Value};
use crate::alert::matcher::Matcher;
use crate::alert::window::Window;

/// Reads `maintenance_windows.NAME.cron`, `.duration`, `.time_zone` (UTC) and `.matchers` (`[]`: everything).
pub(super) fn read_windows(r: &mut Reader<'_>) -> Vec<Window> {
    let mut given: BTreeMap<String, BTreeMap<String, Given>> = BTreeMap::new();
    for (path, value) in r.section("maintenance_windows") {
        match path.rsplit_once('.') {
            Some((name, what)) => {
                given
                    .entry(name.to_owned())
                    .or_default()
                    .insert(what.to_owned(), value);
            }
            None => r.mistake(
                value.origin,
                "must be a mapping with cron, duration, time_zone and matchers",
            ),
        }
    }
    let mut windows = Vec::new();
    for (name, mut settings) in given {
        let section = format!("maintenance_windows.{name}");
        let cron = text(r, settings.remove("cron"), str::parse);
        let duration = text(r, settings.remove("duration"), length);
        let zone = match settings.remove("time_zone") {
            None => Some(TimeZone::UTC),
            zone => text(r, zone, |name| {
                TimeZone::get(name)
                    .map_err(|_| format!("`{name}` is no time zone such as Europe/Berlin"))
            }),
        };
        let matchers = read_matchers(r, settings.remove("matchers"));
        let missing: Vec<&str> = [("cron", cron.is_none()), ("duration", duration.is_none())]
            .into_iter()
            .filter_map(|(what, is_missing)| is_missing.then_some(what))
            .collect();
        for other in settings.into_values() {
            r.mistake(
                other.origin,
                "is not a setting: use cron, duration, time_zone or matchers",
            );
        }
        match (cron, duration, zone, matchers) {
            (Some(schedule), Some(duration), Some(time_zone), Some(matchers)) => {
                windows.push(Window {
                    name,
                    schedule,
                    duration,
                    time_zone,
                    matchers,
                });
            }
            _ if !missing.is_empty() => {
                r.mistake(section, format!("needs {}", missing.join(" and ")));
            }
            _ => {}
        }
    }
    windows
}

fn text<T, E: std::fmt::Display>(
    r: &mut Reader<'_>,
    given: Option<Given>,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    let given = given?;
    let read = match &given.value {
        Value::Text(text) => read(text).map_err(|error| error.to_string()),
        Value::List(_) => Err("must be one value, not a list".to_owned()),
    };
    read.map_err(|problem| r.mistake(given.origin, problem))
        .ok()
}

fn length(text: &str) -> Result<SignedDuration, String> {
    let length: Option<SignedDuration> = text.parse().ok();
    length
        .filter(|length| (SignedDuration::from_mins(1)..=Window::LONGEST).contains(length))
        .ok_or_else(|| "is not a length of time from 1m to 7d, such as 4h".to_owned())
}

fn read_matchers(r: &mut Reader<'_>, given: Option<Given>) -> Option<Vec<Matcher>> {
    let Some(given) = given else {
        return Some(Vec::new());
    };
    let texts = match given.value {
        Value::Text(text) => vec![text],
        Value::List(texts) => texts,
    };
    let mut matchers = Vec::new();
    for text in &texts {
        match text.parse() {
            Ok(matcher) => matchers.push(matcher),
            Err(error) => {
                let error: crate::alert::matcher::InvalidMatcher = error;
                r.mistake(given.origin.clone(), error.to_string());
            }
        }
    }
    // A condition less would silence more.
    (matchers.len() == texts.len()).then_some(matchers)
}
