//! What the asset registry refuses.

use sesame_domain::AssetId;

use super::Refused;
use crate::abi::assets::{
    IAssetRegistry::IAssetRegistryErrors as Error, IERC721::IERC721Errors as TokenError,
};

pub(super) fn refused(error: Error) -> Refused {
    match error {
        Error::KindUnknown(e) => Refused::new(
            "KindUnknown",
            "the registry knows no such kind of asset",
            "kinds are 1 for an app and 2 for protected data",
        )
        .with("kind", e.kind),
        Error::DigestMissing(_) => Refused::new(
            "DigestMissing",
            "the content's digest is zero",
            "give the SHA-256 of the content",
        ),
        Error::UriLengthInvalid(e) => Refused::new(
            "UriLengthInvalid",
            "the uri is empty or too long",
            "give a uri of 1 to 2048 bytes",
        )
        .with("length", e.length),
        Error::AssetExists(e) => Refused::new(
            "AssetExists",
            "this account registered the same content before",
            "use the asset that exists, or tell the new one apart by --salt",
        )
        .with("asset", AssetId::from(e.assetId)),
        Error::NotAuthorizedFor(e) => not_authorized(e.assetId.into(), e.caller),
        Error::ContentUnchanged(e) => Refused::new(
            "ContentUnchanged",
            "the asset has this uri and digest already",
            "there is nothing to do",
        )
        .with("asset", AssetId::from(e.assetId)),
    }
}

pub(super) fn refused_as_token(error: TokenError) -> Refused {
    match error {
        TokenError::ERC721NonexistentToken(e) => Refused::new(
            "ERC721NonexistentToken",
            "there is no such asset",
            "check the asset's id and that the manifest is the right one",
        )
        .with("asset", AssetId::from(e.tokenId)),
        TokenError::ERC721IncorrectOwner(e) => Refused::new(
            "ERC721IncorrectOwner",
            "the asset belongs to another account",
            "use the account that owns the asset",
        )
        .with("asset", AssetId::from(e.tokenId))
        .with("owner", e.owner),
        TokenError::ERC721InsufficientApproval(e) => Refused::new(
            "ERC721InsufficientApproval",
            "the account neither owns the asset nor may act for its owner",
            "use the account that owns the asset",
        )
        .with("asset", AssetId::from(e.tokenId))
        .with("account", e.operator),
        TokenError::ERC721InvalidReceiver(e) => Refused::new(
            "ERC721InvalidReceiver",
            "the receiver cannot own an asset",
            "give an account that is not zero; a contract must accept ERC-721 tokens",
        )
        .with("receiver", e.receiver),
    }
}

pub(super) fn not_authorized(asset: AssetId, account: alloy::primitives::Address) -> Refused {
    Refused::new(
        "NotAuthorizedFor",
        "the account neither owns the asset nor may act for its owner",
        "use the account that owns the asset",
    )
    .with("asset", asset)
    .with("account", account)
}
