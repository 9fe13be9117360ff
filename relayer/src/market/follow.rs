//! Follows ProviderRegistry and ComputeEscrow: rows and cursor move in one transaction, and blocks that leave the chain take what they
//! said along. As [`crate::follow`] does with ComputeFutures, with a cursor of its own: the marketplace may be switched on later.

use std::sync::Arc;

use compute_futures_chain::market::MarketReader;
use compute_futures_chain::{BlockRef, ChainReader, Heads};
use compute_futures_protocol::{Address, B256};
use sqlx::AnyConnection;

use super::project;
use crate::follow::{FollowConfig, FollowError, Step, View};
use crate::ledger::sql::{Columns, int};
use crate::ledger::{Ledger, LedgerError};
use crate::settlement::outbox;

/// Follows one marketplace into one ledger.
pub(crate) struct Follower {
    pub(crate) ledger: Ledger,
    pub(crate) chain: Arc<dyn ChainReader>,
    pub(crate) market: Arc<dyn MarketReader>,
    pub(crate) meter: Address,
    pub(crate) config: FollowConfig,
}

/// Where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) number: u64,
    pub(crate) hash: B256,
    /// Its time, unix seconds.
    pub(crate) timestamp: u64,
}

/// The follower's cursor; `None` before the first block.
pub(crate) async fn cursor(connection: &mut AnyConnection) -> Result<Option<Cursor>, LedgerError> {
    let row = sqlx::query("SELECT block_number, block_hash, block_timestamp FROM market_cursor")
        .fetch_optional(connection)
        .await?;
    row.map(|row| {
        let mut columns = Columns::of(&row);
        Ok(Cursor { number: columns.int()?, hash: columns.hash()?, timestamp: columns.int()? })
    })
    .transpose()
}

/// Newest block whose events are in the ledger.
pub(crate) async fn followed(connection: &mut AnyConnection) -> Result<u64, LedgerError> {
    Ok(cursor(connection).await?.map_or(0, |cursor| cursor.number))
}

impl Follower {
    /// Refuses another marketplace than the one this ledger has followed: its sessions would be mixed up with the first one's.
    pub(crate) async fn check(&self) -> Result<(), LedgerError> {
        let row = sqlx::query("SELECT contract FROM market_cursor").fetch_optional(&self.ledger.db.pool).await?;
        match row.map(|row| Columns::of(&row).address()).transpose()? {
            Some(contract) if contract != self.market.escrow_contract() => Err(LedgerError::Config(format!(
                "this ledger belongs to the marketplace at {contract}, not {}; set market_escrow to that, or use another ledger",
                self.market.escrow_contract()
            ))),
            _ => Ok(()),
        }
    }

    /// Looks at the chain once and takes one range of blocks, or undoes one reorg.
    pub(crate) async fn step(&self) -> Result<Step, FollowError> {
        let view = View::now(&*self.chain).await?;
        let heads = view.heads;
        let cursor = cursor(&mut *self.ledger.db.pool.acquire().await?).await?;
        let from = match &cursor {
            None => self.market.deployment_block(),
            Some(cursor) if !view.stands(cursor.number, cursor.hash).await? => {
                let to = self.roll_back(&view).await?;
                return Ok(Step::RolledBack { to });
            }
            Some(cursor) => cursor.number + 1,
        };
        if from > heads.latest.number {
            return Ok(Step::Idle);
        }
        let to = heads.latest.number.min(from + self.config.range - 1);
        let Some(block) = view.block(to).await? else { return Ok(Step::Idle) };
        let events = self.market.events(from, to).await?;
        let stood = cursor.map(|cursor| (cursor.number, cursor.hash));
        if !view.is_one_chain(stood, &block, events.iter().map(|event| &event.meta)).await? {
            tracing::debug!(to, "the chain changed while the marketplace's events were read; reading them again");
            return Ok(Step::Idle);
        }
        let count = events.len();
        let mut tx = self.ledger.db.begin_write().await?;
        let ours = outbox::market_transactions(tx.connection()).await?;
        let touched = project::store(tx.connection(), self.meter, &events, &ours).await?;
        project::project(tx.connection(), touched).await?;
        outbox::confirm_market(tx.connection(), &events).await?;
        self.set_cursor(tx.connection(), &block).await?;
        self.forget_old(tx.connection(), &heads).await?;
        tx.commit().await?;
        metrics::gauge!("relayer_market_followed_block", "network" => self.ledger.network())
            .set(crate::follow::approximate(to));
        Ok(Step::Advanced { to, events: count, caught_up: to == heads.latest.number })
    }

    /// Finds the newest checkpoint that still stands and undoes everything above it.
    async fn roll_back(&self, view: &View<'_>) -> Result<Option<u64>, FollowError> {
        let rows = sqlx::query("SELECT number, hash FROM market_blocks ORDER BY number DESC")
            .fetch_all(&self.ledger.db.pool)
            .await?;
        let checkpoints: Vec<(u64, B256)> = rows
            .iter()
            .map(|row| {
                let mut columns = Columns::of(row);
                Ok((columns.int()?, columns.hash()?))
            })
            .collect::<Result<_, LedgerError>>()?;
        let standing = view.newest_standing(&checkpoints).await?;
        tracing::warn!(to = ?standing.map(|block| block.number), "blocks left the chain; undoing what they said of the marketplace");
        let above = standing.map_or(-1, |block| int(block.number));
        let mut tx = self.ledger.db.begin_write().await?;
        let touched = project::touched_above(tx.connection(), above).await?;
        for statement in
            ["DELETE FROM market_events WHERE block_number > $1", "DELETE FROM market_blocks WHERE number > $1"]
        {
            sqlx::query(statement).bind(above).execute(tx.connection()).await?;
        }
        project::project(tx.connection(), touched).await?;
        outbox::unconfirm_market(tx.connection(), above).await?;
        match &standing {
            Some(block) => self.set_cursor(tx.connection(), block).await?,
            None => {
                sqlx::query("DELETE FROM market_cursor").execute(tx.connection()).await?;
            }
        }
        tx.commit().await?;
        Ok(standing.map(|block| block.number))
    }

    async fn set_cursor(&self, connection: &mut AnyConnection, block: &BlockRef) -> Result<(), LedgerError> {
        sqlx::query(
            "INSERT INTO market_cursor (id, contract, block_number, block_hash, block_timestamp) VALUES (1, $1, $2, $3, $4) \
             ON CONFLICT (id) DO UPDATE SET contract = excluded.contract, block_number = excluded.block_number, \
             block_hash = excluded.block_hash, block_timestamp = excluded.block_timestamp",
        )
        .bind(self.market.escrow_contract().to_vec())
        .bind(int(block.number))
        .bind(block.hash.to_vec())
        .bind(int(block.timestamp))
        .execute(&mut *connection)
        .await?;
        sqlx::query(
            "INSERT INTO market_blocks (number, hash) VALUES ($1, $2) ON CONFLICT (number) DO UPDATE SET hash = excluded.hash",
        )
        .bind(int(block.number))
        .bind(block.hash.to_vec())
        .execute(connection)
        .await?;
        Ok(())
    }

    /// Drops checkpoints far below the finalized block; the newest of them stays as the last resort.
    async fn forget_old(&self, connection: &mut AnyConnection, heads: &Heads) -> Result<(), LedgerError> {
        sqlx::query(
            "DELETE FROM market_blocks WHERE number < (SELECT MAX(number) FROM market_blocks WHERE number <= $1)",
        )
        .bind(int(heads.finalized.saturating_sub(self.config.window)))
        .execute(connection)
        .await?;
        Ok(())
    }
}
