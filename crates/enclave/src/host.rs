//! What the worker's operator says of a run: where content is looked for, how much of it there may be, where results go.
//!
//! None of it is measured and none of it is believed: a digest on the chain decides what content is, and where a result lies is
//! the host's affair anyway.

use std::{path::PathBuf, time::Duration};

use url::Url;

use crate::args::{Args, ArgsError};

/// The largest protected data unless told otherwise: 16 GiB.
pub const DEFAULT_MAX_CONTENT: u64 = 16 << 30;

/// The largest input file unless told otherwise: 1 GiB.
pub const DEFAULT_MAX_INPUT: u64 = 1 << 30;

/// How long one input file may take unless told otherwise.
pub const DEFAULT_INPUT_TIME: Duration = Duration::from_secs(600);

/// How long everything before the app may take unless told otherwise.
pub const DEFAULT_PREPARE_TIME: Duration = Duration::from_secs(3600);

/// What the operator says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostOptions {
    /// Gateways that are asked for `ipfs` content, in this order.
    pub ipfs_gateways: Vec<Url>,
    /// The largest protected data, encrypted, in bytes.
    pub max_content: u64,
    /// The largest input file, in bytes.
    pub max_input: u64,
    /// How long one input file may take, in whole seconds.
    pub input_time: Duration,
    /// How long everything before the app may take, in whole seconds: a task that gets nowhere keeps others waiting.
    pub prepare_time: Duration,
    /// Whether an app may have the host's network where its order asks for it.
    pub allow_network: bool,
    /// Results are sent below this address instead of being left in the task's folder.
    pub result_url: Option<Url>,
    /// A file whose first line is the `Authorization` that goes with what is sent below `result_url`.
    pub result_authorization: Option<PathBuf>,
    /// Results go below the requester's own address where the order names one (`iexec_result_storage_proxy`).
    pub allow_result_proxy: bool,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            ipfs_gateways: Vec::new(),
            max_content: DEFAULT_MAX_CONTENT,
            max_input: DEFAULT_MAX_INPUT,
            input_time: DEFAULT_INPUT_TIME,
            prepare_time: DEFAULT_PREPARE_TIME,
            allow_network: false,
            result_url: None,
            result_authorization: None,
            allow_result_proxy: false,
        }
    }
}

const GATEWAYS: &str = "ipfs-gateways";
const MAX_CONTENT: &str = "max-content-bytes";
const MAX_INPUT: &str = "max-input-bytes";
const INPUT_SECONDS: &str = "input-seconds";
const PREPARE_SECONDS: &str = "prepare-seconds";
const ALLOW_NETWORK: &str = "allow-network";
const RESULT_URL: &str = "result-url";
const RESULT_AUTHORIZATION: &str = "result-authorization-file";
const ALLOW_PROXY: &str = "allow-result-proxy";

impl HostOptions {
    /// The names of the launcher's arguments that say it; each may be left out.
    pub const NAMES: [&'static str; 9] = [
        GATEWAYS,
        MAX_CONTENT,
        MAX_INPUT,
        INPUT_SECONDS,
        PREPARE_SECONDS,
        ALLOW_NETWORK,
        RESULT_URL,
        RESULT_AUTHORIZATION,
        ALLOW_PROXY,
    ];

    /// Takes them from a launcher's arguments.
    ///
    /// # Errors
    /// When one is malformed.
    pub fn take(args: &mut Args) -> Result<Self, ArgsError> {
        let default = Self::default();
        let gateways: Option<String> = args.take_if_given(GATEWAYS)?;
        let gateways = gateways.iter().flat_map(|gateways| gateways.split(','));
        let gateways = gateways.map(|gateway| address(GATEWAYS, gateway)).collect::<Result<_, _>>();
        let result_url: Option<String> = args.take_if_given(RESULT_URL)?;
        let seconds = args.take_if_given(INPUT_SECONDS)?;
        let prepare = args.take_if_given(PREPARE_SECONDS)?;
        Ok(Self {
            ipfs_gateways: gateways?,
            max_content: args.take_if_given(MAX_CONTENT)?.unwrap_or(default.max_content),
            max_input: args.take_if_given(MAX_INPUT)?.unwrap_or(default.max_input),
            input_time: seconds.map_or(default.input_time, Duration::from_secs),
            prepare_time: prepare.map_or(default.prepare_time, Duration::from_secs),
            allow_network: args.take_if_given(ALLOW_NETWORK)?.unwrap_or_default(),
            result_url: result_url.map(|url| address(RESULT_URL, &url)).transpose()?,
            result_authorization: args.take_if_given(RESULT_AUTHORIZATION)?,
            allow_result_proxy: args.take_if_given(ALLOW_PROXY)?.unwrap_or_default(),
        })
    }

    /// The arguments for a launcher.
    #[must_use]
    pub fn to_args(&self) -> Vec<String> {
        let gateways: Vec<_> = self.ipfs_gateways.iter().map(Url::as_str).collect();
        let gateways = (!gateways.is_empty()).then(|| gateways.join(","));
        let authorization =
            self.result_authorization.as_ref().map(|file| file.display().to_string());
        let pairs = [
            (GATEWAYS, gateways),
            (MAX_CONTENT, Some(self.max_content.to_string())),
            (MAX_INPUT, Some(self.max_input.to_string())),
            (INPUT_SECONDS, Some(self.input_time.as_secs().to_string())),
            (PREPARE_SECONDS, Some(self.prepare_time.as_secs().to_string())),
            (ALLOW_NETWORK, Some(self.allow_network.to_string())),
            (RESULT_URL, self.result_url.as_ref().map(Url::to_string)),
            (RESULT_AUTHORIZATION, authorization),
            (ALLOW_PROXY, Some(self.allow_result_proxy.to_string())),
        ];
        let given = pairs.into_iter().filter_map(|(name, value)| Some((name, value?)));
        given.flat_map(|(name, value)| [format!("--{name}"), value]).collect()
    }
}

fn address(name: &'static str, text: &str) -> Result<Url, ArgsError> {
    http_address(text).ok_or(ArgsError::Malformed(name))
}

/// An `http` or `https` address that something can be put below: without user, password, query and fragment, which would be
/// public, or in the list of processes. A comma would part two gateways.
#[must_use]
pub fn http_address(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    let http = matches!(url.scheme(), "http" | "https") && !url.as_str().contains(',');
    (plain && http).then_some(url)
}

/// `base` with these segments behind its path, whether or not it ends in a slash.
pub(crate) fn below(base: &Url, segments: &[impl AsRef<str>]) -> Url {
    let mut url = base.clone();
    // Always possible: addresses of http have a path.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: Vec<String>) -> Result<HostOptions, ArgsError> {
        let mut args = Args::parse(&HostOptions::NAMES, args)?;
        HostOptions::take(&mut args)
    }

    #[test]
    fn what_a_worker_passes_on_is_what_a_launcher_reads() {
        assert_eq!(parse(Vec::new()).unwrap(), HostOptions::default());
        let url = |text| http_address(text).unwrap();
        let options = HostOptions {
            ipfs_gateways: vec![url("https://one.example"), url("http://two.example/at/")],
            max_content: 7,
            max_input: 8,
            input_time: Duration::from_secs(9),
            prepare_time: Duration::from_secs(10),
            allow_network: true,
            result_url: Some(url("https://store.example/results")),
            result_authorization: Some("/etc/sesame/store".into()),
            allow_result_proxy: true,
        };
        for options in [options, HostOptions::default()] {
            assert_eq!(parse(options.to_args()).unwrap(), options);
        }
    }

    #[test]
    fn an_address_with_more_than_a_place_is_refused() {
        for bad in [
            "",
            "store.example",
            "ftp://store.example",
            "file:///results",
            "https://user@store.example/",
            "https://:word@store.example/",
            "https://store.example/?token=1",
            "https://store.example/#here",
            "https://store.example/a,b",
        ] {
            assert_eq!(http_address(bad), None, "{bad}");
            let args = ["--result-url", bad].map(str::to_owned).to_vec();
            assert_eq!(parse(args), Err(ArgsError::Malformed("result-url")), "{bad}");
        }
        for (name, bad) in [
            ("max-content-bytes", "-1"),
            ("max-input-bytes", "1G"),
            ("input-seconds", "soon"),
            ("allow-result-proxy", "yes"),
            ("ipfs-gateways", "https://one.example,"),
        ] {
            let args = vec![format!("--{name}"), bad.to_owned()];
            assert_eq!(parse(args), Err(ArgsError::Malformed(name)), "{bad}");
        }
    }

    #[test]
    fn what_is_below_an_address_is_below_it() {
        for base in ["http://x/a", "http://x/a/"] {
            let url = below(&http_address(base).unwrap(), &["0x1", "a b/c"]);
            assert_eq!(url.as_str(), "http://x/a/0x1/a%20b%2Fc");
        }
        assert_eq!(below(&http_address("http://x").unwrap(), &["b"]).as_str(), "http://x/b");
    }
}
