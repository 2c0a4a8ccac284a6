//! The messages that owners, workers and the SMS sign (EIP-712), and what they hash to.
//!
//! Every signature of Sesame is made in the domain `{name "Sesame", version "1", chainId, verifyingContract}` where the
//! contract is the asset registry, so that one made for a chain is worth nothing on another.

use alloy_primitives::{Address, B256};
use alloy_sol_types::{Eip712Domain, SolStruct};
use sesame_domain::SecretId;

pub use messages::{
    ReceiptLog, ReceiptQuery, ReleasedBundle, RetiredKey, RunVoucher, SecretQuery, SecretRemoval,
    SecretUpdate, SmsKeys,
};

mod messages {
    //! The structs as Solidity would write them; their spelling is their EIP-712 type.

    alloy_sol_types::sol! {
        /// An owner pushes one version of a secret.
        #[derive(Debug, PartialEq, Eq)]
        struct SecretUpdate {
            /// The secret's path under `/v1`.
            string resource;
            /// Who owns the secret: the asset's owner, or the requester.
            address owner;
            /// The asset's epoch; 0 for a requester's secret.
            uint64 epoch;
            /// The version that this update makes: one more than the last.
            uint64 version;
            /// Whether the secret stays valid when the asset is sold.
            bool transferable;
            /// SHA-256 of the content that a key opens; zero for anything but protected data.
            bytes32 contentDigest;
            /// Keccak-256 of the sealed body.
            bytes32 sealedDigest;
            /// The X25519 sealing key of the SMS that the body is sealed to.
            bytes32 smsKey;
            /// Last second at which the SMS may accept the update.
            uint64 deadline;
        }

        /// An owner deletes a secret.
        #[derive(Debug, PartialEq, Eq)]
        struct SecretRemoval {
            /// The secret's path under `/v1`.
            string resource;
            /// Who owns the secret.
            address owner;
            /// The identity of the SMS that is asked.
            address sms;
            /// The asset's epoch; 0 for a requester's secret.
            uint64 epoch;
            /// The version that the removal makes: one more than the last.
            uint64 version;
            /// Last second at which the SMS may accept the removal.
            uint64 deadline;
        }

        /// An owner asks what the vault has.
        #[derive(Debug, PartialEq, Eq)]
        struct SecretQuery {
            /// The secret's path under `/v1`.
            string resource;
            /// Who owns the secret.
            address owner;
            /// The identity of the SMS that is asked.
            address sms;
            /// Last second at which the SMS may answer.
            uint64 deadline;
        }

        /// An owner or requester asks for receipts.
        #[derive(Debug, PartialEq, Eq)]
        struct ReceiptQuery {
            /// The receipts' path under `/v1`.
            string resource;
            /// The asset's owner, or the requester.
            address owner;
            /// The identity of the SMS that is asked.
            address sms;
            /// Last second at which the SMS may answer.
            uint64 deadline;
        }

        /// The SMS identity certifies the key of one log of receipts.
        #[derive(Debug, PartialEq, Eq)]
        struct ReceiptLog {
            /// The key as signed notes write it; the log's origin is in it.
            string verifierKey;
        }

        /// A task's worker vouches for one enclave key: this is the run that it started.
        #[derive(Debug, PartialEq, Eq)]
        struct RunVoucher {
            /// The task.
            bytes32 task;
            /// The identity of the SMS that may release the task's secrets.
            address sms;
            /// RFC 7638 thumbprint (SHA-256) of the enclave's key.
            bytes32 enclaveKey;
            /// Last second at which the voucher is good.
            uint64 deadline;
        }

        /// A key that owners sealed to before.
        #[derive(Debug, PartialEq, Eq)]
        struct RetiredKey {
            /// The X25519 key.
            bytes32 sealingKey;
            /// Since when it was in use, seconds since 1970.
            uint64 issuedAt;
            /// When another took its place, seconds since 1970.
            uint64 retiredAt;
            /// Until when it opens what was sealed to it, seconds since 1970.
            uint64 opensUntil;
        }

        /// The SMS identity certifies the keys that the SMS works with.
        #[derive(Debug, PartialEq, Eq)]
        struct SmsKeys {
            /// The X25519 key that owners seal to.
            bytes32 sealingKey;
            /// Since when it is in use, seconds since 1970.
            uint64 issuedAt;
            /// Those before it, the newest first.
            RetiredKey[] retired;
            /// RFC 7638 thumbprint (SHA-256) of the key that signs attestation tokens.
            bytes32 tokenKey;
            /// When this was signed, seconds since 1970.
            uint64 signedAt;
        }

        /// The SMS identity signs the bundle that it releases to one enclave key.
        #[derive(Debug, PartialEq, Eq)]
        struct ReleasedBundle {
            /// The task.
            bytes32 task;
            /// RFC 7638 thumbprint (SHA-256) of the enclave's key.
            bytes32 enclaveKey;
            /// Keccak-256 of the nonce of the enclave's attestation.
            bytes32 nonce;
            /// Keccak-256 of the bundle's bytes.
            bytes32 payloadDigest;
        }
    }
}

/// The EIP-712 domain of one deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Domain {
    /// The chain (EIP-155).
    pub chain_id: u64,
    /// The asset registry, whose address stands for the deployment.
    pub asset_registry: Address,
}

impl Domain {
    /// What is signed for a message: `keccak256(0x1901 ‖ domain separator ‖ struct hash)`.
    #[must_use]
    pub fn signing_hash<T: SolStruct>(&self, message: &T) -> B256 {
        message.eip712_signing_hash(&self.eip712())
    }

    /// The domain as EIP-712 writes it.
    #[must_use]
    pub fn eip712(&self) -> Eip712Domain {
        Eip712Domain::new(
            Some("Sesame".into()),
            Some("1".into()),
            Some(alloy_primitives::U256::from(self.chain_id)),
            Some(self.asset_registry),
            None,
        )
    }
}

impl SecretUpdate {
    /// An update of a secret that does not outlive a sale and opens no particular content, not sealed yet.
    #[must_use]
    pub fn new(
        resource: &SecretId,
        owner: Address,
        epoch: u64,
        version: u64,
        sms_key: B256,
        deadline: u64,
    ) -> Self {
        Self {
            resource: resource.to_string(),
            owner,
            epoch,
            version,
            transferable: false,
            contentDigest: B256::ZERO,
            sealedDigest: B256::ZERO,
            smsKey: sms_key,
            deadline,
        }
    }

    /// The `info` under which the body is sealed: the struct hash of the update with a zero `sealedDigest`.
    ///
    /// It binds the sealed body to resource, owner, epoch, version and sealing key: lifted elsewhere, it does not open.
    #[must_use]
    pub fn sealing_info(&self) -> B256 {
        Self { sealedDigest: B256::ZERO, ..self.clone() }.eip712_hash_struct()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use alloy_primitives::address;

    use super::*;

    const VECTORS: &str = include_str!("../../../tests/fixtures/protocol/typed.json");

    fn domain() -> Domain {
        Domain {
            chain_id: 31337,
            asset_registry: address!("1111111111111111111111111111111111111111"),
        }
    }

    fn word(byte: u8) -> B256 {
        B256::repeat_byte(byte)
    }

    fn update() -> SecretUpdate {
        let asset = SecretId::Asset(sesame_domain::AssetId(word(0xa1)));
        SecretUpdate {
            transferable: true,
            contentDigest: word(0xc1),
            sealedDigest: word(0xc2),
            ..SecretUpdate::new(&asset, Address::repeat_byte(0xb1), 2, 7, word(0xc3), 1_900_000_000)
        }
    }

    fn hashes() -> BTreeMap<&'static str, B256> {
        let domain = domain();
        let (update, owner) = (update(), Address::repeat_byte(0xb1));
        let sms = Address::repeat_byte(0xb2);
        let resource = update.resource.clone();
        let deadline = update.deadline;
        BTreeMap::from([
            ("domainSeparator", domain.eip712().separator()),
            ("secretUpdate", domain.signing_hash(&update)),
            ("sealingInfo", update.sealing_info()),
            (
                "secretRemoval",
                domain.signing_hash(&SecretRemoval {
                    resource: resource.clone(),
                    owner,
                    sms,
                    epoch: 2,
                    version: 8,
                    deadline,
                }),
            ),
            ("secretQuery", domain.signing_hash(&SecretQuery { resource, owner, sms, deadline })),
            (
                "runVoucher",
                domain.signing_hash(&RunVoucher {
                    task: word(0xd1),
                    sms,
                    enclaveKey: word(0xd2),
                    deadline,
                }),
            ),
            (
                "smsKeys",
                domain.signing_hash(&SmsKeys {
                    sealingKey: word(0xe1),
                    issuedAt: 1_800_000_000,
                    retired: vec![RetiredKey {
                        sealingKey: word(0xe3),
                        issuedAt: 1_700_000_000,
                        retiredAt: 1_800_000_000,
                        opensUntil: 1_800_086_400,
                    }],
                    tokenKey: word(0xe2),
                    signedAt: 1_800_000_100,
                }),
            ),
            (
                "releasedBundle",
                domain.signing_hash(&ReleasedBundle {
                    task: word(0xd1),
                    enclaveKey: word(0xd2),
                    nonce: word(0xd3),
                    payloadDigest: word(0xd4),
                }),
            ),
        ])
    }

    #[test]
    fn messages_hash_to_the_golden_values() {
        let golden: BTreeMap<&str, B256> = serde_json::from_str(VECTORS).unwrap();
        assert_eq!(hashes(), golden);
    }

    #[test]
    fn the_sealing_info_ignores_the_sealed_digest_alone() {
        let info = update().sealing_info();
        assert_eq!(SecretUpdate { sealedDigest: word(9), ..update() }.sealing_info(), info);
        let others = [
            SecretUpdate { resource: "assets/other/secret".into(), ..update() },
            SecretUpdate { owner: Address::ZERO, ..update() },
            SecretUpdate { epoch: 3, ..update() },
            SecretUpdate { version: 8, ..update() },
            SecretUpdate { transferable: false, ..update() },
            SecretUpdate { contentDigest: word(9), ..update() },
            SecretUpdate { smsKey: word(9), ..update() },
            SecretUpdate { deadline: 1, ..update() },
        ];
        for other in others {
            assert_ne!(other.sealing_info(), info, "{other:?}");
        }
    }

    #[test]
    fn another_chain_or_registry_is_another_hash() {
        let hash = domain().signing_hash(&update());
        assert_ne!(Domain { chain_id: 1, ..domain() }.signing_hash(&update()), hash);
        let other = Domain { asset_registry: Address::ZERO, ..domain() };
        assert_ne!(other.signing_hash(&update()), hash);
    }
}
