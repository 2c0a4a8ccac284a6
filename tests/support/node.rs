//! The chain: an anvil of its own on a free port, with the three contracts and, where a story wants one, an ERC-20.

use std::{borrow::Cow, fs, path::PathBuf};

use alloy::{
    consensus::constants::ETH_TO_WEI,
    network::TransactionBuilder,
    node_bindings::{Anvil, AnvilInstance},
    primitives::{Address, B256, Bytes, U256, keccak256},
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::types::TransactionRequest,
    sol_types::{SolCall, SolValue},
};
use rustix::process::{Pid, Signal, kill_process};
use sesame_chain::{CodeHashes, Deployment};
use sesame_domain::Block;
use tempfile::TempDir;

use crate::{ROOT, eventually};

const HINT: &str = "run script/setup and forge build";

alloy::sol! {
    /// What the token of the contracts' tests has beside ERC-20.
    interface IToken {
        function mint(address to, uint256 amount) external;
    }

    /// How the wallet of the contracts' tests answers.
    #[derive(Debug)]
    enum Mood {
        /// As its guardian's key signed.
        Honest,
        /// Not at all.
        Reverting,
        /// Another word than yes or no.
        WrongMagic,
        /// Never, for as much gas as there is.
        Burning,
        /// Nothing.
        Silent
    }

    /// What that wallet has beside ERC-1271.
    interface IMoodyWallet {
        function set(address guardian, Mood mood) external;
    }
}

/// A chain of its own. Gone when dropped.
#[derive(Debug)]
pub struct Node {
    anvil: AnvilInstance,
    /// Old states of the chain, which anvil, being killed, would leave in the home of who runs it.
    _states: TempDir,
    provider: DynProvider,
}

impl Node {
    /// A fresh chain.
    ///
    /// # Panics
    /// When anvil is not installed.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A fresh chain of this id.
    ///
    /// # Panics
    /// When anvil is not installed.
    #[must_use]
    pub fn of_chain(id: u64) -> Self {
        Self::start_with(&["--chain-id", &id.to_string()])
    }

    /// A fresh chain with more arguments for anvil.
    ///
    /// # Panics
    /// When anvil is not installed.
    #[must_use]
    pub fn start_with(more: &[&str]) -> Self {
        let states = TempDir::new().expect("there is a folder for temporary files");
        let anvil = Anvil::at(program())
            .host("127.0.0.1")
            .port(0u16)
            .args(["--balance", "10000", "--slots-in-an-epoch", "1"])
            .arg("--cache-path")
            .arg(states.path())
            .args(more)
            .timeout(60_000)
            .try_spawn()
            .unwrap_or_else(|error| panic!("anvil does not start ({error}): {HINT}"));
        let provider = ProviderBuilder::new().connect_http(anvil.endpoint_url()).erased();
        Self { anvil, _states: states, provider }
    }

    /// The JSON-RPC endpoint.
    #[must_use]
    pub fn url(&self) -> String {
        self.anvil.endpoint()
    }

    /// Where it announces new heads.
    #[must_use]
    pub fn heads_url(&self) -> String {
        self.anvil.ws_endpoint()
    }

    /// The secret key of a funded account.
    ///
    /// # Panics
    /// When there are not that many.
    #[must_use]
    pub fn key(&self, index: usize) -> [u8; 32] {
        self.anvil.nth_key(index).expect("anvil has ten accounts").to_bytes().into()
    }

    /// Sends the node a request.
    ///
    /// # Panics
    /// When the node refuses.
    pub async fn call<P, R>(&self, method: &'static str, params: P) -> R
    where
        P: serde::Serialize + Clone + std::fmt::Debug + Send + Sync + Unpin + 'static,
        R: serde::de::DeserializeOwned + std::fmt::Debug + Send + Sync + Unpin + 'static,
    {
        let answer = self.provider.raw_request(Cow::Borrowed(method), params).await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Mines empty blocks.
    pub async fn mine(&self, blocks: u64) {
        let _: serde_json::Value = self.call("anvil_mine", (U256::from(blocks),)).await;
    }

    /// Mines an empty block with this timestamp.
    pub async fn mine_at(&self, timestamp: u64) {
        let _: serde_json::Value =
            self.call("evm_setNextBlockTimestamp", (U256::from(timestamp),)).await;
        self.mine(1).await;
    }

    /// Replaces the newest `depth` blocks by empty ones.
    pub async fn reorg(&self, depth: u64) {
        let none: [(); 0] = [];
        let _: serde_json::Value = self.call("anvil_reorg", (depth, none)).await;
    }

    /// Remembers the chain as it is.
    pub async fn snapshot(&self) -> U256 {
        self.call("evm_snapshot", [(); 0]).await
    }

    /// Puts the chain back to what it was.
    ///
    /// # Panics
    /// When there is no such snapshot.
    pub async fn revert(&self, snapshot: U256) {
        let reverted: bool = self.call("evm_revert", (snapshot,)).await;
        assert!(reverted, "no snapshot {snapshot}");
    }

    /// The newest block.
    ///
    /// # Panics
    /// When the node does not answer.
    pub async fn head(&self) -> Block {
        let block = self.provider.get_block(alloy::eips::BlockId::latest()).await;
        let header = block.expect("the node answers").expect("there is a newest block").header;
        Block {
            number: header.number,
            hash: header.hash,
            parent: header.parent_hash,
            timestamp: header.timestamp,
        }
    }

    /// The node stops answering, without closing its connections.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// The node answers again.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.anvil.child().id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("anvil has a process id"), signal).expect("anvil runs");
    }

    /// Deploys the three contracts.
    ///
    /// # Panics
    /// When they are not compiled, or the deployment fails.
    pub async fn deploy(&self) -> Deployment {
        let (deployer, nonce) = self.deployer().await;
        let [assets, whitelist, tasks] = [0, 1, 2].map(|n| deployer.create(nonce + n));
        let first_block = self.head().await.number + 1;
        for (nonce, contract, argument) in [
            (nonce, "AssetRegistry", None),
            (nonce + 1, "EnclaveWhitelist", Some(assets)),
            (nonce + 2, "TaskRegistry", Some(whitelist)),
        ] {
            let code = creation_code(contract, contract, argument);
            self.send(deployer, nonce, TransactionRequest::default().with_deploy_code(code)).await;
        }
        eventually("the contracts are deployed", async || {
            let code = self.provider.get_code_at(tasks).await.expect("the node answers");
            (!code.is_empty()).then_some(())
        })
        .await;
        let (asset_registry, enclave_whitelist, task_registry) =
            tokio::join!(self.code_hash(assets), self.code_hash(whitelist), self.code_hash(tasks));
        Deployment {
            chain_id: self.anvil.chain_id(),
            first_block,
            asset_registry: assets,
            enclave_whitelist: whitelist,
            task_registry: tasks,
            code_hashes: Some(CodeHashes { asset_registry, enclave_whitelist, task_registry }),
        }
    }

    /// Deploys the ERC-20 of the contracts' own tests, and gives each holder as much of it.
    ///
    /// # Panics
    /// When it is not compiled, or the node does not answer.
    pub async fn token(&self, holders: &[Address], amount: U256) -> Address {
        let (deployer, mut nonce) = self.deployer().await;
        let token = deployer.create(nonce);
        let code = creation_code("Tokens", "Token", None);
        self.send(deployer, nonce, TransactionRequest::default().with_deploy_code(code)).await;
        for &to in holders {
            nonce += 1;
            let mint = IToken::mintCall { to, amount }.abi_encode();
            let mint = TransactionRequest::default().with_to(token).with_input(mint);
            self.send(deployer, nonce, mint).await;
        }
        self.mined(deployer, nonce).await;
        token
    }

    /// Deploys the wallet of the contracts' own tests, which takes the signatures of its guardian's key as its own.
    ///
    /// # Panics
    /// When it is not compiled, or the node does not answer.
    pub async fn wallet(&self, guardian: Address) -> Address {
        let (deployer, nonce) = self.deployer().await;
        let code = creation_code("Actors", "MoodyWallet", Some(guardian));
        self.send(deployer, nonce, TransactionRequest::default().with_deploy_code(code)).await;
        self.mined(deployer, nonce).await;
        deployer.create(nonce)
    }

    /// Gives that wallet another guardian and mood.
    pub async fn set_wallet(&self, wallet: Address, guardian: Address, mood: Mood) {
        let (deployer, nonce) = self.deployer().await;
        let set = IMoodyWallet::setCall { guardian, mood }.abi_encode();
        let set = TransactionRequest::default().with_to(wallet).with_input(set);
        self.send(deployer, nonce, set).await;
        self.mined(deployer, nonce).await;
    }

    async fn mined(&self, deployer: Address, nonce: u64) {
        eventually("the transaction is mined", async || {
            let sent = self.provider.get_transaction_count(deployer).await;
            (sent.expect("the node answers") > nonce).then_some(())
        })
        .await;
    }

    /// Who deploys, and the nonce of the next transaction.
    async fn deployer(&self) -> (Address, u64) {
        let deployer = self.anvil.addresses().last().copied().expect("anvil has ten accounts");
        let nonce = self.provider.get_transaction_count(deployer).await.expect("the node answers");
        (deployer, nonce)
    }

    async fn send(&self, from: Address, nonce: u64, transaction: TransactionRequest) {
        let transaction = transaction.with_from(from).with_nonce(nonce).with_gas_limit(8_000_000);
        let _: B256 = self.call("eth_sendTransaction", (transaction,)).await;
    }

    async fn code_hash(&self, contract: Address) -> B256 {
        keccak256(self.provider.get_code_at(contract).await.expect("the node answers"))
    }

    /// Replaces the code at an address.
    pub async fn set_code(&self, contract: Address, code: Bytes) {
        let _: serde_json::Value = self.call("anvil_setCode", (contract, code)).await;
    }

    /// Gives an account some of the chain's coin.
    pub async fn fund(&self, account: Address) {
        let coins = U256::from(100) * U256::from(ETH_TO_WEI);
        let _: serde_json::Value = self.call("anvil_setBalance", (account, coins)).await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A stopped process cannot be asked to end.
        self.resume();
    }
}

/// The native program: a kill of npm's wrapper would leave it behind.
fn program() -> PathBuf {
    let system = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let package = format!("script/toolchain/node_modules/@foundry-rs/anvil-{system}-{machine}");
    let program = PathBuf::from(ROOT).join(package).join("bin/anvil");
    assert!(program.exists(), "there is no {}: {HINT}", program.display());
    program
}

fn creation_code(file: &str, contract: &str, argument: Option<Address>) -> Bytes {
    let path = format!("{ROOT}/target/forge/out/{file}.sol/{contract}.json");
    let text = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("cannot read {path} ({error}): {HINT}"));
    let artifact: serde_json::Value = serde_json::from_str(&text).expect("forge writes JSON");
    let code = artifact.pointer("/bytecode/object").and_then(serde_json::Value::as_str);
    let code: Bytes = code.and_then(|code| code.parse().ok()).expect("an artifact has bytecode");
    let argument = argument.map(|argument| argument.abi_encode()).unwrap_or_default();
    [code.as_ref(), &argument].concat().into()
}
