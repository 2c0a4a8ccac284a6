//! The description and what it describes.

use std::{collections::BTreeSet, sync::LazyLock};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use sesame_protocol::{
    explain::Explanation,
    jwk::JwkSet,
    keys::KeysDocument,
    owner::{SecretMetadata, SecretPage, SignedQuery, SignedRemoval, SignedUpdate},
    problem::Problem,
    rcar::{self, ErrorBody, TokenResponse},
    receipts::{ReceiptLogKey, ReceiptPage, SignedReceiptQuery},
    results::{ResultKeyCertificate, ResultKeyRequest, Settlement},
    status::Status,
    voucher::SignedVoucher,
};

use super::{openapi, page};
use crate::problem::{codes, described::NO_ROUTE};

/// Each operation by its method and path.
static OPERATIONS: LazyLock<Vec<(String, &Value)>> = LazyLock::new(|| {
    let paths = openapi()["paths"].as_object().unwrap().iter();
    let all = paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (format!("{method} {path}"), operation))
    });
    all.collect()
});

fn object(value: &Value) -> &Map<String, Value> {
    static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    value.as_object().unwrap_or(&NONE)
}

/// What a `$ref` within the document names.
fn referred(value: &Value) -> &Value {
    match value["$ref"].as_str() {
        Some(pointer) => openapi().pointer(pointer.trim_start_matches('#')).expect(pointer),
        None => value,
    }
}

/// Every body of requests and answers: where it is, its `content` by media type.
fn bodies() -> Vec<(String, &'static Value)> {
    let mut found = Vec::new();
    for (name, operation) in OPERATIONS.iter() {
        for (kind, content) in object(&operation["requestBody"]["content"]) {
            found.push((format!("{name}: the request, {kind}"), content));
        }
        for (status, response) in object(&operation["responses"]) {
            for (kind, content) in object(&response["content"]) {
                found.push((format!("{name}: {status}, {kind}"), content));
            }
        }
    }
    found
}

fn examples_of(content: &Value) -> Vec<&Value> {
    let named = object(&content["examples"]).values();
    let named = named.map(|example| &referred(example)["value"]);
    content.get("example").into_iter().chain(named).collect()
}

#[test]
fn the_description_is_of_openapi_3_1() {
    assert_eq!(openapi()["openapi"], "3.1.0");
    assert!(OPERATIONS.len() >= 29, "{} operations", OPERATIONS.len());
    let ids: BTreeSet<_> = OPERATIONS
        .iter()
        .map(|(_, operation)| operation["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), OPERATIONS.len(), "an operation's id is used twice");
}

/// A route that is added without `routes!` would be served and not described.
#[test]
fn every_route_is_served_by_its_description() {
    let router = include_str!("../router.rs");
    for way_around in [".route(", ".route_service(", ".nest_service(", ".fallback_service("] {
        assert!(!router.contains(way_around), "router.rs uses {way_around}: use routes! instead");
    }
    assert_eq!(crate::routes().count(), OPERATIONS.len());
}

#[test]
fn every_code_is_described() {
    let mut described: BTreeSet<_> = NO_ROUTE.iter().map(|code| code.as_str()).collect();
    for (name, operation) in OPERATIONS.iter() {
        for response in object(&operation["responses"]).values() {
            let header = &response["headers"]["sesame-problem"]["schema"];
            let named = header["enum"].as_array().into_iter().flatten();
            described.extend(named.map(|code| code.as_str().unwrap()));
        }
        for status in ["408", "500"] {
            assert!(operation["responses"].get(status).is_some(), "{name} never answers {status}");
        }
    }
    for code in codes() {
        assert!(
            described.contains(code),
            "`{code}` is described nowhere: name it in `refusals!` of the handlers that answer it, or, where layers do, in \
             `described::ALWAYS`, in `described::NO_ROUTE` or by `described::also` in router.rs"
        );
    }
}

/// Each status has only codes of that status.
#[test]
fn codes_stand_under_their_status() {
    let mut seen = 0;
    for (place, content) in bodies() {
        let schema = content["schema"]["$ref"].as_str().unwrap_or_default();
        if schema.ends_with("/Problem") {
            for example in examples_of(content) {
                let status = example["status"].as_u64().unwrap();
                assert!(place.contains(&format!(": {status}, ")), "{place}: {example}");
                seen += 1;
            }
        }
    }
    assert!(seen > 100, "only {seen} problems");
}

#[test]
fn everything_has_an_example() {
    for (place, content) in bodies() {
        assert!(!examples_of(content).is_empty(), "{place} has no example");
    }
    for (name, operation) in OPERATIONS.iter() {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(parameter.get("example").is_some(), "{name}: {} has none", parameter["name"]);
            let described = parameter["description"].as_str().unwrap_or_default();
            assert!(!described.is_empty(), "{name}: {} is not described", parameter["name"]);
        }
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
    }
}

/// Every parameter in a path is described, and none that is not there; and every security scheme is known.
#[test]
fn paths_and_security_name_what_there_is() {
    for (name, operation) in OPERATIONS.iter() {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let in_path = parameters.filter(|parameter| parameter["in"] == "path");
        let described: BTreeSet<_> =
            in_path.map(|parameter| parameter["name"].as_str().unwrap()).collect();
        let open = name.split('{').skip(1).map(|rest| rest.split('}').next().unwrap());
        assert_eq!(open.collect::<BTreeSet<_>>(), described, "{name}");
        for requirement in operation["security"].as_array().into_iter().flatten() {
            for scheme in object(requirement).keys() {
                let known = &openapi()["components"]["securitySchemes"];
                assert!(known.get(scheme).is_some(), "{name}: {scheme}");
            }
        }
    }
}

/// An example says what the type of its schema says, and nothing else.
fn reads<T: DeserializeOwned + Serialize>(example: &Value) -> Result<(), String> {
    let read: T = serde_json::from_value(example.clone()).map_err(|error| error.to_string())?;
    let written = serde_json::to_value(read).map_err(|error| error.to_string())?;
    if written == *example { Ok(()) } else { Err(format!("it is written as {written}")) }
}

/// The Rust type of a schema that bodies have.
fn reads_as(schema: &str) -> fn(&Value) -> Result<(), String> {
    match schema {
        "ErrorBody" => reads::<ErrorBody>,
        "Explanation" => reads::<Explanation>,
        "JwkSet" => reads::<JwkSet>,
        "KbsAttestation" => reads::<rcar::Attestation>,
        "KbsChallenge" => reads::<rcar::Challenge>,
        "KbsRequest" => reads::<rcar::Request>,
        "KbsResource" => reads::<rcar::Response>,
        "KeysDocument" => reads::<KeysDocument>,
        "Problem" => reads::<Problem>,
        "ReceiptLogKey" => reads::<ReceiptLogKey>,
        "ReceiptPage" => reads::<ReceiptPage>,
        "ResultKeyCertificate" => reads::<ResultKeyCertificate>,
        "ResultKeyRequest" => reads::<ResultKeyRequest>,
        "SecretMetadata" => reads::<SecretMetadata>,
        "SecretPage" => reads::<SecretPage>,
        "Settlement" => reads::<Settlement>,
        "Status" => reads::<Status>,
        "TokenResponse" => reads::<TokenResponse>,
        other => panic!("say here which Rust type the schema {other} is of"),
    }
}

#[test]
fn examples_are_of_their_rust_types() {
    let mut seen = 0;
    for (place, content) in bodies() {
        let Some(schema) = content["schema"]["$ref"].as_str() else { continue };
        let check = reads_as(schema.rsplit('/').next().unwrap());
        for example in examples_of(content) {
            check(example).unwrap_or_else(|error| panic!("{place}: {error}: {example}"));
            seen += 1;
        }
    }
    assert!(seen > 150, "only {seen} examples");
}

/// The documents in headers and paths, by the schema that their description names.
#[test]
fn examples_in_headers_are_signed_documents() {
    let reads = |schema: &str, text: &str| match schema {
        "SignedUpdate" => SignedUpdate::parse(text).is_ok(),
        "SignedRemoval" => SignedRemoval::parse(text).is_ok(),
        "SignedQuery" => SignedQuery::parse(text).is_ok(),
        "SignedReceiptQuery" => SignedReceiptQuery::parse(text).is_ok(),
        "SignedVoucher" => SignedVoucher::parse(text).is_ok(),
        other => panic!("{other} is no document in a header"),
    };
    let mut seen = 0;
    for (name, operation) in OPERATIONS.iter() {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            if parameter["schema"]["contentEncoding"] == "base64url" {
                let schema = parameter["description"].as_str().unwrap().split('`').nth(1).unwrap();
                assert!(openapi()["components"]["schemas"].get(schema).is_some(), "{schema}");
                assert!(reads(schema, parameter["example"].as_str().unwrap()), "{name}: {schema}");
                seen += 1;
            }
        }
    }
    assert!(seen >= 10, "only {seen} headers");
}

/// Schemas are derived from the types or written beside those of other crates: an example fits both or one of them is wrong.
#[test]
fn examples_are_of_their_schemas() {
    let validator = |schema: &Value| {
        let schema = json!({ "allOf": [schema], "components": openapi()["components"] });
        jsonschema::draft202012::new(&schema).unwrap()
    };
    let check = |place: &str, schema: &Value, example: &Value| {
        if let Err(error) = validator(schema).validate(example) {
            panic!("{place}: {error}: {example}");
        }
    };
    let mut seen = BTreeSet::new();
    for (place, content) in bodies() {
        for example in examples_of(content) {
            if content.get("schema").is_some() && seen.insert(example.to_string()) {
                check(&place, &content["schema"], example);
            }
        }
    }
    for (name, operation) in OPERATIONS.iter() {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            check(name, &parameter["schema"], &parameter["example"]);
        }
    }
}

#[test]
fn the_page_shows_every_call_and_code_and_loads_nothing() {
    let html = page::html();
    for (name, operation) in OPERATIONS.iter() {
        let id = operation["operationId"].as_str().unwrap();
        assert!(html.contains(&format!("<article id=\"{id}\">")), "{name} is not on the page");
    }
    for code in codes() {
        assert!(html.contains(&format!("<code>{code}</code>")), "{code} is not on the page");
    }
    for loading in ["<script", "<link", "<img", "<iframe", "src=", "url(", "@import", "href=\"http"]
    {
        assert!(!html.contains(loading), "the page has {loading}");
    }
    assert!(page::policy().starts_with("default-src 'none'; style-src 'sha256-"));
}
