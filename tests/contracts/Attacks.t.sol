// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";

import {Terms} from "../../contracts/interfaces/IEnclaveWhitelist.sol";
import {Grant, ITaskRegistry, Order} from "../../contracts/interfaces/ITaskRegistry.sol";
import {Reenterer, Refuser} from "./support/Actors.sol";
import {MoneyTest} from "./support/MoneyTest.sol";
import {CallingToken} from "./support/Tokens.sol";

/// @title What somebody will try first, by name
contract AttacksTest is MoneyTest {
    /* REENTRANCY */

    /// @dev While the token is being paid in, nothing that moves value can be entered.
    function test_attack_reentrancyThroughErc20InPurchase() public {
        bytes32 victim = buyAndStart(someDeal(true));
        bytes[6] memory calls = movingCalls(victim);
        for (uint256 i; i < calls.length; ++i) {
            CallingToken calling = new CallingToken();
            Order memory order = rewarded(address(calling), 1 ether);
            calling.mint(requester, 1 ether);
            vm.prank(requester);
            calling.approve(address(tasks), 1 ether);
            calling.callDuringTransfer(address(tasks), calls[i]);
            buy(order);
            assertRefusedAsReentrant(calling.called(), calling.passed(), calling.answer());
            assertEq(calling.balanceOf(address(tasks)), 1 ether);
        }
        assertEscrow(victim, address(0), 36 ether);
    }

    /// @dev Nor while it is being paid out.
    function test_attack_reentrancyThroughErc20InWithdraw() public {
        bytes32 victim = buyAndStart(someDeal(true));
        bytes[6] memory calls = movingCalls(victim);
        for (uint256 i; i < calls.length; ++i) {
            CallingToken calling = new CallingToken();
            Order memory order = rewarded(address(calling), 1 ether);
            calling.mint(requester, 1 ether);
            vm.prank(requester);
            calling.approve(address(tasks), 1 ether);
            bytes32 taskId = buy(order);
            vm.prank(requester);
            tasks.cancel(taskId);
            calling.callDuringTransfer(address(tasks), calls[i]);
            vm.prank(requester);
            tasks.withdraw(address(calling));
            assertRefusedAsReentrant(calling.called(), calling.passed(), calling.answer());
            assertEq(calling.balanceOf(requester), 1 ether);
        }
    }

    /// @dev A start moves no value and is not closed; in the middle of the payment the task is
    /// already bought, in the journal too, and if the payment fails it never was.
    function test_attack_startDuringThePayment() public {
        CallingToken calling = new CallingToken();
        Order memory order = rewarded(address(calling), 1 ether);
        order.worker = address(calling);
        bytes32 taskId = tasks.taskIdOf(requester, 0, order);
        calling.callDuringTransfer(address(tasks), abi.encodeCall(tasks.start, (taskId)));
        vm.prank(requester);
        calling.approve(address(tasks), 1 ether);
        vm.expectRevert();
        vm.prank(requester);
        tasks.purchase(order);
        assertStatus(taskId, ITaskRegistry.Status.None);

        calling.mint(requester, 1 ether);
        assertEq(buyRefolding(order), taskId);
        assertTrue(calling.passed());
        assertStatus(taskId, ITaskRegistry.Status.Started);
        assertEscrow(taskId, address(calling), 1 ether);
    }

    function buyRefolding(Order memory order)
        internal
        refolds(address(tasks), 2)
        returns (bytes32)
    {
        return buy(order);
    }

    /// @dev The payee of native coin asks again while it is paid.
    function test_attack_reentrancyThroughNativePayment() public {
        buy(someDeal(true));
        Reenterer thief = new Reenterer();
        Order memory order = rewarded(address(0), 1 ether);
        vm.deal(address(thief), 1 ether);
        (bool passed, bytes memory bought) =
            thief.call(address(tasks), 1 ether, abi.encodeCall(tasks.purchase, (order)));
        assertTrue(passed);
        bytes32 taskId = abi.decode(bought, (bytes32));
        (passed,) = thief.call(address(tasks), 0, abi.encodeCall(tasks.cancel, (taskId)));
        assertTrue(passed);
        bytes memory withdraw = abi.encodeCall(tasks.withdraw, (address(0)));
        thief.aim(address(tasks), withdraw);
        (passed,) = thief.call(address(tasks), 0, withdraw);

        assertTrue(passed);
        assertRefusedAsReentrant(thief.called(), thief.passed(), thief.answer());
        assertEq(address(thief).balance, 1 ether);
        assertEq(address(tasks).balance, 36 ether);
    }

    /// @dev In the receiver's callback of a sale, the sale is already written: nothing can be
    /// bought on the old owner's terms.
    function test_attack_reentrancyThroughErc721() public {
        Reenterer buyer = new Reenterer();
        Order memory order = offer(someDeal(true));
        buyer.aim(address(tasks), abi.encodeCall(tasks.purchase, (order)));
        vm.deal(address(buyer), 36 ether);
        vm.prank(appOwner);
        assets.safeTransferFrom(appOwner, address(buyer), app);

        assertTrue(buyer.called() && !buyer.passed());
        assertEq(
            buyer.answer(),
            abi.encodeWithSelector(ITaskRegistry.NotWhitelisted.selector, app, ENCLAVE)
        );
    }

    /// @dev And what the receiver does there, it does as the owner that it is.
    function test_attack_reentrancyThroughErc721PassingOn() public {
        Reenterer buyer = new Reenterer();
        allow(app);
        buyer.aim(
            address(assets), abi.encodeCall(assets.transferFrom, (address(buyer), stranger, app))
        );
        vm.prank(appOwner);
        assets.safeTransferFrom(appOwner, address(buyer), app);
        assertTrue(buyer.passed());
        assertEq(assets.ownerOf(app), stranger);
        assertEq(assets.epochOf(app), 2);
    }

    /* PRICE */

    function test_fuzz_attack_frontRunPrice(Deal memory deal, uint96 more_) public {
        Order memory order = offer(deal);
        uint256 value = fund(deal);
        Terms memory dearer = priced(currencyOf(deal), uint256(deal.app) + 1 + more_);
        allow(app, dearer);
        vm.expectPartialRevert(ITaskRegistry.CostAboveMaximum.selector);
        vm.prank(requester);
        tasks.purchase{value: value}(order);
    }

    /// @dev The same number in a dearer coin.
    function test_attack_frontRunCurrency() public {
        Deal memory deal = someDeal(true);
        Order memory order = offer(deal);
        allow(app, priced(address(token), deal.app));
        vm.deal(requester, 36 ether);
        vm.expectRevert(
            abi.encodeWithSelector(ITaskRegistry.WrongCurrency.selector, app, address(token))
        );
        vm.prank(requester);
        tasks.purchase{value: 36 ether}(order);
    }

    /// @dev A price that fell in between: the rest of the value is not kept, the call fails; of a
    /// token only the cost is taken.
    function test_attack_frontRunPriceDownwards() public {
        Deal memory deal = someDeal(true);
        Order memory order = offer(deal);
        allow(app, priced(address(0), 1 ether));
        vm.deal(requester, 36 ether);
        vm.expectRevert(
            abi.encodeWithSelector(ITaskRegistry.WrongValue.selector, 36 ether, 32 ether)
        );
        vm.prank(requester);
        tasks.purchase{value: 36 ether}(order);

        deal.native = false;
        order = offer(deal);
        allow(app, priced(address(token), 1 ether));
        fund(deal);
        assertEscrow(buy(order), address(token), 32 ether);
        assertEq(token.balanceOf(requester), 4 ether);
    }

    /// @dev Copying an order out of the pool buys the copier another task, and disturbs nobody.
    function test_attack_frontRunPurchase() public {
        allow(app);
        Order memory order = orderOf(app);
        bytes32 expected = tasks.taskIdOf(requester, 0, order);
        vm.prank(stranger);
        bytes32 copied = tasks.purchase(order);
        assertNotEq(copied, expected);
        assertEq(buy(order), expected);
    }

    /* GRIEFING */

    /// @dev A requester that refuses payment can still cancel; only its own money waits.
    function test_attack_griefedRefund() public {
        Refuser refuser = new Refuser();
        Deal memory deal = someDeal(true);
        Order memory order = offer(deal);
        vm.deal(address(refuser), 36 ether);
        bytes32 taskId = purchaseAs(refuser, order, 36 ether);
        (bool passed,) = refuser.call(address(tasks), 0, abi.encodeCall(tasks.cancel, (taskId)));
        assertTrue(passed);
        assertEq(tasks.creditOf(address(refuser), address(0)), 36 ether);
        (passed,) = refuser.call(address(tasks), 0, abi.encodeCall(tasks.withdraw, (address(0))));
        assertFalse(passed);
        assertEq(tasks.creditOf(address(refuser), address(0)), 36 ether);
    }

    /// @dev An owner that refuses payment holds up neither the worker nor the other owners.
    function test_attack_rejectingPayee() public {
        Refuser refuser = new Refuser();
        vm.prank(dataOwner);
        assets.transferFrom(dataOwner, address(refuser), data);
        Deal memory deal = someDeal(true);
        bytes32 taskId = buyAndStart(deal);
        complete(taskId);
        vm.prank(worker);
        tasks.withdraw(address(0));
        vm.prank(appOwner);
        tasks.withdraw(address(0));
        vm.prank(moreOwner);
        tasks.withdraw(address(0));
        assertEq(worker.balance, deal.reward);
        (bool passed,) =
            refuser.call(address(tasks), 0, abi.encodeCall(tasks.withdraw, (address(0))));
        assertFalse(passed);
        assertEq(address(tasks).balance, deal.data);
    }

    /// @dev Coins that are forced in belong to nobody, and change nobody's credit.
    function test_fuzz_attack_forcedCoins(uint96 amount) public {
        Deal memory deal = someDeal(true);
        bytes32 taskId = buyAndStart(deal);
        vm.deal(address(tasks), address(tasks).balance + amount);
        complete(taskId);
        assertCredits(deal, true, deal.reward, 0);
        vm.expectRevert();
        payable(address(tasks)).transfer(0);
    }

    /// @dev Running the task, taking its output aside and waiting for the refund.
    function test_attack_useThenRefund() public {
        Deal memory deal = someDeal(true);
        bytes32 taskId = buyAndStart(deal);
        vm.expectRevert(
            abi.encodeWithSelector(
                ITaskRegistry.WrongStatus.selector, taskId, ITaskRegistry.Status.Started
            )
        );
        vm.prank(requester);
        tasks.cancel(taskId);
        vm.warp(NOW + 1 hours + 1);
        vm.expectPartialRevert(ITaskRegistry.ClaimWindowOpen.selector);
        tasks.expire(taskId);
        vm.warp(NOW + 1 hours + CLAIM_WINDOW);
        tasks.settle(taskId, statement(taskId));
        tasks.expire(taskId);
        assertCredits(deal, true, 0, deal.reward);
    }

    /// @dev A token of the other kind: its `transferFrom` moves one piece, whatever the number.
    function test_attack_erc721AsCurrency() public {
        allow(app);
        Order memory order = orderOf(app);
        (order.currency, order.reward, order.maxCost) = (address(assets), data, data);
        vm.prank(dataOwner);
        assets.approve(address(tasks), data);
        vm.expectRevert(
            abi.encodeWithSelector(
                ITaskRegistry.WrongAmountReceived.selector, address(assets), 1, data
            )
        );
        vm.prank(dataOwner);
        tasks.purchase(order);
    }

    /* SIGNATURES */

    function test_fuzz_attack_signatureReplayAcrossChains(uint64 chainId) public {
        vm.assume(chainId != block.chainid);
        bytes32 taskId = buyAndStart(someDeal(true));
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(SMS_KEY, typedHash(chainId, address(tasks), bundleReleasedHash(taskId)));
        expectSmsRefused(taskId);
        tasks.settle(taskId, abi.encodePacked(r, s, v));
    }

    function test_attack_signatureReplayAfterAFork() public {
        bytes32 taskId = buyAndStart(someDeal(true));
        bytes memory signature = statement(taskId);
        vm.chainId(block.chainid + 1);
        expectSmsRefused(taskId);
        tasks.settle(taskId, signature);
    }

    function test_fuzz_attack_signatureReplayAcrossContracts(address other) public {
        vm.assume(other != address(tasks));
        bytes32 taskId = buyAndStart(someDeal(true));
        bytes memory signature = sign(SMS_KEY, other, bundleReleasedHash(taskId));
        expectSmsRefused(taskId);
        tasks.settle(taskId, signature);
    }

    /// @dev The result of one task is not the result of another of the same order.
    function test_attack_signatureReplayAcrossTasks() public {
        allow(app);
        bytes32 first = buy(orderOf(app));
        bytes32 second = buy(orderOf(app));
        start(first);
        start(second);
        bytes memory byEnclave = resultSignature(first, DIGEST, "uri");
        bytes memory bySms = certificate(first);
        complete(first, DIGEST, "uri");
        expectSmsRefused(second);
        vm.prank(worker);
        tasks.complete(second, DIGEST, "uri", vm.addr(RESULT_KEY), byEnclave, bySms);
        bySms = certificate(second);
        vm.expectRevert(
            abi.encodeWithSelector(ITaskRegistry.ResultSignatureInvalid.selector, second)
        );
        vm.prank(worker);
        tasks.complete(second, DIGEST, "uri", vm.addr(RESULT_KEY), byEnclave, bySms);
    }

    function test_attack_malleableSignatureInSettle() public {
        bytes32 taskId = buyAndStart(someDeal(true));
        bytes[4] memory twins = twinsBy(SMS_KEY, bundleReleasedHash(taskId));
        for (uint256 i; i < twins.length; ++i) {
            expectSmsRefused(taskId);
            tasks.settle(taskId, twins[i]);
        }
    }

    function test_attack_malleableSignatureInComplete() public {
        bytes32 taskId = buyAndStart(someDeal(true));
        address key = vm.addr(RESULT_KEY);
        bytes memory byEnclave = resultSignature(taskId, DIGEST, "uri");
        bytes[4] memory twins = twinsBy(SMS_KEY, resultKeyHash(taskId, key));
        for (uint256 i; i < twins.length; ++i) {
            expectSmsRefused(taskId);
            vm.prank(worker);
            tasks.complete(taskId, DIGEST, "uri", key, byEnclave, twins[i]);
        }
        bytes memory bySms = certificate(taskId);
        twins = twinsBy(RESULT_KEY, taskResultHash(taskId, BUNDLE, DIGEST, "uri"));
        for (uint256 i; i < twins.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(ITaskRegistry.ResultSignatureInvalid.selector, taskId)
            );
            vm.prank(worker);
            tasks.complete(taskId, DIGEST, "uri", key, abi.encodePacked(BUNDLE, twins[i]), bySms);
        }
    }

    /* ARRAYS */

    /// @dev Named twice, a data set would be paid and counted twice.
    function test_fuzz_attack_duplicateDataIds(uint8 count, uint8 first, uint8 second) public {
        count = uint8(bound(count, 2, 16));
        first = uint8(bound(first, 0, count - 1));
        second = uint8(bound(second, 0, count - 1));
        vm.assume(first != second);
        allow(app);
        Order memory order = orderOf(app);
        order.data = manyData(count, priced(address(0), 1));
        order.data[first] = order.data[second];
        order.maxCost = count;
        vm.deal(requester, count);
        vm.expectRevert(
            abi.encodeWithSelector(ITaskRegistry.DataRepeated.selector, order.data[first])
        );
        vm.prank(requester);
        tasks.purchase{value: count}(order);
    }

    function test_attack_zeroLengthArrays() public {
        allow(app);
        Order memory order = orderOf(app);
        order.params = "";
        bytes32 taskId = buy(order);
        start(taskId);
        vm.expectRevert(abi.encodeWithSelector(ITaskRegistry.SmsSignatureInvalid.selector, taskId));
        vm.prank(worker);
        tasks.complete(taskId, 0, "", address(0), "", "");
        complete(taskId, 0, "");
    }

    /// @dev The largest order there is can be bought, and ended in every way, within a sixth of a
    /// block of 30 million gas, so nothing that was let in can get stuck.
    function test_attack_maximalArrays() public {
        Order memory order = maximalOrder();
        vm.deal(requester, 3 * order.maxCost);
        uint256 before = gasleft();
        bytes32 completed = buyFor(order);
        assertLt(before - gasleft(), 5_000_000, "purchase");
        bytes32 settled = buyFor(order);
        bytes32 cancelled = buyFor(order);

        start(completed);
        before = gasleft();
        complete(completed, DIGEST, string(new bytes(2048)));
        assertLt(before - gasleft(), 5_000_000, "complete");

        start(settled);
        bytes memory signature = statement(settled);
        before = gasleft();
        tasks.settle(settled, signature);
        assertLt(before - gasleft(), 5_000_000, "settle");

        before = gasleft();
        vm.prank(requester);
        tasks.cancel(cancelled);
        assertLt(before - gasleft(), 5_000_000, "cancel");
        assertEq(tasks.creditOf(requester, address(0)), order.maxCost);
    }

    /* TIME */

    /// @dev What may be done at the deadline, a second later, at the window's end, a second later.
    function test_attack_timestampEdges() public {
        bytes32[4] memory ids;
        for (uint256 i; i < 4; ++i) {
            ids[i] = buy(someDealOf(i));
            if (i > 0) start(ids[i]);
        }
        vm.warp(NOW + 1 hours);
        expectNotOverdue(ids[0]);
        tasks.expire(ids[0]);
        complete(ids[1]);
        vm.warp(NOW + 1 hours + 1);
        expectOverdue(ids[2]);
        vm.prank(worker);
        tasks.complete(ids[2], 0, "", address(0), "", "");
        expectOverdue(ids[0]);
        vm.prank(worker);
        tasks.start(ids[0]);
        tasks.expire(ids[0]);
        vm.warp(NOW + 1 hours + CLAIM_WINDOW);
        vm.expectPartialRevert(ITaskRegistry.ClaimWindowOpen.selector);
        tasks.expire(ids[2]);
        tasks.settle(ids[3], statement(ids[3]));
        vm.warp(NOW + 1 hours + CLAIM_WINDOW + 1);
        bytes memory late = statement(ids[2]);
        vm.expectPartialRevert(ITaskRegistry.ClaimWindowClosed.selector);
        tasks.settle(ids[2], late);
        tasks.expire(ids[2]);
        tasks.expire(ids[3]);
    }

    /// @dev The last deadline there is overflows nothing.
    function test_attack_timestampAtTheEnd() public {
        allow(app);
        Order memory order = orderOf(app);
        order.deadline = type(uint64).max;
        bytes32 taskId = buy(order);
        start(taskId);
        tasks.settle(taskId, statement(taskId));
        vm.warp(type(uint64).max);
        expectNotOverdueAt(taskId, order.deadline);
        tasks.expire(taskId);
        complete(taskId);
    }

    /* RACES */

    function test_fuzz_attack_raceOfStartAndCancel(bool startFirst) public {
        Deal memory deal = someDeal(true);
        bytes32 taskId = buy(deal);
        if (startFirst) {
            start(taskId);
            expectStatus(taskId, ITaskRegistry.Status.Started);
            vm.prank(requester);
            tasks.cancel(taskId);
            assertEscrow(taskId, address(0), 36 ether);
        } else {
            vm.prank(requester);
            tasks.cancel(taskId);
            expectStatus(taskId, ITaskRegistry.Status.Cancelled);
            vm.prank(worker);
            tasks.start(taskId);
            assertCredits(deal, false, 0, 36 ether);
        }
    }

    /// @dev Whichever comes first, the owners are paid once.
    function test_fuzz_attack_raceOfSettleAndComplete(bool settleFirst) public {
        Deal memory deal = someDeal(true);
        bytes32 taskId = buyAndStart(deal);
        bytes memory signature = statement(taskId);
        if (settleFirst) tasks.settle(taskId, signature);
        complete(taskId);
        expectStatus(taskId, ITaskRegistry.Status.Completed);
        tasks.settle(taskId, signature);
        assertEnding(taskId, ITaskRegistry.Status.Completed, deal, true, deal.reward, 0);
    }

    /// @dev `complete` has the deadline, `expire` what comes after it: they never race.
    function test_fuzz_attack_raceOfCompleteAndExpire(uint64 time, bool settled) public {
        time = uint64(bound(time, NOW, NOW + 2 hours + CLAIM_WINDOW));
        bytes32 taskId = buyAndStart(someDeal(true));
        if (settled) tasks.settle(taskId, statement(taskId));
        vm.warp(time);
        bytes memory byEnclave = resultSignature(taskId, DIGEST, "");
        bytes memory call = abi.encodeCall(
            tasks.complete,
            (taskId, DIGEST, "", vm.addr(RESULT_KEY), byEnclave, certificate(taskId))
        );
        uint256 snapshot = vm.snapshotState();
        vm.prank(worker);
        (bool completed,) = address(tasks).call(call);
        vm.revertToState(snapshot);
        (bool expired,) = address(tasks).call(abi.encodeCall(tasks.expire, (taskId)));
        assertFalse(completed && expired);
        assertEq(completed, time <= NOW + 1 hours);
        assertEq(expired, time > NOW + 1 hours + (settled ? 0 : CLAIM_WINDOW));
    }

    /// @dev Nor do `settle` and the refund of what it would pay.
    function test_fuzz_attack_raceOfSettleAndExpire(uint64 time) public {
        time = uint64(bound(time, NOW, NOW + 2 hours + CLAIM_WINDOW));
        bytes32 taskId = buyAndStart(someDeal(true));
        bytes memory call = abi.encodeCall(tasks.settle, (taskId, statement(taskId)));
        vm.warp(time);
        uint256 snapshot = vm.snapshotState();
        (bool settled,) = address(tasks).call(call);
        vm.revertToState(snapshot);
        (bool expired,) = address(tasks).call(abi.encodeCall(tasks.expire, (taskId)));
        assertFalse(settled && expired);
        assertTrue(settled || expired);
    }

    function test_fuzz_attack_anotherThanTheWorker(address other) public {
        vm.assume(other != worker);
        bytes32 taskId = buy(someDeal(true));
        bytes memory denied =
            abi.encodeWithSelector(ITaskRegistry.NotAllowed.selector, taskId, other);
        vm.expectRevert(denied);
        vm.prank(other);
        tasks.start(taskId);
        start(taskId);
        bytes memory byEnclave = resultSignature(taskId, DIGEST, "");
        bytes memory bySms = certificate(taskId);
        vm.expectRevert(denied);
        vm.prank(other);
        tasks.complete(taskId, DIGEST, "", vm.addr(RESULT_KEY), byEnclave, bySms);
    }

    /* HELPERS */

    /// @dev All that moves value, as somebody in the middle of a transfer might call it.
    function movingCalls(bytes32 taskId) internal view returns (bytes[6] memory) {
        return [
            abi.encodeCall(tasks.withdraw, (address(0))),
            abi.encodeCall(tasks.purchase, (orderOf(app))),
            abi.encodeCall(tasks.settle, (taskId, statement(taskId))),
            abi.encodeCall(tasks.expire, (taskId)),
            abi.encodeCall(tasks.cancel, (taskId)),
            abi.encodeCall(tasks.complete, (taskId, 0, "", address(0), "", ""))
        ];
    }

    function assertRefusedAsReentrant(bool called, bool passed, bytes memory answer) internal pure {
        assertTrue(called, "the callback never came");
        assertFalse(passed, "re-entered");
        assertEq(
            answer, abi.encodeWithSelector(ReentrancyGuard.ReentrancyGuardReentrantCall.selector)
        );
    }

    uint64 internal rewardedOrders;

    function rewarded(address currency, uint256 reward) internal returns (Order memory order) {
        Terms memory terms = openTerms();
        terms.notBefore = ++rewardedOrders;
        allow(app, terms);
        order = orderOf(app);
        (order.currency, order.reward, order.maxCost) = (currency, reward, reward);
    }

    function purchaseAs(Refuser account, Order memory order, uint256 value)
        internal
        returns (bytes32)
    {
        (bool passed, bytes memory answer) =
            account.call(address(tasks), value, abi.encodeCall(tasks.purchase, (order)));
        assertTrue(passed);
        return abi.decode(answer, (bytes32));
    }

    function twinsBy(uint256 key, bytes32 structHash) internal view returns (bytes[4] memory) {
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(key, typedHash(block.chainid, address(tasks), structHash));
        return twinsOf(v, r, s);
    }

    function manyData(uint256 count, Terms memory terms) internal returns (uint256[] memory list) {
        list = new uint256[](count);
        for (uint256 i; i < count; ++i) {
            address owner = makeAddr(string.concat("owner ", vm.toString(i)));
            list[i] = newAsset(DATA, owner, string.concat("data-", vm.toString(i)));
            allow(list[i], terms);
        }
    }

    function maximalOrder() internal returns (Order memory order) {
        allow(app, priced(address(0), 1 ether));
        order = orderOf(app);
        order.data = manyData(16, priced(address(0), 1 ether));
        order.grants = new Grant[](32);
        for (uint256 i; i < 32; ++i) {
            string memory name = "0123456789abcdefghijklmnopqrstuvwxyz-0123456789ABCDEFGHIJKLMNOPQ";
            order.grants[i] = Grant(uint32(type(uint32).max - i), name);
        }
        order.params = string(new bytes(16_384));
        (order.reward, order.maxCost) = (1 ether, 18 ether);
    }

    function buyFor(Order memory order) internal returns (bytes32) {
        vm.prank(requester);
        return tasks.purchase{value: order.maxCost}(order);
    }

    /// @dev The same deal on terms that differ from those before.
    function someDealOf(uint256 which) internal pure returns (Deal memory deal) {
        deal = someDeal(true);
        deal.app += uint96(which);
        deal.data += uint96(which);
        deal.more += uint96(which);
    }

    function expectSmsRefused(bytes32 taskId) internal {
        vm.expectRevert(abi.encodeWithSelector(ITaskRegistry.SmsSignatureInvalid.selector, taskId));
    }

    function expectStatus(bytes32 taskId, ITaskRegistry.Status status) internal {
        vm.expectRevert(abi.encodeWithSelector(ITaskRegistry.WrongStatus.selector, taskId, status));
    }

    function expectOverdue(bytes32 taskId) internal {
        vm.expectRevert(
            abi.encodeWithSelector(ITaskRegistry.TaskOverdue.selector, taskId, NOW + 1 hours)
        );
    }

    function expectNotOverdue(bytes32 taskId) internal {
        expectNotOverdueAt(taskId, uint64(NOW + 1 hours));
    }

    function expectNotOverdueAt(bytes32 taskId, uint64 deadline) internal {
        vm.expectRevert(
            abi.encodeWithSelector(ITaskRegistry.TaskNotOverdue.selector, taskId, deadline)
        );
    }
}
