//! The discount (I-3): computed on integers, with the remainder of the division carried from job to job.

use serde::{Deserialize, Serialize};

use crate::Usdc;

/// Basis points in a whole.
pub const BPS: u16 = 10_000;

/// Applies a discount to a list amount: `(list × (10000 − bps) + remainder) / 10000`, rounded down, and the remainder
/// (in 1/10,000 micro-USDC) to carry into the next charge of the account.
///
/// Carrying makes any split of the same list amounts cost the same to the last micro-USDC. A discount above 10,000 counts
/// as 10,000, as on chain.
#[must_use]
pub fn charge(list: Usdc, discount_bps: u16, remainder: u16) -> (Usdc, u16) {
    let total = gross(list, discount_bps) + u128::from(remainder);
    let whole = u128::from(BPS);
    // Below list (or 1 above it when an oversized remainder comes in), so both conversions hold.
    (narrow(total / whole), u16::try_from(total % whole).unwrap_or_default())
}

/// The least amount to reserve for a job that costs at most `list_max` before discount: rounded up, so that it covers
/// [`charge`] whatever remainder the account carries (I-8).
#[must_use]
pub fn hold_amount(list_max: Usdc, discount_bps: u16) -> Usdc {
    narrow(gross(list_max, discount_bps).div_ceil(u128::from(BPS)))
}

/// `list × (10000 − bps)`, in 1/10,000 micro-USDC.
fn gross(list: Usdc, discount_bps: u16) -> u128 {
    u128::from(list.micros()) * u128::from(BPS.saturating_sub(discount_bps))
}

fn narrow(micros: u128) -> Usdc {
    Usdc::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// The least discount the contract applies to an account, by batch number (ADR 002).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiscountFloor {
    /// What the account's deposits have earned; binding from batch `discount_from_batch` on.
    pub discount_bps: u16,
    /// The floor for earlier batches.
    pub previous_discount_bps: u16,
    /// First batch number for which `discount_bps` binds.
    #[serde(with = "crate::serde_util::batch_number")]
    pub discount_from_batch: u64,
}

impl DiscountFloor {
    /// The floor of a new account: nothing was charged before, so its discount binds at once.
    #[must_use]
    pub const fn new(discount_bps: u16) -> Self {
        Self { discount_bps, previous_discount_bps: discount_bps, discount_from_batch: 0 }
    }

    /// The least discount for batch number `batch`.
    #[must_use]
    pub const fn at(&self, batch: u64) -> u16 {
        if batch < self.discount_from_batch { self.previous_discount_bps } else { self.discount_bps }
    }

    /// A top-up earned `new_bps` while the operator's newest batch was `last_batch`. A discount never falls: a lower or
    /// equal rate changes nothing. Two batches may already be in the making (one in flight, one being filled), so the new
    /// rate binds from `last_batch + 3`; until then the floor is what it was for the next batch.
    pub fn raise(&mut self, new_bps: u16, last_batch: u64) {
        if new_bps > self.discount_bps {
            *self = Self {
                discount_bps: new_bps,
                previous_discount_bps: self.at(last_batch + 1),
                discount_from_batch: last_batch + 3,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn micros(amount: u64) -> Usdc {
        Usdc::from_micros(amount)
    }

    /// Charges one list amount after the other; the total and the last remainder.
    fn charge_all(lists: &[u64], bps: u16, mut remainder: u16) -> (u64, u16) {
        let mut total = 0;
        for &list in lists {
            let (charged, next) = charge(micros(list), bps, remainder);
            total += charged.micros();
            remainder = next;
        }
        (total, remainder)
    }

    #[test]
    fn a_tenth_of_a_cent_is_not_lost() {
        // Three jobs of one micro-USDC at 10% off cost 0, 1 and 1: 2.7 in all, 0.7 still owed.
        assert_eq!(charge_all(&[1, 1, 1], 1000, 0), (2, 7000));
        assert_eq!(charge(micros(30_000), 1000, 0), (micros(27_000), 0));
    }

    #[test]
    fn extremes() {
        assert_eq!(charge(Usdc::MAX, 0, 9_999), (Usdc::MAX, 9_999));
        assert_eq!(charge(Usdc::MAX, BPS, 9_999), (Usdc::ZERO, 9_999));
        assert_eq!(charge(Usdc::MAX, u16::MAX, 1), (Usdc::ZERO, 1));
        assert_eq!(hold_amount(micros(1), 9_999), micros(1));
        assert_eq!(hold_amount(Usdc::MAX, 0), Usdc::MAX);
        assert_eq!(hold_amount(Usdc::MAX, u16::MAX), Usdc::ZERO);
    }

    #[test]
    fn a_raise_binds_from_the_third_batch_on() {
        let mut floor = DiscountFloor::new(500);
        assert_eq!(floor.at(0), 500);
        floor.raise(1000, 7);
        assert_eq!([8, 9, 10, 11].map(|batch| floor.at(batch)), [500, 500, 1000, 1000]);
        // Nothing takes it back.
        floor.raise(500, 20);
        floor.raise(1000, 20);
        assert_eq!(floor, DiscountFloor { discount_bps: 1000, previous_discount_bps: 500, discount_from_batch: 10 });
    }

    #[test]
    fn a_second_raise_starts_from_the_floor_of_the_next_batch() {
        let mut floor = DiscountFloor::new(500);
        floor.raise(1000, 7);
        floor.raise(1500, 8);
        // Receipts for batch 9 may be signed at 500 already, so batch 9 must accept them.
        assert_eq!([9, 10, 11].map(|batch| floor.at(batch)), [500, 500, 1500]);
        let mut floor = DiscountFloor::new(500);
        floor.raise(1000, 7);
        floor.raise(1500, 9);
        assert_eq!([10, 11, 12].map(|batch| floor.at(batch)), [1000, 1000, 1500]);
    }

    proptest! {
        /// I-3: a split into jobs and batches changes nothing, and the total is the formula's.
        #[test]
        fn i3_any_partition_gives_the_same_total(
            lists in prop::collection::vec(0u64..=1 << 48, 1..40),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
            bps in 0..=BPS,
            remainder in 0..BPS,
        ) {
            let whole: u64 = lists.iter().sum();
            let job_by_job = charge_all(&lists, bps, remainder);
            prop_assert_eq!(charge_all(&[whole], bps, remainder), job_by_job);

            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(lists.len())).collect();
            cuts.extend([0, lists.len()]);
            cuts.sort_unstable();
            let rows: Vec<u64> = cuts.windows(2).map(|cut| lists[cut[0]..cut[1]].iter().sum()).collect();
            prop_assert_eq!(charge_all(&rows, bps, remainder), job_by_job);

            let formula = u128::from(whole) * u128::from(BPS - bps) + u128::from(remainder);
            prop_assert_eq!(u128::from(job_by_job.0), formula / 10_000);
            prop_assert_eq!(u128::from(job_by_job.1), formula % 10_000);
        }

        #[test]
        fn a_charge_never_exceeds_its_hold(list in 0..=Usdc::MAX.micros(), less in 0..=Usdc::MAX.micros(), bps in 0..=BPS, remainder in 0..BPS) {
            let hold = hold_amount(micros(list), bps);
            let (charged, next) = charge(micros(list.min(less)), bps, remainder);
            prop_assert!(charged <= hold, "{charged} > {hold}");
            prop_assert!(hold.micros() <= list);
            prop_assert!(next < BPS);
        }

        #[test]
        fn a_floor_never_falls_from_batch_to_batch(raises in prop::collection::vec((0..BPS, 0u64..5), 0..6)) {
            let mut floor = DiscountFloor::new(100);
            let mut last_batch = 0;
            for (bps, batches) in raises {
                last_batch += batches;
                let next = floor.at(last_batch + 1);
                floor.raise(bps, last_batch);
                prop_assert_eq!(floor.at(last_batch + 1), next, "a batch being filled keeps its rate");
                prop_assert!(floor.at(last_batch + 2) >= next);
                prop_assert!(floor.at(last_batch + 3) >= bps);
                for batch in last_batch + 1..last_batch + 6 {
                    prop_assert!(floor.at(batch) <= floor.at(batch + 1));
                }
            }
        }
    }
}
