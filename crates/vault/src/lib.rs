#![doc = include_str!("../README.md")]

mod check;
mod decision;
mod error;
mod keys;
mod record;
mod rotate;
mod safe;
mod secret;
mod store;
#[cfg(test)]
mod testing;

pub use check::Tally;
pub use decision::{
    Asked, Claim, Denials, Release, ReleasedItem, Secrets, authorize, explain, wanted,
};
pub use error::{KeyError, VaultError};
pub use keys::file::KeyFile;
pub use record::Metadata;
pub use safe::{Opened, Push, Removal, Vault};
pub use secret::Plaintext;
