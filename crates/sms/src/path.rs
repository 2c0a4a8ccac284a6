//! The parts of a path: one that is no text is a problem like any other.

use axum::{extract::FromRequestParts, http::request::Parts, response::Response};
use serde::de::DeserializeOwned;

use crate::{
    problem::{ApiError, Code},
    router::in_form_of,
};

/// The parts that the route leaves open.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let open = axum::extract::Path::from_request_parts(parts, state).await;
        open.map(|axum::extract::Path(open)| Self(open)).map_err(|rejection| {
            in_form_of(&parts.uri, ApiError::new(Code::MalformedId, rejection.body_text()))
        })
    }
}
