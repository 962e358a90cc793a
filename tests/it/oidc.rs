//! Tokens of an identity provider: what is taken, what is refused, and what happens while the provider is unwell.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::extract::State as Context;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use nightbell::desk::Role;
use nightbell::http::oidc::{Oidc, OidcError, Settings, Subject};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    RsaPublicKeyComponents,
};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::bot::{Bot, install_crypto};

const AUDIENCE: &str = "nightbell-api";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).expect("a time in range")
}

fn coded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn rsa() -> RsaKeyPair {
    RsaKeyPair::from_pkcs8(include_bytes!("../support/rsa_for_tests_only.pk8")).expect("a key")
}

fn ecdsa() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let key =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a new key");
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random)
        .expect("the new key")
}

fn rsa_jwk(key: &RsaKeyPair, id: &str) -> Value {
    let public = RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
    json!({"kty": "RSA", "kid": id, "use": "sig", "alg": "RS256", "n": coded(public.n), "e": coded(public.e)})
}

fn ecdsa_jwk(key: &EcdsaKeyPair, id: &str) -> Value {
    let point = key.public_key().as_ref();
    json!({"kty": "EC", "crv": "P-256", "kid": id, "x": coded(&point[1..33]), "y": coded(&point[33..])})
}

fn unsigned(header: &Value, claims: &Value) -> String {
    format!(
        "{}.{}",
        coded(header.to_string()),
        coded(claims.to_string())
    )
}

fn by_rsa(key: &RsaKeyPair, header: &Value, claims: &Value) -> String {
    let signed = unsigned(header, claims);
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        signed.as_bytes(),
        &mut signature,
    )
    .expect("a signature");
    format!("{signed}.{}", coded(signature))
}

fn by_ecdsa(key: &EcdsaKeyPair, id: &str, claims: &Value) -> String {
    let signed = unsigned(&json!({"alg": "ES256", "kid": id}), claims);
    let signature = key
        .sign(&SystemRandom::new(), signed.as_bytes())
        .expect("a signature");
    format!("{signed}.{}", coded(signature))
}

/// An identity provider that can be slow, down or wrong.
#[derive(Clone)]
struct Provider {
    state: Arc<Mutex<State>>,
    issuer: String,
}

#[derive(Default)]
struct State {
    keys: Vec<Value>,
    calls_itself: Option<String>,
    down: bool,
    slow: Option<Duration>,
    asked: usize,
}

impl Provider {
    async fn start(keys: Vec<Value>) -> Self {
        install_crypto();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let provider = Self {
            state: Arc::new(Mutex::new(State {
                keys,
                ..State::default()
            })),
            issuer: format!("http://{address}/realm"),
        };
        let router = Router::new()
            .route("/realm/.well-known/openid-configuration", get(discovery))
            .route("/realm/keys", get(keys_of))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        provider
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panicked")
    }

    fn settings(&self) -> Settings {
        Settings {
            roles: BTreeMap::from([
                ("sre".to_owned(), Role::Operator),
                ("sre-leads".to_owned(), Role::Approver),
            ]),
            ..Settings::new(self.issuer.parse().expect("a URL"), AUDIENCE.to_owned())
        }
    }

    fn claims(&self) -> Value {
        json!({
            "iss": self.issuer, "aud": AUDIENCE, "sub": "mira", "exp": at(60).as_second(),
            "nbf": at(-60).as_second(), "iat": at(-60).as_second(), "groups": ["staff", "sre-leads", "sre"],
        })
    }

    async fn wait(&self) -> Result<(), Response> {
        let (down, slow) = {
            let mut state = self.state();
            state.asked += 1;
            (state.down, state.slow)
        };
        if let Some(slow) = slow {
            tokio::time::sleep(slow).await;
        }
        if down {
            return Err((StatusCode::BAD_GATEWAY, "<html>").into_response());
        }
        Ok(())
    }
}

async fn discovery(Context(provider): Context<Provider>) -> Response {
    if let Err(failure) = provider.wait().await {
        return failure;
    }
    let issuer = provider.state().calls_itself.clone();
    let issuer = issuer.unwrap_or_else(|| provider.issuer.clone());
    axum::Json(json!({"issuer": issuer, "jwks_uri": format!("{}/keys", provider.issuer)}))
        .into_response()
}

async fn keys_of(Context(provider): Context<Provider>) -> Response {
    if let Err(failure) = provider.wait().await {
        return failure;
    }
    let keys = provider.state().keys.clone();
    axum::Json(json!({ "keys": keys })).into_response()
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

fn is_refused(verdict: &Result<Subject, OidcError>) -> bool {
    matches!(verdict, Err(OidcError::Refused(_)))
}

#[tokio::test]
async fn tokens_of_the_provider_for_us_are_taken_with_the_role_of_their_groups() {
    let (first, second) = (rsa(), ecdsa());
    let odd = json!({"kty": "OKP", "crv": "Ed25519", "kid": "o", "x": "AA"});
    let provider =
        Provider::start(vec![odd, rsa_jwk(&first, "r1"), ecdsa_jwk(&second, "e1")]).await;
    let oidc = Oidc::new(provider.settings());
    let claims = provider.claims();
    let rs256 = json!({"alg": "RS256", "kid": "r1", "typ": "JWT"});

    let subject = |role| {
        Ok(Subject {
            subject: "mira".to_owned(),
            role,
            email: None,
        })
    };
    let token = by_rsa(&first, &rs256, &claims);
    assert_eq!(oidc.check(&token, at(0)).await, subject(Role::Approver));
    let token = by_ecdsa(&second, "e1", &claims);
    assert_eq!(oidc.check(&token, at(0)).await, subject(Role::Approver));
    // Without a key's name all keys of its kind are tried.
    let token = by_rsa(&first, &json!({"alg": "RS256"}), &claims);
    assert_eq!(oidc.check(&token, at(0)).await, subject(Role::Approver));
    let several = with(claims.clone(), "aud", json!(["other", AUDIENCE]));
    for (groups, role) in [
        (json!(["staff"]), Role::Viewer),
        (json!(["admin"]), Role::Viewer),
        (json!("sre"), Role::Operator),
        (json!(null), Role::Viewer),
        (json!({"sre": true}), Role::Viewer),
    ] {
        let token = by_rsa(&first, &rs256, &with(several.clone(), "groups", groups));
        assert_eq!(oidc.check(&token, at(0)).await, subject(role));
    }
    assert_eq!(provider.state().asked, 2, "discovery and keys, once");

    let nested = Oidc::new(Settings {
        claims: vec!["realm_access.roles".to_owned()],
        ..provider.settings()
    });
    let claims = with(claims, "realm_access", json!({"roles": ["sre"]}));
    let token = by_rsa(&first, &rs256, &claims);
    assert_eq!(nested.check(&token, at(0)).await, subject(Role::Operator));
}

#[tokio::test]
async fn forged_foreign_early_and_late_tokens_are_refused() {
    let (key, other) = (rsa(), ecdsa());
    let provider = Provider::start(vec![rsa_jwk(&key, "r1"), ecdsa_jwk(&other, "e1")]).await;
    let oidc = Oidc::new(provider.settings());
    let claims = provider.claims();
    let rs256 = json!({"alg": "RS256", "kid": "r1"});
    let changed =
        |name: &str, value: Value| by_rsa(&key, &rs256, &with(claims.clone(), name, value));

    let none = unsigned(&json!({"alg": "none", "kid": "r1"}), &claims);
    let shared = {
        // The classic: the public key, which everybody has, taken for a shared secret.
        let signed = unsigned(&json!({"alg": "HS256", "kid": "r1"}), &claims);
        let mut mac = Hmac::<Sha256>::new_from_slice(key.public().as_ref()).expect("any length");
        mac.update(signed.as_bytes());
        format!("{signed}.{}", coded(mac.finalize().into_bytes()))
    };
    let good = by_rsa(&key, &rs256, &claims);
    let (head, rest) = good.split_once('.').expect("three parts");
    let (_, signature) = rest.split_once('.').expect("three parts");
    let exchanged = with(claims.clone(), "sub", json!("root")).to_string();
    let forged = [
        format!("{none}."),
        none,
        shared,
        format!("{head}.{}.{signature}", coded(exchanged)),
        // A key of one kind under the name of another's.
        by_rsa(&key, &json!({"alg": "RS256", "kid": "e1"}), &claims),
        by_rsa(&key, &json!({"alg": "ES256", "kid": "e1"}), &claims),
        by_rsa(
            &key,
            &json!({"alg": "RS256", "kid": "r1", "crit": ["b64"]}),
            &claims,
        ),
        by_ecdsa(&ecdsa(), "e1", &claims),
        changed("iss", json!("https://elsewhere.example")),
        changed("aud", json!("another")),
        changed("aud", json!(["another"])),
        changed("aud", Value::Null),
        changed("exp", json!(at(-31).as_second())),
        changed("exp", Value::Null),
        changed("nbf", json!(at(31).as_second())),
        changed("sub", json!(" ")),
        changed("sub", Value::Null),
        String::new(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        "x".repeat(20_000),
    ];
    for token in forged {
        let verdict = oidc.check(&token, at(0)).await;
        assert!(is_refused(&verdict), "{token}: {verdict:?}");
    }
    // Clocks may differ a little.
    for token in [
        changed("exp", json!(at(-29).as_second())),
        changed("nbf", json!(at(29).as_second())),
    ] {
        assert!(oidc.check(&token, at(0)).await.is_ok());
    }
}

#[tokio::test]
async fn a_new_key_is_asked_for_once_in_a_while_whatever_tokens_name() {
    let (old, new) = (ecdsa(), ecdsa());
    let provider = Provider::start(vec![ecdsa_jwk(&old, "e1")]).await;
    let claims = provider.claims();
    let patient = Oidc::new(provider.settings());
    let eager = Oidc::new(Settings {
        refresh_gap: Duration::ZERO,
        ..provider.settings()
    });
    for oidc in [&patient, &eager] {
        assert!(
            oidc.check(&by_ecdsa(&old, "e1", &claims), at(0))
                .await
                .is_ok()
        );
    }
    provider.state().keys = vec![ecdsa_jwk(&new, "e2")];
    let asked = provider.state().asked;
    for name in 0..20 {
        let verdict = patient
            .check(&by_ecdsa(&new, &format!("made-up-{name}"), &claims), at(0))
            .await;
        assert!(is_refused(&verdict), "{verdict:?}");
    }
    assert_eq!(provider.state().asked, asked, "it was asked just before");

    assert!(
        eager
            .check(&by_ecdsa(&new, "e2", &claims), at(0))
            .await
            .is_ok()
    );
    let verdict = eager.check(&by_ecdsa(&old, "e1", &claims), at(0)).await;
    assert!(
        is_refused(&verdict),
        "a key that was taken back is not good"
    );
}

#[tokio::test]
async fn a_provider_that_is_down_or_wrong_lets_nobody_new_in_and_keeps_nobody_out() {
    let key = ecdsa();
    let provider = Provider::start(vec![ecdsa_jwk(&key, "e1")]).await;
    let token = by_ecdsa(&key, "e1", &provider.claims());
    let settings = Settings {
        refresh_gap: Duration::ZERO,
        fresh_for: Duration::ZERO,
        ..provider.settings()
    };
    let oidc = Oidc::new(settings);

    provider.state().down = true;
    assert_eq!(oidc.check(&token, at(0)).await, Err(OidcError::Unavailable));
    provider.state().down = false;
    provider.state().calls_itself = Some("https://elsewhere.example".to_owned());
    assert_eq!(oidc.check(&token, at(0)).await, Err(OidcError::Unavailable));
    provider.state().calls_itself = None;
    assert!(oidc.check(&token, at(0)).await.is_ok());
    // Its keys are known now, though they are due for renewal.
    provider.state().down = true;
    assert!(oidc.check(&token, at(0)).await.is_ok());
}

#[tokio::test]
async fn many_callers_at_a_slow_provider_ask_it_once() {
    let key = ecdsa();
    let provider = Provider::start(vec![ecdsa_jwk(&key, "e1")]).await;
    provider.state().slow = Some(Duration::from_millis(300));
    let token = by_ecdsa(&key, "e1", &provider.claims());
    let oidc = Oidc::new(provider.settings());
    let checks = (0..30).map(|_| oidc.check(&token, at(0)));
    let verdicts = futures_util::future::join_all(checks).await;
    assert!(verdicts.iter().all(Result::is_ok), "{verdicts:?}");
    assert_eq!(provider.state().asked, 2);
}

#[tokio::test]
async fn the_api_takes_tokens_of_the_provider_beside_its_own() {
    let key = rsa();
    let provider = Provider::start(vec![rsa_jwk(&key, "r1")]).await;
    let bot = Bot::prepare(&[
        ("OIDC_ISSUER", &provider.issuer),
        ("OIDC_AUDIENCE", AUDIENCE),
    ]);
    bot.configure("oidc:\n  roles:\n    sre: operator\n    sre-leads: approver\n");
    let mut bot = bot;
    bot.launch();
    bot.ready().await;
    let now = Timestamp::now().as_second();
    let claims = |groups: Value| json!({"iss": provider.issuer, "aud": AUDIENCE, "sub": "mira", "exp": now + 300, "groups": groups});
    let header = json!({"alg": "RS256", "kid": "r1"});
    let ask = |token: String, method: reqwest::Method, path: &str| {
        reqwest::Client::new()
            .request(method, bot.url(path))
            .bearer_auth(token)
            .send()
    };
    let reader = by_rsa(&key, &header, &claims(json!(["staff"])));
    let operator = by_rsa(&key, &header, &claims(json!(["sre"])));
    let get = reqwest::Method::GET;
    let post = reqwest::Method::POST;
    for (token, method, path, status) in [
        (reader.clone(), &get, "/api/v1/overview", 200),
        (reader, &post, "/api/v1/monitoring/stop", 403),
        (operator, &post, "/api/v1/monitoring/stop", 200),
        ("nonsense".to_owned(), &get, "/api/v1/overview", 401),
    ] {
        let answer = ask(token, method.clone(), path).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{method} {path}");
    }
    let stranger = reqwest::get(bot.url("/api/v1/overview"))
        .await
        .expect("an answer");
    assert_eq!(
        stranger.status().as_u16(),
        401,
        "this machine is no exception"
    );
}
