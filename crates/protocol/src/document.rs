//! JSON from strangers: how deep and how much of it is read before anything is known about the sender.

use serde::de::DeserializeOwned;

/// How deep a document may be nested. Evidence is the deepest: an attestation, its evidence, a chain, a certificate, bytes.
const MAX_DEPTH: usize = 16;

/// How many values a document may hold. Some attesters write the bytes of certificates as lists of numbers.
const MAX_VALUES: usize = 16_384;

/// A body is not the document that it should be. What it says instead is not repeated: it may be anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// Nested deeper than any document of the protocol.
    #[error("the document is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// More values than any document of the protocol has.
    #[error("the document has more than {MAX_VALUES} values")]
    TooMany,
    /// No JSON, or other members or types than the document's.
    #[error("the body is not the document of the protocol: line {line}, column {column}")]
    Malformed {
        /// The line at which reading ended, from 1.
        line: usize,
        /// The column, from 1; 0 at an early end.
        column: usize,
    },
}

/// Reads a document within the limits, which one pass over the bytes checks before memory is taken for any value.
///
/// # Errors
///
/// If it exceeds them or is another document.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, DocumentError> {
    check_shape(body)?;
    serde_json::from_slice(body)
        .map_err(|error| DocumentError::Malformed { line: error.line(), column: error.column() })
}

/// Counts brackets and commas outside of strings: every value but the first of its list or object follows a comma.
fn check_shape(body: &[u8]) -> Result<(), DocumentError> {
    let (mut depth, mut values, mut in_text, mut escaped) = (0_usize, 1_usize, false, false);
    for byte in body {
        if in_text {
            in_text = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'[' | b'{' => {
                depth += 1;
                values += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(DocumentError::TooDeep);
        }
        if values > MAX_VALUES {
            return Err(DocumentError::TooMany);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(text: &str) -> Result<Value, DocumentError> {
        parse(text.as_bytes())
    }

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn documents_within_the_limits_are_read() {
        assert_eq!(read(r#"{"a":[1,{"b":"[[[,,,\\\"[["}]}"#).unwrap()["a"][0], 1);
        assert!(read(&nested(MAX_DEPTH)).is_ok());
        assert!(read(&json!(vec![0; MAX_VALUES - 2]).to_string()).is_ok());
    }

    #[test]
    fn deep_and_wide_documents_are_refused() {
        assert_eq!(read(&nested(MAX_DEPTH + 1)), Err(DocumentError::TooDeep));
        assert_eq!(read(&"[".repeat(100_000)), Err(DocumentError::TooDeep));
        let wide = json!(vec![0; MAX_VALUES + 1]).to_string();
        assert_eq!(read(&wide), Err(DocumentError::TooMany));
        assert_eq!(read(&format!("[{}", "{},".repeat(MAX_VALUES))), Err(DocumentError::TooMany));
    }

    /// Text that ends within a string or after a backslash hides no brackets.
    #[test]
    fn brackets_in_text_count_for_nothing_and_brackets_behind_it_do() {
        let deep = nested(MAX_DEPTH + 1);
        assert!(read(&json!({ "text": deep }).to_string()).is_ok());
        for prefix in [r#""a""#, r#""\\""#, r#""\"""#, r#""\\\"""#] {
            assert_eq!(
                read(&format!("[{prefix},{deep}]")),
                Err(DocumentError::TooDeep),
                "{prefix}"
            );
        }
    }

    #[test]
    fn what_is_no_document_is_told_by_its_place_alone() {
        let refused = read("{\n\"password\": hunter2}").unwrap_err();
        assert_eq!(refused, DocumentError::Malformed { line: 2, column: 13 });
        assert!(!refused.to_string().contains("hunter2"));
        for text in ["", "{", "]", "\u{feff}{}", "\"", "\"\\"] {
            assert!(matches!(read(text), Err(DocumentError::Malformed { .. })), "{text}");
        }
    }
}
