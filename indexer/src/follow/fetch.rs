//! Getting ranges from the chain: several at once while catching up, sized by how many events they hold.

use std::{collections::VecDeque, sync::Arc};

use compute_futures_chain::{BlockRef, ChainError, ChainReader};
use futures::{StreamExt, TryStreamExt, stream};
use tokio_util::task::AbortOnDropHandle;

use super::Range;
use crate::{config::FollowConfig, error::Result};

/// Blocks in the first range, before anything is known about their density.
const FIRST_BLOCKS: u64 = 64;
/// Block headers asked for at once.
const HEADERS: usize = 16;

/// Ranges of settled history, in order, fetched ahead of whoever writes them. Dropping it stops what is under way.
pub(crate) struct Prefetch {
    reader: Arc<dyn ChainReader>,
    next: u64,
    target: u64,
    blocks: u64,
    config: FollowConfig,
    under_way: VecDeque<AbortOnDropHandle<Result<Range, ChainError>>>,
}

impl Prefetch {
    /// Blocks `from..=target`.
    #[must_use]
    pub(crate) fn new(reader: Arc<dyn ChainReader>, from: u64, target: u64, config: &FollowConfig) -> Self {
        let blocks = FIRST_BLOCKS.min(config.max_range_blocks);
        Self { reader, next: from, target, blocks, config: config.clone(), under_way: VecDeque::new() }
    }

    /// The next range; `None` when all are done.
    pub(crate) async fn next(&mut self) -> Option<Result<Range>> {
        while self.under_way.len() < self.config.prefetch && self.next <= self.target {
            let (from, to) = (self.next, self.target.min(self.next + self.blocks - 1));
            self.next = to + 1;
            let reader = Arc::clone(&self.reader);
            // A task of its own: decoding uses another core than folding.
            self.under_way
                .push_back(AbortOnDropHandle::new(tokio::spawn(async move { settled(&*reader, from, to).await })));
        }
        let fetched = match self.under_way.pop_front()?.await {
            Ok(fetched) => fetched,
            Err(failure) => Err(ChainError::Unavailable(format!("fetching stopped: {failure}"))),
        };
        if let Ok(range) = &fetched {
            self.resize(range.events.len());
        }
        Some(fetched.map_err(Into::into))
    }

    /// Aims for `events_per_range`, growing or shrinking at most fourfold a step.
    fn resize(&mut self, events: usize) {
        let wanted = self.config.events_per_range as u64;
        let factor_times_16 = (wanted * 16).checked_div(events as u64).unwrap_or(64).clamp(4, 64);
        self.blocks = (self.blocks * factor_times_16 / 16).clamp(1, self.config.max_range_blocks);
    }
}

/// A range that cannot be replaced any more.
async fn settled(reader: &dyn ChainReader, from: u64, to: u64) -> Result<Range, ChainError> {
    let (events, end) = futures::try_join!(reader.events(from, to), reader.block(to))?;
    let end = end.ok_or_else(|| ChainError::Unavailable(format!("the RPC does not have block {to} yet")))?;
    Ok(Range { end, blocks: Vec::new(), events })
}

/// A range that may still be replaced, with its headers; `None` when it was replaced while it was fetched, or does not follow
/// `parent`: look again.
///
/// Headers come first: then a block that is replaced in between leaves a stored hash that is not the chain's any more, which
/// the next look finds. The other way round, new headers could stand over old events.
pub(super) async fn unsettled(
    reader: &dyn ChainReader,
    parent: &BlockRefHash,
    from: u64,
    to: u64,
) -> Result<Option<Range>, ChainError> {
    let blocks: Vec<Option<BlockRef>> =
        stream::iter(from..=to).map(|number| reader.block(number)).buffered(HEADERS).try_collect().await?;
    let Some(blocks) = blocks.into_iter().collect::<Option<Vec<BlockRef>>>() else {
        return Ok(None);
    };
    let mut expected = *parent;
    for block in &blocks {
        if block.parent_hash != expected {
            return Ok(None);
        }
        expected = block.hash;
    }
    let Some(end) = blocks.last().copied() else {
        return Ok(None);
    };
    let events = reader.events(from, to).await?;
    let in_place = events.iter().all(|event| {
        let index = event.meta.block_number.checked_sub(from).and_then(|i| usize::try_from(i).ok());
        index.and_then(|i| blocks.get(i)).is_some_and(|block| block.hash == event.meta.block_hash)
    });
    Ok(in_place.then_some(Range { end, blocks, events }))
}

/// Hash of the block a range must follow.
pub(super) type BlockRefHash = alloy::primitives::B256;
