//! What an operator offers: minimum deposit, refund delay, volume discounts.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use crate::{BPS, Usdc};

/// Most tiers the contract stores.
pub const MAX_TIERS: usize = 3;
/// Longest refund delay the contract accepts, in seconds: 30 days (I-4).
pub const MAX_REFUND_DELAY: u32 = 30 * 24 * 60 * 60;

/// Highest amount the contract accepts in terms: 2^48 − 1 micro-USDC, 281 million USDC.
pub const MAX_THRESHOLD: Usdc = Usdc::from_micros((1 << 48) - 1);

/// From `minimum_deposit` in total deposits, `discount_bps` off every job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tier {
    /// Total deposits that earn the tier.
    pub minimum_deposit: Usdc,
    /// Discount in basis points, below 10,000.
    pub discount_bps: u16,
}

/// What an operator offers to accounts opened from now on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    /// Seconds between asking for a refund and taking it without anyone's help.
    pub refund_delay: u32,
    /// Smallest amount that opens an account.
    pub minimum_deposit: Usdc,
    /// Hash of the operator's rate card, see [`crate::RateCard::hash`].
    pub rate_card_hash: B256,
    /// Up to three, strictly rising in both fields.
    pub tiers: Vec<Tier>,
}

/// Terms the contract would refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// Longer than 30 days.
    #[error("the refund delay is {0} seconds; the contract accepts at most {MAX_REFUND_DELAY} (30 days)")]
    RefundDelayTooLong(u32),
    /// Zero.
    #[error("the minimum deposit is zero; set it to at least 0.000001 USDC")]
    NoMinimumDeposit,
    /// Beyond 48 bits.
    #[error("{0} USDC is more than terms can hold; stay at or below {MAX_THRESHOLD} USDC")]
    ThresholdTooLarge(Usdc),
    /// More than three.
    #[error("there are {0} tiers; the contract stores at most {MAX_TIERS}")]
    TooManyTiers(usize),
    /// Not strictly rising, or zero at the first.
    #[error(
        "tier {0} does not rise above the one before it; minimum deposit and discount must both rise from tier to tier, from above zero"
    )]
    TiersNotRising(usize),
    /// 100% or more.
    #[error("tier {0} gives everything away; a discount must stay below {BPS} basis points")]
    DiscountTooHigh(usize),
}

impl Terms {
    /// The tiers an operator starts with: builder (10 USDC, 5%), scale (50 USDC, 10%), enterprise (200 USDC, 15%).
    #[must_use]
    pub fn default_tiers() -> Vec<Tier> {
        [(10, 500), (50, 1000), (200, 1500)]
            .map(|(usdc, discount_bps)| Tier { minimum_deposit: Usdc::from_micros(usdc * 1_000_000), discount_bps })
            .to_vec()
    }

    /// Checks what the contract would check.
    ///
    /// # Errors
    /// Says which rule is broken; tiers are counted from 1.
    pub fn validate(&self) -> Result<(), TermsError> {
        if self.refund_delay > MAX_REFUND_DELAY {
            return Err(TermsError::RefundDelayTooLong(self.refund_delay));
        }
        if self.minimum_deposit.is_zero() {
            return Err(TermsError::NoMinimumDeposit);
        }
        if self.tiers.len() > MAX_TIERS {
            return Err(TermsError::TooManyTiers(self.tiers.len()));
        }
        if let Some(amount) = self.thresholds().find(|amount| *amount > MAX_THRESHOLD) {
            return Err(TermsError::ThresholdTooLarge(amount));
        }
        let mut previous: Option<&Tier> = None;
        for (position, tier) in (1..).zip(&self.tiers) {
            let rises = match previous {
                None => tier.discount_bps > 0,
                Some(lower) => tier.minimum_deposit > lower.minimum_deposit && tier.discount_bps > lower.discount_bps,
            };
            if !rises {
                return Err(TermsError::TiersNotRising(position));
            }
            if tier.discount_bps >= BPS {
                return Err(TermsError::DiscountTooHigh(position));
            }
            previous = Some(tier);
        }
        Ok(())
    }

    fn thresholds(&self) -> impl Iterator<Item = Usdc> {
        std::iter::once(self.minimum_deposit).chain(self.tiers.iter().map(|tier| tier.minimum_deposit))
    }

    /// Discount that `total` deposits earn, in basis points.
    #[must_use]
    pub fn discount_for(&self, total: Usdc) -> u16 {
        self.tier_for(total).map_or(0, |(_, tier)| tier.discount_bps)
    }

    /// Name of the tier that `total` deposits earn: `none`, `builder`, `scale` or `enterprise`, by position.
    #[must_use]
    pub fn tier_name(&self, total: Usdc) -> &'static str {
        Self::name_of_position(self.tier_for(total).map_or(0, |(position, _)| position))
    }

    /// Name of the highest tier whose discount is at most `discount_bps`; for accounts of which the rate is known.
    #[must_use]
    pub fn tier_name_for_discount(&self, discount_bps: u16) -> &'static str {
        Self::name_of_position(self.tiers.iter().take_while(|tier| tier.discount_bps <= discount_bps).count())
    }

    /// The tier that `total` reaches, with its position from 1.
    fn tier_for(&self, total: Usdc) -> Option<(usize, &Tier)> {
        (1..).zip(&self.tiers).take_while(|(_, tier)| tier.minimum_deposit <= total).last()
    }

    /// Tiers are known by their place: first builder, second scale, third enterprise.
    #[must_use]
    pub const fn name_of_position(position: usize) -> &'static str {
        match position {
            0 => "none",
            1 => "builder",
            2 => "scale",
            _ => "enterprise",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usdc(amount: u64) -> Usdc {
        Usdc::from_micros(amount * 1_000_000)
    }

    fn terms(tiers: &[(u64, u16)]) -> Terms {
        Terms {
            refund_delay: 3600,
            minimum_deposit: usdc(1),
            rate_card_hash: B256::ZERO,
            tiers: tiers
                .iter()
                .map(|&(minimum, discount_bps)| Tier { minimum_deposit: usdc(minimum), discount_bps })
                .collect(),
        }
    }

    #[test]
    fn default_tiers_are_the_published_ones() {
        let terms = Terms { tiers: Terms::default_tiers(), ..terms(&[]) };
        assert_eq!(terms.validate(), Ok(()));
        let micro = Usdc::from_micros(1);
        for (total, bps, name) in [
            (Usdc::ZERO, 0, "none"),
            (usdc(10).saturating_sub(micro), 0, "none"),
            (usdc(10), 500, "builder"),
            (usdc(50).saturating_sub(micro), 500, "builder"),
            (usdc(50), 1000, "scale"),
            (usdc(200).saturating_sub(micro), 1000, "scale"),
            (usdc(200), 1500, "enterprise"),
            (Usdc::MAX, 1500, "enterprise"),
        ] {
            assert_eq!((terms.discount_for(total), terms.tier_name(total)), (bps, name), "{total}");
            assert_eq!(terms.tier_name_for_discount(bps), name);
        }
        // An operator may give more than a tier: the name is that of the tier it reaches.
        assert_eq!(terms.tier_name_for_discount(1200), "scale");
    }

    #[test]
    fn no_tiers_no_discount() {
        assert_eq!(terms(&[]).validate(), Ok(()));
        assert_eq!(terms(&[]).discount_for(Usdc::MAX), 0);
        assert_eq!(terms(&[]).tier_name(Usdc::MAX), "none");
    }

    #[test]
    fn what_the_contract_refuses_is_refused_here() {
        use TermsError::{
            DiscountTooHigh, NoMinimumDeposit, RefundDelayTooLong, ThresholdTooLarge, TiersNotRising, TooManyTiers,
        };
        for (tiers, error) in [
            (&[(1, 1), (2, 2), (3, 3), (4, 4)][..], TooManyTiers(4)),
            (&[(10, 0)], TiersNotRising(1)),
            (&[(10, 500), (10, 600)], TiersNotRising(2)),
            (&[(10, 500), (20, 500)], TiersNotRising(2)),
            (&[(10, 500), (20, 600), (15, 700)], TiersNotRising(3)),
            (&[(10, 500), (20, 10_000)], DiscountTooHigh(2)),
            (&[(300_000_000, 500)], ThresholdTooLarge(usdc(300_000_000))),
        ] {
            assert_eq!(terms(tiers).validate(), Err(error));
        }
        let long = Terms { refund_delay: MAX_REFUND_DELAY + 1, ..terms(&[]) };
        assert_eq!(long.validate(), Err(RefundDelayTooLong(MAX_REFUND_DELAY + 1)));
        let free = Terms { minimum_deposit: Usdc::ZERO, ..terms(&[]) };
        assert_eq!(free.validate(), Err(NoMinimumDeposit));
        let huge = Terms { minimum_deposit: Usdc::MAX, ..terms(&[]) };
        assert_eq!(huge.validate(), Err(ThresholdTooLarge(Usdc::MAX)));
        // A first tier for everybody is fine.
        assert_eq!(terms(&[(0, 1), (1, 9_999)]).validate(), Ok(()));
    }
}
