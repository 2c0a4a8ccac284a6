//! What Intel and AMD say about platforms: fetched from a service or read from a folder, kept until it expires, renewed in the
//! background.
//!
//! Nothing here is verified: the verifier checks every signature and date. A platform whose collateral is missing or stale is
//! refused, with the reason. While what is kept still counts, no request waits for the network.
//!
//! A platform is asked about once, whoever waits for the answer, and several at a time. For a quote of SGX or TDX that is a
//! platform that Intel's root certified: the caller checks its signatures first. A chip of SEV-SNP whose certificate does not
//! come with its report may be made up; such chips share a few places of their own, and beyond these they are refused.

mod folder;
mod http;
mod kds;
mod metrics;
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
    snp::{Lookup, SnpCollateral, SnpError},
};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio_util::sync::CancellationToken;
use url::Url;

pub(crate) use self::metrics::{Fetches, KeptOf};
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
    #[error(
        "too many chips are being asked about: send the certificate along, or try again in a moment"
    )]
    Busy,
}

impl Reason {
    /// In one word.
    const fn name(&self) -> &'static str {
        match self {
            Self::NoSource => "no_source",
            Self::File(_) => "file",
            Self::Service(_) => "service",
            Self::Malformed(_) | Self::MalformedSnp(_) => "malformed",
            Self::Stale(_) => "stale",
            Self::Busy => "busy",
        }
    }
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
/// Questions that are open at a time, about platforms and about chips of SEV-SNP.
const PLATFORMS_AT_ONCE: usize = 8;
const CHIPS_AT_ONCE: usize = 4;

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
    /// One question at a time about each platform: those that wait find the answer kept.
    asking: Mutex<HashMap<Platform, Arc<AsyncMutex<()>>>>,
    platforms: Semaphore,
    chips: Semaphore,
    fetches: Fetches,
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
        let (platforms, chips) = (Semaphore::new(PLATFORMS_AT_ONCE), Semaphore::new(CHIPS_AT_ONCE));
        let (kept, asking, fetches) = Default::default();
        Ok(Self { source, kept, asking, platforms, chips, fetches })
    }

    /// What is kept about a platform, if that is the answer at this time: its collateral, or why there is none.
    pub(crate) fn kept(
        &self,
        platform: Platform,
        now: u64,
    ) -> Option<Result<Fetched, NoCollateral>> {
        let kept = self.shelf().get(&platform).filter(|kept| kept.counts(now)).cloned()?;
        Some(kept.result.map_err(|reason| NoCollateral { platform, reason }))
    }

    /// The collateral of a platform at this time.
    ///
    /// # Errors
    /// When there is none that counts.
    pub(crate) async fn get(&self, platform: Platform, now: u64) -> Result<Fetched, NoCollateral> {
        if let Some(kept) = self.kept(platform, now) {
            return kept;
        }
        let question = self.question(platform);
        let _turn = question.lock().await;
        if let Some(kept) = self.kept(platform, now) {
            return kept;
        }
        self.ask(platform, now).await.map_err(|reason| NoCollateral { platform, reason })
    }

    /// Who holds its lock asks about the platform.
    fn question(&self, platform: Platform) -> Arc<AsyncMutex<()>> {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        asking.retain(|_, question| Arc::strong_count(question) > 1);
        Arc::clone(asking.entry(platform).or_default())
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
            let kept = self.shelf();
            let old = |kept: &Kept| kept.result.is_ok() && kept.at + RENEW_AFTER <= now;
            kept.iter().filter(|(_, kept)| old(kept)).map(|(platform, _)| *platform).collect()
        };
        for platform in due {
            let question = self.question(platform);
            let _turn = question.lock().await;
            if let Err(reason) = self.ask(platform, now).await {
                tracing::warn!(%platform, %reason, "collateral is not renewed");
            }
        }
    }

    /// Asks the source when there is a place, and keeps the answer. A failure does not replace what still counts.
    async fn ask(&self, platform: Platform, now: u64) -> Result<Fetched, Reason> {
        let _place = match platform {
            Platform::Snp(Lookup { missing: Some(_), .. }) => self.chips.try_acquire().ok(),
            Platform::Dcap(_) | Platform::Snp(_) => self.platforms.acquire().await.ok(),
        }
        .ok_or(Reason::Busy)?;
        let result = self.fetch(platform, now).await;
        self.fetches.count(platform, &result);
        let mut kept = self.shelf();
        let still = kept.get(&platform).is_some_and(|old| old.result.is_ok() && old.counts(now));
        if result.is_ok() || !still {
            make_room(&mut kept, platform);
            kept.insert(platform, Kept { at: now, result: result.clone() });
        }
        result
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

    fn shelf(&self) -> MutexGuard<'_, HashMap<Platform, Kept>> {
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
