//! One transaction from the account's line into a block: its nonce, its fees, and what is done when it gets stuck.

use std::collections::BTreeMap;

use alloy::{
    contract::SolCallBuilder,
    eips::eip1559::Eip1559Estimation,
    primitives::B256,
    providers::{DynProvider, Provider},
    rpc::types::TransactionReceipt,
    sol_types::SolCall,
};
use sesame_domain::BlockRef;
use tokio::time::{Duration, Instant, sleep};

use crate::{ChainError, Contracts, Mined};

/// How often a node is asked whether a transaction is in a block.
const POLL: Duration = Duration::from_millis(250);

/// Whoever holds the lock hands the next transaction in. What it guards are the places, by nonce, of transactions that
/// nobody waits for any more though they are in no block, with the fees that they offered at last: the next one takes the
/// first of these places, for whatever stands there keeps all later ones from the blocks.
pub(crate) type Line = BTreeMap<u64, Option<Eip1559Estimation>>;

/// What was handed to the node: the same call in the same place, each time with higher fees.
struct Sent {
    nonce: u64,
    gas: u64,
    /// None on a chain without EIP-1559: there the node's gas price is taken, and never raised.
    fees: Option<Eip1559Estimation>,
    hashes: Vec<B256>,
}

impl Contracts {
    /// Sends a call and waits for its block.
    pub(crate) async fn mine<C: SolCall + Unpin>(
        &self,
        call: &SolCallBuilder<&DynProvider, C>,
    ) -> Result<(Mined<()>, TransactionReceipt), ChainError> {
        let mut sent = self.hand_in(call).await?;
        let receipt = self.receipt(call, &mut sent).await?;
        let transaction = receipt.transaction_hash;
        let (Some(number), Some(hash)) = (receipt.block_number, receipt.block_hash) else {
            return Err(ChainError::Malformed("a receipt without a block".to_owned()));
        };
        tracing::debug!(%transaction, block.number = number, "transaction in block {number}");
        if !receipt.status() {
            // Estimated well and failed in its block: the same call on that block says why, if anything does.
            let again = call.call_raw().block(number.into()).await;
            return Err(match again.map_err(|error| self.refused(error)) {
                Err(refused @ ChainError::Refused(_)) => refused,
                Ok(_) | Err(_) => ChainError::Reverted { transaction },
            });
        }
        Ok((Mined { result: (), transaction, block: BlockRef { number, hash } }, receipt))
    }

    /// Gives a call its place in the line and its fees, and hands it to the node.
    async fn hand_in<C: SolCall + Unpin>(
        &self,
        call: &SolCallBuilder<&DynProvider, C>,
    ) -> Result<Sent, ChainError> {
        let call = call.clone().from(self.account);
        let mut line = self.line.lock().await;
        let count = self.provider.get_transaction_count(self.account);
        let pending = self.provider.get_transaction_count(self.account).pending();
        let (mined, pending, gas, fees) = tokio::join!(
            count.into_future(),
            pending.into_future(),
            call.estimate_gas(),
            self.provider.estimate_eip1559_fees()
        );
        let gas = gas.map_err(|error| self.refused(error))?;
        let mined = mined.map_err(|error| self.failed(error))?;
        let pending = pending.map_err(|error| self.failed(error))?;
        let (nonce, offered) = place(&mut line, mined, pending);
        let fees = match (fees.ok(), offered) {
            (Some(fees), Some(offered)) => Some(raised(offered, fees)),
            (fees, _) => fees,
        };
        let mut sent = Sent { nonce, gas, fees, hashes: Vec::new() };
        let handed_in = self.broadcast(&call, &mut sent).await;
        if handed_in.is_err() && nonce < pending {
            line.insert(nonce, fees);
        }
        handed_in.map(|()| sent)
    }

    async fn broadcast<C: SolCall + Unpin>(
        &self,
        call: &SolCallBuilder<&DynProvider, C>,
        sent: &mut Sent,
    ) -> Result<(), ChainError> {
        let mut call = call.clone().from(self.account).nonce(sent.nonce).gas(sent.gas);
        if let Some(fees) = sent.fees {
            call = call
                .max_fee_per_gas(fees.max_fee_per_gas)
                .max_priority_fee_per_gas(fees.max_priority_fee_per_gas);
        }
        let pending = call.send().await.map_err(|error| self.refused(error))?;
        sent.hashes.push(*pending.tx_hash());
        Ok(())
    }

    /// Waits for a transaction's block. A node that does not answer for a while is asked again until the time is up, and
    /// a transaction that stays out of the blocks is sent again.
    async fn receipt<C: SolCall + Unpin>(
        &self,
        call: &SolCallBuilder<&DynProvider, C>,
        sent: &mut Sent,
    ) -> Result<TransactionReceipt, ChainError> {
        let begun = Instant::now();
        let mut again = begun + self.patience;
        loop {
            if let Some(receipt) = self.receipt_of(&sent.hashes).await? {
                return Ok(receipt);
            }
            if begun.elapsed() >= self.timeout {
                return Err(self.give_up(sent).await);
            }
            if Instant::now() >= again {
                self.send_again(call, sent).await;
                again = Instant::now() + self.patience;
            }
            sleep(POLL).await;
        }
    }

    /// The receipt of whichever of these is in a block.
    async fn receipt_of(&self, hashes: &[B256]) -> Result<Option<TransactionReceipt>, ChainError> {
        for hash in hashes {
            let answer = self.provider.get_transaction_receipt(*hash).await;
            match answer.map_err(|error| self.failed(error)) {
                Ok(Some(receipt)) => return Ok(Some(receipt)),
                Ok(None) => {}
                Err(error) if error.is_retryable() => {
                    tracing::debug!(%error, "the node did not answer");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Whether the node dropped the transaction or its fees are too low: the same call in the same place, with higher fees.
    async fn send_again<C: SolCall + Unpin>(
        &self,
        call: &SolCallBuilder<&DynProvider, C>,
        sent: &mut Sent,
    ) {
        if let Some(fees) = sent.fees {
            let now = self.provider.estimate_eip1559_fees().await.unwrap_or(fees);
            sent.fees = Some(raised(fees, now));
        }
        let nonce = sent.nonce;
        match self.broadcast(call, sent).await {
            Ok(()) => tracing::info!(nonce, "transaction {nonce} is sent again with higher fees"),
            // It is in a block meanwhile, or the node keeps to the one that it has.
            Err(error) => tracing::debug!(nonce, %error, "transaction {nonce} is not taken again"),
        }
    }

    /// Leaves the transaction's place to the next one, and with it those before it that are in no block either: they may
    /// be an earlier process's, which nobody waits for.
    async fn give_up(&self, sent: &Sent) -> ChainError {
        let mined = self.provider.get_transaction_count(self.account).await.unwrap_or(sent.nonce);
        let mut line = self.line.lock().await;
        for nonce in mined..=sent.nonce {
            line.insert(nonce, sent.fees);
        }
        let transaction = sent.hashes.last().copied().unwrap_or_default();
        ChainError::NotMined { transaction, waited: self.timeout }
    }
}

/// The place of the next transaction: the first that was given up and is not in a block, else behind all that wait.
fn place(line: &mut Line, mined: u64, pending: u64) -> (u64, Option<Eip1559Estimation>) {
    *line = line.split_off(&mined);
    line.retain(|nonce, _| *nonce < pending);
    line.pop_first().unwrap_or((pending, None))
}

/// Fees that replace a transaction with these: nodes ask for a tenth more of both.
fn raised(offered: Eip1559Estimation, now: Eip1559Estimation) -> Eip1559Estimation {
    let more = |offered: u128, now: u128| now.max(offered.saturating_add(offered / 4 + 1));
    Eip1559Estimation {
        max_fee_per_gas: more(offered.max_fee_per_gas, now.max_fee_per_gas),
        max_priority_fee_per_gas: more(
            offered.max_priority_fee_per_gas,
            now.max_priority_fee_per_gas,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn fees(max_fee_per_gas: u128, max_priority_fee_per_gas: u128) -> Eip1559Estimation {
        Eip1559Estimation { max_fee_per_gas, max_priority_fee_per_gas }
    }

    #[test]
    fn places_that_were_given_up_come_first() {
        let low = Some(fees(1, 1));
        for (given_up, mined, pending, expected, left) in [
            (&[][..], 5, 5, (5, None), &[][..]),
            (&[], 3, 5, (5, None), &[]),
            (&[3, 4], 3, 5, (3, low), &[4]),
            // In a block after all.
            (&[2, 3], 3, 5, (3, low), &[]),
            (&[2], 3, 3, (3, None), &[]),
            // The node knows nothing of them any more.
            (&[3, 4], 3, 3, (3, None), &[]),
        ] {
            let mut line: Line = given_up.iter().map(|nonce| (*nonce, low)).collect();
            assert_eq!(
                place(&mut line, mined, pending),
                expected,
                "{given_up:?} {mined} {pending}"
            );
            assert_eq!(line.into_keys().collect::<Vec<_>>(), left);
        }
    }

    #[test]
    fn fees_rise_by_more_than_a_tenth_and_to_those_of_now() {
        assert_eq!(raised(fees(100, 0), fees(50, 0)), fees(126, 1));
        assert_eq!(raised(fees(100, 10), fees(500, 2)), fees(500, 13));
        assert_eq!(raised(fees(u128::MAX, 1), fees(0, 0)), fees(u128::MAX, 2));
    }
}
