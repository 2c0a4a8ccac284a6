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
/// @notice Money: `purchase` takes the cost into escrow, which is the prices of the app and of
/// every protected data, plus the worker's reward. Nothing is ever sent to anybody but by
/// `withdraw`, so an account that refuses payment holds up nobody else. Who is credited with what:
///
/// | ending | owners: their prices | worker: the reward | requester |
/// | --- | --- | --- | --- |
/// | completed | at `complete` | at `complete` | nothing back |
/// | completed after `settle` | at `settle` | at `complete` | nothing back |
/// | cancelled before the start | no | no | everything back |
/// | expired, never started | no | no | everything back |
/// | expired, started, never settled | no | no | everything back, after the claim window |
/// | expired after `settle` | at `settle` | no | the reward back |
///
/// An owner is whoever owned the asset when the task was bought, at the price of then: a sale, a
/// revocation or new terms after the purchase change no line of this table.
/// @dev EIP-712, domain name `Sesame`, version `1`, this chain and this contract. All signatures
/// are `r ‖ s ‖ v`, 65 bytes, with s in the lower half; the SMS is a key, never a contract.
///
/// - `ResultKey(bytes32 task,address key)`, by the order's SMS: this key was born in the TEE.
/// - `TaskResult(bytes32 task,bytes32 bundleDigest,bytes32 resultDigest,string resultUri)`, by that
/// key.
/// - `BundleReleased(bytes32 task)`, by the order's SMS: the enclave got what the task pays for.
///
/// @dev Warning: a token whose balances change by themselves after it arrived (rebasing) cannot be
/// told from others here, and those who withdraw last bear what is then missing.
/// @dev Warning: a started task whose deadline lies in the far future holds the requester's money
/// until then, if its worker does nothing.
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

    /// @notice Thrown when the owner asks for a price, and in another currency than the order's.
    error WrongCurrency(uint256 assetId, address expected);

    /// @notice Thrown when the order's currency is neither zero nor a contract.
    error CurrencyWithoutCode(address currency);

    /// @notice Thrown when prices and reward come to more than the requester would pay.
    /// @param cost What they come to at least.
    error CostAboveMaximum(uint256 cost, uint256 maxCost);

    /// @notice Thrown when another value was sent than the cost in the native coin, or any value
    /// with an order in an ERC-20.
    error WrongValue(uint256 sent, uint256 expected);

    /// @notice Thrown when a transfer of the ERC-20 brought another amount than was asked for, as
    /// with a fee on transfers.
    error WrongAmountReceived(address currency, uint256 received, uint256 expected);

    /// @notice Thrown when the signature is not the one of the order's SMS over this statement.
    error SmsSignatureInvalid(bytes32 taskId);

    /// @notice Thrown when the result is not signed by the result key, or the bytes are not 97.
    error ResultSignatureInvalid(bytes32 taskId);

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

    /// @notice Thrown when the owners' prices can no longer be claimed.
    /// @param closed The last second at which they could.
    error ClaimWindowClosed(bytes32 taskId, uint256 closed);

    /// @notice Thrown when a started task is past its deadline, and its owners' prices can still be
    /// claimed.
    /// @param closes The last second at which they can.
    error ClaimWindowOpen(bytes32 taskId, uint256 closes);

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
    /// @param resultDigest Says which result; crates/enclave/README.md says how it is made.
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

    /// @notice Buys a task on the terms of all its owners, and takes its cost into escrow: the
    /// value sent is exactly the cost in the native coin, and zero with an ERC-20, of which the
    /// requester has approved the cost before.
    /// @dev An owner that asks for no price agrees with any currency; every other one must have
    /// named the order's. The ERC-20 is called last, when everything is written.
    /// @return taskId The new task.
    function purchase(Order calldata order) external payable returns (bytes32 taskId);

    /// @notice Says that the task runs. Only the order's worker, once, up to the deadline.
    function start(bytes32 taskId) external;

    /// @notice Reports the result, and credits the worker, and the owners unless they were credited
    /// by `settle`. Only the order's worker, after `start`, up to the deadline.
    /// @param resultDigest Says which result; crates/enclave/README.md says how it is made.
    /// @param resultUri Where the result is.
    /// @param enclaveKey The address of the result key born in the TEE.
    /// @param enclaveSignature The bundle's digest (32 bytes), then the result key's signature (65)
    /// over `TaskResult`.
    /// @param smsSignature The SMS's signature over `ResultKey`.
    function complete(
        bytes32 taskId,
        bytes32 resultDigest,
        string calldata resultUri,
        address enclaveKey,
        bytes calldata enclaveSignature,
        bytes calldata smsSignature
    ) external;

    /// @notice Cancels a task that has not started, even past its deadline: gives the uses back and
    /// credits the requester with the whole cost. Only the requester.
    function cancel(bytes32 taskId) external;

    /// @notice Ends a task that is past its deadline, and credits the requester with what is left
    /// in escrow. Anybody.
    /// @dev A started task that was not settled ends only after the claim window, so that use can
    /// not be followed by a refund. Uses are not given back.
    function expire(bytes32 taskId) external;

    /// @notice Credits the owners with their prices, because the task's bundle was released to its
    /// enclave, whether or not a result follows. Anybody who has the SMS's signature; once, after
    /// `start`, up to `CLAIM_WINDOW` after the deadline.
    /// @param smsSignature The SMS's signature over `BundleReleased`.
    function settle(bytes32 taskId, bytes calldata smsSignature) external;

    /// @notice Takes one secret back from a task that has not ended. Only the requester.
    function revokeGrant(bytes32 taskId, uint32 index) external;

    /// @notice Takes the caller's whole credit in `currency` out; 0 is the native coin.
    function withdraw(address currency) external;

    /// @notice What `account` can withdraw in `currency`.
    function creditOf(address account, address currency) external view returns (uint256);

    /// @notice What a task holds in escrow; nothing once it has ended.
    function escrowOf(bytes32 taskId) external view returns (address currency, uint256 amount);

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

    /// @notice For how many seconds after a task's deadline the owners can claim their prices by
    /// `settle`.
    function CLAIM_WINDOW() external view returns (uint256);

    /// @notice The asset registry and the whitelist that orders are checked against.
    function ASSETS() external view returns (address);

    /// @notice See `ASSETS`.
    function WHITELIST() external view returns (address);
}
