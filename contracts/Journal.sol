// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IJournal} from "./interfaces/IJournal.sol";

/// @title The running hash that makes a mirror provable
/// @notice A contract that inherits this calls `_record` right after each event that a mirror
/// needs.
/// @dev Warning: an event emitted without `_record`, or with other topics or data than were
/// emitted, cannot be told from a
/// lying node and stops every mirror.
abstract contract Journal is IJournal {
    /// @custom:storage-location erc7201:sesame.journal
    struct JournalStorage {
        // One slot: the sequence in the low 64 bits, the hash in the high 192.
        uint64 sequence;
        bytes24 hash;
    }

    /* CONSTANTS */

    /// @dev `keccak256(abi.encode(uint256(keccak256("sesame.journal")) - 1)) &
    /// ~bytes32(uint256(0xff))`.
    bytes32 private constant JOURNAL_SLOT =
        0xb5eb1be91e63e7a5290b13add6b727d07cf66520075de8364fb70f1d47001700;

    /// @dev The data hash of an event all of whose arguments are indexed.
    bytes32 internal constant NO_DATA = keccak256("");

    /* VIEWS */

    /// @inheritdoc IJournal
    function journal() external view returns (bytes24 hash, uint64 sequence) {
        JournalStorage storage head = _journalStorage();
        return (head.hash, head.sequence);
    }

    /* INTERNAL */

    /// @dev Folds one event in. Topics that the event does not have are zero.
    /// @param dataHash The hash of the ABI encoding of the arguments that are not indexed.
    function _record(
        bytes32 topic0,
        bytes32 topic1,
        bytes32 topic2,
        bytes32 topic3,
        bytes32 dataHash
    ) internal {
        bytes32 entry = keccak256(
            abi.encode(block.timestamp, topic0, topic1, topic2, topic3, dataHash)
        );
        JournalStorage storage head = _journalStorage();
        uint64 sequence = head.sequence + 1;

        head.hash = bytes24(keccak256(abi.encode(head.hash, sequence, entry)));
        head.sequence = sequence;
    }

    /// @dev An address as it stands in a topic.
    function _topic(address account) internal pure returns (bytes32) {
        return bytes32(uint256(uint160(account)));
    }

    function _journalStorage() private pure returns (JournalStorage storage head) {
        assembly ("memory-safe") {
            head.slot := JOURNAL_SLOT
        }
    }
}
