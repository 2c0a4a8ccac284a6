//! What an owner signs and somebody else brings to the chain: `authorizeBySig` and `revokeBySig`.

use alloy::{
    network::TransactionBuilder,
    primitives::{Address, Bytes, U256},
    rpc::types::TransactionRequest,
    sol_types::{Eip712Domain, SolCall, SolStruct, SolValue},
};
use rand::{Rng, seq::IndexedRandom};
use sesame_chain::abi::whitelist::{self, IEnclaveWhitelist};
use sesame_domain::{AssetId, AssetKind, EnclaveId, Registry};

use super::{Action, History};

/// What is tried though the contract can never take it.
pub(super) const NEVER: [&str; 2] = ["an expired signature", "a used signature"];

alloy::sol! {
    struct Terms {
        uint64 notBefore;
        uint64 notAfter;
        uint256 app;
        address requester;
        address sms;
        uint64 maxTasks;
        address currency;
        uint256 price;
    }

    struct Authorize {
        address signer;
        uint256 assetId;
        bytes32 enclaveId;
        Terms terms;
        uint256 nonce;
        uint256 deadline;
    }

    struct Revoke {
        address signer;
        uint256 assetId;
        bytes32 enclaveId;
        uint256 nonce;
        uint256 deadline;
    }
}

impl History<'_> {
    /// Somebody brings what an owner signed; now and then too late, or once more.
    pub(super) async fn signed(&mut self) -> Action {
        let (asset, enclave) = self.a_pair().await;
        match self.random.random_range(0..10) {
            0..2 => {
                let late = U256::from(self.time - 1);
                let data = self.signed_authorization(asset, enclave, late).await;
                self.brought(NEVER[0], data)
            }
            2..4 if !self.used.is_empty() => {
                let used = self.used.choose(self.random).unwrap().to_vec();
                self.brought(NEVER[1], used)
            }
            4..7 => {
                let data = self.signed_revocation(asset, enclave).await;
                self.brought("revokeBySig", data)
            }
            _ => {
                let until = self.until();
                let data = self.signed_authorization(asset, enclave, until).await;
                self.brought("authorizeBySig", data)
            }
        }
    }

    /// Whoever it is that sends it, it is the signer's word.
    fn brought(&mut self, name: &'static str, data: Vec<u8>) -> Action {
        let from = self.somebody();
        self.call(name, from, Registry::Whitelist, data)
    }

    fn until(&mut self) -> U256 {
        U256::from(self.time + self.random.random_range(50..5000))
    }

    async fn signed_authorization(
        &mut self,
        asset: AssetId,
        enclave: EnclaveId,
        deadline: U256,
    ) -> Vec<u8> {
        let signer = self.owner_of(asset).await;
        let app = self.reader.kind_of(asset).await.unwrap() == AssetKind::App;
        let terms = whitelist::Terms::from(&self.terms(app));
        let message = Authorize {
            signer,
            assetId: asset.to_u256(),
            enclaveId: enclave.0,
            terms: Terms::abi_decode(&terms.abi_encode()).unwrap(),
            nonce: self.nonce_of(signer).await,
            deadline,
        };
        IEnclaveWhitelist::authorizeBySigCall {
            signer,
            assetId: message.assetId,
            enclaveId: message.enclaveId,
            terms,
            deadline,
            signature: self.sign(signer, &message),
        }
        .abi_encode()
    }

    async fn signed_revocation(&mut self, asset: AssetId, enclave: EnclaveId) -> Vec<u8> {
        let signer = self.owner_of(asset).await;
        let message = Revoke {
            signer,
            assetId: asset.to_u256(),
            enclaveId: enclave.0,
            nonce: self.nonce_of(signer).await,
            deadline: self.until(),
        };
        IEnclaveWhitelist::revokeBySigCall {
            signer,
            assetId: message.assetId,
            enclaveId: message.enclaveId,
            deadline: message.deadline,
            signature: self.sign(signer, &message),
        }
        .abi_encode()
    }

    fn sign<T: SolStruct>(&self, signer: Address, message: &T) -> Bytes {
        let domain = Eip712Domain::new(
            Some("Sesame".into()),
            Some("1".into()),
            Some(U256::from(self.deployment.chain_id)),
            Some(self.deployment.enclave_whitelist),
            None,
        );
        let signer = self.signers.iter().find(|known| known.address() == signer).unwrap();
        signer.sign_hash(message.eip712_signing_hash(&domain)).to_vec().into()
    }

    /// The nonce of the signer's next signature, as the newest block has it.
    async fn nonce_of(&self, signer: Address) -> U256 {
        let call = IEnclaveWhitelist::nonceOfCall { signer };
        let question = TransactionRequest::default()
            .with_to(self.deployment.enclave_whitelist)
            .with_input(call.abi_encode());
        let answer: Bytes = self.node.call("eth_call", (question, "latest")).await;
        IEnclaveWhitelist::nonceOfCall::abi_decode_returns(&answer).unwrap()
    }
}
