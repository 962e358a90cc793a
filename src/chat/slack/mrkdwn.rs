//! Makes text from outside harmless in Slack: cleaned of control characters, escaped, cut by Slack's way of counting.
//!
//! Slack counts lengths in characters; an emoji may count double, so everything here counts UTF-16 units, which is
//! never less. Text is measured after escaping, and never cut inside an entity or a character.

/// What shows that something was cut.
const ELLIPSIS: char = '…';
/// Stands in for a back-tick, which cannot be escaped and would end a code span.
const QUIET_BACKTICK: char = 'ˋ';
/// Keeps a quote mark at the start of a line, or a word beside formatting, from meaning something to Slack.
const ZERO_WIDTH_SPACE: char = '\u{200b}';

/// Length in UTF-16 units.
pub(crate) fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// The text without ANSI codes, control characters (new lines and tabs stay) and marks that change the direction of
/// what follows.
pub(crate) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.peek() == Some(&'[') => {
                chars.next();
                // A control sequence ends with its first byte in @..~.
                for end in chars.by_ref() {
                    if ('@'..='~').contains(&end) {
                        break;
                    }
                }
            }
            '\n' | '\t' => clean.push(c),
            '\r' if chars.peek() != Some(&'\n') => clean.push('\n'),
            c if c.is_control() || is_invisible(c) => {}
            c => clean.push(c),
        }
    }
    clean
}

/// Marks that reorder text, and those that show nothing and only hide differences.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{061c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
    )
}

/// Cut to at most `max` UTF-16 units, on a character boundary, with an ellipsis where something is missing.
pub(crate) fn cut(text: &str, max: usize) -> String {
    if units(text) <= max {
        return text.to_owned();
    }
    let mut kept = take(text, max.saturating_sub(1)).to_owned();
    if max > 0 {
        kept.push(ELLIPSIS);
    }
    kept
}

/// The longest beginning of `text` with at most `max` UTF-16 units.
pub(crate) fn take(text: &str, max: usize) -> &str {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += c.len_utf16();
        if used > max {
            return &text[..at];
        }
    }
    text
}

/// `plain_text` of at most `max` UTF-16 units on one line; never empty, which Slack refuses.
pub(crate) fn plain_line(text: &str, max: usize) -> String {
    let line = clean(text).split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() {
        "–".to_owned()
    } else {
        cut(&line, max)
    }
}

/// How a piece of text is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Plain,
    Bold,
    Italic,
    Code,
}

impl Look {
    fn mark(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "*",
            Self::Italic => "_",
            Self::Code => "`",
        }
    }
}

/// Escapes one character; the quiet forms replace what Slack gives no way to escape.
fn push_escaped(out: &mut String, c: char) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '`' => out.push(QUIET_BACKTICK),
        c => out.push(c),
    }
}

/// What a formatting mark is replaced with where it would come to life.
fn quiet_mark(c: char) -> char {
    match c {
        '*' => '∗',
        '_' => 'ˍ',
        '~' => '∼',
        other => other,
    }
}

/// Escapes cleaned text for a mrkdwn object. Formatting marks stay as they are where they are alone or inside a word
/// (`train_llm_v2`, `*.log`), and become look-alikes where a pair of them would format what is between.
pub(crate) fn escape(clean: &str) -> String {
    let mut out = String::with_capacity(clean.len() + 16);
    for (number, line) in clean.split('\n').enumerate() {
        if number > 0 {
            out.push('\n');
        }
        if line.trim_start().starts_with('>') {
            out.push(ZERO_WIDTH_SPACE);
        }
        let mut before = ' ';
        for (at, c) in line.char_indices() {
            if matches!(c, '*' | '_' | '~') {
                let opens = !before.is_alphanumeric() && line[at + 1..].contains(c);
                out.push(if opens { quiet_mark(c) } else { c });
            } else {
                push_escaped(&mut out, c);
            }
            before = c;
        }
    }
    out
}

/// Escapes cleaned text for a preformatted block, where only back-ticks and entities matter.
pub(crate) fn escape_code(clean: &str) -> String {
    let mut out = String::with_capacity(clean.len() + 16);
    for c in clean.chars() {
        push_escaped(&mut out, c);
    }
    out
}

/// One piece of mrkdwn with its look. Formatted pieces are one line, because Slack's marks do not reach over lines.
pub(crate) fn piece(text: &str, look: Look) -> String {
    let clean = clean(text);
    if look == Look::Plain {
        return escape(&clean);
    }
    let line = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() {
        return String::new();
    }
    let mark = look.mark();
    let inner: String = match look {
        Look::Code => escape_code(&line),
        Look::Bold | Look::Italic | Look::Plain => {
            escape_code(&line).chars().map(quiet_mark).collect()
        }
    };
    format!("{mark}{inner}{mark}")
}

/// Appends a piece, keeping marks apart from letters that would take their meaning away.
pub(crate) fn append(out: &mut String, piece: &str) {
    let (Some(last), Some(first)) = (out.chars().last(), piece.chars().next()) else {
        out.push_str(piece);
        return;
    };
    let is_mark = |c: char| matches!(c, '*' | '_' | '`');
    if (is_mark(last) && (first.is_alphanumeric() || is_mark(first)))
        || (is_mark(first) && last.is_alphanumeric())
    {
        out.push(ZERO_WIDTH_SPACE);
    }
    out.push_str(piece);
}

/// A link, or the label alone where the address is not an absolute `http` or `https` one that fits.
pub(crate) fn link(label: &str, url: &str) -> String {
    const LONGEST: usize = 2_000;
    let label = plain_line(label, 150);
    let address = url::Url::parse(url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .map(|url| {
            url.as_str()
                .replace('|', "%7C")
                .replace('>', "%3E")
                .replace('<', "%3C")
                // Three of them would open a block of code.
                .replace('`', "%60")
        })
        .map(|url| url.replace('&', "&amp;"))
        .filter(|url| units(url) <= LONGEST);
    match address {
        Some(address) => format!("<{address}|{}>", escape(&label)),
        None => escape(&label),
    }
}

/// A mention of a user, or the text where it is not a Slack user id.
pub(crate) fn user(id: &str) -> String {
    let is_id = matches!(id.as_bytes().first(), Some(b'U' | b'W'))
        && (3..=32).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if is_id {
        format!("<@{id}>")
    } else {
        piece(id, Look::Plain)
    }
}

/// Turns what Slack made of a person's message back into what was typed: entities, auto-links and references. A
/// mention of `bot` disappears; mentions of others stay as `<@U…>`.
pub(crate) fn typed(text: &str, bot: Option<&str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        out.push_str(&rest[..open]);
        rest = &rest[open..];
        let Some(length) = rest.find('>') else { break };
        out.push_str(&reference(&rest[1..length], bot));
        rest = &rest[length + 1..];
    }
    out.push_str(rest);
    let out = out
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    clean(&out).trim().to_owned()
}

fn reference(inside: &str, bot: Option<&str>) -> String {
    let (target, label) = match inside.split_once('|') {
        Some((target, label)) if !label.is_empty() => (target, Some(label)),
        Some((target, _)) => (target, None),
        None => (inside, None),
    };
    match target.chars().next() {
        Some('@') if bot == Some(&target[1..]) => String::new(),
        Some('@') => format!("<{target}>"),
        Some('#') => label.map_or_else(|| format!("<{target}>"), |label| format!("#{label}")),
        Some('!') => label.unwrap_or_default().to_owned(),
        _ => label.unwrap_or(target).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_counted_as_slack_counts_it_and_never_cut_inside_a_character() {
        assert_eq!(units("a😀ü"), 4);
        assert_eq!(cut("a😀😀", 3), "a…");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(take("😀", 1), "");
    }

    #[test]
    fn live_syntax_from_outside_is_text() {
        assert_eq!(
            piece("<!channel> a&b", Look::Plain),
            "&lt;!channel&gt; a&amp;b"
        );
        assert_eq!(
            piece("*bold* my_job_v2 *.log", Look::Plain),
            "∗bold* my_job_v2 *.log"
        );
        assert_eq!(piece("a`b`c", Look::Code), "`aˋbˋc`");
        assert_eq!(piece("> quoted", Look::Plain), "\u{200b}&gt; quoted");
        assert_eq!(piece("a*b\nc", Look::Bold), "*a∗b c*");
        assert_eq!(piece(" \n ", Look::Bold), "");
    }

    #[test]
    fn control_characters_and_direction_marks_disappear() {
        assert_eq!(
            clean("\u{1b}[31mred\u{1b}[0m\u{202e}x\0\r\ny\rz"),
            "redx\ny\nz"
        );
    }

    #[test]
    fn only_absolute_web_addresses_become_links() {
        assert_eq!(
            link("logs", "https://a.example/?q=1&r=|"),
            "<https://a.example/?q=1&amp;r=%7C|logs>"
        );
        assert_eq!(link("bad", "javascript:alert(1)"), "bad");
        assert_eq!(
            link("a>b", "https://a.example/"),
            "<https://a.example/|a&gt;b>"
        );
    }

    #[test]
    fn only_user_ids_become_mentions() {
        assert_eq!(user("U123ABC"), "<@U123ABC>");
        assert_eq!(user("U1>x"), "U1&gt;x");
        assert_eq!(user("local"), "local");
    }

    #[test]
    fn what_slack_made_of_a_message_becomes_what_was_typed() {
        assert_eq!(
            typed(
                "<@UBOT> why is <http://train.py|train.py> &lt;stuck&gt;?",
                Some("UBOT")
            ),
            "why is train.py <stuck>?"
        );
        assert_eq!(
            typed("page <@U1|mira> in <#C1|ops>", Some("UBOT")),
            "page <@U1> in #ops"
        );
        assert_eq!(
            typed("see <https://x.example/a>", None),
            "see https://x.example/a"
        );
        assert_eq!(typed("a < b", None), "a < b");
    }
}
