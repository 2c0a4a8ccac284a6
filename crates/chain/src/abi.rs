//! The ABI of the contracts, compiled from their interface files.

/// Who owns what.
pub mod assets {
    alloy::sol! {
        #![sol(all_derives, rpc)]
        "../../contracts/interfaces/IAssetRegistry.sol"
    }

    alloy::sol! {
        #![sol(all_derives)]

        /// The part of ERC-721 that a mirror and an owner need.
        #[sol(rpc)]
        interface IERC721 {
            error ERC721NonexistentToken(uint256 tokenId);
            error ERC721IncorrectOwner(address sender, uint256 tokenId, address owner);
            error ERC721InsufficientApproval(address operator, uint256 tokenId);
            error ERC721InvalidReceiver(address receiver);
            event Transfer(address indexed from, address indexed to, uint256 indexed tokenId);
            event Approval(address indexed owner, address indexed approved, uint256 indexed tokenId);
            event ApprovalForAll(address indexed owner, address indexed operator, bool approved);
            function ownerOf(uint256 tokenId) external view returns (address);
            function transferFrom(address from, address to, uint256 tokenId) external;
            function setApprovalForAll(address operator, bool approved) external;
        }
    }
}

/// Which enclaves an owner lets near an asset.
pub mod whitelist {
    alloy::sol! {
        #![sol(all_derives, rpc)]
        "../../contracts/interfaces/IEnclaveWhitelist.sol"
    }
}

/// What was bought.
#[expect(missing_docs, reason = "the macro adds a variant without docs to the enum of states")]
pub mod tasks {
    alloy::sol! {
        #![sol(all_derives, rpc)]
        "../../contracts/interfaces/ITaskRegistry.sol"
    }
}

/// What tasks are paid in, unless in the native coin.
pub mod currency {
    alloy::sol! {
        #![sol(all_derives)]

        /// The part of ERC-20 that a requester needs; what one that follows ERC-6093 says no with, and what the task registry
        /// says of one that does not.
        #[sol(rpc)]
        interface IERC20 {
            error ERC20InsufficientAllowance(address spender, uint256 allowance, uint256 needed);
            error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed);
            error SafeERC20FailedOperation(address token);
            function balanceOf(address account) external view returns (uint256);
            function allowance(address owner, address spender) external view returns (uint256);
            function approve(address spender, uint256 value) external returns (bool);
        }
    }
}

/// The running hash of each registry.
pub mod journal {
    alloy::sol! {
        #![sol(all_derives, rpc)]
        "../../contracts/interfaces/IJournal.sol"
    }
}
