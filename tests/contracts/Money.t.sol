// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Order} from "../../contracts/interfaces/ITaskRegistry.sol";
import {ITaskRegistry} from "../../contracts/interfaces/ITaskRegistry.sol";
import {MoneyTest} from "./support/MoneyTest.sol";
import {BentToken, LyingToken, SilentToken} from "./support/Tokens.sol";

/// @title What goes into escrow at a purchase, and how it comes out
contract MoneyOfTasksTest is MoneyTest {
    /* PURCHASE */

    function test_fuzz_purchase_takesTheCostAndNoMore(Deal memory deal, uint96 spare) public {
        Order memory order = offer(deal);
        order.maxCost += spare;
        uint256 value = fund(deal);
        vm.prank(requester);
        bytes32 taskId = tasks.purchase{value: value}(order);

        assertEq(balanceOf(currencyOf(deal), requester), 0);
        assertEq(balanceOf(currencyOf(deal), address(tasks)), costOf(deal));
        assertEscrow(taskId, currencyOf(deal), costOf(deal));
        assertCredits(deal, false, 0, 0);
    }

    function test_fuzz_purchase_costAboveMaximum(Deal memory deal, uint256 maxCost) public {
        vm.assume(costOf(deal) != 0);
        Order memory order = offer(deal);
        order.maxCost = bound(maxCost, 0, costOf(deal) - 1);
        vm.expectPartialRevert(ITaskRegistry.CostAboveMaximum.selector);
        vm.prank(requester);
        tasks.purchase(order);
    }

    /// @dev Prices that overflow are too high like all others.
    function test_fuzz_purchase_costAboveMaximumWhateverThePrices(uint256 price, uint256 reward)
        public
    {
        price = bound(price, 1, type(uint256).max);
        reward = bound(reward, type(uint256).max - price + 1, type(uint256).max);
        allow(app, priced(address(token), price));
        Order memory order = orderOf(app);
        (order.currency, order.reward) = (address(token), reward);
        order.maxCost = type(uint256).max;
        vm.expectRevert(
            abi.encodeWithSelector(
                ITaskRegistry.CostAboveMaximum.selector, type(uint256).max, type(uint256).max
            )
        );
        vm.prank(requester);
        tasks.purchase(order);
    }

    function test_purchase_costAboveMaximumSaysTheCost() public {
        Order memory order = offer(someDeal(true));
        order.maxCost = 36 ether - 1;
        vm.expectRevert(
            abi.encodeWithSelector(ITaskRegistry.CostAboveMaximum.selector, 36 ether, 36 ether - 1)
        );
        vm.prank(requester);
        tasks.purchase(order);
    }

    function test_fuzz_purchase_wrongValue(Deal memory deal, uint96 value) public {
        uint256 expected = deal.native ? costOf(deal) : 0;
        vm.assume(value != expected);
        Order memory order = offer(deal);
        fund(deal);
        vm.deal(requester, value);
        vm.expectRevert(abi.encodeWithSelector(ITaskRegistry.WrongValue.selector, value, expected));
        vm.prank(requester);
        tasks.purchase{value: value}(order);
    }

    function test_fuzz_purchase_wrongCurrency(uint96 price, bool native, bool ofData) public {
        vm.assume(price != 0);
        address other = native ? address(token) : address(0);
        allow(app, priced(ofData ? address(0) : other, ofData ? 0 : price));
        allow(data, priced(other, ofData ? price : 0));
        Order memory order = orderOf(app, data);
        order.currency = native ? address(0) : address(token);
        order.maxCost = type(uint256).max;
        vm.expectRevert(
            abi.encodeWithSelector(ITaskRegistry.WrongCurrency.selector, ofData ? data : app, other)
        );
        vm.prank(requester);
        tasks.purchase(order);
    }

    /// @dev Who asks for nothing agrees with any currency.
    function test_purchase_freeInAnotherCurrency() public {
        allow(app, priced(address(0), 0));
        allow(data, priced(makeAddr("some currency"), 0));
        Order memory order = orderOf(app, data);
        order.currency = address(token);
        assertEscrow(buy(order), address(token), 0);
    }

    function test_fuzz_purchase_currencyWithoutCode(address currency, uint96 reward) public {
        vm.assume(currency != address(0) && currency.code.length == 0);
        allow(app);
        Order memory order = orderOf(app);
        (order.currency, order.reward, order.maxCost) = (currency, reward, reward);
        vm.expectRevert(
            abi.encodeWithSelector(ITaskRegistry.CurrencyWithoutCode.selector, currency)
        );
        vm.prank(requester);
        tasks.purchase(order);
    }

    function test_fuzz_purchase_wrongAmountReceived(uint96 reward, int96 bend) public {
        vm.assume(reward != 0 && bend != 0 && -int256(bend) <= int256(uint256(reward)));
        BentToken bent = new BentToken();
        Order memory order = paidIn(address(bent), reward);
        bent.mint(requester, reward);
        bent.setBend(bend);
        vm.prank(requester);
        bent.approve(address(tasks), reward);
        vm.expectRevert(
            abi.encodeWithSelector(
                ITaskRegistry.WrongAmountReceived.selector,
                address(bent),
                uint256(int256(uint256(reward)) + bend),
                reward
            )
        );
        vm.prank(requester);
        tasks.purchase(order);
    }

    /// @dev A token whose registry's balance even falls: nothing came.
    function test_purchase_wrongAmountReceivedBelowZero() public {
        BentToken bent = new BentToken();
        Order memory order = paidIn(address(bent), 1 ether);
        bent.mint(requester, 1 ether);
        bent.mint(address(tasks), 5 ether);
        bent.setBend(-3 ether);
        vm.prank(requester);
        bent.approve(address(tasks), 1 ether);
        vm.expectRevert(
            abi.encodeWithSelector(
                ITaskRegistry.WrongAmountReceived.selector, address(bent), 0, 1 ether
            )
        );
        vm.prank(requester);
        tasks.purchase(order);
    }

    function test_purchase_wrongAmountReceivedFromALyingToken() public {
        address lying = address(new LyingToken());
        Order memory order = paidIn(lying, 1 ether);
        vm.expectRevert(
            abi.encodeWithSelector(ITaskRegistry.WrongAmountReceived.selector, lying, 0, 1 ether)
        );
        vm.prank(requester);
        tasks.purchase(order);
    }

    function test_purchase_notApproved() public {
        Order memory order = paidIn(address(token), 1 ether);
        token.mint(requester, 1 ether);
        vm.expectRevert();
        vm.prank(requester);
        tasks.purchase(order);
        assertEq(tasks.nonceOf(requester), 0);
    }

    function test_purchase_inATokenThatAnswersNothing() public {
        SilentToken silent = new SilentToken();
        Order memory order = paidIn(address(silent), 1 ether);
        silent.mint(requester, 1 ether);
        bytes32 taskId = buy(order);
        vm.prank(requester);
        tasks.cancel(taskId);
        vm.prank(requester);
        tasks.withdraw(address(silent));
        assertEq(silent.balanceOf(requester), 1 ether);
    }

    /* ESCROW */

    function test_fuzz_escrowOf_unknownTask(bytes32 taskId) public view {
        assertEscrow(taskId, address(0), 0);
    }

    function test_fuzz_escrowOf_throughALife(Deal memory deal) public {
        bytes32 taskId = buyAndStart(deal);
        assertEscrow(taskId, currencyOf(deal), costOf(deal));
        tasks.settle(taskId, statement(taskId));
        assertEscrow(taskId, currencyOf(deal), deal.reward);
        complete(taskId);
        assertEscrow(taskId, currencyOf(deal), 0);
    }

    /// @dev One who owns several assets of a task, and works too, is credited once for each.
    function test_fuzz_creditOf_addsUp(Deal memory deal) public {
        vm.prank(dataOwner);
        assets.transferFrom(dataOwner, appOwner, data);
        Order memory order = offer(deal);
        order.worker = appOwner;
        uint256 value = fund(deal);
        vm.prank(requester);
        bytes32 taskId = tasks.purchase{value: value}(order);
        vm.prank(appOwner);
        tasks.start(taskId);
        bytes memory byEnclave = resultSignature(taskId, DIGEST, "");
        bytes memory bySms = certificate(taskId);
        vm.prank(appOwner);
        tasks.complete(taskId, DIGEST, "", vm.addr(RESULT_KEY), byEnclave, bySms);
        assertEq(
            tasks.creditOf(appOwner, currencyOf(deal)), uint256(deal.app) + deal.data + deal.reward
        );
        assertAllGoes(deal);
    }

    /* WITHDRAW */

    function test_fuzz_withdraw_once(Deal memory deal) public {
        vm.assume(deal.reward != 0);
        bytes32 taskId = buyAndStart(deal);
        complete(taskId);
        address currency = currencyOf(deal);

        vm.expectEmit(address(tasks));
        emit ITaskRegistry.Withdrawn(worker, currency, deal.reward);
        vm.prank(worker);
        tasks.withdraw(currency);

        assertEq(balanceOf(currency, worker), deal.reward);
        expectNothing(worker, currency);
    }

    function test_fuzz_withdraw_onlyInThatCurrency(Deal memory deal) public {
        bytes32 taskId = buyAndStart(deal);
        complete(taskId);
        expectNothing(worker, deal.native ? address(token) : address(0));
    }

    /// @dev Money out is no event that a mirror needs.
    function test_withdraw_foldsNothing() public {
        bytes32 taskId = buyAndStart(someDeal(true));
        complete(taskId);
        bytes32 slot = vm.load(address(tasks), JOURNAL_SLOT);
        vm.prank(worker);
        tasks.withdraw(address(0));
        assertEq(vm.load(address(tasks), JOURNAL_SLOT), slot);
    }

    /// @dev A failed transfer leaves the credit where it was.
    function test_withdraw_failedTransferKeepsTheCredit() public {
        bytes32 taskId = buyAndStart(someDeal(false));
        complete(taskId);
        vm.mockCall(
            address(token), abi.encodeCall(token.transfer, (worker, 13 ether)), abi.encode(false)
        );
        vm.expectRevert();
        vm.prank(worker);
        tasks.withdraw(address(token));
        assertEq(tasks.creditOf(worker, address(token)), 13 ether);
        vm.clearMockedCalls();
        vm.prank(worker);
        tasks.withdraw(address(token));
    }

    /* HELPERS */

    /// @dev A free app's order with a reward in this currency.
    function paidIn(address currency, uint256 reward) internal returns (Order memory order) {
        allow(app);
        order = orderOf(app);
        (order.currency, order.reward, order.maxCost) = (currency, reward, reward);
    }

    function expectNothing(address account, address currency) internal {
        vm.expectRevert(
            abi.encodeWithSelector(ITaskRegistry.NothingToWithdraw.selector, account, currency)
        );
        vm.prank(account);
        tasks.withdraw(currency);
    }
}
