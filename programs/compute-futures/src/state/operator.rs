use anchor_lang::prelude::*;
use compute_program_common::history;

use super::PackedTier;

/// Batch numbers have 40 bits, so this is enough for all of them.
pub const MAX_PEAKS: usize = 40;

/// How many roots of newest batches can be read directly.
pub const RECENT_ROOTS: usize = 64;

/// An operator: its present terms, its counters, its earnings, and the roots of its batches.
#[account(zero_copy)]
pub struct Operator {
    /// Signs for it. Never changes.
    pub authority: Pubkey,
    /// Charged and not withdrawn (I-1).
    pub earnings: u64,
    /// Number of the newest batch; the next one posted is this plus one (I-5).
    pub last_batch: u64,
    /// Of the present terms.
    pub rate_card_hash: [u8; 32],
    /// From 1.
    pub index: u32,
    /// Sequence of the newest account.
    pub last_sequence: u32,
    /// Version of the present terms, from 1.
    pub terms_version: u32,
    /// Of the present terms, seconds.
    pub refund_delay: u32,
    /// Of the present terms, micro-USDC.
    pub minimum_deposit: u64,
    /// Of the present terms.
    pub tiers: [PackedTier; 3],
    /// Of the address.
    pub bump: u8,
    /// Zero.
    pub reserved: [u8; 15],
    /// Mountain range over every batch's receipts root, in order (I-7).
    pub peaks: [[u8; 32]; MAX_PEAKS],
    /// Root of batch n at n % 64, of the newest 64 batches.
    pub recent_roots: [[u8; 32]; RECENT_ROOTS],
}

impl Operator {
    /// Bytes of the account.
    pub const SPACE: usize = 8 + core::mem::size_of::<Self>();

    /// Remembers the root of the next batch and counts it.
    pub fn append_root(&mut self, root: [u8; 32]) {
        history::append(&mut self.peaks, self.last_batch, root);
        self.last_batch += 1;
        self.recent_roots[slot(self.last_batch)] = root;
    }

    /// The root of a batch, while it is one of the newest.
    pub fn recent_root(&self, number: u64) -> Option<[u8; 32]> {
        let newest = self.last_batch;
        let kept = number >= 1 && number <= newest && newest - number < RECENT_ROOTS as u64;
        kept.then(|| self.recent_roots[slot(number)])
    }
}

fn slot(number: u64) -> usize {
    (number % RECENT_ROOTS as u64) as usize
}

const _: () = assert!(Operator::SPACE == 3480);
