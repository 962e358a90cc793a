//! The access token: fetched once for all callers, renewed before it expires or when it is refused.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::{RunaiError, Settings, SignIn, transport};

/// A token is renewed this long before it ends, so that no call starts with one that ends on the way.
const RENEW_BEFORE: Duration = Duration::from_mins(1);
/// Life of a token that states none.
const UNSTATED_LIFE: Duration = Duration::from_mins(5);
/// After refused credentials nothing is asked for this long: more tries can only lock the account.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);

/// The token shared by all clones of a client.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    refused_at: Option<Instant>,
}

#[derive(Debug)]
struct Held {
    token: SecretString,
    renew_at: Instant,
    ends_at: Instant,
}

impl Tokens {
    /// A token that is good for the next call. Callers that come while one is fetched wait for that one.
    pub(super) async fn current(
        &self,
        http: &reqwest::Client,
        settings: &Settings,
    ) -> Result<SecretString, RunaiError> {
        let mut state = self.state.lock().await;
        let now = Instant::now();
        match &state.held {
            Some(held) if now < held.renew_at => Ok(held.token.clone()),
            Some(held) if now < held.ends_at => {
                let old = held.token.clone();
                // The old token still works: a sign-in that is briefly down must not stop the watch.
                match state.fetch(http, settings).await {
                    Err(RunaiError::Unreachable(_) | RunaiError::RateLimited { .. }) => Ok(old),
                    Err(RunaiError::Rejected { status, .. }) if status >= 500 => Ok(old),
                    fetched => fetched,
                }
            }
            Some(_) | None => state.fetch(http, settings).await,
        }
    }

    /// A token other than `refused`: the one another caller fetched meanwhile, or a new one.
    pub(super) async fn other_than(
        &self,
        refused: &SecretString,
        http: &reqwest::Client,
        settings: &Settings,
    ) -> Result<SecretString, RunaiError> {
        let mut state = self.state.lock().await;
        match &state.held {
            Some(held) if held.token.expose_secret() != refused.expose_secret() => {
                Ok(held.token.clone())
            }
            Some(_) | None => state.fetch(http, settings).await,
        }
    }
}

impl State {
    async fn fetch(
        &mut self,
        http: &reqwest::Client,
        settings: &Settings,
    ) -> Result<SecretString, RunaiError> {
        if self
            .refused_at
            .is_some_and(|at| at.elapsed() < REFUSED_PAUSE)
        {
            return Err(RunaiError::Unauthorized);
        }
        match sign_in(http, settings).await {
            Ok(granted) => {
                let now = Instant::now();
                let life = granted.life(Timestamp::now());
                self.refused_at = None;
                self.held = Some(Held {
                    token: granted.token.clone(),
                    renew_at: now + life.saturating_sub(RENEW_BEFORE).max(life / 2),
                    ends_at: now + life,
                });
                Ok(granted.token)
            }
            Err(error) => {
                if matches!(error, RunaiError::Unauthorized) {
                    self.refused_at = Some(Instant::now());
                    self.held = None;
                }
                Err(error)
            }
        }
    }
}

/// What the token endpoint grants; v1 answers in camel case, v2 in snake case.
#[derive(Deserialize)]
struct Granted {
    #[serde(rename = "accessToken", alias = "access_token")]
    token: SecretString,
    /// Seconds; older releases leave it out.
    #[serde(default, rename = "expiresIn", alias = "expires_in")]
    expires_in: Option<f64>,
}

impl Granted {
    /// How long the token lives: as stated, else as its own claims say, else a cautious guess.
    fn life(&self, now: Timestamp) -> Duration {
        #[derive(Deserialize)]
        struct Claims {
            exp: i64,
            iat: Option<i64>,
        }
        if let Some(life) = self
            .expires_in
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        {
            return life;
        }
        // Only read for its times: whether the token is genuine is the control plane's to judge.
        jsonwebtoken::dangerous::insecure_decode_claims::<Claims>(self.token.expose_secret())
            .ok()
            .and_then(|claims| {
                // With `iat` the life is right even where our clock is not.
                let from = claims.iat.unwrap_or_else(|| now.as_second());
                u64::try_from(claims.exp.saturating_sub(from)).ok()
            })
            .map_or(UNSTATED_LIFE, Duration::from_secs)
    }
}

async fn sign_in(http: &reqwest::Client, settings: &Settings) -> Result<Granted, RunaiError> {
    let base = settings.base_url.as_str().trim_end_matches('/');
    let mut tried = 0;
    let answer = loop {
        tried += 1;
        let request = match settings.sign_in {
            SignIn::V1 => http
                .post(format!("{base}/api/v1/token"))
                .json(&serde_json::json!({
                    "grantType": "client_credentials",
                    "clientID": settings.client_id,
                    "clientSecret": settings.client_secret.expose_secret(),
                })),
            SignIn::V2 => http.post(format!("{base}/api/v2/token")).form(&[
                ("grant_type", "client_credentials"),
                ("client_id", settings.client_id.as_str()),
                ("client_secret", settings.client_secret.expose_secret()),
            ]),
        };
        let outcome = transport::send(request).await;
        match transport::next_try(&outcome, tried, settings) {
            Some(wait) => sleep(wait).await,
            None => break outcome?,
        }
    };
    // Wrong credentials are a 400 in v1 and a 400 or 401 in v2.
    if matches!(answer.status.as_u16(), 400 | 401 | 403) {
        return Err(RunaiError::Unauthorized);
    }
    let body = answer.into_body()?;
    // No excerpt: the answer of this endpoint may hold a token.
    serde_json::from_slice(&body).map_err(|error| RunaiError::Malformed {
        what: "token",
        reason: error.to_string(),
        excerpt: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(token: &str, expires_in: Option<f64>) -> Granted {
        Granted {
            token: token.to_owned().into(),
            expires_in,
        }
    }

    #[test]
    fn the_life_of_a_token_is_the_stated_one_else_that_of_its_claims() {
        let now = Timestamp::from_second(1_790_000_000).expect("a time");
        // {"alg":"HS256"} . {"exp":1790003600,"iat":1790000000} and {"exp":1790000900} . signature
        let both = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE3OTAwMDM2MDAsImlhdCI6MTc5MDAwMDAwMH0.eA";
        let ends = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE3OTAwMDA5MDB9.eA";
        for (token, stated, seconds) in [
            (both, Some(120.0), 120),
            (both, None, 3600),
            (both, Some(-1.0), 3600),
            (ends, None, 900),
            ("opaque", None, 300),
            ("a.b.c", None, 300),
        ] {
            assert_eq!(
                granted(token, stated).life(now),
                Duration::from_secs(seconds),
                "{token}"
            );
        }
    }

    #[test]
    fn both_spellings_of_the_answer_are_read() {
        for body in [
            r#"{"accessToken":"t","idToken":null,"expiresIn":60}"#,
            r#"{"access_token":"t","expires_in":60}"#,
        ] {
            let granted: Granted = serde_json::from_str(body).expect("a token");
            assert_eq!(granted.expires_in, Some(60.0));
        }
    }
}
