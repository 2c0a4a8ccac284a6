//! Who a client is, for the limits alone: the address that connects, or whom a trusted proxy forwards.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use axum::http::HeaderMap;
use ipnet::IpNet;

/// The header in which each proxy adds whom it serves (RFC 7239 calls it the common form before itself).
const FORWARDED: &str = "x-forwarded-for";

/// A network whose machines are proxies of the operator's: what they say of their clients is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustedProxy(IpNet);

/// A network is an address with the length of its prefix, or one address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no network: write 10.1.0.0/16, fd00::/8, or one address")]
pub struct ParseNetworkError(String);

impl FromStr for TrustedProxy {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Self, ParseNetworkError> {
        let network = text
            .parse()
            .or_else(|_| text.parse::<IpAddr>().map(|address| address.to_canonical().into()));
        network.map(Self).map_err(|_| ParseNetworkError(text.to_owned()))
    }
}

/// Tells clients apart. A clone is the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clients(Arc<[TrustedProxy]>);

impl Clients {
    pub(crate) fn new(proxies: &[TrustedProxy]) -> Self {
        Self(proxies.into())
    }

    /// This address is a proxy's.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|TrustedProxy(network)| network.contains(&address))
    }

    /// Who asks: the peer, or behind trusted proxies the last address that none of them has. What stands before that came from
    /// the client, who may write anything; where something else than an address stands, the proxy that wrote it is the client.
    pub(crate) fn who(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        let mut hops = headers.get_all(FORWARDED).iter().rev().flat_map(|line| {
            line.to_str().unwrap_or_default().rsplit(',').map(|hop| address(hop.trim()))
        });
        while self.trusts(client) {
            let Some(Some(hop)) = hops.next() else { break };
            client = hop;
        }
        network(client)
    }
}

/// An address, with or without a port.
fn address(hop: &str) -> Option<IpAddr> {
    hop.parse().ok().or_else(|| Some(hop.parse::<SocketAddr>().ok()?.ip()))
}

/// An IPv6 client is its network of 64 bits, since it has all addresses in it.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(proxies: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let proxies: Vec<_> = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED, value.parse().unwrap());
        }
        Clients::new(&proxies).who(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn without_proxies_a_client_is_who_connects_whatever_it_says() {
        assert_eq!(client(&[], "192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(client(&[], "::ffff:192.0.2.1", &[]), "192.0.2.1");
        assert_eq!(client(&[], "2001:db8:1:2:3:4:5:6", &[]), "2001:db8:1:2::");
    }

    #[test]
    fn behind_a_trusted_proxy_a_client_is_whom_it_forwards() {
        let of = |forwarded: &[&str]| client(&["192.0.2.0/24"], "192.0.2.1", forwarded);
        assert_eq!(of(&["198.51.100.7"]), "198.51.100.7");
        assert_eq!(of(&["10.0.0.1, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(of(&["10.0.0.1", "10.0.0.2 ,198.51.100.7:99"]), "198.51.100.7");
        assert_eq!(of(&["[2001:db8:1:2::9]:99"]), "2001:db8:1:2::");
        for nothing in [&[][..], &[""], &["198.51.100.7,"], &["198.51.100.7, unknown"]] {
            assert_eq!(of(nothing), "192.0.2.1", "{nothing:?}");
        }
    }

    #[test]
    fn proxies_that_are_trusted_are_passed_over_wherever_they_stand() {
        let two = ["192.0.2.0/24", "10.0.0.0/8", "fd00::1"];
        let of = |peer, forwarded: &[&str]| client(&two, peer, forwarded);
        assert_eq!(of("192.0.2.1", &["198.51.100.7, 10.9.9.9"]), "198.51.100.7");
        assert_eq!(
            of("fd00::1", &["198.51.100.7", "10.0.0.1, 10.0.0.2", "192.0.2.9"]),
            "198.51.100.7"
        );
        // What a client adds in front of its own address is not looked at.
        assert_eq!(of("192.0.2.1", &["10.0.0.5, 203.0.113.9, 198.51.100.7"]), "198.51.100.7");
        // Where all are proxies, the first of them is who asks.
        assert_eq!(of("192.0.2.1", &["10.0.0.5, 10.0.0.6"]), "10.0.0.5");
        assert_eq!(of("192.0.2.1", &["junk, 10.0.0.6"]), "10.0.0.6");
        assert_eq!(of("::ffff:192.0.2.1", &["198.51.100.7"]), "198.51.100.7");
        // Nobody else forwards anything.
        for peer in ["198.51.100.8", "fd00::2", "11.0.0.1"] {
            assert_ne!(of(peer, &["198.51.100.7"]), "198.51.100.7");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0", "::/129", "localhost", "10.0.0.0/8,11.0.0.0/8"] {
            assert!(text.parse::<TrustedProxy>().is_err(), "{text}");
        }
    }
}
