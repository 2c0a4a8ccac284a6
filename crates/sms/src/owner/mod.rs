//! What owners may do; every request is signed, `HEAD` too.
//!
//! The order of checks: the path, the signature's header, its deadline, the owner by the chain (head and confirmed), the
//! signer, and only then the body and the vault. Strangers learn nothing of what the vault holds.

mod contract;
pub(crate) mod delete;
pub(crate) mod head;
pub(crate) mod list;
pub(crate) mod put;
pub(crate) mod receipts;

use alloy_primitives::{Address, B256};
use axum::{
    Json,
    http::{HeaderMap, HeaderValue, StatusCode, header::ETAG},
    response::{IntoResponse, Response},
};
use sesame_domain::{Asset, AssetKind, BlockRef, ParseIdError, SecretId};
use sesame_protocol::{
    owner::{AUTHORIZATION_HEADER, METADATA_HEADER, SecretMetadata},
    signature::OwnerSignature,
};
use sesame_vault::Metadata;
use sesame_view::Snapshot;

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

/// Who says to own a secret, and how that was signed.
struct Claim<'a> {
    owner: Address,
    deadline: u64,
    /// What was signed.
    hash: B256,
    signature: &'a OwnerSignature,
}

impl Claim<'_> {
    /// In force, by the owner of the secret, and signed by that owner.
    async fn check(&self, service: &Service, secret: &SecretId) -> Result<Ownership, ApiError> {
        self.check_deadline()?;
        let ownership = Ownership::check(service, secret, self.owner)?;
        self.check_signer(service, ownership.at).await?;
        Ok(ownership)
    }

    /// In force, and signed by whoever this address is.
    async fn check_requester(&self, service: &Service, address: Address) -> Result<(), ApiError> {
        self.check_deadline()?;
        if self.owner != address {
            let detail = format!("This is {address}'s, not {}'s.", self.owner);
            return Err(ApiError::new(Code::NotOwner, detail));
        }
        let at = {
            let snapshot = service.fresh()?;
            [snapshot.confirmed().as_ref(), snapshot.head().as_ref()]
        };
        self.check_signer(service, at).await
    }

    /// Signed by the owner that it names, as both views know that owner.
    async fn check_signer(&self, service: &Service, at: [BlockRef; 2]) -> Result<(), ApiError> {
        match self.signature.signer(self.hash) {
            Ok(signer) if signer == self.owner => Ok(()),
            signer => {
                let refusal =
                    signer.map_or_else(|error| malformed(&error), |_| self.wrong_signer());
                contract::check(service, self, at, refusal).await
            }
        }
    }

    fn check_deadline(&self) -> Result<(), ApiError> {
        let (now, deadline) = (clock::now(), self.deadline);
        if (now..=now + LONGEST_AHEAD).contains(&deadline) {
            return Ok(());
        }
        let detail = format!(
            "The deadline {deadline} has passed or lies more than {LONGEST_AHEAD} s ahead; it is {now} here."
        );
        Err(ApiError::new(Code::SignatureExpired, detail))
    }

    fn wrong_signer(&self) -> ApiError {
        let detail = format!(
            "The signature over these fields is not {}'s. Were they signed for this chain, this service and this resource?",
            self.owner
        );
        ApiError::new(Code::WrongSigner, detail)
    }
}

/// What the chain says about the secret's owner.
struct Ownership {
    /// The asset; none for a requester's own secret.
    asset: Option<Asset>,
    /// After which blocks: the confirmed one and the newest.
    at: [BlockRef; 2],
}

impl Ownership {
    /// `owner` owns the secret, at the head and at the confirmed block.
    fn check(service: &Service, secret: &SecretId, owner: Address) -> Result<Self, ApiError> {
        Self::check_at(&service.fresh()?, secret, owner)
    }

    fn check_at(
        snapshot: &Snapshot<'_>,
        secret: &SecretId,
        owner: Address,
    ) -> Result<Self, ApiError> {
        let at = [snapshot.confirmed().as_ref(), snapshot.head().as_ref()];
        let id = match secret {
            SecretId::Requester(address, _) if *address == owner => {
                return Ok(Self { asset: None, at });
            }
            SecretId::Requester(address, _) => {
                let detail = format!("This secret is {address}'s, not {owner}'s.");
                return Err(ApiError::new(Code::NotOwner, detail));
            }
            SecretId::Asset(id) => *id,
            SecretId::Iexec(_) => return Err(ParseIdError::NotASecret.into()),
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
                Ok(Self { asset: Some(at_head), at })
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
