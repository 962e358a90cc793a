//! A card as terminal text: for the command line, `nightbell chat`, and plain-text replies.

use super::card::{Block, Button, Card, Span, Tone};
use crate::redact;

/// How to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns. Preformatted text is never wrapped.
    pub width: usize,
    pub colour: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            width: 100,
            colour: false,
        }
    }
}

const RESET: &str = "\x1b[0m";
const BOLD: &str = "\x1b[1m";
const FAINT: &str = "\x1b[2m";
const CYAN: &str = "\x1b[36m";
/// Narrower than this, wrapping and tables help nobody.
const NARROWEST: usize = 30;
/// Wider cells are cut; the full text is in `--json`.
const CELL: usize = 60;

/// The card without colour, unwrapped lines and buttons: for `reply` in JSON and for logs.
#[must_use]
pub fn text(card: &Card) -> String {
    let style = Style {
        width: usize::MAX,
        colour: false,
    };
    card.blocks
        .iter()
        .filter(|block| !matches!(block, Block::Buttons { .. } | Block::Divider))
        .flat_map(|block| draw(block, card.tone, style))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The card as text with a trailing newline.
#[must_use]
pub fn render(card: &Card, style: Style) -> String {
    let style = Style {
        width: style.width.max(NARROWEST),
        ..style
    };
    let mut lines = Vec::new();
    for block in &card.blocks {
        lines.extend(draw(block, card.tone, style));
    }
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

fn draw(block: &Block, tone: Tone, style: Style) -> Vec<String> {
    match block {
        Block::Header { text } => {
            let colour = match tone {
                Tone::Info => "\x1b[1;36m",
                Tone::Good => "\x1b[1;32m",
                Tone::Warning => "\x1b[1;33m",
                Tone::Bad => "\x1b[1;31m",
            };
            let marked = format!("{} {}", mark(tone), one_line(text));
            wrap(&marked, style.width, "  ")
                .into_iter()
                .map(|line| paint(&line, colour, style))
                .collect()
        }
        Block::Text { spans } => wrap_spans(spans, "", style),
        Block::Context { spans } => {
            let text = plain(spans);
            text.lines()
                .flat_map(|line| wrap(line, style.width, ""))
                .map(|line| paint(&line, FAINT, style))
                .collect()
        }
        Block::Fields { fields } => {
            let widest = fields
                .iter()
                .map(|(label, _)| columns(label))
                .max()
                .unwrap_or(0);
            fields
                .iter()
                .flat_map(|(label, value)| {
                    let label = one_line(label);
                    let lead = format!(
                        "  {label}{}  ",
                        " ".repeat(widest.saturating_sub(columns(&label)))
                    );
                    let indent = " ".repeat(columns(&lead));
                    let value = plain(value);
                    let mut lines = wrap(
                        &value.replace('\n', " "),
                        style.width.saturating_sub(columns(&lead)).max(10),
                        "",
                    );
                    if lines.is_empty() {
                        lines.push(String::new());
                    }
                    lines
                        .into_iter()
                        .enumerate()
                        .map(|(at, line)| {
                            if at == 0 {
                                format!("{}{line}", paint(&lead, FAINT, style))
                            } else {
                                format!("{indent}{line}")
                            }
                        })
                        .map(|line| line.trim_end().to_owned())
                        .collect::<Vec<_>>()
                })
                .collect()
        }
        Block::Code { text } => redact::clean(text)
            .lines()
            .map(|line| format!("  │ {}", line.replace('\t', "    ")))
            .collect(),
        Block::Picture { alt, .. } => wrap(&one_line(alt), style.width, "")
            .into_iter()
            .map(|line| paint(&line, FAINT, style))
            .collect(),
        Block::Table { header, rows } => table(header, rows, style),
        Block::Buttons { buttons } => vec![
            buttons
                .iter()
                .map(|button| draw_button(button, style))
                .collect::<Vec<_>>()
                .join(" "),
        ],
        Block::Divider => vec!["─".repeat(style.width.min(60))],
    }
}

fn mark(tone: Tone) -> &'static str {
    match tone {
        Tone::Info => "●",
        Tone::Good => "✓",
        Tone::Warning => "▲",
        Tone::Bad => "✗",
    }
}

fn draw_button(button: &Button, style: Style) -> String {
    paint(&format!("[{}]", one_line(&button.label)), BOLD, style)
}

fn paint(text: &str, colour: &str, style: Style) -> String {
    if style.colour && !text.is_empty() {
        format!("{colour}{text}{RESET}")
    } else {
        text.to_owned()
    }
}

/// Spans as text without markup; what came from outside can neither move the cursor nor change colours.
fn plain(spans: &[Span]) -> String {
    let joined: String = spans
        .iter()
        .map(|span| match span {
            Span::Plain(text) | Span::Bold(text) | Span::Italic(text) | Span::Code(text) => {
                text.clone()
            }
            Span::User(user) => format!("@{user}"),
            Span::Link { label, url } if label.is_empty() || label == url => url.clone(),
            Span::Link { label, url } => format!("{label} ({url})"),
        })
        .collect();
    redact::clean(&joined).into_owned()
}

/// As [`plain`], with emphasis, wrapped. Wrapping counts what is seen, so it happens before painting.
fn wrap_spans(spans: &[Span], indent: &str, style: Style) -> Vec<String> {
    if !style.colour {
        return plain(spans)
            .lines()
            .flat_map(|line| wrap(line, style.width, indent))
            .collect();
    }
    // Words carry their colour, so that a line break never splits an escape sequence.
    let mut words: Vec<(String, Option<&str>)> = Vec::new();
    for span in spans {
        let (text, colour) = match span {
            Span::Plain(_) | Span::Link { .. } => (plain(std::slice::from_ref(span)), None),
            Span::Bold(_) | Span::User(_) => (plain(std::slice::from_ref(span)), Some(BOLD)),
            Span::Italic(_) => (plain(std::slice::from_ref(span)), Some(FAINT)),
            Span::Code(_) => (plain(std::slice::from_ref(span)), Some(CYAN)),
        };
        words.extend(
            text.split_inclusive([' ', '\n'])
                .map(|word| (word.to_owned(), colour)),
        );
    }
    let mut lines = vec![(String::new(), 0_usize)];
    for (word, colour) in words {
        let seen = word.trim_end_matches(['\n', ' ']);
        let wide = columns(seen);
        let (line, used) = lines.last_mut().expect("begins with one line");
        if *used > 0 && *used + wide > style.width {
            line.truncate(line.trim_end().len());
            lines.push((indent.to_owned(), columns(indent)));
        }
        let (line, used) = lines.last_mut().expect("begins with one line");
        line.push_str(&colour.map_or_else(|| seen.to_owned(), |colour| paint(seen, colour, style)));
        *used += wide;
        if word.ends_with('\n') {
            lines.push((indent.to_owned(), columns(indent)));
        } else if word.ends_with(' ') {
            line.push(' ');
            *used += 1;
        }
    }
    lines
        .into_iter()
        .map(|(line, _)| line.trim_end().to_owned())
        .collect()
}

fn one_line(text: &str) -> String {
    redact::clean(text).replace(['\n', '\t'], " ")
}

/// Breaks a line at blanks; a word longer than the line is left whole, so that names can be copied.
fn wrap(line: &str, width: usize, indent: &str) -> Vec<String> {
    if columns(line) <= width {
        return vec![line.trim_end().to_owned()];
    }
    let mut lines = Vec::new();
    let mut current = String::new();
    for word in line.split(' ') {
        if !current.trim().is_empty() && columns(&current) + 1 + columns(word) > width {
            lines.push(std::mem::replace(&mut current, indent.to_owned()));
            current.push_str(word);
        } else {
            if !current.is_empty() && current != indent {
                current.push(' ');
            }
            current.push_str(word);
        }
    }
    lines.push(current);
    lines
}

fn table(header: &[String], rows: &[Vec<String>], style: Style) -> Vec<String> {
    let cut = |text: &String| {
        let line = one_line(text);
        if columns(&line) > CELL {
            line.chars().take(CELL - 1).chain(['…']).collect()
        } else {
            line
        }
    };
    let head: Vec<String> = header.iter().map(cut).collect();
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(cut).collect())
        .collect();
    let widths: Vec<usize> = (0..head.len())
        .map(|at| {
            let cells = rows
                .iter()
                .filter_map(|row| row.get(at))
                .map(|cell| columns(cell));
            cells.chain([columns(&head[at])]).max().unwrap_or(0)
        })
        .collect();
    let numeric: Vec<bool> = (0..head.len())
        .map(|at| {
            !rows.is_empty()
                && rows
                    .iter()
                    .filter_map(|row| row.get(at))
                    .all(|cell| cell.parse::<f64>().is_ok())
        })
        .collect();
    let draw_row = |row: &[String]| {
        let mut line = String::from("  ");
        for (at, cell) in row.iter().enumerate().take(head.len()) {
            let gap = " ".repeat(widths[at].saturating_sub(columns(cell)));
            if numeric[at] {
                line.push_str(&gap);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&gap);
            }
            line.push_str("  ");
        }
        line.trim_end().to_owned()
    };
    let mut lines = vec![paint(&draw_row(&head), FAINT, style)];
    lines.extend(rows.iter().map(|row| draw_row(row)));
    lines
}

/// Columns a text takes: East Asian wide characters and emoji take two.
fn columns(text: &str) -> usize {
    text.chars()
        .map(|c| match u32::from(c) {
            0x0300..=0x036f | 0x200d | 0xfe00..=0xfe0f => 0,
            0x1100..=0x115f
            | 0x2e80..=0xa4cf
            | 0xac00..=0xd7a3
            | 0xf900..=0xfaff
            | 0xfe30..=0xfe6f
            | 0xff00..=0xff60
            | 0xffe0..=0xffe6
            | 0x1f300..=0x1faff => 2,
            _ => 1,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::super::card::{ButtonStyle, Press, Verb};
    use super::*;

    fn sample() -> Card {
        Card {
            fallback: "train-7 failed".into(),
            tone: Tone::Bad,
            blocks: vec![
                Block::Header {
                    text: "train-7: OOMKilled".into(),
                },
                Block::Text {
                    spans: vec![
                        Span::Plain("The container ".into()),
                        Span::Code("main".into()),
                        Span::Plain(
                            " used more memory than its limit allows and the kernel ended it."
                                .into(),
                        ),
                    ],
                },
                Block::Fields {
                    fields: vec![
                        ("Project".into(), vec![Span::Plain("nlp".into())]),
                        ("GPUs".into(), vec![Span::Plain("8".into())]),
                    ],
                },
                Block::Table {
                    header: vec!["Job".into(), "GPUs".into()],
                    rows: vec![
                        vec!["a".into(), "8".into()],
                        vec!["llama-70b".into(), "64".into()],
                    ],
                },
                Block::Code {
                    text: "step 1\nKilled".into(),
                },
                Block::Buttons {
                    buttons: vec![Button {
                        press: Press {
                            verb: Verb::Approve,
                            id: "x".into(),
                        },
                        label: "Approve restart".into(),
                        style: ButtonStyle::Primary,
                        confirm: None,
                    }],
                },
                Block::Context {
                    spans: vec![Span::Link {
                        label: "Run:AI".into(),
                        url: "https://run.ai/w/1".into(),
                    }],
                },
            ],
        }
    }

    #[test]
    fn a_card_is_readable_without_colour() {
        insta::assert_snapshot!(render(&sample(), Style { width: 60, colour: false }), @r"
        ✗ train-7: OOMKilled
        The container main used more memory than its limit allows
        and the kernel ended it.
          Project  nlp
          GPUs     8
          Job        GPUs
          a             8
          llama-70b    64
          │ step 1
          │ Killed
        [Approve restart]
        Run:AI (https://run.ai/w/1)
        ");
    }

    #[test]
    fn text_from_outside_cannot_command_the_terminal() {
        let hostile = "\x1b[2J\x1b]0;owned\x07red\u{202e}\r\n\u{9b}31m";
        let card = Card {
            fallback: String::new(),
            tone: Tone::Info,
            blocks: vec![
                Block::Header {
                    text: hostile.into(),
                },
                Block::Text {
                    spans: vec![Span::Plain(hostile.into()), Span::Code(hostile.into())],
                },
                Block::Code {
                    text: hostile.into(),
                },
                Block::Table {
                    header: vec![hostile.into()],
                    rows: vec![vec![hostile.into()]],
                },
                Block::Fields {
                    fields: vec![(hostile.into(), vec![Span::Plain(hostile.into())])],
                },
                Block::Context {
                    spans: vec![Span::Link {
                        label: hostile.into(),
                        url: hostile.into(),
                    }],
                },
            ],
        };
        let drawn = render(&card, Style::default());
        assert!(
            !drawn.chars().any(|c| c.is_control() && c != '\n'),
            "{drawn:?}"
        );
        let coloured = render(
            &card,
            Style {
                width: 40,
                colour: true,
            },
        );
        assert!(
            !coloured.contains("\x1b[2J") && !coloured.contains("\x1b]"),
            "{coloured:?}"
        );
    }

    #[test]
    fn any_width_is_drawn() {
        for width in [0, 1, 30, 31, 80, usize::MAX] {
            for colour in [false, true] {
                assert!(render(&sample(), Style { width, colour }).contains("train-7"));
            }
        }
        assert!(text(&sample()).starts_with("✗ train-7: OOMKilled"));
    }
}
