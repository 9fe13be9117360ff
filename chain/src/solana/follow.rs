//! Following: the program's transactions by their signatures, each transaction's events by the program's calls to itself.
//!
//! Signatures come newest first, a page at a time. A range is complete when a page reaches below its first slot: a node that has
//! fewer transactions than the chain cannot make a gap look like an end, because only nodes that stand at or above the range are
//! asked.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compute_futures_protocol::{B256, SolanaAddress, Terms, TransactionId, keccak256};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;
use serde_json::json;

use super::SolanaReader;
use super::event::decode;
use super::message::message_of;
use crate::transport::RpcFailure;
use crate::{BlockRef, ChainError, ChainEvent, EventKind, EventMeta, EventRange};

/// Signatures in a page, the most that nodes give.
const PAGE: usize = 1_000;
/// Transactions asked for at once.
const AT_ONCE: usize = 8;
/// Slots in one range of a stream.
const RANGE: usize = 10_000;
/// Slots looked back for the block before a skipped slot: leaders have four in a row, so a thousand were an outage.
const SKIPPED: u64 = 1_000;
/// Pages remembered.
const MOST_PAGES: usize = 1_000;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Signature {
    signature: String,
    slot: u64,
    err: Option<serde::de::IgnoredAny>,
    block_time: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block {
    blockhash: SolanaAddress,
    previous_blockhash: SolanaAddress,
    #[serde(default)]
    signatures: Vec<String>,
}

#[derive(Deserialize)]
struct Transaction {
    slot: u64,
    meta: Meta,
    transaction: Body,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    err: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    inner_instructions: Vec<Inner>,
    #[serde(default)]
    loaded_addresses: Loaded,
}

#[derive(Default, Deserialize)]
struct Loaded {
    writable: Vec<SolanaAddress>,
    readonly: Vec<SolanaAddress>,
}

#[derive(Deserialize)]
struct Inner {
    instructions: Vec<Call>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Call {
    program_id_index: usize,
    accounts: Vec<usize>,
    data: String,
}

#[derive(Deserialize)]
struct Body {
    message: Keys,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Keys {
    account_keys: Vec<SolanaAddress>,
}

impl SolanaReader {
    /// The block of a slot. A skipped slot stands for the block before it, so that each block's parent is the one below.
    pub(super) async fn read_block(&self, slot: u64) -> Result<Option<BlockRef>, ChainError> {
        if let Some(block) = self.block_at(slot, "none").await? {
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
        let Some(block) = self.block_at(before, "none").await? else { return Ok(None) };
        let (hash, timestamp) = (B256::new(block.blockhash.0), self.rpc.call("getBlockTime", [before]).await?);
        let timestamp: Option<u64> = timestamp;
        Ok(Some(BlockRef { number: slot, hash, parent_hash: hash, timestamp: timestamp.unwrap_or_default() }))
    }

    async fn block_at(&self, slot: u64, details: &str) -> Result<Option<Block>, ChainError> {
        let settings = json!({
            "transactionDetails": details, "rewards": false, "commitment": "confirmed", "maxSupportedTransactionVersion": 0,
        });
        match self.rpc.call("getBlock", json!([slot, settings])).await {
            Ok(block) => Ok(block),
            // Skipped, not there yet, or before what the node keeps: the words differ from node to node.
            Err(RpcFailure::Refused(_)) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    pub(super) fn stream_events(
        &self,
        from: u64,
        to: u64,
        concurrency: usize,
    ) -> BoxStream<'_, Result<EventRange, ChainError>> {
        futures::stream::iter((from..=to).step_by(RANGE))
            .map(move |from| async move {
                let to = to.min(from.saturating_add(RANGE as u64 - 1));
                let events = self.events_in(from, to).await?;
                Ok(EventRange { from, to, events })
            })
            .buffered(concurrency.max(1))
            .boxed()
    }

    /// Every event of the slots `from..=to`, in order.
    pub(super) async fn events_in(&self, from: u64, to: u64) -> Result<Vec<ChainEvent>, ChainError> {
        let mut slots: BTreeMap<u64, Vec<Signature>> = BTreeMap::new();
        for found in self.signatures(self.program.id, from, to).await? {
            if found.err.is_none() {
                slots.entry(found.slot).or_default().push(found);
            }
        }
        let blocks: Vec<Vec<ChainEvent>> = futures::stream::iter(slots)
            .map(|(slot, signatures)| self.events_of_slot(slot, signatures))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(blocks.into_iter().flatten().collect())
    }

    async fn events_of_slot(&self, slot: u64, mut signatures: Vec<Signature>) -> Result<Vec<ChainEvent>, ChainError> {
        // One transaction has no order to learn.
        let details = if signatures.len() > 1 { "signatures" } else { "none" };
        let block = self
            .block_at(slot, details)
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
        let mut events = Vec::new();
        for found in signatures {
            let id: TransactionId =
                found.signature.parse().map_err(|_| ChainError::Inconsistent("a signature that is none".into()))?;
            for kind in self.events_of(&found.signature, slot).await? {
                let meta = EventMeta {
                    block_number: slot,
                    block_hash: B256::new(block.blockhash.0),
                    block_timestamp: found.block_time.unwrap_or_default(),
                    transaction: id,
                    log_index: events.len() as u64,
                };
                events.push(ChainEvent { meta, kind });
            }
        }
        Ok(events)
    }

    /// The events of one transaction, in order.
    async fn events_of(&self, signature: &str, slot: u64) -> Result<Vec<EventKind>, ChainError> {
        let settings = json!({"encoding": "json", "commitment": "confirmed", "maxSupportedTransactionVersion": 0});
        let found: Option<Transaction> = self.rpc.call("getTransaction", json!([signature, settings])).await?;
        let found =
            found.ok_or_else(|| ChainError::Unavailable(format!("transaction {signature} is not there yet")))?;
        if found.slot != slot || found.meta.err.is_some() {
            return Err(ChainError::Unavailable(format!("transaction {signature} moved to another slot; ask again")));
        }
        let keys: Vec<SolanaAddress> = [
            found.transaction.message.account_keys,
            found.meta.loaded_addresses.writable,
            found.meta.loaded_addresses.readonly,
        ]
        .concat();
        let mut kinds = Vec::new();
        for call in found.meta.inner_instructions.iter().flat_map(|inner| &inner.instructions) {
            // Only the program itself can sign as its event authority, so nobody else can make such a call succeed.
            let ours = keys.get(call.program_id_index) == Some(&self.program.id)
                && call.accounts.first().and_then(|account| keys.get(*account)) == Some(&self.program.event_authority);
            if !ours {
                continue;
            }
            let data = bs58::decode(&call.data)
                .into_vec()
                .map_err(|error| ChainError::Inconsistent(format!("call data of {signature}: {error}")))?;
            let decoded = decode(&data).map_err(|why| ChainError::Inconsistent(format!("{signature}: {why}")))?;
            kinds.extend(decoded.unwrap_or_default());
        }
        Ok(kinds)
    }

    /// Signatures that name `address`, of slots `from..=to`, newest first.
    async fn signatures(&self, address: SolanaAddress, from: u64, to: u64) -> Result<Vec<Signature>, ChainError> {
        let whole = address == self.program.id;
        let mut before = if whole { self.page_above(to) } else { None };
        let mut all = Vec::new();
        loop {
            let mut settings = json!({"limit": PAGE, "commitment": "confirmed"});
            if let Some(before) = &before {
                settings["before"] = json!(before);
            }
            let params = json!([address, settings]);
            // A node that is behind answers with what it has and no hint of it, hence `_at`.
            let page: Vec<Signature> = self.rpc.call_at(to, "getSignaturesForAddress", params).await?;
            let full = page.len() >= PAGE;
            let Some(last) = page.last().cloned() else { return Ok(all) };
            all.extend(page.into_iter().filter(|found| (from..=to).contains(&found.slot)));
            if last.slot < from || !full {
                return Ok(all);
            }
            if whole {
                self.remember_page(last.slot, last.signature.clone());
            }
            before = Some(last.signature);
        }
    }

    fn page_above(&self, slot: u64) -> Option<String> {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.range(slot + 1..).next().map(|(_, signature)| signature.clone())
    }

    fn remember_page(&self, slot: u64, signature: String) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.len() >= MOST_PAGES {
            pages.pop_last();
        }
        pages.insert(slot, signature);
    }

    /// Terms of a version, from the event that set them; `operator_of` is named by nothing else.
    pub(super) async fn terms_set(
        &self,
        operator_of: SolanaAddress,
        version: u32,
    ) -> Result<Option<Terms>, ChainError> {
        let newest: u64 = self.rpc.call("getSlot", json!([{"commitment": "confirmed"}])).await?;
        for found in self.signatures(operator_of, 0, newest).await? {
            if found.err.is_some() {
                continue;
            }
            for kind in self.events_of(&found.signature, found.slot).await? {
                if let EventKind::TermsSet { terms_version, terms, .. } = kind
                    && terms_version == version
                {
                    return Ok(Some(terms));
                }
            }
        }
        Ok(None)
    }

    /// The transaction of `payer` whose message has this keccak256, if it succeeded.
    pub(super) async fn find_payment(
        &self,
        payer: SolanaAddress,
        message: B256,
        seconds_back: u64,
    ) -> Result<Option<TransactionId>, ChainError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let oldest = now.saturating_sub(seconds_back);
        let mut before: Option<String> = None;
        loop {
            let mut settings = json!({"limit": 100, "commitment": "confirmed"});
            if let Some(before) = &before {
                settings["before"] = json!(before);
            }
            let page: Vec<Signature> = self.rpc.call("getSignaturesForAddress", json!([payer, settings])).await?;
            let Some(last) = page.last().cloned() else { return Ok(None) };
            for found in &page {
                if found.block_time.is_some_and(|time| time < oldest) {
                    return Ok(None);
                }
                if found.err.is_none() && self.message_hash(&found.signature).await? == Some(message) {
                    return Ok(found.signature.parse().ok());
                }
            }
            before = Some(last.signature);
        }
    }

    async fn message_hash(&self, signature: &str) -> Result<Option<B256>, ChainError> {
        #[derive(Deserialize)]
        struct Raw {
            transaction: (String, String),
        }
        let settings = json!({"encoding": "base64", "commitment": "confirmed", "maxSupportedTransactionVersion": 0});
        let raw: Option<Raw> = self.rpc.call("getTransaction", json!([signature, settings])).await?;
        let bytes = raw.and_then(|raw| STANDARD.decode(raw.transaction.0).ok());
        Ok(bytes.as_deref().and_then(message_of).map(keccak256))
    }
}
