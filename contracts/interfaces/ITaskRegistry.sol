// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @notice One of the requester's secrets that a task may read.
/// @param index From 1; the app sees the secret as number `index`.
/// @param name 1 to 64 of [0-9A-Za-z_-]: the name under which the requester pushed it. Public.
struct Grant {
    uint32 index;
    string name;
}

/// @notice What a requester buys.
/// @param app The app to run.
/// @param enclaveId The enclave that the task is pinned to.
/// @param data Protected data that the app will see, at most 16, none twice.
/// @param grants Which of the requester's secrets the task may read, at most 32, no index twice.
/// @param worker The account that runs the task, not zero; a pool is a contract that calls.
/// @param sms The identity of the SMS that releases the secrets, not zero.
/// @param beneficiary Who may have the result.
/// @param deadline Last second at which the task may run; in the future.
/// @param currency The ERC-20 that everything is paid in, 0 for the native coin.
/// @param reward What the worker gets.
/// @param maxCost The most that the requester pays in all.
/// @param params What the app is told, at most 16384 bytes. Public.
struct Order {
    uint256 app;
    bytes32 enclaveId;
    uint256[] data;
    Grant[] grants;
    address worker;
    address sms;
    address beneficiary;
    uint64 deadline;
    address currency;
    uint256 reward;
    uint256 maxCost;
    string params;
}

/// @notice What an asset was when the task was bought.
/// @param uri Where its content was.
/// @param digest SHA-256 of that content.
/// @param epoch The asset's epoch.
/// @param serial The serial of the authorization used.
/// @param price What the owner is paid.
struct AssetSnapshot {
    string uri;
    bytes32 digest;
    uint64 epoch;
    uint64 serial;
    uint256 price;
}

/// @title Which task was bought, with which secrets granted, and what became of it
/// @notice States: purchased, then started, then completed; from purchased also cancelled; from
/// purchased or started also expired. Completed, cancelled and expired are final.
/// @dev `taskId = keccak256(abi.encode(chainid, registry, requester, nonce,
/// keccak256(abi.encode(order))))`, where `nonce` counts the requester's purchases from zero. Every
/// event here but `Withdrawn` is folded into the journal (see `IJournal`).
///
/// @dev Warning: this version moves no money and checks no signature. `purchase` requires value,
/// reward, maxCost and the prices of all terms to be zero; `complete` and `settle` accept any
/// signatures; `withdraw` always finds nothing.
interface ITaskRegistry {
    /// @notice What became of a task. `None`: no such task.
    enum Status {
        None,
        Purchased,
        Started,
        Completed,
        Cancelled,
        Expired
    }

    /// @notice Thrown when a price, reward, maxCost or value is not zero: money comes with a later
    /// version.
    error MoneyNotSupported();

    /// @notice Thrown when the order names no worker.
    error WorkerMissing();

    /// @notice Thrown when the order names no SMS.
    error SmsMissing();

    /// @notice Thrown when the deadline is not in the future.
    error DeadlinePassed(uint64 deadline);

    /// @notice Thrown when an order names more than 16 protected data.
    error TooManyData(uint256 count);

    /// @notice Thrown when an order names more than 32 grants.
    error TooManyGrants(uint256 count);

    /// @notice Thrown when params are longer than 16384 bytes.
    error ParamsTooLong(uint256 length);

    /// @notice Thrown when an order names the same protected data twice.
    error DataRepeated(uint256 assetId);

    /// @notice Thrown when a grant's index is zero or appears twice.
    error GrantIndexInvalid(uint32 index);

    /// @notice Thrown when a grant's name is not 1 to 64 of [0-9A-Za-z_-].
    error GrantNameInvalid(uint32 index);

    /// @notice Thrown when the asset is not of the kind that its place in the order asks for.
    error WrongKind(uint256 assetId, uint8 expected);

    /// @notice Thrown when the asset's owner does not let this enclave near it in this epoch.
    error NotWhitelisted(uint256 assetId, bytes32 enclaveId);

    /// @notice Thrown when the authorization does not hold yet.
    error NotYetValid(uint256 assetId, uint64 notBefore);

    /// @notice Thrown when the authorization holds no longer.
    error AuthorizationExpired(uint256 assetId, uint64 notAfter);

    /// @notice Thrown when the owner lets only another app use the protected data.
    error WrongApp(uint256 assetId, uint256 expected);

    /// @notice Thrown when the owner lets only another requester use the asset.
    error WrongRequester(uint256 assetId, address expected);

    /// @notice Thrown when the owner lets only another SMS release the asset.
    error WrongSms(uint256 assetId, address expected);

    /// @notice Thrown when the authorization was used as often as it may be.
    error TasksUsedUp(uint256 assetId, uint64 maxTasks);

    /// @notice Thrown when the task is not in a state in which this can be done.
    error WrongStatus(bytes32 taskId, Status status);

    /// @notice Thrown when the caller may not do this to the task.
    error NotAllowed(bytes32 taskId, address caller);

    /// @notice Thrown when the task is past its deadline.
    error TaskOverdue(bytes32 taskId, uint64 deadline);

    /// @notice Thrown when the task is not yet past its deadline.
    error TaskNotOverdue(bytes32 taskId, uint64 deadline);

    /// @notice Thrown when the task has no such grant.
    error GrantUnknown(bytes32 taskId, uint32 index);

    /// @notice Thrown when the grant was revoked before.
    error GrantAlreadyRevoked(bytes32 taskId, uint32 index);

    /// @notice Thrown when the task was settled before.
    error AlreadySettled(bytes32 taskId);

    /// @notice Thrown when the caller has no credit in this currency.
    error NothingToWithdraw(address account, address currency);

    /// @notice Emitted when a task was bought, with the whole order and what its assets were.
    /// @param nonce How many tasks the requester had bought before.
    /// @param app The app's snapshot.
    /// @param data A snapshot per `order.data`, in its order.
    event TaskPurchased(
        bytes32 indexed taskId,
        address indexed requester,
        address indexed worker,
        uint256 nonce,
        Order order,
        AssetSnapshot app,
        AssetSnapshot[] data
    );

    /// @notice Emitted when the worker started the task.
    event TaskStarted(bytes32 indexed taskId);

    /// @notice Emitted when the worker reported the result.
    /// @param resultDigest SHA-256 of the result.
    /// @param resultUri Where the result is.
    /// @param enclaveKey The address of the key that signed the result inside the TEE.
    event TaskCompleted(
        bytes32 indexed taskId, bytes32 resultDigest, string resultUri, address enclaveKey
    );

    /// @notice Emitted when the requester cancelled the task before it started.
    event TaskCancelled(bytes32 indexed taskId);

    /// @notice Emitted when the task ran out of time.
    event TaskExpired(bytes32 indexed taskId);

    /// @notice Emitted when the owners were paid because the bundle was released though nobody
    /// completed.
    event TaskSettled(bytes32 indexed taskId);

    /// @notice Emitted when the requester took a secret back from a task.
    event GrantRevoked(bytes32 indexed taskId, uint32 indexed index);

    /// @notice Emitted when an account took its credit out.
    event Withdrawn(address indexed account, address indexed currency, uint256 amount);

    /// @notice Buys a task.
    /// @return taskId The new task.
    function purchase(Order calldata order) external payable returns (bytes32 taskId);

    /// @notice Says that the task runs. Only the order's worker, once, up to the deadline.
    function start(bytes32 taskId) external;

    /// @notice Reports the result. Only the order's worker, after `start`, up to the deadline.
    /// @param resultDigest SHA-256 of the result.
    /// @param resultUri Where the result is.
    /// @param enclaveKey The address of the result key born in the TEE.
    /// @param enclaveSignature Its signature over the result.
    /// @param smsSignature The SMS's signature over task and result key.
    function complete(
        bytes32 taskId,
        bytes32 resultDigest,
        string calldata resultUri,
        address enclaveKey,
        bytes calldata enclaveSignature,
        bytes calldata smsSignature
    ) external;

    /// @notice Cancels a task that has not started and gives the uses back. Only the requester.
    function cancel(bytes32 taskId) external;

    /// @notice Ends a task that is past its deadline. Anybody.
    function expire(bytes32 taskId) external;

    /// @notice States that the task's bundle was released. Anybody who has the SMS's signature;
    /// once.
    function settle(bytes32 taskId, bytes calldata smsSignature) external;

    /// @notice Takes one secret back from a task that has not ended. Only the requester.
    function revokeGrant(bytes32 taskId, uint32 index) external;

    /// @notice Takes the caller's credit in `currency` out.
    function withdraw(address currency) external;

    /// @notice What became of a task, and the facts of it that the contract keeps.
    function taskOf(bytes32 taskId)
        external
        view
        returns (Status status, address requester, address worker, address sms, uint64 deadline);

    /// @notice Whether the requester took the grant back.
    function isGrantRevoked(bytes32 taskId, uint32 index) external view returns (bool);

    /// @notice How many tasks have used this authorization and were not cancelled.
    function usesOf(uint256 assetId, bytes32 enclaveId, uint64 serial)
        external
        view
        returns (uint64);

    /// @notice How many tasks the requester has bought.
    function nonceOf(address requester) external view returns (uint256);

    /// @notice The id of the task that `requester` buys with `order` as its purchase number
    /// `nonce`, counted from zero.
    function taskIdOf(address requester, uint256 nonce, Order calldata order)
        external
        view
        returns (bytes32);

    /// @notice The asset registry and the whitelist that orders are checked against.
    function ASSETS() external view returns (address);

    /// @notice See `ASSETS`.
    function WHITELIST() external view returns (address);
}
