// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Terms} from "../../contracts/interfaces/IEnclaveWhitelist.sol";
import {Order} from "../../contracts/interfaces/ITaskRegistry.sol";
import {MoneyTest} from "./support/MoneyTest.sol";

/// @title What each action costs, as a transaction of its own
/// forge-config: default.isolate = true
contract GasTest is MoneyTest {
    uint256 internal constant OWNER_KEY = uint256(keccak256("key of the signing owner"));
    address internal signer = vm.addr(OWNER_KEY);

    /// @dev Nothing is anybody's first: journals, counts and credits stand at one already, as they
    /// do on a chain in use.
    function setUp() public override {
        super.setUp();
        bytes32 native = buyAndStart(someDeal(true));
        complete(native);
        bytes32 inToken = buyAndStart(someDeal(false));
        complete(inToken);
        bytes32 cancelled = buyNative();
        vm.prank(requester);
        tasks.cancel(cancelled);
    }

    /* ASSETS */

    function test_register_gas() public {
        vm.prank(appOwner);
        assets.register(APP, appOwner, "ipfs://another", DIGEST, "another");
        vm.snapshotGasLastCall("AssetRegistry", "register");
    }

    function test_setContent_gas() public {
        vm.prank(appOwner);
        assets.setContent(app, "ipfs://next", keccak256("next"));
        vm.snapshotGasLastCall("AssetRegistry", "setContent");
    }

    function test_transferFrom_gas() public {
        vm.prank(appOwner);
        assets.transferFrom(appOwner, stranger, app);
        vm.snapshotGasLastCall("AssetRegistry", "transferFrom");
    }

    /* WHITELIST */

    function test_authorize_gas() public {
        vm.prank(dataOwner);
        whitelist.authorize(data, OTHER_ENCLAVE, fullTerms());
        vm.snapshotGasLastCall("EnclaveWhitelist", "authorize, a new pair");
        Terms memory terms = fullTerms();
        terms.price = 9 ether;
        vm.prank(dataOwner);
        whitelist.authorize(data, OTHER_ENCLAVE, terms);
        vm.snapshotGasLastCall("EnclaveWhitelist", "authorize, another price");
    }

    function test_revoke_gas() public {
        vm.prank(dataOwner);
        whitelist.revoke(data, ENCLAVE);
        vm.snapshotGasLastCall("EnclaveWhitelist", "revoke");
    }

    function test_authorizeBatch_gas() public {
        uint256[] memory ids = new uint256[](16);
        bytes32[] memory enclaves = new bytes32[](16);
        Terms[] memory terms = new Terms[](16);
        for (uint256 i; i < 16; ++i) {
            (ids[i], enclaves[i], terms[i]) = (data, bytes32(i + 1), fullTerms());
        }
        vm.prank(dataOwner);
        whitelist.authorizeBatch(ids, enclaves, terms);
        vm.snapshotGasLastCall("EnclaveWhitelist", "authorizeBatch, 16 new pairs");
        vm.prank(dataOwner);
        whitelist.revokeBatch(ids, enclaves);
        vm.snapshotGasLastCall("EnclaveWhitelist", "revokeBatch, 16 pairs");
    }

    function test_authorizeBySig_gas() public {
        vm.prank(dataOwner);
        assets.transferFrom(dataOwner, signer, data);
        uint256 until = NOW + 1 days;
        bytes32 structHash = authorizeHash(signer, data, fullTerms(), 0, until);
        bytes memory signature = sign(OWNER_KEY, address(whitelist), structHash);
        whitelist.authorizeBySig(signer, data, ENCLAVE, fullTerms(), until, signature);
        vm.snapshotGasLastCall("EnclaveWhitelist", "authorizeBySig, a known pair");
        signature = sign(OWNER_KEY, address(whitelist), revokeHash(signer, data, 1, until));
        whitelist.revokeBySig(signer, data, ENCLAVE, until, signature);
        vm.snapshotGasLastCall("EnclaveWhitelist", "revokeBySig");
    }

    /* TASKS */

    function test_purchase_gas() public {
        Order memory order = orderOf(app);
        allow(app);
        vm.prank(requester);
        tasks.purchase(order);
        vm.snapshotGasLastCall("TaskRegistry", "purchase, a free app alone");
    }

    function test_purchaseNative_gas() public {
        buyNative();
        vm.snapshotGasLastCall("TaskRegistry", "purchase, app and 2 data in native coin");
    }

    function test_purchaseToken_gas() public {
        Deal memory deal = someDeal(false);
        ++deal.app;
        ++deal.data;
        ++deal.more;
        Order memory order = withGrant(offer(deal), 1, "token");
        fund(deal);
        vm.prank(requester);
        tasks.purchase(order);
        vm.snapshotGasLastCall("TaskRegistry", "purchase, app and 2 data in an ERC-20");
    }

    function test_start_gas() public {
        start(buyNative());
        vm.snapshotGasLastCall("TaskRegistry", "start");
    }

    function test_complete_gas() public {
        bytes32 taskId = startNative();
        complete(taskId);
        vm.snapshotGasLastCall("TaskRegistry", "complete, 4 credits");
    }

    function test_settle_gas() public {
        bytes32 taskId = startNative();
        tasks.settle(taskId, statement(taskId));
        vm.snapshotGasLastCall("TaskRegistry", "settle, 3 credits");
        complete(taskId);
        vm.snapshotGasLastCall("TaskRegistry", "complete after settle");
    }

    function test_cancel_gas() public {
        bytes32 taskId = buyNative();
        vm.prank(requester);
        tasks.cancel(taskId);
        vm.snapshotGasLastCall("TaskRegistry", "cancel");
    }

    function test_expire_gas() public {
        bytes32 taskId = buyNative();
        vm.warp(NOW + 2 hours);
        tasks.expire(taskId);
        vm.snapshotGasLastCall("TaskRegistry", "expire");
    }

    function test_revokeGrant_gas() public {
        bytes32 taskId = buyNative();
        vm.prank(requester);
        tasks.revokeGrant(taskId, 1);
        vm.snapshotGasLastCall("TaskRegistry", "revokeGrant");
    }

    function test_withdraw_gas() public {
        vm.deal(worker, 1);
        vm.prank(worker);
        tasks.withdraw(address(0));
        vm.snapshotGasLastCall("TaskRegistry", "withdraw native coin");
        token.mint(worker, 1);
        vm.prank(worker);
        tasks.withdraw(address(token));
        vm.snapshotGasLastCall("TaskRegistry", "withdraw an ERC-20");
    }

    /* HELPERS */

    function fullTerms() internal view returns (Terms memory terms) {
        terms = priced(address(token), 3 ether);
        (terms.notBefore, terms.notAfter) = (uint64(NOW), uint64(NOW + 365 days));
        (terms.app, terms.requester, terms.sms, terms.maxTasks) = (app, requester, sms, 100);
    }

    uint96 internal bump;

    /// @dev App and two data at a price each, a reward, one grant.
    function buyNative() internal returns (bytes32) {
        Deal memory deal = someDeal(true);
        ++bump;
        deal.app += bump;
        deal.data += bump;
        deal.more += bump;
        Order memory order = withGrant(offer(deal), 1, "token");
        vm.deal(requester, costOf(deal));
        vm.prank(requester);
        return tasks.purchase{value: costOf(deal)}(order);
    }

    function startNative() internal returns (bytes32 taskId) {
        taskId = buyNative();
        start(taskId);
    }
}
