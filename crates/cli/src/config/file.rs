//! Reading the file: TOML to options, with all mistakes and where they stand.

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, Command};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{TABLES, given, is_switch, option, options, place, wrong_value};

/// How alike two names are when one may be meant for the other.
const ALIKE: f64 = 0.8;

/// One key of a file that has a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The table that it stands in; none above the tables.
    pub(crate) table: Option<&'static str>,
    /// The option's long name.
    pub(crate) key: String,
    /// File and line.
    pub(crate) place: String,
    values: Values,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Values {
    Switch(bool),
    Given(Vec<String>),
}

impl Entry {
    /// The same as arguments.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        match &self.values {
            Values::Switch(true) => vec![format!("--{}", self.key).into()],
            Values::Switch(false) => Vec::new(),
            Values::Given(values) => {
                values.iter().map(|value| given(&self.key, OsStr::new(value))).collect()
            }
        }
    }
}

/// A whole file.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) entries: Vec<Entry>,
}

/// A file that is being read.
struct Reading<'a> {
    command: &'a Command,
    path: &'a Path,
    text: String,
    entries: Vec<Entry>,
    mistakes: Vec<String>,
}

impl File {
    /// What the file says, and everything that is wrong with it.
    pub(crate) fn read(path: &PathBuf, command: &Command) -> (Self, Vec<String>) {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                return (
                    Self::default(),
                    vec![format!("{} cannot be read: {error}", path.display())],
                );
            }
        };
        let mut reading = Reading {
            command,
            path,
            text: text.clone(),
            entries: Vec::new(),
            mistakes: Vec::new(),
        };
        let (document, errors) = DeTable::parse_recoverable(&text);
        for error in errors {
            let at = error.span().map_or(0, |span| span.start);
            reading.mistake(at, error.message());
        }
        if reading.mistakes.is_empty() {
            reading.document(document.get_ref());
        }
        (Self { entries: reading.entries }, reading.mistakes)
    }

    /// The tables that have a key.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &'static str> {
        TABLES
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| self.entries.iter().any(|entry| entry.table == Some(*name)))
    }
}

impl Reading<'_> {
    fn mistake(&mut self, at: usize, what: &str) {
        let line = self.line(at);
        self.mistakes.push(format!("{}: {what}", place(self.path, line)));
    }

    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().iter().take(at);
        before.filter(|byte| **byte == b'\n').count() + 1
    }

    fn document(&mut self, document: &DeTable<'_>) {
        for (key, value) in document {
            let table = TABLES.iter().map(|(name, _)| *name).find(|name| key.get_ref() == name);
            match (table, value.get_ref()) {
                (Some(table), DeValue::Table(keys)) => {
                    for (key, value) in keys {
                        self.entry(Some(table), key.get_ref(), key.span().start, value.get_ref());
                    }
                }
                (None, DeValue::Table(_)) => {
                    let known = TABLES.map(|(name, _)| format!("[{name}]")).join(" and ");
                    let what = format!("there is no table [{}], only {known}", key.get_ref());
                    self.mistake(key.span().start, &what);
                }
                (_, value) => self.entry(None, key.get_ref(), key.span().start, value),
            }
        }
    }

    fn entry(&mut self, table: Option<&'static str>, key: &str, at: usize, value: &DeValue<'_>) {
        match self.values(table, key, value) {
            Ok(values) => {
                let place = place(self.path, self.line(at));
                self.entries.push(Entry { table, key: key.to_owned(), place, values });
            }
            Err(what) => self.mistake(at, &what),
        }
    }

    fn values(
        &self,
        table: Option<&'static str>,
        key: &str,
        value: &DeValue<'_>,
    ) -> Result<Values, String> {
        let holder = table.and_then(|table| self.command.find_subcommand(table));
        let holder = holder.unwrap_or(self.command);
        let found = option(holder, key).filter(|option| option.is_global_set() == table.is_none());
        let option = found.ok_or_else(|| self.unknown(holder, table, key))?;
        let values = values(option, value).map_err(|what| format!("{key}: {what}"))?;
        let Values::Given(texts) = &values else { return Ok(values) };
        // The options of every command are tried with one that has no others that it could miss.
        let names = [table.unwrap_or("status")];
        let wrong = |text: &String| wrong_value(self.command, &names, option, OsStr::new(text));
        match texts.iter().find_map(wrong) {
            Some(what) => Err(format!("{key}: {what}")),
            None => Ok(values),
        }
    }

    fn unknown(&self, holder: &Command, table: Option<&'static str>, key: &str) -> String {
        let what = format!("there is no option {key} here");
        if table.is_some() && option(self.command, key).is_some() {
            return format!("{what}: it belongs above the tables");
        }
        let owner = TABLES.iter().find(|(name, _)| {
            Some(*name) != table
                && self.command.find_subcommand(name).is_some_and(|command| {
                    option(command, key).is_some_and(|option| !option.is_global_set())
                })
        });
        if let Some((owner, _)) = owner {
            return format!("{what}: it belongs in the table [{owner}]");
        }
        let alike = options(holder)
            .filter(|option| option.is_global_set() == table.is_none())
            .filter_map(Arg::get_long)
            .map(|long| (strsim::jaro_winkler(long, key), long))
            .filter(|(alike, _)| *alike > ALIKE)
            .max_by(|(one, _), (other, _)| one.total_cmp(other));
        match alike {
            Some((_, long)) => format!("{what}; is {long} meant?"),
            None => what,
        }
    }
}

fn values(option: &Arg, value: &DeValue<'_>) -> Result<Values, String> {
    if is_switch(option) {
        let on = value.as_bool().ok_or_else(|| wanted("true or false", value))?;
        return Ok(Values::Switch(on));
    }
    let Some(list) = value.as_array() else {
        let text = text(value).ok_or_else(|| wanted("a string or a number", value))?;
        return Ok(Values::Given(vec![text]));
    };
    if !matches!(option.get_action(), ArgAction::Append) {
        return Err(wanted("one value, not a list", value));
    }
    let texts = list.iter().map(Spanned::get_ref);
    let texts = texts
        .map(|value| text(value).ok_or_else(|| wanted("strings or numbers in the list", value)));
    texts.collect::<Result<_, _>>().map(Values::Given)
}

fn wanted(what: &str, value: &DeValue<'_>) -> String {
    format!("expected {what}, this is of type {}", value.type_str())
}

/// A string or a number as an argument has it.
fn text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            let number = i64::from_str_radix(number.as_str(), number.radix());
            number.ok().map(|number| number.to_string())
        }
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
