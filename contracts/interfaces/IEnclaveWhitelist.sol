// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @notice What an owner asks of a task before an enclave may use the asset.
/// @param notBefore First second at which the authorization holds, 0 for none.
/// @param notAfter Last second at which it holds, 0 for none.
/// @param app Protected data only: the one app that may use it, 0 for any.
/// @param requester The one requester that may use it, 0 for any.
/// @param sms The one SMS identity that may release it, 0 for any.
/// @param maxTasks How many tasks may use this authorization, 0 for no limit. Tasks bought under
/// another serial are none of them: while a limit is in force, an SMS releases nothing to those.
/// @param currency The ERC-20 in which `price` is paid, 0 for the native coin.
/// @param price What one task pays the owner, in the smallest unit of `currency`.
struct Terms {
    uint64 notBefore;
    uint64 notAfter;
    uint256 app;
    address requester;
    address sms;
    uint64 maxTasks;
    address currency;
    uint256 price;
}

/// @title Which enclaves an owner lets near an asset, on which terms
/// @notice An authorization belongs to the epoch in which it was given: when the asset changes
/// hands it is void, without anybody doing anything.
/// @dev An enclave id is `keccak256(abi.encode(uint8 teeKind, bytes measurement))`. Uses are
/// counted by the task registry, per (asset, enclave, serial). Every event here is folded into the
/// journal (see `IJournal`).
///
/// What an owner or operator signs instead of calling, EIP-712, domain name `Sesame`, version `1`,
/// this chain and this contract:
///
/// - `Authorize(address signer,uint256 assetId,bytes32 enclaveId,Terms terms,uint256 nonce,uint256
/// deadline)`, where `Terms` has the members and order of the struct above;
/// - `Revoke(address signer,uint256 assetId,bytes32 enclaveId,uint256 nonce,uint256 deadline)`.
///
/// A key signs by ECDSA (65 bytes, s in the lower half), a contract by ERC-1271.
interface IEnclaveWhitelist {
    /// @notice Thrown when `caller` is neither the owner of the asset nor an ERC-721 operator for
    /// it.
    error NotAuthorizedFor(uint256 assetId, address caller);

    /// @notice Thrown when the enclave id is zero.
    error EnclaveMissing();

    /// @notice Thrown when the terms name an app for an asset that is itself an app.
    error AppTermNotAllowed(uint256 assetId);

    /// @notice Thrown when `notAfter` lies before `notBefore`.
    error DatesReversed(uint64 notBefore, uint64 notAfter);

    /// @notice Thrown when the pair is authorized in this epoch on exactly these terms.
    error TermsUnchanged(uint256 assetId, bytes32 enclaveId);

    /// @notice Thrown when there is nothing to revoke: never authorized, revoked already, or void
    /// since a transfer.
    error NotAuthorized(uint256 assetId, bytes32 enclaveId);

    /// @notice Thrown when the arrays of a batch differ in length.
    error LengthsDiffer();

    /// @notice Thrown when a batch is empty or longer than 64 pairs.
    error BatchSizeInvalid(uint256 size);

    /// @notice Thrown when a signature is presented after its deadline.
    error SignatureExpired(uint256 deadline);

    /// @notice Thrown when this is not the signature of `signer` over this, with its next nonce.
    error SignatureInvalid(address signer);

    /// @notice Emitted when an owner lets an enclave near an asset, or changes the terms.
    /// @param assetId The asset.
    /// @param enclaveId The enclave.
    /// @param epoch The asset's epoch; the authorization is void in any other.
    /// @param serial Rises by one with every authorization of the pair, through revocations and
    /// sales.
    /// @param terms The whole terms, as they now are.
    event EnclaveAuthorized(
        uint256 indexed assetId, bytes32 indexed enclaveId, uint64 epoch, uint64 serial, Terms terms
    );

    /// @notice Emitted when an authorization was taken back.
    /// @param serial The serial that is revoked.
    event EnclaveRevoked(uint256 indexed assetId, bytes32 indexed enclaveId, uint64 serial);

    /// @notice Lets `enclaveId` near `assetId` on `terms`; replaces terms given before. Only for
    /// the asset's owner or an ERC-721 operator.
    /// @return serial The serial of this authorization, from one.
    function authorize(uint256 assetId, bytes32 enclaveId, Terms calldata terms)
        external
        returns (uint64 serial);

    /// @notice Takes an authorization back. Only for the asset's owner or an ERC-721 operator.
    /// @dev Open tasks keep their place but their secrets are no longer released.
    function revoke(uint256 assetId, bytes32 enclaveId) external;

    /// @notice `authorize` for each triple, all or none; 1 to 64 of them.
    function authorizeBatch(
        uint256[] calldata assetIds,
        bytes32[] calldata enclaveIds,
        Terms[] calldata terms
    ) external;

    /// @notice `revoke` for each pair, all or none; 1 to 64 of them.
    function revokeBatch(uint256[] calldata assetIds, bytes32[] calldata enclaveIds) external;

    /// @notice `authorize` on behalf of `signer`, who signed `Authorize` with its next nonce.
    /// Anybody may call.
    /// @dev `signer` must be the asset's owner or an ERC-721 operator now, not only when it signed.
    /// @dev Warning: a signature can be used until its deadline or until another one of the same
    /// signer is used first; calls by the signer itself do not void it.
    /// @param deadline Last second at which the signature may be used.
    /// @return serial The serial of this authorization, from one.
    function authorizeBySig(
        address signer,
        uint256 assetId,
        bytes32 enclaveId,
        Terms calldata terms,
        uint256 deadline,
        bytes calldata signature
    ) external returns (uint64 serial);

    /// @notice `revoke` on behalf of `signer`, who signed `Revoke` with its next nonce. Anybody may
    /// call.
    /// @param deadline Last second at which the signature may be used.
    function revokeBySig(
        address signer,
        uint256 assetId,
        bytes32 enclaveId,
        uint256 deadline,
        bytes calldata signature
    ) external;

    /// @notice The nonce that the next signature of `signer` has to carry, from zero.
    function nonceOf(address signer) external view returns (uint256);

    /// @notice The authorization of a pair as it was last written.
    /// @dev Warning: it holds only while `active` and while `epoch` is the asset's epoch.
    /// @return terms The terms.
    /// @return epoch The asset's epoch when it was written.
    /// @return serial Its serial, 0 when the pair was never authorized.
    /// @return active False when never authorized or revoked.
    function authorizationOf(uint256 assetId, bytes32 enclaveId)
        external
        view
        returns (Terms memory terms, uint64 epoch, uint64 serial, bool active);

    /// @notice The asset registry whose owners this whitelist obeys.
    function ASSETS() external view returns (address);
}
