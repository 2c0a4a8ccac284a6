//! What goes wrong in other rooms, as the problem that it is for the caller.

use sesame_attestation::{AttestationError, TokenError, VoucherError};
use sesame_domain::ParseIdError;
use sesame_indexer::{SourceError, Unready};
use sesame_protocol::{document::DocumentError, owner::OwnerError, rcar::HashNotServed};
use sesame_receipts::LogError;
use sesame_vault::{KeyError, VaultError};
use sesame_view::ReadError;

use super::{ApiError, Code, chain, sentence};
use crate::collateral::NoCollateral;

impl From<Unready> for ApiError {
    fn from(unready: Unready) -> Self {
        let code = match unready {
            Unready::Starting => Code::IndexStarting,
            Unready::Backfilling { .. } => Code::IndexBackfilling,
            Unready::Stale { .. } => Code::IndexStale,
            Unready::HeadTooOld { .. } => Code::HeadTooOld,
            Unready::ClockBehind { .. } => Code::ClockBehind,
        };
        Self::new(code, sentence(&unready))
    }
}

impl From<SourceError> for ApiError {
    fn from(error: SourceError) -> Self {
        tracing::warn!(reason = chain(&error), "an owner's contract could not be asked");
        Self::new(Code::SignatureUnchecked, sentence(&error))
    }
}

impl From<ParseIdError> for ApiError {
    fn from(error: ParseIdError) -> Self {
        Self::new(Code::MalformedId, sentence(&error))
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        Self::internal(&error)
    }
}

impl From<LogError> for ApiError {
    fn from(error: LogError) -> Self {
        Self::internal(&error)
    }
}

impl From<VaultError> for ApiError {
    fn from(error: VaultError) -> Self {
        match &error {
            VaultError::VersionConflict { .. } => {
                Self::new(Code::VersionConflict, sentence(&error))
            }
            VaultError::EpochOver { .. } => Self::new(Code::WrongEpoch, sentence(&error)),
            VaultError::Missing => Self::new(Code::SecretAbsent, sentence(&error)),
            VaultError::Unavailable { place, .. } => {
                tracing::error!(place, reason = chain(&error), "the vault's database fails");
                Self::new(Code::VaultUnavailable, sentence(&error))
            }
            VaultError::Key(KeyError::Token { .. }) => {
                tracing::error!(reason = chain(&error), "the vault's key cannot be used");
                Self::new(Code::KeysUnavailable, "Ask again later; the service's log says why.")
            }
            VaultError::Key(_)
            | VaultError::WrongKey(_)
            | VaultError::UnknownKey(_)
            | VaultError::KeysChanging
            | VaultError::OldFormat
            | VaultError::NewerFormat { .. }
            | VaultError::OtherOrigin
            | VaultError::OtherIdentity { .. }
            | VaultError::NoVault { .. }
            | VaultError::Store(_)
            | VaultError::Backup(_)
            | VaultError::Database(_)
            | VaultError::Url(_)
            | VaultError::NoRoots { .. }
            | VaultError::NewerSchema { .. }
            | VaultError::NotReleased
            | VaultError::Damaged => Self::internal(&error),
            other => Self::internal(other),
        }
    }
}

impl From<OwnerError> for ApiError {
    fn from(error: OwnerError) -> Self {
        let code = match &error {
            OwnerError::WrongLength(_) => Code::WrongLength,
            OwnerError::WrongDigest { .. } => Code::WrongDigest,
            OwnerError::WrongKey { .. } => Code::WrongSealingKey,
            OwnerError::Sealing(_) | _ => Code::DoesNotOpen,
        };
        Self::new(code, sentence(&error))
    }
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        Self::new(Code::SessionInvalid, sentence(&error))
    }
}

impl From<AttestationError> for ApiError {
    fn from(error: AttestationError) -> Self {
        Self::refused(Code::AttestationRefused, "The service's log says why.", &error)
    }
}

impl From<NoCollateral> for ApiError {
    fn from(error: NoCollateral) -> Self {
        Self::new(Code::CollateralUnavailable, sentence(&error))
    }
}

impl From<VoucherError> for ApiError {
    fn from(error: VoucherError) -> Self {
        Self::refused(Code::VoucherRefused, "The service's log says why.", &error)
    }
}

impl From<DocumentError> for ApiError {
    fn from(error: DocumentError) -> Self {
        Self::new(Code::MalformedBody, sentence(&error))
    }
}

impl From<HashNotServed> for ApiError {
    fn from(error: HashNotServed) -> Self {
        Self::new(Code::UnsupportedHash, sentence(&error))
    }
}
