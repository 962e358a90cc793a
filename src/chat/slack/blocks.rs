//! Card → Slack message: `text` (notification and screen readers) and Block Kit `blocks` within Slack's limits.
//!
//! Sections, fields, context, header, divider and buttons only: what old clients show too. What does not fit is cut
//! and said; buttons always stay, because an approval must not be lost to a long log excerpt.

use serde_json::{Value, json};

use super::mrkdwn::{
    self, Look, append, clean, cut, escape, escape_code, piece, plain_line, units,
};
use crate::chat::card::{Block, Button, ButtonStyle, Card, Press, Span, Tone, Verb};

/// Blocks in one message.
const MAX_BLOCKS: usize = 50;
/// Block text of one message. Slack refuses somewhere above 11,000 visible characters and does not say where.
const TEXT_BUDGET: usize = 9_000;
/// Of the budget, what buttons with their dialogs may take.
const BUTTON_BUDGET: usize = 4_000;
const SECTION: usize = 3_000;
const FIELD: usize = 2_000;
const FIELDS: usize = 10;
const HEADER: usize = 150;
/// Elements of one actions block; Slack shows about five in a line.
const BUTTONS: usize = 25;
const BUTTON_LABEL: usize = 75;
const BUTTON_VALUE: usize = 2_000;
const CONFIRM_TEXT: usize = 300;
/// Top-level `text`: `chat.update` refuses more, though `chat.postMessage` takes it.
const TEXT: usize = 4_000;
/// A cell of a table, drawn in monospace.
const CELL: usize = 40;
/// A remainder shorter than this is not worth a block.
const WORTH_SHOWING: usize = 120;

/// Where more of it may follow, [`super::parts`] divides the card beforehand and nothing is cut.
const MORE: &str = "Shortened: Slack takes no more in one message.";

/// A card as Slack takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    pub text: String,
    pub blocks: Vec<Value>,
    /// Something did not fit and is missing from the blocks.
    pub cut: bool,
}

/// Renders a card within all of Slack's limits.
#[must_use]
pub fn render(card: &Card) -> Rendered {
    let mut canvas = Canvas::new(buttons(card));
    let mut tone = tone_mark(card.tone);
    for block in &card.blocks {
        canvas.add(block, &mut tone);
    }
    let (blocks, cut) = canvas.finish();
    Rendered {
        text: notification(card),
        blocks,
        cut,
    }
}

/// The card as plain text without any blocks, for when Slack refuses the blocks: an alert is never lost to its looks.
#[must_use]
pub fn short_form(card: &Card) -> String {
    let mut lines = vec![notification(card)];
    for block in &card.blocks {
        match block {
            Block::Header { text } | Block::Code { text } => lines.push(escape(&clean(text))),
            Block::Text { spans } | Block::Context { spans } => lines.push(flat(spans)),
            Block::Fields { fields } => {
                lines.extend(
                    fields.iter().map(|(label, spans)| {
                        format!("{}: {}", escape(&clean(label)), flat(spans))
                    }),
                );
            }
            Block::Table { header, rows } => {
                lines.extend(
                    std::iter::once(header)
                        .chain(rows)
                        .map(|row| escape(&clean(&row.join(" | ")))),
                );
            }
            Block::Picture { alt, .. } => lines.push(escape(&clean(alt))),
            Block::Buttons { .. } | Block::Divider => {}
        }
    }
    whole_entities(&cut(&lines.join("\n"), TEXT))
}

/// Drops an entity that a cut left without its end.
fn whole_entities(text: &str) -> String {
    match text.rfind('&') {
        Some(at) if text.ends_with('…') && !text[at..].contains(';') => {
            format!("{}…", &text[..at])
        }
        Some(_) | None => text.to_owned(),
    }
}

fn notification(card: &Card) -> String {
    let mark = tone_mark(card.tone);
    // Escaping makes a character at most five units long.
    let line = plain_line(&card.fallback, TEXT / 5 - 10);
    escape(&format!("{mark}{line}"))
}

/// The tone as a coloured dot: colours need attachments, which Slack folds away.
fn tone_mark(tone: Tone) -> &'static str {
    match tone {
        Tone::Info => "",
        Tone::Good => "🟢 ",
        Tone::Warning => "🟠 ",
        Tone::Bad => "🔴 ",
    }
}

/// A press as a button's `value`: it comes back from the client, so it names a thing and carries no parameters.
#[must_use]
pub fn press_value(press: &Press) -> String {
    format!("{}:{}", verb_name(press.verb), press.id)
}

/// Reads a button's `value` back; `None` if it is not one of ours.
#[must_use]
pub fn press_of(value: &str) -> Option<Press> {
    let (verb, id) = value.split_once(':')?;
    let verb = serde_json::from_value(Value::String(verb.to_owned())).ok()?;
    (!id.is_empty()).then(|| Press {
        verb,
        id: id.to_owned(),
    })
}

fn verb_name(verb: Verb) -> &'static str {
    match verb {
        Verb::Approve => "approve",
        Verb::Deny => "deny",
        Verb::Acknowledge => "acknowledge",
        Verb::Resolve => "resolve",
        Verb::Silence1h => "silence1h",
        Verb::Silence4h => "silence4h",
        Verb::Silence1d => "silence1d",
        Verb::Troubleshoot => "troubleshoot",
        Verb::ShowLogs => "show_logs",
        Verb::ThumbsUp => "thumbs_up",
        Verb::ThumbsDown => "thumbs_down",
        Verb::Confirm => "confirm",
        Verb::Cancel => "cancel",
    }
}

/// Blocks in the making, with what is left of the message's budget.
struct Canvas {
    blocks: Vec<Value>,
    /// The buttons of each `Block::Buttons`, rendered beforehand so that their room is kept.
    buttons: std::vec::IntoIter<Vec<Value>>,
    /// Blocks that may still be added beside the buttons and the closing note.
    room: usize,
    budget: usize,
    cut: bool,
}

impl Canvas {
    fn new(buttons: Buttons) -> Self {
        let reserved = buttons.blocks.iter().map(Vec::len).sum::<usize>() + 1;
        Self {
            blocks: Vec::new(),
            room: MAX_BLOCKS - reserved,
            budget: TEXT_BUDGET - buttons.cost - MORE.len(),
            cut: buttons.cut,
            buttons: buttons.blocks.into_iter(),
        }
    }

    fn add(&mut self, block: &Block, tone: &mut &'static str) {
        match block {
            Block::Header { text } => {
                let text = plain_line(&format!("{}{text}", std::mem::take(tone)), HEADER);
                let cost = units(&text);
                let header = json!({"type": "header", "text": {"type": "plain_text", "text": text, "emoji": false}});
                self.push(header, cost);
            }
            Block::Text { spans } => {
                for text in paragraphs(std::mem::take(tone), spans) {
                    self.push_section(&text);
                }
            }
            Block::Fields { fields } => {
                for row in fields.chunks(FIELDS) {
                    let fields: Vec<String> = row
                        .iter()
                        .map(|(label, spans)| field(label, spans))
                        .collect();
                    let cost = fields.iter().map(|field| units(field)).sum();
                    let fields: Vec<Value> =
                        fields.iter().map(|field| mrkdwn_object(field)).collect();
                    self.push(json!({"type": "section", "fields": fields}), cost);
                }
            }
            Block::Code { text } => self.push_code(&clean(text)),
            Block::Context { spans } => {
                if let Some(text) = paragraphs("", spans).into_iter().next() {
                    let cost = units(&text);
                    self.push(
                        json!({"type": "context", "elements": [mrkdwn_object(&text)]}),
                        cost,
                    );
                }
            }
            Block::Table { header, rows } => self.push_code(&table(header, rows)),
            Block::Buttons { .. } => self.blocks.extend(self.buttons.next().unwrap_or_default()),
            // It follows as a file in the thread, when it can be had there at all.
            Block::Picture { .. } => {}
            Block::Divider => self.push(json!({"type": "divider"}), 0),
        }
    }

    /// Adds a block that costs `cost` units, or notes that something is missing.
    fn push(&mut self, block: Value, cost: usize) {
        if self.room == 0 || cost > self.budget {
            self.cut = true;
            return;
        }
        self.room -= 1;
        self.budget -= cost;
        self.blocks.push(block);
    }

    fn push_section(&mut self, text: &str) {
        self.push(
            json!({"type": "section", "text": mrkdwn_object(text)}),
            units(text),
        );
    }

    /// Adds preformatted text, in as many sections as it needs, as much as there is room for.
    fn push_code(&mut self, clean: &str) {
        const FENCES: usize = "```\n\n```".len();
        let mut rest = clean.trim_matches('\n');
        while !rest.trim().is_empty() {
            let room = SECTION.min(self.budget).saturating_sub(FENCES);
            if self.room == 0 || room < WORTH_SHOWING.min(units(rest)) {
                self.cut = true;
                return;
            }
            let mut part = fit(rest, room, escape_code);
            // Between lines where that is possible, not in the middle of one.
            if part.len() < rest.len()
                && let Some(end) = part.rfind('\n').filter(|end| *end > part.len() / 2)
            {
                part = &part[..end];
            }
            if part.is_empty() {
                self.cut = true;
                return;
            }
            let code = escape_code(part.trim_end_matches('\n'));
            if !code.trim().is_empty() {
                self.push_section(&format!("```\n{code}\n```"));
            }
            rest = rest[part.len()..].trim_start_matches('\n');
        }
    }

    fn finish(mut self) -> (Vec<Value>, bool) {
        if self.cut {
            self.blocks
                .push(json!({"type": "context", "elements": [mrkdwn_object(MORE)]}));
        }
        (self.blocks, self.cut)
    }
}

fn mrkdwn_object(text: &str) -> Value {
    json!({"type": "mrkdwn", "text": text, "verbatim": true})
}

/// The longest beginning of cleaned text whose escaped form has at most `max` units.
fn fit(clean: &str, max: usize, escape: fn(&str) -> String) -> &str {
    let mut part = mrkdwn::take(clean, max);
    loop {
        let over = units(&escape(part)).saturating_sub(max);
        if over == 0 {
            return part;
        }
        // Escaping makes of one character at most six units, so at least this many fewer are needed.
        let fewer = units(part).saturating_sub(over.div_ceil(6));
        part = mrkdwn::take(part, fewer);
    }
}

/// Spans as mrkdwn texts of at most one section each. The first begins with `lead`.
fn paragraphs(lead: &str, spans: &[Span]) -> Vec<String> {
    let mut texts = Vec::new();
    let mut current = lead.to_owned();
    for span in spans {
        for piece in pieces(span, SECTION - 10) {
            // One more for the zero-width space that `append` may need.
            if units(&current) + units(&piece) + 1 > SECTION {
                texts.push(std::mem::take(&mut current));
            }
            append(&mut current, &piece);
        }
    }
    texts.push(current);
    texts.retain(|text| !text.trim().is_empty());
    texts
}

/// A span as mrkdwn, in pieces of at most `max` units that each stand for themselves.
fn pieces(span: &Span, max: usize) -> Vec<String> {
    let (text, look) = match span {
        Span::Plain(text) => (text, Look::Plain),
        Span::Bold(text) => (text, Look::Bold),
        Span::Italic(text) => (text, Look::Italic),
        Span::Code(text) => (text, Look::Code),
        Span::User(id) => return vec![mrkdwn::user(&cut(id, 100))],
        Span::Link { label, url } => {
            let link = mrkdwn::link(label, url);
            return vec![if units(&link) <= max {
                link
            } else {
                escape(&plain_line(label, 150))
            }];
        }
    };
    let escaping = if look == Look::Plain {
        escape
    } else {
        escape_code
    };
    let text = clean(text);
    let mut rest = text.as_str();
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let part = fit(rest, max - 2, escaping);
        pieces.push(piece(part, look));
        rest = &rest[part.len()..];
    }
    pieces
}

/// All spans as one line of escaped text without formatting.
fn flat(spans: &[Span]) -> String {
    spans
        .iter()
        .map(|span| match span {
            Span::Plain(text) | Span::Bold(text) | Span::Italic(text) | Span::Code(text) => {
                escape(&clean(text))
            }
            Span::User(id) => mrkdwn::user(id),
            Span::Link { label, url } => {
                format!("{} ({})", escape(&clean(label)), escape(&clean(url)))
            }
        })
        .collect()
}

fn field(label: &str, spans: &[Span]) -> String {
    const LABEL: usize = 60;
    // Sixty characters escaped, bold marks and an ellipsis leave at least this much for a value.
    const VALUE: usize = 1_500;
    let mut text = piece(&cut(&clean(label), LABEL), Look::Bold);
    text.push('\n');
    let mut value = String::new();
    for piece in spans.iter().flat_map(|span| pieces(span, VALUE)) {
        if units(&text) + units(&value) + units(&piece) + 1 > FIELD {
            value.push('…');
            break;
        }
        append(&mut value, &piece);
    }
    if value.trim().is_empty() {
        value.push('–');
    }
    text.push_str(&value);
    text
}

/// A table as aligned columns of monospaced text.
fn table(header: &[String], rows: &[Vec<String>]) -> String {
    let cell = |text: &String| plain_line(text, CELL);
    let lines: Vec<Vec<String>> = std::iter::once(header)
        .chain(rows.iter().map(Vec::as_slice))
        .map(|row| row.iter().map(cell).collect())
        .collect();
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            lines
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let drawn: Vec<String> = lines
        .iter()
        .map(|row| {
            let padded = row
                .iter()
                .zip(&widths)
                .map(|(cell, &width)| format!("{cell:<width$}"));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect();
    drawn.join("\n")
}

/// All buttons of a card, rendered before the rest.
struct Buttons {
    /// The actions blocks of each `Block::Buttons`.
    blocks: Vec<Vec<Value>>,
    cost: usize,
    cut: bool,
}

fn buttons(card: &Card) -> Buttons {
    // Half the blocks at most, so that there is room to say what the buttons are for.
    const MOST_BLOCKS: usize = MAX_BLOCKS / 2;
    let mut all = Buttons {
        blocks: Vec::new(),
        cost: 0,
        cut: false,
    };
    let mut number = 0;
    let mut used = 0;
    for block in &card.blocks {
        let Block::Buttons { buttons } = block else {
            continue;
        };
        let mut rows = Vec::new();
        for row in buttons.chunks(BUTTONS) {
            let mut elements = Vec::new();
            let mut primary_taken = false;
            for button in row {
                let (element, cost) = element(button, number, &mut primary_taken);
                if used == MOST_BLOCKS
                    || all.cost + cost > BUTTON_BUDGET
                    || units(&press_value(&button.press)) > BUTTON_VALUE
                {
                    all.cut = true;
                    continue;
                }
                number += 1;
                all.cost += cost;
                elements.push(element);
            }
            if !elements.is_empty() {
                rows.push(json!({"type": "actions", "block_id": format!("buttons-{used}"), "elements": elements}));
                used += 1;
            }
        }
        all.blocks.push(rows);
    }
    all
}

/// One button and what its texts cost. Slack wants one primary button in a set.
fn element(button: &Button, number: usize, primary_taken: &mut bool) -> (Value, usize) {
    let verb = button.press.verb;
    let label = plain_line(&button.label, BUTTON_LABEL);
    let mut cost = units(&label);
    let mut element = json!({
        "type": "button",
        "action_id": format!("{}-{number}", verb_name(verb)),
        "text": {"type": "plain_text", "text": label, "emoji": false},
        "value": press_value(&button.press),
    });
    match button.style {
        ButtonStyle::Plain => {}
        ButtonStyle::Primary if *primary_taken => {}
        ButtonStyle::Primary => {
            *primary_taken = true;
            element["style"] = json!("primary");
        }
        ButtonStyle::Danger => element["style"] = json!("danger"),
    }
    // Deny asks for its reason in a dialog of its own, which is confirmation enough.
    let question = match (&button.confirm, button.style) {
        (Some(question), _) => Some(question.as_str()),
        (None, ButtonStyle::Danger) if verb != Verb::Deny => Some("This cannot be taken back."),
        (None, ButtonStyle::Danger | ButtonStyle::Plain | ButtonStyle::Primary) => None,
    };
    if let Some(question) = question {
        let question = plain_line(question, CONFIRM_TEXT);
        cost += units(&question) + 50;
        let style = if button.style == ButtonStyle::Danger {
            "danger"
        } else {
            "primary"
        };
        element["confirm"] = json!({
            "title": {"type": "plain_text", "text": "Are you sure?"},
            "text": {"type": "plain_text", "text": question, "emoji": false},
            "confirm": {"type": "plain_text", "text": plain_line(&button.label, 30), "emoji": false},
            "deny": {"type": "plain_text", "text": "Back"},
            "style": style,
        });
    }
    (element, cost)
}

#[cfg(test)]
#[path = "blocks_tests.rs"]
mod tests;
