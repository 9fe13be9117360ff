//! Blocks: the newest, the safe, the finalized, and any by number.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use alloy::primitives::{B256, U64};
use serde::Deserialize;

use super::EvmReader;
use crate::transport::RpcFailure;
use crate::{BlockRef, ChainError, Heads};

/// What we read of a block.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Header {
    number: U64,
    hash: B256,
    parent_hash: B256,
    timestamp: U64,
}

impl Header {
    pub(super) fn timestamp(&self) -> u64 {
        self.timestamp.to()
    }

    pub(super) fn number(&self) -> u64 {
        self.number.to()
    }
}

impl From<Header> for BlockRef {
    fn from(header: Header) -> Self {
        Self {
            number: header.number.to(),
            hash: header.hash,
            parent_hash: header.parent_hash,
            timestamp: header.timestamp.to(),
        }
    }
}

/// A number as JSON-RPC wants it.
pub(super) fn quantity(number: u64) -> String {
    format!("{number:#x}")
}

impl EvmReader {
    /// The newest block at every call; safe and finalized are asked for again when it changed.
    pub(super) async fn read_heads(&self) -> Result<Heads, ChainError> {
        let latest: Header = self.rpc.newest("eth_getBlockByNumber", ("latest", false), Header::number).await?;
        let cached = *self.heads_cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(heads) = cached
            && heads.latest.hash == latest.hash
        {
            return Ok(heads);
        }
        let latest = BlockRef::from(latest);
        let (safe, finalized) = tokio::try_join!(
            self.tagged("safe", 0, latest.number.saturating_sub(self.safe_depth)),
            self.tagged("finalized", 1, latest.number.saturating_sub(self.finalized_depth)),
        )?;
        // Two answers may come from two nodes; the order must hold all the same.
        let safe = safe.min(latest.number);
        let heads = Heads { latest, safe, finalized: finalized.min(safe) };
        *self.heads_cache.lock().unwrap_or_else(PoisonError::into_inner) = Some(heads);
        Ok(heads)
    }

    /// Number of the block with this tag, or `fallback` where the endpoint does not know the tag.
    async fn tagged(&self, tag: &'static str, slot: usize, fallback: u64) -> Result<u64, ChainError> {
        let unsupported = &self.unsupported_tags[slot];
        if unsupported.load(Ordering::Relaxed) {
            return Ok(fallback);
        }
        match self.rpc.call::<_, Option<Header>>("eth_getBlockByNumber", (tag, false)).await {
            Ok(Some(header)) => Ok(header.number()),
            // Not yet one on a young chain.
            Ok(None) => Ok(0),
            Err(RpcFailure::Refused(error)) => {
                tracing::warn!(tag, error = %error.message, "the RPC endpoint does not know the tag; counting blocks instead");
                unsupported.store(true, Ordering::Relaxed);
                Ok(fallback)
            }
            Err(failure) => Err(failure.into()),
        }
    }

    pub(super) async fn read_block(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        let params = (quantity(number), false);
        let mut header: Option<Header> = self.rpc.call("eth_getBlockByNumber", &params).await?;
        // Another endpoint was seen further on: then it is this one that has not got there, not the chain.
        if header.is_none() && self.rpc.best_head() >= number {
            header = match self.rpc.call_at(number, "eth_getBlockByNumber", &params).await {
                Ok(header) => header,
                Err(RpcFailure::Behind(_)) => None,
                Err(failure) => return Err(failure.into()),
            };
        }
        match header {
            Some(header) if header.number() != number => {
                Err(ChainError::Inconsistent(format!("block {} in answer to {number}", header.number())))
            }
            header => Ok(header.map(BlockRef::from)),
        }
    }
}
