//! `GET /openapi.json` and `GET /docs`: what is served here, for programs and for people.

use axum::{
    http::header::{
        CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    },
    response::IntoResponse,
};

use crate::{
    openapi::{self, PUBLIC, page},
    problem::{Form, described::refusals},
};

/// The media types of the document and of the page.
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

refusals!(NoDocument, Form::Problem);
refusals!(NoPage, Form::Problem);

/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "description",
    tag = PUBLIC,
    responses(
        (
            status = 200,
            description = "An OpenAPI 3.1 document.",
            body = Object,
            content_type = JSON,
            example = json!({"openapi": "3.1.0"}),
        ),
        NoDocument,
    ),
)]
pub(crate) async fn document() -> impl IntoResponse {
    ([(CONTENT_TYPE, JSON)], openapi::text())
}

/// This document as a page. It has no scripts and asks no other host for anything.
#[utoipa::path(
    get,
    path = "/docs",
    operation_id = "descriptionPage",
    tag = PUBLIC,
    responses(
        (
            status = 200,
            description = "HTML.",
            body = String,
            content_type = HTML,
            headers(("content-security-policy" = String, description = "Nothing but the page's own style.")),
            example = json!("<!DOCTYPE html>"),
        ),
        NoPage,
    ),
)]
pub(crate) async fn page() -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, HTML),
        (CONTENT_SECURITY_POLICY, page::policy()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (headers, page::html())
}
