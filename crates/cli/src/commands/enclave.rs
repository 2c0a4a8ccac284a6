//! `sesame enclave`.

use alloy::primitives::{Address, U256};
use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use sesame_chain::{AuthorizationState, ListedEnclave};
use sesame_domain::{AssetId, EnclaveId, Terms};

use super::mined;
use crate::{context::Context, output::Answer, parse};

#[derive(Debug, Subcommand)]
pub(crate) enum EnclaveCommand {
    /// Let an enclave use an asset of yours; said again, it replaces the terms.
    #[command(after_help = "\
Examples:
  sesame enclave allow 0x<asset> 0x<enclave>
  sesame enclave allow 0x<data> 0x<enclave> --app 0x<app> --max-tasks 10
  sesame enclave allow 0x<data> 0x<enclave> --price 0.01ether
  sesame enclave allow 0x<data> 0x<enclave> --price 2500000 --currency 0x<token>

Each task that uses the asset pays you the price, to be taken out by `sesame account withdraw`. All owners of a task must
ask for the same currency, or for nothing. The grant counts once its block is confirmed. It ends when you revoke it or sell the asset.")]
    Allow(Box<AllowArgs>),
    /// Take that back; it bites as soon as the SMS sees the block.
    #[command(after_help = "Example:\n  sesame enclave revoke 0x<asset> 0x<enclave>")]
    Revoke(PairArgs),
    /// List the enclaves that an asset's owners ever allowed, and how that stands now.
    #[command(after_help = "Example:\n  sesame enclave list 0x<asset>")]
    List(ListArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PairArgs {
    /// The asset.
    asset: AssetId,
    /// The enclave.
    enclave: EnclaveId,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The asset.
    asset: AssetId,
}

#[derive(Debug, Args)]
pub(crate) struct AllowArgs {
    #[command(flatten)]
    pair: PairArgs,
    /// First second, since 1970, at which it holds.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, hide_default_value = true)]
    not_before: u64,
    /// Last second, since 1970, at which it holds.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, hide_default_value = true)]
    not_after: u64,
    /// The one app that may use a protected data; any by default.
    #[arg(long, value_name = "ASSET")]
    app: Option<AssetId>,
    /// The one requester that may use the asset; any by default.
    #[arg(long, value_name = "ADDRESS")]
    requester: Option<Address>,
    /// The one SMS identity that may release it; any by default.
    #[arg(long, value_name = "ADDRESS")]
    sms: Option<Address>,
    /// How many tasks may use this; no limit by default. With a limit, tasks that were bought before get nothing any more.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_tasks: Option<u64>,
    /// What each task pays you, in the smallest unit of the currency; of the native coin also as 0.01ether or 5gwei.
    #[arg(long, value_name = "AMOUNT", value_parser = parse::amount, default_value = "0", hide_default_value = true)]
    price: U256,
    /// What the price is paid in: the address of an ERC-20, or `native`.
    #[arg(long, value_name = "CURRENCY", value_parser = parse::currency, default_value = "native", requires = "price")]
    currency: Address,
}

impl AllowArgs {
    fn terms(&self) -> Terms {
        Terms {
            not_before: self.not_before,
            not_after: self.not_after,
            app: self.app.unwrap_or_default(),
            requester: self.requester.unwrap_or_default(),
            sms: self.sms.unwrap_or_default(),
            max_tasks: self.max_tasks.unwrap_or_default(),
            currency: self.currency,
            price: self.price,
        }
    }
}

pub(crate) async fn run(command: EnclaveCommand, context: &Context) -> anyhow::Result<()> {
    match command {
        EnclaveCommand::Allow(args) => allow(&args, context).await,
        EnclaveCommand::Revoke(args) => revoke(&args, context).await,
        EnclaveCommand::List(args) => list(&args, context).await,
    }
}

async fn allow(args: &AllowArgs, context: &Context) -> anyhow::Result<()> {
    let PairArgs { asset, enclave } = args.pair;
    let contracts = context.contracts().await?;
    let serial = contracts.authorize(asset, enclave, &args.terms()).await;
    let serial = serial.context("cannot allow the enclave")?;
    let mut fields = pair(asset, enclave, serial.result);
    fields.extend(mined(&serial));
    context.output.show(&Answer::Fields(fields));
    Ok(())
}

async fn revoke(args: &PairArgs, context: &Context) -> anyhow::Result<()> {
    let contracts = context.contracts().await?;
    let serial = contracts.revoke(args.asset, args.enclave).await;
    let serial = serial.context("cannot revoke the enclave")?;
    let mut fields = pair(args.asset, args.enclave, serial.result);
    fields.extend(mined(&serial));
    context.output.show(&Answer::Fields(fields));
    Ok(())
}

async fn list(args: &ListArgs, context: &Context) -> anyhow::Result<()> {
    let enclaves = context.reader().await?.enclaves_of(args.asset).await;
    let enclaves = enclaves.context("cannot list the enclaves")?;
    context.output.show(&Answer::Rows {
        columns: vec!["enclave", "state", "serial", "epoch", "terms"],
        rows: enclaves.iter().map(row).collect(),
    });
    Ok(())
}

fn pair(asset: AssetId, enclave: EnclaveId, serial: u64) -> Vec<(&'static str, Value)> {
    vec![("asset", json!(asset.0)), ("enclave", json!(enclave.0)), ("serial", json!(serial))]
}

fn row(known: &ListedEnclave) -> Vec<Value> {
    let state = match known.state {
        AuthorizationState::Active => "active",
        AuthorizationState::Revoked => "revoked",
        AuthorizationState::Void => "void",
    };
    let authorization = &known.authorization;
    vec![
        json!(known.enclave.0),
        json!(state),
        json!(authorization.serial),
        json!(authorization.epoch),
        json!(told(&authorization.terms)),
    ]
}

/// The terms that limit anything, each as `name value`.
fn told(terms: &Terms) -> Vec<String> {
    let limits = [
        ("not_before", (terms.not_before != 0).then(|| terms.not_before.to_string())),
        ("not_after", (terms.not_after != 0).then(|| terms.not_after.to_string())),
        ("app", (terms.app != AssetId::default()).then(|| terms.app.to_string())),
        ("requester", (!terms.requester.is_zero()).then(|| terms.requester.to_string())),
        ("sms", (!terms.sms.is_zero()).then(|| terms.sms.to_string())),
        ("max_tasks", (terms.max_tasks != 0).then(|| terms.max_tasks.to_string())),
        ("currency", (!terms.currency.is_zero()).then(|| terms.currency.to_string())),
        ("price", (!terms.price.is_zero()).then(|| terms.price.to_string())),
    ];
    let limits = limits.into_iter();
    limits.filter_map(|(name, value)| value.map(|value| format!("{name} {value}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_without_limits_say_nothing() {
        assert!(told(&Terms::default()).is_empty());
        let terms = Terms { not_after: 7, max_tasks: 2, ..Terms::default() };
        assert_eq!(told(&terms), ["not_after 7", "max_tasks 2"]);
    }
}
