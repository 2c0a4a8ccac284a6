// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ITaskRegistry} from "../../contracts/interfaces/ITaskRegistry.sol";
import {BaseTest} from "./support/BaseTest.sol";

/// @title Whose word `complete` and `settle` take, and for what
contract SignaturesOfTasksTest is BaseTest {
    bytes32 internal taskId;
    address internal key = vm.addr(RESULT_KEY);

    function setUp() public override {
        super.setUp();
        taskId = newStartedTask();
    }

    /* COMPLETE */

    /// @dev Any key, as long as the SMS certifies it, and any bundle digest that it signed.
    function test_fuzz_complete_withAnyCertifiedKey(
        uint256 secret,
        bytes32 bundle,
        bytes32 digest,
        string memory uri
    ) public {
        secret = boundPrivateKey(secret);
        bytes32 structHash = taskResultHash(taskId, bundle, digest, uri);
        bytes memory byEnclave = abi.encodePacked(bundle, sign(secret, address(tasks), structHash));
        bytes memory bySms = sign(SMS_KEY, address(tasks), resultKeyHash(taskId, vm.addr(secret)));
        vm.prank(worker);
        tasks.complete(taskId, digest, uri, vm.addr(secret), byEnclave, bySms);
    }

    function test_fuzz_complete_smsSignatureByAnother(uint256 secret) public {
        secret = boundPrivateKey(secret);
        vm.assume(secret != SMS_KEY);
        expectSmsRefused(sign(secret, address(tasks), resultKeyHash(taskId, key)));
    }

    function test_fuzz_complete_smsSignatureOverAnotherTask(bytes32 other) public {
        vm.assume(other != taskId);
        expectSmsRefused(sign(SMS_KEY, address(tasks), resultKeyHash(other, key)));
    }

    function test_fuzz_complete_smsSignatureOverAnotherKey(address other) public {
        vm.assume(other != key);
        expectSmsRefused(sign(SMS_KEY, address(tasks), resultKeyHash(taskId, other)));
    }

    function test_fuzz_complete_smsSignatureOfAnyBytes(bytes memory bytesOfAnyKind) public {
        expectSmsRefused(bytesOfAnyKind);
    }

    function test_fuzz_complete_resultSignatureByAnother(uint256 secret) public {
        secret = boundPrivateKey(secret);
        vm.assume(secret != RESULT_KEY);
        bytes32 structHash = taskResultHash(taskId, BUNDLE, DIGEST, "uri");
        expectResultRefused(abi.encodePacked(BUNDLE, sign(secret, address(tasks), structHash)));
    }

    /// @dev One field differs from what was signed.
    function test_fuzz_complete_resultSignatureOverAnother(bytes32 other, uint8 field) public {
        vm.assume(other != taskId && other != BUNDLE && other != DIGEST);
        field = field % 4;
        bytes32 structHash = taskResultHash(
            field == 0 ? other : taskId,
            field == 1 ? other : BUNDLE,
            field == 2 ? other : DIGEST,
            field == 3 ? "another uri" : "uri"
        );
        expectResultRefused(abi.encodePacked(BUNDLE, sign(RESULT_KEY, address(tasks), structHash)));
    }

    /// @dev 97 bytes exactly: the digest, then the signature.
    function test_fuzz_complete_resultSignatureOfAnotherLength(uint8 length) public {
        vm.assume(length != 97);
        bytes memory right = resultSignature(taskId, DIGEST, "uri");
        bytes memory wrong = new bytes(length);
        for (uint256 i; i < length && i < 97; ++i) {
            wrong[i] = right[i];
        }
        expectResultRefused(wrong);
    }

    /// @dev What recovers nothing is not the zero address's signature.
    function test_complete_resultSignatureOfTheZeroAddress() public {
        key = address(0);
        expectResultRefused(new bytes(97));
    }

    /// @dev The two are not interchangeable, nor is the statement for `settle`.
    function test_complete_signaturesInEachOthersPlace() public {
        expectSmsRefused(statement(taskId));
        expectSmsRefused(sign(RESULT_KEY, address(tasks), resultKeyHash(taskId, key)));
        expectResultRefused(abi.encodePacked(BUNDLE, certificate(taskId)));
    }

    /* SETTLE */

    function test_fuzz_settle_byAnother(uint256 secret) public {
        secret = boundPrivateKey(secret);
        vm.assume(secret != SMS_KEY);
        expectStatementRefused(sign(secret, address(tasks), bundleReleasedHash(taskId)));
    }

    function test_fuzz_settle_overAnotherTask(bytes32 other) public {
        vm.assume(other != taskId);
        expectStatementRefused(sign(SMS_KEY, address(tasks), bundleReleasedHash(other)));
    }

    function test_fuzz_settle_ofAnyBytes(bytes memory bytesOfAnyKind) public {
        expectStatementRefused(bytesOfAnyKind);
    }

    function test_settle_withACertificate() public {
        expectStatementRefused(certificate(taskId));
    }

    /* HELPERS */

    function expectSmsRefused(bytes memory bySms) internal {
        bytes memory byEnclave = resultSignature(taskId, DIGEST, "uri");
        vm.expectRevert(abi.encodeWithSelector(ITaskRegistry.SmsSignatureInvalid.selector, taskId));
        vm.prank(worker);
        tasks.complete(taskId, DIGEST, "uri", key, byEnclave, bySms);
    }

    function expectResultRefused(bytes memory byEnclave) internal {
        bytes memory bySms = sign(SMS_KEY, address(tasks), resultKeyHash(taskId, key));
        vm.expectRevert(
            abi.encodeWithSelector(ITaskRegistry.ResultSignatureInvalid.selector, taskId)
        );
        vm.prank(worker);
        tasks.complete(taskId, DIGEST, "uri", key, byEnclave, bySms);
    }

    function expectStatementRefused(bytes memory signature) internal {
        vm.expectRevert(abi.encodeWithSelector(ITaskRegistry.SmsSignatureInvalid.selector, taskId));
        tasks.settle(taskId, signature);
    }
}
