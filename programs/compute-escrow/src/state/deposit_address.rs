use anchor_lang::prelude::*;

/// What stands behind a deposit address; its PDA commits to the hash of the terms, and owns the token account.
#[account]
#[derive(InitSpace)]
pub struct DepositAddress {
    /// The escrow it feeds; zero: none, the next sweep creates one.
    pub escrow: u32,
    /// Zero.
    pub reserved: [u8; 4],
    /// Who opened it, and gets the rents back.
    pub rent_payer: Pubkey,
}

const _: () = assert!(8 + DepositAddress::INIT_SPACE == 48);
