// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC721Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {IEnclaveWhitelist, Terms} from "../../contracts/interfaces/IEnclaveWhitelist.sol";
import {BaseTest} from "./support/BaseTest.sol";

contract EnclaveWhitelistTest is BaseTest {
    uint256 internal app;
    uint256 internal data;

    function setUp() public override {
        super.setUp();
        app = newApp();
        data = newData("data");
    }

    function test_ASSETS_isTheRegistry() public view {
        assertEq(whitelist.ASSETS(), address(assets));
    }

    /* AUTHORIZE */

    function test_fuzz_authorize_keepsTheTerms(bytes32 enclaveId, Terms memory terms) public {
        vm.assume(enclaveId != 0);
        inOrder(terms);

        vm.expectEmit();
        emit IEnclaveWhitelist.EnclaveAuthorized(data, enclaveId, 0, 1, terms);
        vm.prank(dataOwner);
        assertEq(whitelist.authorize(data, enclaveId, terms), 1);

        assertAuthorization(data, enclaveId, terms, 0, 1, true);
    }

    function test_fuzz_authorize_folds(bytes32 enclaveId, Terms memory terms)
        public
        refolds(address(whitelist), 1)
    {
        vm.assume(enclaveId != 0);
        inOrder(terms);
        vm.prank(dataOwner);
        whitelist.authorize(data, enclaveId, terms);
    }

    function test_fuzz_authorize_changedTermsGiveANewSerial(Terms memory a, Terms memory b) public {
        inOrder(a);
        inOrder(b);
        vm.assume(keccak256(abi.encode(a)) != keccak256(abi.encode(b)));
        assertEq(allow(data, a), 1);
        assertEq(allow(data, b), 2);
        assertEq(allow(data, a), 3);
        assertAuthorization(data, ENCLAVE, a, 0, 3, true);
    }

    function test_fuzz_authorize_termsUnchanged(Terms memory terms) public {
        inOrder(terms);
        allow(data, terms);
        vm.expectRevert(
            abi.encodeWithSelector(IEnclaveWhitelist.TermsUnchanged.selector, data, ENCLAVE)
        );
        vm.prank(dataOwner);
        whitelist.authorize(data, ENCLAVE, terms);
    }

    function test_authorize_sameTermsAfterARevocation() public {
        allow(app);
        vm.prank(appOwner);
        whitelist.revoke(app, ENCLAVE);
        assertEq(allow(app), 2);
    }

    function test_authorize_sameTermsAfterASale() public {
        allow(app);
        sell(app, stranger);
        assertEq(allow(app), 2);
        assertAuthorization(app, ENCLAVE, openTerms(), 1, 2, true);
    }

    function test_fuzz_authorize_notAuthorizedFor(address caller) public {
        vm.assume(caller != appOwner);
        vm.expectRevert(
            abi.encodeWithSelector(IEnclaveWhitelist.NotAuthorizedFor.selector, app, caller)
        );
        vm.prank(caller);
        whitelist.authorize(app, ENCLAVE, openTerms());
    }

    function test_authorize_theOwnerOfAnotherAssetMayNot() public {
        vm.expectRevert(
            abi.encodeWithSelector(IEnclaveWhitelist.NotAuthorizedFor.selector, app, dataOwner)
        );
        vm.prank(dataOwner);
        whitelist.authorize(app, ENCLAVE, openTerms());
    }

    function test_authorize_theSellerMayNoMore() public {
        sell(app, stranger);
        vm.expectRevert(
            abi.encodeWithSelector(IEnclaveWhitelist.NotAuthorizedFor.selector, app, appOwner)
        );
        vm.prank(appOwner);
        whitelist.authorize(app, ENCLAVE, openTerms());
    }

    function test_authorize_byEveryKindOfOperator() public {
        vm.prank(appOwner);
        assets.approve(stranger, app);
        vm.prank(stranger);
        whitelist.authorize(app, ENCLAVE, openTerms());

        vm.prank(dataOwner);
        assets.setApprovalForAll(worker, true);
        vm.prank(worker);
        whitelist.authorize(data, ENCLAVE, openTerms());
    }

    function test_fuzz_authorize_unknownAsset(uint256 assetId) public {
        vm.assume(assetId != app && assetId != data);
        vm.expectRevert(
            abi.encodeWithSelector(IERC721Errors.ERC721NonexistentToken.selector, assetId)
        );
        whitelist.authorize(assetId, ENCLAVE, openTerms());
    }

    function test_authorize_enclaveMissing() public {
        vm.expectRevert(IEnclaveWhitelist.EnclaveMissing.selector);
        vm.prank(appOwner);
        whitelist.authorize(app, 0, openTerms());
    }

    function test_fuzz_authorize_appTermNotAllowed(uint256 term) public {
        vm.assume(term != 0);
        Terms memory terms = openTerms();
        terms.app = term;
        vm.expectRevert(abi.encodeWithSelector(IEnclaveWhitelist.AppTermNotAllowed.selector, app));
        vm.prank(appOwner);
        whitelist.authorize(app, ENCLAVE, terms);
    }

    function test_fuzz_authorize_datesReversed(uint64 notBefore, uint64 notAfter) public {
        vm.assume(notAfter != 0 && notAfter < notBefore);
        Terms memory terms = openTerms();
        terms.notBefore = notBefore;
        terms.notAfter = notAfter;
        vm.expectRevert(
            abi.encodeWithSelector(IEnclaveWhitelist.DatesReversed.selector, notBefore, notAfter)
        );
        vm.prank(appOwner);
        whitelist.authorize(app, ENCLAVE, terms);
    }

    /* REVOKE */

    function test_fuzz_revoke_leavesTheRecord(Terms memory terms) public {
        inOrder(terms);
        allow(data, terms);

        vm.expectEmit();
        emit IEnclaveWhitelist.EnclaveRevoked(data, ENCLAVE, 1);
        vm.prank(dataOwner);
        whitelist.revoke(data, ENCLAVE);

        assertAuthorization(data, ENCLAVE, terms, 0, 1, false);
    }

    function test_revoke_folds() public refolds(address(whitelist), 2) {
        allow(app);
        vm.prank(appOwner);
        whitelist.revoke(app, ENCLAVE);
    }

    function test_revoke_byAnOperator() public {
        allow(app);
        vm.prank(appOwner);
        assets.approve(stranger, app);
        vm.prank(stranger);
        whitelist.revoke(app, ENCLAVE);
    }

    function test_fuzz_revoke_notAuthorizedFor(address caller) public {
        vm.assume(caller != appOwner);
        allow(app);
        vm.expectRevert(
            abi.encodeWithSelector(IEnclaveWhitelist.NotAuthorizedFor.selector, app, caller)
        );
        vm.prank(caller);
        whitelist.revoke(app, ENCLAVE);
    }

    function test_revoke_neverAuthorized() public {
        expectNothingToRevoke(OTHER_ENCLAVE, appOwner);
    }

    function test_revoke_twice() public {
        allow(app);
        vm.prank(appOwner);
        whitelist.revoke(app, ENCLAVE);
        expectNothingToRevoke(ENCLAVE, appOwner);
    }

    function test_revoke_voidSinceASale() public {
        allow(app);
        sell(app, stranger);
        expectNothingToRevoke(ENCLAVE, stranger);
    }

    /// @dev Selling and buying back does not bring an authorization back.
    function test_revoke_voidAfterARoundTrip() public {
        allow(app);
        sell(app, stranger);
        sell(app, appOwner);
        expectNothingToRevoke(ENCLAVE, appOwner);
    }

    /* BATCHES */

    function test_fuzz_authorizeBatch_isEachInTurn(uint8 count) public {
        uint256 size = bound(count, 1, 64);
        (uint256[] memory ids, bytes32[] memory enclaves, Terms[] memory terms) = batch(size);
        authorizeAll(ids, enclaves, terms);
        for (uint256 i; i < size; ++i) {
            assertAuthorization(app, enclaves[i], terms[i], 0, 1, true);
        }
        revokeAll(ids, enclaves);
        for (uint256 i; i < size; ++i) {
            assertAuthorization(app, enclaves[i], terms[i], 0, 1, false);
        }
    }

    function authorizeAll(uint256[] memory ids, bytes32[] memory enclaves, Terms[] memory terms)
        internal
        refolds(address(whitelist), ids.length)
    {
        vm.prank(appOwner);
        whitelist.authorizeBatch(ids, enclaves, terms);
    }

    function revokeAll(uint256[] memory ids, bytes32[] memory enclaves)
        internal
        refolds(address(whitelist), ids.length)
    {
        vm.prank(appOwner);
        whitelist.revokeBatch(ids, enclaves);
    }

    function test_authorizeBatch_allOrNone() public {
        (uint256[] memory ids, bytes32[] memory enclaves, Terms[] memory terms) = batch(3);
        ids[2] = data;
        vm.expectRevert(
            abi.encodeWithSelector(IEnclaveWhitelist.NotAuthorizedFor.selector, data, appOwner)
        );
        vm.prank(appOwner);
        whitelist.authorizeBatch(ids, enclaves, terms);
        (,, uint64 serial,) = whitelist.authorizationOf(app, enclaves[0]);
        assertEq(serial, 0);
    }

    function test_authorizeBatch_refusesARepeatedPair() public {
        (uint256[] memory ids, bytes32[] memory enclaves, Terms[] memory terms) = batch(2);
        enclaves[1] = enclaves[0];
        terms[1] = terms[0];
        vm.expectRevert(
            abi.encodeWithSelector(IEnclaveWhitelist.TermsUnchanged.selector, app, enclaves[0])
        );
        vm.prank(appOwner);
        whitelist.authorizeBatch(ids, enclaves, terms);
    }

    function test_fuzz_batches_lengthsDiffer(uint8 a, uint8 b, uint8 c) public {
        vm.assume(a != b || b != c);
        vm.expectRevert(IEnclaveWhitelist.LengthsDiffer.selector);
        whitelist.authorizeBatch(new uint256[](a), new bytes32[](b), new Terms[](c));
        vm.assume(a != b);
        vm.expectRevert(IEnclaveWhitelist.LengthsDiffer.selector);
        whitelist.revokeBatch(new uint256[](a), new bytes32[](b));
    }

    function test_batches_sizeInvalid() public {
        for (uint256 size; size <= 65; size += 65) {
            bytes memory invalid =
                abi.encodeWithSelector(IEnclaveWhitelist.BatchSizeInvalid.selector, size);
            vm.expectRevert(invalid);
            whitelist.authorizeBatch(new uint256[](size), new bytes32[](size), new Terms[](size));
            vm.expectRevert(invalid);
            whitelist.revokeBatch(new uint256[](size), new bytes32[](size));
        }
    }

    /* HELPERS */

    function batch(uint256 size)
        internal
        view
        returns (uint256[] memory ids, bytes32[] memory enclaves, Terms[] memory terms)
    {
        ids = new uint256[](size);
        enclaves = new bytes32[](size);
        terms = new Terms[](size);
        for (uint256 i; i < size; ++i) {
            ids[i] = app;
            enclaves[i] = keccak256(abi.encode("batch", i));
            terms[i].maxTasks = uint64(i);
        }
    }

    function sell(uint256 assetId, address to) internal {
        address owner = assets.ownerOf(assetId);
        vm.prank(owner);
        assets.transferFrom(owner, to, assetId);
    }

    function expectNothingToRevoke(bytes32 enclaveId, address owner) internal {
        vm.expectRevert(
            abi.encodeWithSelector(IEnclaveWhitelist.NotAuthorized.selector, app, enclaveId)
        );
        vm.prank(owner);
        whitelist.revoke(app, enclaveId);
    }

    function assertAuthorization(
        uint256 assetId,
        bytes32 enclaveId,
        Terms memory terms,
        uint64 epoch,
        uint64 serial,
        bool active
    ) internal view {
        (Terms memory readTerms, uint64 readEpoch, uint64 readSerial, bool readActive) =
            whitelist.authorizationOf(assetId, enclaveId);
        assertEq(abi.encode(readTerms), abi.encode(terms), "terms");
        assertEq(readEpoch, epoch, "epoch");
        assertEq(readSerial, serial, "serial");
        assertEq(readActive, active, "active");
    }
}
