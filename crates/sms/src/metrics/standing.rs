//! How things stand at the moment of asking.

use prometheus_client::{
    metrics::{family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::{Amount, Named};
use crate::{collateral::KeptOf, pool::Load};

/// What is only known when somebody asks for it.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// Heights; zero before there is such a block.
    pub(crate) head: u64,
    pub(crate) confirmed: u64,
    pub(crate) proven: u64,
    /// Blocks that the index is behind.
    pub(crate) lag: u64,
    /// Seconds since the head's timestamp, and how many there may be.
    pub(crate) head_age: u64,
    pub(crate) head_age_limit: u64,
    pub(crate) ready: bool,
    /// Whether the vault's store and its key answered lately.
    pub(crate) vault: bool,
    pub(crate) keys: bool,
    /// Bytes on the data folder's file system; none if it does not say.
    pub(crate) free: Option<u64>,
    pub(crate) reserve: u64,
    pub(crate) verifications: Load,
    /// Turns of answers with secrets that are taken, of all.
    pub(crate) turns: (usize, usize),
    /// What is kept of each vendor's collateral; none where nothing is.
    pub(crate) collateral: Vec<KeptOf>,
}

/// Where it is shown.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    head: Amount,
    confirmed: Amount,
    proven: Amount,
    lag: Amount,
    head_age: Amount,
    head_age_limit: Amount,
    ready: Gauge,
    vault: Gauge,
    keys: Gauge,
    free: Amount,
    reserve: Amount,
    verifications_running: Amount,
    verifications_waiting: Amount,
    verifications_limit: Amount,
    turns_taken: Amount,
    turns_limit: Amount,
    platforms: Family<Named, Amount>,
    expiry: Family<Named, Amount>,
    fetched: Family<Named, Amount>,
}

impl Gauges {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let new = Self::default();
        new.register_index(registry);
        new.register_vault(registry);
        new.register_queues(registry);
        new.register_collateral(registry);
        new
    }

    fn register_index(&self, registry: &mut Registry) {
        registry.register("index_head", "Newest block mirrored", self.head.clone());
        let help = "Newest block deep enough for grants";
        registry.register("index_confirmed", help, self.confirmed.clone());
        let help = "Newest block at which the journals were proven";
        registry.register("index_proven", help, self.proven.clone());
        registry.register("index_lag_blocks", "Blocks still to mirror", self.lag.clone());
        let help = "Age of the newest block's timestamp";
        registry.register_with_unit("index_head_age", help, Unit::Seconds, self.head_age.clone());
        let (help, limit) = ("Age at which nothing is released", self.head_age_limit.clone());
        registry.register_with_unit("index_head_age_limit", help, Unit::Seconds, limit);
        let help = "1 when the service may answer yes, else 0";
        registry.register("ready", help, self.ready.clone());
    }

    fn register_vault(&self, registry: &mut Registry) {
        let help = "1 when the vault's store answered lately, else 0";
        registry.register("vault_available", help, self.vault.clone());
        let help = "1 when the vault's key could be used lately, else 0";
        registry.register("vault_key_available", help, self.keys.clone());
        let help = "Free bytes of the data folder's file system";
        registry.register_with_unit("data_free", help, Unit::Bytes, self.free.clone());
        let help = "Free bytes below which no secret is taken";
        registry.register_with_unit("data_reserve", help, Unit::Bytes, self.reserve.clone());
    }

    fn register_queues(&self, registry: &mut Registry) {
        let help = "Enclaves that are verified now";
        registry.register("verifications_running", help, self.verifications_running.clone());
        let help = "Enclaves that wait to be verified";
        registry.register("verifications_waiting", help, self.verifications_waiting.clone());
        let help = "Enclaves that may be verified or wait";
        registry.register("verifications_limit", help, self.verifications_limit.clone());
        let help = "Turns taken by answers with secrets: a bundle takes several";
        registry.register("turns_taken", help, self.turns_taken.clone());
        registry.register("turns_limit", "Turns that there are", self.turns_limit.clone());
    }

    fn register_collateral(&self, registry: &mut Registry) {
        let help = "Platforms whose collateral is kept";
        registry.register("collateral_platforms", help, self.platforms.clone());
        let help = "When the first of the kept collateral expires, since 1970";
        let name = "collateral_expiry_timestamp";
        registry.register_with_unit(name, help, Unit::Seconds, self.expiry.clone());
        let help = "When the oldest of the kept collateral was fetched, since 1970";
        let name = "collateral_fetch_timestamp";
        registry.register_with_unit(name, help, Unit::Seconds, self.fetched.clone());
    }

    pub(super) fn set(&self, now: &Standing) {
        self.head.set(now.head);
        self.confirmed.set(now.confirmed);
        self.proven.set(now.proven);
        self.lag.set(now.lag);
        self.head_age.set(now.head_age);
        self.head_age_limit.set(now.head_age_limit);
        self.ready.set(i64::from(now.ready));
        self.vault.set(i64::from(now.vault));
        self.keys.set(i64::from(now.keys));
        // A file system that does not say has nothing to count on.
        self.free.set(now.free.unwrap_or_default());
        self.reserve.set(now.reserve);
        self.verifications_running.set(now.verifications.running as u64);
        self.verifications_waiting.set(now.verifications.waiting as u64);
        self.verifications_limit.set(now.verifications.limit as u64);
        self.turns_taken.set(now.turns.0 as u64);
        self.turns_limit.set(now.turns.1 as u64);
        self.expiry.clear();
        self.fetched.clear();
        for KeptOf { vendor, platforms, oldest } in &now.collateral {
            let vendor: Named = [("vendor", *vendor)];
            self.platforms.get_or_create(&vendor).set(*platforms as u64);
            if let Some((fetched, expiry)) = oldest {
                self.fetched.get_or_create(&vendor).set(*fetched);
                self.expiry.get_or_create(&vendor).set(*expiry);
            }
        }
    }
}
