//! How many connections each client has.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use crate::clients::network;

/// Clients that are connected.
#[derive(Debug)]
pub(super) struct PerClient {
    most: usize,
    connections: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection that counts, until it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    of: Arc<PerClient>,
    /// None for a proxy, whose connections are not counted.
    client: Option<IpAddr>,
}

impl PerClient {
    pub(super) fn new(most: usize) -> Self {
        Self { most, connections: Mutex::default() }
    }

    /// One more connection of this peer's, unless it has all that it may have.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr, trusted: bool) -> Option<Counted> {
        let client = (!trusted).then(|| network(peer));
        if let Some(client) = client {
            let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
            let open = connections.get(&client).copied().unwrap_or_default();
            if open >= self.most {
                return None;
            }
            connections.insert(client, open + 1);
        }
        Some(Counted { of: self.clone(), client })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some(client) = self.client else { return };
        let mut connections = self.of.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = connections.get_mut(&client) else { return };
        *open -= 1;
        if *open == 0 {
            connections.remove(&client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_share_of_connections_and_a_proxy_as_many_as_it_likes() {
        let clients = Arc::new(PerClient::new(2));
        let admit = |peer: &str, trusted| clients.admit(peer.parse().unwrap(), trusted);
        let first = admit("192.0.2.1", false).unwrap();
        let _second = admit("::ffff:192.0.2.1", false).unwrap();
        assert!(admit("192.0.2.1", false).is_none());
        let _other = admit("192.0.2.2", false).unwrap();
        let _proxy = [(); 9].map(|()| admit("192.0.2.1", true).unwrap());
        drop(first);
        let _third = admit("192.0.2.1", false).unwrap();
        assert!(admit("192.0.2.1", false).is_none());
        // One network of 64 bits is one client.
        let _six = [(); 2].map(|()| admit("2001:db8::1", false).unwrap());
        assert!(admit("2001:db8::ffff", false).is_none());
    }

    #[test]
    fn nothing_is_remembered_of_who_is_gone() {
        let clients = Arc::new(PerClient::new(2));
        drop(clients.admit("192.0.2.1".parse().unwrap(), false));
        assert!(clients.connections.lock().unwrap().is_empty());
    }
}
