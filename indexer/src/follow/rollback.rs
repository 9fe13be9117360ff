//! The chain replaced blocks: find the last one both sides agree on, and go back there exactly (ADR 008).

use std::collections::HashMap;

use compute_futures_chain::ChainReader;
use compute_futures_protocol::AccountId;

use super::Progress;
use crate::{
    error::{IndexerError, Result},
    failpoint::failpoint,
    market,
    project::{self, AccountRow, OperatorRow, Position, ROLLED_BACK, UndoKind},
    store::{Store, Tx},
};

/// The newest stored block that is still part of the chain.
///
/// # Errors
/// [`IndexerError::DeepReorg`] when none of the stored ones is, down to `floor`.
pub async fn common_ancestor(store: &Store, reader: &dyn ChainReader, progress: &Progress, floor: u64) -> Result<u64> {
    let stored = store
        .all(
            "SELECT number, hash FROM blocks WHERE number >= $1 AND number <= $2 ORDER BY number DESC",
            &[floor.into(), progress.block_number.into()],
        )
        .await?;
    for row in stored {
        let (number, hash) = (row.u64("number")?, row.b256("hash")?);
        if reader.block(number).await?.is_some_and(|block| block.hash == hash) {
            return Ok(number);
        }
    }
    Err(IndexerError::DeepReorg { block: floor, window: progress.block_number.saturating_sub(floor) })
}

/// Makes the database what it was when `to` was its newest block; answers the new progress and the accounts that changed back.
pub async fn roll_back(store: &Store, progress: &Progress, to: u64) -> Result<(Progress, Vec<AccountId>)> {
    let mut tx = store.begin().await?;
    let block = tx
        .first("SELECT hash, timestamp FROM blocks WHERE number = $1", &[to.into()])
        .await?
        .ok_or_else(|| IndexerError::Corrupt(format!("block {to} is not stored")))?;
    let next = Progress {
        block_number: to,
        block_hash: block.b256("hash")?,
        block_time: block.u64("timestamp")?,
        reorgs: progress.reorgs + 1,
        ..*progress
    };
    progress.advance(&mut tx, &next).await?;

    let accounts = restore(&mut tx, to).await?;
    let from = Position::start_of(to + 1);
    for statement in ROLLED_BACK {
        tx.execute(statement, &[from.into()]).await?;
    }
    market::roll_back(&mut tx, to).await?;
    tx.execute("DELETE FROM undo WHERE block_number > $1", &[to.into()]).await?;
    tx.execute("DELETE FROM blocks WHERE number > $1", &[to.into()]).await?;
    failpoint!("indexer::mid_rollback");
    tx.commit().await?;
    Ok((next, accounts))
}

/// Puts back what each account and operator was before the first block above `to` that touched it.
async fn restore(tx: &mut Tx, to: u64) -> Result<Vec<AccountId>> {
    let undo = tx
        .all("SELECT kind, id, prior FROM undo WHERE block_number > $1 ORDER BY block_number DESC", &[to.into()])
        .await?;
    // Newest first, so that the oldest one, which is what was there at `to`, is the one that stays.
    let mut accounts: HashMap<u64, Option<AccountRow>> = HashMap::new();
    let mut operators: HashMap<u64, Option<OperatorRow>> = HashMap::new();
    for row in undo {
        let (kind, id, prior) = (row.u64("kind")?, row.u64("id")?, row.opt_text("prior")?);
        if kind == UndoKind::Account as u64 {
            accounts.insert(id, prior.as_deref().map(AccountRow::from_undo).transpose()?);
        } else {
            operators.insert(id, prior.as_deref().map(OperatorRow::from_undo).transpose()?);
        }
    }
    for id in accounts.iter().filter(|(_, prior)| prior.is_none()).map(|(id, _)| *id) {
        tx.execute("DELETE FROM accounts WHERE id = $1", &[id.into()]).await?;
    }
    for id in operators.iter().filter(|(_, prior)| prior.is_none()).map(|(id, _)| *id) {
        tx.execute("DELETE FROM operators WHERE id = $1", &[id.into()]).await?;
    }
    let changed = accounts.keys().filter_map(|id| AccountId::try_from(*id).ok()).collect();
    for bulk in project::restored(accounts.into_values().flatten(), operators.into_values().flatten()) {
        tx.insert(bulk).await?;
    }
    Ok(changed)
}
