//! What the first to fail used before its end, as a curve: memory with its limit as a line, or the use of its GPU.

use jiff::Timestamp;

use super::draw::text;
use super::shape::{Anchor, Look, Shape};
use crate::diagnose::course::{Course, Usage, UsageKind};

/// From the headline of the curve to its upper edge.
const HEAD: f32 = 30.0;
const CURVE: f32 = 72.0;
/// Room for the times below it.
const AXIS: f32 = 24.0;
/// Air above the highest value, as a part of it.
const AIR: f64 = 1.12;

/// How much higher it makes the picture.
pub(super) fn height(usage: &Usage) -> f32 {
    if usage.readings.len() < 2 {
        0.0
    } else {
        HEAD + CURVE + AXIS
    }
}

/// Draws the curve from `top` downwards; `edges` are those of the names, of the curve, and its right one.
pub(super) fn draw(
    shapes: &mut Vec<Shape>,
    usage: &Usage,
    course: &Course,
    (names, left, right): (f32, f32, f32),
    top: f32,
) {
    let (Some(first), Some(last)) = (usage.readings.first(), usage.readings.last()) else {
        return;
    };
    if height(usage) <= 0.0 {
        return;
    }
    let ended = course
        .lanes
        .iter()
        .find(|lane| lane.first)
        .and_then(|lane| lane.ended);
    let (from, until) = (first.at, last.at.max(ended.unwrap_or(last.at)));
    let ceiling = match usage.kind {
        UsageKind::Gpu => 100.0,
        UsageKind::Memory => usage.limit.unwrap_or(0.0).max(peak(usage)),
    } * AIR;
    let upper = top + HEAD;
    let bottom = upper + CURVE;
    let x = |at: Timestamp| {
        let span = seconds(from, until).max(1.0);
        left + part(seconds(from, at) / span) * (right - left)
    };
    let y = |value: f64| bottom - part(value / ceiling.max(f64::MIN_POSITIVE)) * CURVE;
    shapes.push(text(
        Look::Name,
        names,
        top + 14.0,
        Anchor::Start,
        &title(usage),
    ));
    let mut mark = |value: f64, look: Look, label: &str| {
        shapes.push(Shape::Line {
            look,
            from: (left, y(value)),
            to: (right, y(value)),
        });
        shapes.push(text(
            Look::Soft,
            left - 8.0,
            y(value) + 4.0,
            Anchor::End,
            label,
        ));
    };
    mark(0.0, Look::Grid, "0");
    match (usage.kind, usage.limit) {
        (UsageKind::Gpu, _) => {
            mark(50.0, Look::Grid, "50 %");
            mark(100.0, Look::Grid, "100 %");
        }
        (UsageKind::Memory, Some(limit)) => {
            mark(limit / 2.0, Look::Grid, &bytes(limit / 2.0));
            mark(limit, Look::Limit, &format!("limit {}", bytes(limit)));
        }
        (UsageKind::Memory, None) => mark(peak(usage), Look::Grid, &bytes(peak(usage))),
    }
    for pair in usage.readings.windows(2) {
        shapes.push(Shape::Line {
            look: Look::Curve,
            from: (x(pair[0].at), y(pair[0].value)),
            to: (x(pair[1].at), y(pair[1].value)),
        });
    }
    if let Some(ended) = ended.filter(|ended| *ended >= from) {
        shapes.push(Shape::Line {
            look: Look::Trouble,
            from: (x(ended), upper),
            to: (x(ended), bottom),
        });
    }
    for (at, anchor) in [(from, Anchor::Start), (until, Anchor::End)] {
        let label = at.strftime("%H:%M:%S").to_string();
        shapes.push(text(Look::Soft, x(at), bottom + 15.0, anchor, &label));
    }
}

fn title(usage: &Usage) -> String {
    match usage.kind {
        UsageKind::Memory => format!("Memory of {} until its end", usage.pod),
        UsageKind::Gpu => format!("GPU use of {} until its end", usage.pod),
    }
}

/// What the curve shows, in words.
pub(super) fn alt(usage: &Usage) -> Option<String> {
    let last = usage.readings.last()?;
    Some(match (usage.kind, usage.limit) {
        (UsageKind::Memory, Some(limit)) => format!(
            "Its memory reached {} of its limit of {}.",
            bytes(peak(usage)),
            bytes(limit)
        ),
        (UsageKind::Memory, None) => format!("Its memory reached {}.", bytes(peak(usage))),
        (UsageKind::Gpu, _) => format!("Its GPU was last used at {:.0} %.", last.value),
    })
}

fn peak(usage: &Usage) -> f64 {
    usage
        .readings
        .iter()
        .map(|reading| reading.value)
        .fold(0.0, f64::max)
}

fn bytes(value: f64) -> String {
    let gib = value / f64::from(1 << 30);
    if gib >= 10.0 {
        format!("{gib:.0} GiB")
    } else if gib >= 1.0 {
        format!("{gib:.1} GiB")
    } else {
        format!("{:.0} MiB", value / f64::from(1 << 20))
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a part of the picture's width or height"
)]
fn part(value: f64) -> f32 {
    value.clamp(0.0, 1.0) as f32
}
