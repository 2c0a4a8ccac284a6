// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Terms} from "../../contracts/interfaces/IEnclaveWhitelist.sol";
import {ITaskRegistry} from "../../contracts/interfaces/ITaskRegistry.sol";
import {MoneyTest} from "./support/MoneyTest.sol";

/// @title Who is paid what: a test per line of the table in ITaskRegistry, in either kind of money
contract EndingsTest is MoneyTest {
    ITaskRegistry.Status internal constant COMPLETED = ITaskRegistry.Status.Completed;
    ITaskRegistry.Status internal constant CANCELLED = ITaskRegistry.Status.Cancelled;
    ITaskRegistry.Status internal constant EXPIRED = ITaskRegistry.Status.Expired;

    function test_fuzz_ending_completed(Deal memory deal) public {
        bytes32 taskId = buyAndStart(deal);
        complete(taskId);
        assertEnding(taskId, COMPLETED, deal, true, deal.reward, 0);
    }

    function test_fuzz_ending_completedAfterSettle(Deal memory deal) public {
        bytes32 taskId = buyAndStart(deal);
        tasks.settle(taskId, statement(taskId));
        assertCredits(deal, true, 0, 0);
        assertEscrow(taskId, currencyOf(deal), deal.reward);
        complete(taskId);
        assertEnding(taskId, COMPLETED, deal, true, deal.reward, 0);
    }

    function test_fuzz_ending_cancelled(Deal memory deal, uint64 time) public {
        bytes32 taskId = buy(deal);
        vm.warp(NOW + time);
        vm.prank(requester);
        tasks.cancel(taskId);
        assertEnding(taskId, CANCELLED, deal, false, 0, costOf(deal));
    }

    function test_fuzz_ending_expiredNeverStarted(Deal memory deal) public {
        bytes32 taskId = buy(deal);
        vm.warp(NOW + 1 hours + 1);
        tasks.expire(taskId);
        assertEnding(taskId, EXPIRED, deal, false, 0, costOf(deal));
    }

    function test_fuzz_ending_expiredNeverSettled(Deal memory deal) public {
        bytes32 taskId = buyAndStart(deal);
        vm.warp(NOW + 1 hours + CLAIM_WINDOW + 1);
        tasks.expire(taskId);
        assertEnding(taskId, EXPIRED, deal, false, 0, costOf(deal));
    }

    function test_fuzz_ending_expiredAfterSettle(Deal memory deal, bool early) public {
        bytes32 taskId = buyAndStart(deal);
        if (early) tasks.settle(taskId, statement(taskId));
        vm.warp(NOW + 1 hours + 1);
        if (!early) tasks.settle(taskId, statement(taskId));
        tasks.expire(taskId);
        assertEnding(taskId, EXPIRED, deal, true, 0, deal.reward);
    }

    /// @dev The owner of the time of the purchase is paid, not the buyer of the asset.
    function test_fuzz_ending_soldAfterPurchase(Deal memory deal, bool settles) public {
        bytes32 taskId = buyAndStart(deal);
        vm.prank(appOwner);
        assets.transferFrom(appOwner, stranger, app);
        vm.prank(dataOwner);
        assets.transferFrom(dataOwner, stranger, data);

        if (settles) tasks.settle(taskId, statement(taskId));
        complete(taskId);

        assertEq(tasks.creditOf(stranger, currencyOf(deal)), 0);
        assertEnding(taskId, COMPLETED, deal, true, deal.reward, 0);
    }

    function test_fuzz_ending_revokedAfterPurchase(Deal memory deal, bool settles) public {
        bytes32 taskId = buyAndStart(deal);
        vm.prank(appOwner);
        whitelist.revoke(app, ENCLAVE);
        vm.prank(moreOwner);
        whitelist.revoke(more, ENCLAVE);

        if (settles) tasks.settle(taskId, statement(taskId));
        complete(taskId);

        assertEnding(taskId, COMPLETED, deal, true, deal.reward, 0);
    }

    /// @dev Whoever revokes before the start takes part in no refund.
    function test_fuzz_ending_revokedThenCancelled(Deal memory deal) public {
        bytes32 taskId = buy(deal);
        vm.prank(appOwner);
        whitelist.revoke(app, ENCLAVE);
        vm.prank(requester);
        tasks.cancel(taskId);
        assertEnding(taskId, CANCELLED, deal, false, 0, costOf(deal));
    }

    /// @dev The price of the purchase is paid.
    function test_fuzz_ending_newTermsAfterPurchase(Deal memory deal, uint96 price) public {
        bytes32 taskId = buyAndStart(deal);
        Terms memory terms = priced(address(token), price);
        terms.maxTasks = 1;
        allow(app, terms);
        complete(taskId);
        assertEnding(taskId, COMPLETED, deal, true, deal.reward, 0);
    }
}
