//! What an operator offers, checked and packed as Solidity's `PackedTerms` does.

use anchor_lang::prelude::*;

use super::discount::BPS;
use crate::errors::ComputeFuturesError;

/// Longest refund delay, in seconds: 30 days (I-4).
pub const MAX_REFUND_DELAY: u32 = 30 * 24 * 60 * 60;
/// Highest amount that may stand in terms: 48 bits, 281 million USDC.
pub const MAX_THRESHOLD: u64 = (1 << 48) - 1;
/// Tiers at most.
pub const MAX_TIERS: usize = 3;

/// One step of a volume discount: from `minimum_deposit` in total deposits, `discount_bps` off every job.
#[derive(AnchorSerialize, AnchorDeserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Micro-USDC.
    pub minimum_deposit: u64,
    /// Basis points.
    pub discount_bps: u16,
}

/// A tier in 8 bytes; zero when unused.
#[zero_copy]
#[derive(Default, Debug, PartialEq, Eq)]
pub struct PackedTier {
    /// u48, little-endian.
    pub minimum_deposit: [u8; 6],
    /// Basis points; zero when unused.
    pub discount_bps: u16,
}

impl PackedTier {
    /// Micro-USDC.
    pub fn minimum_deposit(&self) -> u64 {
        let [a, b, c, d, e, f] = self.minimum_deposit;
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }

    fn pack(tier: &Tier) -> Self {
        let [a, b, c, d, e, f, ..] = tier.minimum_deposit.to_le_bytes();
        Self { minimum_deposit: [a, b, c, d, e, f], discount_bps: tier.discount_bps }
    }
}

/// Up to three tiers that rise in both fields.
pub fn pack_tiers(tiers: &[Tier]) -> Result<[PackedTier; MAX_TIERS]> {
    require!(tiers.len() <= MAX_TIERS, ComputeFuturesError::TooManyTiers);
    let mut packed = [PackedTier::default(); MAX_TIERS];
    let mut previous: Option<&Tier> = None;
    for (slot, tier) in packed.iter_mut().zip(tiers) {
        let above = previous.is_none_or(|previous| tier.minimum_deposit > previous.minimum_deposit);
        require!(above && tier.minimum_deposit <= MAX_THRESHOLD, ComputeFuturesError::InvalidTierThreshold);
        let better = tier.discount_bps > previous.map_or(0, |previous| previous.discount_bps);
        require!(better && tier.discount_bps < BPS, ComputeFuturesError::InvalidTierDiscount);
        *slot = PackedTier::pack(tier);
        previous = Some(tier);
    }
    Ok(packed)
}

/// The discount that `deposited` in total earns; zero below the first tier (I-3).
pub fn discount_for(tiers: &[PackedTier; MAX_TIERS], deposited: u64) -> u16 {
    let mut earned = 0;
    for tier in tiers {
        if tier.discount_bps == 0 || deposited < tier.minimum_deposit() {
            break;
        }
        earned = tier.discount_bps;
    }
    earned
}
