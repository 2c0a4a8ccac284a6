//! Problems as the service's description has them: a handler names codes, and their statuses, headers and examples follow.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::json;
use sesame_protocol::{denial::DenialBody, problem};
use utoipa::openapi::{
    Components, ContentBuilder, Header, HeaderBuilder, ObjectBuilder, OpenApi, PathItem, Ref,
    RefOr, Response, ResponseBuilder, Type,
    example::{Example, ExampleBuilder},
};

use super::{ApiError, Code, Form, PROBLEM_HEADER};

/// What any route may answer, whatever its handler does.
const ALWAYS: [Code; 5] = [
    Code::UnsupportedEncoding,
    Code::RequestTimeout,
    Code::RequestTooSlow,
    Code::Overloaded,
    Code::Internal,
];

/// What is answered where there is no route.
pub(crate) const NO_ROUTE: [Code; 2] = [Code::NotFound, Code::MethodNotAllowed];

/// In place of an answer that rests on the chain.
pub(crate) const FRESH: [Code; 5] = [
    Code::IndexStarting,
    Code::IndexBackfilling,
    Code::IndexStale,
    Code::HeadTooOld,
    Code::ClockBehind,
];

/// In place of an answer that rests on the vault.
pub(crate) const VAULT: [Code; 2] = [Code::VaultUnavailable, Code::KeysUnavailable];

/// To a request that an owner or a requester has to sign.
pub(crate) const SIGNED: [Code; 8] = [
    Code::SignatureMissing,
    Code::SignatureMalformed,
    Code::SignatureExpired,
    Code::WrongSigner,
    Code::SignatureRefused,
    Code::SignatureUnchecked,
    Code::Busy,
    Code::NotOwner,
];

/// To a signed request about an asset.
pub(crate) const ASSET: [Code; 2] = [Code::AssetUnknown, Code::NotYetConfirmed];

/// `refusals!(Refusals, Form::Problem, FRESH, [Code::MalformedId])`: makes `Refusals` stand for these codes among the
/// `responses` of a handler.
macro_rules! refusals {
    ($name:ident, $form:expr $(, $codes:expr)* $(,)?) => {
        pub(crate) enum $name {}

        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<
                String,
                utoipa::openapi::RefOr<utoipa::openapi::Response>,
            > {
                $crate::problem::described::responses($form, &[$(&$codes),*])
            }
        }
    };
}
pub(crate) use refusals;

/// The answers with these codes and those that any route may give, by status.
pub(crate) fn responses(form: Form, codes: &[&[Code]]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status = BTreeMap::<_, Vec<Code>>::new();
    for code in codes.iter().copied().flatten().chain(&ALWAYS) {
        let same = by_status.entry(code.status()).or_default();
        if !same.contains(code) {
            same.push(*code);
        }
    }
    let entry = |(status, codes): (StatusCode, Vec<_>)| {
        (status.as_u16().to_string(), response(form, status, &codes).into())
    };
    by_status.into_iter().map(entry).collect()
}

/// Adds answers of statuses that the routes of a description have no others of.
pub(crate) fn also(api: &mut OpenApi, form: Form, codes: &[Code]) {
    for code in codes {
        let (status, response) = (code.status(), response(form, code.status(), &[*code]));
        let paths = api.paths.paths.values_mut();
        let methods = paths.flat_map(|path| {
            let PathItem { get, put, head, post, delete, .. } = path;
            [get, put, head, post, delete].into_iter().flatten()
        });
        for operation in methods {
            let status = status.as_u16().to_string();
            operation.responses.responses.insert(status, response.clone().into());
        }
    }
}

/// The answer with one of these codes, which are of one status.
fn response(form: Form, status: StatusCode, codes: &[Code]) -> Response {
    let line = |code: &Code| format!("`{}`: {}", code.as_str(), code.meaning());
    let example = |code: &Code| {
        let name = form.example(*code);
        (code.as_str(), RefOr::<Example>::Ref(Ref::new(format!("#/components/examples/{name}"))))
    };
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(form.schema())))
        .examples_from_iter(codes.iter().map(example));
    let mut response = ResponseBuilder::new()
        .description(codes.iter().map(line).collect::<Vec<_>>().join("\n\n"))
        .header(PROBLEM_HEADER.as_str(), code_header(codes))
        .content(form.content_type(), content.build());
    if [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&status) {
        response = response.header("retry-after", retry_after());
    }
    response.build()
}

fn code_header(codes: &[Code]) -> Header {
    let names = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(codes.iter().map(|code| code.as_str())));
    HeaderBuilder::new().schema(Some(names)).description(Some("The problem's code.")).build()
}

fn retry_after() -> Header {
    let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
    HeaderBuilder::new()
        .schema(Some(seconds))
        .description(Some("When to ask again, seconds."))
        .example(Some(json!(1)))
        .build()
}

/// Adds what the answers of [`responses`] refer to, and those that no route answers.
pub(crate) fn add_to(components: &mut Components) {
    for form in [Form::Problem, Form::Kbs] {
        for code in Code::ALL {
            let error = example(*code);
            let value = match form {
                Form::Problem => json!(error.problem()),
                Form::Kbs => json!(error.kbs()),
            };
            let example = ExampleBuilder::new().summary(code.parts().1).value(Some(value));
            components.examples.insert(form.example(*code), example.build().into());
        }
        for code in NO_ROUTE {
            let response = response(form, code.status(), &[code]);
            components.responses.insert(form.example(code), response.into());
        }
    }
}

/// What the code is answered with, in words that fit every time.
fn example(code: Code) -> ApiError {
    if code == Code::Denied {
        ApiError::denied(vec![DenialBody::TaskNotStarted])
    } else {
        ApiError::new(code, code.meaning())
    }
}

impl Form {
    const fn schema(self) -> &'static str {
        match self {
            Self::Problem => "Problem",
            Self::Kbs => "ErrorBody",
        }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Problem => problem::CONTENT_TYPE,
            Self::Kbs => "application/json",
        }
    }

    fn example(self, code: Code) -> String {
        match self {
            Self::Problem => code.as_str().to_owned(),
            Self::Kbs => format!("kbs.{}", code.as_str()),
        }
    }
}
