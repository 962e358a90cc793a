//! A card that does not fit into one Slack message, as several that do: the first with all the buttons, the others to
//! follow it in the same place. There is an end to it: what is longer than five messages is said to be left out.

use super::blocks::render;
use crate::chat::card::{Block, Card, Span, Tone};

/// Messages for one card. Slack takes five answers through one response URL, and nobody reads more.
const MOST: usize = 5;
/// Characters of the smallest piece that is not divided further.
const PIECE: usize = 600;

/// The cards to post one after another. At least one, at most five, the same for the same card.
#[must_use]
pub fn split(card: &Card) -> Vec<Card> {
    if !render(card).cut {
        return vec![card.clone()];
    }
    let (buttons, blocks): (Vec<Block>, Vec<Block>) = card
        .blocks
        .iter()
        .cloned()
        .partition(|block| matches!(block, Block::Buttons { .. }));
    let mut pages = Pages {
        card,
        buttons,
        full: Vec::new(),
        open: Vec::new(),
    };
    let is_whole = blocks.into_iter().all(|block| pages.add(block));
    pages.finish(is_whole)
}

/// The key under which a part is posted; the first has the key of the whole.
#[must_use]
pub fn key(whole: &str, part: usize) -> String {
    match part {
        0 => whole.to_owned(),
        part => format!("{whole}:{}", part + 1),
    }
}

/// Parts in the making.
struct Pages<'c> {
    card: &'c Card,
    buttons: Vec<Block>,
    full: Vec<Vec<Block>>,
    open: Vec<Block>,
}

impl Pages<'_> {
    /// Adds a block, divided where it must be. False when the last page is full.
    fn add(&mut self, block: Block) -> bool {
        let mut is_continued = false;
        for piece in pieces(block) {
            let mut tried = self.open.clone();
            join(&mut tried, piece.clone(), is_continued);
            if self.fits(&tried) {
                self.open = tried;
            } else if self.full.len() + 1 == MOST {
                return false;
            } else {
                self.full
                    .push(std::mem::replace(&mut self.open, vec![piece]));
            }
            is_continued = true;
        }
        true
    }

    /// Whether a page of these blocks has room for what is added to it at the end.
    fn fits(&self, blocks: &[Block]) -> bool {
        let number = self.full.len();
        !render(&self.page(number, MOST, false, blocks.to_vec())).cut
    }

    fn page(&self, number: usize, of: usize, is_whole: bool, mut blocks: Vec<Block>) -> Card {
        let mut small = format!("Part {} of {of}.", number + 1);
        if !is_whole && number + 1 == of {
            small.push_str(
                " The rest is left out: ask for less at once, or look at nightbell's page.",
            );
        }
        blocks.push(Block::Context {
            spans: vec![Span::Plain(small)],
        });
        if number == 0 {
            blocks.extend(self.buttons.iter().cloned());
        }
        Card {
            fallback: match number {
                0 => self.card.fallback.clone(),
                number => format!("Part {} of {of}: {}", number + 1, self.card.fallback),
            },
            tone: if number == 0 {
                self.card.tone
            } else {
                Tone::Info
            },
            blocks,
        }
    }

    fn finish(mut self, is_whole: bool) -> Vec<Card> {
        let mut pages = std::mem::take(&mut self.full);
        pages.push(std::mem::take(&mut self.open));
        let of = pages.len();
        pages
            .into_iter()
            .enumerate()
            .map(|(number, blocks)| self.page(number, of, is_whole, blocks))
            .collect()
    }
}

/// A block as blocks that each fit into a message beside any buttons. [`join`] makes one of them again.
fn pieces(block: Block) -> Vec<Block> {
    match block {
        Block::Code { text } => chunks(&text)
            .into_iter()
            .map(|text| Block::Code { text })
            .collect(),
        Block::Table { header, rows } => rows
            .into_iter()
            .map(|row| Block::Table {
                header: header.clone(),
                rows: vec![row],
            })
            .collect(),
        Block::Fields { fields } => fields
            .into_iter()
            .map(|field| Block::Fields {
                fields: vec![field],
            })
            .collect(),
        Block::Text { spans } => spans
            .into_iter()
            .flat_map(spans_of)
            .map(|span| Block::Text { spans: vec![span] })
            .collect(),
        Block::Header { .. }
        | Block::Context { .. }
        | Block::Picture { .. }
        | Block::Buttons { .. }
        | Block::Divider => {
            vec![block]
        }
    }
}

/// Adds a piece, to the last block if it is the next piece of it.
fn join(blocks: &mut Vec<Block>, piece: Block, is_continued: bool) {
    if !is_continued {
        blocks.push(piece);
        return;
    }
    match (blocks.last_mut(), piece) {
        (Some(Block::Code { text }), Block::Code { text: more }) => text.push_str(&more),
        (Some(Block::Table { rows, .. }), Block::Table { rows: more, .. }) => rows.extend(more),
        (Some(Block::Fields { fields }), Block::Fields { fields: more }) => fields.extend(more),
        (Some(Block::Text { spans }), Block::Text { spans: more }) => spans.extend(more),
        (_, piece) => blocks.push(piece),
    }
}

fn spans_of(span: Span) -> Vec<Span> {
    let make = match &span {
        Span::Plain(_) => Span::Plain,
        Span::Bold(_) => Span::Bold,
        Span::Italic(_) => Span::Italic,
        Span::Code(_) => Span::Code,
        Span::User(_) | Span::Link { .. } => return vec![span],
    };
    let (Span::Plain(text) | Span::Bold(text) | Span::Italic(text) | Span::Code(text)) = span
    else {
        return Vec::new();
    };
    chunks(&text).into_iter().map(make).collect()
}

/// Text in chunks of whole lines; only a line that is too long for a chunk is divided.
fn chunks(text: &str) -> Vec<String> {
    let mut chunks: Vec<String> = Vec::new();
    let mut length = PIECE;
    for line in text.split_inclusive('\n') {
        let count = line.chars().count();
        if length + count <= PIECE
            && let Some(last) = chunks.last_mut()
        {
            last.push_str(line);
            length += count;
            continue;
        }
        let mut rest = line;
        loop {
            let end = rest
                .char_indices()
                .nth(PIECE)
                .map_or(rest.len(), |(at, _)| at);
            let (chunk, more) = rest.split_at(end);
            length = chunk.chars().count();
            chunks.push(chunk.to_owned());
            rest = more;
            if rest.is_empty() {
                break;
            }
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::card::{Button, ButtonStyle, Press, Verb};
    use crate::chat::slack::blocks::short_form;

    fn card(blocks: Vec<Block>) -> Card {
        Card {
            fallback: "logs of llm-7b".to_owned(),
            tone: Tone::Bad,
            blocks,
        }
    }

    fn log(lines: usize) -> String {
        let lines: Vec<String> = (0..lines)
            .map(|n| format!("{n:05} <step> loss & gradient of rank 7"))
            .collect();
        lines.join("\n")
    }

    fn code(part: &Card) -> String {
        let texts = part.blocks.iter().filter_map(|block| match block {
            Block::Code { text } => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    #[test]
    fn what_fits_is_left_as_it_is() {
        let small = card(vec![Block::Code { text: log(20) }]);
        assert_eq!(split(&small), vec![small]);
        assert_eq!(key("inbox:1", 0), "inbox:1");
        assert_eq!(key("inbox:1", 1), "inbox:1:2");
    }

    #[test]
    fn a_long_log_goes_on_where_it_stopped_and_nothing_is_missing() {
        let approve = Block::Buttons {
            buttons: vec![Button {
                press: Press {
                    verb: Verb::Approve,
                    id: "a1".to_owned(),
                },
                label: "Approve".to_owned(),
                style: ButtonStyle::Primary,
                confirm: None,
            }],
        };
        let text = log(500);
        let parts = split(&card(vec![
            Block::Header {
                text: "llm-7b".to_owned(),
            },
            Block::Code { text: text.clone() },
            approve.clone(),
            Block::Divider,
        ]));
        assert!((2..MOST).contains(&parts.len()), "{}", parts.len());
        assert!(parts.iter().all(|part| !render(part).cut));
        assert_eq!(parts.iter().map(code).collect::<String>(), text);
        let with_buttons = parts.iter().filter(|part| part.blocks.contains(&approve));
        assert_eq!(with_buttons.count(), 1);
        assert!(parts[0].blocks.contains(&approve), "the first has them");
        assert_eq!(
            parts[1].fallback,
            format!("Part 2 of {}: logs of llm-7b", parts.len())
        );
        assert!(!short_form(&parts[parts.len() - 1]).contains("left out"));
    }

    #[test]
    fn a_long_table_repeats_its_header() {
        let header = vec!["job".to_owned(), "state".to_owned()];
        let rows: Vec<Vec<String>> = (0..400)
            .map(|n| vec![format!("job-with-a-name-{n:04}"), "Running".to_owned()])
            .collect();
        let parts = split(&card(vec![Block::Table {
            header: header.clone(),
            rows: rows.clone(),
        }]));
        let mut seen = Vec::new();
        for part in &parts {
            let Block::Table { header: own, rows } = &part.blocks[0] else {
                panic!("{:?}", part.blocks[0]);
            };
            assert_eq!(*own, header);
            seen.extend(rows.iter().cloned());
        }
        assert!(parts.len() > 1);
        assert_eq!(seen, rows);
    }

    #[test]
    fn there_is_an_end_and_it_is_said() {
        for text in [log(5_000), "<&".repeat(50_000), "🟥".repeat(60_000)] {
            for block in [
                Block::Code { text: text.clone() },
                Block::Text {
                    spans: vec![Span::Plain(text)],
                },
            ] {
                let parts = split(&card(vec![block]));
                assert_eq!(parts.len(), MOST);
                assert!(parts.iter().all(|part| !render(part).cut));
                assert!(short_form(&parts[0]).starts_with("🔴 logs of llm-7b"));
                let last = format!("{:?}", parts[MOST - 1].blocks.last());
                assert!(last.contains("left out"), "{last}");
            }
        }
    }
}
