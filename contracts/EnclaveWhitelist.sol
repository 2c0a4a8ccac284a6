// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Journal} from "./Journal.sol";
import {IAssetRegistry} from "./interfaces/IAssetRegistry.sol";
import {IEnclaveWhitelist, Terms} from "./interfaces/IEnclaveWhitelist.sol";

/// @title Which enclaves an owner lets near an asset, on which terms
contract EnclaveWhitelist is IEnclaveWhitelist, Journal {
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

    /* IMMUTABLES */

    /// @inheritdoc IEnclaveWhitelist
    address public immutable ASSETS;

    /* STORAGE */

    mapping(uint256 assetId => mapping(bytes32 enclaveId => Authorization)) private _authorizations;

    /* CONSTRUCTOR */

    /// @param assets The asset registry whose owners are obeyed.
    constructor(address assets) {
        ASSETS = assets;
    }

    /* OWNER FUNCTIONS */

    /// @inheritdoc IEnclaveWhitelist
    function authorize(uint256 assetId, bytes32 enclaveId, Terms calldata terms)
        external
        returns (uint64 serial)
    {
        return _authorize(assetId, enclaveId, terms);
    }

    /// @inheritdoc IEnclaveWhitelist
    function revoke(uint256 assetId, bytes32 enclaveId) external {
        _revoke(assetId, enclaveId);
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
            _authorize(assetIds[i], enclaveIds[i], terms[i]);
        }
    }

    /// @inheritdoc IEnclaveWhitelist
    function revokeBatch(uint256[] calldata assetIds, bytes32[] calldata enclaveIds) external {
        _checkBatch(assetIds, enclaveIds);

        for (uint256 i; i < assetIds.length; ++i) {
            _revoke(assetIds[i], enclaveIds[i]);
        }
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

    function _authorize(uint256 assetId, bytes32 enclaveId, Terms calldata terms)
        private
        returns (uint64 serial)
    {
        _checkCaller(assetId);
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

    function _revoke(uint256 assetId, bytes32 enclaveId) private {
        _checkCaller(assetId);
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

    function _checkCaller(uint256 assetId) private view {
        require(
            IAssetRegistry(ASSETS).mayActFor(assetId, msg.sender),
            NotAuthorizedFor(assetId, msg.sender)
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
