//! `PUT`: a new version of a secret.

use axum::{
    body::{Body, to_bytes},
    extract::State,
    http::{
        HeaderMap, StatusCode,
        header::{CONTENT_LENGTH, CONTENT_TYPE},
    },
    response::Response,
};
use sesame_domain::SecretId;
use sesame_protocol::owner::{MAX_SEALED_BYTES, SEALED_CONTENT_TYPE, SecretMetadata, SignedUpdate};
use sesame_vault::{Metadata, Push, VaultError};

use super::{
    Claim, Ownership, asset_secret, authorization, body, malformed, requester_secret, with_metadata,
};
use crate::{
    clock,
    openapi::{OWNER, examples, parameters},
    overload::blocking,
    path::Path,
    problem::{
        ApiError, Code, Form,
        described::{ASSET, FRESH, SIGNED, VAULT, refusals},
    },
    service::{Service, Shared},
};

/// To a body and what was signed of it.
const UPDATE: [Code; 12] = [
    Code::MalformedId,
    Code::WrongContentType,
    Code::TooLarge,
    Code::WrongEpoch,
    Code::WrongContentDigest,
    Code::StorageLow,
    Code::WrongLength,
    Code::WrongDigest,
    Code::WrongSealingKey,
    Code::DoesNotOpen,
    Code::VersionConflict,
    Code::Replayed,
];

refusals!(AssetRefusals, Form::Problem, SIGNED, ASSET, FRESH, VAULT, UPDATE);
refusals!(RequesterRefusals, Form::Problem, SIGNED, FRESH, VAULT, UPDATE);

/// Pushes a new version of an app's secret, or of the key of a protected data.
///
/// The body is sealed to the SMS's key (HPKE, RFC 9180): `enc`, then the ciphertext. What was signed binds it to this secret, owner,
/// epoch and version.
#[utoipa::path(
    put,
    path = "/v1/assets/{asset}/secret",
    operation_id = "putAssetSecret",
    tag = OWNER,
    params(parameters::InAsset, parameters::WithUpdate),
    request_body(
        content_type = SEALED_CONTENT_TYPE,
        description = "The sealed secret, of 1 to 4194304 bytes before it was sealed.",
        example = json!("enc, 32 bytes, and the ciphertext with its tag"),
    ),
    responses(
        (
            status = 201,
            description = "The first version is kept.",
            body = SecretMetadata,
            headers(
                ("etag" = String, description = "The newest version, in quotes."),
                ("sesame-secret" = String, description = "A `SecretMetadata`, base64url without padding."),
            ),
            example = json!(examples::metadata()),
        ),
        (
            status = 200,
            description = "The next version is kept.",
            body = SecretMetadata,
            headers(
                ("etag" = String, description = "The newest version, in quotes."),
                ("sesame-secret" = String, description = "A `SecretMetadata`, base64url without padding."),
            ),
            example = json!(examples::metadata()),
        ),
        AssetRefusals,
    ),
)]
pub(crate) async fn asset(
    State(service): State<Shared>,
    Path(asset): Path<String>,
    headers: HeaderMap,
    sealed: Body,
) -> Result<Response, ApiError> {
    put(service, asset_secret(&asset)?, &headers, sealed).await
}

/// Pushes a new version of a requester's secret.
///
/// The body is sealed to the SMS's key (HPKE, RFC 9180): `enc`, then the ciphertext. What was signed binds it to this secret, owner
/// and version.
#[utoipa::path(
    put,
    path = "/v1/requesters/{address}/secrets/{name}",
    operation_id = "putRequesterSecret",
    tag = OWNER,
    params(parameters::InAddress, parameters::InName, parameters::WithUpdate),
    request_body(
        content_type = SEALED_CONTENT_TYPE,
        description = "The sealed secret, of 1 to 4194304 bytes before it was sealed.",
        example = json!("enc, 32 bytes, and the ciphertext with its tag"),
    ),
    responses(
        (
            status = 201,
            description = "The first version is kept.",
            body = SecretMetadata,
            headers(
                ("etag" = String, description = "The newest version, in quotes."),
                ("sesame-secret" = String, description = "A `SecretMetadata`, base64url without padding."),
            ),
            example = json!(examples::metadata()),
        ),
        (
            status = 200,
            description = "The next version is kept.",
            body = SecretMetadata,
            headers(
                ("etag" = String, description = "The newest version, in quotes."),
                ("sesame-secret" = String, description = "A `SecretMetadata`, base64url without padding."),
            ),
            example = json!(examples::metadata()),
        ),
        RequesterRefusals,
    ),
)]
pub(crate) async fn requester(
    State(service): State<Shared>,
    Path((address, name)): Path<(String, String)>,
    headers: HeaderMap,
    sealed: Body,
) -> Result<Response, ApiError> {
    put(service, requester_secret(&address, &name)?, &headers, sealed).await
}

async fn put(
    service: Shared,
    secret: SecretId,
    headers: &HeaderMap,
    sealed: Body,
) -> Result<Response, ApiError> {
    check_content_type(headers)?;
    check_announced_length(headers)?;
    let update = SignedUpdate::parse(authorization(headers)?).map_err(|error| malformed(&error))?;
    let claim = Claim {
        owner: update.owner,
        deadline: update.deadline,
        hash: update.hash(&secret, &service.domain),
        signature: &update.signature,
    };
    let ownership = claim.check(&service, &secret).await?;
    check_owner(&ownership, &update)?;
    let service =
        blocking(service.place().await?, move || service.reserve.check().map(|()| service)).await?;
    let sealed = to_bytes(sealed, MAX_SEALED_BYTES).await.map_err(|_| too_large())?;
    let metadata = blocking(service.place().await?, {
        let secret = secret.clone();
        move || keep(&service, secret, &update, &sealed)
    })
    .await?;
    let status = if metadata.version == 1 { StatusCode::CREATED } else { StatusCode::OK };
    Ok(with_metadata(status, &body(&secret, &metadata)))
}

/// The one span in which the service holds an owner's plaintext: from unsealing to sealing for the store.
#[tracing::instrument(name = "push", skip_all)]
fn keep(
    service: &Service,
    secret: SecretId,
    update: &SignedUpdate,
    sealed: &[u8],
) -> Result<Metadata, ApiError> {
    // Once more, since many bodies may have been on their way at once, and this one for longer than a sale takes.
    service.reserve.check()?;
    check_owner(&Ownership::check(service, &secret, update.owner)?, update)?;
    let key = service.sealing_key(update.sms_key)?;
    let value = update.open(&secret, sealed, &key)?.into();
    let metadata = Metadata {
        owner: update.owner,
        epoch: update.epoch,
        version: update.version,
        transferable: update.transferable,
        content_digest: update.content_digest,
        sealed_digest: update.sealed_digest,
        updated_at: clock::now(),
        size: 0,
    };
    let operation = if update.version == 1 { "push" } else { "replace" };
    let push = Push { secret: secret.clone(), metadata, value };
    match service.metrics.vault.time(operation, || service.vault.push(push)) {
        Err(error @ VaultError::VersionConflict { .. }) => {
            let newest = service.vault.newest(&secret)?;
            let replayed = newest.is_some_and(|newest| {
                newest.version == update.version && newest.sealed_digest == update.sealed_digest
            });
            Err(if replayed { replay(update.version) } else { error.into() })
        }
        result => Ok(result?),
    }
}

fn replay(version: u64) -> ApiError {
    let detail = format!("Version {version} with this very signature was accepted before.");
    ApiError::new(Code::Replayed, detail)
}

fn too_large() -> ApiError {
    let detail = format!("A sealed body has at most {MAX_SEALED_BYTES} bytes, a secret 4194304.");
    ApiError::new(Code::TooLarge, detail)
}

fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    if headers.get(CONTENT_TYPE).is_some_and(|value| value == SEALED_CONTENT_TYPE) {
        return Ok(());
    }
    let detail = format!("Send the sealed secret as {SEALED_CONTENT_TYPE}.");
    Err(ApiError::new(Code::WrongContentType, detail))
}

fn check_announced_length(headers: &HeaderMap) -> Result<(), ApiError> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length = announced.and_then(|text| text.parse::<usize>().ok());
    if length.is_some_and(|length| length > MAX_SEALED_BYTES) { Err(too_large()) } else { Ok(()) }
}

/// The update is of the owner's own time, and of the asset's kind.
fn check_owner(ownership: &Ownership, update: &SignedUpdate) -> Result<(), ApiError> {
    ownership.check_epoch(update.epoch)?;
    check_content_digest(ownership, update)
}

/// A key names the content that it opens; nothing else does.
fn check_content_digest(ownership: &Ownership, update: &SignedUpdate) -> Result<(), ApiError> {
    if ownership.is_protected_data() != update.content_digest.is_zero() {
        return Ok(());
    }
    let detail =
        "The key of protected data names the SHA-256 of its content; other secrets name none.";
    Err(ApiError::new(Code::WrongContentDigest, detail))
}
