//! What makes two quotes those of one platform, for a platform that returns costs one signature check.
//!
//! Everything that a verdict rests on is hashed: root, collateral, certificates, quoting enclave, attestation key, and every
//! field of the report but those that say what the enclave itself is. A quote that differs in anything else, a debug bit or an
//! SVN, is another platform and verified in full.

use std::num::NonZeroUsize;

use ring::digest::{Context, SHA256};

use super::{DcapCollateral, DcapQuote};
use crate::{platform::PlatformCache, tcb::TcbVerdict};

/// The verdicts on the platforms seen last.
pub(crate) type Platforms = PlatformCache<TcbVerdict>;

/// So many are remembered: some hundred bytes each.
const MOST: NonZeroUsize = NonZeroUsize::new(4096).expect("it is not zero");

/// No platform is known yet.
pub(crate) fn no_platforms() -> Platforms {
    PlatformCache::new(MOST)
}

/// Names all that one verdict rests on.
pub(super) fn key_of(quote: &DcapQuote, root: &[u8], collateral: &DcapCollateral) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in [root, collateral.digest()].into_iter().chain(quote.platform_parts()) {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut key = [0; 32];
    key.copy_from_slice(context.finish().as_ref());
    key
}
