//! Follows the contract: what the chain says about our operator's accounts, batches and actions is written to the ledger.
//!
//! Rows and cursor move in one transaction, so a restart is always safe. A block that leaves the chain takes its events along:
//! the accounts they touched are projected again from the events that remain ([`reorg`]). Nothing here trusts a transaction's
//! success: only events confirm.

mod apply;
mod confirm;
mod project;
mod reorg;
mod trust;
mod view;

pub(crate) use apply::{lock as lock_accounts, request_flush};
#[cfg(test)]
pub(crate) use project::unopened as project_unopened;
pub(crate) use view::View;

use std::sync::Arc;

use compute_futures_chain::{BlockRef, ChainError, ChainReader, Heads};
use compute_futures_protocol::{B256, TransactionId};

use crate::ledger::sql::{Columns, int};
use crate::ledger::{Ledger, LedgerError};

/// How the follower goes about it.
#[derive(Debug, Clone)]
pub struct FollowConfig {
    /// Most blocks asked for at once; the reader splits further where a provider limits it.
    pub range: u64,
    /// Checkpoints kept below the finalized block; a reorg never gets there.
    pub window: u64,
}

impl Default for FollowConfig {
    fn default() -> Self {
        Self { range: 2_000, window: 64 }
    }
}

/// Why a step did not succeed. All but `UnknownBatch` are worth a retry.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The chain does not answer, or the node contradicts itself.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The ledger does not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Somebody posted a batch in our name that this ledger did not make.
    #[error(
        "batch {number} was posted in transaction {transaction} with receipts root {root}, but this ledger did not make it. \
         Either the ledger is not the latest one: stop, restore its newest backup; or somebody else uses the operator key: \
         stop, close the accounts (their owners get everything unspent), and register a new operator key"
    )]
    UnknownBatch {
        /// Number on chain.
        number: u64,
        /// Root on chain.
        root: B256,
        /// The transaction that posted it.
        transaction: TransactionId,
    },
}

impl From<sqlx::Error> for FollowError {
    fn from(error: sqlx::Error) -> Self {
        Self::Ledger(error.into())
    }
}

/// Where the follower stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Newest block whose events are in the ledger.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// Its time, unix seconds.
    pub timestamp: u64,
    /// Newest safe block when last looked.
    pub safe: u64,
    /// Newest finalized block when last looked.
    pub finalized: u64,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing new.
    Idle,
    /// Events up to this block are in the ledger; `caught_up` when it is the newest.
    Advanced {
        /// The block.
        to: u64,
        /// Events of our operator.
        events: usize,
        /// Whether it is the newest block.
        caught_up: bool,
    },
    /// Blocks above this one left the chain; what they said is undone. `None`: all of them.
    RolledBack {
        /// Newest block that still stands.
        to: Option<u64>,
    },
}

/// Follows one contract into one ledger.
pub struct Follower {
    ledger: Ledger,
    reader: Arc<dyn ChainReader>,
    config: FollowConfig,
}

impl Follower {
    /// A follower that continues where the ledger's cursor stands.
    #[must_use]
    pub fn new(ledger: Ledger, reader: Arc<dyn ChainReader>, config: FollowConfig) -> Self {
        Self { ledger, reader, config }
    }

    /// Looks at the chain once and takes one range of blocks, or undoes one reorg.
    ///
    /// # Errors
    /// See [`FollowError`]; nothing changed then.
    pub async fn step(&self) -> Result<Step, FollowError> {
        let view = View::now(&*self.reader).await?;
        let heads = view.heads;
        let cursor = cursor(&self.ledger).await?;
        let from = match &cursor {
            None => self.reader.deployment_block(),
            Some(cursor) if !view.stands(cursor.number, cursor.hash).await? => {
                let to = self.roll_back(&view).await?;
                return Ok(Step::RolledBack { to });
            }
            Some(cursor) => cursor.number + 1,
        };
        if from > heads.latest.number {
            return match cursor {
                Some(cursor) if (cursor.safe, cursor.finalized) != (heads.safe, heads.finalized) => {
                    apply::heads_moved(&self.ledger, &heads).await?;
                    Ok(Step::Idle)
                }
                _ => Ok(Step::Idle),
            };
        }
        let to = heads.latest.number.min(from + self.config.range - 1);
        let Some(block) = view.block(to).await? else { return Ok(Step::Idle) };
        let events = self.reader.events(from, to).await?;
        let stood = cursor.map(|cursor| (cursor.number, cursor.hash));
        if !view.is_one_chain(stood, &block, events.iter().map(|event| &event.meta)).await? {
            tracing::debug!(to, "the chain changed while its events were read; reading them again");
            return Ok(Step::Idle);
        }
        let ours = self.ledger.identity().operator_index;
        let events: Vec<_> = events.into_iter().filter(|event| event.kind.operator_index() == Some(ours)).collect();
        let count = events.len();
        apply::advance(&self.ledger, &block, &heads, events, self.config.window).await?;
        metrics::gauge!("relayer_followed_block", "network" => self.ledger.network()).set(approximate(to));
        Ok(Step::Advanced { to, events: count, caught_up: to == heads.latest.number })
    }

    /// Finds the newest checkpoint that still stands and undoes everything above it.
    async fn roll_back(&self, view: &View<'_>) -> Result<Option<u64>, FollowError> {
        let standing = view.newest_standing(&reorg::checkpoints(&self.ledger).await?).await?;
        tracing::warn!(to = ?standing.map(|block| block.number), "blocks left the chain; undoing what they said");
        metrics::counter!("relayer_reorgs_total", "network" => self.ledger.network()).increment(1);
        reorg::undo(&self.ledger, standing.as_ref(), &view.heads).await?;
        Ok(standing.map(|block| block.number))
    }
}

/// The follower's cursor; `None` before the first block.
///
/// # Errors
/// When the database fails.
pub async fn cursor(ledger: &Ledger) -> Result<Option<Cursor>, LedgerError> {
    let row = sqlx::query("SELECT block_number, block_hash, block_timestamp, safe, finalized FROM follow_cursor")
        .fetch_optional(&ledger.db.pool)
        .await?;
    row.map(|row| {
        let mut columns = Columns::of(&row);
        Ok(Cursor {
            number: columns.int()?,
            hash: columns.hash()?,
            timestamp: columns.int()?,
            safe: columns.int()?,
            finalized: columns.int()?,
        })
    })
    .transpose()
}

/// Moves the cursor and keeps the block as a checkpoint for reorgs.
async fn set_cursor(connection: &mut sqlx::AnyConnection, block: &BlockRef, heads: &Heads) -> Result<(), LedgerError> {
    sqlx::query(
        "INSERT INTO follow_cursor (id, block_number, block_hash, block_timestamp, safe, finalized) \
         VALUES (1, $1, $2, $3, $4, $5) ON CONFLICT (id) DO UPDATE SET block_number = excluded.block_number, \
         block_hash = excluded.block_hash, block_timestamp = excluded.block_timestamp, safe = excluded.safe, \
         finalized = excluded.finalized",
    )
    .bind(int(block.number))
    .bind(block.hash.to_vec())
    .bind(int(block.timestamp))
    .bind(int(heads.safe))
    .bind(int(heads.finalized))
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO chain_blocks (number, hash) VALUES ($1, $2) ON CONFLICT (number) DO UPDATE SET hash = excluded.hash",
    )
    .bind(int(block.number))
    .bind(block.hash.to_vec())
    .execute(connection)
    .await?;
    Ok(())
}

/// For gauges only: metrics are floating point.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn approximate(value: u64) -> f64 {
    value as f64
}
