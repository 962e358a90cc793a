//! What a picture is made of, before it is SVG or PNG. Shapes say what they are; colours are the surface's.

/// A picture in the making. Units are those of the SVG: about a pixel of a screen.
#[derive(Clone, Debug)]
pub(super) struct Drawing {
    pub(super) width: f32,
    pub(super) height: f32,
    pub(super) shapes: Vec<Shape>,
}

#[derive(Clone, Debug)]
pub(super) enum Shape {
    Rect {
        look: Look,
        x: f32,
        y: f32,
        width: f32,
        height: f32,
        radius: f32,
    },
    Line {
        look: Look,
        from: (f32, f32),
        to: (f32, f32),
    },
    /// A closed outline.
    Outline {
        look: Look,
        corners: [(f32, f32); 4],
    },
    Text {
        look: Look,
        x: f32,
        /// Of the line on which the letters stand.
        y: f32,
        anchor: Anchor,
        words: String,
    },
}

/// What a shape shows; its class in SVG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The picture's background.
    Plane,
    Grid,
    /// Where time is folded.
    Gap,
    First,
    Failed,
    Stopped,
    Completed,
    Runs,
    /// As [`Look::Stopped`] and its like, for the part of a band in which pods end one after the other.
    FailedFade,
    StoppedFade,
    CompletedFade,
    RunsFade,
    Trouble,
    /// A line that must not be crossed.
    Limit,
    /// What was used over time.
    Curve,
    Title,
    Name,
    /// The name of the first to fail.
    Strong,
    Soft,
    /// Letters on a bar.
    Within,
}

impl Look {
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Plane => "plane",
            Self::Grid => "grid",
            Self::Gap => "gap",
            Self::First => "first",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Completed => "completed",
            Self::Runs => "runs",
            Self::FailedFade => "failed fade",
            Self::StoppedFade => "stopped fade",
            Self::CompletedFade => "completed fade",
            Self::RunsFade => "runs fade",
            Self::Trouble => "trouble",
            Self::Limit => "limit",
            Self::Curve => "curve",
            Self::Title => "title",
            Self::Name => "name",
            Self::Strong => "strong",
            Self::Soft => "soft",
            Self::Within => "within",
        }
    }

    pub(super) fn faded(self) -> Self {
        match self {
            Self::Failed => Self::FailedFade,
            Self::Stopped => Self::StoppedFade,
            Self::Completed => Self::CompletedFade,
            Self::Runs => Self::RunsFade,
            other => other,
        }
    }

    /// Height of its letters, and whether they are semi-bold.
    pub(super) fn letters(self) -> (f32, bool) {
        match self {
            Self::Title => (13.0, true),
            Self::Strong => (12.0, true),
            Self::Name => (12.0, false),
            _ => (11.0, false),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}
