//! Gets the outbox mined: nonces or block heights, fees, replacements, gaps, and what to do about a transaction that reverted.
//!
//! Runs in the leader only. Each step stores before it acts, so it may stop anywhere.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use compute_futures_chain::{
    Action, ChainError, ChainReader, ChainWriter, Fees, Lifetime, Progress, Rejection, TransactionOutcome, Validity,
};
use tokio::sync::Mutex;

use super::outbox::{self, Attempt, Entry};
use super::purpose::{self, Purpose};
use super::{SettlementConfig, SettlementError};
use crate::follow::cursor;
use crate::ledger::{Ledger, LedgerError, now_ms};

/// Most transactions under way at once.
const MOST_IN_FLIGHT: usize = 16;
/// A replacement must pay this much more than the one before it; nodes ask for a tenth.
const BUMP_PERCENT: u128 = 125;
/// Milliseconds before an action that the contract refuses for now is tried again.
const BACK_OFF_MS: u64 = 5_000;
/// Gas on top of the estimate: the state may move before the transaction is mined.
const GAS_MARGIN_PERCENT: u64 = 120;

/// The only user of the operator key on chain.
pub(crate) struct Sender {
    pub(crate) ledger: Ledger,
    pub(crate) reader: Arc<dyn ChainReader>,
    pub(crate) writer: Arc<dyn ChainWriter>,
    pub(crate) config: SettlementConfig,
    /// Actions whose transactions can be mined no more and are not found: noticed when (unix seconds), and at which
    /// newest block.
    pub(crate) lost: Mutex<HashMap<Purpose, (u64, u64)>>,
}

impl Sender {
    /// Goes through the outbox once.
    pub(crate) async fn round(&self) -> Result<(), SettlementError> {
        let (sent, queued) = {
            let mut connection = self.ledger.db.pool.acquire().await.map_err(LedgerError::from)?;
            (outbox::sent(&mut connection).await?, outbox::queued(&mut connection).await?)
        };
        metrics::gauge!("relayer_outbox_pending", "network" => self.ledger.network())
            .set(crate::follow::approximate((sent.len() + queued.len()) as u64));
        if sent.is_empty() && queued.is_empty() {
            return Ok(());
        }
        let progress = self.writer.progress().await?;
        let mut in_flight = 0;
        for entry in &sent {
            match entry.validity {
                Some(validity) if validity.is_over(progress) => self.resolve(entry).await?,
                _ => {
                    in_flight += 1;
                    self.push(entry).await?;
                }
            }
        }
        if let Progress::NextNonce(floor) = progress {
            self.fill_gaps(floor, &sent).await?;
        }
        for entry in &queued {
            if in_flight >= MOST_IN_FLIGHT {
                break;
            }
            if entry.retry_ms > now_ms() || self.must_wait(entry, &sent, &queued) {
                continue;
            }
            if self.send(entry, progress).await? {
                in_flight += 1;
            }
        }
        Ok(())
    }

    /// A batch waits for the ceilings that were queued before it: without them its rows would be clamped (I-6).
    fn must_wait(&self, entry: &Entry, sent: &[Entry], queued: &[Entry]) -> bool {
        let is_ceiling = |other: &Entry| matches!(other.action, Action::RaiseCeilingWithSignature { .. });
        matches!(entry.action, Action::PostDebits { .. })
            && (sent.iter().any(is_ceiling)
                || queued.iter().take_while(|other| other.purpose != entry.purpose).any(is_ceiling))
    }

    /// Estimates, signs, stores, broadcasts. `false`: not now.
    async fn send(&self, entry: &Entry, progress: Progress) -> Result<bool, SettlementError> {
        let gas = match self.writer.estimate(&entry.action).await {
            Ok(gas) => gas.saturating_mul(GAS_MARGIN_PERCENT) / 100,
            Err(ChainError::Reverted { name, detail }) => {
                self.refused(entry, &format!("{name} {detail}")).await?;
                return Ok(false);
            }
            // Others may have had a part in it: what can never be sent must not stand in the way of charges.
            Err(error) if matches!(entry.action, Action::Market(_)) && error.rejection() == Some(Rejection::Other) => {
                self.refused(entry, &error.to_string()).await?;
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        let fees = self.within_limits(self.writer.fees_for(&entry.action).await?);
        let mut lifetime = self.writer.lifetime(progress).await?;
        let mut tx = self.ledger.db.begin_write().await?;
        if let Lifetime::Nonce(floor) = lifetime {
            lifetime = Lifetime::Nonce(outbox::next_nonce(tx.connection(), floor).await?);
        }
        let transaction = self.writer.sign(&entry.action, lifetime, gas, fees)?;
        outbox::store_attempt(tx.connection(), &entry.purpose, gas, &transaction).await?;
        tx.commit().await?;
        crate::failpoint!("outbox::after_store");
        tracing::info!(purpose = %entry.purpose, validity = ?transaction.validity, id = %transaction.id, "signed");
        self.broadcast(&Attempt {
            purpose: entry.purpose.clone(),
            transaction,
            signed_ms: now_ms(),
            broadcast_ms: None,
        })
        .await;
        crate::failpoint!("outbox::after_broadcast");
        Ok(true)
    }

    /// Sends stored bytes. A node that refuses them changes nothing: the next round looks again.
    async fn broadcast(&self, attempt: &Attempt) {
        match self.writer.broadcast(&attempt.transaction).await {
            Ok(()) => {
                let marked = async {
                    let mut tx = self.ledger.db.begin_write().await?;
                    outbox::mark_broadcast(tx.connection(), attempt.transaction.id).await?;
                    tx.commit().await
                };
                if let Err(error) = marked.await {
                    tracing::warn!(%error, "a broadcast could not be recorded; it is repeated");
                }
            }
            Err(error) => {
                tracing::warn!(purpose = %attempt.purpose, id = %attempt.transaction.id, %error, "not broadcast; retrying");
            }
        }
    }

    /// Keeps a transaction that is not mined moving: broadcasts what never was, and what waits too long replaces it with higher
    /// fees at the same nonce. Without a nonce the same bytes are sent again: another transaction might land beside them.
    async fn push(&self, entry: &Entry) -> Result<(), SettlementError> {
        let attempts = self.attempts(&entry.purpose).await?;
        let Some(last) = attempts.iter().rfind(|attempt| Some(attempt.transaction.validity) == entry.validity) else {
            return Err(LedgerError::Corrupt(format!("{} is sent without a transaction", entry.purpose)).into());
        };
        let Some(broadcast_ms) = last.broadcast_ms else {
            self.broadcast(last).await;
            return Ok(());
        };
        if now_ms().saturating_sub(broadcast_ms) < self.config.rebroadcast_seconds * 1000 {
            return Ok(());
        }
        let Validity::Nonce(nonce) = last.transaction.validity else {
            if self.writer.outcome(last.transaction.id).await?.is_some() {
                return self.resolve(entry).await;
            }
            self.broadcast(last).await;
            return Ok(());
        };
        let fees = self.raised(last.transaction.fees, self.writer.suggest_fees().await?);
        let Some(fees) = fees else {
            tracing::warn!(purpose = %entry.purpose, "waits at the highest fee allowed; broadcasting it again");
            self.broadcast(last).await;
            return Ok(());
        };
        let gas = entry.gas_limit.unwrap_or_default();
        let transaction = self.writer.sign(&entry.action, Lifetime::Nonce(nonce), gas, fees)?;
        let mut tx = self.ledger.db.begin_write().await?;
        outbox::store_attempt(tx.connection(), &entry.purpose, gas, &transaction).await?;
        tx.commit().await?;
        metrics::counter!("relayer_outbox_replacements_total", "network" => self.ledger.network()).increment(1);
        tracing::info!(purpose = %entry.purpose, nonce, id = %transaction.id, "replaced with higher fees");
        let replacement =
            Attempt { purpose: entry.purpose.clone(), transaction, signed_ms: now_ms(), broadcast_ms: None };
        self.broadcast(&replacement).await;
        Ok(())
    }

    /// An action's transaction can be mined no more: finds out which one was, if any.
    async fn resolve(&self, entry: &Entry) -> Result<(), SettlementError> {
        for attempt in self.attempts(&entry.purpose).await? {
            let id = attempt.transaction.id;
            let Some(outcome) = self.writer.outcome(id).await? else { continue };
            self.lost.lock().await.remove(&entry.purpose);
            if !outcome.succeeded {
                // An earlier transaction of a requeued action may have reverted long ago.
                if Some(attempt.transaction.validity) == entry.validity {
                    return self.reverted(entry, &outcome).await;
                }
                continue;
            }
            if purpose::has_no_event(&entry.action) {
                let mut tx = self.ledger.db.begin_write().await?;
                outbox::confirm_mined(tx.connection(), &entry.purpose, id, outcome.block_number).await?;
                tx.commit().await?;
            }
            // Otherwise its event confirms it, when the follower gets there.
            return Ok(());
        }
        self.vanished(entry).await
    }

    /// Mined and reverted. Whether the action is still wanted, the contract says.
    async fn reverted(&self, entry: &Entry, outcome: &TransactionOutcome) -> Result<(), SettlementError> {
        tracing::warn!(purpose = %entry.purpose, block = outcome.block_number, "the transaction reverted");
        metrics::counter!("relayer_outbox_reverted_total", "network" => self.ledger.network()).increment(1);
        match self.writer.estimate(&entry.action).await {
            Ok(_) => self.requeue(entry, "reverted, and would pass now: trying again").await,
            Err(ChainError::Reverted { name, detail }) => self.refused(entry, &format!("{name} {detail}")).await,
            Err(error) => Err(error.into()),
        }
    }

    /// None of our transactions can be mined any more and none is known: the node lags, somebody else used the nonce, or the
    /// blockhash ran out. Waits until the follower has seen every block in which one can have been mined, then signs anew. That
    /// is safe: had one been mined there, its event would have confirmed the action.
    async fn vanished(&self, entry: &Entry) -> Result<(), SettlementError> {
        let now = now_ms() / 1000;
        let noticed = self.lost.lock().await.get(&entry.purpose).copied();
        let (since, head) = match noticed {
            Some(noticed) => noticed,
            None => {
                let noticed = (now, self.reader.heads().await?.latest.number);
                self.lost.lock().await.insert(entry.purpose.clone(), noticed);
                noticed
            }
        };
        let followed = if matches!(entry.action, Action::Market(_)) {
            let mut connection = self.ledger.db.pool.acquire().await.map_err(LedgerError::from)?;
            crate::market::followed(&mut connection).await?
        } else {
            cursor(&self.ledger).await?.map_or(0, |cursor| cursor.number)
        };
        if now.saturating_sub(since) < self.config.rebroadcast_seconds || followed < head {
            return Ok(());
        }
        self.lost.lock().await.remove(&entry.purpose);
        if let Some(Validity::UntilBlockHeight(height)) = entry.validity {
            tracing::warn!(purpose = %entry.purpose, height, "not included before its blockhash ran out; signing anew");
            metrics::counter!("relayer_outbox_replacements_total", "network" => self.ledger.network()).increment(1);
            return self.requeue(entry, "it was not included before its blockhash ran out").await;
        }
        tracing::error!(
            purpose = %entry.purpose, validity = ?entry.validity,
            "another transaction used the nonce: does somebody else send with the operator key? Signing anew"
        );
        self.requeue(entry, "its nonce was used by another transaction").await
    }

    /// The contract would revert the action as things are.
    async fn refused(&self, entry: &Entry, reason: &str) -> Result<(), SettlementError> {
        match &entry.action {
            // Work is done and receipts are out: a batch is never given up. Either it is on chain already, and its event is on
            // the way, or something is wrong that a person has to see.
            Action::PostDebits { batch_number, .. } => {
                let index = self.ledger.identity().operator_index;
                let last = self.reader.operator(index).await?.map_or(0, |operator| operator.last_batch);
                if last < *batch_number {
                    tracing::error!(batch = batch_number, last, reason, "the contract refuses the batch; trying again");
                    metrics::counter!("relayer_batches_total", "network" => self.ledger.network(), "outcome" => "refused").increment(1);
                    return self.requeue(entry, reason).await;
                }
                Ok(())
            }
            _ => {
                tracing::warn!(purpose = %entry.purpose, reason, "the contract refuses the action");
                let mut tx = self.ledger.db.begin_write().await?;
                outbox::fail(tx.connection(), &entry.purpose, reason).await?;
                if let Action::RaiseCeilingWithSignature { account, ceiling, .. } = &entry.action {
                    super::seal::ceiling_refused(tx.connection(), *account, *ceiling).await?;
                }
                Ok(tx.commit().await?)
            }
        }
    }

    async fn requeue(&self, entry: &Entry, reason: &str) -> Result<(), SettlementError> {
        let mut tx = self.ledger.db.begin_write().await?;
        outbox::requeue(tx.connection(), &entry.purpose, reason, now_ms() + BACK_OFF_MS).await?;
        Ok(tx.commit().await?)
    }

    /// Nothing above a missing nonce is ever mined: what is missing is broadcast again, or filled with a transfer of nothing.
    async fn fill_gaps(&self, floor: u64, sent: &[Entry]) -> Result<(), SettlementError> {
        let mut connection = self.ledger.db.pool.acquire().await.map_err(LedgerError::from)?;
        let mut newest: BTreeMap<u64, Attempt> = BTreeMap::new();
        for attempt in outbox::attempts_from(&mut connection, floor).await? {
            if let Some(nonce) = attempt.transaction.validity.nonce() {
                newest.insert(nonce, attempt);
            }
        }
        drop(connection);
        let Some(highest) = newest.keys().next_back().copied() else { return Ok(()) };
        for nonce in floor..highest {
            match newest.get(&nonce) {
                // `push` looks after it.
                Some(_) if sent.iter().any(|entry| entry.validity == Some(Validity::Nonce(nonce))) => {}
                Some(attempt) => {
                    let due = attempt.broadcast_ms.unwrap_or_default() + self.config.rebroadcast_seconds * 1000;
                    if due <= now_ms() {
                        self.broadcast(attempt).await;
                    }
                }
                None => self.fill(nonce).await?,
            }
        }
        Ok(())
    }

    async fn fill(&self, nonce: u64) -> Result<(), SettlementError> {
        tracing::warn!(nonce, "filling a nonce gap");
        let (purpose, action) = (Purpose::fill(nonce), Action::Noop);
        let gas = self.writer.estimate(&action).await?;
        let fees = self.within_limits(self.writer.suggest_fees().await?);
        let transaction = self.writer.sign(&action, Lifetime::Nonce(nonce), gas, fees)?;
        let mut tx = self.ledger.db.begin_write().await?;
        outbox::enqueue(tx.connection(), &purpose, &action, "").await?;
        outbox::store_attempt(tx.connection(), &purpose, gas, &transaction).await?;
        tx.commit().await?;
        self.broadcast(&Attempt { purpose, transaction, signed_ms: now_ms(), broadcast_ms: None }).await;
        Ok(())
    }

    async fn attempts(&self, purpose: &Purpose) -> Result<Vec<Attempt>, SettlementError> {
        let mut connection = self.ledger.db.pool.acquire().await.map_err(LedgerError::from)?;
        Ok(outbox::attempts(&mut connection, purpose).await?)
    }

    fn within_limits(&self, fees: Fees) -> Fees {
        let max_fee = fees.max_fee.min(self.config.max_fee_wei);
        Fees { max_fee, max_priority_fee: fees.max_priority_fee.min(max_fee) }
    }

    /// Fees for a replacement: at least an eighth above the last ones and not below what is asked now; `None` when the limit
    /// leaves no room.
    fn raised(&self, last: Fees, suggested: Fees) -> Option<Fees> {
        raised(last, suggested, self.config.max_fee_wei)
    }
}

/// See [`Sender::raised`].
fn raised(last: Fees, suggested: Fees, limit: u128) -> Option<Fees> {
    let bump = |fee: u128| (fee.saturating_mul(BUMP_PERCENT)).div_ceil(100).max(fee + 1);
    let max_fee = bump(last.max_fee).max(suggested.max_fee);
    let max_priority_fee = bump(last.max_priority_fee).max(suggested.max_priority_fee);
    (max_fee <= limit).then(|| Fees { max_fee, max_priority_fee: max_priority_fee.min(max_fee) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_pays_at_least_a_tenth_more() {
        let last = Fees { max_fee: 100, max_priority_fee: 3 };
        let next = raised(last, Fees { max_fee: 50, max_priority_fee: 1 }, 1_000);
        assert_eq!(next, Some(Fees { max_fee: 125, max_priority_fee: 4 }));
    }

    #[test]
    fn a_replacement_follows_the_market() {
        let last = Fees { max_fee: 100, max_priority_fee: 3 };
        let next = raised(last, Fees { max_fee: 400, max_priority_fee: 9 }, 1_000);
        assert_eq!(next, Some(Fees { max_fee: 400, max_priority_fee: 9 }));
    }

    #[test]
    fn the_limit_holds() {
        let last = Fees { max_fee: 100, max_priority_fee: 3 };
        assert_eq!(raised(last, Fees { max_fee: 1, max_priority_fee: 1 }, 124), None);
    }
}
