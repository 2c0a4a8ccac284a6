// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {stdJson} from "forge-std/StdJson.sol";
import {Test} from "forge-std/Test.sol";

import {Journal} from "../../contracts/Journal.sol";
import {Fold} from "./support/Fold.sol";

contract Recorder is Journal {
    function record(bytes32[4] calldata topics, bytes32 dataHash) external {
        _record(topics[0], topics[1], topics[2], topics[3], dataHash);
    }
}

contract JournalTest is Test {
    using stdJson for string;

    bytes32 internal constant SLOT =
        keccak256(abi.encode(uint256(keccak256("sesame.journal")) - 1)) & ~bytes32(uint256(0xff));

    Recorder internal recorder = new Recorder();

    function test_journal_startsAtZero() public view {
        (bytes24 hash, uint64 sequence) = recorder.journal();
        assertEq(hash, bytes24(0));
        assertEq(sequence, 0);
        assertEq(vm.load(address(recorder), SLOT), 0);
    }

    function test_fuzz_record_foldsIntoTheOneSlot(
        uint64 time,
        bytes32[4][5] memory topics,
        bytes[5] memory data
    ) public {
        bytes32 slot;
        for (uint256 i; i < topics.length; ++i) {
            vm.warp(uint256(time) + i);
            recorder.record(topics[i], keccak256(data[i]));
            slot = Fold.next(slot, uint256(time) + i, dynamic(topics[i]), data[i]);

            (bytes24 hash, uint64 sequence) = recorder.journal();
            assertEq(vm.load(address(recorder), SLOT), slot);
            assertEq(hash, Fold.hashOf(slot));
            assertEq(sequence, i + 1);
        }
    }

    function test_fuzz_record_continuesFromAnySlot(bytes24 hash, uint64 sequence) public {
        vm.assume(sequence != type(uint64).max);
        bytes32 slot = bytes32(hash) | bytes32(uint256(sequence));
        vm.store(address(recorder), SLOT, slot);

        (bytes24 readHash, uint64 readSequence) = recorder.journal();
        assertEq(readHash, hash);
        assertEq(readSequence, sequence);

        bytes32[4] memory topics;
        recorder.record(topics, keccak256(""));
        assertEq(
            vm.load(address(recorder), SLOT), Fold.next(slot, block.timestamp, dynamic(topics), "")
        );
    }

    /// forge-config: default.fuzz.runs = 64
    function test_fuzz_record_tellsOrderApart(bytes32 a, bytes32 b) public {
        vm.assume(a != b);
        Recorder other = new Recorder();
        recorder.record([a, 0, 0, 0], 0);
        recorder.record([b, 0, 0, 0], 0);
        other.record([b, 0, 0, 0], 0);
        other.record([a, 0, 0, 0], 0);
        assertNotEq(vm.load(address(recorder), SLOT), vm.load(address(other), SLOT));
    }

    function test_record_touchesNoOtherSlot() public {
        vm.record();
        recorder.record([bytes32("a"), "b", "c", "d"], keccak256("e"));
        (, bytes32[] memory writes) = vm.accesses(address(recorder));
        for (uint256 i; i < writes.length; ++i) {
            assertEq(writes[i], SLOT);
        }
    }

    function test_record_matchesTheGoldenVectors() public {
        string memory json = vm.readFile("tests/fixtures/journal.json");
        uint256 count;
        for (; json.keyExists(at(count, "next")); ++count) {
            assertEq(
                vm.load(address(recorder), SLOT), json.readBytes32(at(count, "previous")), "chain"
            );
            bytes32[] memory topics = json.readBytes32Array(at(count, "topics"));
            bytes32[4] memory padded;
            for (uint256 i; i < topics.length; ++i) {
                padded[i] = topics[i];
            }

            vm.warp(json.readUint(at(count, "timestamp")));
            recorder.record(padded, keccak256(json.readBytes(at(count, "data"))));

            assertEq(vm.load(address(recorder), SLOT), json.readBytes32(at(count, "next")), "next");
        }
        assertGe(count, 5, "vectors");
    }

    function at(uint256 entry, string memory field) internal pure returns (string memory) {
        return string.concat("$[", vm.toString(entry), "].", field);
    }

    function dynamic(bytes32[4] memory topics) internal pure returns (bytes32[] memory list) {
        list = new bytes32[](4);
        for (uint256 i; i < 4; ++i) {
            list[i] = topics[i];
        }
    }
}
