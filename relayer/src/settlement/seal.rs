//! From an open batch to one that can be posted: close it, fix its rows and root, queue it.
//!
//! Closing opens the next batch in the same transaction, so charging never stops. At most one batch is under way while the next
//! is open: that is what the contract's discount floor counts on (ADR 002).

use compute_futures_chain::{Action, DebitRow};
use compute_futures_protocol::{AccountId, B256, Bytes, ReceiptTree, Usdc};
use sqlx::AnyConnection;

use super::outbox;
use super::purpose::Purpose;
use crate::ledger::account;
use crate::ledger::receipts::{self, Issued};
use crate::ledger::sql::{Columns, Rows, int, micros};
use crate::ledger::{Ledger, LedgerError, now_ms};

/// A batch as the batcher sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenBatch {
    pub(crate) number: u64,
    pub(crate) receipts: u64,
    pub(crate) rows: u64,
    pub(crate) charged: Usdc,
    pub(crate) first_receipt_ms: Option<u64>,
}

/// The batch that takes receipts now.
pub(crate) async fn open(connection: &mut AnyConnection) -> Result<OpenBatch, LedgerError> {
    let row =
        sqlx::query("SELECT number, receipts, debit_rows, charged, first_receipt_ms FROM batches WHERE state = 'open'")
            .fetch_optional(connection)
            .await?
            .ok_or_else(|| LedgerError::Corrupt("there is no open batch".into()))?;
    let mut columns = Columns::of(&row);
    Ok(OpenBatch {
        number: columns.int()?,
        receipts: columns.int()?,
        rows: columns.int()?,
        charged: columns.usdc()?,
        first_receipt_ms: columns.optional_int()?,
    })
}

/// The batch under way, if there is one, and whether it is sealed.
pub(crate) async fn under_way(connection: &mut AnyConnection) -> Result<Option<(u64, bool)>, LedgerError> {
    let row =
        sqlx::query("SELECT number, state FROM batches WHERE state IN ('closed', 'sealed') ORDER BY number LIMIT 1")
            .fetch_optional(connection)
            .await?;
    row.map(|row| {
        let mut columns = Columns::of(&row);
        Ok((columns.int()?, columns.text()? == "sealed"))
    })
    .transpose()
}

/// Closes the open batch and opens the next.
pub(crate) async fn close(ledger: &Ledger, number: u64) -> Result<(), LedgerError> {
    let mut tx = ledger.db.begin_write().await?;
    let closed =
        sqlx::query("UPDATE batches SET state = 'closed', sealed_ms = $2 WHERE number = $1 AND state = 'open'")
            .bind(int(number))
            .bind(int(now_ms()))
            .execute(tx.connection())
            .await?;
    if closed.rows_affected() != 1 {
        return Err(LedgerError::Corrupt(format!("batch {number} was closed by somebody else")));
    }
    sqlx::query("INSERT INTO batches (number, state, receipts, debit_rows, charged) VALUES ($1, 'open', 0, 0, 0)")
        .bind(int(number + 1))
        .execute(tx.connection())
        .await?;
    tx.commit().await?;
    crate::failpoint!("batch::after_close");
    ledger.context.progress.record(number + 1, 0, 0);
    Ok(())
}

/// A row to post: receipts of one account, one rate, in sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    account: AccountId,
    first_sequence: u64,
    receipts: u64,
    discount_bps: u16,
    list_amount: Usdc,
    charged: Usdc,
    remainder: u16,
}

/// Rows of a batch: each run of receipts of an account at one rate. `receipts` by account and sequence.
pub(crate) fn rows_of(receipts: &[Issued]) -> Result<Vec<Row>, LedgerError> {
    let mut rows: Vec<Row> = Vec::new();
    for issued in receipts {
        let receipt = &issued.receipt;
        let beyond = || LedgerError::Corrupt(format!("a batch charges account {} more than fits", receipt.account_id));
        match rows.last_mut() {
            Some(row) if row.account == receipt.account_id && row.discount_bps == receipt.discount_bps => {
                row.receipts += 1;
                row.list_amount = row.list_amount.checked_add(receipt.list_amount).ok_or_else(beyond)?;
                row.charged = row.charged.checked_add(receipt.charged).ok_or_else(beyond)?;
                row.remainder = issued.remainder;
            }
            _ => rows.push(Row {
                account: receipt.account_id,
                first_sequence: receipt.sequence,
                receipts: 1,
                discount_bps: receipt.discount_bps,
                list_amount: receipt.list_amount,
                charged: receipt.charged,
                remainder: issued.remainder,
            }),
        }
    }
    Ok(rows)
}

static INSERT_ROWS: Rows = Rows::values(
    "INSERT INTO batch_rows (batch_number, position, account, first_sequence, receipts, discount_bps, list_amount, charged, \
     remainder) VALUES ",
    9,
    "",
);

/// Fixes rows and root of a closed batch and queues it, behind the ceilings it needs. Runs again after a crash: a closed batch
/// takes no receipts, so the outcome is the same.
pub(crate) async fn seal(ledger: &Ledger, number: u64) -> Result<(), LedgerError> {
    let found = ledger.db.read_many(receipts::SELECT_BATCH, number).await?;
    let receipts = found.iter().map(receipts::read).collect::<Result<Vec<_>, _>>()?;
    let domain = ledger.identity().domain;
    let (receipts, root) = tokio::task::spawn_blocking(move || {
        let hashes: Vec<B256> = receipts.iter().map(|issued| issued.receipt.digest(&domain)).collect();
        let root = ReceiptTree::new(&hashes).map(|tree| tree.root());
        (receipts, root)
    })
    .await
    .map_err(|error| LedgerError::Unavailable(error.to_string()))?;
    let root = root.map_err(|_| LedgerError::Corrupt(format!("batch {number} was closed without receipts")))?;
    let receipt_count = u32::try_from(receipts.len())
        .map_err(|_| LedgerError::Corrupt(format!("batch {number} has more receipts than the contract counts")))?;

    let mut tx = ledger.db.begin_write().await?;
    let mut rows = rows_of(&receipts)?;
    let ids: std::collections::BTreeSet<AccountId> = rows.iter().map(|row| row.account).collect();
    let accounts = crate::follow::lock_accounts(&mut tx, &ids).await?;
    // Receipts of an owner whose account a reorg gave to somebody else stay published, but nobody is charged for them.
    rows.retain(|row| accounts.get(&row.account).is_some_and(|account| !account.void));
    sqlx::query("UPDATE accounts SET written_off = written_off + (total_charged - settled), settled = total_charged WHERE void = 1")
        .execute(tx.connection())
        .await?;

    let positions: Vec<(u64, Row)> = (0..).zip(rows).collect();
    INSERT_ROWS
        .insert(tx.connection(), &positions, |(position, row)| {
            [
                number.into(),
                (*position).into(),
                row.account.get().into(),
                row.first_sequence.into(),
                row.receipts.into(),
                row.discount_bps.into(),
                row.list_amount.into(),
                row.charged.into(),
                row.remainder.into(),
            ]
        })
        .await?;
    for account in accounts.values() {
        let charged: u64 =
            positions.iter().filter(|(_, row)| row.account == account.id).map(|(_, row)| row.charged.micros()).sum();
        relay_ceiling(tx.connection(), account, account.chain_charged.micros() + charged).await?;
    }
    let debits = positions
        .iter()
        .map(|(_, row)| DebitRow { account: row.account, list_amount: row.list_amount, discount_bps: row.discount_bps })
        .collect();
    let action = Action::PostDebits { batch_number: number, receipts_root: root, receipt_count, rows: debits };
    outbox::enqueue(tx.connection(), &Purpose::batch(number), &action, &format!("batch:{number}")).await?;
    sqlx::query("UPDATE batches SET state = 'sealed', root = $2 WHERE number = $1 AND state = 'closed'")
        .bind(int(number))
        .bind(root.to_vec())
        .execute(tx.connection())
        .await?;
    tx.commit().await?;
    tracing::info!(batch = number, receipts = receipt_count, rows = positions.len(), %root, "batch sealed");
    metrics::counter!("relayer_batches_total", "network" => ledger.network(), "outcome" => "sealed").increment(1);
    crate::failpoint!("batch::after_seal");
    Ok(())
}

/// Queues the signed ceiling of an account when the batch takes it above the one on chain (I-2).
async fn relay_ceiling(
    connection: &mut AnyConnection,
    account: &account::Account,
    charged_after: u64,
) -> Result<(), LedgerError> {
    if charged_after <= account.chain_ceiling.micros() {
        return Ok(());
    }
    let row = sqlx::query("SELECT ceiling, signature FROM ceilings WHERE account = $1 AND ceiling > $2")
        .bind(int(account.id.get()))
        .bind(micros(account.chain_ceiling))
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else {
        tracing::error!(account = %account.id, "a batch charges beyond the ceiling and no higher one is signed");
        return Ok(());
    };
    let mut columns = Columns::of(&row);
    let (ceiling, signature) = (columns.usdc()?, Bytes::from(columns.bytes()?.into_owned()));
    let action = Action::RaiseCeilingWithSignature { account: account.id, ceiling, signature };
    let subject = format!("ceiling:{}", account.id);
    outbox::enqueue(connection, &Purpose::ceiling(account.id, ceiling), &action, &subject).await
}

/// The contract refused a signed ceiling (its signer is no longer the delegate, say): it counts no more.
pub(crate) async fn ceiling_refused(
    connection: &mut AnyConnection,
    account: AccountId,
    ceiling: Usdc,
) -> Result<(), LedgerError> {
    sqlx::query("UPDATE accounts SET signed_ceiling = 0 WHERE id = $1 AND signed_ceiling = $2")
        .bind(int(account.get()))
        .bind(micros(ceiling))
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM ceilings WHERE account = $1 AND ceiling = $2")
        .bind(int(account.get()))
        .bind(micros(ceiling))
        .execute(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use compute_futures_protocol::{Receipt, Signature};

    use super::*;

    fn issued(account: u32, sequence: u64, bps: u16, list: u64, charged: u64, remainder: u16) -> Issued {
        Issued {
            receipt: Receipt {
                account_id: AccountId::new(1, account).unwrap(),
                batch_number: 1,
                sequence,
                job_id: B256::ZERO,
                authorization_hash: B256::ZERO,
                request_hash: B256::ZERO,
                output_hash: B256::ZERO,
                list_amount: Usdc::from_micros(list),
                discount_bps: bps,
                charged: Usdc::from_micros(charged),
                issued_at: 0,
            },
            signature: Signature::from([0; 65]),
            key: B256::ZERO,
            remainder,
            kind: String::new(),
            model: String::new(),
            authorization: String::new(),
            usage: String::new(),
            answer: None,
        }
    }

    #[test]
    fn a_row_is_a_run_of_one_rate() {
        let receipts = [
            issued(1, 1, 500, 10, 9, 5000),
            issued(1, 2, 500, 10, 10, 0),
            issued(1, 3, 1000, 10, 9, 0),
            issued(1, 4, 500, 10, 9, 5000),
            issued(2, 1, 500, 7, 6, 6500),
        ];
        let rows = rows_of(&receipts).unwrap();
        let seen: Vec<_> = rows
            .iter()
            .map(|row| {
                (
                    row.account.sequence(),
                    row.first_sequence,
                    row.receipts,
                    row.list_amount.micros(),
                    row.charged.micros(),
                )
            })
            .collect();
        assert_eq!(seen, [(1, 1, 2, 20, 19), (1, 3, 1, 10, 9), (1, 4, 1, 10, 9), (2, 1, 1, 7, 6)]);
        assert_eq!(rows[0].remainder, 0);
        assert_eq!(rows[3].remainder, 6500);
    }

    #[test]
    fn nothing_makes_no_rows() {
        assert!(rows_of(&[]).unwrap().is_empty());
    }
}
