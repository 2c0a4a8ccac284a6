//! The one place that prints answers: tables for people, JSON for programs.

use std::io::{self, Write};

use comfy_table::{Table, presets};
use serde_json::{Map, Value};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// One thing with named fields, in reading order.
    Fields(Vec<(&'static str, Value)>),
    /// Many things of the same columns.
    Rows {
        /// The columns' names.
        columns: Vec<&'static str>,
        /// A cell per column.
        rows: Vec<Vec<Value>>,
    },
    /// A document of the SMS: programs get it as it came, people a view of it.
    Document {
        /// As it came.
        json: Value,
        /// One under the other.
        view: Vec<Self>,
    },
}

impl Answer {
    fn to_json(&self) -> Value {
        match self {
            Self::Fields(fields) => object(fields.iter().cloned()),
            Self::Rows { columns, rows } => rows
                .iter()
                .map(|row| object(columns.iter().copied().zip(row.iter().cloned())))
                .collect(),
            Self::Document { json, .. } => json.clone(),
        }
    }

    fn to_text(&self) -> String {
        match self {
            Self::Fields(fields) => {
                let mut table = new_table();
                for (name, value) in fields {
                    table.add_row([name.replace('_', " "), named_cell(name, value)]);
                }
                trimmed(&table)
            }
            Self::Rows { rows, .. } if rows.is_empty() => "none".to_owned(),
            Self::Rows { columns, rows } => {
                let mut table = new_table();
                table.set_header(columns.iter().map(|column| column.replace('_', " ")));
                for row in rows {
                    let row = columns.iter().zip(row);
                    table.add_row(row.map(|(column, value)| named_cell(column, value)));
                }
                trimmed(&table)
            }
            Self::Document { view, .. } => {
                view.iter().map(Self::to_text).collect::<Vec<_>>().join("\n\n")
            }
        }
    }
}

fn object(fields: impl Iterator<Item = (&'static str, Value)>) -> Value {
    Value::Object(fields.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

/// Seconds since 1970 are a date for people: by their name, since JSON has no type for them.
fn named_cell(name: &str, value: &Value) -> String {
    let moment = (name.ends_with("_at") || name == "deadline").then(|| date(value)).flatten();
    moment.unwrap_or_else(|| cell(value))
}

/// By RFC 3339; none after the year 9999.
fn date(seconds: &Value) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(seconds.as_i64()?).ok()?.format(&Rfc3339).ok()
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::String(text) => plain(text),
        Value::Array(values) if values.is_empty() => "-".to_owned(),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join("\n"),
        Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// A text without control characters: what strangers wrote on the chain must not steer the terminal.
pub(crate) fn plain(text: &str) -> String {
    let safe = |c: char| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().map(safe).collect()
}

fn new_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

fn trimmed(table: &Table) -> String {
    let lines =
        table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

/// Prints answers in the form that the user asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints an answer to stdout.
    pub(crate) fn show(self, answer: &Answer) {
        if self.json {
            self.raw(&format!("{:#}\n", answer.to_json()));
        } else {
            self.raw(&format!("{}\n", answer.to_text()));
        }
    }

    /// Prints a text as it is to stdout. A reader that went away, such as `head`, is no reason to fail.
    pub(crate) fn raw(self, text: &str) {
        let mut stdout = io::stdout().lock();
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    }

    /// Tells a person what is going on, on stderr; programs are spared.
    pub(crate) fn note(self, text: &str) {
        if !self.json {
            eprintln!("{text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_an_object_or_a_table() {
        let answer = Answer::Fields(vec![
            ("asset", json!("0x01")),
            ("is_new", json!(true)),
            ("terms", json!([])),
        ]);
        assert_eq!(answer.to_json(), json!({"asset": "0x01", "is_new": true, "terms": []}));
        assert_eq!(answer.to_text(), "asset   0x01\nis new  yes\nterms   -");
    }

    #[test]
    fn moments_are_dates_for_people_and_seconds_for_programs() {
        let columns = vec!["index", "updated_at", "deadline"];
        let (then, never) = (json!(1_800_000_000), json!(u64::MAX));
        let answer = Answer::Rows { columns, rows: vec![vec![json!(7), then, never]] };
        let text = answer.to_text();
        let row: Vec<_> = text.lines().next_back().unwrap().split_whitespace().collect();
        assert_eq!(row, ["7", "2027-01-15T08:00:00Z", "18446744073709551615"]);
        assert_eq!(answer.to_json()[0]["updated_at"], 1_800_000_000);
        let none = Answer::Fields(vec![("updated_at", Value::Null)]);
        assert_eq!(none.to_text(), "updated at  -");
    }

    #[test]
    fn what_strangers_wrote_does_not_steer_the_terminal() {
        assert_eq!(cell(&json!("a\u{1b}[2Jb\rc")), "a\u{fffd}[2Jb\u{fffd}c");
    }

    #[test]
    fn rows_are_an_array_or_a_table_with_a_head() {
        let answer = Answer::Rows {
            columns: vec!["index", "name"],
            rows: vec![vec![json!(1), json!("a")], vec![json!(10), json!("b")]],
        };
        assert_eq!(
            answer.to_json(),
            json!([{"index": 1, "name": "a"}, {"index": 10, "name": "b"}])
        );
        assert_eq!(answer.to_text().lines().count(), 3);
        let none = Answer::Rows { columns: vec!["index"], rows: vec![] };
        assert_eq!(none.to_json(), json!([]));
        assert_eq!(none.to_text(), "none");
    }
}
