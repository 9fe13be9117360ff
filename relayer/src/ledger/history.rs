//! What happened to an account, newest first: its receipts and its events on chain.

use std::collections::HashMap;

use compute_futures_chain::EventKind;
use compute_futures_protocol::{AccountId, TransactionId};

use super::db::Db;
use super::sql::{Columns, from_json, int};
use super::types::{HistoryEntry, HistoryKind};
use super::{Context, LedgerError, receipts};

/// Most entries in one page.
const MOST: u32 = 500;
/// A cursor is the second shifted by this, then a receipt's flag and sequence, or an event's log index.
const SHIFT: u32 = 31;
const RECEIPT: u64 = 1 << 30;
const LOW: u64 = RECEIPT - 1;

/// A page of history before `before`.
pub(crate) async fn read(
    db: &Db,
    context: &Context,
    account: AccountId,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<HistoryEntry>, LedgerError> {
    let limit = limit.clamp(1, MOST);
    let before = before.unwrap_or(u64::MAX >> 1).min(u64::MAX >> 1);
    let mut entries = charges(db, context, account, before, limit).await?;
    entries.append(&mut events(db, account, before, limit).await?);
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.cursor));
    entries.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(entries)
}

async fn charges(
    db: &Db,
    context: &Context,
    account: AccountId,
    before: u64,
    limit: u32,
) -> Result<Vec<HistoryEntry>, LedgerError> {
    // Receipts come after events of the same second, so a cursor at an event leaves that second's receipts behind.
    let second = before >> SHIFT;
    let sequence = if before & RECEIPT == 0 { 0 } else { before & LOW };
    let rows = sqlx::query(receipts::SELECT_HISTORY)
        .bind(int(account.get()))
        .bind(int(second))
        .bind(int(sequence))
        .bind(i64::from(limit))
        .fetch_all(&db.pool)
        .await?;
    let mut confirmed: HashMap<u64, Option<TransactionId>> = HashMap::new();
    let mut entries = Vec::with_capacity(rows.len());
    for row in &rows {
        let issued = receipts::read(row)?;
        let receipt = &issued.receipt;
        let transaction = match confirmed.get(&receipt.batch_number) {
            Some(transaction) => *transaction,
            None => {
                let transaction = posted_in(db, receipt.batch_number).await?;
                confirmed.insert(receipt.batch_number, transaction);
                transaction
            }
        };
        entries.push(HistoryEntry {
            cursor: (receipt.issued_at << SHIFT) | RECEIPT | (receipt.sequence & LOW),
            at: receipt.issued_at,
            kind: HistoryKind::Charge {
                job_id: receipt.job_id,
                kind: issued.kind.clone(),
                model: issued.model.clone(),
                usage: from_json(&issued.usage)?,
                list_amount: receipt.list_amount,
                discount_bps: receipt.discount_bps,
                charged: receipt.charged,
                sequence: receipt.sequence,
                receipt_hash: receipt.digest(&context.identity.domain),
                batch_number: receipt.batch_number,
                transaction,
            },
        });
    }
    Ok(entries)
}

async fn posted_in(db: &Db, batch: u64) -> Result<Option<TransactionId>, LedgerError> {
    let row = sqlx::query("SELECT confirmed_tx FROM batches WHERE number = $1")
        .bind(int(batch))
        .fetch_optional(&db.pool)
        .await?;
    row.map_or(Ok(None), |row| Columns::of(&row).optional_transaction())
}

async fn events(db: &Db, account: AccountId, before: u64, limit: u32) -> Result<Vec<HistoryEntry>, LedgerError> {
    let second = before >> SHIFT;
    let log_index = if before & RECEIPT == 0 { before & LOW } else { LOW };
    let rows = sqlx::query(
        "SELECT block_timestamp, log_index, transaction_hash, event_json FROM chain_events \
         WHERE account = $1 AND (block_timestamp < $2 OR (block_timestamp = $2 AND log_index < $3)) \
         AND kind IN ('deposited', 'ceilingRaised', 'debitShortfall', 'refundRequested', 'refunded') \
         ORDER BY block_number DESC, log_index DESC LIMIT $4",
    )
    .bind(int(account.get()))
    .bind(int(second))
    .bind(int(log_index))
    .bind(i64::from(limit))
    .fetch_all(&db.pool)
    .await?;
    let mut entries = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut columns = Columns::of(row);
        let (at, log_index, transaction) = (columns.int()?, columns.int()?, columns.transaction()?);
        let kind = match columns.json()? {
            EventKind::Deposited { amount, .. } => HistoryKind::Deposit { amount, transaction },
            EventKind::CeilingRaised { ceiling, .. } => HistoryKind::Ceiling { ceiling, transaction },
            EventKind::DebitShortfall { uncovered, batch_number, .. } => {
                HistoryKind::Shortfall { uncovered, batch_number, transaction }
            }
            EventKind::RefundRequested { refundable_at, .. } => {
                HistoryKind::RefundRequested { refundable_at, transaction }
            }
            EventKind::Refunded { amount, .. } => HistoryKind::Refund { amount, transaction },
            _ => continue,
        };
        entries.push(HistoryEntry { cursor: (at << SHIFT) | (log_index & LOW), at, kind });
    }
    Ok(entries)
}
