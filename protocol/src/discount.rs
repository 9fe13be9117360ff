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
        Self {
            discount_bps,
            previous_discount_bps: discount_bps,
            discount_from_batch: 0,
        }
    }

    /// The least discount for batch number `batch`.
    #[must_use]
    pub const fn at(&self, batch: u64) -> u16 {
        if batch < self.discount_from_batch {
            self.previous_discount_bps
        } else {
            self.discount_bps
        }
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
