//! The HTTP surface: who is let in, what a browser of somebody else's page cannot do, and what people are told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use jiff::Timestamp;
use nightbell::chat::card::{Card, Tone, Verb};
use nightbell::desk::{Answer, Command, Handler, Outcome, Principal, Surface};
use nightbell::http::token::{Role, Tokens};
use nightbell::http::{self, Access, Pulses, Shared};
use nightbell::notify::view::Views;
use nightbell::safety::{Safety, Settings};
use nightbell::watch::Beat;
use nightbell::watch::control::{MonitoringControl, Projects};
use nightbell::watch::sources::Sources;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::support::database::{TestDatabase, sqlite};

const SECRET: &str = "a secret of more than thirty-two characters";
pub const PAGE: &str = "https://nightbell.example.com/";
const LOCAL: &str = "127.0.0.1:40000";
pub const OTHER_MACHINE: &str = "10.0.0.9:40000";

/// The surface over an empty store, with a desk that writes down what it is asked.
pub struct Surroundings {
    pub router: Router,
    heard: Arc<Mutex<Vec<(Principal, Command)>>>,
    pub sources: Sources,
    pub monitoring: MonitoringControl,
    ready: tokio::sync::watch::Sender<bool>,
    pub shutdown: CancellationToken,
    pub database: TestDatabase,
}

async fn surroundings(access: Access) -> Surroundings {
    let database = sqlite().await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let desk: Handler = {
        let heard = Arc::clone(&heard);
        Arc::new(move |principal, command| {
            let answer = answer(&command);
            heard
                .lock()
                .expect("nobody panicked")
                .push((principal, command));
            Box::pin(async move { answer })
        })
    };
    let (ready, is_ready) = tokio::sync::watch::channel(false);
    let shutdown = CancellationToken::new();
    let sources = Sources::default();
    let store = database.store.clone();
    let monitoring = MonitoringControl::open(store.clone(), Projects::All, Timestamp::now())
        .await
        .expect("a fresh database answers");
    let shared = Shared {
        store: store.clone(),
        desk,
        estate: Arc::default(),
        sources: sources.clone(),
        monitoring: monitoring.clone(),
        safety: Safety::new(store.clone(), Settings::default()),
        views: Views::new(store, Some(PAGE.parse().expect("a URL"))),
        registry: Arc::default(),
        access,
        demo: true,
        started: Timestamp::now(),
        ready: is_ready,
        shutdown: shutdown.clone(),
        pulses: Pulses::default(),
    };
    Surroundings {
        router: http::router(shared),
        heard,
        sources,
        monitoring,
        ready,
        shutdown,
        database,
    }
}

pub async fn open() -> Surroundings {
    surroundings(Access::new(None, None)).await
}

pub async fn with_tokens() -> (Surroundings, Tokens) {
    let secret = SecretString::from(SECRET.to_owned());
    let tokens = Tokens::new(&secret);
    (surroundings(Access::new(Some(&secret), None)).await, tokens)
}

fn answer(command: &Command) -> Answer {
    let outcome = match command {
        Command::JobStatus { .. } => Outcome::NotFound,
        Command::Decide { .. } => Outcome::Refused,
        _ => Outcome::Done,
    };
    let error = (outcome != Outcome::Done).then_some("not as you think");
    Answer {
        card: Card {
            fallback: "an answer".to_owned(),
            tone: Tone::Info,
            blocks: Vec::new(),
        },
        body: json!({ "error": error, "candidates": [{ "job": "bert" }] }),
        outcome,
        private: false,
    }
}

impl Surroundings {
    pub async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router
            .clone()
            .oneshot(request)
            .await
            .expect("a router always answers")
    }

    pub async fn status(&self, request: Request<Body>) -> StatusCode {
        self.send(request).await.status()
    }

    fn commands(&self) -> Vec<Command> {
        let heard = self.heard.lock().expect("nobody panicked");
        heard.iter().map(|(_, command)| command.clone()).collect()
    }
}

pub fn request(
    method: &str,
    path: &str,
    peer: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "127.0.0.1:8000");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request
        .body(Body::from(body.to_owned()))
        .expect("a good request");
    let peer: SocketAddr = peer.parse().expect("an address");
    request.extensions_mut().insert(ConnectInfo(peer));
    request
}

pub fn get(path: &str) -> Request<Body> {
    request("GET", path, LOCAL, &[], "")
}

pub fn post(path: &str, body: &Value) -> Request<Body> {
    let headers = [("content-type", "application/json")];
    request("POST", path, LOCAL, &headers, &body.to_string())
}

async fn text(response: Response<Body>) -> String {
    let bytes = to_bytes(response.into_body(), 8 << 20)
        .await
        .expect("a body");
    String::from_utf8(bytes.to_vec()).expect("text")
}

pub async fn body(response: Response<Body>) -> Value {
    serde_json::from_str(&text(response).await).expect("JSON")
}

/// What a problem says: its status, and a detail for people.
pub async fn problem(response: Response<Body>) -> (u16, String) {
    let kind = response.headers()["content-type"].clone();
    assert_eq!(kind, "application/problem+json");
    let status = response.status().as_u16();
    let body = body(response).await;
    assert_eq!(body["status"], status);
    assert_eq!(body["type"], "about:blank");
    assert!(body["title"].is_string());
    (
        status,
        body["detail"].as_str().expect("a detail").to_owned(),
    )
}

#[tokio::test]
async fn without_a_secret_only_this_machine_under_its_own_names_is_answered() {
    let bot = open().await;
    let asked =
        |peer, headers: &[(&str, &str)]| request("GET", "/api/v1/overview", peer, headers, "");
    for (peer, host) in [
        (LOCAL, "127.0.0.1:8000"),
        (LOCAL, "localhost:8000"),
        (LOCAL, "LocalHost"),
        ("[::1]:40000", "[::1]:8000"),
        ("[::ffff:127.0.0.1]:40000", "localhost"),
    ] {
        let status = bot.status(asked(peer, &[("host", host)])).await;
        assert_eq!(status, StatusCode::OK, "{peer} {host}");
    }
    for (peer, headers) in [
        (
            OTHER_MACHINE,
            [("host", "127.0.0.1:8000"), ("accept", "*/*")],
        ),
        (
            "[2001:db8::7]:40000",
            [("host", "127.0.0.1:8000"), ("accept", "*/*")],
        ),
        // DNS rebinding: the name is somebody else's, the address ours.
        (LOCAL, [("host", "evil.example:8000"), ("accept", "*/*")]),
        (
            LOCAL,
            [("host", "localhost.evil.example"), ("accept", "*/*")],
        ),
        (LOCAL, [("host", ""), ("accept", "*/*")]),
        (LOCAL, [("host", "localhost"), ("host", "evil.example")]),
        // A proxy on this machine makes every peer look local.
        (
            LOCAL,
            [("host", "localhost"), ("x-forwarded-for", "10.0.0.9")],
        ),
        (LOCAL, [("host", "localhost"), ("x-forwarded-host", "a")]),
        (
            LOCAL,
            [("host", "localhost"), ("forwarded", "for=10.0.0.9")],
        ),
        (LOCAL, [("host", "localhost"), ("via", "1.1 proxy")]),
        (
            LOCAL,
            [("host", "localhost"), ("x-forwarded-proto", "https")],
        ),
        (
            LOCAL,
            [
                ("host", "127.0.0.1:8000"),
                ("x-envoy-peer-metadata-id", "a"),
            ],
        ),
        (
            LOCAL,
            [("host", "localhost"), ("cf-connecting-ip", "10.0.0.9")],
        ),
    ] {
        for path in [
            "/api/v1/overview",
            "/api/v1/stream",
            "/health/detailed",
            "/",
            "/docs/",
            "/openapi.json",
        ] {
            let (status, detail) =
                problem(bot.send(request("GET", path, peer, &headers, "")).await).await;
            assert_eq!(status, 403, "{peer} {headers:?} {path}");
            assert!(
                detail.contains("JWT_SECRET") || detail.contains("localhost"),
                "{detail}"
            );
        }
    }
}

#[tokio::test]
async fn health_and_metrics_answer_whoever_asks() {
    let bot = open().await;
    for path in ["/health", "/health/live", "/metrics"] {
        let asked = request(
            "GET",
            path,
            OTHER_MACHINE,
            &[("host", "nightbell.ops.svc")],
            "",
        );
        assert_eq!(bot.status(asked).await, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_page_of_another_origin_changes_nothing() {
    let bot = open().await;
    let stop = |headers: &[(&str, &str)], body: &str| {
        request("POST", "/api/v1/monitoring/stop", LOCAL, headers, body)
    };
    for headers in [
        [
            ("host", "localhost:8000"),
            ("origin", "http://evil.example"),
        ],
        [
            ("host", "localhost:8000"),
            ("origin", "http://localhost:3000"),
        ],
        [("host", "localhost:8000"), ("origin", "null")],
        [("host", "localhost:8000"), ("sec-fetch-site", "cross-site")],
        [("host", "localhost:8000"), ("sec-fetch-site", "same-site")],
    ] {
        let (status, detail) = problem(bot.send(stop(&headers, "")).await).await;
        assert_eq!(status, 403, "{headers:?}");
        assert!(detail.contains("another origin"), "{detail}");
    }
    // A form of a foreign page cannot send JSON, and what is not JSON is not read.
    let form = [("content-type", "text/plain")];
    let asked = request("POST", "/api/v1/monitoring/start", LOCAL, &form, "{}");
    assert_eq!(problem(bot.send(asked).await).await.0, 415);
    assert_eq!(bot.commands(), []);

    let own = [
        ("host", "localhost:8000"),
        ("origin", "http://localhost:8000"),
    ];
    assert_eq!(bot.status(stop(&own, "")).await, StatusCode::OK);
    assert_eq!(bot.commands(), [Command::MonitoringStop]);
}

#[tokio::test]
async fn a_role_allows_what_it_says_and_no_more() {
    let (bot, tokens) = with_tokens().await;
    let press = |verb: Verb| json!({ "verb": verb, "id": "a1" });
    let cases = [
        (
            Role::Viewer,
            "POST",
            "/api/v1/commands",
            json!({ "command": "monitoring_status" }),
        ),
        (Role::Viewer, "GET", "/api/v1/alerts", json!({})),
        (
            Role::Viewer,
            "POST",
            "/api/v1/jobs/nlp/bert/troubleshoot",
            json!({}),
        ),
        (Role::Operator, "POST", "/api/v1/monitoring/stop", json!({})),
        (
            Role::Operator,
            "POST",
            "/api/v1/monitoring/start",
            json!({}),
        ),
        (
            Role::Operator,
            "POST",
            "/api/v1/emergency-stop",
            json!({ "reason": "fire" }),
        ),
        // A sentence comes back as the command that it means, and that is checked.
        (
            Role::Viewer,
            "POST",
            "/api/v1/console/say",
            json!({ "text": "stop monitoring" }),
        ),
        (
            Role::Operator,
            "POST",
            "/api/v1/console/press",
            press(Verb::Acknowledge),
        ),
        (
            Role::Approver,
            "POST",
            "/api/v1/console/press",
            press(Verb::Approve),
        ),
        (
            Role::Approver,
            "POST",
            "/api/v1/console/press",
            press(Verb::Deny),
        ),
        (Role::Admin, "DELETE", "/api/v1/emergency-stop", json!({})),
        // As is what a question was asked about.
        (
            Role::Viewer,
            "POST",
            "/api/v1/console/press",
            press(Verb::Confirm),
        ),
        (
            Role::Admin,
            "POST",
            "/api/v1/commands",
            json!({ "command": "emergency_clear" }),
        ),
    ];
    for (needed, method, path, body) in cases {
        for role in [Role::Viewer, Role::Operator, Role::Approver, Role::Admin] {
            let token = tokens
                .issue("mira", role, Duration::from_mins(1), Timestamp::now())
                .unwrap();
            let bearer = format!("Bearer {token}");
            let headers = [
                ("authorization", bearer.as_str()),
                ("content-type", "application/json"),
            ];
            // From another machine, through a proxy: with tokens that is how it is meant.
            let asked = request(method, path, OTHER_MACHINE, &headers, &body.to_string());
            let status = bot.status(asked).await;
            let expected = if role >= needed {
                StatusCode::OK
            } else {
                StatusCode::FORBIDDEN
            };
            assert_eq!(status, expected, "{role} {method} {path} {body}");
        }
    }
    let heard = bot.heard.lock().unwrap();
    assert!(
        heard
            .iter()
            .all(|(who, _)| who.user == "mira" && who.surface == Surface::Api)
    );
}

#[tokio::test]
async fn with_a_secret_nobody_comes_in_without_a_good_token_not_even_from_this_machine() {
    let (bot, tokens) = with_tokens().await;
    let now = Timestamp::now();
    let long_ago = now - jiff::SignedDuration::from_hours(2);
    let expired = tokens
        .issue("mira", Role::Admin, Duration::from_mins(5), long_ago)
        .unwrap();
    let other = Tokens::new(&SecretString::from(
        "another secret that is long enough too".to_owned(),
    ));
    let forged = other
        .issue("mira", Role::Admin, Duration::from_mins(5), now)
        .unwrap();
    for authorization in [
        "",
        "Bearer",
        "Bearer ",
        "Basic bWlyYQ==",
        &format!("Bearer {expired}"),
        &format!("Bearer {forged}"),
    ] {
        let asked = request(
            "GET",
            "/api/v1/overview",
            LOCAL,
            &[("authorization", authorization)],
            "",
        );
        let response = bot.send(asked).await;
        assert!(response.headers().contains_key("www-authenticate"));
        assert_eq!(problem(response).await.0, 401, "{authorization}");
    }
    assert_eq!(
        bot.status(get("/api/v1/overview")).await,
        StatusCode::UNAUTHORIZED
    );
    // The page and the documentation hold no data: a browser has no token before it has the page.
    assert_eq!(bot.status(get("/")).await, StatusCode::OK);
    assert_eq!(bot.status(get("/docs/")).await, StatusCode::OK);
}

#[tokio::test]
async fn our_own_clients_at_this_machine_are_told_apart() {
    let bot = open().await;
    for (header, surface) in [
        ("console", Surface::Console),
        ("cli", Surface::Cli),
        ("slack", Surface::Api),
    ] {
        let headers = [
            ("x-nightbell-surface", header),
            ("content-type", "application/json"),
        ];
        let asked = request(
            "POST",
            "/api/v1/commands",
            LOCAL,
            &headers,
            r#"{"command":"status"}"#,
        );
        assert_eq!(bot.status(asked).await, StatusCode::OK);
        let heard = bot.heard.lock().unwrap();
        let (who, _) = heard.last().unwrap();
        assert_eq!((who.surface, who.user.as_str()), (surface, "local"));
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_as_a_problem() {
    let bot = open().await;
    for (asked, status, says) in [
        (get("/api/v1/nowhere"), 404, "/docs"),
        (request("PUT", "/api/v1/alerts", LOCAL, &[], ""), 405, "PUT"),
        (get("/api/v1/alerts/17"), 404, "#17"),
        (get("/api/v1/alerts/seventeen"), 400, "seventeen"),
        (get("/api/v1/alerts?limit=0"), 400, "limit"),
        (get("/api/v1/alerts?limit=501"), 400, "limit"),
        (get("/api/v1/alerts?cursor=x"), 400, "cursor"),
        (get("/api/v1/alerts?severity=awful"), 400, "awful"),
        (get("/api/v1/jobs?cursor=x"), 400, "cursor"),
        (get("/api/v1/approvals?state=maybe"), 400, "maybe"),
        (
            post("/api/v1/commands", &json!({ "command": "dance" })),
            400,
            "dance",
        ),
        (
            post("/api/v1/monitoring/start", &json!({ "projekt": "x" })),
            422,
            "projekt",
        ),
        (
            post("/api/v1/console/say", &json!({ "text": "  " })),
            400,
            "empty",
        ),
        (
            post("/api/v1/console/say", &json!({ "text": "x".repeat(5000) })),
            400,
            "4000",
        ),
        (
            post(
                "/api/v1/console/say",
                &json!({ "text": "x".repeat(300_000) }),
            ),
            413,
            "",
        ),
        (
            post("/api/v1/emergency-stop", &json!({ "why": "x" })),
            400,
            "why",
        ),
    ] {
        let what = format!("{} {}", asked.method(), asked.uri());
        let (got, detail) = problem(bot.send(asked).await).await;
        assert_eq!(got, status, "{what}: {detail}");
        assert!(detail.contains(says), "{what}: {detail}");
    }
    assert_eq!(bot.commands(), []);
}

#[tokio::test]
async fn what_the_desk_refuses_or_does_not_find_becomes_a_status_with_the_way_out() {
    let bot = open().await;
    let response = bot.send(get("/api/v1/jobs/nlp/brt")).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let said = body(response).await;
    assert_eq!(said["detail"], "not as you think");
    assert_eq!(said["outcome"], "not_found");
    assert_eq!(said["candidates"], json!([{ "job": "bert" }]));

    let decide = post("/api/v1/approvals/3/decide", &json!({ "approve": true }));
    assert_eq!(problem(bot.send(decide).await).await.0, 409);
    // The console is a conversation: a refusal is a message there.
    let said = post(
        "/api/v1/commands",
        &json!({ "command": "decide", "approval": "3", "approve": true, "reason": null }),
    );
    let response = bot.send(said).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(body(response).await["outcome"], "refused");
}

#[tokio::test]
async fn an_emergency_stop_needs_no_body_and_no_content_type() {
    let bot = open().await;
    let asked = request("POST", "/api/v1/emergency-stop", LOCAL, &[], "");
    assert_eq!(bot.status(asked).await, StatusCode::OK);
    assert_eq!(bot.commands(), [Command::EmergencyStop { reason: None }]);
}

#[tokio::test]
async fn readiness_waits_for_the_start_and_ends_with_it() {
    let bot = open().await;
    assert_eq!(bot.status(get("/health/live")).await, StatusCode::OK);
    assert_eq!(
        bot.status(get("/health/ready")).await,
        StatusCode::SERVICE_UNAVAILABLE
    );
    bot.ready.send_replace(true);
    assert_eq!(bot.status(get("/health/ready")).await, StatusCode::OK);
    bot.shutdown.cancel();
    assert_eq!(
        bot.status(get("/health/ready")).await,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test]
async fn health_is_not_called_good_while_a_source_is_unknown() {
    let bot = open().await;
    let status = async || body(bot.send(get("/health")).await).await["status"].clone();
    assert_eq!(status().await, "degraded", "nothing is watched");
    let now = Timestamp::now();
    bot.sources.expect("runai", Duration::from_mins(1), now);
    assert_eq!(status().await, "degraded", "never heard");
    let beat = |error: Option<&str>| Beat {
        source: "runai".to_owned(),
        at: Timestamp::now(),
        error: error.map(str::to_owned),
        objects: 3,
        lag_ms: Some(250),
    };
    bot.sources.beat(&beat(None));
    assert_eq!(status().await, "healthy");
    bot.sources
        .beat(&beat(Some("401 for client_secret=hunter2hunter2")));
    assert_eq!(status().await, "degraded");

    let detailed = body(bot.send(get("/health/detailed")).await).await;
    let source = &detailed["sources"]["items"][0];
    assert_eq!(
        (&source["source"], &source["health"]),
        (&json!("runai"), &json!("failing"))
    );
    assert!(
        !source["error"].as_str().unwrap().contains("hunter2"),
        "{source}"
    );
    assert_eq!(
        detailed["store"],
        json!({ "backend": "sqlite", "ok": true })
    );

    let metrics = text(bot.send(get("/metrics")).await).await;
    for line in [
        "nightbell_source_fresh{source=\"runai\"} 0",
        "nightbell_source_objects{source=\"runai\"} 3",
        "nightbell_source_lag_seconds{source=\"runai\"} 0.25",
        "nightbell_alerts_open 0",
        "nightbell_emergency_stop 0",
        "nightbell_dry_run 1",
        "nightbell_store_up 1",
    ] {
        assert!(
            metrics.lines().any(|held| held == line),
            "{line} is not in\n{metrics}"
        );
    }
    assert!(metrics.ends_with("# EOF\n"));
}

#[tokio::test]
async fn the_page_and_the_documentation_need_nothing_from_elsewhere() {
    let bot = open().await;
    let page = text(bot.send(get("/")).await).await;
    let mut files = vec![("/".to_owned(), page.clone())];
    for path in [
        "/assets/page.css",
        "/assets/page.js",
        "/assets/card.js",
        "/assets/api.js",
        "/assets/icon.svg",
    ] {
        let response = bot.send(get(path)).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        files.push((path.to_owned(), text(response).await));
    }
    for (path, content) in &files {
        let content = content.replace("http://www.w3.org/2000/svg", "");
        for outside in [
            "http://",
            "https://",
            "src=\"//",
            "url(",
            "@import",
            "innerHTML",
            "insertAdjacentHTML",
            "eval(",
        ] {
            assert!(!content.contains(outside), "{outside} in {path}");
        }
    }
    for inline in ["<style", " style=", " onclick", "javascript:"] {
        assert!(!page.contains(inline), "{inline}");
    }
    assert!(!page.contains("<script>"));

    let description = body(bot.send(get("/openapi.json")).await).await;
    for path in [
        "/api/v1/alerts",
        "/api/v1/approvals/{id}/decide",
        "/api/v1/monitoring/status",
        "/health",
        "/metrics",
    ] {
        assert!(description["paths"][path].is_object(), "{path}");
    }
    let docs = text(bot.send(get("/docs/")).await).await;
    assert!(docs.contains("swagger-ui-bundle.js"));
    for asset in [
        "swagger-ui-bundle.js",
        "swagger-ui.css",
        "swagger-initializer.js",
    ] {
        let response = bot.send(get(&format!("/docs/{asset}"))).await;
        assert_eq!(response.status(), StatusCode::OK, "{asset}");
    }
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_protect_it() {
    let bot = open().await;
    for path in [
        "/",
        "/docs/",
        "/api/v1/overview",
        "/api/v1/nowhere",
        "/health",
        "/nowhere",
    ] {
        let headers = bot.send(get(path)).await.headers().clone();
        let held = |name: &str| {
            headers
                .get(name)
                .map_or("", |value| value.to_str().unwrap())
        };
        assert_eq!(held("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(held("x-frame-options"), "DENY", "{path}");
        let policy = held("content-security-policy");
        assert!(policy.contains("script-src 'self';"), "{path}: {policy}");
        assert!(
            policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert_eq!(
            headers.get_all("content-security-policy").iter().count(),
            1,
            "{path}"
        );
        assert!(!held("x-request-id").is_empty(), "{path}");
    }
    assert_eq!(
        bot.send(get("/api/v1/overview")).await.headers()["cache-control"],
        "no-store"
    );
}

#[tokio::test]
async fn a_client_that_asks_too_often_is_told_when_to_come_back() {
    let bot = open().await;
    let mut refused = None;
    for _ in 0..2_000 {
        let response = bot.send(get("/api/v1/sources")).await;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            refused = Some(response);
            break;
        }
    }
    let refused = refused.expect("two thousand requests at once are too many");
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(problem(refused).await.0, 429);
    assert_eq!(
        bot.status(get("/health")).await,
        StatusCode::OK,
        "probes are never refused"
    );
}

#[tokio::test]
async fn the_stream_greets_tells_what_changed_and_ends_with_the_bot() {
    let bot = open().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = bot.shutdown.clone();
    let served = tokio::spawn(http::serve(
        listener,
        bot.router.clone(),
        stop.cancelled_owned(),
    ));

    let mut stream = client()
        .get(format!("http://{address}/api/v1/stream"))
        .header("accept-encoding", "gzip")
        .send()
        .await
        .unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert!(!stream.headers().contains_key("content-encoding"));
    let mut heard = String::new();
    read_until(&mut stream, &mut heard, "event: hello").await;
    bot.monitoring.stop("mira", Timestamp::now()).await.unwrap();
    read_until(&mut stream, &mut heard, "{\"changed\":[\"monitoring\"]}").await;

    bot.shutdown.cancel();
    // An open stream does not hold up the end.
    tokio::time::timeout(Duration::from_secs(10), served)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn large_answers_are_compressed_for_who_takes_it() {
    let bot = open().await;
    let headers = [("accept-encoding", "gzip")];
    let response = bot
        .send(request("GET", "/assets/page.js", LOCAL, &headers, ""))
        .await;
    let headers: &HeaderMap = response.headers();
    assert_eq!(headers["content-encoding"], "gzip");
}

pub fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client")
}

pub async fn read_until(stream: &mut reqwest::Response, heard: &mut String, wanted: &str) {
    let waits = async {
        while !heard.contains(wanted) {
            let chunk = stream
                .chunk()
                .await
                .expect("the stream stands")
                .expect("the stream goes on");
            heard.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waits)
        .await
        .unwrap_or_else(|_| panic!("no {wanted} in {heard}"));
}

#[tokio::test]
async fn a_proxy_that_tells_nothing_of_itself_is_known_by_its_old_protocol() {
    let bot = open().await;
    let asked = || {
        request(
            "GET",
            "/api/v1/overview",
            LOCAL,
            &[("host", "127.0.0.1:8000")],
            "",
        )
    };
    let mut old = asked();
    *old.version_mut() = axum::http::Version::HTTP_10;
    let (status, detail) = problem(bot.send(old).await).await;
    assert_eq!(status, 403);
    assert!(detail.contains("through a proxy"), "{detail}");
    assert_eq!(bot.status(asked()).await, StatusCode::OK);
}

#[tokio::test]
async fn silences_are_the_desks_and_need_an_operator() {
    let bot = open().await;
    let wanted = json!({ "alert": 17, "duration_seconds": 7_200 });
    assert_eq!(
        bot.status(post("/api/v1/silences", &wanted)).await,
        StatusCode::OK
    );
    assert_eq!(bot.status(get("/api/v1/silences")).await, StatusCode::OK);
    let removal = request("DELETE", "/api/v1/silences/17", LOCAL, &[], "");
    assert_eq!(bot.status(removal).await, StatusCode::OK);
    assert_eq!(
        bot.commands(),
        [
            Command::Silence {
                alert: "17".to_owned(),
                duration_seconds: 7_200
            },
            Command::ListSilences,
            Command::RemoveSilence {
                alert: "17".to_owned()
            },
        ]
    );
    let fits = json!({ "matchers": ["project=ml", "job=~t.*"], "duration_seconds": 60, "reason": "moving" });
    assert_eq!(
        bot.status(post("/api/v1/silences", &fits)).await,
        StatusCode::OK
    );
    let removal = request("DELETE", "/api/v1/silences/S3", LOCAL, &[], "");
    assert_eq!(bot.status(removal).await, StatusCode::OK);
    assert_eq!(
        bot.commands()[3..],
        [
            Command::SilenceWhere {
                matchers: vec!["project=ml".parse().unwrap(), "job=~t.*".parse().unwrap()],
                duration_seconds: 60,
                reason: Some("moving".to_owned()),
            },
            Command::RemoveSilence {
                alert: "S3".to_owned()
            },
        ]
    );
    for wrong in [
        json!({ "alert": 17, "duration_seconds": 0 }),
        json!({ "duration_seconds": 60 }),
        json!({ "matchers": [], "duration_seconds": 60 }),
        json!({ "matchers": ["team=ml"], "duration_seconds": 60 }),
        json!({ "alert": 17, "matchers": ["job=a"], "duration_seconds": 60 }),
        json!({ "alert": 17, "duration_seconds": -1 }),
        json!({ "alert": 17 }),
        json!({ "alert": 17, "duration_seconds": 60, "until": "tomorrow" }),
    ] {
        let (status, _) = problem(bot.send(post("/api/v1/silences", &wrong)).await).await;
        assert!((400..500).contains(&status), "{wrong}: {status}");
    }

    let (bot, tokens) = with_tokens().await;
    let token = tokens
        .issue(
            "mira",
            Role::Viewer,
            Duration::from_mins(1),
            Timestamp::now(),
        )
        .unwrap();
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let asked = request(
        "POST",
        "/api/v1/silences",
        OTHER_MACHINE,
        &headers,
        &wanted.to_string(),
    );
    let (status, detail) = problem(bot.send(asked).await).await;
    assert_eq!(status, 403);
    assert!(detail.contains("operator"), "{detail}");
}

#[tokio::test]
async fn what_is_not_built_says_so_and_is_not_taken_for_a_mistake_of_the_asker() {
    let bot = open().await;
    for (method, path) in [
        ("POST", "/api/v1/ai/retrain"),
        ("GET", "/api/v1/ai/learning-stats"),
        ("GET", "/api/v1/runbooks"),
        ("GET", "/api/v1/monitoring/logs"),
        ("POST", "/api/v1/logs/polling/start"),
        ("POST", "/webhooks/alertmanager"),
    ] {
        let asked = request(method, path, LOCAL, &[], "");
        let (status, detail) = problem(bot.send(asked).await).await;
        assert_eq!(status, 501, "{path}");
        assert!(detail.contains("this version does not have"), "{detail}");
    }
    let (status, _) = problem(bot.send(get("/api/v1/airports")).await).await;
    assert_eq!(status, 404);
}
