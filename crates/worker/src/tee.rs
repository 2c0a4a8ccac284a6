//! What tasks run in.

use std::path::PathBuf;

use alloy::primitives::Address;
use sesame_domain::{EnclaveId, Imitated};

use crate::TaskError;

/// The simulated TEE: the one kind that this version starts.
#[derive(Debug, Clone)]
pub struct Tee {
    /// What it imitates.
    pub imitated: Imitated,
    /// The binary of the quoting process, `sesame-simulated-tee`.
    pub quoter: PathBuf,
    /// The file of the simulated root; the quoting process makes it if there is none.
    pub root_key: PathBuf,
    /// The launcher, `sesame-enclave`; it is measured.
    pub launcher: PathBuf,
}

impl Tee {
    /// The id of the enclave that would run `app` here.
    ///
    /// # Errors
    /// When the launcher cannot be read, or this build knows no TEE.
    #[cfg(feature = "simulated")]
    pub(crate) fn enclave_id(&self, app: &[u8], sms: Address) -> Result<EnclaveId, TaskError> {
        use sesame_attestation::simulated::{enclave_id_of, measure};

        let launcher = std::fs::read(&self.launcher).map_err(TaskError::Tee)?;
        Ok(enclave_id_of(self.imitated, &measure(&launcher, app, sms)))
    }

    /// The id of the enclave that would run `app` here.
    ///
    /// # Errors
    /// Always: this build knows no TEE.
    #[cfg(not(feature = "simulated"))]
    pub(crate) fn enclave_id(&self, _app: &[u8], _sms: Address) -> Result<EnclaveId, TaskError> {
        Err(TaskError::NoTee)
    }
}
