// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title Who owns what: apps and protected data, as ERC-721 tokens
/// @notice An asset is a token, so that a wallet, a Safe or a DAO can own and sell it. Anybody may
/// register one.
/// @dev `kind` is 1 for an app and 2 for protected data. An id is
/// `uint256(keccak256(abi.encode(chainid, registry, creator, kind, digest, salt)))`: it depends on
/// its creator and content alone, so a reorg cannot give it to somebody else. Every event here and
/// the ERC-721 `Transfer` are folded into the journal (see `IJournal`); `Approval` and
/// `ApprovalForAll` are not.
interface IAssetRegistry {
    /// @notice Thrown when `kind` is neither 1 (app) nor 2 (protected data).
    error KindUnknown(uint8 kind);

    /// @notice Thrown when the content's digest is zero.
    error DigestMissing();

    /// @notice Thrown when the uri is empty or longer than 2048 bytes.
    error UriLengthInvalid(uint256 length);

    /// @notice Thrown when this asset was registered before.
    error AssetExists(uint256 assetId);

    /// @notice Thrown when `caller` is neither the owner of the asset nor an ERC-721 operator for
    /// it.
    error NotAuthorizedFor(uint256 assetId, address caller);

    /// @notice Thrown when the content is set to what it is already.
    error ContentUnchanged(uint256 assetId);

    /// @notice Emitted once, before the ERC-721 `Transfer` that mints the token, when an asset is
    /// registered.
    /// @param assetId The asset.
    /// @param creator The account that registered it; its first owner is in the `Transfer` that
    /// follows.
    /// @param kind 1 for an app, 2 for protected data.
    /// @param digest SHA-256 of the content at `uri`.
    /// @param salt What the creator chose to tell apart assets of the same content.
    /// @param uri Where the content is.
    event AssetRegistered(
        uint256 indexed assetId,
        address indexed creator,
        uint8 indexed kind,
        bytes32 digest,
        bytes32 salt,
        string uri
    );

    /// @notice Emitted when the content of an asset was replaced; the id stays.
    event ContentSet(uint256 indexed assetId, bytes32 digest, string uri);

    /// @notice Registers an asset and mints its token.
    /// @dev The token is minted without a call to the receiver, so a registration cannot be
    /// re-entered.
    /// @param kind 1 for an app, 2 for protected data.
    /// @param to The first owner.
    /// @param uri Where the content is, 1 to 2048 bytes.
    /// @param digest SHA-256 of the content, not zero.
    /// @param salt Any value; the same creator, kind, digest and salt give the same id and are
    /// refused.
    /// @return assetId The new asset.
    function register(uint8 kind, address to, string calldata uri, bytes32 digest, bytes32 salt)
        external
        returns (uint256 assetId);

    /// @notice Replaces uri and digest. Tasks bought before keep the content they were bought with.
    /// @dev Only by the owner or an ERC-721 operator.
    function setContent(uint256 assetId, string calldata uri, bytes32 digest) external;

    /// @notice How many times the asset changed hands since it was minted. A transfer to oneself
    /// counts.
    /// @dev Reverts when the asset does not exist.
    function epochOf(uint256 assetId) external view returns (uint64);

    /// @notice 1 for an app, 2 for protected data.
    /// @dev Reverts when the asset does not exist.
    function kindOf(uint256 assetId) external view returns (uint8);

    /// @notice Where the content is and its SHA-256.
    /// @dev Reverts when the asset does not exist.
    function contentOf(uint256 assetId) external view returns (string memory uri, bytes32 digest);

    /// @notice Whether `account` may act for the owner of the asset: the owner itself, or an
    /// ERC-721 operator.
    /// @dev Reverts when the asset does not exist.
    function mayActFor(uint256 assetId, address account) external view returns (bool);

    /// @notice The id that `register` would give.
    function assetIdOf(address creator, uint8 kind, bytes32 digest, bytes32 salt)
        external
        view
        returns (uint256);
}
