//! Whether a published document is the one whose root was posted.

use compute_futures_protocol::{Address, B256, BatchDocument, Domain, ReceiptError};

/// Why a document is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It speaks of another batch.
    #[error("the document is of batch {batch_number} of operator {operator_index}")]
    OtherBatch {
        /// Of the document.
        operator_index: u32,
        /// Of the document.
        batch_number: u64,
    },
    /// It has another root than the chain.
    #[error("the document has root {document}, the chain has {chain}")]
    OtherRoot {
        /// In the document.
        document: B256,
        /// As posted.
        chain: B256,
    },
    /// It contradicts itself.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
}

/// Checks a document against what the chain says of its batch: place, root, every hash, signature and authorisation.
pub fn verify(
    document: &BatchDocument,
    operator_index: u32,
    batch_number: u64,
    root: B256,
    domain: &Domain,
    operator: Address,
) -> Result<(), Refused> {
    if (document.operator_index, document.batch_number) != (operator_index, batch_number) {
        return Err(Refused::OtherBatch {
            operator_index: document.operator_index,
            batch_number: document.batch_number,
        });
    }
    if document.root != root {
        return Err(Refused::OtherRoot { document: document.root, chain: root });
    }
    Ok(document.verify(domain, operator)?)
}
