//! Errors in one sentence, with a hint, and the exit code that tells scripts what happened.

use sesame_chain::{ChainError, DeploymentError};
use sesame_client::{ClientError, TransportError};
use sesame_sms::{ServeError, Stop};

use crate::{args::ParseError, output::plain};

/// The command failed.
pub(crate) const FAILED: u8 = 1;
/// A contract refused or the SMS denied.
pub(crate) const REFUSED: u8 = 2;
/// A worker was told to end its tasks before they had a result.
pub(crate) const INTERRUPTED: u8 = 3;
/// The command line makes no sense. This and the next are numbered as in `sysexits.h`.
pub(crate) const USAGE: u8 = 64;
/// What the service keeps is damaged, another's or of another version.
const DATA: u8 = 65;
/// Keys are missing or wrong.
const KEYS: u8 = 66;
/// Something does not answer that may come back.
const UNAVAILABLE: u8 = 69;
/// A part of the program died.
const INTERNAL: u8 = 70;
/// The chain is not the one that it was.
const CHAIN: u8 = 76;

/// The command line lacks something, or says something that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Misuse {
    message: String,
    hint: &'static str,
}

impl Misuse {
    pub(crate) fn new(message: impl Into<String>, hint: &'static str) -> Self {
        Self { message: message.into(), hint }
    }
}

/// Prints the error and its hint to stderr; gives the exit code.
pub(crate) fn report(error: &anyhow::Error) -> u8 {
    eprintln!("error: {}", plain(&sentence(error)));
    if let Some(hint) = hint(error) {
        eprintln!("hint: {hint}");
    }
    code(error)
}

/// The error and its causes. A cause that the error before it told already is passed over.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.is_empty() && text.ends_with(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    text
}

fn hint(error: &anyhow::Error) -> Option<&str> {
    error.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<ChainError>() {
            return error.hint().filter(|hint| !hint.is_empty());
        }
        if let Some(ClientError::Transport(error)) = cause.downcast_ref() {
            return sms_hint(error);
        }
        if let Some(error) = cause.downcast_ref() {
            return sms_hint(error);
        }
        cause.downcast_ref::<Misuse>().map(|error| error.hint)
    })
}

fn sms_hint(error: &TransportError) -> Option<&'static str> {
    if matches!(error, TransportError::BadUrl(_)) {
        return Some("give --sms-url as http://… or https://…");
    }
    let unreachable = matches!(error, TransportError::Http(_));
    unreachable.then_some("check that the SMS runs and that --sms-url is its address")
}

/// The exit code that tells scripts what happened.
pub(crate) fn code(error: &anyhow::Error) -> u8 {
    let code = error.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<ChainError>() {
            return matches!(error, ChainError::Refused(_)).then_some(REFUSED);
        }
        if let Some(error) = cause.downcast_ref::<ServeError>() {
            return Some(stopped(error.stop()));
        }
        match cause.downcast_ref() {
            Some(ClientError::Problem(problem)) if problem.status == 403 => return Some(REFUSED),
            Some(ClientError::Status(403)) => return Some(REFUSED),
            _ => {}
        }
        let misused =
            cause.is::<Misuse>() || cause.is::<ParseError>() || cause.is::<DeploymentError>();
        misused.then_some(USAGE)
    });
    code.unwrap_or(FAILED)
}

const fn stopped(stop: Stop) -> u8 {
    match stop {
        Stop::Configuration => USAGE,
        Stop::Data => DATA,
        Stop::Keys => KEYS,
        Stop::Unavailable => UNAVAILABLE,
        Stop::Internal => INTERNAL,
        Stop::Chain => CHAIN,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use sesame_chain::refusal_of;

    use super::*;

    fn refused() -> ChainError {
        use alloy::sol_types::SolError;
        use sesame_chain::abi::tasks::ITaskRegistry::WorkerMissing;

        ChainError::Refused(Box::new(refusal_of(&WorkerMissing {}.abi_encode()).unwrap()))
    }

    #[test]
    fn a_refusal_is_one_sentence_with_a_hint_and_its_own_code() {
        let error = Err::<(), _>(refused()).context("cannot buy the task").unwrap_err();
        assert_eq!(
            sentence(&error),
            "cannot buy the task: the contract refused: the order names no worker (WorkerMissing)"
        );
        assert_eq!(hint(&error), Some("name a worker's account"));
        assert_eq!(code(&error), REFUSED);
    }

    #[test]
    fn misuse_and_failure_have_their_codes() {
        let misuse = anyhow::Error::new(Misuse::new("no account", "give --keystore"));
        assert_eq!((code(&misuse), hint(&misuse)), (USAGE, Some("give --keystore")));
        assert_eq!(code(&anyhow::anyhow!("broken")), FAILED);
    }
}
