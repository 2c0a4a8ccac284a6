//! What makes a result count on the chain: a key born in the TEE, certified by the SMS, and its signature.
//!
//! The enclave makes a result key (secp256k1) and presents its address under the attested key; the SMS that the order names
//! signs [`ResultKey`]; the result key signs [`TaskResult`]. `TaskRegistry.complete` checks both. [`BundleReleased`] lets
//! anybody `settle` a task whose secrets were released though nobody completed.

use alloy_primitives::{Address, B256, Bytes};
use alloy_sol_types::{Eip712Domain, SolStruct};
use serde::{Deserialize, Serialize};
use sesame_domain::TaskId;

use crate::{
    jwe::EnclaveKey,
    jwk::{Jwk, JwkError},
    signature::{Signature65, Signer},
};

pub use structs::{BundleReleased, ResultKey, TaskResult};

mod structs {
    //! The structs as the task registry hashes them.

    alloy_sol_types::sol! {
        /// The SMS certifies the key that a task's result will be signed with.
        #[derive(Debug, PartialEq, Eq)]
        struct ResultKey {
            /// The task.
            bytes32 task;
            /// The address of the result key.
            address key;
        }

        /// The result key signs the result.
        #[derive(Debug, PartialEq, Eq)]
        struct TaskResult {
            /// The task.
            bytes32 task;
            /// Keccak-256 of the signed bundle that the run was made with.
            bytes32 bundleDigest;
            /// Says which result; how it is made is the launcher's (`crates/enclave/README.md`).
            bytes32 resultDigest;
            /// Where the result is.
            string resultUri;
        }

        /// The SMS states that it released the task's bundle.
        #[derive(Debug, PartialEq, Eq)]
        struct BundleReleased {
            /// The task.
            bytes32 task;
        }
    }
}

const PRESENTATION_TAG: &[u8] = b"sesame result key v1";

/// The EIP-712 domain of one task registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TaskDomain {
    /// The chain (EIP-155).
    pub chain_id: u64,
    /// The task registry.
    pub task_registry: Address,
}

impl TaskDomain {
    /// What is signed for a message: `keccak256(0x1901 ‖ domain separator ‖ struct hash)`.
    #[must_use]
    pub fn signing_hash<T: SolStruct>(&self, message: &T) -> B256 {
        message.eip712_signing_hash(&self.eip712())
    }

    fn eip712(&self) -> Eip712Domain {
        Eip712Domain::new(
            Some("Sesame".into()),
            Some("1".into()),
            Some(alloy_primitives::U256::from(self.chain_id)),
            Some(self.task_registry),
            None,
        )
    }

    /// The SMS's word for a result key.
    #[must_use]
    pub fn certify(&self, task: TaskId, key: Address, sms: &Signer) -> Signature65 {
        sms.sign_hash(self.signing_hash(&ResultKey { task: task.0, key }))
    }

    /// The SMS's word that it released the task's bundle.
    #[must_use]
    pub fn released(&self, task: TaskId, sms: &Signer) -> Signature65 {
        sms.sign_hash(self.signing_hash(&BundleReleased { task: task.0 }))
    }

    /// The result key's word for a result, as `complete` takes it: bundle digest (32) ‖ signature (65).
    #[must_use]
    pub fn sign_result(&self, result: &TaskResult, key: &Signer) -> Bytes {
        let signature = key.sign_hash(self.signing_hash(result));
        [result.bundleDigest.as_slice(), signature.as_slice()].concat().into()
    }
}

/// `POST /kbs/v0/result-key`: the enclave presents its result key under its attested key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResultKeyRequest {
    /// The task.
    pub task: B256,
    /// The address of the result key.
    pub key: Address,
    /// The attested key's signature (ES256: r ‖ s) over tag, task, address and the attestation's nonce.
    pub signature: Bytes,
}

impl ResultKeyRequest {
    /// Presents `key` for `task` in the session of `nonce`.
    #[must_use]
    pub fn sign(task: TaskId, key: Address, nonce: &str, enclave: &EnclaveKey) -> Self {
        let signature = enclave.sign(&presentation(task.0, key, nonce));
        Self { task: task.0, key, signature: signature.into() }
    }

    /// Whether the attested key presented this result key in the session of `nonce`.
    ///
    /// # Errors
    ///
    /// If the signature is malformed, or another key's.
    pub fn verify(&self, nonce: &str, enclave: &Jwk) -> Result<(), JwkError> {
        enclave.verify(&presentation(self.task, self.key, nonce), &self.signature)
    }
}

fn presentation(task: B256, key: Address, nonce: &str) -> Vec<u8> {
    [PRESENTATION_TAG, task.as_slice(), key.as_slice(), nonce.as_bytes()].concat()
}

/// A result as the enclave hands it to its host, with everything that `complete` asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedResult {
    /// Says which result; how it is made is the launcher's (`crates/enclave/README.md`).
    pub digest: B256,
    /// Where the result is.
    pub uri: String,
    /// The address of the result key.
    pub key: Address,
    /// The result key's word: bundle digest (32) ‖ signature (65).
    pub enclave_signature: Bytes,
    /// The SMS's word for the result key.
    pub sms_signature: Signature65,
}

/// What the SMS answers: its signature over [`ResultKey`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResultKeyCertificate {
    /// What `complete` takes as the SMS's signature.
    pub signature: Signature65,
}

/// `GET /v1/tasks/{task}/settlement`: the SMS's signature over [`BundleReleased`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settlement {
    /// The task.
    pub task: B256,
    /// What `settle` takes as the SMS's signature.
    pub signature: Signature65,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const DOMAIN: TaskDomain =
        TaskDomain { chain_id: 31337, task_registry: Address::repeat_byte(0x33) };

    #[test]
    fn a_presented_key_is_bound_to_task_address_nonce_and_enclave() {
        let enclave = EnclaveKey::random();
        let task = TaskId(B256::repeat_byte(1));
        let request = ResultKeyRequest::sign(task, Address::repeat_byte(2), "nonce", &enclave);
        assert!(request.verify("nonce", enclave.public()).is_ok());
        assert!(request.verify("other", enclave.public()).is_err());
        assert!(request.verify("nonce", EnclaveKey::random().public()).is_err());
        let other = ResultKeyRequest { key: Address::repeat_byte(3), ..request.clone() };
        assert!(other.verify("nonce", enclave.public()).is_err());
        let other = ResultKeyRequest { task: B256::repeat_byte(4), ..request.clone() };
        assert!(other.verify("nonce", enclave.public()).is_err());
        let other = ResultKeyRequest { signature: Bytes::new(), ..request };
        assert!(other.verify("nonce", enclave.public()).is_err());
    }

    #[test]
    fn a_signed_result_carries_its_bundle_digest() {
        let key = Signer::random();
        let result = TaskResult {
            task: B256::repeat_byte(1),
            bundleDigest: B256::repeat_byte(2),
            resultDigest: B256::repeat_byte(3),
            resultUri: "file:///result".to_owned(),
        };
        let signed = DOMAIN.sign_result(&result, &key);
        assert_eq!(signed.len(), 97);
        assert_eq!(&signed[..32], B256::repeat_byte(2).as_slice());
        let signature = signed[32..].try_into().unwrap();
        let signer = crate::signature::recover(DOMAIN.signing_hash(&result), &signature).unwrap();
        assert_eq!(signer, key.address());
    }

    /// The fixture that the contracts' tests check too.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Fixture {
        chain_id: u64,
        task_registry: Address,
        private_keys: BTreeMap<String, B256>,
        addresses: BTreeMap<String, Address>,
        vectors: Vec<Vector>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Vector {
        primary_type: String,
        message: serde_json::Value,
        domain_separator: B256,
        struct_hash: B256,
        digest: B256,
        signer: Address,
        signature: Signature65,
    }

    impl Vector {
        fn bytes32(&self, field: &str) -> B256 {
            serde_json::from_value(self.message[field].clone()).unwrap()
        }

        /// Hashes, and both ways of the signature; signatures are deterministic (RFC 6979).
        fn check<T: SolStruct>(&self, domain: &TaskDomain, message: &T, signed: Signature65) {
            assert_eq!(message.eip712_hash_struct(), self.struct_hash, "{}", self.primary_type);
            assert_eq!(domain.eip712().separator(), self.domain_separator);
            let digest = domain.signing_hash(message);
            assert_eq!(digest, self.digest, "{}", self.primary_type);
            assert_eq!(signed, self.signature, "{}", self.primary_type);
            assert_eq!(crate::signature::recover(digest, &self.signature).unwrap(), self.signer);
        }
    }

    #[test]
    fn hashes_and_signatures_are_those_that_the_contracts_check() {
        let fixture: Fixture =
            serde_json::from_str(include_str!("../../../tests/fixtures/results.json")).unwrap();
        let signer = |name: &str| {
            let signer = Signer::from_bytes(&fixture.private_keys[name].0).unwrap();
            assert_eq!(signer.address(), fixture.addresses[name]);
            signer
        };
        let (sms, key) = (signer("sms"), signer("result"));
        let domain =
            TaskDomain { chain_id: fixture.chain_id, task_registry: fixture.task_registry };
        let mut checked = BTreeMap::<_, u32>::new();
        for vector in &fixture.vectors {
            let kind = vector.primary_type.as_str();
            // Those of owners are the whitelist's, and nothing here signs them.
            if matches!(kind, "Authorize" | "Revoke") {
                continue;
            }
            let task = TaskId(vector.bytes32("task"));
            match kind {
                "ResultKey" => {
                    let message = ResultKey { task: task.0, key: key.address() };
                    let named: Result<Address, _> =
                        serde_json::from_value(vector.message["key"].clone());
                    assert_eq!(message.key, named.unwrap());
                    vector.check(&domain, &message, domain.certify(task, message.key, &sms));
                }
                "BundleReleased" => {
                    let message = BundleReleased { task: task.0 };
                    vector.check(&domain, &message, domain.released(task, &sms));
                }
                "TaskResult" => {
                    let message = TaskResult {
                        task: task.0,
                        bundleDigest: vector.bytes32("bundleDigest"),
                        resultDigest: vector.bytes32("resultDigest"),
                        resultUri: vector.message["resultUri"].as_str().unwrap().to_owned(),
                    };
                    let word = domain.sign_result(&message, &key);
                    assert_eq!(&word[..32], message.bundleDigest.as_slice());
                    vector.check(&domain, &message, word[32..].try_into().unwrap());
                }
                other => panic!("{other} is not known here"),
            }
            *checked.entry(kind).or_default() += 1;
        }
        assert_eq!(checked, [("BundleReleased", 1), ("ResultKey", 1), ("TaskResult", 2)].into());
    }
}
