// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Test} from "forge-std/Test.sol";

import {TaskRegistry} from "../../contracts/TaskRegistry.sol";
import {IJournal} from "../../contracts/interfaces/IJournal.sol";
import {ITaskRegistry} from "../../contracts/interfaces/ITaskRegistry.sol";
import {Fold} from "./support/Fold.sol";
import {Handler} from "./support/Handler.sol";

contract InvariantsTest is Test {
    bytes32 internal constant ENCLAVE = keccak256("enclave");
    bytes32 internal constant JOURNAL_SLOT =
        0xb5eb1be91e63e7a5290b13add6b727d07cf66520075de8364fb70f1d47001700;

    Handler internal handler;
    address internal assets;
    address internal whitelist;
    TaskRegistry internal tasks;

    function setUp() public {
        handler = new Handler();
        address registry;
        (assets, whitelist, registry) = handler.registries();
        tasks = TaskRegistry(registry);

        bytes4[] memory selectors = new bytes4[](14);
        selectors[0] = Handler.setContent.selector;
        selectors[1] = Handler.transfer.selector;
        selectors[2] = Handler.authorize.selector;
        selectors[3] = Handler.revoke.selector;
        selectors[4] = Handler.purchase.selector;
        selectors[5] = Handler.cancel.selector;
        selectors[6] = Handler.revokeGrant.selector;
        selectors[7] = Handler.start.selector;
        selectors[8] = Handler.finish.selector;
        selectors[9] = Handler.expire.selector;
        selectors[10] = Handler.settle.selector;
        selectors[11] = Handler.pass.selector;
        selectors[12] = Handler.disturb.selector;
        selectors[13] = Handler.withdraw.selector;
        targetSelector(FuzzSelector(address(handler), selectors));
        targetContract(address(handler));
    }

    /// @dev The sequence counts the folded events, and the hash is theirs.
    function invariant_journalsAreWhatTheLogsSay() public view {
        address[3] memory registries = [assets, whitelist, address(tasks)];
        for (uint256 i; i < registries.length; ++i) {
            bytes32 slot = handler.mirrored(registries[i]);
            assertEq(vm.load(registries[i], JOURNAL_SLOT), slot);
            (bytes24 hash, uint64 sequence) = IJournal(registries[i]).journal();
            assertEq(hash, Fold.hashOf(slot));
            assertEq(sequence, Fold.sequence(slot));
        }
    }

    function invariant_noTaskLeavesAFinalState() public view {
        for (uint256 i; i < handler.taskCount(); ++i) {
            bytes32 taskId = handler.taskIds(i);
            ITaskRegistry.Status ended = handler.finalStatus(taskId);
            (ITaskRegistry.Status status,,,,) = tasks.taskOf(taskId);
            if (ended != ITaskRegistry.Status.None) assertEq(uint8(status), uint8(ended));
        }
    }

    function invariant_usesStayWithinMaxTasks() public view {
        (uint256[4] memory assetIds, uint64[4] memory latest) = handler.assetsOf();
        for (uint256 i; i < assetIds.length; ++i) {
            for (uint64 serial = 1; serial <= latest[i]; ++serial) {
                uint64 uses = tasks.usesOf(assetIds[i], ENCLAVE, serial);
                uint64 limit = handler.maxTasks(assetIds[i], serial);
                assertEq(uses, handler.expectedUses(assetIds[i], serial));
                if (limit != 0) assertLe(uses, limit);
            }
        }
    }

    /// @dev Whatever the registry holds belongs to an open task or to somebody's credit.
    function invariant_escrowIsOpenTasksAndCredits() public view {
        address token = address(handler.token());
        assertEq(owed(address(0)), address(tasks).balance);
        assertEq(owed(token), handler.token().balanceOf(address(tasks)));
    }

    /// @dev Nothing is made or lost on the way.
    function invariant_whatCameInIsOwedOrOut() public view {
        address[2] memory currencies = [address(0), address(handler.token())];
        for (uint256 i; i < currencies.length; ++i) {
            uint256 owes = owed(currencies[i]);
            assertEq(handler.paidIn(currencies[i]), owes + handler.paidOut(currencies[i]));
        }
    }

    function owed(address currency) internal view returns (uint256 sum) {
        for (uint256 i; i < handler.taskCount(); ++i) {
            (address inCurrency, uint256 amount) = tasks.escrowOf(handler.taskIds(i));
            if (inCurrency == currency) sum += amount;
        }
        address[4] memory accounts = handler.accounts();
        for (uint256 i; i < accounts.length; ++i) {
            sum += tasks.creditOf(accounts[i], currency);
        }
    }
}
