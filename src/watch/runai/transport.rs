//! One call over HTTP: limits on time and size, the answer sorted into errors, and when a read is tried again.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;

use super::{RunaiError, Settings};

/// A page of 500 workloads is about 1.5 MB; more than this is not an answer of the API.
const LARGEST_BODY: usize = 64 << 20;
/// Tries of a read, the first included.
const TRIES: u32 = 3;
/// What a server that says "slow down" without saying for how long is given.
const UNSTATED_WAIT: Duration = Duration::from_secs(15);
/// `Retry-After` beyond this is taken for a mistake.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(15);
/// How much of an unreadable answer is kept.
const EXCERPT: usize = 200;

/// An answer, whole.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
    retry_after: Option<Duration>,
}

/// Sends one request and reads its answer to the end.
pub(super) async fn send(request: RequestBuilder) -> Result<Answer, RunaiError> {
    let unreachable = |error: reqwest::Error| RunaiError::Unreachable(error.without_url());
    let mut response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let retry_after = retry_after(response.headers(), Timestamp::now());
    let announced = response.content_length().unwrap_or(0);
    let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or(0).min(LARGEST_BODY));
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > LARGEST_BODY {
            return Err(RunaiError::Malformed {
                what: "answer",
                reason: format!("it is larger than {LARGEST_BODY} bytes"),
                excerpt: excerpt(&body),
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status,
        body,
        retry_after,
    })
}

impl Answer {
    /// The body of a success, or what the failure means.
    pub(super) fn into_body(self) -> Result<Vec<u8>, RunaiError> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        Err(match self.status {
            StatusCode::UNAUTHORIZED => RunaiError::Unauthorized,
            StatusCode::FORBIDDEN => RunaiError::Forbidden {
                message: self.message(),
            },
            StatusCode::NOT_FOUND => RunaiError::NotFound,
            StatusCode::TOO_MANY_REQUESTS => RunaiError::RateLimited {
                retry_after: self.retry_after.unwrap_or(UNSTATED_WAIT),
            },
            status => RunaiError::Rejected {
                status: status.as_u16(),
                message: self.message(),
            },
        })
    }

    /// What the error body says; proxies answer with HTML, of which the beginning is kept.
    fn message(&self) -> String {
        #[derive(Deserialize)]
        struct ErrorBody {
            message: String,
            #[serde(default)]
            details: Option<String>,
        }
        match serde_json::from_slice::<ErrorBody>(&self.body) {
            Ok(ErrorBody {
                message,
                details: Some(details),
            }) if !details.is_empty() => excerpt(format!("{message} ({details})").as_bytes()),
            Ok(ErrorBody { message, .. }) => excerpt(message.as_bytes()),
            Err(_) => excerpt(&self.body),
        }
    }
}

/// Whether a read that came to this may be tried again, and after how long. `tried` counts from 1.
///
/// Time-outs are not repeated: three of them in a row would hold a caller for a minute and a half.
pub(super) fn next_try(
    outcome: &Result<Answer, RunaiError>,
    tried: u32,
    settings: &Settings,
) -> Option<Duration> {
    if tried >= TRIES {
        return None;
    }
    let backoff = settings.backoff * 2_u32.pow(tried - 1);
    let jittered = backoff.mul_f64(0.5 + fastrand::f64());
    match outcome {
        Ok(answer) => match answer.status.as_u16() {
            429 | 500 | 502 | 503 | 504 => Some(answer.retry_after.unwrap_or(jittered)),
            _ => None,
        }
        .filter(|wait| *wait <= settings.longest_wait),
        Err(RunaiError::Unreachable(error)) if !error.is_timeout() => Some(jittered),
        Err(_) => None,
    }
}

/// `Retry-After` as seconds or as an HTTP date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let stated = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = stated.parse() {
        Duration::from_secs(seconds)
    } else {
        let at = jiff::fmt::rfc2822::DateTimeParser::new()
            .parse_timestamp(stated)
            .ok()?;
        Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

/// The beginning of a body, on one line, without anything long enough to be a credential.
pub(super) fn excerpt(body: &[u8]) -> String {
    let beginning = String::from_utf8_lossy(&body[..body.len().min(EXCERPT)]);
    let is_secretlike = |c: char| c.is_ascii_alphanumeric() || "_-.=+/".contains(c);
    let mut text = String::with_capacity(beginning.len());
    for word in beginning.split_inclusive(|c: char| !is_secretlike(c)) {
        let run = word.chars().take_while(|c| is_secretlike(*c)).count();
        if run >= 40 {
            text.push('…');
            text.extend(word.chars().skip(run));
        } else {
            text.push_str(word);
        }
    }
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-03-02T10:00:00Z".parse().expect("a time")
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        for (stated, expected) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("999999", Some(900)),
            ("Mon, 02 Mar 2026 10:00:30 GMT", Some(30)),
            ("Mon, 02 Mar 2026 09:00:00 GMT", Some(0)),
            ("soon", None),
            ("-3", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, stated.parse().expect("a header value"));
            assert_eq!(
                retry_after(&headers, now()),
                expected.map(Duration::from_secs),
                "{stated}"
            );
        }
    }

    #[test]
    fn a_read_is_tried_again_only_where_waiting_may_help() {
        let settings = Settings::new(
            "http://runai.test".parse().expect("a URL"),
            String::new(),
            String::new().into(),
        );
        let answer = |status: u16, wait: Option<u64>| {
            Ok(Answer {
                status: StatusCode::from_u16(status).expect("a status"),
                body: Vec::new(),
                retry_after: wait.map(Duration::from_secs),
            })
        };
        assert_eq!(
            next_try(&answer(429, Some(3)), 1, &settings),
            Some(Duration::from_secs(3))
        );
        assert_eq!(
            next_try(&answer(429, Some(300)), 1, &settings),
            None,
            "the caller waits that long"
        );
        let wait = next_try(&answer(503, None), 2, &settings).expect("a retry");
        assert!(
            wait >= Duration::from_millis(500) && wait <= Duration::from_millis(1500),
            "{wait:?}"
        );
        assert_eq!(
            next_try(&answer(503, None), 3, &settings),
            None,
            "three tries are all"
        );
        for status in [200, 302, 400, 401, 403, 404, 409, 501] {
            assert_eq!(
                next_try(&answer(status, None), 1, &settings),
                None,
                "{status}"
            );
        }
    }

    #[test]
    fn an_excerpt_holds_one_short_line_and_no_credential() {
        let long = "a".repeat(60);
        assert_eq!(
            excerpt(format!("<p>Token {long}, bad\n</p>").as_bytes()),
            "<p>Token …, bad </p>"
        );
        assert_eq!(excerpt(&[b'x', 0xff, b' ', 0x1b]), "x\u{fffd}  ");
        assert!(excerpt("é ".repeat(500).as_bytes()).len() <= EXCERPT + 3);
    }

    #[test]
    fn errors_are_told_with_the_words_of_the_body() {
        let body = br#"{"code":403,"message":"no access to project","details":"role viewer"}"#;
        let answer = Answer {
            status: StatusCode::FORBIDDEN,
            body: body.to_vec(),
            retry_after: None,
        };
        let error = answer.into_body().expect_err("403 is an error");
        assert_eq!(
            error.to_string(),
            "Run:AI grants this service account no access: no access to project (role viewer)"
        );
        let answer = Answer {
            status: StatusCode::BAD_GATEWAY,
            body: b"<html>bad gateway</html>".to_vec(),
            retry_after: None,
        };
        let error = answer.into_body().expect_err("502 is an error");
        assert_eq!(
            error.to_string(),
            "Run:AI answered 502: <html>bad gateway</html>"
        );
    }
}
