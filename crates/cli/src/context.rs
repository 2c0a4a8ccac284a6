//! What the shared options mean: connections and the account, made when a command asks for them.

use std::{
    path::Path,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use alloy::{primitives::Address, signers::local::PrivateKeySigner};
use anyhow::Context as _;
use prometheus_client::registry::Registry;
use sesame_chain::{Contracts, Deployment, Reader};
use sesame_client::{owner::Owner, public::Public};
use sesame_protocol::{signature::Signer, typed::Domain};
use zeroize::Zeroizing;

use crate::{account, args::GlobalArgs, failure::Misuse, output::Output};

/// The shared options, what to print on, and the time.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) global: GlobalArgs,
    pub(crate) output: Output,
    /// Numbers of the program, for services to publish.
    pub(crate) program: Arc<Registry>,
    start: SystemTime,
    since: Instant,
}

impl Context {
    /// The command starts now, at `start` by the wall clock.
    pub(crate) fn new(
        global: GlobalArgs,
        output: Output,
        start: SystemTime,
        program: Arc<Registry>,
    ) -> Self {
        Self { global, output, program, start, since: Instant::now() }
    }

    /// The same for other shared options.
    pub(crate) fn with(&self, global: GlobalArgs) -> Self {
        Self { global, program: self.program.clone(), ..*self }
    }

    /// Seconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        let now = self.start + self.since.elapsed();
        now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    pub(crate) fn rpc_url(&self) -> anyhow::Result<&str> {
        self.rpc_urls()?.first().map(String::as_str).ok_or_else(no_node)
    }

    /// All nodes that are given, at least one.
    pub(crate) fn rpc_urls(&self) -> anyhow::Result<&[String]> {
        let urls = self.global.rpc_url.as_slice();
        if urls.is_empty() { Err(no_node()) } else { Ok(urls) }
    }

    pub(crate) fn sms_url(&self) -> anyhow::Result<&str> {
        self.global.sms_url.as_deref().ok_or_else(|| {
            Misuse::new("no SMS is given", "give --sms-url URL or set SESAME_SMS_URL").into()
        })
    }

    pub(crate) fn deployment(&self) -> anyhow::Result<Deployment> {
        let path: &Path = self.global.deployment.as_deref().ok_or_else(|| {
            let hint = "give --deployment FILE or set SESAME_DEPLOYMENT";
            Misuse::new("no deployment is given", hint)
        })?;
        Deployment::read(path).with_context(|| format!("cannot use {}", path.display()))
    }

    /// The SMS that the user trusts.
    pub(crate) fn sms_identity(&self) -> anyhow::Result<Address> {
        self.global.sms_identity.ok_or_else(|| {
            let hint = "ask the operator for its address, then give --sms-identity ADDRESS or set SESAME_SMS_IDENTITY";
            Misuse::new("no SMS identity is given to trust", hint).into()
        })
    }

    pub(crate) fn account(&self) -> anyhow::Result<PrivateKeySigner> {
        account::load(&self.global)
    }

    /// The contracts, for reading.
    pub(crate) async fn reader(&self) -> anyhow::Result<Reader> {
        Ok(Reader::connect(self.rpc_url()?, &self.deployment()?).await?)
    }

    /// The contracts, for the account's transactions.
    pub(crate) async fn contracts(&self) -> anyhow::Result<Contracts> {
        let (rpc_url, deployment) = (self.rpc_url()?, self.deployment()?);
        Ok(Contracts::connect(rpc_url, &deployment, self.account()?).await?)
    }
    /// What anybody may ask the SMS.
    pub(crate) fn public(&self) -> anyhow::Result<Public> {
        Ok(Public::new(self.sms_url()?)?)
    }

    /// The account as an owner of secrets at the SMS.
    pub(crate) fn owner(&self) -> anyhow::Result<Owner> {
        let deployment = self.deployment()?;
        let domain =
            Domain { chain_id: deployment.chain_id, asset_registry: deployment.asset_registry };
        let (sms_url, sms) = (self.sms_url()?, self.sms_identity()?);
        let key = Zeroizing::new(self.account()?.to_bytes().0);
        Ok(Owner::new(sms_url, domain, sms, Signer::from_bytes(&key)?)?)
    }

    /// The account as an owner of secrets, or as one whose signature the contract `owner` takes as its own.
    pub(crate) fn owner_or(&self, contract: Option<Address>) -> anyhow::Result<Owner> {
        let owner = self.owner()?;
        Ok(match contract {
            Some(contract) => owner.acting_for(contract),
            None => owner,
        })
    }
}

fn no_node() -> anyhow::Error {
    Misuse::new("no node is given", "give --rpc-url URL or set SESAME_RPC_URL").into()
}
