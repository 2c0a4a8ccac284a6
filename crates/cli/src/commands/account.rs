//! `sesame account`.

use clap::Subcommand;
use serde_json::json;

use crate::{account, context::Context, failure::Misuse, output::Answer};

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
}

pub(crate) fn run(command: &AccountCommand, context: &Context) -> anyhow::Result<()> {
    let global = &context.global;
    let account = match command {
        AccountCommand::New => {
            let path = global.keystore.as_deref().ok_or_else(|| {
                Misuse::new("no place for the keystore is given", "give --keystore FILE")
            })?;
            account::create(path, global.password_file.as_deref())?
        }
        AccountCommand::Address => context.account()?,
    };
    context.output.show(&Answer::Fields(vec![("address", json!(account.address()))]));
    Ok(())
}
