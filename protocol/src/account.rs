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
            return Err(AccountError::DepositTooSmall { amount, minimum: terms.minimum_deposit });
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
            return Err(AccountError::DepositTooSmall { amount, minimum: Usdc::from_micros(1) });
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
            return DebitOutcome { charged: Usdc::ZERO, discount_bps, uncovered: net };
        }
        let charged = net.min(self.available());
        let uncovered = net.saturating_sub(charged);
        // `charged` is at most what is available, so the sum stays within credit.
        self.charged = Usdc::from_micros(self.charged.micros() + charged.micros());
        self.remainder = if uncovered.is_zero() { remainder } else { 0 };
        DebitOutcome { charged, discount_bps, uncovered }
    }

    /// Raises the ceiling.
    ///
    /// # Errors
    /// When it would not rise.
    pub fn raise_ceiling(&mut self, ceiling: Usdc) -> Result<(), AccountError> {
        if ceiling <= self.ceiling {
            return Err(AccountError::CeilingNotRaised { present: self.ceiling, requested: ceiling });
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn micros(amount: u64) -> Usdc {
        Usdc::from_micros(amount)
    }

    fn terms() -> Terms {
        Terms {
            refund_delay: 3600,
            minimum_deposit: micros(1_000_000),
            rate_card_hash: Default::default(),
            tiers: Terms::default_tiers(),
        }
    }

    #[test]
    fn opening_needs_the_minimum() {
        let error = AccountState::open(micros(999_999), Usdc::MAX, &terms()).unwrap_err();
        assert_eq!(error, AccountError::DepositTooSmall { amount: micros(999_999), minimum: micros(1_000_000) });
        let account = AccountState::open(micros(50_000_000), Usdc::ZERO, &terms()).unwrap();
        assert_eq!(account.discount, DiscountFloor::new(1000));
        assert_eq!((account.available(), account.unspent()), (Usdc::ZERO, micros(50_000_000)));
    }

    #[test]
    fn deposits_stay_within_56_bits() {
        let mut account = AccountState::open(Usdc::MAX, Usdc::MAX, &terms()).unwrap();
        let before = account;
        assert_eq!(account.deposit(micros(1), &terms(), 0), Err(AccountError::CreditOverflow));
        assert!(matches!(account.deposit(Usdc::ZERO, &terms(), 0), Err(AccountError::DepositTooSmall { .. })));
        assert_eq!(account, before);
    }

    #[test]
    fn a_ceiling_only_rises() {
        let mut account = AccountState::open(micros(5_000_000), micros(7), &terms()).unwrap();
        assert!(account.raise_ceiling(micros(7)).is_err());
        assert!(account.raise_ceiling(micros(6)).is_err());
        account.raise_ceiling(micros(8)).unwrap();
        assert_eq!(account.available(), micros(8));
    }

    /// I-6: what cannot be covered is said, not refused; the fraction belongs to the shortfall.
    #[test]
    fn a_row_beyond_the_ceiling_is_clamped() {
        let mut account = AccountState::open(micros(50_000_000), micros(100), &terms()).unwrap();
        let row = account.debit(micros(1_111), 1000, 1);
        assert_eq!(row, DebitOutcome { charged: micros(100), discount_bps: 1000, uncovered: micros(899) });
        assert_eq!((account.charged, account.remainder), (micros(100), 0));
    }

    #[test]
    fn a_row_exactly_at_the_ceiling_keeps_its_remainder() {
        let mut account = AccountState::open(micros(50_000_000), micros(999), &terms()).unwrap();
        let row = account.debit(micros(1_111), 1000, 1);
        assert_eq!((row.charged, row.uncovered, account.remainder), (micros(999), Usdc::ZERO, 9_000));
    }

    #[test]
    fn a_closed_account_takes_no_late_row() {
        let mut account = AccountState::open(micros(50_000_000), Usdc::MAX, &terms()).unwrap();
        account.debit(micros(10_000_000), 1000, 1);
        assert_eq!(account.close(), micros(41_000_000));
        assert_eq!(account.close(), Usdc::ZERO);
        let row = account.debit(micros(1_000), 1000, 2);
        assert_eq!((row.charged, row.uncovered), (Usdc::ZERO, micros(900)));
        assert_eq!(account.charged, micros(9_000_000));
    }

    #[derive(Debug, Clone)]
    enum Verb {
        TopUp(u64),
        RaiseCeiling(u64),
        Batch(Vec<(u64, u16)>),
        Close,
    }

    fn verbs() -> impl Strategy<Value = Vec<Verb>> {
        let bps = prop_oneof![0u16..2_000, Just(9_999), Just(10_000), any::<u16>()];
        prop::collection::vec(
            prop_oneof![
                2 => (1u64..300_000_000).prop_map(Verb::TopUp),
                2 => (1u64..300_000_000).prop_map(Verb::RaiseCeiling),
                8 => prop::collection::vec((0u64..60_000_000, bps), 0..4).prop_map(Verb::Batch),
                1 => Just(Verb::Close),
            ],
            0..24,
        )
    }

    /// The same rules written the slow way: exact fractions in units of 1/10,000 micro-USDC, the whole history kept.
    #[derive(Default)]
    struct Naive {
        deposits: Vec<u64>,
        paid_out: u64,
        charged: u64,
        ceiling: u64,
        /// Owed but below a micro-USDC.
        fraction: u64,
        /// (from batch, floor), the newest last.
        raises: Vec<(u64, u16)>,
    }

    impl Naive {
        fn credit(&self) -> u64 {
            self.deposits.iter().sum::<u64>() - self.paid_out
        }

        fn earned(&self) -> u16 {
            match self.deposits.iter().sum::<u64>() {
                0..10_000_000 => 0,
                10_000_000..50_000_000 => 500,
                50_000_000..200_000_000 => 1000,
                _ => 1500,
            }
        }

        fn floor(&self, batch: u64) -> u16 {
            self.raises.iter().rev().find(|(from, _)| *from <= batch).map_or(0, |(_, bps)| *bps)
        }

        fn deposit(&mut self, amount: u64, last_batch: u64) {
            self.deposits.push(amount);
            let earned = self.earned();
            if self.raises.last().is_none_or(|(_, bps)| earned > *bps) {
                let opening = self.raises.is_empty();
                let next = self.floor(last_batch + 1);
                // What was announced for later and is not in force yet gives way to the higher rate.
                self.raises.retain(|(from, _)| *from <= last_batch + 1);
                if !opening {
                    self.raises.push((last_batch + 1, next));
                }
                self.raises.push((if opening { 0 } else { last_batch + 3 }, earned));
            }
        }

        fn debit(&mut self, list: u64, stated: u16, batch: u64) -> (u64, u64) {
            let bps = self.floor(batch).max(stated.min(10_000));
            let owed = list * u64::from(10_000 - bps) + self.fraction;
            let room = self.credit().min(self.ceiling).saturating_sub(self.charged);
            if self.credit() == 0 {
                return (0, owed / 10_000);
            }
            let taken = room.min(owed / 10_000);
            self.charged += taken;
            let covered = owed / 10_000 <= room;
            self.fraction = if covered { owed % 10_000 } else { 0 };
            (taken, owed / 10_000 - taken)
        }
    }

    proptest! {
        #[test]
        fn the_model_agrees_with_the_naive_one(
            opening in 1_000_000u64..250_000_000,
            ceiling in 0u64..250_000_000,
            verbs in verbs(),
        ) {
            let mut account = AccountState::open(micros(opening), micros(ceiling), &terms()).unwrap();
            let mut naive = Naive { ceiling, ..Naive::default() };
            naive.deposit(opening, 0);
            let mut last_batch = 0;
            let mut closed = false;
            for verb in verbs {
                match verb {
                    Verb::TopUp(amount) if !closed => {
                        account.deposit(micros(amount), &terms(), last_batch).unwrap();
                        naive.deposit(amount, last_batch);
                    }
                    Verb::RaiseCeiling(more) if !closed => {
                        naive.ceiling += more;
                        account.raise_ceiling(micros(naive.ceiling)).unwrap();
                    }
                    Verb::Batch(rows) => {
                        last_batch += 1;
                        for (list, stated) in rows {
                            let row = account.debit(micros(list), stated, last_batch);
                            let (charged, uncovered) = naive.debit(list, stated, last_batch);
                            prop_assert_eq!((row.charged.micros(), row.uncovered.micros()), (charged, uncovered));
                        }
                    }
                    Verb::Close if !closed => {
                        closed = true;
                        let paid = account.close();
                        prop_assert_eq!(paid.micros(), naive.credit() - naive.charged);
                        naive.paid_out = paid.micros();
                    }
                    Verb::TopUp(_) | Verb::RaiseCeiling(_) | Verb::Close => {}
                }
                prop_assert_eq!(account.credit.micros(), naive.credit());
                prop_assert_eq!(account.charged.micros(), naive.charged);
                prop_assert_eq!(u64::from(account.remainder), naive.fraction);
                prop_assert_eq!(account.discount.at(last_batch + 1), naive.floor(last_batch + 1));
                // I-2, on its own words.
                prop_assert!(account.charged <= account.ceiling && account.charged <= account.credit);
            }
        }

        /// I-7: receipts charged one by one sum up to what rows of several receipts charge on chain.
        #[test]
        fn i7_receipts_sum_up_to_the_debits(
            jobs in prop::collection::vec((1u64..3_000_000, prop_oneof![Just(1000u16), Just(1500u16)]), 1..60),
        ) {
            let mut account = AccountState::open(micros(200_000_000), Usdc::MAX, &Terms { tiers: vec![], ..terms() }).unwrap();
            let mut remainder = 0;
            let mut receipts = 0;
            // Neighbours at one rate share a row, as the batcher does it.
            let mut rows: Vec<(u64, u16)> = Vec::new();
            for (list, bps) in jobs {
                let (charged, next) = charge(micros(list), bps, remainder);
                remainder = next;
                receipts += charged.micros();
                match rows.last_mut() {
                    Some((sum, rate)) if *rate == bps => *sum += list,
                    _ => rows.push((list, bps)),
                }
            }
            for (list, bps) in rows {
                prop_assert_eq!(account.debit(micros(list), bps, 1).uncovered, Usdc::ZERO);
            }
            prop_assert_eq!((account.charged.micros(), account.remainder), (receipts, remainder));
        }
    }
}
