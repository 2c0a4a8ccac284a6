//! The commands, a file per group.

pub(crate) mod account;
pub(crate) mod app;
mod asset;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod data;
pub(crate) mod enclave;
pub(crate) mod explain;
mod host;
mod hsm;
pub(crate) mod index;
pub(crate) mod manual;
pub(crate) mod receipts;
mod result;
pub(crate) mod secret;
pub(crate) mod serve;
mod status;
pub(crate) mod task;
pub(crate) mod vault;
pub(crate) mod worker;

use std::io;

use alloy::primitives::{Address, U256};
use serde_json::{Value, json};
use sesame_chain::Mined;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{args::Command, context::Context};

/// Runs a command; gives the exit code.
pub(crate) async fn run(command: Command, context: &Context) -> anyhow::Result<u8> {
    match command {
        Command::Serve(args) => serve::run(*args, context).await?,
        Command::Worker(args) => return worker::run(*args, context).await,
        Command::Account(command) => account::run(&command, context).await?,
        Command::App(command) => app::run(command, context).await?,
        Command::Data(command) => data::run(command, context).await?,
        Command::Enclave(command) => enclave::run(command, context).await?,
        Command::Secret(command) => secret::run(command, context).await?,
        Command::Receipts(command) => receipts::run(command, context).await?,
        Command::Task(command) => task::run(command, context).await?,
        Command::Explain(args) => return explain::run(&args, context).await,
        Command::Status => status::run(context).await?,
        Command::Index(command) => return index::run(command, context).await,
        Command::Vault(command) => return vault::run(command, context).await,
        Command::Config(command) => config::run(&command, context)?,
        Command::Openapi => context.output.raw(&format!("{:#}\n", sesame_sms::openapi())),
        Command::Completions(args) => completions::run(&args, context),
        Command::Manual(args) => manual::run(&args, context)?,
    }
    Ok(0)
}

/// The transaction and its block, as every command that sends one shows them.
fn mined<T>(mined: &Mined<T>) -> [(&'static str, Value); 2] {
    [("transaction", json!(mined.transaction)), ("block", json!(mined.block.number))]
}

/// A currency as the options take it.
fn currency(address: Address) -> Value {
    if address.is_zero() { json!("native") } else { json!(address) }
}

/// An amount in the currency's smallest unit, as text: JSON's numbers lose digits.
fn amount(amount: U256) -> Value {
    json!(amount.to_string())
}

/// Ends when the operator stops the program, by Ctrl-C or SIGTERM. They are listened for from the call on, before the future is
/// waited for: whoever is told that the program is ready may stop it at once.
fn stopped() -> impl Future<Output = ()> {
    let [interrupted, terminated] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    async move {
        tokio::select! {
            () = heard(interrupted) => {}
            () = heard(terminated) => {}
        }
        tracing::info!("stopping");
    }
}

async fn heard(signal: io::Result<Signal>) {
    match signal {
        Ok(mut signal) => drop(signal.recv().await),
        Err(error) => {
            tracing::warn!(%error, "a signal cannot be listened for");
            std::future::pending().await
        }
    }
}
