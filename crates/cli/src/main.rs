#![doc = include_str!("../README.md")]

mod account;
mod args;
mod commands;
mod context;
mod database;
mod failure;
mod network;
mod output;
mod parse;

use std::{process::ExitCode, time::SystemTime};

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::{
    args::{Cli, LogFormat},
    context::Context,
    failure::USAGE,
    output::Output,
};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { USAGE } else { 0 };
            // A closed pipe is no reason to fail.
            let _ = error.print();
            return code.into();
        }
    };
    start_logging(&cli);
    if let Err(error) = sesame_enclave::harden::harden() {
        return failure::report(&error.into()).into();
    }
    let output = Output::new(cli.global.json);
    match run(cli, output) {
        Ok(code) => code.into(),
        Err(error) => failure::report(&error).into(),
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where the program looks at the clock")]
fn run(cli: Cli, output: Output) -> anyhow::Result<u8> {
    let context = Context::new(cli.global, output, SystemTime::now());
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(commands::run(cli.command, &context))
}

/// Logs go to stderr, so that stdout holds answers alone; `RUST_LOG` wins over `--log-level`.
fn start_logging(cli: &Cli) {
    let level = cli.global.log_level.unwrap_or_else(|| cli.command.log_level());
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level.as_str()));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match cli.global.log_format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
}
