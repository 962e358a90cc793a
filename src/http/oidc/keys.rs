//! The keys of an identity provider, and whether one of them has signed a token.
//!
//! Each key is used with its own algorithm only.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::{OidcError, Parts};

#[derive(Clone, Default)]
pub(super) struct KeySet {
    pub(super) keys: Arc<[Key]>,
    pub(super) learnt: Option<Instant>,
}

pub(super) struct Key {
    pub(super) id: Option<String>,
    pub(super) public: PublicKey,
}

pub(super) enum PublicKey {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point of P-256.
    P256(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Es256,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Whether the signature is of the key that the token names; `None` when no such key is known.
    pub(super) fn judge(&self, parts: &Parts<'_>) -> Option<Result<(), OidcError>> {
        let mut candidates = self
            .keys
            .iter()
            .filter(|key| {
                key.public.algorithm() == parts.algorithm
                    && (parts.key_id.is_none() || key.id == parts.key_id)
            })
            .peekable();
        candidates.peek()?;
        let is_signed = candidates.any(|key| {
            key.public
                .has_signed(parts.signed.as_bytes(), &parts.signature)
        });
        if is_signed {
            return Some(Ok(()));
        }
        // A token that names no key may be of one that is not known yet.
        parts
            .key_id
            .is_some()
            .then_some(Err(OidcError::Refused("its signature does not fit")))
    }
}

impl PublicKey {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa { .. } => Algorithm::Rs256,
            Self::P256(_) => Algorithm::Es256,
        }
    }

    fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rsa { n, e } => RsaPublicKeyComponents { n, e }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
            Self::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .verify(message, signature)
                .is_ok(),
        }
    }
}

/// A key of the provider, if it is of a kind that we use.
pub(super) fn key(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    if jwk.purpose.is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let number = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
    let is_for = |name: &str| jwk.alg.as_ref().is_none_or(|alg| alg == name);
    let public = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) if is_for("RS256") => PublicKey::Rsa {
            n: unpadded(&number(&jwk.n)?),
            e: unpadded(&number(&jwk.e)?),
        },
        ("EC", Some("P-256")) if is_for("ES256") => {
            let (x, y) = (number(&jwk.x)?, number(&jwk.y)?);
            if x.len() != 32 || y.len() != 32 {
                return None;
            }
            PublicKey::P256([vec![4], x, y].concat())
        }
        _ => return None,
    };
    Some(Key {
        id: jwk.kid,
        public,
    })
}

/// Some providers write numbers with zeros in front, which the check of RSA does not take.
fn unpadded(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number[zeros..].to_vec()
}
