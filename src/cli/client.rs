//! The API of a running bot, as the command line uses it.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::{Host, Url};

use super::{Exit, Failed, Global};
use crate::config::Config;
use crate::desk::{Answer, Command};
use crate::http::token::{Role, Tokens};

const CONNECT: Duration = Duration::from_secs(3);
/// Longer than any answer that does not collect evidence.
const ANSWER: Duration = Duration::from_secs(10);
/// Collecting evidence waits for slow clusters.
const EVIDENCE: Duration = Duration::from_mins(1);
/// A token made for one command.
const TOKEN_VALID: Duration = Duration::from_mins(5);

#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error(
        "no nightbell answers at {url}: start it with `nightbell serve`, or say where it is with --url"
    )]
    Unreachable {
        url: Url,
        #[source]
        source: reqwest::Error,
    },
    #[error("what answers at {url} is not nightbell: say where it is with --url")]
    NotNightbell { url: Url },
    #[error("nightbell at {url} wants a token: set JWT_SECRET as it has it, or give --token-file")]
    Unauthorized { url: Url },
    #[error("{detail}")]
    Refused { status: StatusCode, detail: String },
}

impl ClientError {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Unreachable { .. } | Self::NotNightbell { .. } => Exit::Unreachable,
            Self::Refused { status, .. } if status.is_server_error() => Exit::Unreachable,
            Self::Unauthorized { .. } | Self::Refused { .. } => Exit::Bad,
        }
    }

    /// Whether there is no running bot to ask, so that a command may work alone.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::NotNightbell { .. })
    }
}

pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<SecretString>,
}

impl Client {
    /// The client for the bot that `global` and the configuration point to.
    pub(super) fn of(global: &Global) -> Result<Self, Failed> {
        let config = Config::load(global.config.as_deref())?;
        Self::with(global, &config)
    }

    pub(super) fn with(global: &Global, config: &Config) -> Result<Self, Failed> {
        let base = global.url.clone().unwrap_or_else(|| address(config));
        if !matches!(base.scheme(), "http" | "https") {
            return Err(Failed::Usage(format!(
                "--url must begin with http:// or https://, not {}:",
                base.scheme()
            )));
        }
        let token = match &global.token_file {
            Some(file) => {
                let token = std::fs::read_to_string(file).map_err(|error| {
                    Failed::Usage(format!("cannot read {}: {error}", file.display()))
                })?;
                Some(SecretString::from(token.trim().to_owned()))
            }
            None => config.http.jwt_secret.as_ref().and_then(|secret| {
                let token =
                    Tokens::new(secret).issue("local", Role::Admin, TOKEN_VALID, Timestamp::now());
                token.ok().map(SecretString::from)
            }),
        };
        Ok(Self::new(base, token))
    }

    fn new(base: Url, token: Option<SecretString>) -> Self {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("nightbell/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&base) {
            // A proxy would look for the bot on its own machine.
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .expect("the TLS provider is installed and all options are constants");
        Self { http, base, token }
    }

    /// Has the bot execute a command.
    pub(super) async fn execute(&self, command: &Command) -> Result<Answer, ClientError> {
        let within = match command {
            Command::Troubleshoot { .. }
            | Command::ShowLogs { .. }
            | Command::WhyPending { .. }
            | Command::Press { .. }
            | Command::VerifyAudit { .. }
            | Command::Say { .. } => EVIDENCE,
            _ => ANSWER,
        };
        let body = serde_json::to_value(command).expect("commands are plain values");
        let request = self.request(Method::POST, "api/v1/commands").json(&body);
        self.send(request.timeout(within)).await
    }

    /// Reads one resource.
    pub(super) async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(self.request(Method::GET, path).timeout(ANSWER))
            .await
    }

    /// Reads a health page, which answers 503 with a body when things are bad.
    pub(super) async fn health(&self, path: &str) -> Result<Value, ClientError> {
        let request = self.request(Method::GET, path).timeout(ANSWER);
        let response = request
            .send()
            .await
            .map_err(|source| self.unreachable(source))?;
        if response.status() == StatusCode::SERVICE_UNAVAILABLE || response.status().is_success() {
            return response.json().await.map_err(|_| self.not_nightbell());
        }
        Err(self.refusal(response).await)
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let base = self.base.as_str().trim_end_matches('/');
        let request = self
            .http
            .request(method, format!("{base}/{path}"))
            .header("x-nightbell-surface", "cli");
        match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, ClientError> {
        let response = request
            .send()
            .await
            .map_err(|source| self.unreachable(source))?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        response.json().await.map_err(|_| self.not_nightbell())
    }

    async fn refusal(&self, response: reqwest::Response) -> ClientError {
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED {
            return ClientError::Unauthorized {
                url: self.base.clone(),
            };
        }
        let body: Option<Value> = response.json().await.ok();
        let detail = body
            .as_ref()
            .and_then(|body| body.get("detail"))
            .and_then(Value::as_str);
        match detail {
            Some(detail) => ClientError::Refused {
                status,
                detail: detail.to_owned(),
            },
            None => self.not_nightbell(),
        }
    }

    fn unreachable(&self, source: reqwest::Error) -> ClientError {
        ClientError::Unreachable {
            url: self.base.clone(),
            source,
        }
    }

    fn not_nightbell(&self) -> ClientError {
        ClientError::NotNightbell {
            url: self.base.clone(),
        }
    }
}

/// Where the bot of this configuration listens, as seen from its own machine.
fn address(config: &Config) -> Url {
    let host = match config.http.host {
        IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
        IpAddr::V6(ip) if ip.is_unspecified() => "[::1]".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let url = format!("http://{host}:{}", config.http.port);
    Url::parse(&url).expect("an address and a port make a URL")
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}
