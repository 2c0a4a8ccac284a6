//! JSON in base64url (RFC 4648, section 5) without padding: how documents travel in a header.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};

/// A header's value is not the document it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Longer than [`MAX_HEADER_BYTES`].
    #[error("the header has {0} bytes, more than {MAX_HEADER_BYTES}")]
    TooLong(usize),
    /// Not base64url without padding.
    #[error("the header is not base64url without padding")]
    NotBase64Url(#[source] base64::DecodeError),
    /// Not the JSON that it should be: a field is absent, unknown or of another shape.
    #[error("the header does not hold the expected JSON")]
    NotTheDocument(#[source] serde_json::Error),
}

/// The longest header value that is read, in bytes: the longest signature of an owner's contract takes 10,924 of them.
pub const MAX_HEADER_BYTES: usize = 12_288;

/// Encodes bytes.
pub(crate) fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes text of one spelling only: no padding, no stray bits.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    BASE64_URL_SAFE_NO_PAD.decode(text)
}

/// Writes a document as a header's value.
pub(crate) fn to_header<T: Serialize>(document: &T) -> String {
    encode(&serde_json::to_vec(document).expect("documents have text keys and finite numbers"))
}

/// Reads a document from a header's value.
pub(crate) fn parse_header<T: DeserializeOwned>(header: &str) -> Result<T, HeaderError> {
    if header.len() > MAX_HEADER_BYTES {
        return Err(HeaderError::TooLong(header.len()));
    }
    let json = decode(header).map_err(HeaderError::NotBase64Url)?;
    serde_json::from_slice(&json).map_err(HeaderError::NotTheDocument)
}
