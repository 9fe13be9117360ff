//! A batch's receipts in public: anyone recomputes every hash, signature and the root (I-7).

use std::collections::HashSet;

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use crate::serde_util::batch_number;
use crate::{Authorization, Domain, ReceiptTree, SignatureError, SignedReceipt, Usdc};

/// What a relayer publishes for a batch. Its Merkle root is its content hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchDocument {
    /// The operator.
    pub operator_index: u32,
    /// The batch.
    #[serde(with = "batch_number")]
    pub batch_number: u64,
    /// Merkle root over the receipt hashes.
    pub root: B256,
    /// In order of issue.
    pub receipts: Vec<SignedReceipt>,
}

/// A batch document that does not hold, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// One receipt is wrong; `position` counts from 0.
    #[error("receipt {position} ({receipt_hash}) {fault}")]
    Receipt {
        /// Place in the document.
        position: usize,
        /// The hash it states.
        receipt_hash: B256,
        /// What is wrong with it.
        fault: ReceiptFault,
    },
    /// No receipts.
    #[error("the batch document has no receipts")]
    Empty,
    /// The receipts are not those of this root.
    #[error("the receipts have root {computed}, the document states {stated}")]
    Root {
        /// Of the receipts.
        computed: B256,
        /// In the document.
        stated: B256,
    },
}

/// What is wrong with a receipt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptFault {
    /// The stated hash is not the receipt's.
    #[error("has hash {0} when recomputed")]
    Hash(B256),
    /// Listed twice.
    #[error("is listed twice")]
    Duplicate,
    /// The bytes are no signature.
    #[error("is not signed: {0}")]
    Signature(SignatureError),
    /// Signed by somebody else.
    #[error("is signed by {0}, not by the operator")]
    NotTheOperator(Address),
    /// Of another batch.
    #[error("belongs to batch {0}")]
    BatchNumber(u64),
    /// Of another operator's account.
    #[error("charges an account of operator {0}")]
    OperatorIndex(u32),
    /// The authorisation is not the one the receipt names.
    #[error("names another authorisation than the one next to it, which has hash {0}")]
    AuthorizationHash(B256),
    /// The depositor authorised something else.
    #[error("differs from its authorisation in {0}")]
    NotAuthorized(&'static str),
}

impl BatchDocument {
    /// The document of these receipts.
    ///
    /// # Errors
    /// [`ReceiptError::Empty`] when there are none.
    pub fn new(operator_index: u32, batch_number: u64, receipts: Vec<SignedReceipt>) -> Result<Self, ReceiptError> {
        let root = root_of(&receipts)?;
        Ok(Self {
            operator_index,
            batch_number,
            root,
            receipts,
        })
    }

    /// The Merkle tree, for proofs.
    ///
    /// # Errors
    /// [`ReceiptError::Empty`] when there are no receipts.
    pub fn tree(&self) -> Result<ReceiptTree, ReceiptError> {
        tree_of(&self.receipts)
    }

    /// Sum of what the receipts charged; `None` beyond [`Usdc::MAX`].
    #[must_use]
    pub fn total_charged(&self) -> Option<Usdc> {
        Usdc::checked_sum(self.receipts.iter().map(|signed| signed.receipt.charged))
    }

    /// Checks everything that needs no chain: hashes, the operator's signatures, batch and operator of every receipt, that
    /// each authorisation is the one its receipt names and allows what was charged, and the root.
    ///
    /// Who signed an authorisation is [`Authorization::authorizer`]; whether that is the owner or delegate, and whether
    /// `root` is the one posted, only the chain knows.
    ///
    /// # Errors
    /// Says which receipt does not hold, and why.
    pub fn verify(&self, domain: &Domain, operator: Address) -> Result<(), ReceiptError> {
        let mut seen = HashSet::with_capacity(self.receipts.len());
        for (position, signed) in self.receipts.iter().enumerate() {
            let receipt_hash = signed.receipt_hash;
            self.check(signed, domain, operator)
                .and_then(|()| {
                    if seen.insert(receipt_hash) {
                        Ok(())
                    } else {
                        Err(ReceiptFault::Duplicate)
                    }
                })
                .map_err(|fault| ReceiptError::Receipt {
                    position,
                    receipt_hash,
                    fault,
                })?;
        }
        let computed = root_of(&self.receipts)?;
        if computed == self.root {
            Ok(())
        } else {
            Err(ReceiptError::Root {
                computed,
                stated: self.root,
            })
        }
    }

    fn check(&self, signed: &SignedReceipt, domain: &Domain, operator: Address) -> Result<(), ReceiptFault> {
        let receipt = &signed.receipt;
        let hash = receipt.digest(domain);
        if hash != signed.receipt_hash {
            return Err(ReceiptFault::Hash(hash));
        }
        let signer = signed.signature.recover(hash).map_err(ReceiptFault::Signature)?;
        if signer != operator {
            return Err(ReceiptFault::NotTheOperator(signer));
        }
        if receipt.batch_number != self.batch_number {
            return Err(ReceiptFault::BatchNumber(receipt.batch_number));
        }
        if receipt.account_id.operator_index() != self.operator_index {
            return Err(ReceiptFault::OperatorIndex(receipt.account_id.operator_index()));
        }
        let authorization_hash = signed.authorization.hash(domain);
        if authorization_hash != receipt.authorization_hash {
            return Err(ReceiptFault::AuthorizationHash(authorization_hash));
        }
        if let Authorization::ComputeFutures { authorization, .. } = &signed.authorization {
            if authorization.account_id != receipt.account_id {
                return Err(ReceiptFault::NotAuthorized("account"));
            }
            if authorization.request_hash != receipt.request_hash {
                return Err(ReceiptFault::NotAuthorized("request"));
            }
            if authorization.max_charge < receipt.charged {
                return Err(ReceiptFault::NotAuthorized("amount"));
            }
        }
        Ok(())
    }
}

fn tree_of(receipts: &[SignedReceipt]) -> Result<ReceiptTree, ReceiptError> {
    let hashes: Vec<B256> = receipts.iter().map(|signed| signed.receipt_hash).collect();
    ReceiptTree::new(&hashes).map_err(|_| ReceiptError::Empty)
}

fn root_of(receipts: &[SignedReceipt]) -> Result<B256, ReceiptError> {
    tree_of(receipts).map(|tree| tree.root())
}
