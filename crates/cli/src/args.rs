//! What the user may say: the commands and the options that all of them share.

use std::{ffi::OsString, path::PathBuf};

use alloy::primitives::Address;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::{
    commands::{
        account::AccountCommand, app::AppCommand, completions::CompletionsArgs,
        config::ConfigCommand, data::DataCommand, enclave::EnclaveCommand, explain::ExplainArgs,
        index::IndexCommand, manual::ManualArgs, receipts::ReceiptsCommand, secret::SecretCommand,
        serve::ServeArgs, task::TaskCommand, vault::VaultCommand, worker::WorkerArgs,
    },
    config::{Mistakes, complete},
};

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 failed, 2 refused by a contract, denied by the SMS or found damaged, 3 a worker's
tasks were interrupted, 64 misused. A service that does not start or stops: 65 its data is damaged,
another's or another version's, 66 keys are missing or wrong, 69 something does not answer that may
come back, 70 a part of it died, 76 the chain is another or was rewritten. A restart may mend 69 and
70 alone.

Examples:
  export SESAME_RPC_URL=http://127.0.0.1:8545 SESAME_SMS_URL=http://127.0.0.1:8080
  export SESAME_DEPLOYMENT=deployment.json
  sesame status
  sesame app register --file app.py --keystore alice.json --password-file alice.pass
  sesame explain 0x…";

/// Secrets for trusted execution environments, released as the blockchain says.
#[derive(Debug, Parser)]
#[command(name = "sesame", version, after_help = AFTER_HELP, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What was asked for makes no sense.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ParseError {
    /// The command line; or a call for help, which is not an error.
    #[error("{}", .0.to_string().trim_start_matches("error: ").trim_end())]
    Line(#[from] clap::Error),
    /// The configuration file or the environment.
    #[error("the configuration cannot be used:\n  {0}")]
    Configuration(#[from] Mistakes),
}

/// Reads a command line, and the configuration file that it names.
pub(crate) fn parse(arguments: Vec<OsString>) -> Result<Cli, ParseError> {
    let completed = complete(Cli::command(), arguments)?;
    Ok(Cli::try_parse_from(completed.arguments)?)
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct GlobalArgs {
    /// A TOML file with options, by their long names: those of every command on top, those of `serve` (which `vault` and `index`
    /// read too) and `worker` in tables of these names. `sesame config reference` prints all. The command line and the
    /// environment win.
    #[arg(long, global = true, env = "SESAME_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Address of an Ethereum node. `serve` and `index` take several, one option for each or separated by commas.
    #[arg(
        long,
        global = true,
        env = "SESAME_RPC_URL",
        value_name = "URL",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub(crate) rpc_url: Vec<String>,
    /// Address of the SMS.
    #[arg(long, global = true, env = "SESAME_SMS_URL", value_name = "URL", hide_env_values = true)]
    pub(crate) sms_url: Option<String>,
    /// The deployment's manifest.
    #[arg(long, global = true, env = "SESAME_DEPLOYMENT", value_name = "FILE")]
    pub(crate) deployment: Option<PathBuf>,
    /// The SMS identity that you trust; secrets are sealed only to keys that it certified.
    #[arg(long, global = true, env = "SESAME_SMS_IDENTITY", value_name = "ADDRESS")]
    pub(crate) sms_identity: Option<Address>,
    /// Your account: an encrypted keystore. Without it, SESAME_PRIVATE_KEY is used (for development only).
    #[arg(long, global = true, env = "SESAME_KEYSTORE", value_name = "FILE")]
    pub(crate) keystore: Option<PathBuf>,
    /// A file with the keystore's password on its first line; asked for on a terminal otherwise.
    #[arg(long, global = true, env = "SESAME_PASSWORD_FILE", value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// How much to log to stderr; RUST_LOG wins. `info` for serve and worker, `warn` for the rest by default.
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(crate) log_level: Option<LogLevel>,
    /// How to log to stderr: lines for people, or a JSON object on each line for programs.
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

/// How to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// How much to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Follow the chain and release secrets.
    Serve(Box<ServeArgs>),
    /// Run the tasks that name this account as their worker.
    Worker(Box<WorkerArgs>),
    /// Make an account, see which one is in use, and take out what it earned.
    #[command(subcommand)]
    Account(AccountCommand),
    /// Register, measure and sell apps.
    #[command(subcommand)]
    App(AppCommand),
    /// Protect, register and sell data.
    #[command(subcommand)]
    Data(DataCommand),
    /// Say which enclaves may use an asset.
    #[command(subcommand)]
    Enclave(EnclaveCommand),
    /// Push secrets to the SMS.
    #[command(subcommand)]
    Secret(SecretCommand),
    /// See what was decided about your assets and tasks, and verify that nothing of it was altered.
    #[command(subcommand)]
    Receipts(ReceiptsCommand),
    /// Buy tasks and follow them.
    #[command(subcommand)]
    Task(TaskCommand),
    /// Ask whether an enclave would get a task's secrets, and why not.
    Explain(ExplainArgs),
    /// Ask the SMS what it follows and whether it is ready.
    #[command(after_help = "Example:\n  sesame status --sms-url http://127.0.0.1:8080")]
    Status,
    /// Check the index of a stopped service.
    #[command(subcommand)]
    Index(IndexCommand),
    /// Check a service's vault, back it up, restore it, or give it new keys; all but `restore` while it runs, too.
    #[command(subcommand)]
    Vault(VaultCommand),
    /// Check, show or begin a configuration file.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print what an SMS of this version serves, as an OpenAPI 3.1 document: to generate clients from.
    #[command(after_help = "Example:\n  sesame openapi > openapi.json")]
    Openapi,
    /// Print a completion script for a shell.
    Completions(CompletionsArgs),
    /// Write the manual, a page for each command.
    Manual(ManualArgs),
}

impl Command {
    /// How much this command logs unless told otherwise.
    pub(crate) const fn log_level(&self) -> LogLevel {
        match self {
            Self::Serve(_) | Self::Worker(_) => LogLevel::Info,
            Self::Account(_)
            | Self::App(_)
            | Self::Data(_)
            | Self::Enclave(_)
            | Self::Secret(_)
            | Self::Receipts(_)
            | Self::Task(_)
            | Self::Explain(_)
            | Self::Status
            | Self::Index(_)
            | Self::Vault(_)
            | Self::Config(_)
            | Self::Openapi
            | Self::Completions(_)
            | Self::Manual(_) => LogLevel::Warn,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_teaches_with_an_example() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            if command.has_subcommands() {
                for sub in command.get_subcommands() {
                    check(sub, &path);
                }
            } else {
                let example = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(example.contains("Example"), "{path} has no example");
                assert!(command.get_about().is_some(), "{path} has no description");
            }
        }
        check(&Cli::command(), "");
    }

    #[test]
    fn a_key_is_never_an_argument() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments() {
                let name = argument.get_id().as_str();
                assert!(!["private_key", "password", "value"].contains(&name), "{name}");
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
