//! What an ERC-20 refuses.

use super::Refused;
use crate::abi::currency::IERC20::IERC20Errors as Error;

pub(super) fn refused(error: Error) -> Refused {
    match error {
        Error::ERC20InsufficientAllowance(e) => Refused::new(
            "ERC20InsufficientAllowance",
            "the account has not approved the cost",
            "approve the cost to the task registry first: `task buy --approve` does so",
        )
        .with("spender", e.spender)
        .with("allowance", e.allowance)
        .with("needed", e.needed),
        Error::ERC20InsufficientBalance(e) => Refused::new(
            "ERC20InsufficientBalance",
            "the account has too little of the token",
            "get some more of it, or offer a smaller reward",
        )
        .with("account", e.sender)
        .with("balance", e.balance)
        .with("needed", e.needed),
        Error::SafeERC20FailedOperation(e) => Refused::new(
            "SafeERC20FailedOperation",
            "the token did not move",
            "check that the account has enough of it and has approved the cost to the task registry",
        )
        .with("token", e.token),
    }
}
