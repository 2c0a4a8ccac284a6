//! Every failed round has a name, which its reason opens with.

use alloy::primitives::B256;
use sesame_domain::{Registry, TaskId};
use sesame_view::ProjectError;

use super::*;
use crate::verify::Lie;

fn contradiction() -> WriteError {
    let source = ProjectError::TaskUnknown(TaskId(B256::ZERO));
    WriteError::Contradiction { block: 7, source }
}

fn check(error: RoundError, name: &str, in_doubt: bool) {
    assert_eq!(error.name(), name);
    let reason = error.reason();
    let told = reason.strip_prefix(&format!("{name}: "));
    assert!(told.is_some_and(|told| !told.is_empty() && !told.contains(name)), "{reason}");
    assert_eq!(error.doubts_the_mirror(), in_doubt, "{name}");
}

#[test]
fn every_failed_round_has_a_name_and_says_what_went_wrong() {
    let number = alloy::eips::BlockNumberOrTag::Number(7);
    let registry = Registry::Assets;
    for (lie, name, in_doubt) in [
        (Lie::BlockHash { number: 7 }, "block_hash", false),
        (Lie::ReceiptsRoot { number: 7 }, "receipts_root", false),
        (Lie::ProofInvalid { number: 7, registry }, "proof_invalid", true),
        (Lie::JournalMismatch { number: 7, registry }, "journal_mismatch", true),
    ] {
        check(lie.into(), name, in_doubt);
    }
    check(SourceError::Timeout.into(), "timeout", false);
    check(SourceError::NoBlock(number).into(), "no_block", false);
    let split = SourceError::NoQuorum { number, quorum: 2, endpoints: 2 };
    check(split.into(), "no_quorum", false);
    let impossible = SourceError::ImpossibleQuorum { quorum: 3, endpoints: 2 };
    check(impossible.into(), "impossible_quorum", false);
    let foreign = DecodeError::OtherContract(Address::ZERO);
    check(foreign.into(), "undecodable_log", false);
    let said = DecodeError::FalseFact { contract: Address::ZERO, what: "it was told so" };
    check(said.into(), "false_fact", false);
    check(SourceError::FactsDiffer(7).into(), "facts_differ", false);
    check(SourceError::NoState(7).into(), "no_state", false);
    check(contradiction().into(), "events_contradict", true);
    check(RoundError::NodeBehind { node: 6, ours: 7 }, "node_behind", false);
    let fatal = MirrorError::WrongChain { expected: 1, got: 2 };
    check(fatal.into(), "fatal", false);
}

#[test]
fn what_the_database_says_is_fatal_and_what_the_events_say_is_not() {
    assert!(matches!(RoundError::from(contradiction()), RoundError::Contradiction(_)));
    assert!(matches!(RoundError::from(WriteError::Poisoned), RoundError::Fatal(_)));
}
