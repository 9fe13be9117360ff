//! Following the contract: settled history in prefetched ranges, then the head, block by block, with rollback.

mod commit;
mod fetch;
mod progress;
mod rollback;
mod source;
mod status;

use std::time::{Duration, Instant};

use compute_futures_chain::Heads;
use tokio_util::sync::CancellationToken;

pub(crate) use commit::read_terms;
pub use commit::{Committed, Range, commit};
pub(crate) use fetch::{Prefetch, RangeSize};
pub use progress::{Progress, bind};
pub use rollback::{common_ancestor, roll_back};
pub use source::Source;
pub use status::{Change, Feed, FollowStatus};

use crate::{
    config::Config,
    error::{IndexerError, Result},
    failpoint::failpoint,
    market, solvency,
    store::Store,
};

/// Blocks of the head written in one transaction.
const HEAD_BLOCKS: u64 = 256;
/// Longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Keeps the database up with the chain.
pub struct Follower {
    store: Store,
    source: Source,
    config: Config,
    feed: Feed,
    progress: Progress,
    solvency_due: Instant,
    size: RangeSize,
}

impl Follower {
    /// Binds the database to the deployments, or refuses one that belongs to others.
    pub async fn new(store: Store, source: impl Into<Source>, config: Config, feed: Feed) -> Result<Self> {
        let source = source.into();
        let progress = bind(&store, &*source.chain).await?;
        if let Some(reader) = &source.market {
            market::bind(&store, &**reader).await?;
        }
        let size = RangeSize::new(&config.follow);
        Ok(Self { store, source, config, feed, progress, solvency_due: Instant::now(), size })
    }

    /// Follows until told to stop. What is worth a retry is retried; what is not (a reorg beyond finality, a database changed by
    /// somebody else) stops following and is served in the status.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let poll = Duration::from_millis(self.config.follow.poll_interval_ms);
        let mut failures = 0u32;
        loop {
            let outcome = tokio::select! {
                // A transaction that is dropped half-way rolls back; the next start continues from the last commit.
                () = shutdown.cancelled() => return,
                outcome = self.catch_up() => outcome,
            };
            let pause = match outcome {
                Ok(()) => {
                    failures = 0;
                    self.feed.healthy();
                    poll
                }
                Err(IndexerError::CursorMoved) => match Progress::load(&self.store).await {
                    Ok(Some(progress)) => {
                        self.progress = progress;
                        self.feed.everything_changed(progress);
                        poll
                    }
                    _ => poll,
                },
                Err(
                    error @ (IndexerError::DeepReorg { .. }
                    | IndexerError::Corrupt(_)
                    | IndexerError::OtherDeployment(_)),
                ) => {
                    tracing::error!(%error, "following stopped");
                    self.feed.halted(error.to_string());
                    return shutdown.cancelled().await;
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(%error, failures, "cannot follow, retrying");
                    self.feed.failed(error.to_string());
                    (poll * 2u32.saturating_pow(failures.min(10))).min(LONGEST_PAUSE)
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// From wherever the database stands to the newest block.
    pub async fn catch_up(&mut self) -> Result<()> {
        loop {
            let heads = self.source.chain.heads().await?;
            self.feed.saw(&heads, &self.progress);
            if !self.still_in_chain(&heads).await? {
                self.go_back(&heads).await?;
                continue;
            }
            let floor = self.floor(&heads);
            self.level_market(floor).await?;
            if self.progress.block_number < floor {
                self.backfill(&heads, floor).await?;
                continue;
            }
            if self.progress.block_number >= heads.latest.number {
                return self.check_solvency().await;
            }
            self.follow_head(&heads, floor).await?;
        }
    }

    /// Blocks up to here cannot be replaced; everything above leaves undo rows.
    fn floor(&self, heads: &Heads) -> u64 {
        heads.finalized.max(self.progress.finalized).saturating_sub(self.config.follow.extra_window)
    }

    async fn still_in_chain(&self, heads: &Heads) -> Result<bool> {
        let at = self.progress.block_number;
        if heads.latest.number == at {
            return Ok(heads.latest.hash == self.progress.block_hash);
        }
        if heads.latest.number == at + 1 && heads.latest.parent_hash == self.progress.block_hash {
            return Ok(true);
        }
        if heads.latest.number < at {
            // A node that lags behind the one asked before is no reorg: the block must be gone on a node that has got this far.
            let block = self.source.chain.block(heads.latest.number).await?;
            let stored =
                self.store.first("SELECT hash FROM blocks WHERE number = $1", &[heads.latest.number.into()]).await?;
            return match (block, stored) {
                (Some(block), Some(row)) if row.b256("hash")? == block.hash => {
                    Ok(self.source.chain.block(at).await?.is_none_or(|now| now.hash == self.progress.block_hash))
                }
                _ => Ok(false),
            };
        }
        let deployed = self.source.chain.deployment_block();
        if at < deployed {
            // Nothing is followed yet. Nodes may keep no block that old: the deployment's says what came before it.
            let block = self.source.chain.block(deployed).await?;
            return Ok(block.is_none_or(|block| block.parent_hash == self.progress.block_hash));
        }
        match self.source.chain.block(at).await? {
            Some(block) => Ok(block.hash == self.progress.block_hash),
            None => Ok(true),
        }
    }

    async fn go_back(&mut self, heads: &Heads) -> Result<()> {
        // Only what was kept can be compared: blocks from the floor of the newest commit on.
        let floor = self.progress.finalized.saturating_sub(self.config.follow.extra_window);
        let from = self.progress.block_number;
        let to = common_ancestor(&self.store, &*self.source.chain, &self.progress, floor).await?;
        let (progress, accounts) = roll_back(&self.store, &self.progress, to).await?;
        tracing::warn!(from, to, head = heads.latest.number, "blocks were replaced: rolled back");
        self.feed.count("indexer_reorgs_total", 1);
        self.progress = progress;
        self.feed.changed(progress, accounts, true);
        Ok(())
    }

    async fn backfill(&mut self, heads: &Heads, target: u64) -> Result<()> {
        let from = self.progress.block_number + 1;
        let mut ranges = fetch::Prefetch::new(self.source.clone(), from, target, self.config.follow.prefetch);
        while let Some(range) = ranges.next(&mut self.size).await {
            failpoint!("indexer::after_fetch");
            self.write(range?, heads, target).await?;
        }
        Ok(())
    }

    /// The marketplace may have been configured later than the contract: it catches up first, so that one cursor stands for both.
    async fn level_market(&mut self, floor: u64) -> Result<()> {
        let Some(reader) = &self.source.market else { return Ok(()) };
        let prefetch = self.config.follow.prefetch;
        let caught_up = market::catch_up(&self.store, &**reader, &self.progress, floor, prefetch);
        let (events, discrepancies) = Box::pin(caught_up).await?;
        self.feed.count("indexer_events_total", events);
        self.feed.count("indexer_discrepancies_total", discrepancies);
        self.feed.wrote(events);
        Ok(())
    }

    async fn follow_head(&mut self, heads: &Heads, floor: u64) -> Result<()> {
        let from = self.progress.block_number + 1;
        let to = heads.latest.number.min(from + self.size.blocks().min(HEAD_BLOCKS) - 1);
        match fetch::unsettled(&self.source, &self.progress.block_hash, from, to, &mut self.size).await? {
            Some(range) => self.write(range, heads, floor).await,
            // Replaced while we looked; the next look finds out how far back.
            None => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok(())
            }
        }
    }

    async fn write(&mut self, range: Range, heads: &Heads, floor: u64) -> Result<()> {
        let started = Instant::now();
        let (events, end) = (range.len(), range.end.number);
        let committed = commit(&self.store, &self.progress, range, heads, floor).await?;
        self.feed.count("indexer_events_total", events as u64);
        self.feed.count("indexer_discrepancies_total", committed.discrepancies);
        metrics::histogram!("indexer_commit_seconds", "network" => self.feed.network().caip2())
            .record(started.elapsed());
        tracing::debug!(events, end, elapsed = ?started.elapsed(), "range written");
        self.progress = committed.progress;
        self.feed.wrote(events as u64);
        self.feed.changed(self.progress, committed.accounts, false);
        Ok(())
    }

    async fn check_solvency(&mut self) -> Result<()> {
        if Instant::now() < self.solvency_due {
            return Ok(());
        }
        let chain = &*self.source.chain;
        solvency::check(&self.store, chain, &self.progress, &self.feed).await?;
        if let Some(reader) = &self.source.market {
            market::check_solvency(&self.store, chain, &**reader, &self.progress, &self.feed).await?;
        }
        self.solvency_due = Instant::now() + Duration::from_secs(self.config.solvency.interval_seconds);
        Ok(())
    }
}
