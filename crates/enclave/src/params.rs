//! The order's `params`, as iExec's clients write them.
//!
//! Text that is a JSON object of the keys below, and of no others, is read as that; **any other text is the app's arguments**,
//! except that an object which asks for an encrypted result is never taken for arguments: one misspelt key would have the result
//! leave in the clear.
//!
//! Arguments are split as a shell splits words; where a quote has no end (`don't`), at white space, and quotes are letters like
//! others.
//!
//! | key | holds | here |
//! | --- | --- | --- |
//! | `iexec_args` | text | the app's arguments |
//! | `iexec_input_files` | URLs | fetched into `IEXEC_IN` |
//! | `iexec_secrets` | index → name of a requester secret | must be among the order's grants, which are what counts |
//! | `sesame_result_key` | whom the result is encrypted to: an age recipient, or an RSA public key (see [`crate::seal`]) | Sesame's own key |
//! | `iexec_result_encryption` | whether it is | with a key yes unless `false`; `true` without a key is refused, since nobody could open it |
//! | `iexec_result_storage_proxy` | an address below which the result goes | taken where the worker's operator allows it |
//! | `iexec_result_storage_provider` | `ipfs` or `dropbox` | ignored: where results go is the two above, or the operator's choice |
//! | `sesame_network` | whether the app needs the network | Sesame's own key, false unless given, and the worker's operator has to allow it; iExec's parser knows no such key and takes the whole text for arguments |
//! | `bulk_cid` | a bulk of datasets | refused if not blank: list protected data in the order |

use std::{collections::BTreeMap, ffi::OsString};

use serde_json::{Map, Value};
use sesame_domain::Grant;
use sesame_protocol::params::IexecParams;
use sha2::{Digest, Sha256};
use url::Url;

use crate::{
    host::http_address,
    seal::{NotAResultKey, ResultKey},
};

/// No task has more input files.
pub const MAX_INPUT_FILES: usize = 128;

/// A task asks for what cannot be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParamsError {
    /// The network, where there is none for apps.
    #[error(
        "the order asks for the network (sesame_network), and this worker lets no app have it (--allow-network)"
    )]
    NoNetwork,
    /// A secret that the app would wait for in vain.
    #[error(
        "iexec_secrets has the secret `{name}` as number {index}, and the order does not grant it so"
    )]
    SecretNotGranted {
        /// The number, as it was written.
        index: String,
        /// The secret's name.
        name: String,
    },
    /// An object that asks for an encrypted result, and has a key or a value that no such object has.
    #[error("the params ask for an encrypted result, and cannot be read: {0}")]
    Unreadable(String),
    /// An input file's address is not `http` or `https`.
    #[error("the input file `{0}` is not at an http or https address")]
    InputFile(String),
    /// More input files than any task may have.
    #[error("the task has {0} input files, and {MAX_INPUT_FILES} is the most")]
    TooManyInputFiles(usize),
    /// The result's encryption was ordered, and not to whom.
    #[error(
        "iexec_result_encryption is ordered without a key: give sesame_result_key, an age recipient or an RSA public key"
    )]
    NoResultKey,
    /// The result's key is none.
    #[error("sesame_result_key is no key")]
    ResultKey(#[from] NotAResultKey),
    /// The result's storage is no plain address.
    #[error(
        "iexec_result_storage_proxy `{0}` is not an http or https address without user, query and fragment"
    )]
    StorageProxy(String),
    /// A bulk of datasets.
    #[error("bulk_cid is not supported: list the protected data in the order")]
    Bulk,
}

/// What a task asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Params {
    /// The app's arguments.
    pub args: Vec<OsString>,
    /// Public files that the app reads.
    pub input_files: Vec<InputFile>,
    /// The requester's secrets by the number under which the app looks for them.
    pub secrets: BTreeMap<String, String>,
    /// Whether the app may open network connections.
    pub network: bool,
    /// Whom the result is encrypted to.
    pub result_key: Option<ResultKey>,
    /// Below which address the requester wants the result.
    pub result_proxy: Option<Url>,
}

/// A public file that the app reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFile {
    /// Where it is.
    pub url: Url,
    /// Its name in `IEXEC_IN`: `0x` and the SHA-256 of its address as it was written.
    pub name: String,
}

impl InputFile {
    fn parse(text: &str) -> Result<Self, ParamsError> {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| ParamsError::InputFile(text.to_owned()))?;
        Ok(Self { url, name: format!("0x{}", hex::encode(Sha256::digest(text))) })
    }
}

/// iExec's keys, and Sesame's own beside them.
#[derive(Debug, Default)]
struct Document {
    iexec: IexecParams,
    result_key: Option<String>,
    network: bool,
}

impl Document {
    fn parse(text: &str) -> Result<Self, ParamsError> {
        Self::from_object(text).or_else(|error| match wants_encryption(text) {
            true => Err(ParamsError::Unreadable(error.to_string())),
            false => Ok(Self { iexec: IexecParams::of_arguments(text), ..Self::default() }),
        })
    }

    fn from_object(text: &str) -> Result<Self, serde_json::Error> {
        let mut object: Map<String, Value> = serde_json::from_str(text)?;
        let mut own = |key| object.remove(key).unwrap_or_default();
        let (result_key, network) = (own("sesame_result_key"), own("sesame_network"));
        Ok(Self {
            iexec: IexecParams::from_object(object)?,
            result_key: serde_json::from_value(result_key)?,
            network: serde_json::from_value::<Option<_>>(network)?.unwrap_or_default(),
        })
    }

    fn result_key(&self) -> Result<Option<ResultKey>, ParamsError> {
        let key = self.result_key.as_deref().map(str::parse).transpose()?;
        match (self.iexec.iexec_result_encryption, key) {
            (Some(true), None) => Err(ParamsError::NoResultKey),
            (Some(false), _) => Ok(None),
            (_, key) => Ok(key),
        }
    }
}

/// The text is an object that is about the result's encryption, whatever else it is.
fn wants_encryption(text: &str) -> bool {
    let object: Option<Map<String, Value>> = serde_json::from_str(text).ok();
    object.is_some_and(|object| {
        object.contains_key("sesame_result_key")
            || object.get("iexec_result_encryption").is_some_and(|wanted| *wanted != false)
    })
}

impl Params {
    /// Reads them.
    ///
    /// # Errors
    /// When they ask for what cannot be given.
    pub fn parse(text: &str) -> Result<Self, ParamsError> {
        let document = Document::parse(text)?;
        let result_key = document.result_key()?;
        let (network, document) = (document.network, document.iexec);
        if document.bulk().is_some() {
            return Err(ParamsError::Bulk);
        }
        let args = document.iexec_args.unwrap_or_default();
        let words = || args.split_whitespace().map(ToOwned::to_owned).collect();
        let args = shell_words::split(&args).unwrap_or_else(|_| words());
        let files = document.iexec_input_files.unwrap_or_default();
        if files.len() > MAX_INPUT_FILES {
            return Err(ParamsError::TooManyInputFiles(files.len()));
        }
        let proxy = document.iexec_result_storage_proxy.filter(|proxy| !proxy.trim().is_empty());
        let proxy = proxy.map(|text| http_address(&text).ok_or(ParamsError::StorageProxy(text)));
        Ok(Self {
            args: args.into_iter().map(OsString::from).collect(),
            input_files: files
                .iter()
                .map(|text| InputFile::parse(text))
                .collect::<Result<_, _>>()?,
            secrets: document.iexec_secrets.unwrap_or_default(),
            network,
            result_key,
            result_proxy: proxy.transpose()?,
        })
    }

    /// Whether an order with these grants can be had where apps may or may not have the network.
    ///
    /// # Errors
    /// When it asks for the network in vain, or for a secret that it does not grant.
    pub fn check(&self, grants: &[Grant], network: bool) -> Result<(), ParamsError> {
        if self.network && !network {
            return Err(ParamsError::NoNetwork);
        }
        let granted = |index: &str, name: &str| {
            grants
                .iter()
                .any(|grant| index.parse() == Ok(grant.index) && grant.name.as_str() == name)
        };
        match self.secrets.iter().find(|(index, name)| !granted(index, name)) {
            Some((index, name)) => {
                Err(ParamsError::SecretNotGranted { index: index.clone(), name: name.clone() })
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str) -> Vec<String> {
        let params = Params::parse(text).unwrap();
        assert_eq!(params.input_files, []);
        params.args.into_iter().map(|arg| arg.into_string().unwrap()).collect()
    }

    #[test]
    fn text_that_is_not_the_document_is_the_arguments() {
        assert_eq!(args(""), [""; 0]);
        assert_eq!(args("--sum  column"), ["--sum", "column"]);
        assert_eq!(args(r#"--name "a b" 'c d' e\ f"#), ["--name", "a b", "c d", "e f"]);
        // A quote without an end is no quote, as an iExec app has it.
        assert_eq!(args("don't stop"), ["don't", "stop"]);
        assert_eq!(args("--name  'a b"), ["--name", "'a", "b"]);
        assert_eq!(args(r#"{"iexec_args":"it's \\\"so\""}"#), ["it's", r#"\"so""#]);
        assert_eq!(args(r#"{"iexec_args":"a"#), [r#"{"iexec_args":"a"#]);
        assert_eq!(args("12"), ["12"]);
        assert_eq!(args("null"), ["null"]);
        // One key too many, or a value of another type, makes all of it arguments.
        assert_eq!(args(r#"{"iexec_args":"a","more":1}"#), ["{iexec_args:a,more:1}"]);
        assert_eq!(args(r#"{"iexec_args":7}"#), ["{iexec_args:7}"]);
        assert_eq!(args(r#"{"iexec_args":"a"} "#), ["a"]);
    }

    #[test]
    fn the_document_is_read() {
        let text = r#"{"iexec_args":"--sum 'a b'","iexec_input_files":["https://files.example.org/one.txt","http://x/y"],
            "iexec_secrets":{"1":"key"},"iexec_result_encryption":false,"iexec_result_storage_provider":"ipfs",
            "iexec_result_storage_proxy":"https://x/y","bulk_cid":" "}"#;
        let params = Params::parse(text).unwrap();
        assert_eq!(params.args, ["--sum", "a b"]);
        // The example of iExec's own naming.
        let name = "0x875ff67f80f47a0432d37dd00ddb97e8b39e09255e3019cac2a00dc2120d606d";
        assert_eq!(params.input_files[0].name, name);
        assert_eq!(params.input_files[1].url.as_str(), "http://x/y");
        assert_eq!(params.result_proxy.unwrap().as_str(), "https://x/y");
        assert_eq!(params.result_key, None);
        assert_eq!(Params::parse(r#"{"iexec_input_files":null}"#).unwrap(), Params::default());
        assert_eq!(Params::parse("{}").unwrap(), Params::default());
    }

    #[test]
    fn the_network_is_asked_for_and_never_assumed() {
        let network = |text: &str| Params::parse(text).unwrap().network;
        assert!(network(r#"{"sesame_network":true}"#));
        for text in ["", "{}", "sesame_network", r#"{"sesame_network":false}"#] {
            assert!(!network(text), "{text}");
        }
        // A value of another type makes all of it arguments, as for iExec's own keys.
        assert!(!network(r#"{"sesame_network":"true"}"#));
        assert!(!network(r#"{"sesame_network":true,"more":1}"#));
    }

    #[test]
    fn the_network_is_the_operators_to_allow() {
        let params = Params::parse(r#"{"sesame_network":true}"#).unwrap();
        assert_eq!(params.check(&[], false), Err(ParamsError::NoNetwork));
        assert_eq!(params.check(&[], true), Ok(()));
        assert_eq!(Params::parse("sesame_network").unwrap().check(&[], false), Ok(()));
    }

    #[test]
    fn secrets_that_are_named_must_be_granted_under_their_number() {
        let grant = |index, name: &str| Grant { index, name: name.parse().unwrap() };
        let grants = [grant(1, "key"), grant(3, "other")];
        let check = |text: &str| Params::parse(text).unwrap().check(&grants, false);
        for text in [
            r#"{"iexec_secrets":{}}"#,
            r#"{"iexec_secrets":{"1":"key"}}"#,
            r#"{"iexec_secrets":{"3":"other","1":"key"}}"#,
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        for (index, name) in [("2", "key"), ("1", "other"), ("1", "Key"), ("x", "key"), ("", "key")]
        {
            let expected = ParamsError::SecretNotGranted { index: index.into(), name: name.into() };
            assert_eq!(
                check(&format!(r#"{{"iexec_secrets":{{"{index}":"{name}"}}}}"#)),
                Err(expected)
            );
        }
    }

    #[test]
    fn what_cannot_be_given_is_refused() {
        let check = |text: &str, expected| assert_eq!(Params::parse(text), Err(expected), "{text}");
        check(r#"{"iexec_result_encryption":true}"#, ParamsError::NoResultKey);
        check(r#"{"bulk_cid":"Qm1"}"#, ParamsError::Bulk);
        for address in ["file:///etc/passwd", "ftp://x/y", "one.txt", ""] {
            let text = format!(r#"{{"iexec_input_files":["{address}"]}}"#);
            check(&text, ParamsError::InputFile(address.to_owned()));
        }
        let many =
            format!(r#"{{"iexec_input_files":[{}"http://x"]}}"#, r#""http://x","#.repeat(128));
        check(&many, ParamsError::TooManyInputFiles(129));
    }

    #[test]
    fn a_key_encrypts_unless_the_requester_says_otherwise() {
        let recipient = age::x25519::Identity::generate().to_public();
        let key = |more: &str| {
            let text = format!(r#"{{"sesame_result_key":"{recipient}"{more}}}"#);
            Params::parse(&text).unwrap().result_key
        };
        let encrypted = Some(ResultKey::Age(recipient.clone()));
        assert_eq!(key(""), encrypted);
        assert_eq!(key(r#","iexec_result_encryption":true"#), encrypted);
        assert_eq!(key(r#","iexec_result_encryption":null"#), encrypted);
        assert_eq!(key(r#","iexec_result_encryption":false"#), None);
    }

    /// One key too many makes an object arguments, and would have made the result public.
    #[test]
    fn what_asks_for_an_encrypted_result_is_never_taken_for_arguments() {
        let recipient = age::x25519::Identity::generate().to_public();
        for text in [
            format!(r#"{{"sesame_result_key":"{recipient}","iexec_argz":"a"}}"#),
            format!(r#"{{"sesame_result_key":"{recipient}","iexec_args":7}}"#),
            r#"{"sesame_result_key":7}"#.to_owned(),
            r#"{"iexec_result_encryption":true,"more":1}"#.to_owned(),
            r#"{"iexec_result_encryption":"true"}"#.to_owned(),
        ] {
            let error = Params::parse(&text).unwrap_err();
            assert!(matches!(error, ParamsError::Unreadable(_)), "{text}: {error}");
        }
        assert_eq!(
            args(r#"{"iexec_result_encryption":false,"more":1}"#),
            ["{iexec_result_encryption:false,more:1}"]
        );
    }

    #[test]
    fn a_key_that_is_none_and_a_place_that_is_none_are_refused() {
        for bad in ["", "age1", "AGE-SECRET-KEY-1", "-----BEGIN PUBLIC KEY-----"] {
            let text =
                format!(r#"{{"sesame_result_key":"{bad}","iexec_result_encryption":false}}"#);
            assert_eq!(Params::parse(&text), Err(NotAResultKey.into()), "{bad}");
        }
        for bad in ["x", "ftp://x", "https://user:word@x/", "https://x/?token=1"] {
            let text = format!(r#"{{"iexec_result_storage_proxy":"{bad}"}}"#);
            assert_eq!(Params::parse(&text), Err(ParamsError::StorageProxy(bad.to_owned())));
        }
    }
}
