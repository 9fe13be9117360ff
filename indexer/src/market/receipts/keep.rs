//! Documents and receipts of sessions in the database.

use compute_futures_protocol::{Usdc, market::ProviderContent};

use super::{Due, PublishedReceipt};
use crate::{
    error::{IndexerError, Result},
    market::{MARKET_RECEIPTS, SessionRow},
    receipts::DocumentState,
    store::{Bulk, Store, Tx},
};

/// Documents asked for in one round.
const ROUND: u64 = 32;

/// Documents that are due of sessions whose meter is the operator of this index.
pub(super) async fn due(store: &Store, operator_index: u32, now: u64) -> Result<Vec<Due>> {
    let rows = store
        .all(
            "SELECT d.position, d.attempts, s.* FROM operators o
             JOIN market_documents d ON d.meter = o.operator AND d.state <> 1 AND d.next_attempt <= $1
             JOIN market_sessions s ON s.id = d.session_id
             WHERE o.id = $2 ORDER BY d.next_attempt, d.position LIMIT $3",
            &[now.into(), operator_index.into(), ROUND.into()],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let session = SessionRow::read(row)?;
            Ok(Due { position: row.u64("position")?, attempts: row.u64("attempts")?, session })
        })
        .collect()
}

/// Writes down that an attempt failed, and when to try again. A closing that was rolled back meanwhile is no row any more.
pub(super) async fn failed(store: &Store, due: &Due, state: DocumentState, reason: &str, next: u64) -> Result<()> {
    let state = if state == DocumentState::Refused { 2u64 } else { 0 };
    let mut tx = store.begin().await?;
    tx.execute(
        "UPDATE market_documents SET state = $1, attempts = attempts + 1, next_attempt = $2, reason = $3
         WHERE position = $4 AND session_id = $5 AND state <> 1",
        &[state.into(), next.into(), reason.into(), due.position.into(), due.session.id.into()],
    )
    .await?;
    tx.commit().await
}

/// Keeps a session's verified receipts, once, unless its closing was rolled back meanwhile. Answers how many discrepancies they made.
pub(super) async fn verified(store: &Store, due: &Due, receipts: &[PublishedReceipt]) -> Result<u64> {
    let session = &due.session;
    let mut tx = store.begin().await?;
    let marked = tx
        .execute(
            "UPDATE market_documents SET state = 1, attempts = attempts + 1, reason = NULL WHERE position = $1 AND state <> 1
             AND EXISTS (SELECT 1 FROM market_sessions WHERE id = $2 AND ended_at = $1 AND receipts_root = $3)",
            &[due.position.into(), session.id.into(), session.receipts_root.into()],
        )
        .await?;
    if marked != 1 {
        return Ok(0);
    }
    let mut bulk = Bulk::new(&MARKET_RECEIPTS);
    for published in receipts {
        let receipt = &published.receipt;
        bulk.push([
            published.digest.into(),
            due.position.into(),
            receipt.session_id.into(),
            receipt.sequence.into(),
            session.provider_id.into(),
            receipt.execution_id.into(),
            published.model.as_str().into(),
            receipt.request_hash.into(),
            receipt.output_hash.into(),
            receipt.input_tokens.into(),
            receipt.output_tokens.into(),
            receipt.cost.into(),
            receipt.latency_ms.into(),
            receipt.issued_at.into(),
            published.signature.to_vec().into(),
        ]);
    }
    tx.insert(bulk).await?;
    let found = u64::from(sum(&mut tx, due, receipts).await?) + u64::from(prices(&mut tx, due, receipts).await?);
    tx.commit().await?;
    Ok(found)
}

/// What the receipts come to is what the session cost, with what was signed beyond its limit (I-7).
async fn sum(tx: &mut Tx, due: &Due, receipts: &[PublishedReceipt]) -> Result<bool> {
    let listed: u64 = receipts.iter().map(|published| published.receipt.cost.micros()).sum();
    let signed = due.session.cost.micros() + due.session.uncovered.micros();
    if listed == signed {
        return Ok(false);
    }
    let detail = format!("the receipts come to {listed} micro-USDC, the session was closed at {signed} (I-7)");
    report(tx, due, "session_receipts_sum", detail).await?;
    Ok(true)
}

/// No receipt costs more than its tokens do at the prices that the session was opened at (I-11). Less is fine: the most its agent
/// agreed to may be less.
async fn prices(tx: &mut Tx, due: &Due, receipts: &[PublishedReceipt]) -> Result<bool> {
    let session = &due.session;
    let row = tx
        .first(
            "SELECT content FROM market_contents WHERE provider_id = $1 AND content_hash = $2 ORDER BY version DESC LIMIT 1",
            &[session.provider_id.into(), session.content_hash.into()],
        )
        .await?;
    let text = row.map(|row| row.opt_text("content")).transpose()?.flatten();
    let content: Option<ProviderContent> = text
        .map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|error| IndexerError::Corrupt(format!("content: {error}")))?;
    let priced = |published: &PublishedReceipt| -> Option<Usdc> {
        let (input, output) = (published.receipt.input_tokens, published.receipt.output_tokens);
        content.as_ref()?.cost(&published.model, u64::from(input), u64::from(output))
    };
    let mut above =
        receipts.iter().filter(|published| priced(published).is_none_or(|most| published.receipt.cost > most));
    let Some(first) = above.next() else { return Ok(false) };
    let (others, receipt) = (above.count(), &first.receipt);
    let most = priced(first).map_or("has no price".to_owned(), |most| format!("costs {most} USDC"));
    let detail = format!(
        "receipt {} cost {} USDC, {} with {} input and {} output tokens {most} at the session's prices; {others} more (I-11)",
        receipt.sequence, receipt.cost, first.model, receipt.input_tokens, receipt.output_tokens
    );
    report(tx, due, "session_receipt_price", detail).await?;
    Ok(true)
}

async fn report(tx: &mut Tx, due: &Due, code: &'static str, detail: String) -> Result<()> {
    let session = &due.session;
    tracing::warn!(code, session = %session.id, detail, "receipts of a session and chain disagree");
    tx.execute(
        "INSERT INTO market_discrepancies (position, code, escrow_id, session_id, provider_id, detail)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (position, code) DO NOTHING",
        &[
            due.position.into(),
            code.into(),
            session.id.escrow().into(),
            session.id.into(),
            session.provider_id.into(),
            detail.into(),
        ],
    )
    .await?;
    Ok(())
}
