//! The bytes of a container's log, as lines with times.

use jiff::Timestamp;

use crate::diagnose::LogLine;

/// Longest line kept, in bytes: some programs write their whole configuration, or an image, as one line.
pub const LINE_BYTES: usize = 16 * 1024;

/// Parses a log fetched with `timestamps=true`. A line that does not start with a time is kept whole.
#[must_use]
pub fn parse(bytes: &[u8]) -> Vec<LogLine> {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    lines.into_iter().map(line).collect()
}

fn line(bytes: &[u8]) -> LogLine {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let (at, text) = match split_time(bytes) {
        Some((at, text)) => (Some(at), text),
        None => (None, bytes),
    };
    LogLine {
        at,
        text: String::from_utf8_lossy(cut(text)).into_owned(),
    }
}

fn split_time(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    // `2026-11-21T22:16:02.123456789+02:00 `: nothing longer is a time.
    let space = bytes.iter().take(40).position(|byte| *byte == b' ');
    let end = space.unwrap_or(bytes.len()).min(40);
    let time = std::str::from_utf8(&bytes[..end]).ok()?.parse().ok()?;
    Some((time, bytes.get(end + 1..).unwrap_or_default()))
}

/// Cuts at [`LINE_BYTES`], not within a character.
fn cut(text: &[u8]) -> &[u8] {
    let mut end = text.len().min(LINE_BYTES);
    while end < text.len() && end > 0 && text[end] & 0b1100_0000 == 0b1000_0000 {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_carry_their_times() {
        let log = parse(b"2026-11-21T22:16:02.043830Z step 12 loss 3.91\n2026-11-21T22:16:03Z\nno time here\r\n");
        assert_eq!(log.len(), 3);
        assert_eq!(
            log[0].at,
            Some("2026-11-21T22:16:02.04383Z".parse().unwrap())
        );
        assert_eq!(log[0].text, "step 12 loss 3.91");
        assert_eq!((log[1].at.is_some(), log[1].text.as_str()), (true, ""));
        assert_eq!((log[2].at, log[2].text.as_str()), (None, "no time here"));
        assert!(parse(b"").is_empty());
    }

    #[test]
    fn a_huge_or_broken_line_is_cut_and_mended() {
        let mut huge = b"2026-11-21T22:16:02Z ".to_vec();
        huge.extend("\u{1f525}".repeat(10_000_000 / 4).bytes());
        let log = parse(&huge);
        assert!(log[0].text.len() <= LINE_BYTES);
        assert!(log[0].text.chars().all(|char| char == '\u{1f525}'));
        assert_eq!(parse(b"ok \xff\xfe end")[0].text, "ok \u{fffd}\u{fffd} end");
    }
}
