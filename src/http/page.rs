//! The page at `/`: three files of our own, and nothing from elsewhere. It holds no data; that comes from the API.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use super::Shared;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route(
            "/",
            get(async || {
                file(
                    "text/html; charset=utf-8",
                    include_str!("dashboard/index.html"),
                )
            }),
        )
        .route(
            "/assets/page.css",
            get(async || {
                file(
                    "text/css; charset=utf-8",
                    include_str!("dashboard/page.css"),
                )
            }),
        )
        .route(
            "/assets/page.js",
            get(async || file(SCRIPT, include_str!("dashboard/page.js"))),
        )
        .route(
            "/assets/card.js",
            get(async || file(SCRIPT, include_str!("dashboard/card.js"))),
        )
        .route(
            "/assets/api.js",
            get(async || file(SCRIPT, include_str!("dashboard/api.js"))),
        )
        .route(
            "/assets/icon.svg",
            get(async || file("image/svg+xml", include_str!("dashboard/icon.svg"))),
        )
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A browser asks again each time, so that page and API are of one version after an upgrade.
fn file(kind: &'static str, content: &'static str) -> impl IntoResponse {
    (
        [
            (header::CONTENT_TYPE, kind),
            (header::CACHE_CONTROL, "no-cache"),
        ],
        content,
    )
}
