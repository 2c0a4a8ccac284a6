//! `sesame account`.

use alloy::primitives::Address;
use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;

use super::{amount, currency, mined};
use crate::{account, context::Context, failure::Misuse, output::Answer, parse};

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Make a new account in an encrypted keystore.
    ///
    /// The file given by --keystore must not exist yet. Whoever has it and its password has the account; there is no other copy.
    #[command(after_help = "Example:\n  sesame account new --keystore alice.json")]
    New,
    /// Print the address of the account in use.
    #[command(after_help = "Example:\n  sesame account address --keystore alice.json")]
    Address,
    /// Show what an account has earned, or was given back, and not yet withdrawn.
    #[command(after_help = "\
Examples:
  sesame account credit
  sesame account credit --of 0x<account> --currency 0x<token>

Owners earn the prices that they set by `enclave allow --price`, workers the reward of `task buy --reward`, once a task
is completed; a requester gets back what a cancelled or expired task still held.")]
    Credit(CreditArgs),
    /// Take out all that the account in use can.
    #[command(after_help = "\
Examples:
  sesame account withdraw
  sesame account withdraw --currency 0x<token>")]
    Withdraw(WithdrawArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreditArgs {
    /// Whose; that of the account in use by default.
    #[arg(long, value_name = "ADDRESS")]
    of: Option<Address>,
    /// In which currency: the address of an ERC-20, or `native`.
    #[arg(long, value_name = "CURRENCY", value_parser = parse::currency, default_value = "native")]
    currency: Address,
}

#[derive(Debug, Args)]
pub(crate) struct WithdrawArgs {
    /// In which currency: the address of an ERC-20, or `native`.
    #[arg(long, value_name = "CURRENCY", value_parser = parse::currency, default_value = "native")]
    currency: Address,
}

pub(crate) async fn run(command: &AccountCommand, context: &Context) -> anyhow::Result<()> {
    let account = match command {
        AccountCommand::New => {
            let path = context.global.keystore.as_deref().ok_or_else(|| {
                Misuse::new("no place for the keystore is given", "give --keystore FILE")
            })?;
            account::create(path, context.global.password_file.as_deref())?
        }
        AccountCommand::Address => context.account()?,
        AccountCommand::Credit(args) => return credit(args, context).await,
        AccountCommand::Withdraw(args) => return withdraw(args, context).await,
    };
    context.output.show(&Answer::Fields(vec![("address", json!(account.address()))]));
    Ok(())
}

async fn credit(args: &CreditArgs, context: &Context) -> anyhow::Result<()> {
    let account = args.of.map_or_else(|| Ok(context.account()?.address()), anyhow::Ok)?;
    let credit = context.reader().await?.credit_of(account, args.currency).await?;
    context.output.show(&Answer::Fields(vec![
        ("account", json!(account)),
        ("currency", currency(args.currency)),
        ("credit", amount(credit)),
    ]));
    Ok(())
}

async fn withdraw(args: &WithdrawArgs, context: &Context) -> anyhow::Result<()> {
    let contracts = context.contracts().await?;
    let done = contracts.withdraw(args.currency).await.context("cannot withdraw")?;
    let mut fields = vec![
        ("account", json!(contracts.account())),
        ("currency", currency(args.currency)),
        ("withdrawn", amount(done.result)),
    ];
    fields.extend(mined(&done));
    context.output.show(&Answer::Fields(fields));
    Ok(())
}
