#![doc = include_str!("../README.md")]

mod backup;
mod check;
mod decision;
mod error;
mod iexec;
mod keys;
mod record;
mod rotate;
mod safe;
mod sealing;
mod secret;
#[cfg(test)]
#[path = "../../../tests/support/postgres.rs"]
#[expect(dead_code, unreachable_pub, reason = "the stories use more of it, from another crate")]
mod server;
mod store;
#[cfg(test)]
mod testing;

pub use backup::{
    Backup, Contents,
    restore::{Replaced, Restore, Restored},
    rewrite,
};
pub use check::Tally;
pub use decision::{
    Asked, Claim, Denials, Release, ReleasedItem, Secrets, authorize,
    deal::{
        ChallengeGrant, DealAsked, DealDenial, DealRelease, SessionClaim, authorize_challenge,
        authorize_session, explain_deal,
    },
    explain, wanted,
};
pub use error::{BackupError, KeyError, VaultError};
pub use iexec::{IexecCounts, OpenedForDeal, Replacement, Signed};
pub use keys::{KeyId, KeySource, file::KeyFile, pkcs11::Hsm};
pub use record::Metadata;
pub use rotate::Rotated;
pub use safe::{KeyInUse, Location, Opened, Push, Removal, Vault};
pub use sealing::{Retired, SealingKey};
pub use secret::Plaintext;
pub use store::postgres::{DatabaseUrl, UrlError};
