//! Batches in public: what `GET …/receipts/{operator}/{batch}` answers (I-7).

use compute_futures_protocol::BatchDocument;

use super::db::Db;
use super::receipts;
use super::sql::{Columns, int};
use super::{Context, LedgerError};

/// The document of a batch that takes no more receipts, in order of account and sequence.
pub(crate) async fn read(db: &Db, context: &Context, number: u64) -> Result<Option<BatchDocument>, LedgerError> {
    let Some(row) = sqlx::query("SELECT root FROM batches WHERE number = $1 AND state IN ('sealed', 'confirmed')")
        .bind(int(number))
        .fetch_optional(&db.pool)
        .await?
    else {
        return Ok(None);
    };
    let Some(root) = Columns::of(&row).optional_hash()? else {
        return Ok(None);
    };
    let rows = db.read_many(receipts::SELECT_BATCH, number).await?;
    let mut signed = Vec::with_capacity(rows.len());
    for row in &rows {
        signed.push(receipts::read(row)?.signed(&context.identity.domain)?);
    }
    Ok(Some(BatchDocument {
        operator_index: context.identity.operator_index,
        batch_number: number,
        root,
        receipts: signed,
    }))
}
