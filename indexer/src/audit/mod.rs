//! Re-deriving every charge of one account from the chain and the published receipts alone: no relayer, no indexer is believed.
//!
//! Zero findings mean: every debit is backed by receipts that the operator signed and the depositor authorised (I-2, I-3, I-7).

mod chain_side;
mod receipts;
mod report;

use std::{sync::Arc, time::Duration};

use compute_futures_chain::ChainReader;
use compute_futures_protocol::AccountId;

pub use report::{AuditReport, Finding};

use self::{chain_side::ChainSide, receipts::ReceiptCheck};
use crate::{config::OperatorSource, error::Result, receipts::DocumentClient};

/// Time for one document.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Largest document.
const MAX_BYTES: u64 = 256 << 20;

/// Audits one account. `source` publishes the receipts: the operator's relayer, or any indexer that kept them (what it says is
/// verified, so it need not be trusted).
///
/// # Errors
/// When the chain cannot be read, or the account does not exist. What does not add up is a finding, not an error.
pub async fn audit(reader: Arc<dyn ChainReader>, account: AccountId, source: &OperatorSource) -> Result<AuditReport> {
    let documents = DocumentClient::new(source, reader.chain(), TIMEOUT, MAX_BYTES)?;
    let mut chain = ChainSide::read(Arc::clone(&reader), account).await?;
    let mut report = AuditReport::new(&chain, reader.chain());
    report.findings.append(&mut chain.findings);

    let mut check = ReceiptCheck::new(&*reader, &chain, reader.domain());
    for batch in &chain.batches {
        match documents.fetch(account.operator_index(), batch.number).await {
            Err(failure) => check.missing(batch, failure.to_string()),
            Ok(document) => check.batch(batch, document).await?,
        }
    }
    check.finish(&mut report);
    Ok(report)
}
