//! Owners that are contracts: the contract says itself whether a signature is its own (ERC-1271).
//!
//! Nobody is asked before the index says that the address owns the secret. The contract must agree after the confirmed block
//! and after the newest one, as both views must: a key that it took on counts once that is confirmed, one that it gave up
//! counts no more.

use sesame_domain::BlockRef;
use sesame_indexer::Verdict;

use super::Claim;
use crate::{
    problem::{ApiError, Code},
    service::Service,
};

/// The owner's contract takes the signature as its own; `refusal` where there is no contract.
pub(super) async fn check(
    service: &Service,
    claim: &Claim<'_>,
    at: [BlockRef; 2],
    refusal: ApiError,
) -> Result<(), ApiError> {
    let _asking = service.asking.try_acquire().map_err(|_| busy())?;
    for block in at {
        let (owner, bytes) = (claim.owner, claim.signature.bytes());
        match service.nodes.signature_verdict(block, owner, claim.hash, bytes).await? {
            Verdict::Accepted => {}
            Verdict::NoContract => return Err(refusal),
            Verdict::Refused => {
                let detail = format!(
                    "The contract {owner} does not take this signature as its own after block {}.",
                    block.number
                );
                return Err(ApiError::new(Code::SignatureRefused, detail));
            }
        }
    }
    Ok(())
}

fn busy() -> ApiError {
    ApiError::new(Code::Busy, "Too many contracts are being asked: try again in a moment.")
}
