//! Quotes of SGX from Gramine's pseudo-files.
//!
//! Source: Gramine's documentation, `attestation`: what is written to `user_report_data`, 64 bytes, is in the quote that is read
//! from `quote` next; `attestation_type` is what `sgx.remote_attestation` of the manifest says. Every process has its own.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use sesame_protocol::evidence::QuoteEvidence;

use super::{EvidenceError, failed};

pub(super) const ROOT: &str = "/dev/attestation";

/// No quote is longer; those of DCAP with their certificates have some 5 KiB.
const MAX_QUOTE: u64 = 1 << 16;

/// Gramine's files.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gramine(PathBuf);

impl Gramine {
    pub(super) fn is_at(root: &Path) -> bool {
        root.join("user_report_data").exists()
    }

    pub(super) fn open(root: &Path) -> Result<Self, EvidenceError> {
        let path = root.join("attestation_type");
        let kind = fs::read_to_string(&path).map_err(failed(&path))?;
        match kind.trim_end_matches(['\0', '\n']) {
            "dcap" => Ok(Self(root.to_owned())),
            other => Err(EvidenceError::AttestationType(other.to_owned())),
        }
    }

    pub(super) fn evidence(&self, report_data: &[u8; 64]) -> Result<Value, EvidenceError> {
        let path = self.0.join("user_report_data");
        let file = OpenOptions::new().write(true).open(&path);
        file.and_then(|mut file| file.write_all(report_data)).map_err(failed(&path))?;
        let path = self.0.join("quote");
        let mut quote = Vec::new();
        let file = File::open(&path).map_err(failed(&path))?;
        file.take(MAX_QUOTE + 1).read_to_end(&mut quote).map_err(failed(&path))?;
        if quote.is_empty() || quote.len() as u64 > MAX_QUOTE {
            return Err(EvidenceError::NoReport(path));
        }
        let QuoteEvidence { quote } = QuoteEvidence::new(&quote);
        Ok(json!({ "quote": quote }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(kind: &str, quote: &[u8]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("attestation_type"), kind).unwrap();
        fs::write(root.path().join("user_report_data"), [0; 64]).unwrap();
        fs::write(root.path().join("quote"), quote).unwrap();
        root
    }

    #[test]
    fn the_report_data_is_written_and_the_quote_read() {
        let root = files("dcap", b"a quote");
        let gramine = Gramine::open(root.path()).unwrap();
        let evidence = gramine.evidence(&[7; 64]).unwrap();
        let read: QuoteEvidence = serde_json::from_value(evidence).unwrap();
        assert_eq!(read.bytes().unwrap(), b"a quote");
        assert_eq!(fs::read(root.path().join("user_report_data")).unwrap(), [7; 64]);
    }

    #[test]
    fn another_attestation_than_dcap_is_refused() {
        for kind in ["none", "epid", "", "DCAP", "dcap2"] {
            let refused = Gramine::open(files(kind, b"a quote").path()).unwrap_err();
            assert!(matches!(refused, EvidenceError::AttestationType(_)), "{kind}: {refused}");
        }
    }

    #[test]
    fn files_that_are_missing_empty_or_endless_are_no_quote() {
        for quote in [&[][..], &[0; (MAX_QUOTE + 1) as usize]] {
            let root = files("dcap", quote);
            let refused = Gramine::open(root.path()).unwrap().evidence(&[7; 64]).unwrap_err();
            assert!(matches!(refused, EvidenceError::NoReport(_)), "{refused}");
        }
        for name in ["quote", "user_report_data"] {
            let root = files("dcap", b"a quote");
            let gramine = Gramine::open(root.path()).unwrap();
            fs::remove_file(root.path().join(name)).unwrap();
            let refused = gramine.evidence(&[7; 64]).unwrap_err();
            assert!(refused.to_string().ends_with(name), "{refused}");
            assert!(!root.path().join(name).exists(), "what is not there is not made");
        }
    }
}
