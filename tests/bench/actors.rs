//! Who acts in a synthetic index: the same worker, service and enclaves in every run.

use alloy_primitives::Address;
use sesame_attestation::{
    Collateral, Evidence, Policy, VerifiedEnclave, Verifier, WorkerProof,
    simulated::{Imitated, Root},
};
use sesame_domain::TaskId;
use sesame_protocol::{
    jwe::EnclaveKey, rcar, signature::Signer, typed::Domain, voucher::SignedVoucher,
};

/// Seconds since 1970, wherever the decision asks for them.
pub(crate) const NOW: u64 = 1_700_000_000;

pub(crate) struct Actors {
    /// The service's identity.
    pub(crate) sms: Address,
    /// One for every authorization of an asset.
    pub(crate) enclaves: Vec<VerifiedEnclave>,
    worker: Signer,
    domain: Domain,
}

impl Actors {
    pub(crate) fn new(enclaves: u64) -> anyhow::Result<Self> {
        let root = Root::make(NOW);
        Ok(Self {
            sms: Address::repeat_byte(9),
            enclaves: (0..enclaves).map(|n| enclave(n, &root)).collect::<anyhow::Result<_>>()?,
            worker: Signer::from_bytes(&[1; 32])?,
            domain: Domain { chain_id: 31337, asset_registry: Address::ZERO },
        })
    }

    pub(crate) const fn worker(&self) -> Address {
        self.worker.address()
    }

    /// The worker's word for a run of `task` in `enclave`, verified.
    pub(crate) fn proof(
        &self,
        task: TaskId,
        enclave: &VerifiedEnclave,
    ) -> anyhow::Result<WorkerProof> {
        let key = enclave.key().thumbprint();
        let voucher =
            SignedVoucher::sign(task, self.sms, key, NOW + 60, &self.domain, &self.worker);
        Ok(WorkerProof::verify(&voucher, &self.domain, self.sms, key, NOW)?)
    }
}

fn enclave(number: u64, root: &Root) -> anyhow::Result<VerifiedEnclave> {
    let key = EnclaveKey::random();
    let report_data = rcar::report_data("nonce", key.public());
    let measurement = alloy_primitives::keccak256(number.to_be_bytes());
    let document = root.evidence(Imitated::Sgx, &measurement.0, report_data);
    let evidence = Evidence::parse("sgx", &document)?;
    let verifier = Verifier::new(Policy::insecure_trusting_simulated(root.published().clone()));
    let key = key.public().clone();
    Ok(verifier.verify(&evidence, &Collateral::Nothing, "nonce", key, NOW)?)
}
