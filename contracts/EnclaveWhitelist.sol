// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {Journal} from "./Journal.sol";
import {IAssetRegistry} from "./interfaces/IAssetRegistry.sol";
import {IEnclaveWhitelist, Terms} from "./interfaces/IEnclaveWhitelist.sol";

/// @title Which enclaves an owner lets near an asset, on which terms
contract EnclaveWhitelist is IEnclaveWhitelist, Journal, EIP712 {
    struct Authorization {
        Terms terms;
        // One slot: epoch, serial, active.
        uint64 epoch;
        uint64 serial;
        bool active;
    }

    /* CONSTANTS */

    uint8 private constant KIND_APP = 1;
    uint256 private constant MAX_BATCH = 64;

    bytes32 private constant TERMS_TYPEHASH = keccak256(
        "Terms(uint64 notBefore,uint64 notAfter,uint256 app,address requester,address sms,"
        "uint64 maxTasks,address currency,uint256 price)"
    );
    bytes32 private constant AUTHORIZE_TYPEHASH = keccak256(
        "Authorize(address signer,uint256 assetId,bytes32 enclaveId,Terms terms,uint256 nonce,"
        "uint256 deadline)"
        "Terms(uint64 notBefore,uint64 notAfter,uint256 app,address requester,address sms,"
        "uint64 maxTasks,address currency,uint256 price)"
    );
    bytes32 private constant REVOKE_TYPEHASH = keccak256(
        "Revoke(address signer,uint256 assetId,bytes32 enclaveId,uint256 nonce,uint256 deadline)"
    );

    /* IMMUTABLES */

    /// @inheritdoc IEnclaveWhitelist
    address public immutable ASSETS;

    /* STORAGE */

    mapping(uint256 assetId => mapping(bytes32 enclaveId => Authorization)) private _authorizations;

    /// @inheritdoc IEnclaveWhitelist
    mapping(address signer => uint256) public nonceOf;

    /* CONSTRUCTOR */

    /// @param assets The asset registry whose owners are obeyed.
    constructor(address assets) EIP712("Sesame", "1") {
        // With a wrong address every call reverts, and nothing is lost with the contract.
        // slither-disable-next-line missing-zero-check
        ASSETS = assets;
    }

    /* OWNER FUNCTIONS */

    /// @inheritdoc IEnclaveWhitelist
    function authorize(uint256 assetId, bytes32 enclaveId, Terms calldata terms)
        external
        returns (uint64 serial)
    {
        return _authorize(msg.sender, assetId, enclaveId, terms);
    }

    /// @inheritdoc IEnclaveWhitelist
    function revoke(uint256 assetId, bytes32 enclaveId) external {
        _revoke(msg.sender, assetId, enclaveId);
    }

    /// @inheritdoc IEnclaveWhitelist
    function authorizeBatch(
        uint256[] calldata assetIds,
        bytes32[] calldata enclaveIds,
        Terms[] calldata terms
    ) external {
        require(assetIds.length == terms.length, LengthsDiffer());
        _checkBatch(assetIds, enclaveIds);

        for (uint256 i; i < assetIds.length; ++i) {
            _authorize(msg.sender, assetIds[i], enclaveIds[i], terms[i]);
        }
    }

    /// @inheritdoc IEnclaveWhitelist
    function revokeBatch(uint256[] calldata assetIds, bytes32[] calldata enclaveIds) external {
        _checkBatch(assetIds, enclaveIds);

        for (uint256 i; i < assetIds.length; ++i) {
            _revoke(msg.sender, assetIds[i], enclaveIds[i]);
        }
    }

    /* PUBLIC FUNCTIONS */

    /// @inheritdoc IEnclaveWhitelist
    function authorizeBySig(
        address signer,
        uint256 assetId,
        bytes32 enclaveId,
        Terms calldata terms,
        uint256 deadline,
        bytes calldata signature
    ) external returns (uint64 serial) {
        bytes32 structHash = _hashAuthorize(signer, assetId, enclaveId, terms, deadline);
        _checkSignature(signer, structHash, deadline, signature);

        return _authorize(signer, assetId, enclaveId, terms);
    }

    /// @inheritdoc IEnclaveWhitelist
    function revokeBySig(
        address signer,
        uint256 assetId,
        bytes32 enclaveId,
        uint256 deadline,
        bytes calldata signature
    ) external {
        uint256 nonce = nonceOf[signer]++;
        bytes32 structHash =
            keccak256(abi.encode(REVOKE_TYPEHASH, signer, assetId, enclaveId, nonce, deadline));
        _checkSignature(signer, structHash, deadline, signature);

        _revoke(signer, assetId, enclaveId);
    }

    /* VIEWS */

    /// @inheritdoc IEnclaveWhitelist
    function authorizationOf(uint256 assetId, bytes32 enclaveId)
        external
        view
        returns (Terms memory terms, uint64 epoch, uint64 serial, bool active)
    {
        Authorization storage found = _authorizations[assetId][enclaveId];
        return (found.terms, found.epoch, found.serial, found.active);
    }

    /* INTERNAL */

    // A batch asks the asset registry per pair, on purpose; it is all or none, so a refusal in the
    // middle leaves nothing behind, and the registry calls nobody.
    // slither-disable-start calls-loop

    function _authorize(address actor, uint256 assetId, bytes32 enclaveId, Terms calldata terms)
        private
        returns (uint64 serial)
    {
        _checkActor(actor, assetId);
        require(enclaveId != 0, EnclaveMissing());
        require(
            terms.app == 0 || IAssetRegistry(ASSETS).kindOf(assetId) != KIND_APP,
            AppTermNotAllowed(assetId)
        );
        require(
            terms.notAfter == 0 || terms.notAfter >= terms.notBefore,
            DatesReversed(terms.notBefore, terms.notAfter)
        );
        Authorization storage found = _authorizations[assetId][enclaveId];
        uint64 epoch = IAssetRegistry(ASSETS).epochOf(assetId);
        require(
            !found.active || found.epoch != epoch || !_same(found.terms, terms),
            TermsUnchanged(assetId, enclaveId)
        );

        serial = found.serial + 1;
        found.terms = terms;
        found.epoch = epoch;
        found.serial = serial;
        found.active = true;

        emit EnclaveAuthorized(assetId, enclaveId, epoch, serial, terms);
        _record(
            EnclaveAuthorized.selector,
            bytes32(assetId),
            enclaveId,
            0,
            keccak256(abi.encode(epoch, serial, terms))
        );
    }

    function _revoke(address actor, uint256 assetId, bytes32 enclaveId) private {
        _checkActor(actor, assetId);
        Authorization storage found = _authorizations[assetId][enclaveId];
        require(
            found.active && found.epoch == IAssetRegistry(ASSETS).epochOf(assetId),
            NotAuthorized(assetId, enclaveId)
        );

        found.active = false;

        emit EnclaveRevoked(assetId, enclaveId, found.serial);
        _record(
            EnclaveRevoked.selector,
            bytes32(assetId),
            enclaveId,
            0,
            keccak256(abi.encode(found.serial))
        );
    }

    function _checkActor(address actor, uint256 assetId) private view {
        require(IAssetRegistry(ASSETS).mayActFor(assetId, actor), NotAuthorizedFor(assetId, actor));
    }

    /// @dev Takes the signer's nonce; a call that fails afterwards gives it back.
    function _hashAuthorize(
        address signer,
        uint256 assetId,
        bytes32 enclaveId,
        Terms calldata terms,
        uint256 deadline
    ) private returns (bytes32) {
        bytes32 termsHash = keccak256(abi.encode(TERMS_TYPEHASH, terms));
        uint256 nonce = nonceOf[signer]++;
        return keccak256(
            abi.encode(AUTHORIZE_TYPEHASH, signer, assetId, enclaveId, termsHash, nonce, deadline)
        );
    }

    // slither-disable-end calls-loop

    function _checkSignature(
        address signer,
        bytes32 structHash,
        uint256 deadline,
        bytes calldata signature
    ) private view {
        // Seconds, of which a block's maker can shift a few.
        // slither-disable-next-line timestamp
        require(block.timestamp <= deadline, SignatureExpired(deadline));
        bytes32 digest = _hashTypedDataV4(structHash);
        require(
            SignatureChecker.isValidSignatureNowCalldata(signer, digest, signature),
            SignatureInvalid(signer)
        );
    }

    function _checkBatch(uint256[] calldata assetIds, bytes32[] calldata enclaveIds) private pure {
        require(assetIds.length == enclaveIds.length, LengthsDiffer());
        require(
            assetIds.length > 0 && assetIds.length <= MAX_BATCH, BatchSizeInvalid(assetIds.length)
        );
    }

    function _same(Terms memory a, Terms calldata b) private pure returns (bool) {
        return keccak256(abi.encode(a)) == keccak256(abi.encode(b));
    }
}
