// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title The journal's fold as a mirror does it: on the slot's value, knowing nothing of
/// Journal.sol
library Fold {
    /// @notice The slot's value after one more event.
    function next(bytes32 slot, uint256 time, bytes32[] memory topics, bytes memory data)
        internal
        pure
        returns (bytes32)
    {
        bytes32[4] memory padded;
        for (uint256 i; i < topics.length; ++i) {
            padded[i] = topics[i];
        }
        bytes32 entry = keccak256(
            abi.encode(time, padded[0], padded[1], padded[2], padded[3], keccak256(data))
        );
        uint256 count = sequence(slot) + 1;
        uint256 hash = uint256(keccak256(abi.encode(hashOf(slot), count, entry)));
        return bytes32((hash & ~uint256(type(uint64).max)) | count);
    }

    function sequence(bytes32 slot) internal pure returns (uint256) {
        return uint256(slot) & type(uint64).max;
    }

    function hashOf(bytes32 slot) internal pure returns (bytes24) {
        return bytes24(slot);
    }
}
