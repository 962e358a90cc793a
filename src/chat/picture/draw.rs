//! A course as shapes: a headline, a bar for each lane, an axis and a legend; below them what was used.

use super::font;
use super::scale::Scale;
use super::shape::{Anchor, Drawing, Look, Shape};
use super::usage;
use crate::diagnose::course::{Course, Lane, LaneEnd};

/// A phone shows a picture about this wide without making its letters too small.
const WIDTH: f32 = 520.0;
const EDGE: f32 = 14.0;
/// Room for names beside the bars.
const LABELS: f32 = 128.0;
const BAR: f32 = 16.0;
const ROW: f32 = 23.0;
const TOP: f32 = 40.0;
const AXIS: f32 = 26.0;
const LEGEND: f32 = 24.0;

/// The picture of a course.
pub(super) fn drawing(course: &Course) -> Drawing {
    let left = EDGE + LABELS;
    let scale = Scale::of(course, left, WIDTH - EDGE - left);
    let bottom = TOP + course.lanes.len() as f32 * ROW;
    let plot = bottom + AXIS + LEGEND + EDGE / 2.0;
    let height = plot + course.usage.as_ref().map_or(0.0, usage::height);
    let mut shapes = vec![Shape::Rect {
        look: Look::Plane,
        x: 0.0,
        y: 0.0,
        width: WIDTH,
        height,
        radius: 8.0,
    }];
    headline(&mut shapes, course);
    axis(&mut shapes, &scale, bottom);
    let stem = common_stem(&course.lanes);
    for (n, lane) in course.lanes.iter().enumerate() {
        row(
            &mut shapes,
            course,
            lane,
            &scale,
            TOP + n as f32 * ROW,
            stem,
        );
    }
    if scale.folded {
        shapes.push(gap(&scale, bottom));
    }
    legend(&mut shapes, course, bottom + AXIS + 4.0);
    if let Some(used) = &course.usage {
        usage::draw(&mut shapes, used, course, (EDGE, left, WIDTH - EDGE), plot);
    }
    Drawing {
        width: WIDTH,
        height,
        shapes,
    }
}

pub(super) fn text(look: Look, x: f32, y: f32, anchor: Anchor, words: &str) -> Shape {
    Shape::Text {
        look,
        x,
        y,
        anchor,
        words: words.to_owned(),
    }
}

fn headline(shapes: &mut Vec<Shape>, course: &Course) {
    let title = match course.pods {
        1 => "1 pod".to_owned(),
        pods => format!("{pods} pods"),
    };
    shapes.push(text(Look::Title, EDGE, 24.0, Anchor::Start, &title));
    let format = "%Y-%m-%d %H:%M:%S";
    let same_day =
        course.began.as_second().div_euclid(86_400) == course.until.as_second().div_euclid(86_400);
    let until = course
        .until
        .strftime(if same_day { "%H:%M:%S" } else { format });
    let times = format!("{} to {until} UTC", course.began.strftime(format));
    shapes.push(text(Look::Soft, WIDTH - EDGE, 24.0, Anchor::End, &times));
}

fn axis(shapes: &mut Vec<Shape>, scale: &Scale, bottom: f32) {
    for (x, label) in scale.marks() {
        shapes.push(Shape::Line {
            look: Look::Grid,
            from: (x, TOP - 5.0),
            to: (x, bottom),
        });
        // A label at the edge must not leave the picture.
        if x + font::width(&label, Look::Soft) / 2.0 < WIDTH - EDGE / 2.0 {
            shapes.push(text(Look::Soft, x, bottom + 14.0, Anchor::Middle, &label));
        }
    }
}

fn look(lane: &Lane) -> Look {
    match (lane.first, lane.end) {
        (true, _) => Look::First,
        (false, LaneEnd::Failed) => Look::Failed,
        (false, LaneEnd::Stopped) => Look::Stopped,
        (false, LaneEnd::Completed) => Look::Completed,
        (false, LaneEnd::Runs) => Look::Runs,
    }
}

fn row(shapes: &mut Vec<Shape>, course: &Course, lane: &Lane, scale: &Scale, y: f32, stem: usize) {
    let look = look(lane);
    let name = if lane.first { Look::Strong } else { Look::Name };
    shapes.push(text(
        name,
        EDGE,
        y + 12.5,
        Anchor::Start,
        &label(lane, name, stem),
    ));
    let bar = |look: Look, from: f32, to: f32| Shape::Rect {
        look,
        x: from,
        y,
        width: (to - from).max(3.0),
        height: BAR,
        radius: 3.0,
    };
    let from = scale.x(lane.began);
    let to = scale.x(lane.ended.unwrap_or(course.until)).max(from + 3.0);
    let last = scale.x(lane.last_ended.or(lane.ended).unwrap_or(course.until));
    if last > to + 1.0 {
        shapes.push(bar(look.faded(), from, last));
    }
    shapes.push(bar(look, from, to));
    if let Some(trouble) = lane.trouble {
        let x = scale.x(trouble);
        shapes.push(Shape::Line {
            look: Look::Trouble,
            from: (x, y - 2.0),
            to: (x, y + BAR + 2.0),
        });
    }
    let Some(node) = lane.node.as_ref().filter(|_| lane.first) else {
        return;
    };
    let inside = scale.fold().max(from) + 7.0;
    let until = lane.trouble.map_or(to, |trouble| scale.x(trouble).min(to));
    if inside + font::width(node, Look::Within) + 6.0 < until {
        shapes.push(text(Look::Within, inside, y + 12.0, Anchor::Start, node));
    } else if to + 7.0 + font::width(node, Look::Soft) < WIDTH - EDGE {
        shapes.push(text(Look::Soft, to + 7.0, y + 12.0, Anchor::Start, node));
    }
}

/// A slanted cut through the bars, where time is folded.
fn gap(scale: &Scale, bottom: f32) -> Shape {
    let (x, top) = (scale.fold() - 14.0, TOP - 5.0);
    Shape::Outline {
        look: Look::Gap,
        corners: [
            (x, top),
            (x + 5.0, top),
            (x - 1.0, bottom),
            (x - 6.0, bottom),
        ],
    }
}

fn legend(shapes: &mut Vec<Shape>, course: &Course, y: f32) {
    let mut x = EDGE;
    let mut entry = |look: Look, words: &str| {
        shapes.push(Shape::Rect {
            look,
            x: if look == Look::Trouble { x + 4.0 } else { x },
            y,
            width: if look == Look::Trouble { 2.0 } else { 10.0 },
            height: 10.0,
            radius: 2.0,
        });
        shapes.push(text(Look::Soft, x + 15.0, y + 9.0, Anchor::Start, words));
        x += 15.0 + font::width(words, Look::Soft) + 13.0;
    };
    let others = |end: LaneEnd| {
        course
            .lanes
            .iter()
            .any(|lane| !lane.first && lane.end == end)
    };
    entry(Look::First, "first to fail");
    if course.lanes.iter().any(|lane| lane.trouble.is_some()) {
        entry(Look::Trouble, "first error line");
    }
    for (end, look, words) in [
        (LaneEnd::Failed, Look::Failed, "failed too"),
        (LaneEnd::Stopped, Look::Stopped, "stopped after it"),
        (LaneEnd::Completed, Look::Completed, "completed"),
        (LaneEnd::Runs, Look::Runs, "still runs"),
    ] {
        if others(end) {
            entry(look, words);
        }
    }
}

/// `rank 7 · worker-1`, or how many pods a band stands for.
fn label(lane: &Lane, look: Look, stem: usize) -> String {
    if lane.pods > 1 {
        return format!("{} pods", lane.pods);
    }
    let name = lane.pod.get(stem..).unwrap_or(&lane.pod);
    match lane.rank.filter(|_| lane.first) {
        Some(rank) => {
            let rank = format!("rank {rank} · ");
            let room = LABELS - 6.0 - font::width(&rank, look);
            format!("{rank}{}", fitted(name, look, room))
        }
        None => fitted(name, look, LABELS - 6.0),
    }
}

/// The end of a name tells pods apart: what is too long loses its beginning.
fn fitted(name: &str, look: Look, room: f32) -> String {
    if font::width(name, look) <= room {
        return name.to_owned();
    }
    let mut rest = name.chars();
    while rest.next().is_some() {
        let cut = format!("…{}", rest.as_str());
        if font::width(&cut, look) <= room {
            return cut;
        }
    }
    String::new()
}

/// Bytes that all names begin with, up to a hyphen: they tell nothing.
fn common_stem(lanes: &[Lane]) -> usize {
    let mut names = lanes
        .iter()
        .filter(|lane| lane.pods == 1)
        .map(|lane| lane.pod.as_str());
    let Some(head) = names.next() else { return 0 };
    let mut alone = true;
    let shared = names.fold(head.len(), |shared, name| {
        alone = false;
        let pairs = head.bytes().zip(name.bytes());
        shared.min(pairs.take_while(|(a, b)| a == b).count())
    });
    if alone {
        return 0;
    }
    let hyphen = |before: usize| {
        head.as_bytes()[..before]
            .iter()
            .rposition(|byte| *byte == b'-')
    };
    let Some(last) = hyphen(shared) else { return 0 };
    // `llm-7b-0` would be left as `0`: a word stays before a bare number.
    if head[last + 1..].bytes().all(|byte| byte.is_ascii_digit()) {
        hyphen(last).map_or(0, |before| before + 1)
    } else {
        last + 1
    }
}
