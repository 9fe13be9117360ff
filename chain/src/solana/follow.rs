//! Following: the program's transactions by their signatures, each transaction's events by the program's calls to itself.
//!
//! Signatures come newest first, a page at a time. A range is complete when a page reaches below its first slot: a node that has
//! fewer transactions than the chain cannot make a gap look like an end: only nodes that stand at or above the range are asked, and
//! they are told to refuse when they do not, because behind one URL there may be several.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use compute_futures_protocol::{B256, SolanaAddress, TransactionId, U256};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;
use serde_json::json;

use super::SolanaReader;
use super::event::decode;
use crate::transport::RpcFailure;
use crate::{BlockRef, ChainError, ChainEvent, EventKind, EventMeta, EventRange};

/// Signatures in a page, the most that nodes give.
pub(super) const PAGE: usize = 1_000;
/// Transactions asked for at once.
pub(super) const AT_ONCE: usize = 8;
/// Slots in one range of a stream.
const RANGE: usize = 10_000;
/// Slots looked back for the block before a skipped slot: leaders have four in a row, so a thousand were an outage.
const SKIPPED: u64 = 1_000;
/// Pages remembered.
const MOST_PAGES: usize = 1_000;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Signature {
    pub(super) signature: String,
    pub(super) slot: u64,
    pub(super) err: Option<serde::de::IgnoredAny>,
    pub(super) block_time: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block {
    blockhash: SolanaAddress,
    previous_blockhash: SolanaAddress,
    #[serde(default)]
    signatures: Vec<String>,
}

/// What a call's data records: nothing when it is no event, an error when its fields cannot be read.
type Decode<K> = fn(&[u8]) -> Result<Option<Vec<K>>, String>;

/// Programs whose events are followed together: each with its event authority, and how its calls to itself are read.
pub(super) struct Source<K> {
    pub(super) programs: Vec<(SolanaAddress, SolanaAddress)>,
    pub(super) decode: Decode<K>,
}

impl Block {
    /// Surfpool makes block hashes up, and those of its blocks with transactions do not hang together. Nothing is ever replaced
    /// there, so the slot itself tells which block it is.
    fn simulated(mut self, slot: u64) -> Self {
        let named = |slot: u64| SolanaAddress::new(U256::from(slot).to_be_bytes());
        (self.blockhash, self.previous_blockhash) = (named(slot), named(slot.wrapping_sub(1)));
        self
    }
}

impl SolanaReader {
    /// The block of a slot. A skipped slot stands for the block before it, so that each block's parent is the one below.
    pub(super) async fn read_block(&self, slot: u64) -> Result<Option<BlockRef>, ChainError> {
        if let Some(block) = self.block_at(slot, "none", self.rpc.best_head() >= slot).await? {
            let timestamp: Option<u64> = self.rpc.call("getBlockTime", [slot]).await?;
            return Ok(Some(BlockRef {
                number: slot,
                hash: B256::new(block.blockhash.0),
                parent_hash: B256::new(block.previous_blockhash.0),
                timestamp: timestamp.unwrap_or_default(),
            }));
        }
        let newest: u64 = self.rpc.call("getSlot", json!([{"commitment": "confirmed"}])).await?;
        if newest <= slot {
            return Ok(None);
        }
        let params = json!([slot.saturating_sub(SKIPPED), slot, {"commitment": "confirmed"}]);
        let produced: Vec<u64> = self.rpc.call("getBlocks", params).await?;
        let Some(&before) = produced.last() else {
            return Err(ChainError::Unavailable(format!(
                "the RPC endpoint keeps no block as old as slot {slot}; use one with older history, or set the deployment slot"
            )));
        };
        let Some(block) = self.block_at(before, "none", true).await? else { return Ok(None) };
        let (hash, timestamp) = (B256::new(block.blockhash.0), self.rpc.call("getBlockTime", [before]).await?);
        let timestamp: Option<u64> = timestamp;
        Ok(Some(BlockRef { number: slot, hash, parent_hash: hash, timestamp: timestamp.unwrap_or_default() }))
    }

    /// `there`: some node has the slot already, so one that has not is not asked.
    async fn block_at(&self, slot: u64, details: &str, there: bool) -> Result<Option<Block>, ChainError> {
        let settings = json!({
            "transactionDetails": details, "rewards": false, "commitment": "confirmed", "maxSupportedTransactionVersion": 0,
        });
        let (method, params) = ("getBlock", json!([slot, settings]));
        let found: Result<Option<Block>, RpcFailure> =
            if there { self.rpc.call_at(slot, method, params).await } else { self.rpc.call(method, params).await };
        match found {
            Ok(block) => Ok(block.map(|block: Block| if self.simulated { block.simulated(slot) } else { block })),
            // Skipped, or not there yet: the words differ from node to node.
            Err(RpcFailure::Refused(_)) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// ComputeFutures.
    pub(super) fn futures(&self) -> Source<EventKind> {
        Source { programs: vec![(self.program.id, self.program.event_authority)], decode }
    }

    pub(super) fn stream_events<K: Send + 'static>(
        &self,
        source: Source<K>,
        from: u64,
        to: u64,
        concurrency: usize,
    ) -> BoxStream<'_, Result<EventRange<K>, ChainError>> {
        let source = Arc::new(source);
        futures::stream::iter((from..=to).step_by(RANGE))
            .map(move |from| {
                let source = Arc::clone(&source);
                async move {
                    let to = to.min(from.saturating_add(RANGE as u64 - 1));
                    let events = self.events_in(&source, from, to).await?;
                    Ok(EventRange { from, to, events })
                }
            })
            .buffered(concurrency.max(1))
            .boxed()
    }

    /// Every event of the slots `from..=to`, in order.
    pub(super) async fn events_in<K: Send + 'static>(
        &self,
        source: &Source<K>,
        from: u64,
        to: u64,
    ) -> Result<Vec<ChainEvent<K>>, ChainError> {
        let mut slots: BTreeMap<u64, Vec<Signature>> = BTreeMap::new();
        for (program, _) in &source.programs {
            for found in self.signatures(*program, from, to).await? {
                let slot = slots.entry(found.slot).or_default();
                // One transaction can call both programs.
                if found.err.is_none() && slot.iter().all(|known| known.signature != found.signature) {
                    slot.push(found);
                }
            }
        }
        slots.retain(|_, signatures| !signatures.is_empty());
        let blocks: Vec<Vec<ChainEvent<K>>> = futures::stream::iter(slots)
            .map(|(slot, signatures)| self.events_of_slot(source, slot, signatures))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(blocks.into_iter().flatten().collect())
    }

    /// The hash of a slot's block, and transactions of it in the order they ran.
    pub(super) async fn in_order(
        &self,
        slot: u64,
        mut signatures: Vec<Signature>,
    ) -> Result<(B256, Vec<Signature>), ChainError> {
        // One transaction has no order to learn.
        let details = if signatures.len() > 1 { "signatures" } else { "none" };
        let block = self
            .block_at(slot, details, true)
            .await?
            .ok_or_else(|| ChainError::Unavailable(format!("block {slot} is not there, its transactions are")))?;
        if signatures.len() > 1 {
            let place = |found: &Signature| block.signatures.iter().position(|signature| *signature == found.signature);
            if signatures.iter().any(|found| place(found).is_none()) {
                return Err(ChainError::Inconsistent(format!(
                    "block {slot} lacks transactions that are said to be in it"
                )));
            }
            signatures.sort_by_key(place);
        }
        Ok((B256::new(block.blockhash.0), signatures))
    }

    pub(super) async fn events_of_slot<K: Send + 'static>(
        &self,
        source: &Source<K>,
        slot: u64,
        signatures: Vec<Signature>,
    ) -> Result<Vec<ChainEvent<K>>, ChainError> {
        let (block_hash, signatures) = self.in_order(slot, signatures).await?;
        let mut events = Vec::new();
        for found in signatures {
            let id: TransactionId =
                found.signature.parse().map_err(|_| ChainError::Inconsistent("a signature that is none".into()))?;
            for kind in self.events_by(source, &found.signature, slot).await? {
                let meta = EventMeta {
                    block_number: slot,
                    block_hash,
                    block_timestamp: found.block_time.unwrap_or_default(),
                    transaction: id,
                    log_index: events.len() as u64,
                };
                events.push(ChainEvent { meta, kind });
            }
        }
        Ok(events)
    }

    /// The events of ComputeFutures in one transaction, in order.
    pub(super) async fn events_of(&self, signature: &str, slot: u64) -> Result<Vec<EventKind>, ChainError> {
        self.events_by(&self.futures(), signature, slot).await
    }

    /// The events of one transaction, in order.
    async fn events_by<K: Send + 'static>(
        &self,
        source: &Source<K>,
        signature: &str,
        slot: u64,
    ) -> Result<Vec<K>, ChainError> {
        let found = self
            .transaction_at(signature, slot)
            .await?
            .ok_or_else(|| ChainError::Unavailable(format!("transaction {signature} is not there yet")))?;
        if found.slot != slot || found.meta.err.is_some() {
            return Err(ChainError::Unavailable(format!("transaction {signature} moved to another slot; ask again")));
        }
        let calls =
            found.calls().ok_or_else(|| ChainError::Inconsistent(format!("transaction {signature} cannot be read")))?;
        let mut kinds = Vec::new();
        for call in calls {
            // Only a program itself can sign as its event authority, so nobody else can make such a call succeed.
            let is_event = |(program, authority): &(SolanaAddress, SolanaAddress)| {
                call.program == *program && call.accounts.first() == Some(authority)
            };
            if call.outer || !source.programs.iter().any(is_event) {
                continue;
            }
            let decoded =
                (source.decode)(&call.data).map_err(|why| ChainError::Inconsistent(format!("{signature}: {why}")))?;
            kinds.extend(decoded.unwrap_or_default());
        }
        Ok(kinds)
    }

    /// Signatures that name a program, of slots `from..=to`, newest first.
    async fn signatures(&self, program: SolanaAddress, from: u64, to: u64) -> Result<Vec<Signature>, ChainError> {
        let mut before = self.page_above(program, to);
        let mut all = Vec::new();
        loop {
            // A node that is behind answers with what it has and no hint of it, hence the slot.
            let page = self.signatures_page(program, before.as_deref(), PAGE, Some(to)).await?;
            let full = page.len() >= PAGE;
            let Some(last) = page.last().cloned() else { return Ok(all) };
            all.extend(page.into_iter().filter(|found| (from..=to).contains(&found.slot)));
            if last.slot < from || !full {
                return Ok(all);
            }
            self.remember_page(program, last.slot, last.signature.clone());
            before = Some(last.signature);
        }
    }

    /// Signatures that name `address`, newest first: the next `limit` behind `before`, from a node that has got to slot `needed`.
    pub(super) async fn signatures_page(
        &self,
        address: SolanaAddress,
        before: Option<&str>,
        limit: usize,
        needed: Option<u64>,
    ) -> Result<Vec<Signature>, ChainError> {
        let mut settings = json!({"limit": limit, "commitment": "confirmed"});
        if let Some(before) = before {
            settings["before"] = json!(before);
        }
        // Surfpool takes it for the first slot that is asked for.
        if let Some(slot) = needed.filter(|_| !self.simulated) {
            settings["minContextSlot"] = json!(slot);
        }
        let (method, params) = ("getSignaturesForAddress", json!([address, settings]));
        Ok(match needed {
            Some(slot) => self.rpc.call_at(slot, method, params).await?,
            None => self.rpc.call(method, params).await?,
        })
    }

    fn page_above(&self, program: SolanaAddress, slot: u64) -> Option<String> {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.get(&program)?.range(slot + 1..).next().map(|(_, signature)| signature.clone())
    }

    fn remember_page(&self, program: SolanaAddress, slot: u64, signature: String) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let pages = pages.entry(program).or_default();
        if pages.len() >= MOST_PAGES {
            pages.pop_last();
        }
        pages.insert(slot, signature);
    }
}

/// Unix seconds.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
