//! What the task registry refuses.

use sesame_domain::AssetId;

use super::Refused;
use crate::{abi::tasks::ITaskRegistry::ITaskRegistryErrors as Error, convert};

pub(super) fn refused(error: Error) -> Refused {
    match error {
        Error::MoneyNotSupported(_) => Refused::new(
            "MoneyNotSupported",
            "a price, reward or value is not zero",
            "these contracts move no money yet; leave all amounts at zero",
        ),
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
    }
}
