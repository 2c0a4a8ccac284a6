//! What Intel and AMD say about platforms: fetched from a service or read from a folder, kept until it expires, renewed in the
//! background.
//!
//! Nothing here is verified: the verifier checks every signature and date. A platform whose collateral is missing or stale is
//! refused, with the reason. While what is kept still counts, no request waits for the network.

mod folder;
mod http;
mod kds;
mod pccs;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sesame_attestation::{
    Collateral, Platform,
    dcap::{CollateralError, DcapCollateral},
    snp::{SnpCollateral, SnpError},
};
use tokio::sync::Mutex as AsyncMutex;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::clock;

/// Where collateral comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CollateralSource {
    /// Nowhere: no evidence can be verified, but under a simulated root, which brings its own.
    #[default]
    None,
    /// A folder of files, for sites without the network: `<tee>-<fmspc>-<ca>.json` for SGX and TDX; `snp-Milan-vcek.pem` and
    /// `.crl` for SEV-SNP, and `snp-Milan-<chip id>-<firmware>.der` for a VCEK's certificate that evidence comes without.
    Folder(PathBuf),
    /// Services.
    Services {
        /// A PCCS, or Intel's PCS: for SGX and TDX.
        pccs: Option<Url>,
        /// AMD's key distribution service, or a cache in front of it: for SEV-SNP.
        kds: Option<Url>,
    },
}

/// There is no collateral for a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no collateral for the platform {platform}: {reason}")]
pub(crate) struct NoCollateral {
    platform: Platform,
    reason: Reason,
}

/// Why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reason {
    #[error("the operator named no source of collateral for it")]
    NoSource,
    #[error("{0} cannot be read")]
    File(String),
    #[error("the collateral service does not answer as it should ({0})")]
    Service(String),
    #[error("what came is no collateral ({0})")]
    Malformed(#[from] CollateralError),
    #[error("what came is no collateral of SEV-SNP ({0})")]
    MalformedSnp(String),
    #[error("what is to be had expired at {0} (seconds since 1970)")]
    Stale(u64),
}

/// How often what is kept is asked for anew.
const RENEW_AFTER: u64 = 3600;
/// How often is looked for what should be renewed.
const LOOK: Duration = Duration::from_secs(60);
/// For how long a failure is answered again without another try, seconds: whoever sends evidence of unknown platforms does
/// not make this service ask for each.
const REMEMBER_FAILURE: u64 = 10;
/// Platforms that are kept, failures included.
const MOST: usize = 256;

/// Collateral, and before which second (since 1970) it counts by its own word.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    pub(crate) collateral: Collateral,
    until: u64,
}

impl From<DcapCollateral> for Fetched {
    fn from(collateral: DcapCollateral) -> Self {
        Self { until: collateral.until(), collateral: Collateral::Dcap(Arc::new(collateral)) }
    }
}

impl TryFrom<SnpCollateral> for Fetched {
    type Error = Reason;

    fn try_from(collateral: SnpCollateral) -> Result<Self, Reason> {
        let until = collateral.until().map_err(|error| malformed(&error))?;
        Ok(Self { until, collateral: Collateral::Snp(Arc::new(collateral)) })
    }
}

/// What AMD publishes, from its parts.
fn snp_of(
    chain: &[u8],
    list: &[u8],
    endorsement: Option<Vec<u8>>,
) -> Result<SnpCollateral, Reason> {
    let collateral = SnpCollateral::from_kds(chain, list).map_err(|error| malformed(&error))?;
    Ok(SnpCollateral { endorsement, ..collateral })
}

fn malformed(error: &SnpError) -> Reason {
    Reason::MalformedSnp(error.to_string())
}

/// One platform's collateral, or why there is none.
#[derive(Debug, Clone)]
struct Kept {
    at: u64,
    result: Result<Fetched, Reason>,
}

impl Kept {
    /// Whether this is the answer at this time, without asking again.
    fn counts(&self, now: u64) -> bool {
        match &self.result {
            Ok(fetched) => now < fetched.until,
            Err(_) => now < self.at + REMEMBER_FAILURE,
        }
    }
}

/// Collateral at hand.
#[derive(Debug)]
pub(crate) struct Shelf {
    source: Source,
    kept: Mutex<HashMap<Platform, Kept>>,
    /// One question at a time: those that wait find the answer kept.
    asking: AsyncMutex<()>,
}

#[derive(Debug)]
enum Source {
    Folder(PathBuf),
    Services { pccs: Option<pccs::Pccs>, kds: Option<kds::Kds> },
}

impl Shelf {
    /// # Errors
    /// When no HTTP client can be made.
    pub(crate) fn new(source: CollateralSource) -> Result<Self, reqwest::Error> {
        let source = match source {
            CollateralSource::None => Source::Services { pccs: None, kds: None },
            CollateralSource::Folder(folder) => Source::Folder(folder),
            CollateralSource::Services { pccs, kds } => Source::Services {
                pccs: pccs.map(pccs::Pccs::new).transpose()?,
                kds: kds.map(kds::Kds::new).transpose()?,
            },
        };
        Ok(Self { source, kept: Mutex::default(), asking: AsyncMutex::default() })
    }

    /// The collateral of a platform at this time.
    ///
    /// # Errors
    /// When there is none that counts.
    pub(crate) async fn get(&self, platform: Platform, now: u64) -> Result<Fetched, NoCollateral> {
        let kept = match self.find(platform, now) {
            Some(kept) => kept,
            None => {
                let _turn = self.asking.lock().await;
                match self.find(platform, now) {
                    Some(kept) => kept,
                    None => self.ask(platform, now).await,
                }
            }
        };
        kept.result.map_err(|reason| NoCollateral { platform, reason })
    }

    /// Renews what is kept until it is told to stop.
    pub(crate) async fn keep_fresh(&self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            self.renew(clock::now()).await;
        }
    }

    /// Asks again for what has been kept for a while. What cannot be renewed stays until it expires.
    async fn renew(&self, now: u64) {
        let due: Vec<Platform> = {
            let kept = self.kept();
            let old = |kept: &Kept| kept.result.is_ok() && kept.at + RENEW_AFTER <= now;
            kept.iter().filter(|(_, kept)| old(kept)).map(|(platform, _)| *platform).collect()
        };
        for platform in due {
            let _turn = self.asking.lock().await;
            if let Err(reason) = self.ask(platform, now).await.result {
                tracing::warn!(%platform, %reason, "collateral is not renewed");
            }
        }
    }

    fn find(&self, platform: Platform, now: u64) -> Option<Kept> {
        self.kept().get(&platform).filter(|kept| kept.counts(now)).cloned()
    }

    /// Asks the source, and keeps the answer. A failure does not replace what still counts.
    async fn ask(&self, platform: Platform, now: u64) -> Kept {
        let result = self.fetch(platform, now).await;
        let fresh = Kept { at: now, result };
        let mut kept = self.kept();
        let still = kept.get(&platform).is_some_and(|old| old.result.is_ok() && old.counts(now));
        if fresh.result.is_ok() || !still {
            make_room(&mut kept, platform);
            kept.insert(platform, fresh.clone());
        }
        fresh
    }

    async fn fetch(&self, platform: Platform, now: u64) -> Result<Fetched, Reason> {
        let fetched: Fetched = match (&self.source, platform) {
            (Source::Folder(folder), Platform::Dcap(platform)) => {
                folder::dcap(folder, platform).await?.into()
            }
            (Source::Folder(folder), Platform::Snp(lookup)) => {
                folder::snp(folder, lookup).await?.try_into()?
            }
            (Source::Services { pccs: Some(pccs), .. }, Platform::Dcap(platform)) => {
                pccs.fetch(platform).await?.into()
            }
            (Source::Services { kds: Some(kds), .. }, Platform::Snp(lookup)) => {
                kds.fetch(lookup).await?.try_into()?
            }
            (Source::Services { .. }, _) => return Err(Reason::NoSource),
        };
        if fetched.until <= now { Err(Reason::Stale(fetched.until)) } else { Ok(fetched) }
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Platform, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets failures first, then what was kept longest.
fn make_room(kept: &mut HashMap<Platform, Kept>, newcomer: Platform) {
    if kept.len() < MOST || kept.contains_key(&newcomer) {
        return;
    }
    let least = kept.iter().min_by_key(|(_, kept)| (kept.result.is_ok(), kept.at));
    if let Some(platform) = least.map(|(platform, _)| *platform) {
        kept.remove(&platform);
    }
}

#[cfg(test)]
mod tests;
