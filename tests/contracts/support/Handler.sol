// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Vm} from "forge-std/Vm.sol";

import {Terms} from "../../../contracts/interfaces/IEnclaveWhitelist.sol";
import {ITaskRegistry, Order} from "../../../contracts/interfaces/ITaskRegistry.sol";
import {BaseTest} from "./BaseTest.sol";
import {Fold} from "./Fold.sol";
import {Token} from "./Tokens.sol";

/// @title Everybody at once: owners, requesters and workers doing what they may, in any order
/// @dev Each call either does something or, where it could not pass, nothing; none may revert.
contract Handler is BaseTest {
    address[3] internal people = [appOwner, dataOwner, stranger];
    uint256[4] internal owned;

    /// @dev What the logs say the journals are.
    mapping(address registry => bytes32) public mirrored;

    bytes32[] public taskIds;
    mapping(bytes32 taskId => ITaskRegistry.Status) public finalStatus;
    mapping(bytes32 taskId => Order) internal orders;
    mapping(bytes32 taskId => bool) internal settled;
    mapping(uint256 assetId => uint64) internal serials;
    mapping(uint256 assetId => mapping(uint64 serial => uint64)) public maxTasks;
    mapping(uint256 assetId => mapping(uint64 serial => uint64)) public expectedUses;
    mapping(uint256 assetId => Terms) internal latest;

    /// @dev What went in and came out, per currency.
    mapping(address currency => uint256) public paidIn;
    mapping(address currency => uint256) public paidOut;
    Token public token = new Token();
    mapping(bytes32 taskId => mapping(uint256 assetId => uint64)) internal usedSerial;

    constructor() {
        setUp();
        vm.recordLogs();
        owned[0] = newAsset(APP, appOwner, "app 0");
        owned[1] = newAsset(APP, dataOwner, "app 1");
        owned[2] = newAsset(DATA, appOwner, "data 0");
        owned[3] = newAsset(DATA, dataOwner, "data 1");
        mirror(vm.getRecordedLogs());
        for (uint256 i; i < owned.length; ++i) {
            authorize(i, 0, uint8(2 * i));
        }
        for (uint256 i; i < 6; ++i) {
            purchase(i, i, i, uint16(1000 * i), uint8(2 * i));
            if (i % 2 == 0) start(i);
        }
    }

    /// @dev Mirrors whatever the call emits, and notes tasks that ended.
    modifier mirrors() {
        vm.recordLogs();
        _;
        mirror(vm.getRecordedLogs());
        for (uint256 i; i < taskIds.length; ++i) {
            ITaskRegistry.Status status = statusOf(taskIds[i]);
            if (uint8(finalStatus[taskIds[i]]) == 0 && uint8(status) > 2) {
                finalStatus[taskIds[i]] = status;
            }
        }
    }

    /* OWNERS */

    function setContent(uint256 which, uint256 salt) external mirrors {
        uint256 assetId = owned[which % owned.length];
        (, bytes32 digest) = assets.contentOf(assetId);
        vm.prank(assets.ownerOf(assetId));
        assets.setContent(assetId, "ipfs://next", keccak256(abi.encode(digest, salt)));
    }

    function transfer(uint256 which, uint256 to) external mirrors {
        uint256 assetId = owned[which % owned.length];
        address owner = assets.ownerOf(assetId);
        vm.prank(owner);
        assets.transferFrom(owner, people[to % people.length], assetId);
    }

    /// @dev Odd prices are in the token, even ones in the native coin.
    function authorize(uint256 which, uint8 limit, uint8 price) public mirrors {
        uint256 assetId = owned[which % owned.length];
        Terms memory terms = openTerms();
        terms.maxTasks = limit % 4;
        terms.price = price;
        terms.currency = price % 2 == 0 ? address(0) : address(token);
        if (keccak256(abi.encode(terms)) == keccak256(abi.encode(latest[assetId]))) {
            terms.notBefore = serials[assetId] + 1;
        }
        uint64 serial = allow(assetId, terms);
        assertEq(serial, ++serials[assetId], "a serial was skipped");
        maxTasks[assetId][serial] = terms.maxTasks;
        latest[assetId] = terms;
    }

    function revoke(uint256 which) external mirrors {
        uint256 assetId = owned[which % owned.length];
        if (!allowed(assetId)) return;
        vm.prank(assets.ownerOf(assetId));
        whitelist.revoke(assetId, ENCLAVE);
    }

    /* REQUESTERS */

    /// @dev Passes exactly when both owners let it: never on a void authorization, nor beyond
    /// `maxTasks`, nor for another money.
    function purchase(uint256 app, uint256 data, uint256 who, uint16 life, uint8 reward)
        public
        mirrors
    {
        app = owned[app % 2];
        Order memory order = data % 3 < 2 ? orderOf(app, owned[2 + (data % 3)]) : orderOf(app);
        order.deadline = uint64(vm.getBlockTimestamp() + 1 + life);
        order.currency = reward % 2 == 0 ? address(0) : address(token);
        order.reward = reward;
        order.maxCost = 1 ether;
        withGrant(order, 1, "token");
        uint256 cost = order.reward + latest[app].price;
        bool passes = usable(app, order.currency);
        if (order.data.length > 0) {
            cost += latest[order.data[0]].price;
            passes = passes && usable(order.data[0], order.currency);
        }

        (bool passed, bytes memory answer) = pay(people[who % people.length], order, cost);

        assertEq(passed, passes, "purchase");
        if (passed) bought(abi.decode(answer, (bytes32)), order, cost);
    }

    function pay(address account, Order memory order, uint256 cost)
        internal
        returns (bool passed, bytes memory answer)
    {
        uint256 value = order.currency == address(0) ? cost : 0;
        vm.deal(account, account.balance + value);
        if (value == 0) {
            token.mint(account, cost);
            vm.prank(account);
            token.approve(address(tasks), cost);
        }
        vm.prank(account);
        return address(tasks).call{value: value}(abi.encodeCall(tasks.purchase, (order)));
    }

    function bought(bytes32 taskId, Order memory order, uint256 cost) internal {
        assertEq(uint8(finalStatus[taskId]), 0, "an id came back");
        paidIn[order.currency] += cost;
        taskIds.push(taskId);
        use(taskId, order.app);
        if (order.data.length > 0) use(taskId, order.data[0]);
        orders[taskId].app = order.app;
        orders[taskId].data = order.data;
    }

    function cancel(uint256 which) external mirrors {
        bytes32 taskId = pick(which, ITaskRegistry.Status.Purchased);
        if (taskId == 0) return;
        (, address requester,,,) = tasks.taskOf(taskId);
        vm.prank(requester);
        tasks.cancel(taskId);

        Order storage order = orders[taskId];
        giveBack(taskId, order.app);
        if (order.data.length > 0) giveBack(taskId, order.data[0]);
    }

    function revokeGrant(uint256 which, bool started) external mirrors {
        bytes32 taskId =
            pick(which, started ? ITaskRegistry.Status.Started : ITaskRegistry.Status.Purchased);
        if (taskId == 0 || tasks.isGrantRevoked(taskId, 1)) return;
        (, address requester,,,) = tasks.taskOf(taskId);
        vm.prank(requester);
        tasks.revokeGrant(taskId, 1);
    }

    /* WORKERS AND ANYBODY */

    function start(uint256 which) public mirrors {
        bytes32 taskId = pick(which, ITaskRegistry.Status.Purchased);
        if (taskId == 0 || late(taskId)) return;
        vm.prank(worker);
        tasks.start(taskId);
    }

    function finish(uint256 which) external mirrors {
        bytes32 taskId = pick(which, ITaskRegistry.Status.Started);
        if (taskId == 0 || late(taskId)) return;
        complete(taskId);
    }

    function expire(uint256 which, bool started) external mirrors {
        bytes32 taskId =
            pick(which, started ? ITaskRegistry.Status.Started : ITaskRegistry.Status.Purchased);
        if (taskId == 0 || !late(taskId)) return;
        if (started && !settled[taskId] && claimable(taskId)) return;
        tasks.expire(taskId);
    }

    function settle(uint256 which) external mirrors {
        bytes32 taskId = pick(which, ITaskRegistry.Status.Started);
        if (taskId == 0 || settled[taskId] || !claimable(taskId)) return;
        settled[taskId] = true;
        tasks.settle(taskId, statement(taskId));
    }

    /// @dev Whatever is tried with a task that has ended is refused.
    function disturb(uint256 which, uint8 call) external mirrors {
        if (taskIds.length == 0) return;
        bytes32 taskId = taskIds[which % taskIds.length];
        if (uint8(finalStatus[taskId]) == 0) return;
        (, address requester,,,) = tasks.taskOf(taskId);
        address key = vm.addr(RESULT_KEY);
        bytes memory byEnclave = resultSignature(taskId, DIGEST, "");
        bytes[5] memory calls = [
            abi.encodeCall(tasks.start, (taskId)),
            abi.encodeCall(tasks.cancel, (taskId)),
            abi.encodeCall(tasks.expire, (taskId)),
            abi.encodeCall(tasks.settle, (taskId, statement(taskId))),
            abi.encodeCall(
                tasks.complete, (taskId, DIGEST, "", key, byEnclave, certificate(taskId))
            )
        ];
        vm.prank(call % 2 == 0 ? requester : worker);
        (bool ok,) = address(tasks).call(calls[call % 5]);
        assertFalse(ok, "an ended task moved");
    }

    function withdraw(uint256 who, bool native) external mirrors {
        address account = accounts()[who % 4];
        address currency = native ? address(0) : address(token);
        uint256 credit = tasks.creditOf(account, currency);
        vm.prank(account);
        (bool passed,) = address(tasks).call(abi.encodeCall(tasks.withdraw, (currency)));
        assertEq(passed, credit != 0, "withdraw");
        paidOut[currency] += credit;
    }

    /// @dev Mostly hours; sometimes days, so that claim windows close.
    function pass(uint16 time) external {
        vm.warp(vm.getBlockTimestamp() + (time % 8 == 0 ? 4 days : time % 3 hours));
    }

    /* VIEWS */

    function assetsOf() external view returns (uint256[4] memory, uint64[4] memory newest) {
        for (uint256 i; i < owned.length; ++i) {
            newest[i] = serials[owned[i]];
        }
        return (owned, newest);
    }

    /// @dev Everybody who can have a credit.
    function accounts() public view returns (address[4] memory) {
        return [people[0], people[1], people[2], worker];
    }

    function taskCount() external view returns (uint256) {
        return taskIds.length;
    }

    function registries() external view returns (address, address, address) {
        return (address(assets), address(whitelist), address(tasks));
    }

    /* HELPERS */

    function mirror(Vm.Log[] memory logs) internal {
        address[3] memory all = [address(assets), address(whitelist), address(tasks)];
        for (uint256 i; i < all.length; ++i) {
            mirrored[all[i]] = refold(mirrored[all[i]], all[i], logs);
        }
    }

    function allowed(uint256 assetId) internal view returns (bool) {
        (, uint64 epoch,, bool active) = whitelist.authorizationOf(assetId, ENCLAVE);
        return active && epoch == assets.epochOf(assetId);
    }

    function usable(uint256 assetId, address currency) internal view returns (bool) {
        uint64 serial = serials[assetId];
        uint64 limit = maxTasks[assetId][serial];
        Terms storage terms = latest[assetId];
        return allowed(assetId) && (limit == 0 || expectedUses[assetId][serial] < limit)
            && (terms.price == 0 || terms.currency == currency);
    }

    function use(bytes32 taskId, uint256 assetId) internal {
        usedSerial[taskId][assetId] = serials[assetId];
        expectedUses[assetId][serials[assetId]]++;
    }

    function giveBack(bytes32 taskId, uint256 assetId) internal {
        expectedUses[assetId][usedSerial[taskId][assetId]]--;
    }

    /// @dev Some task in this state, or zero.
    function pick(uint256 which, ITaskRegistry.Status status) internal view returns (bytes32) {
        for (uint256 i; i < taskIds.length; ++i) {
            bytes32 taskId = taskIds[addmod(which, i, taskIds.length)];
            if (statusOf(taskId) == status) return taskId;
        }
        return 0;
    }

    function late(bytes32 taskId) internal view returns (bool) {
        (,,,, uint64 deadline) = tasks.taskOf(taskId);
        return vm.getBlockTimestamp() > deadline;
    }

    function claimable(bytes32 taskId) internal view returns (bool) {
        (,,,, uint64 deadline) = tasks.taskOf(taskId);
        return vm.getBlockTimestamp() <= deadline + CLAIM_WINDOW;
    }
}
