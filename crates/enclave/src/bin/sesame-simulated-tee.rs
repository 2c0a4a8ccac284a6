//! The quoting process of the simulated TEE. For development: its root is a file.

use std::{error::Error, process::ExitCode};

use sesame_enclave::{
    args::Args,
    simulated::{self, Launch, public_folder},
};

const USAGE: &str = "\
sesame-simulated-tee init --root-key FILE
    makes the root if there is none, and the folder FILE.pub with what an SMS is told to trust
sesame-simulated-tee --tee sgx|tdx|snp --root-key FILE --launcher PATH --app PATH --sms-identity ADDRESS -- [launcher's arguments]
    measures launcher, app and SMS identity, runs the launcher, and quotes for it alone";

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            eprintln!("sesame-simulated-tee: {text}\n\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<u8, Box<dyn Error>> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|first| first == "init") {
        let mut init = Args::parse(&["root-key"], args.drain(1..))?;
        let path: std::path::PathBuf = init.take("root-key")?;
        simulated::load_or_create(&path)?;
        eprintln!("trust the root in {}", public_folder(&path).display());
        return Ok(0);
    }
    let own = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
    let host_args = args.split_off(own).into_iter().skip(1).collect();
    let mut args = Args::parse(&["tee", "root-key", "launcher", "app", "sms-identity"], args)?;
    Ok(simulated::run(&Launch {
        tee: args.take("tee")?,
        root_key: args.take("root-key")?,
        launcher: args.take("launcher")?,
        app: args.take("app")?,
        sms_identity: args.take("sms-identity")?,
        host_args,
    })?)
}
