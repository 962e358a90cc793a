//! API tokens: JWT signed by HS256 with `JWT_SECRET`, made by `nightbell token` or by whoever holds the secret.
//!
//! The JWT library comes without cryptography of its own (one of its two choices carries an RSA with an open
//! advisory, the other a large C build), so that HMAC is given to it here.

use std::sync::Once;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, Result};
use jsonwebtoken::signature::{Error as SignatureError, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey, Header, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

pub use crate::desk::Role;

/// Our tokens are for us: a token of another service with the same secret is not taken.
const AUDIENCE: &str = "nightbell";
/// Clocks of two machines may differ by this much.
const LEEWAY_SECONDS: u64 = 30;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who: named in approvals and in the audit.
    pub sub: String,
    pub role: Role,
    pub aud: String,
    /// Seconds since 1970.
    pub exp: u64,
    pub iat: u64,
}

/// Makes and checks tokens.
#[derive(Clone)]
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

impl Tokens {
    #[must_use]
    pub fn new(secret: &SecretString) -> Self {
        install_provider();
        let secret = secret.expose_secret().as_bytes();
        Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
        }
    }

    /// A token for `subject`.
    ///
    /// # Errors
    /// When the library refuses the claims.
    pub fn issue(
        &self,
        subject: &str,
        role: Role,
        valid_for: Duration,
        now: Timestamp,
    ) -> Result<String> {
        let iat = u64::try_from(now.as_second()).unwrap_or_default();
        let claims = Claims {
            sub: subject.to_owned(),
            role,
            aud: AUDIENCE.to_owned(),
            exp: iat.saturating_add(valid_for.as_secs()),
            iat,
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
    }

    /// The claims of a token that is ours, for us, and not over at `now`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn check(&self, token: &str, now: Timestamp) -> Result<Claims> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "aud", "sub"]);
        // The library would look at the clock itself; time is an argument here.
        validation.validate_exp = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation)?.claims;
        let now = u64::try_from(now.as_second()).unwrap_or_default();
        if claims.exp.saturating_add(LEEWAY_SECONDS) < now {
            return Err(ErrorKind::ExpiredSignature.into());
        }
        if claims.sub.trim().is_empty() {
            return Err(ErrorKind::InvalidSubject.into());
        }
        Ok(claims)
    }
}

fn install_provider() {
    static ONCE: Once = Once::new();
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: |algorithm, key| {
            hs256(*algorithm, key.family())?;
            Ok(Box::new(Hs256::new(key.as_bytes())))
        },
        verifier_factory: |algorithm, key| {
            hs256(*algorithm, key.family())?;
            Ok(Box::new(Hs256::new(key.try_get_as_bytes()?)))
        },
        key_utils: KeyUtils::new_unimplemented(),
    };
    // Nothing else in this process installs one; if something did, its HS256 is the same.
    ONCE.call_once(|| {
        let _ = PROVIDER.install_default();
    });
}

fn hs256(algorithm: Algorithm, family: AlgorithmFamily) -> Result<()> {
    if algorithm == Algorithm::HS256 && family == AlgorithmFamily::Hmac {
        Ok(())
    } else {
        Err(Error::from(ErrorKind::InvalidAlgorithm))
    }
}

struct Hs256(Hmac<Sha256>);

impl Hs256 {
    fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes a key of any length"))
    }
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, SignatureError> {
        let mut mac = self.0.clone();
        mac.update(message);
        Ok(mac.finalize().into_bytes().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(
        &self,
        message: &[u8],
        signature: &Vec<u8>,
    ) -> std::result::Result<(), SignatureError> {
        let mut mac = self.0.clone();
        mac.update(message);
        // In constant time.
        mac.verify_slice(signature)
            .map_err(|_| SignatureError::new())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }
    fn tokens(secret: &str) -> Tokens {
        Tokens::new(&SecretString::from(secret.to_owned()))
    }
    fn ours() -> Tokens {
        tokens("0123456789abcdef0123456789abcdef")
    }

    #[test]
    fn a_token_is_good_until_it_expires_and_only_under_its_secret() {
        let token = ours()
            .issue("mira", Role::Operator, Duration::from_mins(5), at(NOW))
            .unwrap();
        let claims = ours().check(&token, at(NOW + 60)).unwrap();
        assert_eq!((claims.sub.as_str(), claims.role), ("mira", Role::Operator));
        assert!(
            ours().check(&token, at(NOW + 329)).is_ok(),
            "within the leeway"
        );
        assert!(ours().check(&token, at(NOW + 331)).is_err());
        let other = tokens("another secret of enough characters");
        assert!(other.check(&token, at(NOW)).is_err());
    }

    #[test]
    fn the_signature_is_the_one_of_rfc_7515() {
        // Appendix A.1 of RFC 7515: header and payload contain the line breaks of the RFC.
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow==";
        let message = b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        install_provider();
        let key = EncodingKey::from_urlsafe_base64_secret(key).unwrap();
        let signature = jsonwebtoken::crypto::sign(message, &key, Algorithm::HS256).unwrap();
        assert_eq!(signature, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }

    #[test]
    fn tokens_without_signature_or_with_another_algorithm_audience_or_role_are_refused() {
        // {"alg":"none"} and the claims of an admin, with an empty signature.
        let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJtIiwicm9sZSI6ImFkbWluIiwiYXVkIjoibmlnaHRiZWxsIiwiZXhwIjo5OTk5OTk5OTk5LCJpYXQiOjF9.";
        assert!(ours().check(none, at(NOW)).is_err());
        let forge = |claims: serde_json::Value| {
            jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &ours().encoding).unwrap()
        };
        let good = serde_json::json!({"sub": "m", "role": "viewer", "aud": "nightbell", "exp": NOW + 9, "iat": NOW});
        assert!(ours().check(&forge(good.clone()), at(NOW)).is_ok());
        for (claim, value) in [
            ("aud", serde_json::json!("elsewhere")),
            ("role", serde_json::json!("root")),
            ("sub", serde_json::json!(" ")),
            ("exp", serde_json::json!("never")),
        ] {
            let mut claims = good.clone();
            claims[claim] = value;
            assert!(ours().check(&forge(claims), at(NOW)).is_err(), "{claim}");
        }
        for missing in ["sub", "role", "aud", "exp"] {
            let mut claims = good.clone();
            claims.as_object_mut().unwrap().remove(missing);
            assert!(ours().check(&forge(claims), at(NOW)).is_err(), "{missing}");
        }
    }
}
