// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Journal} from "./Journal.sol";
import {IAssetRegistry} from "./interfaces/IAssetRegistry.sol";
import {IEnclaveWhitelist, Terms} from "./interfaces/IEnclaveWhitelist.sol";
import {AssetSnapshot, Grant, ITaskRegistry, Order} from "./interfaces/ITaskRegistry.sol";

/// @title Which task was bought, with which secrets granted, and what became of it
contract TaskRegistry is ITaskRegistry, Journal {
    struct Task {
        // One slot: requester, deadline, status, settled.
        address requester;
        uint64 deadline;
        Status status;
        bool settled;
        address worker;
        address sms;
        // The keys in `_uses` of what `cancel` gives back: the app's, then one per protected data.
        bytes32[] uses;
    }

    enum GrantState {
        None,
        Granted,
        Revoked
    }

    /* CONSTANTS */

    uint8 private constant KIND_APP = 1;
    uint8 private constant KIND_DATA = 2;
    uint256 private constant MAX_DATA = 16;
    uint256 private constant MAX_GRANTS = 32;
    uint256 private constant MAX_NAME_LENGTH = 64;
    uint256 private constant MAX_PARAMS_LENGTH = 16_384;

    /* IMMUTABLES */

    /// @inheritdoc ITaskRegistry
    address public immutable ASSETS;

    /// @inheritdoc ITaskRegistry
    address public immutable WHITELIST;

    /* STORAGE */

    mapping(bytes32 taskId => Task) private _tasks;
    mapping(bytes32 taskId => mapping(uint32 index => GrantState)) private _grants;
    mapping(bytes32 useKey => uint64) private _uses;

    /// @inheritdoc ITaskRegistry
    mapping(address requester => uint256) public nonceOf;

    /* CONSTRUCTOR */

    /// @param whitelist The whitelist that orders are checked against; it names the asset registry.
    constructor(address whitelist) {
        WHITELIST = whitelist;
        ASSETS = IEnclaveWhitelist(whitelist).ASSETS();
    }

    /* REQUESTER FUNCTIONS */

    /// @inheritdoc ITaskRegistry
    function purchase(Order calldata order) external payable returns (bytes32 taskId) {
        _checkOrder(order);

        uint256 nonce = nonceOf[msg.sender]++;
        taskId = taskIdOf(msg.sender, nonce, order);
        Task storage task = _tasks[taskId];
        task.requester = msg.sender;
        task.deadline = order.deadline;
        task.status = Status.Purchased;
        task.worker = order.worker;
        task.sms = order.sms;
        _grant(taskId, order.grants);
        AssetSnapshot memory app = _use(task, order, order.app, KIND_APP);
        AssetSnapshot[] memory data = new AssetSnapshot[](order.data.length);
        for (uint256 i; i < data.length; ++i) {
            data[i] = _use(task, order, order.data[i], KIND_DATA);
        }

        emit TaskPurchased(taskId, msg.sender, order.worker, nonce, order, app, data);
        _record(
            TaskPurchased.selector,
            taskId,
            _topic(msg.sender),
            _topic(order.worker),
            keccak256(abi.encode(nonce, order, app, data))
        );
    }

    /// @inheritdoc ITaskRegistry
    function cancel(bytes32 taskId) external {
        Task storage task = _tasks[taskId];
        require(task.status == Status.Purchased, WrongStatus(taskId, task.status));
        require(msg.sender == task.requester, NotAllowed(taskId, msg.sender));

        task.status = Status.Cancelled;
        for (uint256 i; i < task.uses.length; ++i) {
            --_uses[task.uses[i]];
        }

        emit TaskCancelled(taskId);
        _record(TaskCancelled.selector, taskId, 0, 0, NO_DATA);
    }

    /// @inheritdoc ITaskRegistry
    function revokeGrant(bytes32 taskId, uint32 index) external {
        Task storage task = _tasks[taskId];
        require(
            task.status == Status.Purchased || task.status == Status.Started,
            WrongStatus(taskId, task.status)
        );
        require(msg.sender == task.requester, NotAllowed(taskId, msg.sender));
        GrantState state = _grants[taskId][index];
        require(state != GrantState.None, GrantUnknown(taskId, index));
        require(state != GrantState.Revoked, GrantAlreadyRevoked(taskId, index));

        _grants[taskId][index] = GrantState.Revoked;

        emit GrantRevoked(taskId, index);
        _record(GrantRevoked.selector, taskId, bytes32(uint256(index)), 0, NO_DATA);
    }

    /* WORKER FUNCTIONS */

    /// @inheritdoc ITaskRegistry
    function start(bytes32 taskId) external {
        Task storage task = _tasks[taskId];
        _checkWorker(taskId, task, Status.Purchased);

        task.status = Status.Started;

        emit TaskStarted(taskId);
        _record(TaskStarted.selector, taskId, 0, 0, NO_DATA);
    }

    /// @inheritdoc ITaskRegistry
    function complete(
        bytes32 taskId,
        bytes32 resultDigest,
        string calldata resultUri,
        address enclaveKey,
        bytes calldata, /* enclaveSignature */
        bytes calldata /* smsSignature */
    ) external {
        Task storage task = _tasks[taskId];
        _checkWorker(taskId, task, Status.Started);

        task.status = Status.Completed;

        emit TaskCompleted(taskId, resultDigest, resultUri, enclaveKey);
        _record(
            TaskCompleted.selector,
            taskId,
            0,
            0,
            keccak256(abi.encode(resultDigest, resultUri, enclaveKey))
        );
    }

    /* PUBLIC FUNCTIONS */

    /// @inheritdoc ITaskRegistry
    function expire(bytes32 taskId) external {
        Task storage task = _tasks[taskId];
        require(
            task.status == Status.Purchased || task.status == Status.Started,
            WrongStatus(taskId, task.status)
        );
        require(block.timestamp > task.deadline, TaskNotOverdue(taskId, task.deadline));

        task.status = Status.Expired;

        emit TaskExpired(taskId);
        _record(TaskExpired.selector, taskId, 0, 0, NO_DATA);
    }

    /// @inheritdoc ITaskRegistry
    function settle(
        bytes32 taskId,
        bytes calldata /* smsSignature */
    )
        external
    {
        Task storage task = _tasks[taskId];
        require(task.status == Status.Started, WrongStatus(taskId, task.status));
        require(!task.settled, AlreadySettled(taskId));

        task.settled = true;

        emit TaskSettled(taskId);
        _record(TaskSettled.selector, taskId, 0, 0, NO_DATA);
    }

    /// @inheritdoc ITaskRegistry
    function withdraw(address currency) external view {
        revert NothingToWithdraw(msg.sender, currency);
    }

    /* VIEWS */

    /// @inheritdoc ITaskRegistry
    function taskOf(bytes32 taskId)
        external
        view
        returns (Status status, address requester, address worker, address sms, uint64 deadline)
    {
        Task storage task = _tasks[taskId];
        return (task.status, task.requester, task.worker, task.sms, task.deadline);
    }

    /// @inheritdoc ITaskRegistry
    function isGrantRevoked(bytes32 taskId, uint32 index) external view returns (bool) {
        return _grants[taskId][index] == GrantState.Revoked;
    }

    /// @inheritdoc ITaskRegistry
    function usesOf(uint256 assetId, bytes32 enclaveId, uint64 serial)
        external
        view
        returns (uint64)
    {
        return _uses[_useKey(assetId, enclaveId, serial)];
    }

    /// @inheritdoc ITaskRegistry
    function taskIdOf(address requester, uint256 nonce, Order calldata order)
        public
        view
        returns (bytes32)
    {
        bytes32 orderHash = keccak256(abi.encode(order));
        return keccak256(abi.encode(block.chainid, address(this), requester, nonce, orderHash));
    }

    /* INTERNAL */

    /// @dev What an order must be, whatever its assets say.
    function _checkOrder(Order calldata order) private view {
        require(msg.value == 0 && order.reward == 0 && order.maxCost == 0, MoneyNotSupported());
        require(order.worker != address(0), WorkerMissing());
        require(order.sms != address(0), SmsMissing());
        require(order.deadline > block.timestamp, DeadlinePassed(order.deadline));
        require(order.data.length <= MAX_DATA, TooManyData(order.data.length));
        require(order.grants.length <= MAX_GRANTS, TooManyGrants(order.grants.length));
        uint256 paramsLength = bytes(order.params).length;
        require(paramsLength <= MAX_PARAMS_LENGTH, ParamsTooLong(paramsLength));
        for (uint256 i; i < order.data.length; ++i) {
            for (uint256 j; j < i; ++j) {
                require(order.data[i] != order.data[j], DataRepeated(order.data[i]));
            }
        }
    }

    function _grant(bytes32 taskId, Grant[] calldata grants) private {
        for (uint256 i; i < grants.length; ++i) {
            uint32 index = grants[i].index;
            require(
                index != 0 && _grants[taskId][index] == GrantState.None, GrantIndexInvalid(index)
            );
            require(_isSecretName(bytes(grants[i].name)), GrantNameInvalid(index));

            _grants[taskId][index] = GrantState.Granted;
        }
    }

    /// @dev Checks one asset against the whitelist and the terms, counts the use, and says what the
    /// asset is now.
    function _use(Task storage task, Order calldata order, uint256 assetId, uint8 kind)
        private
        returns (AssetSnapshot memory snapshot)
    {
        IAssetRegistry assets = IAssetRegistry(ASSETS);
        require(assets.kindOf(assetId) == kind, WrongKind(assetId, kind));
        snapshot.epoch = assets.epochOf(assetId);
        (Terms memory terms, uint64 epoch, uint64 serial, bool active) =
            IEnclaveWhitelist(WHITELIST).authorizationOf(assetId, order.enclaveId);
        require(active && epoch == snapshot.epoch, NotWhitelisted(assetId, order.enclaveId));
        _checkTerms(terms, order, assetId);
        bytes32 useKey = _useKey(assetId, order.enclaveId, serial);
        require(
            terms.maxTasks == 0 || _uses[useKey] < terms.maxTasks,
            TasksUsedUp(assetId, terms.maxTasks)
        );

        ++_uses[useKey];
        task.uses.push(useKey);
        snapshot.serial = serial;
        snapshot.price = terms.price;
        (snapshot.uri, snapshot.digest) = assets.contentOf(assetId);
    }

    function _checkTerms(Terms memory terms, Order calldata order, uint256 assetId) private view {
        require(block.timestamp >= terms.notBefore, NotYetValid(assetId, terms.notBefore));
        require(
            terms.notAfter == 0 || block.timestamp <= terms.notAfter,
            AuthorizationExpired(assetId, terms.notAfter)
        );
        require(terms.app == 0 || terms.app == order.app, WrongApp(assetId, terms.app));
        require(
            terms.requester == address(0) || terms.requester == msg.sender,
            WrongRequester(assetId, terms.requester)
        );
        require(terms.sms == address(0) || terms.sms == order.sms, WrongSms(assetId, terms.sms));
        require(terms.price == 0, MoneyNotSupported());
    }

    function _checkWorker(bytes32 taskId, Task storage task, Status expected) private view {
        require(task.status == expected, WrongStatus(taskId, task.status));
        require(msg.sender == task.worker, NotAllowed(taskId, msg.sender));
        require(block.timestamp <= task.deadline, TaskOverdue(taskId, task.deadline));
    }

    function _useKey(uint256 assetId, bytes32 enclaveId, uint64 serial)
        private
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(assetId, enclaveId, serial));
    }

    /// @dev Whether `name` is 1 to 64 of [0-9A-Za-z_-].
    function _isSecretName(bytes calldata name) private pure returns (bool) {
        if (name.length == 0 || name.length > MAX_NAME_LENGTH) return false;
        for (uint256 i; i < name.length; ++i) {
            bytes1 c = name[i];
            bool ok = (c >= "0" && c <= "9") || (c >= "A" && c <= "Z") || (c >= "a" && c <= "z")
                || c == "_" || c == "-";
            if (!ok) return false;
        }
        return true;
    }
}
