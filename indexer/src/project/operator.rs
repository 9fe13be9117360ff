//! The current state of one operator and the totals of its accounts.

use compute_futures_protocol::Address;
use serde::{Deserialize, Serialize};

use super::Position;
use crate::{
    error::{IndexerError, Result},
    store::{Bulk, Row},
};

/// An operator. Amounts in micro-USDC, as wide as the sums of many accounts need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorRow {
    /// From 1, in order of registration.
    pub index: u32,
    /// Its key.
    pub operator: Address,
    /// Newest terms.
    pub terms_version: u32,
    /// Accounts ever opened.
    pub account_count: u64,
    /// Accounts not closed.
    pub open_accounts: u64,
    /// Sequence of the newest account.
    pub last_sequence: u32,
    /// Newest batch.
    pub last_batch: u64,
    /// Σ receipts its batches announce.
    pub receipt_count: u64,
    /// Debits.
    pub debit_count: u64,
    /// Not yet withdrawn.
    pub earnings: u64,
    /// Σ charged of its batches.
    pub charged: u64,
    /// Σ sweep fees.
    pub fees: u64,
    /// Σ withdrawals.
    pub withdrawn: u64,
    /// Σ list amounts.
    pub listed: u64,
    /// Σ of what could not be charged.
    pub uncovered: u64,
    /// Σ deposits.
    pub deposited: u64,
    /// Σ refunds.
    pub refunded: u64,
    /// Σ credit − charged of its accounts.
    pub unspent: u64,
    /// Position of its first terms.
    pub registered_at: u64,
    /// Position of the newest event.
    pub updated_at: u64,
}

impl OperatorRow {
    /// An operator nothing has happened to yet.
    #[must_use]
    pub fn new(index: u32, operator: Address, at: Position) -> Self {
        Self {
            index,
            operator,
            terms_version: 0,
            account_count: 0,
            open_accounts: 0,
            last_sequence: 0,
            last_batch: 0,
            receipt_count: 0,
            debit_count: 0,
            earnings: 0,
            charged: 0,
            fees: 0,
            withdrawn: 0,
            listed: 0,
            uncovered: 0,
            deposited: 0,
            refunded: 0,
            unspent: 0,
            registered_at: at.as_u64(),
            updated_at: at.as_u64(),
        }
    }

    /// From its row in `operators`.
    pub fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            index: row.u32("id")?,
            operator: row.address("operator")?,
            terms_version: row.u32("terms_version")?,
            account_count: row.u64("account_count")?,
            open_accounts: row.u64("open_accounts")?,
            last_sequence: row.u32("last_sequence")?,
            last_batch: row.u64("last_batch")?,
            receipt_count: row.u64("receipt_count")?,
            debit_count: row.u64("debit_count")?,
            earnings: row.u64("earnings")?,
            charged: row.u64("charged")?,
            fees: row.u64("fees")?,
            withdrawn: row.u64("withdrawn")?,
            listed: row.u64("listed")?,
            uncovered: row.u64("uncovered")?,
            deposited: row.u64("deposited")?,
            refunded: row.u64("refunded")?,
            unspent: row.u64("unspent")?,
            registered_at: row.u64("registered_at")?,
            updated_at: row.u64("updated_at")?,
        })
    }

    /// From an undo row.
    pub fn from_undo(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|e| IndexerError::Corrupt(format!("undo of an operator: {e}")))
    }

    pub(super) fn push_to(&self, bulk: &mut Bulk) {
        bulk.push([
            self.index.into(),
            self.operator.into(),
            self.terms_version.into(),
            self.account_count.into(),
            self.open_accounts.into(),
            self.last_sequence.into(),
            self.last_batch.into(),
            self.receipt_count.into(),
            self.debit_count.into(),
            self.earnings.into(),
            self.charged.into(),
            self.fees.into(),
            self.withdrawn.into(),
            self.listed.into(),
            self.uncovered.into(),
            self.deposited.into(),
            self.refunded.into(),
            self.unspent.into(),
            self.registered_at.into(),
            self.updated_at.into(),
        ]);
    }
}
