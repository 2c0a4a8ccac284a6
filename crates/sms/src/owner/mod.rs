//! What owners may do; every request is signed, `HEAD` too.
//!
//! The order of checks: the path, the signature's header, its deadline, the signer, the owner by the chain (head and
//! confirmed), and only then the body and the vault. Strangers learn nothing of what the vault holds.

pub(crate) mod delete;
pub(crate) mod head;
pub(crate) mod put;
pub(crate) mod receipts;

use alloy_primitives::Address;
use axum::{
    Json,
    http::{HeaderMap, HeaderValue, StatusCode, header::ETAG},
    response::{IntoResponse, Response},
};
use sesame_domain::{Asset, AssetKind, SecretId};
use sesame_protocol::{
    owner::{AUTHORIZATION_HEADER, METADATA_HEADER, SecretMetadata},
    signature::SignatureError,
};
use sesame_vault::Metadata;

use crate::{
    clock,
    problem::{ApiError, Code},
    public::explain::parse_address,
    service::{Service, header},
};

/// Longest time ahead that a signature's deadline may lie, seconds.
const LONGEST_AHEAD: u64 = 3600;

fn asset_secret(asset: &str) -> Result<SecretId, ApiError> {
    Ok(SecretId::Asset(asset.parse()?))
}

fn requester_secret(address: &str, name: &str) -> Result<SecretId, ApiError> {
    Ok(SecretId::Requester(parse_address(address)?, name.parse()?))
}

/// The one header that carries the signed fields and the signature.
fn authorization(headers: &HeaderMap) -> Result<&str, ApiError> {
    header(headers, AUTHORIZATION_HEADER)?.ok_or_else(|| {
        let detail = format!("Sign the request and put the signature into {AUTHORIZATION_HEADER}.");
        ApiError::new(Code::SignatureMissing, detail)
    })
}

fn malformed(error: &dyn std::error::Error) -> ApiError {
    ApiError::new(
        Code::SignatureMalformed,
        format!("The signature header cannot be used: {error}."),
    )
}

/// In force, and signed by the owner that it names.
fn check_signature(
    deadline: u64,
    owner: Address,
    signer: Result<Address, SignatureError>,
) -> Result<(), ApiError> {
    let now = clock::now();
    if !(now..=now + LONGEST_AHEAD).contains(&deadline) {
        let detail = format!(
            "The deadline {deadline} has passed or lies more than {LONGEST_AHEAD} s ahead; it is {now} here."
        );
        return Err(ApiError::new(Code::SignatureExpired, detail));
    }
    let signer = signer.map_err(|error| malformed(&error))?;
    if signer == owner {
        return Ok(());
    }
    let detail = format!(
        "The signature over these fields is not {owner}'s. Were they signed for this chain, this service and this resource?"
    );
    Err(ApiError::new(Code::WrongSigner, detail))
}

/// What the chain says about the secret's owner.
struct Ownership {
    /// The asset; none for a requester's own secret.
    asset: Option<Asset>,
}

impl Ownership {
    /// `owner` owns the secret, at the head and at the confirmed block.
    fn check(service: &Service, secret: &SecretId, owner: Address) -> Result<Self, ApiError> {
        let snapshot = service.fresh()?;
        let id = match secret {
            SecretId::Requester(address, _) if *address == owner => {
                return Ok(Self { asset: None });
            }
            SecretId::Requester(address, _) => {
                let detail = format!("This secret is {address}'s, not {owner}'s.");
                return Err(ApiError::new(Code::NotOwner, detail));
            }
            SecretId::Asset(id) => *id,
        };
        let views = snapshot.asset(id)?;
        let unknown = || {
            let detail = format!(
                "The asset registry knows no asset {id} at block {}.",
                snapshot.head().number
            );
            ApiError::new(Code::AssetUnknown, detail)
        };
        let at_head = views.head.ok_or_else(unknown)?;
        if at_head.owner != owner {
            return Err(ApiError::new(Code::NotOwner, format!("{owner} does not own {id}.")));
        }
        match views.confirmed {
            Some(confirmed) if confirmed.owner == owner && confirmed.epoch == at_head.epoch => {
                Ok(Self { asset: Some(at_head) })
            }
            _ => Err(ApiError::new(
                Code::NotYetConfirmed,
                format!(
                    "{owner} owns {id} only since a block that is not confirmed yet; block {} is. Try again.",
                    snapshot.confirmed().number
                ),
            )),
        }
    }

    fn epoch(&self) -> u64 {
        self.asset.as_ref().map_or(0, |asset| asset.epoch)
    }

    fn is_protected_data(&self) -> bool {
        self.asset.as_ref().is_some_and(|asset| asset.kind == AssetKind::ProtectedData)
    }

    fn check_epoch(&self, signed: u64) -> Result<(), ApiError> {
        if signed == self.epoch() {
            return Ok(());
        }
        let detail = format!("The epoch is {}, the signature says {signed}.", self.epoch());
        Err(ApiError::new(Code::WrongEpoch, detail))
    }

    /// Whether the present owner may know of what the vault holds: what a former owner pushed for itself is not theirs.
    fn may_see(&self, metadata: &Metadata) -> bool {
        metadata.transferable
            || self
                .asset
                .as_ref()
                .is_none_or(|asset| metadata.owner == asset.owner && metadata.epoch == asset.epoch)
    }
}

fn body(secret: &SecretId, metadata: &Metadata) -> SecretMetadata {
    SecretMetadata {
        resource: secret.to_string(),
        owner: metadata.owner,
        epoch: metadata.epoch,
        version: metadata.version,
        transferable: metadata.transferable,
        size: metadata.size,
        content_digest: metadata.content_digest,
        sealed_digest: metadata.sealed_digest,
        updated_at: metadata.updated_at,
    }
}

/// What is shown where there is nothing to show but the newest version's number.
fn tombstone(secret: &SecretId, owner: Address, epoch: u64, version: u64) -> SecretMetadata {
    SecretMetadata {
        resource: secret.to_string(),
        owner,
        epoch,
        version,
        transferable: false,
        size: 0,
        content_digest: Default::default(),
        sealed_digest: Default::default(),
        updated_at: 0,
    }
}

fn with_metadata(status: StatusCode, metadata: &SecretMetadata) -> Response {
    let mut response = (status, Json(metadata)).into_response();
    add_metadata(&mut response, metadata);
    response
}

fn add_metadata(response: &mut Response, metadata: &SecretMetadata) {
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::try_from(metadata.etag()) {
        headers.insert(ETAG, etag);
    }
    if let Ok(document) = HeaderValue::try_from(metadata.to_header()) {
        headers.insert(METADATA_HEADER, document);
    }
}
