//! `sesame serve`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::Args;
use sesame_sms::{Config, Confirmation, DEFAULT_FREE_RESERVE, Policy};
use tokio::net::TcpListener;

use super::stopped;
use crate::context::Context;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sesame serve --rpc-url http://127.0.0.1:8545 --deployment deployment.json --data-dir /var/lib/sesame
  sesame serve --confirmations 2 --listen 127.0.0.1:0
  sesame serve --rpc-url http://one:8545 --rpc-url http://two:8545 --rpc-url http://three:8545 --quorum 2

The data folder holds the vault, which cannot be made again, and the mirror of the chain, which can. Back the vault and its key up.
Grants count once their block is confirmed; a revocation counts as soon as its block is seen.")]
pub(crate) struct ServeArgs {
    /// Holds the mirror, the vault and the keys.
    #[arg(long, value_name = "FOLDER", default_value = "data")]
    data_dir: PathBuf,
    /// Where to listen; port 0 takes any free one and logs it.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// How deep a block must be before grants in it count: a number of blocks, `safe` or `finalized`.
    #[arg(long, value_name = "N|safe|finalized", default_value = "finalized")]
    confirmations: Confirmation,
    /// How many of the nodes have to agree on a block; the majority by default.
    #[arg(long, value_name = "N")]
    quorum: Option<usize>,
    /// After how many confirmed blocks the index is proven again by the chain's own journals.
    #[arg(long, value_name = "BLOCKS", default_value_t = 64)]
    prove_every: u64,
    /// How often the node is asked for a new head, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 500)]
    poll_ms: u64,
    /// For how long the head may go unconfirmed by the node before nothing is released, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    max_lag_s: u64,
    /// How old the head's timestamp may be before nothing is released, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    max_head_age_s: u64,
    /// How much of the data folder's file system secrets leave free, in MiB: below that, pushes are refused (507), so that
    /// the mirror and the receipts go on.
    #[arg(long, value_name = "MIB", default_value_t = DEFAULT_FREE_RESERVE >> 20)]
    free_reserve_mb: u64,
    /// INSECURE: believe the simulated TEE under this root: its address, or the file that holds it (root.key.pub).
    /// Whoever has the root's key is any enclave it likes, and gets every secret.
    #[cfg(feature = "simulated")]
    #[arg(long, value_name = "ADDRESS|FILE")]
    insecure_trust_simulated_root: Option<String>,
}

pub(crate) async fn run(args: ServeArgs, context: &Context) -> anyhow::Result<()> {
    let config = Config {
        rpc_urls: context.rpc_urls()?.to_vec(),
        quorum: args.quorum,
        prove_every: args.prove_every,
        deployment: context.deployment()?,
        policy: policy(&args)?,
        data_dir: args.data_dir,
        confirmation: args.confirmations,
        poll: Duration::from_millis(args.poll_ms.max(1)),
        max_lag: Duration::from_secs(args.max_lag_s),
        max_head_age: args.max_head_age_s,
        free_reserve_bytes: args.free_reserve_mb.saturating_mul(1 << 20),
    };
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.with_context(|| format!("cannot listen at {}", args.listen))?;
    sesame_sms::run(listener, config, stopped()).await.context("the service cannot go on")
}

#[cfg(not(feature = "simulated"))]
#[expect(clippy::unnecessary_wraps, reason = "the other build reads an address")]
const fn policy(_args: &ServeArgs) -> anyhow::Result<Policy> {
    Ok(Policy::hardware_only())
}

#[cfg(feature = "simulated")]
fn policy(args: &ServeArgs) -> anyhow::Result<Policy> {
    let Some(root) = &args.insecure_trust_simulated_root else {
        return Ok(Policy::hardware_only());
    };
    let address = simulated_root(root)?;
    tracing::warn!(%address, "INSECURE: the simulated TEE is believed; keep no real secrets here");
    Ok(Policy::insecure_trusting_simulated(address))
}

/// The root's address, given itself or as the file that holds it.
#[cfg(feature = "simulated")]
fn simulated_root(text: &str) -> anyhow::Result<alloy::primitives::Address> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let file = std::fs::read_to_string(text).with_context(|| format!("cannot read {text}"))?;
    file.trim().parse().with_context(|| format!("{text} holds no address"))
}

#[cfg(all(test, feature = "simulated"))]
mod tests {
    use alloy::primitives::Address;

    use super::*;

    #[test]
    fn a_root_is_an_address_or_a_file_that_holds_one() {
        let address = Address::repeat_byte(7);
        assert_eq!(simulated_root(&address.to_string()).unwrap(), address);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.key.pub");
        std::fs::write(&path, format!("{address}\n")).unwrap();
        assert_eq!(simulated_root(path.to_str().unwrap()).unwrap(), address);
        std::fs::write(&path, "nothing").unwrap();
        assert!(simulated_root(path.to_str().unwrap()).is_err());
    }
}
