//! What the task registry refuses.

use alloy::{primitives::Address, sol_types::SolInterface};
use sesame_domain::AssetId;

use super::Refused;
use crate::{abi::tasks::ITaskRegistry::ITaskRegistryErrors as Error, convert};

/// An error's name, what it means, and what mends it.
const WORDS: [(&str, &str, &str); 34] = [
    ("WorkerMissing", "the order names no worker", "name a worker's account"),
    ("SmsMissing", "the order names no SMS", "name the identity of an SMS"),
    (
        "DeadlinePassed",
        "the deadline is not in the future",
        "give a later deadline; it is compared with the block's time",
    ),
    ("TooManyData", "too many protected data", "name at most 16 protected data"),
    ("TooManyGrants", "too many secrets", "grant at most 32 secrets"),
    ("ParamsTooLong", "the params are too long", "give at most 16384 bytes"),
    ("DataRepeated", "a protected data is named twice", "name each data once"),
    (
        "GrantIndexInvalid",
        "a secret's index is zero or appears twice",
        "number the secrets from 1, each index once",
    ),
    (
        "GrantNameInvalid",
        "a secret's name cannot be one",
        "use 1 to 64 characters of 0-9 A-Z a-z _ -",
    ),
    ("NothingToWithdraw", "the account has no credit in this currency", "there is nothing to do"),
    (
        "WrongKind",
        "an asset is not of the kind that its place in the order asks for",
        "name an app as the app and protected data as data",
    ),
    (
        "NotWhitelisted",
        "an owner does not let this enclave near the asset",
        "its owner must allow the enclave first, again after a sale",
    ),
    (
        "NotYetValid",
        "an authorization does not hold yet",
        "wait until then, or ask the owner for other terms",
    ),
    ("AuthorizationExpired", "an authorization holds no longer", "ask the owner for new terms"),
    (
        "WrongApp",
        "the data's owner lets only another app use it",
        "order that app, or ask the owner for other terms",
    ),
    (
        "WrongRequester",
        "the owner lets only another requester use the asset",
        "ask the owner for other terms",
    ),
    ("WrongSms", "the owner lets only another SMS release the asset", "name that SMS in the order"),
    (
        "TasksUsedUp",
        "the authorization was used as often as it may be",
        "ask the owner for new terms",
    ),
    (
        "WrongCurrency",
        "an owner asks for a price in another currency than the order's",
        "order in that currency; all that have a price must agree on one",
    ),
    (
        "CurrencyWithoutCode",
        "there is no contract at the currency's address",
        "name an ERC-20 of this chain, or none for the native coin",
    ),
    (
        "CostAboveMaximum",
        "prices and reward come to more than the order allows",
        "allow a higher cost, or offer a smaller reward; an owner may have raised a price",
    ),
    (
        "WrongValue",
        "the value sent is not the cost in the native coin",
        "try again: a price changed while the order was on its way",
    ),
    (
        "WrongAmountReceived",
        "a transfer of the ERC-20 brought another amount than was asked for",
        "use a token that takes no fee on transfers",
    ),
    (
        "SmsSignatureInvalid",
        "this is not the signature of the SMS that the order names",
        "ask that SMS, and check that it serves this deployment",
    ),
    (
        "ResultSignatureInvalid",
        "the result is not signed by the key that the SMS certified",
        "report the result as the enclave signed it, unchanged",
    ),
    (
        "WrongStatus",
        "the task is not in a state in which this can be done",
        "show the task to see where it stands",
    ),
    (
        "NotAllowed",
        "the account may not do this to the task",
        "the worker starts and completes, the requester cancels and takes secrets back",
    ),
    (
        "TaskOverdue",
        "the task is past its deadline",
        "expire it, and buy another with a later deadline",
    ),
    (
        "TaskNotOverdue",
        "the task is not past its deadline",
        "wait for the deadline, or cancel the task if it has not started",
    ),
    ("GrantUnknown", "the task grants no secret of this index", "show the task to see its indices"),
    ("GrantAlreadyRevoked", "the secret was taken back before", "there is nothing to do"),
    ("AlreadySettled", "the task was settled before", "there is nothing to do"),
    (
        "ClaimWindowClosed",
        "the owners' prices can no longer be claimed",
        "expire the task, which gives the requester its money back",
    ),
    (
        "ClaimWindowOpen",
        "the task started, and its owners can still claim their prices",
        "wait until then, or settle the task first if its secrets were released",
    ),
];

pub(super) fn refused(error: Error) -> Refused {
    let name = Error::name_by_selector(error.selector()).unwrap_or_default();
    let words = WORDS.iter().find(|(of, ..)| *of == name);
    let (name, meaning, hint) = words.copied().unwrap_or((name, "the task registry refuses", ""));
    with_arguments(Refused::new(name, meaning, hint), error)
}

fn with_arguments(told: Refused, error: Error) -> Refused {
    match error {
        Error::WorkerMissing(_) | Error::SmsMissing(_) => told,
        Error::DeadlinePassed(e) => told.with("deadline", e.deadline),
        Error::TooManyData(e) => told.with("count", e.count),
        Error::TooManyGrants(e) => told.with("count", e.count),
        Error::ParamsTooLong(e) => told.with("length", e.length),
        Error::DataRepeated(e) => told.with("data", AssetId::from(e.assetId)),
        Error::GrantIndexInvalid(e) => told.with("index", e.index),
        Error::GrantNameInvalid(e) => told.with("index", e.index),
        Error::NothingToWithdraw(e) => told.with("account", e.account).with("currency", e.currency),
        Error::WrongKind(e) => told
            .with("asset", AssetId::from(e.assetId))
            .with("expected", if e.expected == 1 { "an app" } else { "protected data" }),
        Error::NotWhitelisted(e) => {
            told.with("asset", AssetId::from(e.assetId)).with("enclave", e.enclaveId)
        }
        Error::NotYetValid(e) => {
            told.with("asset", AssetId::from(e.assetId)).with("not_before", e.notBefore)
        }
        Error::AuthorizationExpired(e) => {
            told.with("asset", AssetId::from(e.assetId)).with("not_after", e.notAfter)
        }
        Error::WrongApp(e) => {
            told.with("data", AssetId::from(e.assetId)).with("expected", AssetId::from(e.expected))
        }
        Error::WrongRequester(e) => {
            told.with("asset", AssetId::from(e.assetId)).with("expected", e.expected)
        }
        Error::WrongSms(e) => {
            told.with("asset", AssetId::from(e.assetId)).with("expected", e.expected)
        }
        Error::TasksUsedUp(e) => {
            told.with("asset", AssetId::from(e.assetId)).with("max_tasks", e.maxTasks)
        }
        Error::WrongCurrency(e) => {
            told.with("asset", AssetId::from(e.assetId)).with("expected", currency(e.expected))
        }
        Error::CurrencyWithoutCode(e) => told.with("currency", e.currency),
        Error::CostAboveMaximum(e) => told.with("cost", e.cost).with("max_cost", e.maxCost),
        Error::WrongValue(e) => told.with("sent", e.sent).with("expected", e.expected),
        Error::WrongAmountReceived(e) => told
            .with("currency", e.currency)
            .with("received", e.received)
            .with("expected", e.expected),
        Error::SmsSignatureInvalid(e) => told.with("task", e.taskId),
        Error::ResultSignatureInvalid(e) => told.with("task", e.taskId),
        Error::WrongStatus(e) => told
            .with("task", e.taskId)
            .with("status", convert::status(e.status).map_or("unknown", |status| status.as_str())),
        Error::NotAllowed(e) => told.with("task", e.taskId).with("account", e.caller),
        Error::TaskOverdue(e) => told.with("task", e.taskId).with("deadline", e.deadline),
        Error::TaskNotOverdue(e) => told.with("task", e.taskId).with("deadline", e.deadline),
        Error::GrantUnknown(e) => told.with("task", e.taskId).with("index", e.index),
        Error::GrantAlreadyRevoked(e) => told.with("task", e.taskId).with("index", e.index),
        Error::AlreadySettled(e) => told.with("task", e.taskId),
        Error::ClaimWindowClosed(e) => told.with("task", e.taskId).with("closed", e.closed),
        Error::ClaimWindowOpen(e) => told.with("task", e.taskId).with("closes", e.closes),
    }
}

fn currency(address: Address) -> String {
    if address.is_zero() { "the native coin".to_owned() } else { address.to_string() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_error_has_words_and_no_words_are_left_over() {
        let named: BTreeSet<_> = WORDS.iter().map(|(name, ..)| *name).collect();
        let known: BTreeSet<_> = Error::SELECTORS
            .iter()
            .map(|selector| Error::name_by_selector(*selector).unwrap())
            .collect();
        assert_eq!(named, known);
        assert_eq!(named.len(), WORDS.len());
    }
}
