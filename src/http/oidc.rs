//! Access tokens of an identity provider (OpenID Connect): its keys are found by discovery, kept, and asked for again
//! when a token names one that is not known.
//!
//! Only RS256 and ES256 are taken, and each only with a key of its own kind, so that a token signed with a public key
//! as if it were a shared secret, or not signed at all, is refused. The provider being slow or gone keeps nobody out
//! whose key is known.

mod keys;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::{Host, Url};

use self::keys::{Algorithm, Key, KeySet, key};
use crate::desk::Role;

/// Clocks of two machines may differ by this much.
const LEEWAY_SECONDS: i64 = 30;
/// The largest token that is looked at; providers that list hundreds of groups stay below.
const TOKEN_BYTES: usize = 16 * 1024;
/// The largest answer of the provider that is read.
const ANSWER_BYTES: usize = 512 * 1024;
/// Keys of one provider that are kept; providers have two or three.
const KEYS: usize = 64;
/// One answer of the provider.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Which provider is believed, and what its groups may.
#[derive(Clone, Debug)]
pub struct Settings {
    pub issuer: Url,
    /// Tokens for others are refused.
    pub audience: String,
    /// Claims that hold roles or groups: `roles`, or a path such as `realm_access.roles`.
    pub claims: Vec<String>,
    /// A value of those claims → the role that it grants. Who has none of them reads.
    pub roles: BTreeMap<String, Role>,
    /// At most one question to the provider in so much time, whatever tokens name.
    pub refresh_gap: Duration,
    /// Keys older than this are asked for again; they serve on while the provider is silent.
    pub fresh_for: Duration,
}

impl Settings {
    #[must_use]
    pub fn new(issuer: Url, audience: String) -> Self {
        Self {
            issuer,
            audience,
            claims: vec!["roles".to_owned(), "groups".to_owned()],
            roles: BTreeMap::new(),
            refresh_gap: Duration::from_secs(30),
            fresh_for: Duration::from_hours(1),
        }
    }
}

/// Who a good token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub subject: String,
    pub role: Role,
    /// The e-mail address that the provider has checked.
    pub email: Option<String>,
}

/// Why a token is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    /// The token is not good. The reason is for the log.
    #[error("{0}")]
    Refused(&'static str),
    /// Nothing is known of its key, and the provider did not answer.
    #[error("the identity provider did not give its keys")]
    Unavailable,
}

/// Checks tokens of one provider. Cheap to clone.
#[derive(Clone)]
pub struct Oidc {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    http: reqwest::Client,
    keys: RwLock<KeySet>,
    /// When the provider was asked last; held while it is asked.
    asking: Mutex<Option<Instant>>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood; none is.
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: Option<String>,
    aud: Option<Audience>,
    exp: Option<f64>,
    nbf: Option<f64>,
    #[serde(flatten)]
    more: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: Url,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Value>,
}

/// Why the provider's keys could not be had; for the log.
#[derive(Debug, thiserror::Error)]
enum ProviderError {
    #[error("the identity provider did not answer")]
    Unreachable(#[source] reqwest::Error),
    #[error("the identity provider answered with HTTP {0}")]
    Status(u16),
    #[error("the identity provider's answer is too large")]
    TooLarge,
    #[error("the identity provider's answer is not what it should be")]
    Malformed(#[source] serde_json::Error),
    #[error("the identity provider calls itself {0}, not OIDC_ISSUER")]
    OtherIssuer(String),
    #[error("the identity provider's keys are not at an https address")]
    Insecure,
}

impl std::fmt::Debug for Oidc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Oidc")
            .field("issuer", &self.inner.settings.issuer.as_str())
            .finish_non_exhaustive()
    }
}

impl Oidc {
    /// Makes the checker; nothing is called until the first token comes.
    ///
    /// # Panics
    /// When no TLS provider is installed; the program installs one at its start.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let mut builder = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(TIMEOUT)
            // Following would let the provider's answer point anywhere.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("nightbell/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&settings.issuer) {
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .expect("the TLS provider is installed and all options are constants");
        Self {
            inner: Arc::new(Inner {
                settings,
                http,
                keys: RwLock::default(),
                asking: Mutex::default(),
            }),
        }
    }

    /// Who a token speaks for, if it is of our provider, for us, and good at `now`.
    ///
    /// # Errors
    /// When it is not, or when nobody can tell because the provider is silent.
    pub async fn check(&self, token: &str, now: Timestamp) -> Result<Subject, OidcError> {
        let parts = Parts::of(token)?;
        let claims: Claims = json(parts.claims)?;
        // Looked at before the signature only so that tokens of others cause no question to our provider.
        if !same_issuer(&claims.iss, self.inner.settings.issuer.as_str()) {
            return Err(OidcError::Refused("it is of another issuer"));
        }
        self.inner.verify(&parts).await?;
        let settings = &self.inner.settings;
        let subject = claims.good_for(&settings.audience, now)?;
        Ok(Subject {
            subject,
            role: role(&claims.more, settings),
            email: email(&claims.more),
        })
    }
}

/// A token taken apart; nothing is believed yet.
struct Parts<'t> {
    algorithm: Algorithm,
    key_id: Option<String>,
    claims: &'t str,
    /// What the signature is over.
    signed: &'t str,
    signature: Vec<u8>,
}

impl<'t> Parts<'t> {
    fn of(token: &'t str) -> Result<Self, OidcError> {
        if token.len() > TOKEN_BYTES {
            return Err(OidcError::Refused("it is too large"));
        }
        let malformed = || OidcError::Refused("it is no signed token");
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
        let header: Header = json(header)?;
        if header.crit.is_some() {
            return Err(OidcError::Refused("it asks for an extension"));
        }
        let algorithm = match header.alg.as_str() {
            "RS256" => Algorithm::Rs256,
            "ES256" => Algorithm::Es256,
            _ => {
                return Err(OidcError::Refused(
                    "it is signed by neither RS256 nor ES256",
                ));
            }
        };
        Ok(Self {
            algorithm,
            key_id: header.kid,
            claims,
            signed,
            signature: URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed())?,
        })
    }
}

fn json<T: DeserializeOwned>(part: &str) -> Result<T, OidcError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or(OidcError::Refused("it is no signed token"))
}

impl Claims {
    /// The subject, if the token is for `audience` and good at `now`.
    fn good_for(&self, audience: &str, now: Timestamp) -> Result<String, OidcError> {
        let is_for_us = match &self.aud {
            Some(Audience::One(one)) => one == audience,
            Some(Audience::Several(several)) => several.iter().any(|one| one == audience),
            None => false,
        };
        if !is_for_us {
            return Err(OidcError::Refused("it is for another audience"));
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "seconds since 1970 fit into a double for millions of years"
        )]
        let seconds = |shift: i64| now.as_second().saturating_add(shift) as f64;
        // A missing or odd number compares as no.
        if !self.exp.is_some_and(|exp| exp > seconds(-LEEWAY_SECONDS)) {
            return Err(OidcError::Refused("it is over"));
        }
        if self.nbf.is_some_and(|nbf| nbf > seconds(LEEWAY_SECONDS)) {
            return Err(OidcError::Refused("it is not good yet"));
        }
        match self.sub.as_deref().map(str::trim) {
            Some(subject) if !subject.is_empty() => Ok(subject.to_owned()),
            Some(_) | None => Err(OidcError::Refused("it names nobody")),
        }
    }
}

/// The address, if the provider says that it is the subject's. (Some providers write the boolean as text.)
fn email(claims: &BTreeMap<String, Value>) -> Option<String> {
    let is_checked = match claims.get("email_verified") {
        Some(Value::Bool(checked)) => *checked,
        Some(Value::String(checked)) => checked == "true",
        Some(_) | None => false,
    };
    let email = claims.get("email")?.as_str()?;
    is_checked.then(|| email.to_owned())
}

/// The highest role that the claims grant.
fn role(claims: &BTreeMap<String, Value>, settings: &Settings) -> Role {
    let granted = settings.claims.iter().flat_map(|path| held(claims, path));
    granted
        .filter_map(|value| settings.roles.get(value).copied())
        .max()
        .unwrap_or(Role::Viewer)
}

/// The texts that a claim holds. The name as it stands comes first, as some providers name claims by URLs.
fn held<'c>(claims: &'c BTreeMap<String, Value>, path: &str) -> Vec<&'c str> {
    let whole = claims.get(path);
    let found = whole.or_else(|| {
        let mut steps = path.split('.');
        let first = claims.get(steps.next()?)?;
        steps.try_fold(first, |value, step| value.get(step))
    });
    match found {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        Some(_) | None => Vec::new(),
    }
}

impl Inner {
    async fn verify(&self, parts: &Parts<'_>) -> Result<(), OidcError> {
        let known = self.known();
        let is_fresh = known
            .learnt
            .is_some_and(|at| at.elapsed() < self.settings.fresh_for);
        if is_fresh && let Some(verdict) = known.judge(parts) {
            return verdict;
        }
        let is_told = self.refresh(known.learnt).await;
        match (self.known().judge(parts), is_told) {
            (Some(verdict), _) => verdict,
            (None, true) => Err(OidcError::Refused("its key is not one of the provider's")),
            (None, false) => Err(OidcError::Unavailable),
        }
    }

    fn known(&self) -> KeySet {
        self.keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Asks the provider for its keys, unless that was done since `seen` or just now. Whether any keys are known.
    async fn refresh(&self, seen: Option<Instant>) -> bool {
        let mut asked = self.asking.lock().await;
        let known = self.known();
        let is_newer = known.learnt != seen;
        let is_early = asked.is_some_and(|at| at.elapsed() < self.settings.refresh_gap);
        if is_newer || is_early {
            return known.learnt.is_some();
        }
        *asked = Some(Instant::now());
        match self.ask().await {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), "the identity provider gave its keys");
                let learnt = Some(Instant::now());
                let set = KeySet {
                    keys: keys.into(),
                    learnt,
                };
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = set;
                true
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot ask the identity provider for its keys"
                );
                known.learnt.is_some()
            }
        }
    }

    async fn ask(&self) -> Result<Vec<Key>, ProviderError> {
        let issuer = self.settings.issuer.as_str().trim_end_matches('/');
        let address = format!("{issuer}/.well-known/openid-configuration");
        let discovery: Discovery = self.read(&address).await?;
        if !same_issuer(&discovery.issuer, issuer) {
            return Err(ProviderError::OtherIssuer(discovery.issuer));
        }
        let is_safe = discovery.jwks_uri.scheme() == "https"
            || (is_loopback(&self.settings.issuer) && is_loopback(&discovery.jwks_uri));
        if !is_safe {
            return Err(ProviderError::Insecure);
        }
        let jwks: Jwks = self.read(discovery.jwks_uri.as_str()).await?;
        // Keys of kinds that we do not use are no mistake.
        Ok(jwks.keys.into_iter().filter_map(key).take(KEYS).collect())
    }

    async fn read<T: DeserializeOwned>(&self, address: &str) -> Result<T, ProviderError> {
        let mut answer = self
            .http
            .get(address)
            .send()
            .await
            .map_err(ProviderError::Unreachable)?;
        if !answer.status().is_success() {
            return Err(ProviderError::Status(answer.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(ProviderError::Unreachable)? {
            if body.len() + chunk.len() > ANSWER_BYTES {
                return Err(ProviderError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(ProviderError::Malformed)
    }
}

/// A parsed address ends in a slash where the provider may write none.
fn same_issuer(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

/// Whether an address is of this machine, where plain HTTP is no risk.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
