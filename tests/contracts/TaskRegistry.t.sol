// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC721Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {Terms} from "../../contracts/interfaces/IEnclaveWhitelist.sol";
import {
    AssetSnapshot,
    Grant,
    ITaskRegistry,
    Order
} from "../../contracts/interfaces/ITaskRegistry.sol";
import {BaseTest} from "./support/BaseTest.sol";

contract TaskRegistryTest is BaseTest {
    uint256 internal app;
    uint256 internal data;

    function setUp() public override {
        super.setUp();
        app = newApp();
        data = newData("data");
    }

    function test_ASSETS_isTheWhitelistsRegistry() public view {
        assertEq(tasks.ASSETS(), address(assets));
        assertEq(tasks.WHITELIST(), address(whitelist));
    }

    /* PURCHASE */

    function test_purchase_emitsOrderAndSnapshots() public {
        allow(app);
        allow(data);
        allow(data, limited(7));
        vm.prank(dataOwner);
        assets.transferFrom(dataOwner, stranger, data);
        allow(data);
        Order memory order = withGrant(orderOf(app, data), 3, "api-key");
        AssetSnapshot[] memory snapshots = new AssetSnapshot[](1);
        snapshots[0] = AssetSnapshot("ipfs://data", DIGEST, 1, 3, 0);

        vm.expectEmit();
        emit ITaskRegistry.TaskPurchased(
            tasks.taskIdOf(requester, 0, order),
            requester,
            worker,
            0,
            order,
            AssetSnapshot("ipfs://app", DIGEST, 0, 1, 0),
            snapshots
        );
        bytes32 taskId = buy(order);

        assertStatus(taskId, ITaskRegistry.Status.Purchased);
        assertEq(tasks.usesOf(app, ENCLAVE, 1), 1);
        assertEq(tasks.usesOf(data, ENCLAVE, 3), 1);
        assertEq(tasks.usesOf(data, ENCLAVE, 1), 0);
    }

    function test_fuzz_purchase_keepsTheFactsOfTheTask(
        address buyer,
        address runner,
        address service,
        uint64 deadline
    ) public {
        vm.assume(runner != address(0) && service != address(0) && deadline > NOW);
        allow(app);
        Order memory order = orderOf(app);
        order.worker = runner;
        order.sms = service;
        order.deadline = deadline;

        vm.prank(buyer);
        bytes32 taskId = tasks.purchase(order);

        (
            ITaskRegistry.Status status,
            address readRequester,
            address readWorker,
            address readSms,
            uint64 readDeadline
        ) = tasks.taskOf(taskId);
        assertEq(uint8(status), uint8(ITaskRegistry.Status.Purchased));
        assertEq(readRequester, buyer);
        assertEq(readWorker, runner);
        assertEq(readSms, service);
        assertEq(readDeadline, deadline);
    }

    function test_fuzz_purchase_idIsTheFormula(
        uint64 chainId,
        address buyer,
        string memory params,
        uint8 before
    ) public {
        vm.assume(chainId != 0 && bytes(params).length <= 16_384);
        vm.chainId(chainId);
        allow(app);
        Order memory order = orderOf(app);
        order.params = params;
        uint256 nonce = before % 4;
        for (uint256 i; i < nonce; ++i) {
            vm.prank(buyer);
            tasks.purchase(order);
        }
        assertEq(tasks.nonceOf(buyer), nonce);
        bytes32 orderHash = keccak256(abi.encode(order));

        vm.prank(buyer);
        bytes32 taskId = tasks.purchase(order);

        assertEq(
            taskId, keccak256(abi.encode(uint256(chainId), address(tasks), buyer, nonce, orderHash))
        );
        assertEq(taskId, tasks.taskIdOf(buyer, nonce, order));
        assertEq(tasks.nonceOf(buyer), nonce + 1);
    }

    /// @dev The same order by the same requester, or by another one, is another task.
    function test_fuzz_purchase_idsDoNotCollide(address other) public {
        vm.assume(other != requester);
        allow(app);
        Order memory order = orderOf(app);
        bytes32 first = buy(order);
        bytes32 second = buy(order);
        vm.prank(other);
        bytes32 third = tasks.purchase(order);
        assertTrue(first != second && second != third && first != third);
    }

    function test_fuzz_purchase_folds(
        uint8 dataCount,
        uint8 grantCount,
        string memory params,
        address to
    ) public {
        vm.assume(bytes(params).length <= 16_384);
        allow(app);
        Order memory order = orderOf(app);
        order.beneficiary = to;
        order.params = params;
        order.data = severalData(bound(dataCount, 0, 16));
        order.grants = severalGrants(bound(grantCount, 0, 32));
        buyRefolding(order);
    }

    function buyRefolding(Order memory order)
        internal
        refolds(address(tasks), 1)
        returns (bytes32)
    {
        return buy(order);
    }

    function test_purchase_upToTheLimits() public {
        allow(app);
        Order memory order = orderOf(app);
        order.data = severalData(16);
        order.grants = severalGrants(32);
        order.params = string(new bytes(16_384));
        order.deadline = uint64(NOW + 1);
        buy(order);
    }

    function test_purchase_workerMissing() public {
        Order memory order = orderOf(app);
        order.worker = address(0);
        expectRefusal(order, abi.encodeWithSelector(ITaskRegistry.WorkerMissing.selector));
    }

    function test_purchase_smsMissing() public {
        Order memory order = orderOf(app);
        order.sms = address(0);
        expectRefusal(order, abi.encodeWithSelector(ITaskRegistry.SmsMissing.selector));
    }

    function test_fuzz_purchase_deadlinePassed(uint64 deadline) public {
        Order memory order = orderOf(app);
        order.deadline = uint64(bound(deadline, 0, NOW));
        expectRefusal(
            order, abi.encodeWithSelector(ITaskRegistry.DeadlinePassed.selector, order.deadline)
        );
    }

    function test_purchase_tooManyData() public {
        allow(app);
        Order memory order = orderOf(app);
        order.data = severalData(17);
        expectRefusal(order, abi.encodeWithSelector(ITaskRegistry.TooManyData.selector, 17));
    }

    function test_purchase_tooManyGrants() public {
        allow(app);
        Order memory order = orderOf(app);
        order.grants = severalGrants(33);
        expectRefusal(order, abi.encodeWithSelector(ITaskRegistry.TooManyGrants.selector, 33));
    }

    function test_purchase_paramsTooLong() public {
        allow(app);
        Order memory order = orderOf(app);
        order.params = string(new bytes(16_385));
        expectRefusal(order, abi.encodeWithSelector(ITaskRegistry.ParamsTooLong.selector, 16_385));
    }

    function test_fuzz_purchase_dataRepeated(uint8 first, uint8 second) public {
        vm.assume(first % 16 != second % 16);
        allow(app);
        Order memory order = orderOf(app);
        order.data = severalData(16);
        order.data[first % 16] = order.data[second % 16];
        expectRefusal(
            order,
            abi.encodeWithSelector(ITaskRegistry.DataRepeated.selector, order.data[second % 16])
        );
    }

    function test_purchase_grantIndexInvalid() public {
        allow(app);
        expectRefusal(
            withGrant(orderOf(app), 0, "token"),
            abi.encodeWithSelector(ITaskRegistry.GrantIndexInvalid.selector, 0)
        );
        expectRefusal(
            withGrant(withGrant(orderOf(app), 9, "token"), 9, "other"),
            abi.encodeWithSelector(ITaskRegistry.GrantIndexInvalid.selector, 9)
        );
    }

    function test_purchase_theSameNameUnderTwoIndices() public {
        allow(app);
        buy(withGrant(withGrant(orderOf(app), 1, "token"), type(uint32).max, "token"));
    }

    function test_purchase_everyLetterOfAName() public {
        allow(app);
        buy(
            withGrant(
                orderOf(app), 1, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-"
            )
        );
    }

    function test_fuzz_purchase_grantNameInvalid(bytes1 letter, uint8 position) public {
        bool allowed = (letter >= "0" && letter <= "9") || (letter >= "a" && letter <= "z")
            || (letter >= "A" && letter <= "Z") || letter == "_" || letter == "-";
        vm.assume(!allowed);
        allow(app);
        bytes memory name = "a-name_that-is-fine_but-for-1";
        name[position % name.length] = letter;
        expectNameRefused(string(name));
    }

    function test_purchase_grantNameInvalidLength() public {
        allow(app);
        expectNameRefused("");
        expectNameRefused("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    }

    function test_purchase_wrongKind() public {
        allow(app);
        allow(data);
        expectRefusal(
            orderOf(data), abi.encodeWithSelector(ITaskRegistry.WrongKind.selector, data, APP)
        );
        expectRefusal(
            orderOf(app, app), abi.encodeWithSelector(ITaskRegistry.WrongKind.selector, app, DATA)
        );
    }

    function test_fuzz_purchase_unknownAsset(uint256 assetId) public {
        vm.assume(assetId != app && assetId != data);
        allow(app);
        bytes memory unknown =
            abi.encodeWithSelector(IERC721Errors.ERC721NonexistentToken.selector, assetId);
        expectRefusal(orderOf(assetId), unknown);
        expectRefusal(orderOf(app, assetId), unknown);
    }

    function test_purchase_notWhitelisted() public {
        expectNotWhitelisted(orderOf(app), app);
        allow(app);
        expectNotWhitelisted(orderOf(app, data), data);
        vm.prank(appOwner);
        whitelist.revoke(app, ENCLAVE);
        expectNotWhitelisted(orderOf(app), app);
    }

    function test_fuzz_purchase_notWhitelistedForAnotherEnclave(bytes32 enclaveId) public {
        vm.assume(enclaveId != ENCLAVE);
        allow(app);
        Order memory order = orderOf(app);
        order.enclaveId = enclaveId;
        expectRefusal(
            order, abi.encodeWithSelector(ITaskRegistry.NotWhitelisted.selector, app, enclaveId)
        );
    }

    /// @dev A sale voids at once, and selling back does not heal.
    function test_purchase_notWhitelistedSinceASale() public {
        allow(app);
        vm.prank(appOwner);
        assets.transferFrom(appOwner, stranger, app);
        expectNotWhitelisted(orderOf(app), app);
        vm.prank(stranger);
        assets.transferFrom(stranger, appOwner, app);
        expectNotWhitelisted(orderOf(app), app);
    }

    function test_fuzz_purchase_keepsToTheDates(uint64 notBefore, uint64 notAfter, uint64 time)
        public
    {
        vm.assume(notAfter == 0 || notBefore <= notAfter);
        time = uint64(bound(time, 0, type(uint64).max - 1));
        Terms memory terms = openTerms();
        terms.notBefore = notBefore;
        terms.notAfter = notAfter;
        allow(app, terms);
        Order memory order = orderOf(app);
        order.deadline = type(uint64).max;
        vm.warp(time);

        if (time < notBefore) {
            vm.expectRevert(
                abi.encodeWithSelector(ITaskRegistry.NotYetValid.selector, app, notBefore)
            );
        } else if (notAfter != 0 && time > notAfter) {
            vm.expectRevert(
                abi.encodeWithSelector(ITaskRegistry.AuthorizationExpired.selector, app, notAfter)
            );
        }
        tasks.purchase(order);
    }

    function test_purchase_datesHoldAtBothEnds() public {
        Terms memory terms = openTerms();
        (terms.notBefore, terms.notAfter) = (uint64(NOW), uint64(NOW));
        allow(app, terms);
        buy(orderOf(app));
        vm.warp(NOW - 1);
        expectRefusal(
            orderOf(app), abi.encodeWithSelector(ITaskRegistry.NotYetValid.selector, app, NOW)
        );
        vm.warp(NOW + 1);
        expectRefusal(
            orderOf(app),
            abi.encodeWithSelector(ITaskRegistry.AuthorizationExpired.selector, app, NOW)
        );
    }

    function test_fuzz_purchase_wrongApp(uint256 term) public {
        vm.assume(term != 0 && term != app);
        allow(app);
        Terms memory terms = openTerms();
        terms.app = term;
        allow(data, terms);
        expectRefusal(
            orderOf(app, data), abi.encodeWithSelector(ITaskRegistry.WrongApp.selector, data, term)
        );
    }

    function test_fuzz_purchase_wrongRequester(address term, bool ofData) public {
        vm.assume(term != address(0) && term != requester);
        Terms memory terms = openTerms();
        terms.requester = term;
        allow(app, ofData ? openTerms() : terms);
        allow(data, ofData ? terms : openTerms());
        expectRefusal(
            orderOf(app, data),
            abi.encodeWithSelector(ITaskRegistry.WrongRequester.selector, ofData ? data : app, term)
        );
    }

    function test_fuzz_purchase_wrongSms(address term, bool ofData) public {
        vm.assume(term != address(0) && term != sms);
        Terms memory terms = openTerms();
        terms.sms = term;
        allow(app, ofData ? openTerms() : terms);
        allow(data, ofData ? terms : openTerms());
        expectRefusal(
            orderOf(app, data),
            abi.encodeWithSelector(ITaskRegistry.WrongSms.selector, ofData ? data : app, term)
        );
    }

    function test_purchase_onTermsThatNameThisTask() public {
        Terms memory terms = openTerms();
        terms.requester = requester;
        terms.sms = sms;
        terms.maxTasks = 1;
        allow(app, terms);
        terms.app = app;
        allow(data, terms);
        buy(orderOf(app, data));
    }

    function test_fuzz_purchase_tasksUsedUp(uint8 limit) public {
        uint64 maxTasks = uint64(bound(limit, 1, 8));
        allow(app);
        allow(data, limited(maxTasks));
        for (uint256 i; i < maxTasks; ++i) {
            buy(orderOf(app, data));
        }
        expectRefusal(
            orderOf(app, data),
            abi.encodeWithSelector(ITaskRegistry.TasksUsedUp.selector, data, maxTasks)
        );
        assertEq(tasks.usesOf(data, ENCLAVE, 1), maxTasks);
        assertEq(tasks.usesOf(app, ENCLAVE, 1), maxTasks);
    }

    function test_purchase_aNewSerialCountsAnew() public {
        allow(app, limited(1));
        buy(orderOf(app));
        allow(app, limited(2));
        buy(orderOf(app));
        buy(orderOf(app));
        assertEq(tasks.usesOf(app, ENCLAVE, 1), 1);
        assertEq(tasks.usesOf(app, ENCLAVE, 2), 2);
    }

    function test_purchase_refusedLeavesNothing() public {
        allow(app);
        bytes32 slot = vm.load(address(tasks), JOURNAL_SLOT);
        expectNotWhitelisted(orderOf(app, data), data);
        assertEq(tasks.usesOf(app, ENCLAVE, 1), 0);
        assertEq(tasks.nonceOf(requester), 0);
        assertEq(vm.load(address(tasks), JOURNAL_SLOT), slot);
    }

    /* START */

    function test_start_byTheWorkerUpToTheDeadline() public {
        bytes32 taskId = task();
        vm.warp(NOW + 1 hours);
        vm.expectEmit();
        emit ITaskRegistry.TaskStarted(taskId);
        vm.prank(worker);
        tasks.start(taskId);
        assertStatus(taskId, ITaskRegistry.Status.Started);
    }

    function test_start_taskOverdue() public {
        bytes32 taskId = task();
        vm.warp(NOW + 1 hours + 1);
        vm.expectRevert(overdue(taskId));
        vm.prank(worker);
        tasks.start(taskId);
    }

    function test_fuzz_start_notAllowed(address caller) public {
        vm.assume(caller != worker);
        bytes32 taskId = task();
        vm.expectRevert(notAllowed(taskId, caller));
        vm.prank(caller);
        tasks.start(taskId);
    }

    /* COMPLETE */

    function test_fuzz_complete_reports(bytes32 digest, string memory uri) public {
        bytes32 taskId = startedTask();
        vm.warp(NOW + 1 hours);
        vm.expectEmit();
        emit ITaskRegistry.TaskCompleted(taskId, digest, uri, vm.addr(RESULT_KEY));
        finish(taskId, digest, uri);
        assertStatus(taskId, ITaskRegistry.Status.Completed);
    }

    function finish(bytes32 taskId, bytes32 digest, string memory uri)
        internal
        refolds(address(tasks), 1)
    {
        complete(taskId, digest, uri);
    }

    function test_complete_taskOverdue() public {
        bytes32 taskId = startedTask();
        vm.warp(NOW + 1 hours + 1);
        vm.expectRevert(overdue(taskId));
        vm.prank(worker);
        tasks.complete(taskId, 0, "", address(0), "", "");
    }

    function test_fuzz_complete_notAllowed(address caller) public {
        vm.assume(caller != worker);
        bytes32 taskId = startedTask();
        vm.expectRevert(notAllowed(taskId, caller));
        vm.prank(caller);
        tasks.complete(taskId, 0, "", address(0), "", "");
    }

    /* CANCEL */

    function test_fuzz_cancel_givesEveryUseBack(uint8 count) public {
        allow(app, limited(1));
        Order memory order = orderOf(app);
        order.data = severalData(count % 17);
        bytes32 taskId = buy(order);
        assertEq(tasks.usesOf(app, ENCLAVE, 1), 1);

        vm.expectEmit();
        emit ITaskRegistry.TaskCancelled(taskId);
        vm.prank(requester);
        tasks.cancel(taskId);

        assertStatus(taskId, ITaskRegistry.Status.Cancelled);
        assertEq(tasks.usesOf(app, ENCLAVE, 1), 0);
        for (uint256 i; i < order.data.length; ++i) {
            assertEq(tasks.usesOf(order.data[i], ENCLAVE, 1), 0);
        }
        buy(order);
    }

    /// @dev A use goes back to the serial it was taken from.
    function test_cancel_afterANewSerial() public {
        allow(app, limited(1));
        bytes32 taskId = buy(orderOf(app));
        allow(app, limited(2));
        buy(orderOf(app));
        vm.prank(requester);
        tasks.cancel(taskId);
        assertEq(tasks.usesOf(app, ENCLAVE, 1), 0);
        assertEq(tasks.usesOf(app, ENCLAVE, 2), 1);
    }

    function test_fuzz_cancel_notAllowed(address caller) public {
        vm.assume(caller != requester);
        bytes32 taskId = task();
        vm.expectRevert(notAllowed(taskId, caller));
        vm.prank(caller);
        tasks.cancel(taskId);
    }

    /* EXPIRE */

    function test_fuzz_expire_byAnybodyAfterTheDeadline(address caller, bool started) public {
        bytes32 taskId = started ? startedTask() : task();
        vm.warp(NOW + 1 hours + (started ? CLAIM_WINDOW : 0) + 1);
        vm.expectEmit();
        emit ITaskRegistry.TaskExpired(taskId);
        vm.prank(caller);
        tasks.expire(taskId);
        assertStatus(taskId, ITaskRegistry.Status.Expired);
        assertEq(tasks.usesOf(app, ENCLAVE, 1), 1);
    }

    function test_expire_taskNotOverdue() public {
        bytes32 taskId = task();
        vm.warp(NOW + 1 hours);
        vm.expectRevert(notOverdue(taskId));
        tasks.expire(taskId);
    }

    function test_expire_startedWithinTheClaimWindow() public {
        bytes32 taskId = startedTask();
        vm.warp(NOW + 1 hours);
        vm.expectRevert(notOverdue(taskId));
        tasks.expire(taskId);

        uint256 closes = NOW + 1 hours + CLAIM_WINDOW;
        bytes memory open =
            abi.encodeWithSelector(ITaskRegistry.ClaimWindowOpen.selector, taskId, closes);
        vm.warp(NOW + 1 hours + 1);
        vm.expectRevert(open);
        tasks.expire(taskId);
        vm.warp(closes);
        vm.expectRevert(open);
        tasks.expire(taskId);
        vm.warp(closes + 1);
        tasks.expire(taskId);
    }

    function test_expire_settledNeedNotWait() public {
        bytes32 taskId = startedTask();
        tasks.settle(taskId, statement(taskId));
        vm.warp(NOW + 1 hours + 1);
        tasks.expire(taskId);
        assertStatus(taskId, ITaskRegistry.Status.Expired);
    }

    /* SETTLE */

    function test_CLAIM_WINDOW_isAWeek() public view {
        assertEq(tasks.CLAIM_WINDOW(), CLAIM_WINDOW);
    }

    function test_fuzz_settle_byAnybodyOnce(address caller, uint256 time) public {
        bytes32 taskId = startedTask();
        bytes memory signature = statement(taskId);
        vm.warp(bound(time, NOW, NOW + 1 hours + CLAIM_WINDOW));
        vm.expectEmit();
        emit ITaskRegistry.TaskSettled(taskId);
        vm.prank(caller);
        tasks.settle(taskId, signature);
        assertStatus(taskId, ITaskRegistry.Status.Started);

        vm.expectRevert(abi.encodeWithSelector(ITaskRegistry.AlreadySettled.selector, taskId));
        tasks.settle(taskId, signature);
    }

    function test_fuzz_settle_claimWindowClosed(uint64 late) public {
        bytes32 taskId = startedTask();
        bytes memory signature = statement(taskId);
        uint256 closes = NOW + 1 hours + CLAIM_WINDOW;
        vm.warp(closes + 1 + late);
        vm.expectRevert(
            abi.encodeWithSelector(ITaskRegistry.ClaimWindowClosed.selector, taskId, closes)
        );
        tasks.settle(taskId, signature);
    }

    function test_settle_doesNotStopTheWorker() public {
        bytes32 taskId = startedTask();
        tasks.settle(taskId, statement(taskId));
        finish(taskId, DIGEST, "uri");
    }

    /* GRANTS */

    function test_fuzz_revokeGrant_once(uint32 index, bool started) public {
        vm.assume(index != 0);
        allow(app);
        bytes32 taskId = buy(withGrant(orderOf(app), index, "token"));
        if (started) {
            vm.prank(worker);
            tasks.start(taskId);
        }
        assertFalse(tasks.isGrantRevoked(taskId, index));

        takeBack(taskId, index);

        assertTrue(tasks.isGrantRevoked(taskId, index));
        vm.expectRevert(
            abi.encodeWithSelector(ITaskRegistry.GrantAlreadyRevoked.selector, taskId, index)
        );
        vm.prank(requester);
        tasks.revokeGrant(taskId, index);
    }

    function takeBack(bytes32 taskId, uint32 index) internal refolds(address(tasks), 1) {
        vm.prank(requester);
        tasks.revokeGrant(taskId, index);
    }

    function test_revokeGrant_emits() public {
        bytes32 taskId = task();
        vm.expectEmit();
        emit ITaskRegistry.GrantRevoked(taskId, 1);
        vm.prank(requester);
        tasks.revokeGrant(taskId, 1);
    }

    function test_fuzz_revokeGrant_grantUnknown(uint32 index) public {
        vm.assume(index != 1);
        bytes32 taskId = task();
        vm.expectRevert(abi.encodeWithSelector(ITaskRegistry.GrantUnknown.selector, taskId, index));
        vm.prank(requester);
        tasks.revokeGrant(taskId, index);
    }

    function test_fuzz_revokeGrant_notAllowed(address caller) public {
        vm.assume(caller != requester);
        bytes32 taskId = task();
        vm.expectRevert(notAllowed(taskId, caller));
        vm.prank(caller);
        tasks.revokeGrant(taskId, 1);
    }

    function test_revokeGrant_leavesOtherTasksAlone() public {
        bytes32 taskId = task();
        bytes32 other = buy(withGrant(orderOf(app), 1, "token"));
        takeBack(taskId, 1);
        assertFalse(tasks.isGrantRevoked(other, 1));
    }

    /* STATES */

    function test_everyStep_folds() public {
        bytes32 started = startedTask();
        bytes32 overdueTask = task();
        bytes32 cancelled = task();
        bytes32 next = task();
        steps(started, cancelled, next);
        vm.warp(NOW + 1 hours + 1);
        stepExpire(overdueTask);
    }

    function steps(bytes32 started, bytes32 cancelled, bytes32 next)
        internal
        refolds(address(tasks), 4)
    {
        tasks.settle(started, statement(started));
        complete(started);
        vm.prank(requester);
        tasks.cancel(cancelled);
        vm.prank(worker);
        tasks.start(next);
    }

    function stepExpire(bytes32 taskId) internal refolds(address(tasks), 1) {
        tasks.expire(taskId);
    }

    /// @dev Each call against each state in which it must not pass, whoever calls and however late.
    function test_everyCall_wrongStatus() public {
        bytes32 completed = startedTask();
        finish(completed, DIGEST, "uri");
        bytes32 cancelled = task();
        vm.prank(requester);
        tasks.cancel(cancelled);
        bytes32 expired = task();
        bytes32 purchased = task();
        bytes32 started = startedTask();
        vm.warp(NOW + 1 hours + 1);
        tasks.expire(expired);

        refuseAll(keccak256("no such task"), ITaskRegistry.Status.None);
        refuseAll(completed, ITaskRegistry.Status.Completed);
        refuseAll(cancelled, ITaskRegistry.Status.Cancelled);
        refuseAll(expired, ITaskRegistry.Status.Expired);

        expectWrongStatus(purchased, ITaskRegistry.Status.Purchased);
        tasks.complete(purchased, 0, "", address(0), "", "");
        expectWrongStatus(purchased, ITaskRegistry.Status.Purchased);
        tasks.settle(purchased, "");
        expectWrongStatus(started, ITaskRegistry.Status.Started);
        tasks.start(started);
        expectWrongStatus(started, ITaskRegistry.Status.Started);
        tasks.cancel(started);
    }

    function refuseAll(bytes32 taskId, ITaskRegistry.Status status) internal {
        assertStatus(taskId, status);
        expectWrongStatus(taskId, status);
        tasks.start(taskId);
        expectWrongStatus(taskId, status);
        tasks.complete(taskId, 0, "", address(0), "", "");
        expectWrongStatus(taskId, status);
        tasks.cancel(taskId);
        expectWrongStatus(taskId, status);
        tasks.expire(taskId);
        expectWrongStatus(taskId, status);
        tasks.settle(taskId, "");
        expectWrongStatus(taskId, status);
        tasks.revokeGrant(taskId, 1);
    }

    /* WITHDRAW */

    function test_fuzz_withdraw_nothingToWithdraw(address account, address currency) public {
        vm.expectRevert(
            abi.encodeWithSelector(ITaskRegistry.NothingToWithdraw.selector, account, currency)
        );
        vm.prank(account);
        tasks.withdraw(currency);
    }

    /* HELPERS */

    function task() internal returns (bytes32) {
        if (tasks.nonceOf(requester) == 0) allow(app);
        return buy(withGrant(orderOf(app), 1, "token"));
    }

    function startedTask() internal returns (bytes32 taskId) {
        taskId = task();
        vm.prank(worker);
        tasks.start(taskId);
    }

    function limited(uint64 maxTasks) internal pure returns (Terms memory terms) {
        terms.maxTasks = maxTasks;
    }

    function severalData(uint256 count) internal returns (uint256[] memory list) {
        list = new uint256[](count);
        for (uint256 i; i < count; ++i) {
            list[i] = newData(string.concat("data-", vm.toString(i)));
            allow(list[i]);
        }
    }

    function severalGrants(uint256 count) internal pure returns (Grant[] memory list) {
        list = new Grant[](count);
        for (uint256 i; i < count; ++i) {
            list[i] = Grant(uint32(i + 1), string.concat("secret-", vm.toString(i)));
        }
    }

    function expectRefusal(Order memory order, bytes memory reason) internal {
        vm.expectRevert(reason);
        vm.prank(requester);
        tasks.purchase(order);
    }

    function expectNotWhitelisted(Order memory order, uint256 assetId) internal {
        expectRefusal(
            order, abi.encodeWithSelector(ITaskRegistry.NotWhitelisted.selector, assetId, ENCLAVE)
        );
    }

    function expectNameRefused(string memory name) internal {
        expectRefusal(
            withGrant(orderOf(app), 5, name),
            abi.encodeWithSelector(ITaskRegistry.GrantNameInvalid.selector, 5)
        );
    }

    function notOverdue(bytes32 taskId) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(ITaskRegistry.TaskNotOverdue.selector, taskId, NOW + 1 hours);
    }

    function expectWrongStatus(bytes32 taskId, ITaskRegistry.Status status) internal {
        vm.expectRevert(abi.encodeWithSelector(ITaskRegistry.WrongStatus.selector, taskId, status));
    }

    function notAllowed(bytes32 taskId, address caller) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(ITaskRegistry.NotAllowed.selector, taskId, caller);
    }

    function overdue(bytes32 taskId) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(ITaskRegistry.TaskOverdue.selector, taskId, NOW + 1 hours);
    }
}
