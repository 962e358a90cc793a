//! Who is let in. With `JWT_SECRET` or an identity provider: who brings a token. Without: this machine only, and no foreign page in its browser.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use secrecy::SecretString;

use super::oidc::{Oidc, OidcError};
use super::problem::Problem;
use super::token::{Role, Tokens};
use super::{Shared, peer};
use crate::desk::{Principal, Roster, Standing, Surface};
use crate::safety::approvers;

/// Which of our own clients asks. A page of another origin cannot set it without being refused first.
const SURFACE: &str = "x-nightbell-surface";
/// A request with any header that begins so passed a proxy: the peer's address says nothing then.
const FORWARDED: [&str; 17] = [
    "forwarded",
    "via",
    "x-forwarded",
    "x-real-ip",
    "x-original-",
    "x-envoy-",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-proxy",
    "x-amzn-",
    "x-azure-",
    "x-cloud-trace-context",
    "cf-",
    "true-client-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "tailscale-",
];

/// How callers show who they are.
#[derive(Clone, Debug)]
pub enum Access {
    /// Whoever sits at this machine, as `local`.
    Loopback,
    /// Whoever brings a token.
    Tokens(Issuers),
}

/// Whose tokens are taken.
#[derive(Clone, Debug, Default)]
pub struct Issuers {
    /// Ours, signed with `JWT_SECRET`.
    pub own: Option<Tokens>,
    /// Those of an identity provider.
    pub oidc: Option<Oidc>,
}

impl Access {
    /// By tokens if there is a secret to sign them with or a provider that does, else from this machine only.
    #[must_use]
    pub fn new(jwt_secret: Option<&SecretString>, oidc: Option<Oidc>) -> Self {
        let own = jwt_secret.map(Tokens::new);
        if own.is_none() && oidc.is_none() {
            return Self::Loopback;
        }
        Self::Tokens(Issuers { own, oidc })
    }
}

/// Who asks, and what they may.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) principal: Principal,
    pub(super) role: Role,
}

impl Caller {
    /// Refuses who has not at least `role`.
    pub(super) fn needs(&self, role: Role) -> Result<(), Problem> {
        if self.role >= role {
            return Ok(());
        }
        Err(Problem::forbidden(format!(
            "this needs the role {role}; your token has {}",
            self.role
        )))
    }
}

/// Lets callers of the API in, and tells the handlers who they are.
pub(super) async fn admit(
    State(shared): State<Shared>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = match &shared.access {
        Access::Loopback => local(&request),
        Access::Tokens(issuers) => {
            let roster = shared.safety.roster();
            bearer(issuers, roster, request.headers(), Timestamp::now()).await
        }
    };
    match caller.and_then(|caller| same_origin(&request).map(|()| caller)) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Guards the page and the documentation, which hold no data: a browser has no token before it has the page.
pub(super) async fn from_here(
    State(shared): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    let refusal = match &shared.access {
        Access::Loopback => local(&request).err(),
        Access::Tokens(_) => None,
    };
    match refusal {
        None => next.run(request).await,
        Some(problem) => problem.into_response(),
    }
}

fn local(request: &Request) -> Result<Caller, Problem> {
    const WAY_OUT: &str =
        "without JWT_SECRET or OIDC_ISSUER nightbell answers its own machine only";
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    // A listener for both families sees IPv4 peers as mapped addresses.
    if !peer.is_some_and(|ConnectInfo(peer)| peer.ip().to_canonical().is_loopback()) {
        return Err(Problem::forbidden(format!(
            "{WAY_OUT}; set JWT_SECRET and bring a token (`nightbell token`)"
        )));
    }
    let headers = request.headers();
    let is_forwarded = headers.keys().any(|name| {
        FORWARDED
            .iter()
            .any(|prefix| name.as_str().starts_with(prefix))
    });
    // Proxies may keep silent about themselves. The old version is what nginx speaks to its upstreams by default, and
    // no browser or client of today.
    if is_forwarded || request.version() < Version::HTTP_11 {
        return Err(Problem::forbidden(format!(
            "{WAY_OUT}, and this request came through a proxy; set JWT_SECRET"
        )));
    }
    if let Some(user) = peer.and_then(|ConnectInfo(peer)| peer::service(*peer)) {
        return Err(Problem::forbidden(format!(
            "{WAY_OUT}, and this request came from a service here (user id {user}), as a proxy is; set JWT_SECRET"
        )));
    }
    // A foreign name that resolves to this machine belongs to somebody else's page (DNS rebinding).
    if !host(request).is_some_and(is_this_machine) {
        return Err(Problem::forbidden(format!(
            "{WAY_OUT}, under the names localhost, 127.0.0.1 and [::1]"
        )));
    }
    let surface = match headers.get(SURFACE).and_then(|value| value.to_str().ok()) {
        Some("console") => Surface::Console,
        Some("cli") => Surface::Cli,
        Some(_) | None => Surface::Api,
    };
    Ok(Caller {
        principal: Principal {
            surface,
            user: "local".to_owned(),
            team: None,
            standing: Standing::Member,
        },
        role: Role::Admin,
    })
}

/// The caller that a token speaks for. How it is signed says whose it is: ours by a shared secret, a provider's never.
async fn bearer(
    issuers: &Issuers,
    roster: &Roster,
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<Caller, Problem> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let token = match (given.next(), given.next()) {
        (Some(value), None) => value
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim()),
        _ => None,
    };
    let Some(token) = token else {
        return Err(Problem::unauthorized(match (&issuers.own, &issuers.oidc) {
            (Some(_), None) => {
                "bring a token: `Authorization: Bearer …` (`nightbell token` makes one)"
            }
            (Some(_), Some(_)) => {
                "bring a token: `Authorization: Bearer …`, of the identity provider or made by `nightbell token`"
            }
            (None, _) => "bring a token of the identity provider: `Authorization: Bearer …`",
        }));
    };
    let Believed { user, role, email } = believed(issuers, token, now).await?;
    let principal = Principal {
        surface: Surface::Api,
        user,
        team: None,
        standing: Standing::Token(role),
    };
    if let Some(email) = email {
        let name = approvers::name(&principal);
        roster.learn(&name, &email, now).await;
    }
    Ok(Caller { principal, role })
}

/// What a good token says.
struct Believed {
    user: String,
    role: Role,
    email: Option<String>,
}

/// What a good token says. What exactly is wrong with another would help only who forges one.
async fn believed(issuers: &Issuers, token: &str, now: Timestamp) -> Result<Believed, Problem> {
    const REFUSED: &str = "the token is not valid, or no longer";
    let own = issuers.own.as_ref().map(|tokens| tokens.check(token, now));
    match (own, &issuers.oidc) {
        (Some(Ok(claims)), _) => Ok(Believed {
            user: claims.sub,
            role: claims.role,
            email: None,
        }),
        (_, Some(oidc)) => match oidc.check(token, now).await {
            // A name apart: the subjects of our own tokens are not the provider's.
            Ok(subject) => Ok(Believed {
                user: format!("oidc:{}", subject.subject),
                role: subject.role,
                email: subject.email,
            }),
            Err(error @ OidcError::Refused(_)) => {
                tracing::info!(%error, "refused a token of the identity provider");
                Err(Problem::unauthorized(REFUSED))
            }
            Err(OidcError::Unavailable) => Err(Problem::unavailable(
                "the identity provider did not answer, so the token cannot be checked; ask again",
            )),
        },
        (Some(Err(error)), None) => {
            tracing::info!(%error, "refused a token");
            Err(Problem::unauthorized(REFUSED))
        }
        (None, None) => Err(Problem::unauthorized(REFUSED)),
    }
}

/// Refuses what a page of another origin makes a browser send.
fn same_origin(request: &Request) -> Result<(), Problem> {
    if matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    ) {
        return Ok(());
    }
    let headers = request.headers();
    let foreign_site = headers
        .get("sec-fetch-site")
        .is_some_and(|site| site != "same-origin" && site != "none");
    let foreign_origin = headers.get(header::ORIGIN).is_some_and(|origin| {
        let authority = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.split_once("://"))
            .map(|(_, authority)| authority);
        authority.is_none() || authority != authority_of(request)
    });
    if foreign_site || foreign_origin {
        return Err(Problem::forbidden(
            "a page of another origin may not change anything here",
        ));
    }
    Ok(())
}

/// Name and port that the request was sent to.
fn authority_of(request: &Request) -> Option<&str> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        (None, _) => request
            .uri()
            .authority()
            .map(axum::http::uri::Authority::as_str),
        (Some(_), Some(_)) => None,
    }
}

fn host(request: &Request) -> Option<&str> {
    let authority = authority_of(request)?;
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split_once(']').map(|(address, _)| address);
    }
    Some(
        authority
            .split_once(':')
            .map_or(authority, |(name, _)| name),
    )
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
