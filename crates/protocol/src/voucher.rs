//! The worker's word for one run: this enclave key is the one that it started for this task.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};
use sesame_domain::TaskId;

use crate::{
    base64url::{HeaderError, parse_header, to_header},
    signature::{Signature65, SignatureError, Signer, recover},
    typed::{Domain, RunVoucher},
};

/// `Sesame-Run-Voucher`: the header of `POST /kbs/v0/attest`, in the lower case that HTTP libraries ask for.
///
/// Agents that cannot add a header get the same text as a folder of the base path, `/kbs/{voucher}/v0`.
pub const VOUCHER_HEADER: &str = "sesame-run-voucher";

/// A signed [`RunVoucher`]; on the wire base64url without padding of its JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedVoucher {
    /// The task.
    pub task: B256,
    /// The identity of the SMS that may release the task's secrets.
    pub sms: Address,
    /// RFC 7638 thumbprint (SHA-256) of the enclave's key.
    pub enclave_key: B256,
    /// Last second at which the voucher is good.
    pub deadline: u64,
    /// The worker's signature over [`RunVoucher`].
    pub signature: Signature65,
}

impl SignedVoucher {
    /// Vouches for an enclave key.
    #[must_use]
    pub fn sign(
        task: TaskId,
        sms: Address,
        enclave_key: B256,
        deadline: u64,
        domain: &Domain,
        worker: &Signer,
    ) -> Self {
        let message = RunVoucher { task: task.0, sms, enclaveKey: enclave_key, deadline };
        let signature = worker.sign_hash(domain.signing_hash(&message));
        Self { task: task.0, sms, enclave_key, deadline, signature }
    }

    /// What was signed.
    #[must_use]
    pub const fn message(&self) -> RunVoucher {
        RunVoucher {
            task: self.task,
            sms: self.sms,
            enclaveKey: self.enclave_key,
            deadline: self.deadline,
        }
    }

    /// The task that the voucher is for.
    #[must_use]
    pub const fn task(&self) -> TaskId {
        TaskId(self.task)
    }

    /// Who vouches. The caller compares with the order's worker, and task, SMS, key and deadline with its own.
    ///
    /// # Errors
    ///
    /// If the signature is malformed.
    pub fn recover_worker(&self, domain: &Domain) -> Result<Address, SignatureError> {
        recover(domain.signing_hash(&self.message()), &self.signature)
    }

    /// The voucher as a header's value, or as a folder of a path.
    #[must_use]
    pub fn to_header(&self) -> String {
        to_header(self)
    }

    /// Reads a voucher from a header's value.
    ///
    /// # Errors
    ///
    /// If the value is too long, is not base64url without padding, or holds other JSON.
    pub fn parse(header: &str) -> Result<Self, HeaderError> {
        parse_header(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAIN: Domain = Domain { chain_id: 31337, asset_registry: Address::repeat_byte(0x11) };

    #[test]
    fn a_voucher_names_its_worker_and_nothing_else_fits() {
        let worker = Signer::random();
        let (task, word) = (TaskId(B256::repeat_byte(1)), B256::repeat_byte(2));
        let sms = Address::repeat_byte(3);
        let voucher = SignedVoucher::sign(task, sms, word, 9, &DOMAIN, &worker);
        let voucher = SignedVoucher::parse(&voucher.to_header()).unwrap();
        assert_eq!(voucher.task(), task);
        assert_eq!(voucher.recover_worker(&DOMAIN), Ok(worker.address()));
        let altered = [
            SignedVoucher { task: word, ..voucher.clone() },
            SignedVoucher { sms: Address::ZERO, ..voucher.clone() },
            SignedVoucher { enclave_key: B256::ZERO, ..voucher.clone() },
            SignedVoucher { deadline: 10, ..voucher.clone() },
        ];
        for altered in altered {
            assert_ne!(altered.recover_worker(&DOMAIN), Ok(worker.address()), "{altered:?}");
        }
        let elsewhere = Domain { chain_id: 1, ..DOMAIN };
        assert_ne!(voucher.recover_worker(&elsewhere), Ok(worker.address()));
    }

    #[test]
    fn malformed_vouchers_are_refused() {
        for bad in ["", "e30", "e30=", "AA", "~"] {
            assert!(SignedVoucher::parse(bad).is_err(), "{bad}");
        }
    }
}
