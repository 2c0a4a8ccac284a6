//! What the whitelist refuses.

use sesame_domain::AssetId;

use super::{Refused, assets::not_authorized};
use crate::abi::whitelist::IEnclaveWhitelist::IEnclaveWhitelistErrors as Error;

pub(super) fn refused(error: Error) -> Refused {
    match error {
        Error::NotAuthorizedFor(e) => not_authorized(e.assetId.into(), e.caller),
        Error::EnclaveMissing(_) => Refused::new(
            "EnclaveMissing",
            "the enclave id is zero",
            "give the id that the build of the app measures to",
        ),
        Error::AppTermNotAllowed(e) => Refused::new(
            "AppTermNotAllowed",
            "terms for an app name an app",
            "only protected data can be bound to one app",
        )
        .with("asset", AssetId::from(e.assetId)),
        Error::DatesReversed(e) => Refused::new(
            "DatesReversed",
            "the authorization would end before it begins",
            "give a last second after the first one",
        )
        .with("not_before", e.notBefore)
        .with("not_after", e.notAfter),
        Error::TermsUnchanged(e) => Refused::new(
            "TermsUnchanged",
            "the enclave is allowed on exactly these terms already",
            "there is nothing to do",
        )
        .with("asset", AssetId::from(e.assetId))
        .with("enclave", e.enclaveId),
        Error::NotAuthorized(e) => Refused::new(
            "NotAuthorized",
            "the enclave is not allowed, so there is nothing to revoke",
            "list the asset's enclaves to see what is allowed",
        )
        .with("asset", AssetId::from(e.assetId))
        .with("enclave", e.enclaveId),
        Error::LengthsDiffer(_) => Refused::new(
            "LengthsDiffer",
            "the lists of a batch differ in length",
            "give one enclave and one set of terms per asset",
        ),
        Error::BatchSizeInvalid(e) => Refused::new(
            "BatchSizeInvalid",
            "a batch is empty or too long",
            "give 1 to 64 pairs at once",
        )
        .with("size", e.size),
        Error::SignatureExpired(e) => Refused::new(
            "SignatureExpired",
            "the owner's signature is past its deadline",
            "ask the owner to sign again, with a later deadline",
        )
        .with("deadline", e.deadline),
        Error::SignatureInvalid(e) => Refused::new(
            "SignatureInvalid",
            "this is not the owner's signature over this, with its next nonce",
            "ask the owner to sign again: each signature counts once, and in their order",
        )
        .with("signer", e.signer),
    }
}
