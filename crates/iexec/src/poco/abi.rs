//! PoCo's events and views, as far as they are needed.
//!
//! Text is read as bytes, which are encoded in the same way: the contracts take any bytes for text.

use alloy::sol;

sol! {
    #![sol(all_derives)]

    /// A registry of apps, datasets or workerpools: ERC-721, whose token ids are the assets' addresses.
    interface IRegistry {
        event Transfer(address indexed from, address indexed to, uint256 indexed tokenId);
        function proxyCodeHash() external view returns (bytes32);
    }

    /// An app's contract.
    interface IApp {
        function initialize(string name, string kind, bytes multiaddr, bytes32 checksum, bytes enclave) external;
        function m_appName() external view returns (bytes);
        function m_appType() external view returns (bytes);
        function m_appMultiaddr() external view returns (bytes);
        function m_appChecksum() external view returns (bytes32);
        function m_appMREnclave() external view returns (bytes);
    }

    /// A dataset's contract.
    interface IDataset {
        function initialize(string name, bytes multiaddr, bytes32 checksum) external;
        function m_datasetName() external view returns (bytes);
        function m_datasetMultiaddr() external view returns (bytes);
        function m_datasetChecksum() external view returns (bytes32);
    }

    /// Whom a deal pays, and how much.
    struct Resource {
        address pointer;
        address owner;
        uint256 price;
    }

    /// A deal; it never changes.
    struct Deal {
        Resource app;
        Resource dataset;
        Resource workerpool;
        uint256 trust;
        uint256 category;
        bytes32 tag;
        address requester;
        address beneficiary;
        address callback;
        bytes params;
        uint256 startTime;
        uint256 botFirst;
        uint256 botSize;
        uint256 workerStake;
        uint256 schedulerRewardRatio;
        address sponsor;
    }

    /// A task.
    struct Task {
        uint8 status;
        bytes32 dealid;
        uint256 idx;
        uint256 timeref;
        uint256 contributionDeadline;
        uint256 revealDeadline;
        uint256 finalDeadline;
        bytes32 consensusValue;
        uint256 revealCounter;
        uint256 winnerCounter;
        address[] contributors;
        bytes32 resultDigest;
        bytes results;
        uint256 resultsTimestamp;
        bytes resultsCallback;
    }

    /// The hub: deals, tasks and orders.
    interface IHub {
        event OrdersMatched(
            bytes32 dealid,
            bytes32 appHash,
            bytes32 datasetHash,
            bytes32 workerpoolHash,
            bytes32 requestHash,
            uint256 volume
        );
        event TaskInitialize(bytes32 indexed taskid, address indexed workerpool);
        event TaskConsensus(bytes32 indexed taskid, bytes32 consensus);
        event TaskReopen(bytes32 indexed taskid);
        event TaskFinalize(bytes32 indexed taskid, bytes results);
        event TaskClaimed(bytes32 indexed taskid);
        event SignedDatasetOrder(bytes32 datasetHash);
        event ClosedAppOrder(bytes32 appHash);
        event ClosedDatasetOrder(bytes32 datasetHash);
        event ClosedWorkerpoolOrder(bytes32 workerpoolHash);
        event ClosedRequestOrder(bytes32 requestHash);

        function appregistry() external view returns (address);
        function datasetregistry() external view returns (address);
        function workerpoolregistry() external view returns (address);
        function viewDeal(bytes32 id) external view returns (Deal);
        function viewTask(bytes32 id) external view returns (Task);
        function viewPresigned(bytes32 id) external view returns (address);
    }
}
