//! Which blocks still stand, and whether what was read is of one chain: what both followers, of credit and of the marketplace, ask.

use compute_futures_chain::{BlockRef, ChainError, ChainReader, EventMeta, Heads};
use compute_futures_protocol::B256;

/// The chain as one step of a follower sees it.
pub(crate) struct View<'a> {
    chain: &'a dyn ChainReader,
    pub(crate) heads: Heads,
}

impl<'a> View<'a> {
    /// Looks now.
    pub(crate) async fn now(chain: &'a dyn ChainReader) -> Result<Self, ChainError> {
        Ok(Self { chain, heads: chain.heads().await? })
    }

    /// Whether a block we followed is still part of the chain.
    pub(crate) async fn stands(&self, number: u64, hash: B256) -> Result<bool, ChainError> {
        if number > self.heads.latest.number {
            return Ok(false);
        }
        Ok(self.block(number).await?.is_some_and(|block| block.hash == hash))
    }

    /// The block of that number; `None` when the node has none.
    pub(crate) async fn block(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        if number == self.heads.latest.number {
            return Ok(Some(self.heads.latest));
        }
        self.chain.block(number).await
    }

    /// The newest of these checkpoints, newest first, that still stands.
    pub(crate) async fn newest_standing(&self, checkpoints: &[(u64, B256)]) -> Result<Option<BlockRef>, ChainError> {
        for (number, hash) in checkpoints {
            if self.stands(*number, *hash).await? {
                return self.block(*number).await;
            }
        }
        Ok(None)
    }

    /// Whether events up to `to` that were read after it are of one chain with it and with the cursor. The hash of `to` commits to
    /// everything below it: it is asked for again, and so is the cursor's block.
    pub(crate) async fn is_one_chain<'e>(
        &self,
        cursor: Option<(u64, B256)>,
        to: &BlockRef,
        events: impl IntoIterator<Item = &'e EventMeta>,
    ) -> Result<bool, ChainError> {
        let mixed = events.into_iter().any(|meta| meta.block_number == to.number && meta.block_hash != to.hash);
        let still = async |number: u64, hash: B256| -> Result<bool, ChainError> {
            Ok(self.chain.block(number).await?.is_some_and(|block| block.hash == hash))
        };
        if mixed || !still(to.number, to.hash).await? {
            return Ok(false);
        }
        match cursor {
            Some((number, hash)) => still(number, hash).await,
            None => Ok(true),
        }
    }
}
