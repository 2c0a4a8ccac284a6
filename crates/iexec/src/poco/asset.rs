//! Assets: who owns them, and what is in them.

use alloy::{
    primitives::{Address, B256, keccak256},
    rpc::types::Log,
    sol,
    sol_types::{self, SolCall, SolEvent},
};
use sesame_domain::{AssetId, AssetKind, ChainEvent};

use super::{
    abi::{
        IApp, IDataset,
        IRegistry::{self, Transfer},
    },
    no_event,
    read::{Reader, STRICT, Stop},
    text,
};
use crate::multiaddr::content_uri;

sol! {
    /// The arguments with which apps are made, text as bytes.
    function app(bytes name, bytes kind, bytes multiaddr, bytes32 checksum, bytes enclave);
    /// The arguments with which datasets are made, text as bytes.
    function dataset(bytes name, bytes multiaddr, bytes32 checksum);
}

/// What is in an asset.
struct Content {
    digest: B256,
    uri: String,
}

/// What a log of the registry of this kind of asset says; nothing if it is not about who owns what.
pub(super) fn moved(
    reader: &mut Reader<'_>,
    kind: AssetKind,
    log: &Log,
) -> Result<Vec<ChainEvent>, Stop> {
    let registry = log.inner.address;
    if log.topic0() != Some(&Transfer::SIGNATURE_HASH) {
        return Ok(Vec::new());
    }
    let event = Transfer::decode_log_with_config(&log.inner, STRICT)
        .map_err(|source| no_event(registry, source))?;
    let (asset, from, to) = (AssetId::from(event.tokenId), event.from, event.to);
    let Some(address) = asset.address() else {
        return Err(no_event(registry, sol_types::Error::custom("the token is no contract")));
    };
    let moved = ChainEvent::AssetTransferred { asset, from, to };
    if !from.is_zero() {
        return Ok(vec![moved]);
    }
    let made = Made { registry, address, owner: to };
    let Content { digest, uri } = match kind {
        AssetKind::App => made.app(reader)?,
        AssetKind::ProtectedData => made.dataset(reader)?,
        AssetKind::Workerpool => Content { digest: B256::ZERO, uri: String::new() },
    };
    Ok(vec![ChainEvent::AssetRegistered { asset, kind, digest, uri }, moved])
}

/// An asset at its making.
struct Made {
    registry: Address,
    address: Address,
    owner: Address,
}

impl Made {
    fn app(&self, reader: &mut Reader<'_>) -> Result<Content, Stop> {
        let at = self.address;
        let code = reader.ask(self.registry, &IRegistry::proxyCodeHashCall {});
        let name = reader.ask(at, &IApp::m_appNameCall {});
        let kind = reader.ask(at, &IApp::m_appTypeCall {});
        let multiaddr = reader.ask(at, &IApp::m_appMultiaddrCall {});
        let checksum = reader.ask(at, &IApp::m_appChecksumCall {});
        let enclave = reader.ask(at, &IApp::m_appMREnclaveCall {});
        let (name, kind, enclave) = (name?, kind?, enclave?);
        let (multiaddr, checksum) = (multiaddr?, checksum?);
        let content = Content { digest: checksum, uri: text(&multiaddr) };
        let arguments = appCall { name, kind, multiaddr, checksum, enclave };
        self.check(code?, IApp::initializeCall::SELECTOR, &arguments)?;
        Ok(content)
    }

    fn dataset(&self, reader: &mut Reader<'_>) -> Result<Content, Stop> {
        let at = self.address;
        let code = reader.ask(self.registry, &IRegistry::proxyCodeHashCall {});
        let name = reader.ask(at, &IDataset::m_datasetNameCall {});
        let multiaddr = reader.ask(at, &IDataset::m_datasetMultiaddrCall {});
        let checksum = reader.ask(at, &IDataset::m_datasetChecksumCall {});
        let (name, multiaddr, checksum) = (name?, multiaddr?, checksum?);
        let content = Content { digest: checksum, uri: content_uri(&multiaddr) };
        let arguments = datasetCall { name, multiaddr, checksum };
        self.check(code?, IDataset::initializeCall::SELECTOR, &arguments)?;
        Ok(content)
    }

    /// The address of an asset is a hash of what it was made with (EIP-1014), its first owner among it: nobody can find another
    /// content, nor another code, for it.
    fn check(&self, code: B256, initialize: [u8; 4], arguments: &impl SolCall) -> Result<(), Stop> {
        let mut salt = initialize.to_vec();
        arguments.abi_encode_raw(&mut salt);
        salt.extend_from_slice(self.owner.as_slice());
        if self.registry.create2(keccak256(salt), code) == self.address {
            Ok(())
        } else {
            Err(Stop::lie(self.address, "an asset of that content has another address"))
        }
    }
}
