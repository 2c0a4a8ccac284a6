//! The description as a page for people: HTML with a style of its own, without scripts, and with nothing from elsewhere.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::openapi;

const STYLE: &str = "
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; color: #222; background: #fff; }
h2 { margin-top: 3rem; border-bottom: 2px solid #222; }
article { margin: 2rem 0; border-top: 1px solid #ccc; }
h3 { overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .25rem .5rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
td p { margin: 0; }
code, pre { font: .875rem/1.4 ui-monospace, monospace; background: #f4f4f4; }
pre { padding: .5rem; overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
.method { padding: 0 .5rem; color: #fff; background: #264653; }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #181818; }
  code, pre { background: #282828; }
  a { color: #8ab4f8; }
}
";

static PAGE: LazyLock<String> = LazyLock::new(|| page(openapi()).into_string());

/// Nothing is loaded, run, framed or sent anywhere; the style is the one that is in the page.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// The page.
pub(crate) fn html() -> &'static str {
    &PAGE
}

/// What a browser may do with it (the header `Content-Security-Policy`).
pub(crate) fn policy() -> &'static str {
    &POLICY
}

fn page(api: &Value) -> Markup {
    let (info, components) = (at(api, "info"), at(api, "components"));
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (text(info, "title")) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (text(info, "title")) " " (text(info, "version")) }
                (prose(text(info, "description")))
                p { "For programs: " a href="openapi.json" { "openapi.json" } "." }
                ul {
                    @for tag in list(api, "tags") { li { a href={ "#" (text(tag, "name")) } { (text(tag, "name")) } } }
                    li { a href="#problems" { "problems" } }
                    li { a href="#schemas" { "schemas" } }
                }
                @for tag in list(api, "tags") { (surface(api, tag)) }
                h2 id="problems" { "problems" }
                (problems(at(components, "examples")))
                h2 id="schemas" { "schemas" }
                @for (name, schema) in members(components, "schemas") {
                    article id={ "schema-" (name) } {
                        h3 { (name) }
                        (json(schema))
                    }
                }
            }
        }
    }
}

fn surface(api: &Value, tag: &Value) -> Markup {
    let name = text(tag, "name");
    let tagged = |operation: &Value| list(operation, "tags").any(|tag| tag == name);
    html! {
        h2 id=(name) { (name) }
        (prose(text(tag, "description")))
        @for (path, methods) in members(api, "paths") {
            @for (method, operation) in methods.as_object().into_iter().flatten() {
                @if tagged(operation) { (call(path, method, operation, at(api, "components"))) }
            }
        }
    }
}

fn call(path: &str, method: &str, operation: &Value, components: &Value) -> Markup {
    let body = at(operation, "requestBody");
    html! {
        article id=(text(operation, "operationId")) {
            h3 { span.method { (method.to_uppercase()) } " " (path) }
            (prose(text(operation, "summary")))
            (prose(text(operation, "description")))
            @if list(operation, "parameters").next().is_some() {
                h4 { "Parameters" }
                table {
                    @for parameter in list(operation, "parameters") { (row(parameter)) }
                }
            }
            @for (kind, content) in members(body, "content") {
                h4 { "Body" }
                (prose(text(body, "description")))
                p { (media(kind, content)) }
                (json(at(content, "example")))
            }
            h4 { "Answers" }
            table {
                @for (status, answer) in members(operation, "responses") {
                    tr {
                        th { (status) }
                        td { (prose(text(answer, "description"))) (contents(answer, components)) }
                    }
                }
            }
        }
    }
}

fn row(parameter: &Value) -> Markup {
    html! {
        tr {
            th { code { (text(parameter, "name")) } }
            td { (text(parameter, "in")) @if at(parameter, "required") == true { ", required" } }
            td {
                (prose(text(parameter, "description")))
                details { summary { "example" } (json(at(parameter, "example"))) }
            }
        }
    }
}

/// The headers and bodies of an answer, with their examples.
fn contents(answer: &Value, components: &Value) -> Markup {
    let kept = |named: &Value| {
        let name = text(named, "$ref").rsplit('/').next().unwrap_or_default();
        at(at(components, "examples"), name).clone()
    };
    html! {
        @for (name, header) in members(answer, "headers") {
            p { code { (name) } " " (text(header, "description")) }
        }
        @for (kind, content) in members(answer, "content") {
            details {
                summary { (media(kind, content)) }
                @if let Some(example) = content.get("example") { (json(example)) }
                @for (_, named) in members(content, "examples") { (json(at(&kept(named), "value"))) }
            }
        }
    }
}

fn media(kind: &str, content: &Value) -> Markup {
    let schema = text(at(content, "schema"), "$ref").rsplit('/').next().unwrap_or_default();
    html! {
        code { (kind) }
        @if !schema.is_empty() { " " a href={ "#schema-" (schema) } { (schema) } }
    }
}

/// The problems of the owner and the public surface; the enclave surface has the same codes.
fn problems(examples: &Value) -> Markup {
    let all = examples.as_object().into_iter().flatten().map(|(_, example)| at(example, "value"));
    html! {
        table {
            @for problem in all.filter(|problem| problem.get("code").is_some()) {
                tr {
                    th { code { (text(problem, "code")) } }
                    td { (at(problem, "status")) }
                    td { (text(problem, "title")) }
                    td { (text(problem, "detail")) }
                }
            }
        }
    }
}

/// Paragraphs, and code in backticks.
fn prose(text: &str) -> Markup {
    let paragraphs = text.split("\n\n").filter(|paragraph| !paragraph.is_empty());
    html! {
        @for paragraph in paragraphs {
            p {
                @for (place, part) in paragraph.split('`').enumerate() {
                    @if place % 2 == 0 { (part) } @else { code { (part) } }
                }
            }
        }
    }
}

fn json(value: &Value) -> Markup {
    let plain = value.as_str().map(str::to_owned);
    html! { pre { (plain.unwrap_or_else(|| format!("{value:#}"))) } }
}

fn at<'v>(value: &'v Value, name: &str) -> &'v Value {
    value.get(name).unwrap_or(&Value::Null)
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    at(value, name).as_str().unwrap_or_default()
}

fn list<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    at(value, name).as_array().into_iter().flatten()
}

fn members<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = (&'v String, &'v Value)> {
    at(value, name).as_object().into_iter().flatten()
}
