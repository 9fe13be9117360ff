//! The current state of one account, as events told it.

use compute_futures_protocol::{AccountId, AccountState, Address, DiscountFloor, Usdc};
use serde::{Deserialize, Serialize};

use super::Position;
use crate::{
    error::{IndexerError, Result},
    store::{Bulk, Row},
};

/// An account. Amounts in micro-USDC; counters count events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRow {
    /// Operator index and sequence.
    pub id: AccountId,
    /// Who gets refunds.
    pub owner: Address,
    /// Session key that may sign spending.
    pub delegate: Option<Address>,
    /// Version of the operator's terms it was opened under.
    pub terms_version: u32,
    /// Credit, charged, ceiling, remainder, discount floor.
    pub state: AccountState,
    /// Seconds; set by a refund request.
    pub refundable_at: Option<u64>,
    /// Refunded for good.
    pub closed: bool,
    /// Σ deposits.
    pub deposited: Usdc,
    /// Paid back to the owner.
    pub refunded: Usdc,
    /// Σ list amounts of debits.
    pub listed: Usdc,
    /// Σ of what credit or ceiling did not cover.
    pub uncovered: Usdc,
    /// Deposits and top-ups.
    pub deposit_count: u64,
    /// Debits.
    pub debit_count: u64,
    /// Shortfalls.
    pub shortfall_count: u64,
    /// Position of the first event.
    pub opened_at: u64,
    /// Position of the newest event.
    pub updated_at: u64,
}

impl AccountRow {
    /// An account nothing has happened to yet.
    #[must_use]
    pub fn new(id: AccountId, owner: Address, terms_version: u32, at: Position) -> Self {
        Self {
            id,
            owner,
            delegate: None,
            terms_version,
            state: AccountState::default(),
            refundable_at: None,
            closed: false,
            deposited: Usdc::ZERO,
            refunded: Usdc::ZERO,
            listed: Usdc::ZERO,
            uncovered: Usdc::ZERO,
            deposit_count: 0,
            debit_count: 0,
            shortfall_count: 0,
            opened_at: at.as_u64(),
            updated_at: at.as_u64(),
        }
    }

    /// From its row in `accounts`.
    pub fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.account("id")?,
            owner: row.address("owner")?,
            delegate: row.opt_address("delegate")?,
            terms_version: row.u32("terms_version")?,
            state: AccountState {
                credit: row.usdc("credit")?,
                charged: row.usdc("charged")?,
                ceiling: row.usdc("ceiling")?,
                remainder: row.u16("remainder")?,
                discount: DiscountFloor {
                    discount_bps: row.u16("discount_bps")?,
                    previous_discount_bps: row.u16("previous_discount_bps")?,
                    discount_from_batch: row.u64("discount_from_batch")?,
                },
            },
            refundable_at: row.opt_u64("refundable_at")?,
            closed: row.bool("closed")?,
            deposited: row.usdc("deposited")?,
            refunded: row.usdc("refunded")?,
            listed: row.usdc("listed")?,
            uncovered: row.usdc("uncovered")?,
            deposit_count: row.u64("deposit_count")?,
            debit_count: row.u64("debit_count")?,
            shortfall_count: row.u64("shortfall_count")?,
            opened_at: row.u64("opened_at")?,
            updated_at: row.u64("updated_at")?,
        })
    }

    /// From an undo row.
    pub fn from_undo(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|e| IndexerError::Corrupt(format!("undo of an account: {e}")))
    }

    pub(super) fn push_to(&self, bulk: &mut Bulk) {
        bulk.push([
            self.id.into(),
            self.id.operator_index().into(),
            self.owner.into(),
            self.delegate.into(),
            self.terms_version.into(),
            self.state.credit.into(),
            self.state.charged.into(),
            self.state.ceiling.into(),
            self.state.remainder.into(),
            self.state.discount.discount_bps.into(),
            self.state.discount.previous_discount_bps.into(),
            self.state.discount.discount_from_batch.into(),
            self.refundable_at.into(),
            self.closed.into(),
            self.deposited.into(),
            self.refunded.into(),
            self.listed.into(),
            self.uncovered.into(),
            self.deposit_count.into(),
            self.debit_count.into(),
            self.shortfall_count.into(),
            self.opened_at.into(),
            self.updated_at.into(),
        ]);
    }
}
