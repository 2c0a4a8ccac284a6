//! Answers held against the service's description of itself: whatever a story provokes has to be described.

use std::{collections::BTreeMap, sync::LazyLock};

use jsonschema::Validator;
use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::{Value, json};
use sesame_sms::openapi;

use crate::Answer;

/// What checks the documents of the description, by name.
static SCHEMAS: LazyLock<BTreeMap<&str, Validator>> = LazyLock::new(|| {
    let components = &openapi()["components"];
    let schemas = components["schemas"].as_object().expect("there are schemas");
    let validator = |name: &str| {
        let pointer = format!("#/components/schemas/{name}");
        let schema = json!({ "$ref": pointer, "components": components });
        jsonschema::draft202012::new(&schema).expect("a schema")
    };
    schemas.keys().map(|name| (name.as_str(), validator(name))).collect()
});

/// The answer to this request is described: status, problem, media type and document.
#[track_caller]
pub(crate) fn check(method: &Method, path: &str, answer: &Answer) {
    let problem = answer.header("sesame-problem");
    let Some(operation) = operation(method, path) else {
        let expected = [(404, Some("not_found")), (405, Some("method_not_allowed"))];
        let shown = (answer.status, problem);
        assert!(
            expected.contains(&shown),
            "{method} {path} is not described, and answers {shown:?}"
        );
        return;
    };
    if (answer.status, problem) == (404, Some("not_found")) {
        // It is there, at another listener.
        return;
    }
    let response = &operation["responses"][answer.status.to_string()];
    let shown = String::from_utf8_lossy(&answer.body);
    let place = format!("{method} {path}: {} {problem:?}", answer.status);
    assert!(!response.is_null(), "{place} is not described: {shown}");
    let codes = response["headers"]["sesame-problem"]["schema"]["enum"].as_array();
    match (problem, codes) {
        (None, None) => {}
        (Some(code), Some(codes)) if codes.iter().any(|known| known == code) => {}
        _ => panic!("{place} is described with the codes {codes:?}: {shown}"),
    }
    if *method != Method::HEAD {
        check_body(&place, &response["content"], answer);
    }
}

#[track_caller]
fn check_body(place: &str, content: &Value, answer: &Answer) {
    let kind = answer.header(CONTENT_TYPE.as_str()).unwrap_or_default();
    let content = &content[kind];
    assert!(!content.is_null(), "{place}: {kind} is not described");
    let schema = content["schema"]["$ref"].as_str().unwrap_or_default();
    if let Some(name) = schema.rsplit('/').next().filter(|name| !name.is_empty()) {
        let body = answer.json();
        if let Err(error) = SCHEMAS[name].validate(&body) {
            panic!("{place} is no {name}: {error}: {body}");
        }
    }
}

/// What the description says of a request. `HEAD` is answered wherever `GET` is.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let paths = openapi()["paths"].as_object().expect("there are paths");
    let methods = &paths.iter().find(|(template, _)| fits(template, path))?.1;
    let named = |method: &Method| methods.get(method.as_str().to_lowercase());
    named(method).or_else(|| if *method == Method::HEAD { named(&Method::GET) } else { None })
}

/// Whether a path is one of a template's, as the router has it: `{path}` is all the rest, any other `{parameter}` one part, which
/// may be empty before the last.
fn fits(template: &str, path: &str) -> bool {
    let (mut parts, mut templates) = (path.split('/'), template.split('/'));
    loop {
        match (templates.next(), parts.next()) {
            (Some("{path}"), Some(part)) => return !part.is_empty(),
            (Some(template), Some(part)) => {
                let last = parts.clone().next().is_none();
                let open = template.starts_with('{') && !(last && part.is_empty());
                if !open && template != part {
                    return false;
                }
            }
            (None, None) => return true,
            _ => return false,
        }
    }
}
