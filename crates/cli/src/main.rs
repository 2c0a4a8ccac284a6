#![doc = include_str!("../README.md")]

mod account;
mod args;
mod commands;
mod config;
mod context;
mod database;
mod failure;
mod iexec;
mod network;
mod output;
mod parse;
mod process;
mod telemetry;

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use prometheus_client::registry::Registry;

use crate::{
    args::{Cli, ParseError},
    context::Context,
    failure::USAGE,
    output::Output,
    telemetry::{Telemetry, last_words},
};

/// Decisions and answers are made of many small allocations, on several threads at once.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long calls into databases, disks and modules are waited for at the end: nothing can end one that hangs.
const LAST_CALLS: Duration = Duration::from_secs(10);

#[expect(clippy::disallowed_methods, reason = "this is where the program looks at the clock")]
fn main() -> ExitCode {
    let cli = match args::parse(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(error @ ParseError::Configuration(_)) => return failure::report(&error.into()).into(),
        Err(ParseError::Line(error)) => {
            let code = if error.use_stderr() { USAGE } else { 0 };
            // A closed pipe is no reason to fail.
            let _ = error.print();
            return code.into();
        }
    };
    // Before there is any other thread.
    if let Err(error) = sesame_enclave::harden::harden(sesame_enclave::harden::Kernel::Linux) {
        return failure::report(&error.into()).into();
    }
    let start = SystemTime::now();
    let telemetry = match Telemetry::start(&cli, start) {
        Ok(telemetry) => telemetry,
        Err(error) => return failure::report(&error).into(),
    };
    let ended = run(cli, start, telemetry.program.clone());
    let code = ended.as_ref().map_or_else(failure::code, |code| *code);
    last_words(move || {
        drop(telemetry);
        if let Err(error) = ended {
            failure::report(&error);
        }
    });
    code.into()
}

fn run(cli: Cli, start: SystemTime, program: Arc<Registry>) -> anyhow::Result<u8> {
    let output = Output::new(cli.global.json);
    let context = Context::new(cli.global, output, start, program);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(commands::run(cli.command, &context));
    let since = Instant::now();
    runtime.shutdown_timeout(LAST_CALLS);
    if since.elapsed() >= LAST_CALLS {
        tracing::warn!("a call did not end within {} s: left", LAST_CALLS.as_secs());
    }
    ended
}
