//! A chain with PoCo's contracts, as its npm package has them.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use alloy::{
    primitives::{Address, B256, Bytes},
    rpc::types::{Log, TransactionReceipt},
    sol_types::SolCall,
};
use serde_json::json;
use sesame_iexec::poco::Deployment;

use crate::{Node, ROOT, eventually};

const HINT: &str = "run script/setup";

/// A chain of its own with PoCo on it. Gone when dropped.
#[derive(Debug)]
pub struct PocoChain {
    /// The chain.
    pub node: Node,
    /// Where the contracts are.
    pub deployment: Deployment,
}

impl PocoChain {
    /// A fresh chain.
    ///
    /// # Panics
    /// When PoCo's package is not there, or cannot be deployed.
    #[must_use]
    pub fn start() -> Self {
        let node = Node::start();
        let manifest = said("deploy.mjs", &[&node.url()]);
        Self { node, deployment: manifest.parse().expect("a manifest") }
    }

    /// An app, a dataset and a workerpool of the node's first account, and so many deals of one task each, which is initialized.
    ///
    /// # Panics
    /// When a transaction fails.
    pub fn fill(&self, deals: u64) {
        let hub = self.deployment.hub.to_string();
        said("fill.mjs", &[&self.node.url(), &hub, &deals.to_string()]);
    }

    /// Has an account of the node, by its number, call a contract, and waits until that is mined.
    ///
    /// # Panics
    /// When it fails.
    pub async fn send(&self, account: usize, contract: Address, call: &impl SolCall) {
        let accounts: Vec<Address> = self.node.call("eth_accounts", [(); 0]).await;
        let transaction = json!({
            "from": accounts[account],
            "to": contract,
            "data": Bytes::from(call.abi_encode()),
            "gas": "0xf4240",
        });
        let hash: B256 = self.node.call("eth_sendTransaction", (transaction,)).await;
        let receipt = eventually("the transaction is mined", async || {
            self.node
                .call::<_, Option<TransactionReceipt>>("eth_getTransactionReceipt", (hash,))
                .await
        })
        .await;
        assert!(receipt.status(), "{hash} failed");
    }

    /// What a view answers after the newest block.
    ///
    /// # Panics
    /// When it is no view.
    pub async fn read<C: SolCall>(&self, contract: Address, call: &C) -> C::Return {
        let call = json!({"to": contract, "data": Bytes::from(call.abi_encode())});
        let answer: Bytes = self.node.call("eth_call", (call, "latest")).await;
        C::abi_decode_returns(&answer).expect("a view's answer")
    }

    /// The logs of a contract with this first topic.
    pub async fn logs(&self, contract: Address, topic: B256) -> Vec<Log> {
        let filter = json!({"address": contract, "fromBlock": "0x0", "topics": [topic]});
        self.node.call("eth_getLogs", (filter,)).await
    }
}

/// What a script of `tests/iexec` prints.
fn said(script: &str, arguments: &[&str]) -> String {
    let folder = Path::new(ROOT).join("tests/iexec");
    assert!(folder.join("node_modules/@iexec/poco").exists(), "PoCo is not there: {HINT}");
    let mut command = Command::new("node");
    command.arg(folder.join(script)).args(arguments).stderr(Stdio::inherit());
    let ended = command.output().unwrap_or_else(|error| panic!("no node ({error}): {HINT}"));
    assert!(ended.status.success(), "{script} failed");
    String::from_utf8(ended.stdout).expect("it prints text")
}
