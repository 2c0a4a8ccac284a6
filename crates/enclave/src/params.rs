//! The order's `params`, as iExec's clients write them.
//!
//! Text that is a JSON object of the keys below, and of no others, is read as that; **any other text is the app's arguments**.
//!
//! | key | holds | here |
//! | --- | --- | --- |
//! | `iexec_args` | text | the app's arguments |
//! | `iexec_input_files` | URLs | fetched into `IEXEC_IN` |
//! | `iexec_secrets` | index → name of a requester secret | ignored: the order's grants count |
//! | `iexec_result_encryption` | whether the result is encrypted | refused if true, since nothing here encrypts results yet |
//! | `iexec_result_storage_provider`, `iexec_result_storage_proxy` | where results go | ignored: they go where the worker's operator says |
//! | `bulk_cid` | a bulk of datasets | refused if not blank: list protected data in the order |

use std::{collections::BTreeMap, ffi::OsString};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use url::Url;

/// No task has more input files.
pub const MAX_INPUT_FILES: usize = 128;

/// A task asks for what cannot be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParamsError {
    /// The arguments cannot be split as a shell splits words.
    #[error("the arguments have a quote that does not end")]
    Arguments,
    /// An input file's address is not `http` or `https`.
    #[error("the input file `{0}` is not at an http or https address")]
    InputFile(String),
    /// More input files than any task may have.
    #[error("the task has {0} input files, and {MAX_INPUT_FILES} is the most")]
    TooManyInputFiles(usize),
    /// The result would leave in the clear though its encryption was ordered.
    #[error("iexec_result_encryption is not supported yet: the result would be in the clear")]
    ResultEncryption,
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

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    iexec_args: Option<String>,
    iexec_input_files: Option<Vec<String>>,
    #[serde(rename = "iexec_secrets")]
    _secrets: Option<BTreeMap<String, String>>,
    iexec_result_encryption: Option<bool>,
    #[serde(rename = "iexec_result_storage_provider")]
    _storage_provider: Option<String>,
    #[serde(rename = "iexec_result_storage_proxy")]
    _storage_proxy: Option<String>,
    bulk_cid: Option<String>,
}

impl Params {
    /// Reads them.
    ///
    /// # Errors
    /// When they ask for what cannot be given.
    pub fn parse(text: &str) -> Result<Self, ParamsError> {
        let document = serde_json::from_str(text).unwrap_or_else(|_| Document {
            iexec_args: Some(text.to_owned()),
            ..Document::default()
        });
        if document.iexec_result_encryption == Some(true) {
            return Err(ParamsError::ResultEncryption);
        }
        if document.bulk_cid.is_some_and(|cid| !cid.trim().is_empty()) {
            return Err(ParamsError::Bulk);
        }
        let args = document.iexec_args.unwrap_or_default();
        let args = shell_words::split(&args).map_err(|_| ParamsError::Arguments)?;
        let files = document.iexec_input_files.unwrap_or_default();
        if files.len() > MAX_INPUT_FILES {
            return Err(ParamsError::TooManyInputFiles(files.len()));
        }
        Ok(Self {
            args: args.into_iter().map(OsString::from).collect(),
            input_files: files
                .iter()
                .map(|text| InputFile::parse(text))
                .collect::<Result<_, _>>()?,
        })
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
            "iexec_result_storage_proxy":"https://x","bulk_cid":" "}"#;
        let params = Params::parse(text).unwrap();
        assert_eq!(params.args, ["--sum", "a b"]);
        // The example of iExec's own naming.
        let name = "0x875ff67f80f47a0432d37dd00ddb97e8b39e09255e3019cac2a00dc2120d606d";
        assert_eq!(params.input_files[0].name, name);
        assert_eq!(params.input_files[1].url.as_str(), "http://x/y");
        assert_eq!(Params::parse(r#"{"iexec_input_files":null}"#).unwrap(), Params::default());
        assert_eq!(Params::parse("{}").unwrap(), Params::default());
    }

    #[test]
    fn what_cannot_be_given_is_refused() {
        let check = |text: &str, expected| assert_eq!(Params::parse(text), Err(expected), "{text}");
        check("--name 'a", ParamsError::Arguments);
        check(r#"{"iexec_args":"'"}"#, ParamsError::Arguments);
        check(r#"{"iexec_result_encryption":true}"#, ParamsError::ResultEncryption);
        check(r#"{"bulk_cid":"Qm1"}"#, ParamsError::Bulk);
        for address in ["file:///etc/passwd", "ftp://x/y", "one.txt", ""] {
            let text = format!(r#"{{"iexec_input_files":["{address}"]}}"#);
            check(&text, ParamsError::InputFile(address.to_owned()));
        }
        let many =
            format!(r#"{{"iexec_input_files":[{}"http://x"]}}"#, r#""http://x","#.repeat(128));
        check(&many, ParamsError::TooManyInputFiles(129));
    }
}
