//! A client of AMD's key distribution service, and of caches in front of it.

use sesame_attestation::snp::{
    Lookup, SnpCollateral, VcekName,
    kds::{chain_url, crl_url, vcek_url},
};
use url::Url;

use super::{Reason, http::Http, snp_of};

/// A service that answers chains, revocation lists and certificates.
#[derive(Debug)]
pub(super) struct Kds {
    base: Url,
    http: Http,
}

impl Kds {
    pub(super) fn new(base: Url) -> Result<Self, reqwest::Error> {
        Ok(Self { base, http: Http::new()? })
    }

    /// Everything about one platform. The chip comes first: one that AMD does not know costs one question.
    pub(super) async fn fetch(&self, lookup: Lookup) -> Result<SnpCollateral, Reason> {
        let Lookup { product, key, missing } = lookup;
        let base = self.base.as_str();
        let endorsement = match missing {
            Some(VcekName { chip_id, tcb }) => {
                Some(self.http.bytes(&vcek_url(base, product, &chip_id, &tcb)).await?)
            }
            None => None,
        };
        let chain = self.http.bytes(&chain_url(base, product, key)).await?;
        let list = self.http.bytes(&crl_url(base, product, key)).await?;
        snp_of(&chain, &list, endorsement)
    }
}
