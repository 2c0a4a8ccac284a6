//! An owner whose calls do not wait for blocks: the node signs for the account.

use alloy::{
    network::TransactionBuilder,
    primitives::{Address, B256, Bytes, U256},
    providers::RootProvider,
    rpc::types::TransactionRequest,
    sol_types::SolCall,
};
use sesame_chain::{
    Deployment,
    abi::{
        assets::IAssetRegistry,
        whitelist::{IEnclaveWhitelist, Terms},
    },
};
use sesame_domain::{AssetId, AssetKind, EnclaveId};
use sesame_protocol::signature::Signer;
use sesame_tests::Node;

/// Below the most that one transaction may take.
const GAS: u64 = 16_000_000;

pub(crate) struct Owner<'a> {
    node: &'a Node,
    account: Address,
    nonce: u64,
    whitelist: Address,
    assets: Vec<AssetId>,
}

impl<'a> Owner<'a> {
    /// An owner of so many apps.
    pub(crate) async fn new(
        node: &'a Node,
        deployment: &Deployment,
        assets: u64,
    ) -> anyhow::Result<Self> {
        let account = Signer::from_bytes(&node.key(0))?.address();
        let (registry, whitelist) = (deployment.asset_registry, deployment.enclave_whitelist);
        let mut owner = Self { node, account, nonce: 0, whitelist, assets: Vec::new() };
        let provider: RootProvider = RootProvider::connect(&node.url()).await?;
        let contract = IAssetRegistry::new(registry, &provider);
        let (kind, digest) = (AssetKind::App as u8, B256::repeat_byte(1));
        for number in 0..assets {
            let salt = B256::from(U256::from(number));
            let id = contract.assetIdOf(account, kind, digest, salt).call().await?;
            let uri = "https://example.org/app".to_owned();
            let to = account;
            owner
                .send(registry, IAssetRegistry::registerCall { kind, to, uri, digest, salt })
                .await;
            owner.assets.push(id.into());
        }
        Ok(owner)
    }

    /// One of the owner's apps; the first again after the last.
    pub(crate) fn asset(&self, number: usize) -> AssetId {
        *self.assets.iter().cycle().nth(number % self.assets.len()).expect("it goes around")
    }

    pub(crate) async fn authorize(&mut self, pair: (AssetId, EnclaveId)) {
        self.authorize_all(&[pair], 0).await;
    }

    /// All or none of at most 64 pairs, until `not_after`.
    pub(crate) async fn authorize_all(&mut self, pairs: &[(AssetId, EnclaveId)], not_after: u64) {
        let terms = Terms {
            notBefore: 0,
            notAfter: not_after,
            app: U256::ZERO,
            requester: Address::ZERO,
            sms: Address::ZERO,
            maxTasks: 0,
            currency: Address::ZERO,
            price: U256::ZERO,
        };
        let call = IEnclaveWhitelist::authorizeBatchCall {
            assetIds: pairs.iter().map(|(asset, _)| asset.to_u256()).collect(),
            enclaveIds: pairs.iter().map(|(_, enclave)| enclave.0).collect(),
            terms: vec![terms; pairs.len()],
        };
        self.send(self.whitelist, call).await;
    }

    pub(crate) async fn revoke(&mut self, (asset, enclave): (AssetId, EnclaveId)) {
        let (asset, enclave) = (asset.to_u256(), enclave.0);
        let call = IEnclaveWhitelist::revokeCall { assetId: asset, enclaveId: enclave };
        self.send(self.whitelist, call).await;
    }

    async fn send(&mut self, contract: Address, call: impl SolCall) {
        let transaction = TransactionRequest::default()
            .with_from(self.account)
            .with_to(contract)
            .with_nonce(self.nonce)
            .with_gas_limit(GAS)
            .with_input(Bytes::from(call.abi_encode()));
        self.nonce += 1;
        let _: B256 = self.node.call("eth_sendTransaction", (transaction,)).await;
    }
}
