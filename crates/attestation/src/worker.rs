//! The worker's word for a run.

use alloy_primitives::{Address, B256};
use sesame_domain::TaskId;
use sesame_protocol::{signature::SignatureError, typed::Domain, voucher::SignedVoucher};

/// A voucher does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VoucherError {
    /// It is meant for another SMS.
    #[error("the voucher is for the SMS {0}")]
    OtherSms(Address),
    /// It is for another enclave key than the one attested.
    #[error("the voucher is for another enclave key")]
    OtherKey,
    /// Its deadline has passed, or lies further ahead than a voucher may.
    #[error("the voucher's deadline {0} has passed or is too far ahead")]
    Deadline(u64),
    /// Its signature is malformed.
    #[error("the voucher's signature is malformed")]
    Signature(#[from] SignatureError),
}

/// Longest time ahead that a voucher's deadline may lie, seconds.
const LONGEST_AHEAD: u64 = 3600;

/// Some worker vouched for a run of a task with one enclave key. Whether it is the order's worker is the decision's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerProof {
    task: TaskId,
    worker: Address,
}

impl WorkerProof {
    /// Checks a voucher presented to the SMS `sms` by the enclave whose key has this RFC 7638 thumbprint; `now` in seconds.
    ///
    /// # Errors
    /// When it is for another SMS or key, not in force, or not signed.
    pub fn verify(
        voucher: &SignedVoucher,
        domain: &Domain,
        sms: Address,
        enclave_key: B256,
        now: u64,
    ) -> Result<Self, VoucherError> {
        if voucher.sms != sms {
            return Err(VoucherError::OtherSms(voucher.sms));
        }
        if voucher.enclave_key != enclave_key {
            return Err(VoucherError::OtherKey);
        }
        if !(now..=now + LONGEST_AHEAD).contains(&voucher.deadline) {
            return Err(VoucherError::Deadline(voucher.deadline));
        }
        Ok(Self { task: voucher.task(), worker: voucher.recover_worker(domain)? })
    }

    /// The task that the worker vouched for.
    #[must_use]
    pub const fn task(&self) -> TaskId {
        self.task
    }

    /// Who vouched.
    #[must_use]
    pub const fn worker(&self) -> Address {
        self.worker
    }

    /// Only for a token that this crate signed.
    pub(crate) const fn from_token(task: TaskId, worker: Address) -> Self {
        Self { task, worker }
    }
}

#[cfg(test)]
mod tests;
