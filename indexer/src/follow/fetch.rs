//! Getting ranges from the chain: several at once while catching up, sized by how many events they hold.

use std::collections::VecDeque;

use compute_futures_chain::{BlockRef, ChainError, EventMeta};
use futures::{StreamExt, TryStreamExt, stream};
use tokio_util::task::AbortOnDropHandle;

use super::{Range, Source};
use crate::{config::FollowConfig, error::Result};

/// Blocks in the first range, before anything is known about their density.
const FIRST_BLOCKS: u64 = 16;
/// Block headers asked for at once.
const HEADERS: usize = 16;

/// How many blocks to ask for at once, learned from what the last ranges held.
#[derive(Debug, Clone)]
pub(crate) struct RangeSize {
    blocks: u64,
    wanted_events: u64,
    most: u64,
    known: bool,
}

impl RangeSize {
    pub(crate) fn new(config: &FollowConfig) -> Self {
        let most = config.max_range_blocks;
        Self { blocks: FIRST_BLOCKS.min(most), wanted_events: config.events_per_range as u64, most, known: false }
    }

    /// Blocks of the next range.
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// A range of `blocks` held `events`: aims for the wanted number. It shrinks at once, and doubles only when a range of the
    /// present size has come back: those under way may show that the next blocks are fuller.
    fn served(&mut self, blocks: u64, events: usize) {
        let fitting = (self.wanted_events * blocks).checked_div(events as u64).unwrap_or(u64::MAX).clamp(1, self.most);
        if fitting < self.blocks {
            self.blocks = fitting;
        } else if blocks >= self.blocks {
            self.blocks = fitting.min(self.blocks * 2);
        }
        self.known = true;
    }

    /// A range failed: perhaps it was too much for the endpoint.
    fn failed(&mut self) {
        self.blocks = (self.blocks / 4).max(1);
        self.known = false;
    }

    /// Ranges worth fetching at once: one until their size is known.
    fn ahead(&self, prefetch: usize) -> usize {
        if self.known { prefetch } else { 1 }
    }
}

/// Times that a range is asked for in smaller pieces before the failure is somebody else's to handle.
const SMALLER: u32 = 3;

/// Ranges of settled history, in order, fetched ahead of whoever writes them. Dropping it stops what is under way.
pub(crate) struct Prefetch {
    source: Source,
    next: u64,
    target: u64,
    prefetch: usize,
    failures: u32,
    under_way: VecDeque<Fetch>,
}

struct Fetch {
    from: u64,
    blocks: u64,
    task: AbortOnDropHandle<Result<Range, ChainError>>,
}

impl Prefetch {
    /// Blocks `from..=target`.
    #[must_use]
    pub(crate) fn new(source: Source, from: u64, target: u64, prefetch: usize) -> Self {
        Self { source, next: from, target, prefetch, failures: 0, under_way: VecDeque::new() }
    }

    /// The next range; `None` when all are done. A range that fails is asked for again in smaller pieces: endpoints that
    /// have no limit of their own can be asked for more than they can answer in time.
    pub(crate) async fn next(&mut self, size: &mut RangeSize) -> Option<Result<Range>> {
        loop {
            self.start(size);
            let Fetch { from, blocks, task } = self.under_way.pop_front()?;
            let fetched = match task.await {
                Ok(fetched) => fetched,
                Err(failure) => Err(ChainError::Unavailable(format!("fetching stopped: {failure}"))),
            };
            match fetched {
                Ok(range) => {
                    self.failures = 0;
                    size.served(blocks, range.len());
                    return Some(Ok(range));
                }
                Err(ChainError::Unavailable(reason)) if blocks > 1 && self.failures < SMALLER => {
                    tracing::debug!(from, blocks, reason, "range failed, asking for less");
                    self.failures += 1;
                    size.failed();
                    self.under_way.clear();
                    self.next = from;
                }
                Err(error) => return Some(Err(error.into())),
            }
        }
    }

    fn start(&mut self, size: &RangeSize) {
        while self.under_way.len() < size.ahead(self.prefetch) && self.next <= self.target {
            let (from, to) = (self.next, self.target.min(self.next + size.blocks() - 1));
            self.next = to + 1;
            let source = self.source.clone();
            // A task of its own: decoding uses another core than folding.
            let task = AbortOnDropHandle::new(tokio::spawn(async move { settled(&source, from, to).await }));
            self.under_way.push_back(Fetch { from, blocks: to - from + 1, task });
        }
    }
}

/// A range that cannot be replaced any more.
async fn settled(source: &Source, from: u64, to: u64) -> Result<Range, ChainError> {
    let chain = &source.chain;
    let (events, market, end) =
        futures::try_join!(chain.events(from, to), source.market_events(from, to), chain.block(to))?;
    let end = end.ok_or_else(|| ChainError::Unavailable(format!("the RPC does not have block {to} yet")))?;
    Ok(Range { end, blocks: Vec::new(), events, market })
}

/// A range that may still be replaced, with its headers; `None` when it was replaced while it was fetched, or does not follow
/// `parent`: look again.
///
/// Headers come first: then a block that is replaced in between leaves a stored hash that is not the chain's any more, which
/// the next look finds. The other way round, new headers could stand over old events.
pub(super) async fn unsettled(
    source: &Source,
    parent: &BlockRefHash,
    from: u64,
    to: u64,
    size: &mut RangeSize,
) -> Result<Option<Range>, ChainError> {
    let blocks: Vec<Option<BlockRef>> =
        stream::iter(from..=to).map(|number| source.chain.block(number)).buffered(HEADERS).try_collect().await?;
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
    let (events, market) = match futures::try_join!(source.chain.events(from, to), source.market_events(from, to)) {
        Ok(both) => both,
        Err(error) => {
            size.failed();
            return Err(error);
        }
    };
    let stands = |meta: &EventMeta| {
        let index = meta.block_number.checked_sub(from).and_then(|i| usize::try_from(i).ok());
        index.and_then(|i| blocks.get(i)).is_some_and(|block| block.hash == meta.block_hash)
    };
    let in_place =
        events.iter().all(|event| stands(&event.meta)) && market.iter().flatten().all(|event| stands(&event.meta));
    let range = Range { end, blocks, events, market };
    size.served(to - from + 1, range.len());
    Ok(in_place.then_some(range))
}

/// Hash of the block a range must follow.
pub(super) type BlockRefHash = compute_futures_protocol::B256;

#[cfg(test)]
mod tests {
    use super::*;

    fn size() -> RangeSize {
        RangeSize::new(&FollowConfig::default())
    }

    #[test]
    fn ranges_grow_with_what_came_back_and_shrink_at_once() {
        let mut size = size();
        assert_eq!((size.blocks(), size.ahead(4)), (16, 1));
        size.served(16, 0);
        assert_eq!((size.blocks(), size.ahead(4)), (32, 4));
        // News of a smaller range say nothing about the present size.
        size.served(16, 0);
        assert_eq!(size.blocks(), 32);
        size.served(32, 10);
        assert_eq!(size.blocks(), 64);
        // 64 blocks held 64,000 events, 5,000 are wanted.
        size.served(64, 64_000);
        assert_eq!(size.blocks(), 5);
        size.served(5, 1_000_000);
        assert_eq!(size.blocks(), 1);
        for _ in 0..30 {
            let blocks = size.blocks();
            size.served(blocks, 0);
        }
        assert_eq!(size.blocks(), FollowConfig::default().max_range_blocks);
    }

    #[test]
    fn a_failure_means_less_and_one_at_a_time() {
        let mut size = size();
        size.served(16, 0);
        size.failed();
        assert_eq!((size.blocks(), size.ahead(4)), (8, 1));
        size.failed();
        size.failed();
        assert_eq!(size.blocks(), 1);
    }
}
