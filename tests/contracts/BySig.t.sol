// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IEnclaveWhitelist, Terms} from "../../contracts/interfaces/IEnclaveWhitelist.sol";
import {Wallet} from "./support/Actors.sol";
import {BaseTest} from "./support/BaseTest.sol";

/// @title An owner signs, and somebody else pays the gas
contract BySigTest is BaseTest {
    uint256 internal constant OWNER_KEY = uint256(keccak256("key of the signing owner"));
    uint256 internal constant UNTIL = NOW + 1 days;

    address internal owner = vm.addr(OWNER_KEY);
    uint256 internal data;

    function setUp() public override {
        super.setUp();
        data = newAsset(DATA, owner, "data");
    }

    /* AUTHORIZE */

    function test_fuzz_authorizeBySig_isTheSignersOwn(address relayer, Terms memory terms) public {
        inOrder(terms);
        bytes memory signature = signAuthorize(OWNER_KEY, owner, terms, 0, UNTIL);

        vm.expectEmit();
        emit IEnclaveWhitelist.EnclaveAuthorized(data, ENCLAVE, 0, 1, terms);
        vm.prank(relayer);
        assertEq(whitelist.authorizeBySig(owner, data, ENCLAVE, terms, UNTIL, signature), 1);

        (Terms memory read, uint64 epoch, uint64 serial, bool active) =
            whitelist.authorizationOf(data, ENCLAVE);
        assertEq(abi.encode(read), abi.encode(terms));
        assertTrue(epoch == 0 && serial == 1 && active);
        assertEq(whitelist.nonceOf(owner), 1);
    }

    function test_fuzz_authorizeBySig_folds(Terms memory terms)
        public
        refolds(address(whitelist), 1)
    {
        inOrder(terms);
        authorize(terms, signAuthorize(OWNER_KEY, owner, terms, 0, UNTIL));
    }

    function test_authorizeBySig_byAnOperator() public {
        uint256 key = uint256(keccak256("key of the operator"));
        vm.prank(owner);
        assets.approve(vm.addr(key), data);
        bytes memory signature = signAuthorize(key, vm.addr(key), openTerms(), 0, UNTIL);
        whitelist.authorizeBySig(vm.addr(key), data, ENCLAVE, openTerms(), UNTIL, signature);
        assertEq(whitelist.nonceOf(vm.addr(key)), 1);
        assertEq(whitelist.nonceOf(owner), 0);
    }

    /// @dev A wallet's word counts as long as the wallet stands by it.
    function test_authorizeBySig_byAContract() public {
        Wallet wallet = new Wallet(vm.addr(OWNER_KEY));
        transfer(address(wallet));
        bytes memory signature = signAuthorize(OWNER_KEY, address(wallet), openTerms(), 0, UNTIL);
        whitelist.authorizeBySig(address(wallet), data, ENCLAVE, openTerms(), UNTIL, signature);

        bytes memory later = signRevoke(OWNER_KEY, address(wallet), 1, UNTIL);
        wallet.close();
        expectInvalid(address(wallet));
        whitelist.revokeBySig(address(wallet), data, ENCLAVE, UNTIL, later);
    }

    function test_fuzz_authorizeBySig_byAContractThatIsNoWallet(bytes memory signature) public {
        transfer(address(tasks));
        expectInvalid(address(tasks));
        whitelist.authorizeBySig(address(tasks), data, ENCLAVE, openTerms(), UNTIL, signature);
    }

    /// @dev Whoever may not act for the asset may sign what he likes.
    function test_fuzz_authorizeBySig_notAuthorizedFor(uint256 key) public {
        key = boundPrivateKey(key);
        vm.assume(key != OWNER_KEY);
        bytes memory signature = signAuthorize(key, vm.addr(key), openTerms(), 0, UNTIL);
        vm.expectRevert(
            abi.encodeWithSelector(IEnclaveWhitelist.NotAuthorizedFor.selector, data, vm.addr(key))
        );
        whitelist.authorizeBySig(vm.addr(key), data, ENCLAVE, openTerms(), UNTIL, signature);
        assertEq(whitelist.nonceOf(vm.addr(key)), 0);
    }

    /// @dev The right is looked at when the signature is used, not when it was given.
    function test_authorizeBySig_theSellerMayNoMore() public {
        bytes memory signature = signAuthorize(OWNER_KEY, owner, openTerms(), 0, UNTIL);
        transfer(stranger);
        vm.expectRevert(
            abi.encodeWithSelector(IEnclaveWhitelist.NotAuthorizedFor.selector, data, owner)
        );
        whitelist.authorizeBySig(owner, data, ENCLAVE, openTerms(), UNTIL, signature);
    }

    function test_fuzz_authorizeBySig_signedByAnother(uint256 key) public {
        key = boundPrivateKey(key);
        vm.assume(key != OWNER_KEY);
        bytes memory signature = signAuthorize(key, owner, openTerms(), 0, UNTIL);
        expectInvalid(owner);
        whitelist.authorizeBySig(owner, data, ENCLAVE, openTerms(), UNTIL, signature);
    }

    function test_fuzz_authorizeBySig_otherTermsThanSigned(Terms memory terms) public {
        inOrder(terms);
        vm.assume(keccak256(abi.encode(terms)) != keccak256(abi.encode(openTerms())));
        bytes memory signature = signAuthorize(OWNER_KEY, owner, openTerms(), 0, UNTIL);
        expectInvalid(owner);
        whitelist.authorizeBySig(owner, data, ENCLAVE, terms, UNTIL, signature);
    }

    function test_fuzz_authorizeBySig_otherDeadlineThanSigned(uint64 deadline) public {
        vm.assume(deadline >= NOW && deadline != UNTIL);
        bytes memory signature = signAuthorize(OWNER_KEY, owner, openTerms(), 0, UNTIL);
        expectInvalid(owner);
        whitelist.authorizeBySig(owner, data, ENCLAVE, openTerms(), deadline, signature);
    }

    function test_authorizeBySig_otherAssetOrEnclaveThanSigned() public {
        uint256 other = newAsset(DATA, owner, "other");
        bytes memory signature = signAuthorize(OWNER_KEY, owner, openTerms(), 0, UNTIL);
        expectInvalid(owner);
        whitelist.authorizeBySig(owner, other, ENCLAVE, openTerms(), UNTIL, signature);
        expectInvalid(owner);
        whitelist.authorizeBySig(owner, data, OTHER_ENCLAVE, openTerms(), UNTIL, signature);
    }

    function test_fuzz_authorizeBySig_signatureExpired(uint64 late) public {
        bytes memory signature = signAuthorize(OWNER_KEY, owner, openTerms(), 0, UNTIL);
        vm.warp(UNTIL + 1 + late);
        vm.expectRevert(abi.encodeWithSelector(IEnclaveWhitelist.SignatureExpired.selector, UNTIL));
        whitelist.authorizeBySig(owner, data, ENCLAVE, openTerms(), UNTIL, signature);
        vm.warp(UNTIL);
        whitelist.authorizeBySig(owner, data, ENCLAVE, openTerms(), UNTIL, signature);
    }

    /// @dev What a direct call refuses, a signature does not carry through either.
    function test_authorizeBySig_termsUnchanged() public {
        allow(data);
        bytes memory signature = signAuthorize(OWNER_KEY, owner, openTerms(), 0, UNTIL);
        vm.expectRevert(
            abi.encodeWithSelector(IEnclaveWhitelist.TermsUnchanged.selector, data, ENCLAVE)
        );
        whitelist.authorizeBySig(owner, data, ENCLAVE, openTerms(), UNTIL, signature);
        assertEq(whitelist.nonceOf(owner), 0);
    }

    /* REVOKE */

    function test_fuzz_revokeBySig_isTheSignersOwn(address relayer) public {
        allow(data);
        bytes memory signature = signRevoke(OWNER_KEY, owner, 0, UNTIL);
        vm.expectEmit();
        emit IEnclaveWhitelist.EnclaveRevoked(data, ENCLAVE, 1);
        vm.prank(relayer);
        whitelist.revokeBySig(owner, data, ENCLAVE, UNTIL, signature);
        assertEq(whitelist.nonceOf(owner), 1);
    }

    function test_revokeBySig_folds() public refolds(address(whitelist), 2) {
        allow(data);
        whitelist.revokeBySig(owner, data, ENCLAVE, UNTIL, signRevoke(OWNER_KEY, owner, 0, UNTIL));
    }

    function test_fuzz_revokeBySig_signedByAnother(uint256 key) public {
        key = boundPrivateKey(key);
        vm.assume(key != OWNER_KEY);
        allow(data);
        bytes memory signature = signRevoke(key, owner, 0, UNTIL);
        expectInvalid(owner);
        whitelist.revokeBySig(owner, data, ENCLAVE, UNTIL, signature);
    }

    function test_revokeBySig_signatureExpired() public {
        allow(data);
        bytes memory signature = signRevoke(OWNER_KEY, owner, 0, UNTIL);
        vm.warp(UNTIL + 1);
        vm.expectRevert(abi.encodeWithSelector(IEnclaveWhitelist.SignatureExpired.selector, UNTIL));
        whitelist.revokeBySig(owner, data, ENCLAVE, UNTIL, signature);
    }

    function test_fuzz_revokeBySig_notAuthorizedFor(uint256 key) public {
        key = boundPrivateKey(key);
        vm.assume(key != OWNER_KEY);
        allow(data);
        bytes memory signature = signRevoke(key, vm.addr(key), 0, UNTIL);
        vm.expectRevert(
            abi.encodeWithSelector(IEnclaveWhitelist.NotAuthorizedFor.selector, data, vm.addr(key))
        );
        whitelist.revokeBySig(vm.addr(key), data, ENCLAVE, UNTIL, signature);
    }

    /// @dev One is no licence for the other.
    function test_revokeBySig_withAnAuthorization() public {
        allow(data);
        bytes memory signature = signAuthorize(OWNER_KEY, owner, openTerms(), 0, UNTIL);
        expectInvalid(owner);
        whitelist.revokeBySig(owner, data, ENCLAVE, UNTIL, signature);
    }

    /* ATTACKS */

    /// @dev The nonce is used up, for both kinds at once.
    function test_attack_bySigReplay() public {
        bytes memory first = signAuthorize(OWNER_KEY, owner, openTerms(), 0, UNTIL);
        bytes memory revocation = signRevoke(OWNER_KEY, owner, 1, UNTIL);
        bytes memory stale = signRevoke(OWNER_KEY, owner, 0, UNTIL);
        authorize(openTerms(), first);
        expectInvalid(owner);
        whitelist.revokeBySig(owner, data, ENCLAVE, UNTIL, stale);
        whitelist.revokeBySig(owner, data, ENCLAVE, UNTIL, revocation);
        expectInvalid(owner);
        whitelist.authorizeBySig(owner, data, ENCLAVE, openTerms(), UNTIL, first);
    }

    function test_fuzz_attack_bySigReplayAcrossChainsAndContracts(uint64 chainId, address other)
        public
    {
        vm.assume(chainId != block.chainid && other != address(whitelist));
        bytes32 structHash = authorizeHash(owner, data, openTerms(), 0, UNTIL);
        expectInvalid(owner);
        whitelist.authorizeBySig(
            owner, data, ENCLAVE, openTerms(), UNTIL, sign(OWNER_KEY, other, structHash)
        );
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(OWNER_KEY, typedHash(chainId, address(whitelist), structHash));
        expectInvalid(owner);
        whitelist.authorizeBySig(
            owner, data, ENCLAVE, openTerms(), UNTIL, abi.encodePacked(r, s, v)
        );
    }

    /// @dev After a fork of the chain, what was signed before it holds on one side only.
    function test_attack_bySigReplayAfterAFork() public {
        bytes memory signature = signAuthorize(OWNER_KEY, owner, openTerms(), 0, UNTIL);
        vm.chainId(block.chainid + 1);
        expectInvalid(owner);
        whitelist.authorizeBySig(owner, data, ENCLAVE, openTerms(), UNTIL, signature);
    }

    function test_attack_bySigMalleable() public {
        bytes32 digest = typedHash(
            block.chainid, address(whitelist), authorizeHash(owner, data, openTerms(), 0, UNTIL)
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(OWNER_KEY, digest);
        bytes[4] memory twins = twinsOf(v, r, s);
        for (uint256 i; i < twins.length; ++i) {
            expectInvalid(owner);
            whitelist.authorizeBySig(owner, data, ENCLAVE, openTerms(), UNTIL, twins[i]);
        }
    }

    /* HELPERS */

    function signAuthorize(
        uint256 key,
        address signer,
        Terms memory terms,
        uint256 nonce,
        uint256 deadline
    ) internal view returns (bytes memory) {
        return sign(key, address(whitelist), authorizeHash(signer, data, terms, nonce, deadline));
    }

    function signRevoke(uint256 key, address signer, uint256 nonce, uint256 deadline)
        internal
        view
        returns (bytes memory)
    {
        return sign(key, address(whitelist), revokeHash(signer, data, nonce, deadline));
    }

    function authorize(Terms memory terms, bytes memory signature) internal {
        whitelist.authorizeBySig(owner, data, ENCLAVE, terms, UNTIL, signature);
    }

    function transfer(address to) internal {
        vm.prank(owner);
        assets.transferFrom(owner, to, data);
    }

    function expectInvalid(address signer) internal {
        vm.expectRevert(abi.encodeWithSelector(IEnclaveWhitelist.SignatureInvalid.selector, signer));
    }
}
