//! The evidence of a simulated TEE, as the attestation carries it for tee `sample`.
//!
//! It has the shape of a quote and the worth of its root: a key in software. The service takes it only where an operator
//! asked for that, and gives its enclaves ids of their own kind.

use alloy_primitives::{Address, B256, Bytes, FixedBytes, keccak256};
use serde::{Deserialize, Serialize};

use crate::signature::{Signature65, SignatureError, Signer, recover};

/// The one format there is.
pub const SIMULATED_FORMAT: &str = "sesame-simulated/1";

const DOMAIN_TAG: &[u8] = b"sesame simulated quote v1";

/// A simulated quote. Unverified: `sesame-attestation` checks format, root, signature and report data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SimulatedEvidence {
    /// [`SIMULATED_FORMAT`].
    pub format: String,
    /// The kind of TEE that it imitates: 1 SGX, 2 TDX, 3 SEV-SNP.
    pub imitates: u8,
    /// What that kind of TEE would measure.
    pub measurement: Bytes,
    /// What the quoted enclave asked to have quoted.
    pub report_data: FixedBytes<64>,
    /// The address of the simulated root's key.
    pub root: Address,
    /// The root's signature over [`quote_hash`].
    pub signature: Signature65,
}

impl SimulatedEvidence {
    /// Quotes: the root vouches for measurement and report data.
    #[must_use]
    pub fn quote(imitates: u8, measurement: &[u8], report_data: [u8; 64], root: &Signer) -> Self {
        Self {
            format: SIMULATED_FORMAT.to_owned(),
            imitates,
            measurement: Bytes::copy_from_slice(measurement),
            report_data: report_data.into(),
            root: root.address(),
            signature: root.sign_hash(quote_hash(imitates, measurement, &report_data)),
        }
    }

    /// Who signed this quote. Compare it with [`Self::root`], and that with the root that the operator trusts.
    ///
    /// # Errors
    ///
    /// If the signature is malformed.
    pub fn recover_root(&self) -> Result<Address, SignatureError> {
        let hash = quote_hash(self.imitates, &self.measurement, &self.report_data);
        recover(hash, &self.signature)
    }
}

/// What the root signs: `keccak256("sesame simulated quote v1" ‖ imitates ‖ keccak256(measurement) ‖ reportData)`,
/// 25 + 1 + 32 + 64 bytes.
#[must_use]
pub fn quote_hash(imitates: u8, measurement: &[u8], report_data: &[u8; 64]) -> B256 {
    let measurement = keccak256(measurement);
    keccak256([DOMAIN_TAG, &[imitates], measurement.as_slice(), report_data.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Vector {
        hash: B256,
        evidence: SimulatedEvidence,
    }

    fn vector() -> Vector {
        serde_json::from_str(include_str!("../../../tests/fixtures/protocol/evidence.json"))
            .unwrap()
    }

    #[test]
    fn the_quote_hashes_and_signs_to_the_golden_values() {
        let Vector { hash, evidence } = vector();
        let report_data = evidence.report_data.0;
        assert_eq!(quote_hash(1, &evidence.measurement, &report_data), hash);
        assert_eq!(evidence.recover_root(), Ok(evidence.root));
        let root = Signer::from_bytes(&[7; 32]).unwrap();
        let quoted = SimulatedEvidence::quote(1, &evidence.measurement, report_data, &root);
        assert_eq!(quoted, evidence);
    }

    #[test]
    fn every_flipped_bit_recovers_a_stranger() {
        let SimulatedEvidence { measurement, report_data, root, imitates, .. } = vector().evidence;
        let check = |altered: SimulatedEvidence| {
            assert_ne!(altered.recover_root(), Ok(root), "{altered:?}");
        };
        for bit in 0..8 {
            check(SimulatedEvidence { imitates: imitates ^ (1 << bit), ..vector().evidence });
        }
        for bit in 0..measurement.len() * 8 {
            let mut altered = measurement.to_vec();
            altered[bit / 8] ^= 1 << (bit % 8);
            check(SimulatedEvidence { measurement: altered.into(), ..vector().evidence });
        }
        for bit in 0..64 * 8 {
            let mut altered = report_data;
            altered[bit / 8] ^= 1 << (bit % 8);
            check(SimulatedEvidence { report_data: altered, ..vector().evidence });
        }
    }

    #[test]
    fn unknown_and_missing_members_are_refused() {
        let json = serde_json::to_value(vector().evidence).unwrap();
        assert!(serde_json::from_value::<SimulatedEvidence>(json.clone()).is_ok());
        for member in ["format", "imitates", "measurement", "reportData", "root", "signature"] {
            let mut bad = json.clone();
            bad.as_object_mut().unwrap().remove(member);
            assert!(serde_json::from_value::<SimulatedEvidence>(bad).is_err(), "{member}");
        }
        let mut bad = json.clone();
        bad["debug"] = true.into();
        assert!(serde_json::from_value::<SimulatedEvidence>(bad).is_err());
        let mut bad = json;
        bad["reportData"] = "0x00".into();
        assert!(serde_json::from_value::<SimulatedEvidence>(bad).is_err());
    }
}
