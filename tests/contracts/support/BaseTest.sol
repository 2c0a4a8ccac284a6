// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Test} from "forge-std/Test.sol";
import {Vm} from "forge-std/Vm.sol";

import {AssetRegistry} from "../../../contracts/AssetRegistry.sol";
import {EnclaveWhitelist} from "../../../contracts/EnclaveWhitelist.sol";
import {TaskRegistry} from "../../../contracts/TaskRegistry.sol";
import {Terms} from "../../../contracts/interfaces/IEnclaveWhitelist.sol";
import {Grant, ITaskRegistry, Order} from "../../../contracts/interfaces/ITaskRegistry.sol";
import {Fold} from "./Fold.sol";

/// @title The three registries, the actors by name, and builders for what they say
abstract contract BaseTest is Test {
    uint256 internal constant NOW = 1_800_000_000;
    uint8 internal constant APP = 1;
    uint8 internal constant DATA = 2;
    bytes32 internal constant ENCLAVE = keccak256("enclave");
    bytes32 internal constant OTHER_ENCLAVE = keccak256("other enclave");
    bytes32 internal constant DIGEST = keccak256("content");
    bytes32 internal constant JOURNAL_SLOT =
        0xb5eb1be91e63e7a5290b13add6b727d07cf66520075de8364fb70f1d47001700;

    uint256 internal constant SMS_KEY = uint256(keccak256("key of the sms"));
    uint256 internal constant RESULT_KEY = uint256(keccak256("key born in the TEE"));
    bytes32 internal constant BUNDLE = keccak256("bundle");
    uint256 internal constant CLAIM_WINDOW = 7 days;

    address internal appOwner = makeAddr("appOwner");
    address internal dataOwner = makeAddr("dataOwner");
    address internal requester = makeAddr("requester");
    address internal worker = makeAddr("worker");
    address internal sms = vm.addr(SMS_KEY);
    address internal beneficiary = makeAddr("beneficiary");
    address internal stranger = makeAddr("stranger");

    AssetRegistry internal assets;
    EnclaveWhitelist internal whitelist;
    TaskRegistry internal tasks;

    function setUp() public virtual {
        vm.warp(NOW);
        assets = new AssetRegistry();
        whitelist = new EnclaveWhitelist(address(assets));
        tasks = new TaskRegistry(address(whitelist));
    }

    /* THE JOURNAL */

    /// @dev Whatever the body makes `registry` emit, refolding the logs gives its journal.
    /// The body must not change the time.
    modifier refolds(address registry, uint256 events) {
        bytes32 slot = vm.load(registry, JOURNAL_SLOT);
        uint256 before = Fold.sequence(slot);
        vm.recordLogs();
        _;
        slot = refold(slot, registry, vm.getRecordedLogs());
        assertEq(vm.load(registry, JOURNAL_SLOT), slot, "journal differs from the logs");
        assertEq(Fold.sequence(slot), before + events, "events folded");
    }

    function refold(bytes32 slot, address registry, Vm.Log[] memory logs)
        internal
        view
        returns (bytes32)
    {
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].emitter != registry) continue;
            if (logs[i].topics[0] == ITaskRegistry.Withdrawn.selector) continue;
            slot = Fold.next(slot, vm.getBlockTimestamp(), logs[i].topics, logs[i].data);
        }
        return slot;
    }

    /* ASSETS */

    function newApp() internal returns (uint256) {
        return newAsset(APP, appOwner, "app");
    }

    function newData(string memory name) internal returns (uint256) {
        return newAsset(DATA, dataOwner, name);
    }

    function newAsset(uint8 kind, address owner, string memory name) internal returns (uint256) {
        vm.prank(owner);
        return
            assets.register(
                kind, owner, string.concat("ipfs://", name), DIGEST, bytes32(bytes(name))
            );
    }

    /* TERMS */

    function openTerms() internal pure returns (Terms memory terms) {}

    /// @dev Lets `ENCLAVE` near the asset, as its owner.
    function allow(uint256 assetId, Terms memory terms) internal returns (uint64) {
        vm.prank(assets.ownerOf(assetId));
        return whitelist.authorize(assetId, ENCLAVE, terms);
    }

    function allow(uint256 assetId) internal returns (uint64) {
        return allow(assetId, openTerms());
    }

    /* ORDERS */

    function orderOf(uint256 app) internal view returns (Order memory order) {
        order.app = app;
        order.enclaveId = ENCLAVE;
        order.worker = worker;
        order.sms = sms;
        order.beneficiary = beneficiary;
        order.deadline = uint64(NOW + 1 hours);
        order.params = "--answer 42";
    }

    function orderOf(uint256 app, uint256 data) internal view returns (Order memory order) {
        order = orderOf(app);
        order.data = new uint256[](1);
        order.data[0] = data;
    }

    function withGrant(Order memory order, uint32 index, string memory name)
        internal
        pure
        returns (Order memory)
    {
        Grant[] memory grants = new Grant[](order.grants.length + 1);
        for (uint256 i; i < order.grants.length; ++i) {
            grants[i] = order.grants[i];
        }
        grants[order.grants.length] = Grant(index, name);
        order.grants = grants;
        return order;
    }

    function buy(Order memory order) internal returns (bytes32) {
        vm.prank(requester);
        return tasks.purchase(order);
    }

    /// @dev A task of an open app with the grant 1, "token".
    function newTask() internal returns (bytes32) {
        uint256 app = newApp();
        allow(app);
        return buy(withGrant(orderOf(app), 1, "token"));
    }

    function newStartedTask() internal returns (bytes32 taskId) {
        taskId = newTask();
        vm.prank(worker);
        tasks.start(taskId);
    }

    /* SIGNATURES */

    /// @dev What is signed, composed as a wallet does it, knowing nothing of the contracts' code.
    function typedHash(uint256 chainId, address registry, bytes32 structHash)
        internal
        pure
        returns (bytes32)
    {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256("Sesame"),
                keccak256("1"),
                chainId,
                registry
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    function sign(uint256 key, address registry, bytes32 structHash)
        internal
        view
        returns (bytes memory)
    {
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(key, typedHash(block.chainid, registry, structHash));
        return abi.encodePacked(r, s, v);
    }

    function resultKeyHash(bytes32 taskId, address key) internal pure returns (bytes32) {
        return keccak256(abi.encode(keccak256("ResultKey(bytes32 task,address key)"), taskId, key));
    }

    function taskResultHash(
        bytes32 taskId,
        bytes32 bundleDigest,
        bytes32 resultDigest,
        string memory resultUri
    ) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256(
                    "TaskResult(bytes32 task,bytes32 bundleDigest,bytes32 resultDigest,string resultUri)"
                ),
                taskId,
                bundleDigest,
                resultDigest,
                keccak256(bytes(resultUri))
            )
        );
    }

    function bundleReleasedHash(bytes32 taskId) internal pure returns (bytes32) {
        return keccak256(abi.encode(keccak256("BundleReleased(bytes32 task)"), taskId));
    }

    function termsHash(Terms memory terms) internal pure returns (bytes32) {
        bytes32 typeHash = keccak256(
            "Terms(uint64 notBefore,uint64 notAfter,uint256 app,address requester,address sms,uint64 maxTasks,address currency,uint256 price)"
        );
        return keccak256(abi.encode(typeHash, terms));
    }

    function authorizeHash(
        address signer,
        uint256 assetId,
        Terms memory terms,
        uint256 nonce,
        uint256 deadline
    ) internal pure returns (bytes32) {
        bytes32 typeHash = keccak256(
            "Authorize(address signer,uint256 assetId,bytes32 enclaveId,Terms terms,uint256 nonce,uint256 deadline)Terms(uint64 notBefore,uint64 notAfter,uint256 app,address requester,address sms,uint64 maxTasks,address currency,uint256 price)"
        );
        bytes32 hashed = termsHash(terms);
        return keccak256(abi.encode(typeHash, signer, assetId, ENCLAVE, hashed, nonce, deadline));
    }

    function revokeHash(address signer, uint256 assetId, uint256 nonce, uint256 deadline)
        internal
        pure
        returns (bytes32)
    {
        bytes32 typeHash = keccak256(
            "Revoke(address signer,uint256 assetId,bytes32 enclaveId,uint256 nonce,uint256 deadline)"
        );
        return keccak256(abi.encode(typeHash, signer, assetId, ENCLAVE, nonce, deadline));
    }

    /// @dev The same signature in forms that a lax check would take as well: the other s, the wrong
    /// v, parity for v, and 64 bytes (ERC-2098).
    function twinsOf(uint8 v, bytes32 r, bytes32 s) internal pure returns (bytes[4] memory) {
        bytes32 other = bytes32(
            0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141 - uint256(s)
        );
        bytes32 compact = bytes32(uint256(s) | (uint256(v - 27) << 255));
        return [
            abi.encodePacked(r, other, v == 27 ? uint8(28) : uint8(27)),
            abi.encodePacked(r, s, v == 27 ? uint8(28) : uint8(27)),
            abi.encodePacked(r, s, v - 27),
            abi.encodePacked(r, compact)
        ];
    }

    function inOrder(Terms memory terms) internal pure {
        if (terms.notAfter != 0 && terms.notAfter < terms.notBefore) {
            (terms.notBefore, terms.notAfter) = (terms.notAfter, terms.notBefore);
        }
    }

    /// @dev The SMS certifies the result key.
    function certificate(bytes32 taskId) internal view returns (bytes memory) {
        return sign(SMS_KEY, address(tasks), resultKeyHash(taskId, vm.addr(RESULT_KEY)));
    }

    /// @dev The result key signs the result: 97 bytes.
    function resultSignature(bytes32 taskId, bytes32 digest, string memory uri)
        internal
        view
        returns (bytes memory)
    {
        bytes32 structHash = taskResultHash(taskId, BUNDLE, digest, uri);
        return abi.encodePacked(BUNDLE, sign(RESULT_KEY, address(tasks), structHash));
    }

    /// @dev The SMS states that it released the bundle.
    function statement(bytes32 taskId) internal view returns (bytes memory) {
        return sign(SMS_KEY, address(tasks), bundleReleasedHash(taskId));
    }

    function complete(bytes32 taskId, bytes32 digest, string memory uri) internal {
        bytes memory byEnclave = resultSignature(taskId, digest, uri);
        bytes memory bySms = certificate(taskId);
        address key = vm.addr(RESULT_KEY);
        vm.prank(worker);
        tasks.complete(taskId, digest, uri, key, byEnclave, bySms);
    }

    function complete(bytes32 taskId) internal {
        complete(taskId, DIGEST, "ipfs://result");
    }

    function start(bytes32 taskId) internal {
        vm.prank(worker);
        tasks.start(taskId);
    }

    function statusOf(bytes32 taskId) internal view returns (ITaskRegistry.Status status) {
        (status,,,,) = tasks.taskOf(taskId);
    }

    function assertStatus(bytes32 taskId, ITaskRegistry.Status expected) internal view {
        assertEq(uint8(statusOf(taskId)), uint8(expected), "status");
    }
}
