//! The `params` of a deal: free text on the chain.
//!
//! Text that is the JSON object of iExec's clients (see [`IexecParams`]) is read as that; **any other text is the app's
//! arguments**, an object with one key too many among it, and its secrets are then not asked for.

use std::collections::BTreeMap;

use sesame_protocol::params::IexecParams;

/// What a deal says of its tasks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DealParams {
    /// The app's arguments.
    pub args: Option<String>,
    /// URLs of public files that the app reads.
    pub input_files: Vec<String>,
    /// Under which number, from 1, the app sees which of the requester's secrets.
    pub secrets: BTreeMap<u32, String>,
    /// Whether the result is encrypted to its beneficiary.
    pub result_encryption: bool,
    /// Where the result goes: `ipfs` or `dropbox`, if it says so.
    pub storage_provider: Option<String>,
    /// The proxy through which it goes there.
    pub storage_proxy: Option<String>,
    /// The list of orders, on IPFS, whose datasets the tasks read.
    pub bulk_cid: Option<String>,
}

impl DealParams {
    /// Reads them; there is no text that means nothing.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let object = serde_json::from_str(text).and_then(IexecParams::from_object);
        let params = object.unwrap_or_else(|_| IexecParams::of_arguments(text));
        let bulk_cid = params.bulk().map(ToOwned::to_owned);
        let blank = |text: &String| text.trim().is_empty();
        Self {
            args: params.iexec_args,
            input_files: params.iexec_input_files.unwrap_or_default(),
            secrets: numbered(params.iexec_secrets.unwrap_or_default()),
            result_encryption: params.iexec_result_encryption.unwrap_or_default(),
            storage_provider: params.iexec_result_storage_provider.filter(|text| !blank(text)),
            storage_proxy: params.iexec_result_storage_proxy.filter(|text| !blank(text)),
            bulk_cid,
        }
    }
}

/// Those whose index is a number from 1; of two spellings of one number the first in order.
fn numbered(secrets: BTreeMap<String, String>) -> BTreeMap<u32, String> {
    let mut found = BTreeMap::new();
    for (index, name) in secrets {
        if let Some(index) = index.parse::<u32>().ok().filter(|index| *index >= 1) {
            found.entry(index).or_insert(name);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(text: &str) -> DealParams {
        DealParams { args: Some(text.to_owned()), ..DealParams::default() }
    }

    #[test]
    fn the_object_is_read() {
        let text = r#"{"iexec_args":"--sum 'a b'","iexec_input_files":["https://files.example.org/one.txt"],
            "iexec_secrets":{"1":"my-key","3":"other"},"iexec_result_encryption":true,
            "iexec_result_storage_provider":"ipfs","iexec_result_storage_proxy":"https://proxy.example.org",
            "bulk_cid":"QmW2WQi7j6c7UgJTarActp7tDNikE4B2qXtFCfLPdsgaTQ"}"#;
        let expected = DealParams {
            args: Some("--sum 'a b'".to_owned()),
            input_files: vec!["https://files.example.org/one.txt".to_owned()],
            secrets: [(1, "my-key".to_owned()), (3, "other".to_owned())].into(),
            result_encryption: true,
            storage_provider: Some("ipfs".to_owned()),
            storage_proxy: Some("https://proxy.example.org".to_owned()),
            bulk_cid: Some("QmW2WQi7j6c7UgJTarActp7tDNikE4B2qXtFCfLPdsgaTQ".to_owned()),
        };
        assert_eq!(DealParams::read(text), expected);
    }

    #[test]
    fn what_is_left_out_null_or_blank_is_the_default() {
        for text in [
            "{}",
            " {} ",
            r#"{"iexec_args":null,"iexec_input_files":null,"iexec_secrets":null,"iexec_result_encryption":null}"#,
            r#"{"iexec_result_storage_provider":null,"iexec_result_storage_proxy":null,"bulk_cid":null}"#,
            r#"{"iexec_input_files":[],"iexec_secrets":{},"bulk_cid":"","iexec_result_storage_proxy":""}"#,
            r#"{"bulk_cid":" ","iexec_result_storage_provider":" ","iexec_result_encryption":false}"#,
        ] {
            assert_eq!(DealParams::read(text), DealParams::default(), "{text}");
        }
    }

    #[test]
    fn other_text_is_arguments() {
        for text in [
            "",
            " ",
            "--sum column",
            "null",
            "12",
            "[]",
            r#""{}""#,
            r#"{"iexec_args":"a""#,
            r#"{"iexec_args":"a"} more"#,
            r#"{"iexec_args":7}"#,
            r#"{"iexec_input_files":"https://x"}"#,
            r#"{"iexec_result_encryption":"true"}"#,
            r#"{"iexec_secrets":{"1":2}}"#,
            r#"{"iexec_secrets":["my-key"]}"#,
        ] {
            assert_eq!(DealParams::read(text), arguments(text), "{text}");
        }
    }

    #[test]
    fn one_unknown_key_drops_the_secrets() {
        for key in ["more", "iexec_arg", "IEXEC_ARGS", "sesame_result_key", "sesame_network", ""] {
            let text = format!(r#"{{"iexec_secrets":{{"1":"my-key"}},"{key}":null}}"#);
            assert_eq!(DealParams::read(&text), arguments(&text), "{text}");
        }
    }

    #[test]
    fn secrets_are_numbered_from_one() {
        let text = r#"{"iexec_secrets":{"0":"a","-1":"b","x":"c","":"d","1.0":"e","4294967296":"f"," 1":"g"}}"#;
        assert_eq!(DealParams::read(text), DealParams::default());
        let secrets = |text| DealParams::read(text).secrets;
        assert_eq!(
            secrets(r#"{"iexec_secrets":{"1":"one","4294967295":"last","0":"none"}}"#),
            [(1, "one".to_owned()), (u32::MAX, "last".to_owned())].into()
        );
        // One number in two spellings is one secret, and always the same.
        for text in
            [r#"{"iexec_secrets":{"1":"b","01":"a"}}"#, r#"{"iexec_secrets":{"01":"a","1":"b"}}"#]
        {
            assert_eq!(secrets(text), [(1, "a".to_owned())].into());
        }
    }

    #[test]
    fn of_a_key_twice_the_last_counts() {
        let params = DealParams::read(r#"{"iexec_args":"a","iexec_args":"b"}"#);
        assert_eq!(params, arguments("b"));
    }
}
