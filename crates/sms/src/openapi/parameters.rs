//! What requests carry beside a body, each parameter once: in the path, in the query, in a header.

use serde_json::json;
use sesame_protocol::{
    owner::AUTHORIZATION_HEADER,
    schema::{EthereumAddress, Word},
    voucher::VOUCHER_HEADER,
};
use utoipa::{
    IntoParams, ToSchema,
    openapi::{
        ObjectBuilder, Ref, RefOr, Required, Schema, Type,
        path::{Parameter, ParameterBuilder, ParameterIn},
    },
};

use super::examples;
use crate::service::MIN_BLOCK;

macro_rules! parameters {
    ($(
        $(#[doc = $doc:literal])+
        $marker:ident = $place:ident $name:expr, $required:ident, $schema:expr, $example:expr;
    )+) => {$(
        pub(crate) enum $marker {}

        impl IntoParams for $marker {
            fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
                let parameter = ParameterBuilder::new()
                    .name($name)
                    .parameter_in(ParameterIn::$place)
                    .required(Required::$required)
                    .description(Some(concat!($($doc),+).trim_start()))
                    .schema(Some($schema))
                    .example(Some($example));
                vec![parameter.build()]
            }
        }
    )+};
}

parameters! {
    /// The asset: an app or a protected data.
    InAsset = Path "asset", True, of::<Word>(), json!(examples::app().0);
    /// Whose secrets or receipts, in any case of letters.
    InAddress = Path "address", True, of::<EthereumAddress>(), json!(examples::address());
    /// The name of a requester's secret. It is public on the chain.
    InName = Path "name", True, matching("^[0-9A-Za-z_-]{1,64}$"), json!(examples::NAME);
    /// The task.
    InTask = Path "task", True, of::<Word>(), json!(examples::task().0);
    /// The kind of resource: `bundle`, `app-secret`, `requester-secret` or `protected-data`.
    InType = Path "type", True, text(), json!("bundle");
    /// Which one: `all` of a bundle, `1` of an app secret, the secret's index in the order, or the data's number from 1.
    InTag = Path "tag", True, text(), json!("all");
    /// The worker's voucher, for agents that cannot add a header: base64url without padding of a `SignedVoucher`.
    InVoucher = Path "voucher", True, signed(), examples::voucher();
    /// `{level}/{index}[.p/{width}]` of <https://c2sp.org/tlog-tiles>, slashes as they are.
    InTile = Path "path", True, text(), json!("0/000.p/42");

    /// The enclave that the question is about; the pinned one unless it is said.
    ByEnclave = Query "enclave", False, of::<Word>(), json!(examples::enclave());
    /// `bundle/all` unless it is said, `app-secret/1`, `requester-secret/{index}` or `protected-data/{n}`.
    ByResource = Query "resource", False, text(), json!("bundle/all");
    /// Who would vouch for the run; the order's worker unless it is said.
    ByWorker = Query "worker", False, of::<EthereumAddress>(), json!(examples::worker());
    /// What the answer would have been after this block; the newest unless it is said.
    ByBlock = Query "block", False, number(), json!(21_000_000);
    /// `next` of the page before.
    ByAfter = Query "after", False, text(), json!(format!("assets/{}/secret", examples::app()));
    /// `next` of the page before: the index of a receipt.
    ByFrom = Query "from", False, number(), json!(100);

    /// Answer by this block or a later one: who has just revoked can see that it is in force.
    WithMinBlock = Header MIN_BLOCK, False, number(), json!(21_000_012);
    /// The worker's voucher: base64url without padding of a `SignedVoucher`.
    WithVoucher = Header VOUCHER_HEADER, True, signed(), examples::voucher();
    /// The owner's signature: base64url without padding of a `SignedUpdate`.
    WithUpdate = Header AUTHORIZATION_HEADER, True, signed(), examples::update();
    /// The owner's signature: base64url without padding of a `SignedRemoval`.
    WithRemoval = Header AUTHORIZATION_HEADER, True, signed(), examples::removal();
    /// The owner's signature: base64url without padding of a `SignedQuery`.
    WithQuery = Header AUTHORIZATION_HEADER, True, signed(), examples::query();
    /// The owner's signature: base64url without padding of a `SignedReceiptQuery`.
    WithReceiptQuery = Header AUTHORIZATION_HEADER, True, signed(), examples::receipt_query();
}

fn of<T: ToSchema>() -> RefOr<Schema> {
    Ref::from_schema_name(T::name()).into()
}

fn text() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).into()
}

fn matching(pattern: &str) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).into()
}

fn number() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).into()
}

/// A document in a header.
fn signed() -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .content_encoding("base64url")
        .content_media_type("application/json")
        .into()
}
