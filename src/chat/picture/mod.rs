//! The picture of a failure: a bar for each rank, from its start to its end, the first to fail in red. Composed as SVG
//! for the page, drawn as PNG for Slack, and said in a sentence for whoever cannot see it.

mod draw;
mod font;
mod png;
mod scale;
mod shape;
mod svg;
mod usage;

pub use png::{PngError, png};
pub use svg::svg;

use std::fmt::Write as _;

use super::card::Block;
use crate::diagnose::course::{Course, LaneEnd};

/// Whether looking at it tells more than reading: several pods, one of which failed first, or what it used until then.
#[must_use]
pub fn worth_seeing(course: &Course) -> bool {
    course.lanes.iter().any(|lane| lane.first) && (course.lanes.len() > 1 || course.usage.is_some())
}

/// The picture as a part of a card, if it is worth seeing.
#[must_use]
pub fn block(course: &Course) -> Option<Block> {
    worth_seeing(course).then(|| Block::Picture {
        svg: svg(course),
        alt: alt(course),
    })
}

/// What the picture shows, in words.
#[must_use]
pub fn alt(course: &Course) -> String {
    let Some(first) = course.lanes.iter().find(|lane| lane.first) else {
        return format!("Timeline of {} pods.", course.pods);
    };
    let rank = first
        .rank
        .map_or_else(String::new, |rank| format!(" (rank {rank})"));
    let node = first
        .node
        .as_ref()
        .map_or_else(String::new, |node| format!(" on {node}"));
    let at = first.ended.map_or_else(String::new, |at| {
        format!(" at {} UTC", at.strftime("%H:%M:%S"))
    });
    let mut told = format!(
        "Timeline of {} pods: {}{rank}{node} was the first to fail{at}",
        course.pods, first.pod
    );
    for (end, word) in [
        (LaneEnd::Failed, "failed too"),
        (LaneEnd::Stopped, "were stopped after it"),
        (LaneEnd::Completed, "completed"),
        (LaneEnd::Runs, "still run"),
    ] {
        let others = course
            .lanes
            .iter()
            .filter(|lane| !lane.first && lane.end == end);
        let pods: usize = others.map(|lane| lane.pods).sum();
        if pods > 0 {
            write!(told, "; {pods} {word}").expect("a text takes all that is written to it");
        }
    }
    told.push('.');
    if let Some(used) = course.usage.as_ref().and_then(usage::alt) {
        told.push(' ');
        told.push_str(&used);
    }
    told
}

#[cfg(test)]
mod tests;
