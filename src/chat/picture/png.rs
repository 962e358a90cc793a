//! Shapes → PNG. Dark, because it is looked at in the night, and legible on either of Slack's backgrounds.

use tiny_skia::{
    Color, FillRule, LineCap, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, Transform,
};

use super::draw::drawing;
use super::font;
use super::shape::{Anchor, Look, Shape};
use crate::diagnose::course::Course;

/// Pixels per unit: sharp on a phone, and some tens of kilobytes.
const ZOOM: f32 = 2.5;

/// Why there is no picture. Either would be a mistake of ours: a picture is never worth more than a line in the log.
#[derive(Debug, thiserror::Error)]
pub enum PngError {
    #[error("the picture has no size")]
    Empty,
    #[error("the picture cannot be encoded: {0}")]
    Encode(String),
}

/// The picture of a course as PNG. Takes some ten milliseconds of CPU.
///
/// # Errors
/// Never, as far as tests tell.
pub fn png(course: &Course) -> Result<Vec<u8>, PngError> {
    let drawing = drawing(course);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a picture is some thousand pixels wide and high at most"
    )]
    let pixels = |units: f32| (units * ZOOM).ceil() as u32;
    let mut canvas =
        Pixmap::new(pixels(drawing.width), pixels(drawing.height)).ok_or(PngError::Empty)?;
    for shape in &drawing.shapes {
        draw(shape, &mut canvas);
    }
    canvas
        .encode_png()
        .map_err(|error| PngError::Encode(error.to_string()))
}

fn draw(shape: &Shape, canvas: &mut Pixmap) {
    let zoom = Transform::from_scale(ZOOM, ZOOM);
    let fill = |canvas: &mut Pixmap, path: Option<Path>, look: Look| {
        if let Some(path) = path {
            canvas.fill_path(&path, &paint(look), FillRule::Winding, zoom, None);
        }
    };
    match shape {
        Shape::Rect {
            look,
            x,
            y,
            width,
            height,
            radius,
        } => fill(canvas, rounded(*x, *y, *width, *height, *radius), *look),
        Shape::Line { look, from, to } => {
            let mut path = PathBuilder::new();
            path.move_to(from.0, from.1);
            path.line_to(to.0, to.1);
            if let Some(path) = path.finish() {
                let stroke = Stroke {
                    width: match look {
                        Look::Trouble | Look::Curve => 2.0,
                        Look::Limit => 1.5,
                        _ => 1.0,
                    },
                    line_cap: LineCap::Round,
                    ..Stroke::default()
                };
                canvas.stroke_path(&path, &paint(*look), &stroke, zoom, None);
            }
        }
        Shape::Outline { look, corners } => {
            let mut path = PathBuilder::new();
            path.move_to(corners[0].0, corners[0].1);
            for corner in &corners[1..] {
                path.line_to(corner.0, corner.1);
            }
            path.close();
            fill(canvas, path.finish(), *look);
        }
        Shape::Text {
            look,
            x,
            y,
            anchor,
            words,
        } => {
            let wide = font::width(words, *look);
            let x = match anchor {
                Anchor::Start => *x,
                Anchor::Middle => x - wide / 2.0,
                Anchor::End => x - wide,
            };
            fill(canvas, font::outline(words, *look, x, *y), *look);
        }
    }
}

/// A rectangle whose corners are cut round.
fn rounded(x: f32, y: f32, width: f32, height: f32, radius: f32) -> Option<Path> {
    /// How far the handles of a curve that looks like a quarter of a circle stand from its corner.
    const HANDLE: f32 = 0.447_7;
    let r = radius.min(width / 2.0).min(height / 2.0);
    if r <= 0.0 {
        return Some(PathBuilder::from_rect(Rect::from_xywh(
            x, y, width, height,
        )?));
    }
    let (right, bottom, h) = (x + width, y + height, r * HANDLE);
    let mut path = PathBuilder::new();
    path.move_to(x + r, y);
    path.line_to(right - r, y);
    path.cubic_to(right - h, y, right, y + h, right, y + r);
    path.line_to(right, bottom - r);
    path.cubic_to(right, bottom - h, right - h, bottom, right - r, bottom);
    path.line_to(x + r, bottom);
    path.cubic_to(x + h, bottom, x, bottom - h, x, bottom - r);
    path.line_to(x, y + r);
    path.cubic_to(x, y + h, x + h, y, x + r, y);
    path.close();
    path.finish()
}

fn paint(look: Look) -> Paint<'static> {
    let (rgb, alpha) = match look {
        Look::Plane | Look::Gap => (0x1d_21_26, 255),
        Look::Grid => (0x34_3a_42, 255),
        Look::First => (0xd3_45_3a, 255),
        Look::Failed => (0xb9_71_3c, 255),
        Look::Stopped => (0x65_71_7f, 255),
        Look::Completed => (0x3f_8f_68, 255),
        Look::Runs => (0x3f_6f_b0, 255),
        Look::FailedFade => (0xb9_71_3c, 100),
        Look::StoppedFade => (0x65_71_7f, 100),
        Look::CompletedFade => (0x3f_8f_68, 100),
        Look::RunsFade => (0x3f_6f_b0, 100),
        Look::Trouble => (0xff_d1_66, 255),
        Look::Limit => (0xff_7a_6e, 255),
        Look::Curve => (0x6f_b1_ff, 255),
        Look::Title | Look::Name => (0xe7_e9_ec, 255),
        Look::Strong => (0xff_9d_94, 255),
        Look::Soft => (0xa2_ab_b6, 255),
        Look::Within => (0xff_ff_ff, 255),
    };
    let [_, r, g, b] = u32::to_be_bytes(rgb);
    let mut paint = Paint::default();
    paint.set_color(Color::from_rgba8(r, g, b, alpha));
    paint.anti_alias = true;
    paint
}
