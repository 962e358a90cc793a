//! Text from outside, made fit to leave the process: secrets become `[redacted]`, and bytes that steer a terminal
//! or hide text are dropped. Everything shown, sent or stored for people passes through [`scrub`] or [`line()`].

mod rules;

use std::borrow::Cow;

/// What stands where a secret stood.
pub const REDACTED: &str = "[redacted]";

/// Cleans, then redacts. In this order, because an escape sequence inside a token would hide it from the rules.
#[must_use]
pub fn scrub(text: &str) -> String {
    let cleaned = clean(text);
    match redact(&cleaned) {
        Cow::Borrowed(_) => cleaned.into_owned(),
        Cow::Owned(redacted) => redacted,
    }
}

/// [`scrub`], then cut to `max_chars` characters, the last of them `…` if anything was cut.
///
/// Cutting comes last, so that half a token can never escape the rules.
#[must_use]
pub fn line(text: &str, max_chars: usize) -> String {
    /// A 10 MB line is not worth scrubbing whole for an excerpt: the rules see this many times the excerpt.
    const LOOK_AHEAD: usize = 16;
    let window = max_chars.saturating_mul(LOOK_AHEAD);
    let head = match text.char_indices().nth(window) {
        Some((end, _)) => &text[..end],
        None => text,
    };
    cut(scrub(head.trim_end()), max_chars, head.len() < text.len())
}

fn cut(text: String, max_chars: usize, more: bool) -> String {
    let over = text.char_indices().nth(max_chars).is_some();
    if !over && !more {
        return text;
    }
    let keep = max_chars.saturating_sub(1);
    let end = text
        .char_indices()
        .nth(keep)
        .map_or(text.len(), |(end, _)| end);
    let mut cut = text;
    cut.truncate(end);
    cut.push('…');
    cut
}

/// Replaces every secret that a rule knows with [`REDACTED`]. Borrows when there is none.
///
/// Repeating it changes nothing. Cost is one pass over the text unless a word that goes with secrets is in it.
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    rules::apply(text)
}

/// Drops ANSI escape sequences, control characters (but newline and tab), bidirectional overrides and invisible
/// characters. A carriage return, with which progress bars overwrite themselves, becomes a newline.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    // Most text is plain, and telling that byte by byte is many times faster than character by character.
    let plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n' | b'\t');
    if text.as_bytes().chunks(64).all(|chunk| {
        // Without an early end, so that the compiler compares many bytes at once.
        chunk.iter().fold(true, |all, byte| all & plain(byte))
    }) || !text
        .chars()
        .any(|c| c != '\n' && c != '\t' && is_unwanted(c))
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            // The one-character form of `ESC [`.
            '\u{9b}' => skip_control_sequence(&mut chars),
            '\r' => {
                if chars.peek() != Some(&'\n') && !out.is_empty() {
                    out.push('\n');
                }
            }
            '\n' | '\t' => out.push(c),
            other if is_unwanted(other) => {}
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

fn is_unwanted(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Skips what follows an `ESC`: a control sequence, a string sequence up to its terminator, or one character.
fn skip_escape(chars: &mut Chars<'_>) {
    match chars.peek() {
        Some('[') => {
            chars.next();
            skip_control_sequence(chars);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            chars.next();
            skip_string_sequence(chars);
        }
        Some('(' | ')' | '*' | '+' | '#' | '%' | ' ') => {
            chars.next();
            if chars.peek().is_some_and(char::is_ascii_graphic) {
                chars.next();
            }
        }
        Some('=' | '>' | '7' | '8' | 'c' | 'D' | 'E' | 'H' | 'M' | 'N' | 'O' | 'Z') => {
            chars.next();
        }
        Some(_) | None => {}
    }
}

fn skip_control_sequence(chars: &mut Chars<'_>) {
    while chars
        .next_if(|c| matches!(c, '\u{20}'..='\u{3f}'))
        .is_some()
    {}
    chars.next_if(|c| matches!(c, '\u{40}'..='\u{7e}'));
}

/// Skips a string sequence. An unterminated one ends with its line: the next line is not to be swallowed.
fn skip_string_sequence(chars: &mut Chars<'_>) {
    while let Some(c) = chars.next_if(|c| *c != '\n') {
        if c == '\u{7}' || c == '\u{9c}' {
            return;
        }
        if c == '\u{1b}' {
            chars.next_if_eq(&'\\');
            return;
        }
    }
}

#[cfg(test)]
mod tests;
