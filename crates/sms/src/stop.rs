//! Why a service does not start, or stops, in the few words that a supervisor needs: would a restart mend it?

use sesame_indexer::MirrorError;
use sesame_receipts::LogError;
use sesame_vault::{KeyError, VaultError};
use sesame_view::OpenError;

use crate::{index::IndexError, run::ServeError};

/// What has to change before the service can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// What the operator said: the options, the environment or the file.
    Configuration,
    /// What is at rest: damaged, another deployment's, or of another version of this program.
    Data,
    /// The keys: missing, another vault's, or readable by others.
    Keys,
    /// Something that the service needs and that may come back: a disk, a database, an HSM, an address in use.
    Unavailable,
    /// The program itself.
    Internal,
    /// The chain: another one, other contracts, or one that was rewritten below the confirmed block.
    Chain,
}

impl Stop {
    /// Whether starting again may be enough.
    #[must_use]
    pub const fn may_pass(self) -> bool {
        match self {
            Self::Unavailable | Self::Internal => true,
            Self::Configuration | Self::Data | Self::Keys | Self::Chain => false,
        }
    }
}

impl ServeError {
    /// What has to change.
    #[must_use]
    pub fn stop(&self) -> Stop {
        match self {
            Self::Node(_) | Self::Client(_) => Stop::Configuration,
            Self::Keys(error) => of_keys(error),
            Self::Identity(_) | Self::Token(_) => Stop::Keys,
            Self::Tls(_) => Stop::Configuration,
            Self::Vault(error) => of_vault(error),
            Self::Index(error) => of_index(error),
            Self::Receipts(error) => of_receipts(error),
            Self::Mirror(error) => of_mirror(error),
            Self::Folder(_) | Self::Threads(_) | Self::Listener(_) => Stop::Unavailable,
            Self::OpeningDied(_) | Self::MirrorDied(_) | Self::CheckDied(_) => Stop::Internal,
        }
    }
}

fn of_keys(error: &KeyError) -> Stop {
    // A PIN that was refused is not tried again and again by a supervisor: the token would lock itself.
    let passes = matches!(error, KeyError::Token { of_pin: false, .. });
    if passes { Stop::Unavailable } else { Stop::Keys }
}

fn of_vault(error: &VaultError) -> Stop {
    if let VaultError::Key(error) = error {
        return of_keys(error);
    }
    let keys = matches!(
        error,
        VaultError::WrongKey(_) | VaultError::UnknownKey(_) | VaultError::OtherIdentity { .. }
    );
    let passes = matches!(
        error,
        VaultError::Unavailable { .. }
            | VaultError::Store(_)
            | VaultError::Database(_)
            | VaultError::KeysChanging
    );
    let said = matches!(error, VaultError::Url(_) | VaultError::NoRoots { .. });
    match (keys, passes, said) {
        (true, _, _) => Stop::Keys,
        (_, true, _) => Stop::Unavailable,
        (_, _, true) => Stop::Configuration,
        _ => Stop::Data,
    }
}

fn of_index(error: &IndexError) -> Stop {
    match error {
        IndexError::Open(OpenError::InUse { .. }) | IndexError::Folder(_) => Stop::Unavailable,
        IndexError::Open(_)
        | IndexError::Missing(_)
        | IndexError::Read(_)
        | IndexError::NoBlock => Stop::Data,
        IndexError::Node(_) => Stop::Configuration,
        IndexError::Mirror(error) => of_mirror(error),
    }
}

fn of_receipts(error: &LogError) -> Stop {
    if error.may_pass() { Stop::Unavailable } else { Stop::Data }
}

fn of_mirror(error: &MirrorError) -> Stop {
    if matches!(error, MirrorError::Write(_)) { Stop::Unavailable } else { Stop::Chain }
}
