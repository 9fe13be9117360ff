//! I-1, checked from outside: what the contract holds against what it owes, at one block.

use compute_futures_chain::{ChainError, ChainReader};

use crate::{
    error::Result,
    follow::{Feed, Progress},
    project::Position,
    store::{Row, Store, Tx},
};

/// The newest check. Amounts in micro-USDC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Solvency {
    /// At the end of this block.
    pub block_number: u64,
    /// Tokens the contract holds.
    pub balance: u64,
    /// Σ unspent credit.
    pub unspent: u64,
    /// Σ unwithdrawn earnings.
    pub earnings: u64,
    /// Unix seconds.
    pub checked_at: u64,
}

impl Solvency {
    /// Whether the promise holds.
    #[must_use]
    pub fn solvent(&self) -> bool {
        self.unspent.checked_add(self.earnings).is_some_and(|owed| self.balance >= owed)
    }

    /// The newest check; `None` before the first.
    pub async fn load(store: &Store) -> Result<Option<Self>> {
        let row = store
            .first(
                "SELECT position, balance, unspent, earnings, checked_at FROM solvency ORDER BY position DESC LIMIT 1",
                &[],
            )
            .await?;
        row.as_ref().map(Self::read).transpose()
    }

    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            block_number: Position::from_u64(row.u64("position")?).block(),
            balance: row.u64("balance")?,
            unspent: row.u64("unspent")?,
            earnings: row.u64("earnings")?,
            checked_at: row.u64("checked_at")?,
        })
    }
}

/// What the contract owes, by the projection.
async fn owed(tx: &mut Tx) -> Result<(u64, u64)> {
    let row = tx
        .first(
            "SELECT CAST(COALESCE(SUM(unspent), 0) AS BIGINT) AS unspent, CAST(COALESCE(SUM(earnings), 0) AS BIGINT) AS earnings FROM operators",
            &[],
        )
        .await?;
    row.map_or(Ok((0, 0)), |row| Ok((row.u64("unspent")?, row.u64("earnings")?)))
}

/// Compares at the block the projection stands at, stores the outcome, and a discrepancy when the promise does not hold.
pub async fn check(
    store: &Store,
    reader: &dyn ChainReader,
    progress: &Progress,
    feed: &Feed,
) -> Result<Option<Solvency>> {
    let balance = match reader.token_balance(reader.contract(), Some(progress.block_number)).await {
        Ok(balance) => balance.micros(),
        // The block was replaced, or the node keeps no state that old: the next look decides.
        Err(error @ (ChainError::Reverted { .. } | ChainError::Inconsistent(_) | ChainError::Rejected(_))) => {
            tracing::warn!(%error, block = progress.block_number, "solvency not checked: the token balance at this block is not to be had");
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let checked_at = u64::try_from(time::OffsetDateTime::now_utc().unix_timestamp()).unwrap_or_default();
    let mut tx = store.begin().await?;
    if Progress::load_in(&mut tx).await?.is_none_or(|now| now.block_hash != progress.block_hash) {
        return Ok(None);
    }
    let (unspent, earnings) = owed(&mut tx).await?;
    let found = Solvency { block_number: progress.block_number, balance, unspent, earnings, checked_at };
    let position = Position::start_of(progress.block_number);
    tx.execute("DELETE FROM solvency", &[]).await?;
    tx.execute(
        "INSERT INTO solvency (position, balance, unspent, earnings, checked_at) VALUES ($1, $2, $3, $4, $5)",
        &[position.into(), balance.into(), unspent.into(), earnings.into(), checked_at.into()],
    )
    .await?;
    if !found.solvent() {
        let detail = format!(
            "the contract holds {balance} micro-USDC, and owes {unspent} of credit and {earnings} of earnings (I-1)"
        );
        tracing::error!(block = progress.block_number, detail, "insolvent");
        tx.execute(
            "INSERT INTO discrepancies (position, code, operator_index, account_id, batch_number, detail)
             VALUES ($1, 'insolvent', NULL, NULL, NULL, $2) ON CONFLICT (position, code) DO NOTHING",
            &[position.into(), detail.into()],
        )
        .await?;
    }
    tx.commit().await?;
    feed.gauge("indexer_solvent", u64::from(found.solvent()));
    feed.gauge("indexer_token_balance_micro_usdc", balance);
    feed.gauge("indexer_unspent_micro_usdc", unspent);
    feed.gauge("indexer_unwithdrawn_micro_usdc", earnings);
    Ok(Some(found))
}
