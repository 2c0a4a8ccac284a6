//! Why the answer is no.

use alloy_primitives::{Address, U256};

use crate::{AssetId, EnclaveId, SecretName, TaskStatus};

/// One reason for a refusal, with what a person needs to mend it.
///
/// A denial is an answer, not a fault: it is never logged as an error and always matched without a wildcard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the fields say what they are; the variants are documented")]
pub enum Denial {
    /// The view knows no such task.
    TaskUnknown,
    /// Bought, but its worker has not started it.
    TaskNotStarted,
    /// Completed, cancelled, expired or, of a deal's task, revealing.
    TaskEnded { status: TaskStatus },
    /// Past its deadline, seconds since 1970.
    TaskExpired { deadline: u64 },
    /// The order names another SMS.
    WrongSms { expected: Address, got: Address },
    /// Another worker vouches for the run than the order names.
    WrongWorker { expected: Address, got: Address },
    /// Another enclave asks than the task is pinned to.
    WrongEnclave { expected: EnclaveId, got: EnclaveId },
    /// The view does not know the asset; zero when the order lists no protected data of the number asked for.
    AssetUnknown { asset: AssetId },
    /// The asset's owner does not let this enclave near it.
    NotWhitelisted { asset: AssetId, enclave: EnclaveId },
    /// The authorization holds from this second on.
    NotYetValid { asset: AssetId, not_before: u64 },
    /// The authorization held up to this second.
    AuthorizationExpired { asset: AssetId, not_after: u64 },
    /// The authorization was given by a former owner.
    AuthorizationVoid { asset: AssetId },
    /// The owner lets only another app use the protected data.
    WrongApp { asset: AssetId, expected: AssetId },
    /// The owner lets only another requester use the asset.
    WrongRequester { asset: AssetId, expected: Address },
    /// The owner's present terms ask for more than this task paid when it was bought, or for another currency. Amounts are in
    /// the currency's smallest unit.
    PriceNotPaid { asset: AssetId, price: U256, paid: U256 },
    /// The authorization in force is for `max_tasks` tasks, and this task, bought under another serial, is none of them.
    MaxTasks { asset: AssetId, max_tasks: u64, serial: u64, bought_serial: u64 },
    /// The order grants no secret of this index.
    SecretNotGranted { index: u32 },
    /// The requester took the grant back.
    GrantRevoked { index: u32 },
    /// The vault has no secret that this owner pushed in this epoch.
    SecretMissing { owner: Address, name: Option<SecretName>, asset: Option<AssetId> },
    /// The view at the head allows it; the confirmed view, older, does not yet.
    NotYetConfirmed { block: u64, confirmed: u64 },
}

impl Denial {
    /// The reason's stable name on the wire.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TaskUnknown => "task_unknown",
            Self::TaskNotStarted => "task_not_started",
            Self::TaskEnded { .. } => "task_ended",
            Self::TaskExpired { .. } => "task_expired",
            Self::WrongSms { .. } => "wrong_sms",
            Self::WrongWorker { .. } => "wrong_worker",
            Self::WrongEnclave { .. } => "wrong_enclave",
            Self::AssetUnknown { .. } => "asset_unknown",
            Self::NotWhitelisted { .. } => "not_whitelisted",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::AuthorizationExpired { .. } => "authorization_expired",
            Self::AuthorizationVoid { .. } => "authorization_void",
            Self::WrongApp { .. } => "wrong_app",
            Self::WrongRequester { .. } => "wrong_requester",
            Self::PriceNotPaid { .. } => "price_not_paid",
            Self::MaxTasks { .. } => "max_tasks",
            Self::SecretNotGranted { .. } => "secret_not_granted",
            Self::GrantRevoked { .. } => "grant_revoked",
            Self::SecretMissing { .. } => "secret_missing",
            Self::NotYetConfirmed { .. } => "not_yet_confirmed",
        }
    }
}
