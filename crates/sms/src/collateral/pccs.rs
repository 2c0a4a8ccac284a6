//! A client of Intel's Provisioning Certification Service, version 4, and of the caches in front of it (PCCS).

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::value::RawValue;
use sesame_attestation::dcap::{DcapCollateral, DcapPlatform, QuoteCollateralV3};
use url::Url;

use super::{
    Reason,
    http::{Http, body},
};

/// Intel's own service does not answer the root's revocation list; it is here.
const INTEL: &str = "api.trustedservices.intel.com";
const INTEL_ROOT_LIST: &str = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der";

/// A service that answers collateral.
#[derive(Debug)]
pub(super) struct Pccs {
    base: String,
    root_list: String,
    http: Http,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TcbInfo<'a> {
    #[serde(borrow)]
    tcb_info: &'a RawValue,
    signature: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity<'a> {
    #[serde(borrow)]
    enclave_identity: &'a RawValue,
    signature: String,
}

/// A body, and the chain of whoever signed it from the header that carries it.
struct Answer {
    body: Vec<u8>,
    chain: String,
}

impl Pccs {
    pub(super) fn new(url: Url) -> Result<Self, reqwest::Error> {
        let base = url.as_str().trim_end_matches('/').trim_end_matches("/sgx/certification/v4");
        let root_list = match url.host_str() {
            Some(INTEL) => INTEL_ROOT_LIST.to_owned(),
            _ => format!("{base}/sgx/certification/v4/rootcacrl"),
        };
        Ok(Self { base: base.to_owned(), root_list, http: Http::new()? })
    }

    /// Everything about one platform.
    pub(super) async fn fetch(&self, platform: DcapPlatform) -> Result<DcapCollateral, Reason> {
        let DcapPlatform { tdx, fmspc, ca } = platform;
        let (base, tee) = (&self.base, if tdx { "tdx" } else { "sgx" });
        let list = format!("{base}/sgx/certification/v4/pckcrl?ca={ca}&encoding=der");
        let list = self.signed(&list, &["sgx-pck-crl-issuer-chain"]).await?;
        let info = format!("{base}/{tee}/certification/v4/tcb?fmspc={}", hex(&fmspc));
        let info =
            self.signed(&info, &["tcb-info-issuer-chain", "sgx-tcb-info-issuer-chain"]).await?;
        let identity = format!("{base}/{tee}/certification/v4/qe/identity");
        let identity = self.signed(&identity, &["sgx-enclave-identity-issuer-chain"]).await?;
        let root_list = self.http.bytes(&self.root_list).await?;

        let tcb: TcbInfo<'_> = parse(&info.body)?;
        let qe: Identity<'_> = parse(&identity.body)?;
        Ok(DcapCollateral::new(QuoteCollateralV3 {
            pck_crl_issuer_chain: list.chain,
            root_ca_crl: binary(root_list),
            pck_crl: list.body,
            tcb_info_issuer_chain: info.chain.clone(),
            tcb_info: tcb.tcb_info.get().to_owned(),
            tcb_info_signature: from_hex(&tcb.signature)?,
            qe_identity_issuer_chain: identity.chain.clone(),
            qe_identity: qe.enclave_identity.get().to_owned(),
            qe_identity_signature: from_hex(&qe.signature)?,
            pck_certificate_chain: None,
        })?)
    }

    async fn signed(&self, url: &str, headers: &[&str]) -> Result<Answer, Reason> {
        let response = self.http.ask(url).await?;
        let chain = headers.iter().find_map(|name| response.headers().get(*name));
        let chain = chain.and_then(|chain| chain.to_str().ok());
        let chain = chain.and_then(|chain| percent_decode_str(chain).decode_utf8().ok());
        let missing = || Reason::Service(format!("{url}: no chain of certificates"));
        let chain = chain.ok_or_else(missing)?.into_owned();
        Ok(Answer { body: body(response).await?, chain })
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Reason> {
    serde_json::from_slice(body).map_err(|error| Reason::Service(error.to_string()))
}

/// A PCCS answers the root's list in hexadecimal, Intel in binary.
fn binary(body: Vec<u8>) -> Vec<u8> {
    alloy_primitives::hex::decode(&body).unwrap_or(body)
}

fn hex(bytes: &[u8]) -> String {
    alloy_primitives::hex::encode_upper(bytes)
}

fn from_hex(text: &str) -> Result<Vec<u8>, Reason> {
    let bytes = alloy_primitives::hex::decode(text);
    bytes.map_err(|_| Reason::Service("a signature is not hexadecimal".to_owned()))
}
