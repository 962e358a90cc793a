//! Whether a request is Slack's: a signature over the bytes as they came, and a time not far from ours.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// How far a request's time may be from ours, to either side.
const WINDOW_SECONDS: i64 = 300;

/// Why a request is not believed. For the log; the caller hears nothing but 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("a signature header is missing, repeated or malformed")]
    Header,
    #[error("the request's time is more than five minutes away")]
    Time,
    #[error("the signature does not fit")]
    Signature,
}

/// Checks requests against the signing secret.
#[derive(Clone)]
pub(super) struct Verifier {
    keyed: Hmac<Sha256>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier")
    }
}

impl Verifier {
    #[must_use]
    pub(super) fn new(secret: &SecretString) -> Self {
        let keyed = Hmac::new_from_slice(secret.expose_secret().as_bytes())
            .expect("HMAC takes a key of any length");
        Self { keyed }
    }

    /// Verifies `X-Slack-Request-Timestamp` and `X-Slack-Signature` over the raw body. Gives the signature as hex,
    /// which names this very request.
    pub(super) fn verify<'h>(
        &self,
        timestamp: &str,
        signature: &'h str,
        body: &[u8],
        now: Timestamp,
    ) -> Result<&'h str, Refusal> {
        // `parse` alone would take a plus sign.
        if timestamp.is_empty() || !timestamp.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Refusal::Header);
        }
        let sent: i64 = timestamp.parse().map_err(|_| Refusal::Header)?;
        let hexadecimal = signature.strip_prefix("v0=").ok_or(Refusal::Header)?;
        let mut given = [0; 32];
        let is_lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if !hexadecimal.bytes().all(is_lower)
            || hex::decode_to_slice(hexadecimal, &mut given).is_err()
        {
            return Err(Refusal::Header);
        }
        if now.as_second().abs_diff(sent) > WINDOW_SECONDS.unsigned_abs() {
            return Err(Refusal::Time);
        }
        let mut mac = self.keyed.clone();
        for part in [b"v0:".as_slice(), timestamp.as_bytes(), b":", body] {
            mac.update(part);
        }
        // In constant time.
        mac.verify_slice(&given).map_err(|_| Refusal::Signature)?;
        Ok(hexadecimal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLASH: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time in range")
    }

    #[test]
    fn slacks_own_examples_are_believed() {
        let table = [
            (
                "8f742231b10e8888abcd99yyyzzz85a5",
                "1531420618",
                SLASH,
                "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
            ),
            (
                "oncall-test-signing-secret",
                "1700000000",
                r#"{"type":"url_verification","challenge":"abc123"}"#,
                "v0=94a2bf7770c2fc4363a24033c58b7975b8e2464fa519dbf05d3c14697b944898",
            ),
            (
                "oncall-test-signing-secret",
                "1700000000",
                r#"{"text":"GPU über 90% ✓"}"#,
                "v0=cfa924a75a824815448962ad3809a81102834f4b005273c83e386c3190f0163a",
            ),
        ];
        for (secret, timestamp, body, signature) in table {
            let verifier = Verifier::new(&SecretString::from(secret));
            let now = at(timestamp.parse().expect("seconds"));
            assert_eq!(
                verifier.verify(timestamp, signature, body.as_bytes(), now),
                Ok(&signature[3..])
            );
            let other = format!("{body} ");
            assert_eq!(
                verifier.verify(timestamp, signature, other.as_bytes(), now),
                Err(Refusal::Signature)
            );
        }
    }

    #[test]
    fn requests_far_from_our_time_or_with_odd_headers_are_refused() {
        let verifier = Verifier::new(&SecretString::from("oncall-test-signing-secret"));
        let body = r#"{"type":"url_verification","challenge":"abc123"}"#.as_bytes();
        let good = "v0=94a2bf7770c2fc4363a24033c58b7975b8e2464fa519dbf05d3c14697b944898";
        let verdict = |timestamp: &str, signature: &str, now| {
            verifier.verify(timestamp, signature, body, at(now)).err()
        };

        assert_eq!(verdict("1700000000", good, 1_700_000_300), None);
        assert_eq!(verdict("1700000000", good, 1_699_999_700), None);
        assert_eq!(
            verdict("1700000000", good, 1_700_000_301),
            Some(Refusal::Time)
        );
        assert_eq!(
            verdict("1700000000", good, 1_699_999_699),
            Some(Refusal::Time)
        );
        for timestamp in [
            "",
            "+1700000000",
            " 1700000000",
            "1700000000.0",
            "17e8",
            "99999999999999999999",
        ] {
            assert_eq!(
                verdict(timestamp, good, 1_700_000_000),
                Some(Refusal::Header),
                "{timestamp:?}"
            );
        }
        let upper = format!("v0={}", good[3..].to_uppercase());
        let longer = format!("{good}00");
        for signature in [
            "",
            "v0=",
            &good[3..],
            &good.replace("v0", "v1"),
            &upper,
            &longer,
            "v0=zz",
        ] {
            assert_eq!(
                verdict("1700000000", signature, 1_700_000_000),
                Some(Refusal::Header),
                "{signature:?}"
            );
        }
    }
}
