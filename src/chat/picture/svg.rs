//! Shapes → SVG with classes and no colours: the page gives it those of its theme.

use std::fmt::Write as _;

use super::draw::drawing;
use super::shape::{Anchor, Shape};
use crate::diagnose::course::Course;

/// The picture of a course.
#[must_use]
pub fn svg(course: &Course) -> String {
    let drawing = drawing(course);
    let (width, height) = (drawing.width, drawing.height);
    let alt = escape(&super::alt(course));
    let mut out = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{alt}">"#
    );
    for shape in &drawing.shapes {
        // Writing to a string cannot fail.
        let _ = match shape {
            Shape::Rect {
                look,
                x,
                y,
                width,
                height,
                radius,
            } => write!(
                out,
                r#"<rect class="{}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="{radius}"/>"#,
                look.class()
            ),
            Shape::Line { look, from, to } => write!(
                out,
                r#"<line class="{}" x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}"/>"#,
                look.class(),
                from.0,
                from.1,
                to.0,
                to.1
            ),
            Shape::Outline { look, corners } => {
                let points: Vec<String> = corners
                    .iter()
                    .map(|(x, y)| format!("{x:.1} {y:.1}"))
                    .collect();
                write!(
                    out,
                    r#"<path class="{}" d="M{}Z"/>"#,
                    look.class(),
                    points.join("L")
                )
            }
            Shape::Text {
                look,
                x,
                y,
                anchor,
                words,
            } => {
                let anchor = match anchor {
                    Anchor::Start => "start",
                    Anchor::Middle => "middle",
                    Anchor::End => "end",
                };
                let words = escape(words);
                write!(
                    out,
                    r#"<text class="{}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{words}</text>"#,
                    look.class()
                )
            }
        };
    }
    out.push_str("</svg>");
    out
}

/// Text as it may stand in SVG: characters that XML does not take are dropped.
fn escape(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    for letter in words.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}
