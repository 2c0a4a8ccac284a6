//! The datasets of a bulk: which orders of a task's slice fit its deal, at the head and at the confirmed block.

use alloy_primitives::{Address, B256};
use sesame_domain::{Asset, AssetId, AssetKind, Task};
use sesame_iexec::{
    bulk::{Misfit, SignedOrder, SliceContent, SliceDataset, fits},
    ids::DatasetOrder,
};
use sesame_view::Snapshot;

use super::Iexec;
use crate::problem::ApiError;

/// A dataset whose order fits.
pub(super) struct Dataset {
    address: Address,
    asset: Asset,
}

impl Iexec {
    /// Each dataset of a slice, with what there is to fetch where its order fits.
    pub(super) fn datasets(
        &self,
        snapshot: &Snapshot<'_>,
        task: &Task,
        orders: &[SignedOrder],
    ) -> Result<Vec<SliceDataset>, ApiError> {
        let dataset = |order: &SignedOrder| {
            let found = self.judge(snapshot, task, order)?.inspect_err(|misfit| {
                tracing::info!(%misfit, "an order of a bulk does not fit");
            });
            let found = found.ok().map(|Dataset { address, asset }| SliceContent {
                address,
                uri: asset.uri,
                digest: asset.digest,
            });
            Ok(SliceDataset { name: order.dataset.clone(), found })
        };
        orders.iter().map(dataset).collect()
    }

    /// Whether a task may have a dataset by this order, as both views know order and owner.
    pub(super) fn judge(
        &self,
        snapshot: &Snapshot<'_>,
        task: &Task,
        order: &SignedOrder,
    ) -> Result<Result<Dataset, Misfit>, ApiError> {
        let (order, signature) = match order.read() {
            Ok(read) => read,
            Err(misfit) => return Ok(Err(misfit)),
        };
        let hash = self.hash(&order);
        let (usage, assets) =
            (snapshot.order_use(hash)?, snapshot.asset(AssetId::from(order.dataset))?);
        let fits_in = |usage, asset: &Option<Asset>| {
            let dataset = asset.as_ref().filter(|asset| asset.kind == AssetKind::ProtectedData);
            fits(&order, hash, &signature, usage, dataset.map(|asset| asset.owner), task)
        };
        let both = fits_in(&usage.head, &assets.head)
            .and_then(|()| fits_in(&usage.confirmed, &assets.confirmed));
        Ok(both.and_then(|()| {
            let asset = assets.head.ok_or(Misfit::DatasetUnknown)?;
            Ok(Dataset { address: order.dataset, asset })
        }))
    }

    fn hash(&self, order: &DatasetOrder) -> B256 {
        order.hash(self.deployment.chain_id, self.deployment.hub)
    }
}
