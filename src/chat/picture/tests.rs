use jiff::Timestamp;

use super::*;
use crate::diagnose::course::{Lane, Usage, UsageKind};
use crate::diagnose::measured::Reading;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).expect("a time in range")
}

fn lane(n: usize, ended: i64, end: LaneEnd) -> Lane {
    Lane {
        pod: format!("llm-7b-worker-{n}"),
        pods: 1,
        rank: u32::try_from(n).ok(),
        node: Some(format!("gpu-{n:02}")),
        began: at(0),
        trouble: None,
        ended: Some(at(ended)),
        last_ended: Some(at(ended)),
        end,
        first: false,
    }
}

fn gang(run: i64) -> Course {
    let mut lanes: Vec<Lane> = (0..8)
        .map(|n| {
            lane(
                n,
                run + 9 + i64::try_from(n).expect("small") * 3 % 14,
                LaneEnd::Stopped,
            )
        })
        .collect();
    lanes[5] = Lane {
        trouble: Some(at(run - 4)),
        first: true,
        end: LaneEnd::Failed,
        ..lane(5, run, LaneEnd::Failed)
    };
    Course {
        began: at(0),
        until: at(run + 23),
        pods: 8,
        lanes,
        changes: Vec::new(),
        usage: None,
    }
}

/// A gang of 512 in bands.
fn large() -> Course {
    let mut lanes = vec![Lane {
        trouble: Some(at(86_396)),
        first: true,
        ..lane(317, 86_400, LaneEnd::Failed)
    }];
    lanes.extend((0..12).map(|n| Lane {
        pods: if n == 11 { 38 } else { 43 },
        node: None,
        ended: Some(at(86_405 + n * 6)),
        last_ended: Some(at(86_412 + n * 7)),
        ..lane(
            0,
            0,
            if n == 11 {
                LaneEnd::Runs
            } else {
                LaneEnd::Stopped
            },
        )
    }));
    Course {
        began: at(0),
        until: at(86_500),
        pods: 512,
        lanes,
        changes: Vec::new(),
        usage: None,
    }
}

#[test]
fn what_a_picture_shows_is_said_in_words() {
    assert_eq!(
        alt(&gang(3_600)),
        "Timeline of 8 pods: llm-7b-worker-5 (rank 5) on gpu-05 was the first to fail at 15:13:20 UTC; \
         7 were stopped after it."
    );
}

#[test]
fn text_from_outside_is_text_in_a_picture() {
    let mut course = gang(60);
    course.lanes[5].node = Some("<script>alert(1)</script>\u{1}\"'&".to_owned());
    course.lanes[2].pod = "llm-<b>-2".to_owned();
    let svg = svg(&course);
    assert!(!svg.contains("<script") && !svg.contains("<b>"), "{svg}");
    assert!(svg.contains("&lt;script&gt;"), "{svg}");
    assert!(!svg.contains('\u{1}'));
}

#[test]
fn every_shape_lies_within_the_picture() {
    for course in [gang(30), gang(3_600), gang(900_000), large()] {
        let drawing = draw::drawing(&course);
        for shape in &drawing.shapes {
            let (left, right) = match shape {
                shape::Shape::Rect { x, width, .. } => (*x, x + width),
                shape::Shape::Line { from, to, .. } => (from.0.min(to.0), from.0.max(to.0)),
                shape::Shape::Outline { corners, .. } => (
                    corners.iter().map(|c| c.0).fold(f32::MAX, f32::min),
                    corners.iter().map(|c| c.0).fold(0.0, f32::max),
                ),
                shape::Shape::Text {
                    look,
                    x,
                    anchor,
                    words,
                    ..
                } => {
                    let wide = font::width(words, *look);
                    match anchor {
                        shape::Anchor::Start => (*x, x + wide),
                        shape::Anchor::Middle => (x - wide / 2.0, x + wide / 2.0),
                        shape::Anchor::End => (x - wide, *x),
                    }
                }
            };
            assert!(left >= 0.0 && right <= drawing.width, "{shape:?}");
        }
    }
}

#[test]
fn a_picture_is_a_png_of_some_kilobytes() {
    for (name, course) in [
        ("gang", gang(3_600)),
        ("short", gang(40)),
        ("large", large()),
    ] {
        let picture = png(&course).expect("it can be drawn");
        assert!(picture.starts_with(b"\x89PNG\r\n\x1a\n"));
        assert!(
            (5_000..200_000).contains(&picture.len()),
            "{}",
            picture.len()
        );
        if let Some(folder) = std::env::var_os("NIGHTBELL_SCREENSHOTS") {
            let path = std::path::Path::new(&folder).join(format!("timeline-{name}.png"));
            std::fs::write(path, picture).expect("the folder exists");
        }
    }
}

#[test]
fn one_pod_is_not_worth_a_picture() {
    let mut course = gang(60);
    course.lanes.truncate(1);
    assert!(block(&course).is_none());
    assert!(block(&gang(60)).is_some());
}

/// A pod whose memory grew to its limit.
fn leak() -> Course {
    let mut course = gang(1_800);
    course.lanes.truncate(6);
    course.pods = 6;
    let gib = f64::from(1 << 30);
    course.usage = Some(Usage {
        kind: UsageKind::Memory,
        pod: "llm-7b-worker-5".to_owned(),
        readings: (0..60)
            .map(|n| Reading {
                at: at(n * 30),
                value: gib * (180.0 + 330.0 * (n as f64 / 59.0).powi(2)),
            })
            .collect(),
        limit: Some(512.0 * gib),
    });
    course
}

#[test]
fn memory_is_drawn_with_its_limit_and_said() {
    let course = leak();
    assert!(worth_seeing(&course));
    let drawn = svg(&course);
    for wanted in [
        "Memory of llm-7b-worker-5 until its end",
        "limit 512 GiB",
        "256 GiB",
        r#"class="limit""#,
        r#"class="curve""#,
    ] {
        assert!(drawn.contains(wanted), "{wanted}: {drawn}");
    }
    assert!(
        alt(&course).ends_with("Its memory reached 510 GiB of its limit of 512 GiB."),
        "{}",
        alt(&course)
    );
    let mut alone = course;
    alone.lanes.retain(|lane| lane.first);
    assert!(worth_seeing(&alone), "one pod, but a curve");
    alone.usage = None;
    assert!(!worth_seeing(&alone));
}

#[test]
fn a_curve_of_any_readings_is_drawn() {
    for readings in [vec![], vec![0.0], vec![0.0, 0.0], vec![f64::MAX, 1.0]] {
        let mut course = leak();
        let usage = course.usage.as_mut().expect("it has one");
        usage.kind = UsageKind::Gpu;
        usage.readings = (0..)
            .zip(readings)
            .map(|(n, value)| Reading { at: at(n), value })
            .collect();
        assert!(!png(&course).expect("drawn").is_empty());
    }
}

/// Writes the pictures where `PICTURES` names a folder, to be looked at.
#[test]
fn pictures_to_look_at() {
    let Some(folder) = std::env::var_os("PICTURES") else {
        return;
    };
    let folder = std::path::PathBuf::from(folder);
    let mut gpu = leak();
    let usage = gpu.usage.as_mut().expect("it has one");
    usage.kind = UsageKind::Gpu;
    usage.limit = None;
    for (n, reading) in usage.readings.iter_mut().enumerate() {
        reading.value = if n < 50 { 92.0 + (n % 7) as f64 } else { 0.0 };
    }
    for (name, course) in [("memory", leak()), ("gpu", gpu)] {
        std::fs::write(
            folder.join(format!("{name}.png")),
            png(&course).expect("drawn"),
        )
        .unwrap();
    }
}
