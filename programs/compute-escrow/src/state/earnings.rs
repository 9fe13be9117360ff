use anchor_lang::prelude::*;
use compute_program_common::history;

/// Enough for 2^32 − 1 sessions of a provider.
pub const MAX_PEAKS: usize = 32;

/// What a provider earned, and the proof of every session it was paid for.
#[account(zero_copy)]
#[derive(Debug)]
pub struct Earnings {
    /// Earned and not withdrawn, micro-USDC (I-1).
    pub earnings: u64,
    /// Leaves of the mountain range.
    pub closed: u64,
    /// Whose, by the registry.
    pub provider: u32,
    /// Of the address.
    pub bump: u8,
    /// Zero.
    pub reserved: [u8; 19],
    /// Mountain range over the struct hashes of the provider's closed sessions, in order (I-7).
    pub peaks: [[u8; 32]; MAX_PEAKS],
}

impl Earnings {
    /// Bytes of the account.
    pub const SPACE: usize = 8 + core::mem::size_of::<Self>();

    /// A session was closed: `cost` is earned, `leaf` is kept. Returns the leaf's number. A range that is full keeps no more (zero): a
    /// provider with four billion sessions registers again, and nobody's close fails (I-6).
    pub fn earn(&mut self, cost: u64, leaf: [u8; 32]) -> u64 {
        // Within what all escrows ever held: far below 64 bits.
        self.earnings += cost;
        if self.closed >= u32::MAX.into() {
            return 0;
        }
        history::append(&mut self.peaks, self.closed, leaf);
        self.closed += 1;
        self.closed
    }

    /// Whether `leaf` is of the session closed as number `number`.
    pub fn proves(&self, number: u64, leaf: [u8; 32], proof: &[[u8; 32]]) -> bool {
        history::proves(&self.peaks, self.closed, number, leaf, proof)
    }
}

const _: () = assert!(Earnings::SPACE == 1072);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_range_keeps_no_more_and_stops_nobody() {
        let mut earnings: Earnings = bytemuck::Zeroable::zeroed();
        earnings.closed = u64::from(u32::MAX) - 1;
        assert_eq!(earnings.earn(1, [1; 32]), u64::from(u32::MAX));
        let peaks = earnings.peaks;
        assert!(earnings.proves(u32::MAX.into(), [1; 32], &[]));
        assert_eq!(earnings.earn(2, [2; 32]), 0);
        assert_eq!((earnings.earnings, earnings.peaks), (3, peaks));
        assert!(earnings.proves(u32::MAX.into(), [1; 32], &[]));
    }
}
