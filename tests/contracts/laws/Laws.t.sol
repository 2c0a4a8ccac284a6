// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Terms} from "../../../contracts/interfaces/IEnclaveWhitelist.sol";
import {ITaskRegistry, Order} from "../../../contracts/interfaces/ITaskRegistry.sol";
import {BaseTest} from "../support/BaseTest.sol";

/// @title The laws that decisions rest on, for all values at once: `script/prove` runs these
/// @dev Every argument of a `check_` function stands for each value that it can have. A law is
/// about calls that pass; that they can pass at all is what the other tests show.
contract LawsTest is BaseTest {
    // Where the contracts keep what the laws are about; TypedData.t.sol tests it too.
    uint256 internal constant ASSETS_SLOT = 6;
    uint256 internal constant TASKS_SLOT = 2;
    uint256 internal constant USES_SLOT = 4;

    address internal approved = address(0xa11ce);
    address internal operator = address(0x0b0b);
    uint256 internal app;
    uint256 internal data;

    function setUp() public override {
        appOwner = address(0xa0);
        dataOwner = address(0xd0);
        requester = address(0xe0);
        worker = address(0xf0);
        sms = address(0x515);
        super.setUp();
        app = newApp();
        data = newData("data");
        vm.prank(dataOwner);
        assets.approve(approved, data);
        vm.prank(dataOwner);
        assets.setApprovalForAll(operator, true);
    }

    /* WHO MAY AUTHORIZE */

    function check_onlyTheOwnersSideAuthorizes(
        address caller,
        bytes32 enclaveId,
        Terms memory terms
    ) public {
        vm.prank(caller);
        (bool passed,) =
            address(whitelist).call(abi.encodeCall(whitelist.authorize, (data, enclaveId, terms)));
        if (passed) assert(isOwnersSide(caller));
    }

    function check_onlyTheOwnersSideRevokes(address caller, bytes32 enclaveId) public {
        allow(data);
        vm.prank(caller);
        (bool passed,) =
            address(whitelist).call(abi.encodeCall(whitelist.revoke, (data, enclaveId)));
        if (passed) assert(isOwnersSide(caller) && enclaveId == ENCLAVE);
    }

    /// @dev Whoever brings it and whatever the signature: only one of the owner's side signs.
    function check_onlyTheOwnersSideAuthorizesBySig(
        address caller,
        address signer,
        Terms memory terms,
        uint256 deadline,
        bytes32 r,
        bytes32 s,
        uint8 v
    ) public {
        vm.assume(signer.code.length == 0);
        bytes memory call = abi.encodeCall(
            whitelist.authorizeBySig,
            (signer, data, ENCLAVE, terms, deadline, abi.encodePacked(r, s, v))
        );
        vm.prank(caller);
        (bool passed,) = address(whitelist).call(call);
        if (passed) {
            assert(isOwnersSide(signer));
            assert(deadline >= block.timestamp);
            assert(whitelist.nonceOf(signer) == 1);
        }
    }

    /* EPOCH */

    /// @dev Whatever the asset's epoch has become: only in that of the authorization can it be
    /// bought.
    function check_aVoidEpochNeverPassesAPurchase(
        address caller,
        uint64 given,
        uint64 epoch,
        uint64 deadline
    ) public {
        vm.assume(caller.code.length == 0);
        setEpoch(app, APP, given);
        allow(app);
        setEpoch(app, APP, epoch);
        Order memory order = orderOf(app);
        order.deadline = deadline;
        vm.prank(caller);
        (bool passed,) = address(tasks).call(abi.encodeCall(tasks.purchase, (order)));
        if (passed) assert(epoch == given);
    }

    function check_aTransferRaisesTheEpoch(address to, uint64 epoch) public {
        setEpoch(app, APP, epoch);
        vm.prank(appOwner);
        (bool passed,) =
            address(assets).call(abi.encodeCall(assets.transferFrom, (appOwner, to, app)));
        if (passed) assert(assets.epochOf(app) > epoch);
    }

    /* MAX TASKS */

    /// @dev Whatever was counted before: a purchase counts one, and never beyond the limit.
    function check_maxTasksIsNeverExceeded(uint64 limit, uint64 uses, address caller) public {
        vm.assume(caller.code.length == 0);
        Terms memory terms = openTerms();
        terms.maxTasks = limit;
        allow(app, terms);
        setUses(app, 1, uses);
        Order memory order = orderOf(app);
        vm.prank(caller);
        (bool passed,) = address(tasks).call(abi.encodeCall(tasks.purchase, (order)));
        uint64 next = tasks.usesOf(app, ENCLAVE, 1);
        if (passed) assert(next == uses + 1 && (limit == 0 || next <= limit));
        else assert(next == uses);
    }

    function check_cancelGivesOneUseBack(uint64 uses, address caller) public {
        allow(app);
        setUses(app, 1, uses);
        vm.assume(uses < type(uint64).max);
        bytes32 taskId = buy(orderOf(app));
        vm.prank(caller);
        (bool passed,) = address(tasks).call(abi.encodeCall(tasks.cancel, (taskId)));
        if (passed) assert(caller == requester);
        assert(tasks.usesOf(app, ENCLAVE, 1) == (passed ? uses : uses + 1));
    }

    /* ESCROW */

    /// @dev A purchase takes prices and reward, no more than the requester would pay.
    function check_aPurchaseTakesTheCost(
        uint256 appPrice,
        uint256 dataPrice,
        uint256 reward,
        uint256 maxCost,
        uint256 value
    ) public {
        Order memory order = pricedOrder(appPrice, dataPrice, reward);
        order.maxCost = maxCost;
        vm.deal(requester, value);
        vm.prank(requester);
        (bool passed, bytes memory answer) =
            address(tasks).call{value: value}(abi.encodeCall(tasks.purchase, (order)));
        if (!passed) return;
        (, uint256 amount) = tasks.escrowOf(abi.decode(answer, (bytes32)));
        assert(amount == value && value <= maxCost);
        unchecked {
            assert(amount == appPrice + dataPrice + reward);
            assert(amount >= appPrice && amount - appPrice >= dataPrice);
        }
        assert(address(tasks).balance == value);
    }

    /// @dev Whatever is done with a task, by whom and when: what it holds and what was credited
    /// come to what was paid.
    function check_escrowIsConserved(
        uint96 appPrice,
        uint96 dataPrice,
        uint96 reward,
        uint8 status,
        bool settled,
        uint64 time,
        address caller,
        uint8 what,
        bytes32 r,
        bytes32 s
    ) public {
        uint256 cost = uint256(appPrice) + dataPrice + reward;
        bytes32 taskId = plantTask(appPrice, dataPrice, reward, status, settled);
        uint256 before = held(taskId);
        vm.warp(time);
        bytes memory call = movingCall(what, taskId, r, s);
        vm.prank(caller);
        (bool passed,) = address(tasks).call(call);

        assert(held(taskId) == before);
        assert(before <= cost);
        if (passed) assert(status == 1 || status == 2);
    }

    /* HELPERS */

    function isOwnersSide(address account) internal view returns (bool) {
        return account == dataOwner || account == approved || account == operator;
    }

    function setEpoch(uint256 assetId, uint8 kind, uint64 epoch) internal {
        uint256 slot = uint256(keccak256(abi.encode(assetId, ASSETS_SLOT))) + 1;
        vm.store(address(assets), bytes32(slot), bytes32(uint256(epoch) | (uint256(kind) << 64)));
        assert(assets.epochOf(assetId) == epoch && assets.kindOf(assetId) == kind);
    }

    function setUses(uint256 assetId, uint64 serial, uint64 uses) internal {
        bytes32 key = keccak256(abi.encode(assetId, ENCLAVE, serial));
        vm.store(address(tasks), keccak256(abi.encode(key, USES_SLOT)), bytes32(uint256(uses)));
        assert(tasks.usesOf(assetId, ENCLAVE, serial) == uses);
    }

    function pricedOrder(uint256 appPrice, uint256 dataPrice, uint256 reward)
        internal
        returns (Order memory order)
    {
        Terms memory terms = openTerms();
        terms.price = appPrice;
        allow(app, terms);
        terms.price = dataPrice;
        allow(data, terms);
        order = orderOf(app, data);
        order.reward = reward;
    }

    /// @dev Buys a task, then puts it into any state that there is.
    function plantTask(uint96 appPrice, uint96 dataPrice, uint96 reward, uint8 status, bool settled)
        internal
        returns (bytes32 taskId)
    {
        vm.assume(appPrice != 0 && dataPrice != 0);
        vm.assume(status >= 1 && status <= 5);
        vm.assume(!settled || status != 1);
        Order memory order = pricedOrder(appPrice, dataPrice, reward);
        order.maxCost = uint256(appPrice) + dataPrice + reward;
        vm.deal(requester, order.maxCost);
        vm.prank(requester);
        taskId = tasks.purchase{value: order.maxCost}(order);
        uint256 facts = uint256(uint160(requester)) | (uint256(order.deadline) << 160)
            | (uint256(status) << 224) | (settled ? uint256(1) << 232 : 0);
        vm.store(address(tasks), keccak256(abi.encode(taskId, TASKS_SLOT)), bytes32(facts));
        assert(statusOf(taskId) == ITaskRegistry.Status(status));
    }

    /// @dev What the task holds, and everybody's credit.
    function held(bytes32 taskId) internal view returns (uint256 sum) {
        (, sum) = tasks.escrowOf(taskId);
        sum += tasks.creditOf(appOwner, address(0)) + tasks.creditOf(dataOwner, address(0));
        sum += tasks.creditOf(worker, address(0)) + tasks.creditOf(requester, address(0));
    }

    function movingCall(uint8 what, bytes32 taskId, bytes32 r, bytes32 s)
        internal
        view
        returns (bytes memory)
    {
        bytes memory signature = abi.encodePacked(r, s, uint8(27));
        if (what == 0) return abi.encodeCall(tasks.start, (taskId));
        if (what == 1) return abi.encodeCall(tasks.cancel, (taskId));
        if (what == 2) return abi.encodeCall(tasks.expire, (taskId));
        if (what == 3) return abi.encodeCall(tasks.settle, (taskId, signature));
        bytes memory byEnclave = abi.encodePacked(BUNDLE, signature);
        return
            abi.encodeCall(tasks.complete, (taskId, DIGEST, "", beneficiary, byEnclave, signature));
    }
}
