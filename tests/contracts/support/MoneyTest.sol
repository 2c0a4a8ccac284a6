// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Terms} from "../../../contracts/interfaces/IEnclaveWhitelist.sol";
import {ITaskRegistry, Order} from "../../../contracts/interfaces/ITaskRegistry.sol";
import {BaseTest} from "./BaseTest.sol";
import {Token} from "./Tokens.sol";

/// @title An app and two protected data, each of an owner of its own, that cost something
abstract contract MoneyTest is BaseTest {
    /// @dev What everything costs, and in what.
    struct Deal {
        bool native;
        uint96 app;
        uint96 data;
        uint96 more;
        uint96 reward;
    }

    address internal moreOwner = makeAddr("moreOwner");
    Token internal token;
    uint256 internal app;
    uint256 internal data;
    uint256 internal more;

    function setUp() public virtual override {
        super.setUp();
        token = new Token();
        app = newApp();
        data = newData("data");
        more = newAsset(DATA, moreOwner, "more");
    }

    function someDeal(bool native) internal pure returns (Deal memory) {
        return Deal({native: native, app: 5 ether, data: 7 ether, more: 11 ether, reward: 13 ether});
    }

    function currencyOf(Deal memory deal) internal view returns (address) {
        return deal.native ? address(0) : address(token);
    }

    function pricesOf(Deal memory deal) internal pure returns (uint256) {
        return uint256(deal.app) + deal.data + deal.more;
    }

    function costOf(Deal memory deal) internal pure returns (uint256) {
        return pricesOf(deal) + deal.reward;
    }

    function priced(address currency, uint256 price) internal pure returns (Terms memory terms) {
        terms.currency = currency;
        terms.price = price;
    }

    /// @dev The owners ask for their prices; returns the order that pays them.
    function offer(Deal memory deal) internal returns (Order memory order) {
        address currency = currencyOf(deal);
        allow(app, priced(currency, deal.app));
        allow(data, priced(currency, deal.data));
        allow(more, priced(currency, deal.more));
        order = orderOf(app);
        order.data = new uint256[](2);
        (order.data[0], order.data[1]) = (data, more);
        order.currency = currency;
        order.reward = deal.reward;
        order.maxCost = costOf(deal);
    }

    /// @dev Gives the requester exactly the cost.
    function fund(Deal memory deal) internal returns (uint256 value) {
        uint256 cost = costOf(deal);
        if (deal.native) {
            vm.deal(requester, cost);
            return cost;
        }
        token.mint(requester, cost);
        vm.prank(requester);
        token.approve(address(tasks), cost);
    }

    function buy(Deal memory deal) internal returns (bytes32 taskId) {
        Order memory order = offer(deal);
        uint256 value = fund(deal);
        vm.prank(requester);
        taskId = tasks.purchase{value: value}(order);
        assertEscrow(taskId, currencyOf(deal), costOf(deal));
    }

    function buyAndStart(Deal memory deal) internal returns (bytes32 taskId) {
        taskId = buy(deal);
        start(taskId);
    }

    function balanceOf(address currency, address account) internal view returns (uint256) {
        return currency == address(0) ? account.balance : Token(currency).balanceOf(account);
    }

    function assertEscrow(bytes32 taskId, address currency, uint256 amount) internal view {
        (address readCurrency, uint256 readAmount) = tasks.escrowOf(taskId);
        assertEq(readCurrency, currency, "currency");
        assertEq(readAmount, amount, "escrow");
    }

    function assertCredits(Deal memory deal, bool owners, uint256 forWorker, uint256 forRequester)
        internal
        view
    {
        address currency = currencyOf(deal);
        assertEq(tasks.creditOf(appOwner, currency), owners ? deal.app : 0, "app owner");
        assertEq(tasks.creditOf(dataOwner, currency), owners ? deal.data : 0, "data owner");
        assertEq(tasks.creditOf(moreOwner, currency), owners ? deal.more : 0, "other data owner");
        assertEq(tasks.creditOf(worker, currency), forWorker, "worker");
        assertEq(tasks.creditOf(requester, currency), forRequester, "requester");
    }

    /// @dev Everybody takes what is theirs, and nothing is left.
    function assertAllGoes(Deal memory deal) internal {
        address currency = currencyOf(deal);
        address[5] memory all = [appOwner, dataOwner, moreOwner, worker, requester];
        for (uint256 i; i < all.length; ++i) {
            uint256 credit = tasks.creditOf(all[i], currency);
            uint256 before = balanceOf(currency, all[i]);
            if (credit == 0) continue;
            vm.prank(all[i]);
            tasks.withdraw(currency);
            assertEq(balanceOf(currency, all[i]), before + credit, "withdrawn");
            assertEq(tasks.creditOf(all[i], currency), 0, "credit left");
        }
        assertEq(balanceOf(currency, address(tasks)), 0, "left in the registry");
    }

    function assertEnding(
        bytes32 taskId,
        ITaskRegistry.Status status,
        Deal memory deal,
        bool owners,
        uint256 forWorker,
        uint256 forRequester
    ) internal {
        assertStatus(taskId, status);
        assertEscrow(taskId, currencyOf(deal), 0);
        assertCredits(deal, owners, forWorker, forRequester);
        assertAllGoes(deal);
    }
}
