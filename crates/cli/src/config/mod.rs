//! The configuration file: options of the command line, written down.
//!
//! Each long option is a key of the same name, so what clap knows of an option (its type, help and default) is all that there
//! is to know of a key. What the command line or the environment says wins; a list is replaced, not added to.

mod file;

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use clap::{Arg, ArgAction, ArgMatches, Command, error::ErrorKind, parser::ValueSource};

pub(crate) use file::{Entry, File};

/// The tables of the file, and the commands that read each. What stands above them is for every command.
const TABLES: [(&str, &[&str]); 2] =
    [("serve", &["serve", "vault", "index"]), ("worker", &["worker"])];

/// Everything that is wrong with a configuration, a line each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n  "))]
pub(crate) struct Mistakes(Vec<String>);

/// A command line, and what of it a file said.
#[derive(Debug)]
pub(crate) struct Completed {
    /// What to parse.
    pub(crate) arguments: Vec<OsString>,
    /// The entries of the file that count.
    pub(crate) entries: Vec<Entry>,
}

/// Adds to a command line what its `--config` says and neither it nor the environment does.
///
/// # Errors
/// All mistakes of the file and of the environment at once.
pub(crate) fn complete(
    mut command: Command,
    mut arguments: Vec<OsString>,
) -> Result<Completed, Mistakes> {
    command.build();
    // A line that asks for help, or makes no sense, is for clap alone to answer.
    let said = command.clone().ignore_errors(true).try_get_matches_from(&arguments);
    let path = said.as_ref().ok().and_then(|said| said.get_one::<std::path::PathBuf>("config"));
    let (Ok(said), Some(path)) = (&said, path) else {
        return Ok(Completed { arguments, entries: Vec::new() });
    };
    let (names, leaf, matches) = innermost(&command, said);
    let (file, mut mistakes) = File::read(path, &command);
    mistakes.extend(environment_mistakes(&command, &names, leaf));
    if !mistakes.is_empty() {
        return Err(Mistakes(mistakes));
    }
    let first = names.first().copied().unwrap_or_default();
    let entries = file.entries.into_iter().filter(|entry| {
        let reads = entry.table.is_none_or(|table| readers(table).contains(&first));
        reads && option(leaf, &entry.key).is_some_and(|option| !is_said(matches, option))
    });
    let entries: Vec<_> = entries.collect();
    let end = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
    let added = entries.iter().flat_map(|entry| entry.arguments());
    arguments.splice(end..end, added);
    Ok(Completed { arguments, entries })
}

fn readers(table: &str) -> &'static [&'static str] {
    TABLES.iter().find(|(name, _)| *name == table).map_or(&[], |(_, readers)| *readers)
}

/// The command that is meant, the names that lead to it, and what was said to it.
fn innermost<'a>(
    command: &'a Command,
    said: &'a ArgMatches,
) -> (Vec<&'a str>, &'a Command, &'a ArgMatches) {
    let (mut names, mut leaf, mut matches) = (Vec::new(), command, said);
    while let Some((name, inner)) = matches.subcommand() {
        let Some(sub) = leaf.find_subcommand(name) else { break };
        names.push(name);
        (leaf, matches) = (sub, inner);
    }
    (names, leaf, matches)
}

/// The option of this long name, if a file may hold it.
fn option<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    options(command).find(|option| option.get_long() == Some(key))
}

/// The options of a command that a file may hold.
pub(crate) fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|option| {
        option.get_long().is_some_and(|long| !["config", "help", "version"].contains(&long))
    })
}

fn is_said(matches: &ArgMatches, option: &Arg) -> bool {
    let source = matches.value_source(option.get_id().as_str());
    matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

/// Whether an option takes no value.
pub(crate) fn is_switch(option: &Arg) -> bool {
    matches!(option.get_action(), ArgAction::SetTrue)
}

/// Whether somebody may have put a key into its value, as into the address of a node: it is never shown.
pub(crate) fn may_hold_a_key(option: &Arg) -> bool {
    let names = option.get_value_names().unwrap_or_default();
    option.is_hide_env_values_set() || names.iter().any(|name| name.as_str() == "URL")
}

/// What is wrong with the environment variables of a command.
fn environment_mistakes(command: &Command, names: &[&str], leaf: &Command) -> Vec<String> {
    let mistake = |option: &Arg| {
        let name = option.get_env()?;
        let value = std::env::var_os(name)?;
        let wrong = wrong_value(command, names, option, &value)?;
        Some(format!("{}: {wrong}", name.display()))
    };
    options(leaf).filter_map(mistake).collect()
}

/// What clap says against a value, were it given alone.
fn wrong_value(command: &Command, names: &[&str], option: &Arg, value: &OsStr) -> Option<String> {
    let mut line = vec![OsString::from(command.get_name())];
    line.extend(names.iter().map(OsString::from));
    line.push(given(option.get_long()?, value));
    let error = deaf(command.clone()).try_get_matches_from(line).err()?;
    let about_the_value = matches!(
        error.kind(),
        ErrorKind::InvalidValue
            | ErrorKind::ValueValidation
            | ErrorKind::WrongNumberOfValues
            | ErrorKind::TooManyValues
            | ErrorKind::TooFewValues
    );
    if !about_the_value {
        return None;
    }
    if may_hold_a_key(option) {
        return Some("this is no value for it, and is not shown here".to_owned());
    }
    let text = error.to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    Some(lines.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned())
}

/// A command that does not listen to the environment.
fn deaf(command: Command) -> Command {
    command.mut_args(|option| option.env(None::<&'static str>)).mut_subcommands(deaf)
}

/// `--key=value`, as clap takes it.
fn given(key: &str, value: &OsStr) -> OsString {
    let mut argument = OsString::from(format!("--{key}="));
    argument.push(value);
    argument
}

/// Where a configuration stands: the file's name and a line in it.
fn place(path: &Path, line: usize) -> String {
    format!("{}:{line}", path.display())
}

#[cfg(test)]
mod tests;
