//! Extractors whose refusals are problems as all others.

use axum::extract::{FromRequest, FromRequestParts};

use super::problem::Problem;

/// A JSON body. Another content type is refused, which also keeps forms of foreign pages out.
#[derive(FromRequest)]
#[from_request(via(axum::Json), rejection(Problem))]
pub(super) struct Json<T>(pub(super) T);

#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub(super) struct Query<T>(pub(super) T);

#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub(super) struct Path<T>(pub(super) T);
