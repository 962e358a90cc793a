//! The simulated Kubernetes API server: discovery, reading, permissions; watches and writes are beside it.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use serde::Deserialize;
use serde_json::{Value, json};

use super::cluster::Object;
use super::estate::SimEstate;
use super::kind::Kind;
use super::kubernetes_watch::{self, WatchParameters};
use super::selector::Selector;
use super::world::World;
use super::{faults, kubernetes_discovery, kubernetes_log, kubernetes_write};

/// The user that error texts and reviews name.
pub(super) const USER: &str = "system:serviceaccount:nightbell:nightbell";

#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) estate: SimEstate,
    token: String,
}

/// The routes of the simulated API server, which answers to `token` alone.
pub(super) fn router(estate: SimEstate, token: &str) -> Router {
    let faults = estate.kubernetes_faults().clone();
    let api = Api {
        estate,
        token: token.to_owned(),
    };
    let body: faults::ErrorBody = |code| {
        status_body(
            code,
            "ServiceUnavailable",
            "the demo was told to fail",
            &json!({}),
        )
    };
    Router::new()
        .route("/version", get(version))
        .fallback(dispatch)
        .with_state(api)
        .layer(middleware::from_fn_with_state(
            (faults, body),
            faults::inject,
        ))
}

async fn version() -> Json<Value> {
    Json(json!({
        "major": "1", "minor": "33", "gitVersion": "v1.33.4", "gitCommit": "demo", "gitTreeState": "clean",
        "buildDate": "2026-09-01T00:00:00Z", "goVersion": "go1.24.6", "compiler": "gc", "platform": "linux/amd64"
    }))
}

/// What a path of the API names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) kind: Kind,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
}

impl Target {
    fn parse(path: &str) -> Option<Self> {
        let mut parts = path.trim_matches('/').split('/').collect::<Vec<_>>();
        let group = match parts.as_slice() {
            ["api", "v1", ..] => {
                parts.drain(..2);
                ""
            }
            ["apis", group, "v1", ..] => {
                let group = *group;
                parts.drain(..3);
                group
            }
            _ => return None,
        };
        let mut namespace = None;
        // `namespaces/x` alone is the namespace itself, `namespaces/x/pods` is what lies in it.
        if let ["namespaces", name, _, ..] = parts.as_slice() {
            namespace = Some((*name).to_owned());
            parts.drain(..2);
        }
        let (plural, rest) = parts.split_first()?;
        let mut rest = rest.iter().map(|part| (*part).to_owned());
        Some(Self {
            kind: Kind::from_path(group, plural)?,
            namespace,
            name: rest.next(),
            subresource: rest.next(),
        })
    }

    /// The resource with its subresource, as permissions name it: `pods/log`.
    fn resource(&self) -> String {
        match &self.subresource {
            Some(subresource) => format!("{}/{subresource}", self.kind.plural()),
            None => self.kind.plural().to_owned(),
        }
    }
}

/// Query parameters of reads; unknown ones are ignored, as by the real server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ReadParameters {
    pub(super) label_selector: String,
    pub(super) field_selector: String,
    limit: Option<usize>,
    #[serde(rename = "continue")]
    continue_token: String,
    watch: Option<String>,
    pub(super) resource_version: String,
    pub(super) timeout_seconds: Option<u64>,
    pub(super) allow_watch_bookmarks: Option<String>,
    pub(super) send_initial_events: Option<String>,
    pub(super) container: String,
    pub(super) previous: Option<String>,
    pub(super) tail_lines: Option<usize>,
    pub(super) since_seconds: Option<i64>,
    pub(super) limit_bytes: Option<usize>,
    pub(super) timestamps: Option<String>,
}

/// `true` and `1` are true, as the real server reads them.
pub(super) fn truthy(value: Option<&String>) -> bool {
    value.is_some_and(|value| value == "true" || value == "1")
}

async fn dispatch(State(api): State<Api>, request: Request) -> Response {
    let estate = &api.estate;
    if estate.kubernetes_faults().tokens_revoked() || !authorized(request.headers(), &api.token) {
        return failure(
            StatusCode::UNAUTHORIZED,
            "Unauthorized",
            "Unauthorized",
            &Value::Null,
        );
    }
    let path = request.uri().path().to_owned();
    if let Some(discovery) = kubernetes_discovery::discovery(&path) {
        return Json(discovery).into_response();
    }
    if path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        && request.method() == Method::POST
    {
        return kubernetes_write::access_review(estate, request).await;
    }
    let Some(target) = Target::parse(&path) else {
        return (StatusCode::NOT_FOUND, "404 page not found\n").into_response();
    };
    let query = request.uri().query().unwrap_or_default().to_owned();
    let Ok(parameters) = serde_urlencoded_parse::<ReadParameters>(&query) else {
        return failure(
            StatusCode::BAD_REQUEST,
            "BadRequest",
            "invalid query parameters",
            &json!({}),
        );
    };
    let watching = truthy(parameters.watch.as_ref());
    let verb = verb(request.method(), &target, watching);
    if estate.kubernetes_faults().forbids(verb, &target.resource()) {
        return forbidden(verb, &target);
    }
    match (request.method().clone(), &target.name) {
        (Method::GET, None) if watching => watch(estate, &target, &parameters),
        (Method::GET, None) => list(estate, &target, &parameters),
        (Method::GET, Some(name)) => read_one(estate, &target, name, &parameters),
        _ => kubernetes_write::write(estate, target, &query, request).await,
    }
}

fn verb(method: &Method, target: &Target, watching: bool) -> &'static str {
    match *method {
        Method::GET if target.name.is_some() => "get",
        Method::GET if watching => "watch",
        Method::GET => "list",
        Method::POST => "create",
        Method::PATCH => "patch",
        Method::PUT => "update",
        _ => "delete",
    }
}

fn authorized(headers: &HeaderMap, token: &str) -> bool {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    given.and_then(|value| value.strip_prefix("Bearer ")) == Some(token)
}

/// Parses a query string; the form decoder of the HTTP stack does it.
pub(super) fn serde_urlencoded_parse<T: serde::de::DeserializeOwned>(query: &str) -> Result<T, ()> {
    let uri = format!("/?{query}").parse().map_err(|_| ())?;
    axum::extract::Query::try_from_uri(&uri)
        .map(|axum::extract::Query(parsed)| parsed)
        .map_err(|_| ())
}

fn selector(parameters: &ReadParameters) -> Result<Selector, String> {
    Selector::parse(&parameters.label_selector, &parameters.field_selector)
}

fn list(estate: &SimEstate, target: &Target, parameters: &ReadParameters) -> Response {
    let selector = match selector(parameters) {
        Ok(selector) => selector,
        Err(message) => {
            return failure(StatusCode::BAD_REQUEST, "BadRequest", &message, &json!({}));
        }
    };
    estate.read(|world| {
        let continued = match Continue::parse(&parameters.continue_token) {
            Ok(Some(token)) if !world.cluster.remembers(token.version) => {
                let message = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.";
                return failure(StatusCode::GONE, "Expired", message, &Value::Null);
            }
            Ok(token) => token,
            Err(()) => {
                return failure(StatusCode::BAD_REQUEST, "BadRequest", "continue key is not valid", &json!({}));
            }
        };
        let version = continued.as_ref().map_or(world.cluster.version(), |token| token.version);
        let mut objects = world
            .cluster
            .list(target.kind, target.namespace.as_deref(), &selector)
            .filter(|object| {
                continued.as_ref().is_none_or(|token| {
                    (object.namespace.as_str(), object.name.as_str()) > (&token.namespace, &token.name)
                })
            })
            .peekable();
        let mut body = String::with_capacity(4096);
        let mut last = None;
        let mut items = 0;
        while items < parameters.limit.filter(|limit| *limit > 0).unwrap_or(usize::MAX)
            && let Some(object) = objects.next()
        {
            if items > 0 {
                body.push(',');
            }
            body.push_str(object.item());
            items += 1;
            last = Some(object);
        }
        let mut metadata = json!({"resourceVersion": version.to_string()});
        if let (Some(last), Some(_)) = (last, objects.peek()) {
            metadata["continue"] = Continue::after(version, last).into();
            metadata["remainingItemCount"] = objects.count().into();
        }
        let (kind, api_version) = (target.kind.name(), target.kind.api_version());
        let body =
            format!(r#"{{"kind":"{kind}List","apiVersion":"{api_version}","metadata":{metadata},"items":[{body}]}}"#);
        json_text(body)
    })
}

/// Where a list in pages stands. Opaque to clients.
struct Continue {
    version: u64,
    namespace: String,
    name: String,
}

impl Continue {
    fn after(version: u64, last: &Object) -> String {
        hex::encode(format!("{version}/{}/{}", last.namespace, last.name))
    }

    fn parse(token: &str) -> Result<Option<Self>, ()> {
        if token.is_empty() {
            return Ok(None);
        }
        let text = String::from_utf8(hex::decode(token).map_err(|_| ())?).map_err(|_| ())?;
        let mut parts = text.splitn(3, '/');
        let (Some(version), Some(namespace), Some(name)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(());
        };
        Ok(Some(Self {
            version: version.parse().map_err(|_| ())?,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }))
    }
}

fn watch(estate: &SimEstate, target: &Target, parameters: &ReadParameters) -> Response {
    match selector(parameters) {
        Ok(selector) => kubernetes_watch::stream(
            estate,
            WatchParameters {
                kind: target.kind,
                namespace: target.namespace.clone(),
                selector,
                from: parameters.resource_version.clone(),
                timeout: parameters.timeout_seconds,
                bookmarks: truthy(parameters.allow_watch_bookmarks.as_ref()),
                initial: truthy(parameters.send_initial_events.as_ref()),
            },
        ),
        Err(message) => failure(StatusCode::BAD_REQUEST, "BadRequest", &message, &json!({})),
    }
}

fn read_one(
    estate: &SimEstate,
    target: &Target,
    name: &str,
    parameters: &ReadParameters,
) -> Response {
    estate.read(|world| {
        let Some(object) = find(world, target, name) else {
            return not_found(target, name);
        };
        match target.subresource.as_deref() {
            None | Some("status") => json_text(object.whole()),
            Some("log") if target.kind == Kind::Pod => {
                kubernetes_log::log(world, &object, parameters)
            }
            Some("scale") => Json(kubernetes_write::scale_of(&object)).into_response(),
            Some(_) => (StatusCode::NOT_FOUND, "404 page not found\n").into_response(),
        }
    })
}

pub(super) fn find(world: &World, target: &Target, name: &str) -> Option<std::sync::Arc<Object>> {
    world.cluster.get(
        target.kind,
        target.namespace.as_deref().unwrap_or_default(),
        name,
    )
}

pub(super) fn json_text(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// A `Status` as the API server answers with.
pub(super) fn status_body(code: StatusCode, reason: &str, message: &str, details: &Value) -> Value {
    let mut status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": reason, "code": code.as_u16()
    });
    if details
        .as_object()
        .is_some_and(|details| !details.is_empty())
    {
        status["details"] = details.clone();
    }
    status
}

pub(super) fn failure(code: StatusCode, reason: &str, message: &str, details: &Value) -> Response {
    (code, Json(status_body(code, reason, message, details))).into_response()
}

pub(super) fn not_found(target: &Target, name: &str) -> Response {
    let kind = target.kind.qualified();
    let details = json!({"name": name, "group": target.kind.group(), "kind": target.kind.plural()});
    failure(
        StatusCode::NOT_FOUND,
        "NotFound",
        &format!("{kind} \"{name}\" not found"),
        &details,
    )
}

fn forbidden(verb: &str, target: &Target) -> Response {
    let (resource, group) = (target.resource(), target.kind.group());
    let place = match &target.namespace {
        Some(namespace) => format!("in the namespace \"{namespace}\""),
        None => "at the cluster scope".to_owned(),
    };
    let name = target
        .name
        .as_ref()
        .map(|name| format!(" \"{name}\""))
        .unwrap_or_default();
    let message = format!(
        "{}{name} is forbidden: User \"{USER}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {place}",
        target.kind.qualified()
    );
    failure(
        StatusCode::FORBIDDEN,
        "Forbidden",
        &message,
        &json!({"kind": target.kind.plural()}),
    )
}
