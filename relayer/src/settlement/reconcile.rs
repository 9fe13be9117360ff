//! Before settling: does the chain know this key as our operator, and does this ledger know every batch on chain?

use compute_futures_chain::{ChainReader, ChainWriter};

use super::SettlementError;
use crate::follow::FollowError;
use crate::ledger::Ledger;
use crate::ledger::sql::{Columns, int};

/// Refuses what only a person can resolve. Never guesses.
pub(crate) async fn check(
    ledger: &Ledger,
    reader: &dyn ChainReader,
    writer: &dyn ChainWriter,
) -> Result<(), SettlementError> {
    let identity = ledger.identity();
    let index = identity.operator_index;
    let operator = reader.operator(index).await?.ok_or_else(|| {
        SettlementError::Config(format!(
            "operator {index} is not registered with contract {}; register it (set terms) first",
            identity.domain.contract()
        ))
    })?;
    if operator.operator != identity.signer.address() || operator.operator != writer.sender() {
        return Err(SettlementError::Config(format!(
            "operator {index} of the contract is {}, but the keys given are {} (receipts) and {} (transactions); use the \
             operator's own key",
            operator.operator,
            identity.signer.address(),
            writer.sender()
        )));
    }
    if operator.last_batch == 0 {
        return Ok(());
    }
    let number = operator.last_batch;
    let row = sqlx::query("SELECT root FROM batches WHERE number = $1 AND state IN ('sealed', 'confirmed')")
        .bind(int(number))
        .fetch_optional(&ledger.db.pool)
        .await?;
    let ours = row.map_or(Ok(None), |row| Columns::of(&row).optional_hash())?;
    let posted = reader.batch_root(index, number).await?;
    if ours.is_none() || ours != posted {
        let root = posted.unwrap_or_default();
        return Err(FollowError::UnknownBatch { number, root, transaction: Default::default() }.into());
    }
    Ok(())
}
