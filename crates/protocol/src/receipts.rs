//! Receipts on the wire: the key of a service's log, and an owner's own receipts.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};
use sesame_domain::AssetId;

use crate::{
    base64url::{parse_header, to_header},
    keys::KeysError,
    owner::HeaderError,
    signature::{OwnerSignature, Signature65, SignatureError, Signer, recover},
    typed::{Domain, ReceiptLog, ReceiptQuery},
};

/// At most so many receipts are in one page.
pub const PAGE: usize = 100;

/// `GET /v1/receipts/key`: the key that signs the heads of this replica's log, certified by the SMS identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ReceiptLogKey {
    /// As signed notes write it: `{origin}+{key id}+{key}`.
    pub verifier_key: String,
    /// The identity's signature over [`ReceiptLog`].
    pub signature: Signature65,
}

impl ReceiptLogKey {
    /// Certifies a log's key.
    #[must_use]
    pub fn certify(verifier_key: String, domain: &Domain, identity: &Signer) -> Self {
        let message = ReceiptLog { verifierKey: verifier_key.clone() };
        Self { verifier_key, signature: identity.sign_hash(domain.signing_hash(&message)) }
    }

    /// The key, if the pinned identity certified it for this deployment.
    ///
    /// # Errors
    ///
    /// If somebody else signed, or the signature is malformed.
    pub fn verify(&self, pinned: Address, domain: &Domain) -> Result<&str, KeysError> {
        let message = ReceiptLog { verifierKey: self.verifier_key.clone() };
        let got = recover(domain.signing_hash(&message), &self.signature)?;
        if got == pinned {
            Ok(&self.verifier_key)
        } else {
            Err(KeysError::WrongIdentity { pinned, got })
        }
    }
}

/// Whose receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiptsOf {
    /// About this asset, since its present owner has it.
    Asset(AssetId),
    /// About the tasks that this requester bought.
    Requester(Address),
}

impl std::fmt::Display for ReceiptsOf {
    /// The path under `/v1` at which they are served.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Asset(asset) => write!(f, "assets/{asset}/receipts"),
            Self::Requester(address) => {
                write!(f, "requesters/{}/receipts", address.to_string().to_lowercase())
            }
        }
    }
}

/// `GET`: which receipts are there? The answer is a [`ReceiptPage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedReceiptQuery {
    /// Who asks: the asset's owner, or the requester.
    pub owner: Address,
    /// Last second at which the SMS may answer.
    pub deadline: u64,
    /// The owner's signature over [`ReceiptQuery`].
    pub signature: OwnerSignature,
}

impl SignedReceiptQuery {
    /// Signs a query, made of `sms`.
    #[must_use]
    pub fn sign(
        of: &ReceiptsOf,
        sms: Address,
        deadline: u64,
        domain: &Domain,
        owner: &Signer,
    ) -> Self {
        let owner_address = owner.address();
        let message =
            ReceiptQuery { resource: of.to_string(), owner: owner_address, sms, deadline };
        let signature = owner.sign_hash(domain.signing_hash(&message)).into();
        Self { owner: owner_address, deadline, signature }
    }

    /// What was signed, if the request is about `of` and made of `sms`.
    #[must_use]
    pub fn message(&self, of: &ReceiptsOf, sms: Address) -> ReceiptQuery {
        ReceiptQuery { resource: of.to_string(), owner: self.owner, sms, deadline: self.deadline }
    }

    /// The hash that was signed, if the request is about `of` and made of `sms`.
    #[must_use]
    pub fn hash(&self, of: &ReceiptsOf, sms: Address, domain: &Domain) -> B256 {
        domain.signing_hash(&self.message(of, sms))
    }

    /// Whose key signed, if the request is about `of` and made of `sms`, the verifier's own identity.
    ///
    /// # Errors
    ///
    /// If the signature is malformed.
    pub fn verify(
        &self,
        of: &ReceiptsOf,
        sms: Address,
        domain: &Domain,
    ) -> Result<Address, SignatureError> {
        self.signature.signer(self.hash(of, sms, domain))
    }

    /// The document as a header's value.
    #[must_use]
    pub fn to_header(&self) -> String {
        to_header(self)
    }

    /// Reads the document from a header's value.
    ///
    /// # Errors
    ///
    /// If the value is too long, is not base64url without padding, or holds other JSON.
    pub fn parse(header: &str) -> Result<Self, HeaderError> {
        parse_header(header)
    }
}

/// Receipts in the order of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ReceiptPage {
    /// At most [`PAGE`].
    pub receipts: Vec<ListedReceipt>,
    /// Where the next page begins (`?from=`), if there may be more.
    pub next: Option<u64>,
}

/// A receipt and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ListedReceipt {
    /// Its number in the log, from 0.
    pub index: u64,
    /// The line of the log, whose hash is the leaf, byte for byte.
    pub line: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAIN: Domain = Domain { chain_id: 31337, asset_registry: Address::repeat_byte(0x11) };

    #[test]
    fn a_key_is_what_the_pinned_identity_certified() {
        let identity = Signer::random();
        let key = ReceiptLogKey::certify("log+1+key".to_owned(), &DOMAIN, &identity);
        assert_eq!(key.verify(identity.address(), &DOMAIN).unwrap(), "log+1+key");
        let altered = ReceiptLogKey { verifier_key: "log+1+other".to_owned(), ..key.clone() };
        let elsewhere = Domain { chain_id: 1, ..DOMAIN };
        for refused in [
            altered.verify(identity.address(), &DOMAIN),
            key.verify(Address::ZERO, &DOMAIN),
            key.verify(identity.address(), &elsewhere),
        ] {
            assert!(matches!(refused, Err(KeysError::WrongIdentity { .. })), "{refused:?}");
        }
    }

    #[test]
    fn a_query_is_worth_nothing_elsewhere() {
        let (owner, sms) = (Signer::random(), Address::repeat_byte(9));
        let of = ReceiptsOf::Asset(AssetId::default());
        let signed = SignedReceiptQuery::sign(&of, sms, 7, &DOMAIN, &owner);
        let signed = SignedReceiptQuery::parse(&signed.to_header()).unwrap();
        assert_eq!(signed.verify(&of, sms, &DOMAIN), Ok(owner.address()));
        let later = SignedReceiptQuery { deadline: 8, ..signed.clone() };
        for signer in [
            signed.verify(&ReceiptsOf::Requester(owner.address()), sms, &DOMAIN),
            signed.verify(&of, Address::ZERO, &DOMAIN),
            signed.verify(&of, sms, &Domain { chain_id: 1, ..DOMAIN }),
            later.verify(&of, sms, &DOMAIN),
        ] {
            assert_ne!(signer, Ok(owner.address()));
        }
    }
}
