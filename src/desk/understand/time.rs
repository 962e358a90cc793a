//! Lengths of time and numbers, as people write them: "half an hour", "2h30", "the last couple of days".

use super::words::{Kind, Token};

/// What a length of time says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    /// How long something shall last.
    Ahead(u64),
    /// How far back to look.
    Back(u64),
}

/// A length of time and the words it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) span: Span,
    /// Index of the first word, the words that lead in ("for the last") included.
    pub(super) start: usize,
    /// Index after the last word.
    pub(super) end: usize,
}

const MINUTE: f64 = 60.0;
const HOUR: f64 = 3_600.0;
const DAY: f64 = 86_400.0;
const WEEK: f64 = 7.0 * DAY;
/// A month is thirty days here: nobody asks a bot for the last February.
const MONTH: f64 = 30.0 * DAY;

/// Finds every length of time.
pub(super) fn find(tokens: &[Token]) -> Vec<Found> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if let Some((span, end)) = calendar(tokens, at) {
            found.push(Found {
                span: Span::Back(span),
                start: lead_in(tokens, at).0,
                end,
            });
            at = end;
        } else if let Some((seconds, end)) = length(tokens, at) {
            let (start, back) = lead_in(tokens, at);
            let back = back || tokens.get(end).is_some_and(|t| t.word == "ago");
            let end = if tokens.get(end).is_some_and(|t| t.word == "ago") {
                end + 1
            } else {
                end
            };
            let span = if back {
                Span::Back(seconds)
            } else {
                Span::Ahead(seconds)
            };
            found.push(Found { span, start, end });
            at = end;
        } else {
            at += 1;
        }
    }
    found
}

/// Where the words that introduce a length begin, and whether they look back.
fn lead_in(tokens: &[Token], at: usize) -> (usize, bool) {
    let mut start = at;
    let mut back = false;
    while start > 0 {
        match tokens[start - 1].word.as_str() {
            "last" | "past" | "previous" | "since" | "recent" => back = true,
            "within" | "over" | "during" | "in" if back => {}
            "for" | "the" | "next" | "about" | "around" | "approximately" | "another"
            | "roughly" | "only" | "these" | "of" | "from" => {}
            _ => break,
        }
        start -= 1;
    }
    (start, back)
}

/// "today", "yesterday", "last week", "this month", "weekly", "overnight".
fn calendar(tokens: &[Token], at: usize) -> Option<(u64, usize)> {
    let word = tokens[at].word.as_str();
    let next = tokens.get(at + 1).map(|t| t.word.as_str());
    let seconds = match (word, next) {
        ("last" | "this" | "past" | "previous", Some("week")) => {
            return Some((whole(WEEK), at + 2));
        }
        ("last" | "this" | "past" | "previous", Some("month")) => {
            return Some((whole(MONTH), at + 2));
        }
        ("last" | "past" | "previous", Some("day")) => return Some((whole(DAY), at + 2)),
        ("last" | "past" | "previous", Some("hour")) => return Some((whole(HOUR), at + 2)),
        ("last" | "past" | "previous", Some("minute")) => return Some((whole(MINUTE), at + 2)),
        ("last", Some("night")) => return Some((whole(12.0 * HOUR), at + 2)),
        ("today" | "yesterday" | "daily", _) => DAY,
        ("weekly", _) => WEEK,
        ("monthly", _) => MONTH,
        _ => return None,
    };
    Some((whole(seconds), at + 1))
}

/// A length that begins at `at`: seconds, and the index after it.
fn length(tokens: &[Token], at: usize) -> Option<(u64, usize)> {
    if tokens[at].kind != Kind::Word {
        return None;
    }
    let (mut seconds, mut end) = term(tokens, at)?;
    // "1 hour and 30 minutes", "2 hours 15 min", "an hour and a half"
    loop {
        let and = tokens.get(end).is_some_and(|t| t.word == "and");
        let next = if and { end + 1 } else { end };
        if and && is(tokens, next, "a") && is(tokens, next + 1, "half") {
            seconds += last_unit(tokens, end) / 2.0;
            end = next + 2;
        } else if let Some((more, after)) =
            (next < tokens.len()).then(|| term(tokens, next)).flatten()
            && more < last_unit(tokens, end)
        {
            seconds += more;
            end = after;
        } else {
            break;
        }
    }
    (seconds >= 1.0).then(|| (whole(seconds), end))
}

fn term(tokens: &[Token], at: usize) -> Option<(f64, usize)> {
    let word = tokens.get(at)?.word.as_str();
    if let Some(seconds) = compact(word) {
        return Some((seconds, at + 1));
    }
    let unit_at = |index: usize| tokens.get(index).and_then(|t| unit(&t.word));
    match word {
        "half" => {
            let next = if matches!(tokens.get(at + 1)?.word.as_str(), "an" | "a") {
                at + 2
            } else {
                at + 1
            };
            return unit_at(next).map(|u| (u / 2.0, next + 1));
        }
        "quarter" => {
            let next = at
                + 1
                + tokens[at + 1..]
                    .iter()
                    .take_while(|t| matches!(t.word.as_str(), "of" | "an" | "a"))
                    .count();
            return unit_at(next).map(|u| (u / 4.0, next + 1));
        }
        "three" if is(tokens, at + 1, "quarters") => {
            let next = at
                + 2
                + tokens[at + 2..]
                    .iter()
                    .take_while(|t| matches!(t.word.as_str(), "of" | "an" | "a"))
                    .count();
            return unit_at(next).map(|u| (u * 0.75, next + 1));
        }
        "a" | "an" | "couple" | "few" => {
            let (amount, next) = match (word, tokens.get(at + 1).map(|t| t.word.as_str())) {
                ("a" | "an", Some("half" | "quarter")) => return term(tokens, at + 1),
                ("a" | "an", Some("couple")) | ("couple", _) => {
                    (2.0, if word == "couple" { at + 1 } else { at + 2 })
                }
                ("a" | "an", Some("few")) | ("few", _) => {
                    (3.0, if word == "few" { at + 1 } else { at + 2 })
                }
                ("a" | "an", Some("full" | "whole" | "single")) => (1.0, at + 2),
                _ => (1.0, at + 1),
            };
            let next = if is(tokens, next, "of") {
                next + 1
            } else {
                next
            };
            return unit_at(next).map(|u| (amount * u, next + 1));
        }
        // "for the next hour", "last hour": one, unsaid.
        "hour" | "day" | "week" | "minute" | "month"
            if at > 0 && matches!(tokens[at - 1].word.as_str(), "next" | "one" | "whole") =>
        {
            return unit(word).map(|u| (u, at + 1));
        }
        "overnight" => return Some((12.0 * HOUR, at + 1)),
        "tomorrow"
            if at > 0 && matches!(tokens[at - 1].word.as_str(), "until" | "till" | "til") =>
        {
            return Some((DAY, at + 1));
        }
        _ => {}
    }
    let (mut amount, mut next) = number(tokens, at)?;
    if is(tokens, next, "and") && is(tokens, next + 1, "a") && is(tokens, next + 2, "half") {
        amount += 0.5;
        next += 3;
    } else if is(tokens, next, "more") || is(tokens, next, "full") || is(tokens, next, "whole") {
        next += 1;
    }
    unit_at(next).map(|u| (amount * u, next + 1))
}

/// The unit of the term that ended before `end`.
fn last_unit(tokens: &[Token], end: usize) -> f64 {
    let word = end.checked_sub(1).map_or("", |at| tokens[at].word.as_str());
    unit(word).unwrap_or_else(|| {
        let letters = word.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        unit(letters).unwrap_or(MINUTE)
    })
}

fn is(tokens: &[Token], at: usize, word: &str) -> bool {
    tokens.get(at).is_some_and(|t| t.word == word)
}

/// `90s`, `2h30`, `1h30m`, `1.5h`, `45min`, `2h30min`, `1d12h`.
fn compact(word: &str) -> Option<f64> {
    if !word.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut rest = word.trim_end_matches('-');
    let mut seconds = 0.0;
    let mut last = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let amount: f64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start_matches('-');
        let letters = rest
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(rest.len());
        last = match (&rest[..letters], last) {
            ("", 0.0) => return None,
            // The 30 of "2h30" counts the next smaller unit.
            ("", before) if before == HOUR => MINUTE,
            ("", before) if before == MINUTE => 1.0,
            ("", before) if before == DAY => HOUR,
            (letters, _) => unit(letters)?,
        };
        seconds += amount * last;
        rest = &rest[letters..];
    }
    (seconds > 0.0).then_some(seconds)
}

fn unit(word: &str) -> Option<f64> {
    Some(match word {
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" | "minuets" => MINUTE,
        "h" | "hr" | "hrs" | "hour" | "hours" => HOUR,
        "d" | "day" | "days" => DAY,
        "w" | "wk" | "wks" | "week" | "weeks" => WEEK,
        "month" | "months" => MONTH,
        _ => return None,
    })
}

/// A number in digits or words that begins at `at`, and the index after it.
pub(super) fn number(tokens: &[Token], at: usize) -> Option<(f64, usize)> {
    let token = tokens.get(at).filter(|t| t.kind == Kind::Word)?;
    if let Ok(digits) = token.word.replace(',', "").parse::<f64>()
        && digits.is_finite()
        && token.word.starts_with(|c: char| c.is_ascii_digit())
    {
        return Some((digits, at + 1));
    }
    if let Some((tens, ones)) = token.word.split_once('-')
        && let (Some(tens @ 20..), Some(ones @ 1..=9)) = (number_word(tens), number_word(ones))
    {
        return Some((f64::from(tens + ones), at + 1));
    }
    let first = number_word(&token.word)?;
    let second = tokens.get(at + 1).and_then(|t| number_word(&t.word));
    match (first, second) {
        (20.., Some(ones @ 1..=9)) if first < 100 => Some((f64::from(first + ones), at + 2)),
        (1..=9, Some(100)) => Some((f64::from(first * 100), at + 2)),
        _ => Some((f64::from(first), at + 1)),
    }
}

fn number_word(word: &str) -> Option<u32> {
    const SMALL: [&str; 21] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
        "twenty",
    ];
    if let Some(value) = SMALL.iter().position(|small| *small == word) {
        return u32::try_from(value).ok();
    }
    Some(match word {
        "thirty" => 30,
        "forty" | "fourty" => 40,
        "fifty" => 50,
        "sixty" => 60,
        "seventy" => 70,
        "eighty" => 80,
        "ninety" => 90,
        "hundred" => 100,
        "dozen" => 12,
        _ => return None,
    })
}

/// Whole seconds; a length beyond ten years is a typing mistake and is capped there.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to a small positive range first"
)]
fn whole(seconds: f64) -> u64 {
    seconds.round().clamp(0.0, 10.0 * 365.0 * DAY) as u64
}

#[cfg(test)]
mod tests {
    use super::super::words::Sentence;
    use super::*;

    fn spans(message: &str) -> Vec<Span> {
        find(&Sentence::read(message, |_| false).tokens)
            .into_iter()
            .map(|found| found.span)
            .collect()
    }

    #[test]
    fn lengths_of_time_are_read_as_people_write_them() {
        for (message, seconds) in [
            ("for 30 minutes", 1_800),
            ("for 30 min", 1_800),
            ("30m", 1_800),
            ("for half an hour", 1_800),
            ("half hour", 1_800),
            ("for a half hour", 1_800),
            ("for an hour and a half", 5_400),
            ("for one and a half hours", 5_400),
            ("two and a half hours", 9_000),
            ("1.5 hours", 5_400),
            ("1.5h", 5_400),
            ("2h30", 9_000),
            ("2h30m", 9_000),
            ("1h 30m", 5_400),
            ("2 hours and 15 minutes", 8_100),
            ("1 day, 6 hours", 108_000),
            ("a couple of hours", 7_200),
            ("quarter of an hour", 900),
            ("three quarters of an hour", 2_700),
            ("forty five minutes", 2_700),
            ("forty-five minutes", 2_700),
            ("thirty minutes", 1_800),
            ("ninety seconds", 90),
            ("the next hour", 3_600),
            ("for a day", 86_400),
            ("2 weeks", 1_209_600),
            ("until tomorrow", 86_400),
            ("20 more minutes", 1_200),
            ("24hrs", 86_400),
        ] {
            assert_eq!(spans(message), [Span::Ahead(seconds)], "{message}");
        }
    }

    #[test]
    fn looking_back_is_told_from_looking_ahead() {
        for (message, seconds) in [
            ("in the last hour", 3_600),
            ("over the past 24 hours", 86_400),
            ("for the last 2h", 7_200),
            ("last 15 mins", 900),
            ("since 3 days", 259_200),
            ("2 days ago", 172_800),
            ("this week", 604_800),
            ("last week", 604_800),
            ("yesterday", 86_400),
            ("today", 86_400),
            ("weekly", 604_800),
            ("in the past few days", 259_200),
            ("past month", 2_592_000),
        ] {
            assert_eq!(spans(message), [Span::Back(seconds)], "{message}");
        }
    }

    #[test]
    fn names_and_bare_numbers_are_not_lengths() {
        for message in [
            "train-7b",
            "scale to 3",
            "incident 42",
            "p1",
            "resnet50",
            "4 gpus",
            "a job",
            "7b",
            "h100",
        ] {
            assert_eq!(spans(message), [], "{message}");
        }
    }
}
