//! Documents and receipts in the database.

use std::collections::HashMap;

use compute_futures_protocol::{BatchDocument, Receipt, Signature, SignedReceipt};

use super::{DocumentState, Due};
use crate::{
    error::{IndexerError, Result},
    project::RECEIPTS,
    store::{Bulk, Row, Store, Tx},
};

/// Documents asked for in one round.
const ROUND: u64 = 32;

/// Documents of an operator that are due.
pub(super) async fn due(store: &Store, operator_index: u32, now: u64) -> Result<Vec<Due>> {
    let rows = store
        .all(
            "SELECT d.position, d.operator_index, d.batch_number, d.attempts, b.receipts_root, o.operator
             FROM documents d JOIN batches b ON b.position = d.position JOIN operators o ON o.id = d.operator_index
             WHERE d.state <> 1 AND d.next_attempt <= $1 AND d.operator_index = $2 ORDER BY d.next_attempt, d.position LIMIT $3",
            &[now.into(), operator_index.into(), ROUND.into()],
        )
        .await?;
    let read = |row: &Row| {
        Ok(Due {
            position: row.u64("position")?,
            operator_index: row.u32("operator_index")?,
            batch_number: row.u64("batch_number")?,
            attempts: row.u64("attempts")?,
            root: row.b256("receipts_root")?,
            operator: row.address("operator")?,
        })
    };
    rows.iter().map(read).collect()
}

/// Writes down that an attempt failed, and when to try again. A batch that was rolled back meanwhile is no row any more.
pub(super) async fn failed(store: &Store, due: &Due, state: DocumentState, reason: &str, next: u64) -> Result<()> {
    let state = if state == DocumentState::Refused { 2u64 } else { 0 };
    let mut tx = store.begin().await?;
    tx.execute(
        "UPDATE documents SET state = $1, attempts = attempts + 1, next_attempt = $2, reason = $3
         WHERE position = $4 AND batch_number = $5 AND state <> 1",
        &[state.into(), next.into(), reason.into(), due.position.into(), due.batch_number.into()],
    )
    .await?;
    tx.commit().await
}

/// Keeps a verified document's receipts, once, unless its batch was rolled back meanwhile. Answers how many discrepancies they
/// made.
pub(super) async fn verified(store: &Store, due: &Due, document: &BatchDocument) -> Result<u64> {
    let mut tx = store.begin().await?;
    let marked = tx
        .execute(
            "UPDATE documents SET state = 1, attempts = attempts + 1, reason = NULL WHERE position = $1 AND state <> 1
             AND EXISTS (SELECT 1 FROM batches WHERE position = $1 AND receipts_root = $2)",
            &[due.position.into(), due.root.into()],
        )
        .await?;
    if marked != 1 {
        return Ok(0);
    }
    let mut bulk = Bulk::new(&RECEIPTS);
    for signed in &document.receipts {
        let receipt = &signed.receipt;
        let authorized_by =
            serde_json::to_string(&signed.authorization).map_err(|e| IndexerError::Corrupt(e.to_string()))?;
        bulk.push([
            signed.receipt_hash.into(),
            due.position.into(),
            receipt.account_id.into(),
            receipt.batch_number.into(),
            receipt.sequence.into(),
            receipt.job_id.into(),
            receipt.authorization_hash.into(),
            receipt.request_hash.into(),
            receipt.output_hash.into(),
            receipt.list_amount.into(),
            receipt.discount_bps.into(),
            receipt.charged.into(),
            receipt.issued_at.into(),
            signed.signature.as_bytes().to_vec().into(),
            authorized_by.into(),
        ]);
    }
    tx.insert(bulk).await?;
    let found = compare(&mut tx, due, document).await?;
    tx.commit().await?;
    Ok(found)
}

/// Stores a discrepancy for every account whose receipts do not add up to what the batch took (charged and not covered).
async fn compare(tx: &mut Tx, due: &Due, document: &BatchDocument) -> Result<u64> {
    let mut found = 0;
    let batch = tx.first("SELECT receipt_count FROM batches WHERE position = $1", &[due.position.into()]).await?;
    let announced = batch.map_or(Ok(0), |row| row.u64("receipt_count"))?;
    if announced != document.receipts.len() as u64 {
        let detail = format!("the batch announces {announced} receipts, {} are published", document.receipts.len());
        report(tx, due, "receipt_count", None, detail).await?;
        found += 1;
    }
    let (low, high) = (u64::from(due.operator_index) << 32, (u64::from(due.operator_index) + 1) << 32);
    let start = due.position >> 20 << 20;
    let rows = tx
        .all(
            "SELECT account_id, CAST(SUM(amount) AS BIGINT) AS amount FROM (
               SELECT account_id, charged AS amount FROM debits
               WHERE position >= $1 AND position < $2 AND batch_number = $3 AND account_id >= $4 AND account_id < $5
               UNION ALL
               SELECT account_id, uncovered AS amount FROM shortfalls
               WHERE position >= $1 AND position < $2 AND batch_number = $3 AND account_id >= $4 AND account_id < $5 AND foreign_to IS NULL
             ) AS r GROUP BY account_id",
            &[start.into(), due.position.into(), due.batch_number.into(), low.into(), high.into()],
        )
        .await?;
    let mut taken: HashMap<u64, u64> = HashMap::new();
    for row in rows {
        taken.insert(row.u64("account_id")?, row.u64("amount")?);
    }
    let mut receipts: HashMap<u64, u64> = HashMap::new();
    for signed in &document.receipts {
        *receipts.entry(signed.receipt.account_id.get()).or_default() += signed.receipt.charged.micros();
    }
    let mut wrong: Vec<u64> = taken.keys().chain(receipts.keys()).copied().collect();
    wrong.sort_unstable();
    wrong.dedup();
    wrong.retain(|account| {
        taken.get(account).copied().unwrap_or_default() != receipts.get(account).copied().unwrap_or_default()
    });
    if let Some(account) = wrong.first() {
        let (on_chain, published) = (taken.get(account).unwrap_or(&0), receipts.get(account).unwrap_or(&0));
        let others = wrong.len() - 1;
        let detail = format!(
            "receipts of account {account} come to {published} micro-USDC, its rows to {on_chain}; {others} more accounts differ (I-7)"
        );
        report(tx, due, "receipts_sum", Some(*account), detail).await?;
        found += 1;
    }
    Ok(found)
}

async fn report(tx: &mut Tx, due: &Due, code: &'static str, account: Option<u64>, detail: String) -> Result<()> {
    tracing::warn!(
        code,
        operator = due.operator_index,
        batch = due.batch_number,
        detail,
        "receipts and chain disagree"
    );
    tx.execute(
        "INSERT INTO discrepancies (position, code, operator_index, account_id, batch_number, detail) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (position, code) DO NOTHING",
        &[due.position.into(), code.into(), due.operator_index.into(), account.into(), due.batch_number.into(), detail.into()],
    )
    .await?;
    Ok(())
}

/// A receipt as it was published.
pub fn signed_receipt(row: &Row) -> Result<SignedReceipt> {
    let authorized_by = row.text("authorized_by")?;
    Ok(SignedReceipt {
        receipt: Receipt {
            account_id: row.account("account_id")?,
            batch_number: row.u64("batch_number")?,
            sequence: row.u64("sequence")?,
            job_id: row.b256("job_id")?,
            authorization_hash: row.b256("authorization_hash")?,
            request_hash: row.b256("request_hash")?,
            output_hash: row.b256("output_hash")?,
            list_amount: row.usdc("list_amount")?,
            discount_bps: row.u16("discount_bps")?,
            charged: row.usdc("charged")?,
            issued_at: row.u64("issued_at")?,
        },
        receipt_hash: row.b256("receipt_hash")?,
        signature: Signature::try_from(row.bytes("signature")?.as_slice())
            .map_err(|e| IndexerError::Corrupt(e.to_string()))?,
        authorization: serde_json::from_str(&authorized_by)
            .map_err(|e| IndexerError::Corrupt(format!("authorization: {e}")))?,
    })
}

/// The document of a batch as it was published, from verified receipts; `None` when they are not (all) here.
pub async fn document(tx: &mut Tx, operator_index: u32, batch_number: u64) -> Result<Option<BatchDocument>> {
    let rows = tx
        .all(
            "SELECT r.*, b.receipts_root FROM batches b JOIN documents d ON d.position = b.position AND d.state = 1
             JOIN receipts r ON r.position = b.position
             WHERE b.operator_index = $1 AND b.batch_number = $2 ORDER BY r.issued_at, r.account_id, r.sequence",
            &[operator_index.into(), batch_number.into()],
        )
        .await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let root = first.b256("receipts_root")?;
    let receipts = rows.iter().map(signed_receipt).collect::<Result<_>>()?;
    Ok(Some(BatchDocument { operator_index, batch_number, root, receipts }))
}
