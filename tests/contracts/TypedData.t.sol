// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {stdJson} from "forge-std/StdJson.sol";

import {EnclaveWhitelist} from "../../contracts/EnclaveWhitelist.sol";
import {TaskRegistry} from "../../contracts/TaskRegistry.sol";
import {IAssetRegistry} from "../../contracts/interfaces/IAssetRegistry.sol";
import {Terms} from "../../contracts/interfaces/IEnclaveWhitelist.sol";
import {ITaskRegistry} from "../../contracts/interfaces/ITaskRegistry.sol";
import {BaseTest} from "./support/BaseTest.sol";

/// @title The contracts take what another implementation of EIP-712 signed
/// @dev `tests/fixtures/results.json` was made by no code of this repository.
contract TypedDataTest is BaseTest {
    using stdJson for string;

    string internal json = vm.readFile("tests/fixtures/results.json");

    function setUp() public override {
        super.setUp();
        vm.chainId(json.readUint(".chainId"));
        address at = json.readAddress(".enclaveWhitelist");
        deployCodeTo("EnclaveWhitelist.sol:EnclaveWhitelist", abi.encode(address(assets)), at);
        whitelist = EnclaveWhitelist(at);
        at = json.readAddress(".taskRegistry");
        deployCodeTo("TaskRegistry.sol:TaskRegistry", abi.encode(address(whitelist)), at);
        tasks = TaskRegistry(at);
    }

    function test_domains() public view {
        assertDomain(address(tasks), ".vectors[0].domainSeparator");
        assertDomain(address(whitelist), ".vectors[4].domainSeparator");
    }

    function test_complete_takesTheGoldenVectors() public {
        bytes32 task = json.readBytes32(".vectors[0].message.task");
        plantStartedTask(task, json.readAddress(".addresses.sms"));
        bytes memory byEnclave = abi.encodePacked(
            json.readBytes32(".vectors[1].message.bundleDigest"),
            json.readBytes(".vectors[1].signature")
        );
        vm.prank(worker);
        tasks.complete(
            task,
            json.readBytes32(".vectors[1].message.resultDigest"),
            json.readString(".vectors[1].message.resultUri"),
            json.readAddress(".vectors[0].message.key"),
            byEnclave,
            json.readBytes(".vectors[0].signature")
        );
        assertStatus(task, ITaskRegistry.Status.Completed);
    }

    function test_complete_takesTheGoldenVectorWithoutUri() public {
        bytes32 task = json.readBytes32(".vectors[0].message.task");
        plantStartedTask(task, json.readAddress(".addresses.sms"));
        bytes memory byEnclave = abi.encodePacked(
            json.readBytes32(".vectors[2].message.bundleDigest"),
            json.readBytes(".vectors[2].signature")
        );
        bytes32 digest = json.readBytes32(".vectors[2].message.resultDigest");
        address key = json.readAddress(".addresses.result");
        bytes memory bySms = json.readBytes(".vectors[0].signature");
        vm.prank(worker);
        tasks.complete(task, digest, "", key, byEnclave, bySms);
        assertStatus(task, ITaskRegistry.Status.Completed);
    }

    function test_settle_takesTheGoldenVector() public {
        bytes32 task = json.readBytes32(".vectors[3].message.task");
        plantStartedTask(task, json.readAddress(".addresses.sms"));
        tasks.settle(task, json.readBytes(".vectors[3].signature"));
    }

    function test_bySig_takesTheGoldenVectors() public {
        address owner = json.readAddress(".addresses.owner");
        uint256 assetId = json.readUint(".vectors[4].message.assetId");
        bytes32 enclaveId = json.readBytes32(".vectors[4].message.enclaveId");
        uint256 deadline = json.readUint(".vectors[4].message.deadline");
        plantAsset(assetId, owner);

        bytes memory signature = json.readBytes(".vectors[4].signature");
        whitelist.authorizeBySig(owner, assetId, enclaveId, terms(), deadline, signature);
        signature = json.readBytes(".vectors[5].signature");
        whitelist.revokeBySig(owner, assetId, enclaveId, deadline, signature);
        assertEq(whitelist.nonceOf(owner), 9);
    }

    /* HELPERS */

    function terms() internal view returns (Terms memory read) {
        string memory at = ".vectors[4].message.terms";
        read.notBefore = uint64(json.readUint(string.concat(at, ".notBefore")));
        read.notAfter = uint64(json.readUint(string.concat(at, ".notAfter")));
        read.app = json.readUint(string.concat(at, ".app"));
        read.requester = json.readAddress(string.concat(at, ".requester"));
        read.sms = json.readAddress(string.concat(at, ".sms"));
        read.maxTasks = uint64(json.readUint(string.concat(at, ".maxTasks")));
        read.currency = json.readAddress(string.concat(at, ".currency"));
        read.price = json.readUint(string.concat(at, ".price"));
    }

    /// @dev Writes a task under an id that no purchase would give it; the layout is thereby tested.
    function plantStartedTask(bytes32 taskId, address service) internal {
        uint256 slot = uint256(keccak256(abi.encode(taskId, 2)));
        uint256 facts = uint256(uint160(requester)) | ((NOW + 1 hours) << 160)
            | (uint256(ITaskRegistry.Status.Started) << 224);
        vm.store(address(tasks), bytes32(slot), bytes32(facts));
        vm.store(address(tasks), bytes32(slot + 1), bytes32(uint256(uint160(worker))));
        vm.store(address(tasks), bytes32(slot + 2), bytes32(uint256(uint160(service))));
        (ITaskRegistry.Status status, address a, address b, address c, uint64 deadline) =
            tasks.taskOf(taskId);
        assertTrue(status == ITaskRegistry.Status.Started && deadline == NOW + 1 hours);
        assertTrue(a == requester && b == worker && c == service);
    }

    /// @dev An asset under an id that no registration would give it, and a nonce of 7.
    function plantAsset(uint256 assetId, address owner) internal {
        address at = address(assets);
        vm.mockCall(
            at, abi.encodeCall(IAssetRegistry.mayActFor, (assetId, owner)), abi.encode(true)
        );
        vm.mockCall(at, abi.encodeCall(IAssetRegistry.kindOf, (assetId)), abi.encode(DATA));
        vm.mockCall(at, abi.encodeCall(IAssetRegistry.epochOf, (assetId)), abi.encode(0));
        vm.store(address(whitelist), keccak256(abi.encode(owner, 3)), bytes32(uint256(7)));
        assertEq(whitelist.nonceOf(owner), 7);
    }

    function assertDomain(address registry, string memory path) internal view {
        (, string memory name, string memory version, uint256 chainId, address at,,) =
            TaskRegistry(registry).eip712Domain();
        bytes32 separator = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256(bytes(name)),
                keccak256(bytes(version)),
                chainId,
                at
            )
        );
        assertEq(separator, json.readBytes32(path));
    }
}
