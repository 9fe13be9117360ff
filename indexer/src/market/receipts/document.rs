//! Whether what a meter publishes of a session is what the session was closed with.

use compute_futures_protocol::{
    B256, Bytes, MerkleError, ReceiptTree, SignatureError, keccak256,
    market::{MarketDomain, SessionId, SessionReceipt},
    signer_among,
};
use serde::{Deserialize, Serialize};

use crate::market::SessionRow;

/// The receipts of a session, as its meter's relayer publishes them. What else it says is for the chain to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionDocument {
    /// Which session.
    pub session_id: SessionId,
    /// In any order.
    pub receipts: Vec<PublishedReceipt>,
}

/// A receipt with what is behind its hashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishedReceipt {
    /// What it was and what it cost.
    pub receipt: SessionReceipt,
    /// Name of the model.
    pub model: String,
    /// EIP-712 digest of the receipt.
    pub digest: B256,
    /// The meter's, over the digest.
    pub signature: Bytes,
}

/// Why a document is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It speaks of another session.
    #[error("the document is of session {0}")]
    OtherSession(SessionId),
    /// Some are missing, or there are too many.
    #[error("{published} receipts are published, the session was closed with {announced}")]
    Count {
        /// In the document.
        published: usize,
        /// On chain.
        announced: u32,
    },
    /// One is not of this session, or their numbers have gaps.
    #[error("a receipt is numbered {found} of session {session}, {expected} is next")]
    Sequence {
        /// Its number.
        found: u32,
        /// Its session.
        session: SessionId,
        /// The next number.
        expected: u32,
    },
    /// A receipt is not what its digest says.
    #[error("receipt {0} has another digest than the document says")]
    Digest(u32),
    /// A name that is not the receipt's.
    #[error("receipt {0} is of another model than the document says")]
    Model(u32),
    /// Not its meter's.
    #[error("receipt {sequence} is not signed by the meter: {fault}")]
    Signature {
        /// Its number.
        sequence: u32,
        /// What is wrong with it.
        fault: SignatureError,
    },
    /// Other receipts than it was closed with.
    #[error("the receipts have the root {published}, the chain has {chain}")]
    Root {
        /// Of the document.
        published: B256,
        /// Posted at the closing.
        chain: B256,
    },
    /// There are none.
    #[error(transparent)]
    Tree(#[from] MerkleError),
}

/// The receipts of a document in their order, if every one is signed by the meter and together they are the root the session was
/// closed with.
///
/// # Errors
/// The first thing that does not hold.
pub fn verify(
    document: SessionDocument,
    session: &SessionRow,
    domain: &MarketDomain,
) -> Result<Vec<PublishedReceipt>, Refused> {
    if document.session_id != session.id {
        return Err(Refused::OtherSession(document.session_id));
    }
    let mut receipts = document.receipts;
    if u32::try_from(receipts.len()) != Ok(session.receipt_count) {
        return Err(Refused::Count { published: receipts.len(), announced: session.receipt_count });
    }
    receipts.sort_unstable_by_key(|published| published.receipt.sequence);
    for (expected, published) in (1u32..).zip(&receipts) {
        let receipt = &published.receipt;
        let found = receipt.sequence;
        if (receipt.session_id, found) != (session.id, expected) {
            return Err(Refused::Sequence { found, session: receipt.session_id, expected });
        }
        if receipt.digest(domain) != published.digest {
            return Err(Refused::Digest(found));
        }
        if keccak256(published.model.as_bytes()) != receipt.model_hash {
            return Err(Refused::Model(found));
        }
        signer_among(published.digest, &published.signature, &[session.meter])
            .map_err(|fault| Refused::Signature { sequence: found, fault })?;
    }
    let digests: Vec<B256> = receipts.iter().map(|published| published.digest).collect();
    let (published, chain) = (ReceiptTree::new(&digests)?.root(), session.receipts_root.unwrap_or_default());
    if published != chain {
        return Err(Refused::Root { published, chain });
    }
    Ok(receipts)
}
