//! The receipts of one account added up (I-7): what an auditor compares with the account on chain.

use crate::discount::charge;
use crate::{AccountId, Receipt, Usdc};

/// A running total over an account's receipts, in order of their sequence from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement {
    account: AccountId,
    receipts: u64,
    charged: Usdc,
    remainder: u16,
}

/// A receipt that does not follow from those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Of another account.
    #[error("the receipt charges account {0}")]
    AnotherAccount(AccountId),
    /// One is missing, or comes twice.
    #[error("receipt {found} follows where receipt {expected} was due")]
    Sequence {
        /// The number that was due.
        expected: u64,
        /// The number it has.
        found: u64,
    },
    /// Not what list amount, discount and the remainder so far make.
    #[error("receipt {sequence} charges {stated} USDC where list amount and discount make {expected} USDC")]
    Charge {
        /// Of the receipt.
        sequence: u64,
        /// Computed.
        expected: Usdc,
        /// On the receipt.
        stated: Usdc,
    },
    /// Beyond [`Usdc::MAX`].
    #[error("the receipts add up to more than an account can hold")]
    Overflow,
}

impl Statement {
    /// Before the first receipt.
    #[must_use]
    pub const fn new(account: AccountId) -> Self {
        Self { account, receipts: 0, charged: Usdc::ZERO, remainder: 0 }
    }

    /// Takes the next receipt into account.
    ///
    /// # Errors
    /// When it does not follow. [`StatementError::Charge`] is counted as stated, so that what comes after is judged on its
    /// own; the others leave the statement as it was.
    pub fn add(&mut self, receipt: &Receipt) -> Result<(), StatementError> {
        if receipt.account_id != self.account {
            return Err(StatementError::AnotherAccount(receipt.account_id));
        }
        let expected = self.receipts + 1;
        if receipt.sequence != expected {
            return Err(StatementError::Sequence { expected, found: receipt.sequence });
        }
        let (due, remainder) = charge(receipt.list_amount, receipt.discount_bps, self.remainder);
        let charged = self.charged.checked_add(receipt.charged).ok_or(StatementError::Overflow)?;
        (self.receipts, self.charged, self.remainder) = (expected, charged, remainder);
        if receipt.charged != due {
            return Err(StatementError::Charge { sequence: expected, expected: due, stated: receipt.charged });
        }
        Ok(())
    }

    /// The account.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        self.account
    }

    /// How many receipts were added.
    #[must_use]
    pub const fn receipts(&self) -> u64 {
        self.receipts
    }

    /// What they charge in all: the account's `charged` on chain, once all their batches are posted.
    #[must_use]
    pub const fn charged(&self) -> Usdc {
        self.charged
    }

    /// What the discount division left over, in 1/10,000 micro-USDC: the account's `remainder` on chain.
    #[must_use]
    pub const fn remainder(&self) -> u16 {
        self.remainder
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use alloy_primitives::B256;

    use super::*;

    fn account(sequence: u32) -> AccountId {
        AccountId::new(1, sequence).unwrap()
    }

    fn receipt(sequence: u64, list: u64, charged: u64) -> Receipt {
        Receipt {
            account_id: account(1),
            batch_number: 1,
            sequence,
            job_id: B256::ZERO,
            authorization_hash: B256::ZERO,
            request_hash: B256::ZERO,
            output_hash: B256::ZERO,
            list_amount: Usdc::from_micros(list),
            discount_bps: 1000,
            charged: Usdc::from_micros(charged),
            issued_at: 0,
        }
    }

    #[test]
    fn i7_receipts_in_order_add_up() {
        let mut statement = Statement::new(account(1));
        for (sequence, charged) in [(1, 0), (2, 1), (3, 1)] {
            assert_eq!(statement.add(&receipt(sequence, 1, charged)), Ok(()));
        }
        assert_eq!((statement.receipts(), statement.charged().micros(), statement.remainder()), (3, 2, 7000));
        assert_eq!(statement.account(), account(1));
    }

    #[test]
    fn i7_what_does_not_add_up_is_named() {
        let mut statement = Statement::new(account(1));
        statement.add(&receipt(1, 10, 9)).unwrap();
        let before = statement;
        assert_eq!(statement.add(&receipt(3, 10, 9)), Err(StatementError::Sequence { expected: 2, found: 3 }));
        assert_eq!(statement.add(&receipt(1, 10, 9)), Err(StatementError::Sequence { expected: 2, found: 1 }));
        let foreign = Receipt { account_id: account(2), ..receipt(2, 10, 9) };
        assert_eq!(statement.add(&foreign), Err(StatementError::AnotherAccount(account(2))));
        assert_eq!(statement, before);
        let nine = Usdc::from_micros(9);
        let ten = Usdc::from_micros(10);
        assert_eq!(
            statement.add(&receipt(2, 10, 10)),
            Err(StatementError::Charge { sequence: 2, expected: nine, stated: ten })
        );
        assert_eq!((statement.add(&receipt(3, 10, 9)), statement.charged().micros()), (Ok(()), 28));
        assert_eq!(statement.add(&receipt(4, 0, Usdc::MAX.micros())), Err(StatementError::Overflow));
    }
}
