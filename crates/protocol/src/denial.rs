//! Denials on the wire: a code, the fields that say what to mend, and a sentence for people.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};
use sesame_domain::Denial;

/// One reason for a refusal: `{"code": "not_whitelisted", "asset": "0x…", "enclave": "0x…"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "code", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are those of the domain's denials")]
pub enum DenialBody {
    /// No such task, or the resource is not one that the task declares.
    TaskUnknown,
    /// Bought, but its worker has not started it.
    TaskNotStarted,
    /// `completed`, `cancelled`, `expired` or, of an iExec task, `revealing`.
    TaskEnded { status: String },
    /// Past its deadline, seconds since 1970.
    TaskExpired { deadline: u64 },
    /// The order names another SMS.
    WrongSms { expected: Address, got: Address },
    /// Another worker vouches for the run than the order names.
    WrongWorker { expected: Address, got: Address },
    /// Another enclave asks than the task is pinned to.
    WrongEnclave { expected: B256, got: B256 },
    /// The mirror does not know the asset.
    AssetUnknown { asset: B256 },
    /// The asset's owner does not let this enclave near it.
    NotWhitelisted { asset: B256, enclave: B256 },
    /// The authorization holds from this second on.
    NotYetValid { asset: B256, not_before: u64 },
    /// The authorization held up to this second.
    AuthorizationExpired { asset: B256, not_after: u64 },
    /// The authorization was given by a former owner.
    AuthorizationVoid { asset: B256 },
    /// The owner lets only another app use the protected data.
    WrongApp { asset: B256, expected: B256 },
    /// The owner lets only another requester use the asset.
    WrongRequester { asset: B256, expected: Address },
    /// The owner's present terms ask for more than was paid at purchase, or for another currency; decimal, smallest unit.
    PriceNotPaid { asset: B256, price: String, paid: String },
    /// The authorization in force is for `max_tasks` tasks, and this one, bought under another serial, is none of them.
    MaxTasks { asset: B256, max_tasks: u64, serial: u64, bought_serial: u64 },
    /// The order grants no secret of this index.
    SecretNotGranted { index: u32 },
    /// The requester took the grant back.
    GrantRevoked { index: u32 },
    /// The vault has no secret that this owner pushed in this epoch: by name, or for an asset.
    SecretMissing {
        owner: Address,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asset: Option<B256>,
    },
    /// What the public learns in place of anything about the vault.
    SecretUnavailable,
    /// The head allows it; the confirmed block does not yet.
    NotYetConfirmed { block: u64, confirmed: u64 },
    /// A reason that this version of the crate does not know.
    #[serde(other)]
    Unrecognised,
}

impl From<&Denial> for DenialBody {
    fn from(denial: &Denial) -> Self {
        match denial {
            Denial::TaskUnknown => Self::TaskUnknown,
            Denial::TaskNotStarted => Self::TaskNotStarted,
            Denial::TaskEnded { status } => Self::TaskEnded { status: status.as_str().to_owned() },
            Denial::TaskExpired { deadline } => Self::TaskExpired { deadline: *deadline },
            Denial::WrongSms { expected, got } => Self::WrongSms { expected: *expected, got: *got },
            Denial::WrongWorker { expected, got } => {
                Self::WrongWorker { expected: *expected, got: *got }
            }
            Denial::WrongEnclave { expected, got } => {
                Self::WrongEnclave { expected: expected.0, got: got.0 }
            }
            Denial::AssetUnknown { asset } => Self::AssetUnknown { asset: asset.0 },
            Denial::NotWhitelisted { asset, enclave } => {
                Self::NotWhitelisted { asset: asset.0, enclave: enclave.0 }
            }
            Denial::NotYetValid { asset, not_before } => {
                Self::NotYetValid { asset: asset.0, not_before: *not_before }
            }
            Denial::AuthorizationExpired { asset, not_after } => {
                Self::AuthorizationExpired { asset: asset.0, not_after: *not_after }
            }
            Denial::AuthorizationVoid { asset } => Self::AuthorizationVoid { asset: asset.0 },
            Denial::WrongApp { asset, expected } => {
                Self::WrongApp { asset: asset.0, expected: expected.0 }
            }
            Denial::WrongRequester { asset, expected } => {
                Self::WrongRequester { asset: asset.0, expected: *expected }
            }
            Denial::PriceNotPaid { asset, price, paid } => Self::PriceNotPaid {
                asset: asset.0,
                price: price.to_string(),
                paid: paid.to_string(),
            },
            Denial::MaxTasks { asset, max_tasks, serial, bought_serial } => Self::MaxTasks {
                asset: asset.0,
                max_tasks: *max_tasks,
                serial: *serial,
                bought_serial: *bought_serial,
            },
            Denial::SecretNotGranted { index } => Self::SecretNotGranted { index: *index },
            Denial::GrantRevoked { index } => Self::GrantRevoked { index: *index },
            Denial::SecretMissing { owner, name, asset } => Self::SecretMissing {
                owner: *owner,
                name: name.as_ref().map(ToString::to_string),
                asset: asset.map(|asset| asset.0),
            },
            Denial::NotYetConfirmed { block, confirmed } => {
                Self::NotYetConfirmed { block: *block, confirmed: *confirmed }
            }
        }
    }
}

impl DenialBody {
    /// The reason as anybody may see it: what it says about the vault becomes [`Self::SecretUnavailable`].
    #[must_use]
    pub fn public(denial: &Denial) -> Self {
        if matches!(denial, Denial::SecretMissing { .. }) {
            return Self::SecretUnavailable;
        }
        Self::from(denial)
    }

    /// Whether asking again later, with nothing mended, may succeed.
    #[must_use]
    pub const fn passes_with_time(&self) -> bool {
        matches!(
            self,
            Self::NotYetConfirmed { .. } | Self::NotYetValid { .. } | Self::TaskNotStarted
        )
    }

    /// The reason and how to mend it, in one or two sentences.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::TaskUnknown => "The registries know no such task. Check the id, and that the SMS follows the chain on which the task was bought.".to_owned(),
            Self::TaskNotStarted => "The task was bought but not started. Its worker must call TaskRegistry.start.".to_owned(),
            Self::TaskEnded { status } => format!("The task is {status}. Buy a new one."),
            Self::TaskExpired { deadline } => format!("The task's deadline passed at second {deadline}. Buy a new one with a later deadline."),
            Self::WrongSms { expected, got } => format!("The order or an owner's terms name the SMS {expected}, and this is {got}. Ask that SMS."),
            Self::WrongWorker { expected, got } => format!("The order's worker is {expected}, but {got} vouches for this run. Only the order's worker can run the task."),
            Self::WrongEnclave { expected, got } => format!("The task is pinned to enclave {expected}, and this is {got}. Run the pinned build, or buy a task for this one."),
            Self::AssetUnknown { asset } => format!("The asset registry knows no asset {asset}. Check the id and the registry."),
            Self::NotWhitelisted { asset, enclave } => format!("The owner of {asset} does not let enclave {enclave} use it. The owner must call EnclaveWhitelist.authorize."),
            Self::NotYetValid { asset, not_before } => format!("The authorization of {asset} starts at second {not_before}. Wait, or ask the owner for an earlier start."),
            Self::AuthorizationExpired { asset, not_after } => format!("The authorization of {asset} ended at second {not_after}. The owner must authorize the enclave again."),
            Self::AuthorizationVoid { asset } => format!("The authorization of {asset} was given by a former owner. The new owner must authorize the enclave."),
            Self::WrongApp { asset, expected } => format!("The owner of {asset} lets only app {expected} use it. Buy a task of that app, or ask the owner for other terms."),
            Self::WrongRequester { asset, expected } => format!("The owner of {asset} lets only requester {expected} use it. Ask the owner for other terms."),
            Self::PriceNotPaid { asset, price, paid } => format!("The owner of {asset} asks for {price} of the currency's smallest unit now, and this task paid {paid} or in another currency. Buy a new task, or ask the owner for the old terms."),
            Self::MaxTasks { asset, max_tasks, serial, bought_serial } => format!("The owner of {asset} lets {max_tasks} tasks use it under serial {serial}, and this task was bought under serial {bought_serial}, so it is none of them. Buy the task anew, or ask the owner to authorize without a limit."),
            Self::SecretNotGranted { index } => format!("The order grants no secret of index {index}. Buy a task whose order grants it."),
            Self::GrantRevoked { index } => format!("The requester took the grant of index {index} back. Buy a new task."),
            Self::SecretMissing { owner, name: Some(name), .. } => format!("{owner} has pushed no secret named {name}. Push it to this SMS."),
            Self::SecretMissing { owner, asset: Some(asset), .. } => format!("{owner} has pushed no secret for {asset} as its present owner, for its present content. Push it to this SMS."),
            Self::SecretMissing { owner, .. } => format!("{owner} has not pushed the secret. Push it to this SMS."),
            Self::SecretUnavailable => "A secret that the task needs is not available. Its owner can ask this SMS about it.".to_owned(),
            Self::NotYetConfirmed { block, confirmed } => format!("What allows this was written at block {block}, and the SMS counts on blocks up to {confirmed}. Try again when block {block} is confirmed."),
            Self::Unrecognised => "The SMS gave a reason that this version does not know. Update the client.".to_owned(),
        }
    }

    /// The details of several reasons in one text.
    #[must_use]
    pub fn join(denials: &[Self]) -> String {
        denials.iter().map(Self::detail).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::U256;
    use sesame_domain::{AssetId, EnclaveId, TaskStatus};

    use super::*;

    const GOLDEN: &str = include_str!("../../../tests/fixtures/protocol/denials.json");

    fn every_denial() -> Vec<Denial> {
        let asset = AssetId(B256::repeat_byte(1));
        let enclave = |byte| EnclaveId(B256::repeat_byte(byte));
        let address = Address::repeat_byte;
        vec![
            Denial::TaskUnknown,
            Denial::TaskNotStarted,
            Denial::TaskEnded { status: TaskStatus::Cancelled },
            Denial::TaskExpired { deadline: 9 },
            Denial::WrongSms { expected: address(2), got: address(3) },
            Denial::WrongWorker { expected: address(2), got: address(3) },
            Denial::WrongEnclave { expected: enclave(2), got: enclave(3) },
            Denial::AssetUnknown { asset },
            Denial::NotWhitelisted { asset, enclave: enclave(2) },
            Denial::NotYetValid { asset, not_before: 9 },
            Denial::AuthorizationExpired { asset, not_after: 9 },
            Denial::AuthorizationVoid { asset },
            Denial::WrongApp { asset, expected: AssetId(B256::repeat_byte(2)) },
            Denial::WrongRequester { asset, expected: address(2) },
            Denial::PriceNotPaid { asset, price: U256::from(7), paid: U256::from(5) },
            Denial::MaxTasks { asset, max_tasks: 3, serial: 2, bought_serial: 1 },
            Denial::SecretNotGranted { index: 4 },
            Denial::GrantRevoked { index: 4 },
            Denial::SecretMissing {
                owner: address(2),
                name: Some("db-password".parse().unwrap()),
                asset: None,
            },
            Denial::SecretMissing { owner: address(2), name: None, asset: Some(asset) },
            Denial::NotYetConfirmed { block: 9, confirmed: 8 },
        ]
    }

    #[test]
    fn denials_have_their_golden_form_and_code() {
        let bodies: Vec<_> = every_denial().iter().map(DenialBody::from).collect();
        let golden: serde_json::Value = serde_json::from_str(GOLDEN).unwrap();
        assert_eq!(serde_json::to_value(&bodies).unwrap(), golden);
        assert_eq!(serde_json::from_value::<Vec<DenialBody>>(golden.clone()).unwrap(), bodies);
        for (denial, body) in every_denial().iter().zip(golden.as_array().unwrap()) {
            assert_eq!(body["code"], denial.code());
        }
    }

    #[test]
    fn every_reason_tells_how_to_mend_it() {
        for denial in &every_denial() {
            let detail = DenialBody::from(denial).detail();
            assert!(detail.len() > 30 && detail.ends_with('.'), "{detail}");
        }
    }

    #[test]
    fn the_public_learns_nothing_about_the_vault() {
        for denial in &every_denial() {
            let missing = denial.code() == "secret_missing";
            let body = DenialBody::public(denial);
            assert_eq!(body == DenialBody::SecretUnavailable, missing);
            assert_eq!(body == DenialBody::from(denial), !missing);
        }
        let json = serde_json::to_string(&DenialBody::SecretUnavailable).unwrap();
        assert_eq!(json, r#"{"code":"secret_unavailable"}"#);
    }

    #[test]
    fn reasons_of_a_later_version_are_kept_as_such() {
        let later = r#"{"code":"moon_in_wrong_phase","phase":3}"#;
        let body: DenialBody = serde_json::from_str(later).unwrap();
        assert_eq!(body, DenialBody::Unrecognised);
        for bad in [r#"{"code":"task_expired"}"#, "{}", r#""task_unknown""#] {
            assert!(serde_json::from_str::<DenialBody>(bad).is_err(), "{bad}");
        }
    }
}
