//! I-1 of the marketplace, checked from outside: what the vault holds against what it owes, at one block.

use compute_futures_chain::{ChainError, ChainReader, market::MarketReader};

use super::Deployment;
use crate::{
    error::Result,
    follow::{Feed, Progress},
    project::Position,
    store::{Row, Store, Tx},
};

/// The newest check. Amounts in micro-USDC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarketSolvency {
    /// At the end of this block.
    pub block_number: u64,
    /// Tokens the vault holds.
    pub balance: u64,
    /// Σ unreserved.
    pub unreserved: u64,
    /// Σ reserved.
    pub reserved: u64,
    /// Σ unwithdrawn earnings.
    pub earnings: u64,
    /// Unix seconds.
    pub checked_at: u64,
}

impl MarketSolvency {
    /// Whether the promise holds.
    #[must_use]
    pub fn solvent(&self) -> bool {
        let owed = self.unreserved.checked_add(self.reserved).and_then(|sum| sum.checked_add(self.earnings));
        owed.is_some_and(|owed| self.balance >= owed)
    }

    /// The newest check; `None` before the first.
    pub async fn load(tx: &mut Tx) -> Result<Option<Self>> {
        let row = tx.first("SELECT * FROM market_solvency ORDER BY position DESC LIMIT 1", &[]).await?;
        row.as_ref().map(Self::read).transpose()
    }

    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            block_number: Position::from_u64(row.u64("position")?).block(),
            balance: row.u64("balance")?,
            unreserved: row.u64("unreserved")?,
            reserved: row.u64("reserved")?,
            earnings: row.u64("earnings")?,
            checked_at: row.u64("checked_at")?,
        })
    }
}

const OWED: &str = "SELECT
    (SELECT CAST(COALESCE(SUM(unreserved), 0) AS BIGINT) FROM market_escrows) AS unreserved,
    (SELECT CAST(COALESCE(SUM(reserved), 0) AS BIGINT) FROM market_escrows) AS reserved,
    (SELECT CAST(COALESCE(SUM(earned) - SUM(withdrawn), 0) AS BIGINT) FROM market_providers) AS earnings";

/// Compares at the block the projection stands at, stores the outcome, and a discrepancy when the promise does not hold.
pub(crate) async fn check(
    store: &Store,
    chain: &dyn ChainReader,
    market: &dyn MarketReader,
    progress: &Progress,
    feed: &Feed,
) -> Result<()> {
    if progress.block_number < market.deployment_block() {
        return Ok(());
    }
    let balance = match chain.token_balance(market.vault(), Some(progress.block_number)).await {
        Ok(balance) => balance.micros(),
        // The block was replaced, or the node keeps no state that old: the next look decides.
        Err(error @ (ChainError::Reverted { .. } | ChainError::Inconsistent(_) | ChainError::Rejected(_))) => {
            tracing::warn!(%error, block = progress.block_number, "solvency of the marketplace not checked: no token balance at this block");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let checked_at = u64::try_from(time::OffsetDateTime::now_utc().unix_timestamp()).unwrap_or_default();
    let mut tx = store.begin().await?;
    let moved = Progress::load_in(&mut tx).await?.is_none_or(|now| now.block_hash != progress.block_hash);
    let level = Deployment::load(&mut tx).await?.is_some_and(|market| market.projected_to >= progress.block_number);
    if moved || !level {
        return Ok(());
    }
    let Some(owed) = tx.first(OWED, &[]).await? else { return Ok(()) };
    let (unreserved, reserved, earnings) = (owed.u64("unreserved")?, owed.u64("reserved")?, owed.u64("earnings")?);
    let found =
        MarketSolvency { block_number: progress.block_number, balance, unreserved, reserved, earnings, checked_at };
    let position = Position::start_of(progress.block_number);
    tx.execute("DELETE FROM market_solvency", &[]).await?;
    tx.execute(
        "INSERT INTO market_solvency (position, balance, unreserved, reserved, earnings, checked_at) VALUES ($1, $2, $3, $4, $5, $6)",
        &[position.into(), balance.into(), unreserved.into(), reserved.into(), earnings.into(), checked_at.into()],
    )
    .await?;
    if !found.solvent() {
        let detail = format!(
            "the vault holds {balance} micro-USDC, and owes {unreserved} unreserved, {reserved} reserved and {earnings} of earnings (I-1)"
        );
        tracing::error!(block = progress.block_number, detail, "the marketplace is insolvent");
        tx.execute(
            "INSERT INTO market_discrepancies (position, code, escrow_id, session_id, provider_id, detail)
             VALUES ($1, 'market_insolvent', NULL, NULL, NULL, $2) ON CONFLICT (position, code) DO NOTHING",
            &[position.into(), detail.into()],
        )
        .await?;
    }
    tx.commit().await?;
    feed.gauge("indexer_market_solvent", u64::from(found.solvent()));
    feed.gauge("indexer_market_balance_micro_usdc", balance);
    feed.gauge("indexer_market_reserved_micro_usdc", reserved);
    feed.gauge("indexer_market_unreserved_micro_usdc", unreserved);
    feed.gauge("indexer_market_earnings_micro_usdc", earnings);
    Ok(())
}
