//! What an audit found, for people and programs.

use compute_futures_protocol::{AccountId, Address, B256, Chain, FuturesId, SignedReceipt, Usdc};
use serde::Serialize;

use super::chain_side::ChainSide;

/// The outcome of an audit.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditReport {
    /// The account.
    pub account_id: AccountId,
    /// Its short name within its operator.
    pub futures_id: FuturesId,
    /// Its operator.
    pub operator_index: u32,
    /// Key that must have signed the receipts.
    pub operator: Address,
    /// Who (or whose delegate) must have authorised the jobs.
    pub owner: Address,
    /// Audited up to this block.
    pub block: u64,
    /// Batches that charged the account.
    pub batches: usize,
    /// Receipts found and checked.
    pub receipts: usize,
    /// Deposited.
    pub deposited: Usdc,
    /// Σ list amounts on chain.
    pub listed: Usdc,
    /// Charged on chain.
    pub charged: Usdc,
    /// Σ charged of the receipts.
    pub receipts_charged: Usdc,
    /// What credit or ceiling did not cover.
    pub uncovered: Usdc,
    /// Whether there are no findings: every debit is backed.
    pub backed: bool,
    /// What does not add up.
    pub findings: Vec<Finding>,
}

impl AuditReport {
    pub(super) fn new(chain: &ChainSide, network: Chain) -> Self {
        let row = &chain.account;
        Self {
            account_id: row.id,
            futures_id: row.id.futures_id(network),
            operator_index: row.id.operator_index(),
            operator: chain.operator,
            owner: row.owner,
            block: chain.block,
            batches: chain.batches.len(),
            receipts: 0,
            deposited: row.deposited,
            listed: row.listed,
            charged: row.state.charged,
            receipts_charged: Usdc::ZERO,
            uncovered: row.uncovered,
            backed: false,
            findings: Vec::new(),
        }
    }
}

/// One thing that does not add up.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Stable name; the list is in `docs/operations/indexer.md`.
    pub code: &'static str,
    /// Both figures, in words.
    pub detail: String,
    /// Concerned batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_number: Option<u64>,
    /// Concerned receipt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt_hash: Option<B256>,
    /// The receipt itself, as evidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Box<SignedReceipt>>,
}

impl Finding {
    pub(super) fn new(code: &'static str, batch_number: impl Into<Option<u64>>, detail: String) -> Self {
        Self { code, detail, batch_number: batch_number.into(), receipt_hash: None, receipt: None }
    }

    pub(super) fn of(code: &'static str, receipt: &SignedReceipt, detail: String) -> Self {
        Self {
            receipt_hash: Some(receipt.receipt_hash),
            receipt: Some(Box::new(receipt.clone())),
            ..Self::new(code, receipt.receipt.batch_number, detail)
        }
    }
}
