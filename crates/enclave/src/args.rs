//! Arguments as strict `--name value` pairs.
//!
//! Part of the arguments is measured and part comes from an untrusted host, so nothing may be given twice, abbreviated or
//! guessed.

use std::{collections::BTreeMap, str::FromStr};

/// The arguments are not what the program takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgsError {
    /// An argument stands where `--name` should.
    #[error("`{0}` is not an argument that this program takes")]
    Unknown(String),
    /// The last `--name` has no value.
    #[error("--{0} needs a value")]
    WithoutValue(&'static str),
    /// The same `--name` twice: which of them counts must not be a question.
    #[error("--{0} is given twice")]
    Repeated(&'static str),
    /// A `--name` that must be there is not.
    #[error("--{0} is missing")]
    Missing(&'static str),
    /// An argument that goes together with others than those given.
    #[error("--{0} does not go with the other arguments")]
    NotHere(&'static str),
    /// A value cannot be read.
    #[error("--{0} has a value of the wrong form")]
    Malformed(&'static str),
}

/// Arguments by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Args(BTreeMap<&'static str, String>);

impl Args {
    /// Reads `--name value` pairs, where every name is one of `known`.
    ///
    /// # Errors
    /// For anything else, and for a name that comes twice.
    pub fn parse(
        known: &[&'static str],
        args: impl IntoIterator<Item = String>,
    ) -> Result<Self, ArgsError> {
        let mut values = BTreeMap::new();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let name = arg
                .strip_prefix("--")
                .and_then(|name| known.iter().copied().find(|known| *known == name));
            let name = name.ok_or(ArgsError::Unknown(arg))?;
            let value = args.next().ok_or(ArgsError::WithoutValue(name))?;
            if values.insert(name, value).is_some() {
                return Err(ArgsError::Repeated(name));
            }
        }
        Ok(Self(values))
    }

    /// The value of `--name`.
    ///
    /// # Errors
    /// When it is missing or of the wrong form.
    pub fn take<T: FromStr>(&mut self, name: &'static str) -> Result<T, ArgsError> {
        self.take_if_given(name)?.ok_or(ArgsError::Missing(name))
    }

    /// Adds others.
    ///
    /// # Errors
    /// When a name comes in both.
    pub fn join(&mut self, others: Self) -> Result<(), ArgsError> {
        for (name, value) in others.0 {
            if self.0.insert(name, value).is_some() {
                return Err(ArgsError::Repeated(name));
            }
        }
        Ok(())
    }

    /// Every argument has been taken.
    ///
    /// # Errors
    /// When one has not.
    pub fn nothing_left(&self) -> Result<(), ArgsError> {
        self.0.keys().next().map_or(Ok(()), |name| Err(ArgsError::NotHere(name)))
    }

    /// The value of `--name`, if it is given.
    ///
    /// # Errors
    /// When it is of the wrong form.
    pub fn take_if_given<T: FromStr>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, ArgsError> {
        let text = self.0.remove(name);
        text.map(|text| text.parse().map_err(|_| ArgsError::Malformed(name))).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Args, ArgsError> {
        Args::parse(&["task", "sms-identity"], args.iter().map(ToString::to_string))
    }

    #[test]
    fn pairs_are_read_in_any_order() {
        let mut args = parse(&["--sms-identity", "0xab", "--task", "7"]).unwrap();
        assert_eq!(args.take::<u8>("task"), Ok(7));
        assert_eq!(args.take::<String>("sms-identity"), Ok("0xab".to_owned()));
    }

    #[test]
    fn a_host_cannot_override_what_is_measured() {
        let twice = parse(&["--sms-identity", "0xab", "--sms-identity", "0xcd"]);
        assert_eq!(twice, Err(ArgsError::Repeated("sms-identity")));
    }

    #[test]
    fn nothing_else_is_understood() {
        for bad in ["task", "-task", "--tas", "--task=7", "--", ""] {
            assert_eq!(parse(&[bad, "7"]), Err(ArgsError::Unknown(bad.to_owned())), "{bad}");
        }
        assert_eq!(parse(&["--task"]), Err(ArgsError::WithoutValue("task")));
        let mut args = parse(&["--task", "x"]).unwrap();
        assert_eq!(args.take_if_given::<u8>("sms-identity"), Ok(None));
        assert_eq!(args.take::<u8>("task"), Err(ArgsError::Malformed("task")));
        assert_eq!(args.take::<u8>("task"), Err(ArgsError::Missing("task")));
    }
}
