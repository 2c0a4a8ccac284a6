// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC721Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";

import {IAssetRegistry} from "../../contracts/interfaces/IAssetRegistry.sol";
import {BaseTest} from "./support/BaseTest.sol";

/// @dev Takes any token, and sells it on in the very call that brings it.
contract Flipper {
    address private immutable BUYER;

    constructor(address buyer) {
        BUYER = buyer;
    }

    function onERC721Received(address, address, uint256 tokenId, bytes calldata)
        external
        returns (bytes4)
    {
        IERC721(msg.sender).transferFrom(address(this), BUYER, tokenId);
        return this.onERC721Received.selector;
    }
}

contract AssetRegistryTest is BaseTest {
    /* REGISTER */

    function test_fuzz_register_saysWhatItWasTold(
        address creator,
        address to,
        bool app,
        string memory uri,
        bytes32 digest,
        bytes32 salt
    ) public {
        vm.assume(to != address(0) && digest != 0);
        vm.assume(bytes(uri).length > 0 && bytes(uri).length <= 2048);
        uint8 kind = app ? APP : DATA;

        vm.prank(creator);
        uint256 assetId = assets.register(kind, to, uri, digest, salt);

        (string memory readUri, bytes32 readDigest) = assets.contentOf(assetId);
        assertEq(readUri, uri);
        assertEq(readDigest, digest);
        assertEq(assets.tokenURI(assetId), uri);
        assertEq(assets.ownerOf(assetId), to);
        assertEq(assets.kindOf(assetId), kind);
        assertEq(assets.epochOf(assetId), 0);
    }

    function test_fuzz_register_idIsTheFormula(uint64 chainId, address creator, bytes32 salt)
        public
    {
        vm.assume(chainId != 0);
        vm.chainId(chainId);
        bytes memory preimage =
            abi.encode(uint256(chainId), address(assets), creator, uint256(DATA), DIGEST, salt);

        vm.prank(creator);
        uint256 assetId =
            assets.register(DATA, creator == address(0) ? stranger : creator, "u", DIGEST, salt);

        assertEq(assetId, uint256(keccak256(preimage)));
        assertEq(assetId, assets.assetIdOf(creator, DATA, DIGEST, salt));
    }

    function test_register_emitsBeforeTheMint() public {
        uint256 assetId = assets.assetIdOf(stranger, APP, DIGEST, "salt");
        vm.expectEmit();
        emit IAssetRegistry.AssetRegistered(assetId, stranger, APP, DIGEST, "salt", "uri");
        vm.expectEmit();
        emit IERC721.Transfer(address(0), appOwner, assetId);

        vm.prank(stranger);
        assets.register(APP, appOwner, "uri", DIGEST, "salt");
    }

    function test_fuzz_register_folds(string memory uri, bytes32 digest, bytes32 salt)
        public
        refolds(address(assets), 2)
    {
        vm.assume(digest != 0 && bytes(uri).length > 0 && bytes(uri).length <= 2048);
        assets.register(DATA, dataOwner, uri, digest, salt);
    }

    function test_fuzz_register_kindUnknown(uint8 kind) public {
        vm.assume(kind != APP && kind != DATA);
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.KindUnknown.selector, kind));
        assets.register(kind, appOwner, "uri", DIGEST, 0);
    }

    function test_register_digestMissing() public {
        vm.expectRevert(IAssetRegistry.DigestMissing.selector);
        assets.register(APP, appOwner, "uri", 0, 0);
    }

    function test_register_uriLengthInvalid() public {
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.UriLengthInvalid.selector, 0));
        assets.register(APP, appOwner, "", DIGEST, 0);
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.UriLengthInvalid.selector, 2049));
        assets.register(APP, appOwner, string(new bytes(2049)), DIGEST, 0);
        assets.register(APP, appOwner, string(new bytes(2048)), DIGEST, 0);
    }

    function test_register_assetExists() public {
        uint256 app = newApp();
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.AssetExists.selector, app));
        newApp();
    }

    function test_register_assetExistsAfterItWasSold() public {
        uint256 app = newApp();
        vm.prank(appOwner);
        assets.transferFrom(appOwner, stranger, app);
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.AssetExists.selector, app));
        newApp();
    }

    function test_register_toNobody() public {
        vm.expectRevert(
            abi.encodeWithSelector(IERC721Errors.ERC721InvalidReceiver.selector, address(0))
        );
        assets.register(APP, address(0), "uri", DIGEST, 0);
    }

    /// @dev A copy of somebody's registration, sent first, takes another id.
    function test_fuzz_register_cannotBeFrontRun(address thief) public {
        vm.assume(thief != appOwner);
        vm.prank(thief);
        uint256 copy = assets.register(APP, appOwner, "ipfs://app", DIGEST, bytes32("app"));
        assertNotEq(newApp(), copy);
    }

    /* SET CONTENT */

    function test_fuzz_setContent_replaces(string memory uri, bytes32 digest) public {
        vm.assume(digest != 0 && digest != DIGEST);
        vm.assume(bytes(uri).length > 0 && bytes(uri).length <= 2048);
        uint256 app = newApp();

        vm.expectEmit();
        emit IAssetRegistry.ContentSet(app, digest, uri);
        vm.prank(appOwner);
        assets.setContent(app, uri, digest);

        (string memory readUri, bytes32 readDigest) = assets.contentOf(app);
        assertEq(readUri, uri);
        assertEq(readDigest, digest);
        assertEq(assets.tokenURI(app), uri);
    }

    function test_fuzz_setContent_folds(string memory uri, bytes32 digest)
        public
        refolds(address(assets), 3)
    {
        vm.assume(digest != 0 && digest != DIGEST);
        vm.assume(bytes(uri).length > 0 && bytes(uri).length <= 2048);
        uint256 app = newApp();
        vm.prank(appOwner);
        assets.setContent(app, uri, digest);
    }

    function test_setContent_eitherPartAloneIsAChange() public {
        uint256 app = newApp();
        vm.startPrank(appOwner);
        assets.setContent(app, "ipfs://elsewhere", DIGEST);
        assets.setContent(app, "ipfs://elsewhere", keccak256("other content"));
    }

    function test_setContent_contentUnchanged() public {
        uint256 app = newApp();
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.ContentUnchanged.selector, app));
        vm.prank(appOwner);
        assets.setContent(app, "ipfs://app", DIGEST);
    }

    function test_setContent_contentInvalid() public {
        uint256 app = newApp();
        vm.startPrank(appOwner);
        vm.expectRevert(IAssetRegistry.DigestMissing.selector);
        assets.setContent(app, "uri", 0);
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.UriLengthInvalid.selector, 0));
        assets.setContent(app, "", DIGEST);
    }

    function test_fuzz_setContent_notAuthorizedFor(address caller) public {
        vm.assume(caller != appOwner);
        uint256 app = newApp();
        vm.expectRevert(
            abi.encodeWithSelector(IAssetRegistry.NotAuthorizedFor.selector, app, caller)
        );
        vm.prank(caller);
        assets.setContent(app, "uri", DIGEST);
    }

    function test_setContent_byAnOperator() public {
        uint256 app = newApp();
        vm.prank(appOwner);
        assets.approve(stranger, app);
        vm.prank(stranger);
        assets.setContent(app, "ipfs://new", DIGEST);
    }

    /* OPERATORS */

    function test_fuzz_mayActFor_ownerAndOperatorsOnly(address other) public {
        vm.assume(other != appOwner && other != address(0));
        uint256 app = newApp();
        assertTrue(assets.mayActFor(app, appOwner));
        assertFalse(assets.mayActFor(app, address(0)));
        assertFalse(assets.mayActFor(app, other));

        vm.prank(appOwner);
        assets.approve(other, app);
        assertTrue(assets.mayActFor(app, other));

        vm.prank(appOwner);
        assets.approve(address(0), app);
        assertFalse(assets.mayActFor(app, other));

        vm.prank(appOwner);
        assets.setApprovalForAll(other, true);
        assertTrue(assets.mayActFor(app, other));
    }

    function test_mayActFor_anOperatorOfAnotherAssetMayNot() public {
        uint256 app = newApp();
        uint256 other = newAsset(APP, appOwner, "other");
        vm.prank(appOwner);
        assets.approve(stranger, other);
        assertFalse(assets.mayActFor(app, stranger));
    }

    function test_mayActFor_aSaleEndsAnApproval() public {
        uint256 app = newApp();
        vm.prank(appOwner);
        assets.approve(worker, app);
        vm.prank(appOwner);
        assets.transferFrom(appOwner, stranger, app);
        assertFalse(assets.mayActFor(app, worker));
        assertFalse(assets.mayActFor(app, appOwner));
        assertTrue(assets.mayActFor(app, stranger));
    }

    /* TRANSFERS */

    function test_fuzz_epochOf_countsTransfers(uint8 transfers) public {
        uint256 app = newApp();
        address[2] memory owners = [appOwner, stranger];
        for (uint256 i; i < transfers; ++i) {
            vm.prank(owners[i % 2]);
            assets.transferFrom(owners[i % 2], owners[(i + 1) % 2], app);
        }
        assertEq(assets.epochOf(app), transfers);
    }

    function test_epochOf_countsATransferToOneself() public {
        uint256 app = newApp();
        vm.prank(appOwner);
        assets.transferFrom(appOwner, appOwner, app);
        assertEq(assets.epochOf(app), 1);
    }

    function test_transferFrom_folds() public {
        transferAll(newApp());
    }

    function transferAll(uint256 app) internal refolds(address(assets), 3) {
        vm.prank(appOwner);
        assets.transferFrom(appOwner, dataOwner, app);
        vm.prank(dataOwner);
        assets.safeTransferFrom(dataOwner, worker, app);
        vm.prank(worker);
        assets.safeTransferFrom(worker, worker, app, "data");
    }

    /// @dev A receiver that passes the token on at once leaves every transfer in the journal.
    function test_safeTransferFrom_foldsInAReceiversOrder() public {
        flip(newApp(), new Flipper(stranger));
    }

    function flip(uint256 app, Flipper flipper) internal refolds(address(assets), 2) {
        vm.prank(appOwner);
        assets.safeTransferFrom(appOwner, address(flipper), app);
        assertEq(assets.ownerOf(app), stranger);
        assertEq(assets.epochOf(app), 2);
    }

    function test_approve_isNotFolded() public {
        uint256 app = newApp();
        bytes32 slot = vm.load(address(assets), JOURNAL_SLOT);
        vm.startPrank(appOwner);
        assets.approve(stranger, app);
        assets.setApprovalForAll(stranger, true);
        assertEq(vm.load(address(assets), JOURNAL_SLOT), slot);
    }

    function test_fuzz_transferFrom_refusesStrangers(address caller) public {
        vm.assume(caller != appOwner && caller != address(0));
        uint256 app = newApp();
        vm.expectRevert(
            abi.encodeWithSelector(IERC721Errors.ERC721InsufficientApproval.selector, caller, app)
        );
        vm.prank(caller);
        assets.transferFrom(appOwner, caller, app);
    }

    /* VIEWS */

    function test_fuzz_views_revertForNoAsset(uint256 assetId) public {
        bytes memory missing =
            abi.encodeWithSelector(IERC721Errors.ERC721NonexistentToken.selector, assetId);
        vm.expectRevert(missing);
        assets.epochOf(assetId);
        vm.expectRevert(missing);
        assets.kindOf(assetId);
        vm.expectRevert(missing);
        assets.contentOf(assetId);
        vm.expectRevert(missing);
        assets.mayActFor(assetId, appOwner);
        vm.expectRevert(missing);
        assets.tokenURI(assetId);
        vm.expectRevert(missing);
        assets.setContent(assetId, "uri", DIGEST);
    }

    function test_name_isSesame() public view {
        assertEq(assets.name(), "Sesame Asset");
        assertEq(assets.symbol(), "SESAME");
        assertTrue(assets.supportsInterface(type(IERC721).interfaceId));
    }
}
