//! The options of `sesame worker` that go on to its launchers.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use sesame_enclave::host::{DEFAULT_MAX_CONTENT, DEFAULT_MAX_INPUT, HostOptions, http_address};
use url::Url;

use crate::parse;

/// What an operator says of content and results. None of it is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct HostArgs {
    /// A gateway for content in IPFS (apps and protected data at ipfs://CID, /ipfs/CID or /p2p/CID): it is asked for
    /// URL/ipfs/CID. May be repeated; they are asked in this order. The digest on the chain decides, so none need be trusted.
    #[arg(long = "ipfs-gateway", value_name = "URL", value_parser = address)]
    ipfs_gateways: Vec<Url>,
    /// The largest protected data, encrypted, in bytes. Decrypted, it lies in /dev/shm while the app runs.
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_MAX_CONTENT)]
    max_content_bytes: u64,
    /// The largest input file, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_MAX_INPUT)]
    max_input_bytes: u64,
    /// How long one input file may take.
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, default_value = "10m")]
    input_time: Duration,
    /// How long everything before an app may take: attesting, fetching, decrypting. A task that takes longer is tried a few times.
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, default_value = "1h")]
    prepare_time: Duration,
    /// Let apps use this machine's network where their orders ask for it (sesame_network). They reach whatever this machine
    /// reaches, its loopback included. Without it, such orders are refused. In Gramine and containers the network is open anyway.
    #[arg(long)]
    allow_network: bool,
    /// Send results to URL/TASK/FILE by PUT instead of leaving them in the task's folder. Users, passwords and tokens do not
    /// belong into it: see --result-authorization-file.
    #[arg(long, value_name = "URL", value_parser = address)]
    result_url: Option<Url>,
    /// A file whose first line goes along with results as the header Authorization, such as `Bearer …`.
    #[arg(long, value_name = "FILE", requires = "result_url")]
    result_authorization_file: Option<PathBuf>,
    /// Send results to where the order's iexec_result_storage_proxy says, without that authorization. Strangers choose the
    /// address: allow it where they may reach whatever this machine reaches.
    #[arg(long)]
    allow_result_proxy: bool,
}

impl HostArgs {
    pub(crate) fn options(self) -> HostOptions {
        HostOptions {
            ipfs_gateways: self.ipfs_gateways,
            max_content: self.max_content_bytes,
            max_input: self.max_input_bytes,
            input_time: self.input_time,
            prepare_time: self.prepare_time,
            allow_network: self.allow_network,
            result_url: self.result_url,
            result_authorization: self.result_authorization_file,
            allow_result_proxy: self.allow_result_proxy,
        }
    }
}

fn address(text: &str) -> Result<Url, &'static str> {
    http_address(text).ok_or("expected http:// or https://, without user, query and fragment")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        host: HostArgs,
    }

    fn parse(arguments: &[&str]) -> Option<HostOptions> {
        let arguments = std::iter::once("worker").chain(arguments.iter().copied());
        Cli::try_parse_from(arguments).ok().map(|cli| cli.host.options())
    }

    #[test]
    fn an_operator_who_says_nothing_says_what_launchers_assume() {
        assert_eq!(parse(&[]).unwrap(), HostOptions::default());
        let gateways = ["--ipfs-gateway", "https://a", "--ipfs-gateway", "https://b/c"];
        let gateways = parse(&gateways).unwrap().ipfs_gateways;
        assert_eq!(
            gateways.iter().map(Url::as_str).collect::<Vec<_>>(),
            ["https://a/", "https://b/c"]
        );
    }

    #[test]
    fn what_would_put_a_secret_into_the_list_of_processes_is_refused() {
        for bad in ["https://user:word@store", "https://store/?token=1", "store", "ftp://store"] {
            assert_eq!(parse(&["--result-url", bad]), None, "{bad}");
            assert_eq!(parse(&["--ipfs-gateway", bad]), None, "{bad}");
        }
        assert_eq!(parse(&["--result-authorization-file", "x"]), None, "without an address");
    }
}
