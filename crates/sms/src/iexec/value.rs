//! The body of a push: the secret itself.

use alloy_primitives::{Address, B256, keccak256};
use axum::{
    body::{Body, to_bytes},
    http::{
        HeaderMap,
        header::{AUTHORIZATION, CONTENT_LENGTH},
    },
};
use sesame_vault::{Plaintext, Signed};
use zeroize::Zeroizing;

use super::refusal::Refusal;
use crate::clock;

/// Bytes of the longest secret that iExec's clients may push. Their documentation says kB, their service bytes.
const MAX_SECRET: usize = 4096;

/// Bytes that are read in order to see who signed them. What is longer is too long, whoever signed it.
const MAX_READ: usize = 64 << 10;

/// A secret as it came, and the text that is said to be its signature.
pub(super) struct Pushed {
    value: Zeroizing<Vec<u8>>,
    pub(super) signature: String,
}

impl Pushed {
    /// Takes header and body.
    pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Self, Refusal> {
        let signature = authorization(headers)?;
        let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let announced = announced.and_then(|length| length.parse::<usize>().ok());
        if announced.is_some_and(|length| length > MAX_READ) {
            return Err(Refusal::TooLong);
        }
        let body = to_bytes(body, MAX_READ).await.map_err(|_| Refusal::TooLong)?;
        // An enclave gets it as text.
        if body.is_empty() || std::str::from_utf8(&body).is_err() {
            return Err(Refusal::Malformed);
        }
        Ok(Self { value: Zeroizing::new(body.to_vec()), signature })
    }

    pub(super) fn value(&self) -> &[u8] {
        &self.value
    }

    /// No longer than a secret may be; asked last of all, since only who may push learns of it.
    pub(super) fn check_length(&self) -> Result<(), Refusal> {
        if self.value.len() > MAX_SECRET { Err(Refusal::TooLong) } else { Ok(()) }
    }

    /// As the vault keeps it, for who signed it.
    pub(super) fn signed(self, owner: Address) -> Signed {
        let signature = fingerprint(&self.signature);
        Signed { owner, signature, now: clock::now(), value: Plaintext::from(self.value) }
    }
}

/// The same for every spelling of a signature. No other bytes are a signature of the same kind: those with another s are refused.
fn fingerprint(signature: &str) -> B256 {
    keccak256(signature.to_ascii_lowercase())
}

/// The one header that carries a signature and nothing else. One that is no text is nobody's signature.
pub(super) fn authorization(headers: &HeaderMap) -> Result<String, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, more) = (values.next(), values.next());
    let value = value.ok_or(Refusal::Malformed)?;
    match (value.to_str(), more) {
        (Ok(text), None) => Ok(text.to_owned()),
        _ => Err(Refusal::NotSigned),
    }
}
