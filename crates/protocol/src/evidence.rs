//! The evidence of Intel's TEEs, as the attesters of Confidential Containers send it for the tees `sgx` and `tdx`.
//!
//! Source: `attestation-agent/attester/src/sgx_dcap` and `…/tdx` of confidential-containers/guest-components: a document with the
//! quote in `quote`, in the standard alphabet of base64. What TDX's attester adds, its event logs among it, is not needed: all
//! registers that the logs explain enter the enclave id themselves.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

/// A quote of SGX or TDX. Other members are allowed and not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuoteEvidence {
    /// The quote, base64.
    pub quote: String,
}

impl QuoteEvidence {
    /// Wraps a quote.
    #[must_use]
    pub fn new(quote: &[u8]) -> Self {
        Self { quote: STANDARD.encode(quote) }
    }

    /// The quote's bytes.
    ///
    /// # Errors
    /// When the text is not base64.
    pub fn bytes(&self) -> Result<Vec<u8>, base64::DecodeError> {
        STANDARD.decode(&self.quote)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_documents_of_both_attesters_are_read() {
        for document in [
            json!({"quote": "AQID"}),
            json!({"quote": "AQID", "cc_eventlog": null}),
            json!({"quote": "AQID", "cc_eventlog": "AAAA", "aa_eventlog": "x"}),
        ] {
            let evidence: QuoteEvidence = serde_json::from_value(document).unwrap();
            assert_eq!(evidence.bytes().unwrap(), [1, 2, 3]);
        }
        assert_eq!(
            serde_json::to_value(QuoteEvidence::new(&[1, 2, 3])).unwrap(),
            json!({"quote": "AQID"})
        );
    }

    #[test]
    fn documents_without_a_quote_are_refused() {
        for document in [json!({}), json!({"quote": null}), json!({"quote": [1]}), json!("AQID")] {
            assert!(serde_json::from_value::<QuoteEvidence>(document).is_err());
        }
        for text in ["AQI", "AQ-_", "AQID ", "~"] {
            assert!(QuoteEvidence { quote: text.to_owned() }.bytes().is_err(), "{text}");
        }
    }
}
