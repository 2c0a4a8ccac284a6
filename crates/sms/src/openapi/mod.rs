//! The service's description of itself (OpenAPI 3.1): made of what its handlers say, so that a route that is served is described.
//!
//! Handlers name their parameters, bodies and problems in `#[utoipa::path]`; here is what they have in common.

pub(crate) mod examples;
pub(crate) mod page;
pub(crate) mod parameters;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use serde_json::Value;
use sesame_protocol::{
    owner::{SignedQuery, SignedRemoval, SignedUpdate},
    problem::Problem,
    rcar::{ErrorBody, SESSION_COOKIE},
    receipts::SignedReceiptQuery,
    schema::{EthereumAddress, Word},
    voucher::SignedVoucher,
};
use utoipa::{
    ToSchema,
    openapi::{
        Components, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, RefOr,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
        tag::TagBuilder,
    },
};

use crate::{problem::described, router};

pub(crate) const PUBLIC: &str = "public";
pub(crate) const OWNER: &str = "owner";
pub(crate) const ENCLAVE: &str = "enclave";

/// Security schemes: either is the session of `/kbs`.
const BEARER: &str = "session";
const COOKIE: &str = "sessionCookie";

const INTRODUCTION: &str = "\
Sesame hands secrets to attested enclaves, and only where their owners said so on a blockchain.

Errors are problems of RFC 9457, below `/kbs` the `ErrorInformation` of the Key Broker Service protocol. Either names a code, \
which stands in the header `sesame-problem` too, so that an answer to `HEAD` has it. `HEAD` is answered wherever `GET` is. Where \
there is nothing, the answer is `not_found`, and to another method `method_not_allowed`.";

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    serde_json::to_value(finish(router::described())).expect("a description is JSON")
});

/// The description, an OpenAPI 3.1 document. It is the same for every service of this version.
#[must_use]
pub fn openapi() -> &'static Value {
    &DOCUMENT
}

static TEXT: LazyLock<String> = LazyLock::new(|| DOCUMENT.to_string());

/// The description as it is served.
pub(crate) fn text() -> &'static str {
    &TEXT
}

/// What the routes are added to.
pub(crate) fn beginning() -> OpenApi {
    let license = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0"));
    let info = InfoBuilder::new()
        .title("Sesame")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(INTRODUCTION))
        .license(Some(license.build()));
    let tag = |name, description| TagBuilder::new().name(name).description(Some(description));
    let tags = [
        tag(
            OWNER,
            "Owners and requesters push, inspect, list and remove secrets. Every request is signed (EIP-712).",
        ),
        tag(
            ENCLAVE,
            "Enclaves attest and fetch: the Key Broker Service protocol of Confidential Containers, RCAR 0.4.0.",
        ),
        tag(
            PUBLIC,
            "Anybody sees status, keys, receipts' hashes, and why a task would be refused.",
        ),
    ];
    OpenApiBuilder::new()
        .info(info.build())
        .tags(Some(tags.map(TagBuilder::build)))
        .components(Some(components()))
        .build()
}

fn components() -> Components {
    let mut components = Components::new();
    add::<Problem>(&mut components);
    add::<ErrorBody>(&mut components);
    // What headers and paths hold.
    add::<EthereumAddress>(&mut components);
    add::<Word>(&mut components);
    add::<SignedUpdate>(&mut components);
    add::<SignedRemoval>(&mut components);
    add::<SignedQuery>(&mut components);
    add::<SignedReceiptQuery>(&mut components);
    add::<SignedVoucher>(&mut components);
    described::add_to(&mut components);
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("The token of `/attest`."));
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer.build()));
    let cookie = ApiKeyValue::with_description(
        SESSION_COOKIE,
        "The challenge of `/auth`, then the session of `/attest`, as they set it.",
    );
    components.add_security_scheme(COOKIE, SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    components
}

/// Adds a schema with all that it refers to.
fn add<T: ToSchema>(components: &mut Components) {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
    components.schemas.extend(schemas);
}

/// What no handler can say of itself.
fn finish(mut api: OpenApi) -> OpenApi {
    // Axum's sign for a parameter that has slashes.
    let paths = std::mem::take(&mut api.paths.paths).into_iter();
    api.paths.paths = paths.map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    // RFC 9110, section 9.3.2: an answer to HEAD has no content.
    let heads = api.paths.paths.values_mut().filter_map(|path| path.head.as_mut());
    for answer in heads.flat_map(|head| head.responses.responses.values_mut()) {
        if let RefOr::T(answer) = answer {
            answer.content.clear();
        }
    }
    api
}
