//! `sesame config`.

use std::{ffi::OsString, path::PathBuf};

use anyhow::Context as _;
use clap::{Arg, ArgMatches, Command, CommandFactory, Subcommand, ValueEnum, parser::ValueSource};
use serde_json::{Value, json};

use super::{serve, worker};
use crate::{
    args::{self, Cli},
    config::{self, Entry, File, complete},
    context::Context,
    failure::Misuse,
    output::Answer,
};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a configuration file as a whole: every key of it, and what serve or worker would refuse to start with. Starts
    /// neither.
    #[command(after_help = "Example:\n  sesame config check --config /etc/sesame/sesame.toml")]
    Check,
    /// Show what a service would use, and where each value comes from. What may hold a key is not shown.
    #[command(after_help = "Example:\n  sesame config show serve --config /etc/sesame/sesame.toml")]
    Show {
        /// Whose options.
        service: Service,
    },
    /// Print every option with its meaning, unit and default, as a file to start from.
    #[command(after_help = "Example:\n  sesame config reference > sesame.toml")]
    Reference,
}

/// A command that a file is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Service {
    Serve,
    Worker,
}

impl Service {
    const ALL: [Self; 2] = [Self::Serve, Self::Worker];

    const fn name(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Worker => "worker",
        }
    }
}

pub(crate) fn run(command: &ConfigCommand, context: &Context) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Check => check(context)?,
        ConfigCommand::Show { service } => {
            let rows = rows(*service, context.global.config.as_ref())?;
            let columns = vec!["option", "value", "from"];
            context.output.show(&Answer::Rows { columns, rows });
        }
        ConfigCommand::Reference => context.output.raw(&reference()),
    }
    Ok(())
}

/// The file's keys were checked before this command began. Now each table as its command would read it.
fn check(context: &Context) -> anyhow::Result<()> {
    let path = context.global.config.as_ref().ok_or_else(|| {
        Misuse::new("no file is given", "give --config FILE or set SESAME_CONFIG")
    })?;
    let (file, _) = File::read(path, &built());
    let tables: Vec<_> = file.tables().collect();
    for table in &tables {
        let cli = args::parse(line(table, Some(path)))?;
        let context = context.with(cli.global);
        if let args::Command::Serve(args) = cli.command {
            serve::config(*args, &context).context("serve would not start")?;
        } else if let args::Command::Worker(args) = cli.command {
            worker::config(*args, &context).context("worker would not start")?;
        }
    }
    context.output.show(&Answer::Fields(vec![
        ("file", json!(path.display().to_string())),
        ("keys", json!(file.entries.len())),
        ("tables", json!(tables)),
    ]));
    Ok(())
}

fn line(service: &str, path: Option<&PathBuf>) -> Vec<OsString> {
    let mut line = vec![OsString::from("sesame"), service.into()];
    if let Some(path) = path {
        line.extend([OsString::from("--config"), path.into()]);
    }
    line
}

fn built() -> Command {
    let mut command = Cli::command();
    command.build();
    command
}

fn rows(service: Service, path: Option<&PathBuf>) -> anyhow::Result<Vec<Vec<Value>>> {
    let completed = complete(Cli::command(), line(service.name(), path))?;
    let command = built();
    let said = command.clone().ignore_errors(true).try_get_matches_from(&completed.arguments)?;
    let (Some((_, said)), Some(command)) =
        (said.subcommand(), command.find_subcommand(service.name()))
    else {
        anyhow::bail!("there is no such command");
    };
    let row = |option| row(option, said, &completed.entries);
    Ok(config::options(command).filter_map(row).collect())
}

fn row(option: &Arg, said: &ArgMatches, entries: &[Entry]) -> Option<Vec<Value>> {
    let (key, id) = (option.get_long()?, option.get_id().as_str());
    let values = said.get_raw(id).into_iter().flatten();
    let values: Vec<_> = values.map(|value| value.to_string_lossy().into_owned()).collect();
    let value = match values.as_slice() {
        [] => Value::Null,
        _ if config::may_hold_a_key(option) => json!("(not shown)"),
        [value] => json!(value),
        values => json!(values),
    };
    let entry = entries.iter().find(|entry| entry.key == key);
    let from = match (entry, said.value_source(id)) {
        (Some(entry), _) => json!(entry.place),
        (None, Some(ValueSource::EnvVariable)) => {
            json!(option.get_env().map(|name| name.to_string_lossy()))
        }
        (None, Some(_)) => json!("default"),
        (None, None) => Value::Null,
    };
    Some(vec![json!(key), value, from])
}

/// Every option, commented out where it has a default or is not needed.
fn reference() -> String {
    let command = built();
    let mut text = String::from(
        "# Sesame's configuration: sesame serve --config FILE, or SESAME_CONFIG.\n\
         # A key is an option of the command line; the command line wins, then the environment, then this file.\n\
         # Files are found from the folder that the service starts in. Keys and passwords are never here, only the files that\n\
         # hold them.\n\n# --- for every command\n",
    );
    let shared = config::options(&command).filter(|option| option.is_global_set());
    shared.for_each(|option| describe(option, &mut text));
    for service in Service::ALL {
        let Some(command) = command.find_subcommand(service.name()) else { continue };
        text.push_str(&format!("\n[{}]\n", service.name()));
        let own = config::options(command).filter(|option| !option.is_global_set());
        own.for_each(|option| describe(option, &mut text));
    }
    text
}

fn describe(option: &Arg, text: &mut String) {
    let Some(key) = option.get_long() else { return };
    text.push('\n');
    let help = option.get_long_help().or_else(|| option.get_help());
    for line in help.map(ToString::to_string).unwrap_or_default().lines() {
        text.push_str(&format!("# {line}\n"));
    }
    if let Some(name) = option.get_env() {
        text.push_str(&format!("# Environment: {}\n", name.display()));
    }
    let defaults: Vec<_> =
        option.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let shown = match defaults.as_slice() {
        _ if config::is_switch(option) => "false".to_owned(),
        [] => {
            let names = option.get_value_names().unwrap_or_default();
            format!("\"{}\"", names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" "))
        }
        [value] if value.parse::<i64>().is_ok() => value.to_string(),
        values => format!("\"{}\"", values.join(",")),
    };
    text.push_str(&format!("# {key} = {shown}\n"));
}
