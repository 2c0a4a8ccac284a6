// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {Journal} from "./Journal.sol";
import {IAssetRegistry} from "./interfaces/IAssetRegistry.sol";
import {IEnclaveWhitelist, Terms} from "./interfaces/IEnclaveWhitelist.sol";
import {AssetSnapshot, Grant, ITaskRegistry, Order} from "./interfaces/ITaskRegistry.sol";

/// @title Which task was bought, with which secrets granted, and what became of it
contract TaskRegistry is ITaskRegistry, Journal, EIP712, ReentrancyGuard {
    using SafeERC20 for IERC20;

    // Dates are in seconds, and what a block's maker can shift is a few of them.
    // slither-disable-start timestamp

    struct Task {
        // One slot: requester, deadline, status, settled.
        address requester;
        uint64 deadline;
        Status status;
        bool settled;
        address worker;
        address sms;
        address currency;
        uint256 reward;
        // The keys in `_uses` of what `cancel` gives back: the app's, then one per protected data.
        bytes32[] uses;
        // What goes to whom for the assets that have a price.
        Share[] shares;
    }

    struct Share {
        address owner;
        uint256 price;
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
    uint256 private constant RESULT_SIGNATURE_LENGTH = 97;

    bytes32 private constant RESULT_KEY_TYPEHASH = keccak256("ResultKey(bytes32 task,address key)");
    bytes32 private constant TASK_RESULT_TYPEHASH = keccak256(
        "TaskResult(bytes32 task,bytes32 bundleDigest,bytes32 resultDigest,string resultUri)"
    );
    bytes32 private constant BUNDLE_RELEASED_TYPEHASH = keccak256("BundleReleased(bytes32 task)");

    /// @inheritdoc ITaskRegistry
    uint256 public constant CLAIM_WINDOW = 7 days;

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

    /// @inheritdoc ITaskRegistry
    mapping(address account => mapping(address currency => uint256)) public creditOf;

    /* CONSTRUCTOR */

    /// @param whitelist The whitelist that orders are checked against; it names the asset registry.
    constructor(address whitelist) EIP712("Sesame", "1") {
        // An address without code fails at the next line.
        // slither-disable-next-line missing-zero-check
        WHITELIST = whitelist;
        // slither-disable-next-line missing-zero-check
        ASSETS = IEnclaveWhitelist(whitelist).ASSETS();
    }

    /* REQUESTER FUNCTIONS */

    /// @inheritdoc ITaskRegistry
    function purchase(Order calldata order) external payable nonReentrant returns (bytes32 taskId) {
        _checkOrder(order);

        uint256 nonce = nonceOf[msg.sender]++;
        taskId = taskIdOf(msg.sender, nonce, order);
        Task storage task = _tasks[taskId];
        task.requester = msg.sender;
        task.deadline = order.deadline;
        task.status = Status.Purchased;
        task.worker = order.worker;
        task.sms = order.sms;
        task.currency = order.currency;
        task.reward = order.reward;
        _grant(taskId, order.grants);
        AssetSnapshot memory app = _use(task, order, order.app, KIND_APP);
        AssetSnapshot[] memory data = new AssetSnapshot[](order.data.length);
        for (uint256 i; i < data.length; ++i) {
            data[i] = _use(task, order, order.data[i], KIND_DATA);
        }
        uint256 cost = _costOf(order, app, data);

        emit TaskPurchased(taskId, msg.sender, order.worker, nonce, order, app, data);
        _record(
            TaskPurchased.selector,
            taskId,
            _topic(msg.sender),
            _topic(order.worker),
            keccak256(abi.encode(nonce, order, app, data))
        );

        _collect(order.currency, cost);
    }

    /// @inheritdoc ITaskRegistry
    function cancel(bytes32 taskId) external nonReentrant {
        Task storage task = _tasks[taskId];
        require(task.status == Status.Purchased, WrongStatus(taskId, task.status));
        require(msg.sender == task.requester, NotAllowed(taskId, msg.sender));

        _refund(task);
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
        bytes calldata enclaveSignature,
        bytes calldata smsSignature
    ) external nonReentrant {
        Task storage task = _tasks[taskId];
        _checkWorker(taskId, task, Status.Started);
        bytes32 keyHash = keccak256(abi.encode(RESULT_KEY_TYPEHASH, taskId, enclaveKey));
        require(_isSigned(task.sms, keyHash, smsSignature), SmsSignatureInvalid(taskId));
        require(
            _isResult(taskId, resultDigest, resultUri, enclaveKey, enclaveSignature),
            ResultSignatureInvalid(taskId)
        );

        task.status = Status.Completed;
        if (!task.settled) _payOwners(task);
        _credit(task.worker, task.currency, task.reward);

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
    function expire(bytes32 taskId) external nonReentrant {
        Task storage task = _tasks[taskId];
        require(
            task.status == Status.Purchased || task.status == Status.Started,
            WrongStatus(taskId, task.status)
        );
        require(block.timestamp > task.deadline, TaskNotOverdue(taskId, task.deadline));
        if (task.status == Status.Started && !task.settled) {
            uint256 closes = task.deadline + CLAIM_WINDOW;
            require(block.timestamp > closes, ClaimWindowOpen(taskId, closes));
        }

        _refund(task);
        task.status = Status.Expired;

        emit TaskExpired(taskId);
        _record(TaskExpired.selector, taskId, 0, 0, NO_DATA);
    }

    /// @inheritdoc ITaskRegistry
    function settle(bytes32 taskId, bytes calldata smsSignature) external nonReentrant {
        Task storage task = _tasks[taskId];
        require(task.status == Status.Started, WrongStatus(taskId, task.status));
        require(!task.settled, AlreadySettled(taskId));
        uint256 closes = task.deadline + CLAIM_WINDOW;
        require(block.timestamp <= closes, ClaimWindowClosed(taskId, closes));
        bytes32 releasedHash = keccak256(abi.encode(BUNDLE_RELEASED_TYPEHASH, taskId));
        require(_isSigned(task.sms, releasedHash, smsSignature), SmsSignatureInvalid(taskId));

        task.settled = true;
        _payOwners(task);

        emit TaskSettled(taskId);
        _record(TaskSettled.selector, taskId, 0, 0, NO_DATA);
    }

    /// @inheritdoc ITaskRegistry
    function withdraw(address currency) external nonReentrant {
        uint256 amount = creditOf[msg.sender][currency];
        require(amount != 0, NothingToWithdraw(msg.sender, currency));

        creditOf[msg.sender][currency] = 0;

        emit Withdrawn(msg.sender, currency, amount);

        if (currency == address(0)) Address.sendValue(payable(msg.sender), amount);
        else IERC20(currency).safeTransfer(msg.sender, amount);
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
    function escrowOf(bytes32 taskId) external view returns (address currency, uint256 amount) {
        Task storage task = _tasks[taskId];
        bool open = task.status == Status.Purchased || task.status == Status.Started;
        return (task.currency, open ? _escrowOf(task) : 0);
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
        require(
            order.currency == address(0) || order.currency.code.length != 0,
            CurrencyWithoutCode(order.currency)
        );
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
        if (terms.price != 0) {
            task.shares.push(Share(IERC721(ASSETS).ownerOf(assetId), terms.price));
        }
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
        require(
            terms.price == 0 || terms.currency == order.currency,
            WrongCurrency(assetId, terms.currency)
        );
    }

    /// @dev Prices and reward, never more than the requester would pay; added up so that nothing
    /// can overflow.
    function _costOf(Order calldata order, AssetSnapshot memory app, AssetSnapshot[] memory data)
        private
        pure
        returns (uint256 cost)
    {
        cost = _plus(0, order.reward, order.maxCost);
        cost = _plus(cost, app.price, order.maxCost);
        for (uint256 i; i < data.length; ++i) {
            cost = _plus(cost, data[i].price, order.maxCost);
        }
    }

    function _plus(uint256 cost, uint256 amount, uint256 maxCost) private pure returns (uint256) {
        require(
            amount <= maxCost - cost, CostAboveMaximum(Math.saturatingAdd(cost, amount), maxCost)
        );
        return cost + amount;
    }

    /// @dev Takes `cost` from the caller, and makes sure that it came, no more and no less.
    function _collect(address currency, uint256 cost) private {
        uint256 value = currency == address(0) ? cost : 0;
        require(msg.value == value, WrongValue(msg.value, value));
        if (currency == address(0) || cost == 0) return;

        uint256 before = IERC20(currency).balanceOf(address(this));
        IERC20(currency).safeTransferFrom(msg.sender, address(this), cost);
        uint256 received = Math.saturatingSub(IERC20(currency).balanceOf(address(this)), before);
        // Whoever sends tokens along is refused as well: nothing but the cost may come.
        // slither-disable-next-line incorrect-equality
        require(received == cost, WrongAmountReceived(currency, received, cost));
    }

    /// @dev What a task that has not ended holds.
    function _escrowOf(Task storage task) private view returns (uint256 amount) {
        amount = task.reward;
        if (task.settled) return amount;
        for (uint256 i; i < task.shares.length; ++i) {
            amount += task.shares[i].price;
        }
    }

    /// @dev Credits the requester with what is left. The caller ends the task.
    function _refund(Task storage task) private {
        _credit(task.requester, task.currency, _escrowOf(task));
    }

    function _payOwners(Task storage task) private {
        for (uint256 i; i < task.shares.length; ++i) {
            _credit(task.shares[i].owner, task.currency, task.shares[i].price);
        }
    }

    function _credit(address account, address currency, uint256 amount) private {
        if (amount != 0) creditOf[account][currency] += amount;
    }

    /// @dev Whether the result key signed this result. It may be any key; what makes it the
    /// enclave's is the SMS's signature over it.
    function _isResult(
        bytes32 taskId,
        bytes32 resultDigest,
        string calldata resultUri,
        address key,
        bytes calldata signature
    ) private view returns (bool) {
        if (signature.length != RESULT_SIGNATURE_LENGTH) return false;
        bytes32 structHash = keccak256(
            abi.encode(
                TASK_RESULT_TYPEHASH,
                taskId,
                bytes32(signature[:32]),
                resultDigest,
                keccak256(bytes(resultUri))
            )
        );
        return _isSigned(key, structHash, signature[32:]);
    }

    /// @dev A signature that recovers nothing is nobody's, not that of the zero address.
    function _isSigned(address signer, bytes32 structHash, bytes calldata signature)
        private
        view
        returns (bool)
    {
        // The third value is an argument of the error, which nobody is told.
        // slither-disable-next-line unused-return
        (address recovered, ECDSA.RecoverError error,) =
            ECDSA.tryRecoverCalldata(_hashTypedDataV4(structHash), signature);
        return error == ECDSA.RecoverError.NoError && recovered == signer;
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

    // slither-disable-end timestamp
}
