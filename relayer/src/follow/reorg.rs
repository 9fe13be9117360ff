//! Blocks that leave the chain: what they said is undone, account by account, from the events that remain.

use std::collections::BTreeSet;

use compute_futures_chain::{BlockRef, ChainEvent, EventMeta, Heads};
use compute_futures_protocol::{AccountId, B256, Usdc};
use sqlx::AnyConnection;

use super::{FollowError, apply, project, set_cursor};
use crate::ledger::account::{self, Account};
use crate::ledger::sql::{Columns, int};
use crate::ledger::{Ledger, LedgerError};
use crate::settlement::outbox;

/// Blocks that were the newest one when we looked, newest first.
pub(crate) async fn checkpoints(ledger: &Ledger) -> Result<Vec<(u64, B256)>, LedgerError> {
    let rows =
        sqlx::query("SELECT number, hash FROM chain_blocks ORDER BY number DESC").fetch_all(&ledger.db.pool).await?;
    rows.iter()
        .map(|row| {
            let mut columns = Columns::of(row);
            Ok((columns.int()?, columns.hash()?))
        })
        .collect()
}

/// Drops checkpoints far below the finalized block; the newest of them stays as the last resort.
pub(crate) async fn forget_old(connection: &mut AnyConnection, heads: &Heads, window: u64) -> Result<(), LedgerError> {
    sqlx::query("DELETE FROM chain_blocks WHERE number < (SELECT MAX(number) FROM chain_blocks WHERE number <= $1)")
        .bind(int(heads.finalized.saturating_sub(window)))
        .execute(connection)
        .await?;
    Ok(())
}

/// Undoes everything above `standing` (everything, when there is nothing that stands).
pub(crate) async fn undo(ledger: &Ledger, standing: Option<&BlockRef>, heads: &Heads) -> Result<(), FollowError> {
    // Block numbers are compared with "above": −1 is below the first block.
    let above = standing.map_or(-1, |block| int(block.number));
    let mut tx = ledger.db.begin_write().await?;

    let rows = sqlx::query("SELECT DISTINCT account FROM chain_events WHERE block_number > $1 AND account IS NOT NULL")
        .bind(above)
        .fetch_all(tx.connection())
        .await?;
    let mut ids: BTreeSet<AccountId> =
        rows.iter().map(|row| Columns::of(row).account()).collect::<Result<_, LedgerError>>()?;
    let rows = sqlx::query(
        "SELECT DISTINCT batch_rows.account FROM batch_rows JOIN batches ON batches.number = batch_rows.batch_number \
         WHERE batches.confirmed_block > $1",
    )
    .bind(above)
    .fetch_all(tx.connection())
    .await?;
    for row in &rows {
        ids.insert(Columns::of(row).account()?);
    }
    let mut accounts = apply::lock(&mut tx, &ids).await?;

    for statement in [
        "DELETE FROM chain_events WHERE block_number > $1",
        "DELETE FROM chain_blocks WHERE number > $1",
        "UPDATE batches SET state = 'sealed', confirmed_tx = NULL, confirmed_block = NULL WHERE confirmed_block > $1",
    ] {
        sqlx::query(statement).bind(above).execute(tx.connection()).await?;
    }
    outbox::unconfirm(tx.connection(), above).await?;
    for account in accounts.values_mut() {
        project_again(tx.connection(), account).await?;
        apply::trust(tx.connection(), &ledger.context, account, heads).await?;
        account::store_mirror(tx.connection(), account).await?;
    }
    match standing {
        Some(block) => set_cursor(tx.connection(), block, heads).await?,
        None => {
            sqlx::query("DELETE FROM follow_cursor").execute(tx.connection()).await?;
        }
    }
    Ok(tx.commit().await?)
}

/// The account as the remaining events tell it.
async fn project_again(connection: &mut AnyConnection, account: &mut Account) -> Result<(), LedgerError> {
    let rows = sqlx::query(
        "SELECT block_number, block_hash, block_timestamp, transaction_hash, log_index, event_json FROM chain_events \
         WHERE account = $1 ORDER BY block_number, log_index",
    )
    .bind(int(account.id.get()))
    .fetch_all(&mut *connection)
    .await?;
    project::forget_chain(account);
    for row in &rows {
        let mut columns = Columns::of(row);
        let meta = EventMeta {
            block_number: columns.int()?,
            block_hash: columns.hash()?,
            block_timestamp: columns.int()?,
            transaction: columns.transaction()?,
            log_index: columns.int()?,
        };
        project::apply(account, &ChainEvent { meta, kind: columns.json()? });
    }
    if !account.void {
        account.settled = settled(connection, account.id).await?;
    }
    account.write_off();
    Ok(())
}

/// Σ receipts of the account in batches that are on chain.
async fn settled(connection: &mut AnyConnection, account: AccountId) -> Result<Usdc, LedgerError> {
    let row = sqlx::query(
        "SELECT CAST(COALESCE(SUM(batch_rows.charged), 0) AS BIGINT) FROM batch_rows \
         JOIN batches ON batches.number = batch_rows.batch_number \
         WHERE batch_rows.account = $1 AND batches.state = 'confirmed'",
    )
    .bind(int(account.get()))
    .fetch_one(connection)
    .await?;
    Columns::of(&row).usdc()
}
