// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";

import {Journal} from "./Journal.sol";
import {IAssetRegistry} from "./interfaces/IAssetRegistry.sol";

/// @title Who owns what: apps and protected data, as ERC-721 tokens
contract AssetRegistry is ERC721, IAssetRegistry, Journal {
    struct Asset {
        bytes32 digest;
        // One slot: the epoch and the kind; the kind is never zero for a registered asset.
        uint64 epoch;
        uint8 kind;
        string uri;
    }

    /* CONSTANTS */

    uint8 private constant KIND_APP = 1;
    uint8 private constant KIND_DATA = 2;
    uint256 private constant MAX_URI_LENGTH = 2048;

    /* STORAGE */

    mapping(uint256 assetId => Asset) private _assets;

    /* CONSTRUCTOR */

    constructor() ERC721("Sesame Asset", "SESAME") {}

    /* CREATOR FUNCTIONS */

    /// @inheritdoc IAssetRegistry
    function register(uint8 kind, address to, string calldata uri, bytes32 digest, bytes32 salt)
        external
        returns (uint256 assetId)
    {
        require(kind == KIND_APP || kind == KIND_DATA, KindUnknown(kind));
        _checkContent(uri, digest);
        assetId = assetIdOf(msg.sender, kind, digest, salt);
        require(_ownerOf(assetId) == address(0), AssetExists(assetId));

        _assets[assetId] = Asset({digest: digest, epoch: 0, kind: kind, uri: uri});

        emit AssetRegistered(assetId, msg.sender, kind, digest, salt, uri);
        _record(
            AssetRegistered.selector,
            bytes32(assetId),
            _topic(msg.sender),
            bytes32(uint256(kind)),
            keccak256(abi.encode(digest, salt, uri))
        );

        _mint(to, assetId);
    }

    /* OWNER FUNCTIONS */

    /// @inheritdoc IAssetRegistry
    function setContent(uint256 assetId, string calldata uri, bytes32 digest) external {
        require(mayActFor(assetId, msg.sender), NotAuthorizedFor(assetId, msg.sender));
        _checkContent(uri, digest);
        Asset storage asset = _assets[assetId];
        require(
            asset.digest != digest || keccak256(bytes(asset.uri)) != keccak256(bytes(uri)),
            ContentUnchanged(assetId)
        );

        asset.digest = digest;
        asset.uri = uri;

        emit ContentSet(assetId, digest, uri);
        _record(ContentSet.selector, bytes32(assetId), 0, 0, keccak256(abi.encode(digest, uri)));
    }

    /* VIEWS */

    /// @inheritdoc IAssetRegistry
    function epochOf(uint256 assetId) external view returns (uint64) {
        _requireOwned(assetId);
        return _assets[assetId].epoch;
    }

    /// @inheritdoc IAssetRegistry
    function kindOf(uint256 assetId) external view returns (uint8) {
        _requireOwned(assetId);
        return _assets[assetId].kind;
    }

    /// @inheritdoc IAssetRegistry
    function contentOf(uint256 assetId) external view returns (string memory uri, bytes32 digest) {
        _requireOwned(assetId);
        return (_assets[assetId].uri, _assets[assetId].digest);
    }

    /// @inheritdoc IAssetRegistry
    function mayActFor(uint256 assetId, address account) public view returns (bool) {
        return _isAuthorized(_requireOwned(assetId), account, assetId);
    }

    /// @inheritdoc IAssetRegistry
    function assetIdOf(address creator, uint8 kind, bytes32 digest, bytes32 salt)
        public
        view
        returns (uint256)
    {
        return uint256(
            keccak256(abi.encode(block.chainid, address(this), creator, kind, digest, salt))
        );
    }

    /// @inheritdoc ERC721
    function tokenURI(uint256 assetId) public view override returns (string memory) {
        _requireOwned(assetId);
        return _assets[assetId].uri;
    }

    /* INTERNAL */

    /// @dev Every mint and transfer passes here: counts the epoch and folds `Transfer` in. There is
    /// no burn.
    function _update(address to, uint256 assetId, address auth)
        internal
        override
        returns (address from)
    {
        from = super._update(to, assetId, auth);
        if (from != address(0)) _assets[assetId].epoch += 1;

        _record(Transfer.selector, _topic(from), _topic(to), bytes32(assetId), NO_DATA);
    }

    function _checkContent(string calldata uri, bytes32 digest) private pure {
        require(digest != 0, DigestMissing());
        uint256 length = bytes(uri).length;
        require(length > 0 && length <= MAX_URI_LENGTH, UriLengthInvalid(length));
    }
}
