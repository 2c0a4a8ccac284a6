//! Variables, secret ones among them.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use zeroize::Zeroizing;

/// What a variable is set to: erased when it is dropped, and never printed.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Value(#[serde(serialize_with = "as_text")] Zeroizing<String>);

/// The variables of one service, by name. Its debug form shows the names alone.
#[derive(Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Environment(BTreeMap<String, Value>);

impl Value {
    /// The text itself. Every use deserves a look in review.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// `0x` and the digits of a key.
    pub(super) fn hex(key: &[u8; 32]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = Zeroizing::new(String::with_capacity(66));
        text.push_str("0x");
        for nibble in key.iter().flat_map(|byte| [byte >> 4, byte & 0xf]) {
            text.extend(DIGITS.get(usize::from(nibble)).map(|digit| char::from(*digit)));
        }
        Self(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes)", self.0.len())
    }
}

impl Environment {
    pub(super) fn set(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.0.insert(name.into(), value.into());
    }

    /// What a variable is set to.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The variables in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

fn as_text<S: serde::Serializer>(
    text: &Zeroizing<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}
