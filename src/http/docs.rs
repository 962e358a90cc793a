//! `/openapi.json`, and `/docs`, which shows it. Works without a network: the viewer is part of the program.

use axum::Router;
use axum::http::{HeaderValue, header};
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::Shared;
use super::api;

/// The viewer sets styles from its script; its own files are all it may load.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "nightbell",
        description = "An on-call engineer for GPU and Kubernetes platforms. Errors are problem+json (RFC 9457). \
            Without JWT_SECRET only this machine is answered; with it, bring `Authorization: Bearer …`.",
        license(name = "Apache-2.0")
    ),
    paths(
        api::overview::show,
        api::alerts::list,
        api::alerts::show,
        api::alerts::acknowledge,
        api::alerts::resolve,
        api::alerts::silence,
        api::alerts::incidents,
        api::silences::list,
        api::silences::create,
        api::silences::remove,
        api::jobs::list,
        api::jobs::show,
        api::jobs::logs,
        api::jobs::troubleshoot,
        api::approvals::list,
        api::approvals::decide,
        api::approvals::actions,
        api::approvals::manifest,
        api::approvals::catalogue,
        api::approvals::run,
        api::approvals::preview,
        api::approvals::output,
        api::monitoring::status,
        api::monitoring::start,
        api::monitoring::stop,
        api::sources::list,
        api::emergency::show,
        api::emergency::stop,
        api::emergency::clear,
        api::emergency::disable,
        api::emergency::enable,
        api::emergency::clear_queue,
        api::console::ask,
        api::console::messages,
        api::console::say,
        api::console::press,
        api::commands::execute,
        api::audit::list,
        api::audit::verify,
        super::stream::changes,
        super::health::health,
        super::health::live,
        super::health::ready,
        super::health::detailed,
        super::metrics::metrics,
    ),
    components(schemas(api::alerts::StateFilter)),
    modifiers(&Bearer),
    security((), ("token" = []))
)]
struct Description;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let bearer = Http::builder()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .build();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

pub(super) fn routes() -> Router<Shared> {
    let viewer = SwaggerUi::new("/docs")
        .url("/openapi.json", Description::openapi())
        .config(Config::default().use_base_layout().validator_url("none"));
    Router::from(viewer).layer(SetResponseHeaderLayer::if_not_present(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(CONTENT_POLICY),
    ))
}
