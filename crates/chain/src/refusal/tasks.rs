//! What the task registry refuses.

use alloy::primitives::Address;
use sesame_domain::AssetId;

use super::Refused;
use crate::{abi::tasks::ITaskRegistry::ITaskRegistryErrors as Error, convert};

pub(super) fn refused(error: Error) -> Refused {
    match error {
        Error::WorkerMissing(_) => {
            Refused::new("WorkerMissing", "the order names no worker", "name a worker's account")
        }
        Error::SmsMissing(_) => {
            Refused::new("SmsMissing", "the order names no SMS", "name the identity of an SMS")
        }
        Error::DeadlinePassed(e) => Refused::new(
            "DeadlinePassed",
            "the deadline is not in the future",
            "give a later deadline; it is compared with the block's time",
        )
        .with("deadline", e.deadline),
        Error::TooManyData(e) => {
            Refused::new("TooManyData", "too many protected data", "name at most 16 protected data")
                .with("count", e.count)
        }
        Error::TooManyGrants(e) => {
            Refused::new("TooManyGrants", "too many secrets", "grant at most 32 secrets")
                .with("count", e.count)
        }
        Error::ParamsTooLong(e) => {
            Refused::new("ParamsTooLong", "the params are too long", "give at most 16384 bytes")
                .with("length", e.length)
        }
        Error::DataRepeated(e) => {
            Refused::new("DataRepeated", "a protected data is named twice", "name each data once")
                .with("data", AssetId::from(e.assetId))
        }
        Error::GrantIndexInvalid(e) => Refused::new(
            "GrantIndexInvalid",
            "a secret's index is zero or appears twice",
            "number the secrets from 1, each index once",
        )
        .with("index", e.index),
        Error::GrantNameInvalid(e) => Refused::new(
            "GrantNameInvalid",
            "a secret's name cannot be one",
            "use 1 to 64 characters of 0-9 A-Z a-z _ -",
        )
        .with("index", e.index),
        Error::NothingToWithdraw(e) => Refused::new(
            "NothingToWithdraw",
            "the account has no credit in this currency",
            "there is nothing to do",
        )
        .with("account", e.account)
        .with("currency", e.currency),
        Error::WrongKind(e) => Refused::new(
            "WrongKind",
            "an asset is not of the kind that its place in the order asks for",
            "name an app as the app and protected data as data",
        )
        .with("asset", AssetId::from(e.assetId))
        .with("expected", if e.expected == 1 { "an app" } else { "protected data" }),
        Error::NotWhitelisted(e) => Refused::new(
            "NotWhitelisted",
            "an owner does not let this enclave near the asset",
            "its owner must allow the enclave first, again after a sale",
        )
        .with("asset", AssetId::from(e.assetId))
        .with("enclave", e.enclaveId),
        Error::NotYetValid(e) => Refused::new(
            "NotYetValid",
            "an authorization does not hold yet",
            "wait until then, or ask the owner for other terms",
        )
        .with("asset", AssetId::from(e.assetId))
        .with("not_before", e.notBefore),
        Error::AuthorizationExpired(e) => Refused::new(
            "AuthorizationExpired",
            "an authorization holds no longer",
            "ask the owner for new terms",
        )
        .with("asset", AssetId::from(e.assetId))
        .with("not_after", e.notAfter),
        Error::WrongApp(e) => Refused::new(
            "WrongApp",
            "the data's owner lets only another app use it",
            "order that app, or ask the owner for other terms",
        )
        .with("data", AssetId::from(e.assetId))
        .with("expected", AssetId::from(e.expected)),
        Error::WrongRequester(e) => Refused::new(
            "WrongRequester",
            "the owner lets only another requester use the asset",
            "ask the owner for other terms",
        )
        .with("asset", AssetId::from(e.assetId))
        .with("expected", e.expected),
        Error::WrongSms(e) => Refused::new(
            "WrongSms",
            "the owner lets only another SMS release the asset",
            "name that SMS in the order",
        )
        .with("asset", AssetId::from(e.assetId))
        .with("expected", e.expected),
        Error::TasksUsedUp(e) => Refused::new(
            "TasksUsedUp",
            "the authorization was used as often as it may be",
            "ask the owner for new terms",
        )
        .with("asset", AssetId::from(e.assetId))
        .with("max_tasks", e.maxTasks),
        Error::WrongCurrency(e) => Refused::new(
            "WrongCurrency",
            "an owner asks for a price in another currency than the order's",
            "order in that currency; all that have a price must agree on one",
        )
        .with("asset", AssetId::from(e.assetId))
        .with("expected", currency(e.expected)),
        Error::CurrencyWithoutCode(e) => Refused::new(
            "CurrencyWithoutCode",
            "there is no contract at the currency's address",
            "name an ERC-20 of this chain, or none for the native coin",
        )
        .with("currency", e.currency),
        Error::CostAboveMaximum(e) => Refused::new(
            "CostAboveMaximum",
            "prices and reward come to more than the order allows",
            "allow a higher cost, or offer a smaller reward; an owner may have raised a price",
        )
        .with("cost", e.cost)
        .with("max_cost", e.maxCost),
        Error::WrongValue(e) => Refused::new(
            "WrongValue",
            "the value sent is not the cost in the native coin",
            "try again: a price changed while the order was on its way",
        )
        .with("sent", e.sent)
        .with("expected", e.expected),
        Error::WrongAmountReceived(e) => Refused::new(
            "WrongAmountReceived",
            "a transfer of the ERC-20 brought another amount than was asked for",
            "use a token that takes no fee on transfers",
        )
        .with("currency", e.currency)
        .with("received", e.received)
        .with("expected", e.expected),
        Error::SmsSignatureInvalid(e) => Refused::new(
            "SmsSignatureInvalid",
            "this is not the signature of the SMS that the order names",
            "ask that SMS, and check that it serves this deployment",
        )
        .with("task", e.taskId),
        Error::ResultSignatureInvalid(e) => Refused::new(
            "ResultSignatureInvalid",
            "the result is not signed by the key that the SMS certified",
            "report the result as the enclave signed it, unchanged",
        )
        .with("task", e.taskId),
        Error::WrongStatus(e) => Refused::new(
            "WrongStatus",
            "the task is not in a state in which this can be done",
            "show the task to see where it stands",
        )
        .with("task", e.taskId)
        .with("status", convert::status(e.status).map_or("unknown", |status| status.as_str())),
        Error::NotAllowed(e) => Refused::new(
            "NotAllowed",
            "the account may not do this to the task",
            "the worker starts and completes, the requester cancels and takes secrets back",
        )
        .with("task", e.taskId)
        .with("account", e.caller),
        Error::TaskOverdue(e) => Refused::new(
            "TaskOverdue",
            "the task is past its deadline",
            "expire it, and buy another with a later deadline",
        )
        .with("task", e.taskId)
        .with("deadline", e.deadline),
        Error::TaskNotOverdue(e) => Refused::new(
            "TaskNotOverdue",
            "the task is not past its deadline",
            "wait for the deadline, or cancel the task if it has not started",
        )
        .with("task", e.taskId)
        .with("deadline", e.deadline),
        Error::GrantUnknown(e) => Refused::new(
            "GrantUnknown",
            "the task grants no secret of this index",
            "show the task to see its indices",
        )
        .with("task", e.taskId)
        .with("index", e.index),
        Error::GrantAlreadyRevoked(e) => Refused::new(
            "GrantAlreadyRevoked",
            "the secret was taken back before",
            "there is nothing to do",
        )
        .with("task", e.taskId)
        .with("index", e.index),
        Error::AlreadySettled(e) => {
            Refused::new("AlreadySettled", "the task was settled before", "there is nothing to do")
                .with("task", e.taskId)
        }
        Error::ClaimWindowClosed(e) => Refused::new(
            "ClaimWindowClosed",
            "the owners' prices can no longer be claimed",
            "expire the task, which gives the requester its money back",
        )
        .with("task", e.taskId)
        .with("closed", e.closed),
        Error::ClaimWindowOpen(e) => Refused::new(
            "ClaimWindowOpen",
            "the task started, and its owners can still claim their prices",
            "wait until then, or settle the task first if its secrets were released",
        )
        .with("task", e.taskId)
        .with("closes", e.closes),
    }
}

fn currency(address: Address) -> String {
    if address.is_zero() { "the native coin".to_owned() } else { address.to_string() }
}
