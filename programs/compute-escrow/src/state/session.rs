use anchor_lang::prelude::*;

/// Escrow id (high 32 bits) and sequence (low 32 bits).
pub const fn session_id(escrow: u32, sequence: u32) -> u64 {
    (escrow as u64) << 32 | sequence as u64
}

/// A session that is open. Closed and lapsed ones do not exist any more.
#[account(zero_copy)]
#[derive(Debug)]
pub struct Session {
    /// Escrow id (high 32 bits) and sequence (low 32 bits).
    pub id: u64,
    /// Most it may cost, micro-USDC; reserved in the escrow.
    pub limit: u64,
    /// Last second in which it can be closed.
    pub deadline: u64,
    /// Who serves.
    pub provider: u32,
    /// Version of the provider's content it was opened at (I-11).
    pub provider_version: u32,
    /// Hash of that content (I-11).
    pub content_hash: [u8; 32],
    /// Who opened it.
    pub agent: Pubkey,
    /// Who signs the cost.
    pub meter: Pubkey,
    /// Gets the rent back.
    pub rent_payer: Pubkey,
    /// Of the address.
    pub bump: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

impl Session {
    /// Bytes of the account.
    pub const SPACE: usize = 8 + core::mem::size_of::<Self>();

    /// The escrow that pays.
    pub const fn escrow(&self) -> u32 {
        (self.id >> 32) as u32
    }
}

const _: () = assert!(Session::SPACE == 176);
