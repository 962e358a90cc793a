//! The font of the pictures: containers have none of their own. Inter, SIL Open Font License 1.1 (`inter-LICENSE.txt`),
//! reduced to Latin letters; what it does not have is shown as a question mark.

use std::sync::LazyLock;

use tiny_skia::{Path, PathBuilder, Transform};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

use super::shape::Look;

static REGULAR: LazyLock<Face<'static>> =
    LazyLock::new(|| face(include_bytes!("inter-regular.ttf")));
static SEMIBOLD: LazyLock<Face<'static>> =
    LazyLock::new(|| face(include_bytes!("inter-semibold.ttf")));

fn face(bytes: &'static [u8]) -> Face<'static> {
    Face::parse(bytes, 0).expect("tests draw with the embedded fonts")
}

/// The font for a look, and the factor from its units to those of the picture.
fn sized(look: Look) -> (&'static Face<'static>, f32) {
    let (height, bold) = look.letters();
    let face: &Face<'static> = if bold { &SEMIBOLD } else { &REGULAR };
    (face, height / f32::from(face.units_per_em()))
}

fn glyph(face: &Face<'_>, letter: char) -> Option<GlyphId> {
    face.glyph_index(letter).or_else(|| face.glyph_index('?'))
}

/// How wide words are in this look.
pub(super) fn width(words: &str, look: Look) -> f32 {
    let (face, scale) = sized(look);
    words
        .chars()
        .filter_map(|letter| face.glyph_hor_advance(glyph(face, letter)?))
        .map(|advance| f32::from(advance) * scale)
        .sum()
}

/// The outline of words that begin at `x` and stand on `y`; `None` if there is nothing to draw.
pub(super) fn outline(words: &str, look: Look, x: f32, y: f32) -> Option<Path> {
    let (face, scale) = sized(look);
    let mut pen = Pen {
        path: PathBuilder::new(),
        x: 0.0,
    };
    for letter in words.chars() {
        let Some(glyph) = glyph(face, letter) else {
            continue;
        };
        face.outline_glyph(glyph, &mut pen);
        pen.x += face.glyph_hor_advance(glyph).map_or(0.0, f32::from);
    }
    // Fonts count upwards, pictures downwards.
    pen.path
        .finish()?
        .transform(Transform::from_row(scale, 0.0, 0.0, -scale, x, y))
}

/// Draws one letter after the other.
struct Pen {
    path: PathBuilder,
    x: f32,
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        self.path.move_to(self.x + x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.path.line_to(self.x + x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.path.quad_to(self.x + x1, y1, self.x + x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.path
            .cubic_to(self.x + x1, y1, self.x + x2, y2, self.x + x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}
