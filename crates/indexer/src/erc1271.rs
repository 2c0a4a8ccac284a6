//! ERC-1271: a contract says itself whether a signature is its own.

use alloy::{
    network::TransactionBuilder,
    primitives::{Address, B256, Bytes, b256},
    rpc::types::TransactionRequest,
    sol,
    sol_types::SolCall,
};

/// What a contract may spend on its answer, the call itself included: what anybody can make the nodes compute.
const GAS: u64 = 2_000_000;

/// `isValidSignature`'s yes: its selector, padded to a word.
const YES: B256 = b256!("1626ba7e00000000000000000000000000000000000000000000000000000000");

sol! {
    function isValidSignature(bytes32 hash, bytes signature) external view returns (bytes4);
}

/// What stands at an owner's address says about a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the contract's.
    Accepted,
    /// It is not: the contract says no, says something else, fails, or spends too much.
    Refused,
    /// There is no contract: only a key can sign.
    NoContract,
}

pub(crate) fn question(owner: Address, hash: B256, signature: &Bytes) -> TransactionRequest {
    let call = isValidSignatureCall { hash, signature: signature.clone() };
    TransactionRequest::default().with_to(owner).with_input(call.abi_encode()).with_gas_limit(GAS)
}

/// Anything but the one word is a no.
pub(crate) fn verdict(said: &[u8]) -> Verdict {
    if said == YES.as_slice() { Verdict::Accepted } else { Verdict::Refused }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_is_a_yes_and_nothing_else() {
        assert_eq!(verdict(YES.as_slice()), Verdict::Accepted);
        let unpadded = [isValidSignatureCall::SELECTOR.as_slice(), &[1; 28]].concat();
        let twice = [YES.as_slice(), YES.as_slice()].concat();
        for no in [&[][..], &[0; 32], &YES[..4], &YES[..31], &unpadded, &twice] {
            assert_eq!(verdict(no), Verdict::Refused, "{no:?}");
        }
    }

    #[test]
    fn the_yes_is_the_questions_own_selector() {
        assert_eq!(YES[..4], isValidSignatureCall::SELECTOR);
    }
}
