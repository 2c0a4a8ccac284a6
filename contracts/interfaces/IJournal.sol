// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title A running hash over every event that a mirror of this contract needs
/// @notice Whoever holds all logs of the contract, in order, can compute the journal; whoever holds
/// the journal, proven against a state root (EIP-1186), can show that no log was left out, added or
/// altered.
/// @dev One slot, at the ERC-7201 location of the namespace `sesame.journal`: the hash in the high
/// 192 bits, the sequence in the low 64. Both start at zero. For the event number `sequence`,
/// counted from one:
///
/// - `entry = keccak256(abi.encode(time, topic0, topic1, topic2, topic3, keccak256(data)))`, where
/// `time` is the block's timestamp and absent topics are zero;
/// - `hash = bytes24(keccak256(abi.encode(previous hash, sequence, entry)))`, where the previous
/// hash is a `bytes24`, padded on the right as the ABI pads it.
interface IJournal {
    /// @notice The journal after the newest event.
    /// @return hash The running hash, zero before the first event.
    /// @return sequence How many events were folded in.
    function journal() external view returns (bytes24 hash, uint64 sequence);
}
