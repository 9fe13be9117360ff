//! The money of one account, as the contract's slot holds it: the model that tests, indexer and audit compare the chain with.

use serde::{Deserialize, Serialize};

use crate::discount::charge;
use crate::{BPS, DiscountFloor, Terms, Usdc};

/// Credit, charges and ceiling of an account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountState {
    /// Deposited, less refunded. While the account is open: everything ever deposited.
    pub credit: Usdc,
    /// Net of discount; only ever rises.
    pub charged: Usdc,
    /// Cumulative cap on `charged`, signed by owner or delegate (I-2).
    pub ceiling: Usdc,
    /// What the discount division left over, in 1/10,000 micro-USDC; below 10,000.
    pub remainder: u16,
    /// The least discount, by batch number.
    pub discount: DiscountFloor,
}

/// What became of one row of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DebitOutcome {
    /// Net amount taken.
    pub charged: Usdc,
    /// Discount applied: the stated one, raised to the floor, at most 10,000.
    pub discount_bps: u16,
    /// Net amount that credit or ceiling did not cover (I-6); zero when the row was covered.
    pub uncovered: Usdc,
}

/// A verb the contract would refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// Below the terms' minimum, or zero for a top-up.
    #[error("the deposit of {amount} USDC is too small; deposit at least {minimum} USDC")]
    DepositTooSmall {
        /// What was offered.
        amount: Usdc,
        /// What is asked for.
        minimum: Usdc,
    },
    /// Beyond what 56 bits hold.
    #[error("the deposit would take the credit above {} USDC; deposit less", Usdc::MAX)]
    CreditOverflow,
    /// A ceiling only rises.
    #[error("the ceiling is {present} USDC and only rises; {requested} USDC is not above it")]
    CeilingNotRaised {
        /// The ceiling now.
        present: Usdc,
        /// The one asked for.
        requested: Usdc,
    },
}

impl AccountState {
    /// A new account holding its first deposit. The discount it earns binds at once.
    ///
    /// # Errors
    /// When the amount is below the terms' minimum.
    pub fn open(amount: Usdc, ceiling: Usdc, terms: &Terms) -> Result<Self, AccountError> {
        if amount < terms.minimum_deposit {
            return Err(AccountError::DepositTooSmall {
                amount,
                minimum: terms.minimum_deposit,
            });
        }
        Ok(Self {
            credit: amount,
            ceiling,
            discount: DiscountFloor::new(terms.discount_for(amount)),
            ..Self::default()
        })
    }

    /// A top-up while the operator's newest batch is `last_batch`. `terms` are those the account was opened under; the
    /// total of all deposits decides the discount (I-3).
    ///
    /// # Errors
    /// When the amount is zero or the credit no longer fits in 56 bits.
    pub fn deposit(&mut self, amount: Usdc, terms: &Terms, last_batch: u64) -> Result<(), AccountError> {
        if amount.is_zero() {
            return Err(AccountError::DepositTooSmall {
                amount,
                minimum: Usdc::from_micros(1),
            });
        }
        self.credit = self.credit.checked_add(amount).ok_or(AccountError::CreditOverflow)?;
        self.discount.raise(terms.discount_for(self.credit), last_batch);
        Ok(())
    }

    /// What may still be charged: min(credit, ceiling) − charged.
    #[must_use]
    pub fn available(&self) -> Usdc {
        self.credit.min(self.ceiling).saturating_sub(self.charged)
    }

    /// What the owner would get back now: credit − charged.
    #[must_use]
    pub fn unspent(&self) -> Usdc {
        self.credit.saturating_sub(self.charged)
    }

    /// One row of batch number `batch`, exactly as `postDebits` treats it: the discount is the stated one but never below
    /// the floor, the charge is clamped to what is available, and on a clamp the remainder becomes zero (the fraction
    /// belongs to the shortfall).
    pub fn debit(&mut self, list: Usdc, stated_bps: u16, batch: u64) -> DebitOutcome {
        let discount_bps = stated_bps.max(self.discount.at(batch)).min(BPS);
        let (net, remainder) = charge(list, discount_bps, self.remainder);
        if self.credit.is_zero() {
            // Nothing was ever deposited, or all of it refunded: the contract does not write such a slot.
            return DebitOutcome {
                charged: Usdc::ZERO,
                discount_bps,
                uncovered: net,
            };
        }
        let charged = net.min(self.available());
        let uncovered = net.saturating_sub(charged);
        // `charged` is at most what is available, so the sum stays within credit.
        self.charged = Usdc::from_micros(self.charged.micros() + charged.micros());
        self.remainder = if uncovered.is_zero() { remainder } else { 0 };
        DebitOutcome {
            charged,
            discount_bps,
            uncovered,
        }
    }

    /// Raises the ceiling.
    ///
    /// # Errors
    /// When it would not rise.
    pub fn raise_ceiling(&mut self, ceiling: Usdc) -> Result<(), AccountError> {
        if ceiling <= self.ceiling {
            return Err(AccountError::CeilingNotRaised {
                present: self.ceiling,
                requested: ceiling,
            });
        }
        self.ceiling = ceiling;
        Ok(())
    }

    /// Closes the account: everything unspent goes back to the owner, and later rows find nothing to take.
    pub fn close(&mut self) -> Usdc {
        let unspent = self.unspent();
        self.credit = self.charged;
        unspent
    }
}
